"""Deciding about commands through the API: again, with other values, many at once, with who did it and from where."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from brique.app.engine import Engine
from brique.commands import Give, Outcome, Report, report_to_payload
from brique.schema import Change, Command, State
from tests.api.world import World

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


async def given(client: httpx.AsyncClient, **values: Any) -> str:
    """The receipt of a new purchase."""
    answer = await client.post("/api/tables/purchase", json={"amount": "1.00", **values})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["receipt"])


def settle(world: World, receipt: str, state: State, reason: str = "") -> None:
    item = world.reader.command(receipt)
    assert item is not None
    report = Report("erp", outcomes=[Outcome(item.position, state, reason=reason)])
    world.channel.call("report", report_to_payload(report), 10)


def state(world: World, receipt: str) -> State:
    item = world.reader.command(receipt)
    assert item is not None
    return item.state


async def test_what_was_refused_is_sent_again_by_a_command_that_replaces_it(world: World) -> None:
    async with world.client() as client:
        receipt = await given(client)
        settle(world, receipt, State.REFUSED, "amount above 0.50")
        again = await client.post(f"/api/outbox/{receipt}/retry", headers={"Idempotency-Key": "k"})
        assert again.status_code == 202 and again.json()["receipt"] != receipt
        twice = await client.post(f"/api/outbox/{receipt}/retry", headers={"Idempotency-Key": "k"})
        assert twice.json()["receipt"] == again.json()["receipt"] and twice.json()["duplicate"]
        late = await client.post(f"/api/outbox/{receipt}/retry")
        assert late.status_code == 409 and again.json()["receipt"] in late.json()["detail"]
        old = (await client.get(f"/api/outbox/{receipt}")).json()
        new = (await client.get(f"/api/outbox/{again.json()['receipt']}")).json()
    assert old["dismissed"] and old["replaced_by"] == new["receipt"] and new["replaces"] == receipt
    [deed] = old["audit"]
    assert deed["what"] == "retried" and deed["by"] == "token:write" and deed["origin"] == "api" and deed["address"]
    assert new["changes"][0]["after"] == old["changes"][0]["after"]
    world.replay()
    assert state(world, new["receipt"]) is State.APPLIED


async def test_other_values_make_another_command(world: World) -> None:
    async with world.client() as client:
        receipt = await given(client)
        settle(world, receipt, State.REFUSED, "no")
        wrong = await client.post(f"/api/outbox/{receipt}/edit", json={"values": {"amont": 1}})
        assert wrong.status_code == 422 and "amont" in wrong.text
        for body in ({}, {"values": 3}, {"values": {}, "more": 1}):
            assert (await client.post(f"/api/outbox/{receipt}/edit", json=body)).status_code == 422, body
        made = await client.post(f"/api/outbox/{receipt}/edit", json={"values": {"amount": "0.25"}})
        assert made.status_code == 202
        [deed] = (await client.get(f"/api/outbox/{receipt}/audit")).json()["audit"]
        assert (deed["what"], deed["replaced_by"]) == ("edited", made.json()["receipt"])
    world.replay()
    assert world.colleague("SELECT amount FROM purchase ORDER BY number DESC LIMIT 1") == [(0.25,)]


async def test_an_unknown_outcome_is_sent_again_only_by_who_says_that_it_has_not_arrived(world: World) -> None:
    async with world.client() as client:
        receipt = await given(client)
        settle(world, receipt, State.UNKNOWN, "the answer was lost")
        refused = await client.post(f"/api/outbox/{receipt}/retry")
        assert refused.status_code == 409 and state(world, receipt) is State.UNKNOWN
        assert (await client.post(f"/api/outbox/{receipt}/retry", json={"arrived": True})).status_code == 422
        made = await client.post(f"/api/outbox/{receipt}/retry", json={"arrived": False})
        assert made.status_code == 202
        old = (await client.get(f"/api/outbox/{receipt}")).json()
    assert old["state"] == "refused" and [deed["what"] for deed in old["audit"]] == ["not-arrived", "retried"]


async def test_failures_of_one_cause_are_decided_at_once_with_a_result_for_each(world: World) -> None:
    async with world.client() as client, world.client("admin") as admin:
        receipts = [await given(client, amount=str(number)) for number in range(1, 6)]
        for number, receipt in enumerate(receipts[:4]):
            reason = f"purchase {number} is above the limit of {number * 7}.50 for 'Mr. {number}'"
            settle(world, receipt, State.REFUSED, reason)
        [cause] = (await client.get("/api/outbox/causes")).json()["causes"]
        assert cause["count"] == 4 and cause["state"] == "refused"
        listed = (await client.get(cause["url"])).json()["receipts"]
        assert [one["receipt"] for one in listed] == receipts[3::-1]
        answer = await client.post("/api/outbox", json={"act": "retry", "receipts": [receipts[0], receipts[4], "NONE"]})
        assert answer.status_code == 200 and answer.json()["done"] == 1
        results = answer.json()["results"]
        assert [one["done"] for one in results] == [True, False, False]
        assert [one.get("problem", {}).get("status") for one in results] == [None, 409, 404]
        rest = (await admin.post("/api/outbox", json={"act": "dismiss", "cause": cause["cause"]})).json()
        assert {one["receipt"] for one in rest["results"]} == set(receipts[1:4]) and rest["done"] == 3
        assert (await client.get("/api/outbox/causes")).json()["causes"] == []


async def test_a_retry_of_many_keeps_their_order_and_does_nothing_twice(world: World) -> None:
    async with world.client() as client:
        receipts = [await given(client, amount=str(number)) for number in range(1, 31)]
        for receipt in receipts:
            settle(world, receipt, State.REFUSED, "no")
        body = {"act": "retry", "receipts": receipts[::-1]}
        answers = [await client.post("/api/outbox", json=body, headers={"Idempotency-Key": "m"}) for _ in range(2)]
        first, second = (answer.json()["results"] for answer in answers)
        assert first == second and all(one["done"] for one in first)
    found = [item.command.replaces for item in world.reader.pending_for("erp", 100)]
    assert found == receipts


async def test_bodies_that_are_no_decision_are_told(world: World) -> None:
    async with world.client() as client:
        for body in (
            {},
            {"act": "explode", "receipts": ["x"]},
            {"act": "retry"},
            {"act": "retry", "receipts": [], "cause": "x"},
            {"act": "retry", "receipts": ["x"] * 1001},
            {"act": "retry", "receipts": [1]},
            {"act": "retry", "cause": 5},
            {"act": "retry", "receipts": ["x"], "more": 1},
        ):
            answer = await client.post("/api/outbox", json=body)
            assert answer.status_code == 422, body
            assert answer.headers["content-type"] == "application/problem+json"


async def test_nobody_decides_about_the_commands_of_others_and_readers_about_none(world: World) -> None:
    async with world.client() as mine, world.client(who="2") as other, world.client("read") as reader:
        receipt = await given(mine)
        settle(world, receipt, State.REFUSED, "no")
        for act in ("retry", "dismiss", "withdraw"):
            assert (await other.post(f"/api/outbox/{receipt}/{act}")).status_code == 404, act
            assert (await reader.post(f"/api/outbox/{receipt}/{act}")).status_code == 403, act
        assert (await other.get(f"/api/outbox/{receipt}/audit")).status_code == 404
        for client, status in ((other, 404), (reader, 403)):
            answer = await client.post("/api/outbox", json={"act": "retry", "receipts": [receipt]})
            told = answer.status_code if status == 403 else answer.json()["results"][0]["problem"]["status"]
            assert told == status
        [cause] = (await mine.get("/api/outbox/causes")).json()["causes"]
        answer = await other.post("/api/outbox", json={"act": "dismiss", "cause": cause["cause"]})
        assert answer.json() == {"results": [], "done": 0}
        assert (await other.get("/api/outbox/causes?user=token:write")).json()["causes"] == []
    assert state(world, receipt) is State.REFUSED


async def test_an_administrator_sends_again_for_the_author_and_the_audit_says_who(world: World) -> None:
    async with world.client() as client, world.client("admin") as admin:
        receipt = await given(client)
        settle(world, receipt, State.REFUSED, "no")
        made = (await admin.post(f"/api/outbox/{receipt}/retry")).json()["receipt"]
        new = (await client.get(f"/api/outbox/{made}")).json()
        [deed] = (await client.get(f"/api/outbox/{receipt}/audit")).json()["audit"]
    assert new["user"] == "token:write" and deed["by"] == "token:admin"


async def test_the_list_is_filtered_by_table_and_by_what_was_dealt_with(world: World) -> None:
    async with world.client() as client:
        purchase = await given(client)
        answer = await client.post("/api/tables/customer", json={"code": "NEW", "name": "New"})
        customer = answer.json()["receipt"]
        settle(world, customer, State.REFUSED, "no")
        found = (await client.get("/api/outbox?table=customer")).json()["receipts"]
        assert [one["receipt"] for one in found] == [customer]
        await client.post(f"/api/outbox/{customer}/dismiss")
        for flag, wanted in (("true", [customer]), ("false", [purchase])):
            found = (await client.get(f"/api/outbox?dismissed={flag}")).json()["receipts"]
            assert [one["receipt"] for one in found] == wanted
        assert (await client.get("/api/outbox?dismissed=maybe")).status_code == 422


async def test_a_receipt_of_ones_own_is_the_command_and_the_same_twice_is_one(world: World) -> None:
    own = str(uuid.uuid4())
    async with world.client() as client, world.client(who="2") as other:
        body = {"amount": "1.00"}
        first = await client.post("/api/tables/purchase", json=body, headers={"Brique-Receipt": own})
        second = await client.post("/api/tables/purchase", json=body | {"_receipt": own})
        assert first.json()["receipt"] == second.json()["receipt"] == own and second.json()["duplicate"]
        wrong = await client.post("/api/tables/purchase", json={"amount": "2.00", "_receipt": own})
        assert wrong.status_code == 422 and wrong.json()["code"] == "idempotency-key-reused"
        taken = await other.post("/api/tables/purchase", json=body | {"_receipt": own})
        assert taken.status_code == 422 and own not in taken.text
        for bad in ("short", "x" * 65, "with blank in the middle", 7, "né" * 12):
            answer = await client.post("/api/tables/purchase", json=body | {"_receipt": bad})
            assert answer.status_code == 422 and "_receipt" in answer.text, bad
        both = await client.post(
            "/api/tables/purchase", json=body | {"_receipt": own}, headers={"Idempotency-Key": "k"}
        )
        assert both.status_code == 422
        changed = str(uuid.uuid4())
        for _ in range(2):
            answer = await client.patch("/api/tables/purchase/1", json={"status": "sent", "_receipt": changed})
            assert answer.status_code == 202 and answer.json()["receipt"] == changed
    assert len(world.reader.outbox()) == 2


async def test_the_audit_is_made_again_from_the_spool_alone(world: World) -> None:
    async with world.client() as client:
        receipts = [await given(client, amount=str(number)) for number in range(1, 4)]
        for receipt in receipts[:2]:
            settle(world, receipt, State.REFUSED, "no")
        await client.post(f"/api/outbox/{receipts[0]}/retry")
        await client.post(f"/api/outbox/{receipts[1]}/dismiss")
        await client.post(f"/api/outbox/{receipts[2]}/withdraw")
    positions = [item.position for item in world.reader.outbox()]
    before = world.reader.deeds(positions)
    assert sorted(deed.what for deeds in before.values() for deed in deeds) == ["dismissed", "retried", "withdrawn"]
    world.engine.stop()
    for file in world.settings.data.glob("store.db*"):
        file.unlink()
    world.engine = Engine(world.declared, world.settings, world.clock, lambda _topic, _payload: None)
    world.engine.start()
    assert world.reader.deeds(positions) == before


def pending(world: World, count: int) -> None:
    """That many commands that wait, of seven people."""
    made = [
        Command(f"R{number:017}", "create", f"user{number % 7}", "write", "2026-11-20T10:42:00.000000Z", "erp",
                (Change("purchase", f"new-R{number}", None, {"amount": number}),))
        for number in range(count)
    ]  # fmt: skip
    for start in range(0, count, 5_000):
        batch = [Give(command) for command in made[start : start + 5_000]]
        world.engine.writer.run(partial(world.engine.ledger.handle, batch)).result(120)


async def test_a_hundred_thousand_pending_cost_a_page_no_more_than_a_few(world: World) -> None:
    await asyncio.to_thread(pending, world, 100_000)
    spent = {}
    async with world.client("admin") as admin:
        for path in ("", "?state=kept&after=50000", "?user=user3&state=kept,refused", "?table=purchase"):
            await admin.get(f"/api/outbox{path}")
            began = time.perf_counter()
            answer = await admin.get(f"/api/outbox{path}")
            spent[path] = time.perf_counter() - began
            assert len(answer.json()["receipts"]) == 25
    assert max(spent.values()) < 0.5, spent
