"""A whole brique on simulated backends and a simulated clock: `simulate(seed)` does the same again for the same seed.

    python -m tests.simulation --seed 17

Clients give, repeat and withdraw commands, several at a time; a person decides and dismisses; a colleague changes the
ERP's rows; the backend goes away at any call, freezes, refuses, commits later than its caller waited, and forgets its
last commits; engine and backend processes are killed before and after any append, commit, report and call; disks are
full; the store is lost and made again, or thrown back by a power cut; a process that was thought dead goes on sending.
At any call others may act. After every step the promises are checked (`model`), and now and then everything is let
come to rest and compared with the backends.
"""

from __future__ import annotations

import logging
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

from brique.backends import Rung
from brique.errors import EngineAway, NotFound
from tests.simulation.backends import FakeBackend, Manner
from tests.simulation.copied import CopiedFolder
from tests.simulation.disk import SimDisk
from tests.simulation.erp import Erp, tables_of
from tests.simulation.faults import Crash, Ended, Faults
from tests.simulation.files import cheap
from tests.simulation.habits import Habits
from tests.simulation.mishaps import Mishaps, set_zone
from tests.simulation.model import Broken, Model
from tests.simulation.people import Clients, Colleague
from tests.simulation.processes import Door, SimClock, SimProcess, Task, new_settings
from tests.simulation.start import declared, furnish, memory, names_of, prefix_of

COMMANDS = 100
"""Commands of one life, unless said."""
SEARCHES = 0.1
"""Share of lives whose store keeps an index for searching. Nothing here searches: what counts is that its work is part
of each transaction, and fails with it."""
DISKS = 0.2
"""Share of lives whose spool is on a disk that loses, tears and reorders what was not flushed."""
MANNERS = (
    *[Manner(Rung.COMPARE)] * 3,
    *[Manner(Rung.GUARD, transactions=False)] * 2,
    *[Manner(Rung.NATURAL_KEY, transactions=False)] * 2,
    *[Manner(Rung.NONE, transactions=False)] * 2,
)
"""Of the backends that do not allow the marker table; half of them do."""
_STEPS_MAX = 2_000


class Life:
    """A process of one backend: what it does now, `turn` and `refresh`, and its brothers that should be dead."""

    def __init__(self, process: SimProcess) -> None:
        self.process = process
        self.turn: Task | None = None
        self.refresh: Task | None = None
        self.barred: frozenset[str] = frozenset()
        """Users who might not write any more when the turn began."""


def _summed(weights: dict[str, float]) -> tuple[list[str], list[float]]:
    """The names, and their weights added up."""
    return list(weights), list(accumulate(weights.values()))


class Simulation:
    """One run in `folder`. `seed` decides everything, which kinds of backend there are as well, and the habits unless
    they are given."""

    def __init__(self, folder: Path, seed: int, habits: Habits | None = None) -> None:
        self.seed, self.folder = seed, folder
        self.random = random.Random(seed)
        self.habits = habits or Habits.of(seed)
        self.faults = Faults(self.random, self.habits.moods, self.habits.pauses)
        self.chance = self.faults.chance
        self.clock = SimClock()
        self.marker = bool(seed % 2)
        self.is_switching = seed % 5 == 4
        """Whether the marker table is allowed at one start and not at the next."""
        self.names = names_of(2 if self.chance() < 0.15 else 1)
        self.erps = {name: Erp(tables_of(name, prefix_of(name))) for name in self.names}
        self.model = Model(self.erps, surest=set(self.names) if self.marker and not self.is_switching else set())
        self.running: Task | None = None
        self.holds_reports = False
        """Whoever wants to report has to wait."""
        self.backends = {name: self._backend(name) for name in self.names}
        manners = {name: backend.manner for name, backend in self.backends.items()}
        self.model.atomic = {name for name, manner in manners.items() if manner.transactions}
        self.model.guarded = {name for name, manner in manners.items() if manner.rung is Rung.GUARD}
        self.gone: set[str] = set()
        self.step = 0
        self.clients, self.colleague = Clients(self), Colleague(self)
        search = random.Random(seed + 0.9).random() < SEARCHES
        settings = new_settings(folder, self.habits.batch)
        self.door = Door(declared(len(self.names)), settings, self.clock, self.faults, search=search)
        self.zombies: list[tuple[Life, Task]] = []
        self.photo: dict[str, bytes] = {}
        if self.chance() < 0.97:
            furnish(folder, len(self.names), search=search)
        apart = random.Random(seed + 0.6)  # lives without such a disk stay as they were
        if apart.random() < DISKS:
            self.door.disk = SimDisk(folder / "spool", apart)
        self.door.start()
        self.mishaps = Mishaps(self)
        rare = {name: often for name, often in self.habits.rare.items() if name != "worsen_disk" or self.door.disk}
        self._actions = self._all_actions()
        self._usual, self._rare = _summed(self.habits.weights), _summed(rare)
        self.lives = {name: self.new_life(name) for name in self.names}
        self.copied = CopiedFolder(self)

    def _backend(self, name: str) -> FakeBackend:
        return FakeBackend(
            name,
            self.erps[name],
            self.faults,
            self._between,
            marker=self.marker,
            manner=Manner() if self.marker or self.is_switching else self.random.choice(MANNERS),
            prints=self.chance() < 0.5,
            advance=self._advance,
            committed=self._check_rights,
        )

    @property
    def is_forgetful(self) -> bool:
        """Whether a backend has lost commits, and its process has not looked yet."""
        return any(ledger.forgetful for ledger in self.model.ledgers.values())

    # -- processes ----------------------------------------------------------------------------------------------------

    def _advance(self, seconds: float) -> None:
        self.clock.seconds += seconds

    def _between(self, place: str) -> None:
        """At a call of a backend's process: others act, or the process ends."""
        is_held = self.holds_reports and place == "report?"
        if self.running is not None and (is_held or self.chance() < self.faults.weather.pause):
            self.running.pause()
        if place == "begin" and any(task is self.running for _, task in self.zombies):
            raise Crash("dead already: nothing new is begun")
        if place not in ("ping", "prepare"):
            self.faults.crash("backend process killed at a call", 0.5)

    def _new_process(self, name: str) -> SimProcess:
        return SimProcess(
            self.door,
            self.backends[name],
            self._between,
            lambda command: "may not write any more" if command.user in self.gone else "",
            self._give_way,
            self.habits.prompt,
        )

    def new_life(self, name: str) -> Life:
        """A process of a backend, just started."""
        return Life(self._new_process(name))

    def _give_way(self) -> None:
        assert self.running is not None
        self.running.pause()

    def _end_process(self, name: str) -> None:
        """Kill a backend's process, whatever it does; another one starts."""
        self._kill(name)
        self.lives[name] = self.new_life(name)

    def _kill(self, name: str) -> None:
        life = self.lives[name]
        for task in (life.turn, life.refresh):
            if task is not None:
                task.kill()
        life.process.end()
        self.model.doubts += 1
        if self.is_switching and self.chance() < 0.3:
            self.faults.counts["marker table switched"] += 1
            self.backends[name].allow_marker(not self.backends[name].marker)

    def _go_on(self, task: Task) -> None:
        kept, self.running = self.running, task
        try:
            task.go_on()
        finally:
            self.running = kept

    def _do(self, name: str, what: str) -> None:
        """Begin a round or a refresh of a backend's process, or let the one under way go on for a while."""
        life = self.lives[name]
        task: Task | None = getattr(life, what)
        if self.door.has_no_power:
            return
        if task is None:
            process = life.process
            if what == "refresh" and str(process.breaker.health) == "down":
                return
            if what == "turn":
                self.clock.seconds += 6.0
                life.barred = frozenset(self.gone)
            task = Task(process._turn if what == "turn" else process.refreshing._refresh)
            setattr(life, what, task)
        try:
            self._go_on(task)
        except Ended:
            self._end_process(name)
            return
        if task.is_over:
            setattr(life, what, None)
            if what == "turn":
                self._note_recovery(name)

    def _note_recovery(self, name: str) -> None:
        """After a round that went well, a process knows what its backend has forgotten."""
        ledger, process = self.model.ledgers[name], self.lives[name].process
        if ledger.forgetful and str(process.breaker.health) != "down" and "writing" not in self.backends[name].cut:
            ledger.forgetful, ledger.epoch = False, -1

    def _check_rights(self, name: str, marks: list[str]) -> None:
        """What is committed was allowed to its author when the round began, or still is."""
        life = self.lives[name]
        if name not in self.model.surest or self.running is not life.turn:
            return
        for mark in marks:
            asked = self.model.of_mark.get(mark)
            if asked is not None and asked.command.user in life.barred and asked.command.user in self.gone:
                raise Broken(f"{asked.id} was applied, and {asked.command.user} may not write any more")

    def turn(self) -> None:
        self._do(self.random.choice(self.names), "turn")

    def work_on_refresh(self) -> None:
        self._do(self.random.choice(self.names), "refresh")

    def kill_engine(self) -> None:
        self.faults.counts["engine killed"] += 1
        self.door.kill()

    def kill_process(self) -> None:
        self.faults.counts["backend process killed"] += 1
        self._end_process(self.random.choice(self.names))

    def haunt(self) -> None:
        """What a dead process was doing to its backend goes on, and another process was started in its place."""
        name = self.random.choice(self.names)
        life = self.lives[name]
        if name not in self.model.surest or life.turn is None or self.backends[name].session_open is not None:
            return
        self.faults.counts["second replayer"] += 1
        if life.refresh is not None:
            life.refresh.kill()
        life.process.channel.is_cut = True  # type: ignore[attr-defined]  # a simulated one
        self.zombies.append((life, life.turn))
        self.model.doubts += 1
        self.lives[name] = self.new_life(name)
        if self.habits.eager:
            self._overtake(name)

    def _overtake(self, name: str) -> None:
        """The second process does what it can; before any of it is known, the first one goes on."""
        weather = self.faults.weather
        self.faults.weather, self.holds_reports = replace(weather, pause=0), True
        try:
            self._do(name, "turn")
        finally:
            self.faults.weather, self.holds_reports = weather, False
        self.move_zombie()

    def move_zombie(self) -> None:
        if not self.zombies:
            return
        life, task = self.random.choice(self.zombies)
        with suppress(Ended):
            self._go_on(task)
        if task.is_over:
            self._bury(life, task)

    def _bury(self, life: Life, task: Task) -> None:
        task.kill()
        life.process.end()
        self.zombies.remove((life, task))

    # -- the run ------------------------------------------------------------------------------------------------------

    def run(self, commands: int) -> None:
        """Until `commands` were asked, each step followed by a check. Raises Broken."""
        with self.faults.none():
            for name in self.names:
                self.finish(name, "turn")
                self.refresh_whole(name)
        while self.clients.count < commands and self.step < _STEPS_MAX:
            self.step += 1
            if self.step == self.copied.at:
                self.copied.take()
            self._act(self._next())
            if self.door.has_no_power:
                self.mishaps.lose_power()
            self.check()
        self.rest()
        self.copied.put_back()

    def _next(self) -> Callable[[], Any]:
        """What happens next."""
        names, sums = self._rare if self.chance() < self.habits.rare_share else self._usual
        return self._actions[self.random.choices(names, cum_weights=sums)[0]]

    def _all_actions(self) -> dict[str, Callable[[], Any]]:
        clients, mishaps = self.clients, self.mishaps
        return {
            "burst": clients.burst, "click_again": clients.click_again, "withdraw": clients.withdraw,
            "decide": clients.decide, "dismiss": clients.dismiss, "other_wish": clients.other_wish,
            "sack": mishaps.sack, "colleague": self.colleague.work, "forget": mishaps.forget, "turn": self.turn,
            "refresh": self.work_on_refresh, "pass_time": mishaps.pass_time, "change": self.faults.change,
            "kill_engine": self.kill_engine, "kill_process": self.kill_process, "step_clock": mishaps.step_clock,
            "haunt": self.haunt, "move_zombie": self.move_zombie, "lose_store": mishaps.lose_store,
            "take_photo": mishaps.take_photo, "cut_power": mishaps.cut_power, "clean_spool": mishaps.clean_spool,
            "rebuild": mishaps.rebuild, "rest": self.rest, "worsen_disk": mishaps.worsen_disk,
        }  # fmt: skip

    def _act(self, action: Callable[[], Any]) -> None:
        with suppress(EngineAway, NotFound):  # told to the actor, who tries something else
            action()
        self.model.doubts += sum(backend.take_doubts() for backend in self.backends.values())

    def close(self) -> None:
        with self.faults.none():
            for life, task in list(self.zombies):
                self._bury(life, task)
            for life in self.lives.values():
                for task in (life.turn, life.refresh):
                    if task is not None:
                        task.kill()
                life.process.end()
            self.door.kill()
            if self.door.disk is not None:
                self.door.disk.close()
        set_zone("UTC")

    def check(self) -> None:
        """The promises, on a store that has caught up with the spool."""
        with self.faults.none(), self.sound_disk():
            engine = self.door.alive()
            if engine.ledger._is_behind:
                engine.ledger.handle([])
            self.model.check(engine.store)

    @contextmanager
    def sound_disk(self) -> Iterator[None]:
        """The disk does what it should inside."""
        disk = self.door.disk
        if disk is None:
            yield
            return
        left = None if disk.cut_at is None else max(1, disk.cut_at - disk.calls)
        disk.cut_at, failing, disk.failing_flushes = None, disk.failing_flushes, 0
        yield
        disk.cut_at = None if left is None else disk.calls + left
        disk.failing_flushes = failing

    def rest(self) -> None:
        """Let everything settle; then copy and backend must be equal."""
        with self.faults.none(), self.sound_disk():
            for erp in self.erps.values():
                erp.thaw(self.chance() < 0.5)
            for life, task in list(self.zombies):
                self._bury(life, task)
            for asked in self.clients.waiting_clicks():
                self.clients.send([(self.clients._call(asked), asked)])
            for _ in range(3):
                self._settle_all()
                self.clients.dismiss_all()
                for name in self.names:
                    self.refresh_whole(name)
                if not self.clients.needing_person():
                    break  # else it was noticed only now that a backend had forgotten something
            self.check()
            store = self.door.alive().store
            self.model.check_deletions()
            self.model.seen.check_rest(store)
            self.model.check_deleted()
            if self.chance() < 0.2:
                self.mishaps.rebuild()

    def _settle_all(self) -> None:
        for _ in range(8):
            for name in self.names:
                self.finish(name, "turn")
            while self.clients.decide():
                pass
            self.check()
            waiting = [
                (a.position, str(a.state)) for a in self.model.by_position.values() if a.state and not a.state.settled
            ]
            if not waiting:
                return
            self.clock.seconds += 60
        raise Broken(f"at rest, and these wait: {waiting}")

    def finish(self, name: str, what: str) -> None:
        """Let what is under way come to its end, then do it once more, whole."""
        for begin in (False, True):
            if begin:
                self._do(name, what)
            while getattr(self.lives[name], what) is not None:
                for each in ("turn", "refresh"):
                    if getattr(self.lives[name], each) is not None:
                        self._do(name, each)

    def refresh_whole(self, name: str) -> None:
        """A whole refresh, after another try when its connection was cut."""
        for _ in range(3):
            self.finish(name, "refresh")
            if str(self.lives[name].process.breaker.health) != "down":
                return
            self.clock.seconds += 60
            self.finish(name, "turn")
        raise Broken(f"{name} answers, and is down: {self.lives[name].process.breaker.reason}")

    def stop_all(self) -> None:
        self.door.kill()
        with self.faults.none():
            for name in self.names:
                self._kill(name)

    def begin_again(self) -> None:
        if self.door.disk is not None and self.door.disk.is_dead:
            self.door.disk.power_up()
        self.door.has_no_power = False
        with self.faults.none(), self.sound_disk():
            self.door.alive()
            self.lives = {name: self.new_life(name) for name in self.names}
            for erp in self.erps.values():
                erp.thaw(self.chance() < 0.5)
            for name in self.names:
                self.finish(name, "turn")
                self.refresh_whole(name)


def simulate(
    seed: int, commands: int = COMMANDS, *, make: Callable[[Path, int], Simulation] = Simulation
) -> Simulation:
    """Run one simulation. On a fault the seed and the command that replays it are part of the message."""
    place = Path(tempfile.mkdtemp(prefix="brique-simulation-", dir=memory()))
    logging.getLogger("brique").setLevel(logging.CRITICAL)
    sys.unraisablehook = lambda unraisable: None  # SQLite goes on trying to write while it closes files without power
    with cheap():
        return _life(place, seed, commands, make)


def _life(place: Path, seed: int, commands: int, make: Callable[[Path, int], Simulation]) -> Simulation:
    simulation = make(place, seed)
    try:
        simulation.run(commands * simulation.habits.length)
    except Exception as fault:
        again = f"python -m tests.simulation --seed {seed}" + (f" --commands {commands}" * (commands != COMMANDS))
        raise Broken(
            f"seed {seed}, step {simulation.step}: {type(fault).__name__}: {fault}\nreplay it: {again}"
        ) from fault
    finally:
        simulation.close()
        shutil.rmtree(place, ignore_errors=True)
    return simulation
