"""The data as Python: conditions, totals, references, and what a command sees of its own changes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from brique.errors import BadConfiguration, BadInput, NotAllowed, NotFound, Refused
from brique.schema import Change, Column, Kind, Reference, Row, TableSpec
from brique.store import Db, Reader, Record, Store, WriteDb, row_json
from tests.views.simulation import Simulation
from tests.views.world import CLASSES, SPECS, Customer, Order, Product, TestClock, World, order, world


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path / "store.db", {}) as shop:
        shop.write("customers", {"number": 7, "name": "Ndiaye", "city": "Praia"}, {"number": 8, "name": "Éva"})
        shop.write("products", {"code": "A B", "name": "Salt", "price": 150})
        shop.write(
            "orders",
            order(1, ordered="2026-11-01", product="A B", rate="6500015", weight=0.1),
            order(2, amount=250, status="sent", ordered="2026-11-20", weight=0.2),
            order(3, customer=8, amount=None, status=None, ordered="2026-12-01"),
            order(4, customer=None, amount="12,50", status="Open", weight=0.3),
            order(5, customer=99, amount=2**62, weight="heavy"),
        )
        yield shop


def db_of(shop: World, **options: Any) -> Db:
    return Db(shop.reader, SPECS, classes=CLASSES, now=shop.clock.now, **options)


def write_db(shop: World, **options: Any) -> WriteDb:
    return WriteDb(shop.reader, SPECS, command_id="c1", classes=CLASSES, now=shop.clock.now, **options)


def numbers(rows: Any) -> list[int]:
    return [row.number for row in rows]


# reading


def test_rows_are_of_the_declared_class_with_python_values(shop: World) -> None:
    row = db_of(shop)[Order][1]
    assert isinstance(row, Order)
    assert (row.amount, row.ordered, row.rate) == (Decimal("1.00"), date(2026, 11, 1), Decimal("1.5"))
    assert (row.row_key, row.row_pending, row.status) == ("1", False, "open")
    assert isinstance(db_of(shop)["orders"][1], Order)


def test_references_are_followed_when_they_lead_somewhere(shop: World) -> None:
    db = db_of(shop)
    customer = db[Order][1].customer
    assert isinstance(customer, Customer)
    assert customer.name == "Ndiaye"
    assert db[Order][1].product == db[Product][("A B",)]
    assert db[Order][4].customer is None
    assert db[Order][5].customer is None
    assert db[Order][5].row_values["customer"] == 99


def test_a_key_may_be_a_value_a_tuple_a_row_or_its_text(shop: World) -> None:
    db = db_of(shop)
    row = db[Product]["A B"]
    for key in ("A~20B", ("A B",), row):
        assert db[Product][key] == row
    assert db[Order].get(99) is None
    assert db[Order].get("2") == db[Order][2]
    with pytest.raises(NotFound):
        db[Order][99]
    for bad in ((1, 2), 1.5, True, b"1"):
        with pytest.raises(BadInput):
            db[Order][bad]


def test_conditions_compare_by_type(shop: World) -> None:
    orders = db_of(shop)[Order]
    assert numbers(orders.where(status="open")) == [1, 5]
    assert numbers(orders.where(status=None)) == [3]
    assert numbers(orders.where(status__ne="open")) == [2, 3, 4]
    assert numbers(orders.where(amount__gt=Decimal("2.494"))) == [2, 5]
    assert numbers(orders.where(amount__lt=Decimal("1.001"))) == [1]
    assert numbers(orders.where(amount__le=Decimal("1e40"))) == [1, 2, 5]
    assert numbers(orders.where(amount__null=True)) == [3]
    assert numbers(orders.where(status__in=["sent", None])) == [2, 3]
    assert numbers(orders.where(status__in=[])) == []
    assert numbers(orders.where(status__prefix="op")) == [1, 4, 5]
    assert numbers(orders.where(ordered__ge=date(2026, 11, 20))) == [2, 3]
    assert numbers(orders.where(customer=db_of(shop)[Customer][7])) == [1, 2]
    assert numbers(orders.where(customer=7, status="open")) == [1]
    assert [row.number for row in db_of(shop)[Customer].where(name__contains="ev")] == [8]


@pytest.mark.parametrize(
    "given",
    [
        {"amount": 1.5}, {"amount__gt": "2"}, {"status": 5}, {"ordered": "2026-11-01"}, {"nothing": 1},
        {"status__like": "o"}, {"status__in": "open"}, {"amount__null": 1}, {"amount__lt": None}, {"number": True},
        {"number__contains": 1}, {"number": 2**70}, {"customer": (1, 2)},
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_refused(shop: World, given: dict[str, Any]) -> None:
    with pytest.raises(BadInput) as fault:
        db_of(shop)[Order].where(**given)
    assert set(fault.value.fields) == set(given)


def test_order_and_limit(shop: World) -> None:
    orders = db_of(shop)[Order]
    assert numbers(orders.order_by("-ordered").limit(2)) == [3, 2]
    assert numbers(orders.order_by("status", "-number")) == [3, 5, 4, 1, 2]
    first = orders.order_by("-number").first()
    assert first is not None
    assert first.number == 5
    assert orders.where(status="none").first() is None
    assert (orders.limit(2).count(), orders.limit(0).exists(), bool(orders), len(orders)) == (2, False, True, 5)
    assert orders.order_by("number").limit(2).sum("amount") == Decimal("3.50")
    with pytest.raises(BadInput):
        orders.limit(1).where(status="open")
    with pytest.raises(BadInput):
        orders.order_by("nothing")


def test_sums_are_exact(shop: World) -> None:
    orders = db_of(shop)[Order]
    assert orders.where(customer=7).sum("amount") == Decimal("3.50")
    assert orders.sum("amount") == Decimal(2**62 + 350).scaleb(-2)
    assert orders.sum("weight") == 0.6
    assert orders.sum("rate") == Decimal("1.5")
    assert orders.where(customer=7).avg("amount") == Decimal("1.75")
    assert orders.where(customer=8).avg("amount") is None
    assert (orders.min("amount"), orders.max("ordered")) == (Decimal("1.00"), date(2026, 12, 1))
    assert (orders.where(customer=8).min("amount"), orders.max("weight")) == (None, 0.3)
    with pytest.raises(BadInput):
        orders.sum("status")


def test_a_sum_beyond_64_bits_is_exact(shop: World) -> None:
    shop.write("orders", *(order(number, customer=50, amount=2**62) for number in range(10, 14)))
    found = db_of(shop)[Order].where(customer=50)
    assert found.sum("amount") == Decimal(2**64).scaleb(-2)
    assert found.group_by("status").sum("amount") == {"open": Decimal(2**64).scaleb(-2)}


def test_groups(shop: World) -> None:
    orders = db_of(shop)[Order]
    assert orders.group_by("status").count() == {None: 1, "Open": 1, "open": 2, "sent": 1}
    assert orders.where(customer=7).group_by("status").sum("amount") == {
        "open": Decimal("1.00"),
        "sent": Decimal("2.50"),
    }
    assert orders.group_by("ordered__month").count() == {None: 2, "2026-11": 2, "2026-12": 1}
    assert orders.where(customer=7).group_by("customer", "ordered__year").count() == {(7, "2026"): 2}
    assert orders.group_by("customer").avg("weight")[7] == pytest.approx(0.15)
    with pytest.raises(BadInput):
        orders.group_by("status__month")


def test_reading_left_half_way_does_not_hold_the_snapshot(shop: World) -> None:
    with shop.reader.snapshot() as reader:
        db = Db(reader, SPECS, classes=CLASSES)
        rows = iter(db[Order])
        next(rows)
        db.close()
    shop.write("orders", order(1, status="paid"))
    assert db_of(shop)[Order][1].status == "paid"


def test_the_clock_is_cut_to_steps_of_the_intranets_zone(shop: World) -> None:
    shop.clock.moment = datetime(2026, 11, 20, 23, 47, 12, tzinfo=UTC)
    db = db_of(shop, timezone=ZoneInfo("Europe/Paris"))
    assert db.today() == date(2026, 11, 21)
    assert db.now("30m").isoformat() == "2026-11-21T00:30:00+01:00"
    assert db.now(timedelta(days=1)).isoformat() == "2026-11-21T00:00:00+01:00"
    for bad in ("soon", "0s", timedelta(seconds=0.5), "2d"):
        with pytest.raises(BadConfiguration):
            db.now(bad)


def test_a_day_may_have_25_hours() -> None:
    from brique.store.db import clocks

    zone = ZoneInfo("Europe/Paris")
    since, until = clocks.day(datetime(2026, 10, 25, 12, tzinfo=UTC), zone)
    assert until.astimezone(UTC) - since.astimezone(UTC) == timedelta(hours=25)
    moment = datetime(2026, 10, 25, 1, 20, tzinfo=UTC)  # 2:20 for the second time
    since, until = clocks.step(moment, 3600, zone)
    assert since <= moment < until
    assert until.astimezone(UTC) - since.astimezone(UTC) == timedelta(hours=1)


def test_rows_of_tables_without_a_class_are_records(tmp_path: Path) -> None:
    def text(name: str, kind: Kind = Kind.INTEGER) -> Column:
        return Column(name, name, kind, name)

    specs = {
        "a": TableSpec("a", "a", "x", "A", (text("id"), text("label", Kind.TEXT)), ("id",), label_columns=("label",)),
        "b": TableSpec(
            "b", "b", "x", "B", (text("x"), text("y"), text("a_id"), text("row_key")), ("x", "y"),
            (Reference(("a_id",), "a", ("id",)),),
        ),
    }  # fmt: skip
    store = Store(tmp_path / "s.db", specs, clock=TestClock(), search=False)
    with store.transaction() as tx:
        tx.apply_base("a", [("1", {"id": 1, "label": "One"})])
        tx.apply_base("b", [("1,2", {"x": 1, "y": 2, "a_id": 1, "row_key": 5})])
    db = Db(Reader(tmp_path / "s.db", specs), specs)
    row = db["b"][1, 2]
    assert isinstance(row, Record)
    assert (row.x, row.a_id, row["row_key"], row.row_key, str(row.a)) == (1, 1, 5, "1,2", "One")
    assert db["b"].where(a=row.a).count() == 1
    assert row != db["a"][1]
    assert row_json(row) == {"_key": "1,2", "_label": "1,2", "_pending": 0, "x": 1, "y": 2, "a_id": 1, "row_key": 5}
    with pytest.raises(AttributeError, match="columns: x, y"):
        _ = row.nothing
    with pytest.raises(BadConfiguration):
        db["nothing"]
    with pytest.raises(BadConfiguration):
        row.follow("x")
    store.close()


# writing


def test_changes_are_collected_and_shown_to_later_reads(shop: World) -> None:
    db = write_db(shop)
    row = db.update(db[Order][1], status="sent", amount=Decimal("9.00"))
    assert (row.status, row.row_pending, db[Order][1].status) == ("sent", True, "sent")
    made = db.insert(Order, number=9, customer=db[Customer][8], status="open")
    assert made.customer == db[Customer][8]
    db.delete(db[Order][2])
    assert db[Order].get(2) is None
    assert numbers(db[Order].where(status="open")) == [5, 9]
    gone: Row = dict.fromkeys(SPECS["orders"].names)
    gone |= order(2, amount=250, status="sent", ordered="2026-11-20", weight=0.2)
    assert db.changes == [
        Change("orders", "1", {"status": "open", "amount": 100}, {"status": "sent", "amount": 900}),
        Change("orders", "9", None, {"number": 9, "customer": 8, "status": "open"}),
        Change("orders", "2", gone, None),
    ]  # fmt: skip
    assert db_of(shop)[Order][1].status == "open", "nothing is written"


def test_two_changes_of_one_row_become_one(shop: World) -> None:
    db = write_db(shop)
    row = db.update(db[Order][1], status="sent")
    db.update(row, status="paid", weight=2.0)
    assert db.changes == [Change("orders", "1", {"status": "open", "weight": 0.1}, {"status": "paid", "weight": 2.0})]
    db.update(db[Order][1], status="open", weight=0.1)
    assert db.changes == []
    db.delete(db.insert(Order, number=9))
    assert db.changes == []
    db.update(db[Order][1], status="open")
    assert db.changes == [], "what stays the same is not asked for"


def test_a_change_elsewhere_in_between_keeps_the_order(shop: World) -> None:
    db = write_db(shop)
    first = db[Order][1]
    db.update(first, status="sent")
    db.update(db[Order][2], status="open")
    db.update(first, status="paid")
    assert [(change.key, change.before) for change in db.changes] == [
        ("1", {"status": "open"}), ("2", {"status": "sent"}), ("1", {"status": "sent"}),
    ]  # fmt: skip


def test_a_row_that_its_backend_numbers_gets_a_temporary_key(tmp_path: Path) -> None:
    columns = (
        Column("id", "id", Kind.INTEGER, "Id", nullable=False, defaulted=True),
        Column("up", "up", Kind.INTEGER, "Up"),
        Column("total", "total", Kind.INTEGER, "Total", generated=True),
    )
    specs = {"t": TableSpec("t", "t", "x", "T", columns, ("id",), (Reference(("up",), "t", ("id",)),))}
    store = Store(tmp_path / "s.db", specs, clock=TestClock(), search=False)
    db = WriteDb(Reader(tmp_path / "s.db", specs), specs, command_id="abc")
    first, second = db.insert("t"), db.insert("t", up=5)
    assert (first.row_key, second.row_key) == ("new-abc", "new-abc.2")
    assert db["t"].count() == 2
    with pytest.raises(BadInput) as fault:
        db.insert("t", up=first, total=1)
    assert set(fault.value.fields) == {"total"}
    third = db.insert("t", up=first)
    assert db.changes[-1].after == {"up": "new-abc"}
    assert [row.row_key for row in db["t"].where(up=first)] == [third.row_key]
    store.close()


def test_what_cannot_be_written_is_refused_field_by_field(shop: World) -> None:
    db = write_db(shop)
    with pytest.raises(BadInput) as fault:
        db.update(db[Order][1], amount=Decimal("1.001"), nothing=1, number=5, status=3)
    assert set(fault.value.fields) == {"amount", "nothing", "number", "status"}
    with pytest.raises(BadInput) as fault:
        db.insert(Customer, number=9)
    assert set(fault.value.fields) == {"name"}
    with pytest.raises(Refused):
        db.insert(Order, number=1)
    row = db[Order][2]
    db.delete(row)
    with pytest.raises(NotFound):
        db.update(row, status="open")
    assert db.insert(Order, number=2).row_key == "2"
    closed = {name: spec.changed(read_only="It is closed.") for name, spec in SPECS.items()}
    with pytest.raises(NotAllowed):
        WriteDb(shop.reader, closed).insert("orders", number=5)


@pytest.mark.parametrize("seed", range(12))
def test_a_command_sees_what_the_store_will_show(tmp_path: Path, seed: int) -> None:
    """Reads after random changes in a WriteDb equal the reads of a store over which the same changes are laid."""
    chance = random.Random(seed)
    simulation = Simulation(tmp_path, seed)
    shop = simulation.world
    for _ in range(30):
        simulation.upsert()
    with shop.reader.snapshot() as reader:
        db = WriteDb(reader, SPECS, command_id=f"c{shop.position + 1}", classes=CLASSES, now=shop.clock.now)
        for _ in range(chance.randint(1, 8)):
            _change(db, chance)
        seen = _reads(db)
    shop.command(*db.changes)
    assert _reads(db_of(shop)) == seen
    shop.close()


def _change(db: WriteDb, chance: random.Random) -> None:
    number = chance.randint(1, 8)
    held = db[Order].get(number)
    values: Row = {
        "status": chance.choice(("open", "sent", None)),
        "amount": chance.choice((Decimal("1.00"), Decimal("7.25"), None)),  # type: ignore[dict-item]  # Python values
        "weight": chance.choice((1.0, 0.5)),
    }
    if held is None:
        db.insert(Order, number=number, customer=chance.choice((1, 2, None)), **values)
    elif chance.random() < 0.3:
        db.delete(held)
    else:
        db.update(held, **dict(chance.sample(list(values.items()), 2)))


def _reads(db: Db) -> list[Any]:
    orders = db[Order]
    found: list[Any] = []
    for rows in (
        orders, orders.where(customer=1), orders.where(status="open"), orders.where(status=None, customer=2),
        orders.where(amount__ge=Decimal("1.00")), orders.where(amount__lt=Decimal("5")),
        orders.where(row_pending=True),
        orders.where(status__in=["open", None]), orders.where(status__prefix="O"), orders.where(status__ne="sent"),
        orders.where(weight__gt=0.5), orders.order_by("-status", "amount").limit(3),
        orders.where(status__contains="EN"),
    ):  # fmt: skip
        found.append([(row.row_key, dict(row.row_values), row.row_pending) for row in rows])
        found += [rows.count(), rows.exists(), rows.sum("amount"), rows.avg("weight"), rows.sum("rate")]
        found += [rows.min("status"), rows.max("amount"), rows.group_by("status").sum("amount")]
        found += [rows.group_by("customer").count(), rows.values("status")]
    return [repr(item) for item in found]
