"""Which segments of the spool are worn: full of commands that are forgotten, and held by a few that are not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from brique.commands import journal
from brique.spool import Record, Stretch
from brique.store import Tx

_WORN = 8  # a segment is written anew when less than 1 in 8 of its records are of a command that is left
_RECORDS_MIN = 1000


@dataclass(frozen=True)
class Worn:
    """The segment that begins at `first`, and which of its records are needed still."""

    first: int
    is_needed: Callable[[Record], bool]


def worn(tx: Tx, stretches: Sequence[Stretch]) -> Worn | None:
    """The oldest segment worth writing anew; None without one. Only commands that the store has seen settle and has
    forgotten count as gone, so `stretches` must all lie before the store's own position in the spool."""
    shown = tx.spool_position()
    for stretch in stretches:
        if stretch.last > shown or stretch.records < _RECORDS_MIN:
            continue
        left = tx.commands.count_between(stretch.first, stretch.last)
        if 2 * left * _WORN < stretch.records:
            return Worn(stretch.first, _Needed(frozenset(tx.commands.positions_upto(stretch.last))))
    return None


@dataclass(frozen=True)
class _Needed:
    """A record is needed when the command that it gives or speaks of is left. What cannot be read is."""

    left: frozenset[int]

    def __call__(self, record: Record) -> bool:
        try:
            entry = journal.decode(record.payload)
        except msgspec.DecodeError:
            return True
        return (record.position if isinstance(entry, journal.Given) else entry.position) in self.left
