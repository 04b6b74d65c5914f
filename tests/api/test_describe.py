"""The description: valid, true, and of what its reader may do."""

from __future__ import annotations

import html
import re
import shlex
from typing import Any

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from brique.api import Api
from tests.api.world import World

pytestmark = pytest.mark.anyio


async def document(world: World, role: str, **headers: str) -> dict[str, Any]:
    async with world.client(role, **headers) as client:
        answer = await client.get("/openapi.json")
    assert answer.status_code == 200
    return dict(answer.json())


@pytest.mark.parametrize("role", ["read", "write", "admin"])
@pytest.mark.parametrize("language", ["en", "fr"])
async def test_the_document_is_valid_for_every_reader(world: World, role: str, language: str) -> None:
    found = await document(world, role, **{"Accept-Language": language})
    assert list(OpenAPIV31SpecValidator(found).iter_errors()) == []
    assert found["openapi"] == "3.1.0"


def operations(found: dict[str, Any]) -> dict[str, tuple[str, str, dict[str, Any]]]:
    return {
        operation["operationId"]: (method.upper(), path, operation)
        for path, methods in found["paths"].items()
        for method, operation in methods.items()
    }


async def test_every_operation_is_named_once_and_tells_what_it_does(world: World) -> None:
    found = await document(world, "admin")
    every = [operation for methods in found["paths"].values() for operation in methods.values()]
    assert len(operations(found)) == len(every)
    tags = {tag["name"] for tag in found["tags"]}
    for operation in every:
        assert operation["summary"] and operation["description"] and set(operation["tags"]) <= tags
        assert {"401", "403", "503"} <= set(operation["responses"])
        names = [(one.get("in"), one.get("name"), one.get("$ref")) for one in operation.get("parameters", ())]
        assert len(names) == len(set(names))


async def test_every_reference_leads_somewhere(world: World) -> None:
    found = await document(world, "admin")

    def look(part: Any) -> None:
        if isinstance(part, dict):
            pointer = part.get("$ref")
            if isinstance(pointer, str):
                target: Any = found
                for step in pointer.removeprefix("#/").split("/"):
                    target = target[step]
            for value in part.values():
                look(value)
        elif isinstance(part, list):
            for value in part:
                look(value)

    look(found)


async def test_a_reader_is_not_shown_what_he_may_not_do(world: World) -> None:
    read, write, admin = [operations(await document(world, role)) for role in ("read", "write", "admin")]
    assert {method for method, _, _ in read.values()} == {"GET"}
    assert {"create_customer", "change_customer", "delete_customer", "run_move", "withdraw"} <= set(write)
    assert "run_purge" in admin and "run_purge" not in write
    assert "view_secret" in admin and "view_secret" not in read
    assert not {"create_journal", "change_journal", "delete_journal"} & set(admin)


async def test_tables_have_typed_schemas(world: World) -> None:
    schemas = (await document(world, "write"))["components"]["schemas"]
    customer = schemas["customer"]["properties"]
    assert customer["credit"] == {"type": ["string", "null"], "pattern": r"^-?[0-9]+(\.[0-9]+)?$", "title": "Credit"}
    assert customer["city"]["maxLength"] == 20
    assert customer["active"]["type"] == ["boolean", "null"]
    assert customer["since"]["format"] == "date"
    assert schemas["customer_new"]["required"] == ["code", "name"]
    assert schemas["purchase_new"]["required"] == ["amount"]
    assert "code" not in schemas["customer_change"]["properties"]
    assert schemas["picture_listed"]["properties"]["data"]["properties"]["bytes"] == {"type": "integer"}
    assert schemas["command_move"]["required"] == ["code", "city"]


async def test_what_is_described_is_what_is_answered(world: World) -> None:
    """Every GET without unknown places is asked, and its members are those of its schema."""
    found = await document(world, "write")
    places = {"key": "ALFKI", "format": "json", "column": "name"}
    async with world.client("write") as client:
        for method, path, operation in operations(found).values():
            names = set(re.findall(r"\{(\w+)\}", path))
            if method != "GET" or "receipt" in names or "column" in names or (names and "customer" not in path):
                continue
            query = {
                one["name"]: "x"
                for one in operation.get("parameters", ())
                if one.get("required") and one["in"] == "query"
            }
            answer = await client.get(path.format(**places), params=query)
            if operation["operationId"] == "view_broken":
                continue
            assert answer.status_code == 200, path
            schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
            if "$ref" in schema:
                known = found["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
                assert set(answer.json()) == set(known["properties"]), path


def sample_of(schema: dict[str, Any]) -> str:
    """A text that a parameter of that schema should take."""
    if "enum" in schema or "examples" in schema:
        return str((schema.get("enum") or schema["examples"])[0])
    kind = schema.get("type", "string")
    if schema.get("format") == "date":
        return "2026-11-20"
    return "true" if kind == "boolean" else "1"


async def test_every_parameter_that_is_described_is_taken(world: World) -> None:
    found = await document(world, "read")
    shared = found["components"]["parameters"]
    async with world.client("read") as client:
        for table in ("customer", "order_details", "picture", "journal"):
            for path in (f"/api/tables/{table}", f"/api/tables/{table}.json"):
                asked = path if path in found["paths"] else f"/api/tables/{table}.{{format}}"
                for one in found["paths"][asked]["get"]["parameters"]:
                    parameter = shared[one["$ref"].rpartition("/")[2]] if "$ref" in one else one
                    if parameter["in"] != "query" or parameter["name"] in ("after", "before"):
                        continue
                    sample = sample_of(parameter["schema"])
                    if parameter["name"] == "columns":
                        sample = world.specs[table].names[0]
                    answer = await client.get(path, params={parameter["name"]: sample})
                    assert answer.status_code == 200, (path, parameter["name"], sample, answer.text)


async def test_the_document_and_the_routes_are_of_one_table(world: World) -> None:
    routes = {(method, route.path) for route in Api(world.parts).routes() for method in route.methods}
    declared = {(operation.method, operation.path) for operation in Api(world.parts).operations}
    own = {("GET", "/openapi.json"), ("GET", "/api/docs"), ("GET", "/api/docs/{table}")}
    assert routes == declared | own
    found = await document(world, "admin")
    for operation in Api(world.parts).operations:
        pattern = re.compile(re.sub(r"\\\{(table|view|command)\\\}", "[a-z_]+", re.escape(operation.path)))
        assert any(pattern.fullmatch(path) for path in found["paths"]), operation.path


async def test_the_document_is_not_sent_twice(client: httpx.AsyncClient) -> None:
    answer = await client.get("/openapi.json")
    again = await client.get("/openapi.json", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    other = await client.get(
        "/openapi.json", headers={"If-None-Match": answer.headers["etag"], "Accept-Language": "fr"}
    )
    assert other.status_code == 200


# -- the pages --------------------------------------------------------------------------------------------------------


async def test_the_docs_page_needs_nothing_from_outside(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/docs")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
    assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", answer.text)
    assert "<script>" not in answer.text and " style=" not in answer.text and " onclick=" not in answer.text
    assert 'href="/api/docs/customer"' in answer.text and "Take a write back" in answer.text
    assert "Authorization: Bearer" in answer.text


async def test_the_page_of_a_table_shows_columns_operations_and_curl(client: httpx.AsyncClient) -> None:
    text = (await client.get("/api/docs/customer")).text
    assert "Conditions" in text and "credit" in text
    assert "http://intranet.test/api/tables/customer?limit=5" in text
    assert "http://intranet.test/api/tables/customer/ALFKI" in text
    assert "Idempotency-Key: $(uuidgen)" in text
    assert "city__contains" not in text
    assert (await client.get("/api/docs/custmer")).status_code == 404


async def test_the_docs_of_a_reader_show_no_writes(world: World) -> None:
    async with world.client("read") as reader:
        text = (await reader.get("/api/docs/customer")).text
        assert ">GET<" in text and ">POST<" not in text and ">PATCH<" not in text


async def test_the_docs_speak_french(client: httpx.AsyncClient) -> None:
    text = (await client.get("/api/docs", headers={"Accept-Language": "fr"})).text
    assert "En bref" in text and "In short" not in text


async def test_the_curl_lines_work(writer: httpx.AsyncClient) -> None:
    """What a reader copies is what the server takes: each line is taken apart as a shell would, and asked."""
    text = (await writer.get("/api/docs/order_details")).text
    lines = [html.unescape(line) for line in re.findall(r"<code>(curl .*?)</code>", text, re.S)]
    assert len(lines) >= 6
    for line in lines:
        words = shlex.split(line)
        method, headers, body = "GET", {}, None
        for at, word in enumerate(words):
            if word == "-X":
                method = words[at + 1]
            elif word == "-d":
                body = words[at + 1]
            elif word == "-H" and not words[at + 1].startswith("Authorization"):
                name, _, value = words[at + 1].partition(": ")
                headers[name] = value + method + str(at)
        if "Content-Type" in headers:
            headers["Content-Type"] = "application/json"
        answer = await writer.request(method, words[-1], headers=headers, content=body)
        assert answer.status_code < 300, (line, answer.text)
