"""Reading whole tables of PostgreSQL: COPY out of one snapshot, parsed a batch of columns at a time."""

from __future__ import annotations

import select
from collections.abc import Iterator

import psycopg
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from brique.backends.postgresql.catalogue import qualified, texts
from brique.backends.postgresql.line import Line
from brique.backends.postgresql.rows import Raw, load
from brique.backends.protocol import BATCH_ROWS
from brique.errors import BackendRefused
from brique.schema import TableSpec, Value

_KIND = "SELECT relkind FROM pg_class WHERE oid = to_regclass($1)"
_MARK = """
SELECT count(*), coalesce(bit_xor(hashtidextended(ctid, xmin::text::int8 # (tableoid::int8 << 32))), 0),
       coalesce(sum(hashtid(ctid)::int8 * (xmin::text::int8 % 1000003 + 1)), 0)
FROM {table}
"""
"""Two independent sums over the row versions: that both stay equal by chance is not to be expected."""


class PostgresSnapshot:
    """One REPEATABLE READ transaction."""

    def __init__(self, line: Line, read_timeout: float, fingerprint: str | None) -> None:
        self._line = line
        self._read_timeout = read_timeout
        self._opened = line.opened
        self.fingerprint = fingerprint

    def mark(self, spec: TableSpec) -> str | None:
        """How many row versions this snapshot sees, and where and by which transactions they were written: a change
        of a row is a new version. Views, foreign tables and servers before 14 have none."""
        name = qualified(spec.source_schema, spec.source)
        with self._line.call(self._read_timeout, begun=self._opened) as connection:
            if connection.info.server_version < 140000:
                return None
            kinds = texts(connection.execute(_KIND, (Raw(name.encode()),)))
            if not kinds or kinds[0][0] not in ("r", "p", "m"):
                return None
            connection.execute("SAVEPOINT brique_mark")
            try:
                [found] = texts(connection.execute(_MARK.format(table=name).encode()))
            except psycopg.errors.InsufficientPrivilege:
                connection.execute("ROLLBACK TO SAVEPOINT brique_mark")
                return None
        return ":".join(map(str, found))

    def read(self, spec: TableSpec) -> Iterator[list[tuple[Value, ...]]]:
        with self._line.call(self._read_timeout, begun=self._opened) as connection:
            connection.execute("SAVEPOINT brique_read")
        try:
            yield from self._copy(spec)
        except BackendRefused:
            with self._line.call(self._read_timeout, begun=self._opened) as connection:
                connection.execute("ROLLBACK TO SAVEPOINT brique_read")
            raise
        except GeneratorExit:
            self._line.drop()  # the rest of the rows is on its way: nothing else can be read on this connection
            raise

    def _copy(self, spec: TableSpec) -> Iterator[list[tuple[Value, ...]]]:
        """By libpq itself: the driver's own loop takes as long for a row as parsing it does."""
        with self._line.call(self._read_timeout, begun=self._opened) as connection:
            rows = load(connection, spec)
            server = connection.pgconn
            server.send_query(f"COPY ({rows.select}) TO STDOUT".encode())
            _check(server, _result(server), ExecStatus.COPY_OUT)
        while True:
            with self._line.call(self._read_timeout, begun=self._opened):
                lines = _lines(server)
            if lines:
                yield rows.copied(b"".join(lines))
            if len(lines) < BATCH_ROWS:
                return


def _lines(server: PGconn) -> list[memoryview]:
    """The next lines of a COPY; fewer than `BATCH_ROWS` when it is over. Raises psycopg.Error."""
    lines: list[memoryview] = []
    take, keep = server.get_copy_data, lines.append
    while len(lines) < BATCH_ROWS:
        length, line = take(1)
        if length > 0:
            keep(line)
        elif length == 0:
            _wait(server)
        elif length == -2:
            raise psycopg.OperationalError(_text(server.get_error_message()))
        else:
            _check(server, _result(server), ExecStatus.COMMAND_OK)
            _result(server)
            break
    return lines


def _wait(server: PGconn) -> None:
    """Wait until the server has sent something. Never inside libpq: it would hold the interpreter's lock, and the
    watchdog, which ends a wait by shutting the socket down, could not run."""
    poll = select.poll()
    poll.register(server.socket, select.POLLIN)
    poll.poll()
    server.consume_input()


def _result(server: PGconn) -> PGresult | None:
    while server.flush():
        poll = select.poll()
        poll.register(server.socket, select.POLLIN | select.POLLOUT)
        poll.poll()
        server.consume_input()
    while server.is_busy():
        _wait(server)
    return server.get_result()


def _check(server: PGconn, result: PGresult | None, wanted: ExecStatus) -> None:
    if result is None:
        raise psycopg.OperationalError(_text(server.get_error_message()) or "the connection is closed")
    if result.status != wanted:
        while server.status == ConnStatus.OK and _result(server) is not None:
            pass  # what is left of the statement
        if not result.error_field(DiagnosticField.SQLSTATE):
            raise psycopg.OperationalError(_text(result.get_error_message()))
        raise psycopg.errors.error_from_result(result)


def _text(said: str | bytes) -> str:
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else said
