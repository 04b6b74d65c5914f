"""Questions about one table, asked when they are iterated, counted or summed: `db[Order].where(status="open")`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import apsw

from brique.errors import BadInput, NotFound
from brique.schema import Column, Kind, Table, Value
from brique.store.db import where
from brique.store.db.access import Access, Stored
from brique.store.db.groups import Groups
from brique.store.db.numbers import add, kept_as_int, mean, sum_python
from brique.store.db.tracking import KEY
from brique.store.db.where import Condition, quoted, sort_key

if TYPE_CHECKING:
    from brique.store.db import Db

T = TypeVar("T", bound=Table)
QUESTIONS_MAX = 64


class Rows(Generic[T]):
    """The rows of a table that meet some conditions. Immutable: each method that narrows gives another."""

    __slots__ = ("_access", "_conditions", "_db", "_limit", "_order")

    def __init__(
        self,
        db: Db,
        access: Access,
        conditions: tuple[Condition, ...] = (),
        order: tuple[tuple[str, bool], ...] = (),
        limit: int | None = None,
    ) -> None:
        self._db = db
        self._access = access
        self._conditions = conditions
        self._order = order
        self._limit = limit

    # narrowing

    def where(self, **conditions: Any) -> Rows[T]:
        """Those that also meet `conditions`: `status="open"` (None is empty), `customer=row`, or a comparison
        `amount__ge=5`: lt le gt ge ne in, null (True or False), prefix, contains (both without case and accents);
        `row_pending=True` for those with a command laid over. Raises BadInput when a value has another type."""
        if self._limit is not None:
            raise BadInput("where() comes before limit()")
        parsed = where.parse(self._access.spec, self._access.references, conditions)
        return Rows(self._db, self._access, (*self._conditions, *parsed), self._order)

    def order_by(self, *columns: str) -> Rows[T]:
        """In the order of `columns`, "-amount" from high to low; equal ones, and all when none is named, by key."""
        order = tuple((name.removeprefix("-"), name.startswith("-")) for name in columns)
        for name, _ in order:
            self._column(name)
        return Rows(self._db, self._access, self._conditions, order, self._limit)

    def limit(self, count: int) -> Rows[T]:
        """At most the first `count`."""
        if count < 0:
            raise BadInput("limit() takes a count from 0 up")
        return Rows(self._db, self._access, self._conditions, self._order, count)

    # rows

    def __getitem__(self, key: Any) -> T:
        """The row of `key`: its value, a tuple of values, or its key text. Raises NotFound."""
        row = self.get(key)
        if row is None:
            raise NotFound(f"{self._access.spec.label}: there is no {key}.", table=self._access.spec.name, key=str(key))
        return row

    def get(self, key: Any) -> T | None:
        """The row of `key`, None when there is none (or none that meets the conditions)."""
        text = self._access.key_text(key)
        if text is None:
            return None
        real = self._db._real_key(self._access.spec.name, text)
        questions = [(text,)] if real == text else [(text,), (real,)]
        mask = self._db.recorder.reads(self._access.spec.name, KEY, questions)
        mask.update(condition.column for condition in self._conditions)
        stored = self._db._stored_row(self._access, real)
        if stored is None or not stored.meets(self._access.spec, self._conditions):
            return None
        return cast("T", self._db._row(self._access, stored, mask))

    def __iter__(self) -> Iterator[T]:
        mask = self._reads(ordered=True)
        for stored in self._stored():
            yield cast("T", self._db._row(self._access, stored, mask))

    def first(self) -> T | None:
        """The first row, None when there is none."""
        return next(iter(self.limit(1 if self._limit is None else min(1, self._limit))), None)

    def values(self, column: str) -> list[Any]:
        """The Python values of one column, in order."""
        known = self._column(column)
        self._reads(ordered=True).add(column)
        place = self._access.places[column]
        return [known.python(stored.values[place]) for stored in self._stored()]

    # totals

    def count(self) -> int:
        """How many there are."""
        self._reads(ordered=self._limit is not None)
        ((found,),) = self._db._fetch(*self._sql("count(*)"))
        return self._cut(cast("int", found) + sum(1 for _ in self._laid()))

    def _cut(self, found: int) -> int:
        return found if self._limit is None else min(found, self._limit)

    __len__ = count

    def exists(self) -> bool:
        """Whether there is any."""
        self._reads(ordered=self._limit is not None)
        found = self._db._fetch(*self._sql("1", "LIMIT 1"))
        return bool(found) or (self._limit != 0 and next(self._laid(), None) is not None)

    __bool__ = exists

    def sum(self, column: str) -> Any:
        """The exact sum of a column of numbers (nothing: 0): int, Decimal, or float, correctly rounded."""
        known = self._number(column)
        self._reads(ordered=self._limit is not None).add(column)
        return sum_python(known, self._total(known)[1])

    def avg(self, column: str) -> Any:
        """The mean of the values that are not empty; Decimal (float for floats), None when there is none."""
        known = self._number(column)
        self._reads(ordered=self._limit is not None).add(column)
        count, total = self._total(known)
        return mean(known, count, total)

    def min(self, column: str) -> Any:
        """The smallest value that is not empty, None when there is none."""
        return self._end(column, descending=False)

    def max(self, column: str) -> Any:
        """The largest value that is not empty, None when there is none."""
        return self._end(column, descending=True)

    def group_by(self, *columns: str) -> Groups[T]:
        """Totals for each value of `columns`; `ordered__month` (year, day) groups dates by their first part."""
        return Groups(self, columns)

    # inside

    def _column(self, name: str) -> Column:
        known = self._access.spec.by_name.get(name)
        if known is None:
            raise BadInput(
                f"{self._access.spec.name} has no column {name!r}",
                try_this=f"one of {', '.join(self._access.spec.names)}",
            )
        return known

    def _number(self, name: str) -> Column:
        known = self._column(name)
        if not (known.kind.numeric or known.kind is Kind.BOOLEAN):
            raise BadInput(f"{name} is a {known.kind}, it has no sum")
        return known

    def _reads(self, *, ordered: bool) -> set[str]:
        """Tell the recorder what is asked; the equality part of the conditions, everything else into the mask."""
        equal = {condition.column: condition for condition in self._conditions if condition.op == "eq"}
        many = next((c for c in self._conditions if c.op == "in" and c.column not in equal), None)
        scheme = tuple(sorted(equal))
        base = [cast("Value", equal[name].value) for name in scheme]
        questions = [tuple(base)]
        if many is not None and isinstance(many.value, tuple) and len(many.value) <= QUESTIONS_MAX:
            scheme = (*scheme, many.column)
            questions = [(*base, value) for value in many.value]
        mask = self._db.recorder.reads(self._access.spec.name, scheme, questions)
        mask.update(condition.column for condition in self._conditions)
        if ordered:
            mask.update(name for name, _ in self._order)
            mask.update(self._access.spec.key)
        return mask

    def _where(self) -> tuple[str, list[Value]]:
        parts, parameters = ["1"], list[Value]()
        for condition in self._conditions:
            sql, values = condition.sql()
            parts.append(sql)
            parameters += values
        touched = self._db._laid(self._access.spec.name)
        if touched:
            parts.append(f"_key NOT IN ({', '.join('?' * len(touched))})")
            parameters += touched
        return " AND ".join(parts), parameters

    def _ordering(self) -> str:
        named = [f"{self._access.term(name)} {'DESC' if descending else 'ASC'}" for name, descending in self._order]
        taken = {name for name, _ in self._order}
        rest = [quoted(name) for name in self._access.spec.key if name not in taken]
        return ", ".join([*named, *rest, "_key"])

    def _sql(self, what: str, tail: str = "") -> tuple[str, list[Value]]:
        """SELECT `what` of these rows; under a limit, of the rows that it leaves."""
        conditions, parameters = self._where()
        source = f"{self._access.relation} WHERE {conditions}"
        if self._limit is not None:
            source = f"(SELECT * FROM {source} ORDER BY {self._ordering()} LIMIT {self._limit})"  # noqa: S608
        return f"SELECT {what} FROM {source} {tail}", parameters  # noqa: S608 - names are quoted, values bound

    def _laid(self) -> Iterator[Stored]:
        """Rows that the running command has changed and that meet the conditions."""
        for stored in self._db._laid(self._access.spec.name).values():
            if stored is not None and stored.meets(self._access.spec, self._conditions):
                yield stored

    def _stored(self) -> Iterator[Stored]:
        conditions, parameters = self._where()
        limit = "" if self._limit is None else f"LIMIT {self._limit}"
        sql = (
            f"SELECT {self._access.select} FROM {self._access.relation} WHERE {conditions} "  # noqa: S608 - as above
            f"ORDER BY {self._ordering()} {limit}"
        )
        found = (Stored.of(raw) for raw in self._db._query(sql, parameters))
        laid = list(self._laid())
        if not laid:
            return found
        merged = [*found, *laid]
        rest = [(name, False) for name in self._access.spec.key]
        merged.sort(key=lambda stored: stored.key)
        for name, descending in reversed([*self._order, *rest]):
            place = self._access.places[name]
            nocase = name in dict(self._order) and self._access.nocase(name)
            merged.sort(key=_sorter(place, nocase), reverse=descending)
        return itertools.islice(merged, self._limit)

    def _pairs(self, columns: tuple[str, ...]) -> Iterator[tuple[Value, ...]]:
        """The store values of some columns, row by row, in no order; under a limit and with changes of its own too."""
        if self._limit is not None and self._db._laid(self._access.spec.name):
            found: Iterator[Stored] = self._stored()
            return (tuple(stored.values[self._access.places[name]] for name in columns) for stored in found)
        laid = (tuple(stored.values[self._access.places[name]] for name in columns) for stored in self._laid())
        return itertools.chain(self._db._query(*self._sql(", ".join(map(quoted, columns)))), laid)

    def _plain(self) -> bool:
        """Whether SQL alone sees all these rows."""
        return not self._db._laid(self._access.spec.name)

    def _total(self, column: Column) -> tuple[int, Any]:
        """How many values of `column` are numbers of its kind, and their exact sum (store form)."""
        if column.kind is not Kind.REAL and kept_as_int(column) and self._plain():
            name = quoted(column.name)
            number = f"CASE WHEN typeof({name}) = 'integer' THEN {name} END"
            try:
                ((count, total),) = self._db._fetch(*self._sql(f"count({number}), sum({number})"))
            except apsw.SQLError as fault:
                if "overflow" not in str(fault):
                    raise
            else:
                return cast("int", count), total or 0
        return add(column, (value for (value,) in self._pairs((column.name,))))

    def _end(self, name: str, *, descending: bool) -> Any:
        column = self._column(name)
        self._reads(ordered=self._limit is not None).add(name)
        if self._plain():
            way = "DESC" if descending else "ASC"
            head = quoted(name)
            tail = f"{self._and_not_null(head)} ORDER BY {self._access.term(name)} {way}, {head} {way}"
            values = self._db._query(*self._sql(head, tail))
        else:
            nocase = self._access.nocase(name)
            both = sorted(self._pairs((name,)), key=lambda pair: sort_key(pair[0]), reverse=descending)
            values = iter(sorted(both, key=lambda pair: sort_key(pair[0], nocase), reverse=descending))
        for (value,) in values:
            if value is not None and column.fits(value):
                return column.python(value)
        return None

    def _and_not_null(self, head: str) -> str:
        return f"{'WHERE' if self._limit is not None else 'AND'} {head} IS NOT NULL"


def _sorter(place: int, nocase: bool) -> Callable[[Stored], tuple[int, Any]]:
    return lambda stored: sort_key(stored.values[place], nocase)
