"""Many seeds, on every core: what they did, what was found, and the sum of all runs in bench/results/simulate.json."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import figures
from tests.simulation.simulation import COMMANDS, simulate

CHUNK = 20
"""Seeds that a worker takes at a time."""
RESULT = figures.RESULTS / "simulate.json"


@dataclass
class Totals:
    """What some seeds have done. `failures`: the message of each that broke a promise."""

    seeds: int = 0
    commands: int = 0
    steps: int = 0
    checks: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    failures: dict[int, str] = field(default_factory=dict)

    def add(self, other: Totals) -> None:
        self.seeds += other.seeds
        self.commands += other.commands
        self.steps += other.steps
        self.checks += other.checks
        self.faults.update(other.faults)
        self.states.update(other.states)
        self.failures.update(other.failures)


def run_chunk(first: int, count: int, commands: int = COMMANDS) -> Totals:
    """Seeds `first` to `first + count - 1`, one after the other."""
    totals = Totals()
    with _collecting_seldom():
        for seed in range(first, first + count):
            gc.collect()
            _add(totals, seed, commands)
    return totals


@contextmanager
def _collecting_seldom() -> Iterator[None]:
    """A life makes few cycles; looking for them all the time would take an eighth of it."""
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def _add(totals: Totals, seed: int, commands: int) -> None:
    totals.seeds += 1
    try:
        done = simulate(seed, commands)
    except AssertionError as fault:
        totals.failures[seed] = str(fault)
        return
    totals.commands += len(done.model.by_position)
    totals.steps += done.step
    totals.checks += done.model.checks
    totals.faults.update(done.faults.counts)
    totals.states.update(str(asked.state) for asked in done.model.by_position.values())


def run(first: int, seconds: float, workers: int, commands: int = COMMANDS) -> Iterator[tuple[Totals, int]]:
    """Seeds from `first` on until the time is over: after each chunk what it did, and the next seed that no chunk has
    begun."""
    end, following = time.monotonic() + seconds, first
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        under_way = set()
        while under_way or time.monotonic() < end:
            while len(under_way) < workers and time.monotonic() < end:
                under_way.add(pool.submit(run_chunk, following, CHUNK, commands))
                following += CHUNK
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result(), following


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class Record:
    """The sum of all runs so far, as it is kept in `path`."""

    path: Path = RESULT
    kept: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path.exists():
            self.kept = json.loads(self.path.read_text("utf-8"))

    @property
    def next_seed(self) -> int:
        return int(self.kept.get("next_seed", 0))

    def broken(self) -> list[int]:
        """Seeds that have broken a promise, and have not been seen to hold since."""
        return [int(seed) for seed in self.kept.get("broken", {})]

    def mended(self, seed: int) -> None:
        """A seed that had broken a promise holds."""
        self.kept["broken"].pop(str(seed))
        self.kept["mended"] = self.kept.get("mended", 0) + 1

    def add(self, totals: Totals, *, first: int, following: int, seconds: float, revision: str) -> None:
        """Add one run, over seeds `first` to `following - 1`, and write it all down."""
        kept = self.kept
        sums = Counter(kept.get("sums", {}))
        sums.update(
            {"seeds": totals.seeds, "commands": totals.commands, "steps": totals.steps, "checks": totals.checks}
        )
        faults = Counter(kept.get("faults", {})) + totals.faults
        states = Counter(kept.get("states", {})) + totals.states
        broken = {**kept.get("broken", {}), **{str(seed): text for seed, text in totals.failures.items()}}
        run_of = {"revision": revision, "first": first, "last": following - 1, "seconds": round(seconds, 1)}
        kept.update(
            {
                "bench": "simulate",
                "command": "make simulate SECONDS=3600 ARGS=--accumulate",
                "quick": False,
                "began": kept.get("began") or datetime.now(UTC).isoformat(timespec="seconds"),
                "seconds": round(kept.get("seconds", 0) + seconds, 1),
                "revision": revision,
                "machine": figures.machine(),
                "versions": figures.versions(),
                "next_seed": following,
                "sums": dict(sums),
                "faults": dict(sorted(faults.items())),
                "states": dict(sorted(states.items())),
                "broken": broken,
                "mended": kept.get("mended", 0),
                "spans": [*kept.get("spans", []), {**run_of, "commands": totals.commands}],
            }
        )
        self._tell(sums, faults, states)
        self.path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", "utf-8")

    def _tell(self, sums: Counter[str], faults: Counter[str], states: Counter[str]) -> None:
        kept = self.kept
        found: list[tuple[str, float, str]] = [(name, sums[name], name) for name in ("seeds", "commands", "checks")]
        found.append(("faults", sum(faults.values()), "faults injected"))
        found.append(("violations", len(kept["broken"]), "promises broken"))
        found.append(("mended", kept["mended"], "faults found by earlier runs, and mended"))
        found += [(f"fault.{name.replace(' ', '_')}", count, "times") for name, count in sorted(faults.items())]
        found += [(f"state.{name}", count, "commands") for name, count in sorted(states.items())]
        kept["figures"] = [{"name": f"simulate.{n}", "value": v, "unit": u} for n, v, u in found]
        kept["notes"] = [
            f"The sum of {len(kept['spans'])} runs, which take up the seeds where the one before ended. Each seed is a "
            f"life of about {COMMANDS} commands; a step is followed by a check of every promise.",
            "It can fail: `python -m tests.simulation --bugs` puts deliberate faults into the product, one after the "
            "other, and says how many seeds it takes to find each.",
        ]
