"""Kept bytes: made once, given again, and let go of in the transaction that changes what they read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from brique.errors import BadConfiguration, BadInput, NotFound
from brique.schema import Change
from brique.views import Db, Keeper, ViewFailed, view_of
from tests.views.world import CLASSES, SPECS, Customer, Order, World, order, world

Make = Callable[..., World]
runs: list[str] = []


@pytest.fixture(autouse=True)
def _no_runs() -> None:
    runs.clear()


def statement(db: Db, number: int) -> Any:
    runs.append(f"statement {number}")
    unpaid = db[Order].where(customer=number, status="open")
    return {"due": unpaid.sum("amount"), "orders": unpaid.order_by("-ordered").values("number")}


def one(db: Db, number: int) -> Any:
    runs.append(f"one {number}")
    row = db[Order][number]
    return {"status": row.status, "customer": row.customer.name if row.customer else None}


def everything(db: Db) -> Any:
    runs.append("everything")
    return db[Order].count()


def mine(db: Db) -> Any:
    runs.append("mine")
    return {"user": db.user, "orders": db[Order].where(customer=7).count()}


def today(db: Db) -> Any:
    runs.append("today")
    return {"day": db.today(), "hour": db.now("1h")}


def broken(db: Db) -> Any:
    runs.append("broken")
    return 1 / db[Order].count()


def pending(db: Db) -> Any:
    runs.append("pending")
    return {row.row_key: row.row_pending for row in db[Order].where(customer=7)}


def shown(world: World, name: str, user: str | None = None, **arguments: Any) -> Any:
    return json.loads(world.views.get(name, arguments, user).body)


def test_a_second_reader_gets_the_kept_bytes(make: Make) -> None:
    world = make(statement)
    world.write("orders", order(1), order(2, amount=250))
    first = world.views.get("statement", {"number": "7"})
    assert json.loads(first.body) == {"due": "3.50", "orders": [1, 2]}
    second = world.other_views(world.views.by_name).get("statement", {"number": 7})
    assert (second.body, second.etag) == (first.body, first.etag)
    assert runs == ["statement 7"]


def test_a_change_of_what_was_read_lets_go_and_another_does_not(make: Make) -> None:
    world = make(statement)
    world.write("orders", order(1), order(2, customer=8))
    shown(world, "statement", number=7)
    world.write("orders", order(2, customer=8, amount=999))  # another customer's
    world.write("orders", order(1, weight=2.5))  # a column that it did not read
    shown(world, "statement", number=7)
    assert runs == ["statement 7"]
    world.write("orders", order(1, amount=300, weight=2.5))
    assert shown(world, "statement", number=7)["due"] == "3.00"
    assert runs == ["statement 7"] * 2


def test_a_row_that_was_not_there_touches_the_question_that_it_answers(make: Make) -> None:
    world = make(statement)
    assert shown(world, "statement", number=7) == {"due": "0.00", "orders": []}
    world.write("orders", order(1))
    assert shown(world, "statement", number=7) == {"due": "1.00", "orders": [1]}
    world.write("orders", order(1, customer=8))
    assert shown(world, "statement", number=7) == {"due": "0.00", "orders": []}
    world.write("orders", order(1, customer=7))
    world.remove("orders", "1")
    assert shown(world, "statement", number=7) == {"due": "0.00", "orders": []}


def test_a_row_that_was_referred_to_is_read_too(make: Make) -> None:
    world = make(one)
    world.write("orders", order(1))
    assert shown(world, "one", number=1) == {"status": "open", "customer": None}
    world.write("customers", {"number": 7, "name": "Ndiaye", "city": "Praia"})
    assert shown(world, "one", number=1) == {"status": "open", "customer": "Ndiaye"}
    world.write("customers", {"number": 7, "name": "Ndiaye", "city": "Mindelo"})
    shown(world, "one", number=1)
    assert runs == ["one 1"] * 2


def test_a_missing_row_is_not_found_and_never_kept(make: Make) -> None:
    world = make(one)
    for _ in range(2):
        with pytest.raises(NotFound):
            world.views.get("one", {"number": 99})
    assert runs == ["one 99"] * 2
    assert world.accepted == []


def test_arguments_are_checked_by_type(make: Make) -> None:
    world = make(one)
    with pytest.raises(BadInput) as fault:
        world.views.get("one", {"number": "seven", "other": "1"})
    assert set(fault.value.fields) == {"number", "other"}
    with pytest.raises(NotFound):
        world.views.get("nothing")


def test_what_is_made_for_a_user_is_his_alone(make: Make) -> None:
    world = make(mine)
    assert shown(world, "mine", user="ana")["user"] == "ana"
    assert shown(world, "mine", user="bea")["user"] == "bea"
    assert shown(world, "mine", user="ana")["user"] == "ana"
    assert runs == ["mine"] * 2
    assert world.views.get("mine", {}, "ana").personal
    world.write("orders", order(1))
    assert shown(world, "mine", user="ana") == {"user": "ana", "orders": 1}
    assert shown(world, "mine", user="bea") == {"user": "bea", "orders": 1}


def test_the_clock_ends_what_was_made_of_it(make: Make) -> None:
    world = make(today)
    assert shown(world, "today") == {"day": "2026-11-20", "hour": "2026-11-20T10:00:00+00:00"}
    world.clock.pass_by(minutes=59)
    shown(world, "today")
    assert runs == ["today"]
    world.clock.pass_by(minutes=1)
    assert shown(world, "today")["hour"] == "2026-11-20T11:00:00+00:00"
    world.clock.pass_by(hours=-2)  # the machine's clock is set back
    assert shown(world, "today")["hour"] == "2026-11-20T09:00:00+00:00"


def test_a_failing_view_shows_its_last_good_bytes_marked(make: Make) -> None:
    world = make(broken)
    with pytest.raises(ViewFailed):
        world.views.get("broken")
    world.write("orders", order(1), order(2))
    assert shown(world, "broken") == 0.5
    world.remove("orders", "1", "2")
    stale = world.views.get("broken")
    assert (json.loads(stale.body), stale.stale_error) == (0.5, "ZeroDivisionError: division by zero")
    world.write("orders", order(3))
    assert (shown(world, "broken"), world.views.get("broken").stale_error) == (1.0, "")


def test_a_view_that_fails_is_not_run_for_each_request(make: Make) -> None:
    world = make(broken)
    for _ in range(5):
        with pytest.raises(ViewFailed):
            world.views.get("broken")
    assert runs == ["broken"]
    world.clock.pass_by(seconds=3)
    with pytest.raises(ViewFailed):
        world.views.get("broken")
    assert runs == ["broken"] * 2


def test_a_whole_table_may_be_some_seconds_behind_when_the_author_says_so(make: Make) -> None:
    world = make(everything, fresh=5)
    world.write("orders", order(1))
    assert shown(world, "everything") == 1
    world.clock.pass_by(seconds=1)
    world.write("orders", order(2))
    assert shown(world, "everything") == 1
    world.write("orders", order(3))
    world.clock.pass_by(seconds=4)
    assert shown(world, "everything") == 3
    assert runs == ["everything"] * 2


def test_a_mark_of_pending_is_a_column_like_others(make: Make) -> None:
    world = make(pending, statement)
    world.write("orders", order(1))
    assert shown(world, "pending") == {"1": False}
    shown(world, "statement", number=7)
    world.command(Change("orders", "1", before={"status": "open"}, after={"status": "open"}))
    assert shown(world, "pending") == {"1": True}
    shown(world, "statement", number=7)
    assert runs.count("statement 7") == 1


def test_a_late_offer_is_refused_when_a_change_has_touched_it(make: Make) -> None:
    world = make(statement)
    world.write("orders", order(1))
    world.held = []
    shown(world, "statement", number=7)
    shown(world, "statement", number=8)
    offers, world.held = world.held, None
    world.write("orders", order(1, amount=700))
    for offer in offers:
        world.take(offer)
    assert world.accepted == [False, True]
    assert shown(world, "statement", number=7)["due"] == "7.00"


def test_what_other_code_or_an_unwatched_change_left_is_forgotten_at_the_start(make: Make) -> None:
    from brique.views import Keeper

    world = make(statement)
    world.write("orders", order(1))
    shown(world, "statement", number=7)
    world.store._listeners.clear()
    world.write("orders", order(1, amount=700))  # nobody watches
    world.keeper = Keeper(world.views.by_name, world.store)
    assert shown(world, "statement", number=7)["due"] == "7.00"
    shown(world, "statement", number=7)
    world.keeper = Keeper(world.views.by_name, world.store)
    shown(world, "statement", number=7)
    assert runs == ["statement 7"] * 2
    world.keeper = Keeper(world.views.by_name, world.store, release="2")
    shown(world, "statement", number=7)
    assert runs == ["statement 7"] * 3


def test_a_rolled_back_change_lets_go_of_nothing(make: Make) -> None:
    world = make(statement)
    world.write("orders", order(1))
    shown(world, "statement", number=7)
    with pytest.raises(KeyError), world.store.transaction() as tx:
        tx.apply_base("orders", [("1", order(1, amount=5, ordered=None, product=None, weight=None, rate=None))])
        raise KeyError
    assert shown(world, "statement", number=7)["due"] == "1.00"
    assert runs == ["statement 7"]


def test_room_is_made_for_new_bytes(make: Make) -> None:
    world = make(statement, bytes_max=4000)
    for number in range(100):
        shown(world, "statement", number=number)
    with world.reader.snapshot():
        assert 0 < len(world.reader.representations.of(world.views._names["statement"])) < 40


def test_customers_are_found_by_their_class(make: Make) -> None:
    def names(db: Db, customer: Customer) -> Any:
        return customer.name

    world = make(names)
    world.write("customers", {"number": 7, "name": "Ndiaye"})
    assert shown(world, "names", customer="7") == "Ndiaye"
    world.write("customers", {"number": 7, "name": "Ndiaye-Sow"})
    assert shown(world, "names", customer="7") == "Ndiaye-Sow"


def test_totals_of_many_rows_are_kept_in_step_not_counted_again(make: Make) -> None:
    def board(db: Db) -> Any:
        orders = db[Order].where(status="open")
        return [orders.count(), orders.sum("amount"), db[Order].group_by("customer").sum("amount")]

    world = make(board)
    world.write("orders", *[order(number, customer=number % 3) for number in range(300)])
    assert shown(world, "board") == [300, "300.00", {"0": "100.00", "1": "100.00", "2": "100.00"}]
    assert world.store.connection.execute("SELECT count(*) FROM cell").fetchall() == [(3,)]
    world.write(
        "orders", order(1, customer=4, amount=250), order(2, status="sent", customer=2), order(900, amount=None)
    )
    asked: list[str] = []
    world.reader.query("SELECT 1").__next__()
    world.reader._db.trace_v2(apsw.SQLITE_TRACE_STMT, lambda event: asked.append(event["sql"]))
    expected = {"0": "100.00", "1": "99.00", "2": "100.00", "4": "2.50", "7": "0.00"}
    assert shown(world, "board") == [300, "300.50", expected]
    assert [sql for sql in asked if "count(*)" in sql] == []


def test_what_read_a_setting_is_made_anew_when_brique_runs_with_another(tmp_path: Path) -> None:
    def paged(db: Db) -> Any:
        return [db.settings.page_rows, db[Order].count()]

    def plain(db: Db) -> Any:
        return db[Order].count()

    views = {made.__name__: view_of(f"/{made.__name__}", made, CLASSES) for made in (paged, plain)}
    with world(tmp_path / "store.db", views, settings={"page_rows": 25}) as shop:
        shop.views._maker.settings = {"page_rows": 25}
        assert json.loads(shop.views.get("paged").body) == [25, 0]
        shop.views.get("plain")
        with shop.store.transaction() as tx:
            assert shop.accepted == [True, True]
            tx.loaded("orders")
        for rows, ready in ((25, True), (50, False)):
            shop.store._listeners.clear()
            shop.keeper = Keeper(views, shop.store, settings={"page_rows": rows})
            assert (shop.views.kept("paged") is not None, shop.views.kept("plain") is not None) == (ready, True)
        shop.views.get("paged")
        assert shop.accepted[-1] is False, "made by a process that runs with the old one"
        shop.views._maker.settings = {"page_rows": 50}
        assert json.loads(shop.views.get("paged").body) == [50, 0]
        assert shop.views.kept("paged") is not None
        with pytest.raises(BadConfiguration, match="no setting 'rows_page'"):
            _ = Db(shop.reader, SPECS).settings.rows_page
