"""Dependencies in words: what a representation asked of the data, as a person would write it in a view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from brique.schema import TableSpec, Value
from brique.store import PENDING_COLUMN
from brique.views.notes import Bits, Note, Notes, Use
from brique.views.pattern import CONST, FREE, Pattern, Slot

_SIGNS = {"eq": "=", "ne": "≠", "lt": "<", "le": "≤", "gt": ">", "ge": "≥"}
_SHOWN_MAX = 5
_LETTERS_MAX = 60


class Dependency(msgspec.Struct, frozen=True):
    """One question. `question`: in words. `columns`: that were looked at in its rows. `by`: "pattern" (number
    `pattern`, learned for all arguments of the view), "reference" (found again from the rows that refer to it) or
    "itself" (stored with the representation). `narrow`: it asks for less than a table or a range of it. `total`: it is
    answered by totals that are kept."""

    table: str
    question: str
    columns: tuple[str, ...]
    by: str
    pattern: int = 0
    narrow: bool = True
    total: bool = False


class Wording:
    """Puts notes and patterns of some tables into words. `totals`: the questions (table, conditions) kept as totals."""

    def __init__(self, specs: Mapping[str, TableSpec], totals: frozenset[tuple[str, str]] = frozenset()) -> None:
        self._specs, self._bits, self._totals = specs, Bits(specs), totals

    def all_of(self, notes: Notes, patterns: Mapping[int, Pattern]) -> list[Dependency]:
        """Everything that one representation depends on; patterns that it names first."""
        used = [Use(number) for number in notes.plain] + list(notes.uses)
        found = [self.of_use(use, patterns) for use in used if use.pattern in patterns]
        return found + [self.of_note(note) for note in notes.notes]

    def of_use(self, use: Use, patterns: Mapping[int, Pattern]) -> Dependency:
        pattern = patterns[use.pattern]
        columns = self._bits.names(pattern.table, pattern.mask)
        if pattern.source:
            source = patterns.get(pattern.source)
            question = f"{pattern.table} by {source.table if source else '?'}.{', '.join(pattern.columns)}"
            return Dependency(pattern.table, question, columns, "reference", pattern.number)
        free = iter(use.free)
        conditions = [
            (column, op, self._slot(slot, pattern.table, column, free), types)
            for (column, op, types, _), slot in zip(pattern.conditions, pattern.slots, strict=True)
        ]
        key = None if pattern.key is None else self._key(pattern.key)
        question = self._question(pattern.table, key, conditions, pattern.order, use.bound, use.witness)
        return Dependency(
            pattern.table, question, columns, "pattern", pattern.number, pattern.is_narrow,
            self._is_total(pattern, use),
        )  # fmt: skip

    def of_note(self, note: Note) -> Dependency:
        columns = self._bits.names(note.table, note.mask)
        conditions = [(c, op, self._value(note.table, c, value), types) for c, op, value, types, _ in note.conditions]
        question = self._question(
            note.table,
            note.key if note.key is None else repr(note.key),
            conditions,
            note.order,
            note.bound,
            note.witness,
        )
        if note.via >= 0:
            question += f" (by {', '.join(note.columns)})"
        total = total_of(note.table, note.conditions) in self._totals
        return Dependency(note.table, question, columns, "itself", 0, note.is_narrow, total)

    def _is_total(self, pattern: Pattern, use: Use) -> bool:
        """Whether all values are the same for every argument, and a total of that question is kept."""
        if use.free or any(slot.way != CONST for slot in pattern.slots) or pattern.key is not None:
            return False
        plain = [
            (column, op, slot.value, types, nocase)
            for (column, op, types, nocase), slot in zip(pattern.conditions, pattern.slots, strict=True)
        ]
        return (pattern.table, _plain(plain)) in self._totals

    def _question(
        self,
        table: str,
        key: str | None,
        conditions: Sequence[tuple[str, str, str, Sequence[str]]],
        order: Sequence[tuple[str, bool, bool]],
        bound: Sequence[Value] | None,
        witness: str | None,
    ) -> str:
        if key is not None:
            return f"{table}[{key}]"
        words = table
        if conditions:
            words += " where " + " and ".join(_condition(*given) for given in conditions)
        if bound is not None:
            names = ", ".join(f"{'-' if down else ''}{column}" for column, down, _ in order)
            edge = ", ".join(
                self._value(table, column, value) for (column, _, _), value in zip(order, bound, strict=False)
            )
            words += f", in order of {names} up to ({edge})"
        if witness is not None:
            words += f", as long as row {witness} is one"
        return words

    def _slot(self, slot: Slot, table: str, column: str, free: Any) -> str:
        if slot.way == FREE:
            return self._value(table, column, next(free))
        return self._value(table, column, slot.value) if slot.way == CONST else slot.argument

    def _key(self, slot: Slot) -> str:
        return repr(slot.value) if slot.way == CONST else slot.argument

    def _value(self, table: str, column: str, value: Any) -> str:
        """A store value as it is written in a view."""
        if isinstance(value, (list, tuple)):
            items = [self._value(table, column, item) for item in value[:_SHOWN_MAX]]
            return f"({', '.join(items)}{', …' if len(value) > _SHOWN_MAX else ''})"
        spec = self._specs[table].by_name.get(column)
        try:
            plain = spec.python(value) if spec is not None and value is not None else value
        except (ValueError, TypeError):
            plain = value
        bare = plain is None or isinstance(plain, (int, float, Decimal))
        shown: str = str(plain) if bare else repr(str(plain))
        return shown if len(shown) <= _LETTERS_MAX else shown[: _LETTERS_MAX - 1] + "…"


def _condition(column: str, op: str, value: str, types: Sequence[str]) -> str:
    if column == PENDING_COLUMN:
        return "a command is laid over the row"
    if op == "null":
        return f"{column} is {'' if value in ('1', 'True') else 'not '}empty"
    if op == "in":
        return f"{column} in {value}"
    if op == "search":
        return f"{value} is in {', '.join(types)}"
    if op in ("prefix", "contains"):
        return f"{column} {'starts with' if op == 'prefix' else 'contains'} {value}"
    return f"{column} {_SIGNS[op]} {value}"


def _plain(conditions: Sequence[Sequence[Any]]) -> str:
    """Conditions as one text, in whatever order they were given."""
    plain = ((item[0], item[1], list(item[2]) if isinstance(item[2], tuple) else item[2]) for item in conditions)
    return repr(sorted(plain, key=repr))


def total_of(table: str, conditions: Sequence[Sequence[Any]]) -> tuple[str, str]:
    """How `Wording` knows the question of a total."""
    return table, _plain(conditions)
