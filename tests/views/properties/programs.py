"""Random views: functions put together from every form in which the data can be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

from brique.schema import Column, Kind, TableSpec
from brique.views import Db, Parameter, View
from tests.views.properties.tables import KEYS, key_value

Given = dict[str, Any]
Read = Callable[[Db, Given], Any]
_DAYS = ("2026-11-18", "2026-11-20")
_GROUPED = ("k", "s", "b", "i", "y", "customer", "order")


class Failing(ZeroDivisionError):
    """What a view raises that is meant to fail."""


@dataclass
class Maker:
    """Makes reads of the tables `specs`; `parameters` are the arguments that the view has."""

    random: Random
    specs: Mapping[str, TableSpec]
    parameters: tuple[Parameter, ...]
    focus: str

    def view(self, name: str) -> View:
        reads = [self.read(2) for _ in range(self.random.choice((1, 1, 2, 3)))]

        def function(db: Db, **given: Any) -> Any:
            return [read(db, given) for read in reads]

        places = "".join(f"/{{{parameter.name}}}" for parameter in self.parameters)
        fresh = 5.0 if self.random.random() < 0.12 else None
        return View(name, f"/{name}{places}", function, self.parameters, fresh_seconds=fresh)

    def read(self, depth: int) -> Read:
        kinds = [
            self.one,
            self.rows,
            self.rows,
            self.rows,
            self.total,
            self.total,
            self.groups,
            self.clock,
            self.seldom,
        ]
        kinds += [self.linked, self.linked, self.one, self.any_at_all]
        made = self.random.choice(kinds)()
        return self.branch(made, depth) if depth and self.random.random() < 0.2 else made

    def branch(self, first: Read, depth: int) -> Read:
        """What is read next depends on what was read before."""
        then, other = self.read(depth - 1), self.read(depth - 1)

        def run(db: Db, given: Given) -> Any:
            found = first(db, given)
            return [found, then(db, given) if len(repr(found)) % 2 else other(db, given)]

        return run

    def seldom(self) -> Read:
        if self.random.random() < 0.3:
            return lambda db, _: db.user
        wanted, table = self.random.randint(0, 2), self.table().name

        def fail(db: Db, given: Given) -> Any:
            count = db[table].count()
            if count == wanted + 1:
                raise Failing
            return count > 3

        return fail

    # parts

    def table(self) -> TableSpec:
        """Often the same: what is read and what changes have to meet."""
        names = list(self.specs)
        return self.specs[self.focus if self.random.random() < 0.6 else self.random.choice(names)]

    def column(self, spec: TableSpec, *kinds: Kind) -> Column | None:
        fitting = [column for column in spec.columns if not kinds or column.kind in kinds]
        return self.random.choice(fitting) if fitting else None

    def argument(self, kind: Kind) -> str:
        """The name of an argument of that kind, "" without one."""
        fitting = [parameter.name for parameter in self.parameters if parameter.kind is kind and not parameter.table]
        return self.random.choice(fitting) if fitting else ""

    def value(self, column: Column) -> Callable[[Given], Any]:
        """An argument or a value of its own to compare `column` with."""
        name = self.argument(column.kind)
        if name and self.random.random() < 0.8:
            return lambda given: given[name]
        own = {
            Kind.TEXT: ("a", "ab", "É"),
            Kind.INTEGER: (1, 2, 3),
            Kind.DECIMAL: (Decimal("1"), Decimal("2.505"), Decimal(0)),
            Kind.REAL: (0.5, 1.0),
            Kind.BOOLEAN: (True, False),
        }
        if column.kind is Kind.DATE:
            from datetime import date

            day = date.fromisoformat(self.random.choice(_DAYS))
            return lambda _: day
        chosen = self.random.choice(own[column.kind])
        return lambda _: chosen

    def condition(self, spec: TableSpec) -> tuple[str, Callable[[Db, Given], Any]]:
        if self.random.random() < 0.08:
            return "row_pending", lambda *_: True
        column = self.column(spec)
        assert column is not None
        ops = ["", "", "", "in", "null", "ne"]
        ops += [] if column.kind is Kind.BOOLEAN else ["lt", "le", "gt", "ge"]
        ops += ["prefix", "contains"] if column.kind is Kind.TEXT else []
        op, value = self.random.choice(ops), self.value(column)
        if op == "in":
            other = self.value(column)
            return f"{column.name}__in", lambda _, given: [value(given), other(given), None]
        if op == "null":
            return f"{column.name}__null", lambda *_: column.name < "j"
        if column.kind is Kind.DATE and op and self.random.random() < 0.6:
            days = self.random.randint(0, 2)
            return f"{column.name}__{op}", lambda db, _: db.today() - timedelta(days=days)
        return (f"{column.name}__{op}" if op else column.name), lambda _, given: value(given)

    def narrowed(self, spec: TableSpec) -> Callable[[Db, Given], Any]:
        """The rows of a table that meet some conditions."""
        conditions = dict(self.condition(spec) for _ in range(self.random.choice((0, 1, 1, 2, 3))))
        words = self.random.choice(("a", "éa b")) if self.random.random() < 0.1 else ""

        def run(db: Db, given: Given) -> Any:
            rows = db[spec.name].where(**{name: value(db, given) for name, value in conditions.items()})
            return rows.search(words) if words and hasattr(rows, "search") else rows

        return run

    # reads

    def one(self) -> Read:
        """A row by its key, perhaps absent; some of its columns, perhaps of the row that it refers to."""
        spec, look = self.table(), self.looks()
        number = self.random.randint(1, KEYS)
        name = self.argument(spec.key_columns[0].kind)
        whole = next((p.name for p in self.parameters if p.table == spec.name), "")
        second = self.random.randint(1, 2)

        def run(db: Db, given: Given) -> Any:
            if whole:
                return look(given[whole])
            key = given[name] if name else key_value(spec, number)
            row = db[spec.name].get((key, second) if len(spec.key) == 2 else key)
            return None if row is None else look(row)

        return run

    def linked(self) -> Read:
        """Rows that have something in common with a row read before: values that are no arguments."""
        spec, other = self.table(), self.table()
        column = self.column(spec, Kind.INTEGER, Kind.TEXT)
        target = column and self.column(other, column.kind)
        if column is None or target is None:
            return self.one()
        name, number = self.argument(spec.key_columns[0].kind), self.random.randint(1, KEYS)
        op = self.random.choice(("", "", "__ge", "__lt"))
        way = self.random.choice(("count", "exists", "values"))

        def run(db: Db, given: Given) -> Any:
            key = given[name] if name else key_value(spec, number)
            row = db[spec.name].get((key, 1) if len(spec.key) == 2 else key)
            value = row and row.row_values[column.name]
            if not isinstance(value, str if column.kind is Kind.TEXT else int):
                return None
            rows = db[other.name].where(**{target.name + op: value})
            return rows.values(target.name) if way == "values" else getattr(rows, way)()

        return run

    def looks(self) -> Callable[[Any], Any]:
        """Some columns of a row, what it refers to, its label, its mark."""
        ways = [self.random.randint(0, 9) for _ in range(self.random.randint(1, 2))]

        def look(row: Any) -> Any:
            names = [*row.row_values]
            found: list[Any] = []
            for way in ways:
                if way == 0:
                    found.append(bool(row.row_pending))
                elif way == 1:
                    found.append(str(row))
                elif way == 2:
                    found.append(row)
                elif way in (3, 4, 5, 6):
                    for reference in ("order", "customer"):
                        if reference in names:
                            other = row.follow(reference)
                            found.append(other and other.row_values[[*other.row_values][(way - 3) % 3]])
                else:
                    found.append(row.row_values[names[way % len(names)]])
            return found

        return look

    def rows(self) -> Read:
        spec, look = self.table(), self.looks()
        narrowed, order = self.narrowed(spec), self.order(spec)
        limit = self.random.choice((None, 1, 2, 2, 3))
        skip = self.random.choice((0, 0, 0, 1, 2)) if limit else 0
        stop = self.random.random() < 0.1

        def run(db: Db, given: Given) -> Any:
            rows = narrowed(db, given).order_by(*order)
            if skip and hasattr(rows, "offset"):
                rows = rows.offset(skip)
            if limit is not None:
                rows = rows.limit(limit)
            found = []
            for row in rows:
                found.append(look(row))
                if stop and len(found) == 2:
                    break
            return found

        return run

    def any_at_all(self) -> Read:
        """Whether there is a row, by one condition: it often hangs on one row."""
        spec = self.table()
        name, value = self.condition(spec)
        return lambda db, given: db[spec.name].where(**{name: value(db, given)}).exists()

    def order(self, spec: TableSpec) -> list[str]:
        names = self.random.sample([column.name for column in spec.columns], self.random.choice((0, 1, 1, 2)))
        return [self.random.choice(("", "-")) + name for name in names]

    def total(self) -> Read:
        spec = self.table()
        narrowed = self.narrowed(spec)
        number = self.column(spec, Kind.INTEGER, Kind.DECIMAL, Kind.REAL, Kind.BOOLEAN)
        column = self.column(spec)
        assert column is not None
        way = self.random.choice(
            ("count", "exists", "exists", "sum", "avg", "min", "max", "first", "values", "distinct")
        )
        limited = self.random.random() < 0.1

        def run(db: Db, given: Given) -> Any:
            rows = narrowed(db, given)
            rows = rows.order_by(f"-{column.name}").limit(2) if limited else rows
            if way in ("sum", "avg"):
                return getattr(rows, way)(number.name) if number else None
            if way in ("min", "max", "values", "distinct"):
                return getattr(rows, way, rows.values)(column.name)
            found = getattr(rows, way)()
            return str(found) if way == "first" else found

        return run

    def groups(self) -> Read:
        spec = self.table()
        narrowed = self.narrowed(spec)
        names = [name for name in _GROUPED if name in spec.by_name]
        chosen = self.random.sample(names, min(len(names), self.random.choice((1, 1, 2))))
        chosen = [f"{name}__month" if name == "y" and self.random.random() < 0.5 else name for name in chosen]
        number = self.column(spec, Kind.INTEGER, Kind.DECIMAL, Kind.REAL)
        way = self.random.choice(("count", "sum", "avg"))

        def run(db: Db, given: Given) -> Any:
            groups = narrowed(db, given).group_by(*chosen)
            if way == "count" or number is None:
                return groups.count()
            return getattr(groups, way)(number.name)

        return run

    def clock(self) -> Read:
        step = self.random.choice(("1h", "5h", "day"))
        return lambda db, _: db.today() if step == "day" else db.now(step)


def random_view(random: Random, name: str, specs: Mapping[str, TableSpec], focus: str) -> View:
    """A view with none, one or two arguments."""
    kinds = [Parameter("a", "a", Kind.INTEGER), Parameter("b", "b", Kind.INTEGER), Parameter("t", "t", Kind.TEXT)]
    kinds += [Parameter("r", "r", Kind.TEXT, table="order"), Parameter("day", "day", Kind.DATE)]
    count = random.choice((0, 0, 1, 1, 1, 2))
    return Maker(random, specs, tuple(random.sample(kinds, count)), focus).view(name)
