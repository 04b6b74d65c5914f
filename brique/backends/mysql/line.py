"""One connection to MariaDB or MySQL whose every call ends in time, even when the server is frozen.

Limits of the server (max_statement_time, innodb_lock_wait_timeout) end what the server can end. What it cannot, because
it is stopped or the network swallows everything, the watchdog does: it shuts our own end of the socket down, and the
driver, which waits for an answer, gets the end of the stream. Connecting happens in a thread of its own, since looking
a name up cannot be interrupted.

How values are written is fixed for each connection, whatever the server's defaults are: strict mode, so that nothing is
cut to fit; no backslash escapes; zero and impossible dates as they are; UTC; utf8mb4. `FOUND_ROWS` makes an update
count the rows that it found, also where the new values are the old ones.
"""

from __future__ import annotations

import os
import re
import select
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pymysql
from pymysql.constants import CLIENT

from brique.backends.faults import away, refused
from brique.backends.mysql.address import Address
from brique.backends.mysql.faults import ABORTED, LOST, SLOW, TOO_LARGE, explain, is_broken, said
from brique.backends.watchdog import Watchdog

CLOSED = "{backend}: it is closed."
NO_CONNECTION = "{backend}: no connection within {seconds:g} s."
Cells = tuple[bytes | None, ...]
"""A row as the server wrote it."""
_MODE = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_BACKSLASH_ESCAPES,ALLOW_INVALID_DATES"
_SETTINGS = (
    f"SET SESSION sql_mode = '{_MODE}', time_zone = '+00:00', autocommit = 1, completion_type = 0, "
    "foreign_key_checks = 1, unique_checks = 1, sql_safe_updates = 0, sql_select_limit = 18446744073709551615, "
    "net_write_timeout = 600, innodb_lock_wait_timeout = {lock}, lock_wait_timeout = {lock}; "
    "SHOW VARIABLES WHERE Variable_name IN ('max_allowed_packet', 'log_bin', 'binlog_format')"
)


@dataclass(frozen=True)
class Server:
    """What is at the other end of a connection. `version` as (10, 11, 19); `by_statement`: it writes statements into
    its log, and so takes no changes in READ COMMITTED; `packet_bytes_max`: what it takes at once."""

    is_mariadb: bool
    version: tuple[int, ...]
    by_statement: bool
    packet_bytes_max: int

    @property
    def returns(self) -> bool:
        """Whether INSERT knows RETURNING."""
        return self.is_mariadb and self.version >= (10, 5)

    def limit(self, seconds: float) -> str:
        """The statement that ends later statements (in MySQL only reading ones) after `seconds`; 0: never."""
        if self.is_mariadb:
            return f"SET SESSION max_statement_time = {seconds:.3f}"
        return f"SET SESSION max_execution_time = {int(seconds * 1000)}"


@dataclass(frozen=True)
class Answer:
    """What one statement answered: rows changed or found, the number given to a new row, and rows with their names.

    `in_transaction` is None where the server does not say.
    """

    changed: int
    given: int
    rows: Sequence[Cells]
    names: tuple[str, ...] = ()
    types: tuple[int, ...] = ()
    in_transaction: bool | None = None


class Connected:
    """An open connection. Raises pymysql.err.MySQLError."""

    def __init__(self, driver: Any, lock_seconds: int) -> None:
        self.driver = driver
        self.number: int = driver.thread_id()
        """The server's own number of this connection."""
        version = str(driver.server_version)
        numbers = re.search(r"(\d+)\.(\d+)\.(\d+)", version.removeprefix("5.5.5-"))
        found = tuple(map(int, numbers.groups())) if numbers else (0,)
        _, settings = self._query(_SETTINGS.format(lock=lock_seconds))
        told = {str(name, "ascii").lower(): value for name, value in settings.rows if name and value}
        by_statement = (told.get("log_bin"), told.get("binlog_format")) == (b"ON", b"STATEMENT")
        self.server = Server("mariadb" in version.lower(), found, by_statement, int(told["max_allowed_packet"]))

    def all(self, sql: str) -> list[Answer]:
        """The answers to one or several statements, sent at once. The first that fails ends them, and raises."""
        text = sql.encode("utf-8", "surrogateescape")
        if len(text) + 1 >= self.server.packet_bytes_max:
            raise refused(TOO_LARGE, bytes_max=self.server.packet_bytes_max)
        return self._query(text)

    def _query(self, sql: str | bytes) -> list[Answer]:
        self.driver.query(sql)
        answers = [_answer(self.driver._result)]
        while self.driver._result.has_next:
            self.driver.next_result()
            answers.append(_answer(self.driver._result))
        return answers

    def one(self, sql: str) -> Answer:
        """The answer to the last of the statements in `sql`."""
        return self.all(sql)[-1]

    def rows(self, sql: str) -> list[list[str | None]]:
        """The rows of a question whose answers are text."""
        return [[None if cell is None else cell.decode() for cell in row] for row in self.one(sql).rows]


def _answer(result: Any) -> Answer:
    if result.description is None:
        in_transaction = bool(result.server_status & 1)
        return Answer(result.affected_rows, result.insert_id, (), in_transaction=in_transaction)
    names = tuple(field.name for field in result.fields)
    return Answer(result.affected_rows, 0, result.rows, names, tuple(field.type_code for field in result.fields))


class Line:
    """One connection, opened when needed. One thread at a time, but for `abort`."""

    def __init__(
        self,
        backend: str,
        address: Address,
        *,
        connect_timeout: float,
        lock_timeout: float,
        watchdog: Watchdog,
        label: str,
    ) -> None:
        self.backend = backend
        self.connect_timeout = connect_timeout
        self._address = address
        self._lock_seconds = max(int(lock_timeout), 1)  # the server counts whole seconds
        self._watchdog = watchdog
        self._label = label
        self._lock = threading.RLock()
        self._connection: Connected | None = None
        self._socket: socket.socket | None = None
        self._socket_lock = threading.Lock()
        self._opening: _Opening | None = None
        self._cut = ""
        self._calls = 0
        self._closed = False
        self.opened = 0
        """How often a connection was opened: what was learnt on another one is to be learnt again."""

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other threads out for several calls."""
        with self._lock:
            yield

    @contextmanager
    def call(self, seconds: float, *, begun: int = 0) -> Iterator[Connected]:
        """The connection, for one call that may take `seconds`. Raises BackendAway, BackendRefused.

        `begun`: the number (`opened`) of the connection on which something was begun that goes on now: it never goes
        on on another one.
        """
        with self._lock:
            self._calls += 1
            try:
                if self._calls == 1:
                    self._cut = ""
                connection = self._same(begun) if begun else self._open()
                with self._watchdog.call(seconds, lambda: self._shut(SLOW)):
                    yield connection
            except pymysql.err.MySQLError as fault:
                cut = self._cut
                if cut or is_broken(fault):
                    self.drop()
                if cut:
                    raise away(cut, backend=self.backend, seconds=seconds) from fault
                raise explain(fault, backend=self.backend, seconds=seconds) from fault
            except (OSError, EOFError, RuntimeError, ValueError, IndexError, AssertionError) as fault:
                # the driver's own checks of what came over the wire: nothing more can be read there
                self.drop()
                if self._cut:
                    raise away(self._cut, backend=self.backend, seconds=seconds) from fault
                raise away(LOST, backend=self.backend, reason=said(fault)) from fault
            finally:
                self._calls -= 1

    @property
    def is_open(self) -> bool:
        return self._connection is not None and self._connection.driver.open

    def abort(self) -> None:
        """From another thread: the call in progress fails at once."""
        if self._calls:
            self._shut(ABORTED)
            opening = self._opening
            if opening is not None:
                opening.abandon()

    def drop(self) -> None:
        """Close the connection without waiting for the server; the next call opens another one."""
        connection, self._connection = self._connection, None
        with self._socket_lock:
            if self._socket is not None:
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
                self._socket.close()
                self._socket = None
        if connection is not None:
            connection.driver._force_close()

    def close(self) -> None:
        """Close for good."""
        self._closed = True
        with self._lock:
            connection = self._connection
            if connection is not None and connection.driver.open:
                with suppress(pymysql.err.MySQLError):
                    connection.driver.close()
            self.drop()

    def _shut(self, why: str) -> None:
        with self._socket_lock:
            self._cut = self._cut or why
            if self._socket is not None:
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def _open(self) -> Connected:
        if self._closed:
            raise away(CLOSED, backend=self.backend)
        if self._connection is not None and (self._calls > 1 or self._is_fresh()):
            return self._connection
        self.drop()
        self._opening = opening = _Opening(self._address, self.connect_timeout, self._lock_seconds, self._label)
        try:
            made = opening.wait()
        except pymysql.err.MySQLError as fault:
            raise explain(fault, backend=self.backend, seconds=self.connect_timeout, opening=True) from fault
        finally:
            self._opening = None
        if made is None:
            sentence = ABORTED if self._cut else NO_CONNECTION
            raise away(sentence, backend=self.backend, seconds=self.connect_timeout)
        with self._socket_lock:
            self._socket = socket.socket(fileno=os.dup(made.driver._sock.fileno()))
        self._connection = made
        self.opened += 1
        return made

    def _same(self, begun: int) -> Connected:
        if self._connection is None or not self.is_open or self.opened != begun:
            raise away(LOST, backend=self.backend, reason="what was begun on it is over")
        return self._connection

    def _is_fresh(self) -> bool:
        """Whether nothing came in while nobody asked: a server that closes an idle connection says so there."""
        if not self.is_open or self._socket is None:
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)


class _Opening:
    """A connection being made in a thread of its own; given up, it is closed as soon as it is there."""

    def __init__(self, address: Address, seconds: float, lock_seconds: int, label: str) -> None:
        self._address = address
        self._seconds = seconds
        self._lock_seconds = lock_seconds
        self._label = label
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._abandoned = False
        self._made: Connected | None = None
        self._fault: Exception | None = None

    def wait(self) -> Connected | None:
        """The connection; None when it was not there in time, or was given up. Raises pymysql.err.MySQLError,
        OSError, RuntimeError (a way of signing in that the driver does not know)."""
        threading.Thread(target=self._run, name="backend-connect", daemon=True).start()
        self._over.wait(self._seconds)
        with self._lock:
            if self._fault is not None:
                raise self._fault
            if self._made is None:
                self._abandoned = True
            return self._made

    def abandon(self) -> None:
        self._over.set()

    def _run(self) -> None:
        made: Connected | None = None
        fault: Exception | None = None
        try:
            made = self._connect()
        except (pymysql.err.MySQLError, OSError, RuntimeError, ValueError, EOFError) as why:
            fault = why
        with self._lock:
            if self._abandoned:
                if made is not None:
                    made.driver._force_close()
                return
            self._made, self._fault = made, fault
        self._over.set()

    def _connect(self) -> Connected:
        driver: Any = pymysql.connect(
            **self._address.arguments(),
            charset="utf8mb4",
            use_unicode=False,
            conv={},
            autocommit=None,  # the server's: set with everything else
            connect_timeout=self._seconds,
            read_timeout=self._seconds,
            write_timeout=self._seconds,
            program_name=self._label,
            client_flag=CLIENT.FOUND_ROWS | CLIENT.MULTI_STATEMENTS,
        )
        try:
            made = Connected(driver, self._lock_seconds)
        except BaseException:
            driver._force_close()
            raise
        driver._read_timeout = driver._write_timeout = None  # from here on the watchdog's
        return made
