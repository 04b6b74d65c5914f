"""Rows from backends into the copy: when to look, what has changed, when a backend counts as away."""

from brique.refresh.breaker import Breaker, Health
from brique.refresh.guard import Guard
from brique.refresh.knock import KNOCK_SECONDS, Knock
from brique.refresh.refresher import Changes, Interrupted, Refresher, Result, Send, read_changes

__all__ = [
    "KNOCK_SECONDS",
    "Breaker",
    "Changes",
    "Guard",
    "Health",
    "Interrupted",
    "Knock",
    "Refresher",
    "Result",
    "Send",
    "read_changes",
]
