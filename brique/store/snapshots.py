"""One state of the store for several reads: connections, snapshots, and which generation of a table counts in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import apsw

from brique.errors import EngineAway, NotFound
from brique.schema import TableSpec
from brique.store import connection as connections
from brique.store import states
from brique.store.layout import Layout
from brique.store.rows import Rows
from brique.store.sample import Sample
from brique.store.states import TableState


class Snapshots:
    """A connection to the store and its snapshots: what every reader is made of.

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
    def over(cls, connection: apsw.Connection, specs: Mapping[str, TableSpec]) -> Self:
        """A reader on the writer's connection: sees what its open transaction has done so far."""
        reader = cls(Path(connection.filename), specs)
        reader._connection = connection
        reader._borrowed = True
        return reader

    @contextmanager
    def snapshot(self) -> Iterator[Self]:
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
