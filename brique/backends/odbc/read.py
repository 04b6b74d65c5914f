"""Reading whole tables over ODBC: Arrow batches where the types fit, rows where they do not, in one snapshot.

The two ways need two connections, since arrow-odbc has its own. Where the database can share a snapshot both see the
same; where it cannot, each statement sees what is committed when it starts, as ODBC promises no more.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from brique.backends.faults import ABORTED, LOST, SLOW, away, refused
from brique.backends.odbc import sockets
from brique.backends.odbc.address import Address, scrubbed
from brique.backends.odbc.dialect import Dialect
from brique.backends.odbc.driver import arrow_odbc, pyodbc
from brique.backends.odbc.faults import explain, is_broken
from brique.backends.odbc.line import Line
from brique.backends.odbc.rows import TableRows, load
from brique.backends.odbc.types import LONG_BINARIES, understand
from brique.backends.protocol import BATCH_ROWS
from brique.backends.watchdog import Watchdog
from brique.errors import BackendAway, BackendRefused
from brique.schema import Kind, TableSpec, Value

log = logging.getLogger(__name__)
BATCH_BYTES_MAX = 64 * 2**20
"""Of the driver's buffers for one batch: they are as wide as the widest value may be."""
BULK_OCTETS_MAX = 16_000
"""A column with a longer text is read row by row."""
TOO_LARGE = "{table} holds a value of {size} bytes in {columns}; at most {limit} are read."


class BulkLine:
    """The connection of arrow-odbc. It cannot cancel: what is not over in time has its sockets cut."""

    def __init__(self, backend: str, connection_string: str, *, port: int | None, watchdog: Watchdog,
                 connect_timeout: float, secrets: tuple[str, ...]) -> None:  # fmt: skip
        self.backend = backend
        self.is_open = False
        self._connection_string = connection_string
        self._port = port
        self._watchdog = watchdog
        self._connect_timeout = connect_timeout
        self._secrets = secrets
        self._connection: Any = None
        self._sockets: list[Any] = []
        self._cut = ""
        self._is_called = False

    def open(self) -> None:
        """Raises BackendAway."""
        module = arrow_odbc()
        assert module is not None, "asked for by `BulkReader` only where it is there"
        made: list[Any] = []
        opened: list[Any] = []
        faults: list[str] = []

        def connect() -> None:
            with sockets.CONNECTING:
                before = sockets.open_sockets()
                try:
                    seconds = max(1, int(self._connect_timeout + 0.999))
                    made.append(module.connect(self._connection_string, login_timeout_sec=seconds, autocommit=False))
                    opened.extend(sockets.copies(before, self._port))
                except module.Error as fault:
                    faults.append(str(fault))

        thread = threading.Thread(target=connect, name="odbc-connect", daemon=True)
        thread.start()
        thread.join(self._connect_timeout)
        if not made:
            reason = scrubbed(faults[0], self._secrets) if faults else "no connection in time"
            raise away(LOST, backend=self.backend, reason=" ".join(reason.split()))
        self._connection, self._sockets, self._cut, self.is_open = made[0], opened, "", True

    def run(self, seconds: float, work: Any) -> Any:
        """`work(connection)`, within `seconds`. Raises BackendAway, BackendRefused."""
        module = arrow_odbc()
        assert module is not None
        self._is_called, self._cut = True, ""
        try:
            with self._watchdog.call(seconds, lambda: self._end(SLOW)):
                done = work(self._connection)
        except module.Error as fault:
            raise self._told(str(fault), seconds) from None
        finally:
            self._is_called = False
        if self._cut:
            raise away(self._cut, backend=self.backend, seconds=seconds)
        return done

    def _told(self, said: str, seconds: float) -> Exception:
        said = scrubbed(said, self._secrets)
        if self._cut:
            return away(self._cut, backend=self.backend, seconds=seconds)
        state, _, rest = said.partition("State: ")[2].partition(",")
        if not state:
            return _Unfit(said)  # of the reader itself: a value that does not fit its buffer or type
        message = rest.partition("Message: ")[2] or rest
        told = explain(state, message, backend=self.backend, seconds=seconds)
        told.facts["state"] = state
        if not is_broken(state) and state.startswith(("HY000", "22", "07", "HYC00")):
            return _Unfit(said)
        return told

    def _end(self, why: str) -> None:
        self._cut = self._cut or why
        sockets.cut(self._sockets)

    def abort(self) -> None:
        if self._is_called:
            self._end(ABORTED)

    def close(self) -> None:
        """Close at once, whatever goes on in it."""
        connection, self._connection, self.is_open = self._connection, None, False
        if connection is not None:
            if self._cut:
                sockets.cut(self._sockets)
            with suppress(Exception), self._watchdog.call(2.0, lambda: sockets.cut(self._sockets)):
                connection.rollback()
                del connection
        held, self._sockets = self._sockets, []
        sockets.cut(held)
        for one in held:
            one.close()


class _Unfit(Exception):
    """Rows that cannot be fetched in bulk."""


class OdbcSnapshot:
    """One read-only transaction."""

    def __init__(self, line: Line, bulk: BulkLine | None, dialect: Dialect, address: Address, *, read_timeout: float,
                 fingerprint: str | None, shared: str, by_rows: set[str]) -> None:  # fmt: skip
        self._line = line
        self._bulk = bulk
        self._dialect = dialect
        self._address = address
        self._read_timeout = read_timeout
        self._opened = line.opened
        self._shared = shared
        self._by_rows = by_rows
        self.fingerprint = fingerprint

    def mark(self, spec: TableSpec) -> str | None:
        """No way to tell that a table is as before is common to all databases."""
        return None

    def read(self, spec: TableSpec) -> Iterator[list[tuple[Value, ...]]]:
        with self._line.call(self._read_timeout, begun=self._opened) as cursor:
            rows = load(cursor, spec, self._dialect)
        widest = self._widest(rows)
        if widest is None:
            yield from self._read_rows(rows)
            return
        batches = self._read_bulk(rows, widest)
        is_first = True
        try:
            for batch in batches:
                is_first = False
                yield batch
        except _Unfit as fault:
            self._by_rows.add(spec.name)
            log.warning("%s: read row by row from now on: %s", spec.name, " ".join(str(fault).split())[:200])
            if not is_first:
                raise away(LOST, backend=self._line.backend, reason="a value does not fit; it is read again") from None
            yield from self._read_rows(rows)

    # row by row

    def _read_rows(self, rows: TableRows) -> Iterator[list[tuple[Value, ...]]]:
        self._check_large(rows)
        tell = self._line.driver.telling(rows.explained(self._line.backend, self._read_timeout))
        with self._saved(), self._line.call(self._read_timeout, begun=self._opened, explain=tell):
            cursor = self._line.connection.cursor()
            cursor.execute(rows.select)
        try:
            while True:
                with self._line.call(self._read_timeout, begun=self._opened):
                    found = cursor.fetchmany(BATCH_ROWS)
                if not found:
                    return
                yield rows.parsed(found)
        finally:
            with suppress(pyodbc().Error):
                cursor.close()

    def _saved(self) -> Any:
        return _Saved(self._line, self._dialect.profile.savepoints, self._read_timeout)

    def _check_large(self, rows: TableRows) -> None:
        """Raises BackendRefused when a large object is larger than the address allows: memory is not without end."""
        large = [c for c in rows.spec.columns if rows.actual[c.name].code in LONG_BINARIES]
        if not large or not self._dialect.profile.octets:
            return
        asked = ", ".join(f"MAX({self._dialect.profile.octets.format(cell=rows.name(column))})" for column in large)
        with self._saved(), self._line.call(self._read_timeout, begun=self._opened) as cursor:
            sizes = cursor.execute(f"SELECT {asked} FROM {rows.table}").fetchone()  # noqa: S608
        for column, size in zip(large, sizes, strict=True):
            if size is not None and size > self._address.lob_bytes_max:
                limit = self._address.lob_bytes_max
                raise refused(TOO_LARGE, table=rows.spec.source, columns=column.source, size=size, limit=limit)

    # in bulk

    def _widest(self, rows: TableRows) -> int | None:
        """Bytes of the longest text in columns without a limit; None when the table is to be read row by row."""
        from brique.backends.odbc.arrow import is_unbounded

        spec = rows.spec
        if self._bulk is None or spec.name in self._by_rows or not self._dialect.driver.bulk:
            return None
        if any(rows.actual[column.name].code in LONG_BINARIES for column in spec.columns):
            return None
        unbounded = [column for column in spec.columns if is_unbounded(rows.actual[column.name])]
        if not unbounded:
            return BULK_OCTETS_MAX
        octets = self._dialect.profile.octets
        if not octets:
            return None
        asked = ", ".join(f"MAX({octets.format(cell=self._text_of(rows, column.name))})" for column in unbounded)
        with self._saved(), self._line.call(self._read_timeout, begun=self._opened) as cursor:
            sizes = cursor.execute(f"SELECT {asked} FROM {rows.table}").fetchone()  # noqa: S608
        widest = max([size or 0 for size in sizes])
        return max(widest, 64) if widest <= BULK_OCTETS_MAX else None

    def _text_of(self, rows: TableRows, name: str) -> str:
        """A cell whose length can be asked for: PostgreSQL's arrays, JSON and others have only that of their text."""
        cell, type_ = self._dialect.quoted(rows.spec.by_name[name].source), rows.actual[name].type
        is_odd = self._dialect.profile.savepoints and type_ not in ("text", "varchar", "bpchar")
        return f"CAST({cell} AS text)" if is_odd else cell

    def _read_bulk(self, rows: TableRows, widest: int) -> Iterator[list[tuple[Value, ...]]]:
        bulk = self._bulk
        assert bulk is not None
        from brique.backends.odbc.arrow import parser

        parsers = [parser(rows.actual[column.name], column) for column in rows.spec.columns]
        self._join(bulk)
        reader = None
        try:
            reader = bulk.run(self._read_timeout, lambda connection: self._start(connection, rows, widest))
            while (batch := bulk.run(self._read_timeout, lambda _: next(reader, None))) is not None:
                for at in range(0, batch.num_rows, BATCH_ROWS):
                    part = batch.slice(at, BATCH_ROWS)
                    columns = [parse(part.column(place)) for place, parse in enumerate(parsers)]
                    yield list(zip(*columns, strict=True))
        except (_Unfit, BackendAway, BackendRefused, GeneratorExit):
            del reader
            bulk.close()
            raise

    def _join(self, bulk: BulkLine) -> None:
        """Open the connection for bulk, in this snapshot."""
        if bulk.is_open:
            return
        bulk.open()
        for statement in self._dialect.profile.join if self._shared else self._dialect.profile.snapshot:
            sql = statement.format(name=self._shared)
            bulk.run(self._read_timeout, lambda connection, sql=sql: connection.execute(sql))

    def _start(self, connection: Any, rows: TableRows, widest: int) -> Any:
        import pyarrow as pa  # type: ignore[import-untyped]

        from brique.backends.odbc.arrow import arrow_type

        module = arrow_odbc()
        assert module is not None

        def wanted(offered: pa.Schema) -> pa.Schema:
            fields = []
            for column, field in zip(rows.spec.columns, offered, strict=True):
                actual = rows.actual[column.name]
                type_ = arrow_type(actual, field.type)
                if type_ is None:
                    raise _Unfit(f"{column.source} has the type {actual.type}")
                is_text = understand(actual).kind is Kind.TIME and actual.digits
                fields.append(pa.field(field.name, pa.string() if is_text else type_))
            return pa.schema(fields)

        encoding = module.TextEncoding.UTF16 if self._dialect.driver.wide else module.TextEncoding.UTF8
        return connection.read_arrow_batches(
            rows.select,
            batch_size=BATCH_ROWS,
            max_bytes_per_batch=BATCH_BYTES_MAX,
            max_text_size=widest,
            max_binary_size=BULK_OCTETS_MAX,
            map_schema=wanted,
            fetch_concurrently=False,
            falliable_allocations=True,
            payload_text_encoding=encoding,
        )


class _Saved:
    """A statement that may fail without spoiling its transaction."""

    def __init__(self, line: Line, is_needed: bool, seconds: float) -> None:
        self._line, self._is_needed, self._seconds, self._begun = line, is_needed, seconds, line.opened

    def __enter__(self) -> None:
        if self._is_needed:
            with self._line.call(self._seconds, begun=self._begun) as cursor:
                cursor.execute("SAVEPOINT brique_read")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._is_needed and kind is not None and issubclass(kind, BackendRefused) and self._line.is_open:
            with self._line.call(self._seconds, begun=self._begun) as cursor:
                cursor.execute("ROLLBACK TO SAVEPOINT brique_read")
