"""A database behind an ODBC driver as a backend.

Three connections: one for long reads, one for short questions, one for writing; and one of arrow-odbc's own while a
table is read in bulk. All without autocommit: what was asked is rolled back, what was changed is committed by hand.

What the driver and the database can do is found out by asking (`SQLGetInfo`), by the profile of their family, and by
trying (row counts); it decides the rung of the ladder.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from brique.backends.odbc import db2i
from brique.backends.odbc.address import parse
from brique.backends.odbc.catalogue import asked, columns_of, describe
from brique.backends.odbc.dialect import Dialect
from brique.backends.odbc.driver import arrow_odbc, driver_text, facts_of, pyodbc
from brique.backends.odbc.faults import NOT_JOURNALED
from brique.backends.odbc.line import Line, OdbcDriver
from brique.backends.odbc.profile import GENERIC, PROFILES, SQLITE, for_database, for_driver
from brique.backends.odbc.read import BulkLine, OdbcSnapshot
from brique.backends.odbc.rows import load
from brique.backends.odbc.session import OdbcSession
from brique.backends.protocol import MARKER, Abilities, Prepared, Rung
from brique.backends.suspects import confirm
from brique.backends.watchdog import Watchdog
from brique.errors import BackendAway, BackendRefused, MissingExtra
from brique.schema import Catalogue, Column, Row, SourceColumn, TableSpec, Value

FETCH_KEYS = 100
"""Keys that one query asks for: some drivers bind a few hundred parameters at most."""
NOT_ALLOWED = "The marker table is not allowed in this database."
NO_TRANSACTIONS = "This driver has no transactions: each change is done when it is sent."
NOT_COUNTED = "The driver does not say how many rows a change has changed."
_COMMITTED_UNKNOWN = ("08", "40003", "HY", "57", "58", "XX", "S1", "01002")
_STEADY_FUNCTIONS = re.compile(
    r"(?i)\b(coalesce|nullif|upper|lower|trim|btrim|ltrim|rtrim|sum|count|min|max|avg|abs|round|length|substring|substr"
    r"|replace|concat|cast|extract|date_part|and|or|in|from|select|on|where|as|exists|any|all|not|over|join|numeric"
    r"|varchar|char|decimal)\s*\("
)
_MOVING_WORDS = re.compile(r"(?i)\b(current_\w+|localtime\w*|now|session_user|user|random|sysdate|getdate)\b")


class OdbcBackend:
    """A database with an ODBC driver. Seconds: `timeout` for a call, `connect_timeout`, `read_timeout` for a batch."""

    def __init__(
        self,
        name: str,
        url: str,
        *,
        timeout: float = 5.0,
        connect_timeout: float = 3.0,
        read_timeout: float = 30.0,
        marker_schema: str = "",
        tables: Sequence[TableSpec] = (),
    ) -> None:
        self.name = name
        self.timeout = timeout
        self.read_timeout = read_timeout
        self._address = parse(name, url)
        self._driver = for_driver(driver_text(self._address.given))
        self._marker_schema = marker_schema
        self._watchdog = Watchdog()
        self._dialect: Dialect | None = None
        self._abilities: Abilities | None = None
        self._by_rows: set[str] = set()
        self._known = {(spec.source_schema, spec.source): spec.source for spec in tables if not spec.is_view}
        text = self._address.connection_string(self._driver)
        port, secrets = self._address.port, self._address.secrets
        driver = OdbcDriver(name, text, port=port, secrets=secrets, prepare=self._learn)
        self._long, self._short, self._writing = self._lines = tuple(
            Line(name, driver, connect_timeout=connect_timeout, watchdog=self._watchdog) for _ in range(3)
        )
        self._nonce = uuid.uuid4().hex
        self._bulk = partial(
            BulkLine,
            name,
            text,
            port=port,
            watchdog=self._watchdog,
            connect_timeout=connect_timeout,
            secrets=secrets,
        )
        self._reading: BulkLine | None = None

    # what it is

    def _learn(self, connection: Any) -> None:
        """On each new connection: how text travels; on the first: what this is."""
        if self._dialect is None:
            facts = facts_of(connection)
            by_database = for_database(facts.database)
            profile = PROFILES[self._address.profile] if self._address.profile else by_database
            driver = self._driver if self._driver is not GENERIC else by_database
            if profile.is_db2i and not driver.is_db2i:  # lent to another database: its SQL is the database's own
                profile = replace(profile, lock="", new_key=driver.new_key, savepoints=driver.savepoints,
                                  snapshot=driver.snapshot, share=driver.share, join=driver.join, cast=driver.cast,
                                  types_plain=driver.types_plain, marker_type=driver.marker_type,
                                  octets=driver.octets)  # fmt: skip
            self._dialect = Dialect(profile, driver, facts)

    def _spoken(self, line: Line) -> Dialect:
        """The dialect, once `line` is connected."""
        if self._dialect is None:
            with line.call(self.timeout):
                pass
        assert self._dialect is not None
        return self._dialect

    @contextmanager
    def _asking(self, line: Line | None = None, seconds: float = 0.0) -> Iterator[Any]:
        """A cursor for questions; nothing of what it did stays."""
        line = line or self._short
        with line.held(), line.call(seconds or self.timeout) as cursor:
            try:
                yield cursor
            finally:
                if line.is_open:
                    with suppress(pyodbc().Error):
                        line.connection.rollback()

    def ping(self, timeout: float) -> None:
        with self._short.held(), self._short.call(timeout) as cursor:
            dialect = self._dialect
            if dialect is not None and dialect.profile.is_db2i and dialect.driver.is_db2i:
                cursor.execute("VALUES 1").fetchall()
            elif dialect is not None and dialect.profile.name == "db2":
                cursor.execute("SELECT 1 FROM SYSIBM.SYSDUMMY1").fetchall()
            elif dialect is not None and dialect.profile is not GENERIC:
                cursor.execute("SELECT 1").fetchall()
            else:
                cursor.tables(table="brique_ping").fetchall()
            self._short.connection.rollback()

    def catalogue(self) -> Catalogue:
        dialect = self._spoken(self._long)
        with self._asking(self._long, self.read_timeout):
            tables = describe(self._long.connection, dialect, self._address)
        self._known.update({(t.schema, t.name): t.name for t in tables if not t.is_view})
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
        asked_for = Column(column, column, kind.kind, column, scale=kind.scale)
        spec = TableSpec(table, table, self.name, table, (asked_for,), key=(column,), source_schema=schema)
        dialect = self._spoken(self._short)
        with self._asking() as cursor:
            rows = load(cursor, spec, dialect)
            for value in values:
                parameters: list[Any] = []
                sql = f"{rows.select} WHERE {rows.where(parameters, (value,))}"
                if not cursor.execute(dialect.first(sql, 1), *parameters).fetchall():
                    return False
        return True

    # reading

    def fingerprint(self, tables: Sequence[TableSpec]) -> str | None:
        dialect = self._spoken(self._short)
        for spec in tables:
            if not spec.is_view:
                self._known[spec.source_schema, spec.source] = spec.source
        if dialect.driver is SQLITE:
            return self._sqlite_fingerprint(tables)
        if not dialect.profile.fingerprint:
            return None
        with self._asking() as cursor:
            for spec in tables:
                if spec.is_view and not self._is_steady(cursor, dialect, spec):
                    return None
            found = cursor.execute(dialect.profile.fingerprint).fetchone()[0]
        return None if found is None else str(found)

    def _sqlite_fingerprint(self, tables: Sequence[TableSpec]) -> str | None:
        """Which change another connection has made last, as this connection counts them."""
        with self._asking() as cursor:
            for spec in tables:
                if spec.is_view:
                    sql = "SELECT sql FROM sqlite_master WHERE name = ?"
                    found = cursor.execute(sql, spec.source).fetchone()
                    if found is None or not _reads_only_tables(str(found[0])):
                        return None
            version = cursor.execute("PRAGMA data_version").fetchone()[0]
        return f"{self._nonce}:{self._short.opened}:{version}"

    @staticmethod
    def _is_steady(cursor: Any, dialect: Dialect, spec: TableSpec) -> bool:
        """Whether a view changes with the tables only: it uses no function that is not known to."""
        name = dialect.qualified(spec.source_schema, spec.source)
        found = cursor.execute(dialect.profile.view_text, name).fetchone()
        return found is not None and found[0] is not None and _reads_only_tables(str(found[0]))

    @contextmanager
    def snapshot(self) -> Iterator[OdbcSnapshot]:
        dialect = self._spoken(self._long)
        mark = self.fingerprint([])  # before the snapshot begins: it may say less than the snapshot shows, never more
        with self._long.held():
            shared = ""
            with self._long.call(self.timeout) as cursor:
                self._long.connection.rollback()
                for statement in dialect.profile.snapshot:
                    cursor.execute(statement)
                if dialect.profile.share:
                    shared = str(cursor.execute(dialect.profile.share).fetchone()[0])
            opened = self._long.opened
            bulk = self._bulk() if dialect.driver.bulk and arrow_odbc() is not None else None
            self._reading = bulk
            try:
                yield OdbcSnapshot(
                    self._long, bulk, dialect, self._address, read_timeout=self.read_timeout, fingerprint=mark,
                    shared=shared, by_rows=self._by_rows,
                )  # fmt: skip
            finally:
                self._reading = None
                if bulk is not None:
                    bulk.close()
                self._long.leave(self.timeout, opened, _undo)

    def fetch(self, spec: TableSpec, keys: Sequence[str]) -> dict[str, Row]:
        found: dict[str, Row] = {}
        dialect = self._spoken(self._short)
        with self._asking() as cursor:
            rows = load(cursor, spec, dialect)
            for start in range(0, len(keys), FETCH_KEYS):
                parameters: list[Any] = []
                wheres = [rows.where(parameters, spec.key_values(key)) for key in keys[start : start + FETCH_KEYS]]
                sql = f"{rows.select} WHERE ({') OR ('.join(wheres)})"
                for values in rows.parsed(cursor.execute(sql, *parameters).fetchall()):
                    row = dict(zip(spec.names, values, strict=True))
                    found[spec.key_of(row)] = row
        return {key: found[key] for key in keys if key in found}

    # writing

    @contextmanager
    def session(self) -> Iterator[OdbcSession]:
        line = self._writing
        dialect = self._spoken(line)
        abilities = self._abilities or Abilities(transactions=self._is_transactional(dialect))
        with line.held():
            with line.call(self.timeout):
                line.connection.rollback()
                line.connection.autocommit = not abilities.transactions
            opened = line.opened
            try:
                counts = abilities.counts and dialect.profile.counts
                session = OdbcSession(line, dialect, self.timeout, self._marker(dialect), opened, counts=counts)
                yield session
                if session.refusal is not None:
                    raise session.refusal
                if abilities.transactions:
                    self._commit(line, session, opened)
            finally:
                line.leave(self.timeout, opened, _undo)

    def _commit(self, line: Line, session: OdbcSession, opened: int) -> None:
        """Commit; a fault that leaves open whether it happened carries `at_commit=True`."""
        session.check()
        try:
            with line.call(self.timeout, begun=opened) as cursor:
                if self._dialect is not None and self._dialect.profile.savepoints:
                    cursor.execute("SAVEPOINT brique_commit")  # fails where an earlier statement has: COMMIT would not
                line.connection.commit()
        except BackendAway as fault:
            state = str(fault.facts.get("state", ""))
            if not state or state.startswith(_COMMITTED_UNKNOWN):
                fault.facts["at_commit"] = True
            raise

    def _marker(self, dialect: Dialect) -> str:
        return dialect.qualified(self._marker_schema, MARKER)

    def _is_transactional(self, dialect: Dialect) -> bool:
        return dialect.facts.transactions and self._address.transactions

    def watermark(self, stream: str) -> int | None:
        dialect = self._spoken(self._short)
        with self._asking() as cursor:
            if not columns_of(cursor, dialect, self._marker_schema, MARKER):
                return None
            position, name = dialect.quoted("position"), dialect.quoted("stream")
            sql = f"SELECT {position} FROM {self._marker(dialect)} WHERE {name} = ?"  # noqa: S608
            rows = cursor.execute(sql, stream).fetchall()
            return int(rows[0][0] or 0) if rows else 0

    def prepare(self, marker: bool) -> Prepared:
        dialect = self._spoken(self._writing)
        abilities, reason = self._found(dialect)
        self._abilities = abilities
        if not abilities.transactions:
            return Prepared(Rung.COMPARE, reason, replace(abilities, marker=False))
        if not marker:
            return Prepared(Rung.COMPARE, NOT_ALLOWED, replace(abilities, marker=False))
        try:
            counts = self._try_marker(dialect)
        except BackendRefused as fault:
            return Prepared(Rung.COMPARE, fault.message, replace(abilities, marker=False))
        self._abilities = abilities = replace(abilities, counts=counts)
        if not counts:
            return Prepared(Rung.COMPARE, NOT_COUNTED, replace(abilities, marker=False))
        return Prepared(Rung.WATERMARK, "", abilities)

    def _found(self, dialect: Dialect) -> tuple[Abilities, str]:
        """What this database can do, and why it is not more."""
        keys = dialect.new_key.name != "NONE"
        abilities = Abilities(transactions=True, counts=dialect.profile.counts, server_keys=keys, marker=True)
        if not self._is_transactional(dialect):
            return replace(abilities, transactions=False), NO_TRANSACTIONS
        if dialect.profile.is_db2i and (missing := self._not_journaled()):
            return replace(abilities, transactions=False), NOT_JOURNALED.format(table=", ".join(missing[:5]))
        return abilities, ""

    def _not_journaled(self) -> list[str]:
        """Db2 for i: the tables known here that no journal follows."""
        schemas = {schema for schema, _ in self._known}
        with self._asking(self._writing):
            connection = self._writing.connection
            names = [row for schema in schemas for row in asked(connection, db2i.SYSTEM_NAMES, (schema,))]
            libraries = {str(row[2]).strip() for row in names}
            journaled = []
            for library in libraries:
                rows = asked(connection, db2i.JOURNALED, (library,))
                journaled += rows or asked(connection, db2i.JOURNALED_BEFORE_7_3, (library,))
        return db2i.not_journaled(self._known, names, journaled)

    def _try_marker(self, dialect: Dialect) -> bool:
        """Make the marker table where it is missing, and try that it can be written; whether rows are counted.

        Raises BackendRefused when the account may not. What was tried is rolled back.
        """
        place, name, position = self._marker(dialect), dialect.quoted("stream"), dialect.quoted("position")
        line = self._writing
        with line.held(), line.call(self.timeout) as cursor:
            line.connection.rollback()
            line.connection.autocommit = False
            try:
                if not columns_of(cursor, dialect, self._marker_schema, MARKER):
                    cursor.execute(
                        f"CREATE TABLE {place} ({name} {dialect.profile.marker_type}, {position} BIGINT NOT NULL)"
                    )
                    line.connection.commit()
                cursor.execute(f"INSERT INTO {place} ({name}, {position}) VALUES (?, ?)", f"try {self._nonce}", 0)  # noqa: S608
                cursor.execute(f"UPDATE {place} SET {position} = 1 WHERE {name} = ?", f"try {self._nonce}")  # noqa: S608
                return bool(cursor.rowcount == 1)
            finally:
                if line.is_open:
                    with suppress(pyodbc().Error):
                        line.connection.rollback()

    def abort(self) -> None:
        bulk = self._reading
        if bulk is not None:
            bulk.abort()
        for line in self._lines:
            line.abort()

    def close(self) -> None:
        for line in self._lines:
            line.close()
        self._watchdog.stop()


def _undo(cursor: Any) -> None:
    cursor.connection.rollback()


def _reads_only_tables(definition: str) -> bool:
    body = _STEADY_FUNCTIONS.sub(" (", definition.partition("SELECT")[2] or definition)
    return re.search(r"\w\s*\(", re.sub(r"\s+\(", "(", body.replace(" (", " ( "))) is None and not _MOVING_WORDS.search(
        body
    )


def is_installed() -> bool:
    """Whether ODBC can be used here."""
    try:
        pyodbc()
    except MissingExtra:
        return False
    return True
