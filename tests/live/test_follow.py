"""Followers of changes: told soon, told once, told what they missed, and never a burden."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from brique.errors import Busy
from brique.http import Bell
from brique.live import Follower, Live, LiveLimits, Probe
from brique.store import Reader
from brique.views import OUTBOX, STATUS, Db, view_of
from tests.views.world import CLASSES, SPECS, Order, World, order, world

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def statement(db: Db, number: int) -> Any:
    return db[Order].where(customer=number).sum("amount")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[World]:
    made = view_of("/statement/{number}", statement, CLASSES)
    with world(tmp_path / "store.db", {made.name: made}) as shop:
        yield shop


def live(shop: World, **options: Any) -> Live:
    return Live(lambda: shop.reader, LiveLimits(**{"poll_seconds": 0.01, **options}))


class Page:
    """A client: takes what comes in the background, as a browser does."""

    def __init__(self, follower: Follower) -> None:
        self.follower = follower
        self.chunks: asyncio.Queue[str] = asyncio.Queue()
        self.greeting: dict[str, Any] = {}
        self.bell = Bell()
        self.chunks.put_nowait(follower.attach(self.bell).decode())
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while not self.follower.ended:
            while chunk := self.follower.take():
                self.chunks.put_nowait(chunk.decode())
            await self.bell.wait()

    async def event(self, seconds: float = 5) -> dict[str, Any]:
        """The next event: its id, and its data; comments are skipped."""
        while True:
            raw = await asyncio.wait_for(self.chunks.get(), seconds)
            assert raw.endswith("\n\n")
            fields = dict(line.split(": ", 1) for line in raw.strip().splitlines())
            if "id" in fields:
                return {"id": fields["id"], "event": fields.get("event"), **json.loads(fields.get("data", "{}"))}

    async def silent(self, seconds: float = 0.3) -> bool:
        try:
            await self.event(seconds)
        except TimeoutError:
            return True
        return False

    async def leave(self) -> None:
        self.reading.cancel()
        await asyncio.gather(self.reading, return_exceptions=True)
        self.follower.leave()


async def opened(follower: Follower) -> Page:
    """A page that has had the stream's greeting."""
    page = Page(follower)
    page.greeting = await page.event()
    return page


async def test_a_follower_hears_of_the_tables_that_he_asked_for(shop: World) -> None:
    source = live(shop)
    orders, customers = await opened(source.join({"orders"})), await opened(source.join({"customers"}))
    shop.write("orders", order(1))
    told = await orders.event()
    assert (told["event"], told["topics"], told["seq"]) == ("change", ["orders"], shop.store.reader.seq())
    assert await customers.silent()
    source.close()


async def test_changes_while_nobody_reads_become_one_event(shop: World) -> None:
    source = live(shop)
    follower = source.join()
    for number in range(5):
        shop.write("orders", order(number))
        shop.write("customers", {"number": number, "name": "x"})
        await asyncio.sleep(0.08)
    page = await opened(follower)
    assert (await page.event())["topics"] == ["customers", "orders"]
    assert await page.silent()
    source.close()


async def test_who_comes_back_hears_what_he_missed(shop: World) -> None:
    source = live(shop)
    page = await opened(source.join())
    await page.leave()
    assert source.followers == 0
    shop.write("orders", order(1))
    again = await opened(source.join({"orders", "customers"}, last=page.greeting["id"]))
    told = await again.event()
    assert (told["topics"], told.get("reset")) == (["orders"], None)
    calm = await opened(source.join(last=told["id"]))
    assert await calm.silent()
    source.close()


@pytest.mark.parametrize("last", ["999999.aa.bb", "nonsense", "-4.a.b", "1." + "x" * 50])
async def test_who_comes_back_from_another_store_reads_everything_anew(shop: World, last: str) -> None:
    source = live(shop)
    page = await opened(source.join({"orders"}, last=last))
    assert (await page.event())["reset"] is True
    source.close()


async def test_who_was_away_longer_than_the_log_reads_everything_anew(shop: World) -> None:
    source = live(shop)
    page = await opened(source.join({"orders"}))
    await page.leave()
    shop.store.change_log_rows_max = 3
    for number in range(6):
        shop.write("customers", {"number": number, "name": "x"})
    again = await opened(source.join({"orders"}, last=page.greeting["id"]))
    assert (await again.event())["reset"] is True
    source.close()


async def test_commands_and_backends_are_followed_too(shop: World) -> None:
    source = live(shop)
    page = await opened(source.join({OUTBOX, STATUS}))
    shop.command()
    assert (await page.event())["topics"] == [OUTBOX]
    with shop.store.transaction() as tx:
        tx.backend_state("erp", state="down", last_error="connection refused")
    assert (await page.event())["topics"] == [STATUS]
    with shop.store.transaction() as tx:
        tx.confirmed("erp", [], shop.clock.now())
    assert await page.silent(), "only the age has changed"
    source.close()


async def test_a_reload_of_a_table_is_a_change_of_it(shop: World) -> None:
    source = live(shop)
    page = await opened(source.join({"orders"}))
    with shop.store.transaction() as tx:
        tx.replaced("orders")
    assert (await page.event())["topics"] == ["orders"]
    source.close()


async def test_a_probe_tells_when_it_answers_otherwise(shop: World) -> None:
    shop.write("orders", order(1), order(2, customer=8))
    source = live(shop)
    page = await opened(source.join((), probe=Probe("first", lambda: shop.reader.row("orders", "1"))))
    shop.write("orders", order(2, customer=8, amount=900))
    assert await page.silent()
    shop.write("orders", order(1, amount=900))
    assert (await page.event())["topics"] == ["first"]
    source.close()


async def test_a_probe_that_fails_stops_nobody_else(shop: World) -> None:
    source = live(shop)
    await opened(source.join((), probe=Probe("bad", lambda: 1 / 0)))
    good = await opened(source.join({"orders"}))
    shop.write("orders", order(1))
    assert (await good.event())["topics"] == ["orders"]
    source.close()


async def test_a_quiet_stream_shows_that_it_is_alive(shop: World) -> None:
    source = live(shop, heartbeat_seconds=0.05)
    page = await opened(source.join({"orders"}))
    assert (await asyncio.wait_for(page.chunks.get(), 5)).startswith(":")
    source.close()


async def test_too_many_followers_are_refused_and_room_comes_back(shop: World) -> None:
    source = live(shop, followers_max=2)
    first = await opened(source.join())
    await opened(source.join())
    with pytest.raises(Busy):
        source.join()
    await first.leave()
    await opened(source.join())
    source.close()


async def test_closing_ends_every_stream_and_the_looking(shop: World) -> None:
    source = live(shop)
    page = await opened(source.join())
    source.close()
    await asyncio.wait_for(page.reading, 5)
    assert source.followers == 0
    assert source._looker is None
    with pytest.raises(Busy):
        source.join()


async def test_nobody_looks_when_nobody_follows(shop: World) -> None:
    source = live(shop)
    page = await opened(source.join())
    await page.leave()
    assert source._looker is None


async def test_waking_looks_at_once(shop: World) -> None:
    source = live(shop, poll_seconds=30)
    page = await opened(source.join({"orders"}))
    await asyncio.sleep(0.1)
    shop.write("orders", order(1))
    source.wake()
    assert (await page.event(2))["topics"] == ["orders"]
    source.close()


async def test_followers_outlive_a_store_that_is_not_there(tmp_path: Path) -> None:
    missing = Reader(tmp_path / "later.db", SPECS)
    source = Live(lambda: missing, LiveLimits(poll_seconds=0.01))
    page = await opened(source.join({"orders"}))
    assert await page.silent(0.1)
    with world(tmp_path / "later.db", {}) as shop:
        shop.write("orders", order(1))
        assert "orders" in (await page.event())["topics"]
        missing.close()
    source.close()
