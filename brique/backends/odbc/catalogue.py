"""The tables of a database from the catalogue functions of its driver, with a sample of the rows of each.

SQLTables, SQLColumns, SQLPrimaryKeys, SQLForeignKeys and SQLStatistics are what every driver has, and drivers leave
things out: a table without a primary key gets the key of a unique index over columns that are never empty. What the
functions do not tell (identity, generated columns, comments, labels) is asked of the profile's own catalogue queries.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from brique.backends.faults import READ_ONLY_DATABASE, READ_ONLY_VIEW
from brique.backends.odbc import db2i
from brique.backends.odbc.address import Address
from brique.backends.odbc.dialect import Dialect
from brique.backends.odbc.driver import pyodbc
from brique.backends.odbc.types import OdbcColumn, reader, understand
from brique.backends.protocol import MARKER, SAMPLE_ROWS
from brique.schema import Column, SourceColumn, SourceReference, SourceTable, Value

log = logging.getLogger(__name__)
_VIEWS = ("VIEW", "MATERIALIZED VIEW", "MATVIEW", "ALIAS", "SYNONYM", "LOGICAL FILE")
_TABLES = ("TABLE", "BASE TABLE", "PHYSICAL FILE", "PARTITIONED TABLE", "FOREIGN TABLE")
_NO_ACTION_ON_NULLS = 0
TABLES_MAX = 2_000
"""More tables than that are not described: name libraries, schemas or tables in the address."""


@dataclass
class _Table:
    schema: str
    name: str
    is_view: bool
    comment: str = ""
    columns: list[OdbcColumn] = field(default_factory=list)
    primary: tuple[str, ...] = ()
    unique: list[tuple[str, ...]] = field(default_factory=list)
    references: list[SourceReference] = field(default_factory=list)
    rows: int = 0


def describe(connection: Any, dialect: Dialect, address: Address) -> list[SourceTable]:
    """Every table and view that the account sees, within the libraries, schemas and tables that the address names."""
    cursor = connection.cursor()
    tables = _tables(cursor, dialect, address)
    partial = {(str(schema), str(name)) for schema, name in asked(connection, dialect.profile.partial)}
    extras, comments = _extras(connection, dialect), _comments(connection, dialect)
    for table in tables:
        table.columns = [
            _with_extras(column, extras.get((table.schema, table.name, column.name)))
            for column in columns_of(cursor, dialect, table.schema, table.name)
        ]
        table.columns = [_with_comment(column, comments, table) for column in table.columns]
        table.comment = comments.get((table.schema, table.name, ""), table.comment)
        if not table.is_view:
            _keys(cursor, dialect, table, partial)
    if dialect.profile.is_db2i:
        _labels_of_db2i(connection, tables)
    told = [_source_table(table, _sample(connection, dialect, table), dialect) for table in tables if table.columns]
    cursor.close()
    return told


def _tables(cursor: Any, dialect: Dialect, address: Address) -> list[_Table]:
    found: list[_Table] = []
    for schema in address.schemas or ("",):
        for row in cursor.tables(**dialect.place_in_catalogue(schema)).fetchall():
            kind, owner, name = str(row[3] or "").upper(), str(row[1] or ""), str(row[2])
            if kind in _TABLES + _VIEWS and _is_served(dialect, address, owner, name):
                found.append(_Table(owner, name, kind in _VIEWS, str(row[4] or "")))
    if len(found) > TABLES_MAX:
        log.warning("%d tables: only the first %d are described", len(found), TABLES_MAX)
    return sorted(found[:TABLES_MAX], key=lambda table: (table.schema != "public", table.schema, table.is_view))


def _is_served(dialect: Dialect, address: Address, owner: str, name: str) -> bool:
    if name.lower() == MARKER or re.fullmatch(dialect.profile.tables_hidden, name):
        return False
    if address.schemas and owner and owner.lower() not in {one.lower() for one in address.schemas}:
        return False
    if not address.schemas and re.fullmatch(dialect.profile.schemas_hidden, owner):
        return False
    return not address.tables or any(_is_like(pattern, name) for pattern in address.tables)


def _is_like(pattern: str, name: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace("%", ".*"), name, re.IGNORECASE) is not None


def columns_of(cursor: Any, dialect: Dialect, schema: str, table: str) -> list[OdbcColumn]:
    """The columns of one table in their order; none when there is no such table."""
    found: dict[str, list[OdbcColumn]] = {}
    for row in cursor.columns(table=table, **dialect.place_in_catalogue(schema)).fetchall():
        if str(row[2]) == table and (not schema or str(row[1] or "") == schema):  # names are taken for patterns
            found.setdefault(str(row[1] or ""), []).append(_column(row, dialect))
    hidden = re.compile(dialect.profile.schemas_hidden)
    best = sorted(found, key=lambda owner: (hidden.fullmatch(owner) is not None, owner != "public", owner))
    return found[best[0]] if best else []


def _column(row: Any, dialect: Dialect) -> OdbcColumn:
    names = [item[0].lower() for item in row.cursor_description]
    told = dict(zip(names, row, strict=False))
    type_ = str(row[5])
    default = "" if row[12] is None else str(row[12])
    is_auto = str(told.get("auto_increment", told.get("is_autoincrement", "")) or "").upper() in ("1", "YES")
    code, size, digits = int(row[4]), _number(row[6]), _number(row[8])
    declared = re.fullmatch(r"(?i)(?:numeric|decimal)\s*\((\d+)\s*(?:,\s*(\d+))?\)", type_)
    if declared:  # SQLite's driver says that these are doubles
        code, size, digits = 3, int(declared[1]), int(declared[2] or 0)
    return OdbcColumn(
        name=str(row[3]),
        code=code,
        type=type_.split("(")[0].strip() or type_,
        size=size,
        digits=digits,
        nullable=int(row[10] if row[10] is not None else 1) != _NO_ACTION_ON_NULLS,
        default="" if default.upper() == "NULL" else default,
        identity="BY DEFAULT" if is_auto or "identity" in type_.lower() or "nextval(" in default.lower() else "",
        comment=str(row[11] or ""),
        utc=re.fullmatch(dialect.profile.moments_utc, type_) is not None,
    )


def _number(value: Any) -> int | None:
    return int(value) if value is not None else None


def unique_of(cursor: Any, dialect: Dialect, schema: str, table: str) -> list[tuple[str, str, tuple[str, ...]]]:
    """Unique indexes: (index, schema of the table, columns); none where the driver cannot tell."""
    found: dict[tuple[str, str], list[tuple[int, str]]] = {}
    filtered: set[tuple[str, str]] = set()
    with suppress(pyodbc().Error):
        for row in cursor.statistics(table, unique=True, **dialect.place_in_catalogue(schema)).fetchall():
            if row[5] is None or row[8] is None or int(row[3] or 0) != 0 or str(row[2]) != table:
                continue
            place = (str(row[5]), str(row[1] or ""))
            if row[12]:
                filtered.add(place)
            found.setdefault(place, []).append((int(row[7] or 0), str(row[8])))
    return [
        (name, owner, tuple(column.strip('"') for _, column in sorted(columns)))
        for (name, owner), columns in found.items()
        if (name, owner) not in filtered
    ]


def _keys(cursor: Any, dialect: Dialect, table: _Table, partial: set[tuple[str, str]]) -> None:
    names = {column.name for column in table.columns}
    place = dialect.place_in_catalogue(table.schema)
    with suppress(pyodbc().Error):
        parts = [(int(row[4] or 0), str(row[3])) for row in cursor.primaryKeys(table.name, **place).fetchall()]
        table.primary = tuple(name for _, name in sorted(parts))
    for index, owner, columns in unique_of(cursor, dialect, table.schema, table.name):
        if (
            (owner, index) not in partial
            and set(columns) <= names
            and columns != table.primary
            and columns not in table.unique
        ):
            table.unique.append(columns)
    with suppress(pyodbc().Error):
        foreign = {f"foreign{name.capitalize()}": part for name, part in place.items()}
        table.references = _references(cursor.foreignKeys(foreignTable=table.name, **foreign).fetchall())


def _references(rows: Sequence[Any]) -> list[SourceReference]:
    """Rows of SQLForeignKeys, several for one key: grouped by its name, or by where its counting starts anew."""
    groups: list[tuple[object, tuple[str, str], list[tuple[int, str, str]]]] = []
    for row in rows:
        name, target, part = row[11], (str(row[1] or ""), str(row[2])), (int(row[8] or 1), str(row[7]), str(row[3]))
        same = groups and groups[-1][0] == name and groups[-1][1] == target and part[0] > groups[-1][2][-1][0]
        if same:
            groups[-1][2].append(part)
        else:
            groups.append((name, target, [part]))
    return [
        SourceReference(tuple(mine for _, mine, _ in parts), target, tuple(theirs for _, _, theirs in parts))
        for _, target, parts in groups
    ]


def _extras(connection: Any, dialect: Dialect) -> dict[tuple[str, str, str], tuple[str, str, str]]:
    """(identity, generated, default) by schema, table and column, where the profile has a query for it."""
    rows = asked(connection, dialect.profile.extras)
    return {(str(s), str(t), str(c)): (str(i or ""), str(g or ""), str(d or "")) for s, t, c, i, g, d in rows}


def _with_extras(column: OdbcColumn, extras: tuple[str, str, str] | None) -> OdbcColumn:
    if extras is None:
        return column
    identity, generated, default = extras
    return replace(
        column,
        identity=identity or column.identity,
        generated=bool(generated),
        default="" if generated else default or column.default,
    )


def _comments(connection: Any, dialect: Dialect) -> dict[tuple[str, str, str], str]:
    return {
        (str(schema), str(table), str(column)): str(text or "")
        for schema, table, column, text in asked(connection, dialect.profile.comments)
    }


def _with_comment(column: OdbcColumn, comments: dict[tuple[str, str, str], str], table: _Table) -> OdbcColumn:
    text = comments.get((table.schema, table.name, column.name))
    return replace(column, comment=text) if text is not None else column


def _labels_of_db2i(connection: Any, tables: Iterable[_Table]) -> None:
    for table in tables:
        texts = db2i.table_texts(asked(connection, db2i.TABLES, (table.schema, table.name)))
        labels = db2i.column_labels(asked(connection, db2i.COLUMNS, (table.schema, table.name)))
        table.comment, table.rows = texts.text or table.comment, texts.rows
        table.columns = [db2i.labelled(column, labels.get(column.name)) for column in table.columns]


def asked(connection: Any, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """The rows of a catalogue query; none when there is none, or when the account may not ask it."""
    if not sql:
        return []
    cursor = connection.cursor()
    try:
        return [tuple(row) for row in cursor.execute(sql, *parameters).fetchall()]
    except pyodbc().ProgrammingError as fault:
        connection.rollback()
        log.info("the catalogue does not answer: %s", fault.args[0] if fault.args else "?")
        return []
    finally:
        with suppress(pyodbc().Error):
            cursor.close()


def _sample(connection: Any, dialect: Dialect, table: _Table) -> tuple[tuple[Value, ...], ...]:
    """Up to `SAMPLE_ROWS` rows as store values; none when it fails (a view may)."""
    readers = [reader(column, as_column(column)) for column in table.columns]
    outputs = ", ".join(dialect.output(column) for column in table.columns)
    select = f"SELECT {outputs} FROM {dialect.qualified(table.schema, table.name)}"  # noqa: S608
    cursor = connection.cursor()
    try:
        rows = cursor.execute(dialect.first(select, SAMPLE_ROWS)).fetchmany(SAMPLE_ROWS)
        return tuple(tuple(read(cell) for read, cell in zip(readers, row, strict=True)) for row in rows)
    except (pyodbc().ProgrammingError, pyodbc().DataError, pyodbc().Error) as fault:
        if str(fault.args[0] if fault.args else "").startswith(("08", "HY008", "57014")):
            raise
        connection.rollback()
        log.warning("no sample of %s.%s: %s", table.schema, table.name, fault.args[0] if fault.args else "?")
        return ()
    finally:
        with suppress(pyodbc().Error):
            cursor.close()


def as_column(column: OdbcColumn) -> Column:
    """The column as it is, declared as what it is."""
    found = understand(column)
    return Column(column.name, column.name, found.kind, column.name, scale=found.scale)


def _source_table(table: _Table, rows: tuple[tuple[Value, ...], ...], dialect: Dialect) -> SourceTable:
    required = {column.name for column in table.columns if not column.nullable}
    certain = next((names for names in table.unique if set(names) <= required), ())
    read_only = READ_ONLY_VIEW if table.is_view else READ_ONLY_DATABASE if dialect.facts.read_only else ""
    return SourceTable(
        name=table.name,
        schema=table.schema,
        columns=tuple(_source_column(column) for column in table.columns),
        key=table.primary or certain,
        references=tuple(table.references),
        unique=tuple(table.unique),
        comment=table.comment,
        is_view=table.is_view,
        read_only=read_only,
        rows_estimate=table.rows or len(rows),
        sample=rows,
    )


def _source_column(column: OdbcColumn) -> SourceColumn:
    found = understand(column)
    return SourceColumn(
        name=column.name,
        type=column.type,
        kind=found.kind,
        nullable=column.nullable,
        generated=column.generated or column.identity.upper() == "ALWAYS",
        defaulted=bool(column.default or column.identity),
        padded=found.padded,
        length_max=found.length_max,
        precision=found.precision,
        scale=found.scale,
        comment=column.comment,
    )
