"""What a function reads of the data, said as equalities: the contract between reads and the kept representations.

A read depends on a *scheme* (columns) and the values that it asked of them: the row of a key is `("_key",)`, the
orders of a customer `("customer",)`, a whole table `()`. Ranges, text searches, sorts and limits are widened to the
equality part of their question. Of the rows so reached the *mask* names the columns that were looked at (filters,
sort and values); a row that comes into the equality or leaves it touches the dependency whatever the mask.
So rows that were absent are covered: it is the question that is kept, not the rows that answered it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from brique.schema import Value

Scheme = tuple[str, ...]
KEY: Scheme = ("_key",)
"""The scheme of a row asked for by its key text."""
WHOLE: Scheme = ()
"""The scheme of a whole table."""
PENDING_COLUMN = "_pending"
"""The name in a mask for "whether a command is laid over the row"."""


@dataclass(frozen=True)
class ReadDependency:
    """Rows of `table` whose `scheme` columns hold `values` (store values, in order); of them the columns in `mask`.

    `membership`: whether a row that comes or goes touches it too (always so for what `Db` records).
    """

    table: str
    scheme: Scheme
    values: tuple[Value, ...]
    mask: frozenset[str]
    membership: bool = True


class Recorder(Protocol):
    """Is told by a Db what is read, before it is read."""

    def reads(self, table: str, scheme: Scheme, questions: Sequence[tuple[Value, ...]]) -> set[str]:
        """Rows of `table` are asked for whose `scheme` columns hold one of `questions`.

        Returns the set to which the names of the columns are added as they are looked at, also later.
        """
        ...

    def clock(self, since: datetime, until: datetime) -> None:
        """The time was read; the answer is the same from `since` up to, not including, `until`."""
        ...

    def personal(self) -> None:
        """The user was read: what is made belongs to this user alone."""
        ...


class Forgetful:
    """A recorder for those who keep nothing, such as commands."""

    def __init__(self) -> None:
        self._mask: set[str] = set()

    def reads(self, table: str, scheme: Scheme, questions: Sequence[tuple[Value, ...]]) -> set[str]:
        return self._mask

    def clock(self, since: datetime, until: datetime) -> None:
        return

    def personal(self) -> None:
        return
