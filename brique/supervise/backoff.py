"""How long to wait before a process that ended is started again: nearly nothing at first, then longer and longer."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Pauses with jitter from the first crash on; a process that lived `stable_seconds` starts the count anew."""

    random: random.Random
    first_seconds: float = 0.1
    factor: float = 2.0
    seconds_max: float = 30.0
    stable_seconds: float = 10.0
    crashes: int = 0

    def after(self, lived_seconds: float) -> float:
        """The pause in seconds after a process that lived so long ended by itself."""
        self.crashes = 1 if lived_seconds >= self.stable_seconds else self.crashes + 1
        pause = min(self.seconds_max, self.first_seconds * self.factor ** min(self.crashes - 1, 30))
        return pause * self.random.uniform(0.5, 1.0)

    def forget(self) -> None:
        """The process was started anew on purpose."""
        self.crashes = 0
