"""kill -9 of engine, web and backend processes at random, under writes: is anything lost or doubled?"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter

from bench.erp import Workshop
from bench.figures import Figures
from bench.site import Site
from bench.traffic import demo_task, judge, start_writers, stop_writers, unknown_marks, wait_settled

ROLES = ("engine", "web", "backend")


class Killer(threading.Thread):
    """Kills a process of `site` every half to two and a half seconds, now and then two at once, until `stop`."""

    def __init__(self, site: Site, seed: int) -> None:
        super().__init__(name="killer", daemon=True)
        self.site, self.killed = site, Counter[str]()
        self._random = random.Random(seed)
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def run(self) -> None:
        while not self._stopped.wait(self._random.uniform(0.5, 2.5)):
            for role in self._random.sample(ROLES, self._random.choice((1, 1, 1, 2))):
                self._kill(role)

    def _kill(self, role: str) -> None:
        pids = self.site.pids(role)
        if pids:
            try:
                os.kill(self._random.choice(pids), signal.SIGKILL)
            except ProcessLookupError:
                return
            self.killed[role] += 1


def run(figures: Figures, workshop: Workshop) -> None:
    for name, marker in (("", ["--marker"]), ("compare.", [])):
        if marker or not workshop.quick:
            _one(figures, workshop, name, marker)


def _one(figures: Figures, workshop: Workshop, name: str, marker: list[str]) -> None:
    seconds = 15.0 if workshop.quick else 120.0
    demo = workshop.demo
    task, tag = demo_task(demo.url), f"kill{int(time.time())}"
    figures.note(
        f"{name or 'watermark.'} 4 writers over the API for {seconds:.0f} s; a call whose answer is lost is repeated "
        "with its idempotency key. "
        + ("With the marker table." if marker else "Without the marker table: what cannot be told is `unknown`.")
    )
    with (
        workshop.scratch("kill") as folder,
        Site(["up", demo.url, "--data", str(folder / "data"), *marker], folder / "data") as site,
    ):
        site.wait_ready()
        site.wait_loaded()
        writers = start_writers(site.port, task, 4, run=tag, pause_seconds=0.005)
        killer = Killer(site, seed=1)
        killer.start()
        time.sleep(seconds)
        killer.stop()
        told = stop_writers(writers, 120)
        settled, counts = wait_settled(site.client(), 180)
        unknown = unknown_marks(site.client(), tag)
        verdict = judge(demo.url, task, told, tag)
    for role in ROLES:
        figures.add(f"{name}kills_{role}", killer.killed[role], "processes")
    figures.add(f"{name}acknowledged", told.acknowledged, "writes")
    figures.add(f"{name}repeated", told.again, "requests")
    figures.add(f"{name}missing", len(set(verdict.missing) - unknown) + len(verdict.stale), "writes")
    figures.add(f"{name}doubled", len(verdict.doubled), "writes")
    figures.add(f"{name}settled_s", settled, "s")
    for state, count in sorted(counts.items()):
        if state != "applied":
            figures.add(f"{name}{state}", count, "commands")
