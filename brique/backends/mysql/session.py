"""One transaction of changes in MariaDB or MySQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from brique.backends.faults import SAYS, refused
from brique.backends.mysql.catalogue import unique_columns
from brique.backends.mysql.line import Answer, Line
from brique.backends.mysql.procedures import call_procedure
from brique.backends.mysql.rows import TableRows, load
from brique.backends.mysql.types import quote
from brique.backends.protocol import Applied, Tag
from brique.errors import BackendAway, BackendRefused
from brique.schema import Change, Effect, Row, TableSpec, Value

SEVERAL_ROWS = "The key {key} of {table} stands in {rows} rows: none of them was changed."
LEFT_ALONE = "The database left the row as it was: a trigger or rule says no."
UNDONE = "The database undid the transaction: an earlier statement in it had failed."
RUN_MAX = 1_000
"""Changes sent before their answers are read."""
_RUN_BYTES = 1 << 20
"""Text of statements sent at once; a longer one goes alone."""


class MysqlSession:
    """An open transaction on `line`; over when its connection is another one than at the start (`opened`).

    `is_guarded`: the transaction is of a kind that a procedure cannot end by itself (`procedures`).
    """

    def __init__(
        self, line: Line, timeout: float, marker: str, opened: int, *, is_guarded: bool, returns: bool | None = None
    ) -> None:
        self._line = line
        self._timeout = timeout
        self._marker = marker
        self._opened = opened
        self._is_guarded = is_guarded
        self._returns = returns
        self._tables: dict[str, TableRows] = {}
        self.has_failed = False

    @contextmanager
    def _trying(self, rows: TableRows | None = None) -> Iterator[None]:
        """After a fault nothing of the session may be kept: here, other than elsewhere, the server would go on."""
        if self.has_failed:
            raise refused(UNDONE)
        try:
            yield
        except BackendRefused as fault:
            self.has_failed = True
            raise self._explained(rows, fault) from fault.__cause__
        except BackendAway:
            self.has_failed = True
            raise

    def _explained(self, rows: TableRows | None, fault: BackendRefused) -> BackendRefused:
        """The fault with the columns of the index that it names."""
        index = fault.facts.get("index")
        if rows is None or not isinstance(index, str):
            return fault
        try:
            with self._line.call(self._timeout, begun=self._opened) as connection:
                columns = unique_columns(connection, rows.spec.source_schema, rows.spec.source, index)
        except (BackendAway, BackendRefused):
            return fault
        if not columns:
            return fault
        told = refused(str(fault.facts["sentence"]), columns=", ".join(columns))
        told.facts["code"] = fault.facts.get("code")
        return told

    def _rows(self, spec: TableSpec) -> TableRows:
        rows = self._tables.get(spec.name)
        if rows is None or rows.spec is not spec:
            with self._line.call(self._timeout, begun=self._opened) as connection:
                rows = self._tables[spec.name] = load(connection, spec)
        return rows

    def _run(self, sql: str) -> Answer:
        with self._line.call(self._timeout, begun=self._opened) as connection:
            return connection.one(sql)

    def identify(self, tag: Tag) -> None:
        """The old values, or the mark, tell a second try from a first."""

    def call(self, effect: Effect) -> Row:
        with self._trying(), self._line.call(self._timeout, begun=self._opened) as connection:
            return call_procedure(connection, effect, is_guarded=self._is_guarded)

    def insert(self, spec: TableSpec, row: Row) -> Row:
        with self._trying():
            rows = self._rows(spec)
        with self._trying(rows):
            return self._insert(rows, [row])[0]

    def _insert(self, rows: TableRows, made: Sequence[Row]) -> list[Row]:
        """Make rows of the same columns; the keys of all of them, in their order."""
        pieces = [rows.insert(row) for row in made]
        with self._line.call(self._timeout, begun=self._opened) as connection:
            returns = connection.server.returns if self._returns is None else self._returns
            if returns:
                sql = f"{pieces[0][0]}{', '.join(values for _, values in pieces)} RETURNING {rows.key_outputs}"
                found = connection.one(sql).rows
                if len(found) != len(made):
                    raise refused(LEFT_ALONE)
                return [rows.parsed_key(row) for row in found]
            answers = connection.all("; ".join(f"{head}{values}" for head, values in pieces))
        return [self._given(rows, row, answer) for row, answer in zip(made, answers, strict=True)]

    def _given(self, rows: TableRows, row: Row, answer: Answer) -> Row:
        """The key of a new row where INSERT returns none: the number that came with the answer stands for a key column
        that was not given, and the rest is read back."""
        key = {name: row[name] for name in rows.spec.key if row.get(name) is not None}
        if rows.numbered and rows.numbered not in key and answer.given:
            key[rows.numbered] = answer.given
        missing = [name for name in rows.spec.key if name not in key]
        if missing:
            reason = f"it does not say which {', '.join(missing)} it has given to the new row"
            raise refused(SAYS, reason=reason)
        values = tuple(key[name] for name in rows.spec.key)
        found = self._run(f"SELECT {rows.key_outputs} FROM {rows.table} WHERE {rows.where(values)} LIMIT 1").rows  # noqa: S608
        return rows.parsed_key(found[0]) if found else key

    def update(self, spec: TableSpec, key: tuple[Value, ...], before: Row, after: Row) -> int:
        with self._trying():
            rows = self._rows(spec)
            if not rows.cells(after):
                return 1 if rows.holds(self._now(rows, key), before) else 0
        with self._trying(rows):
            return self._checked(rows, key, before, after, self._run(rows.change(key, before, after)).changed)

    def delete(self, spec: TableSpec, key: tuple[Value, ...], before: Row) -> int:
        with self._trying():
            rows = self._rows(spec)
            return self._checked(rows, key, before, None, self._run(rows.change(key, before, None)).changed)

    def _checked(self, rows: TableRows, key: tuple[Value, ...], before: Row, after: Row | None, changed: int) -> int:
        """What a change did, that `changed` so many rows. First it was compared in SQL, which is quick and may miss a
        value that is written in an unusual way; where nothing was found the row is read, locked, and compared as brique
        would have shown it."""
        if changed == 0 and rows.holds(self._now(rows, key, lock=True), before):
            changed = self._run(rows.change(key, {}, after)).changed
            if changed == 0:
                raise refused(LEFT_ALONE)
        if changed > 1:
            raise refused(SEVERAL_ROWS, key=", ".join(map(str, key)), table=rows.spec.source, rows=changed)
        return changed

    def _now(self, rows: TableRows, key: tuple[Value, ...], *, lock: bool = False) -> Row | None:
        sql = f"{rows.select} WHERE {rows.where(key, 't.')} LIMIT 1{' FOR UPDATE' if lock else ''}"
        found = rows.parsed(self._run(sql).rows)
        return dict(zip(rows.spec.names, found[0], strict=True)) if found else None

    def look(self, spec: TableSpec, key: tuple[Value, ...]) -> Row | None:
        with self._trying():
            return self._now(self._rows(spec), key)

    def apply(self, changes: Sequence[tuple[TableSpec, Change]]) -> list[Applied]:
        done: list[Applied] = []
        while len(done) < len(changes):
            done += self._apply_run(changes[len(done) : len(done) + RUN_MAX])
        return done

    def _apply_run(self, changes: Sequence[tuple[TableSpec, Change]]) -> list[Applied]:
        """Apply the first of `changes`, and with it as many of those after it as can be sent together."""
        spec, change = changes[0]
        with self._trying():
            rows = self._rows(spec)
        if change.before is None:
            return self._insert_run(rows, changes)
        if not self._is_change(rows, change):
            return [Applied(self.update(spec, spec.key_values(change.key), change.before, change.after or {}), {})]
        return self._change_run(changes)

    @staticmethod
    def _is_change(rows: TableRows, change: Change) -> bool:
        """Whether it is an update that writes something, or a delete."""
        return change.before is not None and (change.after is None or bool(rows.cells(change.after)))

    def _insert_run(self, rows: TableRows, changes: Sequence[tuple[TableSpec, Change]]) -> list[Applied]:
        """New rows of one table with the same columns, in one statement."""
        made: list[Row] = []
        names, size = None, 0
        for spec, change in changes:
            row = change.after or {}
            if spec is not rows.spec or change.before is not None or (names is not None and set(row) != names):
                break
            size += sum(len(value) if isinstance(value, (str, bytes)) else 20 for value in row.values())
            if made and size > _RUN_BYTES // 2:
                break
            names = set(row)
            made.append({name: row[name] for name in made[0]} if made else row)
        with self._trying(rows):
            return [Applied(1, key) for key in self._insert(rows, made)]

    def _change_run(self, changes: Sequence[tuple[TableSpec, Change]]) -> list[Applied]:
        """Updates and deletes of different rows, each a statement, in one round trip; what each of them did."""
        run: list[tuple[TableRows, Change]] = []
        statements: list[str] = []
        touched: set[tuple[str, str]] = set()
        size = 0
        for spec, change in changes:
            with self._trying():
                rows = self._rows(spec)
            if (spec.name, change.key) in touched or not self._is_change(rows, change):
                break
            sql = rows.change(spec.key_values(change.key), change.before or {}, change.after)
            size += len(sql)
            if run and size > _RUN_BYTES // 4:  # a character has up to four bytes
                break
            touched.add((spec.name, change.key))
            run.append((rows, change))
            statements.append(sql)
        with self._trying(run[0][0] if len({rows.table for rows, _ in run}) == 1 else None):
            with self._line.call(self._timeout, begun=self._opened) as connection:
                answers = connection.all("; ".join(statements))
            return [
                Applied(self._outcome(rows, change, answer), {})
                for (rows, change), answer in zip(run, answers, strict=True)
            ]

    def _outcome(self, rows: TableRows, change: Change, answer: Answer) -> int:
        if answer.changed == 1:
            return 1
        key = rows.spec.key_values(change.key)
        return self._checked(rows, key, change.before or {}, change.after, answer.changed)

    def move_watermark(self, stream: str, previous: int, position: int) -> bool:
        with self._trying():
            name = quote(stream)
            sql = f"UPDATE {self._marker} SET position = {position} WHERE stream = {name} AND position = {previous}"  # noqa: S608
            changed = self._run(sql).changed
            if changed == 0 and previous == 0:
                changed = self._run(
                    f"INSERT IGNORE INTO {self._marker} (stream, position) VALUES ({name}, {position})"  # noqa: S608
                ).changed
        return changed == 1
