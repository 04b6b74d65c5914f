"""Care for spool and store: bringing the store up to the spool, letting go of what settled long ago, and finding the
segments that are worn, full of commands that are forgotten and held by a few that are not.

What the spool lets go of is known from the store alone. It is flushed first: thrown back by a power cut, it would know
these commands as waiting, and nobody could tell it any more that they had settled.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import msgspec

from brique.commands import journal
from brique.errors import NoRoom
from brique.spool import Damage, Entry, Record, Spool, Stretch
from brique.store import Store, Tx

log = logging.getLogger(__name__)
_CATCH_UP_RECORDS = 500
_WORN = 8  # a segment is written anew when less than 1 in 8 of its records are of a command that is left
_RECORDS_MIN = 1000

Show = Callable[[Tx, int, journal.Entry], None]


def catch_up(spool: Spool, store: Store, show: Show) -> int:
    """`show` what the spool keeps and the store has not seen; how many records that was. In as small steps as a disk
    without much room allows. Raises NoRoom; what was done by then stays done."""
    done, limit = 0, _CATCH_UP_RECORDS
    while True:
        with store.transaction() as tx:
            after = tx.spool_position()
        records = list(spool.read(after, limit))
        if not records:
            _pass_over(spool, store, after)
            return done
        try:
            with store.transaction() as tx:
                for record in records:
                    _catch_up_with(tx, record, show)
                tx.set_spool_position(records[-1].position)
        except NoRoom:
            make_room(store)
            if limit == 1:
                raise
            limit = max(1, limit // 64)
        else:
            done += len(records)
            if limit < _CATCH_UP_RECORDS:
                make_room(store)  # before the log takes the room that it needs to be moved


def _pass_over(spool: Spool, store: Store, after: int) -> None:
    """Nothing is kept past `after`; what was, is forgotten. A store made anew has to know how far the spool had come:
    a backend's mark is measured by it."""
    last = spool.last()
    if after < last:
        with store.transaction() as tx:
            tx.set_spool_position(last)


def _catch_up_with(tx: Tx, record: Record | Damage, show: Show) -> None:
    """One record more. What cannot be read is told, and does not stop the others."""
    if isinstance(record, Damage):
        log.error("a part of the spool is lost: %s", record)
        return
    try:
        entry = journal.decode(record.payload)
    except msgspec.DecodeError as fault:
        log.error("record %d of the spool says nothing that this brique knows: %s", record.position, fault)
        return
    show(tx, record.position, entry)


def make_room(store: Store) -> None:
    """Give back the room that the store's log takes; what is in it goes over old pages of the store."""
    with suppress(NoRoom):
        store.checkpoint(restart=True)


@dataclass(frozen=True)
class Worn:
    """The segment that begins at `first`, and which of its records are needed still."""

    first: int
    is_needed: Callable[[Record], bool]


def forget(spool: Spool, store: Store, before: datetime) -> int:
    """Let go of commands that settled before that moment and need nobody, and of the spool's records up to the oldest
    command that is left; how many commands that was."""
    with store.transaction() as tx:
        count = tx.forget_settled(before)
        oldest = tx.commands.oldest()
        shown = tx.spool_position()
    store.flush()
    spool.forget(min(shown, oldest - 1) if oldest else shown)  # also what there was no room for last time
    return count


def worn(store: Store, stretches: Sequence[Stretch]) -> Worn | None:
    """The oldest segment worth writing anew; None without one. Only commands that the store has seen settle and has
    forgotten count as gone, so `stretches` must all lie before the store's own position in the spool."""
    with store.transaction() as tx:
        shown, found = tx.spool_position(), None
        for stretch in stretches:
            if stretch.last > shown or stretch.records < _RECORDS_MIN:
                continue
            left = tx.commands.count_between(stretch.first, stretch.last)
            if 2 * left * _WORN < stretch.records:
                found = Worn(stretch.first, _Needed(frozenset(tx.commands.positions_upto(stretch.last))))
                break
    if found is not None:
        store.flush()
    return found


def keep_rung(spool: Spool, store: Store, entry: journal.Climbed) -> bool:
    """Keep on which rung a backend's commands are applied from now on, when that is not known; whether it was not. A
    store that was thrown back or lost has to know it: a mark says nothing of commands that were applied without it."""
    state = store.reader.backend_states().get(entry.backend)
    if state is not None and state.rung == entry.rung:
        return False
    spool.append([Entry(journal.encode(entry))], urgent=True)
    return True


@dataclass(frozen=True)
class _Needed:
    """A record is needed when the command that it gives or speaks of is left. What cannot be read is."""

    left: frozenset[int]

    def __call__(self, record: Record) -> bool:
        try:
            entry = journal.decode(record.payload)
        except msgspec.DecodeError:
            return True
        if isinstance(entry, journal.Adopted | journal.Climbed):
            return True
        if isinstance(entry, journal.Applied):
            return not self.left.isdisjoint(entry.positions)
        return (record.position if isinstance(entry, journal.Given) else entry.position) in self.left
