"""The table of routes, and what callers want (Accept, ETag)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from brique.errors import BadConfiguration, Stale
from brique.http import Routes, best_accept, check_if_match, etag_of, has_already, respond, wants_html, wants_json

from .conftest import Browser, World


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


def request(path: str = "/", **headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": path, "headers": raw, "query_string": b""})


def test_a_fixed_path_goes_before_one_with_places() -> None:
    routes = Routes()
    routes.get("/tables/{table}", hello, name="table")
    routes.get("/tables/new", hello, name="new")
    assert routes.find("/tables/new") is not None and routes.find("/tables/new")[0].path == "/tables/new"  # type: ignore[index]
    place, values = routes.find("/tables/orders") or (None, {})
    assert place and place.path == "/tables/{table}" and values == {"table": "orders"}
    assert routes.find("/tables/a/b") is None and routes.find("/tables/") is None


def test_addresses_are_made_from_names() -> None:
    routes = Routes()
    routes.get("/tables/{table}/{key}", hello, name="row")
    assert routes.url("row", table="a", key="1,~n") == "/tables/a/1,~n"


def test_two_routes_do_not_share_an_address_or_a_name() -> None:
    routes = Routes()
    routes.get("/a", hello, name="a")
    routes.post("/a", hello, name="a")
    with pytest.raises(BadConfiguration):
        routes.get("/a", hello)
    with pytest.raises(BadConfiguration):
        routes.get("/b", hello, name="a")
    with pytest.raises(BadConfiguration):
        routes.get("b", hello)


def test_tables_are_joined_below_a_prefix() -> None:
    below, routes = Routes(), Routes()
    below.delete("/{id}", hello, role="admin")
    routes.include(below, "/things")
    assert [(route.path, route.methods, route.role) for route in routes] == [("/things/{id}", ("DELETE",), "admin")]


@pytest.mark.anyio
async def test_head_is_get_without_the_body(world: World) -> None:
    started: list[int] = []

    async def export(request: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            started.append(1)
            yield b"x"

        return StreamingResponse(parts(), headers={"Content-Disposition": "attachment"})

    world.routes.get("/export", export)
    async with Browser(world.app) as browser:
        await browser.sign_in("rita")
        answer = await browser.head("/thread")
        assert answer.status_code == 200 and not answer.content and answer.headers["content-length"] == "2700"
        answer = await browser.head("/export")
        assert answer.headers["content-disposition"] == "attachment" and not answer.content and not started


@pytest.mark.anyio
async def test_options_lists_the_methods(world: World) -> None:
    async with Browser(world.app) as browser:
        await browser.sign_in("rita")
        answer = await browser.options("/api/things")
        assert answer.status_code == 204 and answer.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, POST"
        assert "content-type" not in answer.headers


@pytest.mark.anyio
async def test_plain_functions_run_in_a_thread_and_coroutines_on_the_loop(world: World) -> None:
    ran_in: dict[str, int] = {}

    def plain(request: Request) -> Response:
        ran_in["plain"] = threading.get_ident()
        return PlainTextResponse("ok")

    async def coroutine(request: Request) -> Response:
        ran_in["coroutine"] = threading.get_ident()
        return PlainTextResponse("ok")

    world.routes.get("/plain", plain)
    world.routes.get("/coroutine", coroutine)
    async with Browser(world.app) as browser:
        await browser.sign_in("rita")
        await asyncio.gather(browser.get("/plain"), browser.get("/coroutine"))
    assert ran_in["coroutine"] == threading.get_ident() != ran_in["plain"]


@pytest.mark.parametrize(
    ("accept", "best"),
    [
        ("", "text/html"),
        ("*/*", "text/html"),
        ("application/json", "application/json"),
        ("application/json, text/html;q=0.9", "application/json"),
        ("text/html;q=0.5, application/json;q=0.4", "text/html"),
        ("text/*;q=0.3, */*;q=0.8", "application/json"),
        ("text/html;q=0, */*", "application/json"),
        ("image/png", None),
        ("application/json;q=0", None),
        ("application/json;q=x", None),
        ("TEXT/HTML", "text/html"),
    ],
)
def test_the_best_media_type_is_chosen(accept: str, best: str | None) -> None:
    assert best_accept(accept, ("text/html", "application/json")) == best


@given(st.text(max_size=200))
def test_no_accept_header_is_an_error(accept: str) -> None:
    assert best_accept(accept, ("text/html", "application/json")) in ("text/html", "application/json", None)


def test_programs_are_known_by_path_or_accept() -> None:
    assert wants_json(request("/api/tables").scope) and wants_json(request("/api", accept="text/html").scope)
    assert wants_json(request("/x", accept="application/json").scope)
    assert not wants_json(request("/apiary").scope) and wants_html(request("/x", accept="*/*").scope)
    assert not wants_html(request("/x", accept="text/event-stream").scope)


def test_an_answer_that_the_caller_has_is_304() -> None:
    first = respond(request(), b"{}", "application/json")
    etag = first.headers["etag"]
    assert etag == respond(request(), b"{}", "application/json").headers["etag"] != etag_of(b"{}")
    for known in (etag, f'"x", W/{etag}', "*"):
        again = respond(request(if_none_match=known), b"{}", "application/json")
        assert again.status_code == 304 and not again.body and again.headers["etag"] == etag
        assert "content-type" not in again.headers
    assert not has_already(request(if_none_match='"x"'), etag) and not has_already(request(), etag)


def test_if_match_names_the_state_that_was_read() -> None:
    for fine in (request(), request(if_match='"5"'), request(if_match='"4", "5"'), request(if_match="*")):
        check_if_match(fine, '"5"')
    for stale in ('"4"', 'W/"5"', "nonsense"):
        with pytest.raises(Stale):
            check_if_match(request(if_match=stale), '"5"')
