"""Pending changes laid over source rows: a pure fold. The writer keeps what it needs on disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from brique.schema import Row


@dataclass(frozen=True, slots=True)
class Laid:
    """One change of a command not let go. `position` and `ordinal` are its place in the order of all changes."""

    position: int
    ordinal: int
    before: Row | None
    after: Row | None


def fold(base: Row | None, changes: Iterable[Laid], names: tuple[str, ...]) -> Row | None:
    """The visible row of a key: `base` with `changes`, in order, over it. Columns not in `names` are left out.

    An insert over a row that is there already (its source brought it in the meantime) keeps what the source filled in.
    An update of no row stays no row. A change without before and after only marks the row.
    """
    row = base
    for change in changes:
        if change.after is None:
            row = None if change.before is not None else row
        elif change.before is None:
            start = row if row is not None else dict.fromkeys(names)
            row = {**start, **_known(change.after, names)}
        elif row is not None:
            row = {**row, **_known(change.after, names)}
    return row


def _known(values: Row, names: tuple[str, ...]) -> Row:
    return {name: value for name, value in values.items() if name in names}
