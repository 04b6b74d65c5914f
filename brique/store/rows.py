"""Visible rows of one table, written and read by key; keeps its search index in step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import apsw
import msgspec

from brique.schema import Row, Value
from brique.store import search
from brique.store.layout import Layout, quoted

_FEW = 4  # so many keys are asked for one by one, which is faster than a set


class StoredRow(msgspec.Struct, frozen=True, gc=False):
    """A visible row. `version` changes with every change of it; `pending`: 0 none, 1 pending, 2 needs a person."""

    key: str
    version: int
    pending: int
    values: Row
    id: int = 0


class Rows:
    """The rows of one generation of a table, on one connection."""

    def __init__(self, connection: apsw.Connection, layout: Layout) -> None:
        self.layout = layout
        self._connection = connection
        self._run: Any = connection.execute  # SQLite's values have no static type
        self._names = layout.spec.names
        self._by_key = f"{layout.select} WHERE _key = ?"
        self._by_keys = f"{layout.select} WHERE _key IN (SELECT value FROM json_each(?))"  # noqa: S608

    @cached_property
    def _insert(self) -> str:
        holes = ", ".join("?" * (len(self._names) + 4))
        return f"INSERT INTO {self.layout.table}(_id, _key, _version, _pending, {self.layout.columns}) VALUES ({holes})"  # noqa: S608

    def stored(self, record: tuple[Any, ...]) -> StoredRow:
        """A record of `layout.select` as a row."""
        return StoredRow(record[1], record[2], record[3], dict(zip(self._names, record[4:], strict=True)), record[0])

    def get(self, key: str) -> StoredRow | None:
        record = self._run(self._by_key, (key,)).fetchone()
        return self.stored(record) if record else None

    def get_many(self, keys: Sequence[str]) -> dict[str, StoredRow]:
        """The rows of these keys; those that are not there are missing."""
        if len(keys) > _FEW:
            listed = msgspec.json.encode(keys).decode()
            return {row.key: row for row in map(self.stored, self._run(self._by_keys, (listed,)).fetchall())}
        found = ((key, self.get(key)) for key in keys)
        return {key: row for key, row in found if row is not None}

    def insert_many(self, records: Sequence[tuple[str, int, int, Row]]) -> None:
        """Add rows: key, version, pending, values."""
        if not records:
            return
        last = self._run(f"SELECT max(_id) FROM {self.layout.table}").fetchone()[0] or 0  # noqa: S608
        self._connection.executemany(
            self._insert,
            [
                (last + place, key, version, pending, *map(values.get, self._names))
                for place, (key, version, pending, values) in enumerate(records, 1)
            ],
        )
        if self.layout.searchable:
            texts = ((last + place, self._document(record[3])) for place, record in enumerate(records, 1))
            self._connection.executemany(
                f"INSERT INTO {self.layout.search}(rowid, text) VALUES (?, ?)",  # noqa: S608
                [(identity, text) for identity, text in texts if text],
            )

    def update_many(self, records: Sequence[tuple[StoredRow, int, int, Row]]) -> None:
        """Write what differs between rows, as they are, and how they are to be: row, version, pending, values."""
        alike: dict[tuple[bool, tuple[str, ...]], list[tuple[Value, ...]]] = {}
        for row, version, pending, values in records:
            changed: tuple[str, ...] = ()
            if values is not row.values:
                changed = tuple(name for name in self._names if not same(row.values[name], values.get(name)))
            settles = pending != row.pending  # else it is not set: its index would be written for nothing
            bound = alike.setdefault((settles, changed), [])
            bound.append((version, *((pending,) if settles else ()), *map(values.get, changed), row.id))
            if self.layout.searchable and not self._searched.isdisjoint(changed):
                self._lose(row.id, row.values)
                self._find(row.id, values)
        for (settles, changed), rows in alike.items():
            sets = "".join(f", {name} = ?" for name in (["_pending"] if settles else []) + [*map(quoted, changed)])
            self._connection.executemany(
                f"UPDATE {self.layout.table} SET _version = ?{sets} WHERE _id = ?",  # noqa: S608
                rows,
            )

    def delete(self, row: StoredRow) -> None:
        self._connection.execute(f"DELETE FROM {self.layout.table} WHERE _id = ?", (row.id,))  # noqa: S608
        self._lose(row.id, row.values)

    @cached_property
    def _searched(self) -> frozenset[str]:
        return frozenset(self.layout.search_columns)

    def _document(self, values: Row) -> str:
        return search.document(tuple(values.get(name) for name in self.layout.search_columns))

    def _find(self, identity: int, values: Row) -> None:
        if self.layout.searchable and (text := self._document(values)):
            self._connection.execute(
                f"INSERT INTO {self.layout.search}(rowid, text) VALUES (?, ?)",  # noqa: S608
                (identity, text),
            )

    def _lose(self, identity: int, values: Row) -> None:
        if self.layout.searchable and self._document(values):
            self._connection.execute(f"DELETE FROM {self.layout.search} WHERE rowid = ?", (identity,))  # noqa: S608


def same(one: Value, other: Value) -> bool:
    """Whether two store values are the same, type included: 1, 1.0 and "1" differ."""
    return type(one) is type(other) and one == other


def same_row(one: Row | None, other: Row | None) -> bool:
    """Whether two rows hold the same values; columns that one lacks count as NULL."""
    if one is other or one is None or other is None:
        return one is other
    if len(one) != len(other):
        names = one.keys() | other.keys()
        return all(same(one.get(name), other.get(name)) for name in names)
    return all(name in other and same(value, other[name]) for name, value in one.items())
