"""Views that are looked at, over real processes: two that answer, one that writes, one that reads the source."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import httpx
import pytest

from tests.end_to_end.running import TOKEN, Running, brique_up
from tests.servers import wait_until

INTRANET = """
import os
from brique import Intranet, Table, key

app = Intranet("Shop")
erp = app.backend("erp", "sqlite:////{source}", refresh="0.2s")
runs = open("{runs}", "a", buffering=1)


class Order(Table, backend=erp, name="orders"):
    number: int = key()
    customer: int
    amount: int


@app.view("/due/{{customer}}")
def due(db, customer: int):
    print("due", os.getpid(), file=runs)
    return db[Order].where(customer=customer).sum("amount")


@app.view("/slow")
def slow(db):
    print("slow", os.getpid(), file=runs)
    total = 0
    for number in range(3_000_000):
        total += number
    return [db[Order].count(), total]
"""


class Shop:
    """The running intranet, its source, and which process has run which view."""

    def __init__(self, site: Running, source: Path, runs: Path) -> None:
        self.site, self.source, self._runs = site, source, runs

    def change(self, sql: str) -> None:
        with closing(apsw.Connection(str(self.source))) as connection:
            connection.set_busy_timeout(5000)
            connection.execute(sql)

    def runs(self, view: str) -> list[int]:
        return [int(pid) for name, pid in map(str.split, self._runs.read_text().splitlines()) if name == view]

    def processes(self) -> dict[str, list[int]]:
        status = self.site.client.get("/-/status", params={"format": "json"}).json()
        found: dict[str, list[int]] = {}
        for process in status["processes"]:
            found.setdefault(process["name"].partition("-")[0], []).append(process["pid"])
        return found


class Stream:
    """A page that follows; `events` are what it was told."""

    def __init__(self, address: str, path: str) -> None:
        self.events: list[dict[str, Any]] = []
        self._open = threading.Event()
        self._stop = False
        self._thread = threading.Thread(target=self._read, args=(address + path,), daemon=True)
        self._thread.start()
        assert self._open.wait(20)

    def _read(self, url: str) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}", "Accept": "text/event-stream"}
        with httpx.stream("GET", url, headers=headers, timeout=httpx.Timeout(60)) as answer:
            for line in answer.iter_lines():
                self._open.set()
                if line.startswith("data: "):
                    event = json.loads(line[6:])
                    if any(topic.startswith("view:") for topic in event["topics"]):
                        self.events.append(event)
                if self._stop:
                    return


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    source, runs = tmp_path / "erp.db", tmp_path / "runs.txt"
    with closing(apsw.Connection(str(source))) as connection:
        connection.execute('CREATE TABLE "Order"(number INTEGER PRIMARY KEY, customer INTEGER, amount INTEGER)')
        connection.execute('INSERT INTO "Order" VALUES (1, 7, 100), (2, 8, 100), (3, 7, 5)')
    file = tmp_path / "intranet.py"
    file.write_text(INTRANET.format(source=str(source).lstrip("/"), runs=runs), "utf-8")
    with brique_up(str(file), data=tmp_path / "data", options=("--web", "2")) as site:
        wait_until(lambda: site.rows("orders") == 3, 30, "the first copy")
        yield Shop(site, source, runs)


def test_followers_in_two_processes_are_told_once_of_what_was_made_once(shop: Shop) -> None:
    assert shop.site.client.get("/api/views/due?customer=7").json() == 105
    streams = [Stream(shop.site.address, "/-/live?view=due&customer=7") for _ in range(8)]
    other = Stream(shop.site.address, "/-/live?view=due&customer=8")
    time.sleep(1)
    for stream in (*streams, other):
        stream.events.clear()
    before = len(shop.runs("due"))
    shop.change('UPDATE "Order" SET amount = 900 WHERE number = 1')
    wait_until(lambda: all(stream.events for stream in streams), 10, "all are told")
    assert len({json.dumps(stream.events) for stream in streams}) == 1
    assert [event["topics"] for event in streams[0].events] == [["view:due?customer=7"]]
    assert len(shop.runs("due")) == before + 1
    shop.change('UPDATE "Order" SET amount = amount + 1 WHERE number = 1')
    shop.change('UPDATE "Order" SET amount = amount + 1 WHERE number = 2')
    wait_until(lambda: bool(other.events) and all(len(stream.events) == 2 for stream in streams), 10, "told again")
    assert shop.site.client.get("/api/views/due?customer=7").json() == 906
    assert shop.runs("due")[-1] in shop.processes()["engine"]


def test_followers_are_told_by_the_next_engine(shop: Shop) -> None:
    shop.site.client.get("/api/views/due?customer=7")
    streams = [Stream(shop.site.address, "/-/live?view=due&customer=7") for _ in range(4)]
    time.sleep(1)
    (engine,) = shop.processes()["engine"]
    os.kill(engine, signal.SIGKILL)
    shop.change('UPDATE "Order" SET amount = 901 WHERE number = 1')
    wait_until(lambda: all(stream.events for stream in streams), 30, "all are told")
    wait_until(lambda: shop.site.client.get("/api/views/due?customer=7").json() == 906, 10, "the change")


def test_a_crowd_has_a_slow_view_made_once(shop: Shop) -> None:
    def ask(_: int) -> Any:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return httpx.get(f"{shop.site.address}/api/views/slow", headers=headers, timeout=60).json()[0]

    with ThreadPoolExecutor(50) as people:
        assert list(people.map(ask, range(50))) == [3] * 50
    assert len(shop.runs("slow")) == 1
