"""PostgreSQL: a row for each key, and one with the head, which is locked and compared in the same transaction.

SELECT body::jsonb FROM brique_published WHERE key = 'statement/7'
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from brique.backends import redact
from brique.errors import BackendAway, BackendRefused, BadConfiguration
from brique.publish.protocol import CONTENT_TYPE, Fenced, Head, Item

_PAGE = 1000
_TABLE = re.compile(r"[a-z_][a-z0-9_]{0,50}")
_AWAY = (psycopg.OperationalError, psycopg.InterfaceError)
_NOT_NOW_CLASSES = ("53", "55", "57", "58", "40", "25")  # no room, locked, being stopped, at fault, undone, read only


class PostgresPlace:
    """The table `?table=` (else `brique_published`) of a database, and the one beside it with `_head` to its name."""

    kind = "PostgreSQL"
    value_bytes_max = 64 * 1024**2

    def __init__(self, name: str, url: str, *, timeout: float, connect_timeout: float) -> None:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        table = options.pop("table", "brique_published")
        if not _TABLE.fullmatch(table):
            raise BadConfiguration(f"{name}: {table!r} cannot name a table", try_this="small letters, digits and _")
        self.name = name
        self._url = urlunsplit(parts._replace(query=urlencode(options)))
        self._timeout_ms, self._connect_seconds = max(1, int(timeout * 1000)), max(1, round(connect_timeout))
        self._names = {"items": sql.Identifier(table), "head": sql.Identifier(f"{table}_head")}
        self._connection: psycopg.Connection[Any] | None = None

    def head(self) -> Head:
        with self._transaction() as cursor:
            found = cursor.execute("SELECT to_regclass(%s)", (self._quoted("head", cursor),)).fetchone()
            return Head() if found is None or found[0] is None else self._head(cursor, "")

    def take(self, known: Head, new: Head) -> None:
        with self._transaction() as cursor:
            cursor.execute(
                self._sql(
                    "CREATE TABLE IF NOT EXISTS {items}(key text PRIMARY KEY, body text NOT NULL, etag text NOT NULL, "
                    "content_type text NOT NULL, position bigint NOT NULL, made_at timestamptz NOT NULL, "
                    "version text NOT NULL)"
                )
            )
            cursor.execute(
                self._sql(
                    "CREATE TABLE IF NOT EXISTS {head}(one boolean PRIMARY KEY CHECK (one), epoch bigint NOT NULL, "
                    "writer text NOT NULL, last text NOT NULL, as_of timestamptz, written_at timestamptz)"
                )
            )
            cursor.execute(self._sql("INSERT INTO {head} VALUES (true, 0, '', '') ON CONFLICT DO NOTHING"))
            if self._head(cursor, "FOR UPDATE").epoch != known.epoch:
                raise Fenced(f"{self.name}: another brique has taken it.")
            self._put_head(cursor, new)

    def put(self, items: Sequence[Item], head: Head) -> None:
        with self._transaction() as cursor:
            if self._head(cursor, "FOR UPDATE").epoch != head.epoch:
                raise Fenced(f"{self.name}: another brique has taken it.")
            gone = [item.key for item in items if item.body is None]
            if gone:
                cursor.execute(self._sql("DELETE FROM {items} WHERE key = ANY(%s)"), (gone,))
            there = [
                (item.key, item.body.decode(), item.etag, CONTENT_TYPE, item.position, item.made_at, item.version)
                for item in items
                if item.body is not None
            ]
            cursor.executemany(
                self._sql(
                    "INSERT INTO {items}(key, body, etag, content_type, position, made_at, version) "
                    "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (key) DO UPDATE SET body = excluded.body, "
                    "etag = excluded.etag, content_type = excluded.content_type, position = excluded.position, "
                    "made_at = excluded.made_at, version = excluded.version"
                ),
                there,
            )
            self._put_head(cursor, head)

    def inventory(self) -> Iterator[tuple[str, str]]:
        after = ""
        while True:
            with self._transaction() as cursor:
                query = self._sql("SELECT key, etag FROM {items} WHERE key > %s ORDER BY key LIMIT %s")
                found = cursor.execute(query, (after, _PAGE)).fetchall()
            yield from found
            if len(found) < _PAGE:
                return
            after = found[-1][0]

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        with self._transaction() as cursor:
            cursor.execute(self._sql("SELECT key, body FROM {items} WHERE key = ANY(%s)"), (list(keys),))
            return {key: body.encode() for key, body in cursor}

    def tidy(self, before: str) -> None:
        """Nothing stays behind here."""

    def abort(self) -> None:
        connection = self._connection
        if connection is not None:
            with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as end:
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    def _sql(self, text: str) -> sql.Composed:
        return sql.SQL(text).format(**self._names)

    def _quoted(self, which: str, cursor: psycopg.Cursor[Any]) -> str:
        return self._names[which].as_string(cursor)

    def _head(self, cursor: psycopg.Cursor[Any], how: str) -> Head:
        columns = ("epoch", "writer", "last", "as_of", "written_at")
        stamps = ", ".join(
            f"to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')" for name in columns[3:]
        )
        cursor.execute(self._sql(f"SELECT epoch, writer, last, {stamps} FROM {{head}} {how}"))  # noqa: S608
        found = cursor.fetchone()
        return Head() if found is None else Head.of(dict(zip(columns, found, strict=True)))

    def _put_head(self, cursor: psycopg.Cursor[Any], head: Head) -> None:
        cursor.execute(
            self._sql("UPDATE {head} SET epoch = %s, writer = %s, last = %s, as_of = %s, written_at = %s"),
            (head.epoch, head.writer, head.last, head.as_of or None, head.written_at or None),
        )

    @contextmanager
    def _transaction(self) -> Iterator[psycopg.Cursor[Any]]:
        try:
            if self._connection is None or self._connection.closed:
                self._connection = psycopg.connect(
                    self._url, connect_timeout=self._connect_seconds, application_name="brique", autocommit=True,
                    options=f"-c statement_timeout={self._timeout_ms} -c lock_timeout={self._timeout_ms} "
                    f"-c idle_in_transaction_session_timeout={self._timeout_ms * 4}",
                )  # fmt: skip
            with self._connection.transaction(), self._connection.cursor() as cursor:
                yield cursor
        except Fenced:
            raise
        except psycopg.Error as fault:
            state = fault.sqlstate or ""
            is_away = isinstance(fault, _AWAY) if not state else state[:2] in (*_NOT_NOW_CLASSES, "08")
            if is_away:
                self.close()
            said = redact(str(fault)).strip().split("\n")[0]
            raise (BackendAway if is_away else BackendRefused)(f"{self.name}: {said}") from fault
