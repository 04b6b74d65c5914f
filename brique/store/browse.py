"""Pages of lists: any sort, filter, search and depth in about the same short time.

Theory of operation. A page is found by the cheapest of three plans, all of which give the same rows.
*Gather*: few rows pass one of the conditions (its index tells, counted up to a limit): read those, test, sort.
*Walk with a sieve*: some thousands pass: walk the index of the sort, which holds each row's number, and read only rows
whose number an index of a condition has given. *Walk*: many pass: walk the index of the sort and test each row; the
page fills soon. A walk is given a number of steps; when it has used them up (the rows that pass lie far from the
start) the rows are gathered after all. Pages are cut by value and number of the last row, so depth costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import apsw

from brique.errors import BadInput
from brique.schema import Value
from brique.store import cursors
from brique.store.conditions import Condition
from brique.store.cursors import Place
from brique.store.layout import Layout, sortable
from brique.store.query import ListQuery
from brique.store.rows import Rows, StoredRow

COUNT_MAX = 10_000
"""Rows are counted up to here; beyond, a count says that there are more."""
LIMIT_MAX = 10_000
_GATHER_MAX = 1_500
_SIEVE_MAX = 20_000
_WALK_STEPS = 400_000  # virtual machine steps, about 5 ms
_VERIFY_MAX = 1_500


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the sort order: rows that pass `test`, in order."""

    test: str
    bound: tuple[Any, ...] = ()


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

    def source(self) -> str:
        table = self.layout.table
        return f"{table} INDEXED BY {self.layout.index(self.column)}" if self.column else f"{table} NOT INDEXED"

    def value(self, row: StoredRow) -> Value:
        return row.values[self.column] if self.column else None

    def segments(self, place: Place | None) -> list[Segment]:
        """The stretches past `place`, in order. NULL is the least value."""
        if place is None:
            return [Segment("1")]
        sign = "<" if self.descending else ">"
        if self.column is None:
            return [Segment(f"_id {sign} ?", (place.id,))]
        term = self.term
        if place.value is None:
            result = [Segment(f"{term} IS NULL AND _id {sign} ?", (place.id,))]
            return result if self.descending else [*result, Segment(f"{term} IS NOT NULL")]
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
        self.order = order_of(rows.layout, query)

    # -- a page -------------------------------------------------------------------------------------------------------

    def page(self) -> tuple[list[StoredRow], str | None, str | None]:
        """Rows, next cursor, previous cursor."""
        query, backwards = self._query, self._query.before is not None
        cursor = query.before if backwards else query.after
        place = self._place(cursor) if cursor is not None else None
        order = self.order.reversed() if backwards else self.order
        found = self._fetch(order, place, query.limit + 1, backwards)
        more, found = len(found) > query.limit, found[: query.limit]
        if backwards:
            found.reverse()
        if not found:
            return [], None, None
        has_next = backwards or more
        has_previous = more if backwards else cursor is not None
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
        top = Condition(
            "_pending > 0",
            (),
            f"SELECT _id FROM {self._layout.table} INDEXED BY {self._layout.index('_pending')} WHERE _pending > 0",  # noqa: S608
            exact=True,
        )
        parts = [[top, *self._conditions], [*self._conditions, Condition("_pending = 0")]]
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

    # -- plans --------------------------------------------------------------------------------------------------------

    def _part(self, order: Order, place: Place | None, limit: int, conditions: Sequence[Condition]) -> list[StoredRow]:
        segments = order.segments(place)
        best, size = self._best(conditions)
        if best is not None and size <= _GATHER_MAX:
            return self._gather(order, segments, limit, conditions, best)
        if best is not None and best.column is not None and best.column == order.column:
            # The index of the sort serves the condition as well: the rows that pass lie together.
            return self._walk(order, segments, limit, conditions, None)
        sieve = best if best is not None and size <= _SIEVE_MAX else None
        try:
            return self._walk(order, segments, limit, conditions, sieve, steps=_WALK_STEPS if best else 0)
        except apsw.InterruptError:
            assert best is not None
            return self._gather(order, segments, limit, conditions, best)

    def _best(self, conditions: Sequence[Condition]) -> tuple[Condition | None, int]:
        """The condition whose index gives the fewest rows, and how many, counted to a limit."""
        best, least = None, _SIEVE_MAX + 1
        usable = [c for c in conditions if c.ids is not None]
        for condition in sorted(usable, key=lambda c: c.column is None):
            size = self._count_ids(condition, least)
            if best is None or size < least:
                best, least = condition, size
        return best, least

    def _count_ids(self, condition: Condition, upto: int) -> int:
        row = self._execute(
            f"SELECT count(*) FROM ({condition.ids} LIMIT ?)",  # noqa: S608
            (*condition.ids_bound, upto),
        ).fetchone()
        return int(row[0])

    def _gather(
        self,
        order: Order,
        segments: Sequence[Segment],
        limit: int,
        conditions: Sequence[Condition],
        best: Condition,
    ) -> list[StoredRow]:
        tests, bound = _all_of(c for c in conditions if not (c is best and c.exact))
        past = " OR ".join(f"({segment.test})" for segment in segments)
        query = (
            f"{self._layout.select} WHERE _id IN ({best.ids}) AND ({past}) AND {tests} "
            f"ORDER BY {order.clause()} LIMIT ?"
        )
        past_bound = tuple(value for segment in segments for value in segment.bound)
        return self._run(query, (*best.ids_bound, *past_bound, *bound, limit))

    def _walk(
        self,
        order: Order,
        segments: Sequence[Segment],
        limit: int,
        conditions: Sequence[Condition],
        sieve: Condition | None,
        steps: int = 0,
    ) -> list[StoredRow]:
        tests, bound = _all_of(c for c in conditions if not (c is sieve and c.exact))
        sieved, sieve_bound = "", tuple[Any, ...]()
        if sieve is not None:
            sieved, sieve_bound = f" AND +_id IN ({sieve.ids})", sieve.ids_bound
        head = f"SELECT _id, _key, _version, _pending, {self._layout.columns} FROM {order.source()}"  # noqa: S608
        found: list[StoredRow] = []
        with _Budget(self._connection, steps):
            for segment in segments:
                query = f"{head} WHERE {segment.test}{sieved} AND {tests} ORDER BY {order.clause()} LIMIT ?"
                found += self._run(query, (*segment.bound, *sieve_bound, *bound, limit - len(found)))
                if len(found) >= limit:
                    break
        return found

    def _run(self, query: str, bound: tuple[Any, ...]) -> list[StoredRow]:
        stored = self._rows.stored
        return [stored(record) for record in self._execute(query, bound)]

    # -- the whole ----------------------------------------------------------------------------------------------------

    def count(self) -> tuple[int, bool]:
        """How many rows pass, and whether that is exact."""
        if not self._conditions:
            return self._total, True
        best, size = self._best(self._conditions)
        if best is None:
            return min(self._total, COUNT_MAX), False
        if size > COUNT_MAX:
            return COUNT_MAX, False
        if best.exact and len(self._conditions) == 1:
            return size, True
        if size > _VERIFY_MAX:
            return size, False
        return self.count_all(), True

    def count_all(self) -> int:
        """How many rows pass, exactly, however long it takes."""
        where, bound = self.where()
        row = self._execute(f"SELECT count(*) FROM {self._layout.table} WHERE {where}", bound).fetchone()  # noqa: S608
        return int(row[0])

    def where(self) -> tuple[str, tuple[Any, ...]]:
        """All conditions as one SQL test, led by the best index."""
        tests, bound = _all_of(self._conditions)
        best, size = self._best(self._conditions)
        if best is None or size > _SIEVE_MAX:
            return tests, bound
        return f"_id IN ({best.ids}) AND {tests}", (*best.ids_bound, *bound)

    def stream(self, batch: int) -> Iterator[list[StoredRow]]:
        """All rows that pass, in order, some at a time."""
        parts = [self._conditions]
        if self._query.pending_first:
            parts = [
                [Condition("_pending > 0"), *self._conditions],
                [*self._conditions, Condition("_pending = 0")],
            ]
        for conditions in parts:
            yield from self._stream_part(conditions, batch)

    def _stream_part(self, conditions: Sequence[Condition], batch: int) -> Iterator[list[StoredRow]]:
        tests, bound = _all_of(conditions)
        best, size = self._best(conditions)
        if best is not None and size <= _SIEVE_MAX:
            query = f"{self._layout.select} WHERE _id IN ({best.ids}) AND {tests} ORDER BY {self.order.clause()}"
            bound = (*best.ids_bound, *bound)
        else:
            head = f"SELECT _id, _key, _version, _pending, {self._layout.columns} FROM {self.order.source()}"  # noqa: S608
            query = f"{head} WHERE {tests} ORDER BY {self.order.clause()}"
        cursor = self._execute(query, bound)
        stored = self._rows.stored
        rows: list[StoredRow] = []
        for record in cursor:
            rows.append(stored(record))
            if len(rows) >= batch:
                yield rows
                rows = []
        if rows:
            yield rows


def _all_of(conditions: Any) -> tuple[str, tuple[Any, ...]]:
    chosen = list(conditions)
    tests = " AND ".join(condition.test for condition in chosen) or "1"
    return tests, tuple(value for condition in chosen for value in condition.bound)


class _Budget:
    """Interrupts what runs inside it after so many steps of SQLite's machine; 0 is no limit."""

    def __init__(self, connection: apsw.Connection, steps: int) -> None:
        self._connection = connection
        self._steps = steps

    def __enter__(self) -> None:
        if self._steps:
            self._connection.set_progress_handler(lambda: True, self._steps)

    def __exit__(self, *_: object) -> None:
        if self._steps:
            self._connection.set_progress_handler(None)
