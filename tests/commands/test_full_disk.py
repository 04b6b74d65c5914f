"""Spool, store and all on one real disk of 8 MB that is full: refused, drained, going on by itself, nothing lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from brique.commands import Claim, Claimed, Give, Receipt, Report
from brique.errors import BackendAway, BriqueError, NoRoom
from brique.schema import Change, State
from tests.commands.world import World
from tests.smalldisk import fill, small_disk, unfill

MIB = 1024 * 1024


class SmallWorld(World):
    """A world whose backend is elsewhere, and that knows what it has acknowledged."""

    def __init__(self, folder: Path, elsewhere: Path) -> None:
        (folder / "erp.db").symlink_to(elsewhere / "erp.db")
        super().__init__(folder)
        self.acknowledged: list[str] = []
        self.number = 0

    def open(self) -> None:
        super().open()
        self.spool.limits.segment_bytes = 512 * 1024
        self.spool.limits.free_bytes_min = 2 * MIB

    def give(self, *, size: int = 2000) -> bool:
        """Give the next command; whether it was acknowledged."""
        self.number += 1
        text = f"{self.number} " + "x" * size
        command = self.command(Change("note", f"new-{self.number}", None, {"text": text}), name="create")
        try:
            [answer] = self.ledger.handle([Give(command, f"token-{self.number}")])
        except NoRoom:
            return False
        if isinstance(answer, Receipt):
            self.acknowledged.append(text)
            return True
        assert isinstance(answer, NoRoom), answer
        return False

    def resumes(self) -> bool:
        """Whether one of the next few is acknowledged: a refusal has the store give back the room of its log."""
        return any(self.give() for _ in range(4))

    def _report(self, report: Report) -> None:
        """As the backend's process does, but not for ever."""
        for _ in range(5):
            with suppress(NoRoom):
                super()._report(report)
                return
        raise NoRoom("the report could not be taken in")

    def claim(self, waiting: Sequence[tuple[int, State]], *, for_good: bool) -> dict[int, State]:
        [answer] = self.ledger.handle([Claim(tuple(position for position, _ in waiting), for_good)])
        if isinstance(answer, BriqueError):
            raise answer
        assert isinstance(answer, Claimed)
        return answer.states

    def drain(self) -> None:
        while self.reader.pending_for("erp", 1):
            self.replay()

    def check(self) -> None:
        """Every acknowledged command is in the backend once, in order, and nothing else is."""
        assert [row[0] for row in self.erp("SELECT text FROM note ORDER BY id")] == self.acknowledged


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SmallWorld]:
    with small_disk() as folder:
        made = SmallWorld(folder, tmp_path)
        yield made
        made.close()


def test_a_disk_filled_by_writes_refuses_drains_and_goes_on_when_what_is_settled_is_forgotten(
    world: SmallWorld,
) -> None:
    fill(world.folder, 6 * MIB)
    while world.resumes():
        assert world.number < 10_000
    assert len(world.acknowledged) > 100
    world.drain()
    world.check()
    assert not world.resumes(), "settled commands are kept for their time"
    unfill(world.folder)
    with world.store.transaction() as tx:  # as a refresh does: it brings the rows for which reports had no room
        tx.let_go(list(world.specs), world.store.settled_seq())
    before, size = world.clock.now() + timedelta(days=1), world.spool.size_bytes()
    while world.ledger.forget(before):
        pass
    world.ledger.forget(before)
    assert world.spool.size_bytes() < size / 4
    assert sum(world.give() for _ in range(50)) > 25
    world.drain()
    world.check()
    world.restart()
    assert world.spool.recovery.is_sound
    world.check()


@pytest.mark.parametrize("left", [0, 10_000, 60_000, 300_000])
def test_a_disk_filled_by_somebody_else_wedges_nothing(world: SmallWorld, left: int) -> None:
    world.spool.limits.free_bytes_min = 0
    for _ in range(20):
        assert world.give()
    fill(world.folder, left)
    assert sum(world.give(size=50) for _ in range(400)) < 400
    with suppress(NoRoom, BackendAway):
        world.drain()
    unfill(world.folder)
    assert world.resumes(), "it goes on by itself"
    world.drain()
    world.check()
    world.restart(lose_store=True)
    world.drain()
    world.check()


def test_a_disk_that_fills_and_empties_at_any_moment_loses_nothing(world: SmallWorld) -> None:
    random = Random(7)
    world.spool.limits.free_bytes_min = 1 * MIB
    refused = 0
    for _ in range(300):
        choice = random.random()
        if choice < 0.1:
            fill(world.folder, random.choice((0, 5_000, 40_000, 200_000)))
        elif choice < 0.2:
            unfill(world.folder)
        elif choice < 0.3:
            try:
                world.drain()
            except (NoRoom, BackendAway):
                refused += 1
        elif choice < 0.33:
            try:
                world.ledger.forget(world.clock.now() + timedelta(days=1))
                world.store.checkpoint(restart=True)
            except NoRoom:
                refused += 1
        else:
            refused += not world.give(size=random.choice((10, 500, 2000)))
    assert refused > 10
    unfill(world.folder)
    assert world.resumes()
    world.drain()
    world.check()


def test_a_command_that_the_spool_kept_and_the_store_had_no_room_for_is_acknowledged(world: SmallWorld) -> None:
    world.store.listen(lambda tx, changes: _no_room(world))
    world.full = True  # type: ignore[attr-defined]
    assert world.give(), "it is kept: saying no would have it typed again"
    assert world.reader.pending_for("erp", 10) == []
    assert not world.give(), "the next one has to wait until it can be seen"
    world.full = False  # type: ignore[attr-defined]
    assert world.give()
    world.drain()
    world.check()


def _no_room(world: SmallWorld) -> None:
    if getattr(world, "full", False):
        raise NoRoom("simulated")
