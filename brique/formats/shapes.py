"""The shapes of texts: which kinds of value a text could be, decided by how it is written and nothing else.

A leading zero, a leading plus or more than 18 digits mean a code, so the text stays text. `1,284` alone could be
English thousands or a French decimal: it has a shape of its own, and the column as a whole decides.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time


class Shape:
    """What was seen in a column, added up: bits of an int (an enum.IntFlag costs more than all the rest together)."""

    NOTHING = 0
    TEXT = 1
    INTEGER = 2
    GROUPED = 4  # 1 284
    DOUBT = 8  # 1,284
    POINT = 16  # 1284.5  1,284.50  1 284.50
    COMMA = 32  # 1284,5  1 284,50  1.284,50
    REAL = 64  # 1.5e-7
    BOOLEAN = 128
    ISO_DATE = 256
    SLASH_DATE = 512
    ISO_MOMENT = 1024
    ZONED_MOMENT = 2048
    SLASH_MOMENT = 4096
    TIME = 8192
    LONG = 16384  # more digits than a number of the store: text, unless the column is declared a number


NUMBERS = Shape.INTEGER | Shape.GROUPED | Shape.DOUBT | Shape.POINT | Shape.COMMA | Shape.REAL
DATES = Shape.ISO_DATE | Shape.SLASH_DATE
MOMENTS = DATES | Shape.ISO_MOMENT | Shape.ZONED_MOMENT | Shape.SLASH_MOMENT

TRUE = frozenset({"true", "yes", "vrai", "oui"})
FALSE = frozenset({"false", "no", "faux", "non"})
SURELY_BOOLEAN = frozenset({"true", "false", "vrai", "faux"})

_CLOCK = r"\d{1,2}:\d\d(?::\d\d(?:[.,]\d{1,9})?)?"
_SLASHED = r"(?:\d{1,2}/\d{1,2}/\d{4}|\d\d/\d\d/\d\d|\d\d\.\d\d\.\d{4}|\d\d-\d\d-\d{4})"
_ISO = r"(?:\d{4}-\d\d-\d\d|\d{4}/\d\d/\d\d)"
_PATTERN = re.compile(
    rf"""
    (?P<INTEGER>-?(?:0|[1-9]\d{{0,17}}))
    |(?P<LONG>-?[1-9]\d{{18,}})
    |(?P<POINT>-?(?:(?:0|[1-9]\d*)?\.\d+|[1-9]\d{{0,2}}(?:,\d{{3}})+\.\d+|[1-9]\d{{0,2}}(?:,\d{{3}}){{2,}}
        |[1-9]\d{{0,2}}(?:[ ]\d{{3}})+\.\d+))
    |(?P<DOUBT>-?[1-9]\d{{0,2}},\d{{3}})
    |(?P<COMMA>-?(?:(?:0|[1-9]\d*),\d+|[1-9]\d{{0,2}}(?:[ ]\d{{3}})+,\d+|[1-9]\d{{0,2}}(?:\.\d{{3}})+,\d+))
    |(?P<GROUPED>-?[1-9]\d{{0,2}}(?:[ ]\d{{3}})+)
    |(?P<REAL>-?(?:\d+\.\d+[eE][+-]?\d{{1,3}}|\d+[eE][+-]\d{{1,3}}))
    |(?P<ISO_DATE>{_ISO})
    |(?P<SLASH_DATE>{_SLASHED})
    |(?P<ISO_MOMENT>{_ISO}[T\ ]{_CLOCK})
    |(?P<ZONED_MOMENT>{_ISO}[T\ ]{_CLOCK}\s?(?:Z|[+-]\d\d:?\d\d))
    |(?P<SLASH_MOMENT>{_SLASHED}\ {_CLOCK}(?:\ ?[AaPp][Mm])?)
    |(?P<TIME>{_CLOCK})
    """,
    re.ASCII | re.VERBOSE,
)
_ISO_LENGTHS = (16, 19, 26)  # to the minute, second, microsecond: what the standard library reads by itself
_SPACES = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2212": "-"})
_PARTS = re.compile(r"(\d{1,4})[/.-](\d{1,2})[/.-](\d{1,4})", re.ASCII)
_NAMES: dict[str, int] = {name: getattr(Shape, name) for name in _PATTERN.groupindex}


def plain(text: str) -> str:
    """`text` without spaces around it, its typographic spaces and minus signs made plain."""
    text = text.strip()
    return text if text.isascii() else text.translate(_SPACES)


def shape_of(text: str) -> int:
    """The shape of `text`, which `plain` gave. Dates are well written, not yet looked up in a calendar."""
    found = _PATTERN.fullmatch(text)
    if found is not None:
        return _NAMES[found.lastgroup or ""]
    word = text.lower() if len(text) <= 5 else ""
    return Shape.BOOLEAN if word in TRUE or word in FALSE else Shape.TEXT


def digits(text: str, mark: str) -> tuple[int, int]:
    """How many digits a number has before and after its decimal `mark`."""
    whole, _, part = text.rpartition(mark) if mark in text else (text, "", "")
    others = whole.count("-") + whole.count(" ") + whole.count(",") + whole.count(".")
    return len(whole) - others, len(part)


def number(text: str, mark: str) -> str:
    """A number of the shapes that `mark` allows, written plainly: `1 284,50` -> `1284.50`. Raises ValueError."""
    shape = shape_of(text)
    if shape in (Shape.INTEGER, Shape.LONG):
        return text
    own = Shape.POINT if mark == "." else Shape.COMMA
    if shape not in (own, Shape.DOUBT, Shape.GROUPED, Shape.REAL):
        raise ValueError("Must be a number.")
    if shape == Shape.REAL:
        return text
    thousands = "," if mark == "." else "."
    return text.replace(" ", "").replace(thousands, "").replace(mark, ".")


def day(text: str, order: str) -> date:
    """The date that `text` starts with; `order` (`dmy` or `mdy`) is for those that do not start with the year.

    Two-digit years are 1970 to 2069. Raises ValueError when there is no such day.
    """
    found = _PARTS.match(text)
    if found is None:
        raise ValueError("Must be a date.")
    first, second, third = found.groups()
    if len(first) == 4:
        return date(int(first), int(second), int(third))
    year = int(third)
    if len(third) == 2:
        year += 2000 if year < 70 else 1900
    first_is_day = order != "mdy"
    return date(year, int(second if first_is_day else first), int(first if first_is_day else second))


def moment(text: str, order: str) -> datetime:
    """The moment in `text`, aware when it says a zone; a date alone is its midnight. Raises ValueError."""
    shape = shape_of(text)
    if not shape & MOMENTS:
        raise ValueError("Must be a date and time.")
    if shape == Shape.ISO_MOMENT and text[4] == "-" and len(text) in _ISO_LENGTHS and "," not in text:
        return datetime.fromisoformat(text)
    on = day(text, order)
    if shape & DATES:
        return datetime(on.year, on.month, on.day)  # noqa: DTZ001 - the file names no zone
    rest = text.replace("T", " ").partition(" ")[2].replace(",", ".")
    if shape == Shape.ZONED_MOMENT:
        return datetime.fromisoformat(f"{on.isoformat()}T{_padded(rest.replace(' ', ''))}")
    return datetime.combine(on, clock(rest))


def _padded(rest: str) -> str:
    rest = rest if rest[1:2] != ":" else f"0{rest}"
    fraction = re.search(r"\.\d+", rest)
    return rest.replace(fraction[0], fraction[0][:7].ljust(7, "0")) if fraction else rest


def clock(text: str) -> time:
    """The time of day in `text`, also with AM or PM. Raises ValueError."""
    text = text.strip().replace(",", ".")
    half = text[-2:].lower() if text[-1:] in "mM" else ""
    body = text[:-2].strip() if half else text
    at = time.fromisoformat(_padded(body))
    if not half:
        return at
    if not 1 <= at.hour <= 12:
        raise ValueError("Must be a time.")
    return at.replace(hour=at.hour % 12 + (12 if half == "pm" else 0))
