"""What a backend says of itself: its tables, columns, keys and comments, before anything is inferred."""

from __future__ import annotations

from dataclasses import dataclass, field

from brique.schema.kinds import Kind, Value


@dataclass(frozen=True)
class SourceColumn:
    """A column as the source describes it. `type` is its own word for the type, `kind` what that means here."""

    name: str
    type: str
    kind: Kind
    nullable: bool = True
    generated: bool = False
    defaulted: bool = False
    padded: bool = False
    length_max: int | None = None
    precision: int | None = None
    scale: int | None = None
    choices: tuple[str, ...] = ()
    comment: str = ""


@dataclass(frozen=True)
class SourceReference:
    """A foreign key: this table's columns, and the table (schema, name) and columns that they point to."""

    columns: tuple[str, ...]
    table: tuple[str, str]
    target_columns: tuple[str, ...]


@dataclass(frozen=True)
class SourceTable:
    """A table or view. `sample` holds up to some hundred rows of store values, to recognise old ways of writing.

    `read_only` says why it cannot be written, besides a missing key ("" when it can).
    """

    name: str
    columns: tuple[SourceColumn, ...]
    schema: str = ""
    key: tuple[str, ...] = ()
    references: tuple[SourceReference, ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()
    comment: str = ""
    is_view: bool = False
    read_only: str = ""
    rows_estimate: int = 0
    sample: tuple[tuple[Value, ...], ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Catalogue:
    """All that a backend offers, in its own order."""

    tables: tuple[SourceTable, ...]
