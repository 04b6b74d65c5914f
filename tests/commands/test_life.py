"""What a command goes through, from its acknowledgement to its end, on a real backend."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from brique.commands import Dismiss, Give, Move, Outcome, Receipt, Report, journal
from brique.errors import Refused, Stale, TokenReused
from brique.schema import Change, State
from brique.spool import Entry
from tests.commands.world import Crash, World, waiting


@pytest.fixture(params=[True, False], ids=["watermark", "compare"])
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    made = World(tmp_path, marker=request.param)
    yield made
    made.close()
    made.backend.close()


def pending(world: World, table: str, key: str) -> int:
    row = world.reader.row(table, key)
    assert row is not None
    return row.pending


def stock(world: World, code: str) -> object:
    return world.erp(f"SELECT stock FROM item WHERE code = '{code}'")[0][0]


def test_an_acknowledged_command_is_shown_at_once_and_the_backend_not_touched(world: World) -> None:
    item = world.update("item", "A", stock=7)
    assert item.state is State.KEPT
    assert world.values("item", "A") == {"code": "A", "name": "Apple", "stock": 7}
    assert pending(world, "item", "A") == 1
    assert stock(world, "A") == 10


def test_replay_applies_it_and_the_mark_goes(world: World) -> None:
    item = world.update("item", "A", stock=7)
    assert world.replay() == 1
    assert world.state(item) is State.APPLIED
    assert stock(world, "A") == 7
    assert pending(world, "item", "A") == 0
    assert world.values("item", "A") == {"code": "A", "name": "Apple", "stock": 7}


def test_the_same_token_is_one_command(world: World) -> None:
    change = Change("note", "new-R9", None, {"text": "once"})
    first = world.ask(Give(world.command(change, name="create"), "t1"))
    again = world.ask(Give(world.command(change, name="create"), "t1"))
    assert first is not None
    assert again is not None
    assert (again.id, again.position, again.duplicate) == (first.id, first.position, True)
    world.replay()
    assert world.erp("SELECT text FROM note") == [("once",)]


def test_three_clicks_in_one_batch_are_one_command(world: World) -> None:
    change = Change("note", "new-R9", None, {"text": "once"})
    answers = world.ledger.handle([Give(world.command(change, name="create"), "t1") for _ in range(3)])
    assert len({getattr(answer, "position", None) for answer in answers}) == 1
    assert [getattr(answer, "duplicate", None) for answer in answers] == [False, True, True]
    world.replay()
    assert world.erp("SELECT count(*) FROM note") == [(1,)]


def test_a_token_with_another_wish_is_refused(world: World) -> None:
    world.update("item", "A", stock=7, token="t1")
    with pytest.raises(TokenReused):
        world.update("item", "A", stock=8, token="t1")


def test_another_users_token_is_another_token(world: World) -> None:
    change = Change("item", "A", {"stock": 10}, {"stock": 7})
    first = world.ask(Give(world.command(change, user="awa"), "t1"))
    second = world.ask(Give(world.command(change, user="moussa"), "t1"))
    assert first is not None
    assert second is not None
    assert first.position != second.position


def test_a_row_that_had_changed_is_a_conflict_with_what_is_there(world: World) -> None:
    item = world.update("item", "A", stock=7)
    world.erp("UPDATE item SET stock = 3 WHERE code = 'A'")
    world.replay()
    found = world.reader.command(item.position)
    assert found is not None
    assert found.state is State.CONFLICT
    assert found.theirs == {"item/A": {"code": "A", "name": "Apple", "stock": 3}}
    assert stock(world, "A") == 3
    assert world.values("item", "A") == {"code": "A", "name": "Apple", "stock": 3}
    assert pending(world, "item", "A") == 2


def test_a_change_of_another_column_is_no_conflict(world: World) -> None:
    item = world.update("item", "A", stock=7)
    world.erp("UPDATE item SET name = 'Green apple' WHERE code = 'A'")
    world.replay()
    assert world.state(item) is State.APPLIED
    assert world.values("item", "A") == {"code": "A", "name": "Green apple", "stock": 7}


def test_a_row_that_is_gone_is_a_conflict(world: World) -> None:
    item = world.update("item", "A", stock=7)
    world.erp("DELETE FROM item WHERE code = 'A'")
    world.replay()
    assert world.state(item) is State.CONFLICT
    assert world.values("item", "A") is None


def test_what_the_backend_refuses_stops_nobody_else(world: World) -> None:
    items = [
        world.update("item", "A", stock=1),
        world.update("item", "B", stock=-5),
        world.update("item", "C", stock=3),
    ]
    world.replay()
    assert [world.state(item) for item in items] == [State.APPLIED, State.REFUSED, State.APPLIED]
    assert world.erp("SELECT stock FROM item ORDER BY code") == [(1,), (20,), (3,)]
    assert pending(world, "item", "B") == 2


def test_a_refusal_that_was_dealt_with_needs_nobody(world: World) -> None:
    item = world.update("item", "B", stock=-5)
    world.replay()
    assert world.reader.needing_person() == 1
    world.ask(Dismiss(item.position, "awa"))
    assert world.reader.needing_person() == 0
    assert pending(world, "item", "B") == 0


def test_commands_on_one_row_arrive_in_their_order(world: World) -> None:
    for number in range(1, 8):
        world.update("item", "A", stock=number)
    world.replay()
    assert stock(world, "A") == 7
    assert world.reader.command_counts() == {State.APPLIED: 7}


def test_what_builds_on_a_refused_command_is_a_conflict(world: World) -> None:
    refused = world.update("item", "A", stock=-1)
    later = world.update("item", "A", stock=5)
    other = world.update("item", "A", name="Green apple")
    world.replay()
    assert [world.state(item) for item in (refused, later, other)] == [State.REFUSED, State.CONFLICT, State.APPLIED]
    assert world.erp("SELECT name, stock FROM item WHERE code = 'A'") == [("Green apple", 10)]


def test_a_new_row_gets_the_key_that_the_backend_gives(world: World) -> None:
    item = world.create("note", text="hello")
    key = item.command.changes[0].key
    assert world.values("note", key) == {"id": None, "text": "hello"}
    world.replay()
    found = world.reader.command(item.position)
    assert found is not None
    assert found.keys == {key: "1"}
    assert world.values("note", "1") == {"id": 1, "text": "hello"}
    assert world.reader.count_exactly("note") == 1


def test_a_row_can_be_changed_before_it_has_a_number(world: World) -> None:
    key = world.create("note", text="hello").command.changes[0].key
    later = world.update("note", key, text="hello again")
    assert world.values("note", key) == {"id": None, "text": "hello again"}
    world.replay()
    assert world.state(later) is State.APPLIED
    assert world.erp("SELECT id, text FROM note") == [(1, "hello again")]


def test_a_key_that_is_taken_is_a_conflict(world: World) -> None:
    item = world.create("item", code="D", name="Date", stock=1)
    world.erp("INSERT INTO item VALUES ('D', 'Durian', 5)")
    world.replay()
    assert world.state(item) is State.CONFLICT
    assert world.erp("SELECT name FROM item WHERE code = 'D'") == [("Durian",)]


def test_a_deleted_row_goes_and_one_that_had_changed_stays(world: World) -> None:
    gone, kept = world.delete("item", "A"), world.delete("item", "B")
    assert world.values("item", "A") is None
    world.erp("UPDATE item SET stock = 99 WHERE code = 'B'")
    world.replay()
    assert [world.state(gone), world.state(kept)] == [State.APPLIED, State.CONFLICT]
    assert world.erp("SELECT code FROM item ORDER BY code") == [("B",), ("C",)]
    assert world.values("item", "B") == {"code": "B", "name": "Banana", "stock": 99}


def test_a_withdrawn_command_is_never_sent(world: World) -> None:
    item = world.update("item", "A", stock=7)
    world.ask(Move(item.position, State.WITHDRAWN, "awa"))
    assert world.replay() == 0
    assert world.values("item", "A") == {"code": "A", "name": "Apple", "stock": 10}
    assert stock(world, "A") == 10


def test_what_was_applied_cannot_be_withdrawn(world: World) -> None:
    item = world.update("item", "A", stock=7)
    world.replay()
    with pytest.raises(Refused):
        world.ask(Move(item.position, State.WITHDRAWN, "awa"))


def crash_on_outcome(report: Report) -> None:
    if report.done or any(outcome.state.settled for outcome in report.outcomes):
        raise Crash


def test_a_crash_between_the_backends_commit_and_our_note_doubles_nothing(world: World) -> None:
    items = [world.update("item", code, stock=1) for code in "ABC"]
    world.before_report = crash_on_outcome
    with pytest.raises(Crash):
        world.replay()
    assert world.erp("SELECT sum(stock) FROM item") == [(3,)]
    world.before_report = lambda _: None
    world.restart()
    assert [world.state(item) for item in items] == [State.SENDING] * 3
    world.erp(
        "CREATE TABLE touched(code);"
        "CREATE TRIGGER t AFTER UPDATE ON item BEGIN INSERT INTO touched VALUES (new.code); END"
    )
    world.replay()
    assert [world.state(item) for item in items] == [State.APPLIED] * 3
    assert world.erp("SELECT count(*) FROM touched") == [(0,)]


def test_a_new_row_whose_answer_was_lost_is_there_once(world: World) -> None:
    item = world.create("note", text="hello")
    world.before_report = crash_on_outcome
    with pytest.raises(Crash):
        world.replay()
    world.before_report = lambda _: None
    world.restart()
    world.replay()
    assert world.erp("SELECT text FROM note") == [("hello",)]
    marked = world.rung.value == "watermark"
    assert world.state(item) is (State.APPLIED if marked else State.UNKNOWN)
    if marked:
        assert world.values("note", item.command.changes[0].key) is not None, "shown until a refresh brings the row"


def test_an_unknown_outcome_is_decided_by_a_person(world: World) -> None:
    if world.rung.value == "watermark":
        assert world.reader.needing_person() == 0
        return
    item = world.create("note", text="hello")
    world.before_report = crash_on_outcome
    with pytest.raises(Crash):
        world.replay()
    world.before_report = lambda _: None
    world.replay()
    assert world.state(item) is State.UNKNOWN
    world.ask(Move(item.position, State.APPLIED, "awa"))
    assert world.state(item) is State.APPLIED


def test_everything_shown_can_be_made_again_from_the_spool_alone(world: World) -> None:
    world.update("item", "A", stock=1)
    world.replay()
    refused = world.update("item", "B", stock=-1)
    world.replay()
    kept = world.update("item", "C", stock=3)
    new = world.create("note", text="hello")
    world.restart(lose_store=True)
    assert world.values("item", "A") == {"code": "A", "name": "Apple", "stock": 1}
    assert world.values("item", "C") == {"code": "C", "name": "Cherry", "stock": 3}
    assert world.values("note", new.command.changes[0].key) == {"id": None, "text": "hello"}
    assert [world.state(item) for item in (refused, kept, new)] == [State.REFUSED, State.KEPT, State.KEPT]
    assert pending(world, "item", "B") == 2


def test_a_store_that_lags_behind_the_spool_catches_up_once(world: World) -> None:
    command = world.command(Change("item", "A", {"stock": 10}, {"stock": 7}))

    world.spool.append([Entry(journal.encode(journal.Given(command)))])
    world.restart()
    world.restart()
    assert world.values("item", "A") == {"code": "A", "name": "Apple", "stock": 7}
    assert len(world.reader.pending_for("erp", 10)) == 1


def test_what_settled_long_ago_is_forgotten_and_what_waits_stays(world: World) -> None:
    old = world.update("item", "A", stock=1)
    world.replay()
    waiting = world.update("item", "B", stock=2)
    assert world.ledger.forget(world.clock.now() + timedelta(days=1)) == 1
    assert world.reader.command(old.position) is None
    assert waiting.position in [record.position for record in world.spool.read(0, 10)]
    world.restart(lose_store=True)
    assert world.values("item", "B") == {"code": "B", "name": "Banana", "stock": 2}
    assert world.state(waiting) is State.KEPT


def test_the_spool_tells_whose_command_stands_at_a_position(world: World) -> None:
    item = world.update("item", "A", stock=1)
    world.replay()
    assert world.ledger.receipt_at(item.position) == item.command.id
    assert world.ledger.receipt_at(world.spool.last()) == ""  # that it was applied
    assert world.ledger.receipt_at(world.spool.last() + 1) is None
    world.ledger.forget(world.clock.now() + timedelta(days=1))
    assert world.ledger.receipt_at(item.position) is None


def test_a_report_about_a_command_that_is_forgotten_is_heard_for_the_others(world: World) -> None:
    """Somebody withdrew it, and its process had not looked again before it was forgotten."""
    gone, other = world.update("item", "A", stock=1), world.update("item", "B", stock=2)
    world.ask(Move(gone.position, State.WITHDRAWN, "awa"))
    world.ledger.forget(world.clock.now() + timedelta(days=1))
    world.ask(Report("erp", [Outcome(item.position, State.REFUSED, reason="no") for item in (gone, other)]))
    assert world.reader.command(gone.position) is None
    assert world.state(other) is State.REFUSED


def test_a_store_made_anew_knows_how_far_a_spool_had_come_that_keeps_nothing_any_more(world: World) -> None:
    world.update("item", "A", stock=1)
    world.replay()
    world.ledger.forget(world.clock.now() + timedelta(days=1))
    assert not list(world.spool.read(0, 10))
    world.restart(lose_store=True)
    assert world.reader.spool_position() == world.spool.last() > 0


def test_a_command_on_a_table_that_is_not_served_any_more_is_refused_and_stops_nothing(world: World) -> None:
    item = world.given(Give(world.command(Change("lost", "1", {"a": 1}, {"a": 2}))))
    assert item.state is State.REFUSED
    assert "lost" in item.reason
    assert world.update("item", "A", stock=7).state is State.KEPT


def test_a_backend_that_was_restored_from_a_backup_gets_what_it_forgot_once(tmp_path: Path) -> None:
    world = World(tmp_path, marker=True)
    world.update("item", "A", stock=1)
    world.replay()
    backup = world.backup()
    world.create("note", text="hello")
    world.update("item", "B", stock=2)
    world.replay()
    world.restore(backup)
    world.replay()
    assert world.erp("SELECT code, stock FROM item ORDER BY code") == [("A", 1), ("B", 2), ("C", 30)]
    assert world.erp("SELECT text FROM note") == [("hello",)]
    assert world.reader.command_counts() == {State.APPLIED: 3}
    world.close()
    world.backend.close()


def test_of_two_who_change_a_row_at_once_by_two_names_of_it_the_second_is_told(world: World) -> None:
    """One has a page from before it got its number."""
    made = world.create("note", text="first")
    world.replay()
    keys = (made.command.changes[0].key, "1")
    changes = [Change("note", key, {"text": "first"}, {"text": f"by {key}"}) for key in keys]
    for order in (changes, changes[::-1]):
        first, second = world.ledger.handle([Give(world.command(change), fresh=True) for change in order])
        assert isinstance(first, Receipt)
        assert isinstance(second, Stale)
        world.ask(Move(first.position, State.WITHDRAWN, "awa"))


def test_what_a_replayer_remembers_as_applied_may_have_been_forgotten(tmp_path: Path) -> None:
    """The backend goes back behind a command that another one builds on; sent again, the first is refused."""
    world = World(tmp_path, marker=True)
    world.update("item", "C", stock=1)
    world.replay()
    backup = world.backup()
    sender = world.sender()
    parent = world.update("item", "A", stock=1)
    sender.run(waiting(world))
    world.restore(backup)
    sender.backend = sender.marks.backend = world.backend
    world.erp("UPDATE item SET stock = 5 WHERE code = 'A'")
    change = Change("item", "B", {"stock": 20}, {"stock": 2})
    child = world.given(Give(msgspec.structs.replace(world.command(change), after=(parent.command.id,))))
    world.rewind(sender)
    sender.run(waiting(world))
    assert [world.state(item) for item in (parent, child)] == [State.CONFLICT, State.REFUSED]
    world.close()
    world.backend.close()
