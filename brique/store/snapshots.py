"""One state of the store for several reads: connections, snapshots, and which generation of a table counts in them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import apsw

from brique.errors import EngineAway, NotFound
from brique.schema import TableSpec
from brique.store import connection as connections
from brique.store import states
from brique.store.layout import Layout
from brique.store.rows import Rows
from brique.store.sample import Sample
from brique.store.states import TableState

Seen = TypeVar("Seen", bound="Snapshots")


class _View(Generic[Seen]):
    """The block of `Snapshots.snapshot`; one for each reader, because a read opens several, one inside the other."""

    __slots__ = ("_snapshots",)

    def __init__(self, snapshots: Seen) -> None:
        self._snapshots = snapshots

    def __enter__(self) -> Seen:
        self._snapshots._begin()
        return self._snapshots

    def __exit__(self, kind: object, fault: object, trace: object) -> None:
        self._snapshots._end()


class Snapshots:
    """A connection to the store and its snapshots: what every reader is made of.

    The file may be missing at first, replaced or migrated while this lives: it is opened at first use and anew.
    Raises EngineAway while there is no store.
    """

    def __init__(self, path: Path, specs: Mapping[str, TableSpec]) -> None:
        self.path = path
        self._file = os.fspath(path)
        self.specs = specs
        self._connection: apsw.Connection | None = None
        self._borrowed = False
        self._inode: tuple[int, int] | None = None
        self._depth = 0
        self._is_own = False
        self._view: _View[Any] = _View(self)
        self._known: dict[str, tuple[TableState, Rows]] = {}
        self._layouts: dict[tuple[str, int], Rows] = {}
        self._samples: dict[tuple[str, int], Sample | None] = {}
        self._stream_id = ""
        self.on_statement: Callable[[str, float], None] | None = None
        """Is told each statement with its seconds, from the next opening on: for who develops."""

    @classmethod
    def over(cls, connection: apsw.Connection, specs: Mapping[str, TableSpec]) -> Self:
        """A reader on the writer's connection: sees what its open transaction has done so far."""
        reader = cls(Path(connection.filename), specs)
        reader._connection = connection
        reader._borrowed = True
        return reader

    def snapshot(self) -> AbstractContextManager[Self]:
        """One state of the store for all reads inside the block; may be nested."""
        return self._view

    def _begin(self) -> None:
        """Enter a block; the outermost one fixes the state."""
        if self._depth:
            self._depth += 1
            return
        connection = self._opened()
        self._is_own = not connection.in_transaction
        self._known.clear()
        if not self._is_own:
            self._depth = 1
            return
        connection.execute("BEGIN")
        self._depth = 1
        try:
            connection.execute("SELECT 1 FROM meta").fetchone()
        except BaseException:
            self._end()
            raise

    def _end(self) -> None:
        """Leave a block."""
        self._depth -= 1
        if self._depth:
            return
        self._known.clear()
        connection = self._connection
        if self._is_own and connection is not None and connection.in_transaction:
            connection.execute("ROLLBACK")

    def _opened(self) -> apsw.Connection:
        if self._borrowed and self._connection is not None:
            return self._connection
        try:
            status = os.stat(self._file)  # noqa: PTH116 - half the cost of Path.stat, at each read
            if self._connection is not None and self._inode != (status.st_dev, status.st_ino):
                self.close()
            if self._connection is None:
                self._connection = connections.reader(self.path)
                if self.on_statement is not None:
                    connections.tell_statements(self._connection, self.on_statement)
                self._inode = (status.st_dev, status.st_ino)
                self._connection.execute("SELECT 1 FROM meta").fetchone()
        except (FileNotFoundError, apsw.CantOpenError, apsw.SQLError) as fault:
            self.close()
            raise EngineAway("The store is not there yet.", try_this="Start the engine: brique up.") from fault
        return self._connection

    def plan(self, sql: str) -> list[str]:
        """How SQLite goes about a statement, a line for each step."""
        return connections.plan(self._opened(), sql)

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        if self._connection is not None and not self._borrowed:
            self._connection.close()
            self._connection = None
            self._layouts.clear()
            self._samples.clear()
            self._stream_id = ""

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
