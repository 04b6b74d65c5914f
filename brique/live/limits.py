"""How much may be followed here, and how patiently."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LiveLimits:
    """How many may follow in this process and of one session, how often a quiet stream shows that it is alive, after
    what time a follower who takes nothing is cut off, how long an answer may wait for news, and up to which length an
    answer travels in an event."""

    followers_max: int = 10_000
    session_followers_max: int = 100
    heartbeat_seconds: float = 15.0
    stalled_seconds_max: float = 60.0
    wait_seconds_max: float = 60.0
    body_bytes_max: int = 16 * 1024
    poll_seconds: float = 0.2
