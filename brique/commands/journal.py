"""What the spool's records say: a command was given, it settled, a person has dealt with it.

From these records alone, in order, everything that brique lays over the copy can be made again.
"""

from __future__ import annotations

import msgspec

from brique.schema import Command, Row, State


class Given(msgspec.Struct, frozen=True, tag="given"):
    """A command, as acknowledged."""

    command: Command


class Moved(msgspec.Struct, frozen=True, tag="moved", omit_defaults=True):
    """The command at `position` went to `state`. `theirs`: what the backend held instead, by "table/key".
    `keys`: the key that the backend gave for each temporary one. `at`: when, a UTC stamp."""

    position: int
    state: State
    at: str
    reason: str = ""
    theirs: dict[str, Row | None] = {}
    keys: dict[str, str] = {}
    by: str = ""


class Dismissed(msgspec.Struct, frozen=True, tag="dismissed"):
    """`by` has seen what became of the command at `position`; it needs nobody any more."""

    position: int
    by: str
    at: str


Entry = Given | Moved | Dismissed


def encode(entry: Entry) -> bytes:
    """`entry` as bytes for the spool."""
    return msgspec.msgpack.encode(entry)


def decode(payload: bytes) -> Entry:
    """The entry in a spool record. Raises msgspec.DecodeError when it is none."""
    return _DECODER.decode(payload)


_DECODER: msgspec.msgpack.Decoder[Entry] = msgspec.msgpack.Decoder(Entry)
