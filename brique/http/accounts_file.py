"""DATA/accounts.db: users, sessions, API tokens and the sign-in throttle, shared by every web process.

Every process has the file open twice: one connection reads (a look-up of a few microseconds, done on the event loop),
the other writes, so that a reader never waits for the disk flush of a writer. Writers of all processes take turns by
SQLite's own lock; each transaction is flushed before it returns (synchronous=FULL).
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from brique.errors import BadConfiguration, BriqueError, Busy, NoRoom
from brique.http.language import _

SCHEMA_VERSION = 2
BUSY_MS_MAX = 5000

SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE account (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    folded TEXT NOT NULL UNIQUE,
    password TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('read', 'write', 'admin')),
    language TEXT NOT NULL,
    created TEXT NOT NULL,
    disabled TEXT,
    email TEXT NOT NULL DEFAULT ''
);
CREATE TABLE session (
    hash BLOB PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES account (id),
    csrf TEXT NOT NULL,
    created TEXT NOT NULL,
    seen TEXT NOT NULL,
    expires TEXT NOT NULL,
    agent TEXT NOT NULL,
    address TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX session_account ON session (account, created);
CREATE INDEX session_expires ON session (expires);
CREATE TABLE token (
    id INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL,
    account INTEGER REFERENCES account (id),
    role TEXT NOT NULL CHECK (role IN ('read', 'write', 'admin')),
    created TEXT NOT NULL,
    expires TEXT,
    seen TEXT
);
CREATE INDEX token_account ON token (account);
CREATE TABLE throttle (
    kind TEXT NOT NULL,
    who BLOB NOT NULL,
    failures INTEGER NOT NULL,
    last TEXT NOT NULL,
    until TEXT NOT NULL,
    PRIMARY KEY (kind, who)
) WITHOUT ROWID;
CREATE INDEX throttle_last ON throttle (kind, last);
"""

Row = tuple[Any, ...]


class AccountsFile:
    """The open file. Safe to create and use from several processes and threads at once.

    Raises:
        BadConfiguration: the file is not ours, or was written by a later version.
        Busy: another process has held the file for `BUSY_MS_MAX`.
        NoRoom: the disk is full; nothing was written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _create(path)
        with _alone(path):
            self._writer = _connect(path)
            _migrate(self._writer, path)
        self._reader = _connect(path)
        self._reading = threading.Lock()
        self._writing = threading.Lock()

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """Every row of a query, as of now."""
        with self._reading, _named_faults():
            return list(self._reader.execute(sql, tuple(values)))

    def row(self, sql: str, values: Sequence[object] = ()) -> Row | None:
        """The first row of a query, or None."""
        found = self.rows(sql, values)
        return found[0] if found else None

    def version(self) -> int:
        """Another number after each commit of another connection, our own writer's too."""
        with self._reading:
            return int(self._reader.pragma("data_version"))

    @contextmanager
    def change(self) -> Iterator[apsw.Connection]:
        """One write transaction: flushed to disk when the block ends, undone when it raises."""
        with self._writing, _named_faults():
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    def close(self) -> None:
        with self._reading, self._writing:
            self._reader.close()
            self._writer.close()


@contextmanager
def _named_faults() -> Iterator[None]:
    try:
        yield
    except apsw.FullError as fault:
        raise NoRoom(_("The disk is full: nothing was saved.")) from fault
    except apsw.BusyError as fault:
        raise Busy(_("The accounts are busy."), try_this=_("Try again in a moment.")) from fault


def _create(path: Path) -> None:
    """Make the file readable by its owner only, before SQLite opens it.

    An existing file is never opened here: closing any descriptor of it would drop the locks that SQLite holds on it
    in this process. SQLite gives its -wal and -shm files the same mode.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600))
    except FileExistsError:
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the other processes off while the file gets its journal mode and its tables."""
    descriptor = os.open(path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _connect(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(BUSY_MS_MAX)
    try:
        if connection.pragma("journal_mode", "wal") != "wal":
            raise BadConfiguration(f"The folder of {path} does not allow SQLite's WAL mode (a network share?)")
    except apsw.NotADBError as fault:
        raise BadConfiguration(f"{path} is not a SQLite database") from fault
    connection.pragma("synchronous", 2)  # FULL
    connection.pragma("foreign_keys", True)
    connection.pragma("trusted_schema", False)
    return connection


def _migrate(connection: apsw.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = connection.pragma("user_version")
        if version > SCHEMA_VERSION:
            raise BadConfiguration(
                f"{path} was written by a later version of brique (accounts format {version}, ours {SCHEMA_VERSION})",
                try_this="upgrade brique, or restore the data folder from the backup made before the upgrade",
            )
        if version == 0:
            connection.execute(SCHEMA)
        elif version == 1:
            connection.execute("ALTER TABLE account ADD COLUMN email TEXT NOT NULL DEFAULT ''")
        if version < SCHEMA_VERSION:
            connection.pragma("user_version", SCHEMA_VERSION)
        connection.execute("COMMIT")
    except (apsw.Error, BriqueError):
        connection.execute("ROLLBACK")
        raise
