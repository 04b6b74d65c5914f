"""A whole brique on a simulated backend and clock: `simulate(seed, steps)` does the same again for the same seed.

    python -m tests.simulation --seed 17 --steps 400

Clients give, repeat and withdraw commands; a person decides and dismisses; a colleague changes the ERP's rows; the
backend goes away at any call, refuses, and forgets its last commits; engine and backend process are killed before and
after any append, commit, report and call; disks are full; the store is lost and made again. Two actors meet at every
call to the backend. After every step the promises are checked (`model`), and now and then everything is let come to
rest and compared with the backend.
"""

from __future__ import annotations

import logging
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from brique.app.backend import BackendProcess
from brique.commands import check
from brique.errors import BriqueError, EngineAway, NotFound, Stale
from brique.schema import PENDING, Change, Command, Row, State, TableSpec, encode_command
from brique.store import Reader
from tests.simulation.erp import SPECS, Erp, FakeBackend, Faults
from tests.simulation.model import Asked, Broken, Model
from tests.simulation.processes import Crash, Door, Refresh, SimClock, backend_process, declared, new_settings

USERS = ("awa", "moussa", "gone")


class Simulation:
    """One run in `folder`. `seed` decides everything, whether the backend has a marker table as well."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.chance = self.random.random
        self.folder = folder
        self.clock = SimClock()
        self.marker = bool(seed % 2)
        self.is_switching = seed % 5 == 4
        """Whether the marker table is allowed at one start and not at the next."""
        self.erp = Erp()
        self.model = Model(self.erp)
        prints = self.chance() < 0.5
        self.backend = FakeBackend(self.erp, self.chance, self._meanwhile, marker=self.marker, prints=prints)
        self.crash_rate = 0.0
        self.full_rate = 0.0
        self.meanwhile_rate = 0.0
        self.depth = 0
        self.meetings = 0
        self.refresh: Refresh | None = None
        self.gone: set[str] = set()
        self.clicks: list[Asked] = []
        self.count = 0
        self.step = 0
        self.door = Door(
            declared(marker=self.marker, refresh_seconds=20.0),
            new_settings(folder),
            self.clock,
            crash=self._crash_engine,
            is_full=lambda what: self.chance() < self.full_rate,
        )
        self.door.start()
        self.process = self._new_process()

    # -- faults -------------------------------------------------------------------------------------------------------

    def _crash_engine(self, place: str) -> None:
        if self.chance() < self.crash_rate:
            raise Crash(f"engine at {place}")

    def _crash_process(self, place: str) -> None:
        self._meanwhile(place)
        if self.chance() < self.crash_rate:
            raise Crash(f"backend process at {place}")

    def _meanwhile(self, place: str) -> None:
        """At a call of the backend's process: others act, or the process ends."""
        if self.refresh is not None and self.refresh.is_running_here():
            if not place.startswith("backend") and self.chance() < 0.5:
                self.refresh.pause()
        elif (
            self.depth == 0
            and self.meetings
            and not place.startswith("backend")
            and self.chance() < self.meanwhile_rate
        ):
            self.depth += 1
            self.meetings -= 1
            try:
                self._act(self.random.choice(self._others()))
            finally:
                self.depth -= 1
        if place not in ("ping", "prepare") and self.chance() < self.crash_rate / 4:
            raise Crash(f"backend process at {place}")

    def _new_process(self) -> BackendProcess:
        return backend_process(
            self.door,
            self.backend,
            self.chance,
            self._crash_process,
            lambda command: "may not write any more" if command.user in self.gone else "",
        )

    def _end_process(self) -> None:
        """Kill the backend's process, its refresh included; another one starts."""
        if self.refresh is not None:
            self.refresh.kill()
            self.refresh = None
        self.process.reader.close()
        self.process.refreshing.refresher.reader.close()
        if self.is_switching and self.chance() < 0.3:
            self.backend.allow_marker(not self.backend.marker)
        self.process = self._new_process()

    def change_weather(self) -> None:
        """From quiet to wild, for a while."""
        mood = self.random.choice(("quiet", "flaky", "dead", "wild"))
        away, lost = {"quiet": (0, 0), "flaky": (0.05, 0.2), "dead": (1, 0), "wild": (0.02, 0.1)}[mood]
        self.backend.faults = Faults(away, lost, self.random.choice((0, 0, 0.1)))
        self.crash_rate = self.random.choice((0.01, 0.05)) if mood == "wild" else 0.0
        self.full_rate = self.random.choice((0, 0, 0.1))
        self.meanwhile_rate = self.random.choice((0, 0.1, 0.3))

    @contextmanager
    def fair(self) -> Iterator[None]:
        """No faults inside."""
        kept = self.backend.faults, self.crash_rate, self.full_rate, self.meanwhile_rate
        self.backend.faults, self.crash_rate, self.full_rate, self.meanwhile_rate = Faults(), 0.0, 0.0, 0.0
        try:
            yield
        finally:
            self.backend.faults, self.crash_rate, self.full_rate, self.meanwhile_rate = kept

    # -- the run ------------------------------------------------------------------------------------------------------

    def run(self, steps: int) -> None:
        """`steps` steps, each followed by a check. Raises Broken."""
        with self.fair():
            self.turn()
            self._refresh_whole()
        actions = [
            *self._others() * 2, *[self.turn] * 14, *[self.work_on_refresh] * 8, *[self.pass_time] * 3,
            self.change_weather, self.kill_engine, self.kill_process,
        ]  # fmt: skip
        for self.step in range(steps):
            if self.chance() < 0.02:
                self.rest()
            elif self.chance() < 0.004:
                self.lose_store()
            else:
                self._act(self.random.choice(actions))
            self.check()
        self.rest()

    def _others(self) -> list[Any]:
        """What others than the backend's process do."""
        found = [self.give] * 12 + [self.click_again] * 2 + [self.withdraw] * 2 + [self.decide] * 2 + [self.dismiss]
        found += [self.sack]
        if self.depth and self.refresh is not None:
            found += [self.work_on_refresh] * 10
        if not self.backend.in_session:
            found += [self.colleague] * 3
        if not self.depth and self.marker and not self.is_switching:
            found += [self.forget]
        return found

    def _act(self, action: Any) -> None:
        try:
            action()
        except (EngineAway, NotFound):
            pass  # told to the actor, who tries something else
        except Crash:
            if self.depth:
                raise
            self._end_process()

    def close(self) -> None:
        self._end_process()
        self.process.reader.close()
        self.door.close()

    def check(self) -> None:
        """The promises, on a store that has caught up with the spool."""
        with self.fair():
            reader = self.door.alive().store.reader
            self.door.alive().ledger.handle([])
            with reader.snapshot():
                self.model.check(reader)

    def rest(self) -> None:
        """Let everything settle; then copy and backend must be equal."""
        with self.fair():
            for asked in list(self.clicks):
                self._send(asked)
            for _ in range(6):
                self.turn()
            waiting = self.door.alive().store.reader.pending_for("erp", 10)
            if waiting:
                raise Broken(f"at rest, and these wait: {[(item.position, item.state) for item in waiting]}")
            while self.decide():
                pass
            while self.dismiss():
                pass
            self._refresh_whole()
            self.check()
            self.model.check_deletions()
            self.model.check_at_rest(self.door.alive().store)

    # -- brique's own -------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """A round of the backend's process."""
        self.clock.seconds += 6.0
        self.meetings = 12
        try:
            self.process._turn()
        except Crash:
            self._end_process()
        if self.model.forgetful and str(self.process.breaker.health) != "down":
            self.model.forgetful = False

    def work_on_refresh(self) -> None:
        """Begin a refresh, or let the one under way go on for a while."""
        if self.refresh is None:
            if str(self.process.breaker.health) == "down":
                return
            self.refresh = Refresh(self.process)
        refresh = self.refresh
        refresh.go_on()
        if refresh.is_over:
            self.refresh = None

    def _refresh_whole(self) -> None:
        while self.refresh is not None:
            self.work_on_refresh()
        self.work_on_refresh()
        while self.refresh is not None:
            self.work_on_refresh()

    def pass_time(self) -> None:
        self.clock.seconds += self.random.choice((1, 30, 3600))

    def kill_engine(self) -> None:
        self.door.kill()

    def kill_process(self) -> None:
        self._end_process()

    def lose_store(self) -> None:
        """The store's files are gone; it is made again from backend and spool. Claims are not in the spool: what was
        on its way is found out before anybody could withdraw it."""
        if self.model.forgetful:
            return  # who loses both at once cannot be helped
        self.door.kill()
        self._end_process()
        for file in self.folder.glob("store.db*"):
            file.unlink()
        with self.fair():
            self.door.alive()
            self.turn()

    # -- clients ------------------------------------------------------------------------------------------------------

    def give(self) -> None:
        """Somebody gives a command, and may not hear the answer."""
        self.count += 1
        identity = f"R{self.count:06d}"
        reader = self.door.alive().store.reader
        try:
            with reader.snapshot():
                changes = self._wish(_Copy(reader), identity)
        except (BriqueError, Stale):
            return
        if not changes:
            return
        marks = tuple(str(change.after["mark"]) for change in changes if change.after is not None)
        asked = Asked(identity, f"t{identity}", marks, changes)
        self.model.asked[identity] = asked
        self._send(asked)

    def _send(self, asked: Asked) -> None:
        command = Command(
            id=asked.id,
            name="wish",
            user=USERS[hash_of(asked.id) % 12 // 5],
            role="write",
            at="2026-11-20T08:00:00.000000Z",
            backend="erp",
            changes=asked.changes,
            digest=asked.id,
        )
        try:
            answer = self.door.call("give", {"command": encode_command(command), "token": asked.token, "wait_ms": 0})
        except BriqueError:
            if asked not in self.clicks:
                self.clicks.append(asked)
            return
        if asked in self.clicks:
            self.clicks.remove(asked)
        if answer["id"] != asked.id:
            raise Broken(f"{asked.id} was answered with {answer['id']}")
        self.model.acknowledge(asked.id, answer["position"])

    def click_again(self) -> None:
        """Somebody who has not heard an answer, or is impatient, sends the same again."""
        known = self.clicks or list(self.model.asked.values())[-5:]
        if known:
            self._send(self.random.choice(known))

    def _wish(self, copy: _Copy, identity: str) -> tuple[Change, ...]:
        kind = self.chance()
        if kind < 0.5:
            return self._update(copy, identity)
        if kind < 0.65:
            return (self._create(copy, identity, "note", {"text": f"note of {identity}"}),)
        if kind < 0.72:
            code = self.random.choice("ABCDEFGH")
            return (self._create(copy, identity, "item", {"code": code, "name": identity, "stock": 5}),)
        if kind < 0.78:
            number, part = self.random.randint(1, 5), self.random.choice(("x", "y z", "é,~"))
            return (self._create(copy, identity, "line", {"number": number, "part": part, "quantity": 1}),)
        if kind < 0.86:
            spec, key = self._some_row(copy)
            return (check.delete(copy, spec, key),)
        if kind < 0.93:
            first = self._update(copy, identity)
            second = self._update(copy, identity + "b")
            return first if {c.key for c in first} & {c.key for c in second} else (*first, *second)
        made = self._create(copy, identity, "note", {"text": f"with an item, {identity}"})
        return (made, *self._update(copy, identity + "b"))

    def _some_row(self, copy: _Copy) -> tuple[TableSpec, str]:
        spec = SPECS[self.random.choice(("item", "item", "note", "line"))]
        keys = copy.keys(spec)
        if not keys:
            raise NotFound("no rows")
        return spec, self.random.choice(keys)

    def _update(self, copy: _Copy, mark: str) -> tuple[Change, ...]:
        spec, key = self._some_row(copy)
        seen = copy.values(spec.name, key)
        assert seen is not None
        given: Row = {"mark": mark}
        if spec.name == "item":
            given["stock"] = self.random.choice((-1, 1, 2, 3, 4, 5, 6, 7))
        elif spec.name == "note" and self.chance() < 0.5:
            given["text"] = f"changed by {mark}"
        change = check.update(copy, spec, key, seen=seen, given=given)
        return (change,) if change is not None else ()

    def _create(self, copy: _Copy, identity: str, table: str, given: Row) -> Change:
        return check.create(copy, SPECS[table], {**given, "mark": identity}, receipt=identity)

    def withdraw(self) -> None:
        waiting = [asked for asked in self.model.by_position.values() if asked.state in (State.KEPT, State.SENDING)]
        if waiting:
            position = self.random.choice(waiting).position
            self._ask("move", {"position": position, "state": "withdrawn", "by": "awa"})

    def decide(self) -> bool:
        """Somebody looks into the ERP and says what became of a command whose outcome is unknown."""
        found = [item for item in self._needing_person() if item.state is State.UNKNOWN]
        if not found:
            return False
        item = self.random.choice(found)
        asked = self.model.by_position[item.position]
        marks = {effect.mark for effect in self.erp.state.effects if effect.kind != "delete"}
        gone = {(e.table, e.key, e.mark) for e in self.erp.state.effects if e.kind == "delete"}
        arrived = set(asked.marks) <= marks if asked.marks else set(asked.deleted()) <= gone
        state = "applied" if arrived else "refused"
        self.model.decided.add(item.position)
        self._ask("move", {"position": item.position, "state": state, "by": "awa", "reason": "looked"})
        return True

    def dismiss(self) -> bool:
        found = self._needing_person()
        if not found:
            return False
        self._ask("dismiss", {"position": self.random.choice(found).position, "by": "awa"})
        return True

    def _needing_person(self) -> list[Any]:
        reader = self.door.alive().store.reader
        found = reader.outbox([state for state in State if state.needs_person], dismissed=False, limit=1000)
        return [item for item in found if item.position in self.model.by_position]

    def _ask(self, method: str, payload: dict[str, Any]) -> None:
        try:
            self.door.call(method, payload)
        except BriqueError:
            return

    def sack(self) -> None:
        """An account is taken away, or given back."""
        self.gone = set() if self.gone else {"gone"}

    # -- the ERP's own ------------------------------------------------------------------------------------------------

    def colleague(self) -> None:
        """A colleague works at the ERP's own screen. He never puts a row back as it was: without a marker table,
        nobody could tell that from a change that never came."""
        self.count += 1
        mark = f"x{self.count}"
        state = self.erp.begin()
        table = self.random.choice(("item", "note", "line"))
        rows, spec = state.tables[table], SPECS[table]
        kind = self.chance()
        if kind < 0.2:
            row = {"item": {"code": self.random.choice("ABCDEFGH"), "name": mark, "stock": 1},
                   "note": {"id": self.erp.next_number(), "text": mark},
                   "line": {"number": self.random.randint(1, 5), "part": "x", "quantity": 2}}[table]  # fmt: skip
            key = tuple(row[name] for name in spec.key)
            if key not in rows:
                rows[key] = {**row, "mark": mark}
        elif rows:
            key = self.random.choice(sorted(rows, key=repr))
            if kind < 0.35 and rows[key]["mark"] == "start":
                del rows[key]
            elif kind < 0.6 and table != "line":
                rows[key] = {**rows[key], {"item": "name", "note": "text"}[table]: mark}
            else:
                rows[key] = {**rows[key], "mark": mark}
        self.erp.commit(state)

    def forget(self) -> None:
        """The server loses its last commits; connections to it are cut."""
        if str(self.process.breaker.health) == "down" or self.chance() < 0.7:
            return
        self.erp.forget(self.random.randint(1, 3))
        self.model.forgetful = True
        self.process.breaker.failed("simulated: the connection was cut")


class _Copy:
    """The copy as `check` wants it, and its keys."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def values(self, table: str, key: str) -> Row | None:
        row = self._reader.row(table, key)
        return None if row is None else row.values

    def is_loaded(self, table: str) -> bool:
        state = self._reader.table_state(table)
        return state is not None and state.loaded

    def keys(self, spec: TableSpec) -> list[str]:
        found = self._reader._connection.execute(f"SELECT _key FROM t_{spec.name} ORDER BY _key")  # type: ignore[union-attr]  # it is open
        return [str(key) for (key,) in found]


def hash_of(text: str) -> int:
    return sum(text.encode())


def simulate(seed: int, steps: int, *, folder: Path | None = None) -> Simulation:
    """Run one simulation. On a fault the seed and the command that replays it are part of the message."""
    place = Path(tempfile.mkdtemp(prefix="brique-simulation-", dir=folder or memory()))
    logging.getLogger("brique").setLevel(logging.CRITICAL)
    simulation = Simulation(place, seed)
    try:
        simulation.run(steps)
    except Exception as fault:
        again = f"python -m tests.simulation --seed {seed} --steps {steps}"
        raise Broken(
            f"seed {seed}, step {simulation.step}: {type(fault).__name__}: {fault}\nreplay it: {again}"
        ) from fault
    finally:
        simulation.close()
        shutil.rmtree(place, ignore_errors=True)
    return simulation


def memory() -> Path | None:
    """A folder in memory, where there is one: the simulation flushes a lot."""
    shared = Path("/dev/shm")
    return shared if shared.is_dir() else None


__all__ = ["PENDING", "Simulation", "simulate"]
