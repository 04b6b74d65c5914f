"""Questions about one table, asked when they are iterated, counted or summed: `db[Order].where(status="open")`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import apsw

from brique.errors import BadInput, NotFound
from brique.schema import Column, Kind, Table, Value
from brique.store.db import cells, where
from brique.store.db.access import Access, Stored
from brique.store.db.cells import cell_spec
from brique.store.db.groups import Groups
from brique.store.db.numbers import add, kept_as_int, mean, sum_python
from brique.store.db.tracking import KEY_COLUMN, Question, Read, Sort
from brique.store.db.where import Condition, quoted, sort_key
from brique.store.layout import search_columns
from brique.store.search import words

if TYPE_CHECKING:
    from brique.store.db import Db

T = TypeVar("T", bound=Table)


class Rows(Generic[T]):
    """The rows of a table that meet some conditions. Immutable: each method that narrows gives another."""

    __slots__ = ("_access", "_conditions", "_db", "_limit", "_order", "_skip")

    def __init__(
        self,
        db: Db,
        access: Access,
        conditions: tuple[Condition, ...] = (),
        order: tuple[tuple[str, bool], ...] = (),
        limit: int | None = None,
        skip: int = 0,
    ) -> None:
        self._db = db
        self._access = access
        self._conditions = conditions
        self._order = order
        self._limit = limit
        self._skip = skip

    # narrowing

    def where(self, **conditions: Any) -> Rows[T]:
        """Those that also meet `conditions`: `status="open"` (None is empty), `customer=row`, or a comparison
        `amount__ge=5`: lt le gt ge ne in, null (True or False), prefix, contains (both without case and accents);
        `row_pending=True` for those with a command laid over. Raises BadInput when a value has another type."""
        if self._cut_off:
            raise BadInput("where() comes before limit() and offset()")
        parsed = where.parse(self._access.spec, self._access.references, conditions)
        return Rows(self._db, self._access, (*self._conditions, *parsed), self._order)

    def order_by(self, *columns: str) -> Rows[T]:
        """In the order of `columns`, "-amount" from high to low; equal ones, and all when none is named, by key."""
        order = tuple((name.removeprefix("-"), name.startswith("-")) for name in columns)
        for name, _ in order:
            self._column(name)
        return Rows(self._db, self._access, self._conditions, order, self._limit, self._skip)

    def limit(self, count: int) -> Rows[T]:
        """At most the first `count`."""
        if count < 0:
            raise BadInput("limit() takes a count from 0 up")
        return Rows(self._db, self._access, self._conditions, self._order, count, self._skip)

    def offset(self, count: int) -> Rows[T]:
        """Without the first `count`: the next page."""
        if count < 0:
            raise BadInput("offset() takes a count from 0 up")
        return Rows(self._db, self._access, self._conditions, self._order, self._limit, count)

    def search(self, text: str) -> Rows[T]:
        """Those with every word of `text` somewhere in their texts, without case and accents; all for no word."""
        if self._cut_off:
            raise BadInput("search() comes before limit() and offset()")
        if not words(text):
            return self
        asked = Condition("", "search", text, search_columns(self._access.spec))
        return Rows(self._db, self._access, (*self._conditions, asked), self._order)

    # rows

    def __getitem__(self, key: Any) -> T:
        """The row of `key`: its value, a tuple of values, or its key text. Raises NotFound."""
        row = self.get(key)
        if row is None:
            raise NotFound(f"{self._access.spec.label}: there is no {key}.", table=self._access.spec.name, key=str(key))
        return row

    def get(self, key: Any) -> T | None:
        """The row of `key`, None when there is none (or none that meets the conditions)."""
        return self._get(key)

    def _get(self, key: Any, via: tuple[Read, tuple[str, ...]] | None = None) -> T | None:
        """`get`; `via`: the read that led to this key, and by which columns."""
        text = self._access.key_text(key)
        if text is None:
            return None
        table, reads = self._access.spec.name, self._db.recorder.reads
        real = self._db._real_key(table, text)
        read = reads(Question(table, self._conditions, real), via)
        if real != text:
            reads(Question(table, self._conditions, text))
        stored = self._db._stored_row(self._access, real)
        if stored is None or not stored.meets(self._access.spec, self._conditions):
            return None
        return cast("T", self._db._row(self._access, stored, read))

    def __iter__(self) -> Iterator[T]:
        read = self._reads(ordered=True)
        for stored in self._given(read):
            yield cast("T", self._db._row(self._access, stored, read))

    def _given(self, read: Read) -> Iterator[Stored]:
        """The rows, noting how far they are looked at: what comes after the last one given does not matter."""
        given = 0
        for stored in self._stored():
            read.last, given = stored, given + 1
            yield stored
        if given != self._limit:
            read.last = None  # the end was seen

    def first(self) -> T | None:
        """The first row, None when there is none."""
        return next(iter(self.limit(1 if self._limit is None else min(1, self._limit))), None)

    def values(self, column: str) -> list[Any]:
        """The Python values of one column, in order."""
        known = self._column(column)
        read = self._reads(ordered=True)
        read.mask.add(column)
        place = self._access.places[column]
        return [known.python(stored.values[place]) for stored in self._given(read)]

    def distinct(self, column: str) -> list[Any]:
        """The Python values that a column has, each once, sorted."""
        return list(Groups(self, (column,)).count())

    # totals

    def count(self) -> int:
        """How many there are."""
        self._reads(ordered=self._cut_off)
        if self._skip and not self._plain():
            return sum(1 for _ in self._stored())
        if not self._cut_off and self._plain():
            return self._totals(None)[0]
        ((found,),) = self._db._fetch(*self._sql("count(*)"))
        return self._cut(cast("int", found) + sum(1 for _ in self._laid()))

    def _totals(self, summed: Column | None) -> tuple[int, int, int]:
        """Rows, those with a number and its sum: kept, or counted by SQL. Raises apsw.SQLError on overflow."""
        cell = cell_spec(self._access.spec.name, self._conditions, summed=summed.name if summed else "")
        kept = self._db._kept_totals(cell) if self._access.is_large(cell) else None
        if kept is not None:
            return kept[0][1:]
        what = "count(*), 0, 0"
        if summed is not None:
            name = quoted(summed.name)
            number = f"CASE WHEN typeof({name}) = 'integer' THEN {name} END"
            what = f"count(*), count({number}), coalesce(sum({number}), 0)"
        ((rows, numbers, total),) = self._db._fetch(*self._sql(what))
        found = (cast("int", rows), cast("int", numbers), cast("int", total))
        if found[0] >= cells.ROWS_MIN:
            self._access.note_large(cell)
            self._db._count(cell, [((), *found)])
        return found

    def _cut(self, found: int) -> int:
        return found if self._limit is None else min(found, self._limit)

    @property
    def _cut_off(self) -> bool:
        """Whether some rows that meet the conditions may be left out: which ones, the order says."""
        return self._limit is not None or self._skip > 0

    __len__ = count

    def exists(self) -> bool:
        """Whether there is any."""
        read = self._reads(ordered=self._cut_off)
        if self._skip and not self._plain():
            return next(self._stored(), None) is not None
        found = self._db._fetch(*self._sql("_key", "LIMIT 1"))
        if found and not self._cut_off:
            read.witness = cast("str", found[0][0])
        return bool(found) or (self._limit != 0 and next(self._laid(), None) is not None)

    __bool__ = exists

    def sum(self, column: str) -> Any:
        """The exact sum of a column of numbers (nothing: 0): int, Decimal, or float, correctly rounded."""
        known = self._number(column)
        self._reads(ordered=self._cut_off).mask.add(column)
        return sum_python(known, self._total(known)[1])

    def avg(self, column: str) -> Any:
        """The mean of the values that are not empty; Decimal (float for floats), None when there is none."""
        known = self._number(column)
        self._reads(ordered=self._cut_off).mask.add(column)
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

    def _reads(self, *, ordered: bool) -> Read:
        """Tell the recorder what is asked."""
        order = self._sorts() if ordered else ()
        read = self._db.recorder.reads(Question(self._access.spec.name, self._conditions, order=order))
        read.mask.update(sort.column for sort in order)
        return read

    def _sorts(self) -> tuple[Sort, ...]:
        """The whole order: what was asked for, then the key."""
        taken = {name for name, _ in self._order}
        named = [Sort(name, descending, self._access.nocase(name)) for name, descending in self._order]
        rest = [Sort(name) for name in self._access.spec.key if name not in taken]
        return (*named, *rest, Sort(KEY_COLUMN))

    def _where(self) -> tuple[str, list[Value]]:
        parts, parameters = ["1"], list[Value]()
        for condition in self._conditions:
            if condition.op == "search":
                sql, values = self._db._reader.matching(self._access.spec.name, str(condition.value))
                parts.append(sql)
                parameters += values
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
        if self._cut_off:
            source = f"(SELECT * FROM {source} ORDER BY {self._ordering()} {self._limits()})"  # noqa: S608
        return f"SELECT {what} FROM {source} {tail}", parameters  # noqa: S608 - names are quoted, values bound

    def _limits(self, laid: bool = False) -> str:
        """LIMIT and OFFSET; with `laid` rows to be put among those found, none are left out yet."""
        if laid and self._skip:
            return "" if self._limit is None else f"LIMIT {self._limit + self._skip}"
        limit = -1 if self._limit is None else self._limit
        return f"LIMIT {limit} OFFSET {self._skip}" if self._cut_off else ""

    def _laid(self) -> Iterator[Stored]:
        """Rows that the running command has changed and that meet the conditions."""
        for stored in self._db._laid(self._access.spec.name).values():
            if stored is not None and stored.meets(self._access.spec, self._conditions):
                yield stored

    def _stored(self) -> Iterator[Stored]:
        conditions, parameters = self._where()
        laid = list(self._laid())
        sql = (
            f"SELECT {self._access.select} FROM {self._access.relation} WHERE {conditions} "  # noqa: S608 - as above
            f"ORDER BY {self._ordering()} {self._limits(bool(laid))}"
        )
        found = (Stored.of(raw) for raw in self._db._query(sql, parameters))
        if not laid:
            return found
        merged = [*found, *laid]
        rest = [(name, False) for name in self._access.spec.key]
        merged.sort(key=lambda stored: stored.key)
        for name, descending in reversed([*self._order, *rest]):
            place = self._access.places[name]
            nocase = name in dict(self._order) and self._access.nocase(name)
            merged.sort(key=_sorter(place, nocase), reverse=descending)
        return iter(merged[self._skip :][: self._limit])

    def _pairs(self, columns: tuple[str, ...]) -> Iterator[tuple[Value, ...]]:
        """The store values of some columns, row by row, in no order; under a limit and with changes of its own too."""
        if self._cut_off and self._db._laid(self._access.spec.name):
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
            try:
                if not self._cut_off:
                    return self._totals(column)[1:]
                name = quoted(column.name)
                number = f"CASE WHEN typeof({name}) = 'integer' THEN {name} END"
                ((count, total),) = self._db._fetch(*self._sql(f"count({number}), sum({number})"))
            except apsw.SQLError as fault:
                if "overflow" not in str(fault):
                    raise
            else:
                return cast("int", count), total or 0
        return add(column, (value for (value,) in self._pairs((column.name,))))

    def _end(self, name: str, *, descending: bool) -> Any:
        column = self._column(name)
        asked = self._conditions if self._cut_off else (*self._conditions, Condition(name, "null", 0))
        order = self._sorts() if self._cut_off else (Sort(name, descending, self._access.nocase(name)),)
        read = self._db.recorder.reads(Question(self._access.spec.name, asked, order=order))
        read.mask.update((name, *(sort.column for sort in order)))
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
                read.bound = None if self._cut_off else (value,)
                return column.python(value)
        return None

    def _and_not_null(self, head: str) -> str:
        return f"{'WHERE' if self._cut_off else 'AND'} {head} IS NOT NULL"


def _sorter(place: int, nocase: bool) -> Callable[[Stored], tuple[int, Any]]:
    return lambda stored: sort_key(stored.values[place], nocase)
