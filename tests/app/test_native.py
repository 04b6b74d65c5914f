"""Tables that brique owns, in a whole intranet: beside an ERP's, by page, API and export, from start to backup."""

from __future__ import annotations

import sqlite3
import statistics
import time
from contextlib import closing
from pathlib import Path

import pytest

from brique import Intranet, Table, WriteDb, column, key, ref
from brique.deploy import backup, restore
from brique.errors import BadConfiguration
from tests.app.site import running
from tests.shop import make_shop

SECONDS = 30.0


def make_intranet(folder: Path) -> Intranet:
    app = Intranet("Shop")
    path = folder / "shop.db"
    shop = app.backend("shop", str(path if path.exists() else make_shop(path)), refresh="1s")

    @app.table
    class Customer(Table, backend=shop, source="customer"):
        id: int = key(defaulted=True)
        name: str

    @app.table
    class Visit(Table):
        id: int = key()
        customer: Customer = ref()
        text: str
        stars: int = column(default=3)

    @app.command()
    def praise(db: WriteDb, visit: Visit) -> None:
        """One star more."""
        db.update(visit, stars=visit.stars + 1)

    return app


def test_rows_are_made_changed_shown_and_exported_like_any(tmp_path: Path) -> None:
    with running(make_intranet(tmp_path), tmp_path / "data") as site:
        site.loaded("customer", "visit")
        made = site.ask("POST", "/api/tables/visit", json={"customer": 1, "text": "Wants a quote"})
        assert made.status_code == 201, made.text
        assert made.json()["row"]["stars"] == 3 and made.json()["key"] == "1"
        assert site.run("praise", visit="1")["state"] in ("kept", "sending", "applied")
        csv = site.ask("GET", "/tables/visit.csv").text
        assert "Wants a quote" in csv and "4" in csv
        page = site.ask("GET", "/tables/visit", headers={"Accept": "text/html"}).text
        assert "Wants a quote" in page and "Aminata Sow" in page
        states = site.site.web.readers.mine().backend_states()
        assert states["native"].state == "live" and states["native"].rung == "watermark"


def test_a_write_settles_within_a_moment(tmp_path: Path) -> None:
    with running(make_intranet(tmp_path), tmp_path / "data") as site:
        site.loaded("customer", "visit")
        took = []
        for number in range(15):
            began = time.monotonic()
            answer = site.ask("POST", "/api/tables/visit", json={"customer": 2, "text": f"visit {number}"})
            assert answer.status_code == 201, answer.text
            took.append(time.monotonic() - began)
    assert statistics.median(took) < 0.5, took


def test_a_declaration_that_would_lose_rows_does_not_start(tmp_path: Path) -> None:
    first = Intranet("Notes")

    @first.table
    class Note(Table):
        id: int = key()
        text: str

    with running(first, tmp_path / "data") as site:
        site.loaded("note")
        assert site.ask("POST", "/api/tables/note", json={"text": "kept"}).status_code == 201
    second = Intranet("Notes")

    @second.table
    class Other(Table, source="Note", name="note"):
        id: int = key()
        text: int

    with pytest.raises(BadConfiguration, match="text was kept as TEXT"), running(second, tmp_path / "data"):
        pass
    with running(first, tmp_path / "data") as site:
        assert site.ask("GET", "/api/tables/note/1").json()["text"] == "kept"


def test_a_file_that_is_gone_stops_the_start_instead_of_beginning_empty(tmp_path: Path) -> None:
    app = make_intranet(tmp_path)
    with running(app, tmp_path / "data") as site:
        site.loaded("customer", "visit")
        assert site.ask("POST", "/api/tables/visit", json={"customer": 1, "text": "kept"}).status_code == 201
    for file in (tmp_path / "data").glob("native.db*"):
        file.unlink()
    with pytest.raises(BadConfiguration, match="gone"), running(app, tmp_path / "data"):
        pass


def test_backup_and_restore_bring_the_native_tables_back(tmp_path: Path) -> None:
    app, data = make_intranet(tmp_path), tmp_path / "data"
    with running(app, data) as site:
        site.loaded("customer", "visit")
        assert site.ask("POST", "/api/tables/visit", json={"customer": 1, "text": "before"}).status_code == 201
        report = backup(data, tmp_path / "b.tar.gz")
        assert "native.db" in {file.name for file in report.files}
        assert site.ask("POST", "/api/tables/visit", json={"customer": 1, "text": "after"}).status_code == 201
    restored = tmp_path / "restored"
    restore(tmp_path / "b.tar.gz", restored)
    with closing(sqlite3.connect(restored / "native.db")) as connection:
        assert connection.execute("SELECT text FROM Visit").fetchall() == [("before",)]
    with running(app, restored) as site:
        site.loaded("visit")
        again = site.ask("POST", "/api/tables/visit", json={"customer": 2, "text": "again"})
        assert again.status_code == 201 and again.json()["key"] == "2"
