"""Views that use every form in which data can be read, for the test of promise 6."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from brique.views import Db
from tests.views.world import Customer, Order, Product


def row(db: Db, number: int) -> Any:
    order = db[Order][number]
    return {"status": order.status, "amount": order.amount}


def perhaps(db: Db, number: int) -> Any:
    order = db[Order].get(number)
    return None if order is None else str(order)


def followed(db: Db, number: int) -> Any:
    order = db[Order][number]
    return [order.customer.name if order.customer else None, order.product.price if order.product else None]


def whole_row(db: Db, order: Order) -> Any:
    return order


def statement(db: Db, customer: int) -> Any:
    unpaid = db[Order].where(customer=customer, status="open")
    return {"due": unpaid.sum("amount"), "count": unpaid.count()}


def counted(db: Db, customer: int) -> Any:
    return len(db[Order].where(customer=customer))


def orphans(db: Db) -> Any:
    return db[Order].where(customer=None).values("number")


def some_states(db: Db, customer: int) -> Any:
    found = db[Order].where(customer=customer, status__in=["open", None, "sent"])
    return [[order.number, order.status] for order in found]


def above(db: Db, customer: int) -> Any:
    return db[Order].where(customer=customer, amount__gt=Decimal("1.5")).count()


def largest(db: Db, customer: int) -> Any:
    return db[Order].where(customer=customer).order_by("-amount", "status").limit(2).values("number")


def heaviest(db: Db) -> Any:
    return [order.number for order in db[Order].order_by("-weight").limit(3)]


def by_state(db: Db) -> Any:
    return {"sum": db[Order].group_by("status").sum("amount"), "avg": db[Order].group_by("status").avg("rate")}


def by_month(db: Db, customer: int) -> Any:
    return db[Order].where(customer=customer).group_by("ordered__month").count()


def ends(db: Db, customer: int) -> Any:
    found = db[Order].where(customer=customer)
    return [found.min("amount"), found.max("ordered"), found.avg("amount"), found.sum("rate"), found.sum("weight")]


def exists(db: Db, customer: int) -> Any:
    return bool(db[Order].where(customer=customer, status="sent"))


def branch(db: Db, number: int) -> Any:
    order = db[Order].get(number)
    if order is None or order.status is None:
        return db.user
    if order.status == "open":
        return db[Order].where(customer=order.row_values["customer"]).sum("amount")
    return order.customer.city if order.customer else "?"


def mine(db: Db) -> Any:
    return [db.user, db[Order].where(status="open").count()]


def late(db: Db, customer: int) -> Any:
    return db[Order].where(customer=customer, ordered__lt=db.today() - timedelta(days=1)).values("number")


def hour(db: Db) -> Any:
    return [db.now("2h"), db[Product].count()]


def pending(db: Db, customer: int) -> Any:
    return [[order.row_key, order.row_pending] for order in db[Order].where(customer=customer)]


def pending_ones(db: Db) -> Any:
    return [order.row_key for order in db[Order].where(row_pending=True)]


def everything(db: Db) -> Any:
    return list(db[Product])


def first(db: Db, customer: int) -> Any:
    order = db[Order].where(customer=customer).order_by("status").first()
    return order.number if order else None


def named(db: Db, text: str) -> Any:
    return {
        "contains": db[Customer].where(name__contains=text).values("number"),
        "prefix": db[Customer].where(name__prefix=text).count(),
    }


def lines(db: Db, customer: int) -> Any:
    return [
        {"number": order.number, "product": order.product and order.product.name}
        for order in db[Order].where(customer=customer)
    ]


def fragile(db: Db, customer: int) -> Any:
    return 12 // (db[Order].where(customer=customer).count() - 2)


def lazily(db: Db, customer: int) -> Any:
    return {"orders": (order for order in db[Order].where(customer=customer).order_by("number"))}


def by_product(db: Db) -> Any:
    return {"codes": db[Product].order_by("name").values("code"), "cheap": db[Product].where(price__le=2).count()}


def temporary(db: Db, order: str) -> Any:
    found = db[Order].get(f"new-c{order}")
    return None if found is None else [found.row_key, found.status]


ALL: tuple[Callable[..., Any], ...] = (
    row, perhaps, followed, whole_row, statement, counted, orphans, some_states, above, largest, heaviest, by_state,
    by_month, ends, exists, branch, mine, late, hour, pending, pending_ones, everything, first, named, lines, fragile,
    lazily, by_product, temporary,
)  # fmt: skip
