"""What a form asks for: the columns of a table, the parameters of a command; and which kind of field each becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from brique.commands import CommandSpec
from brique.schema import Column, Kind, Row, TableSpec, Value, from_python, to_python

_LONG_CHARS_MIN = 200
_LONG_WORDS = ("note", "comment", "descri", "remark", "remarque", "body", "memo", "observation", "message")
_LONG_TYPES = ("clob", "longtext", "mediumtext", "ntext", "memo")
_ZONED_TYPES = ("with time zone", "timestamptz", "datetimeoffset")
FIXED, BY_SYSTEM = "fixed", "system"


@dataclass(frozen=True)
class Ask:
    """One thing that a form asks for.

    `table`: it is the key of a row there, looked up; with `by_key` the value is that row's key text itself, else the
    value of its one key column. `fixed`: "" when it can be typed, "fixed" when it is only shown, "system" when the
    backend gives it and there is nothing to show yet. `new`: the row is being made.
    """

    column: Column
    table: str = ""
    by_key: bool = False
    fixed: str = ""
    is_key: bool = False
    new: bool = False

    @property
    def name(self) -> str:
        return self.column.name

    @property
    def required(self) -> bool:
        if self.column.nullable or self.fixed or kind_of(self, "", None) == "check":
            return False
        return not (self.column.defaulted and (self.new or self.column.kind is Kind.TEXT))


def asks_of_table(spec: TableSpec, specs: Mapping[str, TableSpec], *, new: bool) -> tuple[Ask, ...]:
    """What the form of a row of `spec` asks for, in the order of its columns."""
    asks = []
    for column in spec.columns:
        is_key = column.name in spec.key
        fixed = ""
        if column.generated or (is_key and new and spec.key_given_by_backend):
            fixed = BY_SYSTEM if new else FIXED
        elif is_key and not new:
            fixed = FIXED
        asks.append(Ask(column, _looked_up_in(spec, column.name, specs), False, fixed, is_key, new))
    return tuple(asks)


def _looked_up_in(spec: TableSpec, column: str, specs: Mapping[str, TableSpec]) -> str:
    reference = spec.reference_of.get(column)
    target = specs.get(reference.table) if reference is not None else None
    if reference is None or target is None or target.key != reference.target_columns:
        return ""
    return target.name


def asks_of_command(command: CommandSpec) -> tuple[Ask, ...]:
    """What a declared command asks for: rows by their key, values by their kind."""
    return tuple(
        Ask(
            Column(
                name=parameter.name,
                source=parameter.name,
                kind=parameter.kind,
                label=parameter.label,
                nullable=not parameter.required,
                scale=None,
            ),
            table=parameter.table,
            by_key=bool(parameter.table),
            new=True,
        )
        for parameter in command.parameters
    )


def defaults_of(command: CommandSpec) -> Row:
    """The values that a command's form begins with, as store values."""
    return {
        parameter.name: from_python(parameter.kind, parameter.default)
        for parameter in command.parameters
        if parameter.default is not None and not parameter.table
    }


def arguments_of(asks: Sequence[Ask], values: Row) -> dict[str, Any]:
    """Store values as the arguments that a command takes: Python values, and key texts for rows."""
    return {
        ask.name: values[ask.name] if ask.by_key else to_python(ask.column.kind, values[ask.name], ask.column.scale)
        for ask in asks
        if values.get(ask.name) is not None
    }


def kind_of(ask: Ask, text: str, value: Value) -> str:
    """How the field of `ask` looks (a kind of `parts/form.html`), given what stands in it."""
    column = ask.column
    if ask.table:
        return "reference"
    if value is not None and not column.fits(value):
        return "long" if "\n" in str(value) else "text"
    if column.choices:
        return "choice"
    if column.kind is Kind.BOOLEAN:
        return "choice" if column.nullable or (column.defaulted and ask.new) else "check"
    if column.kind in (Kind.TEXT, Kind.ANY):
        return "long" if _is_long(column, text) else "text"
    return _KINDS[column.kind]


_KINDS = {
    Kind.INTEGER: "integer",
    Kind.DECIMAL: "number",
    Kind.REAL: "number",
    Kind.DATE: "date",
    Kind.DATETIME: "datetime",
    Kind.TIME: "time",
    Kind.BINARY: "file",
    Kind.JSON: "long",
}


def _is_long(column: Column, text: str) -> bool:
    if "\n" in text or len(text) > _LONG_CHARS_MIN or (column.length_max or 0) > _LONG_CHARS_MIN * 2:
        return True
    if any(word in column.source_type.lower() for word in _LONG_TYPES):
        return True
    return column.length_max is None and any(word in column.name.lower() for word in _LONG_WORDS)


def is_aware(column: Column, seen: Value) -> bool:
    """Whether moments of this column bear a zone: as the value there does, else as the backend's type says."""
    if isinstance(seen, str):
        return seen.endswith("Z")
    return any(word in column.source_type.lower() for word in _ZONED_TYPES)
