"""What the store says besides rows: positions, states, commands, ready bytes, the change log."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any

from brique.clock import unstamp
from brique.errors import BriqueError
from brique.schema import Command, Row, State, Value
from brique.store import states
from brique.store.changes import RowChange
from brique.store.commands import Commands, StoredCommand
from brique.store.deeds import Deed, Deeds
from brique.store.ledger import unpacked
from brique.store.outbox import Beside, Group, Outbox
from brique.store.publications import Publications
from brique.store.representations import Representations
from brique.store.snapshots import Snapshots
from brique.store.states import BackendState, TableState


class ChangesForgotten(BriqueError):
    """The change log does not reach back that far: read everything anew. Fact `oldest`: the first seq kept."""

    status = 410
    code = "changes-forgotten"


class LoggedChange(RowChange, frozen=True, gc=False):
    """A row change of the log. `key` None: all rows of the table were replaced. `origin`: position of a command."""

    key: str | None  # type: ignore[assignment]  # only of the log: in a transaction `Tx.reloaded` says it
    at: datetime | None = None
    origin: int | None = None


class Bulletin(Snapshots):
    """Reads that are about no table in particular."""

    def seq(self) -> int:
        """The store's position: the number of its last change."""
        with self.snapshot():
            return int(self._one("SELECT max(seq) FROM change")[0] or 0)

    def data_version(self) -> int:
        """A number that changes when another connection has committed."""
        return int(self._opened().pragma("data_version"))

    def commit_mark(self) -> tuple[object, int]:
        """Something that is different after every commit of another connection, and when the file was replaced; some
        microseconds, outside a snapshot."""
        connection = self._opened()
        return self._inode, int(connection.pragma("data_version"))

    def settled_seq(self) -> int:
        """The settlement number by now: a refresh takes it as `began` before it reads its source."""
        with self.snapshot():
            row = self._one("SELECT value FROM meta WHERE name = 'settlement'")
            return int(row[0]) if row else 0

    def read_back(self, table: str) -> int:
        """The settlement number at which rows of `table` were last read back beside a refresh; 0: a refresh that began
        later has read them all again."""
        with self.snapshot():
            return int(self._one("SELECT coalesce(max(seq), 0) FROM fresh WHERE table_name = ?", (table,))[0])

    def spool_position(self) -> int:
        with self.snapshot():
            row = self._one("SELECT value FROM meta WHERE name = 'spool_position'")
            return int(row[0]) if row else 0

    def meta(self, name: str) -> Value:
        with self.snapshot():
            row = self._one("SELECT value FROM meta WHERE name = ?", (name,))
            value: Value = row[0] if row else None
            return value

    def table_state(self, table: str) -> TableState:
        """Whether a table is loaded, how many rows it has, how old they are. Raises NotFound."""
        with self.snapshot():
            return self._table(table)[0]

    def backend_states(self) -> dict[str, BackendState]:
        with self.snapshot():
            return states.backend_states(self._db)

    def command(self, which: int | str, user: str | None = None) -> StoredCommand | None:
        """A command by its position or its id."""
        with self.snapshot():
            commands = Commands(self._db)
            return commands.at(which) if isinstance(which, int) else commands.by_id(which, user)

    def command_state(self, position: int) -> State | None:
        """Where the command at `position` is in its life; None when it is not there."""
        with self.snapshot():
            row = self._one("SELECT state FROM command WHERE position = ?", (position,))
            return State(row[0]) if row else None

    def outbox(
        self,
        states: Collection[State] = (),
        user: str | None = None,
        backend: str | None = None,
        limit: int = 50,
        after: int | None = None,
        dismissed: bool | None = None,
        table: str | None = None,
        fingerprint: str | None = None,
    ) -> list[StoredCommand]:
        """Commands, newest first; `after` is the position of the last one of the page before."""
        with self.snapshot():
            return Outbox(self._db).find(
                states,
                user=user,
                backend=backend,
                table=table,
                fingerprint=fingerprint,
                limit=limit,
                before=after,
                dismissed=dismissed,
            )

    def command_groups(self, user: str | None = None, backend: str | None = None, limit: int = 50) -> list[Group]:
        """Commands that need a person, by what went wrong with them."""
        with self.snapshot():
            return Outbox(self._db).groups(user=user, backend=backend, limit=limit)

    def untold(self, *, but: str, authors: int = 500, each: int = 1000) -> dict[str, list[StoredCommand]]:
        """By author, commands that need him and of which he was not told, those of backend `but` left out; of at most
        so many authors, and of each so many commands, the oldest."""
        with self.snapshot():
            deeds, commands = Deeds(self._db), Commands(self._db)
            return {
                name: commands.those(deeds.untold(name, but, each))[::-1] for name in deeds.untold_authors(but, authors)
            }

    def told_at(self) -> dict[str, str]:
        """When each author was last told of commands that need him: UTC stamps."""
        with self.snapshot():
            return Deeds(self._db).told_at()

    def command_users(self, limit: int = 200) -> list[str]:
        """Who has given commands that are kept, by name."""
        found = self.query("SELECT DISTINCT user FROM command_count WHERE n > 0 ORDER BY user LIMIT ?", (limit,))
        return [str(user) for (user,) in found]

    def beside(self, item: StoredCommand) -> Beside:
        """What waits for a command, and what it waits for."""
        with self.snapshot():
            return Outbox(self._db).beside(item)

    def deeds(self, positions: Collection[int]) -> dict[int, list[Deed]]:
        """What people have done about these commands, oldest first; those without any are missing."""
        with self.snapshot():
            return Deeds(self._db).of(positions)

    def pending_for(self, backend: str, limit: int, after: int = 0) -> list[StoredCommand]:
        """Commands of a backend that are not settled, oldest first, past a position."""
        with self.snapshot():
            return Commands(self._db).waiting(backend, limit, after)

    def to_send(self, backend: str, limit: int, after: int = 0) -> list[tuple[int, State, Command]]:
        """Position, state and command of what `pending_for` tells: a third of its cost."""
        with self.snapshot():
            return Commands(self._db).to_send(backend, limit, after)

    def applied_for(self, backend: str, limit: int, after: int = 0) -> list[StoredCommand]:
        """Applied commands of a backend, oldest first, past a position."""
        with self.snapshot():
            return Commands(self._db).applied(backend, limit, after)

    def commands_on(self, table: str, key: str) -> list[StoredCommand]:
        """Commands that are laid over a row or mark it, oldest first."""
        with self.snapshot():
            return Commands(self._db).touching(table, key)

    def command_counts(self, user: str | None = None, backend: str | None = None) -> dict[State, int]:
        """How many commands are in each state."""
        with self.snapshot():
            return Commands(self._db).counts(user=user, backend=backend)

    def needing_person(self, user: str | None = None, backend: str | None = None) -> int:
        """How many commands wait for a person to decide."""
        with self.snapshot():
            return Commands(self._db).needing_person(user=user, backend=backend)

    def real_keys(self, temporary: Collection[str]) -> dict[str, str]:
        """The real keys of those temporary ones that have got one."""
        with self.snapshot():
            found: dict[str, str] = {}
            for key in temporary:
                row = self._one("SELECT key FROM renamed WHERE old = ?", (key,))
                if row is not None:
                    found[key] = row[0]
            return found

    def stream_id(self) -> str:
        """What marks of this intranet's commands are kept under in its backends; a store keeps it for life."""
        with self.snapshot():
            if not self._stream_id:
                self._stream_id = str(self.meta("stream_id"))
            return self._stream_id

    def real_key(self, table: str, key: str) -> str:
        """The key that a temporary one has become; any other key as it is."""
        with self.snapshot():
            return Commands(self._db).real_key(table, key)

    def base(self, table: str, key: str) -> Row | None:
        """The source row of a key, without what is pending over it."""
        with self.snapshot():
            found = self._one("SELECT base FROM shadow WHERE table_name = ? AND key = ?", (table, key))
            if found is not None:
                return unpacked(found[0])
            row = self._table(table)[1].get(key)
            return row.values if row else None

    def query(self, sql: str, bound: Sequence[Value] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of one SELECT: as they come inside `snapshot` (exhaust or close it there), else all at once."""
        if self._depth:
            return iter(self._db.execute(sql, tuple(bound)))
        with self.snapshot():
            return iter(self._db.execute(sql, tuple(bound)).fetchall())

    @property
    def representations(self) -> Representations:
        """The ready bytes; use it inside `snapshot`, or for single reads."""
        return Representations(self._opened())

    @property
    def publications(self) -> Publications:
        """What is kept at places outside; likewise."""
        return Publications(self._opened())

    def changes_since(self, seq: int, limit: int = 1000) -> list[LoggedChange]:
        """Changes after number `seq`, oldest first. Raises ChangesForgotten when some of them are not kept."""
        with self.snapshot():
            oldest, newest = self._one("SELECT min(seq), max(seq) FROM change")
            if oldest is not None and seq < oldest - 1:
                raise ChangesForgotten("The change log does not reach back that far.", oldest=oldest, newest=newest)
            return list(self._logged("WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit)))

    def history(self, table: str, key: str, limit: int = 50) -> list[LoggedChange]:
        """The last changes of a row, newest first, as far as the log reaches."""
        with self.snapshot():
            return list(self._logged("WHERE table_name = ? AND key = ? ORDER BY seq DESC LIMIT ?", (table, key, limit)))

    def last_changes(self, table: str, limit: int = 50) -> list[LoggedChange]:
        """The last changes of a table, newest first, as far as the log reaches."""
        with self.snapshot():
            return list(self._logged("WHERE table_name = ? ORDER BY seq DESC LIMIT ?", (table, limit)))

    def change(self, seq: int) -> LoggedChange | None:
        """The change of that number; None when the log does not reach back so far."""
        with self.snapshot():
            return next(self._logged("WHERE seq = ?", (seq,)), None)

    def _logged(self, tail: str, bound: tuple[Any, ...]) -> Iterator[LoggedChange]:
        query = (
            f"SELECT seq, table_name, key, before, after, at, origin, pending_before, pending_after FROM change {tail}"  # noqa: S608
        )
        for seq, table, key, before, after, at, origin, was, now in self._db.execute(query, bound).fetchall():
            yield LoggedChange(table, key, unpacked(before), unpacked(after), was, now, seq, unstamp(at), origin)
