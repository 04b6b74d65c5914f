"""Random lives of what is published: rows change at any moment, calls fail before or after they were done, arrive late,
the sender is begun anew, the place or the store forgets. When all is quiet the place equals the views.

A life that fails says its seed: `PUBLISH_LIVES=1 PUBLISH_LIFE=17` lives that one alone.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from brique.app.publishing import Publishing
from brique.errors import BackendAway, NotFound
from brique.publish import Fenced, Head, Item, Limits, Outgoing, Sender
from brique.schema import Change
from brique.store import Reader
from brique.views import Db, Published, Ready, View, published_of, view_of
from tests.views.world import CLASSES, SPECS, Customer, Order, World, order, world

LIVES = int(os.environ.get("PUBLISH_LIVES", "60"))
FIRST = int(os.environ.get("PUBLISH_LIFE", "1"))
STEPS = 60


class Down(Exception):
    """The sender's process is killed."""


class Memory:
    """A place in memory, by the contract; a call may fail before or after it is done, or be done later."""

    kind = "memory"
    value_bytes_max = 1 << 20

    def __init__(self, chance: random.Random, between: Callable[[], None]) -> None:
        self.chance, self.between = chance, between
        self.items: dict[str, Item] = {}
        self.now = Head()
        self.late: list[tuple[Sequence[Item], Head]] = []
        self.faults = 0.0
        self.before: tuple[dict[str, Item], Head] = ({}, Head())

    def head(self) -> Head:
        return self.now

    def take(self, known: Head, new: Head) -> None:
        if self.now.epoch != known.epoch:
            raise Fenced("taken")
        self.now = new

    def put(self, items: Sequence[Item], head: Head) -> None:
        self.between()
        what = self.chance.choice(["before", "after", "late"]) if self.chance.random() < self.faults else ""
        if what == "late":
            self.late.append((items, head))
        if what in ("before", "late"):
            raise BackendAway("before it was done")
        self._put(items, head)
        self.between()
        if what == "after":
            raise BackendAway("after it was done")

    def _put(self, items: Sequence[Item], head: Head) -> None:
        if self.now.epoch != head.epoch:
            raise Fenced("taken")
        for item in items:
            if item.body is None:
                self.items.pop(item.key, None)
            else:
                self.items[item.key] = item
        self.now = head

    def arrive(self) -> None:
        """What was given up arrives."""
        late, self.late = self.late, []
        for items, head in late:
            with suppress(Fenced):
                self._put(items, head)

    def remember(self) -> None:
        self.before = dict(self.items), self.now

    def forget(self) -> None:
        """Be as it was then."""
        self.items, self.now = dict(self.before[0]), self.before[1]

    def inventory(self) -> Iterator[tuple[str, str]]:
        yield from [(key, item.etag) for key, item in self.items.items()]

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        return {key: self.items[key].body or b"" for key in keys if key in self.items}

    def tidy(self, before: str) -> None: ...

    def abort(self) -> None: ...

    def close(self) -> None: ...


def statement(db: Db, customer: Customer) -> Any:
    orders = db[Order].where(customer=customer)
    return {"name": customer.name, "open": orders.where(status="open").count(), "sum": orders.sum("amount")}


def of_number(db: Db, number: int) -> Any:
    found = db[Order][number]
    if found.status == "secret":
        raise NotFound("It is secret.")
    if found.status == "broken":
        raise ValueError("It is broken.")
    return {"status": found.status}


def by_status(db: Db, status: str) -> Any:
    return [one.number for one in db[Order].where(status=status).order_by("number")]


def statuses(db: Db) -> Any:
    return sorted({one.status for one in db[Order] if one.status})


def total(db: Db) -> Any:
    return {"orders": db[Order].count(), "largest": db[Order].max("amount")}


def views_of(fresh: float | None) -> dict[str, View]:
    made = [view_of(f"/{one.__name__}", one, CLASSES) for one in (statement, of_number, by_status)]
    made.append(view_of("/total", total, CLASSES, fresh=fresh))
    return {view.name: view for view in made}


class Life:
    """One life."""

    def __init__(self, path: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        views = views_of(self.chance.choice([None, None, 5.0]))
        each = {"statement": None, "of_number": Order, "by_status": statuses, "total": None}
        self.published = [published_of(view, ("there",), each[name], CLASSES, SPECS) for name, view in views.items()]
        kept = {**views, **{one.listing.name: one.listing for one in self.published if one.listing is not None}}
        self.views, self.path = kept, path
        self.busy = True
        self.place = Memory(self.chance, self._perhaps)
        self.declared: Any = SimpleNamespace(
            places={"there": None}, specs=SPECS, published={one.view.name: one for one in self.published}
        )
        self._opened = world(path, kept)
        self.world: World = self._opened.__enter__()
        self.statuses = ["open", "shipped", "secret", "broken"]
        self._begin_engine()
        self._begin_sender()

    def _begin_engine(self) -> None:
        self.publishing = Publishing(self.declared, self.world.store, self.world.keeper, self.world.clock)

    def _begin_sender(self) -> None:
        self.sender = Sender(
            "there", self.place, self.published, specs=SPECS, reader=Reader(self.path, SPECS), ready=self._ready(),
            clock=self.world.clock, tell=self._tell, timed=self._timed, limits=Limits(10_000, 1 << 20),
        )  # fmt: skip
        self.taken = False

    def _ready(self) -> Ready:
        return Ready(self.views.values(), SPECS, clock=self.world.clock, classes=CLASSES, body_bytes_max=1 << 20)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        yield

    def _tell(self, outgoing: Outgoing) -> None:
        self._perhaps()
        if self.busy and self.chance.random() < 0.05:
            raise Down
        self.publishing.take({"outgoing": msgspec.msgpack.encode(outgoing)})
        if self.busy and self.chance.random() < 0.05:
            raise Down

    # what happens

    def _perhaps(self) -> None:
        if self.busy and self.chance.random() < 0.3:
            self.change()

    def change(self) -> None:
        which, number = self.chance.random(), self.chance.randint(1, 12)
        if which < 0.5:
            rows = [
                order(number, self.chance.randint(1, 4), self.chance.choice(self.statuses), self.chance.randint(1, 9))
                for number in self.chance.sample(range(1, 13), self.chance.randint(1, 3))
            ]
            self.world.write("orders", *rows)
        elif which < 0.65:
            self.world.remove("orders", str(number))
        elif which < 0.8:
            self.world.write("customers", {"number": number % 5, "name": f"Name {self.chance.randint(1, 99)}"})
        elif which < 0.9:
            self.world.remove("customers", str(number % 5))
        else:
            key = f"new-{self.chance.randint(1, 9)}"
            with suppress(Exception):
                self.world.command(Change("orders", key, None, {"number": None, "customer": 1, "status": "open"}))

    def step(self) -> None:
        what = self.chance.choice(["change", "change", "turn", "turn", "turn", "odd", "time"])
        if what == "change":
            self.change()
        elif what == "turn":
            self.turn()
        elif what == "time":
            self.world.clock.pass_by(seconds=self.chance.choice([1, 10, 90]))
        else:
            self.chance.choice(
                [self.place.arrive, self.place.remember, self.place.forget, self._begin_sender, self._evict,
                 self._restart_engine, self._reload, self._rebuild]
            )()  # fmt: skip

    def turn(self) -> bool:
        try:
            if not self.taken:
                self.world.clock.pass_by(milliseconds=1)
                self.sender.take()
                self.taken = True
            return self.sender.turn()
        except BackendAway:
            self.taken = False
        except Down:
            self._begin_sender()
        return True

    def _evict(self) -> None:
        with self.world.store.transaction() as tx:
            tx.representations.drop_all()

    def _rebuild(self) -> None:
        self.publishing.rebuild("there")

    def _reload(self) -> None:
        """All rows of a table are replaced at once, some of them missing."""
        with self.world.store.transaction() as tx:
            keys = self.world.store.reader.row_keys("orders")
            tx.apply_base("orders", [], [key for key in keys if not key.startswith("new-")][:2])
            tx.reloaded.add("orders")

    def _restart_engine(self) -> None:
        """The engine ends without a word; another one finds its files."""
        clock = self.world.clock
        self._opened.__exit__(None, None, None)
        self._opened = world(self.path, self.views)
        position = self.world.position
        self.world = self._opened.__enter__()
        self.world.clock.moment, self.world.clock.seconds, self.world.position = clock.moment, clock.seconds, position
        self._begin_engine()
        self._begin_sender()

    # the end

    def calm(self) -> None:
        self.busy, self.place.faults = False, 0.0
        self.place.arrive()
        for _ in range(12):
            for _ in range(50):
                if not self.turn():
                    break
            self.world.clock.pass_by(seconds=10)
        self.place.arrive()

    def wanted(self) -> dict[str, bytes]:
        ready, found = self._ready(), {}
        reader = self.world.store.reader
        for one in self.published:
            for arguments in self._arguments(one, ready):
                made = ready.get(reader, one.view.name, arguments, anew=True)
                if made.fault is None:
                    found[one.key(arguments)] = made.body
        return found

    def _arguments(self, one: Published, ready: Ready) -> list[str]:
        reader = self.world.store.reader
        if one.listing is not None:
            made = ready.get(reader, one.listing.name, "{}", anew=True)
            return [one.of_item(item) for item in msgspec.json.decode(made.body)]
        if one.table:
            keys = reader.row_keys(one.table)
            return [found for key in keys if (found := one.of_row(key, SPECS)) is not None]
        return ["{}"]

    def compare(self) -> str:
        """What is wrong at the place; a view that fails may have left its last good bytes."""
        wanted = self.wanted()
        there = {key: item.body for key, item in self.place.items.items()}
        broken = {key for key in there if key not in wanted and self._fails(key)}
        there = {key: body for key, body in there.items() if key not in broken}
        wrong = {key for key in there.keys() | wanted.keys() if there.get(key) != wanted.get(key)}
        return ", ".join(f"{key}: {there.get(key)!r}, not {wanted.get(key)!r}" for key in sorted(wrong))

    def _fails(self, key: str) -> bool:
        view, _, number = key.partition("/")
        row = self.world.store.reader.row("orders", number.removeprefix("number="))
        return view == "of_number" and row is not None and row.values["status"] == "broken"


def live(path: Path, seed: int, faults: float) -> str:
    """What a life has left wrong."""
    life = Life(path, seed)
    life.place.faults = faults
    try:
        for _ in range(STEPS):
            life.step()
        life.calm()
        return life.compare()
    finally:
        life._opened.__exit__(None, None, None)


@pytest.mark.parametrize("part", range(4))
def test_after_any_life_the_place_equals_the_views(tmp_path: Path, part: int) -> None:
    for seed in range(FIRST + part, FIRST + LIVES, 4):
        wrong = live(tmp_path / f"{seed}.db", seed, faults=0.2)
        assert not wrong, f"PUBLISH_LIVES=1 PUBLISH_LIFE={seed}: {wrong}"


def quiet(path: Path, seed: int) -> Life:
    """A life in which nothing happens by itself any more."""
    life = Life(path, seed)
    life.world.write("customers", {"number": 1, "name": "Awa"})
    life.calm()
    return life


def just_before(life: Life, which: Callable[[Outgoing], bool], act: Callable[[], None]) -> None:
    """Do `act` once, when what `which` says is about to be told."""
    take, left = life.publishing.take, [act]

    def taken(payload: Any) -> None:
        if left and which(msgspec.msgpack.decode(payload["outgoing"], type=Outgoing)):
            left.pop()()
        take(payload)

    life.publishing.take = taken  # type: ignore[method-assign]


def test_what_comes_to_be_while_it_is_told_that_it_is_not_there_is_sent(tmp_path: Path) -> None:
    life = quiet(tmp_path / "x.db", 1)
    life.world.write("orders", order(1, 1, "secret"))
    just_before(life, lambda told: bool(told.waits), lambda: life.world.write("orders", order(1, 1, "open")))
    life.calm()
    assert not life.compare()
    assert life.place.items["of_number/number=1"].body == b'{"status":"open"}'
    life._opened.__exit__(None, None, None)


def test_a_table_that_is_replaced_while_its_keys_are_gone_through_is_gone_through_again(tmp_path: Path) -> None:
    life = quiet(tmp_path / "x.db", 1)

    def replace() -> None:
        with life.world.store.transaction() as tx:
            row = {name: order(7, 1, "open").get(name) for name in SPECS["orders"].names}
            tx.apply_base("orders", [("7", row)])
            tx.reloaded.add("orders")

    life._rebuild()
    just_before(life, lambda told: any("of_number" in name for name, _, _ in told.listed), replace)
    life.calm()
    assert not life.compare()
    assert "of_number/number=7" in life.place.items
    life._opened.__exit__(None, None, None)
