"""What people do about commands, as the engine takes it: requests to the ledger, their journal entries, their deeds.

A command that is sent anew (as it was, or with other values) is kept in the same append as the record that says so of
the old one, so that no crash leaves both open or both gone, and two people cannot send the same one anew twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from brique.commands import journal
from brique.errors import Refused
from brique.schema import Command, State
from brique.store import Deed, StoredCommand, Tx

RETRIED, EDITED, TOLD = "retried", "edited", "told"
NOTICE = "notice"
"""The name of commands that tell an author by mail what became of his; `arguments["positions"]` lists those."""


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


@dataclass(frozen=True)
class Source:
    """From where somebody acts: `origin` is form, api or cli; `address` the machine, as far as it is known."""

    origin: str = ""
    address: str = ""


@dataclass(frozen=True)
class Again:
    """That a command is kept instead of another one. `receipt`: of that one; `how`: retried (the same wish) or edited
    (other values); `by` whom, "" for its author; `lost`: its outcome was unknown, and `by` says that it has not
    arrived."""

    receipt: str
    how: str = EDITED
    by: str = ""
    source: Source = Source()
    lost: bool = False


@dataclass(frozen=True)
class Move:
    """A person's decision on a command: withdraw it, or say what became of one whose outcome is unknown."""

    position: int
    state: State
    by: str
    reason: str = ""
    source: Source = Source()

    def entry(self, at: str) -> journal.Moved:
        """What the journal keeps of it."""
        return journal.Moved(
            self.position, self.state, at, self.reason, by=self.by, origin=self.source.origin,
            address=self.source.address,
        )  # fmt: skip


@dataclass(frozen=True)
class Dismiss:
    """A person has dealt with a refused, conflicting or unknown command."""

    position: int
    by: str
    source: Source = Source()

    def entry(self, at: str) -> journal.Dismissed:
        """What the journal keeps of it."""
        return journal.Dismissed(self.position, self.by, at, origin=self.source.origin, address=self.source.address)


def replacing(tx: Tx, command: Command, again: Again, at: str, replaced: dict[int, str]) -> list[journal.Entry]:
    """What is journaled of the command that `command` replaces; nothing when it is forgotten. `replaced`: what this
    batch has replaced so far, by position; it grows.

    Raises Refused when that command is still under way, has arrived, or was sent anew before.
    """
    old = tx.commands.by_id(again.receipt)
    if old is None:
        return []
    _check_replaceable(old, again, replaced.get(old.position) or tx.deeds.sent_anew_as(old.position))
    replaced[old.position] = command.id
    by, source = again.by or command.user, again.source
    origin = source.origin or command.origin
    entries: list[journal.Entry] = []
    if old.state is State.UNKNOWN:
        move = Move(old.position, State.REFUSED, by, f"decided by {by}", Source(origin, source.address))
        entries.append(move.entry(at))
    entries.append(
        journal.Dismissed(old.position, by, at, what=again.how, other=command.id, origin=origin, address=source.address)
    )
    return entries


def _check_replaceable(old: StoredCommand, again: Again, other: str) -> None:
    if other:
        raise Refused(_("This was sent anew already, as receipt {other}."), other=other, receipt=other)
    if old.state in (State.KEPT, State.SENDING):
        raise Refused(_("It is still on its way: take it back first."), receipt=again.receipt)
    if old.state is State.APPLIED:
        raise Refused(_("It has arrived: change the row instead."), receipt=again.receipt)
    if old.state is State.UNKNOWN and not again.lost:
        raise Refused(_("Say first whether it has arrived."), receipt=again.receipt)


def deed_of(seq: int, entry: journal.Entry) -> Deed | None:
    """What a person has done, by the spool's record `seq`; None when nobody did anything."""
    if isinstance(entry, journal.Dismissed):
        return Deed(seq, entry.position, entry.at, entry.what, entry.by, entry.origin, entry.address, entry.other)
    if isinstance(entry, journal.Moved) and entry.by and entry.state in _DECIDED:
        return Deed(seq, entry.position, entry.at, _DECIDED[entry.state], entry.by, entry.origin, entry.address)
    return None


_DECIDED = {State.WITHDRAWN: "withdrawn", State.APPLIED: "arrived", State.REFUSED: "not-arrived"}


def told_by(seq: int, entry: journal.Entry) -> list[Deed]:
    """The deeds of a notice: that the author was told of each of these commands."""
    if not isinstance(entry, journal.Given) or entry.command.name != NOTICE:
        return []
    command = entry.command
    positions = command.arguments.get("positions", ())
    told = positions if isinstance(positions, list | tuple) else ()
    return [
        Deed(seq, position, command.at, TOLD, command.user, command.origin, "", command.id)
        for position in told
        if isinstance(position, int)
    ]
