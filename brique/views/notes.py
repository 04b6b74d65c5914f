"""Dependencies as they are kept and compared: a digest of the values, and the mask as bits.

Two questions may share a digest: then one of them is touched needlessly, never missed. `1` and `1.0` are equal in the
store and have the same digest. The bits of a mask follow the order of the table's columns; columns from the 60th on
share one bit. They are only compared under one fingerprint, which holds the columns' names in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b

import msgspec

from brique.schema import TableSpec, Value
from brique.store import PENDING_COLUMN, ReadDependency, Scheme

_COLUMN_BITS = 60
PENDING_BIT = 1 << 60
MEMBER_BIT = 1 << 61
"""A row came into the question or left it."""


class Note(msgspec.Struct, frozen=True, array_like=True):
    """One dependency: `scheme` is its columns joined by commas, `value` the digest, `mask` the bits."""

    table: str
    scheme: str
    value: bytes
    mask: int


class Notes(msgspec.Struct, frozen=True, array_like=True):
    """All dependencies of one representation, with the UTC stamp from which it holds when it read the clock."""

    notes: tuple[Note, ...]
    since: str = ""


def pack(notes: Notes) -> bytes:
    return msgspec.msgpack.encode(notes)


def unpack(raw: bytes) -> Notes:
    return msgspec.msgpack.decode(raw, type=Notes)


def scheme_text(scheme: Scheme) -> str:
    return ",".join(scheme)


def scheme_of(text: str) -> Scheme:
    return tuple(text.split(",")) if text else ()


def digest(values: Iterable[Value]) -> bytes:
    """Eight bytes for store values: equal values, equal bytes."""
    plain = [int(value) if isinstance(value, float) and value.is_integer() else value for value in values]
    return blake2b(msgspec.msgpack.encode(plain), digest_size=8).digest()


class Bits:
    """The bit of each column, by table."""

    def __init__(self, specs: Mapping[str, TableSpec]) -> None:
        self._places = {
            name: {column: 1 << min(place, _COLUMN_BITS - 1) for place, column in enumerate(spec.names)}
            | {PENDING_COLUMN: PENDING_BIT}
            for name, spec in specs.items()
        }

    def knows(self, table: str) -> bool:
        return table in self._places

    def of(self, table: str, columns: Iterable[str]) -> int:
        """The bits of `columns`; of `_key`, which never changes within a row, none."""
        places = self._places[table]
        bits = 0
        for column in columns:
            bits |= places.get(column, 0)
        return bits

    def note(self, dependency: ReadDependency) -> Note:
        mask = self.of(dependency.table, dependency.mask) | (MEMBER_BIT if dependency.membership else 0)
        return Note(dependency.table, scheme_text(dependency.scheme), digest(dependency.values), mask)
