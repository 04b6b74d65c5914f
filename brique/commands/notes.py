"""What replay must know after a crash and nobody else can tell: noted on this disk before the backend commits.

The key that a backend gives to a new row comes back inside the transaction; were the process to end between the
commit and its report, the mark would say that the command was applied, and nobody which number its row got. So the
keys are noted, flushed, before the commit; they count only for commands that the mark says were applied.

Commands that were overtaken (they waited for another backend while later ones were sent) are noted too, so that a
backend restored from a backup gets those of them again that it has forgotten.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import apsw

from brique.errors import NoRoom

_FORGET_BELOW = 1_000_000
"""Positions behind the newest for which notes are kept."""


class Notes(Protocol):
    """Survives a crash of the process and of the machine."""

    def given(self, keys: Mapping[int, Mapping[str, str]]) -> None:
        """Note the real keys by temporary key, by position of their command. Raises NoRoom."""
        ...

    def keys(self, positions: Iterable[int]) -> dict[int, dict[str, str]]:
        """What was noted for these commands; those without are missing."""
        ...

    def overtaken(self, positions: Iterable[int]) -> None:
        """Note that commands past these are sent before them. Raises NoRoom."""
        ...

    def all_overtaken(self) -> list[int]:
        """Those positions, oldest first."""
        ...

    def close(self) -> None: ...


class MemoryNotes:
    """Notes of a process that does not crash: in tests of replay alone."""

    def __init__(self) -> None:
        self._keys: dict[int, dict[str, str]] = {}
        self._overtaken: set[int] = set()

    def given(self, keys: Mapping[int, Mapping[str, str]]) -> None:
        self._keys.update({position: dict(found) for position, found in keys.items()})

    def keys(self, positions: Iterable[int]) -> dict[int, dict[str, str]]:
        return {position: self._keys[position] for position in positions if position in self._keys}

    def overtaken(self, positions: Iterable[int]) -> None:
        self._overtaken.update(positions)

    def all_overtaken(self) -> list[int]:
        return sorted(self._overtaken)

    def close(self) -> None:
        """Nothing is open."""


class FileNotes:
    """Notes in a SQLite file at `path`. For one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._db = apsw.Connection(str(path))
        self._db.set_busy_timeout(5000)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS given(position INTEGER, old TEXT, key TEXT, PRIMARY KEY(position, old)) "
            "WITHOUT ROWID; CREATE TABLE IF NOT EXISTS overtaken(position INTEGER PRIMARY KEY)"
        )

    def given(self, keys: Mapping[int, Mapping[str, str]]) -> None:
        rows = [(position, old, key) for position, found in keys.items() for old, key in found.items()]
        self._write("INSERT OR REPLACE INTO given(position, old, key) VALUES (?, ?, ?)", rows)

    def _write(self, sql: str, rows: Sequence[tuple[int] | tuple[int, str, str]]) -> None:
        if not rows:
            return
        newest = max(row[0] for row in rows)
        with self._lock:
            try:
                with self._db:
                    self._db.executemany(sql, rows)
                    self._db.execute("DELETE FROM given WHERE position < ?", (newest - _FORGET_BELOW,))
            except (apsw.FullError, apsw.IOError) as fault:
                raise NoRoom(f"What the backend is about to number could not be noted: {fault}") from fault

    def keys(self, positions: Iterable[int]) -> dict[int, dict[str, str]]:
        found: dict[int, dict[str, str]] = {}
        with self._lock:
            for position in positions:
                for old, key in self._db.execute("SELECT old, key FROM given WHERE position = ?", (position,)):
                    found.setdefault(position, {})[str(old)] = str(key)
        return found

    def overtaken(self, positions: Iterable[int]) -> None:
        self._write("INSERT OR REPLACE INTO overtaken(position) VALUES (?)", [(position,) for position in positions])

    def all_overtaken(self) -> list[int]:
        with self._lock:
            return [int(str(row[0])) for row in self._db.execute("SELECT position FROM overtaken ORDER BY position")]

    def close(self) -> None:
        with self._lock:
            self._db.close()
