"""What was asked and acknowledged in a simulation, and what must hold about it after every step."""

from __future__ import annotations

from dataclasses import dataclass, field

from brique.commands import may_move
from brique.schema import Change, State
from brique.store import Reader, Store, StoredCommand
from tests.simulation.erp import SPECS, Effect, Erp


class Broken(AssertionError):
    """A promise was broken."""


@dataclass
class Asked:
    """A command that a client gave, with `token`. `position`: where it was acknowledged, None when nobody knows."""

    id: str
    token: str
    marks: tuple[str, ...]
    changes: tuple[Change, ...]
    position: int | None = None
    state: State | None = None

    def wanted(self) -> list[tuple[str, str]]:
        """(kind, mark) of the effects that it must have when applied, deletions left out."""
        found = []
        for change in self.changes:
            if change.after is not None:
                found.append(("insert" if change.before is None else "update", str(change.after["mark"])))
        return found

    def deleted(self) -> list[tuple[str, str, str]]:
        """(table, key, mark before) of the rows that it deletes."""
        return [
            (change.table, change.key, str(change.before["mark"]))
            for change in self.changes
            if change.before is not None and change.after is None
        ]


@dataclass
class Model:
    """What was asked, by id and by position, and what the ERP says of it."""

    erp: Erp
    asked: dict[str, Asked] = field(default_factory=dict)
    by_position: dict[int, Asked] = field(default_factory=dict)
    decided: set[int] = field(default_factory=set)
    forgetful: bool = False
    """The ERP has lost commits, and its process has not looked yet."""

    def acknowledge(self, identity: str, position: int) -> None:
        asked = self.asked[identity]
        if asked.position not in (None, position):
            raise Broken(f"{identity} was acknowledged at {asked.position} and at {position}")
        other = self.by_position.get(position)
        if other is not None and other is not asked:
            raise Broken(f"position {position} was given to {other.id} and to {identity}")
        asked.position = position
        self.by_position[position] = asked

    def check(self, reader: Reader) -> None:
        """Everything that must hold at any time. `reader` must be on one state of a store that is up to date."""
        counts = self._count_effects()
        for position, asked in self.by_position.items():
            item = reader.command(position)
            if item is None or item.command.id != asked.id:
                raise Broken(f"{asked.id}, acknowledged at {position}, is not there")
            self._check_life(asked, item)
            self._check_effects(asked, item.state, counts)
        self._check_order()
        self._check_shown(reader)

    def _count_effects(self) -> dict[tuple[str, str], int]:
        counts: dict[tuple[str, str], int] = {}
        for effect in self.erp.state.effects:
            place = (effect.kind, effect.mark)
            if effect.kind != "delete":
                counts[place] = counts.get(place, 0) + 1
        return counts

    def _check_life(self, asked: Asked, item: StoredCommand) -> None:
        """States go by the table of moves (through several moves between two looks)."""
        before, now = asked.state, item.state
        if before is not None and before is not now and not _leads(before, now):
            raise Broken(f"{asked.id} went from {before} to {now}")
        asked.state = now

    def _check_effects(self, asked: Asked, state: State, counts: dict[tuple[str, str], int]) -> None:
        """Once, or not at all: as its state says."""
        for kind, mark in asked.wanted():
            found = counts.get((kind, mark), 0)
            if found > 1:
                raise Broken(f"{asked.id} ({state}) had its effect {found} times: {kind} {mark}")
            if state is State.APPLIED and not found and not self.forgetful:
                raise Broken(f"{asked.id} is applied, and the backend has no {kind} {mark}")
            if state in (State.REFUSED, State.CONFLICT, State.WITHDRAWN) and found:
                raise Broken(f"{asked.id} is {state}, and the backend has its {kind} {mark}")

    def _check_order(self) -> None:
        """Effects on one row in the order of their acknowledgements."""
        position_of = {
            mark: asked.position for asked in self.asked.values() for mark in asked.marks if asked.position is not None
        }
        last: dict[tuple[str, str], tuple[int, Effect]] = {}
        for effect in self.erp.state.effects:
            position = position_of.get(effect.mark)
            if position is None or effect.kind == "delete":
                continue
            place = (effect.table, effect.key)
            before = last.get(place)
            if before is not None and before[0] > position:
                raise Broken(f"{effect} of position {position} came after {before[1]} of position {before[0]}")
            last[place] = (position, effect)

    def _check_shown(self, reader: Reader) -> None:
        """What is not settled is seen: each row's last word of a waiting command, with its mark as pending."""
        last: dict[tuple[str, str], Change] = {}
        for item in reader.pending_for("erp", 100_000):
            for change in item.command.changes:
                last[(change.table, change.key)] = change
        for (table, key), change in last.items():
            row = reader.row(table, key)
            if change.after is None:
                if row is not None:
                    raise Broken(f"{table}/{key} is seen although its deletion waits")
            elif row is None:
                if change.before is None:
                    raise Broken(f"{table}/{key} waits to be made and is not seen")
            elif any(row.values[name] != value for name, value in change.after.items()):
                raise Broken(f"{table}/{key} is seen as {row.values} although {change.after} waits")
            elif not row.pending:
                raise Broken(f"{table}/{key} has a waiting command and is not marked")

    def check_deletions(self) -> None:
        """At rest: a row that brique deleted was deleted by a command that says so."""
        wanted = {
            place
            for asked in self.asked.values()
            if asked.state in (State.APPLIED, State.UNKNOWN) or asked.position in self.decided
            for place in asked.deleted()
        }
        for effect in self.erp.state.effects:
            if effect.kind == "delete" and (effect.table, effect.key, effect.mark) not in wanted:
                raise Broken(f"nobody stands for {effect}")

    def check_at_rest(self, store: Store) -> None:
        """After everything has settled and a refresh: copy and backend are equal, and nothing is left over."""
        for table, spec in SPECS.items():
            there = {key: {name: row[name] for name in spec.names} for key, row in self.erp.rows(table).items()}
            here, marks = {}, {}
            for key, pending, *values in store.connection.execute(
                f"SELECT _key, _pending, {', '.join(spec.names)} FROM t_{table}"
            ):
                here[key], marks[key] = dict(zip(spec.names, values, strict=True)), pending
            if here != there:
                wrong = {
                    key: (here.get(key), there.get(key)) for key in {*here, *there} if here.get(key) != there.get(key)
                }
                raise Broken(f"{table}: copy and backend differ: {wrong}")
            if any(marks.values()):
                raise Broken(f"{table}: marks are left: {marks}")
            state = store.reader.table_state(table)
            if state is None or state.rows != len(here):
                raise Broken(f"{table}: {len(here)} rows are counted as {state}")
        for left in ("overlay", "shadow"):
            [[count]] = store.connection.execute(f"SELECT count(*) FROM {left}").fetchall()
            if count:
                raise Broken(f"{count} rows are left in {left}")


def _leads(before: State, now: State) -> bool:
    """Whether moves lead from one state to the other, directly or through others."""
    seen, wave = set[State](), {before}
    while wave:
        wave = {to for state in wave for to in State if may_move(state, to)} - seen
        seen |= wave
    return now in seen
