"""ODBC's types: which kind each is, and values both ways. Pure.

The driver gives Python values (pyodbc) or Arrow columns; both become the same store values. What a column was declared
as may differ from what it is: then its *raw* value (a number, a text) goes through the reader of its kind and decoder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

from brique.backends import values as raw
from brique.schema import Column, Kind, Value
from brique.schema import decimals as sortable

CHAR, WCHAR, GRAPHIC = 1, -8, -95
TEXTS = {CHAR, 12, -1, WCHAR, -9, -10, -99, GRAPHIC, -96, -97, -350, -370, -152, -145}
LONG_TEXTS = {-1, -10, -99, -350, -370, -152}
BINARIES = {-2, -3, -4, -98}
LONG_BINARIES = {-4, -98}
GUID = -11
SCALED_DIGITS_MAX = 18
"""Digits of a decimal that fit a 64-bit integer whatever they are."""
BOUND_CHARACTERS_MAX = 4_000
"""A longer text is not fetched in bulk before its longest value is known: the driver's buffers are that wide."""
_KINDS: dict[int, Kind] = {
    2: Kind.DECIMAL, 3: Kind.DECIMAL, -360: Kind.DECIMAL, 4: Kind.INTEGER, 5: Kind.INTEGER, -5: Kind.INTEGER,
    -6: Kind.INTEGER, 6: Kind.REAL, 7: Kind.REAL, 8: Kind.REAL, -7: Kind.BOOLEAN,
    9: Kind.DATE, 91: Kind.DATE, 10: Kind.TIME, 92: Kind.TIME, -154: Kind.TIME, 11: Kind.DATETIME, 93: Kind.DATETIME,
    **dict.fromkeys(BINARIES, Kind.BINARY),
}  # fmt: skip


@dataclass(frozen=True)
class OdbcColumn:
    """A column as the driver describes it. `code` is its SQL type, `type` the database's own word for it, `size` and
    `digits` COLUMN_SIZE and DECIMAL_DIGITS."""

    name: str
    code: int
    type: str
    size: int | None = None
    digits: int | None = None
    nullable: bool = True
    default: str = ""
    identity: str = ""
    generated: bool = False
    comment: str = ""
    utc: bool = False

    @property
    def is_unscaled(self) -> bool:
        """A numeric without measures: psqlODBC says 28 digits, 6 of them decimals, but there may be more."""
        return self.code == -360 or (self.type == "numeric" and (self.size, self.digits) == (28, 6))


@dataclass(frozen=True)
class Found:
    """The kind of a column and its measures."""

    kind: Kind
    length_max: int | None = None
    precision: int | None = None
    scale: int | None = None
    padded: bool = False


def understand(column: OdbcColumn) -> Found:
    """The kind of a column; text when brique knows no better one."""
    if column.type.lower() in ("json", "jsonb"):
        return Found(Kind.JSON)
    kind = _KINDS.get(column.code, Kind.TEXT)
    if kind is Kind.DECIMAL:
        return _decimal(column)
    if kind is Kind.TEXT:
        length = column.size if column.size and column.code in TEXTS - LONG_TEXTS else None
        is_lie = column.type == "text" or column.type.startswith("_")
        padded = column.code in (CHAR, WCHAR, GRAPHIC)
        return Found(Kind.TEXT, length_max=None if is_lie or (length or 0) >= 2**15 else length, padded=padded)
    return Found(kind)


def _decimal(column: OdbcColumn) -> Found:
    if column.is_unscaled or column.size is None:
        return Found(Kind.DECIMAL)
    scale = max(column.digits or 0, 0)
    if column.size > SCALED_DIGITS_MAX:
        return Found(Kind.DECIMAL, precision=column.size)
    return Found(Kind.DECIMAL, precision=max(column.size, scale), scale=scale)


# out


def plain(value: Any, *, utc: bool = False) -> Value:
    """A value of pyodbc as a raw value: decimals as whole numbers or text, moments as the store writes them."""
    if value is None or type(value) in (int, str, bytes):
        return value  # type: ignore[no-any-return]
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        return value if value - value == 0 else {"inf": "Infinity", "-inf": "-Infinity"}.get(str(value), "NaN")
    if isinstance(value, Decimal):
        return _plain_decimal(value)
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, datetime):
        return _moment(value, utc=utc)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, time):
        return raw.read_time(value.isoformat())
    return str(value)


def _plain_decimal(value: Decimal) -> Value:
    if not value.is_finite():
        return "NaN" if value.is_nan() else str(value)
    exponent = value.as_tuple().exponent
    if exponent == 0 and value.adjusted() < SCALED_DIGITS_MAX:
        return int(value)
    return format(value, "f")


def _moment(value: datetime, *, utc: bool) -> str:
    text = value.replace(tzinfo=None).isoformat(timespec="microseconds")
    return f"{text}Z" if utc or value.tzinfo is not None else text


def reader(actual: OdbcColumn, column: Column) -> Callable[[Any], Value]:
    """What turns a value of pyodbc into the store value of `column`."""
    natural = understand(actual)
    is_same = column.kind is natural.kind and (column.kind is not Kind.DECIMAL or column.scale == natural.scale)
    utc = actual.utc
    if is_same and not column.decoder and column.kind is Kind.DECIMAL:
        scale = column.scale
        return lambda value: None if value is None else _stored_decimal(value, scale)
    if is_same and not column.decoder and column.kind in (Kind.INTEGER, Kind.BOOLEAN, Kind.REAL, Kind.BINARY):
        return lambda value: plain(value)
    if actual.code == GUID and not column.decoder:
        return lambda value: None if value is None else str(value).lower()
    if is_same and not column.decoder and column.kind is Kind.TIME:
        return lambda value: raw.read_time(plain(value))
    if is_same and not column.decoder and column.kind in (Kind.DATE, Kind.DATETIME):
        return lambda value: plain(value, utc=utc)
    read = raw.reader(column, numbers_as_text=natural.kind in (Kind.DECIMAL, Kind.INTEGER))
    if read is None:
        return lambda value: plain(value, utc=utc)
    return lambda value: None if value is None else read(plain(value, utc=utc))


def _stored_decimal(value: Any, scale: int | None) -> Value:
    number = value if isinstance(value, Decimal) and value.is_finite() else raw.decimal_of(plain(value))
    if number is None:
        return plain(value)
    if scale is not None:
        return raw.scaled(number, scale, plain(value))
    try:
        return sortable.encode(number)
    except ValueError:
        return plain(value)


# in


def parameter(actual: OdbcColumn, write: raw.Convert, value: Value) -> Any:
    """A store value as the Python value that pyodbc binds for this column; None is written as NULL, never bound.

    What does not fit its type goes as it is, and the database says so.
    """
    written = write(value)
    if written is None:
        return None
    kind = understand(actual).kind
    try:
        return _BOUND[kind](written) if kind in _BOUND else _as_text(written)
    except (ValueError, InvalidOperation, TypeError):
        return written


def _as_text(value: Value) -> Any:
    return value if isinstance(value, (str, bytes)) else str(value)


def _as_integer(value: Value) -> Any:
    return int(value) if isinstance(value, (int, str)) else value


def _as_decimal(value: Value) -> Any:
    return Decimal(value) if isinstance(value, (int, str)) else value


def _as_moment(value: Value) -> Any:
    if not isinstance(value, str):
        return value
    return datetime.fromisoformat(value.removesuffix("Z"))


def _as_date(value: Value) -> Any:
    return date.fromisoformat(value) if isinstance(value, str) else value


def _as_time(value: Value) -> Any:
    """ODBC's own time has no fraction: one that has goes as text."""
    made = time.fromisoformat(value) if isinstance(value, str) else value
    return value if isinstance(made, time) and made.microsecond else made


def _as_real(value: Value) -> Any:
    return float(value) if isinstance(value, (int, float, str)) else value


_BOUND: dict[Kind, Callable[[Value], Any]] = {
    Kind.INTEGER: _as_integer,
    Kind.DECIMAL: _as_decimal,
    Kind.REAL: _as_real,
    Kind.BOOLEAN: lambda value: bool(value) if value in (0, 1) else value,
    Kind.DATE: _as_date,
    Kind.DATETIME: _as_moment,
    Kind.TIME: _as_time,
    Kind.BINARY: lambda value: value if isinstance(value, bytes) else str(value).encode(),
}
