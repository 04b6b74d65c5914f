"""The tables of a SQLite file as its own catalogue and a sample of their rows describe them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import apsw

from brique.backends import values as raw
from brique.backends.faults import READ_ONLY_VIEW
from brique.backends.protocol import MARKER, SAMPLE_ROWS
from brique.backends.sqlite.types import Found, understand
from brique.schema import Column, SourceColumn, SourceReference, SourceTable, Value

COUNT_MAX = 1_000_000
"""Rows counted for an estimate; a larger table is estimated by its highest row number."""


def quoted(name: str) -> str:
    """`name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True)
class _Entry:
    """A column as `table_xinfo` gives it. `hidden`: 2 and 3 are generated columns."""

    name: str
    declared: str
    not_null: bool
    default: str | None
    key_place: int
    hidden: int


def ask(connection: apsw.Connection, sql: str, values: Sequence[Value] = ()) -> list[tuple[Any, ...]]:
    """All rows of a query."""
    return connection.execute(sql, tuple(values)).fetchall()


def table_names(connection: apsw.Connection) -> list[tuple[str, str, bool]]:
    """(name, "table" or "view", is WITHOUT ROWID) of everything that people made, in the order in which they did."""
    rows = ask(
        connection,
        "SELECT l.name, l.type, l.wr FROM pragma_table_list l JOIN sqlite_schema s ON s.name = l.name "
        "WHERE l.schema = 'main' AND l.type IN ('table', 'view') AND l.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
        "AND l.name <> ? ORDER BY l.type = 'view', s.rowid",
        (MARKER,),
    )
    return [(name, kind, bool(without_rowid)) for name, kind, without_rowid in rows]


def columns_of(connection: apsw.Connection, table: str) -> list[_Entry]:
    """The columns of `table` in its order; columns of virtual tables that are hidden are left out."""
    rows = ask(connection, 'SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?)', (table,))
    return [_Entry(n, t or "", bool(nn), d, pk, h) for n, t, nn, d, pk, h in rows if h != 1]


def describe(connection: apsw.Connection, name: str, *, is_view: bool, without_rowid: bool) -> SourceTable:
    """Everything about one table. Raises apsw.Error (a view that does not work any more)."""
    entries = columns_of(connection, name)
    indexes = _indexes(connection, name)
    key = tuple(entry.name for entry in sorted(entries, key=lambda entry: entry.key_place) if entry.key_place)
    required = {entry.name for entry in entries if entry.not_null or entry.key_place}
    unique = tuple(columns for origin, columns in indexes if origin != "pk")
    if not key:
        key = next((columns for columns in unique if set(columns) <= required), ())
    references = _references(connection, name)
    is_row_number = len(key) == 1 and not without_rowid and not any(origin == "pk" for origin, _ in indexes)
    rows = 0 if is_view else _count(connection, name, without_rowid)
    sample = _sample(connection, name, entries, rows, by_row_number=not is_view and not without_rowid)
    naming = {*key, *(column for reference in references for column in reference.columns)}
    columns = []
    for index, entry in enumerate(entries):
        found = understand(entry.declared, [row[index] for row in sample], names_row=entry.name in naming)
        alias = is_row_number and entry.key_place == 1 and entry.declared.upper() == "INTEGER"
        columns.append(_column(entry, found, is_alias=alias, required=entry.name in required))
    return SourceTable(
        name=name,
        columns=tuple(columns),
        key=() if is_view else key,
        references=references,
        unique=unique,
        is_view=is_view,
        read_only=READ_ONLY_VIEW if is_view else "",
        rows_estimate=rows,
        sample=_as_store(sample, columns),
    )


def _column(entry: _Entry, found: Found, *, is_alias: bool, required: bool) -> SourceColumn:
    return SourceColumn(
        name=entry.name,
        type=entry.declared,
        kind=found.kind,
        nullable=not (required or is_alias),
        generated=entry.hidden in (2, 3),
        defaulted=is_alias or (entry.default is not None and entry.default.upper() != "NULL"),
        padded=found.padded,
        length_max=found.length_max,
        precision=found.precision,
        scale=found.scale,
    )


def _as_store(sample: Sequence[tuple[Value, ...]], columns: Sequence[SourceColumn]) -> tuple[tuple[Value, ...], ...]:
    readers = [raw.reader(Column(c.name, c.name, c.kind, c.name, scale=c.scale)) for c in columns]
    return tuple(tuple(read(v) if read else v for read, v in zip(readers, row, strict=True)) for row in sample)


def _indexes(connection: apsw.Connection, table: str) -> list[tuple[str, tuple[str, ...]]]:
    """(origin: pk, u or c; columns) of each whole unique index, smallest first."""
    found = []
    for index, origin in ask(
        connection,
        'SELECT name, origin FROM pragma_index_list(?) WHERE "unique" AND NOT partial ORDER BY seq DESC',
        (table,),
    ):
        names = [row[0] for row in ask(connection, "SELECT name FROM pragma_index_info(?) ORDER BY seqno", (index,))]
        if all(name is not None for name in names):
            found.append((origin, tuple(names)))
    return sorted(found, key=lambda item: len(item[1]))


def _references(connection: apsw.Connection, table: str) -> tuple[SourceReference, ...]:
    grouped: dict[int, list[tuple[str, str, str | None]]] = {}
    for number, target, source, column in ask(
        connection, 'SELECT id, "table", "from", "to" FROM pragma_foreign_key_list(?) ORDER BY id DESC, seq', (table,)
    ):
        grouped.setdefault(number, []).append((target, source, column))
    found = []
    for parts in grouped.values():
        target = _real_name(connection, parts[0][0])
        entries = columns_of(connection, target)
        key = [entry.name for entry in sorted(entries, key=lambda entry: entry.key_place) if entry.key_place]
        known = {entry.name.lower(): entry.name for entry in entries}
        wanted = [column for _, _, column in parts]
        targets = key if None in wanted else [known.get(str(column).lower(), "") for column in wanted]
        if len(targets) == len(parts) and all(targets):
            sources = tuple(_own_case(connection, table, source) for _, source, _ in parts)
            found.append(SourceReference(sources, ("", target), tuple(targets)))
    return tuple(found)


def _real_name(connection: apsw.Connection, name: str) -> str:
    found = ask(connection, "SELECT name FROM sqlite_schema WHERE lower(name) = lower(?)", (name,))
    return str(found[0][0]) if found else name


def _own_case(connection: apsw.Connection, table: str, column: str) -> str:
    names = {entry.name.lower(): entry.name for entry in columns_of(connection, table)}
    return names.get(column.lower(), column)


def _count(connection: apsw.Connection, table: str, without_rowid: bool) -> int:
    name = quoted(table)
    counted = int(
        ask(connection, f"SELECT count(*) FROM (SELECT 1 FROM {name} LIMIT {COUNT_MAX})")[0][0]  # noqa: S608
    )
    if counted < COUNT_MAX or without_rowid:
        return counted
    return max(counted, int(ask(connection, f"SELECT max(_rowid_) FROM {name}")[0][0]))  # noqa: S608


def _sample(
    connection: apsw.Connection, table: str, entries: Sequence[_Entry], rows: int, *, by_row_number: bool
) -> list[tuple[Value, ...]]:
    """Rows to look at: all of a small table, else the oldest and the newest."""
    safe = safe_select(table, [entry.name for entry in entries])
    if by_row_number and rows > SAMPLE_ROWS:
        half = SAMPLE_ROWS // 2
        found = [
            *ask(connection, f"{safe} ORDER BY t._rowid_ LIMIT {half}"),
            *reversed(ask(connection, f"{safe} ORDER BY t._rowid_ DESC LIMIT {half}")),
        ]
    else:
        found = ask(connection, f"{safe} LIMIT {SAMPLE_ROWS}")
    return [safe_row(row) for row in found]


def select(table: str, columns: Sequence[str]) -> str:
    """The query for `columns` of `table`; qualified, since SQLite takes an unknown quoted name for a text."""
    return f"SELECT {', '.join(f't.{quoted(name)}' for name in columns)} FROM {quoted(table)} AS t"  # noqa: S608


def safe_select(table: str, columns: Sequence[str]) -> str:
    """Like `select`, but texts come as bytes, each value after its type: for texts that are not UTF-8."""
    parts = []
    for name in columns:
        cell = f"t.{quoted(name)}"
        parts.append(f"typeof({cell}), CASE typeof({cell}) WHEN 'text' THEN CAST({cell} AS BLOB) ELSE {cell} END")
    return f"SELECT {', '.join(parts)} FROM {quoted(table)} AS t"  # noqa: S608


def safe_row(row: Sequence[Value]) -> tuple[Value, ...]:
    """A row of `safe_select`: texts as text, those that are not UTF-8 as bytes."""
    found: list[Value] = []
    for kind, value in zip(row[::2], row[1::2], strict=True):
        if kind == "text" and isinstance(value, bytes):
            try:
                found.append(value.decode())
                continue
            except UnicodeDecodeError:
                pass  # kept as the bytes that it is
        found.append(value)
    return tuple(found)
