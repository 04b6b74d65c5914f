"""What a follower names when he looks at a view: which one, for which arguments, and who he is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import msgspec

GONE = "-"
"""The mark of a view that says there is nothing (not found, not allowed)."""
DOUBT = "?"
"""The mark of a view that has changed while nobody could tell into what."""
_LETTERS = 8


@dataclass(frozen=True, slots=True)
class Watched:
    """A view as somebody looks at it. `name`: the one under which its bytes are kept; `key`: its arguments as text;
    `whose`: who looks, as in the identity of what is kept for one user."""

    view: str
    name: str
    key: str
    whose: str
    user: Any = field(compare=False, repr=False)

    @property
    def item(self) -> tuple[str, str, str]:
        """What tells it from others."""
        return (self.name, self.key, self.whose)

    @property
    def topic(self) -> str:
        """Its name for clients: `view:NAME` or `view:NAME?a=1&b=x`."""
        given = sorted(msgspec.json.decode(self.key).items())
        plain = [(name, str(value).lower() if isinstance(value, bool) else value) for name, value in given]
        return f"view:{self.view}" + (f"?{urlencode(plain)}" if plain else "")


def mark_of(etag: str, *, good: bool = True) -> str:
    """A short sign of what a view shows: of its bytes, and whether they are the last good ones of a view that fails."""
    return etag.strip('"')[:_LETTERS] + ("" if good else "!")
