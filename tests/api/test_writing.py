"""Writes by programs: kept, answered, replayed; refused with a reason; done once."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.api.world import PASSWORD, World

pytestmark = pytest.mark.anyio
NEW = {"code": "NEW", "name": "Newcomer", "credit": "12.50", "since": "2026-01-02", "active": True}


async def receipt(client: httpx.AsyncClient, answer: httpx.Response) -> dict[str, Any]:
    found = await client.get(answer.json()["receipt_url"])
    assert found.status_code == 200
    return dict(found.json())


# -- create -----------------------------------------------------------------------------------------------------------


async def test_a_new_row_is_pending_until_the_backend_has_it(own_world: World, writer: httpx.AsyncClient) -> None:
    answer = await writer.post("/api/tables/customer", json=NEW)
    made = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == made["receipt_url"] == f"/api/outbox/{made['receipt']}"
    assert answer.headers["brique-receipt"] == made["receipt"]
    assert answer.links["status"]["url"] == made["receipt_url"]
    assert answer.links["item"]["url"] == made["url"] == "/api/tables/customer/NEW"
    assert (made["state"], made["key"], made["row"]["_pending"], made["row"]["credit"]) == ("kept", "NEW", 1, "12.50")
    row = await writer.get(made["url"])
    assert row.json() == made["row"] and row.headers["etag"] == answer.headers["etag"]
    found = await receipt(writer, answer)
    assert (found["state"], found["settled_at"], found["user"]) == ("kept", None, "token:write")
    assert found["changes"] == [{"table": "customer", "key": "NEW", "before": None, "after": NEW}]
    own_world.replay()
    assert (await receipt(writer, answer))["state"] == "applied"
    assert own_world.colleague("SELECT name, credit FROM customer WHERE code = 'NEW'") == [("Newcomer", "12.50")] or (
        own_world.colleague("SELECT name, credit FROM customer WHERE code = 'NEW'") == [("Newcomer", 12.5)]
    )


async def test_a_new_row_that_is_settled_at_once_is_created(own_world: World, writer: httpx.AsyncClient) -> None:
    own_world.is_live = True
    answer = await writer.post("/api/tables/purchase", json={"customer": "ALFKI", "amount": 7})
    made = answer.json()
    assert answer.status_code == 201
    assert (made["state"], made["key"]) == ("applied", "4")
    assert answer.headers["location"] == "/api/tables/purchase/4"
    assert made["row"]["amount"] == "7.00" and made["row"]["status"] == "open"


async def test_a_row_without_number_is_found_under_its_first_key(own_world: World, writer: httpx.AsyncClient) -> None:
    answer = await writer.post("/api/tables/purchase", json={"amount": "7.00"})
    first = answer.json()["key"]
    assert first.startswith("new-") and answer.status_code == 202
    assert (await writer.get(f"/api/tables/purchase/{first}")).json()["_pending"] == 1
    own_world.replay()
    row = await writer.get(f"/api/tables/purchase/{first}")
    assert row.json()["_key"] == "4"
    assert row.headers["content-location"] == "/api/tables/purchase/4"
    answer = await writer.patch(f"/api/tables/purchase/{first}", json={"status": "sent"})
    assert answer.status_code == 202 and answer.json()["key"] == "4"
    own_world.replay()
    assert own_world.colleague("SELECT status FROM purchase WHERE number = 4") == [("sent",)]


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, {"#/code", "#/name"}),
        ({"code": "A", "name": None}, {"#/name"}),
        ({"code": "A", "name": 5}, {"#/name"}),
        ({**NEW, "credit": "1.234"}, {"#/credit"}),
        ({**NEW, "credit": True}, {"#/credit"}),
        ({**NEW, "credit": 1e300}, {"#/credit"}),
        ({**NEW, "credit": "1e99999999"}, {"#/credit"}),
        ({**NEW, "credit": "99999999999.99"}, {"#/credit"}),
        ({**NEW, "since": "tomorrow"}, {"#/since"}),
        ({**NEW, "since": 5}, {"#/since"}),
        ({**NEW, "active": 1}, {"#/active"}),
        ({**NEW, "rank": 1.5}, {"#/rank"}),
        ({**NEW, "rank": 2**63}, {"#/rank"}),
        ({**NEW, "rank": "x"}, {"#/rank"}),
        ({**NEW, "city": "x" * 21}, {"#/city"}),
        ({**NEW, "city": "a\x00b"}, {"#/city"}),
        ({**NEW, "city": ["a"]}, {"#/city"}),
        ({**NEW, "citty": "x", "a/b~c": 1}, {"#/citty", "#/a~1b~0c"}),
        ({**NEW, "code": "ALFKI"}, {"#/code"}),
    ],
)
async def test_what_does_not_fit_is_pointed_at(
    writer: httpx.AsyncClient, body: dict[str, Any], pointers: set[str]
) -> None:
    answer = await writer.post("/api/tables/customer", json=body)
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert {error["pointer"] for error in problem["errors"]} == pointers
    assert problem["code"] == "invalid"
    assert (await writer.get("/api/outbox")).json()["receipts"] == []


async def test_a_reference_must_lead_to_a_row(writer: httpx.AsyncClient) -> None:
    answer = await writer.post("/api/tables/purchase", json={"customer": "NOBODY", "amount": 1})
    assert answer.status_code == 422 and answer.json()["errors"][0]["pointer"] == "#/customer"


async def test_faults_of_fields_speak_the_readers_language(writer: httpx.AsyncClient) -> None:
    answer = await writer.post("/api/tables/customer", json={"code": "A"}, headers={"Accept-Language": "fr"})
    assert answer.json()["errors"] == [{"pointer": "#/name", "detail": "À remplir."}]


async def test_numbers_keep_every_digit(own_world: World, writer: httpx.AsyncClient) -> None:
    body = b'{"code": "N", "name": "N", "rank": 9007199254740995, "credit": 1234567890.10, "ratio": 0.1}'
    answer = await writer.post("/api/tables/customer", content=body)
    assert answer.status_code == 202
    row = answer.json()["row"]
    assert (row["rank"], row["credit"], row["ratio"]) == ("9007199254740995", "1234567890.10", 0.1)
    again = await writer.patch("/api/tables/customer/N", json={"rank": "9007199254740997"})
    assert again.json()["row"]["rank"] == "9007199254740997"
    own_world.replay()
    assert own_world.colleague("SELECT rank, ratio FROM customer WHERE code = 'N'") == [(9007199254740997, 0.1)]


async def test_keys_with_any_letters_can_be_written(own_world: World, writer: httpx.AsyncClient) -> None:
    answer = await writer.post("/api/tables/order_details", json={"order": 9, "product": "Thé / 1,5", "quantity": 1})
    assert (answer.status_code, answer.json()["key"]) == (202, "9,Th~C3~A9~20~2F~201~2C5")
    own_world.replay()
    answer = await writer.patch(answer.json()["url"], json={"quantity": 2})
    assert answer.status_code == 202
    own_world.replay()
    answer = await writer.delete(answer.json()["url"])
    assert answer.status_code == 202 and answer.json()["row"] is None
    own_world.replay()
    assert own_world.colleague('SELECT * FROM "Order Details" WHERE "order" = 9') == []


# -- bodies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("application/json", 202),
        ("application/json;", 202),
        ("Application/JSON; Charset=UTF-8; x=y", 202),
        ("", 202),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/merge-patch+json", 415),
        ("application/json; charset=latin-1", 415),
        ("nonsense", 415),
    ],
)
async def test_only_declared_types_are_read(writer: httpx.AsyncClient, sent: str, status: int) -> None:
    headers = {"Content-Type": sent} if sent else {}
    answer = await writer.post("/api/tables/customer", content=b'{"code": "N", "name": "N"}', headers=headers)
    assert answer.status_code == status, answer.text
    if status == 415:
        assert answer.headers["accept-post"] == "application/json"
        assert answer.json()["code"] == "media-type"


async def test_a_patch_says_which_patches_it_takes(writer: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/json-patch+json"}
    answer = await writer.patch("/api/tables/customer/ALFKI", content=b"[]", headers=headers)
    assert answer.status_code == 415
    assert answer.headers["accept-patch"] == "application/merge-patch+json, application/json"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[1", b'{"a": }', b"\xff", b'{"code": "\\ud800"}', b"nul", b"{" * 3000, b"[" * 90_000, b'{"a": NaN}'],
)
async def test_what_is_not_json_is_said_so(writer: httpx.AsyncClient, body: bytes) -> None:
    answer = await writer.post("/api/tables/customer", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] == "bad-request" and "JSON" in answer.json()["detail"]


@pytest.mark.parametrize("body", [b"[]", b"5", b'"x"', b"null", b"true"])
async def test_a_body_is_an_object(writer: httpx.AsyncClient, body: bytes) -> None:
    answer = await writer.post("/api/tables/customer", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


async def test_a_body_has_a_limit(writer: httpx.AsyncClient) -> None:
    answer = await writer.post("/api/tables/customer", json={"code": "x" * 200_000})
    assert answer.status_code == 413


# -- change -----------------------------------------------------------------------------------------------------------


async def test_a_patch_changes_what_it_names(own_world: World, writer: httpx.AsyncClient) -> None:
    own_world.is_live = True
    headers = {"Content-Type": "application/merge-patch+json"}
    answer = await writer.patch(
        "/api/tables/customer/ALFKI", content=b'{"city": "Bonn", "rank": null}', headers=headers
    )
    assert answer.status_code == 200, answer.text
    changed = answer.json()
    assert (changed["state"], changed["row"]["city"], changed["row"]["rank"]) == ("applied", "Bonn", None)
    assert changed["row"]["credit"] == "1500.50"
    assert own_world.colleague("SELECT city, rank FROM customer WHERE code = 'ALFKI'") == [("Bonn", None)]


async def test_a_patch_goes_into_documents(own_world: World, writer: httpx.AsyncClient) -> None:
    patch = {"profile": {"vat": {"id": None, "rate": 19.5}, "tags": ["a"]}}
    answer = await writer.patch("/api/tables/customer/ALFKI", json=patch)
    assert answer.json()["row"]["profile"] == {"vat": {"rate": 19.5}, "tags": ["a"]}
    answer = await writer.patch("/api/tables/customer/ALFKI", json={"profile": [1, {"b": None}]})
    assert answer.json()["row"]["profile"] == [1, {"b": None}]
    answer = await writer.patch("/api/tables/customer/ALFKI", json={"profile": None})
    assert answer.json()["row"]["profile"] is None


async def test_a_row_sent_back_as_it_came_changes_nothing(own_world: World, writer: httpx.AsyncClient) -> None:
    for key in ("ALFKI", "BOLID", "~C3~89t~C3~A9~201~2F2"):
        row = (await writer.get(f"/api/tables/customer/{key}")).json()
        answer = await writer.patch(f"/api/tables/customer/{key}", json=row)
        assert (answer.status_code, answer.json()["state"]) == (200, "unchanged"), answer.text
        assert answer.json()["row"] == row
    assert (await writer.get("/api/outbox")).json()["receipts"] == []


async def test_a_patch_on_another_state_is_refused_with_the_row_as_it_is(
    own_world: World, writer: httpx.AsyncClient
) -> None:
    seen = (await writer.get("/api/tables/customer/ALFKI")).headers["etag"]
    answer = await writer.patch("/api/tables/customer/ALFKI", json={"city": "Bonn"}, headers={"If-Match": seen})
    assert answer.status_code == 202
    now = answer.headers["etag"]
    assert now != seen
    for method, body in (("PATCH", b'{"city": "Ulm"}'), ("DELETE", b"")):
        answer = await writer.request(
            method, "/api/tables/customer/ALFKI", content=body, headers={"If-Match": f'"x", {seen}'}
        )
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (412, "stale")
        assert problem["current"]["city"] == "Bonn" and answer.headers["etag"] == now
    for number, good in enumerate(("{now}", "*", '"x", {now}')):
        headers = {"If-Match": good.replace("{now}", now)}
        answer = await writer.patch("/api/tables/customer/ALFKI", json={"rank": 100 + number}, headers=headers)
        assert answer.status_code == 202
        now = answer.headers["etag"]
    answer = await writer.patch("/api/tables/customer/ALFKI", json={"name": "x"}, headers={"If-Match": f"W/{now}"})
    assert answer.status_code == 412


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("customer/ALFKI", {"code": "OTHER"}, 422),
        ("customer/ALFKI", {"name": None}, 422),
        ("customer/ALFKI", {"nam": "x"}, 422),
        ("customer/ALFKI", {"city": "x" * 21}, 422),
        ("customer/NOBODY", {"city": "x"}, 404),
        ("nothing/1", {"city": "x"}, 404),
        ("journal/x", {"line": "x"}, 404),
        ("customer/ALFKI", {"code": "ALFKI"}, 200),
        ("customer/ALFKI", {}, 200),
    ],
)
async def test_changes_are_checked_before_they_are_kept(
    writer: httpx.AsyncClient, path: str, body: dict[str, Any], status: int
) -> None:
    answer = await writer.patch(f"/api/tables/{path}", json=body)
    assert answer.status_code == status, answer.text


async def test_a_wrong_typed_value_can_be_put_right(own_world: World, writer: httpx.AsyncClient) -> None:
    answer = await writer.patch("/api/tables/customer/WRONG", json={"credit": "5.00", "profile": {"a": 1}})
    assert answer.status_code == 202, answer.text
    row = answer.json()["row"]
    assert (row["credit"], row["profile"], row["since"]) == ("5.00", {"a": 1}, "soon")


# -- ends -------------------------------------------------------------------------------------------------------------


async def test_what_the_backend_refuses_is_a_problem_with_its_reason(
    own_world: World, writer: httpx.AsyncClient
) -> None:
    own_world.is_live = True
    answer = await writer.patch("/api/tables/order_details/1,tea", json={"quantity": -1})
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (409, "refused")
    assert "quantity" in problem["detail"].lower() or "check" in problem["detail"].lower()
    found = (await writer.get(f"/api/outbox/{problem['receipt']}")).json()
    assert (found["state"], found["reason"]) == ("refused", problem["detail"])
    assert (await writer.get("/api/tables/order_details/1,tea")).json()["quantity"] == 2


async def test_a_row_changed_in_the_backend_is_a_conflict_with_theirs(
    own_world: World, writer: httpx.AsyncClient
) -> None:
    own_world.colleague("UPDATE customer SET city = 'Köln', rank = 9 WHERE code = 'ALFKI'")
    own_world.is_live = True
    answer = await writer.patch("/api/tables/customer/ALFKI", json={"city": "Bonn"})
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["title"]) == (409, "conflict", "Changed in the backend")
    assert (problem["theirs"]["city"], problem["theirs"]["rank"]) == ("Köln", 9)
    found = (await writer.get(f"/api/outbox/{problem['receipt']}")).json()
    assert found["state"] == "conflict"
    [change] = found["changes"]
    assert (change["before"], change["after"]) == ({"city": "Berlin"}, {"city": "Bonn"})
    assert change["theirs"]["city"] == "Köln"


async def test_a_row_is_deleted_once_and_then_gone(own_world: World, writer: httpx.AsyncClient) -> None:
    own_world.is_live = True
    answer = await writer.delete("/api/tables/purchase/3")
    assert (answer.status_code, answer.json()["state"], answer.json()["row"]) == (200, "applied", None)
    assert own_world.colleague("SELECT count(*) FROM purchase") == [(2,)]
    assert (await writer.get("/api/tables/purchase/3")).status_code == 404
    assert (await writer.delete("/api/tables/purchase/3")).status_code == 404


async def test_who_prefers_to_wait_is_told_the_end(tmp_path: Any) -> None:
    world = World(tmp_path, settle_wait_ms=0)
    try:
        async with world.client() as client:

            async def later() -> None:
                await asyncio.sleep(0.2)
                await asyncio.to_thread(world.replay)

            task = asyncio.create_task(later())
            headers = {"Prefer": "respond-async, wait=10"}
            answer = await client.patch("/api/tables/customer/ALFKI", json={"city": "Bonn"}, headers=headers)
            await task
            assert answer.status_code == 200
            assert answer.headers["preference-applied"] == "wait=10"
            headers = {"Prefer": "wait=0"}
            answer = await client.patch("/api/tables/customer/ALFKI", json={"city": "Ulm"}, headers=headers)
            assert answer.status_code == 202 and answer.headers["preference-applied"] == "wait=0"
    finally:
        world.close()


async def test_who_prefers_not_to_wait_is_answered_as_soon_as_the_write_is_kept(
    own_world: World, writer: httpx.AsyncClient
) -> None:
    own_world.is_live = True
    hurried = await writer.patch(
        "/api/tables/customer/ALFKI", json={"city": "Bonn"}, headers={"Prefer": "respond-async"}
    )
    assert (hurried.status_code, hurried.headers["preference-applied"]) == (202, "respond-async")
    assert (await writer.get("/api/tables/customer/ALFKI")).json()["city"] == "Bonn"
    patient = await writer.patch("/api/tables/customer/ALFKI", json={"city": "Ulm"})
    assert patient.status_code == 200 and "preference-applied" not in patient.headers


async def test_a_reader_writes_nothing(own_world: World) -> None:
    async with own_world.client("read") as reader:
        for method, path in (
            ("POST", "/api/tables/customer"),
            ("PATCH", "/api/tables/customer/ALFKI"),
            ("DELETE", "/api/tables/customer/ALFKI"),
            ("POST", "/api/commands/move"),
            ("POST", "/api/outbox/X/withdraw"),
        ):
            answer = await reader.request(method, path, json={"city": "x", "code": "ALFKI"})
            assert answer.status_code == 403, path
            assert answer.headers["content-type"] == "application/problem+json"


# -- once -------------------------------------------------------------------------------------------------------------


async def test_a_write_sent_thrice_is_done_once(own_world: World, writer: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": '"order-4711"'}
    body = {"amount": "5.00"}
    first = await writer.post("/api/tables/purchase", json=body, headers=headers)
    assert first.status_code == 202 and "idempotency-replayed" not in first.headers
    second = await writer.post("/api/tables/purchase", json=body, headers={"Idempotency-Key": "order-4711"})
    assert (second.status_code, second.headers["idempotency-replayed"]) == (202, "true")
    assert second.json()["duplicate"]
    assert {**second.json(), "duplicate": False} == first.json()
    own_world.replay()
    third = await writer.post("/api/tables/purchase", json=body, headers=headers)
    assert (third.status_code, third.json()["state"], third.json()["key"]) == (201, "applied", "4")
    assert third.headers["location"] == "/api/tables/purchase/4"
    assert own_world.replay() == 0
    assert own_world.colleague("SELECT count(*) FROM purchase") == [(4,)]


async def test_at_once_and_thrice_is_still_once(own_world: World, writer: httpx.AsyncClient) -> None:
    own_world.is_live = True
    headers = {"Idempotency-Key": "k"}

    async def send() -> httpx.Response:
        return await writer.post("/api/tables/purchase", json={"amount": "5.00"}, headers=headers)

    answers = await asyncio.gather(*(send() for _ in range(8)))
    assert {answer.status_code for answer in answers} <= {201, 202}
    assert len({answer.json()["receipt"] for answer in answers}) == 1
    assert own_world.colleague("SELECT count(*) FROM purchase") == [(4,)]


async def test_a_key_with_another_wish_is_refused(own_world: World, writer: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "k"}
    first = await writer.post("/api/tables/purchase", json={"amount": "5.00"}, headers=headers)
    for answer in (
        await writer.post("/api/tables/purchase", json={"amount": "6.00"}, headers=headers),
        await writer.patch("/api/tables/customer/ALFKI", json={"city": "x"}, headers=headers),
        await writer.delete("/api/tables/customer/ALFKI", headers=headers),
        await writer.post("/api/commands/move", json={"code": "ALFKI", "city": "x"}, headers=headers),
    ):
        assert answer.status_code == 422
        assert answer.json()["code"] == "idempotency-key-reused"
        assert answer.json()["receipt"] == first.json()["receipt"]


async def test_a_key_belongs_to_its_user(own_world: World, writer: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "k"}
    first = await writer.post("/api/tables/purchase", json={"amount": "5.00"}, headers=headers)
    async with own_world.client("write", "other") as other:
        second = await other.post("/api/tables/purchase", json={"amount": "6.00"}, headers=headers)
    assert first.json()["receipt"] != second.json()["receipt"] and second.status_code == 202


async def test_a_patch_sent_again_is_not_stale_by_itself(own_world: World, writer: httpx.AsyncClient) -> None:
    own_world.is_live = True
    seen = (await writer.get("/api/tables/customer/ALFKI")).headers["etag"]
    headers = {"If-Match": seen, "Idempotency-Key": "p"}
    for replayed in (None, "true"):
        answer = await writer.patch("/api/tables/customer/ALFKI", json={"city": "Bonn"}, headers=headers)
        assert (answer.status_code, answer.headers.get("idempotency-replayed")) == (200, replayed)
    answer = await writer.patch("/api/tables/customer/ALFKI", json={"city": "Ulm"}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-key-reused")


async def test_a_deletion_sent_again_is_not_missing_its_row(own_world: World, writer: httpx.AsyncClient) -> None:
    own_world.is_live = True
    headers = {"Idempotency-Key": "d", "If-Match": (await writer.get("/api/tables/purchase/3")).headers["etag"]}
    for replayed in (None, "true"):
        answer = await writer.delete("/api/tables/purchase/3", headers=headers)
        assert (answer.status_code, answer.headers.get("idempotency-replayed")) == (200, replayed)


async def test_a_refusal_sent_again_is_refused_again(own_world: World, writer: httpx.AsyncClient) -> None:
    own_world.is_live = True
    headers = {"Idempotency-Key": "r"}
    answers = [
        await writer.patch("/api/tables/order_details/1,tea", json={"quantity": -1}, headers=headers) for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [409, 409]
    assert answers[0].json()["receipt"] == answers[1].json()["receipt"]


@pytest.mark.parametrize("key", ["x" * 201, "a\tb"])
async def test_a_key_that_cannot_be_kept_is_refused(writer: httpx.AsyncClient, key: str) -> None:
    headers = {"Idempotency-Key": key}
    answer = await writer.post("/api/tables/purchase", json={"amount": 1}, headers=headers)
    assert answer.status_code == 422 and answer.json()["errors"][0]["header"] == "Idempotency-Key"


async def test_while_the_engine_is_away_reads_go_on_and_writes_say_so(tmp_path: Any) -> None:
    world = World(tmp_path)
    try:
        async with world.client() as client:
            world.engine.writer.stop()
            assert (await client.get("/api/tables/customer")).status_code == 200
            answer = await client.post("/api/tables/purchase", json={"amount": 1})
            assert (answer.status_code, answer.json()["code"]) == (503, "busy")
            assert answer.headers["retry-after"]
    finally:
        world.close()


async def test_a_value_has_a_limit(tmp_path: Any) -> None:
    world = World(tmp_path, cell_bytes_max=100)
    try:
        async with world.client() as client:
            for body in ({"name": "é" * 51}, {"profile": ["x" * 100]}):
                answer = await client.patch("/api/tables/customer/ALFKI", json=body)
                assert (answer.status_code, answer.json()["errors"][0]["detail"]) == (422, "Is too large.")
            assert (await client.patch("/api/tables/customer/ALFKI", json={"name": "é" * 50})).status_code == 202
    finally:
        world.close()


async def test_a_browsers_session_repeats_its_secret(own_world: World) -> None:
    own_world.accounts.create_user("walid", PASSWORD, "write")
    opened = own_world.accounts.open_session("walid")
    async with own_world.client() as client:
        del client.headers["authorization"]
        client.cookies.set(f"brique_{own_world.accounts.instance}", opened.id)
        headers = {"Origin": "http://intranet.test"}
        answer = await client.patch("/api/tables/customer/ALFKI", json={"city": "Bonn"}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "cross-site")
        headers["X-CSRF-Token"] = opened.csrf
        answer = await client.patch("/api/tables/customer/ALFKI", json={"city": "Bonn"}, headers=headers)
        assert answer.status_code == 202
