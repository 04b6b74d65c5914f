"""Filters and search as SQL: a test for each row and, where an index helps, a query for the rows that may pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from brique.errors import BadInput
from brique.schema import Value, fold
from brique.store import search
from brique.store.layout import Layout, collated, quoted, sortable
from brique.store.query import OPS, Filter

_IN_MAX = 1_000
_LAST = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Condition:
    """`test` holds for rows that pass. `ids`, when there is one, selects the `_id` of at least those rows.

    `exact`: of just those. `column`: the one that the index of `ids` is on. `cost` of a test, in row look-ups.
    """

    test: str
    bound: tuple[Any, ...] = ()
    ids: str | None = None
    ids_bound: tuple[Any, ...] = ()
    exact: bool = False
    column: str | None = None
    ranged: bool = False


def of_filter(layout: Layout, wanted: Filter) -> Condition:
    """Raises BadInput for an unknown column or operator and for a value that the operator cannot use."""
    column = layout.spec.by_name.get(wanted.column)
    if column is None:
        raise BadInput(f"There is no column {wanted.column}.", fields={wanted.column: "There is no such column."})
    if wanted.op not in OPS:
        raise BadInput(f"There is no comparison {wanted.op}.", fields={wanted.column: "There is no such comparison."})
    test, bound = _test(layout, wanted)
    if wanted.op == "contains":
        part = search.match_part(str(wanted.value))
        if part and layout.searchable and wanted.column in layout.search_columns:
            ids = f"SELECT rowid FROM {layout.search} WHERE {layout.search} MATCH ?"  # noqa: S608
            return Condition(test, bound, ids, (part,))
        return Condition(test, bound)
    if wanted.op in ("ne", "notnull") or not sortable(column) or (wanted.op == "prefix" and not collated(column)):
        return Condition(test, bound)
    # NOT MATERIALIZED by design: the index holds the compared values, so the rows are not read.
    ids = f"SELECT _id FROM {layout.table} INDEXED BY {layout.index(column.name)} WHERE {test}"  # noqa: S608
    return Condition(test, bound, ids, bound, exact=True, column=column.name, ranged=wanted.op not in ("eq", "in"))


def _test(layout: Layout, wanted: Filter) -> tuple[str, tuple[Any, ...]]:
    name, term, op, value = quoted(wanted.column), layout.term(wanted.column), wanted.op, wanted.value
    if op == "in":
        return _in(layout, wanted)
    if isinstance(value, tuple):
        raise BadInput(f"{wanted.column}: one value is wanted.", fields={wanted.column: "One value is wanted."})
    if op == "null" or (op == "eq" and value is None):
        return f"{name} IS NULL", ()
    if op == "notnull" or (op == "ne" and value is None):
        return f"{name} IS NOT NULL", ()
    if op == "eq":
        return (f"({term} = ? AND {name} = ?)", (value, value)) if term != name else (f"{name} = ?", (value,))
    if op == "ne":
        return f"{name} IS NOT ?", (value,)
    if op == "contains":
        return f"brique_contains({name}, ?)", (fold(str(value)),)
    if op == "prefix":
        return _prefix(name, term, str(value))
    sign = {"lt": "<", "le": "<=", "gt": ">", "ge": ">="}[op]
    return f"{term} {sign} ?", (value,)


def _prefix(name: str, term: str, start: str) -> tuple[str, tuple[Any, ...]]:
    if not start:
        return f"{name} IS NOT NULL", ()
    if term != name:
        return f"({term} >= ? AND {term} < ?)", (start, start + _LAST)
    return f"substr(CAST({name} AS TEXT), 1, ?) = ?", (len(start), start)


def _in(layout: Layout, wanted: Filter) -> tuple[str, tuple[Any, ...]]:
    values = wanted.value if isinstance(wanted.value, tuple) else (wanted.value,)
    if len(values) > _IN_MAX:
        raise BadInput(f"{wanted.column}: at most {_IN_MAX} values.", fields={wanted.column: "Too many values."})
    name, term = quoted(wanted.column), layout.term(wanted.column)
    given = tuple(value for value in values if value is not None)
    holes = ", ".join("?" * len(given))
    test, bound = (f"{name} IN ({holes})", given)
    if term != name:
        test, bound = f"({term} IN ({holes}) AND {name} IN ({holes}))", given + given
    if len(given) < len(values):
        test = f"({test} OR {name} IS NULL)"
    return test, bound


def of_search(
    layout: Layout, question: str, referring: Callable[[], Sequence[tuple[str, Sequence[Value]]]]
) -> Condition | None:
    """The rows that answer a question themselves or refer to a row that does; None when it asks nothing.

    `referring` gives (column, values) for the references whose few target rows answer the question.
    """
    matching = search.match(question)
    if not matching:
        return None
    columns = layout.search_columns
    test = f"brique_found(?, {', '.join(map(quoted, columns))})" if columns else "0"
    bound: tuple[Any, ...] = (question,) if columns else ()
    exact = search.exact(question)
    ids, ids_bound = None, tuple[Any, ...]()
    if layout.searchable:
        ids, ids_bound = f"SELECT rowid FROM {layout.search} WHERE {layout.search} MATCH ?", (matching,)  # noqa: S608
    for column, values in referring():
        other = of_filter(layout, Filter(column, "in", tuple(values)))
        test, bound = f"({test} OR {other.test})", (*bound, *other.bound)
        if ids is not None and other.ids is not None:
            ids, ids_bound = f"{ids} UNION {other.ids}", (*ids_bound, *other.ids_bound)
        else:
            ids = None
    return Condition(test, bound, ids, ids_bound, exact=exact)
