"""Backends without transactions: those that know what they have seen, and those that know nothing. In memory, because
no server at hand fails in these ways on demand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from brique.backends import Rung, Tag
from brique.commands import Outcome, Replay, Report, Waiting
from brique.errors import BackendAway, BackendRefused
from brique.schema import Command, Effect, State


class Letters:
    """Takes letters, one by one. `guards`: it knows the commands that it has seen. `faults`: what happens at the next
    calls: "" goes well, "lost" takes it and answers nothing, "away" does not take it, "no" refuses."""

    name = "post"

    def __init__(self, *, guards: bool) -> None:
        self.guards = guards
        self.taken: list[str] = []
        self.seen: set[tuple[str, str]] = set()
        self.faults: list[str] = []

    @contextmanager
    def session(self) -> Iterator[_Session]:
        yield _Session(self)

    def watermark(self, stream: str) -> int | None:
        return None

    def fetch(self, spec: Any, keys: Sequence[str]) -> dict[str, Any]:
        return {}


class _Session:
    def __init__(self, post: Letters) -> None:
        self.post, self.tag = post, ""

    def identify(self, tag: Tag) -> None:
        self.tag = tag.id

    def call(self, effect: Effect) -> dict[str, Any]:
        post = self.post
        fault = post.faults.pop(0) if post.faults else ""
        if fault == "away":
            raise BackendAway("post: away")
        if fault == "no":
            raise BackendRefused("post: no such street")
        if not (post.guards and (self.tag, effect.name) in post.seen):
            post.taken.append(f"{self.tag}:{effect.name}")
        post.seen.add((self.tag, effect.name))
        if fault == "lost":
            away = BackendAway("post: no answer")
            away.facts["at_commit"] = True
            raise away
        return {"number": len(post.taken)}


class Post:
    def __init__(self, rung: Rung) -> None:
        self.letters = Letters(guards=rung is Rung.GUARD)
        self.outcomes: dict[int, Outcome] = {}
        self.states: dict[int, State] = {}
        self.rung = rung
        self.replay = self.start()

    def start(self) -> Replay:
        backend: Any = self.letters
        return Replay(
            backend, {}, stream="s", rung=self.rung, report=self.take, real_key=lambda _, key: key, claims=self,
            transactions=False,
        )  # fmt: skip

    def take(self, report: Report) -> None:
        self.outcomes.update({outcome.position: outcome for outcome in report.outcomes})

    def claim(self, waiting: Sequence[tuple[int, State]], *, for_good: bool) -> dict[int, State]:
        found = {position: self.states.get(position, State.KEPT) for position, _ in waiting}
        self.states.update(dict.fromkeys(found, State.SENDING))
        return found

    def release(self, positions: Sequence[int], reason: str, *, for_good: bool) -> None:
        self.states.update(dict.fromkeys(positions, State.KEPT))

    def tried(self, position: int, reason: str, *, seconds: float) -> None:
        self.states[position] = State.KEPT

    def run(self, *commands: Command) -> None:
        waiting = [
            Waiting(at, self.states.get(at, State.KEPT), command)
            for at, command in enumerate(commands, 1)
            if at not in self.outcomes
        ]
        self.replay.run(waiting)


def letter(number: int, *effects: str) -> Command:
    names = effects or ("send",)
    return Command(f"R{number}", "mail", "awa", "write", "", "post", (), effects=tuple(Effect(name) for name in names))


def test_what_an_effect_is_answered_with_is_reported() -> None:
    post = Post(Rung.NONE)
    post.run(letter(1), letter(2))
    assert [post.outcomes[at].results for at in (1, 2)] == [[{"number": 1}], [{"number": 2}]]


def test_a_backend_that_knows_what_it_has_seen_is_sent_everything_again() -> None:
    post = Post(Rung.GUARD)
    post.letters.faults = ["lost"]
    with pytest.raises(BackendAway):
        post.run(letter(1), letter(2))
    post.replay = post.start()
    post.run(letter(1), letter(2))
    assert post.letters.taken == ["R1:send", "R2:send"]
    assert {one.state for one in post.outcomes.values()} == {State.APPLIED}


def test_one_that_knows_nothing_gets_one_try_and_then_it_is_unknown() -> None:
    post = Post(Rung.NONE)
    post.letters.faults = ["lost"]
    with pytest.raises(BackendAway):
        post.run(letter(1), letter(2))
    post.replay = post.start()
    post.run(letter(1), letter(2))
    assert post.letters.taken == ["R1:send", "R2:send"]
    assert [post.outcomes[at].state for at in (1, 2)] == [State.UNKNOWN, State.APPLIED]


def test_a_try_that_certainly_did_not_arrive_is_made_again() -> None:
    post = Post(Rung.NONE)
    post.letters.faults = ["away"]
    with pytest.raises(BackendAway):
        post.run(letter(1))
    post.run(letter(1))
    assert post.letters.taken == ["R1:send"]
    assert post.outcomes[1].state is State.APPLIED


def test_one_that_was_done_in_part_is_unknown_not_refused() -> None:
    post = Post(Rung.NONE)
    post.letters.faults = ["", "no"]
    post.run(letter(1, "send", "copy"), letter(2))
    assert post.outcomes[1].state is State.UNKNOWN
    assert "part of it" in post.outcomes[1].reason
    assert post.outcomes[2].state is State.APPLIED


def test_a_fault_after_the_first_effect_may_have_arrived() -> None:
    post = Post(Rung.NONE)
    post.letters.faults = ["", "away"]
    with pytest.raises(BackendAway):
        post.run(letter(1, "send", "copy"))
    post.replay = post.start()
    post.run(letter(1, "send", "copy"))
    assert post.letters.taken == ["R1:send"]
    assert post.outcomes[1].state is State.UNKNOWN


def test_a_refusal_stops_nobody_else() -> None:
    post = Post(Rung.NONE)
    post.letters.faults = ["no"]
    post.run(letter(1), letter(2))
    assert [post.outcomes[at].state for at in (1, 2)] == [State.REFUSED, State.APPLIED]


def test_a_part_that_was_done_is_not_forgotten_when_the_backend_leaves_before_that_is_told() -> None:
    post = Post(Rung.NONE)
    post.letters.faults = ["", "no"]

    def take(report: Report) -> None:
        raise BackendAway("post: away")

    post.replay.report = take
    with pytest.raises(BackendAway):
        post.run(letter(1, "a", "b"))
    assert post.states[1] is State.SENDING


def test_what_was_begun_while_its_author_might_write_is_brought_to_its_end() -> None:
    post = Post(Rung.GUARD)
    post.letters.faults = ["", "lost"]
    with pytest.raises(BackendAway):
        post.run(letter(1, "a", "b"))
    post.replay = post.start()
    post.replay.course._allowed = lambda command: "may not write any more"
    post.run(letter(1, "a", "b"), letter(2))
    assert [post.outcomes[at].state for at in (1, 2)] == [State.APPLIED, State.REFUSED]
