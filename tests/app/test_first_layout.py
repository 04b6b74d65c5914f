"""A data folder of brique's first layout (one file as spool, store format 1) is taken over as it is.

first_layout.zip holds one that its own version had written: an order changed and one refused while the shop's database
answered, then four commands while it was locked, the first of which had been tried.
"""

from __future__ import annotations

import sqlite3
import zipfile
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from brique import Intranet, Table, WriteDb, column, key, ref
from tests.app.site import SECONDS, Running, running
from tests.servers import wait_until

FOLDER = Path(__file__).with_name("first_layout.zip")


app = Intranet("Corner shop")
shop = app.backend("shop", "erp.db", marker=True)


@app.table
class Customer(Table, backend=shop, source="customer"):
    id: int = key()
    name: str


@app.table
class Order(Table, backend=shop, source="orders"):
    id: int = key(defaulted=True)
    customer: Customer = ref("customer_id")
    amount: Decimal = column(scale=2)
    status: str


@app.command()
def ship(db: WriteDb, order: Order) -> None:
    db.update(order, status="shipped")


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with zipfile.ZipFile(FOLDER) as packed:
        packed.extractall(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def orders(folder: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / "erp.db")) as connection:
        return connection.execute("SELECT * FROM orders ORDER BY id").fetchall()


def nothing_waits(site: Running) -> None:
    waiting = "/api/outbox?state=kept,sending"
    wait_until(lambda: not site.ask("GET", waiting).json()["receipts"], SECONDS, "the replay")


def test_what_waited_is_shown_and_arrives_once(kept: Path) -> None:
    with running(app, kept / "data") as site:
        wait_until(
            lambda: not site.ask("GET", "/api/outbox?state=kept,sending").json()["receipts"], SECONDS, "the replay"
        )
        assert orders(kept) == [(1, 1, 99.9, "open"), (2, 1, 80, "paid"), (4, 2, 1, "shipped"), (5, 2, 7, "open")]
        states = [(item.command.name, item.state.value) for item in site.commands()]
        assert states == [
            ("update", "applied"), ("update", "refused"), ("update", "applied"), ("create", "applied"),
            ("delete", "applied"), ("ship", "applied"),
        ]  # fmt: skip
        again = site.ask(
            "PATCH", "/api/tables/order/1", json={"amount": "99.90"}, headers={"Idempotency-Key": "first-1"}
        )
        assert again.json()["duplicate"] is True
        rows = site.ask("GET", "/api/tables/order").json()["rows"]  # 2: what was refused still needs its author
        assert sorted((row["id"], row["amount"], row["status"], row["_pending"]) for row in rows) == [
            (1, "99.90", "open", 0), (2, "80.00", "paid", 2), (4, "1.00", "shipped", 0), (5, "7.00", "open", 0),
        ]  # fmt: skip
    with running(app, kept / "data") as site:
        site.loaded("order")
        assert len(site.commands()) == 6
    assert len(orders(kept)) == 4


def test_what_waits_is_shown_while_the_database_is_away(kept: Path) -> None:
    (kept / "erp.db").rename(kept / "elsewhere.db")
    with running(app, kept / "data") as site:
        site.loaded("order")
        rows = site.ask("GET", "/api/tables/order").json()["rows"]
        assert sorted((str(row["amount"]), row["status"], row["_pending"]) for row in rows) == [
            ("1.00", "shipped", 1), ("7.00", "open", 1), ("80.00", "paid", 2), ("99.90", "open", 1),
        ]  # fmt: skip
        (kept / "elsewhere.db").rename(kept / "erp.db")
        wait_until(
            lambda: not site.ask("GET", "/api/outbox?state=kept,sending").json()["receipts"], SECONDS, "the replay"
        )
    assert len(orders(kept)) == 4
