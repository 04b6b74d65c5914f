"""The circuit breaker, with a clock and chance of its own."""

from __future__ import annotations

from datetime import UTC, datetime

from brique.refresh import Breaker, Health


class HandClock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds


def breaker(clock: HandClock) -> Breaker:
    return Breaker(clock, lambda: 0.5, pause_min_seconds=0.25, pause_max_seconds=5.0)


def test_a_backend_never_tried_may_be_tried() -> None:
    made = breaker(HandClock())
    assert made.health is Health.DOWN
    assert made.may_try()


def test_after_a_failure_it_waits_and_then_probes() -> None:
    clock = HandClock()
    made = breaker(clock)
    made.succeeded(0.01)
    assert made.failed("refused")
    assert not made.may_try()
    assert made.seconds_left() == 0.25
    clock.seconds += 0.25
    assert made.may_try()


def test_pauses_double_up_to_the_longest() -> None:
    clock = HandClock()
    made = breaker(clock)
    pauses = []
    for _ in range(8):
        made.failed("refused")
        pauses.append(made.seconds_left())
        clock.seconds += made.seconds_left()
    assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0]


def test_chance_spreads_the_pauses_by_a_quarter() -> None:
    clock = HandClock()
    low = Breaker(clock, lambda: 0.0, pause_min_seconds=1.0)
    high = Breaker(clock, lambda: 1.0, pause_min_seconds=1.0)
    low.failed("x")
    high.failed("x")
    assert (low.seconds_left(), high.seconds_left()) == (0.75, 1.25)


def test_success_forgets_the_failures() -> None:
    clock = HandClock()
    made = breaker(clock)
    for _ in range(6):
        made.failed("x")
    assert made.succeeded(0.01)
    assert made.health is Health.LIVE
    made.failed("x")
    assert made.seconds_left() == 0.25


def test_a_slow_answer_makes_it_slow_until_a_quick_one() -> None:
    made = breaker(HandClock())
    assert made.succeeded(2.0)
    assert made.health is Health.SLOW
    assert made.may_try()
    assert made.succeeded(0.1)
    assert made.health is Health.LIVE
