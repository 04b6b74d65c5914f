"""What a table is: columns, key, references, labels. Plain frozen data that every room shares."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from brique.schema import keys, kinds
from brique.schema.kinds import Kind, Value


@dataclass(frozen=True)
class Column:
    """One column. `name` is its identifier in brique (store, API, Python), `source` its name in the backend.

    `source_type` is the backend's own type, verbatim, for casts. `generated`: the backend computes it, brique never
    writes it. `defaulted`: may be left empty when a row is made, the backend fills it; `default` is what a native
    table fills in (a store value). `decoder` names one of `schema.DECODERS`. `length_max` counts characters,
    `precision` and `scale` decimal digits.
    """

    name: str
    source: str
    kind: Kind
    label: str
    source_type: str = ""
    nullable: bool = True
    generated: bool = False
    defaulted: bool = False
    decoder: str = ""
    length_max: int | None = None
    precision: int | None = None
    scale: int | None = None
    choices: tuple[str, ...] = ()
    help: str = ""
    default: Any = None  # a Value: msgspec knows no union of text and bytes

    def python(self, value: Value) -> Any:
        """`value` (store) as Python."""
        return kinds.to_python(self.kind, value, self.scale)

    def json(self, value: Value) -> Any:
        """`value` (store) as JSON."""
        return kinds.to_json(self.kind, value, self.scale)

    def fits(self, value: Value) -> bool:
        """Whether `value` (store) is of this column's kind."""
        return kinds.fits(self.kind, value, self.scale)

    def store(self, value: Any) -> Value:
        """A Python value as store value, checked for kind, length and size. Raises ValueError with a sentence."""
        return self._checked(kinds.from_python(self.kind, value, self.scale))

    def store_json(self, value: Any) -> Value:
        """A JSON value as store value, checked likewise. Raises ValueError with a sentence."""
        return self._checked(kinds.from_json(self.kind, value, self.scale))

    def _checked(self, value: Value) -> Value:
        if self.length_max and self.kind is Kind.TEXT and isinstance(value, str) and len(value) > self.length_max:
            raise ValueError(f"Must have at most {self.length_max} characters.")
        if self.kind is Kind.DECIMAL and self.precision and isinstance(value, int) and abs(value) >= 10**self.precision:
            raise ValueError("Is too large.")
        if self.choices and value is not None and value not in self.choices:
            raise ValueError("Must be one of: {}.".format(", ".join(self.choices)))
        return value


@dataclass(frozen=True)
class Reference:
    """Columns of this table that hold the key of a row of another: `columns[i]` equals `target_columns[i]` there."""

    columns: tuple[str, ...]
    table: str
    target_columns: tuple[str, ...]


@dataclass(frozen=True)
class TableSpec:
    """One table. `name` is its identifier, `source` and `source_schema` its verbatim name in the backend.

    `key` names the key columns in order; empty when the source has none. `read_only` says why rows cannot be
    written ("" when they can). `label_columns` make the readable label of a row, `list_columns` a list's first columns.
    """

    name: str
    source: str
    backend: str
    label: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()
    label_columns: tuple[str, ...] = ()
    list_columns: tuple[str, ...] = ()
    source_schema: str = ""
    read_only: str = ""
    is_view: bool = False
    help: str = ""
    rows_estimate: int = 0
    unique: tuple[tuple[str, ...], ...] = field(default=())

    @cached_property
    def by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @cached_property
    def key_columns(self) -> tuple[Column, ...]:
        return tuple(self.by_name[name] for name in self.key)

    @cached_property
    def reference_of(self) -> dict[str, Reference]:
        """The single-column reference that starts at each column."""
        return {ref.columns[0]: ref for ref in self.references if len(ref.columns) == 1}

    @cached_property
    def writable(self) -> bool:
        return not self.read_only and bool(self.key)

    @cached_property
    def key_given_by_backend(self) -> bool:
        """Whether the backend numbers new rows (identity, serial, INTEGER PRIMARY KEY)."""
        return len(self.key) == 1 and self.key_columns[0].defaulted and self.key_columns[0].kind is Kind.INTEGER

    def key_of(self, row: dict[str, Value]) -> str:
        """The key text of `row` (store values by column name)."""
        return keys.join(tuple(row[name] for name in self.key))

    def key_values(self, key: str) -> tuple[Value, ...]:
        """The store values of the key columns in a key text. Raises ValueError when they do not fit."""
        parts = keys.split(key)
        if len(parts) != len(self.key):
            raise ValueError(f"the key of {self.name} has {len(self.key)} parts, {key!r} has {len(parts)}")
        return tuple(_key_value(column, part) for column, part in zip(self.key_columns, parts, strict=True))

    def changed(self, **values: Any) -> TableSpec:
        """A copy with other values for some fields."""
        return replace(self, **values)


def _key_value(column: Column, part: str | None) -> Value:
    """A part of a key text as the store value of its column: the parts are store values written out."""
    if part is None:
        return None
    stored_as_int = column.kind in (Kind.INTEGER, Kind.BOOLEAN) or (
        column.kind is Kind.DECIMAL and column.scale is not None
    )
    if stored_as_int and part.removeprefix("-").isdigit() and part.isascii():
        return int(part)
    if column.kind is Kind.REAL:
        try:
            return float(part)
        except ValueError:
            return part
    return part.encode() if column.kind is Kind.BINARY else part
