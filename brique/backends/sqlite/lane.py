"""One connection to a SQLite file: opened when needed and when the file was replaced, never waiting for ever."""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from brique.backends.faults import READ_ONLY_DATABASE, away, refused
from brique.errors import BackendAway, BackendRefused

_STEPS = 20_000
"""Virtual machine steps between two looks at the clock: some milliseconds."""
_PAUSES = (0.001, 0.002, 0.005, 0.01, 0.025)

LOCKED = "{backend}: the database stayed locked for {seconds:g} s."
SLOW = "{backend}: no answer within {seconds:g} s."
ABORTED = "{backend}: the call was given up."
GONE = "{backend}: the file {path} is not there."
UNREADABLE = "{backend}: the file cannot be read: {reason}"
CLOSED = "{backend}: it is closed."

Stat = tuple[int, int, int, int]


def stat_of(path: Path) -> Stat | None:
    """Device, inode, size and time of change of a file; None when it is not there."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


class Lane:
    """One connection. `writes`: it may write; else it only reads. One thread at a time, but for `abort`."""

    def __init__(self, backend: str, path: Path, *, writes: bool = False, read_only: bool = False) -> None:
        self.backend = backend
        self.path = path
        self._writes = writes
        self._read_only = read_only
        self._lock = threading.RLock()
        self._connection: apsw.Connection | None = None
        self._stat: Stat | None = None
        self._calls = 0
        self._deadline = float("inf")
        self._aborted = threading.Event()
        self._closed = False
        self.token = ""
        """Another one for each connection opened."""

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other threads out for several calls."""
        with self._lock:
            yield

    @contextmanager
    def call(self, seconds: float) -> Iterator[apsw.Connection]:
        """The connection, for one call that may take `seconds`. Raises BackendAway, BackendRefused."""
        with self._lock:
            if self._calls == 0:
                self._aborted.clear()
                self._deadline = time.monotonic() + seconds
            self._calls += 1
            try:
                yield self._open()
            except (apsw.Error, OverflowError, UnicodeEncodeError) as fault:
                raise self._explain(fault, seconds) from fault
            finally:
                self._calls -= 1

    def abort(self) -> None:
        """From another thread: the call in progress fails at once."""
        if self._calls:
            self._aborted.set()
            connection = self._connection
            if connection is not None:
                try:
                    connection.interrupt()
                except apsw.ConnectionClosedError:
                    return  # it ended meanwhile

    def close(self, *, for_good: bool = False) -> None:
        """Close the connection; the next call opens another one, unless `for_good`."""
        with self._lock:
            self._closed = self._closed or for_good
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close(True)

    def _open(self) -> apsw.Connection:
        if self._closed:
            raise away(CLOSED, backend=self.backend)
        connection = self._connection
        if connection is not None and connection.in_transaction:
            return connection
        now = stat_of(self.path)
        if now is None:
            self.close()
            raise away(GONE, backend=self.backend, path=self.path)
        if connection is not None and (now == self._stat or (self._writes and now[:2] == (self._stat or now)[:2])):
            return connection
        self.close()
        self._connection = self._connect()
        self._stat = now
        self.token = uuid.uuid4().hex
        return self._connection

    def _connect(self) -> apsw.Connection:
        flags = apsw.SQLITE_OPEN_READONLY if self._read_only else apsw.SQLITE_OPEN_READWRITE
        connection = apsw.Connection(str(self.path), flags=flags)
        try:
            self._set_up(connection)
        except apsw.CantOpenError:
            # A database in WAL mode, in a folder where nothing may be made: it can only be read as a fixed file.
            connection.close(True)
            if not connection_is_fixed(self.path):
                raise
            connection = apsw.Connection(f"{self.path.absolute().as_uri()}?immutable=1", flags=_FIXED)
            self._set_up(connection)
        return connection

    def _set_up(self, connection: apsw.Connection) -> None:
        connection.set_busy_handler(self._wait)
        connection.set_progress_handler(self._is_over, _STEPS)
        connection.execute("PRAGMA foreign_keys = ON" if self._writes else "PRAGMA query_only = ON")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()

    def _is_over(self) -> bool:
        return self._aborted.is_set() or time.monotonic() > self._deadline

    def _wait(self, tries: int) -> bool:
        """Called by SQLite while the file is locked: wait a little, unless the time is up."""
        left = self._deadline - time.monotonic()
        return left > 0 and not self._aborted.wait(min(_PAUSES[min(tries, len(_PAUSES) - 1)], left))

    def _explain(self, fault: Exception, seconds: float) -> BackendAway | BackendRefused:
        if self._aborted.is_set():
            return away(ABORTED, backend=self.backend)
        found = explain(fault, backend=self.backend, seconds=seconds)
        if isinstance(index := getattr(fault, "index", None), int):
            found.facts["index"] = index
        return found


_FIXED = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI


def connection_is_fixed(path: Path) -> bool:
    """Whether nobody can be writing to the database through a write-ahead log: there is none."""
    return not path.with_name(f"{path.name}-wal").exists()


def explain(fault: Exception, *, backend: str, seconds: float) -> BackendAway | BackendRefused:
    """What a fault of SQLite means for the caller."""
    said = str(fault)
    if isinstance(fault, (apsw.BusyError, apsw.LockedError)):
        return away(LOCKED, backend=backend, seconds=seconds)
    if isinstance(fault, apsw.InterruptError):
        return away(SLOW, backend=backend, seconds=seconds)
    if isinstance(fault, apsw.ReadOnlyError):
        return refused(READ_ONLY_DATABASE)
    if isinstance(fault, apsw.ConstraintError):
        return _constraint(fault, said)
    refusals = (apsw.SQLError, apsw.MismatchError, apsw.TooBigError, apsw.RangeError, apsw.AuthError)
    if isinstance(fault, (*refusals, OverflowError, UnicodeEncodeError)):
        return refused("The database says: {reason}", reason=said)
    return away(UNREADABLE, backend=backend, reason=said)


def _constraint(fault: apsw.ConstraintError, said: str) -> BackendRefused:
    code = getattr(fault, "extendedresult", 0)
    _, _, detail = said.partition("failed: ")
    columns = ", ".join(part.rpartition(".")[2].strip() for part in detail.split(",") if part.strip())
    if code in (apsw.SQLITE_CONSTRAINT_UNIQUE, apsw.SQLITE_CONSTRAINT_PRIMARYKEY, apsw.SQLITE_CONSTRAINT_ROWID):
        return refused("There is already a row with the same {columns}.", columns=columns or "key")
    if code == apsw.SQLITE_CONSTRAINT_NOTNULL:
        return refused("{columns} must not be empty.", columns=columns)
    if code == apsw.SQLITE_CONSTRAINT_FOREIGNKEY:
        return refused("It refers to a row that is not there, or other rows refer to it.")
    if code == apsw.SQLITE_CONSTRAINT_CHECK:
        return refused("The database's rule {rule} says no.", rule=detail)
    if code == apsw.SQLITE_CONSTRAINT_TRIGGER:
        return refused("{reason}", reason=said)
    strict = re.match(r"cannot store (\w+) value in (\w+) column (?:.*\.)?(.+)", said)
    if strict:
        return refused("{columns} takes {wanted}, not {given}.", columns=strict[3], wanted=strict[2], given=strict[1])
    return refused("The database says: {reason}", reason=said)
