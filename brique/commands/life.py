"""The life of a command, as a table: from which state it may go to which, and what makes it go.

    given ──▶ kept ──▶ sending ──▶ applied
                 │        │  ├───▶ refused   (the backend or a rule said no; or to one that it builds on)
                 │        │  ├───▶ conflict  (the row had changed meanwhile)
                 │        │  └───▶ unknown   (sent once, outcome cannot be told)
                 └────────┴──────▶ withdrawn (by its author, while it has not been sent)

`applied` goes back to `kept` only when the backend shows that it has forgotten the command (restored, or crashed
without having flushed).
"""

from __future__ import annotations

from brique.errors import Refused
from brique.schema import State

_FORGOTTEN = "as from `sending`, when a crash has lost the claim"
LIFE: dict[tuple[State, State], str] = {
    (State.KEPT, State.SENDING): "it is its turn: it is claimed, and can no longer be withdrawn",
    (State.KEPT, State.APPLIED): _FORGOTTEN,
    (State.KEPT, State.REFUSED): f"what it builds on was refused or withdrawn; else {_FORGOTTEN}",
    (State.KEPT, State.CONFLICT): _FORGOTTEN,
    (State.KEPT, State.UNKNOWN): _FORGOTTEN,
    (State.KEPT, State.WITHDRAWN): "its author took it back",
    (State.SENDING, State.KEPT): "it has certainly not arrived; it will be sent again",
    (State.SENDING, State.APPLIED): "the backend has taken it",
    (State.SENDING, State.REFUSED): "the backend said no, or its author may no longer write",
    (State.SENDING, State.CONFLICT): "the row had changed, or there was already one with its key",
    (State.SENDING, State.UNKNOWN): "the answer was lost, and the row does not tell",
    (State.APPLIED, State.KEPT): "the backend has forgotten it: restored from a backup, or crashed unflushed",
    (State.UNKNOWN, State.APPLIED): "a person has looked and found it there",
    (State.UNKNOWN, State.REFUSED): "a person has looked and not found it",
}
"""Every move there is, and what makes it. The documentation draws it."""
MOVES: dict[State, frozenset[State]] = {now: frozenset(to for (at, to) in LIFE if at is now) for now in State}
WAITS: dict[str, tuple[str, str]] = {
    "its backend is down": ("everything for that backend", "the backend answers again; no try is counted"),
    "a command that it builds on waits": ("its own rows", "that one is applied; it is refused when that one is"),
    "it is unknown whether a command that it builds on was applied": (
        "its own rows",
        "a person says whether that one arrived; putting it away is no answer",
    ),
    "an earlier command on its row waits": ("its own rows", "that one has settled"),
    "the backend never answers to it alone": ("its own rows", "it is tried again: after 5 s, then ever less often"),
}
"""Why a command stays kept: what waits with it, and until when. Commands on other rows overtake it."""


def may_move(now: State, to: State) -> bool:
    """Whether a command in state `now` may go to state `to`."""
    return to in MOVES[now]


def check_move(now: State, to: State) -> None:
    """Raises Refused, with a sentence for people, when `now` does not lead to `to`."""
    if not may_move(now, to):
        raise Refused(f"A command that is {now} cannot become {to}.")
