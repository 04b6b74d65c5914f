"""When to try a backend again: a circuit breaker with back-off and jitter. Pure: clock and randomness are handed in.

    live ──failed──▶ down ──pause over──▶ (one probe) ──succeeded──▶ live
                      ▲                        └──failed, longer pause──┘

A port that opens (`hurry`) ends the pause at once.
A call that takes longer than `slow_seconds` makes the backend `slow` until a call is quick again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Lock

from brique.clock import Clock

HURRY_SECONDS, HURRY_PAUSE_SECONDS = 3.0, 0.06
"""How long, and with which pauses, a backend is tried whose port has just opened: it may still be starting."""


class Health(StrEnum):
    LIVE = "live"
    SLOW = "slow"
    DOWN = "down"


@dataclass
class Breaker:
    """The health of one backend, for the threads that talk to it.

    `pause_min_seconds` doubles at each failure, up to `pause_max_seconds`.
    """

    clock: Clock
    random: Callable[[], float]
    pause_min_seconds: float = 0.25
    pause_max_seconds: float = 5.0
    slow_seconds: float = 1.0
    health: Health = Health.DOWN
    reason: str = ""
    failures: int = 0
    next_try: float = 0.0
    hurry_until: float = 0.0
    _lock: Lock = field(default_factory=Lock, repr=False)

    def may_try(self) -> bool:
        """Whether a call may be made now: always while not down, and when the pause is over while down."""
        return self.health is not Health.DOWN or self.clock.monotonic() >= self.next_try

    def seconds_left(self) -> float:
        """How long until the next try; 0 when it may be made now."""
        return 0.0 if self.health is not Health.DOWN else max(0.0, self.next_try - self.clock.monotonic())

    def hurry(self) -> None:
        """There is a sign that the backend comes back: try now, and without growing pauses for a while."""
        with self._lock:
            if self.health is Health.DOWN:
                self.failures = 0
                self.next_try = self.clock.monotonic()
                self.hurry_until = self.next_try + HURRY_SECONDS

    def succeeded(self, took_seconds: float) -> bool:
        """A call came back. Whether the health changed."""
        with self._lock:
            before = self.health
            self.health = Health.SLOW if took_seconds >= self.slow_seconds else Health.LIVE
            self.failures, self.reason = 0, ""
            return self.health is not before

    def failed(self, reason: str) -> bool:
        """A call failed, or took too long. Whether the health changed."""
        with self._lock:
            before = self.health
            self.health, self.reason = Health.DOWN, reason
            self.failures += 1
            if self.clock.monotonic() < self.hurry_until:
                self.next_try = self.clock.monotonic() + HURRY_PAUSE_SECONDS * (0.75 + self.random() / 2)
                return before is not Health.DOWN
            pause: float = min(self.pause_max_seconds, self.pause_min_seconds * 2.0 ** min(self.failures - 1, 16))
            self.next_try = self.clock.monotonic() + pause * (0.75 + self.random() / 2)
            return before is not Health.DOWN
