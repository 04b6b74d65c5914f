"""BSON values as store values and back.

Reading is total. Writing keeps the type that the field has in the document where the new value fits it (an int64 stays
one, a date stays a date), and otherwise takes the type that the column was inferred with (`source_type`: the types
that were seen, the most frequent first, joined by `|`).
"""

from __future__ import annotations

import base64
import math
import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

import msgspec
from bson import json_util
from bson.binary import Binary, UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.errors import BSONError
from bson.int64 import Int64
from bson.objectid import ObjectId

from brique.backends import values as raw
from brique.backends.faults import refused
from brique.schema import Column, Kind, Value

CODEC: CodecOptions[dict[str, Any]] = CodecOptions(
    document_class=dict,
    tz_aware=False,  # naive means UTC here, and costs less
    uuid_representation=UuidRepresentation.STANDARD,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)
_JSON = json_util.JSONOptions(
    json_mode=json_util.JSONMode.CANONICAL,
    tz_aware=False,
    uuid_representation=UuidRepresentation.STANDARD,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)
_HEX = re.compile(r"[0-9a-fA-F]{24}")
_ODD_REALS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_INT32 = range(-(2**31), 2**31)


class _Missing:
    """There is no such field."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()


def type_of(value: Any) -> str:
    """MongoDB's own name for the type of a value."""
    kind = type(value)
    known = _TYPES.get(kind)
    if known is not None:
        return known
    if kind is Binary:
        return "binData"
    if kind is int:
        return "int" if value in _INT32 else "long"
    return kind.__name__.lower()


_TYPES: dict[type, str] = {
    type(None): "null", bool: "bool", Int64: "long", float: "double", str: "string", bytes: "binData", UUID: "uuid",
    ObjectId: "objectId", datetime: "date", DatetimeMS: "date", Decimal128: "decimal", dict: "object", list: "array",
}  # fmt: skip


# out


def plain(value: Any) -> Value:
    """A BSON value as a store value, whatever its column's kind: documents and odd types as extended JSON."""
    convert = _PLAIN.get(type(value))
    return convert(value) if convert is not None else as_json(value)


def _real(value: float) -> Value:
    if value - value == 0:
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def _moment(value: datetime) -> str:
    return f"{value.isoformat(timespec='microseconds')}Z"


_PLAIN: dict[type, Callable[[Any], Value]] = {
    type(None): lambda value: None,
    bool: int, int: int, Int64: int, float: _real, str: lambda value: value,
    bytes: bytes, Binary: bytes, UUID: str, ObjectId: str, datetime: _moment,
    DatetimeMS: int, Decimal128: str,
}  # fmt: skip


def as_json(value: Any) -> str:
    """Any BSON value as compact extended JSON, from which `from_json_text` makes the same value again."""
    return msgspec.json.encode(_extended(value)).decode()


def _extended(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        return {str(name): _extended(item) for name, item in value.items()}
    if kind is list:
        return [_extended(item) for item in value]
    if kind in (str, bool, type(None), int) or (kind is float and value - value == 0):
        return value
    if kind is Int64:
        return int(value)
    if kind is float:
        return {"$numberDouble": _real(value)}
    if kind is ObjectId:
        return {"$oid": str(value)}
    if kind is datetime:
        return {"$date": f"{value.isoformat(timespec='milliseconds')}Z"}
    if kind is Decimal128:
        return {"$numberDecimal": str(value)}
    if kind is UUID:
        return {"$uuid": str(value)}
    if kind is bytes:
        return {"$binary": {"base64": base64.b64encode(value).decode(), "subType": "00"}}
    return json_util.default(value, _JSON)


def reader(column: Column) -> Callable[[Any], Value]:
    """What turns a value of a document into the store value of `column`; a missing field is None."""
    if column.kind is Kind.JSON:
        return lambda value: None if value is None else as_json(value)
    convert = raw.reader(column)
    if column.kind is Kind.REAL:
        return lambda value: _float(plain(value))
    if convert is None:
        return plain
    after = convert
    return lambda value: after(plain(value))


def _float(value: Value) -> Value:
    return float(value) if type(value) is int and abs(value) <= raw.EXACT_MAX else value


# in


def from_json_text(text: str, old: Any = MISSING) -> Any:
    """The BSON value of extended JSON; numbers keep the width that they have in `old`. Raises ValueError."""
    try:
        found = json_util.loads(text, json_options=_JSON)
        return _like(_unpacked(found), old)
    except (ValueError, TypeError, KeyError, ArithmeticError, BSONError, RecursionError) as fault:
        raise ValueError(f"not JSON: {fault}") from fault


def _unpacked(value: Any) -> Any:
    """Aware times, which only JSON's own parser makes, as naive ones in UTC."""
    if isinstance(value, dict):
        return {name: _unpacked(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_unpacked(item) for item in value]
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None)
    return value


def _like(new: Any, old: Any) -> Any:
    if isinstance(new, dict) and isinstance(old, dict):
        return {name: _like(item, old.get(name, MISSING)) for name, item in new.items()}
    if isinstance(new, list) and isinstance(old, list):
        return [_like(item, old[at] if at < len(old) else MISSING) for at, item in enumerate(new)]
    if type(new) is int and isinstance(old, Int64):
        return Int64(new)
    if type(new) is int and type(old) is float and abs(new) <= raw.EXACT_MAX:
        return float(new)
    return new


def to_bson(column: Column, value: Value, old: Any = MISSING) -> Any:
    """A store value as what the document is to hold, in the type of `old` where it fits. Raises BackendRefused."""
    if value is None:
        return None
    wanted = _wanted(column, old)
    if column.kind is Kind.JSON and isinstance(value, str):
        try:
            return from_json_text(value, old)
        except ValueError as fault:
            raise refused(
                "{columns} takes {wanted}, not {given}.", columns=column.name, wanted="JSON", given=value[:40]
            ) from fault
    given = raw.writer(column)(value)
    if isinstance(given, bytes):
        return Binary(given, old.subtype) if isinstance(old, Binary) else given
    if isinstance(given, str):
        return _from_text(column, given, wanted)
    return _from_number(column, given, wanted)


def _wanted(column: Column, old: Any) -> str:
    if old is not MISSING and old is not None:
        return type_of(old)
    return next((name for name in column.source_type.split("|") if name not in ("", "null", "missing")), "")


def _from_number(column: Column, given: int | float | None, wanted: str) -> Any:
    if column.kind is Kind.BOOLEAN and given in (0, 1) and wanted in ("bool", ""):
        return bool(given)
    if isinstance(given, int):
        if wanted == "double" and abs(given) <= raw.EXACT_MAX:
            return float(given)
        if wanted == "decimal":
            return Decimal128(str(given))
        return Int64(given) if wanted == "long" else given
    if isinstance(given, float) and wanted in ("int", "long") and column.kind is not Kind.REAL and given.is_integer():
        return int(given)
    return given


def _from_text(column: Column, text: str, wanted: str) -> Any:
    if column.kind is Kind.DECIMAL and (number := raw.decimal_of(text)) is not None:
        return _number(column, number, wanted)
    if column.kind in (Kind.DATE, Kind.DATETIME) and wanted in ("date", "", "timestamp"):
        return moment_of(text) or text
    if column.kind is Kind.REAL and text in _ODD_REALS:
        return _ODD_REALS[text]
    if wanted == "objectId" and _HEX.fullmatch(text):
        return ObjectId(text)
    if wanted == "uuid":
        return _uuid(text) or text
    return _as_before(text, wanted) if column.kind is Kind.ANY else text


def _as_before(text: str, wanted: str) -> Any:
    """What was typed into a column of any kind, as the type that the field had; as text when it is no such thing."""
    try:
        if wanted in ("int", "long"):
            return Int64(text) if wanted == "long" else int(text)
        if wanted == "double":
            return float(text)
        if wanted == "decimal":
            return Decimal128(text)
    except (ValueError, InvalidOperation):
        return text
    return (moment_of(text) or text) if wanted == "date" else text


def _number(column: Column, number: Decimal, wanted: str) -> Any:
    if wanted in ("int", "long") and number == number.to_integral_value() and abs(number) < 2**63:
        return Int64(int(number)) if wanted == "long" else int(number)
    if wanted == "double" and Decimal(repr(float(number))) == number:
        return float(number)
    try:
        return Decimal128(number)
    except InvalidOperation as fault:
        raise refused("A number is too large: {reason}", reason=f"{column.name}: {number:f}"[:80]) from fault


def moment_of(text: str) -> datetime | None:
    """A store date, or date and time, as naive UTC, to the millisecond; None when it is none."""
    try:
        if len(text) == 10:
            day = date.fromisoformat(text)
            return datetime(day.year, day.month, day.day)  # noqa: DTZ001  (naive means UTC here)
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text) if len(text) == 36 else None
    except ValueError:
        return None


def ways(column: Column, value: Value) -> list[Any]:
    """What a document may hold that reads as this part of a key: the likeliest first, none twice."""
    found = [to_bson(column, value)]
    if isinstance(value, str) and column.kind is not Kind.JSON:
        found.append(value)
        if not value.isascii():
            found.append(unicodedata.normalize("NFD", value))
        if _HEX.fullmatch(value):
            found.append(ObjectId(value))
        if uuid := _uuid(value):
            found.append(uuid)
    distinct: list[Any] = []
    for item in found:
        if not any(type(item) is type(known) and item == known for known in distinct):
            distinct.append(item)
    return distinct
