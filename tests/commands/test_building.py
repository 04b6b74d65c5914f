"""Commands that build on others which wait, on real backends: numbers that come later, refusals that are passed on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from brique.commands import Give, Move, Outcome, Report
from brique.errors import BackendAway
from brique.schema import Change, State
from brique.store import StoredCommand
from tests.commands.world import Crash, World

ORDERS = """
CREATE TABLE orders(id INTEGER PRIMARY KEY, customer TEXT NOT NULL CHECK (customer <> 'nobody'));
CREATE TABLE line(id INTEGER PRIMARY KEY, orders INTEGER NOT NULL REFERENCES orders(id), item TEXT NOT NULL);
CREATE TABLE part(orders INTEGER NOT NULL REFERENCES orders(id), place INTEGER NOT NULL, item TEXT,
  PRIMARY KEY (orders, place));
"""


@pytest.fixture(params=[True, False], ids=["watermark", "compare"])
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    made = World(tmp_path, marker=request.param, script=ORDERS)
    yield made
    made.close()
    made.backend.close()


@pytest.fixture
def marked(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, script=ORDERS)
    yield made
    made.close()
    made.backend.close()


def order_with_lines(world: World, customer: str = "Awa") -> tuple[StoredCommand, list[StoredCommand]]:
    order = world.create("orders", customer=customer)
    key = order.command.changes[0].key
    return order, [
        world.create("line", orders=key, item="pear"),
        world.create("line", orders=key, item="plum"),
        world.create("part", orders=key, place=1, item="box"),
    ]


def found(world: World, item: StoredCommand) -> StoredCommand:
    stored = world.reader.command(item.position)
    assert stored is not None
    return stored


def test_lines_are_added_to_an_order_that_has_no_number_yet(world: World) -> None:
    world.erp("INSERT INTO orders VALUES (41, 'Old')")
    order, lines = order_with_lines(world)
    temporary = order.command.changes[0].key
    assert [row.values["item"] for row in world.reader.rows_by("line", "orders", temporary)] == ["pear", "plum"]
    world.replay()
    assert world.erp("SELECT orders, item FROM line ORDER BY id") == [(42, "pear"), (42, "plum")]
    assert world.erp("SELECT orders, place, item FROM part") == [(42, 1, "box")]
    assert [world.state(item) for item in (order, *lines)] == [State.APPLIED] * 4
    assert [row.values["item"] for row in world.reader.rows_by("line", "orders", 42)] == ["pear", "plum"]
    assert world.values("part", "42,1") == {"orders": 42, "place": 1, "item": "box"}
    assert world.reader.rows_by("line", "orders", temporary) == []


def test_a_line_given_after_its_order_got_a_number_is_shown_under_that_number(world: World) -> None:
    order = world.create("orders", customer="Awa")
    world.replay()
    late = world.create("line", orders=order.command.changes[0].key, item="late")
    assert [row.values["item"] for row in world.reader.rows_by("line", "orders", 1)] == ["late"]
    world.replay()
    assert world.state(late) is State.APPLIED
    assert world.erp("SELECT orders, item FROM line") == [(1, "late")]


def test_a_hundred_orders_with_lines_take_few_transactions(marked: World) -> None:
    for number in range(100):
        order_with_lines(marked, f"customer {number}")
    sender = marked.sender()
    sender.run(waiting(marked))
    assert sender.sessions == 1
    assert marked.erp("SELECT count(*) FROM line JOIN orders ON orders.id = line.orders") == [(200,)]
    assert marked.reader.command_counts() == {State.APPLIED: 400}


def waiting(world: World) -> list[Any]:
    from brique.commands import Waiting

    return [Waiting(item.position, item.state, item.command) for item in world.reader.pending_for("erp", 200_000)]


def test_the_number_survives_a_crash_between_the_commit_and_its_report(marked: World) -> None:
    order = marked.create("orders", customer="Awa")

    def crash(report: Report) -> None:
        raise Crash

    marked.before_report = crash
    with pytest.raises(Crash):
        marked.replay()
    marked.before_report = lambda _: None
    line = marked.create("line", orders=order.command.changes[0].key, item="pear")
    marked.restart()
    marked.replay()
    assert [marked.state(item) for item in (order, line)] == [State.APPLIED] * 2
    assert marked.erp("SELECT orders, item FROM line") == [(1, "pear")]
    assert marked.values("orders", "1") == {"id": 1, "customer": "Awa"}


def test_what_builds_on_a_refused_command_is_refused_and_told_why(world: World) -> None:
    order, lines = order_with_lines(world, "nobody")
    other = world.update("item", "A", stock=3)
    world.replay()
    assert world.state(order) is State.REFUSED
    assert [world.state(item) for item in lines] == [State.REFUSED] * 3
    assert order.command.id in found(world, lines[0]).reason
    assert world.state(other) is State.APPLIED
    assert world.erp("SELECT count(*) FROM line") == [(0,)]


def test_what_builds_on_a_withdrawn_command_is_refused(world: World) -> None:
    order, lines = order_with_lines(world)
    world.ask(Move(order.position, State.WITHDRAWN, "awa"))
    world.replay()
    assert [world.state(item) for item in lines] == [State.REFUSED] * 3
    assert "withdrawn" in found(world, lines[0]).reason


def elsewhere(world: World) -> StoredCommand:
    """A command for another backend, which is away."""
    command = msgspec.structs.replace(world.command(Change("note", "new-X", None, {"text": "there"})), backend="crm")
    return world.given(Give(command))


def after(world: World, parent: StoredCommand, change: Change) -> StoredCommand:
    return world.given(Give(msgspec.structs.replace(world.command(change), after=(parent.command.id,))))


def test_a_command_waits_for_one_of_another_backend_and_only_its_own_rows_wait_with_it(world: World) -> None:
    parent = elsewhere(world)
    first = after(world, parent, Change("item", "A", {"stock": 10}, {"stock": 5}))
    behind = world.update("item", "A", stock=4)
    other = world.update("item", "B", stock=1)
    world.replay()
    assert [world.state(item) for item in (first, behind, other)] == [State.KEPT, State.KEPT, State.APPLIED]
    world.replay()
    world.ask(Report("crm", outcomes=[Outcome(parent.position, State.APPLIED)]))
    world.replay()
    assert [world.state(item) for item in (first, behind)] == [State.APPLIED, State.APPLIED]
    assert world.erp("SELECT stock FROM item ORDER BY code") == [(4,), (1,), (30,)]


def test_an_overtaken_command_is_applied_once_whatever_crashes(marked: World) -> None:
    parent = elsewhere(marked)
    late = after(marked, parent, Change("note", "new-L", None, {"text": "late"}))
    marked.update("item", "B", stock=1)
    marked.replay()
    marked.restart()
    marked.replay()
    assert marked.erp("SELECT count(*) FROM note") == [(0,)]
    marked.ask(Report("crm", outcomes=[Outcome(parent.position, State.APPLIED)]))

    def crash(report: Report) -> None:
        raise Crash

    marked.before_report = crash
    with pytest.raises(Crash):
        marked.replay()
    marked.before_report = lambda _: None
    marked.restart()
    marked.replay()
    assert marked.state(late) is State.APPLIED
    assert marked.erp("SELECT text FROM note") == [("late",)]


def test_what_waits_for_a_command_of_another_backend_that_is_refused_is_refused(world: World) -> None:
    parent = elsewhere(world)
    late = after(world, parent, Change("item", "A", {"stock": 10}, {"stock": 5}))
    world.replay()
    world.ask(Report("crm", outcomes=[Outcome(parent.position, State.REFUSED, reason="no such customer")]))
    world.replay()
    assert world.state(late) is State.REFUSED
    assert "no such customer" in found(world, late).reason


def test_a_command_that_the_backend_never_answers_to_rests_and_the_others_go_on(world: World) -> None:
    poison = world.update("item", "A", stock=5)
    behind = world.update("item", "A", stock=4)
    others = [world.update("item", "B", stock=1), world.update("item", "C", stock=2)]
    sender = world.sender()
    real = world.backend.session
    from contextlib import contextmanager

    @contextmanager
    def session() -> Iterator[Any]:
        with real() as opened:
            yield _Stuck(opened)

    world.backend.session = session  # type: ignore[method-assign]  # no answer to that one, as from a locked row
    for _ in range(12):
        try:
            sender.run(waiting(world))
        except BackendAway:
            continue
    assert [world.state(item) for item in others] == [State.APPLIED] * 2
    assert [world.state(item) for item in (poison, behind)] == [State.KEPT] * 2
    assert world.tried_alone[-1][0] == poison.position
    world.backend.session = real  # type: ignore[method-assign]
    world.seconds += 3600
    sender.run(waiting(world))
    assert [world.state(item) for item in (poison, behind)] == [State.APPLIED] * 2
    assert world.erp("SELECT stock FROM item WHERE code = 'A'") == [(4,)]


class _Stuck:
    """A session that never comes back from a change of item A."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def update(self, spec: Any, key: tuple[Any, ...], *rest: Any) -> int:
        if key == ("A",):
            raise BackendAway("erp: no answer")
        rows: int = self._session.update(spec, key, *rest)
        return rows

    def apply(self, changes: Any) -> Any:
        if any(change.key == "A" for _, change in changes):
            raise BackendAway("erp: no answer")
        return self._session.apply(changes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


def test_what_may_have_arrived_is_not_refused_because_what_it_builds_on_was_forgotten(tmp_path: Path) -> None:
    """It was sent once that had been applied; only its row can tell now."""
    world = World(tmp_path, marker=False)
    parent = world.update("item", "B", stock=1)
    world.replay()
    change = Change("item", "A", {"stock": 10}, {"stock": 7})
    child = world.given(Give(msgspec.structs.replace(world.command(change), after=(parent.command.id,))))

    def crash(report: Report) -> None:
        raise Crash

    world.before_report = crash
    with pytest.raises(Crash):
        world.replay()
    world.before_report = lambda _: None
    assert world.ledger.forget(world.clock.now() + timedelta(days=1)) == 1
    world.restart()
    world.replay()
    assert world.state(child) is State.APPLIED
    world.close()
    world.backend.close()


def test_what_names_a_row_by_a_number_that_the_backend_forgets_goes_to_that_row_under_its_next_number(
    marked: World,
) -> None:
    marked.update("item", "A", stock=1)
    marked.replay()
    backup = marked.backup()
    first, second = marked.create("orders", customer="first"), marked.create("orders", customer="second")
    marked.replay()
    deletion = marked.delete("orders", "1")
    line = marked.create("line", orders=2, item="pear")
    marked.restore(backup)
    marked.erp("INSERT INTO orders VALUES (1, 'a colleague')")
    marked.replay()
    assert [marked.state(item) for item in (first, second, deletion, line)] == [State.APPLIED] * 4
    assert marked.erp("SELECT id, customer FROM orders ORDER BY id") == [(1, "a colleague"), (3, "second")]
    assert marked.erp("SELECT orders, item FROM line") == [(3, "pear")]


def test_a_row_that_is_deleted_before_it_has_got_a_number_is_deleted(world: World) -> None:
    order = world.create("orders", customer="Awa")
    deletion = world.delete("orders", order.command.changes[0].key)
    world.replay()
    assert [world.state(item) for item in (order, deletion)] == [State.APPLIED, State.APPLIED]
    assert world.erp("SELECT * FROM orders") == []
