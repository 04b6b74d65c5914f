"""What others than brique do in a simulated life: clients give, repeat and withdraw commands, a person decides about
those whose outcome is unknown, a colleague works at the ERP's own screen."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from brique.commands import check
from brique.errors import BriqueError, EngineAway, NotFound, Stale
from brique.schema import PENDING, Change, Command, Effect, Row, State, TableSpec, encode_command
from brique.store import Reader, Store
from tests.simulation.asked import Asked, Broken
from tests.simulation.erp import Entry, Erp
from tests.simulation.erp import State as ErpState

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

USERS = ("awa", "moussa", "gone")
Call = tuple[str, dict[str, Any]]


class Copy:
    """The copy as `check` wants it, and its keys."""

    def __init__(self, store: Store) -> None:
        self._reader: Reader = store.reader
        self._run = store.connection.execute

    def values(self, table: str, key: str) -> Row | None:
        row = self._reader.row(table, key)
        return None if row is None else row.values

    def is_loaded(self, table: str) -> bool:
        state = self._reader.table_state(table)
        return state is not None and state.loaded

    def rows_of(self, changes: Sequence[Change]) -> set[tuple[str, str]]:
        """The rows that these change, by the names that they have now."""
        return {(change.table, self._reader.real_key(change.table, change.key)) for change in changes}

    def keys(self, spec: TableSpec) -> list[str]:
        return [str(key) for (key,) in self._run(f"SELECT _key FROM t_{spec.name} ORDER BY _key")]


class Clients:
    """Those who give commands. `clicks`: given, and no answer heard yet."""

    def __init__(self, simulation: Simulation) -> None:
        self.sim = simulation
        self.random: Random = simulation.random
        self.clicks: list[Asked] = []
        self.forms: list[tuple[TableSpec, str, Row]] = []
        """Forms that were opened a while ago, with the row as it was then."""
        self.again: list[tuple[TableSpec, str]] = []
        """Rows that somebody wants to change, who was not quick enough."""
        self.count = 0

    def burst(self) -> None:
        """Several people at once: their requests come to the engine in one batch."""
        calls = self.requests(self.random.randint(1, self.sim.habits.crowd))
        if calls:
            self.send(calls)

    def requests(self, count: int) -> list[tuple[Call, Asked | None]]:
        """`count` wishes of people who all look at the same state of the copy, and now and then something else."""
        store = self.sim.door.alive().store
        found: list[tuple[Call, Asked | None]] = []
        with store.reader.snapshot():
            copy = Copy(store)
            for _ in range(count):
                asked = self._wish(copy)
                if asked is not None:
                    found.append((self._call(asked), asked))
                    if self.random.random() < 0.05:
                        self.sim.faults.counts["form sent twice at once"] += 1
                        found.append((self._call(asked), asked))
        if self.random.random() < 0.2:
            found += [(call, None) for call in self.withdrawals()]
        if (clicks := self.waiting_clicks()) and self.random.random() < 0.3:
            asked = self.random.choice(clicks)
            found.insert(0, (self._call(asked), asked))
        return found

    def send(self, calls: list[tuple[Call, Asked | None]]) -> None:
        try:
            answers = self.sim.door.ask([call for call, _ in calls])
        except EngineAway as fault:
            answers = [fault] * len(calls)
        self.heard(calls, answers)

    def heard(self, calls: list[tuple[Call, Asked | None]], answers: list[dict[str, Any] | BriqueError]) -> None:
        """The answers, or that there was none."""
        engine = self.sim.door.engine
        store = engine.store if engine is not None and not engine.ledger._is_behind else None
        for (_, asked), answer in zip(calls, answers, strict=True):
            if asked is None:
                continue
            if isinstance(answer, Stale) and answer.facts.get("retry"):
                self.turned_away(asked)
                continue
            if isinstance(answer, BriqueError):
                if asked not in self.clicks:
                    self.clicks.append(asked)
                continue
            if asked in self.clicks:
                self.clicks.remove(asked)
            self.sim.model.acknowledge(asked, answer, store)

    def turned_away(self, asked: Asked) -> None:
        """The row has changed meanwhile: nothing is kept, and the same is wanted of the row as it is now."""
        self.sim.faults.counts["answered stale"] += 1
        if asked.position is not None:
            raise Broken(f"{asked.id} is kept at {asked.position}, and was answered stale")
        asked.is_turned_away = True
        if asked in self.clicks:
            self.clicks.remove(asked)
        change = asked.command.changes[0]
        self.again.append((self.sim.model.erps[asked.backend].specs[change.table], change.key))
        del self.again[:-5]

    def waiting_clicks(self) -> list[Asked]:
        """Those who wait for an answer, and whose token is not forgotten: they have been told by another click."""
        self.clicks = [asked for asked in self.clicks if not asked.is_over]
        return list(self.clicks)

    def click_again(self) -> None:
        """Somebody who has not heard an answer, or is impatient, sends the same again."""
        known = self.waiting_clicks() or [
            asked for asked in list(self.sim.model.asked.values())[-20:] if not asked.is_over
        ]
        if known:
            chosen = self.random.sample(known, min(len(known), 3))
            self.sim.faults.counts["form sent again"] += len(chosen)
            self.send([(self._call(asked), asked) for asked in chosen])

    def other_wish(self) -> None:
        """A token comes back with another wish: it must be told, and nothing kept."""
        known = [
            asked for asked in self.sim.model.by_position.values() if asked.is_acknowledged and not asked.is_forgotten
        ]
        if not known:
            return
        asked = self.random.choice(known)
        method, payload = self._call(asked, id=asked.id + "x", digest="another")
        self.sim.faults.counts["token with another wish"] += 1
        try:
            answer = self.sim.door.call(method, payload)
        except BriqueError:
            return
        raise Broken(f"the token of {asked.id} was taken for another wish: {answer}")

    def _call(self, asked: Asked, **changed: Any) -> Call:
        command = asked.command
        if changed:
            fields = {name: getattr(command, name) for name in command.__struct_fields__}
            command = Command(**{**fields, **changed})
        more = {"fresh": True} if asked.is_fresh else {}
        return "give", {"command": encode_command(command), "token": asked.token, "wait_ms": 0, **more}

    # -- wishes -------------------------------------------------------------------------------------------------------

    def _wish(self, copy: Copy) -> Asked | None:
        self.count += 1
        identity = f"R{self.count:06d}"
        backend = self.random.choice(self.sim.names)
        try:
            changes, effects = self._content(copy, self.sim.erps[backend], identity)
        except (BriqueError, Stale):
            return None
        if not changes and not effects:
            return None
        marks = [str(change.after["mark"]) for change in changes if change.after is not None]
        marks += [str(effect.arguments["mark"]) for effect in effects]
        command = Command(
            id=identity,
            name="wish",
            user=USERS[self.count * 7 % 12 // 5],
            role="write",
            at="2026-11-20T08:00:00.000000Z",
            backend=backend,
            changes=changes,
            digest=identity,
            effects=effects,
            after=self._parents(),
        )
        is_fresh = len(changes) == 1 and changes[0].before is not None and self.random.random() < 0.3
        asked = Asked(command, f"t{identity}", tuple(marks), is_fresh=is_fresh)
        self.sim.model.ask(asked)
        return asked

    def _parents(self) -> tuple[str, ...]:
        """Receipts of commands, of any backend, that must have been applied first."""
        if self.random.random() > 0.08:
            return ()
        known = [asked.id for asked in self.sim.model.by_position.values() if not asked.is_forgotten][-8:]
        return (self.random.choice(known),) if known else ()

    def _content(self, copy: Copy, erp: Erp, identity: str) -> tuple[tuple[Change, ...], tuple[Effect, ...]]:
        if self.random.random() < 0.08:
            amount = self.random.choice((-1, 5, 6))
            effect = Effect("post", {"mark": identity + "e", "amount": amount})
            return (self._changes(copy, erp, identity) if self.random.random() < 0.5 else ()), (effect,)
        return self._changes(copy, erp, identity), ()

    def _changes(self, copy: Copy, erp: Erp, identity: str) -> tuple[Change, ...]:
        kind = self.random.random()
        item, note, line, entry = erp.specs.values()
        if kind < 0.5 * self.sim.habits.pairs:
            return self._pair(copy, erp, identity)
        if kind < 0.5:
            return self._update(copy, erp, identity)
        if kind < 0.62:
            return (self._create(copy, note, identity, {"text": f"note of {identity}"}),)
        if kind < 0.68:
            return self._entry(copy, entry, note, identity)
        if kind < 0.72:
            code = self.random.choice("ABCDEFGH")
            return (self._create(copy, item, identity, {"code": code, "name": identity, "stock": 5}),)
        if kind < 0.77:
            number, part = self.random.randint(1, 5), self.random.choice(("x", "y z", "é,~"))
            return (self._create(copy, line, identity, {"number": number, "part": part, "quantity": 1}),)
        if kind < 0.84:
            spec, key = self._some_row(copy, erp)
            return (check.delete(copy, spec, key),)
        if kind < 0.92:
            return self._pair(copy, erp, identity)
        made = self._create(copy, note, identity, {"text": f"with an item, {identity}"})
        return (made, *self._update(copy, erp, identity + "b"))

    def _pair(self, copy: Copy, erp: Erp, identity: str) -> tuple[Change, ...]:
        """Two rows at once; one when both are the same."""
        first = self._update(copy, erp, identity)
        second = self._update(copy, erp, identity + "b")
        return (*first, *second) if copy.rows_of(first).isdisjoint(copy.rows_of(second)) else first

    def _entry(self, copy: Copy, entry: TableSpec, note: TableSpec, identity: str) -> tuple[Change, ...]:
        """A row that refers to a note: to one that has no number yet, if there is one, or to one made with it."""
        keys = copy.keys(note)
        fresh = [key for key in keys if key.startswith(PENDING)]
        if self.random.random() < 0.3 or not keys:
            made = self._create(copy, note, identity, {"text": f"with an entry, {identity}"})
            given: Row = {"note": made.key, "text": "of its note", "mark": identity + "c"}
            return made, Change(entry.name, f"{PENDING}{identity}.2", None, given)
        target = self.random.choice(fresh or keys)
        value = target if target.startswith(PENDING) else int(target)
        return (self._create(copy, entry, identity, {"note": value, "text": "of a note"}),)

    def _some_row(self, copy: Copy, erp: Erp) -> tuple[TableSpec, str]:
        item, note, line, entry = erp.specs.values()
        spec = self.random.choice((item, item, note, line, entry))
        keys = copy.keys(spec)
        if not keys:
            raise NotFound("no rows")
        if self.again and self.random.random() < 0.3:
            wanted, key = self.again.pop()
            if wanted.backend == spec.backend and copy.values(wanted.name, key) is not None:
                return wanted, key
        if self.sim.habits.taste == "few":
            keys = keys[:2]
        elif self.sim.habits.taste == "newest":
            keys = [key for key in keys if key.startswith(PENDING)] or keys[-3:]
        return spec, self.random.choice(keys)

    def _update(self, copy: Copy, erp: Erp, mark: str) -> tuple[Change, ...]:
        if self.forms and self.random.random() < self.sim.habits.late_forms:
            spec, key, seen = self.forms.pop(self.random.randrange(len(self.forms)))
            if spec.name not in erp.specs:
                return ()
        else:
            spec, key = self._some_row(copy, erp)
            found = copy.values(spec.name, key)
            assert found is not None
            seen = found
            if self.random.random() < self.sim.habits.late_forms - 0.05:
                self.forms.append((spec, key, seen))
                del self.forms[:-5]
        given: Row = {"mark": mark}
        if "stock" in spec.names:
            given["stock"] = self.random.choice((-1, 1, 2, 3, 4, 5, 6, 7))
        elif "text" in spec.names and self.random.random() < 0.5:
            given["text"] = f"changed by {mark}"
        change = check.update(copy, spec, key, seen=seen, given=given)
        return (change,) if change is not None else ()

    def _create(self, copy: Copy, spec: TableSpec, identity: str, given: Row) -> Change:
        return check.create(copy, spec, {**given, "mark": identity}, receipt=identity)

    # -- decisions ----------------------------------------------------------------------------------------------------

    def withdrawals(self) -> list[Call]:
        waiting = [asked for asked in self.sim.model.by_position.values() if asked.state in (State.KEPT, State.SENDING)]
        if not waiting:
            return []
        position = self.random.choice(waiting).position
        return [("move", {"position": position, "state": "withdrawn", "by": "awa"})]

    def withdraw(self) -> None:
        for method, payload in self.withdrawals():
            self._ask(method, payload)

    def decide(self) -> bool:
        """Somebody looks into the ERP and says what became of a command whose outcome is unknown."""
        store = self.sim.door.alive().store
        query = "SELECT position FROM command WHERE state = 'unknown' ORDER BY position"  # put away or not: others wait
        found = [position for (position,) in store.connection.execute(query)]
        found = [
            position
            for position in found
            if position in self.sim.model.by_position
            and self.sim.erps[self.sim.model.by_position[position].backend].late is None
        ]
        if not found:
            return False
        position = self.random.choice(found)
        asked = self.sim.model.by_position[position]
        log = self.sim.erps[asked.backend].log
        marks = {entry.mark for entry in log if entry.kind != "delete"}
        gone = {(e.table, e.key, e.mark) for e in log if e.kind == "delete"}
        arrived = set(asked.marks) <= marks if asked.marks else set(asked.deleted()) <= gone
        state = "applied" if arrived else "refused"
        self.sim.model.decided.add(position)
        self._ask("move", {"position": position, "state": state, "by": "awa", "reason": "looked"})
        return True

    def dismiss(self) -> bool:
        found = self.needing_person()
        if not found:
            return False
        self._ask("dismiss", {"position": self.random.choice(found)[0], "by": "awa"})
        return True

    def dismiss_all(self) -> None:
        """Somebody deals with everything that needs a person."""
        calls = [("dismiss", {"position": position, "by": "awa"}) for position, _ in self.needing_person()]
        if calls:
            self.sim.door.ask(calls)

    def needing_person(self) -> list[tuple[int, State]]:
        store = self.sim.door.alive().store
        found = store.connection.execute(
            "SELECT position, state FROM command WHERE state IN ('refused', 'conflict', 'unknown') AND dismissed = 0 "
            "ORDER BY position"
        )
        return [(position, State(state)) for position, state in found if position in self.sim.model.by_position]

    def _ask(self, method: str, payload: dict[str, Any]) -> None:
        try:
            self.sim.door.call(method, payload)
        except BriqueError:
            return


class Colleague:
    """He works at the ERP's own screen. He never puts a row back as it was: without a marker table, nobody could tell
    that from a change that never came."""

    def __init__(self, simulation: Simulation) -> None:
        self.sim = simulation
        self.random: Random = simulation.random
        self.count = 0

    def work(self) -> None:
        backend = self.sim.backends[self.random.choice(self.sim.names)]
        if backend.is_locked:
            return
        self.count += 1
        self.sim.faults.counts["row changed by a colleague"] += 1
        mark, erp = f"x{self.count}", backend.erp
        state = erp.begin()
        spec = self.random.choice(list(erp.specs.values()))
        entry = self._change(erp, state, spec, mark)
        erp.commit(state, [entry] if entry is not None else [])

    def _change(self, erp: Erp, state: ErpState, spec: TableSpec, mark: str) -> Entry | None:
        rows, kind, chance = state.tables[spec.name], erp.kind_of[spec.name], self.random.random()
        if chance < 0.2:
            row: Row = {
                "item": lambda: {"code": self.random.choice("ABCDEFGH"), "name": mark, "stock": 1},
                "note": lambda: {"id": state.next_number(), "text": mark},
                "entry": lambda: {"id": state.next_number(), "note": None, "text": mark},
                "line": lambda: {"number": self.random.randint(1, 5), "part": "x", "quantity": 2},
            }[kind]()
            key = tuple(row[name] for name in spec.key)
            if key in rows:
                return None
            rows[key] = {**row, "mark": mark}
            return Entry("insert", spec.name, spec.key_of(row), mark, other=True)
        if not rows:
            return None
        key = self.random.choice(sorted(rows, key=repr))
        row = rows[key]
        if chance < 0.35 and row["mark"] == "start":
            del rows[key]
            return Entry("delete", spec.name, spec.key_of(row), str(row["mark"]), other=True)
        if chance < 0.6 and kind != "line":
            rows[key] = {**row, {"item": "name", "note": "text", "entry": "text"}[kind]: mark}
        else:
            rows[key] = {**row, "mark": mark}
        return Entry("update", spec.name, spec.key_of(row), str(rows[key]["mark"]), other=True)
