"""The spool on one machine: a SQLite file in WAL mode, flushed at every commit, many entries for one flush.

Positions come from AUTOINCREMENT, so that a forgotten record's position is never given again. The file is opened
with synchronous=FULL: on return of `append` the operating system has been told to put the bytes on the disk itself.
A reserve of free space is checked first, because SQLite needs room in its log to delete as well as to insert.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import apsw

from brique.errors import BadConfiguration, Busy, NoRoom
from brique.spool.protocol import Entry, Record

_SCHEMA = """
CREATE TABLE IF NOT EXISTS record(
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    token TEXT,
    payload BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS record_token ON record(token) WHERE token IS NOT NULL;
CREATE TABLE IF NOT EXISTS spool(name TEXT NOT NULL) STRICT;
INSERT INTO spool(name) SELECT lower(hex(randomblob(8))) WHERE NOT EXISTS (SELECT 1 FROM spool);
"""
_APPLICATION_ID = 0x6272_7153  # "brqS"
_WAL_BYTES_MAX = 16 * 1024 * 1024


class SqliteSpool:
    """A spool in the file `path`, made when it is not there. `free_bytes_min`: below it, nothing more is accepted."""

    def __init__(self, path: Path, *, free_bytes_min: int = 8 * 1024 * 1024) -> None:
        self.path = path
        self.free_bytes_min = free_bytes_min
        self._is_closed = False
        is_new = not path.exists()
        if is_new:
            path.touch(mode=0o600)
        try:
            self._db = apsw.Connection(str(path))
            self._db.set_busy_timeout(5_000)
            self._open(is_new)
        except apsw.FullError as fault:
            raise NoRoom(f"No room on the disk to open {path.name}.", try_this="free some space") from fault
        except (apsw.NotADBError, apsw.CorruptError, apsw.CantOpenError) as fault:
            raise BadConfiguration(
                f"{path} is not a spool that can be read: {fault}", try_this="restore it from a backup"
            ) from fault
        if is_new:
            _flush_folder(path.parent)

    def _open(self, is_new: bool) -> None:
        self._db.execute("PRAGMA journal_mode=WAL").fetchall()
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("PRAGMA wal_autocheckpoint=1000")
        self._db.execute(f"PRAGMA journal_size_limit={_WAL_BYTES_MAX}").fetchall()
        mark = self._db.execute("PRAGMA application_id").fetchone()
        if not is_new and mark and mark[0] not in (0, _APPLICATION_ID):
            raise BadConfiguration(f"{self.path} is a database of another program.")
        self._db.execute(f"PRAGMA application_id={_APPLICATION_ID}")
        self._db.execute(_SCHEMA)

    def append(self, entries: Sequence[Entry]) -> list[int]:
        if self._is_closed:
            raise Busy("The spool is closed.", try_this="try again in a moment")
        self._check_room(sum(len(entry.payload) for entry in entries))
        try:
            self._db.execute("BEGIN IMMEDIATE")
            positions = [self._keep(entry) for entry in entries]
            self._db.execute("COMMIT")
        except (apsw.FullError, apsw.IOError) as fault:
            self._roll_back()
            raise NoRoom(
                f"The write could not be kept on disk: {fault}",
                try_this="free some space on the disk of the data folder",
            ) from fault
        except BaseException:
            self._roll_back()
            raise
        return positions

    def _roll_back(self) -> None:
        """Undo what was begun; SQLite may have done so itself when the disk is full."""
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def _keep(self, entry: Entry) -> int:
        if not entry.token:
            self._db.execute("INSERT INTO record(payload) VALUES(?)", (entry.payload,))
            return self._db.last_insert_rowid()
        self._db.execute(
            "INSERT INTO record(token, payload) VALUES(?, ?) ON CONFLICT DO NOTHING", (entry.token, entry.payload)
        )
        if self._db.changes():
            return self._db.last_insert_rowid()
        known = self.find(entry.token)
        assert known is not None, "the conflict was with a row that is there"
        return known.position

    def _check_room(self, wanted: int) -> None:
        free = shutil.disk_usage(self.path.parent).free
        if free < self.free_bytes_min + 2 * wanted:
            raise NoRoom(
                f"The disk of {self.path.parent} has {free // 1024} KiB left: the write was not kept.",
                try_this="free some space; what was acknowledged before is safe and goes on being sent",
            )

    def read(self, after: int, limit: int) -> Iterator[Record]:
        rows = self._db.execute(
            "SELECT position, payload, coalesce(token, '') FROM record WHERE position > ? ORDER BY position LIMIT ?",
            (after, limit),
        ).fetchall()
        for position, payload, token in rows:
            yield _record((position, payload, token))

    def find(self, token: str) -> Record | None:
        row = self._db.execute("SELECT position, payload FROM record WHERE token = ?", (token,)).fetchone()
        return _record((*row, token)) if row else None

    def last(self) -> int:
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'record'").fetchone()
        return cast("int", row[0]) if row else 0

    def forget(self, upto: int) -> int:
        with self._db:
            self._db.execute("DELETE FROM record WHERE position <= ?", (upto,))
        return self._db.changes()

    def name(self) -> str:
        row = self._db.execute("SELECT name FROM spool").fetchone()
        assert row is not None, "made with the file"
        return cast("str", row[0])

    def size_bytes(self) -> int:
        parts = (self.path, self.path.with_name(self.path.name + "-wal"))
        return sum(part.stat().st_size for part in parts if part.exists())

    def close(self) -> None:
        self._is_closed = True
        self._db.close()


def _record(row: tuple[object, ...]) -> Record:
    position, payload, token = row
    return Record(cast("int", position), cast("bytes", payload), cast("str", token))


def _flush_folder(folder: Path) -> None:
    """Put the folder's own list of files on the disk, so that a new file's name survives a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
