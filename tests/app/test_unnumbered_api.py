"""Programs add lines to an order that has no number yet, as people and commands do."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import apsw

from brique import Intranet, Table, key, ref
from brique.schema import State
from tests.app.site import SECONDS, Running, running
from tests.servers import wait_until

SCHEMA = """
CREATE TABLE orders(id INTEGER PRIMARY KEY, customer TEXT NOT NULL CHECK (customer <> 'bad'));
CREATE TABLE line(id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL REFERENCES orders(id), item TEXT NOT NULL);
INSERT INTO orders VALUES (7, 'old');
INSERT INTO line VALUES (1, 7, 'old');
"""


def make_intranet(file: Path) -> Intranet:
    app = Intranet("Shop")
    erp = app.backend("erp", str(file), refresh="1s", marker=True)

    @app.table
    class Order(Table, backend=erp, source="orders"):
        id: int = key(defaulted=True)
        customer: str

    @app.table
    class Line(Table, backend=erp, source="line"):
        id: int = key(defaulted=True)
        order: Order = ref("order_id")
        item: str

    return app


def order_with_a_line(site: Running, erp: apsw.Connection, customer: str) -> tuple[str, str]:
    """Receipts of an order and of a line of it, both entered while the ERP answers nothing."""
    erp.execute("BEGIN EXCLUSIVE")
    order = site.ask("POST", "/api/tables/order", json={"customer": customer}).json()
    assert order["key"].startswith("new-")
    line = site.ask("POST", "/api/tables/line", json={"order": order["key"], "item": "tea"})
    assert line.status_code == 202, line.text
    assert line.json()["row"]["order"] == order["key"]
    erp.execute("COMMIT")
    wait_until(lambda: site.command(line.json()["receipt"]).state.settled, SECONDS, "the line to settle")
    return order["receipt"], line.json()["receipt"]


def test_a_line_is_sent_with_the_number_that_its_order_was_given(tmp_path: Path) -> None:
    with closing(apsw.Connection(str(tmp_path / "erp.db"))) as erp:
        erp.execute(SCHEMA)
        with running(make_intranet(tmp_path / "erp.db"), tmp_path / "data") as site:
            site.loaded("order", "line")
            refused = site.ask("POST", "/api/tables/line", json={"order": "new-nothing", "item": "tea"})
            assert (refused.status_code, refused.json()["errors"][0]["detail"]) == (422, "There is no such row.")
            not_a_reference = site.ask("POST", "/api/tables/line", json={"id": "new-1", "order": 7, "item": "tea"})
            assert not_a_reference.status_code == 422
            _, line = order_with_a_line(site, erp, "good")
            assert site.command(line).state is State.APPLIED
            assert erp.execute("SELECT order_id, item FROM line WHERE id > 1").fetchall() == [(8, "tea")]


def test_a_refused_order_takes_its_line_along_which_then_goes_to_the_new_one(tmp_path: Path) -> None:
    with closing(apsw.Connection(str(tmp_path / "erp.db"))) as erp:
        erp.execute(SCHEMA)
        with running(make_intranet(tmp_path / "erp.db"), tmp_path / "data") as site:
            site.loaded("order", "line")
            order, line = order_with_a_line(site, erp, "bad")
            assert (site.command(order).state, site.command(line).state) == (State.REFUSED, State.REFUSED)
            again = site.ask(
                "POST",
                f"/api/outbox/{order}/edit",
                json={"values": {"customer": "good"}},
                headers={"Prefer": "wait=10"},
            )
            assert again.json()["state"] == "applied"
            moved = site.ask("POST", f"/api/outbox/{line}/retry")
            assert moved.is_success, moved.text
            wait_until(lambda: site.command(moved.json()["receipt"]).state.settled, SECONDS, "the line to settle")
            assert erp.execute("SELECT order_id, item FROM line WHERE id > 1").fetchall() == [(8, "tea")]
