"""Rows as JSON, and their entity tags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from brique.http import etag_of
from brique.schema import Kind, Row, TableSpec
from brique.views import Copy, StoredRow, label_of

META = ("_key", "_label", "_pending", "_version")
"""Members of a row that are not columns. Sent back by a caller they are passed over."""


def row_json(spec: TableSpec, row: StoredRow) -> dict[str, Any]:
    """A row by itself: everything, binary values as base64."""
    return {**_head(spec, row), **full(spec, row.values)}


def listed_json(spec: TableSpec, row: StoredRow, columns: Sequence[str], address: str) -> dict[str, Any]:
    """A row of a list: these columns, binary values as their size and where they are; `address` is the table's."""
    values: dict[str, Any] = {}
    for name in columns:
        value = row.values[name]
        if isinstance(value, bytes):
            values[name] = {"bytes": len(value), "url": f"{address}/{row.key}/{name}.bin"}
        else:
            values[name] = spec.by_name[name].json(value)
    return {**_head(spec, row), **values}


def full(spec: TableSpec, values: Row) -> dict[str, Any]:
    """The columns of a row; those that `values` lacks are left out."""
    return {column.name: column.json(values[column.name]) for column in spec.columns if column.name in values}


def blob_columns(spec: TableSpec) -> list[str]:
    """The columns of bytes."""
    return [column.name for column in spec.columns if column.kind is Kind.BINARY]


def row_etag(copy: Copy, row: StoredRow) -> str:
    """Changes with every change of the row, and when the store is made anew; no other row has it."""
    return etag_of(copy.stream_id().encode(), row.key.encode(), b"%d %d" % (row.version, row.pending))


def _head(spec: TableSpec, row: StoredRow) -> dict[str, Any]:
    return {"_key": row.key, "_label": label_of(spec, row), "_pending": row.pending, "_version": row.version}
