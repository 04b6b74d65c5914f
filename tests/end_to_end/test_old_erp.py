"""An ERP from the nineties over ODBC, from its catalogue to a page, and from a form back into its files."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from brique import (
    Db,
    Inline,
    Intranet,
    Table,
    WriteDb,
    code,
    column,
    ebcdic,
    flag,
    implied,
    key,
    old_date,
    old_time,
    packed,
    padded,
    ref,
)
from brique.app.sources import load_declaration
from brique.backends import Rung
from brique.backends.odbc import OdbcBackend
from brique.schema import Kind, TableSpec, infer, write_python
from brique.settings import Settings
from tests.app.backbone import QUICK
from tests.backends.old_erp import CUSTOMERS, ORDERS, script
from tests.backends.test_odbc import PSQLODBC, need, odbc_url
from tests.backends.test_postgresql import run_on
from tests.postgres import PostgresServer
from tests.servers import wait_until


def erp_url(url: str) -> str:
    return odbc_url(url, profile="db2i", libraries="ERPLIB")


def specs_of(backend: OdbcBackend) -> dict[str, TableSpec]:
    return {spec.source: spec for spec in infer(backend.catalogue(), "erp")}


def test_the_catalogue_gives_labels_keys_references_and_old_ways_of_writing(postgres: PostgresServer) -> None:
    need(PSQLODBC)
    backend = OdbcBackend("erp", erp_url(postgres.make_database(script=script())))
    specs = specs_of(backend)
    backend.close()
    assert set(specs) == {"CUSTPF", "ORDRPF", "ORDLPF"}
    customers, orders, lines = specs["CUSTPF"], specs["ORDRPF"], specs["ORDLPF"]
    assert customers.label == "Customer master" and customers.key == ("cunum",)
    assert [c.label for c in customers.columns][:5] == ["Customer Number", "Name", "City", "Postal Code", "Phone"]
    assert lines.key == ("ornum", "ollin")
    decoders = {c.name: c.decoder for spec in specs.values() for c in spec.columns if c.decoder not in ("", "trim")}
    assert decoders == {
        "cuact": "flag:O:N", "cudat": "cyymmdd", "ordat": "cyymmdd", "ortim": "hhmmss", "oltxt": "ebcdic:cp297:20",
    }  # fmt: skip
    assert customers.by_name["cuact"].kind is Kind.BOOLEAN and orders.by_name["ortim"].kind is Kind.TIME
    assert [(r.columns, r.table) for r in orders.references] == [(("cunum",), "custpf")]
    assert [(r.columns, r.table) for r in lines.references] == [(("ornum",), "ordrpf")]


def test_a_table_without_a_journal_costs_transactions_and_is_named(postgres: PostgresServer) -> None:
    need(PSQLODBC)
    backend = OdbcBackend("erp", erp_url(postgres.make_database(script=script(unjournaled=("ORDLPF",)))))
    orders = specs_of(backend)["ORDRPF"]
    prepared = backend.prepare(True)
    assert prepared.rung is Rung.COMPARE and not prepared.abilities.transactions
    assert prepared.reason == "Table ORDLPF is not journaled: its changes cannot be rolled back."
    with pytest.raises(RuntimeError), backend.session() as session:
        assert session.update(orders, (1001,), {"orsts": "open"}, {"orsts": "held"}) == 1
        raise RuntimeError("the change is done all the same")
    assert backend.fetch(orders, ["1001"])["1001"]["orsts"] == "held"
    backend.close()
    journaled = OdbcBackend("erp", erp_url(postgres.make_database(script=script())))
    specs_of(journaled)
    assert journaled.prepare(True).rung is Rung.WATERMARK
    journaled.close()


def test_what_is_inferred_is_written_down_as_python_and_read_back(postgres: PostgresServer, tmp_path: Path) -> None:
    need(PSQLODBC)
    url = erp_url(postgres.make_database(script=script()))
    backend = OdbcBackend("erp", url)
    inferred = infer(backend.catalogue(), "erp")
    backend.close()
    text = write_python(inferred, backend="erp", url=f"{url}&PWD=s3cret", title="ERP")
    assert "s3cret" not in text and "os.environ['ERP_PASSWORD']" in text
    for said in ('flag("CUACT", yes="O"', 'old_date("ORDAT"', 'old_time("ORTIM"', 'page="cp297", length=20'):
        assert said.replace('"CUACT"', "").split(",")[0].strip("( ") in text.replace('"CUACT"', "")
    file = tmp_path / "erp_intranet.py"
    file.write_text(write_python(inferred, backend="erp", url=url, title="ERP"), "utf-8")
    declared = load_declaration(file).declared().specs
    for spec in inferred:
        assert [(c.name, c.source, c.kind, c.decoder) for c in declared[spec.name].columns] == [
            (c.name, c.source, c.kind, c.decoder) for c in spec.columns
        ]


def declare(url: str, *, marker: bool) -> Intranet:
    """What its administrator writes."""
    app = Intranet("Comptoir du Cap-Vert", timezone="Africa/Dakar")
    erp = app.backend("erp", url, refresh=0.3, marker=marker)

    class Customer(Table, backend=erp, source="CUSTPF", schema="ERPLIB"):
        number: int = key("CUNUM")
        name: str = padded("CUNAM")
        city: str = padded("CUCTY")
        postcode: str = code("CUZIP", digits=5)
        phone: str | None = padded("CUTEL", blank_is_none=True)
        active: bool = flag("CUACT", yes="O", no="N")
        credit: Decimal = column("CUCRD", scale=2)
        since: date | None = old_date("CUDAT")

    class Order(Table, backend=erp, source="ORDRPF", schema="ERPLIB"):
        number: int = key("ORNUM")
        customer: Customer = ref("CUNUM")
        ordered: date | None = old_date("ORDAT")
        at: time = old_time("ORTIM")
        amount: Decimal = column("ORAMT", scale=2)
        discount: Decimal = implied("ORDIS", scale=2)
        status: str = padded("ORSTS", length_max=8)
        delivery: date | None = old_date("DLDAT", written="ddmmyy", text=True)

    class Line(Table, backend=erp, source="ORDLPF", schema="ERPLIB"):
        order: Order = ref("ORNUM", is_key=True)
        line: int = key("OLLIN")
        item: str = padded("OLITM")
        quantity: int = column("OLQTY")
        price: Decimal = packed("OLPRI", precision=9, scale=2)
        text: str = ebcdic("OLTXT", "cp297", length=20)

    @app.view("/customers/{customer}/statement")
    def statement(db: Db, customer: Customer) -> dict[str, Any]:
        unpaid = db[Order].where(customer=customer, status="shipped")
        return {"customer": customer, "due": unpaid.sum("amount"), "orders": unpaid.order_by("ordered")}

    @app.command(label="Ship")
    def ship(db: WriteDb, order: Order, carrier: str = "") -> None:
        if order.status != "open":
            raise app.refuse("Order {n} is already {s}.", n=order.number, s=order.status)
        db.update(order, status="shipped", delivery=db.today())

    statement.__annotations__["customer"] = Customer
    ship.__annotations__["order"] = Order
    app.add_tables([Customer, Order, Line])
    return app


class Site:
    """The intranet, asked as a program asks it."""

    def __init__(self, inline: Inline) -> None:
        self.inline = inline
        inline.accounts.accept_for_this_run("token")

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            headers = {"Authorization": "Bearer token", **options.pop("headers", {})}
            transport = httpx.ASGITransport(self.inline.asgi)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
                return await client.request(method, path, **options)

        return asyncio.run(send())

    def row(self, table: str, row_key: str) -> Any:
        return self.ask("GET", f"/api/tables/{table}/{row_key}").json()

    def write(self, method: str, path: str, body: Any) -> Any:
        """The receipt of a write; it is pending unless its backend was quick."""
        answer = self.ask(method, path, json=body)
        assert answer.status_code in (200, 201, 202), answer.text
        return answer.json()

    def is_loaded(self) -> bool:
        return all(self.ask("GET", f"/api/tables/{t}?limit=1").is_success for t in ("customer", "order", "line"))


@pytest.fixture(params=[True, False], ids=["watermark", "compare"])
def site(
    own_postgres: PostgresServer, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[tuple[Site, PostgresServer, str]]:
    need(PSQLODBC)
    url = own_postgres.make_database(script=script())
    settings = Settings(data=tmp_path / "data", **QUICK)  # type: ignore[arg-type]  # each value fits its row
    with Inline(declare(erp_url(url), marker=request.param), tmp_path / "data", settings=settings) as inline:
        made = Site(inline)
        wait_until(made.is_loaded, 30, "the first copy")
        yield made, own_postgres, url


World = tuple[Site, PostgresServer, str]


def test_rows_are_listed_shown_edited_and_replayed_in_the_old_ways(site: World) -> None:
    intranet, server, url = site
    listed = intranet.ask("GET", "/api/tables/order?limit=100").json()["rows"]
    assert (
        len(listed) == ORDERS and len(intranet.ask("GET", "/api/tables/customer?limit=100").json()["rows"]) == CUSTOMERS
    )
    customer = intranet.row("customer", "7")
    shown = {name: customer[name] for name in ("name", "city", "postcode", "phone", "active", "credit", "since")}
    assert shown == {
        "name": "Société n° 7", "city": "Mbour", "postcode": "01007", "phone": "33 800 00 07", "active": True,
        "credit": "700.50", "since": "1988-08-07",
    }  # fmt: skip
    assert intranet.row("customer", "3")["phone"] is None and intranet.row("customer", "6")["since"] is None
    line = intranet.row("line", "1005,2")
    assert (line["price"], line["text"], line["item"]) == ("100.50", "Pièce à 2 côtés", "0025")
    order = intranet.row("order", "1001")
    assert (order["ordered"], order["at"], order["discount"], order["delivery"]) == (
        "2026-02-02", "08:01:01", "0.25", "2026-02-02",
    )  # fmt: skip

    server.kill()  # what is typed now waits
    intranet.write(
        "PATCH", "/api/tables/customer/6", {"since": "2026-11-20", "phone": None, "active": False, "postcode": "00123"}
    )
    intranet.write("PATCH", "/api/tables/line/1005,2", {"price": "-1.05", "text": "à côté"})
    receipt = intranet.write("POST", "/api/commands/ship", {"order": "1001", "carrier": "DHL"})
    assert intranet.row("customer", "6")["since"] == "2026-11-20", "shown at once"
    server.start()

    def is_applied() -> bool:
        return bool(intranet.ask("GET", f"/api/outbox/{receipt['receipt']}").json().get("state") == "applied")

    wait_until(is_applied, 30, "the replay")
    assert run_on(
        url, 'SELECT "CUDAT"::int, "CUTEL", "CUACT", "CUZIP"::int FROM "ERPLIB"."CUSTPF" WHERE "CUNUM" = 6'
    ) == [(1261120, " " * 14, "N", 123)]
    [(price, text)] = run_on(url, 'SELECT "OLPRI", "OLTXT" FROM "ERPLIB"."ORDLPF" WHERE "ORNUM" = 1005 AND "OLLIN" = 2')
    assert price == b"\x00\x00\x00\x10\x5d" and isinstance(text, bytes) and len(text) == 20
    [(status, delivery)] = run_on(url, 'SELECT "ORSTS", "DLDAT" FROM "ERPLIB"."ORDRPF" WHERE "ORNUM" = 1001')
    assert status == "shipped " and str(delivery).isdigit() and len(str(delivery)) == 6
    wait_until(lambda: intranet.row("line", "1005,2")["text"] == "à côté", 15, "the source's own row")


def test_a_view_and_a_new_row_with_a_composite_key(site: World) -> None:
    intranet, _, url = site
    view = intranet.ask("GET", "/api/views/statement?customer=2")
    assert view.status_code == 200 and "due" in view.text, view.text
    new = {"order": "1001", "line": 9, "item": "0001", "quantity": 3, "price": "12.34", "text": "neuf"}
    intranet.write("POST", "/api/tables/line", new)

    def made() -> list[tuple[object, ...]]:
        return run_on(url, 'SELECT "OLPRI" FROM "ERPLIB"."ORDLPF" WHERE "ORNUM" = 1001 AND "OLLIN" = 9')

    wait_until(lambda: bool(made()), 20, "the new line")
    assert made() == [(b"\x00\x00\x01\x23\x4c",)]
    wait_until(lambda: intranet.row("line", "1001,9").get("price") == "12.34", 15, "the source's own row")
