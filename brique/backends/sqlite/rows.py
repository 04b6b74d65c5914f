"""Reading and writing rows of a SQLite file: what a spec means in SQL, values converted both ways."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import islice

import apsw

from brique.backends import values as raw
from brique.backends.protocol import BATCH_ROWS, SAMPLE_ROWS
from brique.backends.sqlite.catalogue import columns_of, quoted, safe_row, safe_select, select
from brique.backends.sqlite.types import affinity
from brique.schema import AS_STORED, Column, Kind, Row, TableSpec, Value

_BAD_ROWS_MAX = 50
"""Rows with undecodable text fetched one by one; a table with more is read the slow way from there."""


class TableRows:
    """One table of a SQLite file as `spec` declares it. Made for one connection's current schema; holds no rows."""

    def __init__(self, spec: TableSpec) -> None:
        self.spec = spec
        self.sources = [column.source for column in spec.columns]
        self.select = select(spec.source, self.sources)
        self._safe_select = safe_select(spec.source, self.sources)
        self._readers = [raw.reader(column) for column in spec.columns]
        self._shapes: dict[str, str] = {}
        self._affinities: dict[str, str] = {}

    # reading

    def batches(self, connection: apsw.Connection) -> Iterator[list[tuple[Value, ...]]]:
        """All rows as store values, `BATCH_ROWS` at a time. An undecodable text becomes its bytes."""
        cursor: Iterator[tuple[Value, ...]] = iter(connection.execute(self.select))
        done, bad = 0, 0
        while True:
            batch: list[tuple[Value, ...]] = []
            while len(batch) < BATCH_ROWS:
                before = len(batch)
                try:
                    batch.extend(islice(cursor, BATCH_ROWS - before))
                    break
                except UnicodeDecodeError:
                    # `extend` has kept the rows before the bad one; the cursor stands after it
                    bad += 1
                    position = done + len(batch)
                    if bad > _BAD_ROWS_MAX:
                        cursor = map(safe_row, connection.execute(f"{self._safe_select} LIMIT -1 OFFSET {position}"))
                    else:
                        row = connection.execute(f"{self._safe_select} LIMIT 1 OFFSET {position}").fetchall()
                        batch.append(safe_row(row[0]))
            if not batch:
                return
            done += len(batch)
            yield self.as_store(batch)

    def as_store(self, rows: list[tuple[Value, ...]], names: Sequence[str] | None = None) -> list[tuple[Value, ...]]:
        """Raw rows as store values, column by column; rows of the columns `names` when given."""
        readers = self._readers
        if names is not None:
            by_name = dict(zip(self.spec.names, readers, strict=True))
            readers = [by_name[name] for name in names]
        if not rows or not any(readers):
            return rows
        columns: list[Sequence[Value]] = list(zip(*rows, strict=True))
        for index, read in enumerate(readers):
            if read is not None:
                columns[index] = list(map(read, columns[index]))
        return list(zip(*columns, strict=True))

    def row(self, connection: apsw.Connection, key: Sequence[Value]) -> Row | None:
        """The row of a key (store values)."""
        where, values = self.where(connection, key)
        try:
            found = connection.execute(f"{self.select} WHERE {where} LIMIT 1", values).fetchall()
        except UnicodeDecodeError:
            found = [safe_row(r) for r in connection.execute(f"{self._safe_select} WHERE {where} LIMIT 1", values)]
        if not found:
            return None
        return dict(zip(self.spec.names, self.as_store(found)[0], strict=True))

    # what SQL says

    def where(self, connection: apsw.Connection, key: Sequence[Value]) -> tuple[str, list[Value]]:
        """The condition for a key, and its values: each way in which the source may have written a part counts."""
        parts, values = [], []
        for column, value in zip(self.spec.key_columns, key, strict=True):
            ways = self._ways(connection, column, value)
            if ways == [None]:
                parts.append(f"{quoted(column.source)} IS NULL")
                continue
            parts.append(f"{quoted(column.source)} IN ({', '.join('?' * len(ways))})")
            values += ways
        return " AND ".join(parts), values

    def _ways(self, connection: apsw.Connection, column: Column, value: Value) -> list[Value]:
        written = self.write(connection, column, value)
        ways = [written]
        if isinstance(written, str):
            ways.append(written.rstrip(" "))
            if not written.isascii():
                ways.append(unicodedata.normalize("NFD", written))
            if column.kind is Kind.ANY and written.lstrip("-").isdigit():
                ways.append(int(written))
        if value is not written:
            ways.append(value)
        return list(dict.fromkeys(ways))

    def write(self, connection: apsw.Connection, column: Column, value: Value) -> Value:
        """A store value as this column of the source holds it."""
        shape = self._shape(connection, column) if column.kind in _MOMENTS and not column.decoder else ""
        found = raw.writer(column, shape)(value)
        if column.kind is Kind.DECIMAL and isinstance(found, str):
            return self._number(connection, column, found)
        if column.decoder == "trim" and isinstance(found, str) and column.length_max:
            return found.ljust(column.length_max)
        return found

    def converter(self, connection: apsw.Connection, column: Column) -> Callable[[Value], Value] | None:
        """What `write` does for this column, for many values; None where values stay as they are."""
        shape = self._shape(connection, column) if column.kind in _MOMENTS and not column.decoder else ""
        plain = raw.writer(column, shape)
        if column.kind is Kind.DECIMAL or (column.decoder == "trim" and column.length_max):
            return lambda value: self.write(connection, column, value)
        return None if raw.is_same(plain) else plain

    def _number(self, connection: apsw.Connection, column: Column, text: str) -> Value:
        """A decimal as SQLite keeps it: text in a text column, else an integer or the float that prints the same."""
        if self._affinity(connection, column) == "TEXT":
            return text
        number = raw.decimal_of(text)
        if number is None:
            return text
        if number == number.to_integral_value():
            return int(number) if abs(number) <= raw.INTEGER_MAX else text
        return float(number) if raw.decimal_of(float(number)) == number else text

    def _affinity(self, connection: apsw.Connection, column: Column) -> str:
        if not self._affinities:
            entries = columns_of(connection, self.spec.source)
            self._affinities = {entry.name: affinity(entry.declared) for entry in entries}
        return self._affinities.get(column.source, "BLOB")

    def _shape(self, connection: apsw.Connection, column: Column) -> str:
        """How this column writes dates and times; SQLite's own way when it is empty or has no single one."""
        if column.source_type in AS_STORED:
            return ""
        if column.source not in self._shapes:
            name = quoted(column.source)
            # a text that is not UTF-8 here is no date: it must not stop the others from being seen
            found = connection.execute(
                f"SELECT {name} FROM {quoted(self.spec.source)} "  # noqa: S608
                f"WHERE typeof({name}) = 'text' AND length({name}) BETWEEN 5 AND 32 "
                f"AND {name} GLOB '[0-9]*' AND {name} NOT GLOB '*[^-0-9 :.TZ+]*' LIMIT {SAMPLE_ROWS}"
            ).fetchall()
            shape = raw.shape_of(value for (value,) in found)
            if column.kind is Kind.DATE and shape and not all(raw.is_midnight(value) for (value,) in found):
                shape = ""
            self._shapes[column.source] = shape or _USUAL[column.kind]
        return self._shapes[column.source]

    @cached_property
    def written(self) -> dict[str, Column]:
        """The columns that may be written, by name."""
        return {column.name: column for column in self.spec.columns if not column.generated}

    def cells(self, connection: apsw.Connection, row: Row) -> dict[str, Value]:
        """Source names and raw values of those columns of `row` that may be written."""
        return {
            self.written[name].source: self.write(connection, self.written[name], value)
            for name, value in row.items()
            if name in self.written
        }


_MOMENTS = (Kind.DATE, Kind.DATETIME, Kind.TIME)
_USUAL = {Kind.DATE: raw.PLAIN_DATE, Kind.DATETIME: raw.PLAIN_MOMENT, Kind.TIME: raw.PLAIN_TIME}
