"""Whether anybody is at home: a look at a backend's port or file, much cheaper than a connection of its driver.

While a backend is down it is tried with longer and longer pauses; a knock every tenth of a second or two tells the
moment at which its port opens, and the pause ends there. A port that was open all the time tells nothing: a frozen
server accepts connections too.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

PORTS = {
    "postgresql": 5432, "postgres": 5432, "mysql": 3306, "mariadb": 3306, "mongodb": 27017, "http": 80, "https": 443,
    "smtp": 25, "submission": 587, "smtps": 465,
}  # fmt: skip
KNOCK_SECONDS = 0.1, 0.2
"""Pause between two knocks, with jitter."""
_CONNECT_SECONDS = 0.2


def door_of(url: str) -> Callable[[], bool] | None:
    """What tells whether the backend at `url` is at home; None where that cannot be told cheaply."""
    scheme = url.partition(":")[0].lower() if ":" in url else ""
    if scheme in PORTS:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port or PORTS[scheme]
        except ValueError:  # several hosts, or a password with odd letters
            return None
        return (lambda: _accepts(host, port)) if host and "," not in host else None
    path = Path(url.removeprefix("sqlite:///"))
    return path.exists if url and scheme in ("", "sqlite") else None


def _accepts(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=_CONNECT_SECONDS):
            return True
    except OSError:
        return False


class Knock:
    """Remembers whether somebody was at home, to tell the moment at which somebody comes."""

    def __init__(self, url: str) -> None:
        self._door = door_of(url)
        self._was_shut = False

    @property
    def can(self) -> bool:
        """Whether a knock tells anything."""
        return self._door is not None

    def has_opened(self) -> bool:
        """Whether the door was shut at an earlier knock, and is open now."""
        if self._door is None:
            return False
        is_open = self._door()
        opened, self._was_shut = is_open and self._was_shut, not is_open
        return opened
