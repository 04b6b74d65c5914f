"""Visible rows, folded anew where something under or over them has changed: many at once, late in the transaction.

Theory of operation. Whatever touches a row only says so (`again`, `rebase`); the row is folded once, when somebody
looks (`settled_rows`, `changes`) or when the transaction ends. A report that settles a thousand commands therefore
writes each of its rows once, and asks SQLite set by set. Until a key is folded its shadow stays as it was: a source
row is in the shadow when there is one, else it is the visible row itself, whatever happened to the overlay meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from brique.schema import Row
from brique.store.changes import RowChange
from brique.store.ledger import Ledger, Over, Taken, laid_of_taken, packed
from brique.store.overlay import Laid, fold
from brique.store.rows import Rows, StoredRow, same_row

if TYPE_CHECKING:
    from brique.store.writer import Store

_NOTHING: Over = ([], False)


class _Again(msgspec.Struct, frozen=True, gc=False):
    """Why a row is folded anew: `based` when `base` is its source row from now on; `absorbed`: what has become part of
    its source row since; `is_clear`: that is all that has happened to it, and the visible row shows it already; `born`:
    all that there is of it."""

    origin: int | None = None
    based: bool = False
    base: Row | None = None
    absorbed: Sequence[Taken] = ()
    is_clear: bool = False
    born: Laid | None = None


@dataclass(slots=True)
class _Writes:
    """What folding the rows of one table comes to."""

    inserts: list[tuple[str, int, int, Row]] = field(default_factory=list)
    updates: list[tuple[StoredRow, int, int, Row]] = field(default_factory=list)
    shaded: list[tuple[str, Row | None]] = field(default_factory=list)
    unshaded: list[str] = field(default_factory=list)

    def carry_out(self, rows: Rows) -> None:
        rows.update_many(self.updates)
        rows.insert_many(self.inserts)


class Folding:
    """The rows of one transaction that need folding, and those that it has changed."""

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger
        self._again: dict[str, dict[str, _Again]] = {}
        self.touched: dict[tuple[str, str], RowChange] = {}
        """The rows that this transaction has changed: as they were before it, as they are now."""
        self.origins: dict[tuple[str, str], int] = {}
        """By which command, where it was one."""
        self.rows_more: dict[str, int] = {}

    def again(self, keys: Iterable[tuple[str, str]], origin: int | None = None) -> None:
        """Fold these rows (table, key) anew before anybody sees them; `origin` is the command that it is for."""
        for table, key in keys:
            if table in self._store.specs:
                waiting = self._again.setdefault(table, {})
                known = waiting.get(key)
                if known is None:
                    waiting[key] = _Again(origin)
                elif origin is not None or known.is_clear or known.born is not None:
                    waiting[key] = _Again(origin or known.origin, known.based, known.base, known.absorbed)

    def born(self, table: str, key: str, laid: Laid) -> None:
        """Fold a row that nobody knew before this change is laid: it need not be asked what is under or over it."""
        waiting = self._again.get(table, {})
        if key in waiting or (table, key) in self.touched:
            self.again([(table, key)], laid.position)
        elif table in self._store.specs:
            self._again.setdefault(table, waiting)[key] = _Again(laid.position, born=laid)

    def rebase(self, table: str, key: str, base: Row | None) -> None:
        """Take `base` for the source row of this key from now on, and fold the row anew."""
        waiting = self._again.setdefault(table, {})
        known = waiting.get(key)
        waiting[key] = _Again(known.origin if known else None, True, base)

    def noted(self) -> tuple[Any, ...]:
        """What was done so far, to be able to go back to it."""
        return dict(self.touched), dict(self.origins), dict(self.rows_more)

    def go_back_to(self, noted: tuple[Any, ...]) -> None:
        """What came after `noted` was undone; so is what waits."""
        self._again.clear()
        self.touched, self.origins, self.rows_more = noted

    def absorb(self, table: str, rows: Mapping[str, Sequence[Taken]]) -> None:
        """Take the source rows of these keys for what they were, with these changes in them, and fold them anew. They
        were laid over the rows until now: a row with nothing else over it stays as it is seen."""
        if table not in self._store.specs:
            return
        waiting = self._again.setdefault(table, {})
        for key, laid in rows.items():
            known = waiting.get(key)
            if known is None:
                waiting[key] = _Again(absorbed=laid, is_clear=True)
            else:
                waiting[key] = _Again(known.origin, known.based, known.base, (*known.absorbed, *laid))

    def waits(self, table: str) -> set[str]:
        """The keys of a table that are to be folded anew."""
        return set(self._again.get(table, ()))

    def restart(self, table: str, keys: Iterable[str]) -> None:
        """All rows of `table` were replaced by those of another generation: only `keys` are to be folded over them."""
        self.rows_more.pop(table, None)
        self._again[table] = {key: _Again() for key in keys}

    def put(self, rows: Rows, key: str, current: StoredRow | None, values: Row | None) -> None:
        """Write a source row that has nothing laid over it, or take it away."""
        writes = _Writes()
        self._write(rows, key, current, values, 0, None, writes)
        writes.carry_out(rows)

    def settle(self) -> None:
        """Fold all that waits."""
        while self._again:
            table, waiting = self._again.popitem()
            self._fold_table(table, waiting)

    def _fold_table(self, table: str, waiting: dict[str, _Again]) -> None:
        rows = self._store.rows(table)
        keys = [key for key, again in waiting.items() if again.born is None]
        current = rows.get_many(keys)
        over = self._ledger.over_many(table, keys)
        clear = [key for key, again in waiting.items() if again.is_clear and key not in over]
        writes = _Writes(unshaded=clear)
        for key in clear:
            row = current.get(key)
            if row is not None and row.pending:
                seq = self._touch(table, key, row, row.values, 0, None)
                writes.updates.append((row, seq, 0, row.values))
        if len(clear) < len(waiting):
            done = set(clear)
            left = {key: again for key, again in waiting.items() if key not in done}
            self._fold(rows, left, current, over, writes)
        self._ledger.shade_many(table, writes.shaded)
        self._ledger.unshade_many(table, writes.unshaded)
        writes.carry_out(rows)

    def _fold(
        self,
        rows: Rows,
        waiting: Mapping[str, _Again],
        current: Mapping[str, StoredRow],
        over: Mapping[str, Over],
        writes: _Writes,
    ) -> None:
        """Lay what is over these rows over their source rows."""
        unborn = [key for key, again in waiting.items() if again.born is None]
        shadows = self._ledger.shadows(rows.layout.spec.name, unborn)
        names = rows.layout.spec.names
        for key, again in waiting.items():
            if again.born is not None:
                writes.shaded.append((key, None))
                self._write(rows, key, None, fold(None, (again.born,), names), 1, again.origin, writes)
                continue
            row = current.get(key)
            shaded = key in shadows
            if again.based:
                base = again.base
            elif shaded:
                base = shadows[key]
            else:
                base = row.values if row else None
            if again.absorbed:
                base = fold(base, laid_of_taken(again.absorbed), names)
            laid, marked = over.get(key, _NOTHING)
            if laid and not (shaded and same_row(base, shadows[key])):
                writes.shaded.append((key, base))
            elif shaded and not laid:
                writes.unshaded.append(key)
            visible = fold(base, laid, names)
            self._write(rows, key, row, visible, 2 if marked else int(bool(laid)), again.origin, writes)

    def _write(
        self,
        rows: Rows,
        key: str,
        current: StoredRow | None,
        values: Row | None,
        pending: int,
        origin: int | None,
        writes: _Writes,
    ) -> None:
        """Bring the row from `current` to `values`; what is new or changed is only added to `writes`."""
        if current is None and values is None:
            return
        table = rows.layout.spec.name
        if values is None:
            assert current is not None
            self._touch(table, key, current, None, 0, origin)
            rows.delete(current)
            self.rows_more[table] = self.rows_more.get(table, 0) - 1
            return
        if current is not None and same_row(current.values, values):
            if current.pending != pending:
                seq = self._touch(table, key, current, current.values, pending, origin)
                writes.updates.append((current, seq, pending, current.values))
            return
        values = {name: values.get(name) for name in rows.layout.spec.names}
        if current is None:
            writes.inserts.append((key, self._touch(table, key, None, values, pending, origin), pending, values))
            self.rows_more[table] = self.rows_more.get(table, 0) + 1
        else:
            seq = self._touch(table, key, current, values, pending, origin)
            writes.updates.append((current, seq, pending, values))

    def _touch(
        self, table: str, key: str, current: StoredRow | None, after: Row | None, pending: int, origin: int | None
    ) -> int:
        place = (table, key)
        known = self.touched.get(place)
        if known is None:
            before, mark = (current.values, current.pending) if current else (None, 0)
            seq = self._store.next_seq()
        else:
            before, mark, seq = known.before, known.pending_before, known.seq
        self.touched[place] = RowChange(table, key, before, after, mark, pending, seq)
        if origin is not None:
            self.origins[place] = origin
        return seq

    def changes(self, reloaded: set[str]) -> list[RowChange]:
        """The rows changed so far, each once, in the order in which they were first touched; tables in `reloaded` are
        left out."""
        self.settle()
        return [
            change
            for change in self.touched.values()
            if change.table not in reloaded
            and (change.pending_before != change.pending_after or not same_row(change.before, change.after))
        ]

    def records(self, at: str, reloaded: set[str]) -> list[tuple[Any, ...]]:
        """These changes as the change log keeps them."""
        found: list[tuple[Any, ...]] = []
        for place, change in self.touched.items():
            if change.table not in reloaded:
                both, marks = _both(change.before, change.after), (change.pending_before, change.pending_after)
                found.append((change.seq, *place, *both, at, self.origins.get(place), *marks))
        return found


def _both(before: Row | None, after: Row | None) -> tuple[bytes | None, bytes | None]:
    """Both packed; a row that only ceases to be pending is packed once."""
    first = packed(before)
    return first, first if after is before else packed(after)
