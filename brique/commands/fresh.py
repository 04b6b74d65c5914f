"""Two people at one row at the same moment: whoever comes second decides anew, before anything is kept.

A command is made from the rows as its author's process reads them; until it reaches the engine, another one may have
been laid over them. A command given as *fresh* is then turned away, and its giver makes it again from the rows as they
are now: a counter counts both visitors, a form shows what the other one has typed.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from brique.errors import Busy, Stale
from brique.schema import PENDING, Change, Command
from brique.store import Tx

_TRIES_MAX = 60
_PAUSE_SECONDS_MAX = 0.05
Answer = TypeVar("Answer")


def check_fresh(tx: Tx, command: Command, laid: set[tuple[str, str]]) -> None:
    """Raises Stale unless the rows that `command` changes are as its author saw them. `laid`: `rows_of` the commands
    that come before it in the same batch, which `tx` does not show yet."""
    for change in command.changes:
        if change.before is None or change.table not in tx.tables:
            continue
        row = tx.row(change.table, change.key) if laid.isdisjoint(_names(tx, change)) else None
        if row is None or any(row.values.get(name) != value for name, value in change.before.items()):
            raise Stale("The row has changed meanwhile.", table=change.table, key=change.key, retry=True)


def rows_of(tx: Tx | None, command: Command) -> set[tuple[str, str]]:
    """(table, key) of the rows that `command` changes or makes, by every name that they have; without `tx` as it names
    them itself."""
    return {name for change in command.changes for name in _names(tx, change)}


def _names(tx: Tx | None, change: Change) -> list[tuple[str, str]]:
    own = change.table, change.key
    if tx is None or change.before is None or not change.key.startswith(PENDING):
        return [own]
    return [own, (change.table, tx.commands.real_key(*own))]


async def until_fresh(give: Callable[[], Awaitable[Answer]]) -> Answer:
    """What `give` answers, made again as long as somebody else was quicker. Raises Busy when that does not end."""
    for attempt in range(_TRIES_MAX):
        try:
            return await give()
        except Stale as fault:
            if not fault.facts.get("retry"):
                raise
        await anyio.sleep(random.random() * min(_PAUSE_SECONDS_MAX, 0.002 * attempt))
    raise Busy("Too many people change this row at the same moment.", try_this="try again in a moment")
