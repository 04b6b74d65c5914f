"""A person takes a backend's mark that is ahead of the spool for good: kept in the spool first, then carried out.

The engine keeps the wish, with who said so, and gives out no position up to the mark; the backend's process finds the
mark adopted when it next tries to begin, and judges what waited before the lane was stopped (`Restart`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from brique.commands import journal
from brique.commands.acts import Source
from brique.errors import Refused
from brique.spool import Entry, Spool
from brique.store import Tx


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


@dataclass(frozen=True)
class Lead:
    """A backend is at `mark`, and the spool ended at `last` when that was first noticed. `forked`: the spool had grown
    past the mark by then, and has another command there; all up to `last` may be of the one or of the other."""

    mark: int
    last: int
    forked: bool = False

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Lead | None:
        """What a backend's facts say; None when it is not ahead."""
        found = facts.get("ahead")
        if not isinstance(found, Mapping):
            return None
        return cls(int(found["mark"]), int(found["last"]), bool(found.get("forked")))


@dataclass(frozen=True)
class Adopt:
    """`by` takes the mark that `backend` is stopped at for good."""

    backend: str
    mark: int
    by: str
    source: Source = field(default_factory=Source)


@dataclass(frozen=True)
class Adopted:
    """Who has taken which mark, and when (a UTC stamp)."""

    mark: int
    by: str
    at: str

    @classmethod
    def of(cls, value: object) -> Adopted | None:
        """What the store's meta value says; None when nobody has."""
        return msgspec.json.decode(str(value), type=cls) if value else None


def name_of(backend: str) -> str:
    """The meta value of the store that holds what was adopted of `backend`."""
    return f"adopted {backend}"


def keep(spool: Spool, wish: Adopt, ahead: Lead | None, at: str) -> None:
    """Keep `wish` for good, at a position past the mark; `ahead`: how the backend is now.

    Raises Refused when it is not stopped, or at another mark than the person has seen; NoRoom.
    """
    if ahead is None:
        raise Refused(_("{backend} is not stopped: there is nothing to take over."), backend=wish.backend)
    if ahead.mark != wish.mark:
        raise Refused(_("{backend} has moved on since: look again."), backend=wish.backend)
    source, last = wish.source, spool.last()
    spool.skip_to(wish.mark)
    entry = journal.Adopted(wish.backend, wish.mark, wish.by, at, source.origin, source.address, after=last)
    spool.append([Entry(journal.encode(entry))], urgent=True)


def show(tx: Tx, entry: journal.Adopted) -> None:
    """Bring it into the store."""
    found = Adopted(entry.mark, entry.by, entry.at)
    tx.set_meta(name_of(entry.backend), msgspec.json.encode(found).decode())
