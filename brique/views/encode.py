"""What a view returns, as JSON bytes: rows, queries, decimals, dates and tiles included; the same data, same bytes."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from hashlib import blake2b
from typing import Any

import msgspec

from brique.errors import BadConfiguration, TooMuch
from brique.schema import Table
from brique.store import Rows, row_json
from brique.views import tiles

_SAFE = 2**53
_DEPTH_MAX = 50
_PLAIN = (str, float, type(None))


def body_of(result: Any, *, dashboard: bool, what: str, bytes_max: int) -> bytes:
    """The JSON of `result`. Raises BadConfiguration when it holds what JSON cannot, TooMuch beyond `bytes_max`."""
    if dashboard:
        listed = result if isinstance(result, (list, tuple)) else [result]
        result = {"tiles": [tiles.plain(tile) for tile in listed]}
    try:
        body = msgspec.json.encode(_plain(result, what, 0))
    except (TypeError, ValueError, UnicodeEncodeError) as fault:
        raise BadConfiguration(f"{what} returned what JSON cannot hold: {fault}") from fault
    if len(body) > bytes_max:
        raise TooMuch(
            f"{what} returned {len(body)} bytes; at most {bytes_max} are kept for one page.",
            try_this="limit() the rows, or offer an export",
        )
    return body


def etag_of(body: bytes) -> str:
    """The ETag of `body`, quotes included: the same bytes have the same one everywhere."""
    return f'"{blake2b(body, digest_size=12).hexdigest()}"'


def _plain(value: Any, what: str, depth: int) -> Any:
    if isinstance(value, bool) or type(value) in _PLAIN:
        return value
    if type(value) is int:
        return value if -_SAFE <= value <= _SAFE else str(value)
    if depth > _DEPTH_MAX:
        raise BadConfiguration(f"{what} returned data nested deeper than {_DEPTH_MAX} levels")
    if isinstance(value, Table):
        return row_json(value)
    if isinstance(value, Mapping):
        return _mapping(value, what, depth)
    if isinstance(value, (tiles.Figure, tiles.Chart, tiles.ShortList)):
        return _plain(tiles.plain(value), what, depth + 1)
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(item, what, depth + 1) for item in value), key=repr)
    if isinstance(value, (list, tuple, Rows)) or _is_iterator(value):
        return [_plain(item, what, depth + 1) for item in value]
    for kind, write in _WRITE:
        if isinstance(value, kind):
            return write(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return _mapping(fields, what, depth)
    raise BadConfiguration(
        f"{what} returned a {type(value).__name__}, which JSON cannot hold",
        try_this="return dicts, lists, rows, numbers, text, dates",
    )


def _is_iterator(value: Any) -> bool:
    return isinstance(value, Iterable) and hasattr(value, "__next__")


def _mapping(value: Mapping[Any, Any], what: str, depth: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, item in value.items():
        name = _name(key)
        while name in result:  # None and "" may both be keys
            name += "_"
        result[name] = _plain(item, what, depth + 1)
    return result


def _name(key: Any) -> str:
    if key is None:
        return ""
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, tuple):
        return ", ".join(_name(part) for part in key)
    if isinstance(key, Table):
        return key.row_key
    plain = _plain(key, "a key", _DEPTH_MAX)
    return plain if isinstance(plain, str) else str(plain)


_WRITE: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (Enum, lambda value: value.value),
    (Decimal, lambda value: format(value, "f") if value.is_finite() else None),
    (datetime, lambda value: value.isoformat()),
    (date, lambda value: value.isoformat()),
    (time, lambda value: value.isoformat()),
    (timedelta, lambda value: value.total_seconds()),
    (bytes, lambda value: base64.b64encode(value).decode()),
    (str, str),
    (int, int),
    (float, float),
)
