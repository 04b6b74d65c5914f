"""A replayer that others have overtaken since it was asked what waits: a process whose end nobody has seen yet, or
whose last commit was still on its way when the next one began. On real servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing

import pytest

from brique.commands import Outcome, Replay, Waiting
from brique.commands.claims import Alone
from brique.errors import BackendAway
from brique.schema import Change, State
from tests.commands.test_batches import Bench, bench, fill

__all__ = ["bench"]


class _Meanwhile(Alone):
    """Something happens between the making of a batch and its sending, once."""

    def __init__(self, happens: Callable[[], object]) -> None:
        self._happens: Callable[[], object] | None = happens

    def claim(self, waiting: Sequence[tuple[int, State]], *, for_good: bool) -> Mapping[int, State]:
        happens, self._happens = self._happens, None
        if happens is not None:
            happens()
        return dict(waiting)


@pytest.fixture
def second(bench: Bench) -> Iterator[Replay]:
    """Another replayer of the same stream, over a connection of its own."""
    with closing(bench.open()) as backend:
        yield bench.replay(backend)


def stale(bench: Bench, second: Replay, waiting: list[Waiting]) -> Replay:
    """A replayer whose batches of `waiting` are made before `second` sends the same, and sent after it."""
    first = bench.replay()
    first.claims = _Meanwhile(lambda: second.run(waiting))
    return first


def others(bench: Bench) -> list[Outcome]:
    """What was ever reported and is not `applied`."""
    return [outcome for report in bench.reports for outcome in report.outcomes if outcome.state is not State.APPLIED]


def test_a_batch_made_before_the_mark_moved_is_not_applied_again(bench: Bench, second: Replay) -> None:
    waiting = bench.waiting([Change("note", f"new-R{n}", None, {"text": str(n)}) for n in range(1, 8)])
    first = stale(bench, second, waiting)
    with pytest.raises(BackendAway, match="somebody else"):
        first.run(waiting)
    assert bench.run_sql("SELECT count(*) FROM note") == [(7,)]
    assert first.run(waiting) == 7
    assert bench.run_sql("SELECT count(*) FROM note") == [(7,)]
    assert not others(bench)


def test_what_another_one_has_applied_is_no_conflict(bench: Bench, second: Replay) -> None:
    """The rows are not as their authors saw them because these very commands, and later ones, have changed them."""
    fill(bench, 3)
    waiting = bench.waiting([Change("item", "2", {"stock": n}, {"stock": n + 1}) for n in range(4)])
    first = stale(bench, second, waiting)
    with pytest.raises(BackendAway, match="somebody else"):
        first.run(waiting)
    first.run(waiting)
    assert not others(bench)
    assert bench.run_sql("SELECT stock FROM item WHERE code = 2") == [(4,)]


def test_what_another_one_has_applied_is_not_refused_for_a_right_that_went_since(bench: Bench, second: Replay) -> None:
    waiting = bench.waiting([Change("note", "new-R1", None, {"text": "a"})])
    first = bench.replay()
    first.marks.position()
    second.run(waiting)
    first.course._allowed = lambda command: "may not write any more"
    with pytest.raises(BackendAway, match="somebody else"):
        first.run(waiting)
    first.run(waiting)
    assert not others(bench)


def test_a_refusal_waits_for_a_commit_that_is_still_under_way(bench: Bench) -> None:
    """Its process has ended, and what it had sent goes on in the server."""
    waiting = bench.waiting([Change("note", "new-R1", None, {"text": "a"})])
    next_one = bench.replay()
    next_one.marks.position()
    next_one.course._allowed = lambda command: "may not write any more"
    with closing(bench.open()) as backend:
        with backend.session() as session:
            session.insert(bench.specs["note"], {"text": "a"})
            assert session.move_watermark("s", 0, 1)
            with pytest.raises(BackendAway):
                next_one.run(waiting)
        next_one.run(waiting)
    assert not others(bench)
    assert bench.run_sql("SELECT text FROM note") == [("a",)]
