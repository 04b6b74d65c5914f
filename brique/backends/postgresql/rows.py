"""Rows of a PostgreSQL table as a spec declares it: what it means in SQL, values converted both ways."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.adapt import Buffer, Dumper, Loader

from brique.backends import values as raw
from brique.backends.faults import refused
from brique.backends.postgresql.catalogue import PgColumn, columns_of, qualified, quoted, run, texts
from brique.backends.postgresql.types import literal, output, parser, understand, unescape
from brique.schema import Column, Kind, Row, TableSpec, Value


@dataclass(frozen=True, slots=True)
class Raw:
    """A parameter as the bytes that the server's own input function reads; its type is the server's to find out."""

    data: bytes


class RawDumper(Dumper):
    """Sends `Raw` untouched."""

    oid = 0

    def dump(self, obj: Raw) -> Buffer:
        return obj.data


class DirtyLoader(Loader):
    """Text of a database that does not know its own encoding: bytes that are not UTF-8 become surrogates."""

    def load(self, data: Buffer) -> str:
        return bytes(data).decode("utf-8", "surrogateescape")


class Parameters:
    """The values of one statement, in the order of their `$n`."""

    def __init__(self) -> None:
        self.values: list[Raw | None] = []

    def add(self, value: Raw | None) -> str:
        self.values.append(value)
        return f"${len(self.values)}"


class TableRows:
    """One table as `spec` declares it and as the database has it now (`actual`)."""

    def __init__(self, spec: TableSpec, actual: Sequence[PgColumn]) -> None:
        self.spec = spec
        self.table = qualified(spec.source_schema, spec.source)
        self._actual = {column.name: column for column in actual}
        missing = [column.source for column in spec.columns if column.source not in self._actual]
        if missing:
            raise refused("{table} has no column {columns}.", table=spec.source, columns=", ".join(missing))
        self._types = [self._actual[column.source].type for column in spec.columns]
        self._parsers = [parser(type_, column) for type_, column in zip(self._types, spec.columns, strict=True)]
        self.select = f"SELECT {self._outputs(spec.columns)} FROM {self.table} AS t"  # noqa: S608
        self._natural = {
            column.name: understand(type_).kind for column, type_ in zip(spec.columns, self._types, strict=True)
        }
        self._writers = {column.name: raw.writer(column) for column in spec.columns}
        self._quoted = {column.name: quoted(column.source) for column in spec.columns}
        self.written = {
            column.name: column
            for column in spec.columns
            if not (column.generated or self._actual[column.source].generated or self._is_numbered(column))
        }

    @property
    def has_generated(self) -> bool:
        """Whether a column follows from others."""
        return any(column.generated or self._actual[column.source].generated for column in self.spec.columns)

    def _is_numbered(self, column: Column) -> bool:
        return self._actual[column.source].identity == "a"

    def _outputs(self, columns: Sequence[Column]) -> str:
        return ", ".join(output(self._actual[c.source].type, f"t.{quoted(c.source)}") for c in columns)

    @property
    def key_outputs(self) -> str:
        """The key columns, for RETURNING."""
        return ", ".join(output(self._actual[c.source].type, quoted(c.source)) for c in self.spec.key_columns)

    # out

    def copied(self, lines: bytes) -> list[tuple[Value, ...]]:
        """Lines as COPY wrote them as rows of store values."""
        try:
            text, is_clean = lines.decode(), True
        except UnicodeDecodeError:
            text, is_clean = lines.decode("utf-8", "surrogateescape"), False
        # one split for all cells and a stride for each column: several times quicker than line by line
        cells = text.removesuffix("\n").replace("\n", "\t").split("\t")
        width = len(self._parsers)
        columns: list[Sequence[str | None]] = [cells[at::width] for at in range(width)]
        if "\\" in text:
            only_nulls = text.count("\\") == text.count("\\N")
            columns = [unescape(column, only_nulls=only_nulls) for column in columns]
        return self._parsed(columns, self._parsers, is_clean=is_clean)

    def parsed(self, rows: Sequence[Sequence[str | None]]) -> list[tuple[Value, ...]]:
        """Rows of a plain result of `select` as store values."""
        return self._parsed(list(zip(*rows, strict=True)), self._parsers, is_clean=False) if rows else []

    def parsed_key(self, row: Sequence[str | None]) -> Row:
        """The key of a row of `key_outputs`."""
        by_name = dict(zip(self.spec.names, self._parsers, strict=True))
        parsers = [by_name[name] for name in self.spec.key]
        return dict(
            zip(self.spec.key, self._parsed([(cell,) for cell in row], parsers, is_clean=False)[0], strict=True)
        )

    @staticmethod
    def _parsed(
        columns: Sequence[Sequence[str | None]], parsers: Sequence[Any], *, is_clean: bool
    ) -> list[tuple[Value, ...]]:
        if is_clean:
            parsed = [parse(cells) for parse, cells in zip(parsers, columns, strict=True)]
        else:
            parsed = [_parse_dirty(parse, cells) for parse, cells in zip(parsers, columns, strict=True)]
        return list(zip(*parsed, strict=True))

    # in

    def raw(self, column: Column, value: Value) -> Raw | None:
        """A store value as a parameter for this column."""
        written = literal(self._writers[column.name], value)
        if written is None:
            return None
        if isinstance(written, bytes):
            is_binary = self._natural[column.name] is Kind.BINARY
            return Raw(b"\\x" + written.hex().encode() if is_binary else written)
        if "\x00" in written:
            raise refused("{columns} must not contain a NUL character.", columns=column.source)
        try:
            return Raw(written.encode())
        except UnicodeEncodeError as fault:
            raise refused("{columns} contains half a character.", columns=column.source) from fault

    def place(self, parameters: Parameters, column: Column, value: Value) -> str:
        """The SQL of a value for this column, as a parameter."""
        mark = parameters.add(self.raw(column, value))
        return f"{mark}::numeric::money" if self._type(column) == "money" else mark

    def quoted(self, column: Column) -> str:
        return self._quoted[column.name]

    def is_text(self, column: Column) -> bool:
        """Whether it is compared by its bytes, whatever the collation."""
        return self._natural[column.name] is Kind.TEXT

    @property
    def outputs(self) -> str:
        """All columns of `t`, as `parsed` reads them."""
        return self._outputs(self.spec.columns)

    def texts(self, column: Column, values: Sequence[Value]) -> list[str | None] | None:
        """Store values of one column as the texts that the server reads; None when one of them has no text.
        Raises BackendRefused, as `raw`."""
        if column.kind is Kind.INTEGER and not column.decoder and set(map(type, values)) == {int}:
            return list(map(str, values))  # the many that there mostly are
        write, found = self._writers[column.name], list[str | None]()
        for value in values:
            written = literal(write, value)
            if isinstance(written, bytes):
                return None
            if written is not None and ("\x00" in written or not _is_whole(written)):
                self.raw(column, value)
            found.append(written)
        return found

    def type_name(self, column: Column) -> str:
        """What the server calls the column's type, without its length."""
        return self._type(column)

    def _type(self, column: Column) -> str:
        return self._actual[column.source].type.name

    def where(self, parameters: Parameters, key: Sequence[Value]) -> str:
        """The condition for a key; each way in which the source may have written a part counts."""
        parts = []
        for column, value in zip(self.spec.key_columns, key, strict=True):
            name = self._quoted[column.name]
            if value is None and self.raw(column, value) is None:
                parts.append(f"{name} IS NULL")
                continue
            ways = [self.place(parameters, column, way) for way in _ways(column, value)]
            parts.append(f"{name} = {ways[0]}" if len(ways) == 1 else f"{name} IN ({', '.join(ways)})")
        return " AND ".join(parts)

    def same(self, parameters: Parameters, before: Row) -> str:
        """The condition that the row still holds `before`; strict: it may miss an unusual way of writing."""
        parts = []
        for name, value in before.items():
            column = self.written.get(name)
            if column is None:
                continue
            if isinstance(value, bytes) and self._natural[name] is not Kind.BINARY:
                return " AND false"  # bytes that are not UTF-8: the server would not even take them for comparing
            cell, type_ = self._quoted[name], self._type(column)
            if self._natural[name] is Kind.TEXT or type_ == "json":
                cell = f'{cell}::text COLLATE "C"'
            mark = parameters.add(self.raw(column, value))
            if type_ == "money":
                cell, mark = f"{cell}::numeric", f"{mark}::numeric"
            parts.append(f" AND {cell} IS NOT DISTINCT FROM {mark}")
        return "".join(parts)

    def holds(self, now: Row | None, before: Row) -> bool:
        """Whether the row `now` shows what `before` says, as brique shows it."""
        return now is not None and all(now.get(name) == value for name, value in before.items() if name in self.written)


def _is_whole(text: str) -> bool:
    """Whether it has no half of a character."""
    return text.isascii() or not _is_dirty(text)


def _ways(column: Column, value: Value) -> list[Value]:
    ways = [value]
    if isinstance(value, str) and column.kind is Kind.TEXT:
        if not value.isascii():
            ways.append(unicodedata.normalize("NFD", value))
        if column.decoder == "trim" and column.length_max:
            ways.append(value.ljust(column.length_max))
    return list(dict.fromkeys(ways))


def _parse_dirty(parse: Any, cells: Sequence[str | None]) -> list[Value]:
    """Parse cells of which some may hold bytes that are not UTF-8: those come as bytes."""
    bad = {at: cell for at, cell in enumerate(cells) if cell is not None and not cell.isascii() and _is_dirty(cell)}
    if not bad:
        found: list[Value] = parse(cells)
        return found
    found = parse([None if at in bad else cell for at, cell in enumerate(cells)])
    for at, cell in bad.items():
        found[at] = cell.encode("utf-8", "surrogateescape")
    return found


def _is_dirty(cell: str) -> bool:
    try:
        cell.encode()
    except UnicodeEncodeError:
        return True
    return False


def load(connection: psycopg.Connection[Any], spec: TableSpec) -> TableRows:
    """`spec` with the columns that its table has now. Raises BackendRefused when there is no such table."""
    name = qualified(spec.source_schema, spec.source)
    found = texts(run(connection, "SELECT to_regclass($1)::oid::int8", (Raw(name.encode()),)))
    if found[0][0] is None:
        raise refused("There is no table {table}.", table=name)
    oid = int(found[0][0])
    return TableRows(spec, columns_of(connection, [oid])[oid])
