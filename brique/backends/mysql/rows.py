"""Rows of a MariaDB or MySQL table as a spec declares it: what it means in SQL, values converted both ways."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from brique.backends import values as raw
from brique.backends.faults import refused
from brique.backends.mysql.catalogue import MyColumn, columns_of, qualified, quoted
from brique.backends.mysql.line import Connected
from brique.backends.mysql.types import Cells, alike, equal, literal, output, parser
from brique.schema import Column, Kind, Row, TableSpec, Value


class TableRows:
    """One table as `spec` declares it and as the database has it now (`actual`)."""

    def __init__(self, spec: TableSpec, actual: Sequence[MyColumn]) -> None:
        self.spec = spec
        self.table = qualified(spec.source_schema, spec.source)
        self._actual = {column.name: column for column in actual}
        missing = [column.source for column in spec.columns if column.source not in self._actual]
        if missing:
            raise refused("{table} has no column {columns}.", table=spec.source, columns=", ".join(missing))
        types = {column.name: self._actual[column.source].type for column in spec.columns}
        self._types = types
        self._parsers = {column.name: parser(types[column.name], column) for column in spec.columns}
        self._quoted = {column.name: quoted(column.source) for column in spec.columns}
        self._writers = {column.name: raw.writer(column) for column in spec.columns}
        self.written = {
            column.name: column
            for column in spec.columns
            if not (column.generated or self._actual[column.source].generated)
        }

    def _outputs(self, columns: Sequence[Column], prefix: str = "") -> str:
        return ", ".join(output(self._types[c.name], f"{prefix}{self._quoted[c.name]}") for c in columns)

    @cached_property
    def select(self) -> str:
        return f"SELECT {self._outputs(self.spec.columns, 't.')} FROM {self.table} AS t"  # noqa: S608

    @cached_property
    def key_outputs(self) -> str:
        """The key columns, for RETURNING."""
        return self._outputs(self.spec.key_columns)

    @cached_property
    def numbered(self) -> str:
        """The key column that the database numbers (AUTO_INCREMENT); "" when there is none."""
        names = (column.name for column in self.spec.key_columns if self._actual[column.source].numbered)
        return next(names, "")

    @cached_property
    def digests(self) -> str:
        """The SQL of a digest of a whole row: of what `select` shows."""
        parts, nulls = [], []  # CONCAT_WS leaves NULL out, so that which cells are NULL is said first
        for column in self.spec.columns:
            cell = output(self._types[column.name], self._quoted[column.name])
            is_binary = self._types[column.name].name.endswith(("blob", "binary", "vector"))
            parts.append(f"MD5({cell})" if is_binary else cell)
            if self._actual[column.source].nullable:
                nulls.append(f"ISNULL({self._quoted[column.name]})")
        flags = f"CONCAT({', '.join(nulls)}), " if nulls else ""
        return f"MD5(CONCAT_WS(x'00', {flags}{', '.join(parts)}))"

    # out

    def parsed_columns(self, columns: Sequence[Cells]) -> list[tuple[Value, ...]]:
        """Rows of store values from the cells of each column of `select`."""
        parsed = [parse(cells) for parse, cells in zip(self._parsers.values(), columns, strict=True)]
        return list(zip(*parsed, strict=True))

    def parsed(self, rows: Sequence[Sequence[bytes | None]]) -> list[tuple[Value, ...]]:
        """Rows of a plain result of `select` as store values."""
        return self.parsed_columns(list(zip(*rows, strict=True))) if rows else []

    def parsed_key(self, row: Sequence[bytes | None]) -> Row:
        """The key of a row of `key_outputs`."""
        return {name: self._parsers[name]((cell,))[0] for name, cell in zip(self.spec.key, row, strict=True)}

    # in

    def place(self, column: Column, value: Value) -> str:
        """The SQL of a value for this column."""
        written = self._writers[column.name](value)
        if isinstance(written, str):
            try:
                written.encode()
            except UnicodeEncodeError as fault:
                raise refused("{columns} contains half a character.", columns=column.source) from fault
        return literal(self._types[column.name], written)

    def where(self, key: Sequence[Value], prefix: str = "") -> str:
        """The condition for a key: quickly by the index, then exactly; each way in which the source may have written a
        part counts."""
        parts = []
        for column, value in zip(self.spec.key_columns, key, strict=True):
            cell, type_ = f"{prefix}{self._quoted[column.name]}", self._types[column.name]
            ways = [self._writers[column.name](way) for way in _ways(column, value)]
            quick = [alike(type_, cell, way) for way in ways]
            if all(quick):
                parts.append(_either(quick))
            if not (all(quick) and type_.is_plain):
                parts.append(_either([equal(type_, cell, way) for way in ways]))
        return " AND ".join(parts)

    def same(self, before: Row) -> str:
        """The condition that the row still holds `before`; strict: it may miss an unusual way of writing."""
        parts = []
        for name, value in before.items():
            column = self.written.get(name)
            if column is not None:
                written = self._writers[name](value)
                parts.append(f" AND {equal(self._types[name], self._quoted[name], written)}")
        return "".join(parts)

    def holds(self, now: Row | None, before: Row) -> bool:
        """Whether the row `now` shows what `before` says, as brique shows it."""
        return now is not None and all(now.get(name) == value for name, value in before.items() if name in self.written)

    def cells(self, row: Row) -> dict[Column, Any]:
        """Those columns of `row` that may be written, with their values."""
        return {self.written[name]: value for name, value in row.items() if name in self.written}

    def insert(self, row: Row) -> tuple[str, str]:
        """(the head, the values) of the statement that makes this row; rows with the same head go together."""
        cells = self.cells(row)
        names = ", ".join(self._quoted[column.name] for column in cells)
        values = ", ".join(self.place(column, value) for column, value in cells.items())
        return f"INSERT INTO {self.table} ({names}) VALUES ", f"({values})"  # noqa: S608

    def change(self, key: Sequence[Value], before: Row, after: Row | None) -> str:
        """The statement that changes the row of `key` if it still holds `before`; takes it away when `after` is
        None."""
        if after is None:
            to = f"DELETE FROM {self.table}"  # noqa: S608
        else:
            pairs = [f"{self._quoted[c.name]} = {self.place(c, value)}" for c, value in self.cells(after).items()]
            to = f"UPDATE {self.table} SET {', '.join(pairs)}"  # noqa: S608
        return f"{to} WHERE {self.where(key)}{self.same(before)}"


def _either(conditions: Sequence[str]) -> str:
    return conditions[0] if len(conditions) == 1 else f"({' OR '.join(conditions)})"


def _ways(column: Column, value: Value) -> list[Value]:
    if isinstance(value, str) and column.kind is Kind.TEXT and not value.isascii():
        return list(dict.fromkeys([value, unicodedata.normalize("NFD", value)]))
    return [value]


def load(connection: Connected, spec: TableSpec) -> TableRows:
    """`spec` with the columns that its table has now. Raises BackendRefused when there is no such table."""
    actual = columns_of(connection, spec.source_schema, spec.source)
    if not actual:
        raise refused("There is no table {table}.", table=qualified(spec.source_schema, spec.source))
    return TableRows(spec, actual)
