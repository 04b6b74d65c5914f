"""The kinds of values and their four forms: in the store, in Python, in JSON.

| kind | store | Python | JSON |
| --- | --- | --- | --- |
| text | str, NFC | str | string |
| integer | int | int | number; a string beyond 2^53 |
| decimal, scale known | int, times 10**scale | Decimal | string |
| decimal, scale unknown | sortable text (`decimals`) | Decimal | string |
| real | float | float | number |
| boolean | 0 or 1 | bool | true, false |
| date, time | ISO text | date, time | string |
| datetime | UTC ISO text ending in Z; without Z when the source says no zone | datetime | string |
| binary | bytes | bytes | base64 string |
| json | compact JSON text | any | any |
| any | as it is | as it is | as it is |

Reading is total: a store value that does not fit its kind (SQLite lets any column hold anything) comes out as it is.
Writing is strict: `from_python` and `from_json` raise ValueError with a sentence that can be translated.
"""

from __future__ import annotations

import base64
import binascii
import unicodedata
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

import msgspec

from brique.schema import decimals

Value = None | int | float | str | bytes
"""What a cell of the store can hold."""
_SAFE = 2**53
_DIGITS_MAX = 20
"""Digits before the point beyond which nothing fits into 64 bits; asked before any arithmetic on what was typed."""


class Kind(StrEnum):
    TEXT = "text"
    INTEGER = "integer"
    DECIMAL = "decimal"
    REAL = "real"
    BOOLEAN = "boolean"
    DATE = "date"
    DATETIME = "datetime"
    TIME = "time"
    BINARY = "binary"
    JSON = "json"
    ANY = "any"

    @property
    def numeric(self) -> bool:
        """Whether values can be summed and stand on the right."""
        return self in (Kind.INTEGER, Kind.DECIMAL, Kind.REAL)


def to_python(kind: Kind, value: Value, scale: int | None = None) -> Any:
    """`value` as Python code wants it; the raw value when it does not fit `kind`."""
    if value is None:
        return None
    try:
        return _READ[kind](value, scale)
    except (ValueError, TypeError, InvalidOperation, msgspec.DecodeError):
        return value


def fits(kind: Kind, value: Value, scale: int | None = None) -> bool:
    """Whether the stored `value` is of its kind (NULL always is)."""
    if value is None or kind is Kind.ANY:
        return True
    try:
        _READ[kind](value, scale)
    except (ValueError, TypeError, InvalidOperation, msgspec.DecodeError):
        return False
    return True


def _typed(wanted: type) -> Callable[[Any, int | None], Any]:
    def read(value: Any, _scale: int | None) -> Any:
        if type(value) is not wanted:
            raise TypeError
        return value

    return read


def _decimal(value: Value, scale: int | None) -> Decimal:
    if scale is not None:
        if type(value) is not int:
            raise TypeError
        return Decimal(value).scaleb(-scale)
    if not isinstance(value, str):
        raise TypeError
    return decimals.decode(value)


def _real(value: Value, _scale: int | None) -> float:
    if isinstance(value, (int, float)):
        return float(value)
    raise TypeError


def _boolean(value: Value, _scale: int | None) -> bool:
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    raise TypeError


_READ: dict[Kind, Callable[[Any, int | None], Any]] = {
    Kind.TEXT: _typed(str),
    Kind.INTEGER: _typed(int),
    Kind.DECIMAL: _decimal,
    Kind.REAL: _real,
    Kind.BOOLEAN: _boolean,
    Kind.DATE: lambda value, _: date.fromisoformat(value),
    Kind.DATETIME: lambda value, _: datetime.fromisoformat(value),
    Kind.TIME: lambda value, _: time.fromisoformat(value),
    Kind.BINARY: _typed(bytes),
    Kind.JSON: lambda value, _: msgspec.json.decode(value),
    Kind.ANY: lambda value, _: value,
}


def from_python(kind: Kind, value: Any, scale: int | None = None) -> Value:
    """The store value of a Python value. Raises ValueError, with a sentence for people, when it does not fit."""
    if value is None:
        return None
    return _WRITE[kind](value, scale)


def _write_text(value: Any, _scale: int | None) -> str:
    if not isinstance(value, str):
        raise ValueError("Must be text.")
    if "\x00" in value:
        raise ValueError("Must not contain a NUL character.")
    return unicodedata.normalize("NFC", value)


def _write_integer(value: Any, _scale: int | None) -> int:
    if isinstance(value, Decimal) and value.is_finite() and value.adjusted() < _DIGITS_MAX and value == int(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("Must be a whole number.")
    if not -(2**63) <= value < 2**63:
        raise ValueError("Is too large.")
    return value


def _write_decimal(value: Any, scale: int | None) -> Value:
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise ValueError("Must be a number.")
    number = Decimal(value)
    if not number.is_finite():
        raise ValueError("Must be a number.")
    if scale is None:
        return decimals.encode(number)
    if number.adjusted() >= _DIGITS_MAX or (number.adjusted() < -_DIGITS_MAX and number):
        raise ValueError("Is too large." if number.adjusted() > 0 else "Has too many decimals.")
    scaled = number.scaleb(scale)
    if scaled != scaled.to_integral_value():
        raise ValueError("Has too many decimals.")
    return _write_integer(scaled, None)


def _write_real(value: Any, _scale: int | None) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise ValueError("Must be a number.")
    number = float(value)
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueError("Must be a number.")
    return number


def _write_boolean(value: Any, _scale: int | None) -> int:
    if not isinstance(value, bool):
        raise ValueError("Must be yes or no.")
    return int(value)


def _write_date(value: Any, _scale: int | None) -> str:
    if isinstance(value, datetime) or not isinstance(value, date):
        raise ValueError("Must be a date.")
    return value.isoformat()


def _write_datetime(value: Any, _scale: int | None) -> str:
    if not isinstance(value, datetime):
        raise ValueError("Must be a date and time.")
    if value.tzinfo is None:
        return value.strftime("%Y-%m-%dT%H:%M:%S.%f")
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _write_time(value: Any, _scale: int | None) -> str:
    if not isinstance(value, time):
        raise ValueError("Must be a time.")
    return value.isoformat()


def _write_binary(value: Any, _scale: int | None) -> bytes:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise ValueError("Must be a file.")
    return bytes(value)


def _write_any(value: Any, _scale: int | None) -> Value:
    if not isinstance(value, (int, float, str, bytes)):
        raise ValueError("Must be text or a number.")
    return value


_WRITE: dict[Kind, Callable[[Any, int | None], Value]] = {
    Kind.TEXT: _write_text,
    Kind.INTEGER: _write_integer,
    Kind.DECIMAL: _write_decimal,
    Kind.REAL: _write_real,
    Kind.BOOLEAN: _write_boolean,
    Kind.DATE: _write_date,
    Kind.DATETIME: _write_datetime,
    Kind.TIME: _write_time,
    Kind.BINARY: _write_binary,
    Kind.JSON: lambda value, _: msgspec.json.encode(value).decode(),
    Kind.ANY: _write_any,
}


def to_json(kind: Kind, value: Value, scale: int | None = None) -> Any:
    """The JSON form of a store value; total, as reading is."""
    if value is None or (kind is Kind.TEXT and isinstance(value, str)):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    python = to_python(kind, value, scale)
    if isinstance(python, bool):
        return python
    if isinstance(python, int):
        return python if -_SAFE <= python <= _SAFE else str(python)
    if isinstance(python, Decimal):
        return format(python, "f")
    if kind is Kind.JSON:
        return python
    return python if isinstance(python, float) else str(value)


def from_json(kind: Kind, value: Any, scale: int | None = None) -> Value:
    """The store value of a JSON value. Raises ValueError, with a sentence for people, when it does not fit."""
    if value is None:
        return None
    reader = _FROM_JSON.get(kind)
    return from_python(kind, reader(value) if reader else value, scale)


def _json_integer(value: Any) -> Any:
    if isinstance(value, str) and value.lstrip("-").isascii() and value.lstrip("-").isdigit() and len(value) <= 20:
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _json_decimal(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)) or len(str(value)) > 400:
        raise ValueError("Must be a number.")
    try:
        return Decimal(str(value))
    except InvalidOperation as fault:
        raise ValueError("Must be a number.") from fault


def _json_moment(kind: Kind) -> Callable[[Any], Any]:
    wanted: dict[Kind, tuple[Callable[[str], Any], str]] = {
        Kind.DATE: (date.fromisoformat, "Must be a date."),
        Kind.DATETIME: (datetime.fromisoformat, "Must be a date and time."),
        Kind.TIME: (time.fromisoformat, "Must be a time."),
    }
    parse, sentence = wanted[kind]

    def read(value: Any) -> Any:
        try:
            return parse(value)
        except (ValueError, TypeError) as fault:
            raise ValueError(sentence) from fault

    return read


def _json_binary(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (ValueError, TypeError, binascii.Error) as fault:
        raise ValueError("Must be base64.") from fault


_FROM_JSON: dict[Kind, Callable[[Any], Any]] = {
    Kind.INTEGER: _json_integer,
    Kind.DECIMAL: _json_decimal,
    Kind.DATE: _json_moment(Kind.DATE),
    Kind.DATETIME: _json_moment(Kind.DATETIME),
    Kind.TIME: _json_moment(Kind.TIME),
    Kind.BINARY: _json_binary,
}
