"""The life of a command, as a table: from which state it may go to which, and what makes it go.

    given ──▶ kept ──▶ sending ──▶ applied
                 │        │  ├───▶ refused   (the backend or a rule said no)
                 │        │  ├───▶ conflict  (the row had changed meanwhile)
                 │        │  └───▶ unknown   (sent once, outcome cannot be told)
                 └────────┴──────▶ withdrawn (by its author, while it has not been sent)

`applied` goes back to `kept` only when the backend shows that it has forgotten the command (restored, or crashed
without having flushed).
"""

from __future__ import annotations

from brique.errors import Refused
from brique.schema import State

MOVES: dict[State, frozenset[State]] = {
    State.KEPT: frozenset(
        {State.SENDING, State.APPLIED, State.REFUSED, State.CONFLICT, State.UNKNOWN, State.WITHDRAWN}
    ),
    State.SENDING: frozenset({State.KEPT, State.APPLIED, State.REFUSED, State.CONFLICT, State.UNKNOWN}),
    State.APPLIED: frozenset({State.KEPT}),
    State.REFUSED: frozenset(),
    State.CONFLICT: frozenset(),
    State.UNKNOWN: frozenset({State.APPLIED, State.REFUSED}),
    State.WITHDRAWN: frozenset(),
}


def may_move(now: State, to: State) -> bool:
    """Whether a command in state `now` may go to state `to`."""
    return to in MOVES[now]


def check_move(now: State, to: State) -> None:
    """Raises Refused, with a sentence for people, when `now` does not lead to `to`."""
    if not may_move(now, to):
        raise Refused(f"A command that is {now} cannot become {to}.")
