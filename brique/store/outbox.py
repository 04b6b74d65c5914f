"""Commands as the outbox asks for them: by state, author, backend, table and cause; in groups; beside their neighbours.

Each state is walked by an index of its own, newest first, so that a page costs the same however many wait. Of a state
with many commands and an author with few, the shorter of the two is walked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import apsw

from brique.schema import Command, State, decode_command
from brique.store.commands import Commands, StoredCommand

GROUPS_MAX = 50
BESIDE_MAX = 100
_NAMED_MAX = 20
_FOLLOWERS_LOOKED_AT_MAX = 50


@dataclass(frozen=True, slots=True)
class Group:
    """Failures of one cause that nobody has dealt with: how many, and the newest of them."""

    fingerprint: str
    count: int
    newest: int
    state: State
    backend: str
    reason: str
    name: str
    label: str


@dataclass(frozen=True, slots=True)
class Beside:
    """What stands around a command in the queues of its rows: (receipt, position) of those that go first, and of those
    that wait for it; at most 20 each. `before_count`, `after_count`: how many there are, counted to 100 a row."""

    before: tuple[tuple[str, int], ...] = ()
    after: tuple[tuple[str, int], ...] = ()
    before_count: int = 0
    after_count: int = 0


class Outbox:
    """Those reads, on one connection inside a snapshot."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._run: Any = connection.execute  # SQLite's values have no static type
        self._commands = Commands(connection)

    def find(
        self,
        states: Collection[State] = (),
        *,
        user: str | None = None,
        backend: str | None = None,
        table: str | None = None,
        fingerprint: str | None = None,
        limit: int = 50,
        before: int | None = None,
        dismissed: bool | None = None,
    ) -> list[StoredCommand]:
        """Commands, newest first, older than position `before`; no `states` means all."""
        where, bound = "1", list[Any]()
        for column, value in (("user", user), ("backend", backend), ("fingerprint", fingerprint)):
            if value is not None:
                where += f" AND {column} = ?"
                bound.append(value)
        if fingerprint is not None:
            where += " AND fingerprint <> ''"  # without it the index of failures cannot be walked
        if dismissed is not None:
            where += " AND dismissed = ?"
            bound.append(int(dismissed))
        if table is not None:
            where += " AND instr(char(10) || tables || char(10), char(10) || ? || char(10))"
            bound.append(table)
        if before is not None:
            where += " AND position < ?"
            bound.append(before)
        found: list[int] = []
        for index, state in self._walks(states, user, fingerprint):
            state_is = " AND state = ?" if state is not None else ""
            more = [state.value] if state is not None else []
            query = (
                f"SELECT position FROM command {index} WHERE {where}{state_is} "  # noqa: S608
                "ORDER BY position DESC LIMIT ?"
            )
            found += [position for (position,) in self._run(query, (*bound, *more, limit))]
        return self._commands.those(sorted(found, reverse=True)[:limit])

    def _walks(
        self, states: Collection[State], user: str | None, fingerprint: str | None
    ) -> Iterator[tuple[str, State | None]]:
        """The index that each state is walked by; None stands for all of them."""
        if fingerprint is not None:
            for state in states or (None,):
                yield "INDEXED BY command_failed", state
            return
        if not states or len(set(states)) == len(State):
            yield ("NOT INDEXED" if user is None else "INDEXED BY command_user"), None
            return
        of_user = sum(self._commands.counts(user=user).values()) if user is not None else 0
        all_counts = self._commands.counts()
        for state in dict.fromkeys(states):
            count = all_counts.get(state, 0)
            if count:
                shorter = user is not None and of_user < count
                yield ("INDEXED BY command_user" if shorter else "INDEXED BY command_state"), state

    def groups(self, *, user: str | None = None, backend: str | None = None, limit: int = GROUPS_MAX) -> list[Group]:
        """Failures by their cause, the most frequent first."""
        where, bound = "fingerprint <> '' AND dismissed = 0", list[Any]()
        for column, value in (("user", user), ("backend", backend)):
            if value is not None:
                where += f" AND {column} = ?"
                bound.append(value)
        found = self._run(
            "SELECT fingerprint, count(*), max(position) FROM command INDEXED BY command_failed "  # noqa: S608
            f"WHERE {where} GROUP BY fingerprint ORDER BY 2 DESC, 3 DESC LIMIT ?",
            (*bound, limit),
        ).fetchall()
        newest = {item.position: item for item in self._commands.those([position for _, _, position in found])}
        groups = []
        for fingerprint, count, position in found:
            item = newest[position]
            command = item.command
            groups.append(
                Group(
                    fingerprint, count, position, item.state, command.backend, item.reason, command.name, command.label
                )
            )
        return groups

    def beside(self, item: StoredCommand) -> Beside:
        """What waits for `item`, and what it waits for: unsettled commands on its rows, the commands that it names in
        `after`, and those appended with it that name it."""
        if item.state.settled:
            return Beside()
        before = dict(self._on_rows(item, "<"))
        for receipt in item.command.after:
            other = self._commands.by_id(receipt)
            if other is not None and other.state is not State.APPLIED:
                before[other.position] = receipt
        after = dict(self._on_rows(item, ">")) | dict(self._followers(item))
        return Beside(_pairs(before, last=True), _pairs(after), len(before), len(after))

    def _on_rows(self, item: StoredCommand, sign: str) -> list[tuple[int, str]]:
        """(position, receipt) of unsettled commands on the rows of `item`, before or after it, nearest first."""
        order = "DESC" if sign == "<" else "ASC"
        found: dict[int, str] = {}
        for table, key in dict.fromkeys((change.table, change.key) for change in item.command.changes[:50]):
            key = self._commands.real_key(table, key)
            for position, receipt in self._run(
                "SELECT o.position, c.id FROM overlay o CROSS JOIN command c ON c.position = o.position "  # noqa: S608
                f"WHERE o.table_name = ? AND o.key = ? AND o.position {sign} ? AND o.mark = 0 "
                f"AND c.state IN ('kept', 'sending') ORDER BY o.position {order} LIMIT ?",
                (table, key, item.position, BESIDE_MAX),
            ):
                found[position] = receipt
        return sorted(found.items(), reverse=sign == "<")

    def _followers(self, item: StoredCommand) -> list[tuple[int, str]]:
        """Unsettled commands appended right after `item` that name it in `after`."""
        records = self._run(
            "SELECT position, id, payload FROM command WHERE position > ? AND state IN ('kept', 'sending') "
            "ORDER BY position LIMIT ?",
            (item.position, _FOLLOWERS_LOOKED_AT_MAX),
        ).fetchall()
        return [
            (position, receipt)
            for position, receipt, payload in records
            if position <= item.position + _FOLLOWERS_LOOKED_AT_MAX and item.command.id in _after(payload)
        ]


def _after(payload: bytes) -> tuple[str, ...]:
    command: Command = decode_command(payload)
    return command.after


def _pairs(side: dict[int, str], *, last: bool = False) -> tuple[tuple[str, int], ...]:
    """(receipt, position) of the nearest ones, in the order of the spool."""
    found = sorted(side.items())
    return tuple((receipt, position) for position, receipt in (found[-_NAMED_MAX:] if last else found[:_NAMED_MAX]))
