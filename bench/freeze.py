"""A database that is frozen (SIGSTOP: it takes connections and answers nothing): who notices?

Somebody who clicks *Save* three times gets one row. Whoever reads pages gets them as fast as while the database is up.
"""

from __future__ import annotations

import http.client
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.crash_servers import Postgresql, postgresql
from bench.erp import Workshop
from bench.figures import Figures
from bench.person import Person
from bench.site import Site
from bench.traffic import Read, Readers, wait_settled

CLICKS = 3
_ROWS = 3000
_PATHS = ("/tables/entry", "/tables/entry?sort=-mark", "/tables/entry?q=entry+7", "/tables/counter")
_SETTINGS = {"BRIQUE_BACKEND_TIMEOUT_SECONDS": "1.5", "BRIQUE_BACKEND_CONNECT_SECONDS": "1.0"}


@contextmanager
def frozen_site(folder: Path) -> Iterator[tuple[Postgresql, Site]]:
    """brique over a PostgreSQL with some rows; ready."""
    data = folder / "data"
    with postgresql(folder) as server:
        server.add([f"entry {number}" for number in range(_ROWS)])
        arguments = ["up", server.url_through(server.port), "--data", str(data), "--marker", "--refresh", "1"]
        with Site(arguments, data, settings=_SETTINGS) as site:
            site.wait_ready()
            site.wait_loaded()
            yield server, site


def click(person: Person, fields: dict[str, str]) -> tuple[list[int], float]:
    """Send the same form three times at once, as somebody does who is not answered fast enough; the answers' statuses
    and the slowest of them in seconds."""
    statuses: list[int] = []
    slowest: list[float] = []

    def send(window: Person) -> None:
        began = time.monotonic()
        try:
            statuses.append(window.ask("POST", "/tables/entry/new", fields).status)
        except (OSError, http.client.HTTPException):
            statuses.append(0)
        finally:
            slowest.append(time.monotonic() - began)
            window.close()

    threads = [threading.Thread(target=send, args=(person.again(),)) for _ in range(CLICKS)]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    return statuses, max(slowest)


def click_while_frozen(server: Postgresql, site: Site, times: int) -> tuple[Counter[int], float, list[int]]:
    """So many forms, each sent three times: the statuses, the slowest answer, and the rows that each form made."""
    person, statuses, slowest = Person(site), Counter[int](), 0.0
    marks = [f"clicked {number}" for number in range(times)]
    for mark in marks:
        server.freeze()
        try:
            fields = {**person.form("/tables/entry/new"), "mark": mark}
            told, took = click(person, fields)
        finally:
            server.thaw()
        statuses.update(told)
        slowest = max(slowest, took)
    person.close()
    wait_settled(site.client(), 60)
    held = Counter(server.marks())
    return statuses, slowest, [held[mark] for mark in marks]


def run(figures: Figures, workshop: Workshop) -> None:
    rounds, seconds, forms = (2, 2, 2) if workshop.quick else (7, 6, 20)
    figures.note(f"{CLICKS} posts of one form, of a page opened while PostgreSQL was frozen, in three windows at once.")
    figures.note(
        f"Pages: 8 connections of wrk, {seconds} s with PostgreSQL up and {seconds} s with it frozen in turn, {rounds} "
        "rounds, every other one in the opposite order; brique refreshes every second. Ratios are medians of rounds."
    )
    with workshop.scratch("freeze") as folder, frozen_site(folder) as (server, site):
        statuses, slowest, made = click_while_frozen(server, site, forms)
        figures.add("clicks", statuses.total(), "posts")
        figures.add("clicks_answered", statuses[303], "posts")
        figures.add("forms", forms, "forms")
        figures.add("rows", sum(made), "rows")
        figures.add("rows_of_a_form_most", max(made), "rows")
        figures.add("slowest_click_s", slowest, "s")
        pairs = [_round(server, site, folder, seconds, frozen_first=bool(n % 2)) for n in range(rounds)]
    for name, place in (("up", 0), ("frozen", 1)):
        reads = [pair[place] for pair in pairs]
        figures.add(f"{name}.requests", sum(read.requests for read in reads), "requests")
        figures.add(f"{name}.failed", sum(read.failed for read in reads), "requests")
        figures.add(f"{name}.median_ms", statistics.median(read.median_ms for read in reads), "ms")
        figures.add(f"{name}.p99_ms", statistics.median(read.p99_ms for read in reads), "ms")
    ratios = [frozen.p99_ms / up.p99_ms for up, frozen in pairs]
    figures.add("p99_frozen_vs_up", statistics.median(ratios), "ratio")
    figures.add("p99_frozen_vs_up_least", min(ratios), "ratio")
    figures.add("p99_frozen_vs_up_most", max(ratios), "ratio")


def _round(server: Postgresql, site: Site, folder: Path, seconds: int, *, frozen_first: bool) -> tuple[Read, Read]:
    """(up, frozen)"""
    found = {}
    for frozen in (frozen_first, not frozen_first):
        if frozen:
            server.freeze()
        try:
            found[frozen] = Readers(site.port, _PATHS, folder, seconds=seconds).end()
        finally:
            server.thaw()
        time.sleep(1.0)
    return found[False], found[True]
