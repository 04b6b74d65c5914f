"""The file of brique's own tables as a backend: SQLite, with the mark always allowed, because the file is ours."""

from __future__ import annotations

from dataclasses import replace

from brique.backends.protocol import Prepared
from brique.backends.sqlite import SqliteBackend

NATIVE_FILE = "native.db"


class NativeBackend(SqliteBackend):
    """`SqliteBackend` on the file that `make` has made. What it has committed is on the disk."""

    def prepare(self, marker: bool) -> Prepared:
        prepared = super().prepare(True)
        return replace(prepared, abilities=replace(prepared.abilities, flushed=True))
