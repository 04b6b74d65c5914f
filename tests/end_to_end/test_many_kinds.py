"""One intranet over every kind of backend at once: lists, an edit in each, all of it settles; and the status page tells
of each how it is written to."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Page

from brique.http import AccountLimits, Accounts
from tests.backends.smtp_server import Server, mail_server
from tests.backends.test_odbc import PSQLODBC, need, odbc_url
from tests.end_to_end.running import PASSWORD, Running, brique_up, browser, sign_up
from tests.mariadb import MariadbServer
from tests.mongodb import MongoServer
from tests.postgres import PostgresServer
from tests.servers import wait_until

ITEM = "CREATE TABLE {table}(code varchar(9) NOT NULL PRIMARY KEY, stock integer NOT NULL)"
APP = '''
import os
from brique import Intranet, Table, WriteDb, key

app = Intranet("Six systems", languages=("en", "fr"))
lite = app.backend("lite", os.environ["LITE"], refresh="1s", marker=True, label="Cash desk")
pg = app.backend("pg", os.environ["PG"], refresh="1s", marker=True, label="Warehouse")
maria = app.backend("maria", os.environ["MARIA"], refresh="1s", marker=True, label="Web shop")
mongo = app.backend("mongo", os.environ["MONGO"], refresh="1s", marker=True, label="Counters")
odbc = app.backend("odbc", os.environ["ODBC"], refresh="1s", label="Old ERP")
app.mail(os.environ["SMTP"], sender="shop@example.org", templates=os.environ["TEMPLATES"])


class Cash(Table, backend=lite, source="cash"):
    code: str = key()
    stock: int


class Shelf(Table, backend=pg, source="shelf"):
    code: str = key()
    stock: int


class Article(Table, backend=maria, source="article"):
    code: str = key()
    stock: int


class Counter(Table, backend=mongo, source="counter"):
    code: str = key("_id")
    stock: int


class Part(Table, backend=odbc, source="part"):
    code: str = key()
    stock: int


class Remark(Table):
    """brique's own."""
    id: int = key()
    text: str


@app.command()
def tell(db: WriteDb, part: Part) -> None:
    db.mail("boss@example.org", "Stock", text=f"{part.code}: {part.stock}")
'''
TABLES = ("cash", "shelf", "article", "counter", "part")


class Systems:
    """The servers, and how to ask each what it holds."""

    def __init__(
        self, folder: Path, postgres: PostgresServer, mariadb: MariadbServer, mongodb: MongoServer, smtp: Server
    ) -> None:
        self.lite = folder / "lite.db"
        with closing(sqlite3.connect(self.lite)) as db:
            db.execute(ITEM.format(table="cash"))
            db.execute("INSERT INTO cash VALUES ('A', 1)")
            db.commit()
        script = "{}; INSERT INTO {} VALUES ('A', 1);"
        self.pg = postgres.make_database(script=script.format(ITEM.format(table="shelf"), "shelf"))
        self.old = postgres.make_database(script=script.format(ITEM.format(table="part"), "part"))
        self.mariadb = mariadb
        self.maria = mariadb.make_database(script=script.format(ITEM.format(table="article"), "article"))
        self.mongo, self.mongodb = mongodb.make_database(), mongodb
        with mongodb.client(self.mongo) as client:
            client.get_default_database()["counter"].insert_one({"_id": "A", "stock": 1})
        self.smtp = smtp
        self.environment = {
            "LITE": str(self.lite), "PG": self.pg, "MARIA": self.maria, "MONGO": self.mongo,
            "ODBC": odbc_url(self.old), "SMTP": smtp.url, "TEMPLATES": str(folder),
        }  # fmt: skip

    def held(self) -> dict[str, Any]:
        """The stock of A in each system."""
        with closing(sqlite3.connect(self.lite)) as lite:
            [(cash,)] = lite.execute("SELECT stock FROM cash")
        found = {"cash": cash}
        for table, url in (("shelf", self.pg), ("part", self.old)):
            with psycopg.connect(url) as db:
                [(found[table],)] = db.execute(f"SELECT stock FROM {table}".encode())
        [(found["article"],)] = self.mariadb.run(self.maria.rpartition("/")[2], "SELECT stock FROM article")
        with self.mongodb.client(self.mongo) as client:
            made = client.get_default_database()["counter"].find_one({"_id": "A"})
        assert made is not None
        found["counter"] = made["stock"]
        return found


@pytest.fixture
def systems(
    tmp_path: Path, postgres: PostgresServer, mariadb: MariadbServer, mongodb: MongoServer
) -> Iterator[Systems]:
    need(PSQLODBC)
    with mail_server(tmp_path / "smtp") as smtp:
        yield Systems(tmp_path, postgres, mariadb, mongodb, smtp)


def status(running: Running) -> dict[str, dict[str, Any]]:
    found = running.client.get("/-/status", params={"format": "json"}).json()["backends"]
    return {line["name"]: line for line in found}


def test_six_kinds_of_backends_at_once(systems: Systems, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in systems.environment.items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "app.py"
    file.write_text(APP)
    with brique_up(str(file), data=tmp_path / "data") as running:
        wait_until(lambda: all(running.rows(table) == 1 for table in TABLES), 60, "the first copies")
        for table in TABLES:
            answer = running.client.patch(f"/api/tables/{table}/A", json={"stock": 7})
            assert answer.status_code in (200, 202), answer.text
        made = running.client.post("/api/tables/remark", json={"text": "all at once"})
        told = running.client.post("/api/commands/tell", json={"part": "A"})
        assert made.is_success and told.is_success, (made.text, told.text)
        wait_until(lambda: not any(line["waiting"] for line in status(running).values()), 40, "all settle")
        assert systems.held() == dict.fromkeys(TABLES, 7)
        assert running.rows("remark") == 1
        wait_until(lambda: len(systems.smtp.mails()) == 1, 20, "the mail")
        assert not running.client.get("/-/status", params={"format": "json"}).json()["needs_person"]
        lines = status(running)
        assert {name: lines[name]["rung"] for name in ("lite", "pg", "maria", "odbc", "mail")} == {
            "lite": "watermark", "pg": "watermark", "maria": "watermark", "odbc": "compare", "mail": "none",
        }  # fmt: skip
        assert all(line["abilities"] for name, line in lines.items())
        look(running, tmp_path)


def look(running: Running, folder: Path) -> None:
    """The status page in light, dark, narrow and French: nothing runs over, every backend has its line."""
    shots = Path(os.environ.get("SCREENSHOTS", folder))
    for name, width, language, dark in (
        ("light", 1400, "en-GB", False),
        ("dark", 1400, "en-GB", True),
        ("narrow", 390, "fr-FR", False),
        ("french", 1100, "fr-FR", False),
    ):
        with browser(width=width, language=language, dark=dark) as page:
            if name == "light":
                sign_up(page, running)
            else:
                sign_in(page, running, language[:2])
            page.goto(running.address + "/-/status")
            text = page.locator("main").inner_text()
            for label in ("Cash desk", "Warehouse", "Web shop", "Counters", "Old ERP"):
                assert text.count(label) >= 2, label
            assert ("une fois exactement" in text) is (language == "fr-FR"), text
            over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert over <= 0, f"{name}: {over} px wider than the window"
            page.screenshot(path=shots / f"status-{name}.png", full_page=True)


def sign_in(page: Page, running: Running, language: str) -> None:
    accounts = Accounts(running.data / "accounts.db", limits=AccountLimits())
    accounts.set_language("awa", language)
    accounts.close()
    page.goto(running.address + "/-/sign-in")
    page.fill("input[name=name]", "awa")
    page.fill("input[type=password]", PASSWORD)
    page.locator("main button[type=submit].primary").click()
    page.wait_for_url(running.address + "/")
