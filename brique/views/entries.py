"""Which entries of dependencies are stored, in memory: most changes meet none, and need not ask the store."""

from __future__ import annotations

from brique.store import Representations
from brique.views.notes import Bits, Changed, columns_of, entry_of

VALUES_MAX = 1_000
"""So many values of a scheme are remembered; beyond, the store is asked each time."""


class Scheme:
    """One scheme of a table. `values`: those that are stored, and perhaps some that are no more; None: too many."""

    __slots__ = ("_mask", "name", "values")

    def __init__(self, name: str, mask: int, values: set[bytes] | None) -> None:
        self.name, self._mask, self.values = name, mask, values

    def met_by(self, change: Changed) -> set[bytes]:
        """The values of this scheme that the change may have touched."""
        if self.values is not None and not self.values:
            return set()
        sides = change.sides
        if len(sides) == 2 and not change.differing & self._mask:
            sides = sides[1:]  # the same before and after
        found = {entry_of(side, self.name) for side in sides}
        return found if self.values is None else found & self.values

    def is_gone(self, value: bytes) -> None:
        """The store has nothing under that value."""
        if self.values is not None:
            self.values.discard(value)


class Entries:
    """The schemes in use, by table. What it does not name is not stored."""

    def __init__(self, bits: Bits) -> None:
        self._bits = bits
        self._by_table: dict[str, dict[str, Scheme]] = {}

    def clear(self) -> None:
        """Something was rolled back: read anew when it is needed."""
        self._by_table.clear()

    def of(self, kept: Representations, table: str) -> dict[str, Scheme]:
        found = self._by_table.get(table)
        if found is None:
            found = self._by_table[table] = {}
            for name in kept.schemes(table):
                values = kept.entries(table, name, VALUES_MAX + 1)
                found[name] = self._scheme(table, name, set(values) if len(values) <= VALUES_MAX else None)
        return found

    def add(self, kept: Representations, table: str, name: str, value: bytes) -> None:
        """This one is stored now."""
        schemes = self.of(kept, table)
        if name not in schemes:
            schemes[name] = self._scheme(table, name, set())
        values = schemes[name].values
        if values is not None:
            values.add(value)
            if len(values) > VALUES_MAX:
                schemes[name].values = None

    def _scheme(self, table: str, name: str, values: set[bytes] | None) -> Scheme:
        return Scheme(name, self._bits.of(table, columns_of(name)) if self._bits.knows(table) else -1, values)
