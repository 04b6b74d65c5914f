"""Faults as answers, for programs and for people."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from starlette.requests import Request

from brique import errors
from brique.http import TITLES, Site, SlowDown, describe, own_context
from brique.http.problems import Problems

from .conftest import Browser, World, build

pytestmark = pytest.mark.anyio


@pytest.fixture
async def rita(world: World) -> AsyncIterator[Browser]:
    async with Browser(world.app) as browser:
        await browser.sign_in("rita")
        yield browser


JSON = {"Accept": "application/json"}


async def test_a_program_gets_problem_json_with_its_fields(rita: Browser) -> None:
    answer = await rita.get("/unfit", headers=JSON)
    assert answer.status_code == 422 and answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "/-/problems/invalid",
        "title": "Something does not fit",
        "status": 422,
        "code": "invalid",
        "detail": "Two fields are wrong {x",
        "errors": [
            {"pointer": "#/city~1town", "detail": "Type a name."},
            {"pointer": "#/n", "detail": "{x.__class__}"},
        ],
        "request_id": answer.headers["x-request-id"],
    }
    french = (await rita.get("/unfit", headers={**JSON, "Accept-Language": "fr"})).json()
    assert french["title"] == "Quelque chose ne convient pas" and french["errors"][0]["detail"] == "Tapez un nom."


async def test_a_browser_gets_a_page(rita: Browser) -> None:
    page = await rita.get("/unfit")
    assert page.status_code == 422 and page.headers["content-type"].startswith("text/html")
    assert "Type a name." in page.text and page.headers["x-request-id"] in page.text


async def test_our_own_mistakes_are_recorded_and_not_shown(world: World, rita: Browser) -> None:
    for headers in (JSON, {}):
        answer = await rita.get("/broken", headers=headers)
        assert answer.status_code == 500
        assert "hunter2" not in answer.text and "Traceback" not in answer.text and "RuntimeError" not in answer.text
        assert answer.headers["x-request-id"] in answer.text
    assert [str(error) for error in world.errors] == ["a secret of ours: hunter2"] * 2


async def test_faults_that_somebody_named_are_not_recorded_as_mistakes(world: World, rita: Browser) -> None:
    for path in ("/unfit", "/nothing", "/-/users", "/slow"):
        await rita.get(path)
    assert world.errors == []


async def test_unknown_address_and_wrong_method_are_problems_too(rita: Browser) -> None:
    answer = await rita.get("/nothing", headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
    answer = await rita.request("PATCH", "/api/things", headers={**JSON, "Origin": "http://intranet.test"})
    assert (answer.status_code, answer.json()["code"]) == (405, "method-not-allowed")
    assert answer.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, POST"


async def test_a_full_disk_says_when_to_try_again(rita: Browser) -> None:
    answer = await rita.get("/full", headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (507, "disk-full")
    assert answer.headers["retry-after"] == "5"


async def test_each_kind_of_problem_has_a_page(rita: Browser) -> None:
    for code in TITLES:
        assert (await rita.get(f"/-/problems/{code}")).status_code == 200
    assert (await rita.get("/-/problems/none")).status_code == 404


def test_every_fault_that_is_declared_has_a_title() -> None:
    def kinds(kind: type[errors.BriqueError]) -> list[type[errors.BriqueError]]:
        return [kind, *(below for child in kind.__subclasses__() for below in kinds(child))]

    missing = {
        kind.code for kind in kinds(errors.BriqueError) if kind.__module__.startswith(("brique.errors", "brique.http"))
    } - TITLES.keys()
    assert not missing


async def test_a_page_that_cannot_be_rendered_still_gives_a_plain_one(world: World) -> None:
    def broken(template: str, request: Request, context: Mapping[str, Any]) -> str:
        raise ZeroDivisionError

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise errors.NotFound("No such thing")

    async with Browser(Problems(app, render=broken)) as browser:
        answer = await browser.get("/")
    assert answer.status_code == 404 and "No such thing" in answer.text


async def test_an_error_recorder_at_fault_does_not_hide_the_answer(world: World) -> None:
    def broken(exception: BaseException, request: Request) -> None:
        raise ZeroDivisionError

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError

    async with Browser(Problems(app, on_error=broken)) as browser:
        assert (await browser.get("/")).status_code == 500


async def test_a_failing_session_lookup_is_an_answer_not_a_crash(world: World) -> None:
    broken = build(world.accounts, world.clock, site=Site("intranet.test"))
    async with Browser(broken.app) as browser:
        await browser.sign_in("rita")
        world.accounts._file._reader.close()
        answer = await browser.get("/")
    assert answer.status_code == 500 and len(broken.errors) == 1
    world.accounts._file._reader = type(world.accounts._file._writer)(":memory:")


def test_places_are_filled_by_plain_names_only() -> None:
    fault = SlowDown("Wait {retry_after} s, {other}, {retry_after.__class__}", retry_after=7)
    assert describe(fault, "en")["detail"] == "Wait 7 s, {other}, {retry_after.__class__}"


def test_templates_get_the_reader_and_the_words() -> None:
    request = Request({"type": "http", "headers": [(b"accept-language", b"fr")], "state": {}, "path": "/"})
    context = own_context(request, {"x": 1})
    assert context["language"] == "fr" and context["t"]("Password") == "Mot de passe" and context["x"] == 1
    assert context["user"] is None and context["csrf"] == "" and context["at"]("/a") == "/a"
