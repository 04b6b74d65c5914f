"""Lists, rows and what is around them, as programs get them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.api.world import World

pytestmark = pytest.mark.anyio


def links(answer: httpx.Response) -> dict[str, str]:
    return {rel: link["url"] for rel, link in answer.links.items() if rel}


def codes(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [row["code"] for row in answer.json()["rows"]]


async def test_a_list_says_what_it_holds_and_how_old_it_is(world: World, client: httpx.AsyncClient) -> None:
    world.clock.pass_time(seconds=95)
    answer = await client.get("/api/tables/customer?limit=2")
    page = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert (page["count"], page["count_exact"], len(page["rows"])) == (5, True, 2)
    assert (page["as_of"], page["age_seconds"]) == ("2026-11-20T10:42:00.000000Z", 95)
    assert answer.headers["brique-age"] == "95"
    assert answer.headers["brique-position"] == str(page["position"]) == str(world.reader.seq())
    assert page["previous"] is None
    assert page["rows"][0] == {
        "_key": "ALFKI",
        "_label": "ALFKI Alfreds",
        "_pending": 0,
        "_version": page["rows"][0]["_version"],
        "code": "ALFKI",
        "name": "Alfreds",
        "city": "Berlin",
        "credit": "1500.50",
        "since": "1996-07-04",
        "active": True,
        "rank": 1,
        "ratio": 0.5,
        "met": "2026-11-20T10:42:00.000000",
        "profile": {"vat": {"id": "DE1"}},
    }


async def test_links_lead_through_all_pages_and_back(client: httpx.AsyncClient) -> None:
    seen: list[str] = []
    url: str | None = "/api/tables/customer?limit=2&sort=-name"
    last = ""
    while url:
        answer = await client.get(url)
        seen += codes(answer)
        last, url = url, answer.json()["next"]
        assert links(answer).get("next") == url
    assert seen == ["WRONG", "Été 1/2", "BOLID", "ALFKI", "EVIL"]
    answer = await client.get(last)
    assert links(answer)["first"] == "/api/tables/customer?limit=2&sort=-name"
    answer = await client.get(links(answer)["prev"])
    assert codes(answer) == ["BOLID", "ALFKI"]
    assert answer.json()["previous"]


async def test_an_export_of_the_same_list_is_linked(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/tables/customer?limit=1&city=Berlin&sort=name")
    csv = next(link["url"] for link in answer.links.values() if link.get("type") == "text/csv")
    assert csv == "/api/tables/customer.csv?city=Berlin&sort=name"
    answer = await client.get(csv)
    assert answer.status_code == 200 and answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"].startswith("attachment; filename=")


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("city=Berlin", ["ALFKI"]),
        ("city__ne=Berlin", ["BOLID", "EVIL", "WRONG", "Été 1/2"]),
        ("city__in=Berlin,Madrid", ["ALFKI", "BOLID"]),
        ("city__prefix=Thi", ["Été 1/2"]),
        ("name__contains=cafe", ["Été 1/2"]),
        ("since__lt=2001-01-01", ["ALFKI"]),
        ("since__null=true", ["BOLID"]),
        ("credit__ge=10.00&credit__le=1500.50&city__null=false", ["ALFKI", "EVIL"]),
        ("credit=-0.05", ["Été 1/2"]),
        ("active=false", ["BOLID"]),
        ("ratio__gt=0.5&ratio__lt=2", ["BOLID"]),
        ("rank=9007199254740995", ["Été 1/2"]),
        ("met__ge=2026-11-20", ["ALFKI", "WRONG"]),
        ("q=madrid", ["BOLID"]),
        ("q=comidas+bolid", ["BOLID"]),
        ("q=%22%27%3B--", []),
        ("name=%27+OR+1%3D1+--", []),
        ("name__contains=%25", []),
        ("columns=code,city&city=Berlin", ["ALFKI"]),
    ],
)
async def test_conditions_leave_the_rows_they_should(client: httpx.AsyncClient, query: str, wanted: list[str]) -> None:
    assert codes(await client.get(f"/api/tables/customer?{query}")) == wanted


async def test_chosen_columns_come_in_order_and_alone(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/tables/customer?columns=city,code&limit=1")
    assert list(answer.json()["rows"][0]) == ["_key", "_label", "_pending", "_version", "city", "code"]


async def test_an_unknown_parameter_is_refused_with_the_nearest_name(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/tables/customer?citty=x&sort=nam")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["detail"] == "There is no citty here." and problem["try_this"] == "Did you mean city?"
    assert {error["parameter"] for error in problem["errors"]} == {"citty", "sort"}
    assert problem["type"] == "/-/problems/invalid" and problem["request_id"] == answer.headers["x-request-id"]


async def test_faults_speak_the_readers_language(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/tables/customer?rank=x", headers={"Accept-Language": "fr"})
    assert answer.headers["content-language"] == "fr"
    assert answer.json()["detail"] == "La liste ne peut pas être montrée ainsi."


@pytest.mark.parametrize("cursor", ["x", "", "%00", "AAAA", "é", "a" * 3000])
async def test_a_bad_cursor_is_refused(client: httpx.AsyncClient, cursor: str) -> None:
    answer = await client.get(f"/api/tables/customer?after={cursor}")
    assert answer.status_code == (422 if cursor else 200)


async def test_a_cursor_of_another_sort_is_refused(client: httpx.AsyncClient) -> None:
    following = (await client.get("/api/tables/customer?limit=1&sort=name")).json()["next"]
    answer = await client.get(following.replace("sort=name", "sort=-name"))
    assert answer.status_code == 422


@pytest.mark.parametrize("table", ["custmer", "sqlite_schema", "t_customer", "customer'", "%00", "é"])
async def test_there_are_no_other_tables(client: httpx.AsyncClient, table: str) -> None:
    answer = await client.get(f"/api/tables/{table}")
    assert answer.status_code == 404
    assert answer.json()["code"] == "not-found"


async def test_a_list_is_not_sent_twice(world: World, client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/tables/customer?limit=2")
    etag = answer.headers["etag"]
    world.clock.pass_time(seconds=30)
    again = await client.get("/api/tables/customer?limit=2", headers={"If-None-Match": f'"other", {etag}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["brique-age"] == "30" and again.headers["etag"] == etag
    assert "content-type" not in again.headers
    other = await client.get("/api/tables/customer?limit=3", headers={"If-None-Match": etag})
    assert other.status_code == 200


async def test_a_row_is_not_sent_twice(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/tables/customer/ALFKI")
    assert answer.json()["profile"] == {"vat": {"id": "DE1"}}
    assert answer.headers["etag"].startswith('"') and answer.headers["brique-age"] == "0"
    assert links(answer)["alternate"] == "/tables/customer/ALFKI"
    again = await client.get("/api/tables/customer/ALFKI", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    other = await client.get("/api/tables/customer/BOLID", headers={"If-None-Match": answer.headers["etag"]})
    assert other.status_code == 200


async def test_keys_of_any_letters_lead_to_their_row(client: httpx.AsyncClient) -> None:
    for row in (await client.get("/api/tables/customer")).json()["rows"]:
        assert (await client.get(f"/api/tables/customer/{row['_key']}")).json()["code"] == row["code"]
    for row in (await client.get("/api/tables/order_details")).json()["rows"]:
        answer = await client.get(f"/api/tables/order_details/{row['_key']}")
        assert answer.json() == row, row["_key"]


async def test_a_key_with_plain_letters_is_understood(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"/api/tables/order_details/{quote('2,')}")
    assert answer.status_code == 200 and answer.json()["product"] == ""
    assert answer.headers["content-location"] == "/api/tables/order_details/2,~e"


@pytest.mark.parametrize("key", ["nobody", "1,2,3", "~", "~zz", "%00", "a%2Fb", "🧱", "new-0", "x" * 5000])
async def test_there_is_no_such_row(client: httpx.AsyncClient, key: str) -> None:
    answer = await client.get(f"/api/tables/order_details/{key}")
    assert answer.status_code == 404, answer.text


async def test_a_column_named_like_a_control_can_be_filtered(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/tables/order_details?limit__eq=7")
    assert [row["_key"] for row in answer.json()["rows"]] == ["2,~e"]


async def test_wrong_typed_values_come_as_they_are(client: httpx.AsyncClient) -> None:
    row = (await client.get("/api/tables/customer/WRONG")).json()
    assert [row[name] for name in ("credit", "since", "active", "rank", "ratio", "met", "profile")] == [
        "a lot",
        "soon",
        7,
        "many",
        "x",
        "never",
        "not json",
    ]


async def test_binary_values_are_apart_in_lists_and_whole_in_rows(client: httpx.AsyncClient) -> None:
    rows = (await client.get("/api/tables/picture")).json()["rows"]
    assert rows[0]["data"] == {"bytes": 4, "url": "/api/tables/picture/1/data.bin"}
    assert rows[1]["data"] is None
    answer = await client.get(rows[0]["data"]["url"])
    assert answer.content == b"\x89PNG" and answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == 'attachment; filename="picture-data.bin"'
    assert (await client.get("/api/tables/picture/1")).json()["data"] == "iVBORw=="
    for path in ("2/data", "1/name", "1/nowhere", "9/data"):
        assert (await client.get(f"/api/tables/picture/{path}.bin")).status_code == 404


async def test_a_table_without_key_is_read_only(client: httpx.AsyncClient) -> None:
    page = (await client.get("/api/tables/journal")).json()
    assert [row["line"] for row in page["rows"]] == ["first", None]
    answer = await client.post("/api/tables/journal", json={"line": "x"})
    assert answer.status_code == 403 and "no key" in answer.json()["reason"]


async def test_the_index_and_the_tables_say_where_all_is(client: httpx.AsyncClient) -> None:
    index = (await client.get("/api")).json()
    assert [table["name"] for table in index["tables"]] == [
        "customer",
        "purchase",
        "order_details",
        "picture",
        "journal",
    ]
    assert [view["name"] for view in index["views"]] == ["by_city", "broken"]
    assert [command["name"] for command in index["commands"]] == ["move"]
    for link in [*index["tables"], {"url": index["openapi"]}, {"url": index["outbox"]}]:
        assert (await client.get(link["url"])).status_code == 200
    tables = {table["name"]: table for table in (await client.get("/api/tables")).json()["tables"]}
    assert (tables["customer"]["rows"], tables["customer"]["writable"]) == (5, True)
    assert tables["journal"]["read_only"] and not tables["journal"]["writable"]
    assert tables["order_details"]["key"] == ["order", "product"]


async def test_a_reader_is_told_what_he_may_not_write(world: World) -> None:
    async with world.client("read") as reader:
        tables = (await reader.get("/api/tables")).json()["tables"]
        assert not any(table["writable"] for table in tables)


async def test_a_lookup_finds_rows_by_what_they_are_called(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/lookup/customer?q=cafe")
    assert answer.json()["rows"] == [{"_key": "~C3~89t~C3~A9~201~2F2", "_label": "Été 1/2 Café de l'Été"}]
    assert (await client.get("/api/lookup/customer?x=1")).status_code == 422


async def test_head_and_options_and_other_methods(client: httpx.AsyncClient) -> None:
    for path in ("/api/tables/customer", "/api/tables/customer/ALFKI", "/api/tables/customer.csv", "/openapi.json"):
        got, head = await client.get(path), await client.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers.get("etag") == got.headers.get("etag")
        assert head.headers["content-type"] == got.headers["content-type"]
    answer = await client.options("/api/tables/customer")
    assert (answer.status_code, answer.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")
    answer = await client.put("/api/tables/customer", json={})
    assert answer.status_code == 405 and answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert answer.json()["code"] == "method-not-allowed"


@pytest.mark.parametrize(
    ("accept", "status"),
    [("application/json", 200), ("*/*", 200), ("text/html, */*;q=0.1", 200), ("application/xml", 406), ("", 200)],
)
async def test_what_cannot_be_given_is_not_given_otherwise(client: httpx.AsyncClient, accept: str, status: int) -> None:
    answer = await client.get("/api/tables/customer", headers={"Accept": accept})
    assert answer.status_code == status
    if status == 406:
        assert answer.json()["title"] == "Not in that form"


async def test_nobody_reads_without_signing_in(world: World) -> None:
    async with world.client() as client:
        for path in ("/api", "/api/tables/customer", "/api/tables/customer.csv", "/openapi.json", "/api/docs"):
            answer = await client.get(path, headers={"Authorization": "Bearer nonsense"})
            assert answer.status_code == 401, path
            answer = await client.get(path, headers={"Authorization": ""})
            assert answer.status_code in (401, 303), path


async def test_a_token_as_basic_password_is_taken(world: World) -> None:
    grant = world.accounts.grant_token("basic", "read")
    async with world.client() as client:
        answer = await client.get("/api/tables", auth=httpx.BasicAuth("any", grant.value))
        assert answer.status_code == 200


async def test_a_parameter_given_twice_is_refused(client: httpx.AsyncClient) -> None:
    for path in ("/api/outbox?limit=1&limit=2", "/api/tables/customer?limit=1&limit=2", "/api/lookup/customer?q=a&q=b"):
        assert (await client.get(path)).status_code == 422, path


async def test_exports_refuse_what_they_do_not_know(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/tables/customer.csv?citty=x")
    assert answer.status_code == 422 and answer.json()["errors"][0]["parameter"] == "citty"
    assert (await client.get("/api/tables/customer.pdf")).status_code == 404
    assert (await client.get("/api/tables/nothing.csv")).status_code == 404
    assert (await client.get("/api/tables/customer.csv?_separator=x")).status_code == 422
    assert (await client.get("/api/tables/customer.csv", headers={"Accept": "image/png"})).status_code == 406


def test_a_table_that_is_still_copied_is_not_taken_for_empty(tmp_path: Any) -> None:
    import asyncio

    world = World(tmp_path, load=False)

    async def ask() -> None:
        async with world.client() as client:
            for path in ("", "/ALFKI", ".csv"):
                answer = await client.get(f"/api/tables/customer{path}")
                assert answer.status_code == 503, path
                assert answer.headers["retry-after"] and answer.json()["code"] == "busy"
            tables = (await client.get("/api/tables")).json()["tables"]
            assert not tables[0]["loaded"]

    try:
        asyncio.run(ask())
    finally:
        world.close()
