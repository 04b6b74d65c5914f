"""The load of every peer: so many writers, each waiting for its acknowledgement before it gives the next."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass

PAYLOAD = "x" * 150
"""What every task carries, beside its number."""


@dataclass(frozen=True)
class Load:
    """What the writers saw; latencies in ms."""

    count: int
    seconds: float
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        return self.count / self.seconds

    def print(self) -> None:
        """As the one line that the parent reads."""
        print(json.dumps(asdict(self)), flush=True)


def _load(latencies: list[float], seconds: float) -> Load:
    latencies.sort()
    count = len(latencies)
    if not count:
        return Load(0, seconds, 0.0, 0.0)
    return Load(count, seconds, latencies[count // 2] * 1000, latencies[min(count - 1, count * 99 // 100)] * 1000)


def threads(give: Callable[[int], object], writers: int, seconds: float) -> Load:
    """`writers` threads call `give(number)`, which returns when it is acknowledged, for `seconds`."""
    found: list[list[float]] = [[] for _ in range(writers)]
    ready = threading.Barrier(writers + 1)
    ending = threading.Event()

    def write(place: int) -> None:
        mine, number = found[place], place
        ready.wait()
        while not ending.is_set():
            began = time.perf_counter()
            give(number)
            mine.append(time.perf_counter() - began)
            number += writers

    team = [threading.Thread(target=write, args=(place,)) for place in range(writers)]
    for thread in team:
        thread.start()
    ready.wait()
    began = time.perf_counter()
    time.sleep(seconds)
    ending.set()
    for thread in team:
        thread.join()
    return _load([one for mine in found for one in mine], time.perf_counter() - began)


async def tasks(give: Callable[[int], Awaitable[object]], writers: int, seconds: float) -> Load:
    """The same with `writers` tasks of one event loop."""
    found: list[float] = []
    began = time.perf_counter()
    end = began + seconds

    async def write(number: int) -> None:
        while (at := time.perf_counter()) < end:
            await give(number)
            found.append(time.perf_counter() - at)
            number += writers

    await asyncio.gather(*(write(place) for place in range(writers)))
    return _load(found, time.perf_counter() - began)


def arguments() -> tuple[str, str, int, float]:
    """Of the command line: what to do, the folder, and two numbers."""
    what, folder, first = sys.argv[1:4]
    return what, folder, int(first), float(sys.argv[4]) if len(sys.argv) > 4 else 0.0
