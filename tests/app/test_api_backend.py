"""One brique as the backend of another, over HTTP, and an API that dies after it has done what was asked."""

from __future__ import annotations

import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path

import pytest
import uvicorn

from brique import Bearer, Http, Inline, Intranet, Resource, Table, WriteDb, column, key, ref
from brique.schema import State
from tests.app.site import TOKEN, running
from tests.backends.api_server import api_server
from tests.servers import wait_until
from tests.shop import make_shop

SECONDS = 30.0


@contextmanager
def served(site: Inline) -> Iterator[str]:
    """The address of an intranet on a real server."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(site.asgi, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_until(lambda: server.started, SECONDS, "the server")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join()


def head_office(folder: Path) -> Intranet:
    app = Intranet("Head office")
    erp = app.backend("erp", str(make_shop(folder / "shop.db")), refresh="1s", marker=True)

    @app.table
    class Orders(Table, backend=erp, source="orders"):
        id: int = key(defaulted=True)
        customer: int = column("customer_id")
        amount: Decimal = column(scale=2)
        status: str = column(defaulted=True)

    return app


def branch(url: str) -> Intranet:
    app = Intranet("Branch")
    rows = Resource(
        "/tables/orders", item="/tables/orders/{row_key}", rows="rows", next="next", created="row",
        parameters={"limit": "2"},
    )  # fmt: skip
    http = Http(tables={"orders": rows}, auth=Bearer("HEAD_OFFICE"), idempotent=True)
    office = app.backend("office", f"{url}/api", refresh="1s", http=http)

    @app.table
    class Order(Table, backend=office, source="orders"):
        id: int = key(defaulted=True)
        customer: int
        amount: Decimal = column(scale=2)
        status: str = column(defaulted=True)

    @app.table
    class Remark(Table):
        id: int = key()
        order: Order = ref()
        text: str

    @app.command()
    def ship(db: WriteDb, order: Order) -> None:
        db.update(order, status="shipped")

    return app


def test_one_intranet_is_the_backend_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEAD_OFFICE", TOKEN)
    (tmp_path / "office").mkdir()
    with running(head_office(tmp_path / "office"), tmp_path / "office" / "data") as office:
        office.loaded("orders")
        with served(office.site) as url, running(branch(url), tmp_path / "branch") as site:
            site.loaded("order", "remark")
            assert site.ask("GET", "/api/tables/order").json()["count"] == 4
            assert site.ask("GET", "/api/tables/order/1").json()["amount"] == "120.50"
            assert site.site.web.readers.mine().backend_states()["office"].rung == "guard"
            shipped = site.run("ship", order="1")["receipt"]
            assert site.settled(shipped).state is State.APPLIED
            made = site.ask("POST", "/api/tables/order", json={"customer": 2, "amount": "7.25"})
            assert made.status_code in (201, 202), made.text
            assert site.settled(made.json()["receipt"]).state is State.APPLIED
            bad = site.ask("PATCH", "/api/tables/order/3", json={"status": "lost"}).json()
            assert site.settled(bad["receipt"]).state is State.REFUSED
            remark = site.ask("POST", "/api/tables/remark", json={"order": 1, "text": "left at noon"})
            assert remark.status_code == 201, remark.text
    with closing(sqlite3.connect(tmp_path / "office" / "shop.db")) as connection:
        assert connection.execute("SELECT status FROM orders WHERE id IN (1, 3) ORDER BY id").fetchall() == [
            ("shipped",), ("open",),
        ]  # fmt: skip
        assert connection.execute("SELECT amount FROM orders WHERE customer_id = 2 AND id > 4").fetchall() == [(7.25,)]


def crm(url: str, *, keys: bool) -> Intranet:
    app = Intranet("CRM")
    api = app.backend("crm", url, refresh="1s", http=Http(idempotent=keys))

    @app.table
    class Item(Table, backend=api, source="items"):
        id: int = key(defaulted=True)
        name: str

    @app.command()
    def close_month(db: WriteDb, text: str) -> None:
        db.call("/jobs", backend="crm", text=text)

    return app


@pytest.mark.parametrize("keys", [True, False])
def test_an_answer_that_was_lost_is_asked_again_or_given_to_a_person(tmp_path: Path, keys: bool) -> None:
    with (
        api_server(tmp_path / "api", keys=keys) as server,
        running(crm(server.url, keys=keys), tmp_path / "data", backend_timeout_seconds=2.0) as site,
    ):
        site.loaded("item")
        server.mode("die-after")
        receipt = site.ask("POST", "/api/tables/item", json={"name": "Once"}).json()["receipt"]
        wait_until(lambda: any(row["name"] == "Once" for row in server.rows()), SECONDS, "the row")
        server.stop()
        server.mode("")
        server.start()
        assert site.settled(receipt).state is (State.APPLIED if keys else State.UNKNOWN)
        update = site.ask("PATCH", "/api/tables/item/2", json={"name": "Changed"}).json()["receipt"]
        assert site.settled(update).state is State.APPLIED
        call = site.run("close_month", text="2026-11")["receipt"]
        assert site.settled(call).state is State.APPLIED
    assert [row["name"] for row in server.rows()].count("Once") == 1


def test_a_change_whose_answer_was_lost_knows_its_own_work(tmp_path: Path) -> None:
    with (
        api_server(tmp_path / "api") as server,
        running(crm(server.url, keys=False), tmp_path / "data", backend_timeout_seconds=2.0) as site,
    ):
        site.loaded("item")
        server.mode("die-after")
        receipt = site.ask("PATCH", "/api/tables/item/3", json={"name": "Mine"}).json()["receipt"]
        wait_until(lambda: any(row["name"] == "Mine" for row in server.rows()), SECONDS, "the change")
        server.stop()
        server.mode("")
        server.start()
        assert site.settled(receipt).state is State.APPLIED
        patches = [entry for entry in server.requests() if entry["method"] == "PATCH"]
    assert len(patches) == 1
