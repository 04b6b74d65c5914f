"""One ODBC connection whose every call ends in time.

A watchdog, or whoever calls `abort`, first cancels the statement in progress (`SQLCancel`, from a thread of its own,
since it may wait too) and then cuts the driver's sockets. Connecting happens in a thread of its own: it can be left
behind. A driver that comes back from neither is a matter for the guard, which ends the process.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from brique.backends.faults import away
from brique.backends.odbc import sockets
from brique.backends.odbc.address import scrubbed
from brique.backends.odbc.driver import pyodbc
from brique.backends.odbc.faults import ABORTED, LOST, SLOW, explain, is_broken
from brique.backends.watchdog import Watchdog
from brique.errors import BackendAway, BackendRefused

log = logging.getLogger(__name__)
CLOSED = "{backend}: it is closed."
NO_CONNECTION = "{backend}: no connection within {seconds:g} s."
CANCEL_SECONDS = 0.2
"""How long a cancelled statement may take to end before the sockets are cut."""
Explain = Callable[[str, str], BackendAway | BackendRefused]


class Line:
    """One connection, opened when needed. One thread at a time, but for `abort`.

    `prepare(connection)` is called on each new connection.
    """

    def __init__(
        self,
        backend: str,
        connection_string: str,
        *,
        connect_timeout: float,
        watchdog: Watchdog,
        port: int | None,
        secrets: tuple[str, ...],
        prepare: Callable[[Any], None],
    ) -> None:
        self.backend = backend
        self.connect_timeout = connect_timeout
        self.secrets = secrets
        self._connection_string = connection_string
        self._watchdog = watchdog
        self._port = port
        self._prepare = prepare
        self._lock = threading.RLock()
        self._connection: Any = None
        self._cursor: Any = None
        self._sockets: list[socket.socket] = []
        self._sockets_lock = threading.Lock()
        self._opening: _Opening | None = None
        self._cut = ""
        self._calls = 0
        self._turn = 0
        self._closed = False
        self.opened = 0
        """How often a connection was opened: what was learnt on another one is to be learnt again."""

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other threads out for several calls."""
        with self._lock:
            yield

    @contextmanager
    def call(self, seconds: float, tell: Explain | None = None) -> Iterator[Any]:
        """A cursor, for one call that may take `seconds`. Raises BackendAway, BackendRefused (as `tell` explains)."""
        with self._lock:
            self._calls += 1
            try:
                if self._calls == 1:
                    self._cut = ""
                    self._turn += 1
                self._open()
                with self._watchdog.call(seconds, lambda: self._end(SLOW)):
                    yield self._cursor
                if self._cut:
                    raise away(self._cut, backend=self.backend, seconds=seconds)
            except pyodbc().Error as fault:
                raise self._told(fault, seconds, tell) from None  # its text may hold what must not be shown
            except BackendAway:
                if self._cut:
                    self.drop()
                raise
            except (OSError, SystemError, MemoryError) as fault:
                self.drop()
                raise away(LOST, backend=self.backend, reason=scrubbed(str(fault), self.secrets)) from None
            finally:
                self._calls -= 1

    def _told(self, fault: Any, seconds: float, tell: Explain | None) -> BackendAway | BackendRefused:
        state, said = state_of(fault)
        said = scrubbed(said, self.secrets)
        if self._cut:
            self.drop()
            return away(self._cut, backend=self.backend, seconds=seconds)
        told = explain(state, said, backend=self.backend, seconds=seconds)
        if is_broken(state):
            self.drop()
        elif tell is not None and isinstance(told, BackendRefused):
            told = tell(state, said)
        told.facts["state"] = state
        return told

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    @property
    def connection(self) -> Any:
        """pyodbc's connection, while there is one."""
        return self._connection

    def abort(self) -> None:
        """From another thread: the call in progress fails at once."""
        if self._calls:
            opening = self._opening
            self._end(ABORTED)
            if opening is not None:
                opening.abandon()

    def _end(self, why: str) -> None:
        self._cut = self._cut or why
        cursor, turn = self._cursor, self._turn
        if cursor is not None:
            cancelling = threading.Thread(target=_cancel, args=(cursor,), name="odbc-cancel", daemon=True)
            cancelling.start()
            for _ in range(10):
                cancelling.join(CANCEL_SECONDS / 10)
                if not self._calls or self._turn != turn:
                    return
        with self._sockets_lock:
            sockets.cut(self._sockets)

    def drop(self) -> None:
        """Close the connection without waiting for the server; the next call opens another one."""
        connection, self._connection, self._cursor = self._connection, None, None
        with self._sockets_lock:
            sockets.cut(self._sockets)
            held, self._sockets = self._sockets, []
        if connection is not None:
            with suppress(pyodbc().Error):
                connection.close()
        for one in held:
            one.close()

    def close(self) -> None:
        """Close for good."""
        self._closed = True
        with self._lock:
            connection, self._connection, self._cursor = self._connection, None, None
            if connection is not None:
                with suppress(pyodbc().Error), self._watchdog.call(2.0, lambda: sockets.cut(self._sockets)):
                    connection.close()
            self.drop()

    def _open(self) -> None:
        if self._closed:
            raise away(CLOSED, backend=self.backend)
        if self._connection is not None:
            return
        self._opening = opening = _Opening(self._connection_string, self.connect_timeout, self._port)
        try:
            opening.wait(self.connect_timeout)
        finally:
            self._opening = None
        if opening.connection is None:
            sentence = ABORTED if self._cut else NO_CONNECTION
            raise away(sentence, backend=self.backend, seconds=self.connect_timeout)
        with self._sockets_lock:
            self._sockets = opening.sockets
        self._connection = opening.connection
        self._cursor = self._connection.cursor()
        self.opened += 1
        with self._watchdog.call(self.connect_timeout, lambda: self._end(SLOW)):
            self._prepare(self._connection)


class _Opening:
    """A connection being made in a thread of its own; given up, it is closed as soon as it is there."""

    def __init__(self, connection_string: str, seconds: float, port: int | None) -> None:
        self.connection: Any = None
        self.sockets: list[socket.socket] = []
        self._connection_string = connection_string
        self._seconds = seconds
        self._port = port
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._abandoned = False
        self._fault: Exception | None = None

    def wait(self, seconds: float) -> None:
        """Wait for the connection; none when it was not there in time, or was given up. Raises pyodbc.Error."""
        threading.Thread(target=self._run, name="odbc-connect", daemon=True).start()
        self._over.wait(seconds)
        with self._lock:
            if self._fault is not None:
                raise self._fault
            self._abandoned = self.connection is None

    def abandon(self) -> None:
        self._over.set()

    def _run(self) -> None:
        connection, fault, opened = None, None, list[socket.socket]()
        # held for a time at most: a server that never answers must not keep other connections from being made
        is_alone = sockets.CONNECTING.acquire(timeout=self._seconds)
        try:
            before = sockets.open_sockets()
            connection = pyodbc().connect(
                self._connection_string, autocommit=False, timeout=max(1, int(self._seconds + 0.999))
            )
            if is_alone:
                opened = sockets.copies(before, self._port)
        except Exception as why:  # noqa: BLE001  (told in the thread that waits)
            fault = why
        finally:
            if is_alone:
                sockets.CONNECTING.release()
        with self._lock:
            if self._abandoned:
                _throw_away(connection, opened)
                return
            self.connection, self.sockets, self._fault = connection, opened, fault
        self._over.set()


def _throw_away(connection: Any, opened: list[socket.socket]) -> None:
    sockets.cut(opened)
    if connection is not None:
        with suppress(pyodbc().Error):
            connection.close()
    for one in opened:
        one.close()


def _cancel(cursor: Any) -> None:
    try:
        cursor.cancel()
    except Exception as fault:  # noqa: BLE001  (a driver that cannot cancel: the sockets are cut)
        log.debug("SQLCancel: %s", type(fault).__name__)


def state_of(fault: Any) -> tuple[str, str]:
    """SQLSTATE and text of a fault of pyodbc."""
    parts = [str(part) for part in fault.args]
    state = parts[0] if parts and len(parts[0]) == 5 else "HY000"
    return state, parts[-1] if parts else type(fault).__name__
