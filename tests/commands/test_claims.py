"""What is on its way: claimed before it is sent, never withdrawn then, and never called what nobody can know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from brique.backends import Session
from brique.commands import Claim, Claimed, Give, Move, Outcome, Report, Restart, Waiting
from brique.errors import BackendAway, Refused
from brique.schema import Change, State
from tests.commands.world import Crash, World


@pytest.fixture(params=[True, False], ids=["watermark", "compare"])
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    made = World(tmp_path, marker=request.param)
    yield made
    made.close()
    made.backend.close()


@pytest.fixture
def unmarked(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, marker=False)
    yield made
    made.close()
    made.backend.close()


def waiting(world: World) -> list[Waiting]:
    return [Waiting(item.position, item.state, item.command) for item in world.reader.pending_for("erp", 100)]


def lose_answers(world: World) -> None:
    """From now on the process ends between the backend's commit and its report."""

    def crash(report: Report) -> None:
        raise Crash

    world.before_report = crash


def stock(world: World, code: str) -> object:
    return world.erp(f"SELECT stock FROM item WHERE code = '{code}'")[0][0]


def test_what_was_withdrawn_while_a_batch_was_made_is_not_sent(world: World) -> None:
    first, second = world.update("item", "A", stock=1), world.update("item", "B", stock=2)
    seen = waiting(world)
    world.ask(Move(second.position, State.WITHDRAWN, "awa"))
    world.sender().run(seen)
    assert [world.state(first), world.state(second)] == [State.APPLIED, State.WITHDRAWN]
    assert stock(world, "B") == 20


def test_what_is_on_its_way_cannot_be_withdrawn(world: World) -> None:
    item = world.update("item", "A", stock=1)
    lose_answers(world)
    with pytest.raises(Crash):
        world.replay()
    with pytest.raises(Refused):
        world.ask(Move(item.position, State.WITHDRAWN, "awa"))
    world.before_report = lambda _: None
    world.replay()
    assert world.state(item) is State.APPLIED


def test_what_has_settled_since_it_was_looked_up_is_not_sent_again(world: World) -> None:
    item = world.create("note", text="once")
    seen = waiting(world)
    world.replay()
    world.sender().run(seen)
    assert world.erp("SELECT text FROM note") == [("once",)]
    assert world.state(item) is State.APPLIED


def test_a_backend_that_goes_away_before_the_commit_gets_the_new_row_later(world: World) -> None:
    item = world.create("note", text="hello")
    with going_away_at(world, "insert"), pytest.raises(BackendAway):
        world.replay()
    assert world.state(item) is State.KEPT
    world.replay()
    assert world.state(item) is State.APPLIED
    assert world.erp("SELECT text FROM note") == [("hello",)]


def test_what_was_given_back_can_be_withdrawn(world: World) -> None:
    item = world.update("item", "A", stock=1)
    with going_away_at(world, "update"), pytest.raises(BackendAway):
        world.replay()
    world.ask(Move(item.position, State.WITHDRAWN, "awa"))
    assert world.replay() == 0
    assert stock(world, "A") == 10


class _Away:
    """A session whose backend goes away at one of its methods."""

    def __init__(self, session: Session, method: str) -> None:
        self._session, self._method = session, method

    def __getattr__(self, name: str) -> Any:
        if name == self._method:
            raise BackendAway("erp: away")
        return getattr(self._session, name)


@contextmanager
def going_away_at(world: World, method: str) -> Iterator[None]:
    """The backend goes away in the middle of a transaction."""
    real = world.backend.session

    @contextmanager
    def session() -> Iterator[Any]:
        with real() as opened:
            yield _Away(opened, method)

    world.backend.session = session  # type: ignore[method-assign]  # until the block ends
    try:
        yield
    finally:
        world.backend.session = real  # type: ignore[method-assign]


def test_a_chain_on_one_row_whose_answer_was_lost_is_applied_not_in_conflict(unmarked: World) -> None:
    items = [unmarked.update("item", "A", stock=number) for number in (7, 5, 3)]
    lose_answers(unmarked)
    with pytest.raises(Crash):
        unmarked.replay()
    unmarked.before_report = lambda _: None
    unmarked.restart()
    unmarked.replay()
    assert [unmarked.state(item) for item in items] == [State.APPLIED] * 3
    assert stock(unmarked, "A") == 3


def test_a_row_that_a_colleague_changed_after_a_lost_answer_is_unknown_not_a_conflict(unmarked: World) -> None:
    item = unmarked.update("item", "A", stock=7)
    lose_answers(unmarked)
    with pytest.raises(Crash):
        unmarked.replay()
    unmarked.before_report = lambda _: None
    unmarked.erp("UPDATE item SET stock = 4 WHERE code = 'A'")
    unmarked.replay()
    found = unmarked.reader.command(item.position)
    assert found is not None
    assert found.state is State.UNKNOWN, "it had been applied before the colleague came"
    assert found.theirs == {"item/A": {"code": "A", "name": "Apple", "stock": 4}}


def test_a_store_made_anew_knows_what_may_have_arrived(unmarked: World) -> None:
    item = unmarked.create("note", text="hello")
    lose_answers(unmarked)
    with pytest.raises(Crash):
        unmarked.replay()
    unmarked.before_report = lambda _: None
    unmarked.restart(lose_store=True)
    unmarked.replay()
    assert unmarked.state(item) is State.UNKNOWN
    assert unmarked.erp("SELECT count(*) FROM note") == [(1,)]


def test_a_command_before_the_refused_one_may_turn_out_in_conflict_itself(world: World) -> None:
    early, bad = world.update("item", "A", stock=1), world.update("item", "B", stock=-1)
    real, spoilt = world.backend.session, []

    @contextmanager
    def session() -> Iterator[Session]:
        """Before the second transaction a colleague changes the row of the command that had gone well in the first."""
        if len(spoilt) == 1:
            world.erp("UPDATE item SET stock = 99 WHERE code = 'A'")
        spoilt.append(1)
        with real() as opened:
            yield opened

    world.backend.session = session  # type: ignore[method-assign]  # the moment between two transactions
    world.replay()
    assert [world.state(early), world.state(bad)] == [State.CONFLICT, State.REFUSED]
    assert stock(world, "A") == 99


def test_a_refusal_that_comes_only_at_the_commit_is_its_commands_own(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        script="CREATE TABLE part(id INTEGER PRIMARY KEY, item TEXT "
        "REFERENCES item(code) DEFERRABLE INITIALLY DEFERRED);"
        "INSERT INTO part VALUES (1, 'A'), (2, 'B'), (3, 'C')",
    )
    wishes = (("1", "B"), ("2", "Z"), ("3", "A"))
    items = [world.update("part", key, item=item) for key, item in wishes]
    world.replay()
    assert [world.state(item) for item in items] == [State.APPLIED, State.REFUSED, State.APPLIED]
    assert world.erp("SELECT item FROM part ORDER BY id") == [("B",), ("B",), ("A",)]
    world.close()
    world.backend.close()


def test_a_claim_says_what_still_waits_and_what_was_claimed_before(world: World) -> None:
    first, second = world.update("item", "A", stock=1), world.update("item", "B", stock=2)
    world.ask(Move(second.position, State.WITHDRAWN, "awa"))
    [one] = world.ledger.handle([Claim((first.position, second.position, 10_000))])
    [two] = world.ledger.handle([Claim((first.position,))])
    assert isinstance(one, Claimed)
    assert isinstance(two, Claimed)
    assert one.states == {first.position: State.KEPT}
    assert two.states == {first.position: State.SENDING}
    assert world.reader.command_counts() == {State.SENDING: 1, State.WITHDRAWN: 1}


def test_a_marker_that_is_allowed_again_sends_nothing_twice(tmp_path: Path) -> None:
    world = World(tmp_path, marker=True)
    world.create("note", text="with a mark")
    world.replay()
    world.rung = world.backend.prepare(False).rung
    world.create("note", text="without")
    world.replay()
    waiting_now = world.create("note", text="later")
    world.rung = world.backend.prepare(True).rung
    Restart(world.sender()).begin(waiting(world), shown=world.reader.spool_position(), was_marked=False)
    world.replay()
    assert world.state(waiting_now) is State.APPLIED
    assert world.erp("SELECT text FROM note ORDER BY id") == [("with a mark",), ("without",), ("later",)]
    world.close()
    world.backend.close()


def test_a_lost_answer_is_found_by_the_mark_although_marks_are_not_allowed_any_more(tmp_path: Path) -> None:
    world = World(tmp_path, marker=True)
    item = world.create("note", text="hello")
    lose_answers(world)
    with pytest.raises(Crash):
        world.replay()
    world.before_report = lambda _: None
    world.rung = world.backend.prepare(False).rung
    Restart(world.sender()).begin(waiting(world), shown=world.reader.spool_position(), was_marked=True)
    assert world.state(item) is State.APPLIED
    assert world.erp("SELECT count(*) FROM note") == [(1,)]
    world.close()
    world.backend.close()


def test_an_applied_change_whose_row_was_not_read_back_does_not_cover_a_later_one(world: World) -> None:
    world.update("item", "A", stock=7)
    real = world.backend.fetch

    def away(*_: object) -> Any:
        raise BackendAway("erp: away")

    world.backend.fetch = away  # type: ignore[method-assign]  # it goes away after the commit
    with pytest.raises(BackendAway):
        world.replay()
    world.backend.fetch = real  # type: ignore[method-assign]
    assert world.values("item", "A") == {"code": "A", "name": "Apple", "stock": 7}
    later = world.update("item", "A", stock=5)
    world.replay()
    assert world.values("item", "A") == {"code": "A", "name": "Apple", "stock": 5}
    last = world.update("item", "A", stock=3)
    world.replay()
    assert [world.state(later), world.state(last)] == [State.APPLIED, State.APPLIED]


def test_what_still_waits_when_marks_are_allowed_again_is_sent_later(tmp_path: Path) -> None:
    """It was claimed without a mark, and builds on a command whose outcome a person has not said yet."""
    world = World(tmp_path, marker=False)
    parent = world.create("note", text="first")
    world.claim([(parent.position, State.KEPT)], for_good=True)
    world.replay()
    assert world.state(parent) is State.UNKNOWN
    command = msgspec.structs.replace(
        world.command(Change("item", "A", {"stock": 10}, {"stock": 7})), after=(parent.command.id,)
    )
    child = world.given(Give(command))
    world.claim([(child.position, State.KEPT)], for_good=True)
    other = world.update("item", "B", stock=1)
    world.replay()
    assert world.state(other) is State.APPLIED
    world.rung = world.backend.prepare(True).rung
    sender = world.sender()
    Restart(sender).begin(
        waiting(world),
        shown=world.reader.spool_position(),
        was_marked=False,
        applied_after=lambda after: [item.position for item in world.reader.applied_for("erp", 1000, after)],
    )
    world.replay()
    assert world.state(child) is State.SENDING
    world.ask(Move(parent.position, State.APPLIED, "awa"))
    world.replay()
    assert world.state(child) is State.APPLIED
    assert world.erp("SELECT stock FROM item WHERE code = 'A'") == [(7,)]
    world.close()
    world.backend.close()


def test_what_waits_on_a_row_follows_it_when_its_backend_has_forgotten_the_row(world: World) -> None:
    made = world.create("note", text="first")
    temporary = made.command.changes[0].key
    later = world.update("note", temporary, text="second")
    row = {"note": {"7": {"id": 7, "text": "first"}}}
    world.ask(Report("erp", outcomes=[Outcome(made.position, State.APPLIED, keys={temporary: "7"})], rows=row))
    assert (world.values("note", "7") or {})["text"] == "second"
    world.ask(Report("erp", outcomes=[Outcome(made.position, State.KEPT)], rows={"note": {"7": None}}))
    assert world.values("note", "7") is None
    assert (world.values("note", temporary) or {})["text"] == "second"
    assert world.state(later) is State.KEPT
