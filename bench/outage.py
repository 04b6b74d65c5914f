"""The backend is killed, then frozen, then comes back, while people read and write: who notices?"""

from __future__ import annotations

import time

from bench.erp import Workshop
from bench.figures import Figures
from bench.site import Site
from bench.traffic import Readers, demo_task, judge, start_writers, stop_writers, wait_settled

PATHS = (
    "/tables/orlnpf",
    "/tables/orlnpf?sort=-olamt",
    "/tables/ordrpf?q=a",
    "/tables/custpf",
    "/api/tables/orlnpf?limit=25",
    "/api/tables/stokpf?sort=stqty&limit=25",
)


def run(figures: Figures, workshop: Workshop) -> None:
    for name, marker in (("", ["--marker"]), ("compare.", [])):
        if marker or not workshop.quick:
            _one(figures, workshop, name, marker)


def _one(figures: Figures, workshop: Workshop, name: str, marker: list[str]) -> None:
    outage = 4.0 if workshop.quick else 20.0
    demo = workshop.demo
    task, tag = demo_task(demo.url), f"outage{int(time.time())}"
    figures.note(
        f"{name or 'watermark.'} 8 connections of wrk read pages and JSON, 2 writers write over the API; the ERP is "
        f"killed for {outage:.0f} s, then frozen for {outage:.0f} s. "
        + ("With the marker table." if marker else "Without the marker table: old values decide.")
    )
    with (
        workshop.scratch("outage") as folder,
        Site(["up", demo.url, "--data", str(folder / "data"), *marker], folder / "data") as site,
    ):
        site.wait_ready()
        site.wait_loaded()
        client = site.client()
        readers = Readers(site.port, PATHS, folder, seconds=int(2 * outage + 5))
        writers = start_writers(site.port, task, 2, run=tag, pause_seconds=0.01)
        time.sleep(2.0)
        try:
            demo.perform("kill")
            time.sleep(outage)
            demo.perform("start")
            demo.perform("freeze")
            time.sleep(outage)
        finally:
            demo.perform("thaw")
        back = time.monotonic()
        first = _first_applied(site)
        told = stop_writers(writers)
        _, counts = wait_settled(client, 120)
        settled = time.monotonic() - back
        read = readers.end()
        verdict = judge(demo.url, task, told, tag)
    figures.add(f"{name}reads", read.requests, "requests")
    figures.add(f"{name}reads_failed", read.failed, "requests")
    figures.add(f"{name}read_median_ms", read.median_ms, "ms")
    figures.add(f"{name}read_p99_ms", read.p99_ms, "ms")
    figures.add(f"{name}writes_failed", told.again, "requests")
    figures.add(f"{name}acknowledged", told.acknowledged, "writes")
    figures.add(f"{name}acknowledged_pending", told.pending, "writes")
    figures.add(f"{name}slowest_acknowledgement_s", told.slowest_s, "s")
    figures.add(f"{name}lost", len(verdict.missing) + len(verdict.stale), "writes")
    figures.add(f"{name}doubled", len(verdict.doubled), "writes")
    figures.add(f"{name}first_replay_s", first, "s")
    figures.add(f"{name}settled_s", settled, "s")
    for state, count in sorted(counts.items()):
        if state != "applied":
            figures.add(f"{name}{state}", count, "commands")


def _first_applied(site: Site) -> float:
    """How long until the first of the waiting commands is applied."""
    client, began = site.client(), time.monotonic()
    before = client.get("/api/outbox?limit=1").json()["counts"].get("applied", 0)
    while client.get("/api/outbox?limit=1").json()["counts"].get("applied", 0) == before:
        if time.monotonic() - began > 60:
            raise AssertionError("nothing was applied within a minute after the backend's return")
        time.sleep(0.01)
    return time.monotonic() - began
