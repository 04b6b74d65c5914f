"""One segment of a spool: a SQLite file in WAL mode with the records of a stretch of positions.

Rows are written once and never changed. Each carries a CRC-32 over its position, token and payload. SQLite guards its
log with sums, but not the file that the log ends up in; and a sum over the position finds a right row in a wrong place.
CRC-32, because what has to be found is a flipped bit or a sector of something else, not a forger (who could write the
sum as well), and because it costs 0.3 µs where a keyed hash costs 2.

A segment's name is its first position. Where it ends is known by the name of the next one, which also cuts off what a
commit that failed may have left behind it: records that were never acknowledged.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zlib import crc32

import apsw

from brique.spool.disk import Disk
from brique.spool.protocol import Damage, Record

Row = tuple[int, str | None, bytes, int]
"""position, token, payload, sum: as it is in the file."""

APPLICATION_ID = 0x6272_7153  # "brqS"
FORMAT = 2  # 1 was the single file of before
SUFFIX = ".db"
ASIDE = ".aside"
BESIDE = ("-wal", "-shm", "-journal")
_SCHEMA = """
CREATE TABLE record(
    position INTEGER PRIMARY KEY,
    token TEXT,
    payload BLOB NOT NULL,
    sum INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX record_token ON record(token) WHERE token IS NOT NULL;
CREATE TABLE segment(stream TEXT NOT NULL, compacted_to INTEGER NOT NULL, records INTEGER NOT NULL) STRICT;
"""
_WAL_BYTES_MAX = 16 * 1024 * 1024
_BUSY_MS = 5_000
_ROW_BYTES = 24  # what SQLite and the index add to a record
_SINGLY = 500  # records read at once when a file is damaged
_INSERT = "INSERT INTO record VALUES(?, ?, ?, ?)"
_SELECT = "SELECT position, token, payload, sum FROM record WHERE position "
_SELECT_TOKEN = "SELECT position, token, payload, sum FROM record WHERE token = ?"  # noqa: S105 - a query
FAULTS = (apsw.CorruptError, apsw.NotADBError, apsw.SQLError, apsw.SchemaChangeError, apsw.MismatchError)
"""What SQLite says of a file that is damaged; SQLError: its tables are not there any more."""


class NotASegment(Exception):
    """The file is none of ours, or so damaged that it cannot be opened; the message says why."""


def file_name(first: int) -> str:
    return f"{first:012d}{SUFFIX}"


def first_of(name: str) -> int | None:
    """The first position of a segment with that file name; None for another file."""
    digits = name.removesuffix(SUFFIX)
    return int(digits) if name.endswith(SUFFIX) and len(digits) >= 12 and digits.isdecimal() else None


def sum_of(position: int, token: str | None, payload: bytes) -> int:
    """The checksum of a record."""
    head = b"%d\n%b\n" % (position, token.encode() if token else b"")
    return crc32(payload, crc32(head))


def create(disk: Disk, folder: Path, first: int, stream: str, rows: Iterable[Row] = ()) -> Path:
    """Make the segment that begins at `first`, holding `rows`: written aside, flushed, then named.

    Raises apsw.Error, OSError; then nothing is left of it.
    """
    path = folder / file_name(first)
    aside = write_aside(disk, path, stream, rows)
    disk.rename(aside, path)
    disk.flush_folder(folder)
    return path


def write_aside(disk: Disk, path: Path, stream: str, rows: Iterable[Row], *, compacted_to: int = 0) -> Path:
    """Write a segment beside `path`, flushed; where it is. `compacted_to`: the position up to which holes are meant.

    Raises apsw.Error, OSError; then nothing is left of it.
    """
    aside = path.with_name(path.name + ASIDE)
    parts = [aside.with_name(aside.name + ending) for ending in ("", *BESIDE)]
    try:
        for part in parts:
            disk.unlink(part)
        disk.make_file(aside)
        db = apsw.Connection(str(aside), vfs=disk.vfs)
        try:
            db.execute("PRAGMA journal_mode=OFF").fetchall()
            db.execute(f"PRAGMA synchronous=FULL; PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={FORMAT}")
            db.execute(f"BEGIN IMMEDIATE; {_SCHEMA}")
            db.executemany("INSERT INTO record VALUES(?, ?, ?, ?)", rows)
            db.execute("INSERT INTO segment SELECT ?, ?, count(*) FROM record", (stream, compacted_to))
            db.execute("COMMIT")
            db.execute("PRAGMA journal_mode=WAL").fetchall()
        finally:
            db.close(True)
        for part in parts[1:]:
            disk.unlink(part)
    except BaseException:
        for part in parts:
            with suppress(Exception):
                disk.unlink(part)
        raise
    return aside


class Segment:
    """A segment that is open, or is opened when it is asked for something.

    `last`: the last position that it stands for; `first - 1` while it is empty. Positions up to `compacted_to` may be
    missing from it, by intention.
    """

    def __init__(
        self,
        disk: Disk,
        path: Path,
        streams: Container[str],
        *,
        sealed: bool,
        looking: bool = False,
        log_pages: int = 1000,
    ) -> None:
        """Open the segment at `path`, of one of `streams`. `sealed`: nothing more will be written to it; `looking`:
        nothing at all may be changed.

        Raises NotASegment; faults of the disk as apsw.Error.
        """
        first = first_of(path.name)
        assert first is not None
        self.disk, self.path, self.first, self.is_sealed, self.is_looking = disk, path, first, sealed, looking
        self._log_pages = log_pages
        self._held: apsw.Connection | None = None
        self.bytes = self._bytes()
        try:
            self._check(streams)
            self.wal_frames = 0 if looking else self._settle_log()
            self.top = max(int(self._one("SELECT max(position) FROM record") or 0), self.compacted_to, first - 1)
        except FAULTS as fault:
            self.close()
            raise NotASegment(f"it cannot be read: {fault}") from fault
        except BaseException:
            self.close()
            raise
        self.last = self.top

    def _bytes(self) -> int:
        return self.disk.size(self.path) + self.disk.size(self.beside("-wal"))

    def beside(self, ending: str) -> Path:
        """SQLite's own file beside it."""
        return self.path.with_name(self.path.name + ending)

    @property
    def _db(self) -> apsw.Connection:
        """The connection. A sealed segment without a log is opened as what it is, a file that nobody changes: no
        locks, no shared memory, and it can be read on a disk that is read only."""
        if self._held is not None:
            return self._held
        flags, ending = apsw.SQLITE_OPEN_READWRITE, ""
        if (self.is_sealed or self.is_looking) and not self.disk.size(self.beside("-wal")):
            flags, ending = apsw.SQLITE_OPEN_READONLY, "?immutable=1"
        elif self.is_looking:
            flags = apsw.SQLITE_OPEN_READONLY
        name = f"file:{quote(str(self.path))}{ending}"
        db = apsw.Connection(name, flags=flags | apsw.SQLITE_OPEN_URI, vfs=self.disk.vfs)
        try:
            db.set_busy_timeout(_BUSY_MS)
            db.execute(f"PRAGMA cache_size={-256 if self.is_sealed else -8192}; PRAGMA synchronous=FULL")
            db.execute(f"PRAGMA wal_autocheckpoint={self._log_pages}").fetchall()
            db.execute(f"PRAGMA journal_size_limit={_WAL_BYTES_MAX}").fetchall()
        except BaseException:
            db.close(True)
            raise
        self._held = db
        return db

    def _one(self, query: str, bound: Sequence[Any] = ()) -> Any:
        row = self._db.execute(query, bound).fetchone()
        return row[0] if row else None

    def _check(self, streams: Container[str]) -> None:
        if not self.bytes:
            raise NotASegment("it is empty")
        if self._one("PRAGMA application_id") != APPLICATION_ID:
            raise NotASegment("it is a file of another program")
        if self._one("PRAGMA user_version") != FORMAT:
            raise NotASegment("it was written by another version of brique")
        row: Any = self._db.execute("SELECT stream, compacted_to, records FROM segment").fetchone()
        if row is None or row[0] not in streams:
            raise NotASegment(f"it belongs to another spool ({row[0] if row else 'unknown'})")
        self.stream: str = row[0]
        self.compacted_to: int = row[1]
        self._records_told: int = row[2]

    def _settle_log(self) -> int:
        """Bring what a crash has left in the log into the file; how many frames that was."""
        if not self.disk.size(self.beside("-wal")):
            return 0
        try:
            return max(0, self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)[0])
        except (apsw.FullError, apsw.IOError, apsw.ReadOnlyError, apsw.BusyError):
            return 0  # it stays where it is, and can be read there

    @property
    def count(self) -> int:
        """How many records it should hold."""
        if self.compacted_to:
            return self._records_told + self.last - self.compacted_to
        return self.last - self.first + 1

    def append(self, rows: Sequence[Row]) -> None:
        """Write `rows` and flush. Raises apsw.Error; then they are not in it, as far as SQLite could see to that."""
        db = self._db
        try:
            if len(rows) == 1:
                db.execute(_INSERT, rows[0])
            else:
                db.execute("BEGIN IMMEDIATE")
                db.executemany(_INSERT, rows)
                db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        self.last = self.top = rows[-1][0]
        self.bytes += sum(_ROW_BYTES + len(row[2]) + 2 * len(row[1] or "") for row in rows)

    def read(self, after: int, limit: int) -> Iterator[Record | Damage]:
        """At most `limit` records past `after`, and damage where there should be some; see the protocol."""
        upto = self.last
        expected = max(after + 1, self.first, self.compacted_to + 1)
        try:
            rows: Sequence[Any] = self._db.execute(
                _SELECT + "> ? AND position <= ? ORDER BY position LIMIT ?", (after, upto, limit)
            ).fetchall()
        except FAULTS as fault:
            upto = min(upto, after + max(limit, _SINGLY))
            rows = self._read_singly(after, upto)[:limit]
            if after < self.compacted_to and not rows:
                yield self._damage(after + 1, min(upto, self.compacted_to), f"some may be lost: {fault}")
        for row in rows:
            if row[0] > expected:
                yield self._damage(expected, row[0] - 1, "missing from its file")
            yield self._checked(row)
            expected = max(expected, row[0] + 1)
        if expected <= upto and len(rows) < limit:
            yield self._damage(expected, upto, "missing from its file")

    def _read_singly(self, after: int, upto: int) -> list[Any]:
        """What can still be read of a damaged file, record by record."""
        found: list[Any] = []
        for position in range(max(after + 1, self.first), upto + 1):
            with suppress(*FAULTS):
                row = self._db.execute(_SELECT + "= ?", (position,)).fetchone()
                found += [] if row is None else [row]
        return found

    def _checked(self, row: Any) -> Record | Damage:
        position, token, payload, told = row
        with suppress(TypeError, AttributeError):  # not even the types may be right
            if sum_of(position, token, payload) == told:
                return Record(position, payload, token or "")
        return self._damage(position, position, "its checksum does not fit")

    def _damage(self, first: int, last: int, reason: str) -> Damage:
        return Damage(first, last, reason, self.path.name)

    def raw(self, position: int) -> bytes:
        """What is left of the payload at `position`, as it is; b"" when nothing can be read."""
        try:
            value = self._one("SELECT payload FROM record WHERE position = ?", (position,))
        except apsw.Error:
            return b""
        return value if isinstance(value, bytes) else b"" if value is None else str(value).encode()

    def find(self, token: str) -> Record | None:
        """The record with that token. A damaged one is not found by it."""
        try:
            row: Any = self._db.execute(_SELECT_TOKEN, (token,)).fetchone()
        except FAULTS:
            return self._find_without_index(token)
        if row is None or row[0] > self.last:
            return None
        found = self._checked(row)
        return found if isinstance(found, Record) else None

    def _find_without_index(self, token: str) -> Record | None:
        after = self.first - 1
        while after < self.last:
            for found in self.read(after, _SINGLY):
                if isinstance(found, Record) and found.token == token:
                    return found
                after = found.position
        return None

    def seal(self) -> None:
        """Write no more: the log goes into the file, which from now on is only read. On a full disk it stays beside
        it, to be read from there."""
        self.close()
        self.is_sealed = True
        self.bytes = self._bytes()

    def close(self) -> None:
        """Let go of the file until it is asked for again."""
        if self._held is not None:
            held, self._held = self._held, None
            held.close(True)

    def unlink(self) -> None:
        """Remove it; the folder is to be flushed."""
        self.close()
        for path in (self.path, *map(self.beside, BESIDE)):
            self.disk.unlink(path)
