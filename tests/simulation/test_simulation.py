"""Promises 1 to 5 of the design, after every step of simulated lives full of faults."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from brique.schema import State
from tests.simulation.simulation import Simulation, simulate

NEW_SECONDS = 12.0


@pytest.mark.parametrize("seed", range(8))
def test_promises_hold_whatever_happens(seed: int) -> None:
    simulate(seed, 200)


@pytest.mark.parametrize(
    ("seed", "steps"),
    [
        pytest.param(3, 300, id="withdrawn while a batch was on its way"),
        pytest.param(18, 300, id="a chain on one row, its answer lost, called a conflict"),
        pytest.param(148, 300, id="refused at a second try, and yet there"),
        pytest.param(187, 300, id="rows read back beside a refresh were left old for ever"),
        pytest.param(239, 300, id="the same, in another order"),
        pytest.param(618, 300, id="the store lost while an answer was"),
    ],
)
def test_seeds_that_once_broke_a_promise(seed: int, steps: int) -> None:
    simulate(seed, steps)


def test_new_seeds_each_day() -> None:
    """Seeds that nobody has run before; the message of a fault says how to run it again."""
    seed = int(datetime.now(UTC).strftime("%y%m%d")) * 10_000
    end = time.monotonic() + NEW_SECONDS
    while time.monotonic() < end:
        simulate(seed, 250)
        seed += 1


def test_a_simulation_is_rich_and_the_same_each_time() -> None:
    first, again = simulate(5, 250), simulate(5, 250)
    assert told(first) == told(again)
    assert len(first.model.by_position) > 40
    assert first.door.restarts > 0
    states = {asked.state for seed in (5, 6) for asked in simulate(seed, 250).model.by_position.values()}
    assert {State.APPLIED, State.REFUSED, State.CONFLICT, State.WITHDRAWN} <= states


def told(simulation: Simulation) -> list[tuple[str, str]]:
    return [(asked.id, str(asked.state)) for asked in simulation.model.by_position.values()]
