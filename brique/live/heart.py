"""Shows quiet followers that their streams are alive, a few at a time, and cuts off those that take nothing."""

from __future__ import annotations

from collections.abc import Collection

from brique.live.follower import Follower
from brique.live.limits import LiveLimits

BEATS_A_ROUND = 10


class Heart:
    """A round over all `followers` takes `heartbeat_seconds`, so that not all of them are written to at once."""

    def __init__(self, followers: Collection[Follower], limits: LiveLimits) -> None:
        self._followers, self._limits = followers, limits
        self._due: list[Follower] = []
        self._round_began = 0.0

    def begin(self, now: float) -> None:
        self._round_began = now

    def rest(self) -> None:
        self._due = []

    def beat(self, now: float) -> None:
        """Beat for the next of a round."""
        passed = (now - self._round_began) / self._limits.heartbeat_seconds
        due = len(self._due) if passed >= 1 else int(len(self._due) * (1 - passed))
        if passed >= 1:
            due, self._round_began = 0, now
        for follower in self._due[due:]:
            if follower.rung_at is not None and now - follower.rung_at > self._limits.stalled_seconds_max:
                follower.leave()
                if follower.sink is not None:
                    follower.sink.cut()
            elif not follower.ended:
                follower.beat(now)
        del self._due[due:]
        if passed >= 1:
            self._due = list(self._followers)
