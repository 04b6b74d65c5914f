"""The guard on calls that do not come back, with real threads and time."""

from __future__ import annotations

import threading

import pytest

from brique.clock import SystemClock
from brique.refresh import Guard


class Hung:
    """A call that hangs until it is aborted, or for good."""

    def __init__(self, *, stubborn: bool = False) -> None:
        self.over = threading.Event()
        self.aborted = threading.Event()
        self.given_up = threading.Event()
        self.slow: list[float] = []
        self.stubborn = stubborn

    def abort(self) -> None:
        self.aborted.set()
        if not self.stubborn:
            self.over.set()

    def give_up(self) -> None:
        self.given_up.set()
        self.over.set()

    def guard(self) -> Guard:
        return Guard(
            SystemClock(), abort=self.abort, give_up=self.give_up, on_slow=self.slow.append, patience_seconds=0.2
        )


def test_a_call_in_time_is_left_alone() -> None:
    hung = Hung()
    guard = hung.guard()
    with guard.call(5.0):
        pass
    guard.stop()
    assert not hung.aborted.is_set()


def test_a_call_past_its_time_is_aborted() -> None:
    hung = Hung()
    guard = hung.guard()
    with guard.call(0.1):
        assert hung.over.wait(5)
    guard.stop()
    assert hung.aborted.is_set()
    assert not hung.given_up.is_set()


def test_a_call_that_even_abort_does_not_end_gives_the_process_up() -> None:
    hung = Hung(stubborn=True)
    guard = hung.guard()
    with guard.call(0.1):
        assert hung.over.wait(5)
    guard.stop()
    assert hung.given_up.is_set()


def test_a_slow_call_is_told_once_while_it_goes_on() -> None:
    hung = Hung()
    guard = hung.guard()
    with guard.call(0.6, slow_seconds=0.1):
        assert hung.over.wait(5)
    guard.stop()
    assert len(hung.slow) == 1
    assert 0.1 <= hung.slow[0] < 0.6


def test_a_touch_gives_the_call_its_time_again() -> None:
    hung = Hung()
    guard = hung.guard()
    with guard.call(0.5, slow_seconds=9):
        for _ in range(8):
            assert not hung.over.wait(0.1)
            guard.touch()
    guard.stop()
    assert not hung.aborted.is_set()


def test_time_stands_still_in_a_pause() -> None:
    hung = Hung()
    guard = hung.guard()
    with guard.call(0.3, slow_seconds=9), guard.pause():
        assert not hung.over.wait(0.7)
    guard.stop()
    assert not hung.aborted.is_set()


def test_a_fault_in_the_call_ends_it() -> None:
    hung = Hung()
    guard = hung.guard()
    with pytest.raises(KeyError), guard.call(0.2):
        raise KeyError("x")
    assert not hung.over.wait(0.5)
    guard.stop()
