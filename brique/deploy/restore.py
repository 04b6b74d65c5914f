"""Looking at a backup, and bringing it back into an empty folder.

What was pending when the backup was made is pending again, and is sent when brique starts: what reached a backend in
the meantime is not sent twice where the backend lets brique know (the ladder of exactly-once), else it is shown.

The backends have seen positions of the spool that the backup does not know. So a restored spool must not go on counting
under its old name: a mark in its folder makes it take a new one when brique starts (see `brique.spool`).
"""

from __future__ import annotations

import gzip
import hashlib
import secrets
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path
from typing import IO

from brique import errors
from brique.deploy.archive import (
    FOLDER,
    MANIFEST,
    RESTORED,
    SPOOL,
    BackupReport,
    BadBackup,
    FileRecord,
    check_database,
    flush_file,
    flush_folder,
    read_manifest,
)

_MANIFEST_BYTES_MAX = 1024 * 1024
_FILES_MAX = 10_000
_PIECE_BYTES = 1024 * 1024
_READ_FAULTS = (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError)


def verify(archive: Path, *, folder: Path | None = None) -> BackupReport:
    """Unpack `archive` aside (in `folder`, else where temporary files go), check every hash and every database.

    Raises BadBackup, which says what is wrong; NoRoom.
    """
    with tempfile.TemporaryDirectory(prefix="brique-verify-", dir=folder) as name:
        return _unpack_checked(archive, Path(name))


def restore(archive: Path, data: Path) -> BackupReport:
    """Bring the files of `archive` into `data`, a folder that is empty or not there yet, and say what they are.

    Everything is unpacked aside and checked as by `verify` before the first file gets its name.
    Raises BadConfiguration when `data` is not empty; BadBackup; NoRoom.
    """
    made = _claim(data)
    try:
        with tempfile.TemporaryDirectory(prefix=".restoring-", dir=data) as name:
            report = _unpack_checked(archive, Path(name))
            _mark_restored(data, report.made_at)
            for file in report.files:
                (Path(name) / file.name).rename(data / file.name)
    except BaseException:
        if made:
            shutil.rmtree(data, ignore_errors=True)
        else:
            _empty(data)
        raise
    flush_folder(data / SPOOL)
    flush_folder(data)
    return report


def _mark_restored(data: Path, made_at: str) -> None:
    """Before the first file of the spool is there: it is not to be opened without the mark."""
    (data / SPOOL).mkdir(mode=0o700)
    mark = data / SPOOL / RESTORED
    mark.touch(mode=0o600)
    with mark.open("wb") as file:
        file.write(f"{made_at} {secrets.token_hex(8)}\n".encode())
        flush_file(file)


def _claim(data: Path) -> bool:
    """Make `data`, or see that it is empty. True when it was made."""
    try:
        data.mkdir(mode=0o700, parents=True)
        return True
    except FileExistsError:
        if not data.is_dir() or any(data.iterdir()):
            raise errors.BadConfiguration(
                f"{data} is not an empty folder", try_this="Restore into a new folder, then start brique on that one."
            ) from None
        return False


def _empty(data: Path) -> None:
    """Take back what this restore has put there; the folder was empty before."""
    for path in data.iterdir():
        if path.is_file():
            path.unlink()
        elif path.name == SPOOL:
            shutil.rmtree(path, ignore_errors=True)


def _unpack_checked(archive: Path, folder: Path) -> BackupReport:
    found, manifest = _unpack(archive, folder)
    if manifest is None:
        raise BadBackup(f"{archive} is cut short, or not a backup of brique: it has no manifest")
    report = read_manifest(archive, manifest)
    for file in report.files:
        _check_file(archive, file, found.pop(file.name, None))
    if found:
        raise BadBackup(f"{archive} holds files that its manifest does not name: {', '.join(sorted(found))}")
    for file in report.files:
        if file.database:
            check_database(folder / file.name)
    return report


def _check_file(archive: Path, file: FileRecord, found: tuple[int, str] | None) -> None:
    if found is None:
        raise BadBackup(f"{archive} lacks {file.name}", file=file.name)
    if found != (file.bytes, file.sha256):
        raise BadBackup(f"{file.name} in {archive} is not what was packed", file=file.name)


def _unpack(archive: Path, folder: Path) -> tuple[dict[str, tuple[int, str]], bytes | None]:
    """Write the files of `archive` to `folder`; their sizes and hashes by name, and the manifest."""
    found: dict[str, tuple[int, str]] = {}
    manifest: bytes | None = None
    try:
        with gzip.open(archive) as plain, tarfile.open(fileobj=plain, mode="r:") as tar:
            for entry in tar:
                name = _plain_name(archive, entry)
                content = tar.extractfile(entry)
                assert content is not None  # a regular file has content
                if name in found or manifest is not None or len(found) >= _FILES_MAX:
                    raise BadBackup(f"{archive} is not a backup of brique: {name} is out of place")
                if name == MANIFEST:
                    manifest = content.read(_MANIFEST_BYTES_MAX)
                else:
                    found[name] = _write(content, folder / name, entry.size)
            while plain.read(_PIECE_BYTES):  # to the very end, where gzip keeps its own sum
                pass
    except FileNotFoundError as error:
        raise BadBackup(f"There is no file {archive}") from error
    except _READ_FAULTS as error:
        raise BadBackup(f"{archive} cannot be read: {error}", try_this="Take another copy of it.") from error
    return found, manifest


def _plain_name(archive: Path, entry: tarfile.TarInfo) -> str:
    """The name of a regular file in the archive's folder, or in the spool's in it: nothing can be written elsewhere."""
    folder, _, name = entry.name.partition("/")
    plain = name.removeprefix(f"{SPOOL}/")
    if not entry.isreg() or folder != FOLDER or "/" in plain or plain in ("", ".", "..") or "\0" in name:
        raise BadBackup(f"{archive} is not a backup of brique: it holds {entry.name!r}")
    return name


def _write(content: IO[bytes], path: Path, size: int) -> tuple[int, str]:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if shutil.disk_usage(path.parent).free < size:
        raise errors.NoRoom(
            f"No room for {path.name} ({size // 2**20} MiB) in {path.parent}", try_this="Free some room."
        )
    digest = hashlib.sha256()
    with path.open("xb") as file:
        path.chmod(0o600)
        while piece := content.read(_PIECE_BYTES):
            digest.update(piece)
            file.write(piece)
        flush_file(file)
        return file.tell(), digest.hexdigest()
