"""Positions of commands as spans (first, last): what many commands that were kept one after the other are told by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

Span = tuple[int, int]
_LENGTH_MIN = 4  # shorter ones, on average, are asked for as a set of positions


def spans_of(positions: Iterable[int]) -> list[Span]:
    """Ascending positions as spans."""
    found: list[Span] = []
    first = last = -1
    for position in positions:
        if position != last + 1:
            if first >= 0:
                found.append((first, last))
            first = position
        last = position
    return [*found, (first, last)] if first >= 0 else found


def positions_in(spans: Sequence[Span]) -> list[int]:
    return [position for first, last in spans for position in range(first, last + 1)]


def count_in(spans: Sequence[Span]) -> int:
    return sum(last - first + 1 for first, last in spans)


def among(spans: Sequence[Span]) -> list[tuple[str, tuple[Any, ...]]]:
    """Conditions on `position`, and what to bind, that together hold for the positions in `spans`, each once."""
    if count_in(spans) >= _LENGTH_MIN * len(spans):
        return [("position BETWEEN ? AND ?", span) for span in spans]
    listed = msgspec.json.encode(positions_in(spans)).decode()
    return [("position IN (SELECT value FROM json_each(?))", (listed,))]
