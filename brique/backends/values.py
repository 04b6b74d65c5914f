"""Raw values of a loosely typed source into store values by the kind of their column, and back.

Reading is total: what does not fit passes as it is. Writing is its inverse for every value that fits. Dates and times
are texts in such sources; the way a column writes them (its *shape*: `9999-99-99 99:99:99`) is found by looking at it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

import msgspec

from brique.schema import DECODERS, Column, Kind, Value
from brique.schema import decimals as sortable

Convert = Callable[[Value], Value]
INTEGER_MAX = 2**63 - 1
EXACT_MAX = 2**53
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|\+00:00|\+00)?)?", re.ASCII)
_TIME = re.compile(r"\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?", re.ASCII)
_DIGIT = re.compile(r"\d", re.ASCII)
PLAIN_DATE = "9999-99-99"
PLAIN_MOMENT = "9999-99-99 99:99:99"
PLAIN_TIME = "99:99:99"


def reader(column: Column, *, numbers_as_text: bool = False) -> Convert | None:
    """What turns a raw value of `column` into its store value; None when raw values are store values already.

    `numbers_as_text`: the source hands numbers over as text, so that a text of digits is a number.
    """
    kind = _READERS.get(column.kind)
    convert: Convert | None
    if column.kind is Kind.DECIMAL:
        convert = _decimal_reader(column.scale)
    elif numbers_as_text and column.kind in (Kind.INTEGER, Kind.REAL, Kind.BOOLEAN):
        convert = _from_digits(kind or _same)
    else:
        convert = kind
    decoder = DECODERS.get(column.decoder)
    if decoder is None:
        return convert
    if convert is None or column.decoder != "trim":
        return decoder.decode
    after = convert
    return lambda value: after(decoder.decode(value))


def writer(column: Column, shape: str = "") -> Convert:
    """What turns a store value of `column` into the raw value that its source expects; decimals as text."""
    decoder = DECODERS.get(column.decoder)
    if decoder is not None and column.decoder != "trim":
        return decoder.encode
    if column.kind is Kind.DECIMAL:
        return _decimal_writer(column.scale)
    if column.kind in (Kind.DATE, Kind.DATETIME, Kind.TIME):
        return lambda value: compose(value, shape) if shape and isinstance(value, str) else value
    return _same


def _same(value: Value) -> Value:
    return value


def is_same(convert: Convert) -> bool:
    """Whether a writer leaves every value as it is."""
    return convert is _same


def nfc(value: Value) -> Value:
    """Text in Unicode's composed form; anything else as it is."""
    if type(value) is str and not value.isascii():
        return unicodedata.normalize("NFC", value)
    return value


def _real(value: Value) -> Value:
    if type(value) is int and -EXACT_MAX <= value <= EXACT_MAX:
        return float(value)
    return value


def _boolean(value: Value) -> Value:
    return int(value) if type(value) is float and value in (0.0, 1.0) else value


def _integer(value: Value) -> Value:
    if type(value) is float and value.is_integer() and abs(value) <= EXACT_MAX:
        return int(value)
    return value


def _from_digits(convert: Convert) -> Convert:
    def read(value: Value) -> Value:
        if type(value) is str:
            try:
                return convert(int(value) if value.lstrip("-").isdigit() else float(value))
            except (ValueError, OverflowError):
                return value
        return convert(value)

    return read


def _decimal_reader(scale: int | None) -> Convert:
    def read(value: Value) -> Value:
        number = decimal_of(value)
        if number is None:
            return value
        if scale is None:
            try:
                return sortable.encode(number)
            except ValueError:
                return str(value)
        return scaled(number, scale, value)

    return read


def decimal_of(value: Value) -> Decimal | None:
    """The exact number in a raw value (a float's shortest text counts); None when there is none."""
    if isinstance(value, (bytes, type(None))):
        return None
    try:
        number = Decimal(value) if type(value) is int else Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def scaled(number: Decimal, scale: int, raw: Value) -> Value:
    """`number` times 10**scale as an integer; the raw value (as text, if it could be mistaken) when not exact."""
    try:
        whole = number.scaleb(scale)
        if whole == whole.to_integral_value() and abs(whole) <= INTEGER_MAX:
            return int(whole)
    except InvalidOperation:
        pass  # more digits than the context holds: it cannot be a 64-bit integer
    return str(raw) if isinstance(raw, int) else raw


def _decimal_writer(scale: int | None) -> Convert:
    def write(value: Value) -> Value:
        if scale is not None:
            return format(Decimal(value).scaleb(-scale), "f") if type(value) is int else value
        try:
            return format(sortable.decode(value), "f") if type(value) is str else value
        except ValueError:
            return value

    return write


def read_date(value: Value) -> Value:
    """`2026-11-20 00:00:00` as `2026-11-20`; a time that is not midnight stays."""
    if type(value) is not str or len(value) == 10 or not _MOMENT.fullmatch(value):
        return value
    return value[:10] if not value[11:].strip("0:.Z+") else value


def read_moment(value: Value) -> Value:
    """A date and time as the store writes it: `T` between, microseconds, `Z` when the zone is UTC."""
    if type(value) is not str or len(value) == 10 or not _MOMENT.fullmatch(value):
        return value
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return value
    text = moment.replace(tzinfo=None).isoformat(timespec="microseconds")
    return f"{text}Z" if moment.tzinfo is not None else text


def read_time(value: Value) -> Value:
    """A time of day as the store writes it: `08:30` as `08:30:00`, a fraction on six digits."""
    if type(value) is not str or not _TIME.fullmatch(value):
        return value
    head, _, fraction = value.partition(".")
    head = head if len(head) == 8 else f"{head}:00"
    return f"{head}.{fraction:0<6}" if fraction.strip("0") else head


def read_json(value: Value) -> Value:
    """JSON text without blanks between its tokens."""
    if type(value) is not str:
        return value
    try:
        msgspec.json.decode(value)
        return msgspec.json.format(value, indent=-1)
    except msgspec.DecodeError:
        return value


_READERS: dict[Kind, Convert] = {
    Kind.TEXT: nfc,
    Kind.INTEGER: _integer,
    Kind.REAL: _real,
    Kind.BOOLEAN: _boolean,
    Kind.DATE: read_date,
    Kind.DATETIME: read_moment,
    Kind.TIME: read_time,
    Kind.JSON: read_json,
}


def shape_of(values: Iterable[Value]) -> str:
    """How a column writes dates and times, from its values: their common shape, 9 for a digit; "" when they differ.

    Fractions of a second may come and go in one shape; the longest one stands for it.
    """
    shapes: set[str] = set()
    for value in values:
        if value is None:
            continue
        if type(value) is not str or not (_MOMENT.fullmatch(value) or _TIME.fullmatch(value)):
            return ""
        shapes.add(_DIGIT.sub("9", value))
    if len({re.sub(r"\.9+", "", shape) for shape in shapes}) != 1:
        return ""
    return max(shapes, key=len) + ("?" if len(shapes) > 1 else "")


def is_midnight(value: Value) -> bool:
    """Whether a text is a day without a time, or with the time 0."""
    return isinstance(value, str) and len(str(read_date(value))) == 10


def compose(value: str, shape: str) -> str:
    """A store date, date and time, or time in the `shape` of its column: the inverse of reading it.

    What the shape has no place for (a fraction, a time) is written all the same rather than lost.
    """
    if _TIME.fullmatch(value):
        return _clock(value, shape)
    if not _MOMENT.fullmatch(value):
        return value
    if len(value) == 10:
        rest = shape.removesuffix("?")[10:]
        return value + rest.replace("9", "0")
    moment = datetime.fromisoformat(value)
    zone = re.search(r"(Z|\+99:99|\+99)\??$", shape)
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    day, _, clock = moment.isoformat().partition("T")
    return f"{day}{shape[10:11] or ' '}{_clock(clock, shape[11:])}{zone[1].replace('9', '0') if zone else ''}"


def _clock(value: str, shape: str) -> str:
    """`HH:MM:SS[.ffffff]` in a shape like `99:99`, `99:99:99`, `99:99:99.999`, or ending in `?`."""
    head, _, fraction = value.partition(".")
    fraction = fraction.rstrip("0")
    digits = re.search(r"\.(9+)", shape)
    optional = shape.endswith("?")
    if digits and not (optional and not fraction):
        fraction = fraction.ljust(len(digits[1]), "0")
    if not re.match(r"99:99:99", shape) and shape and head.endswith(":00") and not fraction:
        return head[:5]
    return f"{head}.{fraction}" if fraction else head
