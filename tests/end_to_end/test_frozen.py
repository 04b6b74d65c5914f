"""Frozen is dead: a backend that takes connections and answers nothing, at whatever moment, harms nobody else; and a
driver that does not come back costs its process, which is started anew."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.end_to_end.running import Running, brique_up
from tests.postgres import PostgresServer
from tests.servers import wait_until

ROWS = 60_000
FROZEN = f"""
CREATE TABLE slow(code text PRIMARY KEY, stock integer NOT NULL, filling text);
INSERT INTO slow SELECT 'S' || n, 0, repeat('x', 200) FROM generate_series(1, {ROWS}) AS n;
"""
OTHER = "CREATE TABLE item(code text NOT NULL PRIMARY KEY, stock integer NOT NULL)"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    file = tmp_path / "other.db"
    with closing(sqlite3.connect(file)) as db:
        db.execute(OTHER)
        db.executemany("INSERT INTO item VALUES (?, 0)", [(f"I{n}",) for n in range(50)])
        db.commit()
    return file


def stock(file: Path, code: str) -> int:
    with closing(sqlite3.connect(file, timeout=10)) as db:
        return int(db.execute("SELECT stock FROM item WHERE code = ?", (code,)).fetchone()[0])


def lines(running: Running) -> dict[str, dict[str, Any]]:
    found = running.client.get("/-/status", params={"format": "json"}).json()["backends"]
    return {line["name"]: line for line in found}


class Neighbour:
    """Somebody who works with the other backend all the time: pages come, writes settle, within their time."""

    def __init__(self, running: Running, file: Path) -> None:
        self.running, self.file, self.number, self.slowest = running, file, 0, 0.0

    def works(self) -> None:
        """One page, and one write that is in its backend soon."""
        self.number += 1
        code, began = f"I{self.number % 50}", time.monotonic()
        assert self.running.client.get("/api/tables/item", params={"limit": 5}).status_code == 200
        answer = self.running.client.patch(f"/api/tables/item/{code}", json={"stock": self.number})
        assert answer.status_code in (200, 202), answer.text
        wait_until(lambda: stock(self.file, code) == self.number, 10, f"write {self.number} beside a frozen backend")
        self.slowest = max(self.slowest, time.monotonic() - began)


@contextmanager
def writing(running: Running) -> Iterator[list[int]]:
    """Somebody who changes rows of the other backend without a pause; the list grows by what was acknowledged."""
    given: list[int] = []
    over = threading.Event()

    def work() -> None:
        with httpx.Client(base_url=running.address, headers=running.client.headers, timeout=20) as client:
            while not over.is_set():
                number = len(given) + 1
                answer = client.patch(f"/api/tables/slow/S{number}", json={"stock": number})
                assert answer.status_code in (200, 202), answer.text
                given.append(number)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield given
    finally:
        over.set()
        thread.join(30)


def test_a_backend_frozen_at_any_moment_harms_nobody_else(
    own_postgres: PostgresServer, other: Path, tmp_path: Path
) -> None:
    url = own_postgres.make_database(name="erp", script=FROZEN)
    with brique_up(url, str(other), data=tmp_path / "data", options=("--marker",)) as running:
        neighbour = Neighbour(running, other)
        wait_until(lambda: running.rows("item") == 50, 40, "the other's first copy")
        if running.rows("slow") < 0:  # in the midst of its first reading
            own_postgres.freeze()
            for _ in range(5):
                neighbour.works()
            own_postgres.thaw()
        wait_until(lambda: running.rows("slow") == ROWS, 60, "the first copy")
        with writing(running) as given:
            for moment in range(8):  # connect, refresh, apply, commit, read back: it is busy with one of them
                time.sleep(0.15 + 0.07 * moment)
                own_postgres.freeze()
                for _ in range(2):
                    neighbour.works()
                if moment % 2:  # until its calls are given up, so that what is tried next is a connection
                    wait_until(lambda: lines(running)["erp"]["state"] == "down", 20, "frozen is dead")
                    neighbour.works()
                before = len(given)
                wait_until(lambda before=before: len(given) > before + 5, 20, "acknowledged all the same")  # type: ignore[misc]
                own_postgres.thaw()
                wait_until(lambda: lines(running)["erp"]["state"] != "down", 30, "it is back")
        wait_until(lambda: not lines(running)["erp"]["waiting"], 60, "all settle")
        with psycopg.connect(url) as db:
            held = db.execute("SELECT count(*), sum(stock) FROM slow WHERE stock > 0").fetchone()
        assert held == (len(given), sum(given))
        assert neighbour.slowest < 8


STUCK = """
import os, threading
from pathlib import Path
import brique.backends.sqlite.backend as it

_flag = Path(os.environ["STUCK_FLAG"])
_fetch, _abort = it.SqliteBackend.fetch, it.SqliteBackend.abort

def fetch(self, *given):
    if self.name == "stuck" and _flag.exists():
        _flag.unlink()
        threading.Event().wait()
    return _fetch(self, *given)

def abort(self):
    threading.Event().wait()

it.SqliteBackend.fetch, it.SqliteBackend.abort = fetch, abort
"""


def test_a_driver_that_never_comes_back_costs_its_process_only(
    other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, flag = tmp_path / "stuck.db", tmp_path / "flag"
    with closing(sqlite3.connect(stuck)) as db:
        db.execute("CREATE TABLE thing(code text NOT NULL PRIMARY KEY, stock integer NOT NULL)")
        db.execute("INSERT INTO thing VALUES ('T', 0)")
        db.commit()
    patch = tmp_path / "patch"
    patch.mkdir()
    (patch / "sitecustomize.py").write_text(STUCK)
    monkeypatch.setenv("PYTHONPATH", f"{patch}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("STUCK_FLAG", str(flag))
    with brique_up(str(stuck), str(other), data=tmp_path / "data", options=("--marker",)) as running:
        neighbour = Neighbour(running, other)
        wait_until(lambda: running.rows("item") == 50 and running.rows("thing") == 1, 40, "the first copy")
        first = process(running, "stuck")
        flag.touch()
        for number in range(1, 4):
            answer = running.client.patch("/api/tables/thing/T", json={"stock": number})
            assert answer.status_code in (200, 202), answer.text
            neighbour.works()
        wait_until(
            lambda: process(running, "stuck").get("pid", first["pid"]) != first["pid"],
            30,
            "the process is started anew",
        )
        neighbour.works()
        wait_until(lambda: not lines(running)["stuck"]["waiting"], 30, "what was kept is sent")
        with closing(sqlite3.connect(stuck)) as db:
            assert db.execute("SELECT stock FROM thing").fetchall() == [(3,)]


def process(running: Running, backend: str) -> dict[str, Any]:
    """What the status page says of it; nothing while the supervisor has not answered in time."""
    found = running.client.get("/-/status", params={"format": "json"}).json()["processes"]
    return next((item for item in found if backend in item["name"]), {})
