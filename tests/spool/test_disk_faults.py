"""Full, read-only and failing disks: refused before it is acknowledged, and going on by itself afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import apsw
import pytest

from brique.errors import NoRoom
from brique.spool import Entry, Record, SpoolLimits, SqliteSpool
from tests.simulation.disk import PowerCut, SimDisk
from tests.smalldisk import fill, small_disk, unfill

MIB = 1024 * 1024


def payloads(spool: SqliteSpool) -> list[bytes]:
    return [one.payload for one in spool.read(0, 1_000_000) if isinstance(one, Record)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SimDisk]:
    made = SimDisk(tmp_path, Random(1))
    yield made
    made.close()


def opened(disk: SimDisk, **limits: int) -> SqliteSpool:
    return SqliteSpool(disk.folder / "spool", limits=SpoolLimits(**{"free_bytes_min": 0, **limits}), disk=disk)


@pytest.fixture
def small() -> Iterator[Path]:
    with small_disk() as folder:
        yield folder


def test_a_full_disk_refuses_reads_forgets_and_goes_on_by_itself(small: Path) -> None:
    spool = SqliteSpool(small / "spool", limits=SpoolLimits(free_bytes_min=0, segment_bytes=1 * MIB))
    kept: list[bytes] = []
    refused = 0
    for number in range(10_000):
        payload = b"%d " % number + b"x" * 2000
        try:
            spool.append([Entry(payload, token=f"t{number}")])
        except NoRoom:
            refused += 1
            if refused == 20:
                break
        else:
            kept.append(payload)
    assert refused == 20
    assert len(kept) > 1000
    assert payloads(spool) == kept, "refused is not kept, acknowledged is, and reading goes on"
    assert spool.find("t7") is not None
    assert spool.forget(len(kept) // 2) > 0
    before = len(kept)
    last = spool.last()
    assert spool.append([Entry(b"after")]) == [last + 1]
    rest = payloads(spool)
    assert rest[-1] == b"after"
    assert rest[:-1] == kept[before - len(rest) + 1 :]
    spool.close()
    again = SqliteSpool(small / "spool", limits=SpoolLimits(free_bytes_min=0))
    assert payloads(again) == rest
    assert again.recovery.is_sound
    again.close()


def test_a_disk_filled_by_somebody_else_is_survived_by_large_and_small_appends(small: Path) -> None:
    spool = SqliteSpool(small / "spool", limits=SpoolLimits(free_bytes_min=0))
    kept = [b"first"]
    spool.append([Entry(b"first")])
    fill(small)
    for size in (5, 500, 5_000, 50_000, 500_000) * 3:
        with suppress(NoRoom):
            spool.append([Entry(bytes(size))])
            kept.append(bytes(size))
    assert payloads(spool) == kept
    unfill(small)
    kept.append(b"last")
    spool.append([Entry(b"last")])
    assert payloads(spool) == kept
    spool.close()


def test_a_disk_that_is_full_at_the_start_is_told(small: Path) -> None:
    fill(small)
    with pytest.raises(NoRoom, match="cannot be opened"):
        SqliteSpool(small / "spool")
    unfill(small)
    spool = SqliteSpool(small / "spool", limits=SpoolLimits(free_bytes_min=0))
    assert spool.append([Entry(b"a")]) == [1]
    spool.close()


def test_a_disk_turned_read_only_refuses_and_goes_on_when_it_is_writable(disk: SimDisk) -> None:
    spool = opened(disk)
    spool.append([Entry(b"before", token="t")])
    disk.is_read_only = True
    for _ in range(3):
        with pytest.raises(NoRoom):
            spool.append([Entry(b"refused")])
    assert payloads(spool) == [b"before"]
    assert spool.find("t") is not None
    assert spool.forget(1) == 0
    disk.is_read_only = False
    assert spool.append([Entry(b"after")]) == [2]
    assert payloads(spool) == [b"before", b"after"]
    spool.close()


@pytest.mark.parametrize("failures", [1, 2, 5])
def test_after_a_failed_flush_a_new_file_is_begun_and_what_was_refused_never_comes_back(
    disk: SimDisk, failures: int
) -> None:
    """The trap: the flush fails once, the next one "succeeds", and the bytes never reached the disk."""
    spool = opened(disk)
    spool.append([Entry(b"before", token="t")])
    disk.failing_flushes = failures
    refused = 0
    while disk.failing_flushes:
        with pytest.raises(NoRoom):
            spool.append([Entry(b"refused", token="r")])
        refused += 1
    assert spool.find("r") is None
    assert spool.append([Entry(b"after")]) == [2]
    assert [path.name for path in sorted((disk.folder / "spool").glob("*.db"))] == [
        "000000000001.db",
        "000000000002.db",
    ]
    disk.kill()
    with suppress(PowerCut, apsw.Error):
        spool.close()
    disk.power_up()
    again = opened(disk)
    assert again.recovery.is_sound, again.recovery.lines()
    assert payloads(again) == [b"before", b"after"]
    assert again.append([Entry(b"again", token="r")]) == [3]
    again.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # SQLite closing files without power
def test_whatever_the_disk_does_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    for seed in range(60):
        random = Random(seed)
        home = tmp_path / str(seed)
        home.mkdir()
        disk = SimDisk(home, random)
        limits = {"segment_records": 20, "log_pages": 8}
        spool = opened(disk, **limits)
        kept: dict[int, bytes] = {}
        for number in range(120):
            weather = random.random()
            if weather < 0.1:
                disk.failing_flushes = random.randrange(1, 3)
            elif weather < 0.15:
                disk.room = disk._used() + random.randrange(40_000)
            elif weather < 0.2:
                disk.is_read_only = True
            elif weather < 0.5:
                disk.room, disk.is_read_only = None, False
            entries = [Entry(b"%d.%d " % (number, n) + bytes(random.randrange(3000))) for n in range(3)]
            with suppress(NoRoom):
                positions = spool.append(entries)
                assert not set(positions) & set(kept)
                kept.update(zip(positions, (entry.payload for entry in entries), strict=True))
        disk.room, disk.is_read_only, disk.failing_flushes = None, False, 0
        spool.append([Entry(b"well again")])
        kept[spool.last()] = b"well again"
        assert {one.position: one.payload for one in spool.read(0, 1000) if isinstance(one, Record)} == kept, seed
        disk.kill()
        with suppress(PowerCut, apsw.Error):
            spool.close()
        disk.power_up()
        again = opened(disk, **limits)
        assert again.recovery.is_sound, (seed, again.recovery.lines())
        assert {one.position: one.payload for one in again.read(0, 1000) if isinstance(one, Record)} == kept, seed
        again.close()
        disk.close()
        shutil.rmtree(home)
