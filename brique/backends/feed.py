"""What a backend promises that tells of its changes by itself. Others are looked at again after each pause."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from brique.schema import TableSpec


class Told(NamedTuple):
    """Rows of a table have changed, in a transaction that is committed: those of `keys` (key texts), or any (None)."""

    table: str
    keys: tuple[str, ...] | None


class Feed(Protocol):
    """Changes as they come. It may miss some (while it is not connected): it saves time, and nothing relies on it."""

    def wait(self, seconds: float) -> list[Told]:
        """What was told, after `seconds` at most; empty when nothing was. Raises BackendAway."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class TellsChanges(Protocol):
    """A backend that can have a feed, where it is allowed to make what that needs."""

    def feed(self, tables: Sequence[TableSpec]) -> Feed:
        """Make what is needed and begin to listen. Raises BackendAway; BackendRefused when the account may not."""
        ...
