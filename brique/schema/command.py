"""A command: one intention of a user, with the changes that it asks for. What the spool keeps and replay sends.

There may be a hundred thousand of them in memory, and never a cycle: the garbage collector need not look at them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

Row = dict[str, Any]
"""Store values (`kinds.Value`) by column name. Any, because msgspec knows no union of text and bytes."""


class State(StrEnum):
    """Where a command is in its life. The first three are not settled."""

    KEPT = "kept"
    SENDING = "sending"
    APPLIED = "applied"
    REFUSED = "refused"
    CONFLICT = "conflict"
    UNKNOWN = "unknown"
    WITHDRAWN = "withdrawn"

    @property
    def settled(self) -> bool:
        return self not in (State.KEPT, State.SENDING)

    @property
    def needs_person(self) -> bool:
        return self in (State.REFUSED, State.CONFLICT, State.UNKNOWN)


class Change(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a command asks of one row, in store values.

    Insert: `before` is None and `after` the values given (the key columns may be missing when the backend numbers
    rows; `key` is then `new-` and the command's id). Update: both hold only the columns touched, `before` as the
    author saw them. Delete: `after` is None and `before` the row as the author saw it.
    """

    table: str
    key: str
    before: Row | None = None
    after: Row | None = None


class Effect(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a command asks of a backend beside changes of rows: to call the procedure, program or address `name` with
    these arguments (store values), to send a mail."""

    name: str
    arguments: Row = {}


class Command(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One intention. `id` is its receipt; `at` a UTC stamp; `backend` the one that its changes and effects go to.

    `after`: receipts of commands that must have been applied first; when one of them ends otherwise, this one is
    refused.

    `digest` stands for what was asked, so that the same token with another wish is told apart; `replaces` is the
    receipt of the command in conflict that this one sends anew.
    """

    id: str
    name: str
    user: str
    role: str
    at: str
    backend: str
    changes: tuple[Change, ...]
    arguments: dict[str, object] = {}
    origin: str = "form"
    label: str = ""
    replaces: str = ""
    digest: str = ""
    effects: tuple[Effect, ...] = ()
    after: tuple[str, ...] = ()


def encode(command: Command) -> bytes:
    """`command` as the spool keeps it."""
    return msgspec.msgpack.encode(command)


def decode(payload: bytes) -> Command:
    """The command in a spool record. Raises msgspec.DecodeError when the bytes are not one."""
    return msgspec.msgpack.decode(payload, type=Command)
