"""Crashes for real: kill -9 of every process and of the database, freezes, wires cut at a commit; hundreds in a row.

Writers write all the time, each write with an idempotency key, repeated until it is acknowledged. CYCLES=500 is how
many faults there are for each kind of backend, BACKENDS=mariadb,sqlite chooses of them. They come one to three at a
time; after each such burst everything that had been acknowledged must come to be in the backend, once.
Figures accumulate over runs in results/crash.json.
"""

from __future__ import annotations

import http.client
import os
import random
import shutil
import signal
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.crash_servers import CASES, Case, Server, judge, task
from bench.cutter import Cutter
from bench.erp import Workshop
from bench.figures import Figures
from bench.site import Site
from bench.traffic import Told, Verdict, Writer, start_writers, stop_writers, unknown_marks, wait_settled

_WRITERS = 3
_BURST_MAX = 3
_CAUGHT_UP_SECONDS_MAX = 90.0
_UNKNOWN_LOOK_SECONDS = 5.0
_SETTINGS = {
    "BRIQUE_BACKEND_TIMEOUT_SECONDS": "1.5",
    "BRIQUE_BACKEND_CONNECT_SECONDS": "1.0",
    "BRIQUE_PROBE_SECONDS_MAX": "0.5",
    "BRIQUE_SETTLE_WAIT_MS": "0",
}


class Faults:
    """What can go wrong, by name; each leaves everything running again after a while."""

    def __init__(self, server: Server, cutter: Cutter | None, site: Site, chance: random.Random) -> None:
        self.server, self.site, self.chance = server, site, chance
        self.seen: Counter[str] = Counter()
        self.kinds: dict[str, Callable[[], None]] = {
            "database_killed" if cutter else "neighbour_killed": self._kill_database,
            "database_frozen" if cutter else "database_locked": self._freeze_database,
            "engine_killed": lambda: self._kill("engine"),
            "backend_killed": lambda: self._kill("backend"),
            "web_killed": lambda: self._kill("web"),
            "all_of_brique_killed": self.site.start_again,
            "engine_and_database_killed": lambda: self._kill_with_database("engine"),
            "backend_and_database_killed": lambda: self._kill_with_database("backend"),
        }
        if cutter is not None:
            self.kinds |= {
                "cut": cutter.cut,
                "cut_before_commit": lambda: self._cut_at_commit(cutter, arrives=False),
                "cut_after_commit": lambda: self._cut_at_commit(cutter, arrives=True),
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

    def _cut_at_commit(self, cutter: Cutter, *, arrives: bool) -> None:
        cuts, end = cutter.cuts, time.monotonic() + 5.0
        cutter.cut_at_commit(arrives=arrives)
        while cutter.cuts == cuts and time.monotonic() < end:
            time.sleep(0.005)
        cutter.give_up()

    def _kill(self, role: str) -> None:
        """Waits for a process of that role to be there."""
        end = time.monotonic() + 10.0
        while not (pids := self.site.pids(role)) and time.monotonic() < end:
            time.sleep(0.02)
        if pids:
            with suppress(ProcessLookupError):
                os.kill(self.chance.choice(pids), signal.SIGKILL)

    def _kill_with_database(self, role: str) -> None:
        self._kill(role)
        self._kill_database()


@dataclass
class Found:
    """What one kind of backend has come to."""

    told: Told = field(default_factory=Told)
    verdict: Verdict = field(default_factory=lambda: Verdict([], [], []))
    unknown: set[str] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)
    told_of: list[str] = field(default_factory=list)
    """Commands that ended in another way than applied or unknown: for each what became of it."""
    faults: Counter[str] = field(default_factory=Counter)
    writing_s: list[float] = field(default_factory=list)
    """From the end of each burst until every writer has been acknowledged something given after it."""
    caught_up_s: list[float] = field(default_factory=list)
    """From then on until all that had been acknowledged was in the backend."""
    seconds: float = 0.0

    @property
    def lost(self) -> list[str]:
        """Acknowledged writes that are not in the backend, and that nobody was told of."""
        return sorted(set(self.verdict.missing) - self.unknown) + self.verdict.stale


def run(figures: Figures, workshop: Workshop) -> None:
    cycles = int(os.environ.get("CYCLES", "6" if workshop.quick else "500"))
    wanted = os.environ.get("BACKENDS", ",".join(CASES)).split(",")
    if unknown := set(wanted) - set(CASES):
        raise SystemExit(f"There is no backend {', '.join(unknown)}: choose of {', '.join(CASES)}.")
    figures.note(
        f"{_WRITERS} writers over the API; faults come one to {_BURST_MAX} at a time; a write is repeated with its "
        "idempotency key until it is acknowledged. After each burst every writer must be acknowledged again "
        "(`writing`: how long that takes), and all that was acknowledged come to be in the database (`caught_up`)."
    )
    figures.note(
        "Through a wire that can be cut; with the marker table, but for `…_compare`, where what cannot be told is "
        "`unknown`."
    )
    for name in wanted:
        with workshop.scratch("crash") as folder:
            _tell(figures, name, crash(CASES[name], folder, cycles, seed=time.time_ns()))


def crash(case: Case, folder: Path, cycles: int, *, seed: int) -> Found:
    """So many faults, and what is in the backend afterwards. Raises SystemExit when a check fails on the way."""
    chance, tag, found = random.Random(seed), f"crash{int(time.time())}", Found()
    print(f"# seed {seed}", flush=True)
    with case.open(folder) as server, _relayed(server) as cutter:
        data = folder / "data"
        arguments = ["up", server.url_through(cutter.port if cutter else 0), "--data", str(data)]
        with Site([*arguments, *(["--marker"] if case.marker else [])], data, settings=_SETTINGS) as site:
            site.wait_ready()
            site.wait_loaded()
            faults, began = Faults(server, cutter, site, chance), time.monotonic()
            writers = start_writers(site.port, task(), _WRITERS, run=tag, pause_seconds=case.pause_seconds)
            while (left := cycles - faults.seen.total()) > 0:
                for _ in range(min(left, chance.randint(1, _BURST_MAX))):
                    faults.one()
                    time.sleep(chance.uniform(0.0, 0.8))
                found.writing_s.append(_wait_writing(site, writers))
                found.caught_up_s.append(_wait_arrived(server, site, writers, tag))
            found.told = stop_writers(writers, 120)
            _, found.counts = wait_settled(site.client(), 180)
            found.unknown = unknown_marks(site.client(), tag)
            found.told_of = _told_of(site, found.counts)
            found.verdict = judge(server, found.told.made, found.told.updated, tag)
            found.seconds, found.faults = time.monotonic() - began, faults.seen
    return found


def _told_of(site: Site, counts: dict[str, int]) -> list[str]:
    """What became of commands that nobody would expect to be refused or in conflict."""
    client = site.client()
    odd = [state for state in counts if state in ("refused", "conflict", "withdrawn")]
    found = [item for state in odd for item in client.get(f"/api/outbox?state={state}&limit=100").json()["receipts"]]
    return [client.get(item["url"]).body.decode() for item in found]


def _wait_writing(site: Site, writers: Sequence[Writer]) -> float:
    """Wait until every writer has been acknowledged two more writes: how long that was."""
    before, began = [len(writer.told.made) for writer in writers], time.monotonic()
    while any(len(writer.told.made) < count + 2 for writer, count in zip(writers, before, strict=True)):
        _look_after(writers)
        if time.monotonic() - began > _CAUGHT_UP_SECONDS_MAX:
            _give_up(site, f"after {_CAUGHT_UP_SECONDS_MAX:.0f} s somebody still cannot write")
        time.sleep(0.01)
    return time.monotonic() - began


def _give_up(site: Site, why: str) -> None:
    """Keep what the data folder holds, and end."""
    kept = Path(tempfile.mkdtemp(prefix="brique-crash-kept-"))
    shutil.copytree(site.data, kept / "data", ignore=shutil.ignore_patterns("*.sock"))
    shutil.copy(site.log, kept)
    client = site.client(timeout=5.0)
    for path in ("/api/outbox?limit=5", "/-/status?format=json"):
        with suppress(OSError, http.client.HTTPException):
            (kept / path.strip("/").partition("?")[0].replace("/", "-")).write_bytes(client.get(path).body)
    raise SystemExit(f"{why}; see {kept}")


def _look_after(writers: Sequence[Writer]) -> None:
    """Raise what has ended a writer."""
    for writer in writers:
        if writer.fault is not None:
            raise writer.fault


def _wait_arrived(server: Server, site: Site, writers: Sequence[Writer], tag: str) -> float:
    """Wait until all that has been acknowledged by now is in the backend (or told to be unknown); how long that was."""
    made = [mark for writer in writers for mark in list(writer.told.made)]
    updated = {key: number for writer in writers for key, number in dict(writer.told.updated).items()}
    unknown: set[str] = set()
    began = looked = time.monotonic()
    while True:
        verdict = judge(server, made, updated, tag)
        _look_after(writers)
        if verdict.doubled or not (set(verdict.missing) - unknown or verdict.stale):
            return time.monotonic() - began
        if time.monotonic() - looked > _UNKNOWN_LOOK_SECONDS:
            unknown, looked = unknown_marks(site.client(), tag), time.monotonic()
        if time.monotonic() - began > _CAUGHT_UP_SECONDS_MAX:
            _give_up(site, f"after {_CAUGHT_UP_SECONDS_MAX:.0f} s {verdict.brief} of what was acknowledged")
        time.sleep(0.05)


def _tell(figures: Figures, name: str, found: Found) -> None:
    figures.add(f"{name}.cycles", found.faults.total(), "faults", summed=True)
    for kind, count in sorted(found.faults.items()):
        figures.add(f"{name}.{kind}", count, "times", summed=True)
    figures.add(f"{name}.acknowledged", found.told.acknowledged, "writes", summed=True)
    figures.add(f"{name}.repeated", found.told.again, "requests", summed=True)
    figures.add(f"{name}.lost", len(found.lost), "writes", summed=True)
    figures.add(f"{name}.doubled", len(found.verdict.doubled), "writes", summed=True)
    for line in found.told_of:
        print(f"# {line}", flush=True)
    for state, count in sorted(found.counts.items()):
        if state != "applied":
            figures.add(f"{name}.{state}", count, "commands", summed=True)
    figures.add(f"{name}.checks", len(found.caught_up_s), "checks", summed=True)
    for what, times in (("writing", found.writing_s), ("caught_up", found.caught_up_s)):
        figures.add(f"{name}.{what}_median_s", statistics.median(times), "s")
        figures.add(f"{name}.{what}_max_s", max(times), "s")
    figures.add(f"{name}.seconds", found.seconds, "s", summed=True)


@contextmanager
def _relayed(server: Server) -> Iterator[Cutter | None]:
    """The wire to `server`, if it has one."""
    if not server.port:
        yield None
        return
    cutter = Cutter(server.port)
    cutter.start()
    try:
        yield cutter
    finally:
        cutter.stop()
