"""The promises of the design, after every step of simulated lives full of faults; and that it can fail."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime

import pytest

from brique.schema import State
from tests.simulation.bugs import BUGS, Bug, noticed, seeds_needed
from tests.simulation.model import told
from tests.simulation.simulation import simulate

NEW_SECONDS = 6.0


@pytest.mark.parametrize("seed", range(12))
def test_promises_hold_whatever_happens(seed: int) -> None:
    simulate(seed)


def test_new_seeds_each_day() -> None:
    """Seeds that nobody has run before; the message of a fault says how to run it again."""
    seed = int(datetime.now(UTC).strftime("%y%m%d")) * 10_000
    end = time.monotonic() + NEW_SECONDS
    while time.monotonic() < end:
        simulate(seed)
        seed += 1


def test_a_simulation_is_the_same_each_time() -> None:
    first, again = simulate(5), simulate(5)
    assert told(first.model) == told(again.model)
    assert first.faults.counts == again.faults.counts


def test_lives_are_rich_in_faults_and_ends() -> None:
    lives = [simulate(seed) for seed in range(120, 128)]
    states = {asked.state for life in lives for asked in life.model.by_position.values()}
    assert {State.APPLIED, State.REFUSED, State.CONFLICT, State.WITHDRAWN} <= states
    faults: Counter[str] = Counter()
    for life in lives:
        faults.update(life.faults.counts)
    assert len(faults) > 25
    assert min(len(life.model.asked) for life in lives) > 60


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_deliberate_fault_is_found(bug: Bug) -> None:
    """By its hint, at once; or, when the product has moved on since, within its number of seeds. Without it the same
    life breaks no promise."""
    seed = bug.hint if noticed(bug, bug.hint) else seeds_needed(bug)[0] - 1
    assert seed >= 0, f"{bug.name} was not found in {bug.seeds} seeds"
    simulate(seed, make=bug.life)
