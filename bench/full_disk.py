"""A small disk that is full while everything runs: refused before acknowledged, drained, and on again by itself.

The data folder of a whole brique lies on an ext4 of 32 MB (in a file; a tmpfs where there are no loop devices), of
which a ballast of somebody else's takes a part. Writers write until they are refused, while the database is down and
all that is acknowledged waits; then the database comes back, and everything is sent although the disk is full; then
the ballast goes, and the writers, who tried all the time, are acknowledged again. Needs root.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.crash_servers import judge, postgresql, task
from bench.erp import Workshop
from bench.figures import Figures
from bench.power import can_cut, mounted, new_image
from bench.site import Client, Site
from bench.traffic import Told, Verdict, Writer, start_writers, stop_writers, wait_settled

MIB = 1024 * 1024
_DISK_BYTES = 32 * MIB
_LEFT_BYTES = 5 * MIB
"""Room that the ballast leaves to the writers, above what brique keeps free."""
_FREE_BYTES_MIN = 4 * MIB
_WRITERS = 4
_SECONDS_MAX = 120.0
_SETTINGS = {
    "BRIQUE_SPOOL_FREE_BYTES_MIN": str(_FREE_BYTES_MIN),
    "BRIQUE_FREE_DISK_BYTES_MIN": str(_FREE_BYTES_MIN),
    "BRIQUE_SETTLE_WAIT_MS": "0",
    "BRIQUE_PROBE_SECONDS_MAX": "0.5",
    "BRIQUE_WEB_PROCESSES": "1",
}


@dataclass(frozen=True)
class Found:
    """What one full disk has come to. `drained`: commands that were sent while it was full, within `drained_s`;
    `resumed_s`: from the room's return to the first acknowledgement; `restarted`: processes that did not stand it."""

    told: Told
    verdict: Verdict
    drained: int
    drained_s: float
    resumed_s: float
    restarted: int

    @property
    def refused(self) -> int:
        return self.told.faults["507"]

    @property
    def lost(self) -> int:
        return len(self.verdict.missing) + len(self.verdict.stale)


def run(figures: Figures, workshop: Workshop) -> None:
    rounds = int(os.environ.get("ROUNDS", "2" if workshop.quick else "10"))
    figures.note(
        f"{_WRITERS} writers over the API; a data folder on a disk of {_DISK_BYTES // MIB} MB, of which brique keeps "
        f"{_FREE_BYTES_MIN // MIB} MB free. Refusals are answers 507 to a write, which is tried again every 50 ms. "
        "Medians over the rounds, each on a disk of its own."
    )
    found = []
    for _ in range(rounds):
        with workshop.scratch("full") as folder:
            found.append(fill_once(folder))
    figures.add("rounds", rounds, "times full", summed=True)
    figures.add("acknowledged", sum(one.told.acknowledged for one in found), "writes", summed=True)
    figures.add("refused", sum(one.refused for one in found), "requests", summed=True)
    figures.add("drained_while_full", sum(one.drained for one in found), "writes", summed=True)
    figures.add("drained_while_full_s", statistics.median(one.drained_s for one in found), "s")
    figures.add("resumed_median_s", statistics.median(one.resumed_s for one in found), "s")
    figures.add("resumed_max_s", max(one.resumed_s for one in found), "s")
    figures.add("processes_restarted", sum(one.restarted for one in found), "processes", summed=True)
    figures.add("lost", sum(one.lost for one in found), "writes", summed=True)
    figures.add("doubled", sum(len(one.verdict.doubled) for one in found), "writes", summed=True)


def fill_once(folder: Path, *, left: int = _LEFT_BYTES) -> Found:
    """Fill a disk that has `left` bytes for the writers, drain, make room. Raises SystemExit when nothing comes of it
    in time, AssertionError when an answer is not what is promised."""
    tag = f"full{time.time_ns()}"
    with small_disk(folder) as disk, postgresql(folder) as server:
        data, ballast = disk / "data", disk / "ballast"
        arguments = ["up", server.url_through(server.port), "--data", str(data), "--marker"]
        with Site(arguments, data, settings=_SETTINGS, log=folder / "log") as site:
            site.wait_ready()
            site.wait_loaded()
            client, pids = site.client(), _pids(site)
            server.kill()
            _fill(ballast, _FREE_BYTES_MIN + left)
            writers = start_writers(site.port, task(), _WRITERS, run=tag, pause_seconds=0.0)
            _wait(site, lambda: all(writer.told.faults["507"] > 10 for writer in writers), "the disk to be full")
            _refusal(client)
            drained = _waiting(client)
            server.start()
            began = time.monotonic()
            _wait(site, lambda: _waiting(client) == 0, "all to be sent")
            drained_s = time.monotonic() - began
            _refusal(client)
            assert client.get("/tables/entry").ok
            began, before = time.monotonic(), _made(writers)
            ballast.unlink()
            _wait(site, lambda: _made(writers) > before, "a write to be acknowledged")
            resumed_s = time.monotonic() - began
            _wait(site, lambda: _made(writers) > before + 100, "writes to go on")
            told = stop_writers(writers, 60)
            wait_settled(client, 60)
            verdict = judge(server, told.made, told.updated, tag)
            return Found(told, verdict, drained, drained_s, resumed_s, len(pids - _pids(site)))


def _pids(site: Site) -> set[int]:
    return {process["pid"] for process in site.processes()}


def _made(writers: Sequence[Writer]) -> int:
    return sum(len(writer.told.made) for writer in writers)


def _refusal(client: Client) -> None:
    """Be refused, within a few tries (a refusal has the store give back the room of its log)."""
    for _ in range(100):
        answer = client.ask("POST", "/api/tables/entry", {"mark": "x"}, {"Idempotency-Key": f"x-{time.time_ns()}"})
        if not answer.ok:
            break
    assert answer.status == 507, (answer.status, answer.body[:500])
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["code"] == "disk-full"


def _waiting(client: Client) -> int:
    counts = client.get("/api/outbox?limit=1").json()["counts"]
    return int(counts.get("kept", 0) + counts.get("sending", 0))


def _wait(site: Site, condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + _SECONDS_MAX
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"waited in vain for {what}:\n{site.log.read_text('utf-8', 'replace')[-3000:]}")
        time.sleep(0.005)


def _fill(ballast: Path, left: int) -> None:
    """Let somebody else take all the room but `left` bytes."""
    with suppress(OSError), ballast.open("ab", buffering=0) as file:
        while (free := shutil.disk_usage(ballast.parent).free) > left:
            file.write(bytes(min(free - left, 64 * 1024)))


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """The folder of a new, small disk. Raises SystemExit where none can be mounted."""
    if not can_cut():
        with mounted(new_image(folder / "disk.img", _DISK_BYTES), folder / "disk") as disk:
            yield disk
        return
    disk = folder / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs", str(disk)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"a small disk can be mounted by root only: {done.stderr}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)
