"""Changes of PostgreSQL as they are committed: triggers that NOTIFY which keys a statement has touched.

For each statement one message, sent by the server when its transaction commits. A trigger for each kind of statement
(transition tables allow no other way) calls one function, which names up to `KEYS_MAX` keys; of more, or where keys
are of kinds that could be written in several ways, the table alone is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from brique.backends.feed import Told
from brique.backends.postgresql.line import PostgresWire
from brique.errors import BackendAway, BackendRefused
from brique.schema import Kind, TableSpec, Value

CHANNEL = "brique_changes"
FUNCTION = "brique_tell"
KEYS_MAX = 100
_LOCK_MS = 2_000
_PLAIN = (Kind.INTEGER, Kind.TEXT)
_BODY = """
DECLARE
  found jsonb;
  rows text;
  message text;
BEGIN
  IF TG_OP <> 'TRUNCATE' AND TG_ARGV[1] <> '' THEN
    rows := format('SELECT jsonb_build_array(%s) AS k FROM changed', TG_ARGV[1]);
    IF TG_OP = 'UPDATE' THEN
      rows := rows || format(' UNION SELECT jsonb_build_array(%s) FROM before', TG_ARGV[1]);
    END IF;
    EXECUTE format('SELECT jsonb_agg(k) FROM (SELECT DISTINCT k FROM (%s) r LIMIT 101) s', rows) INTO found;
    IF found IS NULL THEN
      RETURN NULL;
    END IF;
    IF jsonb_array_length(found) > 100 THEN
      found := NULL;
    END IF;
  END IF;
  message := json_build_object('table', TG_ARGV[0], 'keys', found)::text;
  IF octet_length(message) > 7000 THEN
    message := json_build_object('table', TG_ARGV[0], 'keys', NULL)::text;
  END IF;
  PERFORM pg_notify('brique_changes', message);
  RETURN NULL;
END
"""
_TRIGGERS = {
    "INSERT": "REFERENCING NEW TABLE AS changed",
    "UPDATE": "REFERENCING NEW TABLE AS changed OLD TABLE AS before",
    "DELETE": "REFERENCING OLD TABLE AS changed",
    "TRUNCATE": "",
}
_KNOWN = "SELECT tgname, tgargs FROM pg_trigger WHERE tgrelid = to_regclass(%s) AND NOT tgisinternal"
_RELKIND = "SELECT relkind::text FROM pg_class WHERE oid = to_regclass(%s)"


class _Message(msgspec.Struct):
    table: str
    keys: list[list[str | None]] | None = None


class PostgresFeed:
    """A connection that listens. `schema`: where the function is, "" for the account's own."""

    def __init__(self, wire: PostgresWire, tables: Sequence[TableSpec], schema: str) -> None:
        self._wire, self._connection, self._schema = wire, wire.handle, schema
        self._tables = {spec.name: spec for spec in tables if not spec.is_view}

    def begin(self, seconds: float) -> None:
        """Make the triggers that are missing, and listen; no statement takes longer than `seconds`."""
        try:
            self._connection.execute(sql.SQL("SET statement_timeout = {}").format(sql.Literal(int(seconds * 1000))))
            self._prepare()
            self._connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
        except psycopg.errors.InsufficientPrivilege as fault:
            self.close()
            raise BackendRefused(f"The account may not make triggers: {fault.diag.message_primary}") from fault
        except psycopg.Error as fault:
            self.close()
            raise BackendAway(f"The change feed could not begin: {fault}") from fault

    def wait(self, seconds: float) -> list[Told]:
        try:
            found = list(self._connection.notifies(timeout=seconds, stop_after=1))
            found += self._connection.notifies(timeout=0) if found else ()
        except psycopg.Error as fault:
            raise BackendAway(f"The change feed was cut: {fault}") from fault
        return [told for notice in found if (told := self._told(notice.payload)) is not None]

    def close(self) -> None:
        self._wire.drop()

    def _told(self, payload: str) -> Told | None:
        try:
            message = msgspec.json.decode(payload, type=_Message)
        except msgspec.DecodeError:  # somebody else's, on the same channel
            return None
        spec = self._tables.get(message.table)
        if spec is None:
            return None
        if message.keys is None or not all(len(key) == len(spec.key) and None not in key for key in message.keys):
            return Told(spec.name, None)
        return Told(spec.name, tuple(_key_text(spec, key) for key in message.keys))

    def _prepare(self) -> None:
        function = sql.Identifier(*filter(None, (self._schema, FUNCTION)))
        with self._connection.transaction():
            self._connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(_LOCK_MS)))
            make = "CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql AS {}"
            self._connection.execute(sql.SQL(make).format(function, sql.Literal(_BODY)))
        for spec in self._tables.values():
            with self._connection.transaction():
                self._connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(_LOCK_MS)))
                self._add(spec, function)

    def _add(self, spec: TableSpec, function: sql.Identifier) -> None:
        table = sql.Identifier(*filter(None, (spec.source_schema, spec.source)))
        name = table.as_string(self._connection)
        kind = self._connection.execute(_RELKIND, (name,)).fetchone()
        if kind is None or kind[0] not in ("r", "p"):
            return
        arguments = (spec.name, _key_expressions(spec, self._connection))
        wanted = b"".join(text.encode() + b"\0" for text in arguments)
        known = dict(self._connection.execute(_KNOWN, (name,)).fetchall())
        for event, tables in _TRIGGERS.items():
            trigger = f"{FUNCTION}_{event.lower()}"
            if bytes(known.get(trigger, b"")) == wanted:
                continue
            if trigger in known:
                self._connection.execute(sql.SQL("DROP TRIGGER {} ON {}").format(sql.Identifier(trigger), table))
            make = f"CREATE TRIGGER {{}} AFTER {event} ON {{}} {tables} FOR EACH STATEMENT EXECUTE FUNCTION {{}}({{}})"
            literals = sql.SQL(", ").join(map(sql.Literal, arguments))
            self._connection.execute(sql.SQL(make).format(sql.Identifier(trigger), table, function, literals))


def listen(wire: PostgresWire, tables: Sequence[TableSpec], schema: str, *, seconds: float) -> PostgresFeed:
    """A feed over `wire`, which is its own from now on. Raises BackendAway, BackendRefused."""
    feed = PostgresFeed(wire, tables, schema)
    feed.begin(seconds)
    return feed


def _key_expressions(spec: TableSpec, connection: psycopg.Connection[Any]) -> str:
    """The key columns as texts in SQL; "" where they could be written in several ways."""
    columns = [spec.by_name[name] for name in spec.key]
    if not columns or any(column.kind not in _PLAIN for column in columns):
        return ""
    return ", ".join(f"{sql.Identifier(column.source).as_string(connection)}::text" for column in columns)


def _key_text(spec: TableSpec, texts: Sequence[str | None]) -> str:
    row: dict[str, Value] = {}
    for name, text in zip(spec.key, texts, strict=True):
        assert text is not None
        row[name] = int(text) if spec.by_name[name].kind is Kind.INTEGER else text
    return spec.key_of(row)
