"""Which way to a page is the cheapest, in microseconds as measured; pure but for the sizes handed in.

The figures need not be right, only in proportion: a walk that takes longer than foreseen is given up (`budget`).
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from math import prod
from typing import Any

import apsw

from brique.store.conditions import Condition

COUNTED_FIRST = 2_000
COUNTED_MAX = 20_000
"""Rows of one condition are counted up to here; of several, first up to the lesser number."""
_BEGIN = 30.0
_READ = 0.7  # a row, found by its number
_STEP = 0.05  # an entry of the sort's index
_SIEVE_IN_ORDER = 0.1  # a number put into a sieve, when numbers come in order
_SIEVE = 0.45  # and when not
_SLOW = 2.5  # a test that calls Python
_UNKNOWN = 0.3  # share of rows that pass a condition nothing is known of
_CERTAIN = 0.4  # share of the rows that an index gives which pass, where it gives too many
_SURE = 8_000.0  # gathering takes no longer than foreseen; a walk may, when few rows stand the test
_PATIENCE = 3.0  # times the time foreseen until a walk is given up
_PATIENCE_LEAST = 500.0


class Way(Enum):
    GATHER = "gather"
    SIEVE = "sieve"
    WALK = "walk"


@dataclass(frozen=True, slots=True)
class Sized:
    """A condition and how many rows its index gives; `more`: more than that many. `took`: microseconds
    to count. `numbers`: those of its rows, where asking again would cost much."""

    condition: Condition
    size: int
    more: bool
    took: float = 0.0
    numbers: array[int] | None = None

    @property
    def ids(self) -> str:
        """The query for the numbers of rows that may pass."""
        assert self.condition.ids is not None
        if self.numbers is None:
            return self.condition.ids
        return "SELECT value FROM carray(?)" if self.numbers else "SELECT NULL WHERE 0"

    @property
    def ids_bound(self) -> tuple[Any, ...]:
        if self.numbers is None:
            return self.condition.ids_bound
        return (apsw.carray(self.numbers),) if self.numbers else ()

    def share(self, total: int) -> float:
        """What part of all rows pass, about."""
        size = max(self.size * 2, total // 20) if self.more else self.size
        certain = 1.0 if self.condition.exact or self.more else _CERTAIN
        return min(1.0, (size * certain + 0.5) / max(total, 1))

    @property
    def cost(self) -> float:
        """Making a sieve of it."""
        again = 0.0 if self.numbers is not None else self.took
        return again + self.size * (_SIEVE_IN_ORDER if self.in_order else _SIEVE)

    @property
    def in_order(self) -> bool:
        """Whether its numbers come in order, which makes sieves of any size worth while."""
        return self.condition.pinned or self.condition.column is None


@dataclass(frozen=True, slots=True)
class Plan:
    """A way to a page. `lead`: what to gather by. `sieves`: whose rows alone are read. In microseconds: `cost`, and
    `budget` after which to give up, None for never."""

    way: Way
    cost: float
    lead: Sized | None = None
    sieves: tuple[Sized, ...] = ()
    budget: float | None = None


Shares = Mapping[int, float]


def plans(conditions: Sequence[Condition], sized: Sequence[Sized], total: int, limit: int) -> list[Plan]:
    """The ways to try in turn, the cheapest first; the last one has no budget.

    Without a condition of known size a walk is tried, then one with sieves of all that come in order, however large.
    """
    known = sorted((one for one in sized if not one.more), key=lambda one: one.size)
    found = {id(one.condition): one.share(total) for one in sized}
    shares = {id(c): found.get(id(c), _UNKNOWN) for c in conditions}
    entries = min(limit / max(prod(shares.values()), 1e-9), total)
    walks = [_walk(conditions, shares, entries)]
    if not known:
        large = tuple(one for one in sized if one.in_order)
        return [*walks, Plan(Way.SIEVE, walks[0].cost, sieves=large)] if large else [Plan(Way.WALK, walks[0].cost)]
    lead = known[0]
    others = tuple(one for one in known[1:] if one.size <= 4 * lead.size + 1000)
    walks += [_sieve(conditions, shares, entries, sieves) for sieves in _choices((lead,), others)]
    gathers = [_gather(conditions, shares, lead, also) for also in _choices((), others)]
    gather = min(gathers, key=lambda plan: plan.cost)
    walk = min(walks, key=lambda plan: plan.cost)
    sure = not lead.condition.exact and gather.cost < _SURE
    if gather.cost <= walk.cost or sure:
        return [gather]
    # Giving up too soon costs the gathering, too late a quarter more.
    return [replace(walk, budget=max(walk.budget or 0.0, gather.cost / 4)), gather]


def _choices(first: tuple[Sized, ...], others: tuple[Sized, ...]) -> list[tuple[Sized, ...]]:
    return [first, first + others] if others else [first]


def _tests(rows: float, conditions: Sequence[Condition], shares: Shares, done: Sequence[Sized]) -> float:
    """Reading `rows` rows and testing what is not known of them yet: the slow tests come last."""
    settled = {id(one.condition) for one in done if one.condition.exact}
    left = [c for c in conditions if id(c) not in settled]
    asked = rows * prod(shares[id(c)] for c in left if not c.slow)
    return rows * _READ + asked * _SLOW * sum(c.slow for c in left)


def _budget(fixed: float, walk: float) -> float:
    return fixed + max(walk * _PATIENCE, _PATIENCE_LEAST)


def _walk(conditions: Sequence[Condition], shares: Shares, entries: float) -> Plan:
    cost = _tests(entries, conditions, shares, ())
    return Plan(Way.WALK, _BEGIN + cost, budget=_budget(_BEGIN, cost))


def _sieve(conditions: Sequence[Condition], shares: Shares, entries: float, sieves: tuple[Sized, ...]) -> Plan:
    rows = entries * prod(shares[id(one.condition)] for one in sieves)
    walk = entries * _STEP + _tests(rows, conditions, shares, sieves)
    made = _BEGIN + sum(one.cost for one in sieves)
    return Plan(Way.SIEVE, made + walk, sieves=sieves, budget=_budget(made, walk))


def _gather(conditions: Sequence[Condition], shares: Shares, lead: Sized, also: tuple[Sized, ...]) -> Plan:
    rows = lead.size * prod(shares[id(one.condition)] for one in also)
    cost = _BEGIN + lead.cost + sum(one.cost for one in also) + _tests(rows, conditions, shares, (lead, *also))
    return Plan(Way.GATHER, cost, lead=lead, sieves=also)
