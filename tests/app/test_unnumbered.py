"""Commands on rows that their backend has not numbered yet: an order is made while the ERP is down, lines are counted
and added to it, and all of it is right once the ERP is back."""

from __future__ import annotations

from pathlib import Path

import psycopg

from brique import Intranet, Table, WriteDb, key, ref
from brique.schema import State
from tests.app.site import running
from tests.pages.writing import fields
from tests.postgres import PostgresServer

SCHEMA = """
CREATE TABLE orders(id serial PRIMARY KEY, customer text NOT NULL CHECK (customer <> 'nobody'));
CREATE TABLE line(id serial PRIMARY KEY, order_id integer NOT NULL REFERENCES orders(id), place integer NOT NULL,
  item text NOT NULL, UNIQUE (order_id, place));
CREATE TABLE stamp(id serial PRIMARY KEY, number integer);
INSERT INTO orders(customer) VALUES ('old');
INSERT INTO line(order_id, place, item) VALUES (1, 1, 'old');
"""


def make_intranet(url: str) -> Intranet:
    app = Intranet("Shop")
    erp = app.backend("erp", url, refresh="1s", marker=True)

    @app.table
    class Order(Table, backend=erp, source="orders"):
        id: int = key(defaulted=True)
        customer: str

    @app.table
    class Line(Table, backend=erp, source="line"):
        id: int = key(defaulted=True)
        order: Order = ref("order_id")
        place: int
        item: str

    @app.table
    class Stamp(Table, backend=erp, source="stamp"):
        id: int = key(defaulted=True)
        number: int | None

    @app.command()
    def add_line(db: WriteDb, order: Order, item: str) -> None:
        lines = db[Line].where(order=order)
        if lines.where(item=item).exists():
            raise app.refuse("{item} is there already", item=item)
        db.insert(Line, order=order, place=lines.count() + 1, item=item)

    @app.command()
    def sell(db: WriteDb, customer: str) -> None:
        """An order and its lines at once, before anything has a number."""
        order = db.insert(Order, customer=customer)
        for place, item in enumerate(("tea", "milk"), 1):
            line = db.insert(Line, order=order, place=place, item=item)
            assert line.order.customer == customer
        assert db[Line].where(order=order).values("item") == ["tea", "milk"]
        assert db[Line].where(order__in=[order]).count() == 2

    @app.command()
    def stamp(db: WriteDb, order: Order) -> None:
        """A plain column cannot wait for a number."""
        db.insert(Stamp, number=order)

    return app


def test_lines_are_added_to_an_order_that_has_no_number(own_postgres: PostgresServer, tmp_path: Path) -> None:
    url = own_postgres.make_database(script=SCHEMA)
    with running(make_intranet(url), tmp_path / "data") as site:
        site.loaded("order", "line")
        own_postgres.stop()
        made = site.ask("POST", "/api/tables/order", json={"customer": "Awa"}).json()
        order = site.command(made["receipt"]).command.changes[0].key
        receipts = [site.run("add_line", order=order, item=item)["receipt"] for item in ("pear", "plum", "fig")]
        again = site.ask("POST", "/api/commands/add_line", json={"order": order, "item": "plum"})
        assert again.status_code == 409 and "already" in again.text
        receipts.append(site.run("sell", customer="Bea")["receipt"])
        refused = site.ask("POST", "/api/commands/stamp", json={"order": order})
        assert refused.status_code == 422 and "no number yet" in refused.text
        own_postgres.start()
        assert {site.settled(receipt).state for receipt in (made["receipt"], *receipts)} == {State.APPLIED}
        late = site.run("add_line", order=order, item="late")["receipt"]  # under the key that it had
        assert site.settled(late).state is State.APPLIED
        with psycopg.connect(url) as db:
            found = db.execute(
                "SELECT customer, place, item FROM line JOIN orders ON orders.id = order_id ORDER BY order_id, place"
            ).fetchall()
        assert found == [
            ("old", 1, "old"), ("Awa", 1, "pear"), ("Awa", 2, "plum"), ("Awa", 3, "fig"), ("Awa", 4, "late"),
            ("Bea", 1, "tea"), ("Bea", 2, "milk"),
        ]  # fmt: skip


def test_lines_refused_with_their_order_follow_it_when_it_is_sent_anew(
    own_postgres: PostgresServer, tmp_path: Path
) -> None:
    url = own_postgres.make_database(script=SCHEMA)
    with running(make_intranet(url), tmp_path / "data") as site:
        site.loaded("order", "line")
        own_postgres.stop()
        made = site.ask("POST", "/api/tables/order", json={"customer": "nobody"}).json()["receipt"]
        order = f"new-{made}"
        lines = [site.run("add_line", order=order, item=item)["receipt"] for item in ("pear", "plum")]
        plain = {"order": order, "place": 7, "item": "fig"}
        answer = site.ask("POST", "/api/tables/line", json=plain)
        assert answer.status_code == 202, answer.text
        lines.append(answer.json()["receipt"])
        own_postgres.start()
        assert {site.settled(receipt).state for receipt in (made, *lines)} == {State.REFUSED}
        own_postgres.stop()
        again = site.ask("POST", f"/api/outbox/{made}/edit", json={"values": {"customer": "none"}})
        assert again.status_code in (200, 202), again.text
        page = site.ask("GET", f"/outbox/{lines[2]}").text
        instead = again.json()["receipt"]
        assert fields(page)["order"] == f"new-{instead}"  # the form is filled in with the order that is meant now
        late = [site.ask("POST", f"/api/outbox/{line}/retry").json()["receipt"] for line in lines]
        own_postgres.start()
        assert {site.settled(receipt).state for receipt in (instead, *late)} == {State.APPLIED}
        with psycopg.connect(url) as db:
            found = db.execute(
                "SELECT customer, place, item FROM line JOIN orders ON orders.id = order_id ORDER BY order_id, place"
            ).fetchall()
        assert found == [("old", 1, "old"), ("none", 1, "pear"), ("none", 2, "plum"), ("none", 7, "fig")]
