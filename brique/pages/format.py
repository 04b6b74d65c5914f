"""Values as people read them, in their language and time zone: numbers, money, dates, ages, sizes.

Separators, date order and currency signs come from Babel, read once for each language; the hot paths (a list page
formats a thousand values) then only join strings. Every method is total: a value that does not fit, such as the
text that a loosely typed database holds in a number column, is shown as it is. `brique.pages.parse` reads back what
`Formats.typed` writes.

English is taken as British (day before month) unless the language says otherwise (`en-US`): a date then reads the
same in each language of an intranet. Hours are always 0 to 23.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from bisect import bisect_right
from collections.abc import Callable
from decimal import Decimal
from functools import cache, partial
from typing import TypeGuard
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import Locale, UnknownLocaleError
from babel.numbers import format_compact_decimal, format_currency, get_currency_precision

from brique.errors import BadConfiguration
from brique.words import retell, translate

# What a second, a minute, an hour and a day count.
_UNIT_SECONDS = (1, 60, 3600, 86400)
NO_BREAK = "\u00a0"
DASH = "—"

_ISO_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)")
_ISO_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?")
_ISO_TIME = re.compile(r"\d\d:\d\d(:\d\d(\.\d{1,6})?)?")
# Plain digits up to here; beyond, powers of ten: longer rows of digits are unreadable, and a page must stay small.
_PLAIN_DIGITS_MAX = 30
# Beyond this, Babel has no name for a power of a thousand.
_COMPACT_MAX = 10**15
# Beyond this, arithmetic on floats overflows.
_MAGNITUDE_MAX = 10**300
# Beyond this, Babel cannot round an amount to ten digits of cents.
_MONEY_MAX = 10**15


@cache
def locale_of(language: str) -> Locale:
    """Babel's locale for `language` ("fr", "en", "fr-SN"). Raises BadConfiguration when there is none."""
    name = language.replace("-", "_")
    try:
        return Locale.parse("en_GB" if name == "en" else name)
    except (UnknownLocaleError, ValueError) as fault:
        raise BadConfiguration(f"No language is called {language!r}", try_this="Use a code such as fr or en") from fault


@cache
def date_shape(language: str) -> tuple[str, str]:
    """The order of day, month and year ("dmy", "mdy" or "ymd") and the sign between them, in `language`."""
    pattern = locale_of(language).date_formats["short"].pattern
    order = "".join(dict.fromkeys(letter for letter in pattern.lower() if letter in "dmy"))
    sign = next((character for character in pattern if character in "/.-"), "/")
    return (order if len(order) == 3 else "dmy"), sign


@cache
def zone_of(timezone: str) -> ZoneInfo:
    """The time zone of that IANA name. Raises BadConfiguration when there is none."""
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as fault:
        hint = "Use a name such as Africa/Dakar or Europe/Paris"
        raise BadConfiguration(f"No time zone is called {timezone!r}", try_this=hint) from fault


class Formats:
    """Writes values for one language and one time zone. Cheap to keep, safe to share between threads."""

    def __init__(self, language: str = "en", timezone: str = "UTC") -> None:
        self.language = language
        self.zone = zone_of(timezone)
        self.locale = locale_of(language)
        symbols = self.locale.number_symbols["latn"]
        self.group: str = symbols["group"]
        self.decimal: str = symbols["decimal"]
        self._signs = str.maketrans({",": self.group, ".": self.decimal})
        self._percent = _percent_sign(self.locale)
        self._order, self._date_sign = date_shape(language)
        language_alone = language.replace("_", "-").split("-")[0]
        self.t: Callable[..., str] = partial(translate, language=language_alone)
        self.retell: Callable[[str], str] = partial(retell, language=language_alone)
        """A reason that was written down in English."""

    # ---- numbers

    def number(self, value: object, scale: int | None = None) -> str:
        """`value` with separators: `1 284,5`. With `scale`, that many digits after the sign; else all that it has."""
        if value is None:
            return ""
        if isinstance(value, bool):
            return self.bool(value)
        if type(value) is int and not scale and value.bit_length() < 128:
            return f"{value:,}".translate(self._signs)
        if not _is_finite(value):
            return _not_finite(value) if isinstance(value, (float, Decimal)) else str(value)
        readable = scale is not None and _within(value, 10**_PLAIN_DIGITS_MAX)
        text = f"{value:,.{scale}f}" if readable else _digits(value)
        if text[0] == "-" and not any(digit in text for digit in "123456789"):
            text = text[1:]
        return text.translate(self._signs)

    def scaled(self, value: object, scale: int) -> str:
        """A decimal as the store holds it, an integer times 10**`scale`: (128450, 2) gives `1 284,50`."""
        if isinstance(value, bool) or not isinstance(value, int):
            return self.number(value)
        return self.number(Decimal(value).scaleb(-scale), scale) if scale > 0 else self.number(value)

    def money(self, value: object, currency: str) -> str:
        """`value` in `currency` (ISO code): `1 284,50 €`. Cents that a currency does not have are shown, if any."""
        if not _is_finite(value) or not _within(value, _MONEY_MAX):
            return self.number(value)
        exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
        own = -int(exact.normalize().as_tuple().exponent)
        digits = max(get_currency_precision(currency), min(own, 10))
        pattern = re.sub(
            r"0\.0+", "0." + "0" * digits if digits else "0", self.locale.currency_formats["standard"].pattern
        )
        return format_currency(exact, currency, pattern, locale=self.locale, currency_digits=False)

    def percent(self, ratio: object, digits: int = 0, *, signed: bool = False) -> str:
        """`ratio` (1 is 100 %) as a percentage; `signed` also writes + and a true minus: `+8 %`, `−3 %`."""
        if not _is_finite(ratio):
            return self.number(ratio)
        text = self.number(ratio * 100, digits)
        if signed and text[0] == "-":
            text = f"−{text[1:]}"
        elif signed and any(digit in text for digit in "123456789"):
            text = f"+{text}"
        return text + self._percent

    def compact(self, value: object) -> str:
        """`value` in few signs, for figures and axes: `412 M`, `1,3 Md`; under 10,000 as `number` writes it."""
        if not _is_finite(value):
            return self.number(value)
        if (isinstance(value, int) and _within(value, 10_000)) or not _within(value, _COMPACT_MAX):
            return self.number(value)
        if _within(value, 10_000):
            return self.number(float(f"{float(value):.4g}"))
        return format_compact_decimal(float(value), locale=self.locale, fraction_digits=1)

    def size(self, count: object) -> str:
        """`count` bytes in steps of a thousand: `61 Go`, `4,2 MB`."""
        if not _is_finite(count) or not _within(count, _MAGNITUDE_MAX):
            return self.number(count)
        t = self.t
        units = (t("B"), t("kB"), t("MB"), t("GB"), t("TB"), t("PB"))
        amount, step = float(count), 0
        while abs(amount) >= 999.5 and step < len(units) - 1:
            amount, step = amount / 1000, step + 1
        digits = 1 if step and abs(amount) < 9.95 else 0
        return f"{self.number(amount, digits)}{NO_BREAK}{units[step]}"

    # ---- time

    def date(self, value: object) -> str:
        """A date (or its ISO text, or the day of a datetime here) as `20/11/2026`."""
        if isinstance(value, dt.datetime):
            value = self._here(value)
        if isinstance(value, dt.date):
            return self._date(f"{value.year:04}", f"{value.month:02}", f"{value.day:02}")
        if isinstance(value, str) and (found := _ISO_DATE.fullmatch(value)):
            return self._date(*found.groups())
        return self.text(value)

    def datetime(self, value: object, *, seconds: bool = False) -> str:
        """A moment (or the store's text for it) as `20/11/2026 10:41`, here if it is aware."""
        moment = _moment(value)
        if moment is None:
            return self.date(value)
        here = self._here(moment)
        return f"{self.date(here.date())}{NO_BREAK}{self.time(here.time(), seconds=seconds)}"

    def time(self, value: object, *, seconds: bool = False) -> str:
        """A time of day as `10:41`, or of a moment, here."""
        if isinstance(value, dt.datetime):
            value = self._here(value).time()
        if isinstance(value, str) and _ISO_TIME.fullmatch(value):
            return value[: 8 if seconds else 5]
        if isinstance(value, dt.time):
            return f"{value.hour:02}:{value.minute:02}" + (f":{value.second:02}" if seconds else "")
        return self.text(value)

    def age(self, span: float | dt.timedelta) -> str:
        """A span of time, rounded down to one unit: `12 s`, `3 min`, `1 d`; the page's script counts on alike."""
        seconds = max(0, int(span.total_seconds() if isinstance(span, dt.timedelta) else span))
        step = bisect_right(_UNIT_SECONDS, seconds) - 1 if seconds else 0
        return f"{self.number(seconds // _UNIT_SECONDS[step])}{NO_BREAK}{self.age_units()[step]}"

    def age_units(self) -> tuple[str, str, str, str]:
        """The signs for second, minute, hour and day."""
        t = self.t
        return t("s"), t("min"), t("h"), t("d")

    def duration(self, seconds: float) -> str:
        """How long something took: `9 ms`, `0,3 s`, `12,4 s`, `3 min`."""
        if not math.isfinite(seconds):
            return DASH
        if seconds >= 60:
            return self.age(seconds)
        if seconds >= 0.0995:
            return f"{self.number(seconds, 1)}{NO_BREAK}s"
        thousandths = seconds * 1000
        return f"{self.number(thousandths, 0 if thousandths >= 0.95 or thousandths == 0 else 1)}{NO_BREAK}ms"

    def since(self, moment: dt.datetime, now: dt.datetime) -> str:
        """Since when, for a sentence: `since 10:42`, or with its date when that is not today, here."""
        t = self.t
        if self._here(moment).date() == self._here(now).date():
            return t("since {time}", time=self.time(moment))
        return t("since {date}", date=self.datetime(moment))

    # ---- the rest

    def bool(self, value: object) -> str:
        """Yes or no."""
        t = self.t
        return "" if value is None else t("yes") if value else t("no")

    def text(self, value: object) -> str:
        """Any Python value, by its own type; bytes as their size, lists and dicts as JSON."""
        if isinstance(value, str):
            return value
        if value is None or isinstance(value, (int, float, Decimal)):
            return self.number(value)
        if isinstance(value, dt.datetime):
            return self.datetime(value, seconds=bool(value.second or value.microsecond))
        if isinstance(value, dt.date):
            return self.date(value)
        if isinstance(value, dt.time):
            return self.time(value, seconds=bool(value.second))
        if isinstance(value, (bytes, bytearray, memoryview)):
            return self.size(len(value))
        if isinstance(value, dt.timedelta):
            return self.age(value)
        return json.dumps(value, ensure_ascii=False, default=str)

    def typed(self, value: object) -> str:
        """`value` as a form field shows it: `brique.pages.parse` reads back exactly the same value.

        So nothing is rounded, and a moment in the hour that autumn repeats carries its offset.
        """
        if isinstance(value, dt.datetime):
            here = self._here(value)
            return f"{self.date(here.date())} {_exact_time(here.time())}{_offset_if_needed(here)}"
        if isinstance(value, dt.time):
            return _exact_time(value)
        return self.text(value)

    def _here(self, moment: dt.datetime) -> dt.datetime:
        """`moment` in this zone; one without a zone stays as it is (and so does one at the edge of the calendar)."""
        if moment.tzinfo is None:
            return moment
        try:
            return moment.astimezone(self.zone)
        except OverflowError:
            return moment

    def _date(self, year: str, month: str, day: str) -> str:
        sign = self._date_sign
        if self._order == "dmy":
            return f"{day}{sign}{month}{sign}{year}"
        return f"{month}{sign}{day}{sign}{year}" if self._order == "mdy" else f"{year}{sign}{month}{sign}{day}"


def _is_finite(value: object) -> TypeGuard[int | float | Decimal]:
    """Whether `value` is a number that has digits."""
    if isinstance(value, Decimal):
        return value.is_finite()
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and (isinstance(value, int) or math.isfinite(value))
    )


def _within(value: int | float | Decimal, limit: int) -> bool:
    return -limit < value < limit


def _digits(value: int | float | Decimal) -> str:
    """All the digits of a finite `value`, grouped by commas, or with a power of ten when they would be too many."""
    exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if isinstance(value, float) and exact == exact.to_integral_value() and abs(exact) < 10**_PLAIN_DIGITS_MAX:
        return f"{int(value):,}"
    exponent = int(exact.as_tuple().exponent)
    if exponent > 0 and exact.adjusted() < _PLAIN_DIGITS_MAX:
        return f"{int(exact):,}"
    if exact.adjusted() >= _PLAIN_DIGITS_MAX or exponent < -_PLAIN_DIGITS_MAX:
        return f"{exact:E}"
    return f"{exact:,f}"


def _not_finite(value: float | Decimal) -> str:
    if value.is_nan() if isinstance(value, Decimal) else math.isnan(value):
        return "NaN"
    return "∞" if value > 0 else "−∞"


def _percent_sign(locale: Locale) -> str:
    """What follows the number in a percentage: `%`, with a space that does not break in French."""
    pattern: str = locale.percent_formats[None].pattern
    return re.sub(r"[#0,.']", "", pattern)


def _moment(value: object) -> dt.datetime | None:
    if isinstance(value, dt.datetime):
        return value
    if isinstance(value, str) and _ISO_MOMENT.fullmatch(value):
        try:
            return dt.datetime.fromisoformat(value)
        except ValueError:  # 2026-13-45: shown as it is
            return None
    return None


def _exact_time(value: dt.time) -> str:
    """Hours and minutes, and no more of the rest than there is."""
    text = f"{value.hour:02}:{value.minute:02}"
    if value.second or value.microsecond:
        text += f":{value.second:02}"
    return text + (f".{value.microsecond:06}".rstrip("0") if value.microsecond else "")


def _offset_if_needed(here: dt.datetime) -> str:
    """The offset of an aware `here` if its wall-clock time happens twice, or is not that of its own zone."""
    if here.tzinfo is None or here.replace(fold=1 - here.fold).utcoffset() == here.utcoffset():
        return ""
    offset = here.astimezone(dt.UTC).replace(tzinfo=None)
    minutes = round((here.replace(tzinfo=None) - offset) / dt.timedelta(minutes=1))
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
