"""Views kept up to date: what a change costs with many kept representations, and how much of the work was needless.

A shop of customers with ten orders each; a page for each order, a page and a summary for each customer (twelve
representations a customer). Everything through the product's own store, keeper and maker, in process.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any
from unittest import mock

from bench.erp import Workshop
from bench.figures import Figures
from brique.clock import SystemClock
from brique.schema import BackendSpec, Row, Table
from brique.schema.declare import key, ref, specs_of
from brique.store import StageWriter, Store
from brique.views import Db, Keeper, Maker, View, view_of
from brique.views.letting_go import Dropped
from brique.views.notes import Bits, Note
from brique.views.recorder import Recording
from brique.views.view import key_of

ERP = BackendSpec("erp", "")
ORDERS_EACH, PRODUCTS = 10, 500
REPRESENTATIONS_EACH = ORDERS_EACH + 2
_NOTES = (
    "One order's amount changes in a transaction of its own: the order's page, its customer's and his summary are let "
    "go of (lazy) or made anew and kept (eager) in that transaction, committed with synchronous=NORMAL.",
    "Needless: made anew with the same bytes as before, on a mix of changes of read and unread columns, moves, rows "
    "that come and go, products that are read by reference. As rows: the same without column masks, and with "
    "equalities only, as Convex and cacheops do it.",
    "Aggregate: one row changes and a dashboard (a total, and sums by status) is read again, its totals kept by "
    "difference; beside the same counted again.",
)


class Customer(Table, backend=ERP, name="customers"):
    number: int = key()
    name: str
    city: str
    seen: int


class Product(Table, backend=ERP, name="products"):
    number: int = key()
    name: str
    stock: int


class Order(Table, backend=ERP, name="orders"):
    number: int = key()
    customer: Customer = ref()
    product: Product = ref()
    amount: int
    status: str
    day: date
    note: str


CLASSES = specs_of([Customer, Product, Order])
SPECS = {spec.name: spec for spec in CLASSES.values()}


def order_page(db: Db, number: int) -> Any:
    order = db[Order][number]
    return {"amount": order.amount, "status": order.status, "product": order.product.name}


def customer_page(db: Db, number: int) -> Any:
    orders = db[Order].where(customer=number).order_by("-day").limit(8)
    recent = [[order.number, order.amount, order.product.name] for order in orders]
    return {"name": db[Customer][number].name, "recent": recent}


def summary(db: Db, number: int) -> Any:
    mine = db[Order].where(customer=number)
    return [mine.sum("amount"), mine.where(status="open", amount__ge=300).count(), mine.max("day")]


def board(db: Db) -> Any:
    return {"total": db[Order].sum("amount"), "by status": db[Order].group_by("status").sum("amount")}


VIEWS: dict[str, View] = {
    function.__name__: view_of(f"/{function.__name__}", function, CLASSES)
    for function in (order_page, customer_page, summary, board)
}


class Shop:
    """A store of so many customers, and what keeps its views."""

    def __init__(self, folder: Path, customers: int, *, eager: bool = False) -> None:
        self.random = random.Random(7)
        self.customers = customers
        self.clock = SystemClock()
        self.store = Store(folder / "store.db", SPECS, clock=self.clock, search=False)
        self.maker = Maker(SPECS, clock=self.clock, classes=CLASSES)
        self._load(folder, "customers", ([n, f"Customer {n}", "Praia", 0] for n in range(customers)))
        self._load(folder, "products", ([n, f"Product {n}", 5] for n in range(PRODUCTS)))
        self._load(folder, "orders", (list(self.order(n).values()) for n in range(customers * ORDERS_EACH)))
        self.keeper = Keeper(VIEWS, self.store, bytes_max=1 << 40, maker=self.maker if eager else None)

    def order(self, number: int) -> Row:
        chance = self.random
        return {
            "number": number,
            "customer": number // ORDERS_EACH,
            "product": chance.randrange(PRODUCTS),
            "amount": chance.randrange(1000),
            "status": chance.choice(("open", "sent", "paid")),
            "day": f"2026-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}",
            "note": "",
        }

    def _load(self, folder: Path, table: str, rows: Iterator[list[Any]]) -> None:
        writer = StageWriter(folder / f"{table}.stage", SPECS[table])
        writer.add([tuple(row) for row in rows])
        staged = writer.finish()
        load = self.store.begin_load(table, staged.path, staged.rows)
        while load.step():
            pass

    def keep(self, name: str, arguments: dict[str, Any]) -> bytes:
        """Make one representation and keep it; inside a transaction."""
        recording = Recording()
        view, key_text = VIEWS[name], key_of(arguments)
        with self.store.reader.snapshot() as reader:
            body = self.maker.run(view, key_text, None, reader, recording)
            made = self.maker.offer(self.keeper._kept_names[name], key_text, None, body, reader.seq(), recording)
        assert self.store._open is not None
        self.keeper.accept(self.store._open, made.payload())
        return body

    def keep_all(self) -> float:
        """Make all; how many in a second."""
        began = time.perf_counter()
        for start in range(0, self.customers, 200):
            with self.store.transaction():
                for customer in range(start, min(start + 200, self.customers)):
                    self.keep("customer_page", {"number": customer})
                    self.keep("summary", {"number": customer})
                    for number in range(customer * ORDERS_EACH, (customer + 1) * ORDERS_EACH):
                        self.keep("order_page", {"number": number})
        self.store.checkpoint(restart=True)
        return self.customers * REPRESENTATIONS_EACH / (time.perf_counter() - began)

    def change_amount(self, number: int) -> None:
        held = self.store.reader.row("orders", str(number))
        assert held is not None
        row = {**held.values, "amount": self.random.randrange(10**6)}
        with self.store.transaction() as tx:
            tx.apply_base("orders", [(str(number), row)])

    def close(self) -> None:
        self.store.close()


@contextmanager
def shop(customers: int, *, eager: bool = False) -> Iterator[Shop]:
    with tempfile.TemporaryDirectory(prefix="brique-views-", dir="/var/tmp") as folder:
        made = Shop(Path(folder), customers, eager=eager)
        try:
            yield made
        finally:
            made.close()


def run(figures: Figures, workshop: Workshop) -> None:
    for note in _NOTES:
        figures.note(note)
    for kept in (10_000, 100_000) if workshop.quick else (10_000, 100_000, 1_000_000):
        for eager in (False, True):
            _changes(figures, kept, 1_000 if workshop.quick else 10_000, eager=eager)
    _needless(figures, 300 if workshop.quick else 3_000)
    for rows in (100_000,) if workshop.quick else (100_000, 1_000_000):
        _aggregate(figures, rows, 200 if workshop.quick else 2_000)


def _changes(figures: Figures, kept: int, changes: int, *, eager: bool) -> None:
    way = "eager" if eager else "lazy"
    with shop(kept // REPRESENTATIONS_EACH, eager=eager) as made:
        rate = made.keep_all()
        orders = made.customers * ORDERS_EACH
        numbers = made.random.sample(range(orders), min(changes, orders))
        if eager:
            for number in numbers:
                _watch(made, number)
        else:
            figures.add(f"build.{kept}", rate, "representations/s")
            _memory(figures, made, kept)
        took = []
        for number in numbers:
            began = time.perf_counter()
            made.change_amount(number)
            took.append((time.perf_counter() - began) * 1e6)
        took.sort()
        figures.add(f"{way}.{kept}.rate", len(took) * 1e6 / sum(took), "changes/s")
        figures.add(f"{way}.{kept}.p50", statistics.median(took), "us")
        figures.add(f"{way}.{kept}.p99", took[len(took) * 99 // 100], "us")


def _watch(made: Shop, number: int) -> None:
    made.keeper.watch("order_page", {"number": number})
    made.keeper.watch("customer_page", {"number": number // ORDERS_EACH})
    made.keeper.watch("summary", {"number": number // ORDERS_EACH})


def _memory(figures: Figures, made: Shop, kept: int) -> None:
    """What dependencies take, in the file and in memory."""
    run = made.store.connection.execute
    ((own, count),) = run("SELECT sum(length(dependencies)), count(*) FROM representation").fetchall()
    ((stored,),) = run(
        "SELECT coalesce(sum(length(table_name) + length(scheme) + 8 + length(name) + length(arguments)), 0) "
        "FROM dependency"
    ).fetchall()
    ((patterns,),) = run("SELECT coalesce(sum(length(body)), 0) FROM pattern").fetchall()
    figures.add(f"dependencies.{kept}.with_each", own / count, "bytes")
    figures.add(f"dependencies.{kept}.stored", stored / count, "bytes/representation")
    figures.add(f"dependencies.{kept}.patterns", patterns, "bytes")


def _needless(figures: Figures, changes: int) -> None:
    exact = _share(changes)
    with mock.patch.object(Bits, "_note", _as_rows(Bits._note)):
        coarse = _share(changes)
    for name, (made, needless) in (("exact", exact), ("as_rows", coarse)):
        figures.add(f"needless.{name}.recomputed", made / changes, "a change")
        figures.add(f"needless.{name}.share", 100 * needless / max(1, made), "%")


def _as_rows(note: Callable[..., Note]) -> Callable[..., Note]:
    """Dependencies without columns, ranges and ends of lists."""

    def coarse(self: Bits, *given: Any) -> Note:
        made = note(self, *given)
        equal = tuple(item for item in made.conditions if item[1] == "eq")
        return Note(made.table, (1 << 62) - 1, equal, made.key, via=made.via, columns=made.columns)

    return coarse


def _share(changes: int) -> tuple[int, int]:
    """How many representations a mix of changes had made anew, and how many of them came out as they were."""
    made_anew = needless = 0
    with shop(500) as made:
        made.keep_all()
        bodies: dict[tuple[str, str], bytes] = {}
        kept_as = {kept: name for name, kept in made.keeper._kept_names.items()}
        for _ in range(changes):
            table, row, gone = _a_change(made)
            made.keeper.dropped = Dropped()
            with made.store.transaction() as tx:
                tx.apply_base(table, [(SPECS[table].key_of(row), row)] if row else [], gone)
            for name, arguments in list(made.keeper.dropped.pairs):
                held = made.store.reader.representations.get(name, arguments)
                number = int(arguments.removeprefix('{"number":').removesuffix("}"))
                made_anew += 1
                old = bodies.get((name, arguments), held.body if held else b"")
                try:
                    with made.store.transaction():
                        new = made.keep(kept_as[name], {"number": number})
                except Exception:  # the row is gone: that is an answer of its own
                    new = b"gone"
                needless += new == old
                bodies[(name, arguments)] = new
    return made_anew, needless


def _a_change(made: Shop) -> tuple[str, Row, list[str]]:
    chance = made.random
    kind = chance.random()
    if kind < 0.1:
        return (
            "customers",
            _with(made, "customers", chance.randrange(made.customers), "seen", chance.randrange(9**6)),
            [],
        )
    if kind < 0.15:
        return "products", _with(made, "products", chance.randrange(PRODUCTS), "stock", chance.randrange(9**6)), []
    if kind < 0.18:
        return "products", _with(made, "products", chance.randrange(PRODUCTS), "name", f"P {chance.random()}"), []
    number = chance.randrange(made.customers * ORDERS_EACH)
    if kind < 0.24:
        return "orders", {}, [str(number)]
    if kind < 0.3 or made.store.reader.row("orders", str(number)) is None:
        return "orders", made.order(number), []
    new = {**made.order(number), "customer": chance.randrange(made.customers), "note": f"{chance.random()}"}
    name = chance.choice(("amount", "amount", "amount", "status", "note", "note", "customer", "product"))
    return "orders", _with(made, "orders", number, name, new[name]), []


def _with(made: Shop, table: str, number: int, name: str, value: Any) -> Row:
    held = made.store.reader.row(table, str(number))
    assert held is not None
    return {**held.values, name: value}


def _aggregate(figures: Figures, rows: int, changes: int) -> None:
    with shop(rows // ORDERS_EACH) as made:
        began = time.perf_counter()
        with made.store.transaction():
            made.keep("board", {})
        figures.add(f"aggregate.{rows}.counted", (time.perf_counter() - began) * 1e6, "us")
        took = []
        for _ in range(changes):
            number = made.random.randrange(rows)
            began = time.perf_counter()
            made.change_amount(number)
            with made.store.transaction():
                made.keep("board", {})
            took.append((time.perf_counter() - began) * 1e6)
        figures.add(f"aggregate.{rows}.by_difference", statistics.median(took), "us")
