"""One transaction of changes in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from brique.backends.faults import LOST, away, refused
from brique.backends.postgresql.batches import RUN_MIN, Run
from brique.backends.postgresql.catalogue import quoted, run, texts
from brique.backends.postgresql.line import Line
from brique.backends.postgresql.procedures import call
from brique.backends.postgresql.rows import Parameters, Raw, TableRows, load
from brique.backends.protocol import AS_WANTED, Applied, Tag
from brique.errors import BackendRefused
from brique.schema import Change, Effect, Row, TableSpec, Value

SEVERAL_ROWS = "The key {key} of {table} stands in {rows} rows: none of them was changed."
LEFT_ALONE = "The database left the row as it was: a trigger or rule says no."
RUN_MAX = 5_000
"""Changes sent before their answers are read."""
Shape = tuple[str, tuple[str, ...] | None, tuple[str, ...] | None]
"""Table, names of `before` and of `after`."""
_LOUD = (
    "SELECT EXISTS (SELECT 1 FROM pg_trigger WHERE tgrelid = to_regclass({table}) AND NOT tgisinternal) "
    "OR EXISTS (SELECT 1 FROM pg_rewrite WHERE ev_class = to_regclass({table}) AND ev_type <> '1')"
)


class PostgresSession:
    """An open transaction on `line`; over when its connection is another one than at the start (`opened`)."""

    def __init__(self, line: Line, timeout: float, marker: str, opened: int) -> None:
        self._line = line
        self._timeout = timeout
        self._marker = marker
        self._opened = opened
        self._tables: dict[str, TableRows] = {}
        self._runs: dict[Shape, Run] = {}
        self._quiet: dict[str, bool] = {}

    def _check(self) -> None:
        if not self._line.is_open or self._line.opened != self._opened:
            raise away(LOST, backend=self._line.backend, reason="the transaction is over")

    def _rows(self, spec: TableSpec) -> TableRows:
        rows = self._tables.get(spec.name)
        if rows is None or rows.spec is not spec:
            with self._line.call(self._timeout, begun=self._opened) as connection:
                rows = self._tables[spec.name] = load(connection, spec)
        return rows

    def _run(self, sql: str, parameters: Parameters) -> tuple[int, list[list[str | None]]]:
        """Rows changed, and rows returned."""
        self._check()
        with self._line.call(self._timeout, begun=self._opened) as connection:
            cursor = run(connection, sql, parameters.values)
            return cursor.rowcount, texts(cursor) if cursor.description else []

    def identify(self, tag: Tag) -> None:
        """The old values, or the mark, tell a second try from a first."""

    def call(self, effect: Effect) -> Row:
        self._check()
        with self._line.call(self._timeout, begun=self._opened) as connection:
            return call(connection, effect)

    def insert(self, spec: TableSpec, row: Row) -> Row:
        self._check()
        rows = self._rows(spec)
        parameters = Parameters()
        _, back = self._run(_insert(rows, parameters, row), parameters)
        if not back:
            raise refused(LEFT_ALONE)
        return rows.parsed_key(back[0])

    def update(self, spec: TableSpec, key: tuple[Value, ...], before: Row, after: Row) -> int:
        self._check()
        rows = self._rows(spec)
        if not any(name in rows.written for name in after):
            return 1 if rows.holds(self._now(rows, key), before) else 0
        return self._change(rows, key, before, after)

    def delete(self, spec: TableSpec, key: tuple[Value, ...], before: Row) -> int:
        self._check()
        return self._change(self._rows(spec), key, before, None)

    def _change(self, rows: TableRows, key: tuple[Value, ...], before: Row, after: Row | None) -> int:
        """Change the row of `key`, if it still holds `before`.

        First by comparing in SQL, which is quick and may miss a value that is written in an unusual way; then by
        reading the row, locked, and comparing what brique would have shown.
        """
        parameters = Parameters()
        changed, _ = self._run(_change(rows, parameters, key, before, after), parameters)
        return self._checked(rows, key, before, after, changed)

    def _checked(self, rows: TableRows, key: tuple[Value, ...], before: Row, after: Row | None, changed: int) -> int:
        if changed == 0 and rows.holds(self._now(rows, key, lock=True), before):
            parameters = Parameters()
            changed, _ = self._run(_change(rows, parameters, key, {}, after), parameters)
            if changed == 0:
                raise refused(LEFT_ALONE)
        if changed > 1:
            raise refused(SEVERAL_ROWS, key=", ".join(map(str, key)), table=rows.spec.source, rows=changed)
        return changed

    def _now(self, rows: TableRows, key: tuple[Value, ...], *, lock: bool = False) -> Row | None:
        parameters = Parameters()
        sql = f"{rows.select} WHERE {rows.where(parameters, key)} LIMIT 1{' FOR UPDATE' if lock else ''}"
        _, found = self._run(sql, parameters)
        return dict(zip(rows.spec.names, rows.parsed(found)[0], strict=True)) if found else None

    def look(self, spec: TableSpec, key: tuple[Value, ...]) -> Row | None:
        self._check()
        return self._now(self._rows(spec), key)

    def apply(self, changes: Sequence[tuple[TableSpec, Change]]) -> list[Applied]:
        done: list[Applied] = []
        while len(done) < len(changes):
            self._check()
            at = len(done)
            shape = _shape(changes[at][1])
            end, keys = at + 1, {changes[at][1].key}
            while end < len(changes) and end - at < RUN_MAX and _shape(changes[end][1]) == shape:
                if changes[end][1].key in keys and end - at >= RUN_MIN:
                    break  # a key that comes again begins another run
                keys.add(changes[end][1].key)
                end += 1
            try:
                done += self._apply_run(changes[at:end])
            except BackendRefused as fault:
                index = fault.facts.get("index")
                if isinstance(index, int):
                    fault.facts["index"] = at + index
                elif end - at == 1:
                    fault.facts["index"] = at
                raise
        return done

    def _apply_run(self, changes: Sequence[tuple[TableSpec, Change]]) -> list[Applied]:
        """Changes of one shape, sent together; what each of them did."""
        spec = changes[0][0]
        plain = [change for _, change in changes]
        keys = {change.key for change in plain}
        if len(plain) >= RUN_MIN and len(keys) == len(plain):
            run = self._run_like(spec, plain[0])
            arrays = run.arrays(plain) if run.can else None
            if arrays is not None:
                return self._unnested(run, plain, arrays)
        return self._one_by_one(spec, plain)

    def _run_like(self, spec: TableSpec, change: Change) -> Run:
        shape = _shape(change)
        run = self._runs.get(shape)
        if run is None:
            run = self._runs[shape] = Run(self._rows(spec), change)
        return run

    def _unnested(self, unnested: Run, changes: Sequence[Change], arrays: Sequence[Raw | None]) -> list[Applied]:
        is_quiet = self._is_quiet(unnested.spec)
        is_sure = is_quiet and unnested.is_sure and unnested.kept_as_given(changes)
        with self._line.call(self._timeout, begun=self._opened) as connection:
            back = texts(run(connection, unnested.placed_sql if is_sure else unnested.sql, arrays))
        if is_sure:
            found = unnested.placed(len(changes), back)
            if found.count(AS_WANTED) == len(changes):
                return found
        else:
            found = unnested.applied(changes, back, is_quiet=is_quiet)
        return [self._settled(unnested.spec, change, applied) for change, applied in zip(changes, found, strict=True)]

    def _settled(self, spec: TableSpec, change: Change, applied: Applied) -> Applied:
        """`applied`, after a second look at a change that found nothing: a value may be written in an unusual way."""
        if applied.rows == 1:
            return applied
        if change.before is None:
            raise refused(LEFT_ALONE)
        key = spec.key_values(change.key)
        return Applied(self._checked(self._rows(spec), key, change.before, change.after, applied.rows), {})

    def _is_quiet(self, spec: TableSpec) -> bool:
        """Whether nothing changes a row of the table after a statement has returned it."""
        found = self._quiet.get(spec.name)
        if found is None:
            parameters = Parameters()
            table = parameters.add(Raw(self._rows(spec).table.encode()))
            _, rows = self._run(_LOUD.format(table=table), parameters)
            found = self._quiet[spec.name] = rows[0][0] == "f"
        return found

    def _one_by_one(self, spec: TableSpec, changes: Sequence[Change]) -> list[Applied]:
        """Changes of one shape, each a statement, sent without waiting in between while statement and key allow it."""
        rows = self._rows(spec)
        done: list[Applied] = []
        while len(done) < len(changes):
            run: list[tuple[TableRows, Change, Parameters]] = []
            statement, keys = "", set()
            for change in changes[len(done) :]:
                parameters = Parameters()
                sql = _statement(rows, parameters, change)
                if (run and sql != statement) or change.key in keys:
                    break
                statement = sql
                keys.add(change.key)
                run.append((rows, change, parameters))
            if not statement:
                _, change, _ = run[0]
                key = rows.spec.key_values(change.key)
                done.append(Applied(self.update(rows.spec, key, change.before or {}, change.after or {}), {}))
                continue
            results = self._send(statement, run, len(done))
            done += [self._outcome(rows, entry[1], *result) for entry, result in zip(run, results, strict=True)]
        return done

    def _send(
        self, statement: str, run: Sequence[tuple[TableRows, Change, Parameters]], at: int
    ) -> list[tuple[int, list[list[str | None]]]]:
        results: list[tuple[int, list[list[str | None]]]] = []
        try:
            with self._line.call(self._timeout, begun=self._opened) as connection:
                cursor = connection.cursor()
                cursor.executemany(statement.encode(), [parameters.values for _, _, parameters in run], returning=True)
                for _ in run:
                    results.append((cursor.rowcount, texts(cursor) if cursor.description else []))
                    cursor.nextset()
        except BackendRefused as fault:
            if len(run) == 1:
                fault.facts["index"] = at
            raise
        return results

    def _outcome(self, rows: TableRows, change: Change, changed: int, back: list[list[str | None]]) -> Applied:
        if change.before is None:
            if not back:
                raise refused(LEFT_ALONE)
            return Applied(1, rows.parsed_key(back[0]))
        if changed != 1:
            key = rows.spec.key_values(change.key)
            changed = self._checked(rows, key, change.before, change.after, changed)
        return Applied(changed, {})

    def move_watermark(self, stream: str, previous: int, position: int) -> bool:
        parameters = Parameters()
        new, name, old = (parameters.add(Raw(str(part).encode())) for part in (position, stream, previous))
        sql = f"UPDATE {self._marker} SET position = {new} WHERE stream = {name} AND position = {old}"  # noqa: S608
        changed, _ = self._run(sql, parameters)
        if changed == 0 and previous == 0:
            parameters = Parameters()
            name, new = (parameters.add(Raw(str(part).encode())) for part in (stream, position))
            sql = f"INSERT INTO {self._marker} (stream, position) VALUES ({name}, {new}) ON CONFLICT DO NOTHING"  # noqa: S608
            changed, _ = self._run(sql, parameters)
        return changed == 1


def _shape(change: Change) -> Shape:
    """What has the same shape has the same statement."""
    before, after = change.before, change.after
    return change.table, None if before is None else tuple(before), None if after is None else tuple(after)


def _statement(rows: TableRows, parameters: Parameters, change: Change) -> str:
    """The SQL of one change; "" for an update that writes nothing."""
    if change.before is None:
        return _insert(rows, parameters, change.after or {})
    if change.after is not None and not any(name in rows.written for name in change.after):
        return ""
    return _change(rows, parameters, rows.spec.key_values(change.key), change.before, change.after)


def _insert(rows: TableRows, parameters: Parameters, row: Row) -> str:
    cells = {rows.written[name]: value for name, value in row.items() if name in rows.written}
    back = rows.key_outputs
    if not cells:
        return f"INSERT INTO {rows.table} DEFAULT VALUES RETURNING {back}"  # noqa: S608
    names = ", ".join(quoted(column.source) for column in cells)
    values = ", ".join(rows.place(parameters, column, value) for column, value in cells.items())
    return f"INSERT INTO {rows.table} ({names}) VALUES ({values}) RETURNING {back}"  # noqa: S608


def _change(rows: TableRows, parameters: Parameters, key: Sequence[Value], before: Row, after: Row | None) -> str:
    if after is None:
        to = f"DELETE FROM {rows.table}"  # noqa: S608
    else:
        cells = {rows.written[name]: value for name, value in after.items() if name in rows.written}
        pairs = [f"{quoted(c.source)} = {rows.place(parameters, c, value)}" for c, value in cells.items()]
        to = f"UPDATE {rows.table} SET {', '.join(pairs)}"  # noqa: S608
    return f"{to} WHERE {rows.where(parameters, key)}{rows.same(parameters, before)}"
