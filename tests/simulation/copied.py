"""A data folder that somebody copied, and puts back by hand at the end of a life: what was done since is not in it, and
it gives out positions that its backends have seen.

What the copy has lost is lost; who copies by hand knows that. But of what is given from then on, nothing may count as
done that was not, and nothing at all may be done twice: where a backend has gone past the copy, its lane must stop
until a person takes over, also when the spool has grown past the mark by then.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from brique.commands import Lead
from brique.errors import EngineAway, NotFound
from brique.schema import State
from tests.simulation.asked import Asked, Broken
from tests.simulation.files import forget

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

SHARE = 0.5
"""Of the lives where a mark is always in the backend, and the disk is a sound one."""
_NOTHING_DONE = (State.REFUSED, State.CONFLICT, State.WITHDRAWN)


class CopiedFolder:
    """The copy of one life: made at the step `at`."""

    def __init__(self, simulation: Simulation) -> None:
        self.sim = simulation
        self.random = random.Random(simulation.seed + 0.7)  # lives without a copy stay as they were
        sim = simulation
        can_be = sim.marker and not sim.is_switching and sim.door.disk is None
        self.at = self.random.randint(3, 60) if can_be and self.random.random() < SHARE else 0
        self._files: dict[str, bytes] = {}
        self._since: list[Asked] = []

    def take(self) -> None:
        """Copy the folder as it is."""
        self.sim.door.alive()
        files = (path for path in self.sim.folder.rglob("*") if path.is_file() and "-shm" not in path.name)
        self._files = {str(path.relative_to(self.sim.folder)): path.read_bytes() for path in files}

    def put_back(self) -> None:
        """Put it back, let people work with it while the backends are away, and see what becomes of that."""
        sim = self.sim
        if not self._files or sim.is_forgetful:
            return
        sim.faults.counts["older folder put back by hand"] += 1
        sim.stop_all()
        forget(sim.folder / "store.db")
        shutil.rmtree(sim.folder)
        for name, content in self._files.items():
            path = sim.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        with sim.faults.none():
            last = sim.door.alive().spool.last()
            self._give(last)
            for name in sim.names:
                self._return(name, last)
            self._settle()
            self._check()

    def _give(self, last: int) -> None:
        """What people do before the backends are asked: some of it, or so much that the spool grows past the marks."""
        sim, model = self.sim, self.sim.model
        model.by_position = {position: asked for position, asked in model.by_position.items() if position <= last}
        model.newest = last
        known = set(model.asked)
        sim.lives = {name: sim.new_life(name) for name in sim.names}
        marks = max(erp.state.cursor.get(sim.door.alive().spool.name(), 0) for erp in sim.erps.values())
        upto = self.random.choice((0, last + 10, marks + 10, marks + 40))
        while sim.door.alive().spool.last() < upto and len(model.asked) < len(known) + 400:
            with suppress(EngineAway, NotFound):
                sim.clients.burst()
        self._since = [asked for receipt, asked in model.asked.items() if receipt not in known]

    def _return(self, name: str, last: int) -> None:
        """A backend is asked again. If it has gone past the copy nothing is sent to it before a person takes over."""
        sim = self.sim
        erp, engine = sim.erps[name], sim.door.alive()
        mark, done = erp.state.cursor.get(engine.spool.name(), 0), len(erp.log)
        sim.finish(name, "turn")
        state = engine.store.reader.backend_states()[name]
        lead = Lead.of(state.facts)
        if mark <= last:
            if lead is not None:
                raise Broken(f"{name} is at {mark}, the copy ended at {last}, and the lane is stopped: {lead}")
            return
        if lead is None:
            raise Broken(f"{name} is at {mark}, the copy ended at {last}, and nobody was asked")
        if len(erp.log) > done:
            raise Broken(f"{name} is stopped, and was sent {erp.log[done:]}")
        sim.faults.counts["lane stopped, another command at the mark" if lead.forked else "lane stopped, ahead"] += 1
        sim.door.call("adopt", {"backend": name, "mark": lead.mark, "by": "awa"})
        sim.clock.seconds += 600

    def _settle(self) -> None:
        sim = self.sim
        for _ in range(12):
            for name in sim.names:
                sim.finish(name, "turn")
            while sim.clients.decide():
                pass
            query = "SELECT position FROM command WHERE state IN ('kept', 'sending')"
            waiting = sim.door.alive().store.connection.execute(query).fetchall()
            if not waiting:
                break
            sim.clock.seconds += 60
        else:
            raise Broken(f"in the folder that was put back these wait: {waiting}")
        sim.clients.dismiss_all()
        for name in sim.names:
            sim.refresh_whole(name)

    def _check(self) -> None:
        sim, store = self.sim, self.sim.door.alive().store
        counts = {
            name: Counter((entry.kind, entry.mark) for entry in erp.log if entry.kind != "delete" and not entry.other)
            for name, erp in sim.erps.items()
        }
        for asked in sim.model.asked.values():
            for what in asked.wanted():
                if counts[asked.backend][what] > 1:
                    raise Broken(f"{asked.id} had its effect {counts[asked.backend][what]} times: {what}")
        found = store.connection.execute("SELECT id, position, state FROM command").fetchall()
        states = {receipt: State(state) for receipt, position, state in found if position not in sim.model.decided}
        for asked in self._since:
            state = states.get(asked.id)
            missing = [what for what in asked.wanted() if not counts[asked.backend][what]]
            if state is State.APPLIED and missing:
                raise Broken(f"{asked.id} is applied, and the backend has no {missing}")
            if state in _NOTHING_DONE and len(missing) < len(asked.wanted()):
                raise Broken(f"{asked.id} is {state}, and the backend has some of {asked.wanted()}")
        sim.model.seen.check_rest(store)
