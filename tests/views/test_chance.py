"""A view that asks for time or chance is told so, with the line; one that answers in two ways is told the place."""

from __future__ import annotations

import itertools
import logging
import os
import random
import secrets
import sys
import time
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from brique.errors import BadConfiguration
from brique.schema import to_python
from brique.store import Reader
from brique.views import Db, Maker, View, Views, view_of
from brique.views.chance import FirstRuns, closely
from brique.views.differ import difference
from tests.views.world import CLASSES, SPECS, Customer, Make, TestClock, World

HERE = Path(__file__).name


def by_time(db: Db) -> Any:
    return time.time()


def by_now(db: Db) -> Any:
    return datetime.now(UTC).isoformat()


def by_today(db: Db) -> Any:
    return date.today().isoformat()  # noqa: DTZ011 - the mistake that it is about


def by_random(db: Db) -> Any:
    return random.choice([1, 2, 3])


def by_secrets(db: Db) -> Any:
    return secrets.token_hex(4)


def by_uuid(db: Db) -> Any:
    return str(uuid.uuid4())


def by_urandom(db: Db) -> Any:
    return os.urandom(2).hex()


def swallowed(db: Db) -> Any:
    try:
        return random.random()
    except BadConfiguration:
        return 1


@pytest.mark.parametrize(
    ("view", "what", "instead"),
    [
        (by_time, "the time", "db.today()"),
        (by_now, "the time", "db.today()"),
        (by_today, "the time", "db.today()"),
        (by_random, "chance", "random.Random(7)"),
        (by_secrets, "chance", "random.Random(7)"),
        (by_uuid, "chance", "random.Random(7)"),
        (by_urandom, "chance", "random.Random(7)"),
        (swallowed, "chance", "random.Random(7)"),
    ],
)
def test_time_and_chance_are_told_with_their_line(
    make: Make, view: Callable[[Db], Any], what: str, instead: str
) -> None:
    world = make(view)
    for _ in range(3):  # also later: what is at fault once is looked at again
        world.clock.seconds += 10
        with pytest.raises(BadConfiguration, match=f"asks for {what}.* in {HERE}:") as told:
            world.views.get(view.__name__)
        assert instead in told.value.try_this
        first = view.__code__.co_firstlineno
        assert first < int(str(told.value.facts["place"]).rpartition(":")[2]) <= first + 5
    assert world.accepted == []


def test_what_is_the_same_each_time_may_be_asked_for(make: Make) -> None:
    def harmless(db: Db) -> Any:
        logging.getLogger("mine").warning("a log has the time of its own")
        began = time.perf_counter()
        seeded = random.Random(7).random()
        moment = datetime.fromisoformat("2026-11-20T10:00:00+00:00").strftime("%d.%m.%Y")
        return [
            seeded,
            moment,
            time.perf_counter() >= began,
            str(db.today()),
            to_python(SPECS["orders"].columns[0].kind, 1),
        ]

    made = make(harmless).views.get("harmless").body
    assert b"20.11.2026" in made


def test_another_profiler_is_left_alone() -> None:
    seen: list[str] = []
    sys.setprofile(lambda frame, event, called: seen.append(event))
    try:
        with closely("v"):
            random.random()
    finally:
        sys.setprofile(None)
    assert seen


def test_only_first_runs_are_looked_at_closely_and_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = FirstRuns(2)
    assert [runs.take("v") for _ in range(4)] == [True, True, False, False]
    runs.again("v")
    assert runs.take("v")
    with closely("v", seconds=-1.0):
        abs(1)
        assert sys.getprofile() is None


def twice(world: World, view: View) -> Views:
    class Twice(Views):
        def __init__(self) -> None:
            super().__init__({view.name: view}, SPECS, lambda: world.reader, clock=world.clock, classes=CLASSES)
            self._maker = Maker(SPECS, clock=world.clock, classes=CLASSES, twice=True)

    return Twice()


def test_a_view_with_a_state_of_its_own_is_told_where_it_differs(make: Make) -> None:
    counter = itertools.count()

    def counting(db: Db) -> Any:
        return {"same": 1, "rows": [{"n": 5}, {"n": next(counter)}]}

    world = make(counting)
    assert b'"n":0' in world.views.get("counting").body, "without looking twice nobody knows"
    with pytest.raises(BadConfiguration, match=r"two answers .*: rows\[1\]\.n: 1 \| 2"):
        twice(world, view_of("/c", counting, CLASSES)).get("counting")


def test_a_view_that_keeps_answers_of_its_own_is_told(make: Make) -> None:
    known: dict[int, Any] = {}

    def cached(db: Db) -> Any:
        if not known:
            known[0] = db[Customer].count()
        return known[0]

    world = make(cached)
    assert world.views.get("cached").body == b"0", "without looking twice nobody knows"
    known.clear()
    with pytest.raises(BadConfiguration, match="asked less of customers the second time"):
        twice(world, view_of("/c", cached, CLASSES)).get("cached")


def test_the_clock_stands_still_between_two_runs(make: Make) -> None:
    class Racing(TestClock):
        def now(self) -> datetime:
            self.pass_by(hours=13)
            return super().now()

    def dated(db: Db) -> Any:
        return [str(db.today()), db.now("1m").isoformat(), db[Customer].count()]

    world = make(dated)
    maker = Maker(SPECS, clock=Racing(), classes=CLASSES, twice=True)
    from brique.views.recorder import Recording

    reader: Reader = world.reader
    with reader.snapshot():
        assert maker.run(view_of("/d", dated, CLASSES), "{}", None, reader, Recording())


def test_files_are_told_with_their_line(make: Make, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("hello")

    def reading(db: Db) -> Any:
        return note.read_text()

    with pytest.raises(BadConfiguration, match=f"reads a file.* in {HERE}:{reading.__code__.co_firstlineno + 1}"):
        make(reading).views.get("reading")


@pytest.mark.parametrize(("one", "other", "told"), [
    (b'{"a":1}', b'{"a":1}', ""),
    (b'{"a":1}', b'{"a":2}', "a: 1 | 2"),
    (b'{"a":[1,2]}', b'{"a":[1]}', "a has 2 | 1 items"),
    (b'{"a":{"b":"x"}}', b'{"a":{}}', 'a.b: "x" | nothing'),
    (b'[1,{"b":1}]', b'[1,{"b":true}]', "[1].b: 1 | true"),
    (b'{"a":1,"b":2}', b'{"b":2,"a":1}', "the same values in another order of keys"),
    (b"1", b"2", "it: 1 | 2"),
])  # fmt: skip
def test_the_first_difference_is_told(one: bytes, other: bytes, told: str) -> None:
    assert difference(one, other) == told
