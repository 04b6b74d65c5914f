"""Addresses that are followed: by a stream of events, or by an answer that waits; and only by who may."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.types import Message

from brique.http.ready import Keep
from tests.api.conftest import declare
from tests.api.world import World

pytestmark = pytest.mark.anyio
ROW = "/api/tables/purchase/1"


class Stream:
    """A caller of the application who reads its answer as it comes."""

    def __init__(self, world: World, path: str, role: str, headers: dict[str, str], more: dict[str, Any]) -> None:
        client = world.client(role)
        sent = {
            "host": "intranet.test",
            "accept": "text/event-stream",
            "authorization": client.headers["authorization"],
        }
        path, _, query = path.partition("?")
        self.scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in {**sent, **headers}.items()],
            "client": ("127.0.0.1", 1), "server": ("intranet.test", 80), **more,
        }  # fmt: skip
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        self.gone = asyncio.Event()
        self.task = asyncio.create_task(world.app(self.scope, self._receive, self.messages.put))
        self.status = 0
        self.headers: dict[str, str] = {}
        self.is_over = False
        self._text = ""

    async def _receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def begun(self) -> Stream:
        start = await asyncio.wait_for(self.messages.get(), 5)
        self.status = start["status"]
        self.headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return self

    async def event(self, seconds: float = 5) -> dict[str, Any]:
        """The next event with its id; {} at the end of the stream."""
        while True:
            message, mark, rest = self._text.partition("\n\n")
            if not mark:
                part = await asyncio.wait_for(self.messages.get(), seconds)
                self._text += part.get("body", b"").decode()
                if not part.get("more_body"):
                    self.is_over = True
                    return {}
                continue
            self._text = rest
            fields = dict(line.split(": ", 1) for line in message.splitlines() if not line.startswith(":"))
            if "data" in fields:
                return {"id": fields["id"], **json.loads(fields["data"])}

    async def silent(self) -> bool:
        try:
            await self.event(0.4)
        except TimeoutError:
            return True
        return False


@pytest.fixture
async def world(tmp_path: Any) -> AsyncIterator[World]:
    made = await asyncio.to_thread(World, tmp_path, declare=declare)
    yield made
    made.live.close()
    await asyncio.to_thread(made.close)


@asynccontextmanager
async def following(
    world: World, path: str, role: str = "read", *, keep: Keep | None = None, **headers: str
) -> AsyncIterator[Stream]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    stream = await Stream(world, path, role, named, {} if keep is None else {"brique.keep": keep}).begun()
    try:
        yield stream
    finally:
        stream.gone.set()
        await asyncio.wait_for(stream.task, 5)


def change(world: World, sql: str) -> None:
    """Change one row in the backend, and bring it into the copy: `UPDATE table … WHERE key = value`."""
    world.colleague(sql)
    words = sql.split()
    spec, key = world.specs[words[2] if words[0] == "DELETE" else words[1]], words[-1].strip("'")
    rows = world.backend.fetch(spec, [key])

    def bring() -> None:
        with world.engine.store.transaction() as tx:
            tx.apply_base(spec.name, list(rows.items()), [] if rows else [key])

    world.engine.writer.run(bring).result(10)


async def test_a_row_is_followed_with_its_etag_and_body(world: World) -> None:
    async with world.client() as client, following(world, ROW) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        first = await stream.event()
        assert first["body"] == (await client.get(ROW)).json()
        await asyncio.to_thread(change, world, "UPDATE purchase SET amount = '77.00' WHERE number = 1")
        told = await stream.event()
        now = await client.get(ROW)
        assert (told["etag"], told["body"]) == (now.headers["etag"], now.json())
        assert told["body"]["amount"] == "77.00"
        assert told["seq"] > first["seq"]


async def test_a_list_is_followed_and_a_change_that_it_does_not_show_is_no_news(world: World) -> None:
    async with following(world, "/api/tables/purchase?status=open") as stream:
        assert [row["number"] for row in (await stream.event())["body"]["rows"]] == [1]
        await asyncio.to_thread(change, world, "UPDATE customer SET city = 'Bonn' WHERE code = 'EVIL'")
        assert await stream.silent()
        await asyncio.to_thread(change, world, "UPDATE purchase SET status = 'open' WHERE number = 2")
        assert [row["number"] for row in (await stream.event())["body"]["rows"]] == [1, 2]


async def test_a_view_is_followed_by_what_it_says(world: World) -> None:
    async with following(world, "/api/views/by_city?city=Madrid") as stream:
        assert (await stream.event())["body"]["customers"] == ['Bólido, "Comidas"']
        await asyncio.to_thread(change, world, "UPDATE customer SET name = 'Alf' WHERE code = 'ALFKI'")
        assert await stream.silent(), "another city"
        await asyncio.to_thread(change, world, "UPDATE customer SET city = 'Madrid' WHERE code = 'ALFKI'")
        assert sorted((await stream.event())["body"]["customers"]) == ["Alf", 'Bólido, "Comidas"']


async def test_the_outbox_and_a_receipt_are_followed(world: World) -> None:
    async with world.client() as client, following(world, "/api/outbox", "write") as stream:
        assert (await stream.event())["body"]["receipts"] == []
        given = await client.patch(ROW, json={"amount": "12.00"})
        receipt = given.json()["receipt_url"]
        assert [item["state"] for item in (await stream.event())["body"]["receipts"]] == ["kept"]
        async with following(world, receipt, "write") as one:
            assert (await one.event())["body"]["state"] == "kept"
            await asyncio.to_thread(world.replay)
            while (told := await one.event())["body"]["state"] != "applied":
                pass
            assert told["body"]["state"] == "applied"


async def test_who_comes_back_is_told_only_what_is_news(world: World) -> None:
    async with following(world, ROW) as stream:
        last = (await stream.event())["id"]
    async with following(world, ROW, last_event_id=last) as stream:
        assert await stream.silent()
    await asyncio.to_thread(change, world, "UPDATE purchase SET amount = '78.00' WHERE number = 1")
    async with following(world, ROW, last_event_id=last) as stream:
        assert (await stream.event())["body"]["amount"] == "78.00"
    async with world.client() as client:
        etag = (await client.get(ROW)).headers["etag"]
    async with following(world, ROW, if_none_match=etag) as stream:
        assert await stream.silent()


async def test_a_long_answer_is_named_but_not_sent(world: World) -> None:
    limits = world.live.limits
    object.__setattr__(limits, "body_bytes_max", 100)
    async with following(world, "/api/tables/customer") as stream:
        told = await stream.event()
        assert "body" not in told
        assert told["etag"].startswith('W/"')


async def test_a_row_that_goes_away_is_told_so(world: World) -> None:
    async with following(world, "/api/tables/purchase/3") as stream:
        await stream.event()
        await asyncio.to_thread(change, world, "DELETE FROM purchase WHERE number = 3")
        assert (await stream.event())["status"] == 404


async def test_followers_of_the_same_address_share_one_reading(world: World) -> None:
    async with following(world, ROW) as one, following(world, ROW, "write") as other:
        assert await one.event() == await other.event()
        assert len(world.live._channels) == 1
        async with following(world, "/api/outbox") as mine, following(world, "/api/outbox", "write") as yours:
            await mine.event(), await yours.event()
            assert len(world.live._channels) == 3, "what depends on who asks is read for each"


@pytest.mark.parametrize("act", ["revoke", "wrong", "missing"])
async def test_only_who_may_read_may_follow(world: World, act: str) -> None:
    if act != "revoke":
        path = "/api/views/secret" if act == "wrong" else "/api/tables/nothing"
        async with following(world, path) as stream:
            assert stream.status == 404
        return
    async with following(world, ROW) as stream, following(world, ROW, "write") as other:
        await stream.event(), await other.event()
        number = next(token.id for token in world.accounts.tokens() if token.name == "read")
        world.accounts.revoke_token(number)
        await asyncio.to_thread(change, world, "UPDATE purchase SET amount = '79.00' WHERE number = 1")
        assert await stream.event() == {}
        assert stream.is_over
        assert (await other.event())["body"]["amount"] == "79.00"


async def test_a_role_that_is_taken_away_ends_the_stream(world: World) -> None:
    world.accounts.create_user("ana", "correct horse battery staple", "admin")
    world.accounts.create_user("bea", "correct horse battery staple", "admin")
    grant = world.accounts.grant_token("script", "admin", owner="ana")
    async with following(world, "/api/views/secret", authorization=f"Bearer {grant.value}") as stream:
        assert (await stream.event())["body"] == {"customers": 5}
        world.accounts.set_role("ana", "read")
        await asyncio.to_thread(change, world, "DELETE FROM customer WHERE code = 'EVIL'")
        assert await stream.event() == {}


async def test_a_read_waits_for_news(world: World) -> None:
    async with world.client() as client:
        etag = (await client.get(ROW)).headers["etag"]
        asked = {"If-None-Match": etag, "Prefer": "wait=20"}
        waiting = asyncio.create_task(client.get(ROW, headers=asked))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await asyncio.to_thread(change, world, "UPDATE purchase SET amount = '80.00' WHERE number = 1")
        answer = await asyncio.wait_for(waiting, 5)
        assert (answer.status_code, answer.json()["amount"]) == (200, "80.00")
        assert answer.headers["preference-applied"] == "wait=20"
        assert world.live.followers == 0


async def test_a_read_that_waits_in_vain_says_that_nothing_has_changed(world: World) -> None:
    async with world.client() as client:
        etag = (await client.get(ROW)).headers["etag"]
        loop = asyncio.get_running_loop()
        began = loop.time()
        answer = await client.get(ROW, headers={"If-None-Match": etag, "Prefer": "wait=1"})
        assert answer.status_code == 304
        assert 0.9 < loop.time() - began < 3
        assert (await client.get(ROW, headers={"Prefer": "wait=1"})).status_code == 200, "there is nothing to wait for"
        stale = await client.get(ROW, headers={"If-None-Match": '"another"', "Prefer": "wait=30"})
        assert stale.status_code == 200


async def test_a_read_may_wait_longer_than_a_page_may_take(world: World) -> None:
    async with world.client() as client:
        etag = (await client.get(ROW)).headers["etag"]
        object.__setattr__(world.live.limits, "wait_seconds_max", 1.0)
        answer = await client.get(ROW, headers={"If-None-Match": etag, "Prefer": "wait=3600"})
        assert (answer.status_code, answer.headers["preference-applied"]) == (304, "wait=1")


async def test_the_description_says_what_can_be_followed(world: World) -> None:
    async with world.client() as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
    for path in ("/api/tables/purchase", "/api/tables/purchase/{key}", "/api/views/by_city", "/api/outbox", "/api"):
        described = paths[path]["get"]
        assert "text/event-stream" in described["responses"]["200"]["content"]
        assert {"Prefer", "Last-Event-ID"} <= {parameter.get("name") for parameter in described["parameters"]}
    assert "text/event-stream" not in paths["/api/tables/purchase.{format}"]["get"]["responses"]["200"]["content"]


@pytest.mark.parametrize(("headers", "stands"), [({}, True), ({"prefer": "wait=1"}, False)])
async def test_an_answer_that_was_waited_for_is_not_given_again_below(
    world: World, headers: dict[str, str], stands: bool
) -> None:
    keep = Keep({}, b"", b"")
    async with following(world, ROW, keep=keep, accept="application/json", **headers) as stream:
        assert stream.status == 200
    assert (keep.standing is not None) is stands
