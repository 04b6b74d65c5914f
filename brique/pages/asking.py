"""What a reader asks of a list, as he typed it, made into the one address that means it in every language.

A form sends empty fields, `20/11/2026` and `1 284,50`; an address that is kept or sent to a colleague holds neither:
`canonical` leaves out what is empty and writes values as the API does. The shared parser reads the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from brique.errors import BadInput
from brique.exports import (
    CONTROLS,
    Listing,
    ListLimits,
    joined,
    parameter_of,
    parse_listing,
    separated,
    typed,
)
from brique.pages.parse import parse_bool, parse_date, parse_datetime, parse_number, parse_time
from brique.schema import Column, Kind, TableSpec

LAST = "_last"
"""Parameter of the last page of a list; no column of a source is ever named so."""
Pairs = list[tuple[str, str]]
_BY_PART = ("prefix", "contains", "null")
_ISO_DAY = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass(frozen=True)
class Asked:
    """A question understood. `faults`: parameters that were left out, with the reason; `pairs`: those that count;
    `is_canonical`: whether it stood in the address like that."""

    listing: Listing
    pairs: Pairs
    is_canonical: bool
    is_last: bool = False
    faults: dict[str, str] = field(default_factory=dict)
    message: str = ""
    try_this: str = ""
    facts: dict[str, object] = field(default_factory=dict)

    @property
    def query_string(self) -> str:
        """The canonical address's query string."""
        return urlencode(self.pairs)


def understand(
    spec: TableSpec, given: Sequence[tuple[str, str]], limits: ListLimits, language: str, zone: ZoneInfo
) -> Asked:
    """What `given` asks. Never raises: what cannot be used is left out and named."""
    pairs = canonical(spec, given, language, zone)
    try:
        return _asked(spec, pairs, given, limits)
    except BadInput as fault:
        left = [(name, text) for name, text in pairs if name not in fault.fields]
        if not fault.fields or len(left) == len(pairs):
            left = []
        try:
            rest = _asked(spec, left, given, limits)
        except BadInput:
            rest = _asked(spec, [], given, limits)
        return Asked(
            rest.listing, rest.pairs, True, rest.is_last, dict(fault.fields), fault.message, fault.try_this, fault.facts
        )


def _asked(spec: TableSpec, pairs: Pairs, given: Sequence[tuple[str, str]], limits: ListLimits) -> Asked:
    listing = parse_listing(spec, [pair for pair in pairs if pair[0] != LAST], limits)
    return Asked(listing, pairs, sorted(given) == sorted(pairs), (LAST, "1") in pairs)


def canonical(spec: TableSpec, given: Sequence[tuple[str, str]], language: str, zone: ZoneInfo) -> Pairs:
    """`given` without what is empty, values written as the API writes them; unknown names stay, to be complained of."""
    columns = [text for name, text in given if name == "columns" and text]
    made: Pairs = []
    for name, text in given:
        if not text.strip() or name == "columns":
            continue
        if name in (*CONTROLS, LAST):
            made.append((name, text.strip() if name == "q" else text))
            continue
        made += _condition(spec, name, text, language, zone)
    return [*made, ("columns", ",".join(columns))] if columns else made


def _condition(spec: TableSpec, name: str, text: str, language: str, zone: ZoneInfo) -> Pairs:
    column, op = spec.by_name.get(name), "eq"
    if column is None:
        head, _, op = name.rpartition("__")
        column = spec.by_name.get(head)
    if column is None or op in _BY_PART:
        return [(name, text)]
    if op == "in":
        return [(name, joined(_plain(column, part, language, zone) for part in separated(text)))]
    if column.kind is Kind.DATETIME and (day := _day_alone(text, language)):
        return _of_day(column, op, day, zone)
    return [(name, _plain(column, text, language, zone))]


def _day_alone(text: str, language: str) -> date | None:
    if _ISO_DAY.fullmatch(text.strip()):
        language = "en"
    try:
        return parse_date(text, language)
    except ValueError:
        return None


def _of_day(column: Column, op: str, day: date, zone: ZoneInfo) -> Pairs:
    """A day, for a column of moments: from its start here, to its end."""
    start = datetime(day.year, day.month, day.day)  # noqa: DTZ001  (made aware when the column's moments are)
    if "tz" in column.source_type.lower() or "with time zone" in column.source_type.lower():
        start = start.replace(tzinfo=zone)
    try:
        end = start + timedelta(days=1)
    except OverflowError:
        end = start
    first, past = (str(column.json(column.store(moment))) for moment in (start, end))
    bounds = {"ge": [("ge", first)], "lt": [("lt", first)], "gt": [("ge", past)], "le": [("lt", past)]}
    wanted = bounds.get(op, [("ge", first), ("lt", past)] if op == "eq" else [(op, first)])
    return [(parameter_of(column.name, each), value) for each, value in wanted]


def _plain(column: Column, text: str, language: str, zone: ZoneInfo) -> str:
    """`text` as the API writes that value; as it is when it is so already, or has no meaning."""
    try:
        typed(column, text)
    except ValueError:
        pass
    else:
        return text
    read = _READ.get(column.kind)
    if read is None:
        return text
    try:
        value = column.json(column.store(read(text, language, zone)))
    except ValueError:
        return text
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(text: str, language: str, _zone: ZoneInfo) -> object:
    return parse_number(text, language)


_READ: dict[Kind, Callable[[str, str, ZoneInfo], object]] = {
    Kind.INTEGER: _number,
    Kind.DECIMAL: _number,
    Kind.REAL: _number,
    Kind.BOOLEAN: lambda text, language, _: parse_bool(text, language),
    Kind.DATE: lambda text, language, _: parse_date(text, language),
    Kind.TIME: lambda text, language, _: parse_time(text, language),
    Kind.DATETIME: lambda text, language, zone: parse_datetime(text, language, zone),
}
