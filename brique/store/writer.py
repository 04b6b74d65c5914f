"""The store as the engine sees it: the one writer of store.db."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import apsw

from brique import errors
from brique.clock import Clock
from brique.schema import TableSpec
from brique.store import connection as connections
from brique.store.changes import RowChange
from brique.store.commands import CommandTable
from brique.store.layout import FORMAT, META, UPGRADES, Layout, quoted, shape
from brique.store.ledger import Ledger
from brique.store.load import Load
from brique.store.reader import Reader
from brique.store.rows import Rows
from brique.store.transaction import Tx

Listener = Callable[[Tx, Sequence[RowChange]], None]
_NO_ROOM = (apsw.FullError, apsw.IOError, apsw.ReadOnlyError, apsw.CantOpenError)
_WAL_HEAD, _FRAME_HEAD = 32, 24  # bytes, as in the description of SQLite's format
_WAL_FRAMES_MAX = 16_384  # 64 MB: beyond, a checkpoint asks readers to let the log start anew


class Store:
    """Copies, overlay, change log and representations in one SQLite file. One thread only (`checkpoint` excepted)."""

    def __init__(
        self,
        path: Path,
        specs: Mapping[str, TableSpec],
        *,
        clock: Clock,
        change_log_rows_max: int = 100_000,
        search: bool = True,
    ) -> None:
        """Open or create the store. A table whose columns or key have changed starts empty and not loaded.

        Raises BadConfiguration when the file is not a store or one of a newer brique.
        """
        self.path = path
        self.specs = dict(specs)
        self.clock = clock
        self.change_log_rows_max = change_log_rows_max
        self.searchable = search
        self._listeners: list[Listener] = []
        self._tables: dict[str, Rows] = {}
        self._open: Tx | None = None
        self.undone = 0
        """How often something was rolled back: what listeners remember may be ahead of the file then."""
        self._checkpointer: apsw.Connection | None = None
        self._checkpoint_lock = threading.Lock()
        try:
            self.connection = connections.writer(path)
            self._create()
        except (apsw.NotADBError, apsw.CorruptError) as fault:
            raise errors.BadConfiguration(
                f"{path} is not a brique store, or is damaged: {fault}.",
                try_this="Move it away: brique builds it anew from the backends and the spool.",
            ) from fault
        self._wal_frames = 0
        self._wal_frames_wanted = _WAL_FRAMES_MAX
        self.connection.set_wal_hook(self._note_wal)
        self._seq = self._number("SELECT max(seq) FROM change")
        self._settlement = self._number("SELECT value FROM meta WHERE name = 'settlement'")
        self._settlement_kept = self._settlement
        self._log_floor = self._number("SELECT min(seq) FROM change")
        self._sweep()
        self._adopt()
        self.reader = Reader.over(self.connection, self.specs)
        """Reads on the writer's own connection: inside a transaction they see what it has done so far."""

    # -- opening ------------------------------------------------------------------------------------------------------

    def _create(self) -> None:
        found = self._number("PRAGMA user_version")
        if found == FORMAT:
            return
        if found in UPGRADES:
            self._upgrade(found)
            return
        if found or self._number("SELECT count(*) FROM sqlite_schema"):
            raise errors.BadConfiguration(
                f"{self.path} has format {found}, this brique writes {FORMAT}.",
                try_this="Move it away: brique builds it anew from the backends and the spool.",
            )
        with self.connection:
            self.connection.execute(META)
            self.connection.execute("INSERT INTO meta(name, value) VALUES ('stream_id', ?)", (secrets.token_hex(8),))
            self.connection.execute(f"PRAGMA user_version={FORMAT}")

    def _upgrade(self, found: int) -> None:
        """Bring a store of an older layout to this one, in one transaction."""
        with self.connection:
            while found in UPGRADES:
                self.connection.execute(UPGRADES[found])
                found += 1
            CommandTable(self.connection).describe_all()
            self.connection.execute(f"PRAGMA user_version={found}")

    def _number(self, query: str) -> int:
        row = connections.first(self.connection, query)
        return int(row[0] or 0) if row else 0

    def _sweep(self) -> None:
        """Remove tables that are no longer declared and what an interrupted load left."""
        with self.connection:
            for (name,) in connections.records(self.connection, "SELECT table_name FROM table_state").fetchall():
                if name not in self.specs:
                    self.connection.execute(f"DROP VIEW IF EXISTS {quoted('t_' + name)}")
                    self.connection.execute("DELETE FROM table_state WHERE table_name = ?", (name,))
                    self.connection.execute("DELETE FROM shadow WHERE table_name = ?", (name,))
                    self.connection.execute("DELETE FROM sample WHERE table_name = ?", (name,))
            self.connection.execute("UPDATE table_state SET loading = '', rows_done = 0, rows_total = 0")
        valid = {
            f"t_{name}:{generation}"
            for name, generation in self.connection.execute("SELECT table_name, generation FROM table_state")
        }
        found = connections.records(
            self.connection,
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 't_*:*' ORDER BY length(name) DESC",
        ).fetchall()
        for (name,) in found:
            root = ":".join(name.split(":")[:2])
            if root not in valid and (name == root or name == f"{root}:search"):
                self.connection.execute(f"DROP TABLE {quoted(name)}")

    def _adopt(self) -> None:
        """Make what each declared table needs; lay pending changes over what starts empty."""
        for spec in self.specs.values():
            wanted = shape(spec, self.searchable)
            row = self.connection.execute(
                "SELECT generation, shape FROM table_state WHERE table_name = ?", (spec.name,)
            ).fetchone()
            if row is not None and row[1] == wanted:
                self._tables[spec.name] = Rows(self.connection, Layout(spec, row[0], self.searchable))
                continue
            with self.transaction() as tx:
                self._start(tx, spec, wanted, row[0] if row else None)

    def _start(self, tx: Tx, spec: TableSpec, wanted: bytes, old: int | None) -> None:
        run = self.connection.execute
        layout = Layout(spec, (old or 0) + 1, self.searchable)
        for statement in layout.show():
            if old is not None or statement.startswith("CREATE"):
                continue
            run(statement)
        if old is not None:
            run(f"DROP VIEW IF EXISTS {quoted('t_' + spec.name)}")
            run(f"DROP TABLE IF EXISTS {Layout(spec, old).table}")
            run(f"DROP TABLE IF EXISTS {Layout(spec, old).search}")
            run("DELETE FROM change WHERE table_name = ?", (spec.name,))
            tx.representations.drop_all()
        self.build(layout)
        run(
            "INSERT INTO table_state(table_name, generation, shape) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET "
            "generation = excluded.generation, shape = excluded.shape, loaded = 0, rows = 0, confirmed_at = NULL",
            (spec.name, layout.generation, wanted),
        )
        for statement in layout.show():
            run(statement)
        self._tables[spec.name] = Rows(self.connection, layout)
        tx.replaced(spec.name)

    def build(self, layout: Layout, *, indexes: bool = True) -> None:
        """Make the empty tables of a generation."""
        self.connection.execute(layout.create_table())
        if layout.searchable:
            self.connection.execute(layout.create_search())
        for statement in layout.create_indexes() if indexes else ():
            self.connection.execute(statement)

    # -- use ----------------------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        """A transaction: committed at the end of the block, rolled back when it raises.

        Before the commit the listeners are called with the rows changed; a fault in one of them rolls back as well.
        Raises NoRoom when the disk is full, read only or at fault: nothing is changed then.
        """
        if self._open is not None:
            raise RuntimeError("a transaction is open already")
        counters, tables = self.counters(), dict(self._tables)
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            self._open = tx = Tx(self)
            try:
                yield tx
                if tx.spoiled:
                    raise RuntimeError("a part of this transaction has failed: it is rolled back")
                changes = tx.changes
                tx.finish()
                if changes or tx.reloaded:
                    for listener in self._listeners:
                        listener(tx, changes)
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                self.set_counters(counters, undone=True)
                self._tables = tables
                raise
        except _NO_ROOM as fault:
            raise errors.NoRoom(f"The disk does not take the change: {fault}") from fault
        finally:
            self._open = None

    @contextmanager
    def look(self) -> Iterator[Tx]:
        """What a transaction that begins now would see, to read only; what the block writes is undone.

        For a third of a transaction's cost: nothing is locked, counted or told.
        """
        if self._open is not None:
            raise RuntimeError("a transaction is open already")
        try:
            self.connection.execute("BEGIN")
            self._open = tx = Tx(self)
            yield tx
        except _NO_ROOM as fault:
            raise errors.NoRoom(f"The disk does not let the store be read: {fault}") from fault
        finally:
            self._open = None
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")

    def listen(self, listener: Listener) -> None:
        """Call `listener(tx, changes)` before each commit that changes rows; see `Tx.reloaded` for whole tables."""
        self._listeners.append(listener)

    def begin_load(
        self, table: str, stage: Path, rows_total: int = 0, *, began: int | None = None, rows_step: int = 5_000
    ) -> Load:
        """Replace all rows of `table` by those of a stage file, in small steps beside other transactions."""
        return Load(self, table, stage, rows_total, began=began, rows_step=rows_step)

    def rows(self, table: str) -> Rows:
        """The rows of a table that count. Raises NotFound."""
        try:
            return self._tables[table]
        except KeyError:
            raise errors.NotFound(f"There is no table {table}.") from None

    def switch(self, layout: Layout) -> None:
        """Let another generation of a table count; undone when the transaction is rolled back."""
        self._tables[layout.spec.name] = Rows(self.connection, layout)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.connection)

    def flush(self) -> None:
        """See that what was committed until now survives a power cut, which may else take the last commits back. Raises
        NoRoom."""
        try:
            self.connection.execute("PRAGMA synchronous=FULL")
            with self.transaction() as tx:
                tx.set_meta("flushed", tx.now)  # a commit that writes something: it takes the log with it
        except _NO_ROOM as fault:
            raise errors.NoRoom(f"The store could not be flushed: {fault}") from fault
        finally:
            self.connection.execute("PRAGMA synchronous=NORMAL")

    def checkpoint_when_long(self) -> None:
        """`checkpoint` when the log has grown long, as it does under a load of many rows."""
        if self.log_is_long:
            self.checkpoint()

    @property
    def log_is_long(self) -> bool:
        """Whether the log is worth a `checkpoint`; when a reader keeps it from starting anew, not until it has grown
        by as much again."""
        return self._wal_frames > self._wal_frames_wanted

    def _note_wal(self, _connection: apsw.Connection, _database: str, frames: int) -> int:
        self._wal_frames = frames
        return apsw.SQLITE_OK

    def checkpoint(self, *, restart: bool | None = None) -> int:
        """Move the log into the database; how many pages it still held. May run in another thread. Raises NoRoom.

        `restart`: wait for readers so that the log starts anew, and give its room back; by default the log starts anew
        when it has passed 64 MB, and with False it goes on, which holds up nobody who writes.
        """
        try:
            return self._checkpoint(restart)
        except _NO_ROOM as fault:
            raise errors.NoRoom(f"The log of the store stays as long as it is: {fault}") from fault

    def _checkpoint(self, restart: bool | None) -> int:
        with self._checkpoint_lock:
            if self._checkpointer is None:
                self._checkpointer = connections.writer(self.path)
                self._checkpointer.set_busy_timeout(200)
            if restart:
                self._cut_log(self._checkpointer)
            size, _ = self._checkpointer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            if restart or (restart is None and size > _WAL_FRAMES_MAX):
                mode = apsw.SQLITE_CHECKPOINT_TRUNCATE if restart else apsw.SQLITE_CHECKPOINT_RESTART
                try:
                    self._checkpointer.wal_checkpoint(mode=mode)
                except apsw.BusyError:
                    self._wal_frames_wanted = size + _WAL_FRAMES_MAX
                    return int(size)  # a long reader
                self._wal_frames, self._wal_frames_wanted = 0, _WAL_FRAMES_MAX
            return int(size)

    def _cut_log(self, connection: apsw.Connection) -> None:
        """Cut off what a transaction for which there was no room has left behind the last commit in the log. SQLite
        would write over it, and until then it takes the very room that moving the log into the database needs.

        The place of a writer is held meanwhile: nobody may add to what is being cut. A writer at work is let be.
        """
        with closing(connections.writer(self.path)) as place:
            place.set_busy_timeout(200)
            try:
                place.execute("BEGIN IMMEDIATE")
            except apsw.BusyError:
                return
            frames, _ = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
            page = int(connections.first(connection, "PRAGMA page_size")[0])
            log, length = (
                self.path.with_name(self.path.name + "-wal"),
                _WAL_HEAD + max(0, frames) * (_FRAME_HEAD + page),
            )
            if log.exists() and log.stat().st_size > length:
                os.truncate(log, length)
            place.execute("ROLLBACK")

    def close(self) -> None:
        """Close the store; a transaction that is open is rolled back."""
        with self._checkpoint_lock:
            if self._checkpointer is not None:
                self._checkpointer.close()
                self._checkpointer = None
        with suppress(apsw.ConnectionClosedError):
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            self.connection.close()

    # -- numbers ------------------------------------------------------------------------------------------------------

    def next_seq(self) -> int:
        self._seq += 1
        return self._seq

    @property
    def last_seq(self) -> int:
        """The number of the last change, as `Reader.seq` in the open transaction."""
        return self._seq

    def next_settlement(self) -> int:
        """The next settlement number: later settlements have higher ones."""
        self._settlement += 1
        return self._settlement

    def write_settlement(self) -> None:
        """Keep the settlement number for the next start; part of every commit."""
        if self._settlement != self._settlement_kept:
            self.connection.execute(
                "INSERT INTO meta(name, value) VALUES ('settlement', ?) "
                "ON CONFLICT DO UPDATE SET value = excluded.value",
                (self._settlement,),
            )
            self._settlement_kept = self._settlement

    def settled_seq(self) -> int:
        """The settlement number by now: what a refresh that begins to read its source now takes as `began`."""
        return self._settlement

    def counters(self) -> tuple[int, int, int, int]:
        return self._seq, self._settlement, self._settlement_kept, self._log_floor

    def set_counters(self, counters: tuple[int, int, int, int], *, undone: bool = False) -> None:
        self.undone += undone
        self._seq, self._settlement, self._settlement_kept, self._log_floor = counters

    def trim_changes(self, _tx: Tx) -> None:
        """Keep the change log within its limit."""
        floor = self._seq - self.change_log_rows_max
        if floor >= self._log_floor:
            self.connection.execute("DELETE FROM change WHERE seq <= ?", (floor,))
            self._log_floor = floor + 1
