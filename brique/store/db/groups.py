"""Totals by value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import apsw

from brique.errors import BadInput
from brique.schema import Column, Kind, Table, Value
from brique.store.db import cells
from brique.store.db.cells import cell_spec
from brique.store.db.numbers import add, kept_as_int, mean, plus, sum_python
from brique.store.db.where import quoted, sort_key

if TYPE_CHECKING:
    from brique.store.db.rows import Rows

T = TypeVar("T", bound=Table)
_KEPT_BY = (Kind.TEXT, Kind.INTEGER, Kind.DECIMAL, Kind.BOOLEAN, Kind.DATE, Kind.DATETIME, Kind.TIME)
"""Kinds whose values say the same to SQL and Python, so that groups by them can be kept."""
_PARTS = {"year": 4, "month": 7, "day": 10}


class Groups(Generic[T]):
    """Totals by value: `db[Order].group_by("status").sum("amount")` is `{"open": Decimal("12.50"), ...}`.

    Sorted by the value; with several columns the keys are tuples. Dates by part are text: "2026-11".
    """

    __slots__ = ("_columns", "_parts", "_rows")

    def __init__(self, rows: Rows[T], columns: tuple[str, ...]) -> None:
        if not columns:
            raise BadInput("group_by() takes at least one column")
        self._rows = rows
        self._columns: list[Column] = []
        self._parts: list[int | None] = []
        for name in columns:
            stem, _, part = name.rpartition("__")
            whole = name in rows._access.spec.by_name or part not in _PARTS
            column = rows._column(name if whole else stem)
            if not whole and column.kind not in (Kind.DATE, Kind.DATETIME):
                raise BadInput(f"{stem} is no date, it has no {part}")
            self._columns.append(column)
            self._parts.append(None if whole else _PARTS[part])

    def count(self) -> dict[Any, int]:
        """How many rows there are of each."""
        return {key: count for key, (count, _) in self._totals(None).items()}

    def sum(self, column: str) -> dict[Any, Any]:
        """The exact sum of `column` for each."""
        known = self._rows._number(column)
        return {key: sum_python(known, total) for key, (_, total) in self._totals(known).items()}

    def avg(self, column: str) -> dict[Any, Any]:
        """The mean of `column` for each; None where it is always empty."""
        known = self._rows._number(column)
        return {key: mean(known, count, total) for key, (count, total) in self._totals(known).items()}

    def _totals(self, summed: Column | None) -> dict[Any, tuple[int, Any]]:
        rows = self._rows
        mask = rows._reads(ordered=rows._cut_off).mask
        mask.update(column.name for column in self._columns)
        mask.update([summed.name] if summed else [])
        grouped: dict[tuple[Value, ...], tuple[int, Any]] = {}
        for key, (count, total) in self._raw(summed):
            held = grouped.get(key, (0, 0))
            grouped[key] = (held[0] + count, plus(summed, held[1], total))
        result: dict[Any, tuple[int, Any]] = {}
        for key in sorted(grouped, key=lambda key: tuple(sort_key(value) for value in key)):
            count, total = grouped[key]
            face = self._python(key)  # two ways to write one date are one group
            held = result.get(face, (0, 0))
            result[face] = (held[0] + count, plus(summed, held[1], total))
        return result

    def _raw(self, summed: Column | None) -> Iterator[tuple[tuple[Value, ...], tuple[int, Any]]]:
        """Partial totals by group key; a group may come several times."""
        rows = self._rows
        if rows._plain() and (summed is None or kept_as_int(summed)):
            try:
                yield from self._in_sql(summed)
            except apsw.SQLError as fault:
                if "overflow" not in str(fault):
                    raise
            else:
                return
        names = tuple(column.name for column in self._columns)
        wanted = (*names, summed.name) if summed else names
        lists: dict[tuple[Value, ...], list[Value]] = {}
        counts: dict[tuple[Value, ...], int] = {}
        for values in rows._pairs(wanted):
            key = self._key(values[: len(names)])
            counts[key] = counts.get(key, 0) + 1
            if summed:
                lists.setdefault(key, []).append(values[-1])
        for key, count in counts.items():
            yield key, (add(summed, iter(lists[key])) if summed else (count, 0))

    def _in_sql(self, summed: Column | None) -> list[tuple[tuple[Value, ...], tuple[int, Any]]]:
        rows = self._rows
        names = [column.name for column in self._columns]
        cell = cell_spec(rows._access.spec.name, rows._conditions, names, self._parts, summed.name if summed else "")
        can_be_kept = not rows._cut_off and all(column.kind in _KEPT_BY for column in self._columns)
        kept = rows._db._kept_totals(cell) if can_be_kept and rows._access.is_large(cell) else None
        if kept is None:
            kept = self._counted(summed)
            if can_be_kept and sum(total[1] for total in kept) >= cells.ROWS_MIN:
                rows._access.note_large(cell)
                rows._db._count(cell, kept)
        return [(key, (numbers if summed else count, total)) for key, count, numbers, total in kept]

    def _counted(self, summed: Column | None) -> list[tuple[tuple[Value, ...], int, int, int]]:
        """(group, rows, numbers, sum), each group once."""
        heads = [
            quoted(column.name) if part is None else f"substr({quoted(column.name)}, 1, {part})"
            for column, part in zip(self._columns, self._parts, strict=True)
        ]
        totals = "count(*), 0, 0"
        if summed:
            number = f"CASE WHEN typeof({quoted(summed.name)}) = 'integer' THEN {quoted(summed.name)} END"
            totals = f"count(*), count({number}), coalesce(sum({number}), 0)"
        places = ", ".join(str(number + 1) for number in range(len(heads)))
        sql, parameters = self._rows._sql(f"{', '.join(heads)}, {totals}", f"GROUP BY {places}")
        found: dict[tuple[Value, ...], tuple[int, int, int]] = {}
        for values in self._rows._db._query(sql, parameters):
            count, numbers, total = cast("tuple[int, int, int]", values[-3:])
            held = found.get(self._key(values[:-3]), (0, 0, 0))
            found[self._key(values[:-3])] = (held[0] + count, held[1] + numbers, held[2] + total)
        return [(key, *total) for key, total in found.items()]

    def _key(self, values: tuple[Value, ...]) -> tuple[Value, ...]:
        return tuple(
            canonical(column, value) if part is None else (None if value is None else str(value)[:part])
            for column, part, value in zip(self._columns, self._parts, values, strict=True)
        )

    def _python(self, key: tuple[Value, ...]) -> Any:
        values = tuple(
            column.python(value) if part is None else value
            for column, part, value in zip(self._columns, self._parts, key, strict=True)
        )
        plain = tuple(value if _hashable(value) else str(value) for value in values)
        return plain[0] if len(plain) == 1 else plain


def _hashable(value: Any) -> bool:
    return not isinstance(value, (dict, list))


def canonical(column: Column, value: Value) -> Value:
    """1 and 1.0 are one group in SQL: give both one face."""
    if isinstance(value, float) and value.is_integer() and column.kind is not Kind.REAL:
        return int(value)
    return float(value) if column.kind is Kind.REAL and isinstance(value, int) else value
