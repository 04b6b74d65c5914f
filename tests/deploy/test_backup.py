"""Backup, verification and restore, while others write; broken archives. Real SQLite files and processes."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import apsw
import pytest

from brique import errors
from brique.deploy import BadBackup, backup, restore, verify


class FixedClock:
    def now(self) -> datetime:
        return datetime(2026, 11, 20, 10, 41, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0


def make(path: Path, rows: int = 100) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("CREATE TABLE kept (n INTEGER PRIMARY KEY, text TEXT)")
    with connection:
        connection.executemany("INSERT INTO kept VALUES (?, ?)", ((n, "x" * 200) for n in range(1, rows + 1)))
    return connection


def count(path: Path) -> int:
    connection = apsw.Connection(str(path))
    try:
        return int(connection.execute("SELECT count(*) FROM kept").fetchone()[0])
    finally:
        connection.close()


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "data"
    folder.mkdir()
    opened = [make(folder / name) for name in ("store.db", "spool.db", "accounts.db", "errors.db")]
    (folder / "brique.toml").write_text("page_rows = 7\n")
    for name in ("engine.sock", "supervisor.lock", "changes-erp.msgpack", ".hidden"):
        (folder / name).write_text("not kept")
    (folder / "metrics").mkdir()
    (folder / "metrics" / "web-1.metrics").write_text("not kept")
    (folder / "link.toml").symlink_to("/etc/passwd")
    yield folder  # the connections stay open, with their logs, as in a running brique
    for connection in opened:
        connection.close()


@pytest.fixture
def archive(data: Path, tmp_path: Path) -> Path:
    return backup(data, tmp_path / "b.tar.gz").path


def test_what_is_backed_up_comes_back_the_same(data: Path, tmp_path: Path) -> None:
    report = backup(data, tmp_path / "b.tar.gz", clock=FixedClock())
    names = ["accounts.db", "errors.db", "store.db", "spool.db", "brique.toml"]
    assert [file.name for file in report.files] == names
    assert report.made_at == "2026-11-20T10:41:00.000000Z"
    assert verify(report.path) == report
    restored = restore(report.path, tmp_path / "new" / "data")
    assert restored == report
    folder = tmp_path / "new" / "data"
    assert sorted(path.name for path in folder.iterdir()) == sorted([*names, "spool"])
    assert [path.name for path in (folder / "spool").iterdir()] == ["restored"]
    assert [count(folder / name) for name in names[:4]] == [100] * 4
    assert (folder / "brique.toml").read_text() == "page_rows = 7\n"


def test_only_the_owner_may_read_a_backup_and_what_comes_from_it(archive: Path, tmp_path: Path) -> None:
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    restore(archive, tmp_path / "new")
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").rglob("*") if path.is_file()} == {0o600}
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_a_folder_as_target_gets_a_file_named_by_its_time(data: Path, tmp_path: Path) -> None:
    assert backup(data, tmp_path, clock=FixedClock()).path == tmp_path / "brique-20261120T104100Z.tar.gz"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


WRITER = """
import sys, apsw
spool, store = (apsw.Connection(f"{sys.argv[1]}/{name}.db") for name in ("spool", "store"))
for one in (spool, store):
    one.set_busy_timeout(10000)
    one.execute("PRAGMA synchronous = OFF")
n = 100
print("ready", flush=True)
while True:
    n += 1
    spool.execute("INSERT INTO kept VALUES (?, ?)", (n, "y" * 2000))   # kept first,
    store.execute("INSERT INTO kept VALUES (?, ?)", (n, "y" * 2000))   # shown after
"""


def test_a_backup_of_a_busy_brique_is_whole_and_its_spool_knows_all_that_its_store_knows(
    data: Path, tmp_path: Path
) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(data)], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        for round_ in range(5):
            folder = tmp_path / f"new-{round_}"
            restore(backup(data, tmp_path / f"{round_}.tar.gz").path, folder)
            store, spool = count(folder / "store.db"), count(folder / "spool.db")
            assert store <= spool
            assert spool - store < 5000
        assert writer.poll() is None, "the writer was held up or failed"
        assert count(data / "spool.db") > store
    finally:
        writer.kill()
        writer.wait(10)
        assert writer.stdout is not None
        writer.stdout.close()


def test_a_writer_does_not_wait_for_a_backup(data: Path, tmp_path: Path) -> None:
    connection = apsw.Connection(str(data / "store.db"))
    done = threading.Event()
    thread = threading.Thread(target=lambda: (backup(data, tmp_path / "b.tar.gz"), done.set()))
    thread.start()
    written = 0
    while not done.is_set():
        connection.execute("INSERT INTO kept (text) VALUES ('z')")  # no busy time-out: waiting would be a fault
        written += 1
    thread.join()
    connection.close()
    assert written > 0


def test_a_folder_that_is_not_empty_is_refused_and_left_alone(archive: Path, tmp_path: Path) -> None:
    target = tmp_path / "full"
    target.mkdir()
    (target / "mine").write_text("x")
    with pytest.raises(errors.BadConfiguration, match="not an empty folder"):
        restore(archive, target)
    with pytest.raises(errors.BadConfiguration, match="not an empty folder"):
        restore(archive, target / "mine")
    assert [path.name for path in target.iterdir()] == ["mine"]


@pytest.mark.parametrize("bad", ["b.zip", "missing/b.tar.gz", "there.tar.gz"])
def test_a_target_that_is_no_good_is_refused(data: Path, tmp_path: Path, bad: str) -> None:
    (tmp_path / "there.tar.gz").write_text("x")
    with pytest.raises(errors.BadConfiguration):
        backup(data, tmp_path / bad)
    assert (tmp_path / "there.tar.gz").read_text() == "x"


def test_a_folder_without_data_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path / "missing", tmp_path):
        with pytest.raises(errors.BadConfiguration):
            backup(folder, tmp_path / "b.tar.gz")


def test_a_damaged_database_is_not_packed(data: Path, tmp_path: Path) -> None:
    victim = data / "broken.db"
    make(victim, rows=2000).close()
    with victim.open("r+b") as file:
        file.seek(40_000)
        file.write(b"\xff" * 8192)
    with pytest.raises(BadBackup, match=r"broken\.db"):
        backup(data, tmp_path / "b.tar.gz")
    assert not list(tmp_path.glob("*.tar.gz"))
    victim.write_bytes(b"this is no database at all " * 100)
    with pytest.raises(errors.BadConfiguration, match=r"broken\.db cannot be read"):
        backup(data, tmp_path / "b.tar.gz")


def test_an_archive_cut_at_any_place_is_known_as_broken(archive: Path, tmp_path: Path) -> None:
    content = archive.read_bytes()
    for share in (0, 0.01, 0.3, 0.6, 0.9, 0.99):
        cut = tmp_path / "cut.tar.gz"
        cut.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(BadBackup):
            verify(cut)
        with pytest.raises(BadBackup):
            restore(cut, tmp_path / "new")
        assert not (tmp_path / "new").exists()


def test_a_flipped_bit_is_known(archive: Path, tmp_path: Path) -> None:
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 0x10
    (tmp_path / "bad.tar.gz").write_bytes(content)
    with pytest.raises(BadBackup):
        verify(tmp_path / "bad.tar.gz")


def rewrite(archive: Path, target: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """A copy of an archive with some members changed."""
    with tarfile.open(archive) as tar:
        members = {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]
    change(members)
    with tarfile.open(target, "w:gz") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return target


def set_manifest(members: dict[str, bytes], **changes: object) -> None:
    name = "brique-backup/manifest.json"
    members[name] = json.dumps(json.loads(members[name]) | changes).encode()


def break_store(members: dict[str, bytes]) -> None:
    """A damaged database whose hash is right: only the database itself can tell."""
    content = bytearray(members["brique-backup/store.db"])
    content[5000:9000] = b"\xff" * 4000
    members["brique-backup/store.db"] = bytes(content)
    files = json.loads(members["brique-backup/manifest.json"])["files"]
    for file in files:
        if file["name"] == "store.db":
            file["sha256"] = hashlib.sha256(content).hexdigest()
    set_manifest(members, files=files)


@pytest.mark.parametrize(
    "change",
    [
        lambda members: members.update({"brique-backup/store.db": b"other"}),
        lambda members: members.pop("brique-backup/spool.db"),
        lambda members: set_manifest(members, format=3, brique="9.9"),
        lambda members: set_manifest(members, files="none"),
        break_store,
    ],
)
def test_an_archive_that_was_changed_is_refused_and_nothing_is_left(
    archive: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], None]
) -> None:
    bad = rewrite(archive, tmp_path / "bad.tar.gz", change)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(BadBackup):
        restore(bad, empty)
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["../evil", "brique-backup/../../evil", "/etc/evil", "brique-backup/a/b", "brique-backup/"]
)
def test_an_archive_cannot_write_outside_its_folder(archive: Path, tmp_path: Path, name: str) -> None:
    def add(members: dict[str, bytes]) -> None:
        manifest = members.pop("brique-backup/manifest.json")
        members[name] = b"evil"
        members["brique-backup/manifest.json"] = manifest

    with pytest.raises(BadBackup, match="not a backup"):
        restore(rewrite(archive, tmp_path / "bad.tar.gz", add), tmp_path / "new")
    assert not list(tmp_path.rglob("evil"))


def test_a_link_in_an_archive_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bad.tar.gz", "w:gz") as tar:
        entry = tarfile.TarInfo("brique-backup/store.db")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(entry)
    with pytest.raises(BadBackup, match="not a backup"):
        verify(tmp_path / "bad.tar.gz")


def test_an_archive_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadBackup, match="no file"):
        verify(tmp_path / "missing.tar.gz")
