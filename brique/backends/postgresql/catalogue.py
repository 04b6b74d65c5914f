"""The tables of a PostgreSQL database from pg_catalog, in few queries, with a sample of the rows of each."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from brique.backends.faults import (
    READ_ONLY_DATABASE,
    READ_ONLY_FOREIGN,
    READ_ONLY_RIGHTS,
    READ_ONLY_VIEW,
)
from brique.backends.postgresql.types import PgType, output, parser, understand
from brique.backends.protocol import MARKER, SAMPLE_ROWS
from brique.schema import Column, SourceColumn, SourceReference, SourceTable, Value

log = logging.getLogger(__name__)
SAMPLE_SECONDS_MAX = 2.0
"""A table or view that does not give its sample in that time is described without one."""

_TABLES = """
SELECT c.oid::int8, n.nspname, c.relname, c.relkind::text, greatest(c.reltuples, 0)::int8,
       coalesce(obj_description(c.oid, 'pg_class'), ''),
       has_table_privilege(c.oid, 'INSERT') OR has_any_column_privilege(c.oid, 'INSERT')
       OR has_table_privilege(c.oid, 'UPDATE') OR has_any_column_privilege(c.oid, 'UPDATE')
       OR has_table_privilege(c.oid, 'DELETE'),
       pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' AND c.relname <> $1
  AND has_schema_privilege(n.oid, 'USAGE')
  AND (has_table_privilege(c.oid, 'SELECT') OR has_any_column_privilege(c.oid, 'SELECT'))
  AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname <> 'public', n.nspname, c.relkind IN ('v', 'm'), c.oid
"""
_COLUMNS = """
SELECT a.attrelid::int8, a.attname, a.atttypid::int8, a.atttypmod, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       a.atthasdef, coalesce(to_jsonb(a) ->> 'attidentity', ''), coalesce(to_jsonb(a) ->> 'attgenerated', ''),
       coalesce(col_description(a.attrelid, a.attnum), ''), a.attnum
FROM pg_attribute a
WHERE a.attrelid = ANY($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
  AND has_column_privilege(a.attrelid, a.attnum, 'SELECT')
ORDER BY a.attrelid, a.attnum
"""
_TYPES = """
WITH RECURSIVE used AS (
  SELECT t.oid FROM pg_type t WHERE t.oid = ANY($1::oid[])
  UNION SELECT t.typbasetype FROM pg_type t JOIN used u ON t.oid = u.oid WHERE t.typbasetype <> 0)
SELECT t.oid::int8, t.typname, t.typbasetype::int8, t.typtypmod, t.typnotnull, t.typdefault IS NOT NULL,
       t.typcategory::text,
       (SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid)
FROM pg_type t JOIN used USING (oid)
"""
_KEYS = """
SELECT i.indrelid::int8, i.indisprimary, (i.indkey::int2[])[0:i.indnkeyatts - 1]
FROM pg_index i
WHERE i.indrelid = ANY($1::oid[]) AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL
  AND i.indisvalid AND i.indislive
ORDER BY i.indrelid, NOT i.indisprimary, i.indnkeyatts, i.indexrelid
"""
_REFERENCES = """
SELECT k.conrelid::int8, k.conkey, n.nspname, c.relname, k.confrelid::int8, k.confkey
FROM pg_constraint k JOIN pg_class c ON c.oid = k.confrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND k.conrelid = ANY($1::oid[]) ORDER BY k.conrelid, k.oid
"""


@dataclass(frozen=True)
class PgColumn:
    """A column as PostgreSQL has it, domains taken off."""

    name: str
    number: int
    type: PgType
    not_null: bool
    has_default: bool
    identity: str
    generated: str
    comment: str


@dataclass
class _Table:
    oid: int
    schema: str
    name: str
    kind: str
    rows: int
    comment: str
    may_write: bool
    is_standby: bool
    columns: list[PgColumn] = field(default_factory=list)
    keys: list[tuple[bool, tuple[str, ...]]] = field(default_factory=list)
    references: list[SourceReference] = field(default_factory=list)


def quoted(name: str) -> str:
    """`name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def qualified(schema: str, name: str) -> str:
    """A table as SQL names it; without a schema, PostgreSQL's search path decides."""
    return f"{quoted(schema)}.{quoted(name)}" if schema else quoted(name)


def run(connection: psycopg.Connection[Any], sql: str, values: Sequence[Any] = ()) -> psycopg.Cursor[Any]:
    """Execute one statement. Sent as UTF-8 whatever the driver thinks of the server's encoding."""
    return connection.execute(sql.encode(), values or None)


def columns_of(connection: psycopg.Connection[Any], oids: Sequence[int]) -> dict[int, list[PgColumn]]:
    """The readable columns of each of the tables `oids`, in their order."""
    rows = run(connection, _COLUMNS, (list(oids),)).fetchall()
    types = {row[0]: row for row in run(connection, _TYPES, (list({row[2] for row in rows}),)).fetchall()}
    found: dict[int, list[PgColumn]] = {oid: [] for oid in oids}
    for oid, name, type_oid, typmod, written, not_null, has_default, identity, generated, comment, number in rows:
        has_default = has_default and not generated
        while types[type_oid][2]:
            _, _, base, base_typmod, type_not_null, type_default, _, _ = types[type_oid]
            not_null, has_default = not_null or type_not_null, has_default or type_default
            type_oid, typmod = base, base_typmod if typmod < 0 else typmod
        _, typname, _, _, _, _, category, choices = types[type_oid]
        type_ = PgType(typname, typmod, category, written, tuple(choices or ()))
        found[oid].append(PgColumn(name, number, type_, not_null, has_default, identity, generated, comment))
    return found


def describe(connection: psycopg.Connection[Any]) -> list[SourceTable]:
    """Every table and view that the account may read. To be called inside a read-only transaction."""
    rows = run(connection, _TABLES, (MARKER,)).fetchall()
    tables = {row[0]: _Table(*row) for row in rows}
    oids = list(tables)
    columns = columns_of(connection, oids)
    for oid, table in tables.items():
        table.columns = columns[oid]
    numbers = {oid: {column.number: column.name for column in columns[oid]} for oid in oids}
    for oid, is_primary, places in run(connection, _KEYS, (oids,)).fetchall():
        names = tuple(numbers[oid].get(place, "") for place in places)
        if all(names):
            tables[oid].keys.append((is_primary, names))
    for oid, mine, schema, name, target, theirs in run(connection, _REFERENCES, (oids,)).fetchall():
        sources = tuple(numbers[oid].get(place, "") for place in mine)
        targets = tuple(numbers.get(target, {}).get(place, "") for place in theirs)
        if all(sources) and all(targets):
            tables[oid].references.append(SourceReference(sources, (schema, name), targets))
    return [_source_table(table, sample(connection, table)) for table in tables.values() if table.columns]


def sample(connection: psycopg.Connection[Any], table: _Table) -> tuple[tuple[Value, ...], ...]:
    """Up to `SAMPLE_ROWS` rows as store values; none when it takes too long or fails (a view may)."""
    parsers = [parser(column.type, _as_column(column)) for column in table.columns]
    wanted = ", ".join(output(column.type, f"t.{quoted(column.name)}") for column in table.columns)
    sql = f"SELECT {wanted} FROM {qualified(table.schema, table.name)} AS t LIMIT {SAMPLE_ROWS}"  # noqa: S608
    run(connection, "SAVEPOINT brique_sample")
    try:
        run(connection, f"SET LOCAL statement_timeout = {int(SAMPLE_SECONDS_MAX * 1000)}")
        rows = texts(run(connection, sql))
        columns = zip(*rows, strict=True) if rows else [()] * len(parsers)
        found = tuple(zip(*(parse(cells) for parse, cells in zip(parsers, columns, strict=True)), strict=True))
    except psycopg.Error as fault:
        if connection.closed or connection.broken:
            raise
        log.warning("no sample of %s.%s: %s", table.schema, table.name, fault)
        found = ()
    run(connection, "ROLLBACK TO SAVEPOINT brique_sample")
    return found


def texts(cursor: psycopg.Cursor[Any]) -> list[list[str | None]]:
    """The rows of a result as the texts that the server wrote."""
    result = cursor.pgresult
    if result is None:
        return []
    width = range(result.nfields)
    return [[decode(result.get_value(row, at)) for at in width] for row in range(result.ntuples)]


def decode(cell: bytes | None) -> str | None:
    """One cell as text; bytes that are not UTF-8 as surrogates, to be told apart later."""
    return None if cell is None else cell.decode("utf-8", "surrogateescape")


def _as_column(column: PgColumn) -> Column:
    found = understand(column.type)
    return Column(column.name, column.name, found.kind, column.name, scale=found.scale)


def _source_table(table: _Table, rows: tuple[tuple[Value, ...], ...]) -> SourceTable:
    required = {column.name for column in table.columns if column.not_null}
    primary = next((names for is_primary, names in table.keys if is_primary), ())
    unique = tuple(names for is_primary, names in table.keys if not is_primary)
    certain = next((names for names in unique if set(names) <= required), ())
    is_view = table.kind in ("v", "m")
    if table.kind == "m" and not (primary or certain):
        certain = unique[0] if unique else ()  # a materialised view's columns are never NOT NULL
    return SourceTable(
        name=table.name,
        schema=table.schema,
        columns=tuple(_source_column(column) for column in table.columns),
        key=primary or certain,
        references=tuple(table.references),
        unique=unique,
        comment=table.comment,
        is_view=is_view,
        read_only=_read_only(table, is_view),
        rows_estimate=table.rows or len(rows),
        sample=rows,
    )


def _read_only(table: _Table, is_view: bool) -> str:
    if is_view:
        return READ_ONLY_VIEW
    if table.kind == "f":
        return READ_ONLY_FOREIGN
    if table.is_standby:
        return READ_ONLY_DATABASE
    return "" if table.may_write else READ_ONLY_RIGHTS


def _source_column(column: PgColumn) -> SourceColumn:
    found = understand(column.type)
    return SourceColumn(
        name=column.name,
        type=column.type.written,
        kind=found.kind,
        nullable=not column.not_null,
        generated=bool(column.generated) or column.identity == "a",
        defaulted=column.has_default or bool(column.identity),
        padded=found.padded,
        length_max=found.length_max,
        precision=found.precision,
        scale=found.scale,
        choices=column.type.choices,
        comment=column.comment,
    )
