"""What a place promises: somewhere outside where the bytes of views are kept for other programs to read.

Theory of operation. One writer at a time *takes* a place: it raises the *epoch* that the place's head holds. All that
it puts then bears a version, `epoch.number`, greater than any before. Calls that were given up may still arrive, after
their writer has come back with a new epoch: a place lets none of them overwrite or bring back anything. Those that can
look at the head and write in one step (Redis, PostgreSQL, a folder by its lock) refuse an old epoch; the others
(MongoDB, CouchDB) compare versions for each key, and what was removed leaves its version behind for an hour.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from brique.errors import BackendAway

CONTENT_TYPE = "application/json"
HEAD = "!head"
"""The name of the head, beside the keys, none of which begins with a sign."""
GONE_SECONDS = 3600.0
"""How long a version outlives what was removed, where that is needed."""


class Fenced(BackendAway):
    """Another writer has taken the place."""


@dataclass(frozen=True, slots=True)
class Item:
    """What is to be at a key from now on; `body` None: nothing."""

    key: str
    version: str
    body: bytes | None = None
    etag: str = ""
    position: int = 0
    made_at: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """What a place says of itself. `last`: the version of the last batch that was put whole. `as_of`: all that is
    there is as the backends had it then, or newer (a UTC stamp). `writer`: the store of the brique that writes there,
    `written_at` when it last did."""

    epoch: int = 0
    writer: str = ""
    last: str = ""
    as_of: str = ""
    written_at: str = ""

    @classmethod
    def of(cls, fields: Mapping[str, object]) -> Head:
        """From texts by name; nothing for what is not there."""
        texts = {name: str(fields.get(name) or "") for name in ("writer", "last", "as_of", "written_at")}
        return cls(epoch=int(str(fields.get("epoch") or 0)), **texts)

    def texts(self) -> dict[str, str]:
        """Its fields as texts."""
        return {name: str(value) for name, value in asdict(self).items()}


class Place(Protocol):
    """A place. One thread at a time, but for `abort`. Every method may raise BackendAway (outcome unknown, may be
    called again) and BackendRefused (the place says no)."""

    kind: str
    value_bytes_max: int

    def head(self) -> Head:
        """What it says of itself; Head() when nobody has taken it yet."""
        ...

    def take(self, known: Head, new: Head) -> None:
        """Be its writer, as `new` says, whose epoch is higher than that of `known`. Makes what it needs to be there.
        Raises Fenced when it has had another head than `known` since."""
        ...

    def put(self, items: Sequence[Item], head: Head) -> None:
        """Put all items, each key at most once, then the head. When it returns, all of it is there. Called again with
        higher versions after a fault, it ends as if nothing had happened before. Raises Fenced."""
        ...

    def inventory(self) -> Iterator[tuple[str, str]]:
        """(key, ETag) of all that is there; "" for an ETag that cannot be told."""
        ...

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The bytes that are there, by key."""
        ...

    def tidy(self, before: str) -> None:
        """Forget what was removed before that UTC stamp. To be called now and then."""
        ...

    def abort(self) -> None:
        """Make the call in progress fail soon. From any thread."""
        ...

    def close(self) -> None: ...
