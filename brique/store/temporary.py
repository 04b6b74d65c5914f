"""Values that stand for rows without a number: the temporary key of a row in a column that refers to its table."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from brique.schema import PENDING, Change, Row, TableSpec


def replaced(change: Change, specs: Mapping[str, TableSpec], real_key: Callable[[str, str], str]) -> Change:
    """`change` with the numbers that are known by now in the place of temporary keys; itself when there is nothing to
    replace. `real_key(table, key)` gives the key itself while the row has no number."""
    spec = specs.get(change.table)
    if spec is None or not spec.reference_of:
        return change
    before, after = (_row(row, spec, specs, real_key) for row in (change.before, change.after))
    if before is change.before and after is change.after:
        return change
    return Change(change.table, change.key, before, after)


def _row(
    row: Row | None, spec: TableSpec, specs: Mapping[str, TableSpec], real_key: Callable[[str, str], str]
) -> Row | None:
    if row is None:
        return None
    found = row
    for name, reference in spec.reference_of.items():
        value, target = row.get(name), specs.get(reference.table)
        if not (isinstance(value, str) and value.startswith(PENDING)) or target is None or len(target.key) != 1:
            continue
        key = real_key(target.name, value)
        if key != value:
            found = {**found, name: target.key_values(key)[0]}
    return found
