"""What a spool promises. Every kind of spool passes the same contract suite (tests/spool/contract.py)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Entry:
    """Something to keep. `token` ("" for none) makes it once only: a second entry with it is not kept again."""

    payload: bytes
    token: str = ""


@dataclass(frozen=True)
class Record:
    """An entry and its place: `position` counts 1, 2, 3, ... without gaps."""

    position: int
    payload: bytes
    token: str = ""


class Spool(Protocol):
    """A journal with one writer. Not thread-safe: its owner calls it from one thread."""

    def append(self, entries: Sequence[Entry]) -> list[int]:
        """Keep all `entries` for good with one flush; their positions, in order. All or none is kept.

        On return they survive a crash of the process, of the machine and of its power. An entry whose token is
        known (also within this call) gets the position of the first one. Raises NoRoom when the disk is full
        (nothing was kept, and the spool goes on working when there is room again).
        """
        ...

    def read(self, after: int, limit: int) -> Iterator[Record]:
        """At most `limit` records past position `after`, oldest first."""
        ...

    def find(self, token: str) -> Record | None:
        """The record kept under `token`; None when there is none (or it was forgotten)."""
        ...

    def last(self) -> int:
        """The newest position given out; 0 when nothing was ever kept."""
        ...

    def forget(self, upto: int) -> int:
        """Let go of all records up to position `upto`, tokens included; how many. Positions are never reused."""
        ...

    def name(self) -> str:
        """What tells this spool's positions from those of any other spool: made with it, never changed."""
        ...

    def size_bytes(self) -> int:
        """What the spool takes on disk."""
        ...

    def close(self) -> None:
        """Let go of the files; a second call does nothing."""
        ...
