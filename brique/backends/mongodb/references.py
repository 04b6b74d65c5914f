"""References guessed from names and values, for whoever asks: `customer_id`, `customerId` or `customer` whose values
are all `_id`s of a collection called so, or in the plural."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from brique.backends.mongodb.values import ways
from brique.schema import Catalogue, Column, SourceColumn, SourceReference, SourceTable, fold

Holds = Callable[[str, Sequence[Any]], bool]


def confirmed(catalogue: Catalogue, holds: Holds) -> Catalogue:
    """`catalogue` with the references whose sample values `holds` says are all there."""
    targets = {fold(table.name): table for table in catalogue.tables if table.key == ("_id",) and not table.is_view}
    return Catalogue(tuple(replace(table, references=_found(table, targets, holds)) for table in catalogue.tables))


def _found(table: SourceTable, targets: dict[str, SourceTable], holds: Holds) -> tuple[SourceReference, ...]:
    found = []
    for index, column in enumerate(table.columns):
        target = _target(column, targets)
        if target is None or target is table or table.is_view:
            continue
        key = target.columns[0]
        values = list(dict.fromkeys(row[index] for row in table.sample if row[index] is not None))
        as_key = Column(key.name, key.name, key.kind, key.name, source_type=key.type)
        if values and holds(target.name, [ways(as_key, value)[0] for value in values]):
            found.append(SourceReference((column.name,), (target.schema, target.name), (key.name,)))
    return tuple(found)


def _target(column: SourceColumn, targets: dict[str, SourceTable]) -> SourceTable | None:
    name = re.sub(r"(_id|Id|ID|_ref)$", "", column.name.rsplit(".", 1)[-1])
    stem = fold(name)
    for candidate in (stem, f"{stem}s", f"{stem}es", re.sub(r"y$", "ies", stem)):
        target = targets.get(candidate)
        if target is not None and target.columns[0].kind is column.kind and column.name != "_id":
            return target
    return None
