"""A note with slots for values, and how it is turned round: from a changed row to the arguments that it touches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from brique.schema import Kind, TableSpec, Value, from_json, join_key
from brique.store import KEY_COLUMN, PENDING_COLUMN, Condition
from brique.views.notes import (
    MEMBER_BIT,
    Bits,
    Note,
    Side,
    Use,
    condition_of,
)
from brique.views.view import View, key_of

_INVERTIBLE = frozenset({Kind.TEXT, Kind.INTEGER, Kind.BOOLEAN, Kind.DATE})
"""Kinds whose store values and arguments stand for each other one to one."""


class Slot(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """Where a value of a pattern comes from. `way`: "const" (`value`), "free" (each its own), "value" (the argument),
    "row" (the key of the row that the argument is), "key" (the argument is this key text)."""

    way: str
    argument: str = ""
    value: Any = None


Shape = tuple[str, bool, tuple[Any, ...], tuple[Any, ...], int, int, tuple[str, ...]]
"""What patterns of one form share: table, by key, conditions without values, order, bounded, source, columns."""
CONST, FREE = "const", "free"
_NOT_BOUND, _BOUND, _WITNESS = 0, 1, 2


class Pattern(msgspec.Struct, array_like=True, omit_defaults=True):
    """A note with slots for values. `given`: the arguments it is about; `source`: the pattern of the rows whose
    `columns` lead here; `everywhere`: it has no argument, and all representations of the view are touched."""

    number: int
    name: str
    given: tuple[str, ...]
    table: str
    mask: int
    conditions: tuple[tuple[str, str, tuple[str, ...], bool], ...] = ()
    slots: tuple[Slot, ...] = ()
    key: Slot | None = None
    order: tuple[tuple[str, bool, bool], ...] = ()
    bounded: int = _NOT_BOUND
    source: int = 0
    columns: tuple[str, ...] = ()
    everywhere: bool = False

    @property
    def form(self) -> Shape:
        by_key = self.key is not None
        return (self.table, by_key, self.conditions, self.order, self.bounded, self.source, self.columns)

    @property
    def is_open(self) -> bool:
        """Whether representations have something of their own to say."""
        return self.bounded != _NOT_BOUND or any(slot.way == FREE for slot in self.slots)

    @property
    def is_narrow(self) -> bool:
        return self.key is not None or bool(self.source) or any(item[1] == "eq" for item in self.conditions)


def form_of(note: Note, source: int) -> Shape:
    conditions = tuple((c, op, tuple(types), nocase) for c, op, _, types, nocase in note.conditions)
    bounded = _WITNESS if note.witness is not None else _BOUND if note.bound is not None else _NOT_BOUND
    order = tuple((c, d, n) for c, d, n in note.order)
    if source:
        return (note.table, True, (), (), _NOT_BOUND, source, tuple(note.columns))
    return (note.table, note.key is not None, conditions, order, bounded, 0, ())


class Given:
    """The arguments of one representation, as values to compare with."""

    def __init__(self, view: View, arguments: Mapping[str, Any], specs: Mapping[str, TableSpec]) -> None:
        self.view, self.arguments, self._specs = view, arguments, specs
        self.names = tuple(sorted(arguments))

    def of_column(self, slot: Slot, table: str, column: str) -> Value:
        """The store value that a slot stands for in a condition on `column`. Raises ValueError without one."""
        if slot.way == CONST:
            return slot.value  # type: ignore[no-any-return]  # a Value, or a tuple of them
        parameter, argument = self.view.by_name[slot.argument], self.arguments[slot.argument]
        if slot.way == "row":
            return self._specs[parameter.table].key_values(argument)[0]
        return from_json(parameter.kind, argument)

    def of_key(self, slot: Slot) -> str:
        if slot.way == CONST:
            return str(slot.value)
        if slot.way == "key":
            return str(self.arguments[slot.argument])
        return join_key((from_json(self.view.by_name[slot.argument].kind, self.arguments[slot.argument]),))

    def choices(self, table: str, column: str, value: Any) -> list[Slot]:
        """The slots that could stand for this value of a condition, arguments first."""
        found = []
        spec = self._specs[table].by_name.get(column)
        for name in self.names if spec is not None and not isinstance(value, tuple) else ():
            parameter = self.view.by_name[name]
            if parameter.table:
                target = self._specs[parameter.table]
                slot = Slot("row", name)
                fits = len(target.key) == 1 and target.key_columns[0].kind in (Kind.TEXT, Kind.INTEGER)
            else:
                slot = Slot("value", name)
                fits = parameter.kind in _INVERTIBLE and spec is not None and parameter.kind is spec.kind
            if fits and self._stands(slot, table, column, value):
                found.append(slot)
        return [*found, Slot(CONST, value=value)]

    def _stands(self, slot: Slot, table: str, column: str, value: Any) -> bool:
        try:
            mine = self.of_column(slot, table, column)
        except ValueError:
            return False
        return type(mine) is type(value) and mine == value and inverse(self.view, slot, value) == self.argument(slot)

    def argument(self, slot: Slot) -> Any:
        return self.arguments[slot.argument]

    def key_choices(self, table: str, key: str) -> list[Slot]:
        found = []
        spec = self._specs[table]
        for name in self.names:
            parameter, argument = self.view.by_name[name], self.arguments[name]
            if parameter.table == table and argument == key:
                found.append(Slot("key", name))
            elif not parameter.table and len(spec.key) == 1 and parameter.kind is spec.key_columns[0].kind:
                slot = Slot("value", name)
                fits = parameter.kind in (Kind.TEXT, Kind.INTEGER) and self.of_key(slot) == key
                if fits and inverse_key(self.view, slot, key, spec) == argument:
                    found.append(slot)
        return [*found, Slot(CONST, value=key)]


def inverse(view: View, slot: Slot, value: Value) -> Any:
    """The argument for which a slot has this store value; None when there is none."""
    if slot.way == "row":
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return join_key((value,)) if type(value) in (int, str) else None
    kind = view.by_name[slot.argument].kind
    if kind in (Kind.TEXT, Kind.DATE):
        return value if isinstance(value, str) else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int:
        return None
    if kind is Kind.BOOLEAN:
        return bool(value) if value in (0, 1) else None
    return value if -(2**53) <= value <= 2**53 else str(value)


def inverse_key(view: View, slot: Slot, key: str, spec: TableSpec) -> Any:
    if slot.way == "key":
        return key
    try:
        (value,) = spec.key_values(key)
    except ValueError:
        return None
    return inverse(view, slot, value)


class Compiled:
    """A pattern made ready: for a row, the arguments of the representations whose answer it is part of."""

    def __init__(self, pattern: Pattern, view: View, specs: Mapping[str, TableSpec], bits: Bits) -> None:
        self.pattern, self.view, self._specs = pattern, view, specs
        self.spec = specs[pattern.table]
        self._fixed: list[Condition] = []
        self._turned: list[tuple[str, Slot]] = []
        self._later: list[tuple[Condition, Slot]] = []
        columns = []
        for (column, op, types, nocase), slot in zip(pattern.conditions, pattern.slots, strict=True):
            columns.append(column)
            made = condition_of((column, op, slot.value, types, nocase))
            if op == "search":
                columns.extend(types)
            if slot.way == CONST:
                self._fixed.append(made)
            elif slot.way != FREE:
                (self._turned if op == "eq" else self._later).append((column if op == "eq" else made, slot))  # type: ignore[arg-type]  # each list its own
        columns.extend(sort[0] for sort in pattern.order)
        self.columns = tuple(dict.fromkeys(c for c in columns if c in self.spec.by_name))
        self.reach = bits.of(pattern.table, columns)
        """Bits of the columns that decide for which arguments a row is part of the answer, and where."""

    @property
    def interest(self) -> int:
        """Bits of the columns a change of which may matter; they become more as is learned."""
        return self.pattern.mask & ~MEMBER_BIT | self.reach

    def identity(self, side: Side) -> str | None:
        """The arguments, as one text, for which that row may be part of the answer; None when there are none."""
        pattern = self.pattern
        for condition in self._fixed:
            if not condition.matches(side.row):
                return None
        found: dict[str, Any] = {}
        if pattern.key is not None and not self._add(found, pattern.key, self._of_key(side.key)):
            return None
        for column, slot in self._turned:
            if not self._add(found, slot, inverse(self.view, slot, side.row.get(column))):
                return None
        if self._later and not self._compares(found, side):
            return None
        return key_of(found)

    def _of_key(self, key: str) -> Any:
        slot = self.pattern.key
        assert slot is not None
        if slot.way == CONST:
            return True if slot.value == key else None
        return inverse_key(self.view, slot, key, self.spec)

    def _add(self, found: dict[str, Any], slot: Slot, argument: Any) -> bool:
        if argument is None:
            return False
        if slot.way == CONST:
            return True
        return bool(found.setdefault(slot.argument, argument) == argument)

    def _compares(self, found: dict[str, Any], side: Side) -> bool:
        given = Given(self.view, found, self._specs)
        for condition, slot in self._later:
            try:
                value = given.of_column(slot, self.pattern.table, condition.column)
            except ValueError:
                return False
            made = Condition(condition.column, condition.op, value, condition.types, condition.nocase)
            if not made.matches(side.row):
                return False
        return True

    def note(self, given: Given, use: Use) -> Note:
        """The whole note of a representation that uses this pattern."""
        pattern, free = self.pattern, iter(use.free)
        conditions = []
        for (column, op, types, nocase), slot in zip(pattern.conditions, pattern.slots, strict=True):
            value = next(free) if slot.way == FREE else given.of_column(slot, pattern.table, column)
            conditions.append((column, op, value, types, nocase))
        key = given.of_key(pattern.key) if pattern.key is not None and not pattern.source else None
        return Note(pattern.table, pattern.mask, tuple(conditions), key, pattern.order, use.bound, use.witness)

    def use(self, note: Note, given: Given) -> Use | None:
        """How `note` uses this pattern of its form; None when it does not fit."""
        pattern = self.pattern
        if pattern.key is not None and given.of_key(pattern.key) != note.key:
            return None
        free = []
        for slot, (column, _, value, _, _) in zip(pattern.slots, note.conditions, strict=True):
            if slot.way == FREE:
                free.append(value)
            elif not _alike(given.of_column(slot, pattern.table, column), value):
                return None
        return Use(pattern.number, tuple(free), note.bound, note.witness)


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_alike, one, other))
    return type(one) is type(other) and bool(one == other)


def needed(pattern: Compiled) -> str:
    """The columns of a row that tell whose answer it is part of."""
    return ", ".join([KEY_COLUMN, PENDING_COLUMN, *(f'"{name}"' for name in pattern.columns)])
