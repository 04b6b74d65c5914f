"""What the spool's records do to the store, which shows them: each entry once, in the order of the spool."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec

from brique.commands import adopting, journal
from brique.commands.acts import deed_of, told_by
from brique.errors import NotFound
from brique.schema import Command, State
from brique.store import Tx

log = logging.getLogger(__name__)


def show_all(tx: Tx, entries: Sequence[tuple[int, journal.Entry]]) -> None:
    """Bring entries (position, entry) into the store; commands that follow each other are laid together."""
    given: list[tuple[int, journal.Given]] = []
    for position, entry in entries:
        if isinstance(entry, journal.Given):
            given.append((position, entry))
            continue
        _lay(tx, given)
        given = []
        show(tx, position, entry)
    _lay(tx, given)


def show(tx: Tx, position: int, entry: journal.Entry) -> None:
    """Bring one entry into the store. What it speaks of may be gone: forgotten after its time, or a table that the
    intranet does not serve any more."""
    try:
        match entry:
            case journal.Given():
                _lay(tx, [(position, entry)])
            case journal.Moved():
                _move(tx, entry)
            case journal.Applied():
                tx.applied({position: {} for position in entry.positions})
            case journal.Dismissed():
                tx.dismiss(entry.position)
            case journal.Adopted():
                adopting.show(tx, entry)
            case journal.Climbed(backend, rung):
                tx.backend_state(backend, rung=rung)
    except NotFound as fault:
        log.info("record %d of the spool: %s", position, fault.message)
        return
    if (deed := deed_of(position, entry)) is not None:
        tx.deeds.add(deed)


def _lay(tx: Tx, given: Sequence[tuple[int, journal.Given]]) -> None:
    """Lay commands over the copy; those of tables that the intranet does not serve any more are refused."""
    if not given:
        return
    gone: dict[int, list[str]] = {}
    served: list[tuple[int, Command]] = []
    for position, entry in given:
        command = entry.command
        if any(change.table not in tx.tables for change in command.changes):
            gone[position] = sorted({change.table for change in command.changes} - set(tx.tables))
            command = msgspec.structs.replace(command, changes=())
        served.append((position, command))
    tx.lay_many(served)
    for position, tables in gone.items():
        tx.settle(position, State.REFUSED, reason=f"The table {', '.join(tables)} is not served any more.")
    for position, entry in given:
        for deed in told_by(position, entry):
            tx.deeds.add(deed)


def _move(tx: Tx, entry: journal.Moved) -> None:
    if entry.state is State.KEPT:
        tx.reopen(entry.position)
        tx.tried([entry.position], entry.reason, None)
    elif entry.state is State.SENDING:
        tx.sending([entry.position])
    else:
        tx.settle(entry.position, entry.state, reason=entry.reason, theirs=entry.theirs, keys=entry.keys)
