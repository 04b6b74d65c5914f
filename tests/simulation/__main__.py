"""`python -m tests.simulation [--seed N] [--steps N] [--seconds N]`: one seed, or as many as fit into the time."""

from __future__ import annotations

import argparse
import time

from tests.simulation.simulation import simulate


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seed", type=int, help="run this one only")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--keep-going", action="store_true", help="print faults and go on")
    given = parser.parse_args()
    if given.seed is not None:
        simulate(given.seed, given.steps)
        return
    end, seed, commands, faults = time.monotonic() + given.seconds, given.first, 0, 0
    while time.monotonic() < end:
        try:
            commands += len(simulate(seed, given.steps).model.by_position)
        except AssertionError as fault:
            if not given.keep_going:
                raise
            faults += 1
            print(fault, flush=True)
        seed += 1
    print(f"simulate.commands {commands} commands")
    print(f"simulate.seeds {seed - given.first} seeds")
    print(f"simulate.faults {faults} faults")


if __name__ == "__main__":
    main()
