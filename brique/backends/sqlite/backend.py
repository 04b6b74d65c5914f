"""A SQLite file as a backend.

Three connections: one for long reads, one for short questions, one for writing; so that a snapshot does not hold up a
replay. The file is never changed but by commands and, when allowed, by the marker table.

The fingerprint is exact: `data_version` of a connection changes at every commit of any other one, and the file's own
number, size and time are part of it, because a file copied over the old one is no commit.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw

from brique.backends.faults import READ_ONLY_DATABASE, refused
from brique.backends.protocol import MARKER, Applied, Prepared, Rung, Tag
from brique.backends.sqlite.batches import Batches
from brique.backends.sqlite.catalogue import ask, describe, quoted, table_names
from brique.backends.sqlite.lane import Lane, explain, stat_of
from brique.backends.sqlite.rows import TableRows
from brique.backends.suspects import confirm
from brique.errors import BackendAway, BackendRefused
from brique.schema import Catalogue, Change, Effect, Row, TableSpec, Value

log = logging.getLogger(__name__)
_FINGERPRINT_TRIES = 3
_FICKLE = re.compile(
    r"(?i)\b(now|random|randomblob|current_\w+)\b|\b(date|time|datetime|julianday|unixepoch)\s*\(\s*\)"
    r"|\bstrftime\s*\([^,()]*\)"
)
"""Words of a view's SQL by which its rows may change without a commit."""
SEVERAL_ROWS = "The key {key} of {table} stands in {rows} rows: none of them was changed."
LEFT_ALONE = "The database left the row as it was: a trigger or rule says no."


class SqliteBackend:
    """A SQLite database in a file. `timeout` and `read_timeout` are seconds, for a call and for a batch of a read."""

    def __init__(
        self, name: str, path: Path, *, timeout: float = 5.0, read_timeout: float = 30.0, read_only: bool = False
    ) -> None:
        self.name = name
        self.path = path
        self.timeout = timeout
        self.read_timeout = read_timeout
        self._read_only = read_only
        self._long = Lane(name, path, read_only=read_only)
        self._short = Lane(name, path, read_only=read_only)
        self._writing = Lane(name, path, writes=True, read_only=read_only)
        self._lanes = (self._long, self._short, self._writing)

    def ping(self, timeout: float) -> None:
        with self._short.call(timeout) as connection:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()

    def catalogue(self) -> Catalogue:
        tables = []
        with self._long.held():
            with self._long.call(self.timeout) as connection:
                names = table_names(connection)
            for name, kind, without_rowid in names:
                try:
                    with self._long.call(self.timeout) as connection:
                        tables.append(describe(connection, name, is_view=kind == "view", without_rowid=without_rowid))
                except (BackendRefused, BackendAway) as fault:
                    if kind != "view":
                        raise
                    log.warning("%s: the view %s is left out: %s", self.name, name, fault.message)
        return confirm(Catalogue(tuple(tables)), self._holds)

    def _holds(self, table: str, schema: str, column: str, values: Sequence[Value]) -> bool:
        """Whether every one of `values` stands in that column."""
        with self._short.call(self.timeout) as connection:
            sql = f"SELECT 1 FROM {quoted(table)} AS t WHERE t.{quoted(column)} = ? LIMIT 1"  # noqa: S608
            return all(connection.execute(sql, (value,)).fetchall() for value in values)

    def fingerprint(self, tables: Sequence[TableSpec]) -> str | None:
        with self._short.call(self.timeout) as connection:
            if any(spec.is_view for spec in tables) and self._has_fickle_view(connection):
                return None
            return self._mark(connection)

    def _mark(self, connection: apsw.Connection) -> str:
        version = connection.execute("PRAGMA data_version").fetchall()[0][0]
        return f"{self._short.token}:{version}:{stat_of(self.path)}"

    def _has_fickle_view(self, connection: apsw.Connection) -> bool:
        views = ask(connection, "SELECT sql FROM sqlite_schema WHERE type = 'view'")
        return any(_FICKLE.search(sql or "") for (sql,) in views)

    @contextmanager
    def snapshot(self) -> Iterator[SqliteSnapshot]:
        with self._long.held():
            mark = None
            for _ in range(_FINGERPRINT_TRIES):
                before = self.fingerprint(())
                with self._long.call(self.timeout) as connection:
                    connection.execute("BEGIN")
                    connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
                if self.fingerprint(()) == before:
                    mark = before
                    break
                self._end(self._long)
            else:
                with self._long.call(self.timeout) as connection:
                    connection.execute("BEGIN")
            try:
                yield SqliteSnapshot(self._long, self.read_timeout, mark)
            finally:
                self._end(self._long)

    def _end(self, lane: Lane) -> None:
        """Leave the transaction; a connection that cannot is closed, which ends it too."""
        try:
            with lane.call(self.timeout) as connection:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        except (BackendAway, BackendRefused):
            lane.close()

    def fetch(self, spec: TableSpec, keys: Sequence[str]) -> dict[str, Row]:
        rows = TableRows(spec)
        found: dict[str, Row] = {}
        with self._short.call(self.timeout) as connection:
            for key in keys:
                row = rows.row(connection, spec.key_values(key))
                if row is not None:
                    found[key] = row
        return found

    @contextmanager
    def session(self) -> Iterator[SqliteSession]:
        with self._writing.held():
            with self._writing.call(self.timeout) as connection:
                connection.execute("BEGIN IMMEDIATE")
            try:
                yield SqliteSession(self._writing, self.timeout)
                self._commit()
            finally:
                self._end(self._writing)

    def _commit(self) -> None:
        with self._writing.call(self.timeout) as connection:
            try:
                connection.execute("COMMIT")
            except (apsw.IOError, apsw.CorruptError, apsw.InterruptError) as fault:
                gone = explain(fault, backend=self.name, seconds=self.timeout)
                gone.facts["at_commit"] = True
                raise gone from fault

    def watermark(self, stream: str) -> int | None:
        with self._short.call(self.timeout) as connection:
            if not ask(connection, "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", (MARKER,)):
                return None
            found = ask(connection, f"SELECT position FROM {MARKER} WHERE stream = ?", (stream,))  # noqa: S608
            return int(found[0][0]) if found else 0

    def prepare(self, marker: bool) -> Prepared:
        with self._writing.call(self.timeout) as connection:
            if connection.readonly("main") or not os.access(self.path, os.W_OK):
                return Prepared(Rung.COMPARE, READ_ONLY_DATABASE)
            if not marker:
                return Prepared(Rung.COMPARE, "The marker table is not allowed in this database.")
            with suppress(apsw.ReadOnlyError):
                connection.execute(
                    f"CREATE TABLE IF NOT EXISTS {MARKER} (stream TEXT PRIMARY KEY NOT NULL, position INTEGER NOT NULL)"
                )
                return Prepared(Rung.WATERMARK)
        return Prepared(Rung.COMPARE, READ_ONLY_DATABASE)

    def abort(self) -> None:
        for lane in self._lanes:
            lane.abort()

    def close(self) -> None:
        for lane in self._lanes:
            lane.close(for_good=True)


class SqliteSnapshot:
    """One read transaction."""

    def __init__(self, lane: Lane, read_timeout: float, fingerprint: str | None) -> None:
        self._lane = lane
        self._read_timeout = read_timeout
        self.fingerprint = fingerprint

    def mark(self, spec: TableSpec) -> str | None:
        """SQLite keeps no trace of changes to one table; the fingerprint speaks of all of them."""
        return None

    def read(self, spec: TableSpec) -> Iterator[list[tuple[Value, ...]]]:
        with self._lane.call(self._read_timeout) as connection:
            batches = TableRows(spec).batches(connection)
        while True:
            with self._lane.call(self._read_timeout):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch


class SqliteSession:
    """One write transaction."""

    def __init__(self, lane: Lane, timeout: float) -> None:
        self._lane = lane
        self._timeout = timeout
        self._tables: dict[str, TableRows] = {}
        self._batches = Batches(self._rows, self._apply)

    def _rows(self, spec: TableSpec) -> TableRows:
        rows = self._tables.get(spec.name)
        if rows is None or rows.spec is not spec:
            rows = self._tables[spec.name] = TableRows(spec)
        return rows

    def identify(self, tag: Tag) -> None:
        """The old values, or the mark, tell a second try from a first."""

    def call(self, effect: Effect) -> Row:
        raise BackendRefused(f"{effect.name}: SQLite has no procedures", procedure=effect.name)

    def insert(self, spec: TableSpec, row: Row) -> Row:
        rows = self._rows(spec)
        with self._lane.call(self._timeout) as connection:
            cells = rows.cells(connection, row)
            names = ", ".join(map(quoted, cells))
            given = f"({names}) VALUES ({', '.join('?' * len(cells))})" if cells else "DEFAULT VALUES"
            back = ", ".join(quoted(column.source) for column in spec.key_columns)
            sql = f"INSERT INTO {quoted(spec.source)} {given} RETURNING {back}"
            found = connection.execute(sql, tuple(cells.values())).fetchall()
            key = TableRows(spec.changed(columns=spec.key_columns)).as_store(found)[0]
            return dict(zip(spec.key, key, strict=True))

    def update(self, spec: TableSpec, key: tuple[Value, ...], before: Row, after: Row) -> int:
        rows = self._rows(spec)
        with self._lane.call(self._timeout) as connection:
            cells = rows.cells(connection, after)
            if not cells:
                return 1 if self._still(rows, connection, key, before) else 0
            to = ", ".join(f"{quoted(name)} = ?" for name in cells)
            return self._change(f"UPDATE {quoted(spec.source)} SET {to}", list(cells.values()), rows, key, before)  # noqa: S608

    def delete(self, spec: TableSpec, key: tuple[Value, ...], before: Row) -> int:
        return self._change(f"DELETE FROM {quoted(spec.source)}", [], self._rows(spec), key, before)  # noqa: S608

    def _change(self, sql: str, values: list[Value], rows: TableRows, key: tuple[Value, ...], before: Row) -> int:
        """Run `sql` on the row of `key`, if it still holds `before`.

        First by comparing in SQL, which is quick and may miss a value that is written in an unusual way; then by
        reading the row and comparing what brique would have shown.
        """
        with self._lane.call(self._timeout) as connection:
            where, named = rows.where(connection, key)
            held = rows.cells(connection, before)
            same = "".join(f" AND {quoted(name)} COLLATE BINARY IS ?" for name in held)
            connection.execute(f"{sql} WHERE {where}{same}", [*values, *named, *held.values()])
            changed = connection.changes()
            if changed == 0 and self._still(rows, connection, key, before):
                connection.execute(f"{sql} WHERE {where}", [*values, *named])
                changed = connection.changes()
                if changed == 0:
                    raise refused(LEFT_ALONE)
        if changed > 1:
            raise refused(SEVERAL_ROWS, key=", ".join(map(str, key)), table=rows.spec.source, rows=changed)
        return changed

    def _still(self, rows: TableRows, connection: apsw.Connection, key: tuple[Value, ...], before: Row) -> bool:
        now = rows.row(connection, key)
        return now is not None and all(now.get(name) == value for name, value in before.items() if name in rows.written)

    def look(self, spec: TableSpec, key: tuple[Value, ...]) -> Row | None:
        with self._lane.call(self._timeout) as connection:
            return self._rows(spec).row(connection, key)

    def apply(self, changes: Sequence[tuple[TableSpec, Change]]) -> list[Applied]:
        with self._lane.call(self._timeout) as connection:
            return self._batches.apply(connection, changes)

    def _apply(self, spec: TableSpec, change: Change) -> Applied:
        if change.before is None:
            return Applied(1, self.insert(spec, change.after or {}))
        key = spec.key_values(change.key)
        if change.after is None:
            return Applied(self.delete(spec, key, change.before), {})
        return Applied(self.update(spec, key, change.before, change.after), {})

    def move_watermark(self, stream: str, previous: int, position: int) -> bool:
        with self._lane.call(self._timeout) as connection:
            connection.execute(
                f"UPDATE {MARKER} SET position = ? WHERE stream = ? AND position = ?",  # noqa: S608
                (position, stream, previous),
            )
            if connection.changes() == 0 and previous == 0:
                connection.execute(
                    f"INSERT INTO {MARKER} (stream, position) VALUES (?, ?) ON CONFLICT DO NOTHING",  # noqa: S608
                    (stream, position),
                )
            return bool(connection.changes() == 1)
