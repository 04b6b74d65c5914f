"""What the engine may do to the store, all of it inside one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

from brique import errors
from brique.clock import stamp
from brique.schema import Command, Row, State, Value, decode_command
from brique.store import states
from brique.store.changes import RowChange
from brique.store.commands import Commands, CommandTable
from brique.store.deeds import Deeds
from brique.store.folding import Folding
from brique.store.laying import lay_changes
from brique.store.ledger import Ledger, place
from brique.store.naming import Naming
from brique.store.publications import Publications
from brique.store.representations import Representations
from brique.store.rows import StoredRow, same_row
from brique.store.spans import Span

if TYPE_CHECKING:
    from brique.store.writer import Store

_FOLDED_TOGETHER_MAX = 5_000
"""So many source rows are folded as a set, whatever is laid over them: to ask which of them have anything laid over
them would mean to look at all that waits."""
F = TypeVar("F", bound=Callable[..., Any])


def _whole(method: F) -> F:
    """A method that fails half-way spoils its transaction: it can then only be rolled back (see `Tx.attempt`)."""

    @wraps(method)
    def guarded(tx: Tx, *args: Any, **kwargs: Any) -> Any:
        if tx.spoiled:
            raise RuntimeError("this transaction has failed and can only be rolled back")
        try:
            return method(tx, *args, **kwargs)
        except errors.NotFound:
            raise
        except BaseException:
            tx.spoiled = True
            raise

    return cast(F, guarded)


class Tx:
    """One transaction on the store. Made by `Store.transaction`; nothing of it is seen before its commit."""

    def __init__(self, store: Store) -> None:
        self.spoiled = False
        self.now = stamp(store.clock.now())
        """When the transaction began, as the store writes it."""
        self.reloaded: set[str] = set()
        """Tables whose rows were all replaced in this transaction: `changes` does not list their rows."""
        self.representations = Representations(store.connection)
        self.publications = Publications(store.connection)
        self.commands = Commands(store.connection)
        self.deeds = Deeds(store.connection)
        self._store = store
        self._run: Any = store.connection.execute  # SQLite's values have no static type
        self._table = CommandTable(store.connection)
        self._ledger = Ledger(store.connection)
        self._folding = Folding(store, self._ledger)
        self._naming = Naming(store, self._ledger, self._folding, self.commands)

    # -- commands ---------------------------------------------------------------------------------------------------

    def lay(self, position: int, command: Command) -> None:
        """`lay_many` of one."""
        self.lay_many([(position, command)])

    @_whole
    def lay_many(self, given: Sequence[tuple[int, Command]]) -> None:
        """Insert commands, kept, oldest first, and lay their changes; positions already there are left alone."""
        if added := self._table.add_many(given):
            self._lay_changes(added, anew=True)

    def _lay_changes(self, given: Sequence[tuple[int, Command]], *, anew: bool = False) -> None:
        lay_changes(given, self._store.specs, self.commands, self._ledger, self._folding, anew=anew)

    @_whole
    def settle(
        self,
        position: int,
        state: State,
        *,
        reason: str = "",
        theirs: Mapping[str, Row | None] | None = None,
        keys: Mapping[str, str] | None = None,
    ) -> None:
        """End the command's life. Does nothing when it is in that state already.

        Applied: what it laid stays until it is let go, under the real keys that `keys` gives for temporary ones.
        Refused, conflict, unknown: lifted, and the rows marked until `dismiss`. Withdrawn: lifted.
        `theirs`: rows as the backend has them, by "table/key". Raises NotFound for a position that is not there.
        """
        if not state.settled:
            raise ValueError(f"{state} does not end a command")
        old = self._known(position)
        if old is state:
            return
        keys = keys or {}
        seq = self._store.next_settlement()
        self._table.settled(position, state, seq, self.now, reason, theirs or {}, keys)
        renamed: set[str] = set()
        self._folding.again(self._naming.rename(position, keys, renamed), position)
        self._naming.follow(renamed)
        if state is State.APPLIED and not old.settled:
            touched = self._ledger.settled(position, seq)
        elif state in (State.APPLIED, State.WITHDRAWN):
            touched = self._ledger.lift(position)
        else:
            touched = self._ledger.mark(position)
        self._folding.again(touched, position)

    @_whole
    def applied(self, keys: Mapping[int, Mapping[str, str]], shown: Collection[int] = ()) -> list[int]:
        """End the lives of many commands at once, as applied. `keys`: by position, the real keys of temporary ones.

        What those in `shown` have laid goes with it: their rows are taken over in this transaction. Positions that are
        not there, or whose command has ended, are left alone; the others are returned.
        """
        seq = self._store.next_settlement()
        ended = self._table.applied(list(keys), seq, self.now)
        named = [position for position in ended if keys[position]]
        self._table.name([(position, keys[position]) for position in named])
        renamed: set[str] = set()
        for position in named:
            self._folding.again(self._naming.rename(position, keys[position], renamed), position)
        self._naming.follow(renamed)
        gone = [position for position in ended if position in shown]
        stay = [position for position in ended if position not in shown]
        for position in stay:
            self._folding.again(self._ledger.settled(position, seq), position)
        touched = self._ledger.lift_many(gone)
        self._ledger.freshen(touched, seq)
        self._folding.again(touched)
        return ended

    @_whole
    def applied_as_wanted(self, spans: Sequence[Span]) -> None:
        """End the lives of many commands at once, as applied: their source rows are what they were, with what these
        commands have laid in them, and before them others that were applied and not let go. A row that is not in the
        copy comes with the next refresh. Commands that are not there, or have ended, are left alone."""
        seq = self._store.next_settlement()
        ended = self._table.applied_within(spans, seq, self.now)
        for table, rows in self._ledger.take_spans(ended).items():
            for key, before in self._ledger.take_applied_over(table, rows).items():
                rows[key] = sorted([*before, *rows[key]], key=place)
            self._ledger.freshen_table(table, rows, seq)
            self._folding.absorb(table, rows)

    def count_waiting(self, backend: str, spans: Sequence[Span]) -> int:
        """How many commands of `backend` at positions in these spans have not settled."""
        return self._table.count_waiting(backend, spans)

    def state_of(self, position: int) -> State | None:
        """Where the command at `position` is in its life; None when it is not there."""
        return self._table.state(position)

    def states_of(self, positions: Sequence[int]) -> dict[int, State]:
        """Where these commands are in their lives; those that are not there are missing."""
        return self._table.states(positions)

    def _known(self, position: int) -> State:
        state = self._table.state(position)
        if state is None:
            raise errors.NotFound(f"There is no command at position {position}.")
        return state

    def waiting(self, positions: Sequence[int]) -> dict[int, State]:
        """Those of these commands that have not settled, with their states, oldest first."""
        return self._table.waiting(positions)

    @_whole
    def sending(self, positions: Sequence[int]) -> None:
        """These commands are on their way to the backend, as far as they are kept."""
        self._table.send(positions)

    @_whole
    def tried(self, positions: Sequence[int], reason: str, next_try: datetime | str | None) -> None:
        """An attempt has failed in a way that is worth another: the commands wait again, until `next_try`."""
        when = stamp(next_try) if isinstance(next_try, datetime) else next_try
        for position in positions:
            if not self._known(position).settled:
                self._table.move(position, State.KEPT)
                self._table.tried(position, reason, when)

    @_whole
    def reopen(self, position: int) -> None:
        """Kept again: a command on its way that certainly did not arrive, or an applied one that the backend forgot
        (its changes are laid again)."""
        state = self._known(position)
        if state is State.SENDING:
            self._table.move(position, State.KEPT)
        if state is not State.APPLIED:
            return
        self._folding.again(self._ledger.lift(position), position)
        self._table.move(position, State.KEPT)
        self._table.reopened(position)
        stored = self._run("SELECT payload FROM command WHERE position = ?", (position,)).fetchone()
        command = decode_command(stored[0])
        named = [change for change in self.commands.renewed(command).changes if change.before is None]
        over = self._naming.forget(position, command)
        self._lay_changes([(position, command)])
        over.update(at for change in named for at in self._ledger.positions_over(change.table, change.key))
        for later in sorted(over - {position}):
            self._lay_again(later)

    def _lay_again(self, position: int) -> None:
        """Lay a command that waits over the rows by the names that they have now."""
        if self._known(position).settled:
            return
        stored = self._run("SELECT payload FROM command WHERE position = ?", (position,)).fetchone()
        self._folding.again(self._ledger.lift(position), position)
        self._lay_changes([(position, decode_command(stored[0]))])

    @_whole
    def dismiss(self, position: int) -> None:
        """A person has dealt with a refused, conflicting or unknown command: its rows bear no mark any more."""
        if not self._known(position).needs_person:
            return
        self._table.dismiss(position)
        self._folding.again(self._ledger.lift(position), position)

    @_whole
    def forget_settled(self, before: datetime, limit: int = 1000) -> int:
        """Remove up to `limit` commands that settled before that moment and bind nothing any more; how many."""
        return self._table.forget(stamp(before), limit)

    # -- rows from the source -----------------------------------------------------------------------------------------

    @_whole
    def apply_base(
        self,
        table: str,
        upserts: Sequence[tuple[str, Row]],
        deletes: Sequence[str] = (),
        *,
        began: int | None = None,
    ) -> None:
        """Take over source rows by key. Rows under pending changes change beneath them; the others directly.

        `began`: the settlement number (`Reader.settled_seq`) when reading the source began; rows read back since then
        are newer and stay. Without it every row counts as newest.
        """
        rows = self._store.rows(table)
        newer = self._ledger.fresh_since(table, began) if began is not None else frozenset()
        given: list[tuple[str, Row | None]] = [*upserts, *((key, None) for key in deletes)]
        if len(given) <= _FOLDED_TOGETHER_MAX:
            for key, row in given:
                if key not in newer:
                    self._folding.rebase(table, key, row)
            return
        special = self._ledger.keys_in(table) | self._folding.waits(table)
        for key, row in given:
            if key in newer:
                continue
            if key in special:
                self._folding.rebase(table, key, row)
                continue
            current = rows.get(key)
            if current is None or row is None or not same_row(current.values, row):
                self._folding.put(rows, key, current, row)

    @_whole
    def read_back(self, table: str, keys: Collection[str]) -> None:
        """The source rows of these keys, just taken over, were read one by one after all that was applied by now: what
        applied commands have laid over them goes, and a refresh that had begun before leaves them as they are."""
        self._ledger.freshen(((table, key) for key in keys), self._store.next_settlement())
        self._folding.again((table, key) for key in self._ledger.lift_applied_over(table, keys))

    @_whole
    def let_go(self, tables: Collection[str], began: int) -> None:
        """Lift what commands applied by settlement number `began` have laid in these tables: the source shows it."""
        for table in tables:
            keys = self._ledger.lift_settled(table, began)
            self._ledger.unfreshen(table, began)
            self._folding.again((table, key) for key in sorted(keys))

    @_whole
    def let_go_of(self, positions: Sequence[int]) -> None:
        """Lift what these applied commands have laid: their rows were read back and taken over."""
        touched = self._ledger.lift_applied(positions)
        if touched:
            self._ledger.freshen(touched, self._store.next_settlement())
            self._folding.again(touched)

    # -- what is known of backends and the store ----------------------------------------------------------------------

    @_whole
    def table_fault(self, table: str, fault: str) -> None:
        """Say why a refresh left the rows of a table alone; the next `confirmed` takes it back."""
        self._run("UPDATE table_state SET fault = ? WHERE table_name = ?", (fault, table))

    @_whole
    def progress(self, table: str, rows_done: int, rows_total: int, doing: str = "reading") -> None:
        """Say how far a first copy has come, before its load begins."""
        self._run(
            "UPDATE table_state SET loading = ?, rows_done = ?, rows_total = ? WHERE table_name = ?",
            (doing, rows_done, rows_total, table),
        )

    @_whole
    def confirmed(self, backend: str, tables: Collection[str], at: datetime) -> None:
        """The backend confirmed these tables' rows at that moment: their age counts from it."""
        states.confirm(self._store.connection, backend, list(tables), at)

    @_whole
    def loaded(self, table: str, loaded: bool = True) -> None:
        """Say that the rows of a table are there (for one filled by `apply_base` alone) or not."""
        self._run("UPDATE table_state SET loaded = ? WHERE table_name = ?", (int(loaded), table))

    @_whole
    def backend_state(self, name: str, **fields: Any) -> None:
        """Set fields of a backend's state; moments may be aware datetimes; unknown fields become facts."""
        states.write_backend_state(self._store.connection, name, fields)

    def spool_position(self) -> int:
        """The last spool position that the store has taken in."""
        return int(self.meta("spool_position") or 0)

    def set_spool_position(self, position: int) -> None:
        self.set_meta("spool_position", position)

    def meta(self, name: str) -> Value:
        row = self._run("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        value: Value = row[0] if row else None
        return value

    @_whole
    def set_meta(self, name: str, value: Value) -> None:
        self._run(
            "INSERT INTO meta(name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
            (name, value),
        )

    # -- changes ------------------------------------------------------------------------------------------------------

    @property
    def changes(self) -> list[RowChange]:
        """The rows changed so far in this transaction, each once, in the order in which they were first touched."""
        return self._folding.changes(self.reloaded)

    @property
    def tables(self) -> Collection[str]:
        """The names of the tables that are served."""
        return self._store.specs

    def row(self, table: str, key: str) -> StoredRow | None:
        """The visible row as this transaction has it so far."""
        self._folding.settle()
        return self._store.rows(table).get(self.commands.real_key(table, key))

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """A part of the transaction that may fail alone: an exception undoes it, is raised, and spoils nothing."""
        if self.spoiled:
            raise RuntimeError("this transaction has failed and can only be rolled back")
        self._folding.settle()
        folding = self._folding
        kept = folding.noted(), set(self.reloaded), self._store.counters()
        counted = self._table.counted.copy()
        self._run("SAVEPOINT attempt")
        try:
            yield
            folding.settle()
        except BaseException:
            self._run("ROLLBACK TO attempt; RELEASE attempt")
            noted, self.reloaded, counters = kept
            folding.go_back_to(noted)
            self._table.counted = counted
            self._store.set_counters(counters, undone=True)
            self.spoiled = False
            raise
        self._run("RELEASE attempt")

    def replaced(self, table: str) -> None:
        """Another generation of `table` counts from now on: lay pending changes over its rows."""
        self.reloaded.add(table)
        self._ledger.unshade_all(table)
        self._folding.restart(table, sorted(self._ledger.keys_in(table)))

    def finish(self) -> None:
        """Write counts and the change log; part of the commit."""
        self._folding.settle()
        self._table.write_counts()
        self._store.write_settlement()
        for table, more in self._folding.rows_more.items():
            self._run("UPDATE table_state SET rows = rows + ? WHERE table_name = ?", (more, table))
        at = self.now
        records = self._folding.records(at, self.reloaded)
        records = records[-self._store.change_log_rows_max :]
        for table in sorted(self.reloaded):
            records.append((self._store.next_seq(), table, None, None, None, at, None, 0, 0))
        self._store.connection.executemany(
            "INSERT INTO change(seq, table_name, key, before, after, at, origin, pending_before, pending_after) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            records,
        )
        self._store.trim_changes(self)
