"""What a list asks for and what it gets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from brique.schema import Value
from brique.store.rows import StoredRow

Op = Literal["eq", "ne", "lt", "le", "gt", "ge", "in", "prefix", "contains", "null", "notnull"]
OPS: tuple[Op, ...] = ("eq", "ne", "lt", "le", "gt", "ge", "in", "prefix", "contains", "null", "notnull")


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition on a column, `value` a store value (a tuple of them for `in`).

    `eq` of None is `null`. `ne` holds for NULL, the other comparisons do not. `lt` … `ge` and `prefix` compare texts
    without the case of ASCII letters, as lists are sorted; `contains` without case and accents.
    """

    column: str
    op: Op
    value: Value | tuple[Value, ...] = None


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A page of a list: rows that pass all `filters` and answer `search`, sorted.

    `sort` holds at most one (column, descending); rows with equal values stand in the order in which they came. None
    sorts by the key. `after` and `before` are cursors of another page of the same list; an empty `before` asks for the
    last page. `pending_first` puts rows that are pending or need a person on top.
    """

    filters: tuple[Filter, ...] = ()
    search: str = ""
    sort: tuple[tuple[str, bool], ...] = ()
    after: str | None = None
    before: str | None = None
    limit: int = 50
    pending_first: bool = False


@dataclass(frozen=True, slots=True)
class ListPage:
    """`next` and `previous` are cursors, None at the ends. `count` is what was counted, `count_exact` whether all were:
    if not, there are about that many or more. `position` is the store's, `age` when the backend confirmed the rows."""

    rows: list[StoredRow]
    next: str | None
    previous: str | None
    count: int
    count_exact: bool
    position: int
    age: datetime | None
