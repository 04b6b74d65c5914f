"""A shop whose statements are published: its database, its intranet, and what should be at the place by now."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from brique import Intranet, Table, key
from brique.clock import SystemClock
from brique.errors import NotFound
from brique.publish import Place, open_place
from brique.store import Reader
from brique.views import Ready
from tests.app.site import Running, running
from tests.servers import wait_until
from tests.shop import make_shop

SECONDS = 20.0


def make_app(file: Path, *urls: str, refresh: float = 0.2, **options: Any) -> Intranet:
    """An intranet over the shop in `file` that publishes to places `shop`, `shop1`, … at `urls`."""
    app = Intranet("Shop")
    erp = app.backend("erp", str(file), refresh=refresh)
    places = [app.place(f"shop{number or ''}", url) for number, url in enumerate(urls)]

    @app.table
    class Customer(Table, backend=erp, source="customer"):
        id: int = key()
        name: str
        city: str | None

    @app.table
    class Order(Table, backend=erp, source="orders", name="orders"):
        id: int = key()
        customer_id: int
        status: str

    @app.view("/customers/{number}/statement", publish=places, each=options.get("each", Customer))
    def statement(db: Any, number: int) -> Any:
        name, orders = db[Customer][number].name, db[Order].where(customer_id=number)
        if number in options.get("gate", ()):
            raise options["gate"][number]
        return {"name": name, "orders": [[one.id, one.status] for one in orders.order_by("id")]}

    @app.view("/open", publish=places)
    def open_orders(db: Any) -> Any:
        return {"open": db[Order].where(status="open").count()}

    def cities(db: Any) -> Any:
        return sorted({customer.city for customer in db[Customer] if customer.city})

    @app.view("/cities/{city}", publish=places, each=cities)
    def people(db: Any, city: str) -> Any:
        return [one.name for one in db[Customer].where(city=city).order_by("name")]

    @app.view("/dearest", publish=places)
    def dearest(db: Any) -> Any:
        """There is none while no order is dear: then there is nothing."""
        for one in db[Order].where(status="dear").order_by("id"):
            return {"id": one.id}
        raise NotFound("There is no dear order.")

    return app


class World:
    """The shop and its published views, running in this process."""

    def __init__(self, file: Path, data: Path, app: Intranet, site: Running) -> None:
        self.file, self.data, self.app, self.site = file, data, app, site
        self.declared = app.declared()
        self.reader = Reader(data / "store.db", self.declared.specs)

    def sql(self, *statements: str) -> None:
        """Change the shop, past brique."""
        with closing(sqlite3.connect(self.file, timeout=30)) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    def wanted(self) -> dict[str, bytes]:
        """What should be at a place, made from nothing."""
        return wanted_of(self.app, self.reader)

    def place(self, name: str = "shop") -> dict[str, bytes]:
        return there(self.declared.places[name].url)

    def source(self) -> list[Any]:
        with closing(sqlite3.connect(self.file, timeout=30)) as connection:
            return [
                connection.execute("SELECT id, name FROM customer ORDER BY id").fetchall(),
                connection.execute("SELECT id, customer_id, status FROM orders ORDER BY id").fetchall(),
            ]

    def copied(self) -> list[Any]:
        with self.reader.snapshot() as reader:
            customers = [reader.row("customer", one) for one in reader.row_keys("customer", limit=10_000)]
            orders = [reader.row("orders", one) for one in reader.row_keys("orders", limit=10_000)]
        return [
            sorted((row.values["id"], row.values["name"]) for row in customers if row is not None),
            sorted((row.values["id"], row.values["customer_id"], row.values["status"]) for row in orders if row),
        ]

    def settled(self, *names: str, seconds: float = SECONDS) -> None:
        """Wait until the copy equals the shop, and each place the views."""
        wait_until(lambda: self.copied() == self.source(), seconds, "the copy")
        for name in names or ("shop",):
            wait_until(lambda at=name: self.place(at) == self.wanted(), seconds, f"{name} to equal the views")


def there(url: str) -> dict[str, bytes]:
    """All that is at a place, by key."""
    place: Place = open_place("look", url)
    try:
        keys = [key for key, _ in place.inventory()]
        return place.get(keys)
    finally:
        place.close()


def wanted_of(app: Intranet, reader: Reader) -> dict[str, bytes]:
    """What should be at a place of `app`, made from nothing, on the store that `reader` shows."""
    declared = app.declared()
    ready = Ready(
        declared.kept_views.values(), declared.specs, clock=SystemClock(), classes=declared.classes,
        body_bytes_max=1 << 20,
    )  # fmt: skip
    found = {}
    with reader.snapshot():
        customers = reader.row_keys("customer", limit=10_000)
        cities = {row.values["city"] for one in customers if (row := reader.row("customer", one)) is not None}
        arguments = [("statement", f'{{"number":{one}}}') for one in customers]
        arguments += [("people", f'{{"city":"{one}"}}') for one in sorted(filter(None, cities))]
        for view, given in [*arguments, ("open_orders", "{}"), ("dearest", "{}")]:
            made = ready.get(reader, view, given, anew=True)
            if made.fault is None:
                found[declared.published[view].key(given)] = made.body
            else:
                assert isinstance(made.fault, NotFound), made.fault
    return found


@contextmanager
def world(folder: Path, *urls: str, **options: Any) -> Iterator[World]:
    """The shop of `folder` (made when it is not there and `make`), published at `urls` while the block runs."""
    file = folder / "shop.db"
    if options.pop("make", True) and not file.exists():
        make_shop(file)
    settings = options.pop("settings", {})
    app = make_app(file, *urls, **options)
    with running(app, folder / "data", **settings) as site:
        made = World(file, folder / "data", app, site)
        try:
            yield made
        finally:
            made.reader.close()
