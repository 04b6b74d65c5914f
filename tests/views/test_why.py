"""Why a view says what it says: what it depends on, and which change ended the bytes before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from brique.clock import SystemClock, stamp
from brique.errors import BadInput
from brique.schema import Change
from brique.store import Store
from brique.store.layout import FORMAT, META, UPGRADES
from brique.views import Db, Why, why
from brique.views.letting_go import LettingGo
from tests.views.world import SPECS, Customer, Make, Order, World, order


def statement(db: Db, number: int) -> Any:
    mine = db[Order].where(customer=number)
    last = [[one.number, one.product.name if one.product else ""] for one in mine.order_by("-ordered").limit(2)]
    return {"name": db[Customer][number].name, "open": mine.where(status="open").count(), "last": last}


def late(db: Db) -> Any:
    return db[Order].where(ordered__lt=db.today()).count()


def mine(db: Db) -> Any:
    return [db.user, db[Customer].count()]


def asked(world: World, name: str, **arguments: Any) -> Why:
    return why(world.views.by_name[name], arguments, world.reader, SPECS, world.clock.now())


def fill(world: World) -> None:
    world.write("customers", *({"number": n, "name": f"Customer {n}"} for n in (7, 8)))
    world.write("products", {"code": "A", "name": "Cement", "price": 100})
    for customer in (7, 8):
        for place in range(3):
            number = customer * 10 + place
            world.write("orders", order(number, customer, ordered=f"2026-11-1{place}", product="A"))


def test_dependencies_are_told_as_one_would_write_them(make: Make) -> None:
    world = make(statement)
    fill(world)
    for number in (7, 8):
        world.views.get("statement", {"number": number})
    depends = {one.question: one for one in asked(world, "statement", number=8).kept[0].depends}
    assert depends["customers[number]"].columns == ("name",)
    assert depends["customers[number]"].by == "pattern"
    assert depends["products by orders.product"].by == "reference"
    assert depends["orders where customer = number and status = 'open'"].columns == ()
    window = next(one for question, one in depends.items() if "in order of" in question)
    assert "up to ('2026-11-11', " in window.question
    assert {"number", "product"} <= set(window.columns)
    before = {one.question for one in asked(world, "statement", number=7).kept[0].depends}
    assert "customers['7']" in before, "the first one was kept before there was a pattern"


def test_the_first_making_is_told(make: Make) -> None:
    world = make(statement)
    fill(world)
    assert asked(world, "statement", number=7).kept == ()
    world.views.get("statement", {"number": 7})
    (known,) = asked(world, "statement", number="7").kept
    assert (known.state, known.cause.what, known.makes, known.user) == ("ready", "first", 1, "")
    assert known.took_ms > 0
    assert known.bytes == len(world.views.get("statement", {"number": 7}).body)


def test_the_change_that_let_go_of_it_is_told_before_and_after_it_is_made_anew(make: Make) -> None:
    world = make(statement)
    fill(world)
    world.views.get("statement", {"number": 7})
    world.clock.pass_by(seconds=5)
    world.write("customers", {"number": 7, "name": "Another"})
    for state in ("let go", "ready"):
        (known,) = asked(world, "statement", number=7).kept
        assert known.state == state
        cause = known.cause
        assert (cause.what, cause.table, cause.key, cause.columns, cause.by) == (
            "change", "customers", "7", ("name",), "",
        )  # fmt: skip
        assert cause.at == stamp(world.clock.now())
        world.views.get("statement", {"number": 7})
    assert known.makes == 2


def test_a_command_is_told_with_its_author(make: Make) -> None:
    world = make(statement)
    fill(world)
    world.views.get("statement", {"number": 7})
    world.command(Change("orders", "70", {"status": "open"}, {"status": "paid"}))
    cause = asked(world, "statement", number=7).kept[0].cause
    assert (cause.by, cause.user, cause.receipt, cause.columns) == ("edit", "ana", "c1", ("status",))


def test_a_change_that_touches_nothing_is_no_cause(make: Make) -> None:
    world = make(statement)
    fill(world)
    world.views.get("statement", {"number": 7})
    world.write("customers", {"number": 8, "name": "Another"})
    world.write("customers", {"number": 7, "name": "Customer 7", "city": "Thiès"})
    (known,) = asked(world, "statement", number=7).kept
    assert (known.state, known.cause.what) == ("ready", "first")


def test_many_that_are_let_go_of_by_one_statement_know_why(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brique.views.letting_go.CHECKED_MAX", 0)
    world = make(statement)
    fill(world)
    for number in (7, 8, 7):
        world.views.get("statement", {"number": number})
        world.write("customers", {"number": number, "name": f"Name {number} again"})
    cause = asked(world, "statement", number=8).kept[0].cause
    assert (cause.what, cause.table, cause.key) == ("change", "customers", "8")


def test_the_clock_and_the_user_are_told(make: Make) -> None:
    world = make(late, mine)
    fill(world)
    world.views.get("late")
    assert asked(world, "late").kept[0].until == "2026-11-21T00:00:00.000000Z"
    world.clock.pass_by(days=1)
    assert asked(world, "late").kept[0].state == "ended"
    world.views.get("late")
    assert asked(world, "late").kept[0].cause.what == "clock"
    for user in ("ana", "bea"):
        world.views.get("mine", {}, user)
    assert [known.user for known in asked(world, "mine").kept] == ["ana", "bea"]
    alone = why(world.views.by_name["mine"], {}, world.reader, SPECS, world.clock.now(), user="bea")
    assert [known.user for known in alone.kept] == ["bea"]


def test_a_log_that_does_not_reach_back_is_told(make: Make) -> None:
    world = make(statement)
    fill(world)
    world.views.get("statement", {"number": 7})
    world.write("customers", {"number": 7, "name": "Another"})
    world.store.connection.execute("DELETE FROM change WHERE table_name = 'customers'")
    assert asked(world, "statement", number=7).kept[0].cause.what == "forgotten"


def test_arguments_are_checked_and_other_code_is_told(make: Make) -> None:
    world = make(statement)
    fill(world)
    world.views.get("statement", {"number": 7})
    with pytest.raises(BadInput):
        asked(world, "statement", number="seven")
    view = world.views.by_name["statement"]
    found = why(view, {"number": 7}, world.reader, SPECS, world.clock.now(), release="another")
    assert (found.kept, found.other_code) == ((), True)


def test_a_lost_cause_is_noticed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests above can fail: without the number of the change nobody knows why."""
    drop: Callable[..., None] = LettingGo._drop
    monkeypatch.setattr(LettingGo, "_drop", lambda self, pairs, seq: drop(self, pairs, 0))
    world = make(statement)
    fill(world)
    world.views.get("statement", {"number": 7})
    world.write("customers", {"number": 7, "name": "Another"})
    assert asked(world, "statement", number=7).kept[0].cause.what == "first"


def test_a_store_of_the_layout_before_is_brought_to_this_one(tmp_path: Path) -> None:
    old = apsw.Connection(str(tmp_path / "store.db"))
    old.execute(META.replace(UPGRADES[FORMAT - 1], ""))
    old.execute(f"INSERT INTO meta(name, value) VALUES ('stream_id', 'x'); PRAGMA user_version={FORMAT - 1}")
    old.close()
    with_new = Store(tmp_path / "store.db", SPECS, clock=SystemClock(), search=False)
    new = Store(tmp_path / "new.db", SPECS, clock=SystemClock(), search=False)
    columns = "SELECT name, type, dflt_value FROM pragma_table_info('representation')"
    assert list(with_new.connection.execute(columns)) == list(new.connection.execute(columns))
    with_new.close()
    new.close()
