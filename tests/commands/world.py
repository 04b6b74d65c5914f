"""A small world for tests of commands: real spool, store and SQLite backend, in one thread, with crashes on demand."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import apsw
import msgspec

from brique.backends import open_backend
from brique.clock import SystemClock, stamp
from brique.commands import (
    Claim,
    Claimed,
    FileNotes,
    Give,
    Ledger,
    Parent,
    Receipt,
    Release,
    Replay,
    Report,
    Request,
    Restart,
    Waiting,
    check,
)
from brique.errors import BriqueError
from brique.schema import Change, Command, Row, State, TableSpec, infer
from brique.spool import SpoolLimits, SqliteSpool
from brique.store import Reader, StageWriter, Store, StoredCommand

SCHEMA = """
CREATE TABLE item(code TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL, stock INTEGER CHECK (stock >= 0));
CREATE TABLE note(id INTEGER PRIMARY KEY, text TEXT NOT NULL);
INSERT INTO item VALUES ('A', 'Apple', 10), ('B', 'Banana', 20), ('C', 'Cherry', 30);
"""


class Crash(Exception):
    """The process ends here."""


class World:
    """`marker`: whether the backend may have the marker table; `script`: more SQL to make it with."""

    def __init__(self, folder: Path, *, marker: bool = True, script: str = "") -> None:
        self.folder = folder
        self.clock = SystemClock()
        self.source = folder / "erp.db"
        self.erp(SCHEMA + script)
        self.backend = open_backend("erp", str(self.source), timeout=2.0, connect_timeout=2.0)
        self.specs: dict[str, TableSpec] = {spec.name: spec for spec in infer(self.backend.catalogue(), "erp")}
        self.rung = self.backend.prepare(marker).rung
        self.before_report: Callable[[Report], None] = lambda _: None
        self._ids = itertools.count(1)
        self.seconds = 0.0
        self.tried_alone: list[tuple[int, float]] = []
        self.open()
        self.load()

    def open(self) -> None:
        """(Re)start: open the files and bring the store up to the spool."""
        self.spool = SqliteSpool(self.folder / "spool", limits=SpoolLimits(free_bytes_min=0))
        self.store = Store(self.folder / "store.db", self.specs, clock=self.clock, change_log_rows_max=1000)
        self.ledger = Ledger(self.spool, self.store, self.clock)
        self.ledger.catch_up()
        self.reader = Reader(self.folder / "store.db", self.specs)
        self.notes = FileNotes(self.folder / "notes.db")

    def close(self) -> None:
        self.reader.close()
        self.notes.close()
        self.store.close()
        self.spool.close()

    def restart(self, *, lose_store: bool = False) -> None:
        self.close()
        if lose_store:
            for file in self.folder.glob("store.db*"):
                file.unlink()
        self.open()
        if lose_store:
            self.load()

    def erp(self, sql: str) -> list[tuple[object, ...]]:
        """Work in the backend directly, as a colleague at its own screen."""
        with closing(apsw.Connection(str(self.source))) as connection:
            return connection.execute(sql).fetchall()

    def load(self) -> None:
        """A first copy of every table, or a reload."""
        for spec in self.specs.values():
            path = self.folder / f"stage-{spec.name}.db"
            with self.backend.snapshot() as snapshot, StageWriter(path, spec, search=True) as stage:
                for batch in snapshot.read(spec):
                    stage.add(batch)
                staged = stage.finish()
            load = self.store.begin_load(spec.name, path, staged.rows)
            while load.step():
                pass

    def ask(self, request: Request) -> Receipt | None:
        [answer] = self.ledger.handle([request])
        if isinstance(answer, BriqueError):
            raise answer
        assert answer is None or isinstance(answer, Receipt)
        return answer

    def command(self, *changes: Change, name: str = "update", user: str = "awa") -> Command:
        return Command(
            id=f"R{next(self._ids)}",
            name=name,
            user=user,
            role="write",
            at=stamp(self.clock.now()),
            backend="erp",
            changes=changes,
            digest=repr(changes),
        )

    def update(self, table: str, key: str, *, token: str = "", **values: object) -> StoredCommand:
        row = self.values(table, key) or {}
        before = {name: row.get(name) for name in values}
        change = Change(table, key, before, dict(values))  # type: ignore[arg-type]  # test values are store values
        return self.given(Give(self.command(change), token))

    def create(self, table: str, **values: object) -> StoredCommand:
        command = self.command(name="create")
        change = check.create(self, self.specs[table], dict(values), receipt=command.id)  # type: ignore[arg-type]
        return self.given(Give(msgspec.structs.replace(command, changes=(change,), digest=repr(change))))

    def delete(self, table: str, key: str) -> StoredCommand:
        return self.given(Give(self.command(check.delete(self, self.specs[table], key), name="delete")))

    def given(self, give: Give) -> StoredCommand:
        receipt = self.ask(give)
        assert receipt is not None
        found = self.reader.command(receipt.position)
        assert found is not None
        return found

    def state(self, item: StoredCommand) -> State:
        found = self.reader.command(item.position)
        assert found is not None
        return found.state

    def state_at(self, position: int) -> State | None:
        found = self.reader.command(position)
        return None if found is None else found.state

    def parent(self, receipt: str) -> Parent | None:
        found = self.reader.command(receipt)
        return None if found is None else Parent(found.state, found.command.label or found.command.name, found.reason)

    def sender(self) -> Replay:
        """What sends to the backend; its reports go through `before_report`, which may crash."""
        return Replay(
            self.backend,
            self.specs,
            stream=self.spool.name(),
            rung=self.rung,
            report=self._report,
            real_key=self.reader.real_key,
            claims=self,
            parents=self.parent,
            notes=self.notes,
            monotonic=lambda: self.seconds,
            chance=lambda: 0.5,
        )

    def claim(self, waiting: Sequence[tuple[int, State]], *, for_good: bool) -> dict[int, State]:
        [claimed] = self.ledger.handle([Claim(tuple(position for position, _ in waiting), for_good)])
        assert isinstance(claimed, Claimed)
        return claimed.states

    def release(self, positions: Sequence[int], reason: str, *, for_good: bool) -> None:
        self.ledger.handle([Release(tuple(positions), reason, for_good)])

    def tried(self, position: int, reason: str, *, seconds: float) -> None:
        self.tried_alone.append((position, seconds))

    def replay(self) -> int:
        """Send what waits, after what the backend may have forgotten."""
        sender = self.sender()
        self.rewind(sender)
        return sender.run(waiting(self))

    def rewind(self, sender: Replay) -> None:
        """Put back to kept what the backend has forgotten."""
        Restart(sender).rewind(
            lambda after: [item.position for item in self.reader.applied_for("erp", 1000, after)], self.state_at
        )

    def backup(self) -> bytes:
        """The backend's file as it is now."""
        self.backend.close()
        self.backend = open_backend("erp", str(self.source), timeout=2.0, connect_timeout=2.0)
        return self.source.read_bytes()

    def restore(self, backup: bytes) -> None:
        """The backend goes back to what it was then."""
        self.backend.close()
        for file in self.folder.glob("erp.db*"):
            file.unlink()
        self.source.write_bytes(backup)
        self.backend = open_backend("erp", str(self.source), timeout=2.0, connect_timeout=2.0)
        self.backend.prepare(True)

    def _report(self, report: Report) -> None:
        self.before_report(report)
        self.ask(report)

    # what `check` asks of a copy

    def values(self, table: str, key: str) -> Row | None:
        row = self.reader.row(table, key)
        return None if row is None else row.values

    def is_loaded(self, table: str) -> bool:
        state = self.reader.table_state(table)
        return state is not None and state.loaded


def waiting(world: World) -> list[Waiting]:
    """What waits."""
    return [Waiting(item.position, item.state, item.command) for item in world.reader.pending_for("erp", 1000)]
