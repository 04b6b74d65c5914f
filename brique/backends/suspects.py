"""Undeclared references: suspected from names and types (`schema.infer`), confirmed by looking the values up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from brique.schema import Catalogue, SourceReference, Value, suspected_references


class Holds(Protocol):
    """Whether every one of `values` (store values) stands in that column of that table."""

    def __call__(self, table: str, schema: str, column: str, values: Sequence[Value]) -> bool: ...


def confirm(catalogue: Catalogue, holds: Holds) -> Catalogue:
    """`catalogue` with those suspected references whose sample values all exist where they would point."""
    found: dict[tuple[str, str], list[SourceReference]] = {}
    for suspect in suspected_references(catalogue):
        schema, table = suspect.reference.table
        if holds(table, schema, suspect.reference.target_columns[0], suspect.values):
            found.setdefault(suspect.table, []).append(suspect.reference)
    return Catalogue(
        tuple(
            replace(table, references=(*table.references, *found.get((table.schema, table.name), ())))
            for table in catalogue.tables
        )
    )
