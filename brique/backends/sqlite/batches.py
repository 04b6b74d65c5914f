"""Many changes in few calls: runs of changes with the same statement go through one `executemany`.

Each statement returns its place in the run, so that what changed nothing is known, and, where no trigger can touch the
row afterwards, the row as it now stands, which saves reading it again.

Updates of rows by their primary key, with values that SQLite keeps as they are, need not return anything: each of them
changes one row or none, so as many rows as updates mean that each has done its work, and the rows are as wanted. When
it was fewer, they are undone and done again with everything returned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import apsw

from brique.backends.protocol import AS_WANTED, Applied
from brique.backends.sqlite.catalogue import columns_of, quoted
from brique.backends.sqlite.rows import TableRows
from brique.backends.sqlite.types import affinity
from brique.errors import BackendRefused
from brique.schema import Change, Kind, Row, TableSpec, Value

Shape = tuple[str, tuple[str, ...] | None, tuple[str, ...] | None]
"""Table, names of `before` and of `after`: what has the same shape has the same statement."""
_SINGLE_KINDS = (Kind.INTEGER, Kind.TEXT)
_KEPT_AS_GIVEN = {Kind.INTEGER: ("INTEGER", "NUMERIC", "BLOB"), Kind.TEXT: ("TEXT", "BLOB")}
"""Affinities of columns that keep the values of a kind as they are given."""
_CASCADES = (
    "SELECT 1 FROM sqlite_schema AS s, pragma_foreign_key_list(s.name) AS f WHERE s.type = 'table' "
    "AND f.\"table\" = ? COLLATE NOCASE AND f.on_update NOT IN ('NO ACTION', 'RESTRICT')"
)


def shape_of(change: Change) -> Shape:
    before, after = change.before, change.after
    return change.table, None if before is None else tuple(before), None if after is None else tuple(after)


class Statement:
    """The statement of one shape, and how its values are made. `is_quiet`: the table has no triggers."""

    def __init__(self, connection: apsw.Connection, rows: TableRows, change: Change, *, is_quiet: bool) -> None:
        self.rows, self.spec, self.is_quiet = rows, rows.spec, is_quiet
        self.is_insert, self.is_delete = change.before is None, change.after is None
        self._after = self._columns(connection, change.after)
        self._before = self._columns(connection, change.before)
        self._key = [rows.converter(connection, column) for column in self.spec.key_columns]
        self.is_empty = not self.is_insert and not self.is_delete and not self._after
        self.can_batch = not self.is_empty and all(column.kind in _SINGLE_KINDS for column in self.spec.key_columns)
        self.sql = self._sql()
        self.is_counted = self.can_batch and is_quiet and not (self.is_insert or self.is_delete)
        self.is_counted = self.is_counted and self._can_count(connection)
        self.counted_sql = self.sql.partition(" RETURNING ")[0]

    def _can_count(self, connection: apsw.Connection) -> bool:
        """Whether each update changes one row or none, and nothing but what it is given."""
        entries = columns_of(connection, self.spec.source)
        if any(entry.hidden for entry in entries):
            return False
        if {column.source for column in self.spec.key_columns} != {e.name for e in entries if e.key_place}:
            return False
        kept = {entry.name: affinity(entry.declared) for entry in entries}
        for name, _, convert in self._after:
            column = self.rows.written[name]
            if convert is not None or column.decoder or kept[column.source] not in _KEPT_AS_GIVEN.get(column.kind, ()):
                return False
        return not connection.execute(_CASCADES, (self.spec.source,)).fetchall()

    def is_kept_as_given(self, changes: Sequence[Change]) -> bool:
        """Whether the values of these changes are, written and read again, what they were."""
        for name, _, _ in self._after:
            cells = [change.after[name] for change in changes]  # type: ignore[index]  # of this shape
            if self.rows.written[name].kind is Kind.INTEGER:
                if not set(map(type, cells)) <= _INTEGERS:
                    return False
            elif not all(cell is None or (type(cell) is str and cell.isascii()) for cell in cells):
                return False
        return True

    def _columns(self, connection: apsw.Connection, row: Row | None) -> list[tuple[str, str, Any]]:
        written = self.rows.written
        names = [name for name in row or () if name in written]
        return [(name, quoted(written[name].source), self.rows.converter(connection, written[name])) for name in names]

    def _sql(self) -> str:
        table = quoted(self.spec.source)
        columns = self.spec.columns if self.is_quiet else self.spec.key_columns
        back = ", ".join(["?", *([] if self.is_delete else (quoted(column.source) for column in columns))])
        if self.is_insert:
            names = ", ".join(name for _, name, _ in self._after)
            given = f"({names}) VALUES ({', '.join('?' * len(self._after))})" if self._after else "DEFAULT VALUES"
            return f"INSERT INTO {table} {given} RETURNING {back}"
        to = f"UPDATE {table} SET " + ", ".join(f"{name} = ?" for _, name, _ in self._after)  # noqa: S608
        where = [f"{quoted(column.source)} = ?" for column in self.spec.key_columns]
        where += [f"{name} COLLATE BINARY IS ?" for _, name, _ in self._before]
        start = f"DELETE FROM {table}" if self.is_delete else to  # noqa: S608
        return f"{start} WHERE {' AND '.join(where)} RETURNING {back}"

    def values(self, changes: Sequence[Change]) -> list[Sequence[Value]] | None:
        """The values of the changes, column by column; None when a key may be written in several ways."""
        columns: list[Sequence[Value]] = []
        for name, _, convert in self._after:
            cells = [change.after[name] for change in changes]  # type: ignore[index]  # of this shape
            columns.append(cells if convert is None else list(map(convert, cells)))
        if not self.is_insert:
            keys = self._keys(changes)
            if keys is None:
                return None
            columns += keys
            for name, _, convert in self._before:
                cells = [change.before[name] for change in changes]  # type: ignore[index]  # of this shape
                columns.append(cells if convert is None else list(map(convert, cells)))
        return columns

    def _keys(self, changes: Sequence[Change]) -> list[Sequence[Value]] | None:
        if any(convert is not None for convert in self._key):
            return None
        if len(self._key) == 1 and self.spec.key_columns[0].kind is Kind.INTEGER:
            try:
                return [[int(change.key) for change in changes]]
            except ValueError:
                return None
        columns = list(zip(*[self.spec.key_values(change.key) for change in changes], strict=True))
        return columns if all(_is_plain(value) for column in columns for value in column) else None  # type: ignore[return-value]

    def applied(self, back: list[tuple[Value, ...]], count: int) -> list[Applied | None]:
        """What each change of the run did; None for one that changed nothing."""
        found: list[Applied | None] = [None] * count
        if self.is_delete:
            gone = Applied(1, {}, None, known=self.is_quiet)
            for times in Counter(place for (place,) in back).items():
                found[int(str(times[0]))] = gone if times[1] == 1 else Applied(times[1], {})
            return found
        names = self.spec.names if self.is_quiet else self.spec.key
        stored = self.rows.as_store([row[1:] for row in back], None if self.is_quiet else self.spec.key)
        for returned, values in zip(back, stored, strict=True):
            place = cast("int", returned[0])
            row = dict(zip(names, values, strict=True))
            key = {name: row[name] for name in self.spec.key} if self.is_insert else {}
            earlier = found[place]
            if earlier is not None:
                found[place] = Applied(earlier.rows + 1, {})
            elif self.is_quiet:
                found[place] = Applied(1, key, row, True)
            else:
                found[place] = Applied(1, key)
        return found


_INTEGERS = {int, type(None)}


def _is_plain(value: Value) -> bool:
    """Whether a part of a key is written in one way only."""
    if type(value) is int:
        return True
    return type(value) is str and value.isascii() and not value.endswith(" ")


class Batches:
    """Runs of changes in one session. `one(spec, change)` carries a single change out, with all that can be odd."""

    def __init__(self, rows_of: Callable[[TableSpec], TableRows], one: Callable[[TableSpec, Change], Applied]) -> None:
        self._rows_of, self._one = rows_of, one
        self._statements: dict[Shape, Statement] = {}

    def apply(self, connection: apsw.Connection, changes: Sequence[tuple[TableSpec, Change]]) -> list[Applied]:
        """What each change did, in order. Raises BackendRefused with the fact `index`."""
        done: list[Applied] = []
        while len(done) < len(changes):
            at = len(done)
            spec, first = changes[at]
            shape = shape_of(first)
            statement = self._statement(connection, spec, first, shape)
            end = at + 1
            while end < len(changes) and shape_of(changes[end][1]) == shape:
                end += 1
            run = changes[at:end]
            values = statement.values([change for _, change in run]) if statement.can_batch else None
            if values is not None:
                done += self._run(connection, statement, run, values, at)
            else:
                done += [self._single(spec, change, at + place) for place, (spec, change) in enumerate(run)]
        return done

    def _statement(self, connection: apsw.Connection, spec: TableSpec, change: Change, shape: Shape) -> Statement:
        statement = self._statements.get(shape)
        if statement is None:
            rows = self._rows_of(spec)
            quiet = not connection.execute(
                "SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE", (spec.source,)
            ).fetchall()
            statement = self._statements[shape] = Statement(connection, rows, change, is_quiet=quiet)
        return statement

    def _single(self, spec: TableSpec, change: Change, index: int) -> Applied:
        try:
            return self._one(spec, change)
        except BackendRefused as fault:
            fault.facts.setdefault("index", index)
            raise

    def _run(
        self,
        connection: apsw.Connection,
        statement: Statement,
        run: Sequence[tuple[TableSpec, Change]],
        values: Sequence[Sequence[Value]],
        at: int,
    ) -> list[Applied]:
        if statement.is_counted and statement.is_kept_as_given([change for _, change in run]):
            before = connection.total_changes()
            connection.execute("SAVEPOINT counted")
            self._many(connection, statement.counted_sql, values, at)
            if connection.total_changes() - before == len(run):
                connection.execute("RELEASE counted")
                return [AS_WANTED] * len(run)
            connection.execute("ROLLBACK TO counted; RELEASE counted")
        back = self._many(connection, statement.sql, [*values, range(len(run))], at)
        found = statement.applied(back, len(run))
        if all(applied is not None and applied.rows == 1 for applied in found):
            return found  # type: ignore[return-value]  # None is not among them
        return self._odd(run, found, at)

    @staticmethod
    def _many(
        connection: apsw.Connection, sql: str, columns: Sequence[Sequence[Value]], at: int
    ) -> list[tuple[Value, ...]]:
        taken = _Counted(zip(*columns, strict=True))
        try:
            return connection.executemany(sql, taken).fetchall()
        except apsw.Error as fault:
            fault.index = at + taken.count - 1  # type: ignore[attr-defined]  # said with the refusal it becomes
            raise

    def _odd(self, run: Sequence[tuple[TableSpec, Change]], found: Sequence[Applied | None], at: int) -> list[Applied]:
        """Where something changed no row: a value may be written in an unusual way, unless the key comes again."""
        times = Counter(change.key for _, change in run)
        done = []
        for place, ((spec, change), applied) in enumerate(zip(run, found, strict=True)):
            if applied is not None and applied.rows == 1:
                done.append(applied)
            elif applied is None and times[change.key] > 1:
                done.append(Applied(0, {}))
            elif applied is None:
                done.append(self._single(spec, change, at + place))
            else:
                raise BackendRefused(f"The key {change.key} stands in {applied.rows} rows.", index=at + place)
        return done


class _Counted:
    """An iterator that tells how many it has handed out."""

    def __init__(self, items: Iterator[Any]) -> None:
        self._items = items
        self.count = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        item = next(self._items)
        self.count += 1
        return item
