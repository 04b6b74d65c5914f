"""Totals kept in step with the rows: by difference, from each change, in its transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import Any

import msgspec

from brique.schema import TableSpec, Value
from brique.store import CellSpec, Representations, Total, canonical, part_of
from brique.views.notes import Asked, Changed, Note, Side, entries, entry_of

CELLS_MAX = 10_000
_Difference = dict[tuple[bytes, bytes], list[int]]


class _Cell:
    """One cell made ready."""

    __slots__ = ("asked", "id", "spec")

    def __init__(self, spec: CellSpec) -> None:
        self.id, self.spec = spec.id, spec
        self.asked = Asked(Note(spec.table, 0, spec.conditions))


class Cells:
    """All cells by the entries of their questions; the totals themselves are in the store only."""

    def __init__(self, specs: Mapping[str, TableSpec]) -> None:
        self._specs = specs
        self._by_scheme: dict[str, dict[str, dict[bytes, list[_Cell]]]] = {}
        self._known: dict[bytes, str] = {}

    def load(self, kept: Representations) -> None:
        """Take those that are in the store, and no others."""
        self._by_scheme.clear()
        self._known.clear()
        for raw in kept.cells():
            self._add(msgspec.msgpack.decode(raw, type=CellSpec))

    def _add(self, spec: CellSpec) -> None:
        cell = _Cell(spec)
        self._known[cell.id] = spec.table
        for scheme, value in entries(cell.asked.note):
            by_value = self._by_scheme.setdefault(spec.table, {}).setdefault(scheme, {})
            by_value.setdefault(value, []).append(cell)

    def take(self, kept: Representations, spec: CellSpec, totals: Iterable[Total]) -> None:
        """Keep what a view has counted, which nothing has changed since."""
        if spec.id in self._known or spec.table not in self._specs:
            return
        if len(self._known) >= CELLS_MAX:
            self._make_room(kept)
        kept.put_cell(spec.id, spec.table, msgspec.msgpack.encode(spec))
        for total in totals:
            kept.put_total(spec.id, total.part, total.rows, total.numbers, int(total.total))
        self._add(spec)

    def _make_room(self, kept: Representations) -> None:
        """Forget a tenth: what needs one counts again, and it is kept anew."""
        some = list(islice(self._known, max(1, CELLS_MAX // 10)))
        kept.drop_cells_of(some)
        self.load(kept)

    def forget(self, kept: Representations, tables: Collection[str]) -> None:
        """These tables may hold anything now."""
        if not set(tables).isdisjoint(self._known.values()):
            kept.drop_cells(tables)
            self.load(kept)

    def has(self, table: str) -> bool:
        """Whether there are totals of rows of the table."""
        return table in self._by_scheme

    def follow(self, kept: Representations, changes: Iterable[Changed]) -> None:
        """Bring the totals from before these changes to after them."""
        if not self._known:
            return
        difference: _Difference = {}
        for change in changes:
            schemes = self._by_scheme.get(change.table, {})
            for side, sign in ((change.before, -1), (change.after, 1)) if schemes else ():
                if side is not None:
                    self._count(schemes, side, sign, difference)
        for (cell, part), (rows, numbers, total) in difference.items():
            if rows or numbers or total:
                kept.add_to_total(cell, part, rows, numbers, total)

    def _count(
        self, schemes: Mapping[str, Mapping[bytes, list[_Cell]]], side: Side, sign: int, difference: _Difference
    ) -> None:
        for scheme, by_value in schemes.items():
            for cell in by_value.get(entry_of(side, scheme), ()):
                if cell.asked.holds(side):
                    held = difference.setdefault((cell.id, part_of(self._key(cell.spec, side))), [0, 0, 0])
                    number = side.row.get(cell.spec.summed) if cell.spec.summed else None
                    held[0] += sign
                    if isinstance(number, int):
                        held[1] += sign
                        held[2] += sign * number

    def _key(self, spec: CellSpec, side: Side) -> tuple[Value, ...]:
        """The group that a row is in."""
        columns = self._specs[spec.table].by_name
        found: list[Any] = []
        for name, cut in zip(spec.columns, spec.cuts, strict=True):
            value = side.row.get(name)
            if cut is None:
                found.append(canonical(columns[name], value))
            else:
                found.append(None if value is None else str(value)[:cut])
        return tuple(found)
