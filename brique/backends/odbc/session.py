"""One transaction of changes over ODBC; one change after the other where the database has no transactions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from brique.backends.faults import LOST, away, refused
from brique.backends.odbc import call
from brique.backends.odbc.dialect import Dialect
from brique.backends.odbc.line import Line
from brique.backends.odbc.profile import NewKey
from brique.backends.odbc.rows import TableRows, load
from brique.backends.protocol import Applied, Tag
from brique.errors import BackendRefused
from brique.schema import Change, Effect, Row, TableSpec, Value

SEVERAL_ROWS = "The key {key} of {table} stands in {rows} rows: none of them was changed."
LEFT_ALONE = "The database left the row as it was: a trigger or rule says no."
NO_KEY_BACK = "The database does not say which key it gave: name the key of a new row in {table}."


class OdbcSession:
    """An open transaction on `line`; over when its connection is another one than at the start (`opened`)."""

    def __init__(self, line: Line, dialect: Dialect, timeout: float, marker: str, opened: int, *, counts: bool) -> None:
        self._line = line
        self._dialect = dialect
        self._timeout = timeout
        self._marker = marker
        self._opened = opened
        self._counts = counts
        self.refusal: BackendRefused | None = None
        """What was refused in this session: many databases undo that statement only, and would commit the others."""
        self._tables: dict[str, TableRows] = {}

    def check(self) -> None:
        """Raises BackendAway or BackendRefused when the transaction is over."""
        if self.refusal is not None:
            raise refused("The transaction is over: {reason}", reason=self.refusal.message)
        if not self._line.is_open or self._line.opened != self._opened:
            raise away(LOST, backend=self._line.backend, reason="the transaction is over")

    def _rows(self, spec: TableSpec) -> TableRows:
        rows = self._tables.get(spec.name)
        if rows is None or rows.spec is not spec:
            with self._line.call(self._timeout, begun=self._opened) as cursor:
                rows = self._tables[spec.name] = load(cursor, spec, self._dialect)
        return rows

    def _run(self, rows: TableRows | None, sql: str, parameters: Sequence[Any]) -> tuple[int, list[Sequence[Any]]]:
        """Rows changed (-1: not said), and rows returned."""
        self.check()
        tell = None
        if rows is not None:
            tell = self._line.driver.telling(rows.explained(self._line.backend, self._timeout))
        try:
            with self._line.call(self._timeout, begun=self._opened, explain=tell) as cursor:
                cursor.execute(sql, *parameters)
                count = cursor.rowcount
                return count, cursor.fetchall() if cursor.description else []
        except BackendRefused as fault:
            self.refusal = fault
            raise

    def identify(self, tag: Tag) -> None:
        """The old values, or the mark, tell a second try from a first."""

    def call(self, effect: Effect) -> Row:
        self.check()
        try:
            with self._line.call(self._timeout, begun=self._opened) as cursor:
                return call.call(cursor, self._line.connection, self._dialect, effect)
        except BackendRefused as fault:
            self.refusal = fault
            raise

    # inserts

    def insert(self, spec: TableSpec, row: Row) -> Row:
        self.check()
        rows = self._rows(spec)
        parameters: list[Any] = []
        cells = {rows.written[name]: value for name, value in row.items() if name in rows.written}
        values = [rows.bound(parameters, column, value) for column, value in cells.items()]
        names = [rows.name(column) for column in cells]
        has_key = all(row.get(name) is not None for name in spec.key)
        wants = NewKey.NONE if has_key and self._dialect.new_key is not NewKey.RETURNING else self._dialect.new_key
        if wants is NewKey.NONE and not has_key:
            raise refused(NO_KEY_BACK, table=spec.source)
        sql = _insert(rows, names, values, wants)
        count, back = self._run(rows, sql, parameters)
        if count == 0 and not back:
            raise refused(LEFT_ALONE)
        return self._new_key(rows, row, wants, back)

    def _new_key(self, rows: TableRows, row: Row, wants: NewKey, back: list[Sequence[Any]]) -> Row:
        spec = rows.spec
        if wants in (NewKey.RETURNING, NewKey.FINAL_TABLE, NewKey.OUTPUT):
            if not back:
                raise refused(LEFT_ALONE)
            return rows.parsed_key(back[0])
        if wants is NewKey.QUERY:
            _, found = self._run(None, self._dialect.profile.new_key_query, ())
            given = [name for name in spec.key if row.get(name) is None]
            return {name: (int(found[0][0]) if name in given else row[name]) for name in spec.key}
        if not self._counts and self._now(rows, tuple(row[name] for name in spec.key)) is None:
            raise refused(LEFT_ALONE)
        return {name: row[name] for name in spec.key}

    # changes

    def update(self, spec: TableSpec, key: tuple[Value, ...], before: Row, after: Row) -> int:
        self.check()
        rows = self._rows(spec)
        if not any(name in rows.written for name in after):
            return 1 if rows.holds(self._now(rows, key), before) else 0
        return self._change(rows, key, before, after)

    def delete(self, spec: TableSpec, key: tuple[Value, ...], before: Row) -> int:
        self.check()
        return self._change(self._rows(spec), key, before, None)

    def _change(self, rows: TableRows, key: tuple[Value, ...], before: Row, after: Row | None) -> int:
        """Change the row of `key`, if it still holds `before`.

        By comparing in SQL where that compares exactly, and then, or where it does not, by reading the row (locked
        where that can be had) and comparing what brique would have shown.
        """
        has_to_look = bool(before) and not self._dialect.profile.compares_exactly
        if has_to_look and not rows.holds(self._now(rows, key, lock=True), before):
            return 0
        changed = self._changed(rows, key, before, after)
        if changed == 0 and rows.holds(self._now(rows, key, lock=True), before):
            changed = self._changed(rows, key, {}, after)
            if changed == 0:
                raise refused(LEFT_ALONE)
        if changed > 1:
            raise refused(SEVERAL_ROWS, key=", ".join(map(str, key)), table=rows.spec.source, rows=changed)
        return changed

    def _changed(self, rows: TableRows, key: tuple[Value, ...], before: Row, after: Row | None) -> int:
        """Rows that the statement changed; where the driver does not say, what a look at the row shows."""
        parameters: list[Any] = []
        sql = _change(rows, parameters, key, before, after)
        if self._counts:
            count, _ = self._run(rows, sql, parameters)
            if count >= 0:
                return count
            self._counts = False
            return 1 if self._is_done(rows, key, after) else 0
        was = self._now(rows, key, lock=True)
        if not rows.holds(was, before):
            return 0
        self._run(rows, sql, parameters)
        return 1 if self._is_done(rows, key, after) else 0

    def _is_done(self, rows: TableRows, key: tuple[Value, ...], after: Row | None) -> bool:
        """Whether the row is as a change wanted it."""
        if after is None:
            return self._now(rows, key) is None
        moved = tuple(after.get(name, part) for name, part in zip(rows.spec.key, key, strict=True))
        return rows.holds(self._now(rows, moved), after)

    def _now(self, rows: TableRows, key: tuple[Value, ...], *, lock: bool = False) -> Row | None:
        parameters: list[Any] = []
        sql = f"{rows.select} WHERE {rows.where(parameters, key)}{self._dialect.profile.lock if lock else ''}"
        _, found = self._run(rows, sql, parameters)
        return dict(zip(rows.spec.names, rows.parsed(found[:1])[0], strict=True)) if found else None

    def look(self, spec: TableSpec, key: tuple[Value, ...]) -> Row | None:
        self.check()
        return self._now(self._rows(spec), key)

    def apply(self, changes: Sequence[tuple[TableSpec, Change]]) -> list[Applied]:
        """One by one: a driver that prepares a statement keeps it for the next one that reads the same, and no driver
        says for each of several sent at once how many rows it changed."""
        done = []
        for spec, change in changes:
            if change.before is None:
                done.append(Applied(1, self.insert(spec, change.after or {})))
                continue
            key = spec.key_values(change.key)
            if change.after is None:
                done.append(Applied(self.delete(spec, key, change.before), {}))
            else:
                done.append(Applied(self.update(spec, key, change.before, change.after), {}))
        return done

    def move_watermark(self, stream: str, previous: int, position: int) -> bool:
        names = {name: self._dialect.quoted(name) for name in ("stream", "position")}
        changed, _ = self._run(
            None,
            f"UPDATE {self._marker} SET {names['position']} = ? "  # noqa: S608
            f"WHERE {names['stream']} = ? AND {names['position']} = ?",
            (position, stream, previous),
        )
        if changed == 0 and previous == 0:
            _, found = self._run(
                None, f"SELECT {names['position']} FROM {self._marker} WHERE {names['stream']} = ?", (stream,)  # noqa: S608
            )  # fmt: skip
            if found:
                return False
            changed, _ = self._run(
                None,
                f"INSERT INTO {self._marker} ({names['stream']}, {names['position']}) VALUES (?, ?)"  # noqa: S608
                f"{self._dialect.profile.marker_conflict}",
                (stream, position),
            )
        return changed == 1


def _insert(rows: TableRows, names: Sequence[str], values: Sequence[str], wants: NewKey) -> str:
    listed = f"({', '.join(names)})" if names else ""
    output = ""
    if wants is NewKey.OUTPUT:
        output = " OUTPUT " + ", ".join(f"INSERTED.{rows.name(column)}" for column in rows.spec.key_columns)
    body = f"VALUES ({', '.join(values)})" if values else rows.dialect.profile.defaults
    sql = f"INSERT INTO {rows.table} {listed}{output} {body}"
    if wants is NewKey.RETURNING:
        return f"{sql} RETURNING {rows.key_outputs}"
    return f"SELECT {rows.key_outputs} FROM FINAL TABLE ({sql})" if wants is NewKey.FINAL_TABLE else sql  # noqa: S608


def _change(rows: TableRows, parameters: list[Any], key: Sequence[Value], before: Row, after: Row | None) -> str:
    if after is None:
        to = f"DELETE FROM {rows.table}"  # noqa: S608
    else:
        cells = {rows.written[name]: value for name, value in after.items() if name in rows.written}
        pairs = [f"{rows.name(column)} = {rows.bound(parameters, column, value)}" for column, value in cells.items()]
        to = f"UPDATE {rows.table} SET {', '.join(pairs)}"  # noqa: S608
    return f"{to} WHERE {rows.where(parameters, key)}{rows.same(parameters, before)}"
