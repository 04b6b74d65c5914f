"""Connections by ODBC: see `backends.line`.

What is not over in time, or given up, is first cancelled (`SQLCancel`, from a thread of its own, since it may wait
too); then the driver's sockets are cut. A driver that comes back from neither is a matter for the guard, which ends
the process.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from brique.backends import line
from brique.backends.odbc import sockets
from brique.backends.odbc.address import scrubbed
from brique.backends.odbc.driver import pyodbc
from brique.backends.odbc.faults import explain, is_broken
from brique.errors import BackendAway, BackendRefused

log = logging.getLogger(__name__)
CANCEL_SECONDS = 0.2
"""How long a cancelled statement may take to end before the sockets are cut."""
Tell = Callable[[str, str], BackendAway | BackendRefused]
"""(SQLSTATE, text) -> the refusal, as one says it who knows the table."""


class OdbcWire:
    """An open connection; `handle` is a cursor, whose connection is pyodbc's."""

    def __init__(self, connection: Any, copies: line.Sockets) -> None:
        self.handle: Any = connection.cursor()
        self._connection: Any = connection
        self._sockets = copies

    def is_open(self) -> bool:
        return self._connection is not None

    def is_fresh(self) -> bool:
        return self._sockets.are_quiet()

    def cut(self, is_over: Callable[[], bool]) -> None:
        cancelling = threading.Thread(target=_cancel, args=(self.handle,), name="odbc-cancel", daemon=True)
        cancelling.start()
        for _ in range(10):
            cancelling.join(CANCEL_SECONDS / 10)
            if is_over():
                return
        self._sockets.cut()

    def end(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(pyodbc().Error):
                connection.close()

    def drop(self) -> None:
        self._sockets.cut()
        self.end()
        self._sockets.close()


class OdbcDriver:
    """pyodbc. `secrets` are left out of what is said; `prepare(connection)` is called on each new connection."""

    breaks: tuple[type[Exception], ...] = (SystemError, MemoryError)
    shows_cause = False

    def __init__(
        self,
        backend: str,
        connection_string: str,
        *,
        port: int | None,
        secrets: tuple[str, ...],
        prepare: Callable[[Any], None],
    ) -> None:
        self._backend = backend
        self._connection_string = connection_string
        self._port = port
        self._secrets = secrets
        self._prepare = prepare

    @property
    def faults(self) -> tuple[type[Exception], ...]:
        return (pyodbc().Error,)

    def connect(self, seconds: float) -> OdbcWire:
        # held for a time at most: a server that never answers must not keep other connections from being made
        is_alone = sockets.CONNECTING.acquire(timeout=seconds)
        try:
            before = sockets.open_sockets()
            connection = pyodbc().connect(
                self._connection_string, autocommit=False, timeout=max(1, int(seconds + 0.999))
            )
            copies = sockets.copies(before, self._port) if is_alone else []
        finally:
            if is_alone:
                sockets.CONNECTING.release()
        wire = OdbcWire(connection, line.Sockets(*copies))
        try:
            self._prepare(connection)
        except BaseException:
            wire.drop()
            raise
        return wire

    def explain(self, fault: Exception, seconds: float, *, opening: bool = False) -> BackendAway | BackendRefused:
        return self._told(fault, seconds, None)

    def telling(self, tell: Tell) -> line.Explain:
        """As `explain`, but for what is a refusal `tell`."""
        return lambda fault, seconds: self._told(fault, seconds, tell)

    def _told(self, fault: Exception, seconds: float, tell: Tell | None) -> BackendAway | BackendRefused:
        state, said = state_of(fault)
        said = scrubbed(said, self._secrets)
        told = explain(state, said, backend=self._backend, seconds=seconds)
        if tell is not None and not is_broken(state) and isinstance(told, BackendRefused):
            told = tell(state, said)
        told.facts["state"] = state
        return told

    def is_broken(self, fault: Exception) -> bool:
        return is_broken(state_of(fault)[0])

    def said(self, fault: Exception) -> str:
        return scrubbed(str(fault), self._secrets)


class Line(line.Line[Any]):
    """One connection by ODBC."""

    def __init__(self, backend: str, driver: OdbcDriver, **given: Any) -> None:
        super().__init__(backend, driver, **given)
        self.driver = driver

    @property
    def connection(self) -> Any:
        """pyodbc's connection, while there is one."""
        return self._wire.handle.connection if self._wire is not None else None


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
