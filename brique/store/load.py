"""Replacing all rows of a table: built aside in small transactions, published by one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import apsw

from brique import errors
from brique.schema import Row
from brique.store import sample
from brique.store.connection import first
from brique.store.layout import Layout, quoted

if TYPE_CHECKING:
    from brique.store.writer import Store

_SMALL = 2_000  # rows: loaded in one transaction
_STEP_SECONDS = 0.05
_ROWS_STEP_MAX = 50_000
_MERGE_PAGES = 500
_UNFIT = (apsw.SQLError, apsw.MismatchError, apsw.ConstraintError, apsw.TooBigError, apsw.RangeError)
"""What the rows themselves are at fault for: a table that cannot be kept must not end the engine."""


class Load:
    """A load under way. `step` does a little more; until the last one the old rows count and can be changed.

    Steps are short transactions (about 50 ms), but for the building of an index: about half a second for each million
    rows. `table_state` shows what is being done and how far it got.
    """

    def __init__(
        self, store: Store, table: str, stage: Path, rows_total: int, *, began: int | None, rows_step: int
    ) -> None:
        spec = store.rows(table).layout.spec
        self._store = store
        self._run: Any = store.connection.execute  # SQLite's values have no static type
        self._began = began
        self._rows_step = rows_step
        self._old = store.rows(table).layout
        self._new = Layout(spec, self._free_generation(table), store.searchable)
        self._stage = f"stage_{id(self)}"
        self._attached = False
        if not stage.is_file():
            raise errors.NotFound(f"There is no stage file {stage}.")
        self._run(f"ATTACH ? AS {quoted(self._stage)}", (f"file:{quote(str(stage.resolve()))}?mode=ro&immutable=1",))
        self._attached = True
        found = first(store.connection, f"SELECT coalesce(max(_id), 0), count(*) FROM {self._source}")  # noqa: S608
        self._last: int = found[0]
        self._total: int = found[1]
        self.rows_total = max(rows_total, self._total)
        self._steps: Generator[None] = self._work()
        self.done = False

    @property
    def _source(self) -> str:
        return f"{quoted(self._stage)}.row"

    def _free_generation(self, table: str) -> int:
        found = self._run("SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB ?", (f"t_{table}:*",))
        used = [int(part) for (name,) in found if (part := name.split(":")[1]).isdigit() and name.count(":") == 1]
        return max([self._old.generation, *used]) + 1

    def step(self) -> bool:
        """Do a little more; whether anything remains. The rows are published when it says no.

        A fault abandons the load and is raised (BackendRefused when the rows are what it is about): the old rows
        still count.
        """
        if self.done:
            return False
        try:
            next(self._steps)
        except StopIteration:
            self._finish()
        except _UNFIT as fault:
            self.abandon()
            raise errors.BackendRefused(f"The rows of {self._new.spec.name} cannot be kept: {fault}") from fault
        except BaseException:
            self.abandon()
            raise
        self._store.checkpoint_when_long()
        return not self.done

    def abandon(self) -> None:
        """Give up: the old rows go on counting."""
        if self.done:
            return
        self._steps.close()
        self._finish()
        if self._store.rows(self._new.spec.name).layout is not self._new:
            self._drop(self._new)
            with self._store.transaction():
                self._progress("", 0)

    def _finish(self) -> None:
        self.done = True
        if self._attached:
            self._attached = False
            self._run(f"DETACH {quoted(self._stage)}")

    def _work(self) -> Generator[None]:
        if self._total <= _SMALL:
            with self._store.transaction():
                version = self._begin()
                self._copy(0, self._last, version)
                for statement in self._new.create_indexes():
                    self._run(statement)
                self._index_text(0, self._last)
            self._measure()
            self._publish()
            self._drop(self._old)
            return
        with self._store.transaction():
            version = self._begin()
        yield
        yield from self._chunks("rows", lambda low, high: self._copy(low, high, version))
        for statement in self._new.create_indexes():
            with self._store.transaction():
                self._run(statement)
                self._progress("indexes", self._total)
            yield
        if self._new.searchable:
            self._take_sample()
            yield from self._chunks("search", self._index_text)
            yield from self._merge()
        self._measure()
        self._publish()
        yield
        yield from self._drop_slowly(self._old)

    def _begin(self) -> int:
        self._store.build(self._new, indexes=False)
        self._progress("rows", 0)
        return self._store.next_seq()

    def _progress(self, doing: str, done: int) -> None:
        self._run(
            "UPDATE table_state SET loading = ?, rows_done = ?, rows_total = ? WHERE table_name = ?",
            (doing, done, self.rows_total if doing else 0, self._new.spec.name),
        )

    def _chunks(self, doing: str, work: Callable[[int, int], None]) -> Iterator[None]:
        """Call `work(low, high)` over all stage rows, in transactions of about the wanted length."""
        low, size = 0, self._rows_step
        while low < self._last:
            high = min(low + size, self._last)
            began = self._store.clock.monotonic()
            with self._store.transaction():
                work(low, high)
                self._progress(doing, high)
            took = max(self._store.clock.monotonic() - began, 1e-4)
            size = int(min(max(size * min(_STEP_SECONDS / took, 2.0), 500), _ROWS_STEP_MAX))
            low = high
            yield

    def _copy(self, low: int, high: int, version: int) -> None:
        self._run(
            f"INSERT INTO {self._new.table}(_id, _key, _version, _pending, {self._new.columns}) "  # noqa: S608
            f"SELECT _id, _key, ?, 0, {self._new.columns} FROM {self._source} WHERE _id > ? AND _id <= ? "
            "ORDER BY _id",
            (version, low, high),
        )

    def _index_text(self, low: int, high: int) -> None:
        if not self._new.searchable or not self._new.search_columns:
            return
        text = self._text()
        self._run(
            f"INSERT INTO {self._new.search}(rowid, text) SELECT _id, {text} FROM {self._source} "  # noqa: S608
            f"WHERE _id > ? AND _id <= ? AND {text} <> '' ORDER BY _id",
            (low, high),
        )

    def _take_sample(self) -> None:
        """Keep what guides searches: which trigrams are frequent."""
        every = max(1, self._last // sample.ROWS)
        found = self._run(
            f"SELECT {self._text()} FROM {self._source} WHERE _id IN (WITH RECURSIVE n(_n) AS "  # noqa: S608
            f"(SELECT 1 UNION ALL SELECT _n + {every} FROM n WHERE _n < {self._last}) SELECT _n FROM n)"
        )
        packed = sample.pack([text for (text,) in found])
        with self._store.transaction():
            self._run(
                "INSERT OR REPLACE INTO sample(table_name, generation, grams) VALUES (?, ?, ?)",
                (self._new.spec.name, self._new.generation, packed),
            )

    def _text(self) -> str:
        """The document of a stage row: made by the stage's writer, else here."""
        staged = [row[1] for row in self._run(f"PRAGMA {quoted(self._stage)}.table_info(row)")]
        if "_search" in staged:
            return "_search"
        return f"brique_document({', '.join(map(quoted, self._new.search_columns))})"

    def _merge(self) -> Iterator[None]:
        """Bring the search index into few segments, a piece at a time."""
        target = self._new.search
        pages = -_MERGE_PAGES
        while True:
            before = self._store.connection.total_changes()
            with self._store.transaction():
                self._run(f"INSERT INTO {target}({target}, rank) VALUES ('merge', ?)", (pages,))  # noqa: S608
            if self._store.connection.total_changes() - before < 2:
                return
            pages = _MERGE_PAGES
            yield

    def _measure(self) -> None:
        """Have SQLite know which columns tell rows apart: without it, it may go by a status rather than a customer."""
        self._run("PRAGMA analysis_limit=1000")
        with self._store.transaction():
            self._run(f"ANALYZE {self._new.table}")

    def _publish(self) -> None:
        """Let the new rows count, pending changes laid over them, in one transaction."""
        name = self._new.spec.name
        with self._store.transaction() as tx:
            kept = self._newer_bases() if self._began is not None else {}
            self._run(
                "UPDATE table_state SET generation = ?, loaded = 1, rows = ?, loading = '', rows_done = 0, "
                "rows_total = 0 WHERE table_name = ?",
                (self._new.generation, self._total, name),
            )
            for statement in self._new.show():
                self._run(statement)
            self._store.switch(self._new)
            tx.replaced(name)
            tx.apply_base(
                name,
                [(key, row) for key, row in kept.items() if row is not None],
                [key for key, row in kept.items() if row is None],
            )

    def _newer_bases(self) -> dict[str, Row | None]:
        """Source rows that were read back after reading the source for this load began: they are newer."""
        assert self._began is not None
        table = self._new.spec.name
        result: dict[str, Row | None] = {}
        for key in self._store.ledger.fresh_since(table, self._began):
            shaded, base = self._store.ledger.shadow(table, key)
            row = self._store.rows(table).get(key)
            result[key] = base if shaded else (row.values if row else None)
        return result

    def _drop(self, layout: Layout) -> None:
        with self._store.transaction():
            self._run(f"DROP TABLE IF EXISTS {layout.search}")
            self._run(f"DROP TABLE IF EXISTS {layout.table}")

    def _drop_slowly(self, layout: Layout) -> Iterator[None]:
        found = self._run("SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = ?", (layout.table_name,))
        names = [name for (name,) in found.fetchall()]
        for name in names:
            with self._store.transaction():
                self._run(f"DROP INDEX {quoted(name)}")
            yield
        with self._store.transaction():
            self._run(f"DROP TABLE IF EXISTS {layout.search}")
        yield
        with self._store.transaction():
            self._run(f"DROP TABLE IF EXISTS {layout.table}")
