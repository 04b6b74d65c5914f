"""Reading whole tables of MariaDB and MySQL: unbuffered, out of one snapshot, a batch of columns at a time.

The rows are taken from the driver's stream by a loop of our own: the packets of the protocol hold the cells as text,
each behind its length, and cutting them out in place takes a third of the time that the driver needs for a row.
"""

from __future__ import annotations

import logging
import struct
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pymysql

from brique.backends.mysql.faults import is_broken, said
from brique.backends.mysql.line import Connected, Line
from brique.backends.mysql.rows import load
from brique.backends.protocol import BATCH_ROWS
from brique.schema import TableSpec, Value

log = logging.getLogger(__name__)
MARK_SECONDS_MAX = 2.0
"""A table whose digests take longer has no mark: it is read."""
SLOW_MAX = 3
"""Times that a table may be slow before it is not tried again."""
_BATCH_BYTES = 64 << 20
"""Cells of a batch, beyond which it is handed over before it has all its rows."""
_RECEIVE_BYTES = 1 << 18
_PACKET_BYTES_MAX = 0xFFFFFF
_END, _NULL, _TWO, _THREE, _EIGHT = 0xFE, 0xFB, 0xFC, 0xFD, 0xFE
_NO_DIGEST = 10**30
"""Stands for the digest of a row that is larger than the server takes at once: no sum of others reaches it."""
_MARK = """
SELECT COUNT(*), COALESCE(SUM(CAST(COALESCE(CONV(LEFT({digests}, 16), 16, 10), '{none}') AS DECIMAL(40))), 0)
FROM {table}
"""
"""A count, and the sum of 64 bits of each row's digest: that both stay equal by chance is not to be expected."""


class MysqlSnapshot:
    """One REPEATABLE READ transaction. `opened`: the connection that it was begun on; `slow`: how often
    tables have taken too long for a mark, one time after the other."""

    def __init__(
        self, line: Line, read_timeout: float, fingerprint: str | None, steady: frozenset[str], slow: Counter[str]
    ) -> None:
        self._line = line
        self._read_timeout = read_timeout
        self._opened = line.opened
        self.fingerprint = fingerprint
        self._steady = steady
        self._slow = slow

    def mark(self, spec: TableSpec) -> str | None:
        """A count and a sum of what this snapshot shows of each row. None for views, tables without transactions
        (their rows are not of this snapshot), and tables that are too large to be summed up in a moment."""
        place = f"{spec.source_schema}.{spec.source}"
        if spec.is_view or place.lower() not in self._steady or self._slow[place] >= SLOW_MAX:
            return None
        seconds = min(MARK_SECONDS_MAX, self._read_timeout / 2)
        with self._line.call(self._read_timeout, begun=self._opened) as connection:
            rows = load(connection, spec)
            connection.one(connection.server.limit(seconds))
            try:
                [found] = connection.rows(_MARK.format(digests=rows.digests, none=_NO_DIGEST, table=rows.table))
            except pymysql.err.MySQLError as fault:
                if is_broken(fault):
                    raise
                log.info("%s has no mark: %s", place, said(fault))
                self._slow[place] += 1
                return None
            finally:
                if self._line.is_open:
                    connection.one(connection.server.limit(0))
        self._slow.pop(place, None)
        counted, total = map(str, found)
        return f"{counted}:{total}" if int(total) < _NO_DIGEST else None

    def read(self, spec: TableSpec) -> Iterator[list[tuple[Value, ...]]]:
        with self._line.call(self._read_timeout, begun=self._opened) as connection:
            rows = load(connection, spec)
            stream = Stream(connection, rows.select)
        try:
            while not stream.is_over:
                with self._line.call(self._read_timeout, begun=self._opened):
                    cells = stream.batch()
                if cells[0]:
                    yield rows.parsed_columns(cells)
        finally:
            if not stream.is_over:
                self._line.drop()  # the rest of the rows is on its way: nothing else can be read on this connection


class Stream:
    """The rows of one question, as they come in. Raises pymysql.err.MySQLError."""

    def __init__(self, connection: Connected, sql: str) -> None:
        self._driver: Any = connection.driver
        self._driver.query(sql, unbuffered=True)
        self._result = self._driver._result
        self._result.unbuffered_active = False  # from here on the stream is ours: the driver need not finish it
        self._width: int = self._result.field_count
        self._receive = self._driver._rfile.read1
        self._data = b""
        self._at = 0
        self.is_over = False

    def batch(self) -> list[list[bytes | None]]:
        """The cells of the next rows, a list for each column; empty lists at the end."""
        cells: list[bytes | None] = []
        rows, taken = 0, 0
        while rows < BATCH_ROWS and taken < _BATCH_BYTES:
            data, at, end = self._packet()
            if data[at] >= _END and (end - at < 9 or data[at] > _END):
                self._finish(data[at:end])
                break
            taken += end - at
            self._cut(data, at, end, cells.append)
            rows += 1
        return [cells[column :: self._width] for column in range(self._width)]

    def _packet(self) -> tuple[bytes, int, int]:
        """The next packet: where it stands in which bytes."""
        start = self._at
        header = self._need(start, 4)
        data, start = self._data, self._at
        size = header[0] | header[1] << 8 | header[2] << 16
        if size < _PACKET_BYTES_MAX:
            if start + 4 + size > len(data):
                self._need(start, 4 + size)
                data, start = self._data, self._at
            self._at = start + 4 + size
            return data, start + 4, start + 4 + size
        return self._joined(size)

    def _joined(self, size: int) -> tuple[bytes, int, int]:
        """A row of 16 MB or more comes in several packets."""
        parts = []
        while True:
            self._need(self._at, 4 + size)
            parts.append(self._data[self._at + 4 : self._at + 4 + size])
            self._at += 4 + size
            if size < _PACKET_BYTES_MAX:
                joined = b"".join(parts)
                return joined, 0, len(joined)
            header = self._need(self._at, 4)
            size = header[0] | header[1] << 8 | header[2] << 16

    def _need(self, start: int, count: int) -> bytes:
        """Have `count` bytes from `start` on; the first four of them."""
        if start + count > len(self._data):
            parts = [self._data[start:]]
            have = len(parts[0])
            while have < count:
                part = self._receive(_RECEIVE_BYTES)
                if not part:
                    raise pymysql.err.OperationalError(2013, "the server ended the connection in the middle of rows")
                parts.append(part)
                have += len(part)
            self._data, self._at = b"".join(parts), 0
            start = 0
        return self._data[start : start + 4]

    def _cut(self, data: bytes, at: int, end: int, add: Any) -> None:
        while at < end:
            length = data[at]
            at += 1
            if length < _NULL:
                add(data[at : at + length])
                at += length
                continue
            if length == _NULL:
                add(None)
                continue
            if length == _TWO:
                length, at = data[at] | data[at + 1] << 8, at + 2
            elif length == _THREE:
                length, at = data[at] | data[at + 1] << 8 | data[at + 2] << 16, at + 3
            else:
                length, at = struct.unpack_from("<Q", data, at)[0], at + 8
            add(data[at : at + length])
            at += length

    def _finish(self, packet: bytes) -> None:
        """The last packet: the end of the rows, or a fault."""
        self.is_over = True
        self._result.connection = None
        if packet[0] == 0xFF:
            pymysql.err.raise_mysql_exception(packet)
