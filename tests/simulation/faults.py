"""What goes wrong in a simulated life: how often, and what of it did happen, by kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from random import Random


class Crash(BaseException):
    """A process ends here, like kill -9: nothing may catch it, and what it does while it unwinds reaches nobody
    (`is_under_way`, until who watches the process calls `over`)."""

    is_under_way = False

    def __init__(self, place: str) -> None:
        super().__init__(place)
        Crash.is_under_way = True

    @classmethod
    def over(cls) -> None:
        cls.is_under_way = False

    @classmethod
    def check(cls) -> None:
        """To be called by whatever a process reaches the world through."""
        if cls.is_under_way:
            raise Crash("dead already")


class Ended(Exception):
    """What was asked to go on has come to a violent end."""


@dataclass(frozen=True)
class Weather:
    """Chances of each fault: at a call of a backend (`away`, `lost`, `late`, `slow`, `frozen`, `refuse`; `thaw`: that a
    late commit comes to its end), between two disk calls of the engine or two calls of a backend's process (`crash`),
    at a write (`full`, `broken`), and that others act while a call is under way (`pause`)."""

    away: float = 0.0
    lost: float = 0.0
    late: float = 0.0
    thaw: float = 0.3
    slow: float = 0.0
    frozen: float = 0.0
    refuse: float = 0.0
    crash: float = 0.0
    full: float = 0.0
    broken: float = 0.0
    pause: float = 0.0


MOODS = {
    "quiet": Weather(),
    "flaky": Weather(away=0.05, lost=0.2, late=0.05, slow=0.05),
    "dead": Weather(away=1.0),
    "frozen": Weather(frozen=0.3, late=0.1, slow=0.2),
    "wild": Weather(away=0.02, lost=0.1, late=0.03, frozen=0.02, crash=0.02),
    "crashing": Weather(crash=0.06, lost=0.05),
    "late": Weather(away=0.02, late=0.4, thaw=0.05),
}


USUAL = ("quiet", "quiet", "flaky", "dead", "frozen", "wild", "crashing")
PAUSES = (0, 0.05, 0.3)


class Faults:
    """The weather by now, and a count of what it did. One chance for all: a seed decides."""

    def __init__(self, random: Random, moods: Sequence[str] = USUAL, pauses: Sequence[float] = PAUSES) -> None:
        self.random, self.moods, self.pauses = random, moods, pauses
        self.chance: Callable[[], float] = random.random
        self.weather = Weather()
        self.counts: Counter[str] = Counter()

    def happens(self, rate: float, kind: str) -> bool:
        """Whether a fault of this kind happens now; counted when it does."""
        if rate and self.chance() < rate:
            self.counts[kind] += 1
            return True
        return False

    def crash(self, kind: str, share: float = 1.0) -> None:
        """End the process here, perhaps."""
        if self.happens(self.weather.crash * share, kind):
            raise Crash(kind)

    def change(self) -> None:
        """Other weather, for a while."""
        mood = MOODS[self.random.choice(self.moods)]
        self.weather = replace(
            mood,
            refuse=self.random.choice((0, 0, 0.05)),
            full=self.random.choice((0, 0, 0.1)),
            broken=self.random.choice((0, 0, 0.05)),
            pause=self.random.choice(self.pauses),
        )

    @contextmanager
    def none(self) -> Iterator[None]:
        """No faults inside."""
        kept, self.weather = self.weather, Weather()
        try:
            yield
        finally:
            self.weather = kept
