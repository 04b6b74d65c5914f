"""`python -m tests.simulation`: seeds on every core for `--seconds`; `--seed N` runs one again; `--bugs` shows that
deliberate faults are found. It ends with status 1 when a promise was broken (with `--bugs`: when a fault was missed).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from bench import figures
from tests.simulation import runs
from tests.simulation.bugs import BUGS, seeds_needed
from tests.simulation.model import Broken
from tests.simulation.simulation import COMMANDS, simulate


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
        "--accumulate", action="store_true", help="go on from the last run that was kept, and add to it"
    )
    parser.add_argument("--into", type=Path, default=runs.RESULT, help="where the sum of all runs is kept")
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
    record = runs.Record(given.into) if given.accumulate else None
    first = given.first
    if first is None:
        first = record.next_seed if record is not None else int(time.time()) % 1_000_000 * 1_000
    revision = given.revision or _revision()
    for seed in record.broken() if record is not None else ():
        if record is not None and not runs.run_chunk(seed, 1).failures:
            record.mended(seed)
    total, kept, last = runs.Totals(), time.monotonic(), first
    began = kept
    for totals, following in runs.run(first, given.seconds, given.workers, given.commands):
        for text in totals.failures.values():
            print(text, flush=True)
        total.add(totals)
        last = following
    seconds = time.monotonic() - began
    if record is not None:
        record.add(total, first=first, following=last, seconds=seconds, revision=revision)
        if given.into == runs.RESULT:
            figures.write_report()
    _say(total, first, last, seconds)
    return 1 if total.failures else 0


def _say(total: runs.Totals, first: int, last: int, seconds: float) -> None:
    print(f"simulate.seeds {total.seeds} seeds ({first} to {last - 1})")
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
