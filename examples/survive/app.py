"""A counter at each door of a shop, and an order form, on MongoDB. Serve it with `brique up app.py`."""

import os

from brique import Db, Figure, Intranet, ShortList, Table, WriteDb, key

app = Intranet("Corner shop")
shop = app.backend("shop", os.environ.get("SHOP", "mongodb://127.0.0.1:27017/shop"), refresh="2s", marker=True)


class Door(Table, backend=shop, source="doors"):
    name: str = key("_id")
    visitors: int


class Order(Table, backend=shop, source="orders"):
    number: str = key("_id", defaulted=True)
    customer: str
    article: str
    quantity: int


@app.command()
def enter(db: WriteDb, door: Door):
    """Somebody came in by this door."""
    db.update(door, visitors=door.visitors + 1)


@app.dashboard("/", title="Today")
def today(db: Db):
    doors = db[Door]
    return [
        Figure("Visitors", doors.sum("visitors") or 0),
        Figure("Orders", db[Order].count()),
        ShortList("Doors", doors.order_by("-visitors").limit(5)),
    ]
