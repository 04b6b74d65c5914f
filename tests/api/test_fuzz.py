"""Whatever a program sends, it is answered: with rows, or with a problem that names what is wrong. Never with a fault
of ours."""

from __future__ import annotations

import asyncio
import json
import string
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brique.exports import COMPARISONS, CONTROLS
from tests.api.conftest import declare
from tests.api.world import World

QUICK = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
TABLES = ("customer", "purchase", "order_details", "picture", "journal")
TEXTS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["", "'", '"', ";--", "%", "_", "\x00", "\\", "*", "NEAR(a b)", 'a" OR "b', "~n", "\U0001f9f1", "ﬁ"]
    ),
    st.integers().map(str),
    st.decimals().map(str),
    st.dates().map(str),
    st.datetimes().map(lambda moment: moment.isoformat()),
    st.sampled_from(["true", "false", "null", "1e999", "-0", "1e-400", "0x10", "９", "--5", "{}", "[", "aGk="]),
)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("fuzzed"), declare=declare, settle_wait_ms=0)
    yield world
    world.close()


def ask(world: World, method: str, path: str, **options: Any) -> httpx.Response:
    async def go() -> httpx.Response:
        async with world.client() as client:
            return await client.request(method, path, **options)

    return asyncio.run(go())


def check(answer: httpx.Response) -> None:
    """A good answer, or a problem in full."""
    assert answer.status_code < 500, (answer.request.url, answer.text)
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert {"type", "title", "status", "code", "detail", "request_id"} <= problem.keys()
        assert problem["status"] == answer.status_code
        for error in problem.get("errors", ()):
            assert error["detail"] and len(error) == 2


@st.composite
def list_queries(draw: st.DrawFn) -> tuple[str, str]:
    table = draw(st.sampled_from(TABLES))
    columns = {
        "customer": ("code", "city", "credit", "since", "active", "rank", "ratio", "met", "profile"),
        "purchase": ("number", "customer", "amount", "status"),
        "order_details": ("order", "product", "quantity", "limit"),
        "picture": ("id", "name", "data"),
        "journal": ("line", "at"),
    }[table]
    names = st.one_of(
        st.sampled_from(columns),
        st.sampled_from(CONTROLS),
        st.tuples(st.sampled_from(columns), st.sampled_from(COMPARISONS)).map("__".join),
        st.tuples(st.sampled_from(columns), st.sampled_from(COMPARISONS)).map("__".join),
        st.text(string.ascii_letters + "_", max_size=10),
    )
    values = st.one_of(TEXTS, st.sampled_from(columns), st.sampled_from(columns).map(lambda name: f"-{name}"))
    pairs = draw(st.lists(st.tuples(names, values), max_size=4))
    return table, urlencode(pairs, errors="surrogatepass")


@given(list_queries(), st.sampled_from(["", ".csv", ".json", ".xlsx"]))
@QUICK
def test_any_list_is_answered(fuzzed: World, asked: tuple[str, str], suffix: str) -> None:
    table, query = asked
    check(ask(fuzzed, "GET", f"/api/tables/{table}{suffix}?{query}"))


@given(st.text(string.ascii_letters + string.digits + "-_=%", max_size=60), st.sampled_from(["after", "before"]))
@QUICK
def test_any_cursor_is_answered(fuzzed: World, cursor: str, way: str) -> None:
    check(ask(fuzzed, "GET", f"/api/tables/customer?{way}={cursor}&sort=rank"))


@given(st.sampled_from(TABLES), TEXTS, st.sampled_from(["GET", "PATCH", "DELETE", "HEAD", "OPTIONS", "POST"]))
@QUICK
def test_any_key_is_answered(fuzzed: World, table: str, key: str, method: str) -> None:
    address = f"/api/tables/{table}/{quote(key, safe='', errors='surrogatepass')}"
    answer = ask(fuzzed, method, address, json={} if method == "PATCH" else None)
    if method == "HEAD":
        assert answer.status_code < 500
    else:
        check(answer)


JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)
MEMBERS = st.sampled_from(
    ["code", "name", "city", "credit", "since", "active", "rank", "ratio", "met", "profile", "_key", "nothing"]
)


@given(st.dictionaries(MEMBERS, JSON_VALUES, max_size=6), st.sampled_from(["POST", "PATCH"]))
@QUICK
def test_any_body_is_answered(fuzzed: World, body: dict[str, Any], method: str) -> None:
    path = "/api/tables/customer" + ("" if method == "POST" else "/EVIL")
    content = json.dumps(body).encode()
    answer = ask(fuzzed, method, path, content=content, headers={"Content-Type": "application/json"})
    check(answer)
    if answer.status_code == 202:
        found = ask(fuzzed, "GET", answer.json()["url"])
        assert found.status_code == 200
        for name, sent in body.items():
            if sent is None and name != "_key":
                assert found.json()[name] is None
        check(ask(fuzzed, "GET", answer.json()["receipt_url"]))


@given(st.binary(max_size=60), st.sampled_from(["POST", "PATCH"]))
@QUICK
def test_any_bytes_are_answered(fuzzed: World, body: bytes, method: str) -> None:
    path = "/api/tables/customer" + ("" if method == "POST" else "/EVIL")
    check(ask(fuzzed, method, path, content=body, headers={"Content-Type": "application/json"}))


HEADER = st.text(
    string.printable.replace("\r", "").replace("\n", "").replace("\x0b", "").replace("\x0c", ""), max_size=40
)


@given(
    st.sampled_from(["If-Match", "If-None-Match", "Prefer", "Idempotency-Key", "Accept", "Content-Type"]),
    HEADER.map(str.strip),
)
@QUICK
def test_any_header_is_answered(fuzzed: World, name: str, value: str) -> None:
    value = value.replace("wait", "want")
    check(ask(fuzzed, "PATCH", "/api/tables/customer/ALFKI", content=b"{}", headers={name: value}))
    check(ask(fuzzed, "GET", "/api/tables/customer/ALFKI", headers={name: value}))


@given(st.lists(st.tuples(st.sampled_from(["city", "least", "q", "x"]), TEXTS), max_size=3))
@QUICK
def test_any_arguments_of_a_view_are_answered(fuzzed: World, pairs: list[tuple[str, str]]) -> None:
    check(ask(fuzzed, "GET", f"/api/views/by_city?{urlencode(pairs, errors='surrogatepass')}"))
    check(ask(fuzzed, "GET", f"/api/lookup/customer?{urlencode(pairs, errors='surrogatepass')}"))
    check(ask(fuzzed, "GET", f"/api/outbox?{urlencode(pairs, errors='surrogatepass')}"))


@given(st.dictionaries(st.sampled_from(["code", "city", "rank", "x"]), JSON_VALUES, max_size=4))
@QUICK
def test_any_arguments_of_a_command_are_answered(fuzzed: World, body: dict[str, Any]) -> None:
    headers = {"Content-Type": "application/json"}
    check(ask(fuzzed, "POST", "/api/commands/move", content=json.dumps(body).encode(), headers=headers))
