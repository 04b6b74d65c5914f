"""What the changes of one transaction touch, let go of: found by patterns turned round and by stored entries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from brique.schema import PENDING, TableSpec
from brique.store import Condition, Representations, collated
from brique.views.entries import Scheme
from brique.views.notes import MEMBER_BIT, Asked, Changed, Notes, Side, unpack
from brique.views.pattern import Compiled, Given, needed
from brique.views.patterns import Patterns
from brique.views.view import View

CHECKED_MAX = 300
"""So many representations of a view are looked at one by one; beyond, one statement lets go of them all."""
DEPENDENTS_MAX = 2_000
"""Likewise, of those with a stored entry."""
SOURCES_MAX = 50_000
"""Rows that refer to a changed one, and may lead to representations."""
Run = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class _Lead:
    """Why a representation may be touched: a change by a pattern, or a row that leads to a changed one."""

    pattern: Compiled
    change: Changed
    root: Compiled
    side: Side | None = None


@dataclass
class Dropped:
    """What was let go of: (name, arguments) one by one, and names of which many or all were. `aged`: those that may
    stay a while although they are behind, each with the number of the change."""

    pairs: dict[tuple[str, str], None] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    aged: dict[tuple[str, str], int] = field(default_factory=dict)


class LettingGo:
    """The work of one transaction. `schemes` tells those that have stored entries, by table."""

    def __init__(
        self,
        kept: Representations,
        run: Run,
        patterns: Patterns,
        specs: Mapping[str, TableSpec],
        views: Mapping[str, View],
        schemes: Callable[[str], Mapping[str, Scheme]],
    ) -> None:
        self._kept, self._run, self._patterns, self._specs = kept, run, patterns, specs
        self._views, self._schemes = views, schemes
        self._leads: dict[str, dict[str | None, list[_Lead]]] = {}
        self._asked: dict[tuple[str, str, bytes], list[Changed]] = {}
        self._gone: set[str] = set()
        self.dropped = Dropped()

    def whole(self, table: str, seq: int) -> None:
        """Anything may be different in that table; `seq`: by the number of the change that says so."""
        for name in self._patterns.names_on(table):
            self._drop_set(name, None, seq)
        self._drop(self._kept.depending_on_table(table), seq)

    def look(self, changes: Sequence[Changed]) -> None:
        """Find what these touch."""
        for change in changes:
            for scheme in self._schemes(change.table).values():
                for value in scheme.met_by(change):
                    self._asked.setdefault((change.table, scheme.name, value), []).append(change)
            for pattern in self._patterns.on(change.table):
                if pattern.pattern.source:
                    self._look_back(pattern, change)
                else:
                    self._look_at(pattern, change)

    def _look_at(self, pattern: Compiled, change: Changed) -> None:
        """The representations whose answer the row was or is part of."""
        both = change.before is not None and change.after is not None
        if both and not change.differing & pattern.interest:
            return
        if pattern.pattern.everywhere:
            if any(pattern.identity(side) is not None for side in change.sides):
                self._lead(pattern.pattern.name, None, _Lead(pattern, change, pattern))
            return
        if both and not change.differing & pattern.reach:
            found = [pattern.identity(change.sides[1])]
        else:
            found = [pattern.identity(side) for side in change.sides]
        stays = both and found[0] == found[-1]
        if stays and not pattern.pattern.is_open and not change.differing & pattern.pattern.mask:
            return
        for identity in dict.fromkeys(found):
            if identity is not None:
                self._lead(pattern.pattern.name, identity, _Lead(pattern, change, pattern))

    def _look_back(self, pattern: Compiled, change: Changed) -> None:
        """The representations that came to this row by a reference."""
        if not change.differing & pattern.pattern.mask:
            return
        left = [SOURCES_MAX]
        for root, side in self._roots(pattern, change.key, left):
            identity = None if root.pattern.everywhere else root.identity(side)
            if identity is not None or root.pattern.everywhere:
                self._lead(pattern.pattern.name, identity, _Lead(pattern, change, root, side))
        if left[0] <= 0:
            self._drop_set(pattern.pattern.name, None, change.change.seq)

    def _roots(self, pattern: Compiled, key: str, left: list[int]) -> Iterator[tuple[Compiled, Side]]:
        """The rows from which references lead to the row of `key`, by the patterns that they belong to."""
        source = self._patterns.by_number[pattern.pattern.source]
        if key.startswith(PENDING):
            return
        try:
            values = pattern.spec.key_values(key)
        except ValueError:
            return
        tests, bound = [], []
        for column, value in zip(pattern.pattern.columns, values, strict=True):
            text, more = Condition(column, "eq", value, (), collated(source.spec.by_name[column])).sql()
            tests.append(text)
            bound += more
        query = f'SELECT {needed(source)} FROM "t_{source.spec.name}" WHERE {" AND ".join(tests)} LIMIT ?'  # noqa: S608
        for found_key, pending, *row in self._run(query, (*bound, max(0, left[0]))).fetchall():
            left[0] -= 1
            side = Side(found_key, dict(zip(source.columns, row, strict=True)), pending)
            if source.pattern.source:
                yield from self._roots(source, found_key, left)
            else:
                yield source, side

    def _lead(self, name: str, identity: str | None, lead: _Lead) -> None:
        self._leads.setdefault(name, {}).setdefault(identity, []).append(lead)

    # what comes of it

    def finish(self) -> Dropped:
        """Let go of all that was found."""
        for name, by_identity in self._leads.items():
            if name not in self._gone:
                self._follow(name, by_identity)
        for (table, scheme, value), changes in self._asked.items():
            self._ask(table, scheme, value, changes)
        return self.dropped

    def _follow(self, name: str, by_identity: Mapping[str | None, list[_Lead]]) -> None:
        everywhere = by_identity.get(None, [])
        patient = self._views[name].fresh_seconds is not None
        if len(by_identity) > CHECKED_MAX and not patient:
            seq = next(iter(by_identity.values()))[0].change.change.seq
            self._drop_set(name, None if everywhere else [i for i in by_identity if i is not None], seq)
            return
        if everywhere:
            ready = self._kept.ready_of(name, -1 if patient else CHECKED_MAX + 1)
            if len(ready) > CHECKED_MAX and not patient:
                self._drop_set(name, None, everywhere[0].change.change.seq)
                return
            for arguments, raw in ready:
                own = by_identity.get(arguments.partition("\x1f")[0], [])
                self._check(name, arguments, raw, [*everywhere, *own])
            return
        for identity, leads in by_identity.items():
            assert identity is not None
            for arguments, raw in self._kept.ready(name, identity):
                self._check(name, arguments, raw, leads)

    def _check(self, name: str, arguments: str, raw: bytes, leads: Sequence[_Lead]) -> None:
        notes = unpack(raw)
        given = Given(self._views[name], msgspec.json.decode(arguments.partition("\x1f")[0]), self._specs)
        meant = [lead for lead in leads if self._is_touched(notes, given, lead)]
        if meant:
            narrow = any(lead.pattern.pattern.is_narrow for lead in meant)
            self._end(name, arguments, narrow, meant[0].change.change.seq, stored=bool(notes.notes))

    def _is_touched(self, notes: Notes, given: Given, lead: _Lead) -> bool:
        pattern, root = lead.pattern.pattern, lead.root.pattern
        if pattern.given != given.names:
            return False
        if pattern.source:
            if pattern.number not in notes.plain:
                return False
            if root.number in notes.plain:
                return True
            assert lead.side is not None
            uses = [use for use in notes.uses if use.pattern == root.number]
            return any(Asked(lead.root.note(given, use)).holds(lead.side) for use in uses)
        if pattern.number in notes.plain:
            return True
        uses = [use for use in notes.uses if use.pattern == pattern.number]
        return any(Asked(lead.pattern.note(given, use)).touched_by(lead.change) for use in uses)

    def _ask(self, table: str, scheme: str, value: bytes, changes: Sequence[Changed]) -> None:
        """The representations with a stored entry."""
        pairs = self._kept.depending(table, scheme, [value])
        if not pairs:
            self._schemes(table)[scheme].is_gone(value)
        if len(pairs) > DEPENDENTS_MAX:
            self._kept.let_go_dependents(table, scheme, value, changes[0].change.seq)
            self.dropped.names.update(name for name, _ in pairs)
            return
        for name, arguments in pairs:
            raw = None if name in self._gone else self._kept.dependencies(name, arguments)
            if raw is None or (name, arguments) in self.dropped.pairs:
                continue
            touched, seq = [], 0
            for note in unpack(raw).notes:
                by = next(filter(Asked(note).touched_by, changes), None) if note.table == table else None
                if by is not None:
                    touched.append(note)
                    seq = seq or by.change.seq
            if touched:
                self._end(name, arguments, any(note.is_narrow for note in touched), seq)

    def _end(self, name: str, arguments: str, narrow: bool, seq: int, *, stored: bool = True) -> None:
        view = self._views.get(name)
        if view is not None and view.fresh_seconds is not None and not narrow:
            self.dropped.aged.setdefault((name, arguments), seq)
        elif (name, arguments) in self.dropped.pairs:
            return
        elif stored:
            self._drop([(name, arguments)], seq)
        else:
            self._kept.let_go_of(name, arguments, seq)
            self.dropped.pairs[(name, arguments)] = None

    def _drop(self, pairs: Sequence[tuple[str, str]], seq: int) -> None:
        if pairs:
            self._kept.let_go(pairs, seq)
            self.dropped.pairs.update(dict.fromkeys(pairs))

    def _drop_set(self, name: str, identities: Sequence[str] | None, seq: int) -> None:
        self._kept.let_go_set(name, identities, seq)
        self.dropped.names.add(name)
        if identities is None:
            self._gone.add(name)


__all__ = ["CHECKED_MAX", "MEMBER_BIT", "Dropped", "LettingGo"]
