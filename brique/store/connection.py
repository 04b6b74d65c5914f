"""Connections to the store: one writer, any number of readers, each set up the same way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import apsw

from brique.store import search

_STATEMENTS = 400  # prepared statements kept for each connection
_MMAP_BYTES = 16 * 1024**3  # an upper bound: only what is touched takes memory
_BUSY_MS = 10_000


def _prepare(connection: apsw.Connection, cache_kib: int) -> None:
    connection.set_busy_timeout(_BUSY_MS)
    # Plans do not depend on what is bound. Without this SQLite prepares a statement anew at each run, at 30 times its
    # cost, when it has looked at a bound value to see whether a partial index would do.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    connection.create_scalar_function("brique_found", search.found_in, -1, deterministic=True)
    connection.create_scalar_function("brique_document", search.document_of, -1, deterministic=True)
    connection.create_scalar_function("brique_contains", search.contained_in, 2, deterministic=True)
    connection.execute(
        f"PRAGMA mmap_size={_MMAP_BYTES}; PRAGMA cache_size=-{cache_kib}; PRAGMA temp_store=FILE; "
        "PRAGMA trusted_schema=OFF"
    )


def tell_statements(connection: apsw.Connection, tell: Callable[[str, float], None]) -> None:
    """Tell each statement of `connection` when it ends, with the seconds since it began: SQLite's own clock ticks in
    thousandths of them."""
    began: dict[int, float] = {}

    def note(event: dict[str, Any]) -> None:
        if event["code"] == apsw.SQLITE_TRACE_STMT:
            began[event["id"]] = perf_counter()
        else:
            tell(event["sql"], perf_counter() - began.pop(event["id"], perf_counter()))

    connection.trace_v2(apsw.SQLITE_TRACE_STMT | apsw.SQLITE_TRACE_PROFILE, note)


def plan(connection: apsw.Connection, sql: str) -> list[str]:
    """How SQLite would go about `sql`, a line for each step."""
    from apsw import ext  # takes long to load, and only who develops asks

    found = ext.query_info(connection, sql, explain_query_plan=True).query_plan
    lines: list[str] = []

    def add(step: Any, depth: int) -> None:
        if step.detail != "QUERY PLAN":
            lines.append("  " * depth + step.detail)
        for sub in step.sub or ():
            add(sub, depth + (step.detail != "QUERY PLAN"))

    if found is not None:
        add(found, 0)
    return lines


def first(connection: apsw.Connection, query: str, bound: Sequence[Any] = ()) -> Any:
    """The first record of a query, None without one; SQLite's values have no static type."""
    return connection.execute(query, bound).fetchone()


def records(connection: apsw.Connection, query: str, bound: Sequence[Any] = ()) -> Any:
    """The records of a query as they come, likewise."""
    return connection.execute(query, bound)


def writer(path: Path) -> apsw.Connection:
    """The engine's own connection: WAL, synchronous=NORMAL, checkpoints only when asked for."""
    if not path.exists():
        path.touch(mode=0o600)  # SQLite gives the files beside it the same mode
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(str(path), flags=flags, statementcachesize=_STATEMENTS)
    _prepare(connection, 128 * 1024)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=0; PRAGMA journal_size_limit=67108864")
    return connection


def reader(path: Path) -> apsw.Connection:
    """A connection that cannot write. Raises apsw.CantOpenError when there is no store."""
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(str(path), flags=flags, statementcachesize=_STATEMENTS)
    _prepare(connection, 16 * 1024)
    connection.execute("PRAGMA query_only=ON")
    return connection
