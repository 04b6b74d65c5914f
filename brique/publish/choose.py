"""Which place an address means."""

from __future__ import annotations

from importlib import import_module

from brique.backends import redact
from brique.errors import BadConfiguration
from brique.publish.protocol import Place

KNOWN = (
    "redis://host:6379/0, mongodb://host/database, couchdb://host:5984/database, postgresql://user@host/database, "
    "folder:/path"
)
_KINDS = {
    "redis": ("redis", "RedisPlace"),
    "rediss": ("redis", "RedisPlace"),
    "mongodb": ("mongodb", "MongoPlace"),
    "mongodb+srv": ("mongodb", "MongoPlace"),
    "couchdb": ("couchdb", "CouchPlace"),
    "couchdbs": ("couchdb", "CouchPlace"),
    "postgresql": ("postgresql", "PostgresPlace"),
    "postgres": ("postgresql", "PostgresPlace"),
    "folder": ("folder", "FolderPlace"),
}


def is_place(url: str) -> bool:
    """Whether a place is known for `url`."""
    return url.partition(":")[0].lower() in _KINDS


def open_place(name: str, url: str, *, timeout: float = 5.0, connect_timeout: float = 3.0) -> Place:
    """The place at `url`; nothing is connected yet. Raises BadConfiguration, MissingExtra without its driver."""
    home = _KINDS.get(url.partition(":")[0].lower())
    if home is None:
        raise BadConfiguration(f"{name}: no place is known for {redact(url)}", try_this=KNOWN)
    kind = getattr(import_module(f"brique.publish.{home[0]}"), home[1])
    place: Place = kind(name, url, timeout=timeout, connect_timeout=connect_timeout)
    return place
