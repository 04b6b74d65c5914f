"""`python -m bench [NAME ...]`: all benches, or some. QUICK=1 makes each end within a minute.

BENCH_FOLDER keeps the ERP for the next time, BENCH_LINES makes another number of order lines.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from bench import (
    ack,
    crash,
    drain,
    first_copy,
    freeze,
    full_disk,
    kill,
    lists,
    lossy,
    outage,
    power,
    refresh,
    replay,
    replay_mongodb,
    seen,
    views,
    web,
)
from bench.erp import Workshop
from bench.figures import Figures, run_script, write_report

Bench = Callable[[Figures, Workshop], None]


def _store(figures: Figures, workshop: Workshop) -> None:
    """The store alone, in process."""
    rows = "50000" if workshop.quick else "1000000"
    run_script(figures, "store_browse.py", rows, keep=lambda name: "." in name)


def _page(figures: Figures, workshop: Workshop) -> None:
    """The list page alone, in process."""
    rows = "50000" if workshop.quick else "1000000"
    run_script(figures, "list_page.py", rows, keep=lambda name: "." in name)


BENCHES: dict[str, Bench] = {
    "ack": ack.run,
    "crash": crash.run,
    "drain": drain.run,
    "freeze": freeze.run,
    "full": full_disk.run,
    "power": power.run,
    "refresh": refresh.run,
    "replay": replay.run,
    "replay_mongodb": replay_mongodb.run,
    "copy": first_copy.run,
    "lists": lists.run,
    "outage": outage.run,
    "kill": kill.run,
    "lossy": lossy.run,
    "store": _store,
    "page": _page,
    "views": views.run,
    "seen": seen.run,
    "web": web.run,
}


def main(names: list[str]) -> None:
    quick = os.environ.get("QUICK", "") not in ("", "0")
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        raise SystemExit(f"There is no bench {', '.join(unknown)}: choose of {', '.join(BENCHES)}.")
    workshop = Workshop(quick=quick)
    try:
        for name in names or BENCHES:
            figures = Figures(name, quick=quick)
            BENCHES[name](figures, workshop)
            print(f"# {figures.write()}", flush=True)
    finally:
        workshop.close()
    write_report()


if __name__ == "__main__":
    main(sys.argv[1:])
