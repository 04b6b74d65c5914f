"""What the spool's records say: a command was given, it settled, a person has dealt with it, or with a backend; and how
what was sent to a backend is told apart from what was not (its rung).

From these records alone, in order, everything that brique lays over the copy can be made again, and everything that
people have done about commands: who, when, from where, what.
"""

from __future__ import annotations

import msgspec

from brique.schema import Command, Row, State

_REASON_LETTERS_MAX = 2_000


class Given(msgspec.Struct, frozen=True, tag="given"):
    """A command, as acknowledged."""

    command: Command


class Moved(msgspec.Struct, frozen=True, tag="moved", omit_defaults=True):
    """The command at `position` went to `state`. `theirs`: what the backend held instead, by "table/key".
    `keys`: the key that the backend gave for each temporary one. `at`: when, a UTC stamp. `by`: the person who did it,
    "" when nobody did; `origin` (form, api, cli) and `address`: from where."""

    position: int
    state: State
    at: str
    reason: str = ""
    theirs: dict[str, Row | None] = {}
    keys: dict[str, str] = {}
    by: str = ""
    origin: str = ""
    address: str = ""
    results: list[Row] = []
    """What the command's effects were answered with, in their order."""


class Applied(msgspec.Struct, frozen=True, tag="applied", omit_defaults=True):
    """The commands in these ranges (first, last) of positions were applied, as one report has told."""

    ranges: list[tuple[int, int]]
    at: str

    @property
    def positions(self) -> list[int]:
        return [position for first, last in self.ranges for position in range(first, last + 1)]


class Dismissed(msgspec.Struct, frozen=True, tag="dismissed", omit_defaults=True):
    """`by` has seen what became of the command at `position`; it needs nobody any more. `what`: dismissed, or retried
    or edited: then `other` is the receipt of the command that was kept instead, in the same append as this record."""

    position: int
    by: str
    at: str
    what: str = "dismissed"
    other: str = ""
    origin: str = ""
    address: str = ""


class Adopted(msgspec.Struct, frozen=True, tag="adopted", omit_defaults=True):
    """`by` has taken the mark of `backend`, which was ahead of this spool, for good. Positions past `after` up to the
    mark were not given out (0: an older brique did not note that)."""

    backend: str
    mark: int
    by: str
    at: str
    origin: str = ""
    address: str = ""
    after: int = 0


class Climbed(msgspec.Struct, frozen=True, tag="climbed"):
    """What is sent to `backend` from now on is applied on `rung`; kept before the first of it is sent."""

    backend: str
    rung: str
    at: str


Entry = Given | Moved | Applied | Dismissed | Adopted | Climbed


def encode(entry: Entry) -> bytes:
    """`entry` as bytes for the spool."""
    return msgspec.msgpack.encode(entry)


def decode(payload: bytes) -> Entry:
    """The entry in a spool record. Raises msgspec.DecodeError when it is none."""
    return _DECODER.decode(payload)


def bounded(entry: Entry, most: int) -> Entry:
    """`entry` without what a backend has said beside the outcome, when that makes it larger than can be kept."""
    if not isinstance(entry, Moved) or len(encode(entry)) <= most:
        return entry
    return msgspec.structs.replace(entry, reason=entry.reason[:_REASON_LETTERS_MAX], theirs={}, results=[])


_DECODER: msgspec.msgpack.Decoder[Entry] = msgspec.msgpack.Decoder(Entry)
