"""The spool's real files on a disk whose power fails at any call: what was acknowledged is there, whole, in order."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import apsw
import pytest

from brique.errors import NoRoom
from brique.spool import Entry, Record, SpoolLimits, SqliteSpool
from tests.simulation.disk import PowerCut, SimDisk

SEEDS = 400
_LIMITS = SpoolLimits(free_bytes_min=0, segment_records=25, segment_bytes=60_000, log_pages=6)


class Journal:
    """A spool on a simulated disk, and what it has acknowledged."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = Random(seed)
        self.folder = folder
        self.disk = SimDisk(folder, self.random)
        self.kept: dict[int, Entry] = {}
        self.asked: list[Entry] = []
        """What was being kept when the power failed: all of it is there, or nothing."""
        self.forgotten = 0
        self.needed: set[int] = set()
        self.dropped: set[int] = set()
        self.cuts = 0
        self.spool: SqliteSpool | None = None
        self._number = 0

    def run(self, steps: int) -> None:
        """`steps` steps, with the power failing now and then."""
        for _ in range(steps):
            if self.disk.cut_at is None and self.random.random() < 0.3:
                self.disk.cut_at = self.disk.calls + self.random.randrange(1, 60)
            try:
                self.step()
            except PowerCut:
                self.power_up()
        self.disk.cut_at = None
        self.disk.kill()
        self.power_up()
        self.open()

    def step(self) -> None:
        if self.spool is None:
            self.open()
            return
        choice = self.random.random()
        if choice < 0.75:
            self.append()
        elif choice < 0.85:
            upto = self.random.randrange(max(self.kept, default=0) + 1)
            self.forgotten = max(self.forgotten, upto)
            self.spool.forget(upto)
        elif choice < 0.93:
            self.compact()
        else:
            self.close()

    def append(self) -> None:
        assert self.spool is not None
        entries = []
        for _ in range(self.random.randrange(1, 7)):
            self._number += 1
            token = f"t{self._number}" if self.random.random() < 0.5 else ""
            entries.append(Entry(self.random.randbytes(self.random.choice((0, 30, 200, 700, 9000))), token))
        self.asked = entries
        positions = self.spool.append(entries)
        self.kept.update(zip(positions, entries, strict=True))
        self.asked = []

    def compact(self) -> None:
        assert self.spool is not None
        stretches = self.spool.stretches()
        if not stretches:
            return
        chosen = self.random.choice(stretches)
        needed = {position for position in self.kept if self.random.random() < 0.3 and position not in self.dropped}
        self.dropped |= set(range(chosen.first, chosen.last + 1)) - needed
        made = self.spool.rewrite(chosen.first, lambda record: record.position in needed)
        if made is not None:
            self.spool.replace(made)

    def open(self) -> None:
        self.spool = SqliteSpool(self.folder / "spool", limits=_LIMITS, disk=self.disk)
        self.check()

    def close(self) -> None:
        spool, self.spool = self.spool, None
        if spool is not None:
            spool.close()

    def power_up(self) -> None:
        self.cuts += 1
        with suppress(PowerCut, apsw.Error):
            self.close()
        self.disk.kill()
        self.disk.power_up()

    def check(self) -> None:
        """What was acknowledged is there, whole and in order, but what was let go of; nothing is there in part."""
        spool = self.spool
        assert spool is not None
        assert spool.recovery.is_sound, spool.recovery.lines()
        assert not spool.recovery.notes, spool.recovery.lines()
        found = list(spool.read(0, 1_000_000))
        assert all(isinstance(one, Record) for one in found), found
        records = {one.position: one for one in found if isinstance(one, Record)}
        assert list(records) == sorted(records)
        last = max(self.kept, default=0)
        news = [records[position] for position in records if position > last]
        asked = [(entry.payload, entry.token) for entry in self.asked]
        assert [(one.payload, one.token) for one in news] in ([], asked), "a batch is kept whole or not at all"
        assert spool.last() == last + len(news)
        self.kept.update(zip((one.position for one in news), self.asked, strict=False))
        self.asked = []
        for position, entry in self.kept.items():
            if position in records:
                assert (records[position].payload, records[position].token) == (entry.payload, entry.token)
                if entry.token:
                    assert spool.find(entry.token) == records[position]
            else:
                assert position <= self.forgotten or position in self.dropped, f"{position} is lost"


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="brique-power-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    yield made
    shutil.rmtree(made)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # SQLite closing files without power
def test_what_was_acknowledged_survives_power_cuts_at_any_call(folder: Path) -> None:
    cuts = 0
    for seed in range(SEEDS):
        home = folder / str(seed)
        home.mkdir()
        journal = Journal(home, seed)
        try:
            journal.run(40)
        except (AssertionError, NoRoom) as fault:
            raise AssertionError(f"seed {seed}: {fault}") from fault
        finally:
            journal.close()
            journal.disk.close()
            shutil.rmtree(home)
        cuts += journal.cuts
    print(f"spool.power-cuts {cuts} cuts")
    assert cuts > SEEDS


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_disk_itself_loses_what_is_not_flushed(folder: Path) -> None:
    """The other side of the test above: a spool that did not flush would be found out."""
    lost = 0
    for seed in range(30):
        home = folder / str(seed)
        home.mkdir()
        disk = SimDisk(home, Random(seed))
        db = apsw.Connection(str(home / "a.db"), vfs=disk.vfs)
        db.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; CREATE TABLE t(a)").fetchall()
        for number in range(20):
            db.execute("INSERT INTO t VALUES(?)", (number,))
        disk.kill()
        with suppress(PowerCut, apsw.Error):
            db.close(True)
        disk.power_up()
        try:
            again = apsw.Connection(str(home / "a.db"), vfs=disk.vfs)
            lost += again.execute("SELECT count(*) FROM t").fetchall() != [(20,)]
            again.close()
        except (apsw.SQLError, apsw.NotADBError, apsw.CorruptError):
            lost += 1
        disk.close()
    assert lost > 20
