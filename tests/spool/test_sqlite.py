"""The SQLite spool: the contract, segments, and what happens when its process fails."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from brique.errors import BadConfiguration, NoRoom, TooMuch
from brique.spool import Entry, Record, Spool, SpoolLimits, SqliteSpool, check_spool
from tests.spool.contract import SpoolContract


class TestSqliteSpool(SpoolContract):
    @pytest.fixture
    def spool(self, tmp_path: Path) -> Iterator[Spool]:
        made = SqliteSpool(tmp_path / "spool")
        yield made
        made.close()


class TestSqliteSpoolOfManySegments(SpoolContract):
    @pytest.fixture
    def spool(self, tmp_path: Path) -> Iterator[Spool]:
        made = SqliteSpool(tmp_path / "spool", limits=SpoolLimits(segment_records=1))
        yield made
        made.close()


def opened(folder: Path, **limits: int) -> SqliteSpool:
    return SqliteSpool(folder / "spool", limits=SpoolLimits(**{"free_bytes_min": 0, **limits}))


def payloads(spool: Spool) -> list[bytes]:
    return [one.payload for one in spool.read(0, 1_000_000) if isinstance(one, Record)]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "spool").glob("*.db"))


def test_what_was_kept_is_there_after_opening_again(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.append([Entry(b"a", token="t"), Entry(b"b")])
    first.close()
    again = opened(tmp_path)
    assert payloads(again) == [b"a", b"b"]
    assert again.append([Entry(b"a", token="t")]) == [1]
    assert again.name() == first.name()
    again.close()


def test_only_its_owner_may_read_the_files(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append([Entry(b"a")])
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "spool").iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o700
    spool.close()


def test_every_commit_is_flushed(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    assert spool._active._one("PRAGMA synchronous") == 2
    assert spool._active._one("PRAGMA journal_mode") == "wal"
    spool.close()


def test_a_new_segment_begins_when_one_is_full_and_positions_go_on(tmp_path: Path) -> None:
    spool = opened(tmp_path, segment_records=10)
    for number in range(35):
        assert spool.append([Entry(b"%d" % number, token=f"t{number}")]) == [number + 1]
    assert files(tmp_path) == [f"{first:012d}.db" for first in (1, 11, 21, 31)]
    assert payloads(spool) == [b"%d" % number for number in range(35)]
    assert [one.position for one in spool.read(8, 5)] == [9, 10, 11, 12, 13]
    found = spool.find("t3")
    assert found is not None
    assert (found.position, found.payload) == (4, b"3")
    assert spool.append([Entry(b"again", token="t3")]) == [4]
    spool.close()
    again = opened(tmp_path)
    assert again.last() == 35
    assert again.recovery.is_sound
    assert (again.recovery.records, again.recovery.segments) == (35, 4)
    again.close()


def test_segments_are_bounded_in_bytes_as_well(tmp_path: Path) -> None:
    spool = opened(tmp_path, segment_bytes=100_000)
    for _ in range(30):
        spool.append([Entry(b"x" * 10_000)])
    assert len(files(tmp_path)) >= 3
    spool.close()


def test_forgetting_unlinks_whole_segments(tmp_path: Path) -> None:
    spool = opened(tmp_path, segment_records=10)
    for number in range(35):
        spool.append([Entry(b"%d" % number, token=f"t{number}")])
    assert spool.forget(25) == 20
    assert files(tmp_path) == [f"{first:012d}.db" for first in (21, 31)]
    assert [one.position for one in spool.read(0, 2)] == [21, 22]
    assert spool.find("t3") is None
    assert spool.append([Entry(b"again", token="t3")]) == [36]
    spool.close()


def test_an_old_segment_held_by_a_few_records_is_written_anew_with_these_alone(tmp_path: Path) -> None:
    spool = opened(tmp_path, segment_records=1000)
    spool.append([Entry(b"x" * 500, token=f"t{number}") for number in range(1000)])
    spool.append([Entry(b"later")])
    before = spool.size_bytes()
    [stretch] = spool.stretches()
    assert (stretch.first, stretch.last, stretch.records) == (1, 1000, 1000)
    made = spool.rewrite(1, lambda record: record.position in (3, 700))
    assert made is not None
    assert spool.replace(made) > 400_000
    assert spool.size_bytes() < before / 4
    assert [one.position for one in spool.read(0, 10)] == [3, 700, 1001]
    assert [one.position for one in spool.read(3, 1)] == [700]
    assert spool.find("t2") is not None
    assert spool.find("t3") is None
    assert spool.stretches()[0].records == 2
    spool.close()
    again = opened(tmp_path)
    assert again.recovery.is_sound
    assert [one.position for one in again.read(0, 10)] == [3, 700, 1001]
    assert again.recovery.records == 3
    assert check_spool(tmp_path / "spool").is_sound
    again.close()


def test_below_the_reserve_only_urgent_entries_are_kept_and_with_room_it_goes_on(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append([Entry(b"before")])
    spool.limits.free_bytes_min = 1 << 60
    with pytest.raises(NoRoom, match="not kept"):
        spool.append([Entry(b"refused")])
    assert spool.append([Entry(b"urgent")], urgent=True) == [2]
    spool.limits.free_bytes_min = 0
    assert spool.append([Entry(b"after")]) == [3]
    assert payloads(spool) == [b"before", b"urgent", b"after"]
    spool.close()


def test_the_spool_and_one_payload_have_a_size_that_they_may_not_pass(tmp_path: Path) -> None:
    spool = opened(tmp_path, bytes_max=200_000, payload_bytes_max=50_000)
    with pytest.raises(TooMuch, match="command_bytes_max"):
        spool.append([Entry(b"fits"), Entry(b"x" * 50_001)])
    assert spool.last() == 0
    with pytest.raises(NoRoom, match="spool_bytes_max"):
        for _ in range(10):
            spool.append([Entry(b"x" * 40_000)])
    kept = spool.last()
    spool.forget(kept)
    assert spool.append([Entry(b"x" * 40_000)]) == [kept + 1]
    spool.close()


def test_positions_that_somebody_knows_are_skipped(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append([Entry(b"a")])
    spool.skip_to(40)
    spool.skip_to(7)
    assert spool.last() == 40
    assert spool.append([Entry(b"b")]) == [41]
    assert [str(one) for one in spool.read(1, 1)] == ["positions 2 to 40 in 000000000001.db: missing from its file"]
    spool.close()


def test_a_restored_spool_has_a_new_name_and_knows_the_old_one(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    old = spool.name()
    spool.append([Entry(b"a"), Entry(b"b")])
    spool.close()
    for number in range(2):
        (tmp_path / "spool" / "restored").write_text("the backup of yesterday")
        restored = opened(tmp_path)
        assert restored.name() != old, "once for each restore"
        assert [(one.name, one.last) for one in restored.ancestors()] == [(old, 2)]
        assert not (tmp_path / "spool" / "restored").exists()
        assert restored.append([Entry(b"c")]) == [3 + number]
        restored.close()
    again = opened(tmp_path)
    assert (again.name(), again.ancestors()) == (restored.name(), restored.ancestors())
    assert payloads(again) == [b"a", b"b", b"c", b"c"]
    again.close()


OLD = """
CREATE TABLE record(position INTEGER PRIMARY KEY AUTOINCREMENT, token TEXT, payload BLOB NOT NULL) STRICT;
CREATE UNIQUE INDEX record_token ON record(token) WHERE token IS NOT NULL;
CREATE TABLE spool(name TEXT NOT NULL) STRICT;
INSERT INTO spool VALUES('0123456789abcdef');
"""


def old_file(folder: Path, records: int, *, forgotten: int = 0) -> Path:
    """A spool as the first version wrote it, in use until just now."""
    path = folder / "spool.db"
    db = apsw.Connection(str(path))
    db.execute("PRAGMA journal_mode=WAL").fetchall()
    db.execute(f"PRAGMA application_id={0x62727153}")
    db.execute(OLD)
    with db:
        db.executemany(
            "INSERT INTO record(token, payload) VALUES(?, ?)", ((f"t{n}", b"%d" % n) for n in range(records))
        )
        db.execute("DELETE FROM record WHERE position <= ?", (forgotten,))
    db.close()
    return path


def taking_over(folder: Path) -> SqliteSpool:
    limits = SpoolLimits(free_bytes_min=0, segment_records=100)
    return SqliteSpool(folder / "spool", limits=limits, takes_over=folder / "spool.db")


@pytest.mark.parametrize(("records", "forgotten"), [(250, 0), (250, 30), (5, 5), (0, 0)])
def test_the_single_file_of_before_is_taken_over(tmp_path: Path, records: int, forgotten: int) -> None:
    path = old_file(tmp_path, records, forgotten=forgotten)
    spool = taking_over(tmp_path)
    assert spool.name() == "0123456789abcdef"
    assert spool.last() == records
    assert payloads(spool) == [b"%d" % number for number in range(forgotten, records)]
    assert spool.recovery.is_sound
    assert spool.append([Entry(b"next", token="n")]) == [records + 1]
    if records > forgotten:
        assert spool.append([Entry(b"again", token=f"t{records - 1}")]) == [records]
    assert not path.exists()
    spool.close()
    taking_over(tmp_path).close()


def test_taking_over_can_be_interrupted_anywhere(tmp_path: Path) -> None:
    old_file(tmp_path, 250)
    (tmp_path / "spool").mkdir()
    for name in ("000000000001.db", "000000000101.db", "000000000101.db.aside", "000000000001.db-wal"):
        (tmp_path / "spool" / name).write_bytes(b"half of it")
    spool = taking_over(tmp_path)
    assert payloads(spool) == [b"%d" % number for number in range(250)]
    spool.close()
    old_file(tmp_path, 250)  # as if the power had failed before it was removed
    spool = taking_over(tmp_path)
    assert payloads(spool) == [b"%d" % number for number in range(250)]
    assert not (tmp_path / "spool.db").exists()
    spool.close()


def test_a_file_of_another_program_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "spool.db").write_bytes(b"this is my diary" * 1000)
    with pytest.raises(BadConfiguration, match="not a spool"):
        taking_over(tmp_path)
    (tmp_path / "spool.db").unlink()
    other = apsw.Connection(str(tmp_path / "spool.db"))
    other.execute("PRAGMA application_id=77; CREATE TABLE t(a)")
    other.close()
    with pytest.raises(BadConfiguration, match="another program"):
        taking_over(tmp_path)


WRITER = """
import sys
from pathlib import Path
from brique.spool import Entry, SpoolLimits, SqliteSpool
spool = SqliteSpool(Path(sys.argv[1]), limits=SpoolLimits(segment_records=50))
number = 0
while True:
    positions = spool.append([Entry(f"{number + i}".encode()) for i in range(7)])
    number += 7
    print(positions[-1], flush=True)
"""


def test_what_was_acknowledged_survives_kill_9_at_any_moment(tmp_path: Path) -> None:
    for round_ in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "spool")], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        acknowledged = 0
        for _ in range(20 + 13 * round_):
            acknowledged = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read().split()
        acknowledged = int(rest[-1]) if rest else acknowledged
        writer.wait()
        writer.stdout.close()
        spool = opened(tmp_path)
        assert not spool.recovery.was_closed
        positions = [record.position for record in spool.read(0, 1_000_000)]
        assert positions[:acknowledged] == list(range(1, acknowledged + 1))
        assert len(positions) % 7 == 0, "an append is kept whole or not at all"
        spool.close()
