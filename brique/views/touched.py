"""Which notes a change touches: pure. For what was made late, whose notes are all at hand."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from brique.views.notes import Asked, Changed, Note, entries, entry_of


class NoteIndex:
    """The notes of one representation, found by changes without looking at all of them."""

    def __init__(self, notes: Iterable[Note]) -> None:
        self._by_scheme: dict[str, dict[str, dict[bytes, list[Asked]]]] = {}
        self.tables = set[str]()
        for note in notes:
            asked = Asked(note)
            self.tables.add(note.table)
            for scheme, value in entries(note):
                by_value = self._by_scheme.setdefault(note.table, {}).setdefault(scheme, {})
                by_value.setdefault(value, []).append(asked)

    def touched_by(self, changes: Iterable[Changed]) -> list[Note]:
        """Those that `changes` touch."""
        found: dict[int, Note] = {}
        for change in changes:
            for scheme, by_value in self._by_scheme.get(change.table, {}).items():
                for value in {entry_of(side, scheme) for side in change.sides}:
                    for asked in by_value.get(value, ()):
                        if asked.touched_by(change):
                            found[id(asked.note)] = asked.note
        return list(found.values())


def crowded(changes: Sequence[Changed], limit: int) -> Collection[str]:
    """Tables with so many changes that letting go of all that read them is cheaper than asking."""
    sizes: dict[str, int] = {}
    for change in changes:
        sizes[change.table] = sizes.get(change.table, 0) + 1
    return {table for table, size in sizes.items() if size > limit}
