"""Old ways of writing, recognised in a sample of a column's values. Pure.

Only what is sure is recognised: the name of the column must hint at it, or nothing else be possible, and (nearly) every
value must read well in just one way. What is missed is said in Python; what is guessed wrongly shows wrong figures.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from brique.schema.catalogue import SourceColumn
from brique.schema.decoders import DECODERS, is_code_page
from brique.schema.kinds import Kind, Value
from brique.schema.names import fold

DATES_MIN = 0.95
"""Share of a sample that must decode as dates before numbers are taken for dates."""
FLAGS_MIN = 8
"""Values that must be there before two letters are taken for yes and no."""
_YEARS = ("1940", "2060")
_DATE_HINT = re.compile(r"(?i)(dat|dt|day|jour|jr|yyyymmdd|ymd)")
_TIME_HINT = re.compile(r"(?i)(tim|heu|hms|hhmm|hour|uhr|zei)")
_DATES = ("yyyymmdd", "cyymmdd", "yyyyddd", "yymmdd", "ddmmyy", "ddmmyyyy")
_NOTHING = (0, "5", 999999, 9999999, 99999999)
_FLAGS = (("Y", "N"), ("O", "N"), ("J", "N"), ("T", "F"), ("X", ""))
_PAGES = ("cp037", "cp297", "cp500", "cp273", "cp1147", "cp1148")
_ORDINARY = re.compile(r"[\w .,;:'\-/&()+*°#%!?\"]*")


def recognise(column: SourceColumn, values: Sequence[Value]) -> str:
    """The decoder for a column with these values (none of them None); "" when none is sure."""
    if column.kind is Kind.TEXT:
        return _text(column, values)
    if column.kind is Kind.BINARY:
        return _page(values)
    is_whole = column.kind is Kind.INTEGER or (
        column.kind is Kind.DECIMAL and not column.scale and column.precision in (None, 6, 7, 8, 9)
    )
    if not is_whole or (column.defaulted and column.kind is Kind.INTEGER):
        return ""
    if _DATE_HINT.search(fold(column.name)):
        return _date(values)
    if _TIME_HINT.search(fold(column.name)):
        return _time(values)
    return ""


def _date(values: Sequence[Value]) -> str:
    """The one way in which nearly all of these numbers are dates of our times; "" when none, or several, are."""
    numbers = [value for value in values if value not in _NOTHING]
    if len(numbers) < 3:
        return ""
    good = [name for name in _DATES if _share(name, numbers) >= DATES_MIN]
    if good[:1] == ["yyyymmdd"]:
        return good[0]
    if "cyymmdd" in good and all(isinstance(n, int) and n >= 10**6 for n in numbers[:3]):
        return "cyymmdd"
    return good[0] if len(good) == 1 or good == ["cyymmdd", "yymmdd"] else ""


def _share(name: str, numbers: Sequence[Value]) -> float:
    read = [DECODERS[name].decode(number) for number in numbers]
    good = [day for day in read if isinstance(day, str) and len(day) == 10 and _YEARS[0] <= day[:4] <= _YEARS[1]]
    return len(good) / len(numbers)


def _time(values: Sequence[Value]) -> str:
    """`hhmmss` when every value reads so, and some are too large to be hours and minutes."""
    if len(values) < 3 or not all(isinstance(DECODERS["hhmmss"].decode(value), str) for value in values):
        return ""
    return "hhmmss" if any(isinstance(value, int) and value > 2359 for value in values) else ""


def _text(column: SourceColumn, values: Sequence[Value]) -> str:
    texts = {value.rstrip(" ") for value in values if isinstance(value, str)}
    is_letter = column.length_max == 1 and not column.choices and len(values) >= FLAGS_MIN
    for yes, no in _FLAGS if is_letter else ():
        if texts in ({yes, no}, {yes, no, ""}):
            return f"flag:{yes}:{no}"
    return "trim" if column.padded else ""


def _page(values: Sequence[Value]) -> str:
    """The EBCDIC code page in which every value is an ordinary text, when none of them is one in ASCII.

    Letters without accents are the same in all pages: then it is `cp037`, until an accent tells.
    """
    raw = [value for value in values if isinstance(value, bytes) and value.strip(b"\x40\x00")]
    if len(raw) < 3 or any(value.isascii() for value in raw):
        return ""
    lengths = {len(value) for value in values if isinstance(value, bytes)}
    for page in _PAGES:
        if is_code_page(page) and all(_is_ordinary(value, page) for value in raw):
            return f"ebcdic:{page}:{lengths.pop()}" if len(lengths) == 1 else f"ebcdic:{page}"
    return ""


def _is_ordinary(value: bytes, page: str) -> bool:
    text = value.decode(page, "replace").rstrip(" \x00")
    letters = sum(letter.isalnum() or letter == " " for letter in text)
    return _ORDINARY.fullmatch(text) is not None and letters >= 0.7 * len(text)
