"""Tables that brique itself owns: where they are declared to be, and the types of their columns."""

from __future__ import annotations

from brique.schema.kinds import Kind
from brique.schema.table import Column

NATIVE = "native"
"""The name of the backend that holds the tables declared without one."""
NATIVE_URL = "native:"
_TYPES = {
    Kind.TEXT: "TEXT",
    Kind.INTEGER: "INTEGER",
    Kind.REAL: "REAL",
    Kind.BOOLEAN: "BOOLEAN",
    Kind.DATE: "DATE_TEXT",
    Kind.DATETIME: "MOMENT_TEXT",
    Kind.TIME: "TIME_TEXT",
    Kind.BINARY: "BLOB",
    Kind.JSON: "JSON_TEXT",
    Kind.ANY: "",
}
AS_STORED = frozenset({_TYPES[Kind.DATE], _TYPES[Kind.DATETIME], _TYPES[Kind.TIME]})
"""Types whose texts are written the way the store has them, zone and fraction included."""


def native_type(column: Column) -> str:
    """The SQLite type of a native column. Those with TEXT in their name have the affinity of text, so that a decimal
    keeps every digit."""
    if column.kind is Kind.DECIMAL:
        return "DECIMAL_TEXT" if column.scale is None else f"DECIMAL_TEXT({column.scale})"
    return _TYPES[column.kind]
