"""The engine's word on what may be sent: a command that is claimed can be withdrawn no more.

Claims have no owner, because only one process can make and give back those of a backend: the supervisor starts it again
when the kernel has told the end of the one before, which dies with its supervisor too, and one engine at a time has the
lock of a data folder. What can outlive a process is a commit under way in the backend; that meets the mark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from brique.schema import State


class Claims(Protocol):
    """Asked by replay before and after it sends."""

    def claim(self, waiting: Sequence[tuple[int, State]], *, for_good: bool) -> Mapping[int, State]:
        """Those of these commands (position, state as last seen) that still wait, with the state that they are in:
        `kept`, or `sending` when they were claimed before. They are `sending` from now on.

        `for_good`: noted in the spool too, so that a store made anew knows it. Raises EngineAway.
        """
        ...

    def release(self, positions: Sequence[int], reason: str, *, for_good: bool) -> None:
        """These claimed commands have certainly not arrived: they are kept again."""
        ...

    def tried(self, position: int, reason: str, *, seconds: float) -> None:
        """An attempt at this command alone has failed, although the backend answers otherwise; the next one comes
        in `seconds`."""
        ...


class Alone:
    """Claims where nobody withdraws anything: in tests of replay alone."""

    def claim(self, waiting: Sequence[tuple[int, State]], *, for_good: bool) -> Mapping[int, State]:
        return dict(waiting)

    def release(self, positions: Sequence[int], reason: str, *, for_good: bool) -> None:
        """Nobody else knew."""

    def tried(self, position: int, reason: str, *, seconds: float) -> None:
        """Nobody looks."""
