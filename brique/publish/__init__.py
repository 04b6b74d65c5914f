"""Bytes of views, kept at places outside for other programs: Redis, MongoDB, CouchDB, PostgreSQL, a folder."""

from brique.publish.choose import KNOWN, is_place, open_place
from brique.publish.protocol import CONTENT_TYPE, GONE_SECONDS, HEAD, Fenced, Head, Item, Place
from brique.publish.sender import Done, Limits, Outgoing, Sender, Waits, last_of

__all__ = [
    "CONTENT_TYPE",
    "GONE_SECONDS",
    "HEAD",
    "KNOWN",
    "Done",
    "Fenced",
    "Head",
    "Item",
    "Limits",
    "Outgoing",
    "Place",
    "Sender",
    "Waits",
    "is_place",
    "last_of",
    "open_place",
]
