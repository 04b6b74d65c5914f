"""Dependencies as they are kept and compared: one note for each question, exact, and where to look it up.

A note says all of its question, so that whether a change touches it is worked out and not guessed (`Asked.touched_by`).
To find the notes that a change may touch without looking at all of them, each has *entries*: a scheme and eight bytes,
both of which are also made of a changed row, before and after. Equalities, keys and short lists of values make entries
of their values; a range is covered by a few blocks of the order of all values, whose sizes are powers of 16. Entries
may say yes too often, never too seldom.

The bits of a mask follow the order of the table's columns; columns from the 60th on share one bit. They are only
compared under one fingerprint, which holds the columns' names in order.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import msgspec

from brique.schema import Row, TableSpec, Value
from brique.store import KEY_COLUMN, PENDING_COLUMN, Condition, Read, RowChange
from brique.store import compare_key as compare

_COLUMN_BITS = 60
PENDING_BIT = 1 << 60
MEMBER_BIT = 1 << 61
"""A row came into the answer or left it."""
WHOLE = ""
"""The scheme of a question about all rows of a table."""
_VALUES_MAX = 64
_BLOCKS_MAX = 9
_RANGES = ("lt", "le", "gt", "ge", "prefix")
_LAST = "\U0010ffff"
_CODE_BITS = 64
Plain = tuple[str, str, Any, tuple[str, ...], bool]
"""A condition: column, comparison, value, types, nocase."""
Entry = tuple[str, bytes]
"""A scheme and the digest of its values."""


class Note(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """One question and what of its answer was looked at. `via`: the place of the note whose rows led here."""

    table: str
    mask: int
    conditions: tuple[Plain, ...] = ()
    key: str | None = None
    order: tuple[tuple[str, bool, bool], ...] = ()
    bound: tuple[Any, ...] | None = None
    witness: str | None = None
    via: int = -1
    columns: tuple[str, ...] = ()

    @property
    def is_narrow(self) -> bool:
        """Whether it asks for less than a whole table or a range of it."""
        return self.key is not None or any(item[1] == "eq" for item in self.conditions)


class Use(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """A pattern that a representation conforms to, with what the pattern leaves open (see `patterns`)."""

    pattern: int
    free: tuple[Any, ...] = ()
    bound: tuple[Any, ...] | None = None
    witness: str | None = None


class Notes(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """All dependencies of one representation: numbers of patterns, uses of others, and the notes that fit none."""

    plain: tuple[int, ...] = ()
    uses: tuple[Use, ...] = ()
    notes: tuple[Note, ...] = ()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Notes).decode


def pack(notes: Notes) -> bytes:
    return _encode(notes)


def unpack(raw: bytes) -> Notes:
    return _decode(raw)


class Side:
    """A changed row as it was or as it is."""

    __slots__ = ("key", "row")

    def __init__(self, key: str, row: Row, pending: int) -> None:
        self.key = key
        self.row = {**row, PENDING_COLUMN: pending}

    def value(self, column: str) -> Value:
        return self.key if column == KEY_COLUMN else self.row.get(column)


class Changed:
    """A change of a row, ready to be compared with notes. `differing`: bits of the columns that differ. `sides`: the
    row as it was and as it is, without the one that is not."""

    __slots__ = ("after", "before", "change", "differing", "key", "sides", "table")

    def __init__(self, change: RowChange, bits: Bits) -> None:
        self.change, self.table, self.key = change, change.table, change.key
        self.before = None if change.before is None else Side(change.key, change.before, change.pending_before)
        self.after = None if change.after is None else Side(change.key, change.after, change.pending_after)
        self.differing = MEMBER_BIT
        if change.before is not None and change.after is not None:
            self.differing = bits.of(change.table, change.columns)
            if change.pending_before != change.pending_after:
                self.differing |= PENDING_BIT
        self.sides = [side for side in (self.before, self.after) if side is not None]


class Asked:
    """A note made ready to be compared with changes."""

    __slots__ = ("conditions", "note")

    def __init__(self, note: Note) -> None:
        self.note = note
        self.conditions = tuple(condition_of(plain) for plain in note.conditions)

    def touched_by(self, change: Changed) -> bool:
        """Whether what `change` does may be seen in the answer."""
        note = self.note
        if note.table != change.table:
            return False
        was = change.before is not None and self.holds(change.before)
        now = change.after is not None and self.holds(change.after)
        if note.witness is not None:
            return was and not now
        if was and now:
            return bool(change.differing & note.mask)
        return was or now

    def holds(self, side: Side) -> bool:
        """Whether that row is part of the answer, or stands where it would have been."""
        note = self.note
        if note.key is not None and note.key != side.key:
            return False
        if note.witness is not None and note.witness != side.key:
            return False
        for condition in self.conditions:
            if not condition.matches(side.row):
                return False
        return note.bound is None or not beyond(side, note.order, note.bound)


def condition_of(plain: Plain) -> Condition:
    column, op, value, types, nocase = plain
    return Condition(column, op, tuple(value) if isinstance(value, (list, tuple)) else value, tuple(types), nocase)


def beyond(side: Side, order: Sequence[tuple[str, bool, bool]], bound: Sequence[Value]) -> bool:
    """Whether the row comes after the place `bound` in `order`."""
    for (column, descending, nocase), edge in zip(order, bound, strict=False):
        mine, limit = compare(side.value(column), nocase), compare(edge, nocase)
        if mine != limit:
            return (mine < limit) if descending else (mine > limit)
    return False


# entries


def entries(note: Note) -> list[Entry]:
    """Where to look the note up."""
    if note.witness is not None:
        return [(KEY_COLUMN, digest((note.witness,)))]
    if note.key is not None:
        return [(KEY_COLUMN, digest((note.key,)))]
    equal = {item[0]: item[2] for item in note.conditions if item[1] == "eq"}
    names = sorted(equal)
    base = tuple(equal[name] for name in names)
    for column, op, value, _, _ in note.conditions:
        if op == "in" and column not in equal and len(value) <= _VALUES_MAX:
            scheme = ",".join((*names, column))
            return [(scheme, digest((*base, item))) for item in dict.fromkeys(value)]
    found = _range(note, equal)
    if found is None:
        return [(",".join(names), digest(base))]
    column, nocase, low, high = found
    shift = 0
    while (high >> shift) - (low >> shift) >= _BLOCKS_MAX:
        shift += 4
    scheme = ",".join((*names, f"{column}~{shift}{'i' if nocase else ''}"))
    return [(scheme, digest((*base, block))) for block in range(low >> shift, (high >> shift) + 1)]


def _range(note: Note, equal: Mapping[str, Any]) -> tuple[str, bool, int, int] | None:
    """A column whose values lie between two codes for all rows that matter: column, nocase, low, high."""
    for column, op, _, _, nocase in note.conditions:
        if op in _RANGES and column not in equal:
            low, high = 0, (1 << _CODE_BITS) - 1
            for other, sign, value, _, _ in note.conditions:
                if other == column and sign in ("gt", "ge", "prefix"):
                    low = max(low, code(value, nocase))
                if other == column and sign in ("lt", "le"):
                    high = min(high, code(value, nocase))
                if other == column and sign == "prefix":
                    high = min(high, code(str(value) + _LAST, nocase))
            return column, nocase, low, max(low, high)
    if note.bound is None or not note.order or note.order[0][0] in equal:
        return None
    column, descending, nocase = note.order[0]
    if column == KEY_COLUMN:
        return None
    edge = code(note.bound[0], nocase)
    return (column, nocase, edge, (1 << _CODE_BITS) - 1) if descending else (column, nocase, 0, edge)


def code(value: Value, nocase: bool) -> int:
    """64 bits that are in order where values are; values that differ may share them."""
    kind, plain = compare(value, nocase)
    if kind == 1:
        (raw,) = struct.unpack(">Q", struct.pack(">d", _float(plain)))
        bits = raw ^ ((1 << 64) - 1) if raw >> 63 else raw | 1 << 63
    elif kind == 0:
        bits = 0
    else:
        data = plain.encode("utf-8", "surrogatepass") if isinstance(plain, str) else bytes(plain)
        bits = int.from_bytes(data[:8].ljust(8, b"\0"), "big")
    return int(kind << 62 | bits >> 2)


def _float(value: Any) -> float:
    try:
        return float(value) + 0.0  # -0.0 is 0.0
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


@lru_cache(maxsize=4096)
def _parts(scheme: str) -> tuple[tuple[str, int, bool], ...]:
    """Column, shift (-1: no range), nocase of each part of a scheme."""
    found = []
    for part in scheme.split(",") if scheme else ():
        column, _, rest = part.partition("~")
        found.append((column, int(rest.rstrip("i")) if rest else -1, rest.endswith("i")))
    return tuple(found)


def columns_of(scheme: str) -> list[str]:
    """The columns whose values it is made of."""
    return [column for column, _, _ in _parts(scheme)]


def entry_of(side: Side, scheme: str) -> bytes:
    """The digest that a question of `scheme` has which this row answers."""
    return digest(
        [
            side.value(column) if shift < 0 else code(side.value(column), nocase) >> shift
            for column, shift, nocase in _parts(scheme)
        ]
    )


def digest(values: Iterable[Value]) -> bytes:
    """Eight bytes for store values: equal values, equal bytes. `1` and `1.0` are equal in the store."""
    plain = [int(value) if isinstance(value, float) and value.is_integer() else value for value in values]
    try:
        raw = msgspec.msgpack.encode(plain)
    except OverflowError:  # a float beyond 64 bits
        raw = repr(plain).encode()
    return blake2b(raw, digest_size=8).digest()


class Bits:
    """The bit of each column, by table."""

    def __init__(self, specs: Mapping[str, TableSpec]) -> None:
        self._specs = specs
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

    def names(self, table: str, mask: int) -> tuple[str, ...]:
        """The columns of a mask; `_pending` for the mark of commands."""
        return tuple(name for name, bit in self._places[table].items() if mask & bit)

    def notes(self, reads: Sequence[Read]) -> tuple[Note, ...]:
        """A note for each question that was asked, once."""
        places: dict[Any, int] = {}
        notes: list[Note] = []
        of_read: dict[int, int] = {}
        for read in reads:
            via, columns = (of_read[id(read.via[0])], read.via[1]) if read.via else (-1, ())
            note = self._note(read, via, columns)
            same = (note.table, note.key, note.conditions, note.order, note.bound, note.witness, via, columns)
            place = places.get(same)
            if place is None:
                places[same] = place = len(notes)
                notes.append(note)
            elif note.mask & ~notes[place].mask:
                notes[place] = msgspec.structs.replace(notes[place], mask=notes[place].mask | note.mask)
            of_read[id(read)] = place
        return tuple(notes)

    def _note(self, read: Read, via: int, columns: tuple[str, ...]) -> Note:
        question = read.question
        bound = read.bound
        if read.last is not None:
            row = dict(zip(self._specs[question.table].names, read.last.values, strict=True))
            bound = tuple(read.last.key if s.column == KEY_COLUMN else row[s.column] for s in question.order)
        return Note(
            question.table,
            self.of(question.table, read.mask) | MEMBER_BIT,
            tuple((c.column, c.op, c.value, c.types, c.nocase) for c in question.conditions),
            question.key,
            tuple((s.column, s.descending, s.nocase) for s in question.order) if bound is not None else (),
            bound,
            read.witness,
            via,
            columns,
        )
