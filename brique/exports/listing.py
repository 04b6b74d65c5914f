"""What an address asks of a list: search, filters, sort, page, columns. One grammar for pages, API and exports.

    q=dakar                 every word somewhere in the row
    sort=-ordered           one column, `-` for descending
    city=Thiès              equal; also city__ne, __lt, __le, __gt, __ge, __prefix, __contains, __in, __null
    city__in=Dakar,Thiès    one of these; a comma within a value is written \\,
    shipped__null=true      without a value; false: with one
    columns=number,city     only these, in this order
    limit=50  after=…  before=…

A column named like one of the words above is filtered as `limit__eq=…`. Several conditions must all hold. Nothing is
passed over in silence: what is unknown or does not fit is named, with the nearest right name.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlencode

from brique.errors import BadInput
from brique.exports.typed import number_like, part, truth, typed
from brique.schema import Column, Kind, TableSpec, Value
from brique.settings import Settings
from brique.views import Filter, ListQuery, Op, sortable

CONTROLS = ("q", "sort", "columns", "after", "before", "limit")
PAGING = frozenset({"after", "before", "limit"})
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge", "prefix", "contains", "in", "null")
_ELSEWHERE = {
    "gte": "ge", "lte": "le", "neq": "ne", "not": "ne", "startswith": "prefix", "istartswith": "prefix",
    "icontains": "contains", "like": "contains", "isnull": "null", "exact": "eq",
}  # fmt: skip
"""What comparisons are called in other systems, to suggest ours."""
ValueParser = Callable[[Column, str], Value]
"""(column, text) to a store value. Raises ValueError with a sentence for people."""
Parameters = Mapping[str, str] | Iterable[tuple[str, str]]


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


@dataclass(frozen=True)
class ListLimits:
    """How much one address may ask for; counts and characters as the names say."""

    rows_default: int = 25
    rows_max: int = 200
    search_chars_max: int = 200
    filters_max: int = 50
    values_max: int = 500

    @classmethod
    def of(cls, settings: Settings) -> ListLimits:
        return cls(rows_default=settings.page_rows, rows_max=settings.page_rows_max)


@dataclass(frozen=True)
class Term:
    """One condition as it stands in the address: `parameter` is `column` or `column__op`, `text` what it was given."""

    parameter: str
    column: str
    op: str
    text: str


@dataclass(frozen=True)
class Listing:
    """An address, understood. `columns` is empty when none were chosen; `terms` are its conditions as written.

    `given` are its parameters, known ones only, in their order.
    """

    spec: TableSpec
    query: ListQuery
    columns: tuple[str, ...] = ()
    terms: tuple[Term, ...] = ()
    given: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def sort(self) -> tuple[str, bool] | None:
        """The column sorted by and whether descending; None for the table's own order."""
        return self.query.sort[0] if self.query.sort else None

    def as_query_string(self, **changes: str | int | None) -> str:
        """The same question as a query string (without `?`), with some parameters set, or left out when None.

        The page (`after`, `before`) is left out whenever anything else than the limit changes.
        """
        wanted = {name: None if value is None else str(value) for name, value in changes.items()}
        if not PAGING.issuperset(wanted):
            wanted = {"after": None, "before": None, **wanted}
        if wanted.get("after") is not None:
            wanted.setdefault("before", None)
        if wanted.get("before") is not None:
            wanted.setdefault("after", None)
        kept = [(name, value) for name, value in self.given if name not in wanted]
        return urlencode([*kept, *((name, value) for name, value in wanted.items() if value is not None)])

    def without(self, term: Term) -> str:
        """The query string without one condition, at its first page."""
        left = list(self.given)
        if (term.parameter, term.text) in left:
            left.remove((term.parameter, term.text))
        return urlencode([(name, value) for name, value in left if name not in ("after", "before")])


def parameter_of(column: str, op: str = "eq") -> str:
    """The parameter that compares `column`: `city`, `city__ge`, `limit__eq`."""
    return column if op == "eq" and column not in CONTROLS and "__" not in column else f"{column}__{op}"


def joined(values: Iterable[str]) -> str:
    """Texts as the value of an `in`."""
    return ",".join(text.replace("\\", "\\\\").replace(",", "\\,") for text in values)


def separated(text: str) -> list[str]:
    """The texts that `joined` wrote. A backslash before anything but a comma or backslash is itself."""
    found, current, letters = [], "", iter(text)
    for letter in letters:
        if letter == "\\":
            following = next(letters, "")
            current += following if following in (",", "\\") and following else letter + following
        elif letter == ",":
            found.append(current)
            current = ""
        else:
            current += letter
    return [*found, current]


def parse_listing(
    spec: TableSpec,
    parameters: Parameters,
    limits: ListLimits,
    value_parser: ValueParser | None = None,
    *,
    skip_empty: bool = False,
    also: Collection[str] = (),
    paged: bool = True,
) -> Listing:
    """What `parameters` (a Starlette QueryParams, a mapping, or pairs) ask of a list of `spec`.

    Args:
        value_parser: how values are typed; as in the API when None.
        skip_empty: a condition without a value is no condition, as a form sends it.
        also: names of parameters that somebody else reads; they stay in the query string.
        paged: an export has no pages: `after`, `before` and `limit` are then passed over.
    Raises:
        BadInput: `fields` by parameter, fact `where` = "query"; the message names the nearest right parameter.
    """
    return _Parsing(spec, limits, value_parser or typed, skip_empty, frozenset(also), paged).run(pairs_of(parameters))


def pairs_of(parameters: Parameters) -> list[tuple[str, str]]:
    """Parameters as (name, text) pairs, repeated names included."""
    several = getattr(parameters, "multi_items", None)
    if several is not None:
        return cast("list[tuple[str, str]]", list(several()))
    return list(parameters.items() if isinstance(parameters, Mapping) else parameters)


class _Parsing:
    """One address on its way to a Listing; collects every fault before it raises."""

    def __init__(
        self,
        spec: TableSpec,
        limits: ListLimits,
        value_parser: ValueParser,
        skip_empty: bool,
        also: frozenset[str],
        paged: bool,
    ) -> None:
        self.spec, self.limits, self.value_parser = spec, limits, value_parser
        self.skip_empty, self.also = skip_empty, also
        self.left_out = frozenset() if paged else PAGING
        self.faults: dict[str, str] = {}
        self.nearest: tuple[str, str] | None = None
        self.control: dict[str, str] = {}
        self.terms: list[Term] = []
        self.filters: list[Filter] = []
        self.given: list[tuple[str, str]] = []

    def run(self, pairs: Sequence[tuple[str, str]]) -> Listing:
        for name, text in pairs:
            self._take(name, text)
        if len(self.filters) > self.limits.filters_max:
            raise BadInput(_("There are too many conditions."), where="query", limit=self.limits.filters_max)
        query = ListQuery(
            filters=tuple(self.filters),
            search=self._search(),
            sort=self._sort(),
            after=self.control.get("after"),
            before=self.control.get("before"),
            limit=self._limit(),
        )
        if query.after is not None and query.before is not None:
            self.faults["before"] = _("A page is after a row or before one, not both.")
        columns = self._columns()
        self._raise()
        return Listing(self.spec, query, columns, tuple(self.terms), tuple(self.given))

    def _take(self, name: str, text: str) -> None:
        if name in CONTROLS:
            if not text or name in self.left_out:
                return
            if name in self.control:
                self.faults[name] = _("Is given twice.")
            self.control[name] = text
        elif name not in self.also:
            term = self._term(name, text)
            if term is None or (self.skip_empty and not text):
                return
            self._condition(term)
        self.given.append((name, text))

    def _term(self, name: str, text: str) -> Term | None:
        if name in self.spec.by_name:
            return Term(name, name, "eq", text)
        column, marked, op = name.rpartition("__")
        if marked and column in self.spec.by_name and op in COMPARISONS:
            return Term(name, column, op, text)
        self.faults[name] = _("There is no such parameter.")
        if self.nearest is None:
            self.nearest = (name, self._near(name))
        return None

    def _near(self, name: str) -> str:
        column, marked, op = name.rpartition("__")
        if marked and column in self.spec.by_name:
            return f"{column}__{_ELSEWHERE.get(op) or near(op, COMPARISONS) or COMPARISONS[1]}"
        if marked and op in COMPARISONS:
            close = near(column, self.spec.names)
            return f"{close}__{op}" if close else ""
        return near(name, (*self.spec.names, *CONTROLS))

    def _condition(self, term: Term) -> None:
        column = self.spec.by_name[term.column]
        try:
            wanted = self._filter(column, term)
        except ValueError as fault:
            self.faults[term.parameter] = str(fault)
            return
        if term.op == "eq" and any(other.column == term.column and other.op == "eq" for other in self.terms):
            self.faults[term.parameter] = _("Is given twice: write several values with __in, between commas.")
        self.terms.append(term)
        self.filters.append(wanted)

    def _filter(self, column: Column, term: Term) -> Filter:
        if term.op == "null":
            return Filter(column.name, "null" if truth(term.text) else "notnull")
        if term.op in ("prefix", "contains"):
            return Filter(column.name, cast(Op, term.op), part(column, term.text))
        if term.op == "in":
            texts = separated(term.text)
            if len(texts) > self.limits.values_max:
                raise ValueError(_("Has too many values."))
            return Filter(column.name, "in", tuple(value for text in texts for value in self._values(column, text)))
        values = self._values(column, term.text)
        if term.op == "eq" and len(values) > 1:
            return Filter(column.name, "in", values)
        return Filter(column.name, cast(Op, term.op), values[0])

    def _values(self, column: Column, text: str) -> tuple[Value, ...]:
        """The store values that `text` may mean: in a column of any kind `5` is a number or a text."""
        value = self.value_parser(column, text)
        if column.kind is Kind.ANY and isinstance(value, (int, float)) and number_like(text) == value:
            return (value, text)
        return (value,)

    def _search(self) -> str:
        text = self.control.get("q", "")
        if len(text) > self.limits.search_chars_max:
            self.faults["q"] = _("Is too long.")
        elif "\x00" in text:
            self.faults["q"] = _("Must not contain a NUL character.")
        return text

    def _sort(self) -> tuple[tuple[str, bool], ...]:
        text = self.control.get("sort", "")
        if not text:
            return ()
        name = text.removeprefix("-")
        column = self.spec.by_name.get(name)
        if column is None:
            self.faults["sort"] = _("There is no such column.")
            self._suggest(name, self.spec.names)
            return ()
        if not sortable(column):
            self.faults["sort"] = _("Lists cannot be sorted by this column.")
            return ()
        return ((name, text.startswith("-")),)

    def _limit(self) -> int:
        text = self.control.get("limit", "")
        if not text:
            return self.limits.rows_default
        number = int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0
        if not 1 <= number <= self.limits.rows_max:
            self.faults["limit"] = _("Must be a number from 1 to the most rows of one page.")
            return self.limits.rows_default
        return number

    def _columns(self) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(name.strip() for name in self.control.get("columns", "").split(",")))
        chosen = tuple(name for name in names if name)
        for name in chosen:
            if name not in self.spec.by_name:
                self.faults["columns"] = _("There is no such column.")
                self._suggest(name, self.spec.names)
        return chosen

    def _suggest(self, name: str, names: Sequence[str]) -> None:
        if self.nearest is None:
            self.nearest = (name, near(name, names))

    def _raise(self) -> None:
        if not self.faults:
            return
        if self.nearest is None:
            raise BadInput(_("The list cannot be shown so."), fields=self.faults, where="query")
        name, close = self.nearest
        try_this = _("Did you mean {near}?") if close else ""
        message = _("There is no {name} here.")
        raise BadInput(message, fields=self.faults, try_this=try_this, where="query", name=name[:80], near=close)


def near(name: str, names: Iterable[str]) -> str:
    """The one of `names` that `name` is most likely a slip of, "" when none is close."""
    return next(iter(difflib.get_close_matches(name.lower()[:80], list(names), n=1, cutoff=0.5)), "")
