"""`python -m tests.simulation`: seeds on every core for `--seconds`; `--seed N` runs one again; `--bugs` shows that
deliberate faults are found. It ends with status 1 when a promise was broken (with `--bugs`: when a fault was missed).
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from bench import figures
from tests.simulation import record, runs
from tests.simulation.bugs import BUGS, seeds_needed
from tests.simulation.model import Broken
from tests.simulation.simulation import COMMANDS, simulate

_KEEPING_SECONDS = 60.0


def main() -> int:
    given = _arguments()
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of a set is part of what a seed decides
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.simulation", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": "0"},
        )
    if given.bugs:
        return _show_bugs()
    if given.mended and given.accumulate is not None:
        for seed in given.mended:
            record.Record(given.accumulate).mended(seed)
        return 0
    if given.merge is not None:
        record.Record().merge(given.merge)
        figures.write_report()
        return 0
    if given.seed is not None:
        return _replay(given.seed, given.commands)
    return _run(given)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, help="run this one only, as it ran before")
    parser.add_argument("--first", type=int, help="the first seed; by default one that depends on the time")
    parser.add_argument("--commands", type=int, default=COMMANDS, help="commands of each life")
    parser.add_argument("--workers", type=int, default=runs.cores())
    parser.add_argument("--bugs", action="store_true", help="put deliberate faults in, one after the other")
    parser.add_argument(
        "--accumulate",
        type=Path,
        nargs="?",
        const=record.RESULT,
        metavar="FILE",
        help="with seeds that no run has had, and keep what they did: in FILE, or with the results of the benches",
    )
    parser.add_argument(
        "--mended",
        type=int,
        nargs="+",
        default=[],
        metavar="SEED",
        help="with --accumulate: seeds whose fault was found and mended; that they hold by now would prove nothing, "
        "since lives change with the program",
    )
    parser.add_argument("--merge", type=Path, metavar="FILE", help="add the runs of FILE to the benches' results")
    parser.add_argument("--revision", default="", help="what is tested, where no repository can say it")
    return parser.parse_args()


def _replay(seed: int, commands: int) -> int:
    try:
        done = simulate(seed, commands)
    except Broken as fault:
        print(fault)
        return 1
    print(f"seed {seed}: {len(done.model.by_position)} commands, {done.step} steps, every promise held")
    _print_counts(done.faults.counts)
    return 0


def _show_bugs() -> int:
    missed = 0
    for bug in BUGS:
        began = time.monotonic()
        count, said = seeds_needed(bug)
        missed += not count
        found = f"found after {count} of at most {bug.seeds} seeds" if count else f"NOT FOUND in {bug.seeds} seeds"
        print(f"{bug.name}: {found}, {time.monotonic() - began:.1f} s. {bug.says}\n    {said}", flush=True)
    print(f"simulate.bugs {len(BUGS)} faults\nsimulate.bugs_missed {missed} faults")
    return 1 if missed else 0


def _run(given: argparse.Namespace) -> int:
    kept = record.Record(given.accumulate) if given.accumulate is not None else None
    following = itertools.count(given.first or int(time.time()) % 1_000_000 * 1_000, runs.CHUNK)
    take = (lambda count: next(following)) if kept is None else (lambda count: kept.take(count, given.first))
    total, spans, told = runs.Totals(), list[tuple[int, int]](), 0.0
    began, start, revision = datetime.now(UTC), time.monotonic(), given.revision or _revision()
    for done, span in runs.run(take, given.seconds, given.workers, given.commands):
        for text in done.failures.values():
            print(text, flush=True)
        total.add(done)
        spans.append(span)
        seconds = time.monotonic() - start
        if kept is not None and seconds > told + _KEEPING_SECONDS:
            kept.keep(record.entry(revision, began, seconds, spans, total))
            told = seconds
    seconds = time.monotonic() - start
    if kept is not None:
        kept.keep(record.entry(revision, began, seconds, spans, total))
        if kept.path == record.RESULT:
            figures.write_report()
    _say(total, spans, seconds)
    return 1 if total.failures else 0


def _say(total: runs.Totals, spans: list[tuple[int, int]], seconds: float) -> None:
    print(f"simulate.seeds {total.seeds} seeds (from {min(spans)[0]} to {max(spans)[1]})")
    print(f"simulate.commands {total.commands} commands ({total.commands / max(seconds, 1e-9):.0f} a second)")
    print(f"simulate.checks {total.checks} checks")
    print(f"simulate.faults {sum(total.faults.values())} faults")
    _print_counts(total.faults)
    print("  ended as: " + ", ".join(f"{count} {state}" for state, count in total.states.most_common()))
    print(f"simulate.violations {len(total.failures)} promises broken", flush=True)


def _print_counts(counts: Counter[str]) -> None:
    for kind, count in sorted(counts.items()):
        print(f"  {kind}: {count}")


def _revision() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
