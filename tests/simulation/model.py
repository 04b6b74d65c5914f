"""What was asked and acknowledged in a simulation, and what must hold about it after every step.

The model knows three truths and compares them: what clients were told (`asked`), what the backends have committed (the
log of each `Erp`), and what the store shows (`shown`). It looks only at what is new since its last look.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from brique.schema import PENDING, Change, State
from brique.store import Store
from tests.simulation.asked import Asked, Broken, Ledger
from tests.simulation.erp import Entry, Erp
from tests.simulation.shown import Shown

_STATES = {state.value: state for state in State}
_NOTHING_DONE = (State.REFUSED, State.CONFLICT, State.WITHDRAWN)


@dataclass
class Model:
    """What was asked, by id and by position, and what the backends say of it."""

    erps: dict[str, Erp]
    surest: set[str]
    """Backends whose rung can always tell what has arrived: nothing there is ever `unknown`."""
    atomic: set[str] = field(default_factory=set)
    """Backends that do all of a command or nothing."""
    guarded: set[str] = field(default_factory=set)
    """Backends that know what they have done, step by step: in doubt is only what they refused half-way."""
    barred: set[str] = field(default_factory=set)
    """Users who, at some time, could not write."""
    asked: dict[str, Asked] = field(default_factory=dict)
    by_position: dict[int, Asked] = field(default_factory=dict)
    decided: set[int] = field(default_factory=set)
    doubts: int = 0
    """How often nobody could know whether something had arrived: an answer was lost, a process died."""
    newest: int = 0
    """The highest position acknowledged so far."""
    ledgers: dict[str, Ledger] = field(default_factory=dict)
    of_mark: dict[str, Asked] = field(default_factory=dict)
    checks: int = 0
    acknowledged: int = 0
    """How often a client was told that something is kept."""
    _looked: tuple[object, ...] = ()
    may_forget: bool = False
    """Commands that settled long ago may be forgotten."""
    dismissed: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.ledgers = {name: Ledger(erp) for name, erp in self.erps.items()}
        self.seen = Shown(self)

    def ask(self, asked: Asked) -> None:
        asked.doubts = self.doubts
        self.asked[asked.id] = asked
        self.of_mark.update(dict.fromkeys(asked.marks, asked))

    def acknowledge(self, asked: Asked, answer: dict[str, Any], store: Store | None) -> None:
        """A client was told that its command is kept. `store`: of the engine that said so, if it still lives and
        had the room to show it."""
        position = answer["position"]
        if answer["id"] != asked.id:
            raise Broken(f"{asked.id} was answered with {answer['id']}")
        if asked.position not in (None, position):
            raise Broken(f"{asked.id} was acknowledged at {asked.position} and at {position}")
        other = self.by_position.get(position)
        if other is not None and other is not asked:
            raise Broken(f"position {position} was given to {other.id} and to {asked.id}")
        if not answer["duplicate"]:
            if position <= self.newest:
                raise Broken(f"{asked.id} was given position {position} after {self.newest}")
            self.newest = position
            if asked.is_fresh and store is not None:
                self._check_fresh(asked, position, store)
        asked.is_acknowledged, asked.position = True, position
        self.acknowledged += 1
        self.by_position[position] = asked
        if store is not None and not asked.is_forgotten:
            row = store.connection.execute("SELECT id FROM command WHERE position = ?", (position,)).fetchone()
            if row is None or row[0] != asked.id:
                raise Broken(f"{asked.id} was acknowledged at {position}, and its author does not see it")

    def _check_fresh(self, asked: Asked, position: int, store: Store) -> None:
        """Of a command that was only wanted if its row was as its author saw it: nothing that still waits has come
        between."""
        [change] = asked.command.changes
        real_key, name = store.reader.real_key, self.seen.name
        row = change.table, real_key(change.table, name(change.table, change.key, position))
        for earlier in sorted((one for one in self.by_position if one < position), reverse=True):
            for other in self.by_position[earlier].command.changes:
                if (other.table, real_key(other.table, name(other.table, other.key, earlier))) == row:
                    found = store.connection.execute("SELECT state FROM command WHERE position = ?", (earlier,))
                    waits = found.fetchone() in (("kept",), ("sending",))
                    mark = None if other.after is None else other.after["mark"]
                    if waits and change.before is not None and mark != change.before.get("mark", mark):
                        raise Broken(f"{asked.id} was kept as fresh behind {mark}, which its author had not seen")
                    return

    def check(self, store: Store) -> None:
        """Everything that must hold at any time. `store` must have taken in all of its spool. Where nothing has changed
        since the last look, that one stands."""
        self.checks += 1
        looks = self._looks(store)
        if looks == self._looked:
            return
        there = {
            position: (identity, _STATES[state], dismissed)
            for position, identity, state, dismissed in store.connection.execute(
                "SELECT position, id, state, dismissed FROM command"
            )
        }
        self.seen.look(store, max(there, default=0))
        news = {name: ledger.news() for name, ledger in self.ledgers.items()}
        changed = self._check_commands(there)
        done = {name: self._take_in(name, entries) for name, entries in news.items()}
        for name, touched in done.items():
            self._check_effects(name, {*touched, *(asked for asked in changed if asked.backend == name)})
            self._check_after(touched)
        self.seen.check(store)
        self._looked = looks

    def _looks(self, store: Store) -> tuple[object, ...]:
        """What must have changed when anything that is checked has."""
        return (
            store,
            store.connection.total_changes(),
            len(self.by_position),
            self.acknowledged,
            self.may_forget,
            *(
                (len(ledger.erp.log), ledger.erp.state.version, ledger.epoch, ledger.forgetful)
                for ledger in self.ledgers.values()
            ),
            *(erp.epoch for erp in self.erps.values()),
        )

    def _check_commands(self, there: dict[int, tuple[str, State, int]]) -> list[Asked]:
        """Every acknowledged command is there, and its state follows from the one before. Those that have moved."""
        changed = []
        for position, (identity, state, dismissed) in there.items():
            asked = self.asked.get(identity)
            if asked is None:
                raise Broken(f"nobody has asked for {identity} at {position}")
            if asked.is_turned_away:
                raise Broken(f"{identity} was answered stale, and is kept at {position}")
            if asked.position not in (None, position):
                raise Broken(f"{identity} is kept at {asked.position} and at {position}")
            asked.position = position
            self.by_position[position] = asked
            if dismissed:
                self.dismissed.add(position)
            before = asked.state
            if before is state:
                continue
            forgotten = self.erps[asked.backend].epoch > asked.epoch
            if before is not None and not _leads(before, state, forgotten=forgotten):
                raise Broken(f"{identity} went from {before} to {state}")
            if asked.is_forgotten and position not in self.decided:  # a store made anew has it again
                raise Broken(f"{identity} was forgotten as {before} and is {state} now")
            if state is State.UNKNOWN and not self._may_be_in_doubt(asked):
                raise Broken(f"{identity} is unknown, and there was nothing that could not be known")
            if state is State.REFUSED and not self._has_reason(asked):
                raise Broken(f"{identity} is refused, and nobody has refused it")
            if state is State.CONFLICT and not self._has_met_others(asked):
                raise Broken(f"{identity} is in conflict, and its rows are as its author saw them")
            asked.state = state
            if state is State.APPLIED:
                lost = self.ledgers[asked.backend].forgetful  # perhaps this one too, before its report was heard
                asked.epoch = -1 if lost else self.erps[asked.backend].epoch
            changed.append(asked)
        for position, asked in self.by_position.items():
            if position not in there and not asked.is_forgotten:
                self._note_missing(asked)
        return changed

    def _may_be_in_doubt(self, asked: Asked) -> bool:
        """Whether there was something about this command that could not be known."""
        if asked.backend in self.guarded or asked.backend not in self.atomic:
            half = len(asked.command.changes) + len(asked.command.effects) > 1 and self._was_refused(asked)
            return half or (asked.backend not in self.guarded and asked.doubts != self.doubts)
        return asked.backend not in self.surest and asked.doubts != self.doubts

    def _was_refused(self, asked: Asked) -> bool:
        """Whether its backend has said no to a part of it, or a row of it was not as its author saw it."""
        return (
            True if asked.backend not in self.atomic else not self.erps[asked.backend].refused.isdisjoint(asked.marks)
        )

    def _has_reason(self, asked: Asked) -> bool:
        """Whether somebody has refused this command: its backend, its rights, a person, or the end of another one."""
        refused = self.erps[asked.backend].refused
        if asked.position in self.decided or asked.command.user in self.barred:
            return True
        if any(self._has_failed(receipt) for receipt in asked.command.after):
            return True
        if not refused.isdisjoint(asked.marks) or any(place[2] in refused for place in asked.deleted()):
            return True
        return any(
            change.key.startswith(PENDING)
            or _leans(change)
            or self.seen.leans_on_forgotten(change, asked.position or 0)
            for change in asked.command.changes
        )

    def _has_failed(self, receipt: str) -> bool:
        """Whether a command that others wait for has not been applied, and never will be."""
        parent = self.asked[receipt]
        return parent.is_forgotten or parent.state in _NOTHING_DONE

    def _check_after(self, touched: set[Asked]) -> None:
        """Nothing is done before what it waits for."""
        for asked in touched:
            own = self.ledgers[asked.backend].counts
            if not any(what in own for what in asked.wanted()):
                asked.followed.clear()
                continue
            for receipt in sorted({*asked.command.after} - asked.followed):
                parent = self.asked[receipt]
                done = self.ledgers[parent.backend].counts
                missing = [what for what in parent.wanted() if what not in done]
                is_told = parent.is_forgotten or parent.position in self.decided or parent.state is State.APPLIED
                if missing and not is_told:
                    raise Broken(f"{asked.id} was done before {receipt}, which it waits for ({parent.state})")
                asked.followed.add(receipt)

    def has_late_names(self, backend: str) -> bool:
        """Whether a command waits that names a row as it was called before the backend gave it a number."""
        return any(
            change.before is not None and change.key.startswith(PENDING) and self._is_numbered(change.key)
            for asked in self.by_position.values()
            if asked.backend == backend and asked.state in (State.KEPT, State.SENDING)
            for change in asked.command.changes
        )

    def _is_numbered(self, key: str) -> bool:
        maker = self.asked.get(key.removeprefix(PENDING))
        return maker is not None and maker.state is State.APPLIED

    def _has_met_others(self, asked: Asked) -> bool:
        """Whether a row that this command changes is, or was in the meantime, not as its author saw it; where the rung
        cannot tell what has arrived, a number may have been lost as well."""
        ledger, erp = self.ledgers[asked.backend], self.erps[asked.backend]
        if asked.backend not in self.surest or erp.epoch or asked.command.after:
            return True
        for change in asked.command.changes:
            table, key = change.table, change.key
            if key.startswith(PENDING) and change.before is not None:
                maker = self.asked.get(key.removeprefix(PENDING))
                place = ledger.place_of.get(maker.marks[0]) if maker is not None and maker.marks else None
                if place is None:
                    return True
                table, key = place
            history = ledger.history.get((table, key), [])
            row = erp.rows(table).get(key)
            if change.before is None or row is None or len(history) > 2:
                return True
            unnumbered = erp.specs[table].key if change.key.startswith(PENDING) else ()
            if any(row[name] != value for name, value in change.before.items() if name not in unnumbered):
                return True
        return False

    def _note_missing(self, asked: Asked) -> None:
        """A command is not there: forgotten after its time, or lost."""
        is_over = asked.state is not None and asked.state.settled
        if is_over and asked.state is not None and asked.state.needs_person:
            is_over = asked.position in self.dismissed
        if self.may_forget and is_over:
            asked.is_forgotten = True
        elif asked.is_acknowledged:
            raise Broken(f"{asked.id}, acknowledged at {asked.position} and {asked.state}, is not there")

    def _take_in(self, name: str, entries: list[Entry]) -> set[Asked]:
        """Take in what a backend has committed: once each, and on each row in the order of the acknowledgements."""
        ledger = self.ledgers[name]
        if not ledger.seen - len(entries):
            touched = {asked for asked in self.asked.values() if asked.backend == name}
        else:
            touched = set()
        for entry in entries:
            place = (entry.table, entry.key)
            if entry.kind != "call":
                ledger.history.setdefault(place, ["start"]).append(None if entry.kind == "delete" else entry.mark)
            asked = self.of_mark.get(entry.mark)
            if asked is None or entry.other:
                continue
            if entry.kind == "delete":
                continue
            touched.add(asked)
            what = (entry.kind, entry.mark)
            ledger.counts[what] = ledger.counts.get(what, 0) + 1
            if asked.position is None:
                raise Broken(f"{asked.id} has {entry} on the backend, and was never kept")
            before = ledger.last.get(place)
            if entry.kind != "call":
                if before is not None and before[0] > asked.position:
                    raise Broken(f"{entry} of position {asked.position} came after {before[1]} of {before[0]}")
                ledger.last[place] = (asked.position, entry)
                ledger.place_of[entry.mark] = place
        return touched

    def _check_effects(self, name: str, touched: set[Asked]) -> None:
        """Once, or not at all: as its state says."""
        ledger = self.ledgers[name]
        for asked in touched:
            state = asked.state
            wanted = asked.wanted()
            missing = sum(what not in ledger.counts for what in wanted)
            if name in self.atomic and 0 < missing < len(wanted) and not ledger.forgetful:
                raise Broken(f"{asked.id} ({state}) was torn: {missing} of its {len(wanted)} changes are not there")
            for kind, mark in wanted:
                found = ledger.counts.get((kind, mark), 0)
                if found > 1:
                    raise Broken(f"{asked.id} ({state}) had its effect {found} times: {kind} {mark}")
                if state is State.APPLIED and not found and not ledger.forgetful:
                    raise Broken(f"{asked.id} is applied, and the backend has no {kind} {mark}")
                if state in _NOTHING_DONE and found and asked.position not in self.decided:
                    raise Broken(f"{asked.id} is {state}, and the backend has its {kind} {mark}")
            if state is State.APPLIED and not ledger.forgetful and asked.position not in self.decided:
                self._raise_floor(ledger, asked)

    def _raise_floor(self, ledger: Ledger, asked: Asked) -> None:
        """From now on nobody may see the rows of this command as they were before it."""
        for mark in asked.marks:
            place = ledger.place_of.get(mark)
            if place is not None:
                ledger.floor[place] = max(ledger.floor.get(place, 0), ledger.history[place].index(mark))

    def check_deletions(self) -> None:
        """At rest: a row that brique deleted was deleted by a command that says so."""
        wanted = {
            place
            for asked in self.asked.values()
            if asked.state in (State.APPLIED, State.UNKNOWN) or asked.position in self.decided or asked.is_forgotten
            for place in asked.deleted()
        }
        for erp in self.erps.values():
            # a row that its author knew by another number, or by none yet
            unnumbered = {(table, mark) for table, key, mark in wanted if erp.epoch or key.startswith(PENDING)}
            for entry in erp.log:
                if entry.kind != "delete" or entry.other or (entry.table, entry.key, entry.mark) in wanted:
                    continue
                if (entry.table, entry.mark) not in unnumbered:
                    raise Broken(f"nobody stands for {entry}")

    def check_deleted(self) -> None:
        """At rest: what a command that is applied has deleted is not there any more."""
        marks = {
            (table, str(row["mark"]))
            for erp in self.erps.values()
            for table, rows in erp.state.tables.items()
            for row in rows.values()
            if row["mark"] != "start"
        }
        for asked in self.by_position.values():
            if asked.state is State.APPLIED and asked.position not in self.decided:
                for table, key, mark in asked.deleted():
                    if (table, mark) in marks:
                        raise Broken(f"{asked.id} is applied, and {table}/{key} is still there as {mark}")


def _leans(change: Change) -> bool:
    return any(isinstance(value, str) and value.startswith(PENDING) for value in (change.after or {}).values())


_OVER = frozenset({State.REFUSED, State.CONFLICT, State.WITHDRAWN})


def _leads(before: State, now: State, *, forgotten: bool) -> bool:
    """Whether a command seen in one state may be seen in the other next; not the product's own table. `forgotten`: its
    backend has forgotten commits since it was applied."""
    if before in _OVER:
        return False
    if before is State.UNKNOWN:
        return now in (State.APPLIED, State.REFUSED)
    if before is State.APPLIED:
        return forgotten
    return True


def told(model: Model) -> list[tuple[str, str]]:
    """What became of each command, in order: the same for the same seed."""
    return [(asked.id, str(asked.state)) for _, asked in sorted(model.by_position.items())]


__all__ = ["Broken", "Model", "told"]
