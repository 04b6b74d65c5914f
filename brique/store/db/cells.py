"""Totals that are kept: looked up instead of counted, when a question has many rows and nothing else was asked before.

A *cell* holds the totals of one question, for each group. The engine keeps them in step by difference, in the
transaction of each change, so what is found here is exact. Whole numbers, and decimals of a fixed scale, only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import msgspec

from brique.schema import Value
from brique.store.db.where import Condition

ROWS_MIN = 200
"""Fewer rows are counted as fast as a cell is found."""
PARTS_MAX = 1_000
"""Groups of one cell."""
_Plain = tuple[str, str, Any, tuple[str, ...], bool]


class Total(msgspec.Struct, frozen=True, array_like=True):
    """Of one group, whose values `part` holds: how many rows, how many of them have a number, and its sum."""

    part: bytes
    rows: int
    numbers: int
    total: str


class CellSpec(msgspec.Struct, frozen=True, array_like=True):
    """What is counted: rows of `table` that meet `conditions`, by `columns` (of dates the first `cuts` characters),
    and the sum of `summed` ("" for none)."""

    table: str
    conditions: tuple[_Plain, ...]
    columns: tuple[str, ...] = ()
    cuts: tuple[int | None, ...] = ()
    summed: str = ""

    @property
    def id(self) -> bytes:
        return blake2b(msgspec.msgpack.encode(self), digest_size=16).digest()


def cell_spec(
    table: str,
    conditions: Sequence[Condition],
    columns: Sequence[str] = (),
    cuts: Sequence[int | None] = (),
    summed: str = "",
) -> CellSpec:
    plain = sorted(((c.column, c.op, c.value, c.types, c.nocase) for c in conditions), key=repr)
    return CellSpec(table, tuple(plain), tuple(columns), tuple(cuts), summed)


@dataclass(frozen=True)
class Counted:
    """A cell as a view has just counted it: handed to the engine, which keeps it from then on."""

    spec: CellSpec
    totals: tuple[Total, ...]


def part_of(key: tuple[Value, ...]) -> bytes:
    """The values of a group as bytes; b"" for no group."""
    return msgspec.msgpack.encode(key) if key else b""


def key_of(part: bytes) -> tuple[Value, ...]:
    return tuple(msgspec.msgpack.decode(part)) if part else ()
