"""Filters and search as SQL: a test for each row and, where an index helps, a query for the rows that may pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from brique.errors import BadInput
from brique.schema import Value
from brique.store import search
from brique.store.layout import Layout, collated, quoted, sortable
from brique.store.query import OPS, Filter
from brique.store.sample import Sample

Bound = tuple[Any, ...]
_IN_MAX = 1_000
_LAST = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Limit:
    """One comparison that begins or ends a stretch of a column's index."""

    test: str
    bound: Bound


@dataclass(frozen=True, slots=True)
class Condition:
    """`test` holds for rows that pass.

    `ids`, when there is one, selects the `_id` of at least those rows, `exact`: of just those. `column`: the one whose
    index serves; rows that pass have there one value (`pinned`) or lie between `lower` and `upper`.
    `slow`: the test calls Python. `costly`: so much goes into finding `ids` that it should be done once only.
    """

    test: str
    bound: Bound = ()
    ids: str | None = None
    ids_bound: Bound = ()
    exact: bool = False
    column: str | None = None
    pinned: bool = False
    lower: Limit | None = None
    upper: Limit | None = None
    slow: bool = False
    costly: bool = False


def of_filters(layout: Layout, filters: Iterable[Filter], sample: Sample | None = None) -> list[Condition]:
    """One condition for each filter, but one for all comparisons with the same column.

    Raises BadInput for an unknown column or operator and for a value that the operator cannot use.
    """
    result: list[Condition] = []
    stretches: dict[str, list[Filter]] = {}
    for wanted in filters:
        _check(layout, wanted)
        column = layout.spec.by_name[wanted.column]
        if sortable(column) and (wanted.op in _SIGNS or (wanted.op == "prefix" and collated(column))):
            stretches.setdefault(wanted.column, []).append(wanted)
        else:
            result.append(of_filter(layout, wanted, sample))
    return result + [_stretch(layout, column, wanted) for column, wanted in stretches.items()]


_SIGNS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">="}


def _check(layout: Layout, wanted: Filter) -> None:
    if wanted.column not in layout.spec.by_name:
        raise BadInput(f"There is no column {wanted.column}.", fields={wanted.column: "There is no such column."})
    if wanted.op not in OPS:
        raise BadInput(f"There is no comparison {wanted.op}.", fields={wanted.column: "There is no such comparison."})
    if isinstance(wanted.value, tuple) and wanted.op != "in":
        raise BadInput(f"{wanted.column}: one value is wanted.", fields={wanted.column: "One value is wanted."})


def _stretch(layout: Layout, column: str, filters: Sequence[Filter]) -> Condition:
    """All comparisons with one column, whose index has the rows that pass side by side."""
    term = layout.term(column)
    lower: list[Limit] = []
    upper: list[Limit] = []
    for wanted in filters:
        if wanted.op == "prefix":
            lower.append(Limit(f"{term} >= ?", (str(wanted.value),)))
            upper.append(Limit(f"{term} < ?", (str(wanted.value) + _LAST,)))
        else:
            side = lower if wanted.op in ("gt", "ge") else upper
            side.append(Limit(f"{term} {_SIGNS[wanted.op]} ?", (wanted.value,)))
    test, bound = _joined([*lower, *upper])
    return Condition(
        test,
        bound,
        _ids(layout, column, test),
        bound,
        exact=True,
        column=column,
        lower=Limit(*_joined(lower)) if lower else None,
        upper=Limit(*_joined(upper)) if upper else None,
    )


def _joined(limits: Sequence[Limit]) -> tuple[str, Bound]:
    return " AND ".join(limit.test for limit in limits), tuple(value for limit in limits for value in limit.bound)


def _ids(layout: Layout, column: str, test: str) -> str:
    # The index holds the values compared: no row is read.
    return f"SELECT _id FROM {layout.table} INDEXED BY {layout.index(column)} WHERE {test}"  # noqa: S608


def of_filter(layout: Layout, wanted: Filter, sample: Sample | None = None) -> Condition:
    """One filter as a condition. Raises BadInput as `of_filters`."""
    _check(layout, wanted)
    column = layout.spec.by_name[wanted.column]
    if wanted.op == "contains":
        return _contains(layout, wanted, sample)
    if sortable(column) and (wanted.op in _SIGNS or (wanted.op == "prefix" and collated(column))):
        return _stretch(layout, wanted.column, [wanted])
    test, bound = _test(layout, wanted)
    if wanted.op in ("ne", "notnull", "prefix") or test.endswith("IS NOT NULL") or not sortable(column):
        return Condition(test, bound)
    pinned = wanted.op != "in"
    return Condition(test, bound, _ids(layout, column.name, test), bound, exact=True, column=column.name, pinned=pinned)


def _contains(layout: Layout, wanted: Filter, sample: Sample | None) -> Condition:
    text = str(wanted.value)
    test, bound = f"brique_contains({quoted(wanted.column)}, ?)", (search.folded(text),)
    part = search.match_part(text, sample)
    if part and layout.searchable and wanted.column in layout.search_columns:
        ids = f"SELECT rowid FROM {layout.search} WHERE {layout.search} MATCH ?"  # noqa: S608
        return Condition(test, bound, ids, (part,), slow=True, costly=" " in part)
    return Condition(test, bound, slow=True)


def _test(layout: Layout, wanted: Filter) -> tuple[str, Bound]:
    name, term, op, value = quoted(wanted.column), layout.term(wanted.column), wanted.op, wanted.value
    if op == "in":
        return _in(layout, wanted)
    if op == "null" or (op == "eq" and value is None):
        return f"{name} IS NULL", ()
    if op == "notnull" or (op == "ne" and value is None):
        return f"{name} IS NOT NULL", ()
    if op == "eq":
        return (f"({term} = ? AND {name} = ?)", (value, value)) if term != name else (f"{name} = ?", (value,))
    if op == "ne":
        return f"{name} IS NOT ?", (value,)
    if op == "prefix":
        start = str(value)
        return f"substr(CAST({name} AS TEXT), 1, ?) = ?", (len(start), start)
    return f"{term} {_SIGNS[op]} ?", (value,)


def _in(layout: Layout, wanted: Filter) -> tuple[str, Bound]:
    values = wanted.value if isinstance(wanted.value, tuple) else (wanted.value,)
    if len(values) > _IN_MAX:
        raise BadInput(f"{wanted.column}: at most {_IN_MAX} values.", fields={wanted.column: "Too many values."})
    name, term = quoted(wanted.column), layout.term(wanted.column)
    given = tuple(value for value in values if value is not None)
    holes = ", ".join("?" * len(given))
    test, bound = f"{name} IN ({holes})", given
    if term != name:
        test, bound = f"({term} IN ({holes}) AND {name} IN ({holes}))", given + given
    if len(given) < len(values):
        test = f"({test} OR {name} IS NULL)"
    return test, bound


def of_search(
    layout: Layout,
    question: str,
    referring: Callable[[], Sequence[tuple[str, Sequence[Value]]]],
    sample: Sample | None = None,
) -> Condition | None:
    """The rows that answer a question themselves or refer to a row that does; None when it asks nothing.

    `referring` gives (column, values) for the references whose few target rows answer the question.
    """
    matching, exact = search.match(question, sample)
    if not matching:
        return None
    columns = layout.search_columns
    test = f"brique_found(?, {', '.join(map(quoted, columns))})" if columns else "0"
    bound: Bound = (question,) if columns else ()
    ids: str | None = None
    ids_bound: Bound = ()
    if layout.searchable:
        ids, ids_bound = f"SELECT rowid FROM {layout.search} WHERE {layout.search} MATCH ?", (matching,)  # noqa: S608
    for column, values in referring():
        other = of_filter(layout, Filter(column, "in", tuple(values)))
        test, bound = f"({other.test} OR {test})", (*other.bound, *bound)
        if ids is not None and other.ids is not None:
            ids, ids_bound = f"{ids} UNION {other.ids}", (*ids_bound, *other.ids_bound)
        else:
            ids = None
    return Condition(test, bound, ids, ids_bound, exact=exact, slow=True, costly=len(ids_bound) > 1 or " " in matching)
