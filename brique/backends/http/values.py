"""Rows of an API in store values, and back: columns by dotted places, numbers without a detour over floats. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from brique.backends.faults import refused
from brique.schema import DECODERS, Column, Kind, Row, TableSpec, Value

TOO_DEEP = "{table}: an answer holds values within values without end."
_DIGITS_MAX = 400
"""Before or behind the point: `1e99999999` is eleven bytes of an answer, and a hundred million digits written out."""
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
"""How half a letter begins, which JSON can say (a text that was cut within an emoji) and no database can keep."""


def parse(body: bytes) -> Any:
    """JSON with exact numbers; one without measure comes as its text. Raises ValueError."""
    if not body.strip():
        return None
    try:
        found = json.loads(body.decode("utf-8", "strict"), parse_float=_number)
        return _whole(found) if _HALF.search(body) else found
    except RecursionError as fault:
        raise ValueError("values within values without end") from fault


def _number(text: str) -> Decimal | str:
    found = Decimal(text)
    return found if abs(found.adjusted()) <= _DIGITS_MAX else text


def _whole(value: Any) -> Any:
    """`value` with a mark in place of each half of a letter."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, Mapping):
        return {_whole(name): _whole(inner) for name, inner in value.items()}
    return [_whole(inner) for inner in value] if isinstance(value, list) else value


def at(answer: Any, place: str) -> Any:
    """What stands at a dotted place; None when there is nothing."""
    for name in place.split(".") if place else ():
        if isinstance(answer, list) and name.isdigit() and int(name) < len(answer):
            answer = answer[int(name)]
        elif isinstance(answer, Mapping):
            answer = answer.get(name)
        else:
            return None
    return answer


def row_of(spec: TableSpec, item: Any) -> tuple[Value, ...]:
    """A row in the order of the columns. Raises BackendRefused."""
    try:
        return tuple(store(column, at(item, column.source)) for column in spec.columns)
    except RecursionError as fault:
        raise refused(TOO_DEEP, table=spec.source) from fault


def store(column: Column, value: Any) -> Value:
    """A JSON value as the store value of `column`; one that does not fit as it is."""
    if value is None:
        return None
    decoder = DECODERS.get(column.decoder)
    try:
        if decoder is not None:
            plain = int(value) if isinstance(value, Decimal) else value
            return decoder.decode(plain)
        return column.store_json(_as_wanted(column.kind, value))
    except (ValueError, TypeError, ArithmeticError):
        return _plain(value)


def _as_wanted(kind: Kind, value: Any) -> Any:
    if kind is Kind.DECIMAL and isinstance(value, int | Decimal) and not isinstance(value, bool):
        return format(Decimal(value), "f")
    if kind is Kind.REAL and isinstance(value, int | Decimal) and not isinstance(value, bool):
        return float(value)
    if kind is Kind.TEXT and isinstance(value, int | Decimal) and not isinstance(value, bool):
        return str(value)
    if kind is Kind.INTEGER and isinstance(value, Decimal) and value == value.to_integral_value():
        return int(value)
    if kind in (Kind.JSON, Kind.ANY):
        return _floats(value)
    return value


def _floats(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, Mapping):
        return {name: _floats(inner) for name, inner in value.items()}
    return [_floats(inner) for inner in value] if isinstance(value, list) else value


def _plain(value: Any) -> Value:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bool):
        return int(value)
    if value is None or isinstance(value, int | float | str):
        return value
    return msgspec.json.encode(_floats(value)).decode()


def body_of(spec: TableSpec, row: Row, *, decimals: str) -> bytes:
    """Columns of a row as the JSON object that the API takes; columns that it computes are left out."""
    made: dict[str, Any] = {}
    for name, value in row.items():
        column = spec.by_name.get(name)
        if column is not None and not column.generated:
            _put(made, column.source.split("."), written(column, value, decimals=decimals))
    return msgspec.json.encode(made)


def written(column: Column, value: Value, *, decimals: str) -> Any:
    """A store value as the API takes it."""
    decoder = DECODERS.get(column.decoder)
    if value is None:
        return None
    if decoder is not None and column.decoder != "trim":
        return decoder.encode(value)
    plain = column.json(value)
    if column.kind is Kind.DECIMAL and decimals == "number" and isinstance(plain, str):
        return msgspec.Raw(plain.encode())
    return plain


def _put(into: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for name in path[:-1]:
        into = into.setdefault(name, {})
    into[path[-1]] = value


def told(body: bytes, status: int) -> str:
    """What an answer says went wrong, as one line: a problem document (RFC 9457), its like, or its first words."""
    try:
        answer = parse(body[:65536])
    except ValueError:
        answer = None
    found = ""
    if isinstance(answer, Mapping):
        error = answer.get("error")
        inner: Mapping[str, Any] = error if isinstance(error, Mapping) else answer
        texts = [inner.get(name) for name in ("title", "message", "error", "detail", "error_description")]
        found = ": ".join(dict.fromkeys(text for text in texts if isinstance(text, str) and text))
        fields = inner.get("errors") or inner.get("fields")
        if isinstance(fields, Mapping | list) and fields:
            found += f" ({_fields(fields)})"
    elif answer is None and body and not body.lstrip().startswith(b"<"):
        found = body[:300].decode("utf-8", "replace")
    line = " ".join("".join(c if c.isprintable() else " " for c in found).split())
    return f"{status} {line}".strip()[:500]


def _fields(fields: Any) -> str:
    if isinstance(fields, Mapping):
        return "; ".join(f"{name}: {text}" for name, text in list(fields.items())[:10])
    return "; ".join(str(one.get("message", one) if isinstance(one, Mapping) else one) for one in fields[:10])
