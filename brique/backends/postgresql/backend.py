"""A PostgreSQL database as a backend.

Three connections: one for long reads, one for short questions, one for writing. All are in autocommit mode and every
transaction is begun by hand: on a driver's implicit transaction a later `BEGIN` only makes a savepoint, and what looks
committed is not.

The fingerprint is exact: `xmin = xmax` in `pg_current_snapshot()` means that every transaction up to that number is
over, and as long as the number is the same nobody has finished another one, in the whole server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg

from brique.backends.faults import redact, refused
from brique.backends.postgresql.catalogue import describe, qualified, run, texts
from brique.backends.postgresql.faults import BROKEN
from brique.backends.postgresql.feed import PostgresFeed, listen
from brique.backends.postgresql.line import Line, PostgresDriver
from brique.backends.postgresql.read import PostgresSnapshot
from brique.backends.postgresql.rows import DirtyLoader, Parameters, Raw, RawDumper, load
from brique.backends.postgresql.session import PostgresSession
from brique.backends.protocol import MARKER, Prepared, Rung
from brique.backends.suspects import confirm
from brique.backends.watchdog import Watchdog
from brique.errors import BackendAway, BackendRefused, BadConfiguration
from brique.schema import Catalogue, Column, Row, SourceColumn, TableSpec, Value

FETCH_KEYS = 500
"""Keys that one query asks for."""
_PRELUDE = (
    "SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'postgres'; "
    "SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL standard_conforming_strings = on; "
    "SET LOCAL statement_timeout = {statement}; SET LOCAL lock_timeout = {lock}"
)
"""What every transaction starts with: how values are written, and limits. Local, so that poolers do no harm."""
_DURABLE = "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
_NO_MARKER_RIGHT = "The account that brique uses may not write {table}."
_FINGERPRINT = (
    "SELECT {snapshot}()::text, pg_postmaster_start_time()::text, pg_is_in_recovery(), "
    "(SELECT oid::int8 FROM pg_database WHERE datname = current_database())"
)
_NOT_STEADY = """
WITH RECURSIVE seen AS (
  SELECT c.oid, c.relkind, c.relrowsecurity FROM pg_class c WHERE c.oid = ANY($1::oid[])
  UNION SELECT c.oid, c.relkind, c.relrowsecurity FROM seen s
  JOIN pg_rewrite r ON r.ev_class = s.oid AND s.relkind = 'v'
  JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
  JOIN pg_class c ON c.oid = d.refobjid)
SELECT bool_or(relkind = 'f' OR relrowsecurity), string_agg(CASE relkind WHEN 'v' THEN pg_get_viewdef(oid) END, ';')
FROM seen
"""
_FICKLE_FUNCTIONS = """
SELECT DISTINCT proname FROM pg_proc WHERE provolatile = 'v' OR (provolatile = 's' AND proname = ANY($1))
   OR (provolatile = 's' AND pronamespace <> 'pg_catalog'::regnamespace)
"""
_STABLE_BUT_MOVING = [
    "now", "transaction_timestamp", "statement_timestamp", "age", "current_setting", "current_user", "session_user",
    "current_database", "current_schema", "current_schemas", "pg_relation_size", "inet_client_addr", "pg_backend_pid",
]  # fmt: skip
_WORD = re.compile(r"[a-z_][a-z0-9_$]*(?=\s*\()")
_FICKLE_WORDS = re.compile(r"\b(CURRENT_\w+|LOCALTIME|LOCALTIMESTAMP|SESSION_USER|USER)\b")


def _check_address(name: str, url: str) -> None:
    """Raises BadConfiguration; also where a part of the password would be taken for the host, and named in faults."""
    try:
        found = psycopg.conninfo.conninfo_to_dict(url)
        hosts = f"{found.get('host', '')} {found.get('port', '')} {found.get('dbname', '')}"
        is_clear = "@" not in hosts and "#" not in url
    except psycopg.ProgrammingError:
        is_clear = False  # what the driver says may name a part of the password
    if not is_clear:
        raise BadConfiguration(
            f"{name}: {redact(url)} is not an address of PostgreSQL",
            try_this="postgresql://user:password@host:5432/database, with %40 for @, %2F for /, %23 for # "
            "and %25 for % in a password",
        )


class PostgresBackend:
    """A PostgreSQL database. Seconds: `timeout` for a call, `connect_timeout`, `read_timeout` for a batch of a read."""

    def __init__(
        self,
        name: str,
        url: str,
        *,
        timeout: float = 5.0,
        connect_timeout: float = 3.0,
        read_timeout: float = 30.0,
        marker_schema: str = "",
    ) -> None:
        _check_address(name, url)
        self.name = name
        self.timeout = timeout
        self.read_timeout = read_timeout
        self._url = url
        self._marker_schema = marker_schema
        self._watchdog = Watchdog()
        self._long, self._short, self._writing = self._lines = tuple(
            Line(
                name,
                PostgresDriver(name, url, label=f"brique {name}{use}"),
                connect_timeout=connect_timeout,
                watchdog=self._watchdog,
            )
            for use in (" refresh", "", " replay")
        )

    def prelude(self, seconds: float) -> str:
        """The settings of a transaction whose statements may take `seconds`; the server gives up before we do."""
        milliseconds = max(int(seconds * 900), 1)
        return _PRELUDE.format(statement=milliseconds, lock=max(min(int(self.timeout * 700), milliseconds), 1))

    @contextmanager
    def _transaction(self, line: Line, begin: str, seconds: float) -> Iterator[psycopg.Connection[Any]]:
        """A short transaction within one call."""
        with line.held(), line.call(seconds) as connection:
            start(connection, f"{begin}; {self.prelude(seconds)}")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if not connection.closed and not connection.broken:
                    connection.execute("ROLLBACK")
                raise

    def _asking(self) -> Any:
        return self._transaction(self._short, "BEGIN READ ONLY", self.timeout)

    def ping(self, timeout: float) -> None:
        with self._short.held(), self._short.call(timeout) as connection:
            connection.execute("SELECT 1")

    def catalogue(self) -> Catalogue:
        begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        with self._transaction(self._long, begin, self.read_timeout) as connection:
            tables = describe(connection)
        types = {(t.schema, t.name, c.name): c for t in tables for c in t.columns}
        return confirm(Catalogue(tuple(tables)), partial(self._holds, types))

    def _holds(
        self,
        types: dict[tuple[str, str, str], SourceColumn],
        table: str,
        schema: str,
        column: str,
        values: Sequence[Value],
    ) -> bool:
        """Whether every one of `values` stands in that column."""
        kind = types[schema, table, column]
        spec = TableSpec(table, table, self.name, table, (), source_schema=schema)
        with self._asking() as connection:
            asked = Column(column, column, kind.kind, column, scale=kind.scale)
            rows = load(connection, spec.changed(columns=(asked,), key=(column,)))
            for value in values:
                parameters = Parameters()
                where = rows.where(parameters, (value,))
                sql = f"SELECT 1 FROM {rows.table} WHERE {where} LIMIT 1"  # noqa: S608
                if not texts(run(connection, sql, parameters.values)):
                    return False
        return True

    def fingerprint(self, tables: Sequence[TableSpec]) -> str | None:
        with self._asking() as connection:
            if not _are_steady(connection, [spec for spec in tables if spec.is_view or not spec.key]):
                return None
            return fingerprint_of(connection)

    @contextmanager
    def snapshot(self) -> Iterator[PostgresSnapshot]:
        with self._long.held():
            with self._long.call(self.timeout) as connection:
                begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
                start(connection, f"{begin}; {self.prelude(self.timeout)}")
                mark = fingerprint_of(connection)
                connection.execute("SET LOCAL statement_timeout = 0")
            opened = self._long.opened
            try:
                yield PostgresSnapshot(self._long, self.read_timeout, mark)
            finally:
                self._long.leave(self.timeout, opened, _undo)

    def fetch(self, spec: TableSpec, keys: Sequence[str]) -> dict[str, Row]:
        found: dict[str, Row] = {}
        with self._asking() as connection:
            rows = load(connection, spec)
            for start_at in range(0, len(keys), FETCH_KEYS):
                parameters = Parameters()
                wheres = [
                    rows.where(parameters, spec.key_values(key)) for key in keys[start_at : start_at + FETCH_KEYS]
                ]
                sql = f"{rows.select} WHERE ({') OR ('.join(wheres)})"
                for values in rows.parsed(texts(run(connection, sql, parameters.values))):
                    row = dict(zip(spec.names, values, strict=True))
                    found[spec.key_of(row)] = row
        return {key: found[key] for key in keys if key in found}

    @contextmanager
    def session(self) -> Iterator[PostgresSession]:
        line = self._writing
        with line.held():
            with line.call(self.timeout) as connection:
                begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
                start(connection, f"{begin}; {self.prelude(self.timeout)}; {_DURABLE}")
            opened = line.opened
            try:
                yield PostgresSession(line, self.timeout, self._marker(), opened)
                self._commit(line, opened)
            finally:
                line.leave(self.timeout, opened, _undo)

    def _commit(self, line: Line, opened: int) -> None:
        """Commit; a fault that leaves open whether it happened carries `at_commit=True`."""
        sent = False
        try:
            with line.call(self.timeout, begun=opened) as connection:
                sent = True
                said = connection.execute("COMMIT").statusmessage
        except BackendAway as fault:
            if not sent:
                raise
            cause = fault.__cause__
            code = cause.sqlstate if isinstance(cause, psycopg.Error) else None
            if code is None or code.startswith((*BROKEN, "57", "58", "XX")):
                fault.facts["at_commit"] = True
            raise
        if said != "COMMIT":
            raise refused("The database undid the transaction: an earlier statement in it had failed.")

    def _marker(self) -> str:
        return qualified(self._marker_schema, MARKER)

    def watermark(self, stream: str) -> int | None:
        with self._asking() as connection:
            found = texts(run(connection, "SELECT to_regclass($1)", (Raw(self._marker().encode()),)))
            if found[0][0] is None:
                return None
            sql = f"SELECT position FROM {self._marker()} WHERE stream = $1"  # noqa: S608
            rows = texts(run(connection, sql, (Raw(stream.encode()),)))
            return int(rows[0][0] or 0) if rows else 0

    def prepare(self, marker: bool) -> Prepared:
        if not marker:
            return Prepared(Rung.COMPARE, "The marker table is not allowed in this database.")
        try:
            with self._transaction(self._writing, "BEGIN READ WRITE", self.timeout) as connection:
                name = Raw(self._marker().encode())
                if texts(run(connection, "SELECT to_regclass($1)", (name,)))[0][0] is None:
                    run(
                        connection, f"CREATE TABLE {self._marker()} (stream text PRIMARY KEY, position bigint NOT NULL)"
                    )
                # proves that it has these columns and that the account may read and write them
                run(connection, f"SELECT stream, position FROM {self._marker()} LIMIT 1")  # noqa: S608
                may = texts(
                    run(
                        connection,
                        "SELECT has_table_privilege($1::text, 'INSERT') AND has_table_privilege($1::text, 'UPDATE')",
                        (name,),
                    )
                )
        except BackendRefused as fault:
            return Prepared(Rung.COMPARE, fault.message)
        except BackendAway as fault:
            if getattr(fault.__cause__, "sqlstate", None) == "25006":
                return Prepared(Rung.COMPARE, fault.message)
            raise
        if may[0][0] != "t":
            return Prepared(Rung.COMPARE, _NO_MARKER_RIGHT.format(table=self._marker()))
        return Prepared(Rung.WATERMARK)

    def feed(self, tables: Sequence[TableSpec]) -> PostgresFeed:
        """See `backends.feed`: makes the function `brique_tell` and triggers that call it."""
        driver = PostgresDriver(self.name, self._url, label=f"brique {self.name} feed")
        try:
            wire = driver.connect(self.timeout)
            return listen(wire, tables, self._marker_schema, seconds=self.timeout)
        except psycopg.Error as fault:
            raise driver.explain(fault, self.timeout, opening=True) from fault

    def abort(self) -> None:
        for line in self._lines:
            line.abort()

    def close(self) -> None:
        for line in self._lines:
            line.close()
        self._watchdog.stop()


def start(connection: psycopg.Connection[Any], statements: str) -> None:
    """Begin a transaction by `statements`, in one round trip, on a connection made ready at its first use."""
    if connection.cursor_factory is not psycopg.RawCursor:
        connection.cursor_factory = psycopg.RawCursor
        connection.adapters.register_dumper(Raw, RawDumper)
        if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
            connection.execute("SET client_encoding TO 'SQL_ASCII'")
            for name in ("text", "name", "varchar", "bpchar", '"char"'):
                connection.adapters.register_loader(name, DirtyLoader)
    if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
        connection.execute("ROLLBACK")
    run(connection, statements)


def _undo(connection: psycopg.Connection[Any]) -> None:
    if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
        connection.execute("ROLLBACK")


def fingerprint_of(connection: psycopg.Connection[Any]) -> str | None:
    """The number below which every transaction is over, when none is in progress; and which server said so."""
    function = "pg_current_snapshot" if connection.info.server_version >= 130000 else "txid_current_snapshot"
    snapshot, *server = texts(run(connection, _FINGERPRINT.format(snapshot=function)))[0]
    xmin, xmax, _ = str(snapshot).split(":")
    return ":".join([xmin, *map(str, server)]) if xmin == xmax else None


def _are_steady(connection: psycopg.Connection[Any], specs: Sequence[TableSpec]) -> bool:
    """Whether these tables and views change by transactions of this server only, and not with the clock."""
    if not specs:
        return True
    names = [Raw(qualified(spec.source_schema, spec.source).encode()) for spec in specs]
    oids = [texts(run(connection, "SELECT to_regclass($1)::oid::int8", (name,)))[0][0] for name in names]
    known = [int(oid) for oid in oids if oid is not None]
    outside, definitions = texts(run(connection, _NOT_STEADY, (known,)))[0]
    if outside == "t":
        return False
    if not definitions:
        return True
    if _FICKLE_WORDS.search(definitions):
        return False
    fickle = {row[0] for row in texts(run(connection, _FICKLE_FUNCTIONS, (_STABLE_BUT_MOVING,)))}
    return not fickle & set(_WORD.findall(definitions))
