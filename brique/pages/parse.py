"""What people type, as values: the other way round of `brique.pages.format`.

Lenient where there is one meaning only (`20/11/26`, `20 nov 2026`, `201126`, `2026-11-20`; `1 284,50`, `1,284.50`,
`123-` as on a 5250 screen), strict where there would be two. Each function raises ValueError with a sentence in the
language of the person, made to stand beside the field.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import cache, partial
from zoneinfo import ZoneInfo

from babel import Locale

from brique.pages.format import Formats, date_shape, locale_of
from brique.words import translate

# A two-digit year from here on is of the last century, under it of this one: 69 is 1969, 68 is 2068 (as in POSIX).
PIVOT_YEAR = 69
# Longer text cannot be a number or a moment; it keeps the regular expressions cheap.
_TYPED_LENGTH_MAX = 80

_SPACES = str.maketrans(dict.fromkeys("\u00a0\u202f\u2009\u2007\t'’", " "))
_MINUS = str.maketrans({"−": "-", "–": "-"})
_YES = {"yes", "y", "oui", "o", "true", "vrai", "1", "on", "x"}
_NO = {"no", "n", "non", "false", "faux", "0", "off", ""}
_TIME = re.compile(
    r"(?P<hour>\d{1,2})(?:\s?[:h.]\s?(?P<minute>\d{2})(?:(?:min|[:m.])?(?P<second>\d{2})s?(?:[.,](?P<part>\d{1,6}))?)?|\s?h)?"
    r"(?:\s?(?P<half>[ap])\.?m\.?)?",
    re.IGNORECASE,
)
_TIME_RUN = re.compile(r"(?P<hour>\d{2})(?P<minute>\d{2})(?P<second>\d{2})?")
_DAY, _MONTH, _YEAR = r"(?P<day>\d{1,2})(?:er|st|nd|rd|th)?", r"(?P<month>[^\W\d_]{3,})\.?", r"(?P<year>\d{4}|\d{2})"
_DAY_FIRST = re.compile(rf"{_DAY}[\s-]+{_MONTH}[\s-]+{_YEAR}", re.IGNORECASE)
_MONTH_FIRST = re.compile(rf"{_MONTH}\s+{_DAY},?\s+{_YEAR}", re.IGNORECASE)
_MOMENT = re.compile(
    r"(?P<day>.+?)(?:(?:T|\s*,\s*|\s+(?:à|at)\s+|\s+)(?P<time>\d{1,2}\s?[:h]\s?\d{0,2}[^+\-Z]*?|\d{1,2}\s?[ap]\.?m\.?))?"
    r"\s*(?P<zone>Z|[+-]\d{2}:?\d{2})?",
    re.IGNORECASE,
)


def parse_number(typed: str, language: str = "en") -> Decimal:
    """The number in `typed`. The signs of `language` win; others are read where they can mean one thing only.

    French `1,284` is 1.284 and English `1,284` is 1284; `1.5` is one and a half in both; `1 284,50` and `1,284.50`
    are the same number in both.
    """
    text = _ascii_digits(typed.strip().translate(_MINUS))
    if text.endswith("-") and not text.startswith("-"):
        text = "-" + text[:-1].rstrip()
    sign, body = ("-", text[1:]) if text[:1] == "-" else ("", text.removeprefix("+"))
    mantissa, _, power = body.translate(_SPACES).strip().upper().partition("E")
    plain = _plain_digits(mantissa, language) if len(typed) <= _TYPED_LENGTH_MAX else None
    if plain is None or ("E" in body.upper() and not re.fullmatch(r"[+-]?\d{1,4}", power)):
        example = Formats(language).number(Decimal("1284.50"))
        t = _words(language)
        raise ValueError(t("“{typed}” is not a number. Write it like {example}.", typed=_short(typed), example=example))
    return Decimal(f"{sign}{plain}E{power}" if power else sign + plain)


def parse_date(typed: str, language: str = "en") -> date:
    """The day in `typed`: in the order of `language`, or ISO, or with the month in words.

    Six digits are read in the order of `language` (201126), eight as year first if that is a date, else likewise.
    Years of two digits: see PIVOT_YEAR.
    """
    text = _ascii_digits(typed.strip()) if len(typed) <= _TYPED_LENGTH_MAX else ""
    parts = _date_parts(text, language)
    try:
        if parts is None:
            raise ValueError("not a date")
        return date(*parts)
    except ValueError as fault:
        t, example = _words(language), Formats(language).date(date(2026, 11, 20))
        sentence = t("“{typed}” is not a date. Write it like {example}.", typed=_short(typed), example=example)
        raise ValueError(sentence) from fault


def parse_time(typed: str, language: str = "en") -> time:
    """The time of day in `typed`: `10:41`, `10h41`, `1041`, `10h`, `10:41:30.5`, `2:30 pm`."""
    text = _ascii_digits(typed.strip())
    found = _TIME_RUN.fullmatch(text) or (_TIME.fullmatch(text) if len(text) <= _TYPED_LENGTH_MAX else None)
    if found:
        parts = found.groupdict()
        hour, half = int(parts["hour"]), (parts.get("half") or "").lower()
        if half and 1 <= hour <= 12:
            hour = hour % 12 + (12 if half == "p" else 0)
        elif half:
            hour = 99
        micro = int((parts.get("part") or "0").ljust(6, "0"))
        minute, second = int(parts["minute"] or 0), int(parts["second"] or 0)
        if hour < 24 and minute < 60 and second < 60:
            return time(hour, minute, second, micro)
    t = _words(language)
    raise ValueError(t("“{typed}” is not a time. Write it like {example}.", typed=_short(typed), example="10:41"))


def parse_datetime(typed: str, language: str = "en", zone: ZoneInfo | None = None) -> datetime:
    """The moment in `typed`: a date, then perhaps a time (else midnight), then perhaps an offset.

    With `zone` the answer is aware: in the zone, or with the offset that was typed; without, an offset is kept and
    the answer is naive if there is none. A time that the clocks skip in spring is refused; of one that autumn repeats,
    the first is meant.
    """
    text = _ascii_digits(typed.strip().translate(_MINUS).translate(_SPACES)) if len(typed) <= _TYPED_LENGTH_MAX else ""
    found = _MOMENT.fullmatch(text)
    t = _words(language)
    try:
        if not found or (found["zone"] and not found["time"]):
            raise ValueError("not a moment")
        clock = parse_time(found["time"], language) if found["time"] else time()
        moment = datetime.combine(parse_date(found["day"], language), clock, _offset(found["zone"]) or zone)
    except ValueError as fault:
        example = Formats(language).typed(datetime(2026, 11, 20, 10, 41, tzinfo=UTC))
        sentence = t("“{typed}” is not a date and time. Write it like {example}.", typed=_short(typed), example=example)
        raise ValueError(sentence) from fault
    if _skipped(moment):
        raise ValueError(t("At {typed} the clocks go forward: that time does not exist.", typed=_short(typed)))
    return moment


def parse_bool(typed: str, language: str = "en") -> bool:
    """Yes or no, in any of the languages; an empty text is no."""
    folded = _fold(typed)
    if folded in _YES or folded in _NO:
        return folded in _YES
    t = _words(language)
    raise ValueError(t("“{typed}” is neither yes nor no.", typed=_short(typed)))


def _plain_digits(body: str, language: str) -> str | None:
    """`body` as Python writes a number, or None. Tries the signs of the language first, then those without doubt."""
    symbols = locale_of(language).number_symbols["latn"]
    own_point = symbols["decimal"]
    point = re.escape(own_point)
    tries = [rf"(\d+|\d{{1,3}}(?: \d{{3}})+)(?:{point}(\d*))?"]
    if own_point == ".":
        tries += [r"(\d{1,3}(?:,\d{3})+)(?:\.(\d*))?", r"(\d{1,3}(?: \d{3})+)(?:,(\d*))?"]
    else:
        # Only where points group digits, as in German, is 1.284 a thousand and more.
        tries += [r"(\d{1,3}(?:\.\d{3})+)(?:,(\d*))?"] if symbols["group"] == "." else []
        tries += [r"(\d+|\d{1,3}(?: \d{3})+)(?:\.(\d*))?", r"(\d{1,3}(?:,\d{3})+)\.(\d*)"]
    tries += [r"(\d{1,3}(?:\.\d{3})+),(\d*)", r"(\d{1,3}(?:\.\d{3}){2,})()", r"(\d{1,3}(?:,\d{3}){2,})()"]
    tries += [rf"()[.{point}](\d+)"]
    for pattern in tries:
        if found := re.fullmatch(pattern, body):
            whole, part = re.sub(r"\D", "", found[1]), found[2] or ""
            return f"{whole or '0'}.{part}" if part else whole
    return None


def _date_parts(text: str, language: str) -> tuple[int, int, int] | None:
    """Year, month and day in `text`, not yet checked against the calendar."""
    order, _ = date_shape(language)
    if found := re.fullmatch(r"(\d{4})\s?([-/. ])\s?(\d{1,2})\s?\2\s?(\d{1,2})", text):
        return int(found[1]), int(found[3]), int(found[4])
    if re.fullmatch(r"\d{6}|\d{8}", text):
        return _run_of_digits(text, order)
    if found := re.fullmatch(r"(\d{1,2})\s?[-/. ]\s?(\d{1,2})\s?[-/. ]\s?(\d{4}|\d{2})", text):
        return _ordered((found[1], found[2]), found[3], order)
    word = r"([^\W\d_]{3,})\.?"
    if found := re.fullmatch(
        rf"(\d{{1,2}})(?:er|st|nd|rd|th)?[\s-]+{word}[\s-]+(\d{{4}}|\d{{2}})", text, re.IGNORECASE
    ):
        return _worded(found[1], found[2], found[3], language)
    if found := re.fullmatch(rf"{word}\s+(\d{{1,2}})(?:er|st|nd|rd|th)?,?\s+(\d{{4}}|\d{{2}})", text, re.IGNORECASE):
        return _worded(found[2], found[1], found[3], language)
    return None


def _run_of_digits(text: str, order: str) -> tuple[int, int, int] | None:
    if len(text) == 8:
        year, month, day = int(text[:4]), int(text[4:6]), int(text[6:])
        if 1900 <= year < 2100 and 1 <= month <= 12 and 1 <= day <= 31:
            return year, month, day
        return None if order == "ymd" else _ordered((text[:2], text[2:4]), text[4:], order)
    if order == "ymd":
        return _year(text[:2]), int(text[2:4]), int(text[4:])
    return _ordered((text[:2], text[2:4]), text[4:], order)


def _ordered(pair: tuple[str, str], year: str, order: str) -> tuple[int, int, int]:
    month, day = pair if order == "mdy" else pair[::-1]
    return _year(year), int(month), int(day)


def _worded(day: str, month: str, year: str, language: str) -> tuple[int, int, int] | None:
    number = _month(_fold(month), language)
    return (_year(year), number, int(day)) if number else None


def _year(digits: str) -> int:
    if len(digits) > 2:
        return int(digits)
    return int(digits) + (1900 if int(digits) >= PIVOT_YEAR else 2000)


def _month(prefix: str, language: str) -> int | None:
    """The month that `prefix` (folded, three letters or more) begins, in `language` or English; None if two do."""
    found = {number for name, number in _month_names(language) if name.startswith(prefix)}
    return found.pop() if len(found) == 1 else None


@cache
def _month_names(language: str) -> tuple[tuple[str, int], ...]:
    locales: list[Locale] = [locale_of(language), locale_of("en"), locale_of("fr")]
    names = ((locale.months["format"]["wide"], locale.months["format"]["abbreviated"]) for locale in locales)
    return tuple(
        (_fold(name).rstrip("."), number) for forms in names for form in forms for number, name in form.items()
    )


def _offset(text: str | None) -> tzinfo | None:
    if not text:
        return None
    if text.upper() == "Z":
        return UTC
    minutes = int(text[1:3]) * 60 + int(text[-2:])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))


def _skipped(moment: datetime) -> bool:
    """Whether the clocks of its zone never show `moment`."""
    if not isinstance(moment.tzinfo, ZoneInfo):
        return False
    try:
        back = moment.astimezone(UTC).astimezone(moment.tzinfo)
    except OverflowError:  # the first and the last day of the calendar
        return False
    return back.replace(tzinfo=None) != moment.replace(tzinfo=None)


def _ascii_digits(text: str) -> str:
    """`text` with the digits of every script written 0 to 9."""
    if text.isascii():
        return text
    return "".join(str(unicodedata.decimal(sign)) if sign.isdecimal() else sign for sign in text)


def _fold(text: str) -> str:
    """`text` without accents, in small letters."""
    apart = unicodedata.normalize("NFD", text.strip().casefold())
    return "".join(sign for sign in apart if not unicodedata.combining(sign))


def _short(typed: str) -> str:
    """`typed` as an error repeats it: not a page of it."""
    typed = typed.strip()
    return typed if len(typed) <= 40 else f"{typed[:39]}…"


def _words(language: str) -> Callable[..., str]:
    return partial(translate, language=language.replace("_", "-").split("-")[0])
