"""How old schemas write values, and back: padded text, dates kept as numbers.

A decoder turns what the source holds into the store value that people mean, and a value typed into what the source
expects. Both are total: what does not fit passes unchanged, so that nothing is lost and the page can show it raw.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from brique.schema.kinds import Kind

StoreValue = None | int | float | str | bytes


@dataclass(frozen=True)
class Decoder:
    """One way of writing values: `decode` from the source, `encode` back to it, and the kind that people see."""

    name: str
    kind: Kind
    decode: Callable[[StoreValue], StoreValue]
    encode: Callable[[StoreValue], StoreValue]


def _trim(value: StoreValue) -> StoreValue:
    return value.rstrip(" ") if isinstance(value, str) else value


def _same(value: StoreValue) -> StoreValue:
    return value


def _digits(value: StoreValue) -> int | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        text = value.strip()
        return int(text) if text.isascii() and text.isdigit() else None
    return value if isinstance(value, int) else None


def _date(year: int, month: int, day: int, raw: StoreValue) -> StoreValue:
    try:
        return date(year, month, day).isoformat()
    except (ValueError, OverflowError):
        return raw


def _from_cyymmdd(value: StoreValue) -> StoreValue:
    number = _digits(value)
    if number is None or not 0 <= number <= 9991231:
        return value
    if number == 0:
        return None
    return _date(1900 + number // 10000, number // 100 % 100, number % 100, value)


def _from_yyyymmdd(value: StoreValue) -> StoreValue:
    number = _digits(value)
    if number is None:
        return value
    return None if number == 0 else _date(number // 10000, number // 100 % 100, number % 100, value)


def _to_number(century: int) -> Callable[[StoreValue], StoreValue]:
    def encode(value: StoreValue) -> StoreValue:
        if value is None:
            return 0
        try:
            day = date.fromisoformat(str(value))
        except ValueError:
            return value
        return (day.year - century) * 10000 + day.month * 100 + day.day

    return encode


DECODERS: dict[str, Decoder] = {
    decoder.name: decoder
    for decoder in (
        Decoder("trim", Kind.TEXT, _trim, _same),
        Decoder("cyymmdd", Kind.DATE, _from_cyymmdd, _to_number(1900)),
        Decoder("yyyymmdd", Kind.DATE, _from_yyyymmdd, _to_number(0)),
    )
}
"""trim: padded CHAR. cyymmdd: 1261120 -> 2026-11-20 (0 is no date). yyyymmdd: 20261120."""
