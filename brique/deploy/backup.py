"""A backup of a data folder while brique works: nobody waits for it, and what it holds fits together.

Every database is read from a snapshot, and all snapshots are opened at one moment, within milliseconds, before
anything is copied; the copying may then take as long as it likes. The order of opening matters: **the spool last**.
A command is in the spool before it is in the store. So whatever the store's snapshot knows, the spool's snapshot
knows too, and the engine, when it starts on what was restored, brings the store up to the spool as after any crash.
The other way round the store could show commands that the journal had never heard of.

The spool is a folder of segments, of which only the newest is written to. They are opened from the oldest to the
newest, and the newest again when the list of them has changed meanwhile: one was forgotten, or a new one was begun.

Not in it: sockets, locks, figures of processes, half-done refreshes, what the spool has set aside as damaged.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import apsw

from brique import errors
from brique.clock import Clock, SystemClock, stamp
from brique.deploy.archive import (
    FOLDER,
    MANIFEST,
    SPOOL,
    BackupReport,
    FileRecord,
    check_database,
    flush_file,
    flush_folder,
    hash_of,
    is_plain_file,
    read_manifest,
    write_manifest,
)

_LAST = ("store.db", "spool.db")  # in this order, after all others
_LEFT_OUT = (".sock", ".lock", "-wal", "-shm", "-journal", ".aside", ".tar.gz")
_TRANSIENT = ("changes-",)
_BUSY_MS = 10_000
_SPOOL_TRIES = 100
_PAGES_A_STEP = 4096
_SUFFIX = ".tar.gz"
_ROOM_BYTES = 16 * 1024 * 1024  # beside the largest database, which is copied before it is packed


def backup(data: Path, target: Path, *, check: bool = True, clock: Clock | None = None) -> BackupReport:
    """Put a backup of the data folder `data` at `target` and say what it holds.

    Args:
        target: a file that ends in .tar.gz and is not there yet, or a folder, in which the file is named by its time.
        check: read each copy whole (SQLite's integrity check) before it is packed.
    Raises:
        BadConfiguration: `data` holds no brique data, or the target is not good.
        NoRoom: there is too little room beside the target for the copies.
        BadBackup: a database is damaged.
    The archive can be read by its owner alone: it holds the accounts. It appears whole or not at all.
    """
    made_at = stamp((clock or SystemClock()).now())
    final = _final_path(target, made_at)
    databases, others = _files_of(data)
    _check_room([*databases, *_segments(data)], final.parent)
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=final.parent) as aside_name:
        aside = Path(aside_name)
        packed = aside / "archive"
        with packed.open("xb") as raw:
            os.fchmod(raw.fileno(), 0o600)
            with (
                _snapshots(databases, data) as sources,
                tarfile.open(fileobj=raw, mode="w:gz", compresslevel=4) as archive,
            ):
                records = [
                    _pack_database(archive, path, _name_of(path, data), source, aside, check=check)
                    for path, source in sources
                ]
                records += [_pack(archive, path, _name_of(path, data), database=False) for path in others]
                manifest = write_manifest(made_at, records)
                _add(archive, MANIFEST, io.BytesIO(manifest), len(manifest))
            flush_file(raw)
        _publish(packed, final)
    return read_manifest(final, manifest)


def _publish(packed: Path, final: Path) -> None:
    try:
        os.link(packed, final)  # unlike a rename, never over a file that came in the meantime
    except FileExistsError as error:
        raise _taken(final) from error
    flush_folder(final.parent)


def _final_path(target: Path, made_at: str) -> Path:
    if target.is_dir():
        moment = made_at[:19].replace("-", "").replace(":", "")
        target = target / f"brique-{moment}Z{_SUFFIX}"
    if not target.name.endswith(_SUFFIX):
        raise errors.BadConfiguration(f"{target} is no name for a backup", try_this=f"End it in {_SUFFIX}.")
    if not target.parent.is_dir():
        raise errors.BadConfiguration(f"There is no folder {target.parent}", try_this="Make it first.")
    if target.exists():
        raise _taken(target)
    return target


def _taken(path: Path) -> errors.BadConfiguration:
    return errors.BadConfiguration(f"{path} is there already", try_this="Choose another name.")


def _files_of(data: Path) -> tuple[list[Path], list[Path]]:
    """The databases in the order in which their snapshots are to be opened, and the other files worth keeping."""
    if not data.is_dir():
        raise errors.BadConfiguration(f"There is no data folder {data}", try_this="Name it with --data.")
    kept = [
        path
        for path in sorted(data.iterdir())
        if not path.name.startswith((".", *_TRANSIENT)) and not path.name.endswith(_LEFT_OUT) and is_plain_file(path)
    ]
    databases = [path for path in kept if path.suffix == ".db"]
    if not databases and not _segments(data):
        raise errors.BadConfiguration(f"{data} holds no data of brique", try_this="Name the folder with --data.")
    databases.sort(key=lambda path: (_LAST.index(path.name) + 1 if path.name in _LAST else 0, path.name))
    others = [path for path in kept if path.suffix != ".db"]
    stream = data / SPOOL / "stream"
    return databases, [*others, stream] if stream.exists() else others


def _segments(data: Path) -> list[Path]:
    """The segments of the spool, oldest first."""
    return sorted(path for path in (data / SPOOL).glob("*.db") if path.stem.isdecimal() and is_plain_file(path))


def _name_of(path: Path, data: Path) -> str:
    return path.relative_to(data).as_posix()


def _check_room(databases: list[Path], folder: Path) -> None:
    sizes = [path.stat().st_size + _size_of_log(path) for path in databases]
    wanted = max(sizes) + sum(sizes) // 2 + _ROOM_BYTES
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise errors.NoRoom(
            f"A backup may need {wanted // 2**20} MiB in {folder}, {free // 2**20} MiB are free",
            try_this="Free some room, or choose another disk.",
        )


def _size_of_log(path: Path) -> int:
    log = path.with_name(f"{path.name}-wal")
    return log.stat().st_size if log.exists() else 0


@contextlib.contextmanager
def _snapshots(databases: list[Path], data: Path) -> Iterator[list[tuple[Path, apsw.Connection]]]:
    """Each database with a connection that sees it as it is now, and goes on seeing it so; the segments last."""
    opened: list[tuple[Path, apsw.Connection]] = []
    segments: list[tuple[Path, apsw.Connection]] = []
    try:
        for path in databases:
            opened.append((path, _open(path)))
        for path, connection in opened:
            _look(path, connection)
        for _ in range(_SPOOL_TRIES):
            if _open_segments(data, segments):
                break
        else:
            raise errors.Busy("The spool's segments change all the time", try_this="Try again in a moment.")
        yield [*opened, *segments]
    finally:
        for _, connection in (*opened, *segments):
            connection.close(True)


def _open_segments(data: Path, opened: list[tuple[Path, apsw.Connection]]) -> bool:
    """Bring `opened` to what there is now, opening the newest last; whether it was all that there is at the end."""
    wanted = _segments(data)
    newest = opened[-1:]  # it was opened while it was still written to
    for one in [pair for pair in opened if pair[0] not in wanted or pair in newest]:
        opened.remove(one)
        one[1].close(True)
    known = {path for path, _ in opened}
    for path in wanted:
        if path in known:
            continue
        try:
            connection = _open(path, sealed=path != wanted[-1])
        except apsw.CantOpenError:
            if path.exists():
                raise
            return False  # forgotten meanwhile
        opened.append((path, connection))
        _look(path, connection)
    opened.sort()
    return _segments(data) == wanted


def _open(path: Path, *, sealed: bool = False) -> apsw.Connection:
    """`sealed`: nobody writes to it any more, so that it is read without a trace, if it has no log left."""
    flags, ending = apsw.SQLITE_OPEN_READWRITE, ""
    if sealed and not _size_of_log(path):
        flags, ending = apsw.SQLITE_OPEN_READONLY, "?immutable=1"
    connection = apsw.Connection(f"file:{quote(str(path))}{ending}", flags=flags | apsw.SQLITE_OPEN_URI)
    connection.set_busy_timeout(_BUSY_MS)
    connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
    return connection


def _look(path: Path, connection: apsw.Connection) -> None:
    """Begin to read, which fixes what is seen from now on. Raises BadConfiguration."""
    try:
        connection.execute("BEGIN; SELECT count(*) FROM sqlite_schema").fetchall()
    except apsw.Error as error:
        raise errors.BadConfiguration(
            f"{path} cannot be read: {error}", try_this="Move it away, or restore it from a backup."
        ) from error


def _pack_database(
    archive: tarfile.TarFile, path: Path, name: str, source: apsw.Connection, aside: Path, *, check: bool
) -> FileRecord:
    copy = aside / path.name
    target = apsw.Connection(str(copy))
    try:
        target.execute("PRAGMA synchronous = OFF")  # it is packed at once, and the archive is flushed
        with target.backup("main", source, "main") as copying:
            while not copying.done:
                copying.step(_PAGES_A_STEP)
    except apsw.FullError as error:
        raise errors.NoRoom(f"No room for a copy of {path.name}", try_this="Free some room.") from error
    finally:
        target.close()
    if check:
        check_database(copy)
    record = _pack(archive, copy, name, database=True)
    copy.unlink()
    return record


def _pack(archive: tarfile.TarFile, path: Path, name: str, *, database: bool) -> FileRecord:
    """Add one file. Its hash is taken from a first reading; a file that changes in between is known by `verify`."""
    with path.open("rb") as file:
        digest = hash_of(file)
        size = file.tell()
        file.seek(0)
        _add(archive, name, file, size)
    return FileRecord(name, size, digest, database)


def _add(archive: tarfile.TarFile, name: str, content: io.BufferedIOBase, size: int) -> None:
    entry = tarfile.TarInfo(f"{FOLDER}/{name}")
    entry.size = size
    entry.mode = 0o600
    archive.addfile(entry, content)
