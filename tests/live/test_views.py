"""Followers of views: told when what they look at has become something else, and only then."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from brique.app.watching import look, plain_user
from brique.errors import EngineAway
from brique.http import User
from brique.live import Live, LiveLimits, Watches
from brique.live import follow as looking
from brique.views import Db, Keeper, Maker, Offer, ViewFailed, Watched, view_of
from brique.views import watched as watching
from tests.views.world import CLASSES, SPECS, Order, World, order

pytestmark = pytest.mark.anyio
runs: list[str] = []


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def due(db: Db, number: int) -> Any:
    runs.append(f"due {number}")
    return db[Order].where(customer=number).sum("amount")


def one(db: Db, number: int) -> Any:
    return db[Order][number].status


def share(db: Db) -> Any:
    return 12 // db[Order].count()


def mine(db: Db) -> Any:
    return [db.user and db.user.name, db[Order].count()]


def slow(db: Db) -> Any:
    time.sleep(0.02)
    runs.append("slow")
    return db[Order].count()


def board(db: Db) -> Any:
    runs.append("board")
    return [row.number for row in db[Order]]


def today(db: Db) -> Any:
    return str(db.today())


VIEWS = {
    function.__name__: view_of(f"/{function.__name__}", function, CLASSES, fresh=fresh)
    for function, fresh in (
        (due, None),
        (one, None),
        (share, None),
        (mine, None),
        (slow, None),
        (board, 5),
        (today, None),
    )
}


class Pair:
    """An engine's keeper and one or more web processes, as the channel would join them."""

    def __init__(self, path: Path) -> None:
        self.world = World(path, VIEWS)
        self.world.store._listeners.clear()
        self.clock = self.world.clock
        self.away = False
        self.asked: list[str] = []
        self.start_engine()
        self.webs = [self.new_web(), self.new_web()]

    def start_engine(self) -> None:
        self.world.store._listeners.clear()
        maker = Maker(SPECS, clock=self.clock, classes=CLASSES)
        self.world.keeper = self.keeper = Keeper(VIEWS, self.world.store, maker=maker)

    def new_web(self) -> Live:
        watches = Watches(self.ask, plain_user)
        views = self.world.views
        quick = LiveLimits(poll_seconds=0.01)
        return Live(lambda: self.world.reader, quick, watches=watches, last_mark=views.last_mark)

    async def ask(self, _method: str, payload: dict[str, Any]) -> dict[str, Any]:
        if self.away:
            raise EngineAway("It is not there.")
        known = look(self.keeper, payload)
        self.turn()
        return known

    def turn(self) -> None:
        """What the engine does after each round."""
        while self.keeper.next_in() == 0 and watching.AT_ONCE_MAX:
            with self.world.store.transaction() as tx:
                self.keeper.catch_up(tx)
        news, wanted = self.keeper.take_news()
        for web in self.webs:
            web.news(news)
            web.wanted([(holder, list(item)) for holder, item in wanted], self.make)  # type: ignore[misc]

    def make(self, watched: Watched) -> None:
        self.asked.append(watched.view)
        with contextlib.suppress(ViewFailed):
            self.world.views.make_ready(watched)
        self.turn()

    def write(self, *rows: Any) -> None:
        self.world.write("orders", *rows)
        self.turn()

    def remove(self, *keys: str) -> None:
        self.world.remove("orders", *keys)
        self.turn()

    def wait(self, *, alive: bool = True, **span: float) -> None:
        self.clock.pass_by(**span)
        for web in self.webs:
            holder = web._watches._holder if alive and web._watches else "another"
            look(self.keeper, {"holder": holder, "begun": [], "ended": [], "anew": False})
        self.turn()

    async def follow(self, name: str, web: int = 0, last: str = "", user: Any = None, **given: Any) -> Page:
        watched = self.world.views.watched(name, given, user)
        page = Page(self.webs[web], [watched], last)
        await settled()
        return page

    def show(self, name: str, user: Any = None, **given: Any) -> str:
        return self.world.views.get(name, given, user).mark

    def close(self) -> None:
        for web in self.webs:
            web.close()
        self.world.close()


@dataclass
class Event:
    """What was told at once."""

    topics: list[str]
    marks: dict[str, str]
    id: str
    reset: bool = False


class Page:
    """A client of one stream, which reads it when it likes."""

    def __init__(self, live: Live, views: list[Watched], last: str) -> None:
        self.rung = 0
        self.follower = live.join((), views=views, last=last)
        self.id = _field(self.follower.attach(self), "id")

    def ring(self) -> None:
        self.rung += 1

    def cut(self) -> None:
        raise AssertionError

    async def told(self) -> Event | None:
        await settled()
        event = self.follower.take()
        if not event.startswith(b"id"):
            return None
        data = json.loads(_field(event, "data"))
        return Event(data["topics"], data.get("marks", {}), _field(event, "id"), "reset" in data)

    def leave(self) -> None:
        self.follower.leave()


def _field(event: bytes, name: str) -> str:
    return next(line.partition(": ")[2] for line in event.decode().splitlines() if line.startswith(f"{name}: "))


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0.002)


@pytest.fixture
async def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:  # type: ignore[misc]
    monkeypatch.setattr(watching, "QUICK_SECONDS", 10)
    monkeypatch.setattr(looking, "_GAP_SECONDS_MIN", 0.001)
    made = Pair(tmp_path / "store.db")
    runs.clear()
    yield made
    made.close()


async def test_who_looks_hears_of_other_bytes_and_of_nothing_else(pair: Pair) -> None:
    pair.write(order(1), order(2, customer=8))
    shown = pair.show("due", number=7)
    pair.show("due", number=8)
    page, other = await pair.follow("due", number=7), await pair.follow("due", 1, number=8)
    assert (await page.told(), await other.told()) == (None, None)
    pair.write(order(1, amount=900))
    told = await page.told()
    assert told is not None and told.topics == ["view:due?number=7"]
    assert told.marks == {"view:due?number=7": pair.show("due", number=7)} != {"view:due?number=7": shown}
    assert await other.told() is None


async def test_the_same_bytes_made_anew_are_no_news(pair: Pair) -> None:
    pair.write(order(1), order(2))
    pair.show("due", number=7)
    page = await pair.follow("due", number=7)
    runs.clear()
    pair.write(order(1, amount=50), order(2, amount=150))
    assert (runs, await page.told()) == (["due 7"], None)
    assert page.rung == 0


async def test_followers_of_two_processes_cost_one_making(pair: Pair) -> None:
    pair.write(order(1))
    pair.show("due", number=7)
    pages = [await pair.follow("due", web, number=7) for web in (0, 0, 1, 1)]
    runs.clear()
    pair.write(order(1, amount=900))
    assert all([await page.told() for page in pages])
    assert runs == ["due 7"]


async def test_who_comes_back_hears_only_of_what_differs_from_what_he_has(pair: Pair) -> None:
    pair.write(order(1))
    pair.show("due", number=7)
    page = await pair.follow("due", number=7)
    last = page.id
    page.leave()
    calm = await pair.follow("due", 1, last, number=7)
    assert await calm.told() is None
    calm.leave()
    pair.wait(seconds=60, alive=False)  # nobody watches any more
    pair.write(order(1, amount=900))
    again = await pair.follow("due", 1, last, number=7)
    told = await again.told()
    assert told is not None and told.marks == {"view:due?number=7": pair.show("due", number=7)}
    assert not told.reset


async def test_an_id_that_is_none_resets(pair: Pair) -> None:
    pair.show("due", number=7)
    page = await pair.follow("due", 0, "bogus", number=7)
    told = await page.told()
    assert told is not None and told.reset


async def test_what_nobody_has_asked_for_is_made_for_who_follows_it(pair: Pair) -> None:
    pair.write(order(1))
    page = await pair.follow("due", number=7)
    assert (await page.told()) is not None
    pair.write(order(1, amount=900))
    told = await page.told()
    assert told is not None and told.marks == {"view:due?number=7": pair.show("due", number=7)}
    assert len([run for run in runs if run == "due 7"]) == 2


async def test_a_process_that_is_not_heard_of_watches_nothing_any_more(pair: Pair) -> None:
    pair.write(order(1))
    pair.show("due", number=7)
    page = await pair.follow("due", number=7)
    pair.webs[0]._watches.close()  # type: ignore[union-attr]  # it was killed
    pair.wait(seconds=watching.LEASE_SECONDS + 1, alive=False)
    runs.clear()
    pair.write(order(1, amount=900))
    assert runs == []
    assert await page.told() is None


async def test_an_engine_that_was_started_anew_is_told_what_is_watched(pair: Pair) -> None:
    pair.write(order(1))
    pair.show("due", number=7)
    page = await pair.follow("due", number=7)
    pair.away = True
    pair.start_engine()
    pair.write(order(1, amount=900))
    assert await page.told() is None
    pair.away = False
    pair.webs[0].renew()
    told = await page.told()
    assert told is not None and told.marks == {"view:due?number=7": pair.show("due", number=7)}


async def test_who_leaves_is_soon_not_watched_for(pair: Pair) -> None:
    pair.show("due", number=7)
    page = await pair.follow("due", number=7)
    page.leave()
    pair.webs[0].renew()
    stays = await pair.follow("due", number=8)
    runs.clear()
    pair.write(order(1))
    assert runs == []
    stays.leave()


async def test_a_view_that_says_there_is_nothing_and_comes_back(pair: Pair) -> None:
    pair.write(order(1))
    shown = pair.show("one", number=1)
    page = await pair.follow("one", number=1)
    pair.remove("1")
    gone = await page.told()
    assert gone is not None and gone.marks == {"view:one?number=1": "-"}
    pair.write(order(2))
    assert await page.told() is None
    pair.write(order(1))
    back = await page.told()
    assert back is not None and back.marks == {"view:one?number=1": shown}


async def test_a_view_that_fails_is_told_as_stale_and_told_again_when_it_works(pair: Pair) -> None:
    pair.write(order(1))
    shown = pair.show("share")
    page = await pair.follow("share")
    pair.remove("1")
    failed = await page.told()
    assert failed is not None and failed.marks == {"view:share": f"{shown}!"}
    pair.write(order(1), order(2))
    again = await page.told()
    assert again is not None and again.marks == {"view:share": pair.show("share")} != {"view:share": shown}


async def test_a_personal_view_is_made_for_each_who_looks(pair: Pair) -> None:
    ana, bea = (User(name, "read", "fr", "session") for name in ("ana", "bea"))
    for user in (ana, bea):
        pair.show("mine", user)
    pages = [await pair.follow("mine", 0, user=user) for user in (ana, bea)]
    pair.write(order(1))
    marks = [(await page.told()).marks["view:mine"] for page in pages]  # type: ignore[union-attr]
    assert marks == [pair.show("mine", ana), pair.show("mine", bea)] and marks[0] != marks[1]


async def test_what_takes_long_is_made_by_one_process_that_watches_it(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "QUICK_SECONDS", 0.01)
    monkeypatch.setattr(type(pair.clock), "monotonic", lambda _: time.monotonic())
    pair.show("slow")
    pages = [await pair.follow("slow", web) for web in (0, 1)]
    runs.clear()
    pair.write(order(1))
    assert runs == []  # not by who writes
    await asyncio.sleep(0.3)
    pair.turn()
    assert [told.marks for page in pages if (told := await page.told())] == [{"view:slow": pair.show("slow")}] * 2
    assert (pair.asked, runs) == (["slow"], ["slow"])


async def test_one_who_leaves_takes_nothing_from_the_others(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    ana, bea = (User(name, "read", "fr", "session") for name in ("ana", "bea"))
    pair.show("due", number=7)
    first, second = await pair.follow("due", user=ana, number=7), await pair.follow("due", 1, user=bea, number=7)
    monkeypatch.setattr(watching, "AT_ONCE_MAX", 0)
    pair.world.write("orders", order(1))
    first.leave()
    await pair.webs[0]._watches._tell()  # type: ignore[union-attr]
    monkeypatch.setattr(watching, "AT_ONCE_MAX", 200)
    pair.turn()
    assert (await second.told()) is not None


async def test_what_may_be_behind_is_made_once_its_time_is_over(pair: Pair) -> None:
    pair.write(order(1))
    pair.show("board")
    page = await pair.follow("board")
    runs.clear()
    for number in range(2, 6):
        pair.write(order(number))
    assert (runs, await page.told()) == ([], None)
    pair.wait(seconds=4)
    assert runs == []
    pair.wait(seconds=2)
    told = await page.told()
    assert (runs, told and told.marks) == (["board"], {"view:board": pair.show("board")})


async def test_the_clock_alone_makes_news(pair: Pair) -> None:
    pair.show("today")
    page = await pair.follow("today")
    pair.wait(hours=13)
    assert await page.told() is None
    pair.wait(hours=2)
    assert (await page.told()) is not None
    pair.wait(hours=24)
    assert (await page.told()) is not None


async def test_what_was_rolled_back_is_no_news_and_loses_none(pair: Pair) -> None:
    pair.write(order(1))
    pair.show("due", number=7)
    page = await pair.follow("due", number=7)
    with pytest.raises(KeyError), pair.world.store.transaction() as tx:
        row = {name: order(1, amount=900).get(name) for name in SPECS["orders"].names}
        tx.apply_base("orders", [("1", row)])
        pair.keeper.on_changes(tx, tx.changes)
        raise KeyError
    pair.turn()
    assert await page.told() is None
    pair.world.write("orders", order(1, amount=800))  # committed, and then another is rolled back before it was told
    with pytest.raises(KeyError), pair.world.store.transaction():
        raise KeyError
    pair.turn()
    told = await page.told()
    assert told is not None and told.marks == {"view:due?number=7": pair.show("due", number=7)}


async def test_an_offer_that_came_too_late_is_made_again(pair: Pair) -> None:
    pair.write(order(1))
    page = await pair.follow("due", number=8)
    await page.told()
    held: list[Offer] = []
    pair.world.held = held
    pair.world.views.get("due", {"number": 7})
    other = await pair.follow("due", number=7)
    await other.told()
    pair.write(order(1, amount=900))
    pair.world.held = None
    pair.world.take(held[0])
    pair.turn()
    assert pair.world.accepted[-1] is False
    told = await other.told()
    assert told is not None
