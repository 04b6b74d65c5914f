"""What the store must know for good before the spool lets go of it: a power cut takes back what was not flushed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from brique.clock import SystemClock
from brique.commands import Claim, Give, Ledger, Outcome, Report
from brique.schema import Change, Column, Command, Kind, State, TableSpec
from brique.spool import SpoolLimits, SqliteSpool
from brique.store import Store
from tests.simulation.disk import PowerCut, SimDisk

_ITEM = TableSpec(
    "item", "item", "erp", "Items", (Column("code", "code", Kind.TEXT, "code", nullable=False),), key=("code",)
)


class Machine:
    """An engine's files on a disk that keeps only what was flushed."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.clock = folder, SystemClock()
        self.disk = SimDisk(folder, Random(seed), default=True)
        self.open()

    def open(self) -> None:
        self.spool = SqliteSpool(self.folder / "spool", limits=SpoolLimits(free_bytes_min=0), disk=self.disk)
        self.store = Store(self.folder / "store.db", {"item": _ITEM}, clock=self.clock)
        self.ledger = Ledger(self.spool, self.store, self.clock)
        self.ledger.catch_up()

    def give_and_settle(self, count: int) -> None:
        for number in range(count):
            change = Change("item", f"K{number}", None, {"code": f"K{number}"})
            command = Command(
                id=f"R{number}", name="create", user="awa", role="write", at="2026-11-20T08:00:00.000000Z",
                backend="erp", changes=(change,), digest=str(number),
            )  # fmt: skip
            self.ledger.handle([Give(command, f"t{number}")])
        self.store.checkpoint()
        positions = range(1, count + 1)
        self.ledger.handle([Claim(tuple(positions))])
        rows = {"item": {f"K{number}": {"code": f"K{number}"} for number in range(count)}}
        outcomes = [Outcome(position, State.APPLIED) for position in positions]
        self.ledger.handle([Report("erp", outcomes, rows, shown=list(positions))])

    def cut_power(self) -> None:
        self.disk.kill()
        for close in (self.store.close, self.spool.close):
            with suppress(PowerCut):
                close()
        self.disk.power_up()
        self.open()


@pytest.fixture(params=range(12))
def machine(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Machine]:
    folder = tmp_path / "data"
    folder.mkdir()
    made = Machine(folder, request.param)
    yield made
    made.store.close()
    made.spool.close()
    made.disk.close()


def test_what_the_spool_has_forgotten_does_not_wait_again_after_a_power_cut(machine: Machine) -> None:
    machine.give_and_settle(6)
    assert machine.ledger.forget(machine.clock.now() + timedelta(days=1)) == 6
    assert not list(machine.spool.read(0, 10))
    machine.cut_power()
    with machine.store.look() as tx:
        assert tx.waiting(range(1, 7)) == {}


def test_what_was_committed_before_a_flush_is_there_after_a_power_cut(machine: Machine) -> None:
    with machine.store.transaction() as tx:
        tx.set_meta("said", "yes")
    machine.store.flush()
    machine.cut_power()
    with machine.store.look() as tx:
        assert tx.meta("said") == "yes"


def test_the_rung_of_a_backend_is_known_after_a_power_cut(machine: Machine) -> None:
    machine.ledger.climbed("erp", "watermark")
    machine.store.flush()
    machine.ledger.climbed("erp", "compare")
    machine.cut_power()
    assert machine.store.reader.backend_states()["erp"].rung == "compare"
