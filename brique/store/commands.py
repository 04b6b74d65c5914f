"""The command projection: what became of each command of the spool, asked by page, outbox and replay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apsw
import msgspec

from brique.schema import PENDING, Command, Row, State, decode_command, encode_command
from brique.store.deeds import fingerprint
from brique.store.spans import Span, among, count_in, spans_of

WAITING = (State.KEPT, State.SENDING)
_STATES = {state.value: state for state in State}
_IS_KEPT = "+state = 'kept'"
_IS_WAITING = "+state IN ('kept', 'sending')"  # with a plus: the index on states would be read while it is written
_decode = msgspec.msgpack.Decoder(Command).decode
NEEDS_PERSON = tuple(state for state in State if state.needs_person)
_FIELDS = (
    "position, state, reason, tries, next_try, settled_seq, settled_at, dismissed, theirs, keys, fingerprint, payload"
)


def _listed(some: Sequence[int] | Sequence[str]) -> str:
    return msgspec.json.encode(list(some)).decode()


def tables_of(command: Command) -> str:
    """The names of the tables that a command changes, one a line."""
    changes = command.changes
    if len(changes) == 1:
        return changes[0].table
    return "\n".join(sorted({change.table for change in changes}))


@dataclass(frozen=True, slots=True)
class StoredCommand:
    """A command and where it is in its life. Its changes bear the real keys of rows that have got one since.

    `next_try` and `settled_at` are UTC stamps; `theirs` holds rows as the backend had them, by "table/key";
    `keys` the real keys that the backend gave, by temporary key; `dismissed`: a person has dealt with it.
    """

    position: int
    command: Command
    state: State
    reason: str = ""
    tries: int = 0
    next_try: str | None = None
    settled_seq: int | None = None
    settled_at: str | None = None
    dismissed: bool = False
    theirs: Mapping[str, Row | None] | None = None
    keys: Mapping[str, str] | None = None
    cause: str = ""
    """What failures of the same cause have in common, "" of a command that needs nobody."""


class Commands:
    """Reads of the command tables on one connection."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._run: Any = connection.execute  # SQLite's values have no static type

    def at(self, position: int) -> StoredCommand | None:
        return next(self._select("WHERE position = ?", (position,)), None)

    def oldest(self) -> int:
        """The position of the oldest command that is left; 0 when there is none."""
        row = self._run("SELECT min(position) FROM command").fetchone()
        return int(row[0] or 0)

    def count_between(self, first: int, last: int) -> int:
        """How many commands are left from position `first` to `last`."""
        row = self._run("SELECT count(*) FROM command WHERE position BETWEEN ? AND ?", (first, last)).fetchone()
        return int(row[0])

    def positions_upto(self, last: int) -> list[int]:
        """The positions of the commands that are left up to `last`."""
        return [row[0] for row in self._run("SELECT position FROM command WHERE position <= ?", (last,))]

    def by_id(self, identity: str, user: str | None = None) -> StoredCommand | None:
        """The command with this id (of `user`, when given)."""
        if user is None:
            return next(self._select("WHERE id = ? ORDER BY position LIMIT 1", (identity,)), None)
        return next(self._select("WHERE id = ? AND user = ? ORDER BY position LIMIT 1", (identity, user)), None)

    def waiting(self, backend: str, limit: int, after: int = 0) -> list[StoredCommand]:
        """Commands of a backend that are not settled, oldest first, past position `after`."""
        tail = "WHERE backend = ? AND state IN ('kept', 'sending') AND position > ? ORDER BY position LIMIT ?"
        return list(self._select(tail, (backend, after, limit)))

    def to_send(self, backend: str, limit: int, after: int = 0) -> list[tuple[int, State, Command]]:
        """What `waiting` tells, as far as sending needs it: position, state, command."""
        query = (
            "SELECT position, state, payload FROM command WHERE backend = ? AND state IN ('kept', 'sending') "
            "AND position > ? ORDER BY position LIMIT ?"
        )
        found = self._run(query, (backend, after, limit)).fetchall()
        renewed = self.renewed
        return [(position, _STATES[state], renewed(_decode(payload))) for position, state, payload in found]

    def applied(self, backend: str, limit: int, after: int = 0) -> list[StoredCommand]:
        """Applied commands of a backend, oldest first, past position `after`: what a rewind looks at."""
        tail = "WHERE backend = ? AND state = 'applied' AND position > ? ORDER BY position LIMIT ?"
        return list(self._select(tail, (backend, after, limit)))

    def those(self, positions: Sequence[int]) -> list[StoredCommand]:
        """The commands at these positions, newest first."""
        if not positions:
            return []
        tail = "WHERE position IN (SELECT value FROM json_each(?)) ORDER BY position DESC"
        return list(self._select(tail, (_listed(positions),)))

    def touching(self, table: str, key: str, limit: int = 50) -> list[StoredCommand]:
        """Commands whose changes are laid over this row or mark it, oldest first."""
        tail = (
            "WHERE position IN (SELECT position FROM overlay WHERE table_name = ? AND key = ?) "
            "ORDER BY position LIMIT ?"
        )
        return list(self._select(tail, (table, key, limit)))

    def counts(self, *, user: str | None = None, backend: str | None = None) -> dict[State, int]:
        """How many commands are in each state; states without any are left out."""
        where, bound = "1", []
        for column, value in (("user", user), ("backend", backend)):
            if value is not None:
                where += f" AND {column} = ?"
                bound.append(value)
        found = self._run(
            f"SELECT state, sum(n) FROM command_count WHERE {where} GROUP BY state",  # noqa: S608
            bound,
        )
        return {State(state): n for state, n in found if n}

    def needing_person(self, *, user: str | None = None, backend: str | None = None) -> int:
        """How many refused, conflicting or unknown commands nobody has dealt with, counted to 10,000."""
        where, bound = "dismissed = 0", []
        for column, value in (("user", user), ("backend", backend)):
            if value is not None:
                where += f" AND {column} = ?"
                bound.append(value)
        states = ", ".join(f"'{state.value}'" for state in NEEDS_PERSON)
        row = self._run(
            f"SELECT count(*) FROM (SELECT 1 FROM command WHERE state IN ({states}) AND {where} LIMIT 10000)",  # noqa: S608
            bound,
        ).fetchone()
        return int(row[0])

    def real_key(self, table: str, key: str) -> str:
        """The key that the backend gave to the row with this temporary key; any other key as it is."""
        if not key.startswith(PENDING):
            return key
        row = self._run("SELECT key FROM renamed WHERE table_name = ? AND old = ?", (table, key)).fetchone()
        return str(row[0]) if row else key

    def real_keys(self, table: str, keys: Sequence[str]) -> dict[str, str]:
        """The keys that the backend gave to the rows with these temporary ones; those without one yet are missing."""
        found = self._run(
            "SELECT old, r.key FROM json_each(?) AS j CROSS JOIN renamed r WHERE r.table_name = ? AND old = j.value",
            (_listed(keys), table),
        )
        return dict(found.fetchall())

    def renewed(self, command: Command) -> Command:
        """`command` with temporary keys replaced by the real ones known by now."""
        if not any(change.key.startswith(PENDING) for change in command.changes):
            return command
        changes = tuple(
            msgspec.structs.replace(change, key=self.real_key(change.table, change.key)) for change in command.changes
        )
        return msgspec.structs.replace(command, changes=changes)

    def _select(self, tail: str, bound: tuple[Any, ...]) -> Iterator[StoredCommand]:
        for record in self._run(f"SELECT {_FIELDS} FROM command {tail}", bound).fetchall():  # noqa: S608
            yield self._stored(record)

    def _stored(self, record: tuple[Any, ...]) -> StoredCommand:
        position, state, reason, tries, next_try, seq, settled_at, dismissed, theirs, keys, cause, payload = record
        return StoredCommand(
            position,
            self.renewed(decode_command(payload)),
            State(state),
            reason,
            tries,
            next_try,
            seq,
            settled_at,
            bool(dismissed),
            msgspec.msgpack.decode(theirs) if theirs is not None else None,
            msgspec.msgpack.decode(keys) if keys is not None else None,
            cause,
        )


class CommandTable:
    """Writes of the command tables; the writer's transaction owns the connection."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._run: Any = connection.execute  # SQLite's values have no static type
        self._run_many = connection.executemany
        self.counted: Counter[tuple[str, str, str]] = Counter()
        """(state, backend, user): what the counts have changed by and `write_counts` has yet to write."""

    def state(self, position: int) -> State | None:
        row = self._run("SELECT state FROM command WHERE position = ?", (position,)).fetchone()
        return State(row[0]) if row else None

    def states(self, positions: Sequence[int]) -> dict[int, State]:
        found = self._run(
            "SELECT position, state FROM command WHERE position IN (SELECT value FROM json_each(?))",
            (_listed(positions),),
        )
        return {position: _STATES[state] for position, state in found}

    def add_many(self, given: Sequence[tuple[int, Command]]) -> list[tuple[int, Command]]:
        """Note commands, kept, oldest first; those of them at whose position there was none already."""
        newest = self._run("SELECT max(position) FROM command").fetchone()[0] or 0
        if given[0][0] <= newest:
            known = self.states([position for position, _ in given])
            given = [item for item in given if item[0] not in known]
        self._run_many(
            "INSERT INTO command(position, id, backend, user, at, state, tables, payload) "
            "VALUES (?, ?, ?, ?, ?, 'kept', ?, ?)",
            [
                (position, one.id, one.backend, one.user, one.at, tables_of(one), encode_command(one))
                for position, one in given
            ],
        )
        for (backend, user), count in Counter((one.backend, one.user) for _, one in given).items():
            self._count(backend, user, State.KEPT, count)
        return list(given)

    def move(self, position: int, state: State) -> None:
        """Put the command into `state` and keep the counts."""
        old, backend, user = self._run(
            "SELECT state, backend, user FROM command WHERE position = ?", (position,)
        ).fetchone()
        if old == state:
            return
        self._run("UPDATE command SET state = ? WHERE position = ?", (state.value, position))
        self._count(backend, user, State(old), -1)
        self._count(backend, user, state, 1)

    def waiting(self, positions: Sequence[int]) -> dict[int, State]:
        found = self._run(
            "SELECT position, state FROM command WHERE state IN ('kept', 'sending') "
            "AND position IN (SELECT value FROM json_each(?)) ORDER BY position",
            (_listed(positions),),
        )
        return {position: _STATES[state] for position, state in found}

    def count_waiting(self, backend: str, spans: Sequence[Span]) -> int:
        """How many commands of `backend` in these spans have not settled."""
        return sum(
            self._run(
                f"SELECT count(*) FROM command WHERE backend = ? AND state IN ('kept', 'sending') AND {where}",  # noqa: S608
                (backend, *bound),
            ).fetchone()[0]
            for where, bound in among(spans)
        )

    def send(self, positions: Sequence[int]) -> None:
        """Put those that are kept into the state `sending`, many at once."""
        spans = spans_of(sorted(positions))
        for (_, backend, user), count in self._count_within(spans, _IS_KEPT).items():
            self._count(backend, user, State.KEPT, -count)
            self._count(backend, user, State.SENDING, count)
        for where, bound in among(spans):
            self._run(f"UPDATE command SET state = 'sending' WHERE {_IS_KEPT} AND {where}", bound)  # noqa: S608

    def settled(
        self,
        position: int,
        state: State,
        seq: int,
        at: str,
        reason: str,
        theirs: Mapping[str, Row | None],
        keys: Mapping[str, str],
    ) -> None:
        """Put the command at `position` into `state`, which ends its life, and keep the counts."""
        old, backend, user = self._run(
            "SELECT state, backend, user FROM command WHERE position = ?", (position,)
        ).fetchone()
        self._run(
            "UPDATE command SET state = ?, settled_seq = ?, settled_at = ?, reason = ?, fingerprint = ?, theirs = ?, "
            "keys = ?, dismissed = 0, next_try = NULL WHERE position = ?",
            (
                state.value,
                seq,
                at,
                reason,
                f"{state}.{backend}.{fingerprint(reason)}" if state.needs_person else "",
                msgspec.msgpack.encode(dict(theirs)) if theirs else None,
                msgspec.msgpack.encode(dict(keys)) if keys else None,
                position,
            ),
        )
        self._count(backend, user, State(old), -1)
        self._count(backend, user, state, 1)

    def applied(self, positions: Sequence[int], seq: int, at: str) -> list[int]:
        """Put those that have not settled into the state `applied`, many at once; their positions."""
        ended = list(self.waiting(positions))
        spans = spans_of(ended)
        self._apply(spans, self._count_within(spans), seq, at)
        return ended

    def applied_within(self, spans: Sequence[Span], seq: int, at: str) -> Sequence[Span]:
        """`applied` for all that is in `spans`; the spans of those that had not settled."""
        counted = self._count_within(spans)
        if counted.total() < count_in(spans):
            query = f"SELECT position FROM command WHERE {_IS_WAITING} AND "  # noqa: S608
            waiting = (self._run(query + where, bound) for where, bound in among(spans))
            spans = spans_of(sorted(position for found in waiting for (position,) in found))
        self._apply(spans, counted, seq, at)
        return spans

    def _count_within(self, spans: Sequence[Span], are: str = _IS_WAITING) -> Counter[tuple[str, str, str]]:
        """How many of these commands have not settled, or `are` otherwise, by state, backend and user."""
        found: Counter[tuple[str, str, str]] = Counter()
        for where, bound in among(spans):
            query = f"SELECT state, backend, user, count(*) FROM command WHERE {are} AND {where} GROUP BY 1, 2, 3"  # noqa: S608
            for state, backend, user, count in self._run(query, bound):
                found[(state, backend, user)] += count
        return found

    def _apply(self, spans: Sequence[Span], counted: Counter[tuple[str, str, str]], seq: int, at: str) -> None:
        for (state, backend, user), count in counted.items():
            self._count(backend, user, _STATES[state], -count)
            self._count(backend, user, State.APPLIED, count)
        for where, bound in among(spans):
            self._run(
                "UPDATE command SET state = 'applied', settled_seq = ?, settled_at = ?, reason = '', theirs = NULL, "  # noqa: S608
                f"keys = NULL, dismissed = 0, next_try = NULL WHERE {_IS_WAITING} AND {where}",
                (seq, at, *bound),
            )

    def name(self, keys: Sequence[tuple[int, Mapping[str, str]]]) -> None:
        """Note the real keys that the backend gave to rows of these commands."""
        self._run_many(
            "UPDATE command SET keys = ? WHERE position = ?",
            [(msgspec.msgpack.encode(dict(given)), position) for position, given in keys],
        )

    def tried(self, position: int, reason: str, next_try: str | None) -> None:
        self._run(
            "UPDATE command SET tries = tries + 1, reason = ?, next_try = ? WHERE position = ?",
            (reason, next_try, position),
        )

    def dismiss(self, position: int) -> None:
        self._run("UPDATE command SET dismissed = 1 WHERE position = ?", (position,))

    def reopened(self, position: int) -> None:
        self._run("UPDATE command SET settled_seq = NULL, settled_at = NULL WHERE position = ?", (position,))

    def forget(self, before: str, limit: int) -> int:
        """Remove up to `limit` commands that settled before that stamp and bind nothing any more."""
        needy = ", ".join(f"'{state.value}'" for state in NEEDS_PERSON)
        found = self._run(
            "SELECT position, backend, user, state FROM command WHERE settled_at < ? "  # noqa: S608
            f"AND (dismissed = 1 OR state NOT IN ({needy})) "
            "AND NOT EXISTS (SELECT 1 FROM overlay WHERE overlay.position = command.position) "
            "ORDER BY settled_at LIMIT ?",
            (before, limit),
        ).fetchall()
        for position, backend, user, state in found:
            self._run("DELETE FROM command WHERE position = ?", (position,))
            self._run("DELETE FROM deed WHERE position = ?", (position,))
            self._count(backend, user, State(state), -1)
        return len(found)

    def _count(self, backend: str, user: str, state: State, by: int) -> None:
        self.counted[(state.value, backend, user)] += by

    def describe_all(self) -> None:
        """Note the tables and the cause of commands that an older brique has kept."""
        records = self._run("SELECT position, state, backend, reason, payload FROM command").fetchall()
        self._run_many(
            "UPDATE command SET tables = ?, fingerprint = ? WHERE position = ?",
            [
                (
                    tables_of(decode_command(payload)),
                    f"{state}.{backend}.{fingerprint(reason)}" if State(state).needs_person else "",
                    position,
                )
                for position, state, backend, reason, payload in records
            ],
        )

    def write_counts(self) -> None:
        """Write what the counts have changed by; part of every commit."""
        self._run_many(
            "INSERT INTO command_count(state, backend, user, n) VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET n = n + excluded.n",
            [(*which, by) for which, by in self.counted.items() if by],
        )
        self.counted.clear()
