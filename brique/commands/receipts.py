"""Receipts: the ids of commands. Short enough to read on the phone, sorted by time, never the same twice."""

from __future__ import annotations

from collections.abc import Callable

from brique.clock import Clock

_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [first + second for first in _LETTERS for second in _LETTERS]


def receipt(clock: Clock, random_bits: Callable[[int], int]) -> str:
    """A new receipt: 10 letters of the time in milliseconds and 8 of chance (Crockford's base 32)."""
    number = (int(clock.now().timestamp() * 1000) << 40) | random_bits(40)
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in range(80, -1, -10)])
