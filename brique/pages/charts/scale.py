"""Where a value lies: finite numbers, round ticks, fewer points than were given."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

Number = int | float | Decimal | None

# Beyond this a span of values overflows a float.
_MAGNITUDE_MAX = 1e300
# Under this, a value is drawn as zero: its steps could not be told apart.
_MAGNITUDE_MIN = 1e-250
TICKS_MAX = 12


def finite(value: object) -> float | None:
    """`value` as a float, or None for a gap: no number, NaN, infinite, or too large to draw."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return None
    if abs(number) < _MAGNITUDE_MIN:
        return 0.0
    return number if abs(number) <= _MAGNITUDE_MAX else None


def nice_ticks(low: float, high: float, *, count: int = 5) -> list[float]:
    """About `count` steps of 1, 2, 2.5 or 5 times a power of ten that hold `low` and `high` between first and last."""
    low, high = sorted(0.0 if abs(end) < _MAGNITUDE_MIN else end for end in (low, high))
    if high - low <= max(abs(low), abs(high)) * 1e-12:
        spread = abs(high) or 1.0
        low, high = (min(0.0, low), max(0.0, high)) if high else (0.0, spread)
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * part for part in (1, 2, 2.5, 5, 10) if power * part >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = max(0, 1 - math.floor(math.log10(step)))
    return [_clean(index * step, digits) for index in range(first, min(last, first + TICKS_MAX) + 1)]


@dataclass(frozen=True, slots=True)
class Scale:
    """Values from ticks[0] to ticks[-1], drawn from `bottom` up to `top` (both in px from above)."""

    ticks: Sequence[float]
    top: float
    bottom: float

    def y(self, value: float) -> float:
        """Where `value` is, in px from above."""
        low, high = self.ticks[0], self.ticks[-1]
        return self.bottom - (value - low) / (high - low) * (self.bottom - self.top)

    @property
    def zero(self) -> float:
        """Where zero is, or the edge nearest to it."""
        return self.y(min(max(0.0, self.ticks[0]), self.ticks[-1]))


def thinned(points: Sequence[tuple[float, float | None]], *, buckets: int = 200) -> list[tuple[float, float | None]]:
    """`points` (x, y), or when there are more than two a bucket, the lowest and the highest of each: peaks stay."""
    if len(points) <= buckets * 2:
        return list(points)
    kept: list[tuple[float, float | None]] = []
    for number in range(buckets):
        part = points[number * len(points) // buckets : (number + 1) * len(points) // buckets]
        known = [point for point in part if point[1] is not None]
        if not known:
            kept.append((part[0][0], None))
            continue
        ends = {min(known, key=_height), max(known, key=_height)}
        kept.extend(sorted(ends))
    return kept


def span(values: Iterable[float | None]) -> tuple[float, float] | None:
    """The lowest and the highest of `values`, or None when all are gaps."""
    known = [value for value in values if value is not None]
    return (min(known), max(known)) if known else None


def _height(point: tuple[float, float | None]) -> float:
    return point[1] if point[1] is not None else 0.0


def _clean(value: float, digits: int) -> float:
    """Without the dust of binary fractions, and without a negative zero."""
    return round(value, min(digits, 300)) + 0.0
