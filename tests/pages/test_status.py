"""The status page: everything told from the copy, with every backend down, for people and for scripts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from brique.errors import BadInput
from brique.observe import Errors, Series
from brique.pages import StatusFacts
from tests.pages.writing import World, hidden, signed_in

pytestmark = pytest.mark.anyio


class Panel:
    """A demo's ERP that only says in which state it is."""

    def __init__(self) -> None:
        self.now = "running"

    def state(self) -> str:
        return self.now

    def actions(self) -> tuple[str, ...]:
        return ("start",) if self.now == "stopped" else ("freeze", "stop")

    def perform(self, action: str) -> str:
        if action == "kill":
            raise BadInput("The demo cannot do that.")
        self.now = {"stop": "stopped", "freeze": "frozen"}.get(action, "running")
        return self.now


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, demo=Panel())
    yield world
    world.close()


def go_down(world: World) -> None:
    now = world.clock.now()
    world.state_of_backend(
        state="down",
        since=now - timedelta(minutes=20),
        confirmed_at=now - timedelta(minutes=37),
        last_error="connection refused",
        next_try=now + timedelta(seconds=28),
        rung="compare",
        rung_reason="marker=True is not set",
        faults={"orders": "2 rows were left out"},
    )


async def test_a_backend_that_is_down_is_told_in_plain_words(world: World) -> None:
    go_down(world)
    world.update("orders", "7", quantity=12)
    async with signed_in(world, "awa", "fr") as browser:
        text = (await browser.get("/-/status")).text
    for words in ("injoignable", "37\u00a0min", "connection refused", "nouvel essai dans", "1 source injoignable",
                  "2 rows were left out", "marker=True", "continuent sur la copie", "brique 1.0"):  # fmt: skip
        assert words in text, words
    assert 'href="/outbox?backend=erp">1</a>' in text


async def test_a_slow_backend_does_not_count_as_answering(world: World) -> None:
    with world.store.transaction() as tx:
        tx.backend_state("erp", state="slow", last_error="no answer for 1 s")
    async with signed_in(world, "awa") as browser:
        text = (await browser.get("/-/status")).text
    assert "1 backend is slow" in text and "everything answers" not in text


async def test_a_short_version_is_for_everybody(world: World) -> None:
    go_down(world)
    world.facts = StatusFacts(processes=[{"name": "web-1", "state": "running", "pid": 4121}], version="1.0")
    async with signed_in(world, "rita") as browser:
        text = (await browser.get("/-/status")).text
        assert "ERP" in text and "out of reach" in text
        assert "4121" not in text and "Demo" not in text and "Room on disk" not in text and "brique 1.0" not in text
        assert (await browser.submit("/-/status/demo", {"action": "stop"})).status_code == 403


async def test_processes_figures_room_and_errors_are_for_the_administrator(world: World, tmp_path: Path) -> None:
    errors = Errors(tmp_path / "errors.db")
    try:
        raise LookupError("<b>no such thing</b>")
    except LookupError as fault:
        errors.capture(fault, request="GET /tables/orders")
    world.facts = StatusFacts(
        processes=[
            {"name": "web-1", "state": "running", "pid": 4121, "rss_bytes": 61e6, "restarts": 2,
             "started": "2026-11-20T10:00:00.000000Z"},
            {"name": "odd", "state": "dreaming", "started": "?"},
        ],
        samples={
            "requests": Series("meter", [1.0, None, 214.0]),
            "request_seconds": Series("timer", [0.001, 0.002], [0.004, 0.009]),
            "faults": Series("meter", [1.0, 1.0]),
        },
        disk_free_bytes=61_000_000_000,
        errors=errors.recent(),
    )  # fmt: skip
    errors.close()
    async with signed_in(world, "awa") as browser:
        text = (await browser.get("/-/status")).text
    for words in ("4121", "61\u00a0MB", "20/11/2026\u00a010:00", "dreaming", ">214<", "9\u00a0ms", "61\u00a0GB",
                  "LookupError", "&lt;b&gt;no such thing", "GET /tables/orders"):  # fmt: skip
        assert words in text, words


async def test_scripts_get_the_same_as_json(world: World) -> None:
    go_down(world)
    async with signed_in(world, "awa") as browser:
        for path, headers in (("/-/status?format=json", {}), ("/-/status", {"Accept": "application/json"})):
            answer = (await browser.get(path, headers=headers)).json()
            [erp] = answer["backends"]
            assert answer["status"] == "degraded" and erp["state"] == "down" and erp["age_seconds"] >= 37 * 60
            assert "connection refused" in erp["note"] and answer["tables"][1]["rows"] == 2
    async with signed_in(world, "rita") as browser:
        answer = (await browser.get("/-/status?format=json")).json()
        assert "processes" not in answer and "note" not in answer["backends"][0]


async def test_the_page_comes_without_a_store(world: World) -> None:
    async with signed_in(world, "awa") as browser:
        (world.folder / "store.db").rename(world.folder / "gone.db")
        answer = await browser.get("/-/status")
        json = (await browser.get("/-/status?format=json")).json()
        (world.folder / "gone.db").rename(world.folder / "store.db")
    assert answer.status_code == 200 and "not made the copy yet" in answer.text and "not asked yet" in answer.text
    assert json["status"] == "degraded"


async def test_health_is_open_and_says_nothing_else(world: World) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(world.app), base_url="http://intranet.test") as anybody:
        answer = await anybody.get("/-/health")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        assert (await anybody.get("/-/status", headers={"Accept": "application/json"})).status_code == 401


async def test_the_administrator_freezes_the_demo(world: World) -> None:
    async with signed_in(world, "awa") as browser:
        page = await browser.get("/-/status")
        assert "Freeze the ERP" in page.text and "Start the ERP" not in page.text
        values = hidden(page.text, "/-/status/demo")
        answer = await browser.submit("/-/status/demo", values | {"action": "freeze"})
        assert answer.headers["location"] == "/-/status"
        assert "answers nothing" in (await browser.get("/-/status")).text
        for wrong in ("kill", "dance"):
            answer = await browser.submit("/-/status/demo", values | {"action": wrong})
            assert answer.status_code == 422 and "The demo cannot do that." in answer.text
        assert (await browser.submit("/-/status/demo", {"action": "stop"})).status_code == 403


async def test_a_backend_that_is_ahead_is_told_to_all_and_taken_over_by_an_administrator(world: World) -> None:
    go_down(world)
    world.state_of_backend(ahead={"mark": 1412, "last": 1399})
    async with signed_in(world, "rita") as browser:
        text = (await browser.get("/-/status")).text
        assert "is stopped" in text and "Take over" not in text
        assert (await browser.submit("/-/status/adopt", {"backend": "erp", "mark": "1412"})).status_code == 403
    async with signed_in(world, "awa", "fr") as browser:
        text = (await browser.get("/-/status")).text
        assert "est arrêté" in text and "1\u202f412" in text and "1 source arrêtée" in text
        assert (await browser.get("/-/status?format=json")).json()["backends"][0]["stopped"]["mark"] == 1412
        page = await browser.get("/-/status")
        for wrong in ({"mark": "1411"}, {"backend": "no"}, {"mark": ""}, {"mark": "²"}):
            assert (await browser.press(page, "/-/status/adopt", **wrong)).status_code in (400, 409, 422), wrong
        assert (await browser.press(page, "/-/status/adopt")).status_code == 303
        assert "a été repris à 1\u202f412 par awa" in (await browser.get("/-/status")).text


async def test_a_journal_that_was_damaged_is_told_with_what_to_do(world: World) -> None:
    async with signed_in(world, "awa") as browser:
        assert "journal of commands is damaged" not in (await browser.get("/-/status")).text
        with world.store.transaction() as tx:
            tx.set_meta("spool_sound", 0)
            tx.set_meta("spool_recovery", "spool abc: 7 records\ndamaged: positions 3 to 4")
        text = (await browser.get("/-/status")).text
        assert "journal of commands is damaged" in text and "positions 3 to 4" in text and "spool check" in text
    async with signed_in(world, "rita") as browser:
        text = (await browser.get("/-/status")).text
        assert "journal of commands is damaged" in text and "positions 3 to 4" not in text
