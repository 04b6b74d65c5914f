"""Places follow the views while brique's processes and the places themselves are killed and frozen at random.

`PUBLISH_FAULTS=200 PUBLISH_SEED=7` goes on for that many faults, from another seed.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from brique.app.sources import load_declaration
from brique.store import Reader
from brique.supervise import Control
from tests.couchdb import CouchServer
from tests.end_to_end.running import Running, brique_up
from tests.mongodb import MongoServer
from tests.publish.world import there, wanted_of
from tests.redis import RedisServer
from tests.servers import Server, wait_until
from tests.shop import make_shop

FAULTS = int(os.environ.get("PUBLISH_FAULTS", "12"))
SECONDS = 60.0
APP = """
from pathlib import Path
from tests.publish.world import make_app

app = make_app(Path({file!r}), *{urls!r})
"""


class Erp:
    """Changes the shop all the time, past brique, until the block ends."""

    def __init__(self, file: Path, seed: int) -> None:
        self.file, self.chance = file, random.Random(seed)
        self.changes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Erp:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.02):
            with closing(sqlite3.connect(self.file, timeout=30)) as connection, connection:
                for _ in range(self.chance.randint(1, 5)):
                    self._change(connection)
                    self.changes += 1

    def _change(self, connection: sqlite3.Connection) -> None:
        which, number = self.chance.random(), self.chance.randint(1, 40)
        if which < 0.25:
            city = self.chance.choice(["Dakar", "Thiès", "Saint-Louis", "Kaolack", None])
            connection.execute(
                "INSERT OR REPLACE INTO customer VALUES (?, ?, ?)", (number, f"Customer {self.changes}", city)
            )
        elif which < 0.35:
            connection.execute("DELETE FROM orders WHERE customer_id = ?", (number,))
            connection.execute("DELETE FROM customer WHERE id = ?", (number,))
        elif which < 0.75:
            customer = connection.execute("SELECT id FROM customer ORDER BY random() LIMIT 1").fetchone()
            if customer is not None:
                order = self.chance.randint(1, 100)
                connection.execute("INSERT OR REPLACE INTO orders VALUES (?, ?, 1, 5, 'open')", (order, customer[0]))
        else:
            status = self.chance.choice(["open", "shipped"])
            connection.execute("UPDATE orders SET status = ? WHERE id = ?", (status, self.chance.randint(1, 100)))


def pid_of(running: Running, name: str) -> int:
    with Control(running.data) as control:
        return next((one["pid"] or 0 for one in control.status()["processes"] if one["name"] == name), 0)


def kill_process(running: Running, name: str) -> None:
    pid = pid_of(running, name)
    if pid:
        os.kill(pid, signal.SIGKILL)


def break_something(running: Running, servers: list[Server], chance: random.Random) -> str:
    """One fault, mended after a moment; its name."""
    what = chance.choice(["engine", "place", "place", "kill", "freeze", "freeze"])
    server = chance.choice(servers)
    if what == "engine":
        kill_process(running, "engine")
    elif what == "place":
        name = chance.choice(["place-shop", *(f"place-shop{number}" for number in range(1, 4))])
        kill_process(running, name)
    elif what == "kill":
        server.kill()
        time.sleep(chance.random())
        server.start()
    else:
        server.freeze()
        time.sleep(chance.random() * 4)  # beyond 1.5 s its calls are given up, and may still arrive
        server.thaw()
    return f"{what} {server.kind}" if what in ("kill", "freeze") else what


@contextmanager
def published(folder: Path, urls: list[str]) -> Iterator[tuple[Running, Path]]:
    file = make_shop(folder / "shop.db")
    (folder / "shop_app.py").write_text(APP.format(file=str(file), urls=urls))
    with brique_up(str(folder / "shop_app.py"), data=folder / "data", options=("--web", "1")) as running:
        yield running, file


def copied_is(reader: Reader, file: Path) -> bool:
    with closing(sqlite3.connect(file, timeout=30)) as connection:
        orders = dict(connection.execute("SELECT id, status FROM orders"))
        customers = dict(connection.execute("SELECT id, name FROM customer"))
    with reader.snapshot():
        rows = [reader.row("orders", key) for key in reader.row_keys("orders")]
        people = [reader.row("customer", key) for key in reader.row_keys("customer")]
    return orders == {row.values["id"]: row.values["status"] for row in rows if row} and customers == {
        row.values["id"]: row.values["name"] for row in people if row
    }


@pytest.mark.parametrize("seed", [int(os.environ.get("PUBLISH_SEED", "1"))])
def test_places_end_up_equal_to_the_views_whatever_is_killed_or_frozen(
    seed: int, tmp_path: Path, own_redis: RedisServer, lone_mongodb: MongoServer, couchdb: CouchServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    )
    chance = random.Random(seed)
    folder = tmp_path / "share"
    folder.mkdir()
    urls = [own_redis.url(), f"folder:{folder}", lone_mongodb.make_database(), couchdb.url()]
    with published(tmp_path, urls) as (running, file):
        reader = Reader(running.data / "store.db", load_declaration(tmp_path / "shop_app.py").declared().specs)
        wait_until(lambda: running.rows("orders") > 0 and len(there(urls[0])) > 3, SECONDS, "the first copy")
        done: Counter[str] = Counter()
        with Erp(file, seed) as erp:
            for _ in range(FAULTS):
                time.sleep(chance.random() / 2)
                done[break_something(running, [own_redis, lone_mongodb], chance)] += 1
        app = load_declaration(tmp_path / "shop_app.py")
        wait_until(lambda: copied_is(reader, file), SECONDS, "the copy to equal the shop")
        for url in urls:
            wait_until(lambda at=url: there(at) == wanted_of(app, reader), SECONDS, f"{url} to equal the views")
        time.sleep(2)  # nothing late undoes that
        assert all(there(url) == wanted_of(app, reader) for url in urls)
        assert len(wanted_of(app, reader)) > 20
        print(dict(done), erp.changes, "changes")
        reader.close()
