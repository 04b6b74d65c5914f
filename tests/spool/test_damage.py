"""Damaged files: what was lost is told, nothing else is lost with it, and the spool goes on."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import apsw
import pytest

from brique.spool import Damage, Entry, Record, SpoolLimits, SqliteSpool, check_spool

RECORDS = 100  # in each of the first two segments; some more in the third


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A spool that was closed in order: 1 to 100, 101 to 200, 201 to 230."""
    spool = opened(tmp_path / "spool")
    for first in range(1, 231, 10):
        spool.append([Entry(payload(first + n), token=f"t{first + n}") for n in range(10)])
    spool.close()
    return tmp_path / "spool"


def opened(folder: Path) -> SqliteSpool:
    return SqliteSpool(folder, limits=SpoolLimits(free_bytes_min=0, segment_records=RECORDS))


def payload(position: int) -> bytes:
    return b"record %d " % position + b"x" * 300


def segment(folder: Path, first: int) -> Path:
    return folder / f"{first:012d}.db"


def flip(path: Path, wanted: bytes) -> None:
    """Flip one bit in the middle of `wanted`, wherever it is in the file."""
    content = bytearray(path.read_bytes())
    place = content.index(wanted) + len(wanted) - 1
    content[place] ^= 0x10
    path.write_bytes(content)


def read_all(spool: SqliteSpool) -> tuple[dict[int, bytes], list[Damage]]:
    """As `catch_up` reads: batch by batch, to the end. Every position is accounted for, once and in order."""
    records: dict[int, bytes] = {}
    damages: list[Damage] = []
    after = 0
    while batch := list(spool.read(after, 37)):
        for one in batch:
            if isinstance(one, Record):
                assert one.position == after + 1
                records[one.position] = one.payload
            else:
                assert one.first == after + 1
                damages.append(one)
            after = one.position
    assert after == spool.last()
    return records, damages


def goes_on(spool: SqliteSpool, beyond: int = 230) -> None:
    """It keeps what comes, at a position that nobody ever had, and finds it again."""
    [position] = spool.append([Entry(b"new", token="new")])
    assert position > beyond
    found = spool.find("new")
    assert found is not None
    assert found.position == position
    spool.close()


@pytest.mark.parametrize("position", [42, 150, 225])
def test_a_flipped_bit_costs_one_record_and_is_told(folder: Path, position: int) -> None:
    flip(segment(folder, (position - 1) // 100 * 100 + 1), b"record %d " % position)
    spool = opened(folder)
    records, damages = read_all(spool)
    assert [(one.first, one.position) for one in damages] == [(position, position)]
    assert "checksum" in str(damages[0])
    assert len(records) == 229
    assert all(records[place] == payload(place) for place in records)
    assert spool.find(f"t{position}") is None
    assert spool.find(f"t{position - 1}") is not None
    [noted] = (folder / "damaged").iterdir()
    facts = json.loads(noted.read_text())
    assert (facts["first"], facts["last"]) == (position, position)
    assert len(bytes.fromhex(facts["payload"])) == len(payload(position))
    goes_on(spool)
    assert [str(one) for one in check_spool(folder).damages] == [str(one) for one in damages]


def test_a_damaged_newest_segment_is_not_written_to_any_more(folder: Path) -> None:
    flip(segment(folder, 201), b"record 225 ")
    spool = opened(folder)
    assert [str(one) for one in spool.recovery.damages] == [
        "position 225 in 000000000201.db: its checksum does not fit"
    ]
    assert not spool.recovery.is_sound
    assert any("damaged" in line for line in spool.recovery.lines())
    before = segment(folder, 201).read_bytes()
    goes_on(spool)
    assert segment(folder, 201).read_bytes() == before


@pytest.mark.parametrize("seed", range(12))
def test_pages_of_noise_cost_what_they_held_and_no_more(folder: Path, seed: int) -> None:
    random = Random(seed)
    path = segment(folder, random.choice((1, 101, 201)))
    content = bytearray(path.read_bytes())
    page = random.randrange(1, len(content) // 4096)
    content[page * 4096 : (page + 1) * 4096] = random.randbytes(4096)
    path.write_bytes(content)
    spool = opened(folder)
    records, damages = read_all(spool)
    lost = sum(one.position - one.first + 1 for one in damages)
    assert len(records) + lost == spool.last()
    assert all(records[place] == payload(place) for place in records)
    assert len([place for place in records if not 0 <= place - int(path.stem) < 100]) >= 130
    goes_on(spool)


@pytest.mark.parametrize("first", [1, 101])
def test_a_segment_cut_short_loses_its_end_and_nothing_else(folder: Path, first: int) -> None:
    path = segment(folder, first)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    spool = opened(folder)
    records, damages = read_all(spool)
    assert damages
    assert all(first <= one.first <= one.position < first + 100 for one in damages)
    assert all(records[place] == payload(place) for place in records)
    goes_on(spool)


def test_a_newest_segment_cut_short_is_left_and_no_position_is_given_twice(folder: Path) -> None:
    path = segment(folder, 201)
    path.write_bytes(path.read_bytes()[:9000])
    spool = opened(folder)
    records, damages = read_all(spool)
    assert set(range(1, 201)) <= set(records)
    assert damages
    assert not spool.recovery.is_sound
    goes_on(spool)


@pytest.mark.parametrize("first", [1, 101])
def test_a_segment_that_is_gone_is_told(folder: Path, first: int) -> None:
    segment(folder, first).unlink()
    spool = opened(folder)
    if first == 1:
        assert next(iter(spool.read(0, 1))).position == 101, "the oldest ones may have been forgotten"
        spool.close()
        return
    _, damages = read_all(spool)
    assert [(one.first, one.position) for one in damages] == [(101, 200)]
    assert any("101 to 200" in line for line in spool.recovery.lines())
    goes_on(spool)


@pytest.mark.parametrize("first", [1, 101, 201])
def test_a_file_that_is_none_of_ours_is_set_aside_and_its_positions_are_told(folder: Path, first: int) -> None:
    segment(folder, first).write_bytes(b"this is my diary" * 1000)
    spool = opened(folder)
    records, damages = read_all(spool)
    assert len(damages) == 1
    assert damages[0].first == first
    assert (folder / "damaged" / f"{first:012d}.db").read_bytes() == b"this is my diary" * 1000
    assert len(records) in (200, 130)
    assert spool.recovery.missing
    goes_on(spool)


def test_a_segment_of_another_spool_is_set_aside(folder: Path, tmp_path: Path) -> None:
    other = opened(tmp_path / "other")
    other.append([Entry(b"of somebody else")])
    other.close()
    segment(tmp_path / "other", 1).rename(segment(folder, 1))
    spool = opened(folder)
    _, damages = read_all(spool)
    assert [(one.first, one.position) for one in damages] == [(1, 100)]
    assert "another spool" in spool.recovery.missing[0]
    goes_on(spool)


def test_a_newest_segment_without_any_byte_is_no_loss(folder: Path) -> None:
    """As a file system may leave it when the power fails: nothing is kept in a segment before it is flushed whole."""
    segment(folder, 231).touch()
    spool = opened(folder)
    assert spool.recovery.is_sound
    assert any("empty" in note for note in spool.recovery.notes)
    records, damages = read_all(spool)
    assert (len(records), damages) == (230, [])
    goes_on(spool)


def test_a_log_that_is_gone_is_told(folder: Path, tmp_path: Path) -> None:
    spool = opened(folder)
    spool.append([Entry(b"in the log only")])
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        if not path.name.endswith(("-wal", "-shm")):
            (copy / path.name).write_bytes(path.read_bytes())
    spool.close()
    broken = opened(copy)
    assert any("log of 000000000201.db is gone" in line for line in broken.recovery.lines())
    assert broken.last() == 230
    broken.skip_to(231)  # the engine knows it from its store
    assert read_all(broken)[1] == [Damage(231, 231, "missing from its file", "000000000201.db")]
    goes_on(broken, 231)


def test_what_a_crash_left_half_made_is_removed_and_other_files_are_left_alone(folder: Path) -> None:
    (folder / "000000000301.db.aside").write_bytes(b"half")
    (folder / "000000000777.db-wal").write_bytes(b"of a segment that was forgotten")
    (folder / "notes.txt").write_text("mine")
    spool = opened(folder)
    assert spool.recovery.removed == ["000000000301.db.aside", "000000000777.db-wal"]
    assert spool.recovery.foreign == ["notes.txt"]
    assert (folder / "notes.txt").read_text() == "mine"
    assert spool.recovery.is_sound
    goes_on(spool)


@pytest.mark.parametrize("content", [None, b"", b"{half"])
def test_without_its_name_file_the_spool_is_known_by_its_segments(folder: Path, content: bytes | None) -> None:
    spool = opened(folder)
    name = spool.name()
    spool.close()
    (folder / "stream").unlink()
    if content is not None:
        (folder / "stream").write_bytes(content)
    again = opened(folder)
    assert again.name() == name
    assert len(read_all(again)[0]) == 230
    goes_on(again)
    assert json.loads((folder / "stream").read_text())["name"] == name


def test_checking_reads_every_record_and_changes_nothing(folder: Path) -> None:
    flip(segment(folder, 1), b"record 42 ")
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    found = check_spool(folder)
    assert (found.records, found.segments, found.first, found.last) == (229, 3, 1, 230)
    assert [one.position for one in found.damages] == [42]
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    spool = opened(folder)
    spool.append([Entry(b"in use")])
    assert check_spool(folder).records == 230
    spool.close()


def test_sqlite_itself_finds_nothing_wrong_with_the_segments(folder: Path) -> None:
    for path in folder.glob("*.db"):
        db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        db.close()
