"""Systems outside: one folder or file for each kind. Read rows, apply changes, say when they cannot."""

from brique.backends.choose import open_backend
from brique.backends.faults import redact
from brique.backends.native import NATIVE_FILE
from brique.backends.native import make as make_native
from brique.backends.protocol import (
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

__all__ = [
    "BATCH_ROWS",
    "MARKER",
    "NATIVE_FILE",
    "Abilities",
    "Applied",
    "Backend",
    "Prepared",
    "Rung",
    "Session",
    "Snapshot",
    "Tag",
    "make_native",
    "open_backend",
    "redact",
]
