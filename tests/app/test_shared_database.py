"""One database declared as two backends: neither takes what the other has applied for its own."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import apsw

from brique import Intranet, Table, key
from brique.schema import State
from tests.app.site import Running, running


def intranet(path: Path, **named: str) -> Intranet:
    """A backend for each name, with the one table that it is named for."""
    app = Intranet("Shop")
    for name, source in named.items():
        erp = app.backend(name, f"sqlite:///{path}", refresh="1s", marker=True)

        @app.table
        class Item(Table, backend=erp, name=source, source=source):
            id: int = key()
            name: str

    return app


def test_what_one_has_applied_says_nothing_of_the_other(tmp_path: Path) -> None:
    path = tmp_path / "erp.db"
    with closing(apsw.Connection(str(path))) as erp:
        erp.execute("CREATE TABLE tea(id INTEGER PRIMARY KEY, name TEXT NOT NULL)")
        erp.execute("CREATE TABLE rice(id INTEGER PRIMARY KEY, name TEXT NOT NULL)")
        with running(intranet(path, one="tea"), tmp_path / "data") as site:
            site.loaded("tea")
            made = site.ask("POST", "/api/tables/tea", json={"id": 1, "name": "green"}).json()
            assert site.settled(made["receipt"]).state is State.APPLIED
        with running(intranet(path, one="tea", two="rice"), tmp_path / "data") as site:
            site.loaded("tea", "rice")
            site.site.backends["two"].stop()
            late = site.ask("POST", "/api/tables/rice", json={"id": 1, "name": "brown"}).json()["receipt"]
            more = [site.ask("POST", "/api/tables/tea", json={"id": n, "name": "x"}).json()["receipt"] for n in (2, 3)]
            assert {site.settled(receipt).state for receipt in more} == {State.APPLIED}  # the mark is past `late` now
            site.site.start_backend("two")
            assert site.settled(late).state is State.APPLIED
            assert erp.execute("SELECT name FROM rice").fetchall() == [("brown",)]
            assert (rung_of(site, "one"), rung_of(site, "two")) == ("watermark", "watermark")
        with running(intranet(path, two="rice"), tmp_path / "data") as site:  # the first one is not declared any more
            site.loaded("rice")
            assert rung_of(site, "two") == "watermark"
            last = site.ask("POST", "/api/tables/rice", json={"id": 2, "name": "red"}).json()["receipt"]
            assert site.settled(last).state is State.APPLIED
            assert erp.execute("SELECT count(*) FROM rice").fetchone() == (2,)


def rung_of(site: Running, backend: str) -> str:
    return site.site.web.readers.mine().backend_states()[backend].rung
