"""Rows that were never made, and those made in their place.

A command that was refused and sent anew makes its row under another receipt than the first time. What had been built
on the first one, and was refused with it, still names that row by the old receipt: sent anew in its turn, it is to
mean the row that has taken the place of the first.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

from brique.commands.acts import EDITED, RETRIED
from brique.commands.custom import CommandSpec
from brique.commands.waiting import maker
from brique.schema import PENDING, Change, Row, TableSpec
from brique.store import Deed, StoredCommand, StoredRow

_TIMES_MAX = 100
"""How often in a row a command may have been sent anew."""


class Copy(Protocol):
    """What is asked of the store."""

    def command(self, which: int | str, user: str | None = None) -> StoredCommand | None: ...
    def deeds(self, positions: Collection[int]) -> Mapping[int, list[Deed]]: ...
    def row(self, table: str, key: str) -> StoredRow | None: ...


def heir(copy: Copy, table: str, key: str) -> str:
    """The key of the row that was made in the place of the one with the temporary `key` (a number, once it has one);
    `key` itself when the row is there, when nothing was sent anew, or when that has made no such row."""
    if PENDING not in key or copy.row(table, key) is not None:
        return key
    found = key
    for _time in range(_TIMES_MAX):
        receipt = maker(found)
        instead = _sent_anew_as(copy, receipt)
        if not instead:
            break
        found = found.replace(PENDING + receipt, PENDING + instead)
        row = copy.row(table, found)
        if row is not None:
            return row.key
    return key


def _sent_anew_as(copy: Copy, receipt: str) -> str:
    item = copy.command(receipt) if receipt else None
    if item is None:
        return ""
    deeds = copy.deeds([item.position]).get(item.position, [])
    return next((deed.other for deed in deeds if deed.what in (RETRIED, EDITED)), "")


def with_heirs(copy: Copy, change: Change, specs: Mapping[str, TableSpec]) -> Change:
    """`change` on the row, and with the references, that are meant now."""
    spec = specs.get(change.table)
    if spec is None:
        return change
    key = change.key if change.before is None else heir(copy, change.table, change.key)
    before, after = (_row(copy, spec, values, specs) for values in (change.before, change.after))
    return Change(change.table, key, before, after)


def _row(copy: Copy, spec: TableSpec, values: Row | None, specs: Mapping[str, TableSpec]) -> Row | None:
    found = None if values is None else dict(values)
    for name, reference in spec.reference_of.items():
        value, target = found.get(name) if found else None, specs.get(reference.table)
        if found is None or target is None or not (isinstance(value, str) and value.startswith(PENDING)):
            continue
        key = heir(copy, target.name, value)
        found[name] = key if key.startswith(PENDING) else target.key_values(key)[0]
    return found


def arguments_with_heirs(copy: Copy, spec: CommandSpec, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a command, as the journal keeps them, with the rows that are meant now."""
    tables = {parameter.name: parameter.table for parameter in spec.parameters if parameter.table}
    return {
        name: heir(copy, tables[name], value) if name in tables and isinstance(value, str) else value
        for name, value in arguments.items()
    }
