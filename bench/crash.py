"""Crashes for real: kill -9 of every process and of the database, freezes, wires cut in a commit; hundreds in a row.

Writers write all the time, each write with an idempotency key, repeated until it is acknowledged. CYCLES=500 is how
many faults there are for each kind of backend; afterwards every acknowledged write is looked for in the backend.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.crash_servers import SERVERS, Server, judge, task
from bench.cutter import Cutter
from bench.erp import Workshop
from bench.figures import Figures
from bench.site import Site
from bench.traffic import Told, Verdict, start_writers, stop_writers, unknown_marks, wait_settled

_WRITERS = 3
_SETTINGS = {"BRIQUE_BACKEND_TIMEOUT_SECONDS": "1.5", "BRIQUE_BACKEND_CONNECT_SECONDS": "1.0"}


class Faults:
    """What can go wrong, by name; each leaves everything running again after a while."""

    def __init__(self, server: Server, cutter: Cutter, site: Site, chance: random.Random) -> None:
        self.server, self.cutter, self.site, self.chance = server, cutter, site, chance
        self.seen: Counter[str] = Counter()
        self.kinds: dict[str, Callable[[], None]] = {
            "database_killed": self._kill_database,
            "database_frozen": self._freeze_database,
            "cut_in_commit": self._cut_in_commit,
            "cut": self.cutter.cut,
            "engine_killed": lambda: self._kill("engine"),
            "backend_killed": lambda: self._kill("backend"),
            "web_killed": lambda: self._kill("web"),
            "engine_and_database_killed": self._kill_both,
        }

    def one(self) -> None:
        name = self.chance.choice(list(self.kinds))
        self.kinds[name]()
        self.seen[name] += 1

    def _pause(self, least: float, most: float) -> None:
        time.sleep(self.chance.uniform(least, most))

    def _kill_database(self) -> None:
        self.server.kill()
        self._pause(0.0, 0.8)
        self.server.start()

    def _freeze_database(self) -> None:
        self.server.freeze()
        self._pause(0.2, 3.0)
        self.server.thaw()

    def _cut_in_commit(self) -> None:
        self.cutter.cut_at_commit()
        self._pause(0.1, 0.3)

    def _kill(self, role: str) -> None:
        pids = self.site.pids(role)
        if pids:
            try:
                os.kill(self.chance.choice(pids), signal.SIGKILL)
            except ProcessLookupError:
                return

    def _kill_both(self) -> None:
        self._kill("engine")
        self._kill_database()


def run(figures: Figures, workshop: Workshop) -> None:
    cycles = int(os.environ.get("CYCLES", "6" if workshop.quick else "500"))
    wanted = os.environ.get("BACKENDS", ",".join(SERVERS)).split(",")
    figures.note(
        f"{_WRITERS} writers over the API; a fault every half to one and a half seconds; a write is repeated with its "
        "idempotency key until it is acknowledged. With the marker table, through a wire that can be cut."
    )
    for name in wanted:
        _one(figures, workshop, name, cycles)


def _one(figures: Figures, workshop: Workshop, name: str, cycles: int) -> None:
    chance, tag = random.Random(cycles), f"crash{int(time.time())}"
    with workshop.scratch("crash") as folder, SERVERS[name](folder) as server, _relayed(server) as cutter:
        data = folder / "data"
        with Site(
            ["up", server.url_through(cutter.port), "--data", str(data), "--marker"], data, settings=_SETTINGS
        ) as site:
            site.wait_ready()
            site.wait_loaded()
            faults = Faults(server, cutter, site, chance)
            began = time.monotonic()
            writers = start_writers(site.port, task(), _WRITERS, run=tag, pause_seconds=0.01)
            for _ in range(cycles):
                faults.one()
                time.sleep(chance.uniform(0.2, 1.0))
            told = stop_writers(writers, 120)
            settled, counts = wait_settled(site.client(), 180)
            unknown = unknown_marks(site.client(), tag)
            verdict = judge(server, told, tag)
            seconds = time.monotonic() - began
    _tell(figures, name, faults, told, verdict, unknown)
    figures.add(f"{name}.settled_s", settled, "s")
    figures.add(f"{name}.seconds", seconds, "s")
    for state, count in sorted(counts.items()):
        if state != "applied":
            figures.add(f"{name}.{state}", count, "commands")


def _tell(figures: Figures, name: str, faults: Faults, told: Told, verdict: Verdict, unknown: set[str]) -> None:
    for kind, count in sorted(faults.seen.items()):
        figures.add(f"{name}.{kind}", count, "times")
    figures.add(f"{name}.acknowledged", told.acknowledged, "writes")
    figures.add(f"{name}.repeated", told.again, "requests")
    figures.add(f"{name}.lost", len(set(verdict.missing) - unknown) + len(verdict.stale), "writes")
    figures.add(f"{name}.doubled", len(verdict.doubled), "writes")


@contextmanager
def _relayed(server: Server) -> Iterator[Cutter]:
    cutter = Cutter(server.port)
    cutter.start()
    try:
        yield cutter
    finally:
        cutter.stop()
