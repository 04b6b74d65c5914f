"""Systems outside: one folder or file for each kind. Read rows, apply changes, say when they cannot."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from brique.backends.choose import open_backend
from brique.backends.faults import redact
from brique.backends.feed import Feed, TellsChanges, Told
from brique.backends.native import NATIVE_FILE
from brique.backends.native import make as make_native
from brique.backends.protocol import (
    AS_WANTED,
    BATCH_ROWS,
    MARKER,
    Abilities,
    Applied,
    Backend,
    Prepared,
    Rung,
    Session,
    Snapshot,
    Tag,
)

if TYPE_CHECKING:
    from brique.backends.http import Basic, Bearer, Header, Http, Resource
    from brique.backends.mail import TemplateLetters

_HOMES = {
    "Basic": "http", "Bearer": "http", "Header": "http", "Http": "http", "Resource": "http", "TemplateLetters": "mail",
}  # fmt: skip

__all__ = [
    "AS_WANTED",
    "BATCH_ROWS",
    "MARKER",
    "NATIVE_FILE",
    "Abilities",
    "Applied",
    "Backend",
    "Basic",
    "Bearer",
    "Feed",
    "Header",
    "Http",
    "Prepared",
    "Resource",
    "Rung",
    "Session",
    "Snapshot",
    "Tag",
    "TellsChanges",
    "TemplateLetters",
    "Told",
    "make_native",
    "open_backend",
    "redact",
]


def __getattr__(name: str) -> Any:
    """What only some processes need is fetched when it is asked for."""
    home = _HOMES.get(name)
    if home is not None:
        return getattr(import_module(f"brique.backends.{home}"), name)
    raise AttributeError(f"module 'brique.backends' has no attribute {name!r}")
