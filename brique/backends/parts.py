"""Dates that stand in several columns of a backend: one column here, two to four there, whatever the backend is.

A column with the decoder `parts:yy:mm:dd` and the source `ORYY+ORMM+ORDD` is read as three whole numbers and joined;
written, it is taken apart again. This wraps any backend, which sees plain columns only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from brique.backends.protocol import Applied, Backend, Prepared, Session, Snapshot, Tag
from brique.schema import DECODERS, Catalogue, Change, Column, Effect, Kind, Row, TableSpec, Value

PLUS, SLASH = "+", "/"


def has_parts(spec: TableSpec) -> bool:
    """Whether a column of this table stands in several columns of its backend."""
    return any(column.decoder.startswith("parts:") for column in spec.columns)


class _Table:
    """A table as it is declared, and `plain` as its backend has it."""

    def __init__(self, spec: TableSpec) -> None:
        self.spec = spec
        self.groups: list[tuple[Column, tuple[str, ...]]] = []
        columns: list[Column] = []
        for column in spec.columns:
            names: tuple[str, ...] = (column.name,)
            if column.decoder.startswith("parts:"):
                sources = column.source.split(PLUS)
                names = tuple(f"{column.name}__{at}" for at in range(len(sources)))
                columns += [Column(n, s, Kind.INTEGER, n) for n, s in zip(names, sources, strict=True)]
            else:
                columns.append(column)
            self.groups.append((column, names))
        self.split_names = {column.name: (column, names) for column, names in self.groups if len(names) > 1}
        self.plain = spec.changed(columns=tuple(columns))

    def joined(self, row: Row) -> Row:
        """A row of `plain` as one of `spec`; of the columns that are there."""
        made: Row = {}
        for column, names in self.groups:
            if names[0] in row:
                made[column.name] = row[names[0]] if len(names) == 1 else _joined(column, [row[n] for n in names])
        return made

    def joined_values(self, values: Sequence[Value]) -> tuple[Value, ...]:
        made, at = [], 0
        for column, names in self.groups:
            made.append(values[at] if len(names) == 1 else _joined(column, values[at : at + len(names)]))
            at += len(names)
        return tuple(made)

    def split(self, row: Row) -> Row:
        """A row of `spec` as one of `plain`."""
        made: Row = {}
        for name, value in row.items():
            column, names = self.split_names.get(name, (None, (name,)))
            if column is None:
                made[name] = value
            else:
                made |= dict(zip(names, _split(column, value, len(names)), strict=True))
        return made


def _joined(column: Column, parts: Sequence[Value]) -> Value:
    if all(part is None for part in parts):
        return None
    return DECODERS[column.decoder].decode(SLASH.join("" if part is None else str(part) for part in parts))


def _split(column: Column, value: Value, count: int) -> list[Value]:
    """The numbers of a date; a text that is none goes into each of them, for the backend to refuse."""
    parts = str(DECODERS[column.decoder].encode(value)).split(SLASH)
    if len(parts) != count:
        return [value] * count
    return [int(part) if part.isascii() and part.isdigit() else (part or None) for part in parts]


class PartsBackend:
    """`inner`, with its dates in one piece."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner
        self.name = inner.name
        self._tables: dict[int, _Table] = {}

    def _table(self, spec: TableSpec) -> _Table:
        found = self._tables.get(id(spec))
        if found is None or found.spec is not spec:
            found = self._tables[id(spec)] = _Table(spec)
        return found

    def ping(self, timeout: float) -> None:
        self.inner.ping(timeout)

    def catalogue(self) -> Catalogue:
        return self.inner.catalogue()

    def fingerprint(self, tables: Sequence[TableSpec]) -> str | None:
        return self.inner.fingerprint([self._table(spec).plain for spec in tables])

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        with self.inner.snapshot() as inner:
            yield _Snapshot(inner, self)

    def fetch(self, spec: TableSpec, keys: Sequence[str]) -> dict[str, Row]:
        table = self._table(spec)
        return {key: table.joined(row) for key, row in self.inner.fetch(table.plain, keys).items()}

    @contextmanager
    def session(self) -> Iterator[Session]:
        with self.inner.session() as inner:
            yield _Session(inner, self)

    def watermark(self, stream: str) -> int | None:
        return self.inner.watermark(stream)

    def prepare(self, marker: bool) -> Prepared:
        return self.inner.prepare(marker)

    def abort(self) -> None:
        self.inner.abort()

    def close(self) -> None:
        self.inner.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class _Snapshot:
    def __init__(self, inner: Snapshot, backend: PartsBackend) -> None:
        self._inner, self._backend = inner, backend

    @property
    def fingerprint(self) -> str | None:
        return self._inner.fingerprint

    def mark(self, spec: TableSpec) -> str | None:
        return self._inner.mark(self._backend._table(spec).plain)

    def read(self, spec: TableSpec) -> Iterator[list[tuple[Value, ...]]]:
        table = self._backend._table(spec)
        for batch in self._inner.read(table.plain):
            yield [table.joined_values(row) for row in batch] if table.split_names else batch


class _Session:
    def __init__(self, inner: Session, backend: PartsBackend) -> None:
        self._inner, self._backend = inner, backend

    def identify(self, tag: Tag) -> None:
        self._inner.identify(tag)

    def call(self, effect: Effect) -> Row:
        return self._inner.call(effect)

    def insert(self, spec: TableSpec, row: Row) -> Row:
        table = self._backend._table(spec)
        return self._inner.insert(table.plain, table.split(row))

    def update(self, spec: TableSpec, key: tuple[Value, ...], before: Row, after: Row) -> int:
        table = self._backend._table(spec)
        return self._inner.update(table.plain, key, table.split(before), table.split(after))

    def delete(self, spec: TableSpec, key: tuple[Value, ...], before: Row) -> int:
        table = self._backend._table(spec)
        return self._inner.delete(table.plain, key, table.split(before))

    def look(self, spec: TableSpec, key: tuple[Value, ...]) -> Row | None:
        table = self._backend._table(spec)
        found = self._inner.look(table.plain, key)
        return None if found is None else table.joined(found)

    def apply(self, changes: Sequence[tuple[TableSpec, Change]]) -> list[Applied]:
        tables = [self._backend._table(spec) for spec, _ in changes]
        plain = [(t.plain, _plain(t, change)) for t, (_, change) in zip(tables, changes, strict=True)]
        done = self._inner.apply(plain)
        return [
            item if item.row is None else Applied(item.rows, item.key, table.joined(item.row), item.known)
            for table, item in zip(tables, done, strict=True)
        ]

    def move_watermark(self, stream: str, previous: int, position: int) -> bool:
        return self._inner.move_watermark(stream, previous, position)


def _plain(table: _Table, change: Change) -> Change:
    before = None if change.before is None else table.split(change.before)
    after = None if change.after is None else table.split(change.after)
    return Change(change.table, change.key, before, after)
