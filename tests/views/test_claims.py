"""Of all who want the same view at the same time one makes it, in one process and in many; nobody gets another's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from brique.errors import NotAllowed
from brique.http import User
from brique.store import Reader
from brique.views import Claims, Db, Offer, ViewFailed, Views, view_of
from tests.views.world import CLASSES, SPECS, Order, World, order

runs: list[str] = []


def slow(db: Db) -> Any:
    runs.append("slow")
    time.sleep(0.15)
    return db[Order].count()


def mine(db: Db) -> Any:
    runs.append(f"mine {db.user.name}")
    time.sleep(0.02)
    return [db.user.name, db[Order].count()]


def secret(db: Db) -> Any:
    runs.append(f"secret {db.user.name}")
    time.sleep(0.05)
    if db.user.name != "boss":
        raise NotAllowed("That is for the boss.")
    return "the safe is open"


def broken(db: Db) -> Any:
    runs.append("broken")
    time.sleep(0.05)
    return db[Order].count() // 0


VIEWS = {made.__name__: view_of(f"/{made.__name__}", made, CLASSES) for made in (slow, mine, secret, broken)}


class Process:
    """A web process, as it were: readers and claims of its own; what it offers reaches the engine a little later."""

    def __init__(self, path: Path, world: World, lock: threading.Lock) -> None:
        self.path, self.world, self.lock = path, world, lock
        self.local = threading.local()
        self.readers: list[Reader] = []
        self.claims = Claims(path.with_name("views.lock"))
        self.engine = ThreadPoolExecutor(1)
        self.views = Views(
            VIEWS, SPECS, self.reader, clock=world.clock, classes=CLASSES, offer=self.offer, claims=self.claims
        )

    def reader(self) -> Reader:
        if not hasattr(self.local, "reader"):
            self.local.reader = Reader(self.path, SPECS)
            self.readers.append(self.local.reader)
        found: Reader = self.local.reader
        return found

    def offer(self, offer: Offer) -> Future[Any]:
        return self.engine.submit(self.take, offer)

    def take(self, offer: Offer) -> None:
        time.sleep(0.02)
        with self.lock:
            self.world.take(offer)

    def close(self) -> None:
        self.engine.shutdown()
        for reader in self.readers:
            reader.close()
        self.claims.close()


@pytest.fixture
def webs(tmp_path: Path) -> Iterator[list[Process]]:
    world = World(tmp_path / "store.db", VIEWS)
    world.write("orders", order(1), order(2))
    lock = threading.Lock()
    made = [Process(tmp_path / "store.db", world, lock) for _ in range(2)]
    runs.clear()
    yield made
    for web in made:
        web.close()
    world.close()


def ask(webs: list[Process], name: str, users: list[Any]) -> list[Any]:
    """What each user is given who asks at the same time, half of them here, half there."""

    def get(place: int, user: Any) -> Any:
        try:
            return json.loads(webs[place % 2].views.get(name, {}, user).body)
        except (NotAllowed, ViewFailed) as fault:
            return type(fault).__name__

    with ThreadPoolExecutor(len(users)) as people:
        return list(people.map(get, range(len(users)), users))


def user(name: str) -> User:
    return User(name, "read", "fr", "session")


def test_a_crowd_has_a_slow_view_made_once_by_all_processes_together(webs: list[Process]) -> None:
    assert ask(webs, "slow", [None] * 50) == [2] * 50
    assert runs == ["slow"]


def test_a_crowd_of_different_people_too(webs: list[Process]) -> None:
    assert ask(webs, "slow", [user(f"u{number}") for number in range(20)]) == [2] * 20
    assert runs == ["slow"]


def test_nobody_in_a_crowd_gets_what_is_another_ones(webs: list[Process]) -> None:
    names = [f"u{number % 5}" for number in range(20)]
    assert ask(webs, "mine", [user(name) for name in names]) == [[name, 2] for name in names]
    assert len(runs) <= 2 * 5 + 2


def test_what_is_refused_to_one_is_not_refused_to_another(webs: list[Process]) -> None:
    names = ["eve", "boss", "mallory", "boss", "eve", "trudy"]
    given = ask(webs, "secret", [user(name) for name in names])
    assert given == ["the safe is open" if name == "boss" else "NotAllowed" for name in names]


def test_a_view_that_fails_is_run_once_for_a_crowd_of_each_process(webs: list[Process]) -> None:
    assert ask(webs, "broken", [user(f"u{number}") for number in range(20)]) == ["ViewFailed"] * 20
    assert len(runs) <= 2


def test_a_process_that_was_killed_holds_up_nobody(webs: list[Process], tmp_path: Path) -> None:
    script = f"""
        import sys, time
        from pathlib import Path
        from brique.views import Claims
        claims = Claims(Path({str(tmp_path / "views.lock")!r}))
        claims.take(sys.argv[1])
        print("taken", flush=True)
        time.sleep(60)
    """
    name = f"{webs[0].views._names['slow']}\n{{}}"
    command = [sys.executable, "-c", textwrap.dedent(script), name]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.getcwd()})
    assert other.stdout is not None and other.stdout.readline() == b"taken\n"
    assert not webs[0].claims.take(name)
    threading.Timer(0.3, other.kill).start()
    began = time.monotonic()
    assert ask(webs, "slow", [None]) == [2]
    assert 0.3 < time.monotonic() - began < 5
    other.wait()
    other.stdout.close()


def test_a_claim_costs_a_miss_little(webs: list[Process]) -> None:
    claims = webs[0].claims
    began = time.perf_counter()
    for number in range(1000):
        assert claims.take(f"view {number}")
        claims.release(f"view {number}")
    assert (time.perf_counter() - began) / 1000 < 0.0005
