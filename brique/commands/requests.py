"""What the engine can be asked about commands, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from brique.commands.acts import Again, Dismiss, Move
from brique.commands.report import Report
from brique.errors import BriqueError
from brique.schema import Command, State
from brique.store import positions_in, spans_of

_WAITING = (State.KEPT, State.SENDING)


@dataclass(frozen=True)
class Give:
    """Keep `command`. `token` makes it once only for its user ("" for none). `followers` are kept with it, all or
    none, right behind it: the mails that it asks for. `again`: it is kept instead of another one. `fresh`: only when
    the rows are as its author saw them, else the answer is Stale (see `fresh`)."""

    command: Command
    token: str = ""
    followers: tuple[Command, ...] = ()
    again: Again | None = None
    fresh: bool = False


@dataclass(frozen=True)
class Claim:
    """A backend's process is about to send these commands. `for_good`: note it in the spool."""

    positions: tuple[int, ...]
    for_good: bool = False


@dataclass(frozen=True)
class Release:
    """These claimed commands have not arrived, for that reason: they wait again. `for_good` as in their claim.
    `tried`: the backend was there, and the try counts; the next one comes at the stamp `next_try`."""

    positions: tuple[int, ...]
    reason: str
    for_good: bool = False
    tried: bool = False
    next_try: str | None = None


Request = Give | Move | Dismiss | Report | Claim | Release


@dataclass(frozen=True)
class Receipt:
    """The answer to a `Give`: where the command stands in the spool, and whether it had been given before."""

    id: str
    position: int
    duplicate: bool = False


@dataclass(frozen=True)
class Claimed:
    """The answer to a `Claim`: the commands that still wait, with the state that they were in."""

    states: dict[int, State]

    def to_payload(self) -> dict[str, Any]:
        """As the channel carries it: spans of positions, by state."""
        found = {state: spans_of(sorted(p for p, at in self.states.items() if at is state)) for state in _WAITING}
        return {state.value: spans for state, spans in found.items()}

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Claimed:
        found = {state: positions_in([(first, last) for first, last in payload[state.value]]) for state in _WAITING}
        return cls({position: state for state, positions in found.items() for position in positions})


LedgerAnswer = Receipt | Claimed | BriqueError | None
