"""Every request has a limit with a name: too much is told so (4xx), never a mistake of ours, never a hang."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.security.world import PASSWORD, World, running

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An intranet with small limits."""
    limits = {"body_bytes_max": 200_000, "page_rows_max": 50, "live_connections_max": 3, "cell_bytes_max": 50_000}
    with running(tmp_path_factory.mktemp("small"), declared=False, **limits) as made:
        yield made


def test_a_list_asks_for_no_more_than_it_may(world: World) -> None:
    for query in ("limit=201", "limit=0", "limit=-1", "limit=1e3", "limit=" + "9" * 50, "limit=١", "q=" + "x" * 201):
        for path in ("/api/tables/sale", "/tables/sale"):
            answer = world.api(f"{path}?{query}")
            assert answer.status_code == 422, (path, query)
    many = [("note__ne", str(number)) for number in range(51)]
    answer = world.api("/api/tables/sale", params=many)
    assert answer.status_code == 422
    assert "too many conditions" in answer.json()["detail"].lower()
    values = ",".join(str(number) for number in range(501))
    assert world.api("/api/tables/sale", params={"id__in": values}).status_code == 422
    assert world.api("/api/tables/sale", params={"id__in": values.rsplit(",", 1)[0]}).status_code == 200


def test_fifty_conditions_at_once_are_answered(world: World) -> None:
    for op in ("ne", "contains", "prefix", "ge", "in"):
        started = time.monotonic()
        answer = world.api("/api/tables/wide", params=[(f"name__{op}", str(number)) for number in range(50)])
        assert answer.status_code in (200, 422), answer.text[:300]
        assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "path",
    [
        "/tables/sale",
        "/api/tables/sale",
        "/tables/sale.csv",
        "/outbox",
        "/api/outbox",
        "/-/status",
        "/lookup/sale",
        "/drawn",
        "/labels/x",
        "/",
        "/-/sign-in",
        "/commands/remark",
    ],
)
def test_a_thousand_parameters_are_refused_or_passed_over_at_once(world: World, path: str) -> None:
    for params in (
        [(f"p{number}", "1") for number in range(1000)],
        [("q", "x")] * 1000,
        [("sort", "id")] * 1000,
        [("columns", ",".join(["id"] * 1500))],
        [("name", "")] * 1500,
    ):
        started = time.monotonic()
        answer = world.get(path, params=params, headers={"Accept": "application/json"})
        assert answer.status_code in (200, 303, 406, 422), (path, answer.status_code)
        assert time.monotonic() - started < 3
        assert len(answer.content) < 2_000_000


def test_a_column_that_is_asked_for_often_is_shown_once(world: World) -> None:
    row = world.api("/api/tables/sale", params={"columns": ",".join(["id"] * 500), "limit": "1"}).json()["rows"][0]
    assert set(row) <= {"id", "_key", "_label", "_pending", "_version", "_url"}


def test_a_body_too_large_is_refused_everywhere(small: World) -> None:
    big = b"x" * 200_001
    for path, kind in (("/api/tables/sale", "application/json"), ("/tables/sale/new", FORM["Content-Type"])):
        caller = small.callers["session-write"]
        headers = {"Content-Type": kind, "X-CSRF-Token": caller.csrf}
        assert small.request(caller, "POST", path, content=big, headers=headers).status_code == 413
        streamed = small.request(caller, "POST", path, content=_pieces(big), headers=headers)
        assert streamed.status_code == 413
    for path in ("/-/sign-in", "/-/setup", "/-/language"):
        answer = small.request("nobody", "POST", path, content=b"name=" + b"x" * 70_000, headers=FORM)
        assert answer.status_code == 413, path


async def _pieces(body: bytes) -> Any:
    for start in range(0, len(body), 10_000):
        yield body[start : start + 10_000]


@pytest.mark.parametrize("kind", ["urlencoded", "multipart"])
def test_a_form_of_ten_thousand_fields_is_refused(world: World, kind: str) -> None:
    fields = {f"f{number}": "" for number in range(10_000)}
    rest: dict[str, Any] = {"data": fields} if kind == "urlencoded" else {"files": dict.fromkeys(fields, (None, b""))}
    for who, paths in {
        "session-write": ("/tables/sale/new", "/tables/sale/12/edit", "/commands/remark", "/-/account/tokens"),
        "nobody": ("/-/sign-in", "/-/language"),
    }.items():
        for path in paths:
            started = time.monotonic()
            answer = world.request(who, "POST", path, **rest)
            assert answer.status_code in (400, 403, 413, 422), (path, answer.status_code)
            assert answer.status_code != 403 or who != "nobody"
            assert time.monotonic() - started < 3


def test_one_value_too_large_is_refused_by_name(small: World) -> None:
    answer = small.request("token-write", "PATCH", "/api/tables/sale/2", json={"note": "x" * 60_000})
    assert answer.status_code in (413, 422)
    assert "note" in answer.text or "large" in answer.text
    answer = small.post("/tables/sale/2/edit", {"note": "x" * 60_000}, who="session-write")
    assert answer.status_code in (413, 422)


def test_sessions_and_tokens_of_one_user_are_bounded(world: World) -> None:
    world.site.accounts.create_user("many", PASSWORD, "read")
    many = world.session("many", "read")
    for _ in range(30):
        last = world.session("many", "read")
    assert len(world.site.accounts.sessions("many")) == 20
    assert world.get("/tables", who=many).status_code == 303, "the oldest has ended"
    statuses = [world.post("/-/account/tokens", {"name": f"t{n}"}, who=last).status_code for n in range(51)]
    assert statuses[:50] == [200] * 50
    assert statuses[50] == 409


def test_followers_are_bounded(small: World) -> None:
    """More open pages than allowed are told to come back later; those that leave make room."""

    async def follow(hold: asyncio.Event, statuses: list[int]) -> None:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "path": "/-/live",
            "raw_path": b"/-/live",
            "query_string": b"tables=sale",
            "root_path": "",
            "scheme": "http",
            "server": ("127.0.0.1", 8000),
            "client": ("127.0.0.1", 1),
            "headers": [
                (b"host", b"127.0.0.1:8000"),
                *(
                    (name.lower().encode(), value.encode())
                    for name, value in small.callers["token-read"].headers.items()
                ),
            ],
        }

        async def receive() -> dict[str, Any]:
            await hold.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        await small.site.asgi(scope, receive, send)

    async def run() -> list[int]:
        hold, statuses = asyncio.Event(), list[int]()
        tasks = [asyncio.create_task(follow(hold, statuses)) for _ in range(5)]
        while len(statuses) < 5:  # noqa: ASYNC110  (five of them answer, each in its own time)
            await asyncio.sleep(0.01)
        hold.set()
        for task in tasks:
            await asyncio.wait_for(task, 20)
        again = [asyncio.create_task(follow(hold, statuses))]
        await asyncio.wait_for(again[0], 20)
        return statuses

    statuses = asyncio.run(asyncio.wait_for(run(), 60))
    assert sorted(statuses[:5]) == [200, 200, 200, 503, 503]
    assert statuses[5] == 200


def test_many_wrong_passwords_and_tokens_are_slowed_down(small: World) -> None:
    answers = [
        small.post("/-/sign-in", {"name": "adminer", "password": "x"}, who="nobody").status_code for _ in range(8)
    ]
    assert answers[-1] == 429
    wrong = {"Authorization": "Bearer brq_wrong", "Accept": "application/json"}

    async def tries() -> list[int]:
        transport = httpx.ASGITransport(small.site.asgi, client=("10.9.8.7", 5))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", headers=wrong) as client:
            return [(await client.get("/api")).status_code for _ in range(40)]

    statuses = asyncio.run(tries())
    assert statuses[0] == 401
    assert statuses[-1] == 429


def test_all_numbers_of_limits_are_named(tmp_path: Path) -> None:
    """What bounds a caller is a setting, or a named field of the limits of its room."""
    from brique.exports import ListLimits
    from brique.http import AccountLimits, Limits
    from brique.settings import TABLE

    assert {"body_bytes_max", "page_rows_max", "live_connections_max", "cell_bytes_max", "request_seconds_max"} <= set(
        TABLE
    )
    assert {"url_bytes_max", "head_bytes_max", "headers_count_max", "form_fields_max"} <= set(
        Limits.__dataclass_fields__
    )
    assert {"search_chars_max", "filters_max", "values_max"} <= set(ListLimits.__dataclass_fields__)
    assert {"sessions_per_user_max", "tokens_per_user_max"} <= set(AccountLimits.__dataclass_fields__)
