"""Reading whole tables of PostgreSQL: COPY out of one snapshot, parsed a batch of columns at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any

import psycopg

from brique.backends.pg_line import Line
from brique.backends.pg_rows import load
from brique.backends.protocol import BATCH_ROWS
from brique.errors import BackendRefused
from brique.schema import TableSpec, Value


class PostgresSnapshot:
    """One REPEATABLE READ transaction."""

    def __init__(self, line: Line, read_timeout: float, fingerprint: str | None) -> None:
        self._line = line
        self._read_timeout = read_timeout
        self._opened = line.opened
        self.fingerprint = fingerprint

    def read(self, spec: TableSpec) -> Iterator[list[tuple[Value, ...]]]:
        with self._line.call(self._read_timeout) as connection:
            connection.execute("SAVEPOINT brique_read")
        try:
            yield from self._copy(spec)
        except BackendRefused:
            with self._line.call(self._read_timeout) as connection:
                connection.execute("ROLLBACK TO SAVEPOINT brique_read")
            raise
        except GeneratorExit:
            self._line.drop()  # the rest of the rows is on its way: nothing else can be read on this connection
            raise

    def _copy(self, spec: TableSpec) -> Iterator[list[tuple[Value, ...]]]:
        with self._line.call(self._read_timeout) as connection:
            rows = load(connection, spec)
            opening: AbstractContextManager[psycopg.Copy] = connection.cursor().copy(
                f"COPY ({rows.select}) TO STDOUT".encode()
            )
            lines: Iterator[Any] = iter(opening.__enter__())
        while True:
            with self._line.call(self._read_timeout):
                batch = list(islice(lines, BATCH_ROWS))
            if not batch:
                break
            yield rows.copied(b"".join(batch))
        with self._line.call(self._read_timeout):
            opening.__exit__(None, None, None)
