"""How many commands share a transaction, and which of them are left in peace. Pure but for the clock handed in.

Batches grow while they are quick and shrink while they are slow. A backend that answers a ping and never comes back
from a batch has a command in it that it cannot take: the batch is halved until that one is alone, and after some tries
alone it rests, with all that is on its rows, while the others go on. It is tried again, less and less often.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from brique.commands.waiting import Waiting

QUICK_SECONDS, SLOW_SECONDS = 0.2, 1.0
GROWTH = 5
"""How far the size may go up and down from the one that is set: 1,000 may become 5,000."""
SHRINK = 10
TRIES_ALONE = 3
REST_SECONDS_MIN, REST_SECONDS_MAX = 5.0, 600.0


@dataclass
class _Rest:
    tries: int = 0
    until: float = 0.0


class Pace:
    """Size of batches around `usual`; rests by position. `monotonic` is a clock, `chance` 0..1 makes the jitter."""

    def __init__(self, usual: int, *, monotonic: Callable[[], float], chance: Callable[[], float]) -> None:
        self.usual = usual
        self.size = usual
        self._monotonic, self._chance = monotonic, chance
        self._rests: dict[int, _Rest] = {}

    def took(self, count: int, seconds: float) -> None:
        """A transaction of `count` commands was committed."""
        if seconds > SLOW_SECONDS:
            self.size = max(min(count, self.size) // 2, self.usual // SHRINK, 1)
        elif seconds < QUICK_SECONDS and count >= self.size:
            self.size = min(self.size * 2, self.usual * GROWTH)

    def stuck(self, positions: list[int]) -> float | None:
        """The backend went away over these. How long the only one of them rests; None when nothing is known yet."""
        if len(positions) != 1:
            self.size = max(1, len(positions) // 2)
            return None
        rest = self._rests.setdefault(positions[0], _Rest())
        rest.tries += 1
        if rest.tries < TRIES_ALONE:
            return 0.0
        pause: float = min(REST_SECONDS_MAX, REST_SECONDS_MIN * 2.0 ** min(rest.tries - TRIES_ALONE, 10))
        pause *= 0.75 + self._chance() / 2
        rest.until = self._monotonic() + pause
        return pause

    def is_resting(self, position: int) -> bool:
        rest = self._rests.get(position) if self._rests else None
        return rest is not None and rest.until > self._monotonic()

    def is_odd(self, position: int) -> bool:
        """Whether it has been tried alone: it is tried alone again."""
        return bool(self._rests) and position in self._rests

    @property
    def has_rests(self) -> bool:
        """Whether any command has been tried alone and has not settled yet."""
        return bool(self._rests)

    def all_over(self, items: Iterable[Waiting]) -> None:
        """These commands have settled."""
        if self._rests:
            for item in items:
                self.over(item.position)

    def over(self, position: int) -> None:
        """The command has settled."""
        self._rests.pop(position, None)
