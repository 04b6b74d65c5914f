"""A MongoDB that acknowledges before it has flushed, killed again and again: is anything lost or doubled?

SecantusDB, as it comes, forgets at a kill -9 what it had committed last. brique finds its mark further back than it
was, and sends again what was forgotten. Figures accumulate over runs in results/lossy.json; KILLS says how many kills
this run makes.
"""

from __future__ import annotations

import json
import os
import random
import re
import time
from dataclasses import dataclass

from bench.erp import Workshop
from bench.figures import RESULTS, Figures
from bench.shop import Shop, Told, Verdict, open_shop, stop

ROUND = 50
"""Kills between two checks, each on a database and spool of its own."""
_CAUGHT_UP_SECONDS_MAX = 120.0
_SUMS = ("kills", "acknowledged", "forgotten", "lost", "doubled", "seconds")


@dataclass
class Sum:
    """What was found. `forgotten`: commands that the database had committed and did not know of after a kill;
    `caught_up_s`: the longest wait until all was there again."""

    kills: int = 0
    acknowledged: int = 0
    forgotten: int = 0
    lost: int = 0
    doubled: int = 0
    seconds: float = 0.0
    caught_up_s: float = 0.0

    def add(self, other: Sum) -> None:
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.caught_up_s = max(self.caught_up_s, other.caught_up_s)


def one_round(kills: int, seed: int) -> Sum:
    """So many kills: all but one under visitors, the last when all they had written was in the database. Then
    everything that was acknowledged has to come to be there, once."""
    began, chance = time.monotonic(), random.Random(seed)
    with open_shop(settings={"BRIQUE_PROBE_SECONDS_MAX": "0.5", "BRIQUE_SETTLE_WAIT_MS": "0"}) as shop:
        visitors = shop.visitors(pause_seconds=0.01)
        for _ in range(kills - 1):
            time.sleep(chance.uniform(0.05, 0.3))
            shop.server.kill()
            time.sleep(chance.choice((0.0, 0.0, 0.05)))
            shop.server.start()
        told = stop(visitors)
        shop.settle()
        shop.server.kill()
        shop.server.start()
        caught_up, verdict = wait_caught_up(shop, told)
        said = shop.site.log.read_text("utf-8", "replace")
    forgotten = sum(map(int, re.findall(r"has forgotten (\d+) commands", said)))
    seconds = time.monotonic() - began
    return Sum(kills, told.acknowledged, forgotten, verdict.lost, verdict.doubled, seconds, caught_up)


def wait_caught_up(shop: Shop, told: Told) -> tuple[float, Verdict]:
    """Wait until nothing of what was acknowledged is missing, or it takes too long; how long that was, and what the
    database holds then and a moment later (something sent twice comes late)."""
    began = time.monotonic()
    while shop.judge(told).lost or shop.waiting():
        if time.monotonic() - began > _CAUGHT_UP_SECONDS_MAX:
            break
        time.sleep(0.05)
    took = time.monotonic() - began
    time.sleep(0.5)
    return took, shop.judge(told)


def run(figures: Figures, workshop: Workshop) -> None:
    wanted = int(os.environ.get("KILLS", "20" if workshop.quick else "200"))
    total = _earlier(figures)
    before = total.kills
    if before:
        figures.note(f"{before} of the kills are from earlier runs.")
    figures.note(
        "8 visitors write over the API of the example `survive`; the database is killed every 0.05 to 0.3 s and "
        "started again. It does not flush its commits."
    )
    while (left := wanted - (total.kills - before)) > 0:
        found = one_round(min(left, ROUND) if left > 1 else 2, seed=total.kills)
        total.add(found)
        print(f"# {found}", flush=True)
    for name in _SUMS:
        figures.add(name, getattr(total, name), {"kills": "kills", "seconds": "s"}.get(name, "writes"))
    figures.add("caught_up_s", total.caught_up_s, "s")


def _earlier(figures: Figures) -> Sum:
    """What earlier runs have found."""
    path = RESULTS / f"{figures.name}{'.quick' if figures.quick else ''}.json"
    total = Sum()
    if path.exists() and not figures.quick:
        for item in json.loads(path.read_text("utf-8"))["figures"]:
            name = item["name"].partition(".")[2]
            kind = type(getattr(total, name, None))
            if kind in (int, float):
                setattr(total, name, kind(item["value"]))
    return total
