"""A MariaDB or MySQL database as a backend.

Three connections: one for long reads, one for short questions, one for writing. All are in autocommit mode and every
transaction is begun by hand.

The fingerprint is the number that InnoDB's log has reached. Whatever InnoDB writes moves it, so that the same number
twice means that nothing was committed in between. A transaction moves it a moment before others can see its rows; but
what it leaves to be tidied away moves it once more afterwards, so that such a change is told at the next look.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pymysql

from brique.backends.faults import refused
from brique.backends.mysql.address import parse
from brique.backends.mysql.catalogue import describe, of, qualified, tables_of
from brique.backends.mysql.faults import DEADLOCK, NO_TABLE, READ_ONLY, explain, number_of
from brique.backends.mysql.line import Connected, Line, MysqlDriver
from brique.backends.mysql.read import MysqlSnapshot
from brique.backends.mysql.rows import load
from brique.backends.mysql.session import UNDONE, MysqlSession
from brique.backends.mysql.types import quote
from brique.backends.protocol import MARKER, Abilities, Prepared, Rung
from brique.backends.suspects import confirm
from brique.backends.watchdog import Watchdog
from brique.errors import BackendAway, BackendRefused
from brique.schema import Catalogue, Column, Row, SourceColumn, TableSpec, Value

FETCH_KEYS = 500
"""Keys that one query asks for."""
NO_TRANSACTIONS = "The table {table} knows no transactions (its engine is {engine})."
NOT_ALLOWED = "The marker table is not allowed in this database."
NO_MARKER_RIGHT = "The account that brique uses may not write {table}."
NO_DATABASE = "The address names no database in which the marker table could be."
_MADE = (
    "CREATE TABLE IF NOT EXISTS {table} (stream VARCHAR(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY, "
    "position BIGINT NOT NULL) ENGINE = InnoDB"
)
_FINGERPRINT = (
    "SELECT GROUP_CONCAT(CASE UPPER(VARIABLE_NAME) WHEN 'UPTIME' THEN UNIX_TIMESTAMP() - VARIABLE_VALUE "
    "ELSE VARIABLE_VALUE END ORDER BY VARIABLE_NAME SEPARATOR ':'), COUNT(*) FROM {schema}.global_status "
    "WHERE UPPER(VARIABLE_NAME) IN ('INNODB_LSN_CURRENT', 'INNODB_REDO_LOG_CURRENT_LSN', 'UPTIME')"
)
_KINDS = """
SELECT t.TABLE_SCHEMA, t.TABLE_NAME, COALESCE(t.ENGINE, ''), COALESCE(v.VIEW_DEFINITION, '')
FROM information_schema.TABLES t LEFT JOIN information_schema.VIEWS v
  ON v.TABLE_SCHEMA = t.TABLE_SCHEMA AND v.TABLE_NAME = t.TABLE_NAME
WHERE {schema}
"""
_FICKLE = re.compile(
    r"(?i)\b(now|current_\w+|curdate|curtime|localtime\w*|sysdate|utc_\w+|unix_timestamp|rand|uuid\w*|user|"
    r"session_user|system_user|connection_id|last_insert_id|found_rows|row_count|get_lock|is_free_lock|is_used_lock|"
    r"sleep|load_file|nextval|lastval|setval|sys_guid|random_bytes)\s*\(|`\s*\(|@"
)
"""Functions whose answer changes by itself, variables, and functions that somebody wrote."""


class MysqlBackend:
    """A MariaDB or MySQL database. Seconds: `timeout` for a call, `connect_timeout`, `read_timeout` for a batch of a
    read. `marker_schema`: the database in which the marker table may be made (empty: that of the address)."""

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
        self.name = name
        self.timeout = timeout
        self.read_timeout = read_timeout
        self._address = address = parse(name, url)
        self._marker_schema = marker_schema
        self._watchdog = Watchdog()
        self._long, self._short, self._writing = self._lines = tuple(
            Line(
                name,
                MysqlDriver(name, address, lock_timeout=timeout * 0.7, label=f"brique {name}{use}"),
                connect_timeout=connect_timeout,
                watchdog=self._watchdog,
            )
            for use in (" refresh", "", " replay")
        )
        self._is_guarded = False
        self._slow: Counter[str] = Counter()

    @contextmanager
    def _asking(self) -> Iterator[Connected]:
        """A question within one call, in a transaction that only reads."""
        with self._short.held(), self._short.call(self.timeout) as connection:
            connection.one(f"ROLLBACK; {connection.server.limit(self.timeout * 0.9)}; START TRANSACTION READ ONLY")
            try:
                yield connection
            finally:
                if connection.driver.open:
                    connection.one("ROLLBACK")

    def ping(self, timeout: float) -> None:
        with self._short.held(), self._short.call(timeout) as connection:
            connection.one("SELECT 1")

    # reading

    def catalogue(self) -> Catalogue:
        with self._long.held(), self._long.call(self.read_timeout) as connection:
            tables = describe(connection, self._address.database)
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
        asked = Column(column, column, kind.kind, column, scale=kind.scale)
        spec = TableSpec(table, table, self.name, table, (asked,), key=(column,), source_schema=schema)
        with self._asking() as connection:
            rows = load(connection, spec)
            return all(
                connection.one(f"SELECT 1 FROM {rows.table} WHERE {rows.where((value,))} LIMIT 1").rows  # noqa: S608
                for value in values
            )

    def fingerprint(self, tables: Sequence[TableSpec]) -> str | None:
        with self._asking() as connection:
            steady = _steady(connection, self._address.database)
            if not all(_place(spec) in steady for spec in tables):
                return None
            return _fingerprint_of(connection)

    @contextmanager
    def snapshot(self) -> Iterator[MysqlSnapshot]:
        with self._long.held():
            with self._long.call(self.timeout) as connection:
                connection.one(f"ROLLBACK; {connection.server.limit(0)}")
                steady = _steady(connection, self._address.database)
                # before the snapshot: what is committed in between is shown, and told to have changed
                mark = _fingerprint_of(connection)
                connection.one(
                    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ; "
                    "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
                )
                snapshot = MysqlSnapshot(self._long, self.read_timeout, mark, steady, self._slow)
            opened = self._long.opened
            try:
                yield snapshot
            finally:
                self._long.leave(self.timeout, opened, lambda connection: connection.one("ROLLBACK"))

    def fetch(self, spec: TableSpec, keys: Sequence[str]) -> dict[str, Row]:
        found: dict[str, Row] = {}
        with self._asking() as connection:
            rows = load(connection, spec)
            for start_at in range(0, len(keys), FETCH_KEYS):
                part = keys[start_at : start_at + FETCH_KEYS]
                wheres = [rows.where(spec.key_values(key), "t.") for key in part]
                answer = connection.one(f"{rows.select} WHERE ({') OR ('.join(wheres)})")
                for values in rows.parsed(answer.rows):
                    row = dict(zip(spec.names, values, strict=True))
                    found[spec.key_of(row)] = row
        return {key: found[key] for key in keys if key in found}

    # writing

    @contextmanager
    def session(self) -> Iterator[MysqlSession]:
        line = self._writing
        with line.held():
            with line.call(self.timeout) as connection:
                self._begin(connection)
            opened = line.opened
            session = MysqlSession(line, self.timeout, self._marker(), opened, is_guarded=self._is_guarded)
            try:
                yield session
                if session.has_failed and line.is_still(opened):
                    raise refused(UNDONE)
                self._commit(line, opened)
            finally:
                line.leave(self.timeout, opened, self._undo)

    def _begin(self, connection: Connected) -> None:
        level = "REPEATABLE READ" if connection.server.by_statement else "READ COMMITTED"
        begin = f"XA START {self._xa(connection)}" if self._is_guarded else "START TRANSACTION READ WRITE"
        connection.one(
            f"ROLLBACK; {connection.server.limit(self.timeout * 0.9)}; "
            f"SET SESSION TRANSACTION ISOLATION LEVEL {level}; {begin}"
        )

    def _xa(self, connection: Connected) -> str:
        """The name of a guarded transaction: one at a time is open on a connection, of which the server tells the
        number."""
        return f"'brique', '{connection.number}-{id(self):x}', 1"

    def _commit(self, line: Line, opened: int) -> None:
        """Commit; a fault that leaves open whether it happened carries `at_commit=True`."""
        sent = False
        try:
            with line.call(self.timeout, begun=opened) as connection:
                name, sent = self._xa(connection), True
                connection.one(f"XA END {name}; XA COMMIT {name} ONE PHASE" if self._is_guarded else "COMMIT")
        except BackendAway as fault:
            if sent and number_of(fault.__cause__) not in (DEADLOCK, *READ_ONLY):
                fault.facts["at_commit"] = True
            raise

    def _undo(self, connection: Connected) -> None:
        if not self._is_guarded:
            connection.one("ROLLBACK")
            return
        for statement in ("XA END", "XA ROLLBACK"):
            try:
                connection.one(f"{statement} {self._xa(connection)}")
            except pymysql.err.MySQLError as fault:
                if not isinstance(explain(fault, backend=self.name, seconds=self.timeout), BackendRefused):
                    raise
                # a guarded one that is over, or was ended before

    # the marker

    def _marker(self) -> str:
        return qualified(self._marker_schema, MARKER)

    def watermark(self, stream: str) -> int | None:
        if not (self._marker_schema or self._address.database):
            return None
        with self._asking() as connection:
            try:
                rows = connection.rows(f"SELECT position FROM {self._marker()} WHERE stream = {quote(stream)}")  # noqa: S608
            except pymysql.err.MySQLError as fault:
                if number_of(fault) in (*NO_TABLE, 1142):  # 1142: a table that the account may not even see
                    return None
                raise
            return int(rows[0][0] or 0) if rows else 0

    def prepare(self, marker: bool) -> Prepared:
        with self._writing.held():
            abilities, lame = self._abilities()
            self._is_guarded = self._may_guard()
        if lame is not None:
            return Prepared(Rung.COMPARE, NO_TRANSACTIONS.format(table=lame[0], engine=lame[1]), abilities)
        if not marker:
            return Prepared(Rung.COMPARE, NOT_ALLOWED, abilities)
        if not (self._marker_schema or self._address.database):
            return Prepared(Rung.COMPARE, NO_DATABASE, abilities)
        try:
            reason = self._make_marker()
        except BackendRefused as fault:
            reason = fault.message
        except BackendAway as fault:
            if number_of(fault.__cause__) not in READ_ONLY:
                raise
            reason = fault.message
        if reason:
            return Prepared(Rung.COMPARE, reason, Abilities(**{**_fields(abilities), "marker": False}))
        return Prepared(Rung.WATERMARK, "", abilities)

    def _abilities(self) -> tuple[Abilities, tuple[str, str] | None]:
        """What the database can do; and a table that may be written and knows no transactions, with its engine."""
        with self._writing.call(self.timeout) as connection:
            [(flushed,)] = connection.rows("SELECT @@global.innodb_flush_log_at_trx_commit")
            tables = tables_of(connection, self._address.database)
        lame = [t for t in tables if not (t.is_view or t.is_transactional) and t.may_write]
        first = (lame[0].name, lame[0].engine) if lame else None
        return Abilities(transactions=not lame, marker=not lame, flushed=flushed == "1"), first

    def _may_guard(self) -> bool:
        """Whether there are procedures that could end a transaction, and the server has the means against it."""
        with self._writing.call(self.timeout) as connection:
            [(count,)] = connection.rows(
                "SELECT COUNT(*) FROM information_schema.ROUTINES WHERE ROUTINE_TYPE = 'PROCEDURE' "
                "AND ROUTINE_SCHEMA NOT IN ('mysql', 'sys')"
            )
            if count == "0":
                return False
            name = self._xa(connection)
            try:
                connection.one(f"ROLLBACK; XA START {name}; XA END {name}; XA ROLLBACK {name}")
            except pymysql.err.MySQLError as fault:
                if number_of(fault) in (0, *range(2000, 3000)):
                    raise
                self._writing.drop()
                return False
        return True

    def _make_marker(self) -> str:
        """Make the marker table where it is missing; why it cannot be used ("" when it can)."""
        table = self._marker()
        schema = quote(self._marker_schema) if self._marker_schema else "DATABASE()"
        place = f"TABLE_SCHEMA = {schema} AND TABLE_NAME = '{MARKER}'"
        with self._writing.held(), self._writing.call(self.timeout) as connection:
            asked = f"SELECT ENGINE FROM information_schema.TABLES WHERE {place}"  # noqa: S608
            found = connection.rows(asked)
            if not found:
                connection.one(_MADE.format(table=table))
                found = connection.rows(asked)
            # proves that it has these columns and that the account may read them
            connection.rows(f"SELECT stream, position FROM {table} LIMIT 1")  # noqa: S608
            rights = connection.rows(f"SELECT PRIVILEGES FROM information_schema.COLUMNS WHERE {place}")  # noqa: S608
            [(is_known,)] = connection.rows(
                f"SELECT COUNT(*) FROM information_schema.ENGINES WHERE ENGINE = {quote(str(found[0][0]))} "  # noqa: S608
                "AND TRANSACTIONS = 'YES'"
            )
        if not all("insert" in str(right) and "update" in str(right) for (right,) in rights):
            return NO_MARKER_RIGHT.format(table=MARKER)
        return "" if is_known == "1" else NO_TRANSACTIONS.format(table=MARKER, engine=found[0][0])

    def abort(self) -> None:
        for line in self._lines:
            line.abort()

    def close(self) -> None:
        for line in self._lines:
            line.close()
        self._watchdog.stop()


def _fields(abilities: Abilities) -> dict[str, Any]:
    return {name: getattr(abilities, name) for name in abilities.__dataclass_fields__}


def _place(spec: TableSpec) -> str:
    return f"{spec.source_schema}.{spec.source}".lower()


def _steady(connection: Connected, database: str) -> frozenset[str]:
    """Those tables and views (`schema.name`, in small letters) whose rows change by transactions of InnoDB only, and
    not with the clock."""
    rows = connection.rows(_KINDS.format(schema=of(database, "t.TABLE_SCHEMA")))
    steady = {f"{schema}.{name}".lower() for schema, name, engine, _ in rows if engine == "InnoDB"}
    views = {f"{schema}.{name}".lower(): str(text).lower() for schema, name, _, text in rows if text}
    views = {place: text for place, text in views.items() if not _FICKLE.search(text)}
    while more := {place for place, text in views.items() if place not in steady and _sources(text) <= steady}:
        steady |= more
    mine = database.lower()
    return frozenset(place[len(mine) :] if mine and place.startswith(f"{mine}.") else place for place in steady)


def _sources(definition: str) -> set[str]:
    """The tables that a view reads, as its definition names them after FROM and JOIN; what cannot be read so is a
    name that no table has."""
    found = re.findall(r"(?:\bfrom|\bjoin|,)\s*\(*\s*`([^`]+)`\.`([^`]+)`(?!\.)", definition)
    return {f"{schema}.{name}" for schema, name in found} or {"?"}


def _fingerprint_of(connection: Connected) -> str | None:
    """How far InnoDB's log has come, and since when this server runs; None where the account may not know."""
    schema = "information_schema" if connection.server.is_mariadb else "performance_schema"
    try:
        [(found, count)] = connection.rows(_FINGERPRINT.format(schema=schema))
    except pymysql.err.MySQLError as fault:
        if number_of(fault) in (0, *range(2000, 3000)):
            raise
        return None
    return found if count == "2" else None
