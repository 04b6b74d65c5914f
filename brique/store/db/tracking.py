"""What a function reads of the data: the contract between reads and the kept representations.

A read is a *question* about one table: the conditions that its rows meet, or the key that a row has; under a limit,
also the order. It is the question that is kept, not the rows that answered it, so rows that were absent are covered.
A row that comes into the answer or leaves it touches the question. Of a row that stays in, the *mask* names the
columns that were looked at. Conditions are not in the mask: whether a row meets them is worked out, before and after.

Two reads see less than their question says. Under a limit only rows up to the last one given count (`bound`): what
lies beyond may change as it likes. And whether any row exists hangs, when one does, on that one row (`witness`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from brique.schema import Value

if TYPE_CHECKING:
    from brique.store.db.access import Stored
    from brique.store.db.cells import Counted
    from brique.store.db.where import Condition

PENDING_COLUMN = "_pending"
"""The name in a mask for "whether a command is laid over the row"."""
KEY_COLUMN = "_key"
"""The name of the key text, in an order."""


@dataclass(frozen=True, slots=True)
class Sort:
    """One column of an order; `nocase`: the case of ASCII letters does not count."""

    column: str
    descending: bool = False
    nocase: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """Rows of `table` that meet all `conditions` and, when it is given, have this `key`. `order`: where it matters."""

    table: str
    conditions: tuple[Condition, ...] = ()
    key: str | None = None
    order: tuple[Sort, ...] = ()


class Read:
    """One question asked. `mask` grows as columns are looked at, also later.

    `last`: the last row given, when none after it was looked at; or `bound`: where it stands in the order. `via`: the
    read of the rows whose columns referred to this key, and those columns. `witness`: see above.
    """

    __slots__ = ("bound", "last", "mask", "question", "via", "witness")

    def __init__(self, question: Question, via: tuple[Read, tuple[str, ...]] | None = None) -> None:
        self.question = question
        self.mask: set[str] = set()
        self.bound: tuple[Value, ...] | None = None
        self.last: Stored | None = None
        self.witness: str | None = None
        self.via = via


class Recorder(Protocol):
    """Is told by a Db what is read, before it is read."""

    def reads(self, question: Question, via: tuple[Read, tuple[str, ...]] | None = None) -> Read:
        """`question` is asked; `via` says that its key was found in these columns of rows of another read."""
        ...

    def counted(self, cell: Counted) -> None:
        """Many rows were counted for these totals, which are not kept yet."""
        ...

    def clock(self, since: datetime, until: datetime) -> None:
        """The time was read; the answer is the same from `since` up to, not including, `until`."""
        ...

    def personal(self) -> None:
        """The user was read: what is made belongs to this user alone."""
        ...

    def setting(self, name: str, value: bytes) -> None:
        """A setting was read; `value` tells what it was from anything else."""
        ...


class Forgetful:
    """A recorder for those who keep nothing, such as commands."""

    def __init__(self) -> None:
        self._read = Read(Question(""))

    def reads(self, question: Question, via: tuple[Read, tuple[str, ...]] | None = None) -> Read:
        return self._read

    def counted(self, cell: Counted) -> None:
        return

    def clock(self, since: datetime, until: datetime) -> None:
        return

    def personal(self) -> None:
        return

    def setting(self, name: str, value: bytes) -> None:
        return
