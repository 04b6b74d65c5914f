"""`python -m tests.views.properties --seeds N`: random views over random data; what is kept against what is right.

`--seed N` runs one again; `--bugs` puts deliberate faults in, one after the other, and says at which seed each is
found. Ends with status 1 on a violation (with `--bugs`: when a fault was missed).
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from collections import Counter
from multiprocessing import get_context
from pathlib import Path

from tests.views.properties.life import Life, Violation

_FAST = Path("/dev/shm")


def main() -> int:
    given = _arguments()
    logging.disable(logging.ERROR)
    if given.bugs:
        from tests.views.properties.bugs import show

        return show(given.first)
    if given.seed is not None:
        return _said(run([given.seed]))
    began, cpu = time.monotonic(), _cpu()
    seeds = range(given.first, given.first + given.seeds)
    if given.workers > 1:
        parts = [list(seeds)[place :: given.workers] for place in range(given.workers)]
        with get_context("fork").Pool(given.workers) as pool:
            found = pool.map(run, parts)
    else:
        found = [run(list(seeds))]
    counts: Counter[str] = sum((counts for counts, _ in found), Counter())
    took = f"{time.monotonic() - began:.0f} s, {_cpu() - cpu:.0f} s of CPU"
    return _said((counts, [fault for _, faults in found for fault in faults]), took)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.views.properties")
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, help="run this one only")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--bugs", action="store_true", help="put deliberate faults in, one after the other")
    return parser.parse_args()


def run(seeds: list[int]) -> tuple[Counter[str], list[str]]:
    """What these seeds counted, and their violations (at most ten)."""
    counts: Counter[str] = Counter()
    violations: list[str] = []
    for seed in seeds:
        counts["seeds"] += 1
        with tempfile.TemporaryDirectory(dir=_FAST if _FAST.is_dir() else None) as folder:
            life = Life(Path(folder), seed)
            try:
                life.run()
            except Violation as fault:
                violations.append(str(fault)[:1500])
            counts.update(life.counts)
        if len(violations) >= 10:
            break
    return counts, violations


def _cpu() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _said(found: tuple[Counter[str], list[str]], took: str = "") -> int:
    counts, violations = found
    for fault in violations:
        print(fault)
    numbers = ", ".join(f"{counts[name]} {name}" for name in ("seeds", "changes", "kept", "checks"))
    print(f"{numbers}, {len(violations)} violations{', ' + took if took else ''}")
    return int(bool(violations))


if __name__ == "__main__":
    sys.exit(main())
