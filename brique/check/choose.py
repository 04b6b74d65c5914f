"""What happens next in a life: chosen so that changes meet what was read. Everything comes from the seed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from random import Random
from typing import Any

from brique.check.copying import any_value
from brique.check.life import Life
from brique.check.steps import Ask, Lay, Pass, Restart, Settle, Step, Write
from brique.schema import Column, Kind, Row, TableSpec, Value
from brique.store import Question, Read
from brique.views import Parameter, View

USERS = ("ana", "bea")
_SAMPLE = 200
_CLOCK = (60, 600, 3_600, 5 * 3_600, 86_400, 86_400, 31 * 86_400, 31 * 86_400)


class Chooser:
    """`reads`: what each representation has asked of the data, as told by `note`."""

    def __init__(self, life: Life, random: Random) -> None:
        self._life, self._random = life, random
        self._specs = {name: spec for name, spec in life.subject.specs.items() if spec.key}
        self._sample: dict[str, list[Row]] = {name: self._rows(spec) for name, spec in self._specs.items()}
        self._questions: list[Question] = []

    def note(self, reads: Sequence[Read]) -> None:
        """These questions were asked: rows that answer them are worth changing."""
        self._questions += [read.question for read in reads[:50] if read.question.table in self._specs]
        del self._questions[:-500]

    # asking

    def ask(self, view: View) -> Ask | None:
        """Somebody asks for that view, often for what was asked before; None when nothing in the data fits."""
        before = [asked for asked in self._life.asked if asked.view == view.name]
        late, user = self._random.random() < 0.1, self._random.choice(USERS)
        if before and self._random.random() < 0.5:
            return Ask(view.name, dict(self._random.choice(before).arguments), user, late)
        arguments: dict[str, Any] = {}
        for parameter in view.parameters:
            if not parameter.required and self._random.random() < 0.4:
                continue
            value = self._argument(parameter)
            if value is None and parameter.required:
                return None
            if value is not None:
                arguments[parameter.name] = value
        return Ask(view.name, arguments, user, late)

    def _argument(self, parameter: Parameter) -> Any:
        if parameter.table:
            rows = self._sample.get(parameter.table) or []
            return self._specs[parameter.table].key_of(self._random.choice(rows)) if rows else None
        alike: list[tuple[str, Column]] = []
        others: list[tuple[str, Column]] = []
        for spec in self._specs.values():
            for column in spec.columns:
                if column.kind is parameter.kind:
                    (alike if column.name == parameter.name else others).append((spec.name, column))
        for table, column in self._shuffled(alike) + self._shuffled(others):
            values = [row[column.name] for row in self._sample[table] if row[column.name] is not None]
            if values:
                return column.json(self._random.choice(values))
        return None

    def _shuffled(self, some: list[Any]) -> list[Any]:
        return self._random.sample(some, len(some))

    # changing

    def step(self) -> Step:
        chance = self._random.random()
        if chance < 0.07:
            return Pass(self._random.choice(_CLOCK))
        if chance < 0.09:
            return Restart()
        if chance < 0.14:
            return Settle(self._random.random() < 0.6)
        spec, row = self._met() if self._questions and chance < 0.85 else self._anywhere()
        if row is None:
            return self._write_new(spec, None)
        if chance < 0.24 and not spec.read_only:
            return self._lay(spec, row)
        way = self._random.random()
        if way < 0.12:
            return Write(spec.name, (), (spec.key_of(row),))
        if way < 0.3:
            return self._write_new(spec, row)
        rows = [self._changed(spec, row)]
        if self._random.random() < 0.2:
            rows.append(self._changed(spec, self._random.choice(self._sample[spec.name])))
        return Write(spec.name, tuple({spec.key_of(one): one for one in rows}.values()))

    def _anywhere(self) -> tuple[TableSpec, Row | None]:
        spec = self._random.choice(list(self._specs.values()))
        rows = self._sample[spec.name]
        return spec, self._now(spec, self._random.choice(rows)) if rows else None

    def _met(self) -> tuple[TableSpec, Row | None]:
        """A row that answers a question which was asked, or one that is made to answer it."""
        question = self._random.choice(self._questions)
        spec = self._specs[question.table]
        found = self._answering(question, spec)
        if found and self._random.random() < 0.75:
            return spec, self._random.choice(found)
        some = self._sample[spec.name]
        other = self._now(spec, self._random.choice(some)) if some else None
        if other is None:
            return spec, None
        equal = {
            c.column: c.value
            for c in question.conditions
            if c.op == "eq" and c.column in spec.names and c.column not in spec.key
        }
        return spec, {**other, **equal}

    def _answering(self, question: Question, spec: TableSpec) -> list[Row]:
        life = self._life
        if question.key is not None:
            row = life.reader.row(spec.name, question.key)
            return [row.values] if row is not None else []
        tests, bound = [], list[Value]()
        for condition in question.conditions:
            text, more = condition.sql()
            tests.append(text)
            bound += more
        where = " AND ".join(tests) or "1"
        keys = life.reader.query(f'SELECT _key FROM "t_{spec.name}" WHERE {where} LIMIT 20', bound)  # noqa: S608 - of specs
        rows = [life.reader.row(spec.name, str(key)) for (key,) in keys]
        return [row.values for row in rows if row is not None and not row.key.startswith("new-")]

    def _now(self, spec: TableSpec, row: Row) -> Row:
        held = self._life.reader.row(spec.name, spec.key_of(row))
        return row if held is None else held.values

    def _changed(self, spec: TableSpec, row: Row) -> Row:
        """The row with one or two values that other rows have, or a little more or less of its own."""
        free = [column for column in spec.columns if column.name not in spec.key]
        changed = dict(row)
        for column in self._random.sample(free, min(len(free), self._random.choice((1, 1, 2)))):
            changed[column.name] = self._value(spec, column, row)
        return changed

    def _value(self, spec: TableSpec, column: Column, row: Row) -> Value:
        chance, held = self._random.random(), row.get(column.name)
        if chance < 0.08 and column.nullable:
            return None
        if column.kind is Kind.DATE and chance < 0.5:  # near today, for what the clock does to it
            day = self._life.clock.now().astimezone(self._life.subject.timezone).date()
            return (day + timedelta(days=self._random.randint(-2, 2))).isoformat()
        others = self._sample[spec.name]
        reference = spec.reference_of.get(column.name)
        if reference is not None and self._sample.get(reference.table):
            target: Value = self._random.choice(self._sample[reference.table])[reference.target_columns[0]]
            return target
        if chance < 0.5 and others:
            other: Value = self._random.choice(others)[column.name]
            return other
        if isinstance(held, int) and column.kind in (Kind.INTEGER, Kind.DECIMAL):
            return held + self._random.choice((-1, 1, 10))
        return any_value(column, self._random)

    def _write_new(self, spec: TableSpec, like: Row | None) -> Write:
        number = self._random.randint(10**6, 10**7)
        row = {column.name: any_value(column, self._random, number) for column in spec.columns}
        if like is not None:
            row = {**like, **{name: row[name] for name in spec.key[-1:]}}
        return Write(spec.name, (row,))

    def _lay(self, spec: TableSpec, row: Row) -> Step:
        if self._random.random() < 0.2:
            return Lay(spec.name, spec.key_of(row), row, None)
        changed = self._changed(spec, row)
        after = {name: value for name, value in changed.items() if value != row[name]}
        if not after:
            return Write(spec.name, (changed,))
        return Lay(spec.name, spec.key_of(row), {name: row[name] for name in after}, after)

    def _rows(self, spec: TableSpec) -> list[Row]:
        found: dict[str, Row] = {}
        for way in ("", " DESC"):
            query = f'SELECT _key FROM "t_{spec.name}" ORDER BY _id{way} LIMIT ?'  # noqa: S608 - of specs
            for (key,) in self._life.reader.query(query, (_SAMPLE // 2,)):
                row = self._life.reader.row(spec.name, str(key))
                if row is not None and not row.key.startswith("new-"):
                    found[row.key] = row.values
        return list(found.values())
