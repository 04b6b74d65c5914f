"""Many seeds, on every core: what they did, and what was found."""

from __future__ import annotations

import gc
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.simulation.files import spare_sqlite
from tests.simulation.simulation import COMMANDS, simulate

CHUNK = 20
"""Seeds that a worker takes at a time."""
_COLLECTING = 4


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
            if not seed % _COLLECTING:
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


def run(
    take: Callable[[int], int], seconds: float, workers: int, commands: int = COMMANDS
) -> Iterator[tuple[Totals, tuple[int, int]]]:
    """Seeds until the time is over, `take(count)` telling the first of the next ones: after each chunk what it did, and
    its first and last seed."""
    end = time.monotonic() + seconds
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=spare_sqlite) as pool:
        under_way: dict[Future[Totals], int] = {}
        while under_way or time.monotonic() < end:
            while len(under_way) < workers and time.monotonic() < end:
                first = take(CHUNK)
                under_way[pool.submit(run_chunk, first, CHUNK, commands)] = first
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                first = under_way.pop(future)
                yield future.result(), (first, first + CHUNK - 1)


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
