"""Whether what a person typed can become a command: checked against the copy, before anything is kept.

The backend has the last word at replay; these checks say early, and field by field, what it would say late. Values
come in as store values; the changes that go out carry the values that the author saw (`before`), so that replay can
tell a row that somebody else has changed meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Protocol, Self

from brique.errors import BadInput, Busy, NotAllowed, NotFound, Stale
from brique.schema import PENDING, Change, Column, Row, TableSpec, Value, join_key
from brique.store import Reader


class Copy(Protocol):
    """What checking needs of the store."""

    def values(self, table: str, key: str) -> Row | None:
        """The row as people see it, pending commands included; None when there is none."""
        ...

    def is_loaded(self, table: str) -> bool:
        """Whether the copy of `table` is there, so that a missing row means something."""
        ...


class ReaderCopy:
    """A `Copy` over `reader`: one state of it from the first look to the end of the block, and none when nobody looks,
    as with a row that gets its key later and refers to no other."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._looking: AbstractContextManager[Reader] | None = None

    @property
    def reader(self) -> Reader:
        if self._looking is None:
            looking = self._reader.snapshot()
            looking.__enter__()
            self._looking = looking
        return self._reader

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *fault: object) -> None:
        if self._looking is not None:
            self._looking.__exit__(None, None, None)

    def values(self, table: str, key: str) -> Row | None:
        row = self.reader.row(table, key)
        return None if row is None else row.values

    def is_loaded(self, table: str) -> bool:
        return self.reader.table_state(table).loaded


def copied(reader: Reader, tables: Iterable[str]) -> None:
    """Raises Busy while the first copy of one of `tables` is under way: that a row is not found there says nothing."""
    for table in tables:
        if not reader.table_state(table).loaded:
            raise Busy(
                "This table is still being copied from its backend.", try_this="Try again in a moment.", table=table
            )


def create(copy: Copy, spec: TableSpec, given: Row, *, receipt: str) -> Change:
    """The change that makes a row of `given`. Raises BadInput (by field), NotAllowed when the table is read-only."""
    _writable(spec)
    faults = _unwritable(spec, given)
    for column in spec.columns:
        if column.name not in faults and given.get(column.name) is None and _is_required(column):
            faults[column.name] = "Is required."
    faults.update(_dangling(copy, spec, given))
    after = {name: value for name, value in given.items() if value is not None or name not in spec.key}
    if any(given.get(name) is None for name in spec.key):
        key = PENDING + receipt
    else:
        key = spec.key_of(given)
        if not faults and copy.values(spec.name, key) is not None:
            faults[spec.key[0]] = "There is already a row with this key."
    _raise(faults)
    return Change(table=spec.name, key=key, before=None, after=after)


def update(copy: Copy, spec: TableSpec, key: str, *, seen: Row, given: Row) -> Change | None:
    """The change from `seen`, what the author had before him, to `given`; None when they say the same.

    Raises NotFound, BadInput (by field), NotAllowed, and Stale (fact `theirs`: the row now) when a column that the
    author changes no longer holds what he saw.
    """
    _writable(spec)
    now = copy.values(spec.name, key)
    if now is None:
        raise _gone(spec, key)
    touched = {name: value for name, value in given.items() if value != seen.get(name, now.get(name))}
    if not touched:
        return None
    faults = _unwritable(spec, touched)
    for name, value in touched.items():
        column = spec.by_name.get(name)
        if name in spec.key:
            faults[name] = "A key cannot be changed: make a new row and delete this one."
        elif column is not None and value is None and not column.nullable:
            faults[name] = "Is required."
    faults.update(_dangling(copy, spec, touched))
    _raise(faults)
    before = {name: seen.get(name, now.get(name)) for name in touched}
    if any(now.get(name) != value and now.get(name) != touched[name] for name, value in before.items()):
        raise _stale(spec, key, now)
    return Change(table=spec.name, key=key, before=before, after=touched)


def delete(copy: Copy, spec: TableSpec, key: str, *, seen: Row | None = None) -> Change:
    """The change that deletes a row. Raises NotFound, NotAllowed, and Stale when it is not as `seen` (all of it)."""
    _writable(spec)
    now = copy.values(spec.name, key)
    if now is None:
        raise _gone(spec, key)
    if seen is not None and any(now.get(name) != value for name, value in seen.items()):
        raise _stale(spec, key, now)
    compared = {column.name: now.get(column.name) for column in spec.columns if not column.generated}
    return Change(table=spec.name, key=key, before=compared, after=None)


def _gone(spec: TableSpec, key: str) -> NotFound:
    return NotFound("{label} {key} is not there any more.", label=spec.label, key=key, table=spec.name)


def _stale(spec: TableSpec, key: str, now: Row) -> Stale:
    return Stale("{label} {key} has changed since you read it.", label=spec.label, key=key, table=spec.name, theirs=now)


def _writable(spec: TableSpec) -> None:
    if not spec.writable:
        raise NotAllowed("{label} cannot be changed here.", label=spec.label, reason=spec.read_only, table=spec.name)


def _is_required(column: Column) -> bool:
    return not (column.nullable or column.defaulted or column.generated)


def _unwritable(spec: TableSpec, given: Row) -> dict[str, str]:
    faults = {}
    for name in given:
        column = spec.by_name.get(name)
        if column is None:
            faults[name] = "There is no such column."
        elif column.generated:
            faults[name] = "Is computed by the backend."
    return faults


def _dangling(copy: Copy, spec: TableSpec, given: Row) -> dict[str, str]:
    """Faults of references that point to a row which is not in the copy. One that waits for its number is: then its
    temporary key stands in the column, until replay puts the number there."""
    faults = {}
    for name, reference in spec.reference_of.items():
        value: Value = given.get(name)
        if value is None or not copy.is_loaded(reference.table):
            continue
        is_temporary = isinstance(value, str) and value.startswith(PENDING)
        if copy.values(reference.table, str(value) if is_temporary else join_key((value,))) is None:
            faults[name] = "There is no such row."
    return faults


def _raise(faults: dict[str, str]) -> None:
    if faults:
        raise BadInput("Some fields need another value.", fields=faults)
