"""Receipts, commands and views."""

from __future__ import annotations

import httpx
import pytest

from tests.api.world import World

pytestmark = pytest.mark.anyio


async def give(client: httpx.AsyncClient, city: str, key: str = "ALFKI") -> str:
    answer = await client.patch(f"/api/tables/customer/{key}", json={"city": city})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["receipt"])


async def test_receipts_come_newest_first_and_by_page(own_world: World, writer: httpx.AsyncClient) -> None:
    given = [await give(writer, f"Town {number}") for number in range(5)]
    seen: list[str] = []
    url: str | None = "/api/outbox?limit=2&state=kept,sending"
    while url:
        answer = await writer.get(url)
        assert answer.status_code == 200
        seen += [item["receipt"] for item in answer.json()["receipts"]]
        url = answer.json()["next"]
        assert (answer.links.get("next") or {}).get("url") == url
    assert seen == given[::-1]
    assert (await writer.get("/api/outbox")).json()["counts"] == {"kept": 5}
    own_world.replay()
    assert (await writer.get("/api/outbox?state=kept")).json()["receipts"] == []
    assert len((await writer.get("/api/outbox?backend=erp&state=applied")).json()["receipts"]) == 5
    assert (await writer.get("/api/outbox?backend=other")).json()["receipts"] == []


async def test_a_receipt_is_not_sent_twice(own_world: World, writer: httpx.AsyncClient) -> None:
    name = await give(writer, "Bonn")
    answer = await writer.get(f"/api/outbox/{name}")
    assert answer.headers["retry-after"] == "1"
    headers = {"If-None-Match": answer.headers["etag"]}
    assert (await writer.get(f"/api/outbox/{name}", headers=headers)).status_code == 304
    own_world.replay()
    settled = await writer.get(f"/api/outbox/{name}", headers=headers)
    assert settled.status_code == 200 and "retry-after" not in settled.headers
    assert settled.json()["settled_at"]


async def test_everybody_sees_his_own_and_an_administrator_all(own_world: World, writer: httpx.AsyncClient) -> None:
    name = await give(writer, "Bonn")
    async with own_world.client("write", "other") as other, own_world.client("admin") as admin:
        assert (await other.get("/api/outbox")).json() == {
            "receipts": [],
            "counts": {},
            "next": None,
            "position": own_world.reader.seq(),
        }
        assert (await other.get("/api/outbox?user=token:write")).json()["receipts"] == []
        for path in ("", "/withdraw", "/dismiss"):
            answer = await other.request("POST" if path else "GET", f"/api/outbox/{name}{path}")
            assert answer.status_code == 404
        assert len((await admin.get("/api/outbox")).json()["receipts"]) == 1
        assert (await admin.get("/api/outbox?user=token:other")).json()["receipts"] == []
        assert (await admin.get(f"/api/outbox/{name}")).json()["user"] == "token:write"


async def test_what_was_not_sent_can_be_withdrawn(own_world: World, writer: httpx.AsyncClient) -> None:
    name = await give(writer, "Bonn")
    answer = await writer.post(f"/api/outbox/{name}/withdraw")
    assert (answer.status_code, answer.json()["state"]) == (200, "withdrawn")
    assert (await writer.get("/api/tables/customer/ALFKI")).json()["city"] == "Berlin"
    answer = await writer.post(f"/api/outbox/{name}/withdraw")
    assert (answer.status_code, answer.json()["code"]) == (409, "refused")


async def test_a_refused_write_is_dismissed(own_world: World, writer: httpx.AsyncClient) -> None:
    answer = await writer.patch("/api/tables/order_details/1,tea", json={"quantity": -1})
    name = answer.json()["receipt"]
    own_world.replay()
    assert (await writer.get("/api/tables/order_details/1,tea")).json()["_pending"] == 2
    answer = await writer.post(f"/api/outbox/{name}/dismiss", json={})
    assert answer.status_code == 200 and answer.json()["dismissed"]
    assert (await writer.get("/api/tables/order_details/1,tea")).json()["_pending"] == 0


async def test_only_an_unknown_outcome_is_decided(own_world: World, writer: httpx.AsyncClient) -> None:
    name = await give(writer, "Bonn")
    for body in ({}, {"arrived": 1}, {"arrived": True, "x": 1}):
        assert (await writer.post(f"/api/outbox/{name}/decide", json=body)).status_code == 422
    own_world.replay()
    answer = await writer.post(f"/api/outbox/{name}/decide", json={"arrived": False})
    assert answer.status_code == 409
    assert (await writer.post("/api/outbox/NOTHING/decide", json={"arrived": True})).status_code == 404


@pytest.mark.parametrize("query", ["state=lost", "limit=0", "limit=201", "limit=x", "after=0", "after=-1", "stat=kept"])
async def test_what_an_outbox_cannot_be_asked_is_refused(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"/api/outbox?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == query.partition("=")[0]


async def test_the_positions_of_an_outbox_have_no_end(client: httpx.AsyncClient) -> None:
    for number in (1, 2**40, 2**62):
        assert (await client.get(f"/api/outbox?after={number}")).status_code == 200
    for number in (2**63, 10**30):
        assert (await client.get(f"/api/outbox?after={number}")).status_code == 422


# -- commands ---------------------------------------------------------------------------------------------------------


async def test_a_command_is_given_like_any_write(own_world: World, writer: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "m"}
    for replayed in (None, "true"):
        answer = await writer.post("/api/commands/move", json={"code": "ALFKI", "city": "Bonn"}, headers=headers)
        assert (answer.status_code, answer.headers.get("idempotency-replayed")) == (202, replayed)
    assert answer.json()["row"]["city"] == "Bonn" and answer.json()["table"] == "customer"
    found = (await writer.get(answer.json()["receipt_url"])).json()
    assert (found["name"], found["label"]) == ("move", "Move a customer")
    own_world.replay()
    assert own_world.colleague("SELECT city FROM customer WHERE code = 'ALFKI'") == [("Bonn",)]
    own_world.is_live = True
    answer = await writer.post("/api/commands/move", json={"code": "ALFKI", "city": "Ulm"})
    assert (answer.status_code, answer.json()["state"]) == (200, "applied")


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("move", {}, 422),
        ("move", {"code": "ALFKI"}, 422),
        ("move", {"code": "ALFKI", "city": 5}, 422),
        ("move", {"code": "ALFKI", "city": "Bonn", "rank": "x"}, 422),
        ("move", {"code": "ALFKI", "city": "Bonn", "speed": 1}, 422),
        ("move", {"code": "ALFKI", "city": "Berlin"}, 409),
        ("move", {"code": "ALFKI", "city": "Bonn", "rank": None}, 202),
        ("moove", {}, 404),
        ("purge", {}, 403),
    ],
)
async def test_a_command_is_checked_before_it_is_kept(
    own_world: World, writer: httpx.AsyncClient, name: str, body: dict[str, object], status: int
) -> None:
    answer = await writer.post(f"/api/commands/{name}", json=body)
    assert answer.status_code == status, answer.text


async def test_a_command_without_arguments_needs_no_body(own_world: World) -> None:
    async with own_world.client("admin") as admin:
        answer = await admin.post("/api/commands/purge")
        assert answer.status_code == 202, answer.text


async def test_a_commands_own_refusal_has_its_words(own_world: World, writer: httpx.AsyncClient) -> None:
    answer = await writer.post("/api/commands/move", json={"code": "NOBODY", "city": "x"})
    assert (answer.json()["code"], answer.json()["detail"]) == ("refused", "NOBODY cannot move to x")


# -- views ------------------------------------------------------------------------------------------------------------


async def test_a_view_is_given_with_its_tag_and_age(world: World, client: httpx.AsyncClient) -> None:
    world.clock.pass_time(seconds=5)
    answer = await client.get("/api/views/by_city?city=Berlin&least=3")
    assert answer.json() == {"customers": ["Alfreds"], "least": 3}
    assert answer.headers["brique-age"] == "5" and answer.headers["brique-position"]
    headers = {"If-None-Match": answer.headers["etag"]}
    assert (await client.get("/api/views/by_city?city=Berlin&least=3", headers=headers)).status_code == 304
    assert (await client.get("/api/views/by_city?city=Madrid", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("by_city", 422),
        ("by_city?city=Berlin&least=x", 422),
        ("by_city?city=Berlin&most=1", 422),
        ("by_city?city=Berlin&city=Bonn", 422),
        ("by_citty?city=Berlin", 404),
        ("secret", 404),
        ("broken", 500),
    ],
)
async def test_a_view_that_cannot_be_given_says_why(client: httpx.AsyncClient, path: str, status: int) -> None:
    answer = await client.get(f"/api/views/{path}")
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    if status == 422:
        assert "parameter" in answer.json()["errors"][0]


async def test_an_administrator_sees_what_is_his(world: World) -> None:
    async with world.client("admin") as admin:
        assert (await admin.get("/api/views/secret")).json() == {"customers": 5}
