"""The controls above a list: what they offer, what they hold, and the conditions in force as chips."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from brique.exports import Listing, Term, parameter_of, separated, typed
from brique.pages.asking import LAST, Asked
from brique.pages.cells import Cells
from brique.pages.format import Formats
from brique.schema import Column, Kind, TableSpec, Value
from brique.views import Copy

QUICK_MAX = 2
"""Drop-downs beside the search box; the other controls are in a menu."""
_SIGNS = {"ne": "≠", "lt": "<", "le": "≤", "gt": ">", "ge": "≥"}
_BY_RANGE = (Kind.INTEGER, Kind.DECIMAL, Kind.REAL, Kind.DATE, Kind.DATETIME, Kind.TIME)


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


@dataclass(frozen=True)
class Control:
    """One control. `kind`: choice, lookup, range, part. `value` is what it holds, `high` the upper end of a range,
    both as a person types them; `picks` that they are days."""

    kind: str
    name: str
    label: str
    value: str = ""
    high_name: str = ""
    high: str = ""
    options: Sequence[tuple[str, str]] = ()
    lookup_url: str = ""
    value_label: str = ""
    picks: bool = False


@dataclass(frozen=True)
class Chip:
    """A condition in force, and the query string without it."""

    text: str
    query: str


@dataclass(frozen=True)
class Controls:
    """`quick` stand beside the search box, `more` in the menu; `kept` are the parameters that no control holds."""

    quick: Sequence[Control]
    more: Sequence[Control]
    kept: Sequence[tuple[str, str]]
    chips: Sequence[Chip]

    @property
    def in_force(self) -> int:
        """How many conditions there are that the reader may take away."""
        return len(self.chips)


class _Filters:
    """The controls of one page in the making."""

    def __init__(
        self,
        spec: TableSpec,
        asked: Asked,
        formats: Formats,
        zone: ZoneInfo,
        copy: Copy,
        at: Callable[[str], str],
    ) -> None:
        self.spec, self.asked, self.formats, self.zone, self.copy, self.at = spec, asked, formats, zone, copy, at
        self.cells = Cells(spec, formats, at)
        self.held: list[Term] = []

    def term(self, column: Column, op: str) -> Term | None:
        """The condition of that kind, if there is exactly one."""
        found = [term for term in self.asked.listing.terms if term.column == column.name and term.op == op]
        return found[0] if len(found) == 1 else None

    def text_of(self, term: Term | None) -> str:
        """What a control shows for a condition, which it then holds."""
        if term is None:
            return ""
        self.held.append(term)
        return term.text

    def shown(self, column: Column, term: Term | None) -> str:
        """The same, as people write it."""
        text = self.text_of(term)
        if not text:
            return ""
        try:
            return self.formats.typed(column.python(typed(column, text)))
        except ValueError:
            return text

    def control(self, column: Column) -> Control | None:
        """The control of a column; None when lists cannot be filtered by it."""
        reference = self.spec.reference_of.get(column.name)
        if column.choices or column.kind is Kind.BOOLEAN:
            return self._choice(column)
        if reference is not None and reference.table in self.copy.specs:
            return self._lookup(column)
        if column.kind in _BY_RANGE and column.name not in self.spec.key[:1]:
            return self._range(column)
        if column.kind is Kind.TEXT:
            name = parameter_of(column.name, "contains")
            return Control("part", name, column.label, self.text_of(self.term(column, "contains")))
        if column.kind is Kind.INTEGER:
            return Control("part", parameter_of(column.name), column.label, self.text_of(self.term(column, "eq")))
        return None

    def _choice(self, column: Column) -> Control:
        t = self.formats.t
        options: tuple[tuple[str, str], ...] = tuple((choice, choice) for choice in column.choices)
        if column.kind is Kind.BOOLEAN:
            told = (("true", t("yes")), ("false", t("no")))
            options = tuple((value, f"{column.label}{t(': ')}{text}") for value, text in told)
        all_of_them = (("", t(_("{column}: all"), column=column.label)),)
        value = self.text_of(self.term(column, "eq"))
        if value and value not in (option for option, _text in options):
            options = (*options, (value, value))
        return Control("choice", parameter_of(column.name), column.label, value, options=(*all_of_them, *options))

    def _lookup(self, column: Column) -> Control:
        value = self.text_of(self.term(column, "eq"))
        reference = self.spec.reference_of[column.name]
        url = self.at(f"/lookup/{reference.table}?{urlencode({'by': reference.target_columns[0]})}")
        label = self.label(column, value) if value else ""
        return Control("lookup", parameter_of(column.name), column.label, value, lookup_url=url, value_label=label)

    def label(self, column: Column, text: str) -> str:
        """The label of the row that `text` refers to, else the text itself."""
        try:
            value = typed(column, text)
        except ValueError:
            return text
        return self.copy.labels_of(self.spec.reference_of[column.name], [value]).get(value) or text

    def _range(self, column: Column) -> Control:
        low, high = parameter_of(column.name, "ge"), parameter_of(column.name, "le")
        picks = column.kind in (Kind.DATE, Kind.DATETIME)
        if column.kind is Kind.DATETIME:
            first = self._day(column, self.term(column, "ge"), past=False)
            last = self._day(column, self.term(column, "lt"), past=True)
        else:
            first = self.shown(column, self.term(column, "ge"))
            last = self.shown(column, self.term(column, "le"))
        return Control("range", low, column.label, first, high, last, picks=picks)

    def _day(self, column: Column, term: Term | None, *, past: bool) -> str:
        """The day that begins (or ended) at the moment of a condition; "" when the moment is within a day."""
        if term is None:
            return ""
        moment = column.python(typed(column, term.text))
        if not isinstance(moment, datetime):
            return ""
        here = moment.astimezone(self.zone) if moment.tzinfo else moment
        if here.time() != time():
            return ""
        self.held.append(term)
        return self.formats.date((here - timedelta(days=1) if past else here).date())

    # chips

    def chip(self, term: Term) -> Chip:
        column = self.spec.by_name[term.column]
        return Chip(self._sentence(column, term), self.asked.listing.without(term))

    def _sentence(self, column: Column, term: Term) -> str:
        t = self.formats.t
        if term.op == "null":
            empty = term.text.lower() in ("true", "1", "yes")
            sentence = _("{column} is empty") if empty else _("{column} is not empty")
            return t(sentence, column=column.label)
        if term.op == "contains":
            return t(_("{column} contains “{part}”"), column=column.label, part=term.text)
        if term.op == "prefix":
            return t(_("{column} starts with “{part}”"), column=column.label, part=term.text)
        if term.op == "in":
            values = separated(term.text)
            text = ", ".join(self._value(column, value) for value in values[:5]) + ("…" if len(values) > 5 else "")
            return f"{column.label}{t(': ')}{text}"
        value = self._value(column, term.text)
        return f"{column.label}{t(': ')}{value}" if term.op == "eq" else f"{column.label} {_SIGNS[term.op]} {value}"

    def _value(self, column: Column, text: str) -> str:
        if column.name in self.spec.reference_of and self.spec.reference_of[column.name].table in self.copy.specs:
            return self.label(column, text)
        try:
            value: Value = typed(column, text)
        except ValueError:
            return text
        return self.cells.text(column, value)


def controls(
    spec: TableSpec,
    asked: Asked,
    columns: Iterable[Column],
    formats: Formats,
    zone: ZoneInfo,
    copy: Copy,
    at: Callable[[str], str],
) -> Controls:
    """The controls for the `columns` of a list, holding what was asked."""
    filters = _Filters(spec, asked, formats, zone, copy, at)
    made = [control for column in columns if (control := filters.control(column)) is not None]
    quick = [control for control in made if control.kind == "choice"][:QUICK_MAX]
    on_show = {control.name for control in quick}
    chips = [filters.chip(term) for term in asked.listing.terms if term.parameter not in on_show]
    return Controls(quick, [c for c in made if c not in quick], _kept(asked, filters.held), chips)


def _kept(asked: Asked, held: Sequence[Term]) -> list[tuple[str, str]]:
    """The parameters that a form must carry along: all that no control of its own holds."""
    names = {(term.parameter, term.text) for term in held}
    return [pair for pair in asked.pairs if pair not in names and pair[0] not in ("q", "after", "before", LAST)]


def conditions_of(listing: Listing) -> bool:
    """Whether anything narrows the list."""
    return bool(listing.terms or listing.query.search)
