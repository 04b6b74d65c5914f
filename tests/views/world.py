"""A small shop over a real store, for the tests of views: customers, products, orders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from brique.schema import BackendSpec, Change, Command, Kind, Row, Table, TableSpec
from brique.schema.declare import column, key, ref, specs_of
from brique.store import Reader, Store
from brique.views import Keeper, Offer, View, Views

ERP = BackendSpec("erp", "")


class Customer(Table, backend=ERP, name="customers"):
    number: int = key()
    name: str
    city: str | None


class Product(Table, backend=ERP, name="products"):
    code: str = key()
    name: str
    price: Decimal = column(scale=2)


class Order(Table, backend=ERP, name="orders"):
    number: int = key()
    customer: Customer | None = ref()
    product: Product | None = ref()
    ordered: date | None
    amount: Decimal | None = column(scale=2)
    weight: float | None
    rate: Decimal | None
    status: str | None


CLASSES = specs_of([Customer, Product, Order])
SPECS: dict[str, TableSpec] = {spec.name: spec for spec in CLASSES.values()}


class TestClock:
    """A clock that a test sets."""

    __test__ = False

    def __init__(self) -> None:
        self.moment = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
        self.seconds = 0.0

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.seconds

    def pass_by(self, **amount: float) -> None:
        self.moment += timedelta(**amount)
        self.seconds += timedelta(**amount).total_seconds()


class World:
    """Store, keeper and views in one process; offers go to the keeper at once unless `held`."""

    def __init__(self, path: Path, views: dict[str, View], **options: Any) -> None:
        self.clock = TestClock()
        self.store = Store(path, SPECS, clock=self.clock, search=False)
        self.keeper = Keeper(views, self.store, **options)
        self.reader = Reader(path, SPECS)
        self.held: list[Offer] | None = None
        self.accepted: list[bool] = []
        self.views = self.other_views(views)
        self.position = 0
        with self.store.transaction() as tx:
            for name in SPECS:
                tx.loaded(name)

    def other_views(self, views: dict[str, View]) -> Views:
        """Another web process, as it were."""
        return Views(views, SPECS, lambda: self.reader, clock=self.clock, classes=CLASSES, offer=self.take)

    def take(self, offer: Offer) -> None:
        if self.held is not None:
            self.held.append(offer)
            return
        with self.store.transaction() as tx:
            self.accepted.append(self.keeper.accept(tx, offer.payload()))

    def write(self, table: str, *rows: Row) -> None:
        """Upsert source rows."""
        spec = SPECS[table]
        full = [{name: row.get(name) for name in spec.names} for row in rows]
        with self.store.transaction() as tx:
            tx.apply_base(table, [(spec.key_of(row), row) for row in full])

    def remove(self, table: str, *keys: str) -> None:
        with self.store.transaction() as tx:
            tx.apply_base(table, [], list(keys))

    def command(self, *changes: Change) -> int:
        """Lay a pending command over the copy; its position."""
        self.position += 1
        with self.store.transaction() as tx:
            tx.lay(
                self.position,
                Command(
                    id=f"c{self.position}",
                    name="edit",
                    user="ana",
                    role="write",
                    at="2026-11-20T10:00:00.000000Z",
                    backend="erp",
                    changes=changes,
                ),
            )
        return self.position

    def close(self) -> None:
        self.reader.close()
        self.store.close()


def order(
    number: int, customer: int | None = 7, status: str | None = "open", amount: int | None = 100, **more: Any
) -> Row:
    """A row of orders in store values; `amount` in cents."""
    return {"number": number, "customer": customer, "status": status, "amount": amount, **more}


@contextmanager
def world(path: Path, views: dict[str, View], **options: Any) -> Iterator[World]:
    made = World(path, views, **options)
    try:
        yield made
    finally:
        made.close()


Make = Callable[..., World]
__all__ = ["CLASSES", "SPECS", "Customer", "Kind", "Make", "Order", "Product", "TestClock", "World", "order", "world"]
