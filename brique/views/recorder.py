"""Notes what one run of a view reads."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from brique.store import Counted, Question, Read

DEPENDENCIES_MAX = 4096
"""For one representation; beyond it what was read of a table becomes "the whole table"."""


class Recording:
    """A Recorder that keeps the reads in the order in which they were asked."""

    def __init__(self, dependencies_max: int = DEPENDENCIES_MAX) -> None:
        self._reads: list[Read] = []
        self._keys: dict[tuple[str, str, Any], Read] = {}
        self._max = dependencies_max
        self._wide: dict[str, Read] = {}
        self.since: datetime | None = None
        self.until: datetime | None = None
        self.is_personal = False
        self.settings: dict[str, bytes] = {}
        self.took_us = 0
        self.cells: list[Counted] = []

    def reads(self, question: Question, via: tuple[Read, tuple[str, ...]] | None = None) -> Read:
        by_key = None
        if question.key is not None and not question.conditions:
            by_key = (question.table, question.key, (id(via[0]), via[1]) if via else None)
            known = self._keys.get(by_key)
            if known is not None:
                return known
        wide = self._wide.get(question.table)
        if wide is not None:
            return wide
        if len(self._reads) >= self._max:
            return self._widen(question.table)
        read = Read(question, via)
        self._reads.append(read)
        if by_key is not None:
            self._keys[by_key] = read
        return read

    def _widen(self, table: str) -> Read:
        """From now on, reads of `table` are reads of all of it. Columns read through older masks still count."""
        read = self._wide[table] = Read(Question(table))
        self._reads.append(read)
        return read

    def counted(self, cell: Counted) -> None:
        self.cells.append(cell)

    def clock(self, since: datetime, until: datetime) -> None:
        self.since = since if self.since is None else max(self.since, since)
        self.until = until if self.until is None else min(self.until, until)

    def personal(self) -> None:
        self.is_personal = True

    def setting(self, name: str, value: bytes) -> None:
        self.settings[name] = value

    @property
    def whole_tables(self) -> list[str]:
        """Tables of which all rows were read."""
        return sorted({r.question.table for r in self._reads if r.question.key is None and not r.question.conditions})

    def less_than(self, other: Recording) -> list[str]:
        """Tables of which `other` asked something that this did not."""
        mine = {(read.question, frozenset(read.mask)) for read in self._reads}
        theirs = {(read.question, frozenset(read.mask)) for read in other._reads}
        return sorted({question.table for question, _ in theirs - mine})

    @property
    def tables(self) -> list[str]:
        """Tables of which anything was read."""
        return sorted({read.question.table for read in self._reads})

    @property
    def asked(self) -> list[Read]:
        """What was read so far."""
        return self._reads
