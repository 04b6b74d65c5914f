"""The store as everybody else sees it: reads only, each thread its own Reader, from any process."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import apsw

from brique.clock import unstamp
from brique.errors import BriqueError, EngineAway, NotFound
from brique.schema import Reference, Row, State, TableSpec, Value
from brique.store import conditions, search, states
from brique.store import connection as connections
from brique.store.browse import Browse
from brique.store.changes import RowChange
from brique.store.commands import Commands, StoredCommand
from brique.store.layout import Layout, quoted
from brique.store.ledger import unpacked
from brique.store.query import Filter, ListPage, ListQuery
from brique.store.representations import Representations
from brique.store.rows import Rows, StoredRow
from brique.store.sample import Sample
from brique.store.states import BackendState, TableState

_REFERRED_MAX = 20  # target rows for a search to go by references
_LOOKED_AT_MAX = 400  # candidates of a look-up


class ChangesForgotten(BriqueError):
    """The change log does not reach back that far: read everything anew. Fact `oldest`: the first seq kept."""

    status = 410
    code = "changes-forgotten"


@dataclass(frozen=True, slots=True)
class LoggedChange(RowChange):
    """A row change of the log. `key` None: all rows of the table were replaced. `origin`: position of a command."""

    key: str | None  # type: ignore[assignment]  # only of the log: in a transaction `Tx.reloaded` says it
    at: datetime | None = None
    origin: int | None = None


class Reader:
    """Reads of the store. Every method sees one state of it; inside `snapshot` all of them see the same.

    The file may be missing at first, replaced or migrated while this lives: it is opened at first use and anew.
    Raises EngineAway while there is no store.
    """

    def __init__(self, path: Path, specs: Mapping[str, TableSpec]) -> None:
        self.path = path
        self.specs = specs
        self._connection: apsw.Connection | None = None
        self._borrowed = False
        self._inode: tuple[int, int] | None = None
        self._depth = 0
        self._known: dict[str, tuple[TableState, Rows]] = {}
        self._layouts: dict[tuple[str, int], Rows] = {}
        self._samples: dict[tuple[str, int], Sample | None] = {}

    @classmethod
    def over(cls, connection: apsw.Connection, specs: Mapping[str, TableSpec]) -> Reader:
        """A reader on the writer's connection: sees what its open transaction has done so far."""
        reader = cls(Path(connection.filename), specs)
        reader._connection = connection
        reader._borrowed = True
        return reader

    # -- snapshots ----------------------------------------------------------------------------------------------------

    @contextmanager
    def snapshot(self) -> Iterator[Reader]:
        """One state of the store for all reads inside the block; may be nested."""
        if self._depth:
            self._depth += 1
            try:
                yield self
            finally:
                self._depth -= 1
            return
        connection = self._opened()
        own = not connection.in_transaction
        if own:
            connection.execute("BEGIN")
        self._known.clear()
        self._depth = 1
        try:
            if own:
                connection.execute("SELECT 1 FROM meta").fetchone()
            yield self
        finally:
            self._depth = 0
            self._known.clear()
            if own and connection.in_transaction:
                connection.execute("ROLLBACK")

    def _opened(self) -> apsw.Connection:
        if self._borrowed and self._connection is not None:
            return self._connection
        try:
            status = self.path.stat()
            if self._connection is not None and self._inode != (status.st_dev, status.st_ino):
                self.close()
            if self._connection is None:
                self._connection = connections.reader(self.path)
                self._inode = (status.st_dev, status.st_ino)
                self._connection.execute("SELECT 1 FROM meta").fetchone()
        except (FileNotFoundError, apsw.CantOpenError, apsw.SQLError) as fault:
            self.close()
            raise EngineAway("The store is not there yet.", try_this="Start the engine: brique up.") from fault
        return self._connection

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        if self._connection is not None and not self._borrowed:
            self._connection.close()
            self._connection = None
            self._layouts.clear()
            self._samples.clear()

    def _table(self, table: str) -> tuple[TableState, Rows]:
        """State and rows of a table in the current snapshot. Raises NotFound."""
        known = self._known.get(table)
        if known is None:
            spec = self.specs.get(table)
            assert self._connection is not None
            state = states.table_state(self._connection, table) if spec is not None else None
            if spec is None or state is None:
                raise NotFound(f"There is no table {table}.")
            rows = self._layouts.get((table, state.generation))
            if rows is None:
                layout = Layout(spec, state.generation, self._searchable(spec, state.generation))
                rows = self._layouts[(table, state.generation)] = Rows(self._connection, layout)
            known = self._known[table] = (state, rows)
        return known

    def _searchable(self, spec: TableSpec, generation: int) -> bool:
        name = Layout(spec, generation).search_name
        return self._one("SELECT 1 FROM sqlite_schema WHERE name = ?", (name,)) is not None

    def _sample(self, layout: Layout) -> Sample | None:
        """The sample that guides searches of a table, kept for its generation."""
        place = (layout.spec.name, layout.generation)
        if place not in self._samples:
            row = self._one("SELECT grams FROM sample WHERE table_name = ? AND generation = ?", place)
            self._samples[place] = Sample(row[0]) if row is not None else None
        return self._samples[place]

    def _one(self, query: str, bound: Sequence[Any] = ()) -> Any:
        assert self._connection is not None
        return self._connection.execute(query, tuple(bound)).fetchone()

    @property
    def _db(self) -> Any:
        # Any: SQLite's values have no static type.
        assert self._connection is not None
        return self._connection

    # -- rows ---------------------------------------------------------------------------------------------------------

    def row(self, table: str, key: str) -> StoredRow | None:
        """The visible row of a key; a temporary key still leads to the row after it has got its real one."""
        with self.snapshot():
            _, rows = self._table(table)
            found = rows.get(key)
            if found is None and (real := Commands(self._db).real_key(table, key)) != key:
                found = rows.get(real)
            return found

    def rows_by(
        self, table: str, columns: str | Sequence[str], values: Value | Sequence[Value], limit: int = 100
    ) -> list[StoredRow]:
        """Rows whose columns hold these values, in the order in which they came; NULL never matches."""
        names = [columns] if isinstance(columns, str) else list(columns)
        wanted = list(values) if isinstance(values, list | tuple) else [values]
        if any(value is None for value in wanted):
            return []
        filters = tuple(Filter(name, "eq", value) for name, value in zip(names, wanted, strict=True))  # type: ignore[arg-type]  # checked: no sequence is left in `wanted`
        with self.snapshot():
            _, rows = self._table(table)
            best = self._browse(table, ListQuery(filters=filters, limit=1))
            where, bound = best.where()
            query = f"{rows.layout.select} WHERE {where} ORDER BY _id LIMIT ?"
            return [rows.stored(record) for record in self._db.execute(query, (*bound, limit))]

    def labels(self, table: str, keys: Collection[str]) -> dict[str, str]:
        """Readable labels of rows by key; keys without a row are left out."""
        if not keys:
            return {}
        with self.snapshot():
            _, rows = self._table(table)
            holes = ", ".join("?" * len(set(keys)))
            query = f"{rows.layout.select} WHERE _key IN ({holes})"
            found: dict[str, str] = {}
            for record in self._db.execute(query, tuple(set(keys))):
                row = rows.stored(record)
                found[row.key] = label_of(rows.layout.spec, row)
            return found

    def labels_of(self, reference: Reference, values: Collection[Value]) -> dict[Value, str]:
        """Labels of the rows that a single-column reference leads to, by the value that refers to them."""
        wanted = tuple({value for value in values if value is not None})
        if not wanted:
            return {}
        with self.snapshot():
            _, rows = self._table(reference.table)
            target, found = reference.target_columns[0], dict[Value, str]()
            for start in range(0, len(wanted), 500):
                condition = conditions.of_filter(rows.layout, Filter(target, "in", wanted[start : start + 500]))
                for record in self._db.execute(f"{rows.layout.select} WHERE {condition.test}", condition.bound):
                    row = rows.stored(record)
                    found[row.values[target]] = label_of(rows.layout.spec, row)
            return found

    def lookup(self, table: str, text: str, limit: int = 20) -> list[tuple[str, str]]:
        """(key, label) of rows that a person may mean by `text`: labels that start with it first."""
        with self.snapshot():
            _, rows = self._table(table)
            spec, folded = rows.layout.spec, " ".join(search.words(text))
            if not folded or not rows.layout.searchable:
                page = self.browse(table, ListQuery(search=text, limit=limit, sort=_by_label(spec)))
                return [(row.key, label_of(spec, row)) for row in page.rows]
            candidates = self._candidates(rows, text)
            labelled = [(row.key, label_of(spec, row)) for row in candidates if _answers(rows.layout, row, text)]

            def rank(pair: tuple[str, str]) -> tuple[bool, bool, str]:
                label = " ".join(search.words(pair[1]))
                return (not label.startswith(folded) and pair[0] != text, folded not in label, label)

            return sorted(labelled, key=rank)[:limit]

    def _candidates(self, rows: Rows, text: str) -> list[StoredRow]:
        layout, found = rows.layout, dict[str, StoredRow]()
        exact = rows.get(text.strip())
        if exact is not None:
            found[exact.key] = exact
        for column in layout.spec.label_columns[:1]:
            condition = conditions.of_filter(layout, Filter(column, "prefix", text.strip()))
            if condition.ids is not None:
                query = f"{layout.select} INDEXED BY {layout.index(column)} WHERE {condition.test} LIMIT 50"
                for record in self._db.execute(query, condition.bound):
                    row = rows.stored(record)
                    found[row.key] = row
        for record in self._db.execute(layout.matching, (search.match(text, self._sample(layout))[0], _LOOKED_AT_MAX)):
            row = rows.stored(record)
            found[row.key] = row
        return list(found.values())

    # -- lists --------------------------------------------------------------------------------------------------------

    def browse(self, table: str, query: ListQuery) -> ListPage:
        """A page of a list. Raises NotFound for the table, BadInput for what the query has wrong."""
        with self.snapshot():
            state, _ = self._table(table)
            browse = self._browse(table, query)
            rows, following, previous = browse.page()
            count, exact = browse.count()
            if not exact and following is None and previous is None:
                count, exact = len(rows), True
            return ListPage(rows, following, previous, count, exact, self.seq(), state.confirmed_at)

    def stream(self, table: str, query: ListQuery, batch: int = 1000) -> Iterator[list[StoredRow]]:
        """All rows of a list in order, `batch` at a time, from one state of the store; cursors are ignored.

        Close the iterator if it is not exhausted: it holds a snapshot.
        """
        with self.snapshot():
            yield from self._browse(table, query).stream(batch)

    def count(self, table: str, filters: Sequence[Filter] = (), search: str = "") -> tuple[int, bool]:
        """How many rows pass, and whether that is exact (large numbers are not counted out)."""
        with self.snapshot():
            return self._browse(table, ListQuery(filters=tuple(filters), search=search)).count()

    def count_exactly(self, table: str, filters: Sequence[Filter] = (), search: str = "") -> int:
        """How many rows pass; takes up to half a second for each million rows."""
        with self.snapshot():
            browse = self._browse(table, ListQuery(filters=tuple(filters), search=search))
            count, exact = browse.count()
            return count if exact else browse.count_all()

    def sum(self, table: str, column: str, filters: Sequence[Filter] = (), search: str = "") -> Value:
        """The sum of a column as a store value, None when no row has a number; wrong-typed values do not count."""
        with self.snapshot():
            _, rows = self._table(table)
            where, bound = self._browse(table, ListQuery(filters=tuple(filters), search=search)).where()
            return self._sum(rows.layout, column, where, bound)

    def _sum(self, layout: Layout, column: str, where: str, bound: Sequence[Any]) -> Value:
        if column not in layout.spec.by_name:
            raise NotFound(f"There is no column {column}.")
        name = quoted(column)
        query = f"SELECT sum({name}) FROM {layout.table} WHERE typeof({name}) IN ('integer', 'real') AND ({where})"  # noqa: S608
        value: Value = self._one(query, bound)[0]
        return value

    def group(
        self,
        table: str,
        column: str,
        filters: Sequence[Filter] = (),
        *,
        total: str | None = None,
        limit: int = 1000,
    ) -> list[tuple[Value, int, Value]]:
        """(value, rows, sum of column `total`) for each value of a column, the most frequent first."""
        with self.snapshot():
            _, rows = self._table(table)
            for name in (column, *([total] if total else [])):
                if name not in rows.layout.spec.by_name:
                    raise NotFound(f"There is no column {name}.")
            where, bound = self._browse(table, ListQuery(filters=tuple(filters))).where()
            summed = "NULL"
            if total:
                summed = f"sum({quoted(total)}) FILTER (WHERE typeof({quoted(total)}) IN ('integer', 'real'))"
            query = (
                f"SELECT {quoted(column)}, count(*), {summed} FROM {rows.layout.table} "  # noqa: S608
                f"WHERE {where} GROUP BY {quoted(column)} ORDER BY 2 DESC, 1 LIMIT ?"
            )
            return [(value, count, amount) for value, count, amount in self._db.execute(query, (*bound, limit))]

    def _browse(self, table: str, query: ListQuery) -> Browse:
        state, rows = self._table(table)
        sample = self._sample(rows.layout) if query.search or query.filters else None
        tests = conditions.of_filters(rows.layout, query.filters, sample)
        if query.search:
            found = conditions.of_search(
                rows.layout, query.search, lambda: self._referring(rows.layout, query.search), sample
            )
            tests += [found] if found is not None else []
        return Browse(self._db, rows, state.rows, tests, query)

    def _referring(self, layout: Layout, question: str) -> list[tuple[str, list[Value]]]:
        """(column, values) of references whose target rows answer the question, where these are few."""
        result: list[tuple[str, list[Value]]] = []
        for column, reference in layout.spec.reference_of.items():
            if reference.table not in self.specs or reference.table == layout.spec.name:
                continue
            values = self._targets(reference, question)
            if 0 < len(values) <= _REFERRED_MAX:
                result.append((column, values))
        return result

    def _targets(self, reference: Reference, question: str) -> list[Value]:
        try:
            _, rows = self._table(reference.table)
        except NotFound:
            return []
        layout = rows.layout
        if not layout.searchable or reference.target_columns[0] not in layout.spec.by_name:
            return []
        matching, _ = search.match(question, self._sample(layout))
        found = self._db.execute(layout.matching, (matching, _REFERRED_MAX * 2 + 1)).fetchall()
        if len(found) > _REFERRED_MAX * 2:
            return []
        values = []
        for record in found:
            row = rows.stored(record)
            if search.found(question, (label_of(layout.spec, row),)):
                values.append(row.values[reference.target_columns[0]])
        return [value for value in values if value is not None]

    # -- states, commands, changes ------------------------------------------------------------------------------------

    def seq(self) -> int:
        """The store's position: the number of its last change."""
        with self.snapshot():
            return int(self._one("SELECT max(seq) FROM change")[0] or 0)

    def data_version(self) -> int:
        """A number that changes when another connection has committed."""
        return int(self._opened().pragma("data_version"))

    def settled_seq(self) -> int:
        """The settlement number by now: a refresh takes it as `began` before it reads its source."""
        with self.snapshot():
            row = self._one("SELECT value FROM meta WHERE name = 'settlement'")
            return int(row[0]) if row else 0

    def read_back(self, table: str) -> int:
        """The settlement number at which rows of `table` were last read back beside a refresh; 0: a refresh that began
        later has read them all again."""
        with self.snapshot():
            return int(self._one("SELECT coalesce(max(seq), 0) FROM fresh WHERE table_name = ?", (table,))[0])

    def spool_position(self) -> int:
        with self.snapshot():
            row = self._one("SELECT value FROM meta WHERE name = 'spool_position'")
            return int(row[0]) if row else 0

    def meta(self, name: str) -> Value:
        with self.snapshot():
            row = self._one("SELECT value FROM meta WHERE name = ?", (name,))
            value: Value = row[0] if row else None
            return value

    def table_state(self, table: str) -> TableState:
        """Whether a table is loaded, how many rows it has, how old they are. Raises NotFound."""
        with self.snapshot():
            return self._table(table)[0]

    def backend_states(self) -> dict[str, BackendState]:
        with self.snapshot():
            return states.backend_states(self._db)

    def command(self, which: int | str, user: str | None = None) -> StoredCommand | None:
        """A command by its position or its id."""
        with self.snapshot():
            commands = Commands(self._db)
            return commands.at(which) if isinstance(which, int) else commands.by_id(which, user)

    def outbox(
        self,
        states: Collection[State] = (),
        user: str | None = None,
        backend: str | None = None,
        limit: int = 50,
        after: int | None = None,
        dismissed: bool | None = None,
    ) -> list[StoredCommand]:
        """Commands, newest first; `after` is the position of the last one of the page before."""
        with self.snapshot():
            return Commands(self._db).outbox(
                states, user=user, backend=backend, limit=limit, before=after, dismissed=dismissed
            )

    def pending_for(self, backend: str, limit: int, after: int = 0) -> list[StoredCommand]:
        """Commands of a backend that are not settled, oldest first, past a position."""
        with self.snapshot():
            return Commands(self._db).waiting(backend, limit, after)

    def applied_for(self, backend: str, limit: int, after: int = 0) -> list[StoredCommand]:
        """Applied commands of a backend, oldest first, past a position."""
        with self.snapshot():
            return Commands(self._db).applied(backend, limit, after)

    def commands_on(self, table: str, key: str) -> list[StoredCommand]:
        """Commands that are laid over a row or mark it, oldest first."""
        with self.snapshot():
            return Commands(self._db).touching(table, key)

    def command_counts(self, user: str | None = None, backend: str | None = None) -> dict[State, int]:
        """How many commands are in each state."""
        with self.snapshot():
            return Commands(self._db).counts(user=user, backend=backend)

    def needing_person(self, user: str | None = None, backend: str | None = None) -> int:
        """How many commands wait for a person to decide."""
        with self.snapshot():
            return Commands(self._db).needing_person(user=user, backend=backend)

    def real_keys(self, temporary: Collection[str]) -> dict[str, str]:
        """The real keys of those temporary ones that have got one."""
        with self.snapshot():
            found: dict[str, str] = {}
            for key in temporary:
                row = self._one("SELECT key FROM renamed WHERE old = ?", (key,))
                if row is not None:
                    found[key] = row[0]
            return found

    def stream_id(self) -> str:
        """What marks of this intranet's commands are kept under in its backends."""
        return str(self.meta("stream_id"))

    def real_key(self, table: str, key: str) -> str:
        """The key that a temporary one has become; any other key as it is."""
        with self.snapshot():
            return Commands(self._db).real_key(table, key)

    def base(self, table: str, key: str) -> Row | None:
        """The source row of a key, without what is pending over it."""
        with self.snapshot():
            found = self._one("SELECT base FROM shadow WHERE table_name = ? AND key = ?", (table, key))
            if found is not None:
                return unpacked(found[0])
            row = self._table(table)[1].get(key)
            return row.values if row else None

    def query(self, sql: str, bound: Sequence[Value] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of one SELECT: as they come inside `snapshot` (exhaust or close it there), else all at once."""
        if self._depth:
            return iter(self._db.execute(sql, tuple(bound)))
        with self.snapshot():
            return iter(self._db.execute(sql, tuple(bound)).fetchall())

    @property
    def representations(self) -> Representations:
        """The ready bytes; use it inside `snapshot`, or for single reads."""
        return Representations(self._opened())

    def changes_since(self, seq: int, limit: int = 1000) -> list[LoggedChange]:
        """Changes after number `seq`, oldest first. Raises ChangesForgotten when some of them are not kept."""
        with self.snapshot():
            oldest, newest = self._one("SELECT min(seq), max(seq) FROM change")
            if oldest is not None and seq < oldest - 1:
                raise ChangesForgotten("The change log does not reach back that far.", oldest=oldest, newest=newest)
            return list(self._logged("WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit)))

    def history(self, table: str, key: str, limit: int = 50) -> list[LoggedChange]:
        """The last changes of a row, newest first, as far as the log reaches."""
        with self.snapshot():
            return list(self._logged("WHERE table_name = ? AND key = ? ORDER BY seq DESC LIMIT ?", (table, key, limit)))

    def _logged(self, tail: str, bound: tuple[Any, ...]) -> Iterator[LoggedChange]:
        query = (
            f"SELECT seq, table_name, key, before, after, at, origin, pending_before, pending_after FROM change {tail}"  # noqa: S608
        )
        for seq, table, key, before, after, at, origin, was, now in self._db.execute(query, bound).fetchall():
            yield LoggedChange(table, key, unpacked(before), unpacked(after), was, now, seq, unstamp(at), origin)


def label_of(spec: TableSpec, row: StoredRow) -> str:
    """A readable label for a row: its label columns, else its key."""
    parts = [str(spec.by_name[name].json(row.values[name])) for name in spec.label_columns if _shown(row.values[name])]
    return " ".join(parts) or row.key


def _shown(value: Value) -> bool:
    return value is not None and value != "" and not isinstance(value, bytes)


def _by_label(spec: TableSpec) -> tuple[tuple[str, bool], ...]:
    return tuple((name, False) for name in spec.label_columns[:1])


def _answers(layout: Layout, row: StoredRow, text: str) -> bool:
    values = tuple(row.values[name] for name in layout.search_columns)
    return search.found(text, values) or row.key == text.strip()
