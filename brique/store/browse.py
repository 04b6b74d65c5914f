"""Pages of lists: any sort, filter, search and depth in about the same short time.

Theory of operation. A page is found by the way that `plans` holds for the cheapest; all ways give the same rows.
*Gather*: read the rows that the index of a condition gives, test, sort. *Sieve*: walk the index of the sort, which
holds each row's number, and read only rows whose number the indexes of conditions have given. *Walk*: walk the index
of the sort and test each row; good when many pass. A walk that takes far longer than foreseen (the rows that pass lie
far from where it starts) is given up for the next way. Pages are cut by value and number of the last row, so depth
costs nothing. Within one value rows stand in the order of their numbers.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import apsw

from brique.errors import BadInput, TooMuch
from brique.schema import Value
from brique.store import cursors
from brique.store.conditions import Bound, Condition
from brique.store.cursors import Place
from brique.store.layout import Layout, sortable
from brique.store.plans import COUNTED_FIRST, COUNTED_MAX, Plan, Sized, Way, plans
from brique.store.query import ListQuery
from brique.store.rows import Rows, StoredRow

COUNT_MAX = 10_000
"""Rows are counted up to here; beyond, a count says that there are more."""
LIMIT_MAX = 10_000
SECONDS_MAX = 10.0
"""Processor time for one page; beyond, TooMuch."""
_COUNTED_ONE_BY_ONE_MAX = 2_000
_COUNTED_SLOWLY_MAX = 500
_CHECK_STEPS = 1_000  # of SQLite's machine, between looks at the clock


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the sort order: rows that pass `test`, in order. `begins`: it begins at a value."""

    test: str
    bound: Bound = ()
    begins: bool = True


@dataclass(frozen=True, slots=True)
class Order:
    """The sort of a list: a column (None: the rows' numbers) and a direction."""

    layout: Layout
    column: str | None
    descending: bool

    @property
    def name(self) -> str:
        return f"{self.column or ''}{'-' if self.descending else '+'}"

    def reversed(self) -> Order:
        return replace(self, descending=not self.descending)

    @property
    def term(self) -> str:
        return self.layout.term(self.column) if self.column else "_id"

    def clause(self) -> str:
        way = " DESC" if self.descending else ""
        return f"{self.term}{way}, _id{way}" if self.column else f"_id{way}"

    def value(self, row: StoredRow) -> Value:
        return row.values[self.column] if self.column else None

    def segments(self, place: Place | None) -> list[Segment]:
        """The stretches past `place`, in order. NULL is the least value."""
        if place is None:
            return [Segment("1", begins=False)]
        sign = "<" if self.descending else ">"
        if self.column is None:
            return [Segment(f"_id {sign} ?", (place.id,))]
        term = self.term
        if place.value is None:
            result = [Segment(f"{term} IS NULL AND _id {sign} ?", (place.id,))]
            return result if self.descending else [*result, Segment(f"{term} IS NOT NULL", begins=False)]
        result = [
            Segment(f"{term} = ? AND _id {sign} ?", (place.value, place.id)),
            Segment(f"{term} {sign} ?", (place.value,)),
        ]
        return [*result, Segment(f"{term} IS NULL")] if self.descending else result


def order_of(layout: Layout, query: ListQuery) -> Order:
    """The order that a query asks for. Raises BadInput when its column cannot be sorted by."""
    if len(query.sort) > 1:
        raise BadInput("A list is sorted by one column.", fields={"sort": "One column only."})
    spec = layout.spec
    if query.sort:
        name, descending = query.sort[0]
        if name not in spec.by_name or not sortable(spec.by_name[name]):
            raise BadInput(f"Lists cannot be sorted by {name}.", fields={"sort": "There is no such column."})
        return Order(layout, name, descending)
    first = spec.key[0] if spec.key and sortable(spec.by_name[spec.key[0]]) else None
    return Order(layout, first, descending=False)


class Browse:
    """One list on one connection, inside the reader's snapshot."""

    def __init__(
        self, connection: apsw.Connection, rows: Rows, total: int, conditions: Sequence[Condition], query: ListQuery
    ) -> None:
        if not 1 <= query.limit <= LIMIT_MAX:
            raise BadInput(f"A page has 1 to {LIMIT_MAX} rows.", fields={"limit": "Out of range."})
        if query.after is not None and query.before is not None:
            raise BadInput("A page is after a row or before one, not both.")
        self._connection = connection
        self._execute: Any = connection.execute  # SQLite's values have no static type
        self._rows = rows
        self._layout = rows.layout
        self._total = total
        self._conditions = list(conditions)
        self._query = query
        self._sizes: dict[Condition, Sized] = {}
        self.order = order_of(rows.layout, query)

    # -- a page -------------------------------------------------------------------------------------------------------

    def page(self) -> tuple[list[StoredRow], str | None, str | None]:
        """Rows, next cursor, previous cursor."""
        query, backwards = self._query, self._query.before is not None
        cursor = query.before if backwards else query.after
        place = self._place(cursor) if cursor else None
        order = self.order.reversed() if backwards else self.order
        found = self._fetch(order, place, query.limit + 1, backwards)
        more, found = len(found) > query.limit, found[: query.limit]
        if backwards:
            found.reverse()
        if not found:
            return [], None, None
        has_next = bool(cursor) if backwards else more
        has_previous = more if backwards else bool(cursor)
        return (
            found,
            self._cursor(found[-1]) if has_next else None,
            self._cursor(found[0]) if has_previous else None,
        )

    def _cursor(self, row: StoredRow) -> str:
        pending = self._query.pending_first and row.pending > 0
        return cursors.encode(Place(self.order.value(row), row.id, pending), self.order.name)

    def _place(self, cursor: str) -> Place:
        place = cursors.decode(cursor, self.order.name)
        if not place.cut or self.order.column is None:
            return place
        current = self._execute(f"{self._layout.select} WHERE _id = ?", (place.id,)).fetchone()
        value = self._rows.stored(current).values[self.order.column] if current else None
        start = place.value
        if isinstance(value, str) and isinstance(start, str) and value.startswith(start):
            return replace(place, value=value)
        if isinstance(value, bytes) and isinstance(start, bytes) and value.startswith(start):
            return replace(place, value=value)
        return place

    def _fetch(self, order: Order, place: Place | None, limit: int, backwards: bool) -> list[StoredRow]:
        if not self._query.pending_first:
            return self._part(order, place, limit, self._conditions)
        parts = self._halves()
        if backwards:
            parts.reverse()
        start = 0
        if place is not None:
            start = int(place.pending == backwards)
        found: list[StoredRow] = []
        for number, conditions in enumerate(parts[start:]):
            found += self._part(order, place if number == 0 else None, limit - len(found), conditions)
            if len(found) >= limit:
                break
        return found

    def _halves(self) -> list[list[Condition]]:
        """The conditions of the rows on top, which are pending, and of the rest."""
        index = self._layout.index("_pending")
        ids = f"SELECT _id FROM {self._layout.table} INDEXED BY {index} WHERE _pending > 0"  # noqa: S608
        top = Condition("_pending > 0", (), ids, exact=True)
        return [[top, *self._conditions], [*self._conditions, Condition("_pending = 0")]]

    # -- ways ---------------------------------------------------------------------------------------------------------

    def _part(self, order: Order, place: Place | None, limit: int, conditions: Sequence[Condition]) -> list[StoredRow]:
        own = [c for c in conditions if c.column is not None and c.column == order.column and c.ids is not None]
        pin = next((c for c in own if c.pinned), None)
        if pin is not None:
            # One value in the column of the sort: rows stand by their numbers, as the index has them.
            order = Order(self._layout, None, order.descending)
        stretch = next((c for c in own if c.lower or c.upper), None) if pin is None else None
        sized, total = self._sized(conditions), self._total
        served = pin or stretch
        others = [c for c in conditions if c is not served]
        if served is not None:
            own_size = next(one for one in sized if one.condition is served)
            total = total if own_size.more else min(total, max(1, own_size.size))
            sized = [one for one in sized if one.condition is not served]
        for plan in plans(others, sized, total, limit):
            try:
                with _Budget(self._connection, plan.budget):
                    if plan.way is Way.GATHER:
                        return self._gather(order, place, limit, conditions, plan)
                    return self._walk(order, place, limit, others, pin, stretch, plan.sieves)
            except apsw.InterruptError:
                continue
        raise TooMuch("This list takes too long to put together.", try_this="Ask for fewer rows with another filter.")

    def _sized(self, conditions: Iterable[Condition]) -> list[Sized]:
        """How many rows the index of each condition gives, the least first, counted no further than it matters."""
        usable = [c for c in conditions if c.ids is not None]
        if len(usable) > 1:
            first = [self._counted(c, COUNTED_FIRST) for c in usable]
            if not all(one.more for one in first):
                return sorted(first, key=lambda one: (one.more, one.size))
        return sorted((self._counted(c, COUNTED_MAX) for c in usable), key=lambda one: (one.more, one.size))

    def _counted(self, condition: Condition, most: int) -> Sized:
        known = self._sizes.get(condition)
        if known is not None and (not known.more or known.size >= most):
            return known
        began = time.thread_time()
        bound, numbers = (*condition.ids_bound, most + 1), None
        if condition.costly:
            numbers = array("q", [number for (number,) in self._execute(f"{condition.ids} LIMIT ?", bound)])
            size = len(numbers)
        else:
            size = self._execute(f"SELECT count(*) FROM ({condition.ids} LIMIT ?)", bound).fetchone()[0]  # noqa: S608
        took, more = (time.thread_time() - began) * 1e6, size > most
        self._sizes[condition] = sized = Sized(condition, min(size, most), more, took, None if more else numbers)
        return sized

    def _gather(
        self, order: Order, place: Place | None, limit: int, conditions: Sequence[Condition], plan: Plan
    ) -> list[StoredRow]:
        assert plan.lead is not None
        lead = plan.lead
        where, bound = _sieved(plan.sieves)
        done = [one.condition for one in (lead, *plan.sieves) if one.condition.exact]
        tests, tests_bound = _all_of(c for c in conditions if not any(c is one for one in done))
        segments = order.segments(place)
        past = " OR ".join(f"({segment.test})" for segment in segments)
        past_bound = tuple(value for segment in segments for value in segment.bound)
        query = (
            f"{self._layout.select} WHERE _id IN ({lead.ids}){where} AND ({past}) AND {tests} "
            f"ORDER BY {order.clause()} LIMIT ?"
        )
        return self._found(query, (*lead.ids_bound, *bound, *past_bound, *tests_bound, limit))

    def _walk(
        self,
        order: Order,
        place: Place | None,
        limit: int,
        conditions: Sequence[Condition],
        pin: Condition | None,
        stretch: Condition | None,
        sieves: Sequence[Sized],
    ) -> list[StoredRow]:
        done = [one.condition for one in sieves if one.condition.exact]
        tests, bound = _all_of((c for c in conditions if not any(c is one for one in done)), fenced=True)
        sieved, sieved_bound = _sieved(sieves)
        source, clause = self._source(order, pin)
        head = f"SELECT _id, _key, _version, _pending, {self._layout.columns} FROM {source} WHERE "  # noqa: S608
        found: list[StoredRow] = []
        for segment in order.segments(place):
            within, within_bound = _within(segment, order, pin, stretch)
            query = f"{head}{segment.test}{within}{sieved} AND {tests} ORDER BY {clause} LIMIT ?"
            values = (*segment.bound, *within_bound, *sieved_bound, *bound, limit - len(found))
            found += self._found(query, values)
            if len(found) >= limit:
                break
        return found

    def _source(self, order: Order, pin: Condition | None) -> tuple[str, str]:
        """What to walk, and how it is sorted."""
        table, column = self._layout.table, pin.column if pin is not None else order.column
        source = f"{table} INDEXED BY {self._layout.index(column)}" if column else f"{table} NOT INDEXED"
        return source, order.clause()

    def _found(self, query: str, bound: Bound) -> list[StoredRow]:
        stored = self._rows.stored
        return [stored(record) for record in self._execute(query, bound)]

    # -- the whole ----------------------------------------------------------------------------------------------------

    def count(self) -> tuple[int, bool]:
        """How many rows pass, and whether that is exact."""
        if not self._conditions:
            return self._total, True
        sized = self._sized(self._conditions)
        known = [one for one in sized if not one.more]
        if not known:
            return min(self._total, COUNT_MAX), False
        least = known[0]
        if least.condition.exact and len(self._conditions) == 1:
            return (least.size, True) if least.size <= COUNT_MAX else (COUNT_MAX, False)
        slow = any(c.slow for c in self._conditions)
        if least.size <= (_COUNTED_SLOWLY_MAX if slow else _COUNTED_ONE_BY_ONE_MAX):
            return self.count_all(), True
        share = 1.0
        for one in sized[1:]:
            share *= one.share(self._total)
        return min(int(least.size * share), COUNT_MAX), False

    def count_all(self) -> int:
        """How many rows pass, exactly, however long it takes."""
        where, bound = self.where()
        row = self._execute(f"SELECT count(*) FROM {self._layout.table} WHERE {where}", bound).fetchone()  # noqa: S608
        return int(row[0])

    def where(self) -> tuple[str, Bound]:
        """All conditions as one SQL test, led by the best index."""
        sized = self._sized(self._conditions)
        if not sized or sized[0].more:
            return _all_of(self._conditions, fenced=True)
        lead = sized[0]
        tests, bound = _all_of(c for c in self._conditions if not (c is lead.condition and c.exact))
        return f"_id IN ({lead.ids}) AND {tests}", (*lead.ids_bound, *bound)

    def stream(self, batch: int) -> Iterator[list[StoredRow]]:
        """All rows that pass, in order, some at a time."""
        for conditions in self._halves() if self._query.pending_first else [self._conditions]:
            yield from self._stream_part(conditions, batch)

    def _stream_part(self, conditions: Sequence[Condition], batch: int) -> Iterator[list[StoredRow]]:
        sized = self._sized(conditions)
        if sized and not sized[0].more:
            lead = sized[0]
            tests, bound = _all_of(c for c in conditions if not (c is lead.condition and c.exact))
            head, bound = f"{self._layout.select} WHERE _id IN ({lead.ids}) AND", (*lead.ids_bound, *bound)
        else:
            tests, bound = _all_of(conditions, fenced=True)
            source, _ = self._source(self.order, None)
            head = f"SELECT _id, _key, _version, _pending, {self._layout.columns} FROM {source} WHERE"  # noqa: S608
        stored, rows = self._rows.stored, list[StoredRow]()
        for record in self._execute(f"{head} {tests} ORDER BY {self.order.clause()}", bound):
            rows.append(stored(record))
            if len(rows) >= batch:
                yield rows
                rows = []
        if rows:
            yield rows


def _all_of(conditions: Iterable[Condition], *, fenced: bool = False) -> tuple[str, Bound]:
    """All tests as one, the slow ones last. `fenced`: SQLite must not use an index for any of them."""
    chosen = sorted(conditions, key=lambda condition: condition.slow)
    tests = " AND ".join(f"+({c.test})" if fenced else c.test for c in chosen) or "1"
    return tests, tuple(value for condition in chosen for value in condition.bound)


def _sieved(sieves: Sequence[Sized]) -> tuple[str, Bound]:
    """A test that lets pass only rows with the numbers given; + keeps SQLite from looking rows up by them."""
    text = "".join(f" AND +_id IN ({one.ids})" for one in sieves)
    return text, tuple(value for one in sieves for value in one.ids_bound)


def _within(segment: Segment, order: Order, pin: Condition | None, stretch: Condition | None) -> tuple[str, Bound]:
    """What else bounds a walk: the value that the index is pinned to, the far end of a stretch (and its near end)."""
    if pin is not None:
        return f" AND {pin.test}", pin.bound
    if stretch is None:
        return "", ()
    near, far = (stretch.upper, stretch.lower) if order.descending else (stretch.lower, stretch.upper)
    parts = []
    if near is not None:
        # Where the segment begins at a value of its own, SQLite must not begin at the stretch's.
        parts.append((f" AND +({near.test})" if segment.begins else f" AND {near.test}", near.bound))
    if far is not None:
        parts.append((f" AND {far.test}", far.bound))
    return "".join(text for text, _ in parts), tuple(value for _, bound in parts for value in bound)


class _Budget:
    """Interrupts what runs inside it after so many microseconds of processor time, at the latest at the end of all."""

    def __init__(self, connection: apsw.Connection, microseconds: float | None) -> None:
        self._connection = connection
        self._seconds = SECONDS_MAX if microseconds is None else min(microseconds / 1e6, SECONDS_MAX)

    def __enter__(self) -> None:
        end = time.thread_time() + self._seconds
        self._connection.set_progress_handler(lambda: time.thread_time() > end, _CHECK_STEPS)

    def __exit__(self, *_: object) -> None:
        self._connection.set_progress_handler(None)
