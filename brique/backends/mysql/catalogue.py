"""The tables of a MariaDB or MySQL database from information_schema, in few queries, with a sample of their rows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import pymysql

from brique.backends.faults import READ_ONLY_DATABASE, READ_ONLY_RIGHTS, READ_ONLY_VIEW
from brique.backends.mysql.faults import is_broken
from brique.backends.mysql.line import Connected
from brique.backends.mysql.types import MyType, better, output, parser, quote, understand
from brique.backends.protocol import MARKER, SAMPLE_ROWS
from brique.schema import Column, Kind, SourceColumn, SourceReference, SourceTable, Value

log = logging.getLogger(__name__)
SAMPLE_SECONDS_MAX = 2.0
"""A table or view that does not give its sample in that time is described without one."""
_OF_THE_SERVER = "('mysql', 'information_schema', 'performance_schema', 'sys')"

_TABLES = """
SELECT t.TABLE_SCHEMA, t.TABLE_NAME, t.TABLE_TYPE, COALESCE(t.TABLE_ROWS, 0), COALESCE(t.TABLE_COMMENT, ''),
       COALESCE(t.ENGINE, ''), COALESCE(e.TRANSACTIONS, '')
FROM information_schema.TABLES t LEFT JOIN information_schema.ENGINES e ON e.ENGINE = t.ENGINE
WHERE {schema} AND t.TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED', 'VIEW')
ORDER BY t.TABLE_SCHEMA, t.TABLE_TYPE = 'VIEW', t.TABLE_NAME
"""
_COLUMNS = """
SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION,
       NUMERIC_SCALE, COALESCE(DATETIME_PRECISION, 0), IS_NULLABLE, COLUMN_DEFAULT, COALESCE(EXTRA, ''),
       COALESCE(COLUMN_COMMENT, ''), PRIVILEGES, COALESCE(COLLATION_NAME, '')
FROM information_schema.COLUMNS WHERE {where} ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION
"""
_JSON = """
SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS
WHERE CONSTRAINT_SCHEMA IN ({schemas}) AND CHECK_CLAUSE LIKE 'json_valid(%'
"""
_KEYS = """
SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, GROUP_CONCAT(COALESCE(HEX(COLUMN_NAME), '') ORDER BY SEQ_IN_INDEX)
FROM information_schema.STATISTICS WHERE NON_UNIQUE = 0 AND {where}
GROUP BY TABLE_SCHEMA, TABLE_NAME, INDEX_NAME ORDER BY INDEX_NAME <> 'PRIMARY', COUNT(*), INDEX_NAME
"""
_REFERENCES = """
SELECT TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, COLUMN_NAME, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME,
       REFERENCED_COLUMN_NAME
FROM information_schema.KEY_COLUMN_USAGE WHERE REFERENCED_TABLE_NAME IS NOT NULL AND {where}
ORDER BY TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION
"""


@dataclass(frozen=True)
class MyColumn:
    """A column as the database has it. `may_write`: the account may write it."""

    name: str
    type: MyType
    nullable: bool
    defaulted: bool
    generated: bool
    numbered: bool
    comment: str
    may_write: bool


@dataclass
class MyTable:
    """A table as the database has it. `is_transactional`: what is done to it can be undone."""

    schema: str
    name: str
    is_view: bool
    rows: int
    comment: str
    engine: str
    is_transactional: bool
    columns: list[MyColumn] = field(default_factory=list)
    keys: list[tuple[bool, tuple[str, ...]]] = field(default_factory=list)
    references: list[SourceReference] = field(default_factory=list)

    @property
    def may_write(self) -> bool:
        return any(column.may_write for column in self.columns)


def quoted(name: str) -> str:
    """`name` as an SQL identifier."""
    return "`" + name.replace("`", "``") + "`"


def qualified(schema: str, name: str) -> str:
    """A table as SQL names it; without a schema, it is in the database that the address names."""
    return f"{quoted(schema)}.{quoted(name)}" if schema else quoted(name)


def of(database: str, column: str = "TABLE_SCHEMA") -> str:
    """The condition that a table is in `database`; when it is empty, in one that is not the server's own."""
    return f"{column} = {quote(database)}" if database else f"{column} NOT IN {_OF_THE_SERVER}"


def columns_of(connection: Connected, schema: str, table: str) -> list[MyColumn]:
    """The readable columns of one table; none when there is no such table."""
    place = f"TABLE_SCHEMA = {quote(schema) if schema else 'DATABASE()'}"
    found = _columns(connection, f"{place} AND TABLE_NAME = {quote(table)}")
    return next(iter(found.values()), [])


def _columns(connection: Connected, where: str) -> dict[tuple[str, str], list[MyColumn]]:
    rows = connection.rows(_COLUMNS.format(where=where))
    checked = _json_columns(connection, rows) if connection.server.is_mariadb else set()
    found: dict[tuple[str, str], list[MyColumn]] = {}
    for row in rows:
        schema, table, name, type_, written, length, precision, scale, fraction, nullable, default, extra = row[:12]
        comment, privileges, _ = row[12:]
        if "select" not in str(privileges):
            continue
        place = (str(schema), str(table))
        extra = str(extra).lower()
        numbered = "auto_increment" in extra
        mine = MyType(
            str(type_).lower(), str(written).lower() if type_ not in ("enum", "set") else str(written),
            _integer(length), _integer(precision), _integer(scale), int(fraction or 0), (*place, name) in checked,
        )  # fmt: skip
        column = MyColumn(
            name=str(name),
            type=mine,
            nullable=nullable == "YES",
            defaulted=numbered or (default is not None and default != "NULL"),
            generated="generated" in extra.replace("default_generated", ""),
            numbered=numbered,
            comment=str(comment),
            may_write="insert" in str(privileges) or "update" in str(privileges),
        )
        found.setdefault(place, []).append(column)
    return found


def _json_columns(connection: Connected, rows: Sequence[Sequence[str | None]]) -> set[tuple[str, ...]]:
    """(schema, table, column) of those columns whose text MariaDB checks to be JSON."""
    likely = {row[0] for row in rows if row[3] == "longtext" and row[14] == "utf8mb4_bin"}
    if not likely:
        return set()
    schemas = ", ".join(quote(str(schema)) for schema in likely)
    clauses = {tuple(row) for row in connection.rows(_JSON.format(schemas=schemas))}
    return {
        (str(row[0]), str(row[1]), str(row[2]))
        for row in rows
        if (row[0], row[1], f"json_valid({quoted(str(row[2]))})") in clauses
    }


def _integer(cell: str | None) -> int | None:
    return None if cell is None else int(cell)


def unique_columns(connection: Connected, schema: str, table: str, index: str) -> tuple[str, ...]:
    """The columns of an index."""
    place = f"TABLE_SCHEMA = {quote(schema) if schema else 'DATABASE()'} AND TABLE_NAME = {quote(table)}"
    rows = connection.rows(_KEYS.format(where=f"{place} AND INDEX_NAME = {quote(index)}"))
    return _unhexed(rows[0][3]) if rows else ()


def _unhexed(text: str | None) -> tuple[str, ...]:
    return tuple(bytes.fromhex(part).decode() for part in (text or "").split(","))


def tables_of(connection: Connected, database: str) -> list[MyTable]:
    """Every table and view of `database` that the account may read, with its columns; of every database when it is
    empty."""
    columns = _columns(connection, of(database))
    tables = []
    for schema, name, type_, rows, comment, engine, transactions in connection.rows(
        _TABLES.format(schema=of(database, "t.TABLE_SCHEMA"))
    ):
        place = (str(schema), str(name))
        is_view = type_ == "VIEW"
        if name != MARKER and columns.get(place):
            comment = "" if is_view else str(comment)
            table = MyTable(*place, is_view, int(rows or 0), comment, str(engine), transactions == "YES")
            table.columns = columns[place]
            tables.append(table)
    return tables


def describe(connection: Connected, database: str) -> list[SourceTable]:
    """Every table and view that the account may read, of `database`, or of all of them when it is empty."""
    tables = tables_of(connection, database)
    by_place = {(table.schema, table.name): table for table in tables}
    connection.one("SET SESSION group_concat_max_len = 65536")
    for schema, name, index, columns in connection.rows(_KEYS.format(where=of(database))):
        table = by_place.get((str(schema), str(name)))
        names = _unhexed(columns)
        if table is not None and all(names) and set(names) <= {column.name for column in table.columns}:
            table.keys.append((index == "PRIMARY", names))
    _add_references(connection, database, by_place)
    [(read_only,)] = connection.rows("SELECT @@global.read_only")
    connection.one(connection.server.limit(SAMPLE_SECONDS_MAX))
    found = []
    for table in tables:
        found.append(_source_table(table, database, sample(connection, table), is_read_only=read_only not in ("0",)))
    connection.one(connection.server.limit(0))
    return found


def _add_references(connection: Connected, database: str, tables: dict[tuple[str, str], MyTable]) -> None:
    grouped: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for schema, table, constraint, mine, target_schema, target, theirs in connection.rows(
        _REFERENCES.format(where=of(database))
    ):
        place = (str(schema), str(table), str(constraint), str(target_schema), str(target))
        grouped.setdefault(place, []).append((str(mine), str(theirs)))
    for (schema, name, _, target_schema, target), pairs in grouped.items():
        owner = tables.get((schema, name))
        if owner is not None:
            there = ("" if target_schema == database else target_schema, target)
            owner.references.append(SourceReference(tuple(p[0] for p in pairs), there, tuple(p[1] for p in pairs)))


def sample(connection: Connected, table: MyTable) -> tuple[tuple[Value, ...], ...]:
    """Up to `SAMPLE_ROWS` rows as store values, without those of binary columns; none when it takes too long or fails
    (a view may)."""
    wanted = ", ".join(
        "NULL" if understand(column.type).kind is Kind.BINARY else output(column.type, f"t.{quoted(column.name)}")
        for column in table.columns
    )
    sql = f"SELECT {wanted} FROM {qualified(table.schema, table.name)} AS t LIMIT {SAMPLE_ROWS}"  # noqa: S608
    try:
        rows = connection.one(sql).rows
    except pymysql.err.MySQLError as fault:
        if is_broken(fault):
            raise
        log.warning("no sample of %s.%s: %s", table.schema, table.name, fault)
        return ()
    if not rows:
        return ()
    parsers = [parser(column.type, as_column(column)) for column in table.columns]
    columns = zip(*rows, strict=True)
    return tuple(zip(*(parse(cells) for parse, cells in zip(parsers, columns, strict=True)), strict=True))


def as_column(column: MyColumn) -> Column:
    """The column as nobody declared it otherwise."""
    found = understand(column.type)
    return Column(column.name, column.name, found.kind, column.name, scale=found.scale)


def _source_table(
    table: MyTable, database: str, rows: tuple[tuple[Value, ...], ...], *, is_read_only: bool
) -> SourceTable:
    required = {column.name for column in table.columns if not column.nullable}
    primary = next((names for is_primary, names in table.keys if is_primary), ())
    unique = tuple(names for is_primary, names in table.keys if not is_primary)
    certain = next((names for names in unique if set(names) <= required), ())
    columns = zip(*rows, strict=True) if rows else [()] * len(table.columns)
    return SourceTable(
        name=table.name,
        schema="" if table.schema == database else table.schema,
        columns=tuple(_source_column(column, values) for column, values in zip(table.columns, columns, strict=True)),
        key=primary or certain,
        references=tuple(table.references),
        unique=unique,
        comment=table.comment,
        is_view=table.is_view,
        read_only=_read_only(table, is_read_only),
        rows_estimate=max(table.rows, len(rows)),
        sample=rows,
    )


def _read_only(table: MyTable, is_read_only: bool) -> str:
    if table.is_view:
        return READ_ONLY_VIEW
    if is_read_only:
        return READ_ONLY_DATABASE
    return "" if table.may_write else READ_ONLY_RIGHTS


def _source_column(column: MyColumn, values: Sequence[Value]) -> SourceColumn:
    found = understand(column.type)
    return SourceColumn(
        name=column.name,
        type=column.type.written,
        kind=better(found.kind, values),
        nullable=column.nullable,
        generated=column.generated,
        defaulted=column.defaulted,
        padded=found.padded,
        length_max=found.length_max,
        precision=found.precision,
        scale=found.scale,
        choices=column.type.choices,
        comment=column.comment,
    )
