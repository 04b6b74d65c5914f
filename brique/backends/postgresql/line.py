"""One connection to PostgreSQL whose every call ends in time, even when the server is frozen.

Server-side limits (statement_timeout, lock_timeout) end what the server can end. What it cannot, because it is stopped
or the network swallows everything, the watchdog does: it shuts our own end of the socket down, and the driver, which
waits for an answer, gets the end of the stream. Connecting happens in a thread of its own, since looking a name up
cannot be interrupted.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg import pq

from brique.backends.faults import away
from brique.backends.postgresql.faults import ABORTED, LOST, SLOW, explain, is_broken
from brique.backends.watchdog import Watchdog

CLOSED = "{backend}: it is closed."
NO_CONNECTION = "{backend}: no connection within {seconds:g} s."
_KEEPALIVE: dict[str, Any] = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}


class Line:
    """One connection, opened when needed. One thread at a time, but for `abort`."""

    def __init__(self, backend: str, conninfo: str, *, connect_timeout: float, watchdog: Watchdog, label: str) -> None:
        self.backend = backend
        self.connect_timeout = connect_timeout
        self._conninfo = conninfo
        self._watchdog = watchdog
        self._label = label
        self._lock = threading.RLock()
        self._connection: psycopg.Connection[Any] | None = None
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
    def call(self, seconds: float) -> Iterator[psycopg.Connection[Any]]:
        """The connection, for one call that may take `seconds`. Raises BackendAway, BackendRefused."""
        with self._lock:
            self._calls += 1
            try:
                if self._calls == 1:
                    self._cut = ""
                connection = self._open()
                with self._watchdog.call(seconds, lambda: self._shut(SLOW)):
                    yield connection
            except psycopg.Error as fault:
                cut = self._cut
                if cut or is_broken(fault):
                    self.drop()
                if cut:
                    raise away(cut, backend=self.backend, seconds=seconds) from fault
                raise explain(fault, backend=self.backend, seconds=seconds) from fault
            except OSError as fault:
                self.drop()
                raise away(LOST, backend=self.backend, reason=str(fault)) from fault
            finally:
                self._calls -= 1

    @property
    def is_open(self) -> bool:
        return self._connection is not None and not self._connection.closed

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
            connection.close()

    def close(self) -> None:
        """Close for good."""
        self._closed = True
        with self._lock:
            connection = self._connection
            if connection is not None and not connection.closed:
                connection.close()
            self.drop()

    def _shut(self, why: str) -> None:
        with self._socket_lock:
            self._cut = self._cut or why
            if self._socket is not None:
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def _open(self) -> psycopg.Connection[Any]:
        if self._closed:
            raise away(CLOSED, backend=self.backend)
        connection = self._connection
        if connection is not None and not connection.closed and connection.pgconn.status == pq.ConnStatus.OK:
            return connection
        self.drop()
        self._opening = opening = _Opening(self._conninfo, self.connect_timeout, self._label)
        try:
            made = opening.wait()
        finally:
            self._opening = None
        if made is None:
            aborted = bool(self._cut)
            sentence = ABORTED if aborted else NO_CONNECTION
            raise away(sentence, backend=self.backend, seconds=self.connect_timeout)
        with self._socket_lock:
            self._socket = socket.socket(fileno=os.dup(made.fileno()))
        self._connection = made
        self.opened += 1
        return made


class _Opening:
    """A connection being made in a thread of its own; given up, it is closed as soon as it is there."""

    def __init__(self, conninfo: str, seconds: float, label: str) -> None:
        self._conninfo = conninfo
        self._seconds = seconds
        self._label = label
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._abandoned = False
        self._made: psycopg.Connection[Any] | None = None
        self._fault: Exception | None = None

    def wait(self) -> psycopg.Connection[Any] | None:
        """The connection; None when it was not there in time, or was given up. Raises psycopg.Error."""
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
        made: psycopg.Connection[Any] | None = None
        fault: Exception | None = None
        try:
            made = psycopg.connect(
                self._conninfo,
                autocommit=True,
                connect_timeout=max(2, int(self._seconds + 0.999)),
                application_name=self._label,
                client_encoding="UTF8",
                **_KEEPALIVE,
            )
        except (psycopg.Error, OSError, ValueError) as why:
            fault = why
        with self._lock:
            if self._abandoned:
                if made is not None:
                    made.close()
                return
            self._made, self._fault = made, fault
        self._over.set()
