"""Notes what one run of a view reads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from brique.schema import Value
from brique.store import KEY, WHOLE, ReadDependency, Scheme

DEPENDENCIES_MAX = 4096
"""For one representation; beyond it what was read of a table becomes "the whole table"."""
_Question = tuple[str, Scheme, tuple[Value, ...]]


class Recording:
    """A Recorder that keeps the questions asked, with one growing set of columns for each."""

    def __init__(self, dependencies_max: int = DEPENDENCIES_MAX) -> None:
        self._masks: dict[_Question, list[set[str]]] = {}
        self._max = dependencies_max
        self._wide: dict[str, set[str]] = {}
        self.since: datetime | None = None
        self.until: datetime | None = None
        self.is_personal = False

    def reads(self, table: str, scheme: Scheme, questions: Sequence[tuple[Value, ...]]) -> set[str]:
        wide = self._wide.get(table)
        if wide is not None:
            return wide
        if len(self._masks) + len(questions) > self._max:
            return self._widen(table)
        if len(questions) == 1:
            held = self._masks.setdefault((table, scheme, questions[0]), [])
            if not held:
                held.append(set())
            return held[0]
        mask: set[str] = set()
        for question in questions:
            # The first set of a question is its own: a later read of it alone must not grow its neighbours.
            self._masks.setdefault((table, scheme, question), [set()]).append(mask)
        return mask

    def _widen(self, table: str) -> set[str]:
        """From now on, reads of `table` are reads of all of it. Columns read through older masks still count."""
        mask: set[str] = set()
        self._wide[table] = mask
        self._masks.setdefault((table, WHOLE, ()), [set()]).append(mask)
        return mask

    def clock(self, since: datetime, until: datetime) -> None:
        self.since = since if self.since is None else max(self.since, since)
        self.until = until if self.until is None else min(self.until, until)

    def personal(self) -> None:
        self.is_personal = True

    @property
    def whole_tables(self) -> list[str]:
        """Tables of which all rows were read."""
        return sorted({table for table, scheme, _ in self._masks if scheme == WHOLE})

    def dependencies(self) -> list[ReadDependency]:
        """What was read so far, each question once."""
        return [
            ReadDependency(table, scheme, values, frozenset().union(*masks))
            for (table, scheme, values), masks in self._masks.items()
        ]


__all__ = ["DEPENDENCIES_MAX", "KEY", "Recording"]
