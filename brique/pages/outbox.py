"""Pages: the outbox."""

from __future__ import annotations

from brique.http import Routes
from brique.pages.parts import Parts


def routes(parts: Parts) -> Routes:
    """The routes of these pages."""
    return Routes()
