"""An older copy of the data folder comes back by hand, while its backend has gone on: brique stops that lane, says why,
and goes on once a person has said so; nothing is lost or doubled."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.cli.program import brique
from tests.end_to_end.running import Running, brique_up, browser, sign_up
from tests.postgres import PostgresServer
from tests.servers import wait_until

SCHEMA = """
CREATE TABLE item(code varchar(5) NOT NULL PRIMARY KEY, stock integer NOT NULL);
INSERT INTO item VALUES ('A', 1); INSERT INTO item VALUES ('B', 1);
INSERT INTO item VALUES ('C', 1); INSERT INTO item VALUES ('D', 1);
"""
Asking = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture(params=["sqlite", "postgresql"])
def erp(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Asking]:
    """The address of a backend, and a way to ask it."""
    if request.param == "sqlite":
        file = tmp_path / "erp.db"

        def ask_file(sql: str) -> list[tuple[Any, ...]]:
            with closing(sqlite3.connect(file)) as db:
                return db.execute(sql).fetchall()

        with closing(sqlite3.connect(file)) as db:
            db.executescript(SCHEMA + "CREATE TABLE note(id integer PRIMARY KEY, text varchar(20) NOT NULL);")
        return str(file), ask_file
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.make_database(script=SCHEMA + "CREATE TABLE note(id serial PRIMARY KEY, text text NOT NULL);")

    def ask_server(sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(url, autocommit=True) as db:
            return db.execute(sql.encode()).fetchall()

    return url, ask_server


def edit(running: Running, code: str, stock: int) -> None:
    answer = running.client.patch(f"/api/tables/item/{code}", json={"stock": stock})
    assert answer.status_code in (200, 202), answer.text


def add(running: Running, text: str) -> None:
    answer = running.client.post("/api/tables/note", json={"text": text})
    assert answer.status_code in (201, 202), answer.text


def status(running: Running) -> dict[str, Any]:
    found: dict[str, Any] = running.client.get("/-/status", params={"format": "json"}).json()
    return found


def settle(running: Running) -> None:
    wait_until(lambda: all(not line["waiting"] for line in status(running)["backends"]), 30, "all settle")


def ready(running: Running) -> None:
    wait_until(lambda: running.rows("item") == 4 and running.rows("note") >= 0, 40, "the first copy")


def stopped(running: Running) -> dict[str, Any]:
    wait_until(lambda: "stopped" in status(running)["backends"][0], 30, "the lane stops")
    line: dict[str, Any] = status(running)["backends"][0]
    return line


def test_an_older_copy_stops_until_a_person_takes_over(erp: tuple[str, Asking], tmp_path: Path) -> None:
    url, ask = erp
    data, older = tmp_path / "data", tmp_path / "older"
    with brique_up(url, data=data, options=("--marker",)) as running:
        ready(running)
        edit(running, "A", 2)
        settle(running)
    shutil.copytree(data, older)
    with brique_up(url, data=data, options=("--marker",)) as running:
        ready(running)
        edit(running, "A", 3)
        edit(running, "B", 3)
        add(running, "of the newer state")
        settle(running)
    shutil.rmtree(data)
    older.rename(data)
    with brique_up(url, data=data, options=("--marker",)) as running:
        line = stopped(running)
        assert line["stopped"]["mark"] > line["stopped"]["last"]
        for number in range(20):  # the spool grows past the mark: that makes nothing right
            add(running, f"since {number}")
        edit(running, "C", 4)
        edit(running, "D", 4)
        name = stopped(running)["name"]
        assert ask("SELECT stock FROM item WHERE code = 'C'") == [(1,)]
        take_over(running, name, by_page=url.endswith(".db"))
        settle(running)
        assert sorted(ask("SELECT code, stock FROM item")) == [("A", 3), ("B", 3), ("C", 4), ("D", 4)]
        notes = [text for (text,) in ask("SELECT text FROM note")]
        assert sorted(notes) == sorted(["of the newer state", *(f"since {number}" for number in range(20))])
        assert "stopped" not in status(running)["backends"][0]
        edit(running, "A", 5)
        settle(running)
        assert ask("SELECT stock FROM item WHERE code = 'A'") == [(5,)]
    with brique_up(url, data=data, options=("--marker",)) as running:
        ready(running)
        wait_until(lambda: status(running)["backends"][0]["state"] == "live", 20, "it goes on after a restart")


def take_over(running: Running, name: str, *, by_page: bool) -> None:
    if not by_page:
        told = brique("spool", "adopt", name, "--yes", "--data", running.data, folder=running.data.parent)
        assert told.status == 0 and "commands up to" in told.out, told
        again = brique("spool", "adopt", "nobody", "--yes", "--data", running.data, folder=running.data.parent)
        assert again.status == 1 and "There is no backend" in again.err
        return
    with browser() as page:
        sign_up(page, running)
        page.goto(running.address + "/-/status")
        banner = page.locator(".banner.stopped")
        assert "another copy" in banner.inner_text()
        page.on("dialog", lambda dialog: dialog.accept())
        banner.get_by_role("button").click()
        page.get_by_text("is taken over").wait_for()
        wait_until(lambda: "stopped" not in status(running)["backends"][0], 20, "the lane goes on")
        page.goto(running.address + "/-/status")
        assert page.get_by_text("was taken over at").is_visible()
        assert not page.locator(".banner.stopped").count()
