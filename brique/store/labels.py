"""Readable labels for rows."""

from __future__ import annotations

from brique.schema import TableSpec, Value
from brique.store.rows import StoredRow


def label_of(spec: TableSpec, row: StoredRow) -> str:
    """A readable label for a row: its label columns, else its key."""
    parts = [str(spec.by_name[name].json(row.values[name])) for name in spec.label_columns if _shown(row.values[name])]
    return " ".join(parts) or row.key


def _shown(value: Value) -> bool:
    return value is not None and value != "" and not isinstance(value, bytes)
