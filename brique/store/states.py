"""What the store knows of each table and backend: loaded or not, how far, how old, in what state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import apsw
import msgspec

from brique.clock import stamp, unstamp

_BACKEND_TEXTS = ("state", "last_error", "rung", "rung_reason")
_BACKEND_MOMENTS = ("since", "confirmed_at", "next_try")


@dataclass(frozen=True, slots=True)
class TableState:
    """`confirmed_at`: when the backend last confirmed the rows. `loading`: what a load is doing ("" for none).

    `fault`: why the last refresh left these rows alone ("" when it did not).
    """

    name: str
    generation: int
    loaded: bool
    rows: int
    confirmed_at: datetime | None
    loading: str = ""
    rows_done: int = 0
    rows_total: int = 0
    fault: str = ""


@dataclass(frozen=True, slots=True)
class BackendState:
    """`state`: live, slow or down, `since` then. `facts`: whatever else its process reports."""

    name: str
    state: str = "live"
    since: datetime | None = None
    confirmed_at: datetime | None = None
    last_error: str = ""
    next_try: datetime | None = None
    rung: str = ""
    rung_reason: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def _moment(text: str | None) -> datetime | None:
    return unstamp(text) if text else None


def table_state(connection: apsw.Connection, name: str) -> TableState | None:
    row = connection.execute(
        "SELECT generation, loaded, rows, confirmed_at, loading, rows_done, rows_total, fault FROM table_state "
        "WHERE table_name = ?",
        (name,),
    ).fetchone()
    if row is None:
        return None
    generation, loaded, rows, confirmed_at, loading, done, total, fault = row
    return TableState(name, generation, bool(loaded), rows, _moment(confirmed_at), loading, done, total, fault)


def backend_states(connection: apsw.Connection) -> dict[str, BackendState]:
    found = connection.execute(
        "SELECT name, state, since, confirmed_at, last_error, next_try, rung, rung_reason, facts FROM backend_state "
        "ORDER BY name"
    )
    return {
        name: BackendState(
            name,
            state,
            _moment(since),
            _moment(confirmed_at),
            last_error,
            _moment(next_try),
            rung,
            reason,
            msgspec.msgpack.decode(facts) if facts else {},
        )
        for name, state, since, confirmed_at, last_error, next_try, rung, reason, facts in found
    }


def write_backend_state(connection: apsw.Connection, name: str, fields: Mapping[str, Any]) -> None:
    """Set some fields of a backend's state; fields without a column of their own go into `facts`."""
    connection.execute("INSERT OR IGNORE INTO backend_state(name) VALUES (?)", (name,))
    facts: dict[str, Any] = {}
    for field_name, value in fields.items():
        if field_name in _BACKEND_MOMENTS:
            text = stamp(value) if isinstance(value, datetime) else value
        elif field_name in _BACKEND_TEXTS:
            text = str(value)
        else:
            facts[field_name] = value
            continue
        connection.execute(f"UPDATE backend_state SET {field_name} = ? WHERE name = ?", (text, name))  # noqa: S608
    if facts:
        row = connection.execute("SELECT facts FROM backend_state WHERE name = ?", (name,)).fetchone()
        old = msgspec.msgpack.decode(row[0]) if row and row[0] else {}
        connection.execute(
            "UPDATE backend_state SET facts = ? WHERE name = ?", (msgspec.msgpack.encode({**old, **facts}), name)
        )


def confirm(connection: apsw.Connection, backend: str, tables: list[str], at: datetime) -> None:
    """The backend confirmed these tables' rows at that moment; a moment before the known one changes nothing."""
    text = stamp(at)
    write_backend_state(connection, backend, {})
    connection.execute(
        "UPDATE backend_state SET confirmed_at = max(coalesce(confirmed_at, ''), ?) WHERE name = ?", (text, backend)
    )
    connection.executemany(
        "UPDATE table_state SET fault = '', confirmed_at = max(coalesce(confirmed_at, ''), ?) WHERE table_name = ?",
        [(text, table) for table in tables],
    )
