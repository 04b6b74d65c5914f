"""Connections to MariaDB or MySQL: see `backends.line`.

How values are written is fixed for each connection, whatever the server's defaults are: strict mode, so that nothing is
cut to fit; no backslash escapes; zero and impossible dates as they are; UTC; utf8mb4. `FOUND_ROWS` makes an update
count the rows that it found, also where the new values are the old ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pymysql
from pymysql.constants import CLIENT

from brique.backends import line
from brique.backends.faults import refused
from brique.backends.mysql.address import Address
from brique.backends.mysql.faults import TOO_LARGE, explain, is_broken, said
from brique.errors import BackendAway, BackendRefused

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


Line = line.Line[Connected]


class MysqlWire:
    """An open connection."""

    def __init__(self, connected: Connected) -> None:
        self.handle = connected
        self._sockets = line.Sockets.of(connected.driver._sock.fileno())

    def is_open(self) -> bool:
        return bool(self.handle.driver.open)

    def is_fresh(self) -> bool:
        return self._sockets.are_quiet()

    def cut(self, is_over: Callable[[], bool]) -> None:
        self._sockets.cut()

    def end(self) -> None:
        with suppress(pymysql.err.MySQLError, OSError):
            self.handle.driver.close()

    def drop(self) -> None:
        self._sockets.close()
        self.handle.driver._force_close()


class MysqlDriver:
    """PyMySQL. `label` names the connection among those of the server."""

    faults: tuple[type[Exception], ...] = (pymysql.err.MySQLError,)
    breaks: tuple[type[Exception], ...] = (EOFError, RuntimeError, ValueError, IndexError, AssertionError)
    """Its own checks of what came over the wire; RuntimeError: a way of signing in that it does not know."""
    shows_cause = True

    def __init__(self, backend: str, address: Address, *, lock_timeout: float, label: str) -> None:
        self._backend = backend
        self._address = address
        self._lock_seconds = max(int(lock_timeout), 1)  # the server counts whole seconds
        self._label = label

    def connect(self, seconds: float) -> MysqlWire:
        driver: Any = pymysql.connect(
            **self._address.arguments(),
            charset="utf8mb4",
            use_unicode=False,
            conv={},
            autocommit=None,  # the server's: set with everything else
            connect_timeout=seconds,
            read_timeout=seconds,
            write_timeout=seconds,
            program_name=self._label,
            client_flag=CLIENT.FOUND_ROWS | CLIENT.MULTI_STATEMENTS,
        )
        try:
            made = Connected(driver, self._lock_seconds)
        except BaseException:
            driver._force_close()
            raise
        driver._read_timeout = driver._write_timeout = None  # from here on the watchdog's
        return MysqlWire(made)

    def explain(self, fault: Exception, seconds: float, *, opening: bool = False) -> BackendAway | BackendRefused:
        assert isinstance(fault, pymysql.err.MySQLError)
        return explain(fault, backend=self._backend, seconds=seconds, opening=opening)

    def is_broken(self, fault: Exception) -> bool:
        return isinstance(fault, pymysql.err.MySQLError) and is_broken(fault)

    def said(self, fault: Exception) -> str:
        return said(fault)
