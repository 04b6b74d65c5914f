"""What a spool promises. Every kind of spool passes the same contract suite (tests/spool/contract.py).

**Positions and streams.** A spool numbers what it keeps 1, 2, 3, ... and has a name, made once. Name and position
together are what a backend's watermark speaks of ("of stream N, everything up to position p has been dealt with").

**After a restore** the spool is older than what the backends have seen: the stream that went on after the backup has
given positions that this spool never knew, and a mark that counts them as done. So a restored spool takes a new name,
and remembers the old one and its own last position at that moment (`ancestors`). Its positions go on from there; no
mark of the new name exists yet, so nothing new is taken for done. Replay owes it this, once for each backend, before
the first batch goes out under the new name:

- with a watermark: of each ancestor (name, last) read the mark; an unsettled command at a position up to
  min(mark, last) of the ancestor whose range it is in was dealt with in the time that the backup does not know. It was
  applied there, or refused there: where the row shows what the command wanted it is `applied`, else `unknown`, never
  sent again;
- without one: every unsettled command up to `last` of the newest ancestor may have been sent: doubtful, as one that is
  `sending` after a crash;
- a mark of the spool's *own* name beyond `last()` means that somebody copied a data folder by hand: stop and ask.
"""

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
    """An entry and its place: `position` counts 1, 2, 3, ..."""

    position: int
    payload: bytes
    token: str = ""


@dataclass(frozen=True)
class Damage:
    """The records from `first` to `position` were kept, and cannot be read any more. `file`: where they should be.

    It stands in the place of these records: who reads on goes on after `position`.
    """

    first: int
    position: int
    reason: str
    file: str

    def __str__(self) -> str:
        is_one = self.first == self.position
        where = f"position {self.first}" if is_one else f"positions {self.first} to {self.position}"
        return f"{where} in {self.file}: {self.reason}"


@dataclass(frozen=True)
class Ancestor:
    """The stream that a restored spool had been: its name, and the last position that the backup knew of."""

    name: str
    last: int


class Spool(Protocol):
    """A journal with one writer. Not thread-safe: its owner calls it from one thread at a time."""

    def append(self, entries: Sequence[Entry], *, urgent: bool = False) -> list[int]:
        """Keep all `entries` for good with one flush; their positions, in order. All or none is kept.

        On return they survive a crash of the process, of the machine and of its power. An entry whose token is
        known (also within this call) gets the position of the first one. `urgent` entries, which let the spool
        shrink in the end, may use the room that is held back from others.

        Raises NoRoom when they cannot be kept (disk full, read only or at fault, a limit reached): nothing was kept,
        reading goes on, and so does keeping as soon as the cause has gone, without any other call. Raises TooMuch
        for a payload above the limit, Busy when the spool is closed.
        """
        ...

    def read(self, after: int, limit: int) -> Iterator[Record | Damage]:
        """At most `limit` records past position `after`, oldest first, damage in the place of what cannot be read.

        Every position past `after` is accounted for, but those that were forgotten or that `compact` let go of.
        """
        ...

    def find(self, token: str) -> Record | None:
        """The record kept under `token`; None when there is none (or it was forgotten)."""
        ...

    def last(self) -> int:
        """The newest position given out; 0 when nothing was ever kept."""
        ...

    def skip_to(self, position: int) -> None:
        """Never give out `position` or one before it again: somebody knows them, though this spool does not."""
        ...

    def forget(self, upto: int) -> int:
        """Let go of records up to position `upto`, tokens included; how many. Positions are never reused.

        What is let go of at once, and what only when its neighbours may go too, is the spool's own affair. It needs
        no room on the disk.
        """
        ...

    @property
    def payload_bytes_max(self) -> int:
        """The largest payload that is taken when it is not urgent."""
        ...

    def name(self) -> str:
        """What tells this spool's positions from those of any other spool: made with it, new after a restore."""
        ...

    def ancestors(self) -> tuple[Ancestor, ...]:
        """The streams that this spool was before it was restored from a backup, oldest first; see above."""
        ...

    def size_bytes(self) -> int:
        """What the spool takes on disk."""
        ...

    def close(self) -> None:
        """Let go of the files; a second call does nothing."""
        ...
