"""Time, handed in: whatever decides asks a Clock, so that a test or a simulation can own it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """The moment, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean anything."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


def stamp(moment: datetime) -> str:
    """`moment` (aware) as the store writes it: UTC, microseconds, sorts as text: 2026-11-20T10:41:00.000000Z."""
    moment = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")[:26] + "Z"


def unstamp(text: str) -> datetime:
    """The aware moment that `stamp` wrote."""
    return datetime.fromisoformat(text)
