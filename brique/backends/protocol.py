"""What a backend promises: rows out, changes in, each change once, and a fault in time when it does not answer.

A backend may be used by two threads at once, one refreshing and one replaying; `abort` may come from any thread.
Every call ends within its timeout: with an answer, with `BackendAway` (nothing can be told now, try later) or with
`BackendRefused` (it answered and said no). Values are store values (`schema.kinds`), in and out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from brique.schema import Catalogue, Change, Effect, Row, TableSpec, Value

BATCH_ROWS = 5_000
"""Rows that `Snapshot.read` hands over at a time."""
MARKER = "brique_cursor"
"""The one table that brique makes in a backend, and only when it may: (stream text, position bigint)."""
SAMPLE_ROWS = 200
"""Rows of each table that a catalogue looks at."""


class Rung(StrEnum):
    """How exactly-once is reached (the ladder of the design): the strongest that the backend allows.

    `watermark`: a mark moved in the transaction that applies a batch. `guard`: the backend itself knows each command
    that it has applied (a sequence in the document, an idempotency key). `compare`: the old values decide.
    `natural-key`: look before inserting. `none`: one try.
    """

    WATERMARK = "watermark"
    GUARD = "guard"
    COMPARE = "compare"
    NATURAL_KEY = "natural-key"
    NONE = "none"


@dataclass(frozen=True)
class Abilities:
    """What was found out about a backend: it decides the rung, and the status page shows it.

    `transactions`: a session is all or nothing. `marker`: the mark can be kept there. `counts`: a change says how
    many rows it changed. `server_keys`: the key that it gives to a new row comes back with it. `flushed`: what it
    has committed is on its disk (None: it does not say).
    """

    transactions: bool = True
    marker: bool = True
    counts: bool = True
    server_keys: bool = True
    flushed: bool | None = None


@dataclass(frozen=True)
class Prepared:
    """What `prepare` achieved, and why it was not more ("" when it is the best there is)."""

    rung: Rung
    reason: str = ""
    abilities: Abilities = Abilities()


class Applied(NamedTuple):
    """What one change did: rows changed (0: the row is gone or not as the author saw it) and, for an insert, the key
    columns as the backend has them. `known`: the backend has said in the same breath how the row stands after it
    (`row`; None: it is gone), so that it need not be read again. `as_wanted`: an update has left the row as it was but
    for what the change asked for, to the letter: no trigger, default or type has made anything else of it."""

    rows: int
    key: Row
    row: Row | None = None
    known: bool = False
    as_wanted: bool = False


AS_WANTED = Applied(1, {}, as_wanted=True)


class Snapshot(Protocol):
    """One consistent read of the whole backend."""

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of what this snapshot shows; None when the backend cannot say."""
        ...

    def mark(self, spec: TableSpec) -> str | None:
        """A text that, found equal in two snapshots, means that the table holds the same rows in both; None: cannot
        say. Much cheaper than reading the rows."""
        ...

    def read(self, spec: TableSpec) -> Iterator[list[tuple[Value, ...]]]:
        """All rows of a table in batches, values in the order of `spec.columns`. Read one table after the other.

        Memory follows one batch. A value that does not fit its column's kind comes as it is.
        Raises BackendAway; BackendRefused when this table cannot be read (gone, no right): others still can.
        """
        ...


@dataclass(frozen=True)
class Tag:
    """The command that the changes of a session belong to: its place in the stream, and its receipt."""

    stream: str
    position: int
    id: str


class Session(Protocol):
    """One transaction: committed when its block ends, rolled back when an exception leaves it.

    After a BackendRefused the transaction is over: leave the block. Changes are visible to this session at once.
    Where `Abilities.transactions` is False there is nothing to roll back: each change is done when its call returns,
    and a session carries one command.
    """

    def identify(self, tag: Tag) -> None:
        """What follows belongs to this command. On the rung `guard` a change of a command that the backend has
        applied before does nothing, and is answered as it was then; elsewhere the tag may be ignored."""
        ...

    def call(self, effect: Effect) -> Row:
        """Have the backend do something that is no change of a row: a stored procedure, a program, a mail. What it
        answers, by name (store values). Raises BackendRefused when it says no, or does not know it."""
        ...

    def insert(self, spec: TableSpec, row: Row) -> Row:
        """Make a row of the columns given; the key columns as the backend has them."""
        ...

    def update(self, spec: TableSpec, key: tuple[Value, ...], before: Row, after: Row) -> int:
        """Put `after` into the row, if its columns still hold `before`; rows changed: 1, or 0 when they do not."""
        ...

    def delete(self, spec: TableSpec, key: tuple[Value, ...], before: Row) -> int:
        """Take the row away, if its columns still hold `before`; rows changed: 1 or 0."""
        ...

    def look(self, spec: TableSpec, key: tuple[Value, ...]) -> Row | None:
        """The row as this transaction sees it; None when there is none."""
        ...

    def apply(self, changes: Sequence[tuple[TableSpec, Change]]) -> list[Applied]:
        """Many changes in their order, as insert, update and delete would do them one by one, but in few round trips.

        Keys must be real ones. A change that changed no row does not stop the others. A BackendRefused may carry the
        fact `index`: which of the changes it was.
        """
        ...

    def move_watermark(self, stream: str, previous: int, position: int) -> bool:
        """Move the stream's mark from `previous` (0: none yet) to `position`; False when it is not at `previous`,
        which means that somebody else moved it: roll back."""
        ...


class Backend(Protocol):
    """A system outside. Connections are opened when needed and again after a fault."""

    name: str

    def ping(self, timeout: float) -> None:
        """Return when the backend answers within `timeout` seconds. Raises BackendAway."""
        ...

    def catalogue(self) -> Catalogue:
        """Its tables and views with a sample of their rows; never brique's own marker table."""
        ...

    def fingerprint(self, tables: Sequence[TableSpec]) -> str | None:
        """A text that, found equal twice, proves that nothing in `tables` changed in between; None: cannot say."""
        ...

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """One consistent read; ends with its block."""
        ...

    def fetch(self, spec: TableSpec, keys: Sequence[str]) -> dict[str, Row]:
        """The current rows of these keys, by key text; keys without a row are missing."""
        ...

    def session(self) -> AbstractContextManager[Session]:
        """One transaction. BackendAway with the fact `at_commit=True`: the commit may or may not have happened.

        Any other fault: nothing of it happened.
        """
        ...

    def watermark(self, stream: str) -> int | None:
        """How far `stream` was applied: 0 when never, None without a marker table."""
        ...

    def prepare(self, marker: bool) -> Prepared:
        """Get ready for replay; make the marker table when `marker` allows it and the account may."""
        ...

    def abort(self) -> None:
        """From another thread: the calls in progress raise BackendAway at once; later calls start afresh."""
        ...

    def close(self) -> None:
        """Close every connection and file. Calls after it raise BackendAway."""
        ...
