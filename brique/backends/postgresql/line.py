"""Connections to PostgreSQL: see `backends.line`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import pq

from brique.backends import line
from brique.backends.postgresql.faults import explain, first_line, is_broken
from brique.errors import BackendAway, BackendRefused

Line = line.Line[psycopg.Connection[Any]]
_KEEPALIVE: dict[str, Any] = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}


class PostgresWire:
    """An open connection."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.handle = connection
        self._sockets = line.Sockets.of(connection.fileno())

    def is_open(self) -> bool:
        return not self.handle.closed and self.handle.pgconn.status == pq.ConnStatus.OK

    def is_fresh(self) -> bool:
        return self._sockets.are_quiet()

    def cut(self, is_over: Callable[[], bool]) -> None:
        self._sockets.cut()

    def end(self) -> None:
        with suppress(psycopg.Error, OSError):
            self.handle.close()

    def drop(self) -> None:
        self._sockets.close()
        self.end()


class PostgresDriver:
    """psycopg. `label` names the connection among those of the server."""

    faults: tuple[type[Exception], ...] = (psycopg.Error,)
    breaks: tuple[type[Exception], ...] = ()
    shows_cause = True

    def __init__(self, backend: str, conninfo: str, *, label: str) -> None:
        self._backend = backend
        self._conninfo = conninfo
        self._label = label

    def connect(self, seconds: float) -> PostgresWire:
        try:
            made = psycopg.connect(
                self._conninfo,
                autocommit=True,
                connect_timeout=max(2, int(seconds + 0.999)),
                application_name=self._label,
                client_encoding="UTF8",
                **_KEEPALIVE,
            )
        except ValueError as fault:
            raise psycopg.OperationalError(str(fault)) from fault
        return PostgresWire(made)

    def explain(self, fault: Exception, seconds: float, *, opening: bool = False) -> BackendAway | BackendRefused:
        assert isinstance(fault, psycopg.Error)
        return explain(fault, backend=self._backend, seconds=seconds, opening=opening)

    def is_broken(self, fault: Exception) -> bool:
        return isinstance(fault, psycopg.Error) and is_broken(fault)

    def said(self, fault: Exception) -> str:
        return first_line(fault) if isinstance(fault, psycopg.Error) else str(fault)
