"""What a command asks for beside changes of rows: a mail that waits for it, a procedure in its transaction."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from brique import Intranet, Table, WriteDb, column, key, old_date, ref
from brique.schema import State
from tests.app.site import running
from tests.backends.smtp_server import Server, mail_server
from tests.postgres import PostgresServer
from tests.servers import wait_until
from tests.shop import make_shop

SECONDS = 30.0
TEMPLATE = """<title>Order {{ order.number }} has left</title>
<p>Dear {{ order.customer.name }},</p><p>{{ carrier }} brings {{ order.amount }}.</p>
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with mail_server(tmp_path / "smtp") as made:
        yield made


def shop_with_mail(folder: Path, url: str) -> Intranet:
    """The design's own example, with the shop for an ERP."""
    app = Intranet("Comptoir du Cap-Vert", languages=("fr", "en"), timezone="Africa/Dakar")
    path = make_shop(folder / "shop.db")
    with closing(sqlite3.connect(path)) as connection, connection:  # the shop has no column for addresses
        connection.execute("UPDATE customer SET city = 'c' || id || '@example.org'")
    erp = app.backend("erp", str(path), refresh="1s", marker=True)
    (folder / "mails").mkdir(exist_ok=True)
    (folder / "mails" / "shipped.html").write_text(TEMPLATE)
    app.mail(url, sender="Comptoir <comptoir@example.org>", templates=folder / "mails")

    @app.table
    class Customer(Table, backend=erp, source="customer"):
        number: int = key("id", defaulted=True)
        name: str
        email: str | None = column("city")

    @app.table
    class Order(Table, backend=erp, source="orders"):
        number: int = key("id", defaulted=True)
        customer: Customer = ref("customer_id")
        ordered: object = old_date("order_date")
        amount: Decimal = column(scale=2)
        status: str

    @app.command(role="write")
    def ship(db: WriteDb, order: Order, carrier: str) -> None:
        if order.status != "open":
            raise app.refuse("Order {n} is already {s}", n=order.number, s=order.status)
        db.update(order, status="shipped")
        db.mail(order.customer, "shipped.html", order=order, carrier=carrier)

    @app.command()
    def remind(db: WriteDb, customer: Customer, other: str) -> None:
        db.mail([customer, other], "Your account", text="It is due.")
        db.mail("boss@example.org", "Reminded", text=str(customer))

    @app.command()
    def overdraw(db: WriteDb, order: Order) -> None:
        """The ERP refuses it: its status may only be open or shipped."""
        db.update(order, status="lost")
        db.mail(order.customer, "Lost", text="Your order is lost.")

    return app


def test_an_order_is_shipped_and_its_customer_gets_the_mail(tmp_path: Path, server: Server) -> None:
    with running(shop_with_mail(tmp_path, server.url), tmp_path / "data") as site:
        site.loaded("customer", "order")
        receipt = site.run("ship", order="1", carrier="DHL <& co>")["receipt"]
        wait_until(lambda: len(server.mails()) == 1, SECONDS, "the mail")
        [mail] = server.mails()
        assert mail["to"] == ["c1@example.org"]
        assert mail["headers"]["Subject"] == "Order 1 has left"
        assert "DHL &lt;&amp; co&gt; brings 120.50" in mail["html"]
        assert "Dear Aminata Sow," in mail["text"] and "DHL <& co>" in mail["text"]
        parent, follower = site.commands()
        assert (parent.command.id, follower.command.after) == (receipt, (receipt,))
        assert parent.position + 1 == follower.position and follower.command.backend == "mail"
        assert site.settled(follower.command.id).state is State.APPLIED
        again = site.ask("POST", "/api/commands/ship", json={"order": "1", "carrier": "x"})
        assert again.status_code == 409 and "already shipped" in again.text
        receipt_page = site.ask("GET", f"/outbox/{follower.command.id}", headers={"Accept": "text/html"})
        assert receipt_page.status_code == 200 and "c1@example.org" in receipt_page.text
        assert "Order 1 has left" in receipt_page.text
        assert site.ask("GET", f"/api/outbox/{follower.command.id}").json()["effects"] == ["send"]


def test_a_command_that_is_refused_sends_no_mail(tmp_path: Path, server: Server) -> None:
    with running(shop_with_mail(tmp_path, server.url), tmp_path / "data") as site:
        site.loaded("customer", "order")
        site.ask("POST", "/api/commands/overdraw", json={"order": "3"})
        wait_until(lambda: len(site.commands()) == 2, SECONDS, "the commands")
        parent, follower = site.commands()
        assert site.settled(parent.command.id).state is State.REFUSED
        assert site.settled(follower.command.id).state is State.REFUSED
    assert server.mails() == []


def test_three_clicks_are_one_command_and_one_mail(tmp_path: Path, server: Server) -> None:
    with running(shop_with_mail(tmp_path, server.url), tmp_path / "data") as site:
        site.loaded("customer", "order")
        server.stop()
        for _ in range(3):
            answer = site.ask(
                "POST", "/api/commands/ship", json={"order": "1", "carrier": "x"}, headers={"Idempotency-Key": "click"}
            )
            assert answer.is_success, answer.text
        assert len(site.commands()) == 2
        server.start()
        site.settled(site.commands()[1].command.id)
    assert len(server.mails()) == 1


def test_a_command_of_nothing_but_mails_needs_no_rows(tmp_path: Path, server: Server) -> None:
    with running(shop_with_mail(tmp_path, server.url), tmp_path / "data") as site:
        site.loaded("customer", "order")
        site.site.accounts.create_user("awa", "three small green boats", "write")
        site.site.accounts.set_email("awa", "awa@example.org")
        for given in ("nobody-here", "a@b\r\nBcc: x@y"):
            answer = site.ask("POST", "/api/commands/remind", json={"customer": "2", "other": given})
            assert answer.status_code == 422, answer.text
        answer = site.ask("POST", "/api/commands/remind", json={"customer": "2", "other": "awa"})
        assert answer.is_success, answer.text
        assert answer.json()["table"] == "" and answer.json()["key"] == ""
        wait_until(lambda: len(server.mails()) == 2, SECONDS, "the mails")
        assert {tuple(mail["to"]) for mail in server.mails()} == {
            ("c2@example.org", "awa@example.org"), ("boss@example.org",),
        }  # fmt: skip
        first, second = site.commands()
        assert first.command.name == "remind" and second.command.name == "mail" and second.command.after == ()
        for receipt in (first.command.id, second.command.id):
            site.settled(receipt)
            assert site.ask("GET", f"/outbox/{receipt}", headers={"Accept": "text/html"}).status_code == 200


@pytest.mark.parametrize("mode", ["freeze", "die"])
def test_a_mail_whose_answer_was_lost_waits_for_a_person(tmp_path: Path, server: Server, mode: str) -> None:
    app = shop_with_mail(tmp_path, server.url)
    app.mails.options["timeout_seconds"] = 2.0  # type: ignore[union-attr, index]  # sooner than a real one
    with running(app, tmp_path / "data") as site:
        site.loaded("customer", "order")
        server.mode(mode)
        site.run("ship", order="1", carrier="x")
        wait_until(lambda: len(server.mails()) == 1, SECONDS, "the mail")
        server.mode("")
        if mode == "freeze":
            states = site.site.web.readers.mine().backend_states
            wait_until(lambda: states()["mail"].state == "down", SECONDS, "the end of the call")
            server.signal(signal.SIGCONT)
        server.stop()
        server.start()
        parent, follower = site.commands()
        assert site.settled(parent.command.id).state is State.APPLIED
        assert site.settled(follower.command.id).state is State.UNKNOWN
    assert len(server.mails()) == 1


def test_mails_wait_for_their_server_and_then_go(tmp_path: Path, server: Server) -> None:
    server.stop()
    with running(shop_with_mail(tmp_path, server.url), tmp_path / "data") as site:
        site.loaded("customer", "order")
        site.run("ship", order="1", carrier="x")
        site.run("ship", order="3", carrier="x")
        parents = [item for item in site.commands() if item.command.name == "ship"]
        for parent in parents:
            assert site.settled(parent.command.id).state is State.APPLIED
        server.start()
        for item in site.commands():
            assert site.settled(item.command.id).state is State.APPLIED
    assert len(server.mails()) == 2


# procedures


ROUTINES = """
CREATE TABLE customer (id INT GENERATED BY DEFAULT AS IDENTITY (START 50) PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE slip (id INT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer INT REFERENCES customer, text TEXT);
CREATE PROCEDURE make_slip(customer INT, INOUT text TEXT) LANGUAGE plpgsql AS $$
  BEGIN
    IF make_slip.text = 'bad' THEN RAISE EXCEPTION 'No slip for you'; END IF;
    INSERT INTO slip (customer, text) VALUES (make_slip.customer, make_slip.text);
  END $$;
INSERT INTO customer VALUES (1, 'Awa');
"""


def test_a_procedure_is_called_in_the_transaction_of_the_changes(tmp_path: Path, postgres: PostgresServer) -> None:
    url = postgres.make_database(script=ROUTINES)
    app = Intranet("ERP")
    erp = app.backend("erp", url, refresh="1s", marker=True)

    @app.table
    class Customer(Table, backend=erp, source="customer"):
        number: int = key("id", defaulted=True)
        name: str

    @app.command()
    def welcome(db: WriteDb, name: str) -> None:
        made = db.insert(Customer, name=name)
        db.call("make_slip", customer=made, text="welcome")

    @app.command()
    def rename(db: WriteDb, customer: Customer, text: str) -> None:
        db.update(customer, name=text)
        db.call("make_slip", customer=customer, text=text)

    @app.command()
    def slip_only(db: WriteDb, customer: Customer) -> None:
        db.call("make_slip", customer=customer, text="alone", backend="erp")

    @app.command()
    def wrong(db: WriteDb) -> None:
        db.call("make_slips", backend="erp")

    @app.command()
    def homeless(db: WriteDb) -> None:
        db.call("make_slip")

    with running(app, tmp_path / "data") as site:
        site.loaded("customer")
        good = site.run("rename", customer="1", text="Awa Ba")["receipt"]
        assert site.settled(good).state is State.APPLIED
        bad = site.ask("POST", "/api/commands/rename", json={"customer": "1", "text": "bad"}).json()["receipt"]
        assert "No slip for you" in site.settled(bad).reason
        alone = site.run("slip_only", customer="1")["receipt"]
        assert site.settled(alone).state is State.APPLIED
        new = site.run("welcome", name="Moussa")["receipt"]
        assert site.settled(new).state is State.APPLIED
        unknown = site.ask("POST", "/api/commands/wrong", json={}).json()["receipt"]
        assert "there are make_slip" in site.settled(unknown).reason
        assert site.ask("POST", "/api/commands/homeless", json={}).status_code == 500
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT text FROM slip ORDER BY id").fetchall() == [
            ("Awa Ba",), ("alone",), ("welcome",),
        ]  # fmt: skip
        assert connection.execute("SELECT customer FROM slip WHERE text = 'welcome'").fetchall() == [(50,)]
        assert connection.execute("SELECT name FROM customer WHERE id = 1").fetchall() == [("Awa Ba",)]
