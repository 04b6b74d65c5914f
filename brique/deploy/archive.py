"""What a backup is: a .tar.gz with the files of a data folder, and last of all a manifest with their hashes.

The manifest comes last, so that an archive cut short has none and is known as broken.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import IO

import apsw
import msgspec

from brique import errors

FORMAT = 2
_FORMATS = (1, 2)
"""1 had the spool in one file."""
FOLDER = "brique-backup"
MANIFEST = "manifest.json"
SPOOL = "spool"
RESTORED = "restored"
"""In the folder of the spool: the mark that makes it take a new name; see brique.spool."""
_PIECE_BYTES = 1024 * 1024


class BadBackup(errors.BriqueError):
    """An archive is broken, not a backup of brique, or of a newer brique: nothing was restored from it."""

    status = 422
    code = "bad-backup"


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file of a backup: its name in the data folder, size, SHA-256, and whether it is a SQLite database."""

    name: str
    bytes: int
    sha256: str
    database: bool


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What an archive holds. `made_at` is as `clock.stamp` writes it; `brique` and `sqlite` are the versions used."""

    path: Path
    made_at: str
    brique: str
    sqlite: str
    files: tuple[FileRecord, ...]

    @property
    def bytes(self) -> int:
        """Size of the files once restored."""
        return sum(file.bytes for file in self.files)


class _Manifest(msgspec.Struct):
    format: int
    made_at: str
    brique: str
    sqlite: str
    files: list[FileRecord]


def write_manifest(made_at: str, files: Sequence[FileRecord]) -> bytes:
    content = _Manifest(FORMAT, made_at, own_version(), apsw.sqlite_lib_version(), list(files))
    return msgspec.json.format(msgspec.json.encode(content))


def read_manifest(path: Path, content: bytes) -> BackupReport:
    """Raises BadBackup."""
    try:
        manifest = msgspec.json.decode(content, type=_Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadBackup(f"The manifest of {path} cannot be read: {error}") from error
    if manifest.format not in _FORMATS:
        raise BadBackup(
            f"{path} was made by another brique ({manifest.brique}, format {manifest.format})",
            try_this=f"Restore it with brique {manifest.brique}.",
        )
    return BackupReport(path, manifest.made_at, manifest.brique, manifest.sqlite, tuple(manifest.files))


def own_version() -> str:
    return metadata.version("brique")


def hash_of(file: IO[bytes]) -> str:
    """SHA-256 of what is left in `file`, in hexadecimal."""
    found = hashlib.sha256()
    while piece := file.read(_PIECE_BYTES):
        found.update(piece)
    return found.hexdigest()


def check_database(path: Path) -> None:
    """Read the whole database at `path` (which nobody else may have open). Raises BadBackup with SQLite's finding."""
    try:
        connection = apsw.Connection(
            f"file:{_quoted(path)}?immutable=1", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        )
        try:
            findings = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(10)")]
        finally:
            connection.close()
    except apsw.Error as error:
        raise BadBackup(f"{path.name} cannot be read: {error}", file=path.name) from error
    if findings != ["ok"]:
        raise BadBackup(f"{path.name} is damaged: {'; '.join(findings)[:500]}", file=path.name)


def _quoted(path: Path) -> str:
    return str(path.resolve()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def flush_file(file: IO[bytes]) -> None:
    """Put what was written to `file` on the disk itself."""
    file.flush()
    os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Put the names in `folder` on the disk itself."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def is_plain_file(path: Path) -> bool:
    """A regular file itself, not a link to one."""
    return stat.S_ISREG(path.lstat().st_mode)
