"""Where two answers of a view differ: the path into their JSON, and both values."""

from __future__ import annotations

from typing import Any

import msgspec

_LETTERS_MAX = 120


def difference(one: bytes, other: bytes) -> str:
    """`last[2].amount: 10 | 12`: the first place where two JSON documents differ, "" when they are the same bytes."""
    if one == other:
        return ""
    try:
        left, right = msgspec.json.decode(one), msgspec.json.decode(other)
    except msgspec.DecodeError:
        return f"{_shown(one)} | {_shown(other)}"
    return _first(left, right, "") or "the same values in another order of keys"


def _first(one: Any, other: Any, path: str) -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        for name in [*one, *(name for name in other if name not in one)]:
            if name not in one or name not in other:
                there = _shown(one.get(name)) if name in one else "nothing"
                return f"{path}.{name}: {there} | {_shown(other[name]) if name in other else 'nothing'}".lstrip(".")
            found = _first(one[name], other[name], f"{path}.{name}")
            if found:
                return found
        return ""
    if isinstance(one, list) and isinstance(other, list):
        for place, (left, right) in enumerate(zip(one, other, strict=False)):
            found = _first(left, right, f"{path}[{place}]")
            if found:
                return found
        return f"{path or 'it'} has {len(one)} | {len(other)} items".lstrip(".") if len(one) != len(other) else ""
    same = type(one) is type(other) and one == other
    return "" if same else f"{path or 'it'}: {_shown(one)} | {_shown(other)}".lstrip(".")


def _shown(value: Any) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else msgspec.json.encode(value).decode()
    return text if len(text) <= _LETTERS_MAX else text[: _LETTERS_MAX - 1] + "…"
