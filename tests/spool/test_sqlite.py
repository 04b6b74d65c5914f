"""The SQLite spool: the contract, and what happens when its process, its disk or its file fails."""

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

from brique.errors import BadConfiguration, NoRoom
from brique.spool import Entry, Spool, SqliteSpool
from tests.spool.contract import SpoolContract


class TestSqliteSpool(SpoolContract):
    @pytest.fixture
    def spool(self, tmp_path: Path) -> Iterator[Spool]:
        made = SqliteSpool(tmp_path / "spool.db")
        yield made
        made.close()


def test_what_was_kept_is_there_after_opening_again(tmp_path: Path) -> None:
    first = SqliteSpool(tmp_path / "spool.db")
    first.append([Entry(b"a", token="t"), Entry(b"b")])
    first.close()
    again = SqliteSpool(tmp_path / "spool.db")
    assert [record.payload for record in again.read(0, 10)] == [b"a", b"b"]
    assert again.append([Entry(b"a", token="t")]) == [1]
    again.close()


def test_only_its_owner_may_read_the_file(tmp_path: Path) -> None:
    SqliteSpool(tmp_path / "spool.db").close()
    assert stat.S_IMODE((tmp_path / "spool.db").stat().st_mode) == 0o600


def test_every_commit_is_flushed(tmp_path: Path) -> None:
    spool = SqliteSpool(tmp_path / "spool.db")
    assert spool._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert spool._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    spool.close()


def test_below_the_reserve_nothing_is_kept_and_with_room_it_goes_on(tmp_path: Path) -> None:
    spool = SqliteSpool(tmp_path / "spool.db")
    spool.append([Entry(b"before")])
    spool.free_bytes_min = 1 << 60
    with pytest.raises(NoRoom, match="not kept"):
        spool.append([Entry(b"refused")])
    spool.free_bytes_min = 0
    assert spool.append([Entry(b"after")]) == [2]
    assert [record.payload for record in spool.read(0, 10)] == [b"before", b"after"]
    spool.close()


def test_a_file_that_is_full_refuses_and_loses_nothing(tmp_path: Path) -> None:
    spool = SqliteSpool(tmp_path / "spool.db", free_bytes_min=0)
    spool.append([Entry(b"kept")])
    pages = spool._db.execute("PRAGMA page_count").fetchone()
    assert pages is not None
    spool._db.execute(f"PRAGMA max_page_count={pages[0]}").fetchall()
    with pytest.raises(NoRoom):
        spool.append([Entry(b"x" * 5_000_000)])
    spool._db.execute("PRAGMA max_page_count=1073741823").fetchall()
    spool.append([Entry(b"later")])
    assert [record.payload for record in spool.read(0, 10)] == [b"kept", b"later"]
    spool.close()


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "spool.db"
    file.write_bytes(b"this is my diary" * 1000)
    with pytest.raises(BadConfiguration, match="not a spool"):
        SqliteSpool(file)
    assert file.read_bytes() == b"this is my diary" * 1000


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    other = apsw.Connection(str(tmp_path / "spool.db"))
    other.execute("PRAGMA application_id=77; CREATE TABLE t(a)")
    other.close()
    with pytest.raises(BadConfiguration, match="another program"):
        SqliteSpool(tmp_path / "spool.db")


WRITER = """
import sys
from pathlib import Path
from brique.spool import Entry, SqliteSpool
spool = SqliteSpool(Path(sys.argv[1]))
number = 0
while True:
    positions = spool.append([Entry(f"{number + i}".encode()) for i in range(7)])
    number += 7
    print(positions[-1], flush=True)
"""


def test_what_was_acknowledged_survives_kill_9_at_any_moment(tmp_path: Path) -> None:
    file = tmp_path / "spool.db"
    for round_ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(file)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        acknowledged = 0
        for _ in range(20 + 13 * round_):
            acknowledged = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read().split()
        acknowledged = int(rest[-1]) if rest else acknowledged
        writer.wait()
        writer.stdout.close()
        spool = SqliteSpool(file)
        positions = [record.position for record in spool.read(0, 1_000_000)]
        assert positions[:acknowledged] == list(range(1, acknowledged + 1))
        assert len(positions) % 7 == 0, "an append is kept whole or not at all"
        spool.close()
