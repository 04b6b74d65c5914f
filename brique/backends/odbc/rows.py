"""Rows of a table over ODBC as a spec declares it: what it means in SQL, values converted both ways."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

from brique.backends import values as raw
from brique.backends.faults import refused
from brique.backends.odbc.catalogue import columns_of, unique_of
from brique.backends.odbc.dialect import Dialect
from brique.backends.odbc.faults import explain
from brique.backends.odbc.types import OdbcColumn, parameter, reader, understand
from brique.errors import BackendAway, BackendRefused
from brique.schema import Column, Kind, Row, TableSpec, Value


class TableRows:
    """One table as `spec` declares it and as the database has it now (`actual`)."""

    def __init__(self, spec: TableSpec, actual: Sequence[OdbcColumn], dialect: Dialect) -> None:
        self.spec = spec
        self.dialect = dialect
        self.table = dialect.qualified(spec.source_schema, spec.source)
        found = {column.name: column for column in actual}
        missing = [column.source for column in spec.columns if column.source not in found]
        if missing:
            raise refused("{table} has no column {columns}.", table=spec.source, columns=", ".join(missing))
        self.actual = {column.name: found[column.source] for column in spec.columns}
        self._readers = [reader(self.actual[column.name], column) for column in spec.columns]
        self._writers = {column.name: raw.writer(column) for column in spec.columns}
        self._quoted = {column.name: dialect.quoted(column.source) for column in spec.columns}
        outputs = ", ".join(dialect.output(self.actual[column.name]) for column in spec.columns)
        self.select = f"SELECT {outputs} FROM {self.table}"  # noqa: S608
        self.written = {
            column.name: column
            for column in spec.columns
            if not (
                column.generated
                or self.actual[column.name].generated
                or self.actual[column.name].identity.upper() == "ALWAYS"
            )
        }
        self.unique: dict[str, tuple[str, ...]] = {}

    def explained(self, backend: str, seconds: float) -> Any:
        """How a fault of a statement on this table is told."""

        def tell(state: str, said: str) -> BackendAway | BackendRefused:
            columns = tuple(column.source for column in self.spec.columns)
            return explain(state, said, backend=backend, seconds=seconds, unique=self.unique, columns=columns)

        return tell

    # out

    def parsed(self, rows: Sequence[Sequence[Any]]) -> list[tuple[Value, ...]]:
        """Rows of `select`, as pyodbc gives them, as store values."""
        readers = self._readers
        return [tuple(read(cell) for read, cell in zip(readers, row, strict=True)) for row in rows]

    def parsed_key(self, cells: Sequence[Any]) -> Row:
        """The key of a row, from the cells of its key columns."""
        by_name = dict(zip(self.spec.names, self._readers, strict=True))
        return {name: by_name[name](cell) for name, cell in zip(self.spec.key, cells, strict=True)}

    @property
    def key_outputs(self) -> str:
        return ", ".join(self._quoted[name] for name in self.spec.key)

    # in

    def name(self, column: Column) -> str:
        return self._quoted[column.name]

    def bound(self, parameters: list[Any], column: Column, value: Value) -> str:
        """The SQL of a value for this column: a parameter, or NULL (whose type a driver may not know)."""
        actual = self.actual[column.name]
        made = parameter(actual, self._writers[column.name], value)
        if made is None:
            return "NULL"
        if isinstance(made, str):
            self._check_text(column, made)
        parameters.append(made)
        return self.dialect.place(actual)

    def _check_text(self, column: Column, text: str) -> None:
        if "\x00" in text:
            raise refused("{columns} must not contain a NUL character.", columns=column.source)
        try:
            text.encode()
        except UnicodeEncodeError as fault:
            raise refused("{columns} contains half a character.", columns=column.source) from fault

    def where(self, parameters: list[Any], key: Sequence[Value]) -> str:
        """The condition for a key; each way in which the source may have written a part counts."""
        parts = []
        for column, value in zip(self.spec.key_columns, key, strict=True):
            ways = [self.bound(parameters, column, way) for way in _ways(column, value)]
            name = self._quoted[column.name]
            if ways == ["NULL"]:
                parts.append(f"{name} IS NULL")
            else:
                parts.append(f"{name} = {ways[0]}" if len(ways) == 1 else f"{name} IN ({', '.join(ways)})")
        return " AND ".join(parts)

    def same(self, parameters: list[Any], before: Row) -> str:
        """The condition that the row still holds `before`; strict: it may miss an unusual way of writing."""
        parts = []
        told = {name: value for name, value in before.items() if name in self.written}
        kinds = {name: understand(self.actual[name]).kind for name in told}
        if any(_has_many_ways(kinds[name], value) for name, value in told.items()):
            return " AND 1 = 0"  # to be read, and compared as brique shows it
        for name, value in told.items():
            actual, kind, cell = self.actual[name], kinds[name], self._quoted[name]
            mark = self.bound(parameters, self.written[name], value)
            if mark == "NULL":
                parts.append(f" AND {cell} IS NULL")
            elif kind is Kind.TEXT and not _is_padded(actual):
                parts.append(f" AND {self.dialect.exact(cell, actual)} = {self.dialect.exact(mark, actual)}")
            else:
                parts.append(f" AND {cell} = {mark}")
        return "".join(parts)

    def holds(self, now: Row | None, before: Row) -> bool:
        """Whether the row `now` shows what `before` says, as brique shows it."""
        return now is not None and all(now.get(name) == value for name, value in before.items() if name in self.written)


def _has_many_ways(kind: Kind, value: Value) -> bool:
    """Whether equal values may be written differently: JSON; bytes in a column of texts."""
    return value is not None and (kind is Kind.JSON or (isinstance(value, bytes) and kind is not Kind.BINARY))


def _is_padded(actual: OdbcColumn) -> bool:
    return understand(actual).padded


def _ways(column: Column, value: Value) -> list[Value]:
    ways = [value]
    if isinstance(value, str) and column.kind is Kind.TEXT:
        if not value.isascii():
            ways.append(unicodedata.normalize("NFD", value))
        if column.decoder == "trim" and column.length_max:
            ways.append(value.ljust(column.length_max))
    return list(dict.fromkeys(ways))


def load(cursor: Any, spec: TableSpec, dialect: Dialect) -> TableRows:
    """`spec` with the columns that its table has now. Raises BackendRefused when there is no such table."""
    actual = columns_of(cursor, dialect, spec.source_schema, spec.source)
    if not actual:
        raise refused("There is no table {table}.", table=dialect.qualified(spec.source_schema, spec.source))
    rows = TableRows(spec, actual, dialect)
    if spec.writable:
        rows.unique = {
            name: columns for name, _, columns in unique_of(cursor, dialect, spec.source_schema, spec.source)
        }
    return rows
