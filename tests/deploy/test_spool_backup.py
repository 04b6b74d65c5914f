"""A spool of many segments, backed up while it is written to, and restored."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from brique.deploy import backup, restore, verify
from brique.spool import Entry, Record, SpoolLimits, SqliteSpool

LIMITS = SpoolLimits(free_bytes_min=0, segment_records=40)


def opened(data: Path) -> SqliteSpool:
    return SqliteSpool(data / "spool", limits=LIMITS)


def positions(spool: SqliteSpool) -> list[int]:
    found = list(spool.read(0, 1_000_000))
    assert all(isinstance(one, Record) and one.payload.startswith(b"%d " % one.position) for one in found)
    return [one.position for one in found]


def fill(spool: SqliteSpool, upto: int) -> None:
    for position in range(spool.last() + 1, upto + 1):
        spool.append([Entry(b"%d " % position, token=f"t{position}")])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def test_a_restored_spool_goes_on_under_a_new_name_and_remembers_the_old_one(data: Path, tmp_path: Path) -> None:
    spool = opened(data)
    fill(spool, 130)
    archive = backup(data, tmp_path / "b.tar.gz").path
    fill(spool, 200)  # which a backend may have seen, and the backup has not
    spool.close()
    assert verify(archive).path == archive
    restore(archive, tmp_path / "new")
    again = opened(tmp_path / "new")
    assert again.recovery.is_sound
    assert positions(again) == list(range(1, 131))
    assert again.name() != spool.name()
    assert [(one.name, one.last) for one in again.ancestors()] == [(spool.name(), 130)]
    assert again.append([Entry(b"x", token="t7")]) == [7]
    assert again.append([Entry(b"131 ")]) == [131]
    again.close()
    second = backup(tmp_path / "new", tmp_path / "c.tar.gz").path
    restore(second, tmp_path / "newer")
    newer = opened(tmp_path / "newer")
    assert [(one.name, one.last) for one in newer.ancestors()] == [(spool.name(), 130), (again.name(), 131)]
    newer.close()


WRITER = """
import sys
from pathlib import Path
from brique.spool import Entry, SpoolLimits, SqliteSpool
spool = SqliteSpool(Path(sys.argv[1]), limits=SpoolLimits(free_bytes_min=0, segment_records=40))
print("ready", flush=True)
position = spool.last()
while True:
    position += 1
    spool.append([Entry(b"%d " % position + b"x" * 300)])
    if position % 100 == 0:
        spool.forget(position - 300)
    if position % 130 == 0 and len(spool.stretches()) > 2:
        oldest = spool.stretches()[1]
        made = spool.rewrite(oldest.first, lambda record: True)
        if made is not None:
            spool.replace(made)
"""


def test_a_backup_of_a_busy_spool_has_no_holes(data: Path, tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(data / "spool")], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        lasts = []
        for number in range(12):
            folder = tmp_path / f"new-{number}"
            restore(backup(data, tmp_path / f"{number}.tar.gz").path, folder)
            spool = opened(folder)
            assert spool.recovery.is_sound, spool.recovery.lines()
            found = positions(spool)
            assert found == list(range(spool.recovery.first, spool.last() + 1))
            lasts.append(spool.last())
            spool.close()
        assert lasts == sorted(lasts)
        assert writer.poll() is None, "the writer was held up or failed"
    finally:
        writer.kill()
        writer.wait(10)
        assert writer.stdout is not None
        writer.stdout.close()


def test_a_backup_of_the_single_file_of_before_is_restored_under_a_new_name_as_well(data: Path, tmp_path: Path) -> None:
    from tests.spool.test_sqlite import old_file

    old_file(data, 30)
    restore(backup(data, tmp_path / "b.tar.gz").path, tmp_path / "new")
    spool = SqliteSpool(tmp_path / "new" / "spool", limits=LIMITS, takes_over=tmp_path / "new" / "spool.db")
    assert [(one.name, one.last) for one in spool.ancestors()] == [("0123456789abcdef", 30)]
    assert spool.append([Entry(b"x", token="t3")]) == [4]
    assert spool.last() == 30
    spool.close()
