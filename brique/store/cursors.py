"""Cursors: the place of a row in a list, as text safe in addresses. They stay good when rows come and go."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from brique.errors import BadInput
from brique.schema import Value

_VALUE_CHARS_MAX = 120  # of a sort value in a cursor; the rest is looked up
_CURSOR_CHARS_MAX = 2_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands: its sort value, its number, whether among the pending rows on top.

    `cut`: `value` is only the beginning of the row's sort value.
    """

    value: Value
    id: int
    pending: bool = False
    cut: bool = False


def encode(place: Place, sort: str) -> str:
    """The cursor of `place` in a list sorted as `sort` says."""
    value, cut = place.value, False
    if isinstance(value, str | bytes) and len(value) > _VALUE_CHARS_MAX:
        value, cut = value[:_VALUE_CHARS_MAX], True
    raw = msgspec.msgpack.encode([sort, value, place.id, place.pending, cut])
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(cursor: str, sort: str) -> Place:
    """The place that `encode` wrote. Raises BadInput for any other text, and for a list sorted otherwise."""
    try:
        if len(cursor) > _CURSOR_CHARS_MAX:
            raise ValueError
        raw = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        written, value, identity, pending, cut = msgspec.msgpack.decode(
            raw, type=tuple[str, Any, Annotated[int, Meta(ge=0, le=2**63 - 1)], bool, bool]
        )
        if written != sort or not _storable(value):
            raise ValueError
    except (ValueError, binascii.Error, msgspec.DecodeError) as fault:
        raise BadInput("This page of the list is not there any more.", try_this="Start at its first page.") from fault
    return Place(value, identity, pending, cut)


def _storable(value: object) -> bool:
    if isinstance(value, int):
        return type(value) is int and -(2**63) <= value < 2**63
    return value is None or isinstance(value, float | str | bytes)
