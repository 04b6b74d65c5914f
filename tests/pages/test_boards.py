"""Dashboards, views, home, frame and stream."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from brique.schema import Change
from tests.pages.reading import link, words
from tests.pages.shop import NOW, SPECS, Shop, customer, order, picture, shop

pytestmark = pytest.mark.anyio


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Shop]:
    """A filled shop that declares no views."""
    folder = tmp_path / "plain"
    folder.mkdir()
    with shop(folder, views=False) as made:
        made.fill()
        yield made


async def test_a_dashboard_shows_figures_charts_and_short_lists(filled: Shop) -> None:
    async with filled.browser(language="fr") as browser:
        page = await browser.get("/")
    text = words(page)
    assert "CA du mois 412 M +8 %" in text
    assert "Commandes 60 −3 %" in text
    assert page.text.count('<figure class="chart"') == 4
    assert "08/26" in page.text
    assert link(page, "CMD00000001") == "/tables/orders/CMD00000001"
    assert 'class="card tile"' in page.text
    assert 'href="/tables/orders"' in page.text


async def test_a_view_about_a_row_shows_its_data_with_links_and_labels(filled: Shop) -> None:
    async with filled.browser(language="fr") as browser:
        page = await browser.get("/customers/C000001/statement")
        assert link(page, "C000001 Société B1") == "/tables/customers/C000001"
        assert "Montant (FCFA)" in words(page)
        missing = await browser.get("/customers/nobody/statement")
    assert missing.status_code == 404


async def test_a_view_with_arguments_asks_for_them_first(filled: Shop) -> None:
    async with filled.browser() as browser:
        form = await browser.get("/by-city")
        assert form.status_code == 200
        assert 'name="city"' in form.text
        assert "Nothing here." not in words(form)
        page = await browser.get("/by-city?city=Dakar")
        assert "Dakar 8" in words(page)
        bad = await browser.get("/by-city?city=Dakar&since=nonsense")
    assert bad.status_code == 422
    assert "Must be a date." in words(bad)


async def test_a_view_answers_programs_in_json_and_knows_what_they_have(filled: Shop) -> None:
    async with filled.browser() as browser:
        first = await browser.get("/by-city?city=Dakar", headers={"Accept": "application/json"})
        assert first.json()[0]["orders"] == 8
        again = await browser.get(
            "/by-city?city=Dakar", headers={"Accept": "application/json", "If-None-Match": first.headers["etag"]}
        )
    assert again.status_code == 304


async def test_a_view_that_fails_shows_its_last_good_answer_and_says_so(filled: Shop) -> None:
    async with filled.browser("write") as browser, filled.browser("admin") as admin:
        assert (await browser.get("/broken")).status_code == 200
        filled.write("orders", *(order(number, status="annulée") for number in range(1, 200)))
        filled.clock.pass_by(minutes=1)
        page = await browser.get("/broken")
        assert page.status_code == 200
        assert "This view fails; what you see is of" in words(page)
        assert "too many" not in page.text
        told = await admin.get("/broken")
        assert "too many &lt;cancelled&gt;" in told.text


async def test_a_view_is_only_for_those_who_may_see_it(filled: Shop) -> None:
    async with filled.browser("write") as writer, filled.browser("admin") as admin:
        assert (await writer.get("/secret")).status_code == 403
        assert "/secret" not in (await writer.get("/tables")).text
        assert (await admin.get("/secret")).status_code == 200
        assert link(await admin.get("/tables"), "Marges") == "/secret"


async def test_without_a_dashboard_home_shows_tables_ages_and_recent_changes(plain: Shop) -> None:
    plain.lay(Change("orders", "CMD00000003", {"city": "Kaolack"}, {"city": "Dakar"}))
    async with plain.browser() as browser:
        page = await browser.get("/")
    text = words(page)
    assert "Commandes 60 30 s ago" in text
    assert "Changed lately" in text
    assert link(page, "CMD00000003") == "/tables/orders/CMD00000003"


async def test_the_menu_marks_the_page_and_counts_what_waits(filled: Shop) -> None:
    filled.lay(Change("orders", "CMD00000003", {"city": "Kaolack"}, {"city": "Dakar"}))
    filled.backend("erp", state="slow", since=NOW - timedelta(minutes=1))
    async with filled.browser() as browser, filled.browser("read") as other:
        page = await browser.get("/tables/orders")
        assert '<a href="/tables/orders" aria-current="page">Commandes' in page.text
        assert "Outbox 1" in words(page)
        assert "System status 1" in words(page)
        assert "ERP answers slowly since 10:42" in words(page)
        assert "Outbox 1" not in words(await other.get("/tables/orders"))


async def test_a_flash_is_said_once_and_only_ours(filled: Shop) -> None:
    from starlette.requests import Request
    from starlette.responses import Response

    from brique.pages.frame import set_flash

    scope: dict[str, Any] = {"type": "http", "headers": [], "scheme": "http", "path": "/", "server": ("x", 80)}
    made = set_flash(Response(), Request(scope), "kept", receipt="<b>1284")
    value = made.headers["set-cookie"].split(";")[0].split("=", 1)[1]
    async with filled.browser() as browser:
        browser.cookies.set("brique_flash", value.strip('"'))
        page = await browser.get("/tables/orders")
        assert "Saved: receipt &lt;b&gt;1284." in page.text
        assert 'brique_flash=""' in page.headers["set-cookie"]
        for forged in ("WyJub25lIix7fV0=", "x" * 900, "%00", "WyJrZXB0Iix7fV0="):
            browser.cookies.set("brique_flash", forged)
            assert (await browser.get("/tables/orders")).status_code == 200


async def test_language_and_theme_follow_the_reader(filled: Shop) -> None:
    async with filled.browser(language="en") as browser:
        assert '<html lang="en"' in (await browser.get("/tables/orders")).text
        browser.cookies.set("theme", "dark")
        assert 'data-theme="dark"' in (await browser.get("/tables/orders")).text
        browser.cookies.set("theme", '"><script>')
        assert "<script>alert" not in (await browser.get("/tables/orders")).text
        browser.cookies.set("brique_language", "fr")
        assert '<html lang="fr"' in (await browser.get("/tables/orders")).text


async def test_pages_of_the_server_itself_have_the_same_frame(filled: Shop) -> None:
    async with filled.browser("admin") as browser:
        account = await browser.get("/-/account")
        assert "Commandes" in words(account)
        assert account.text.count("<h1") == 1
        problem = await browser.get("/-/problems/not-found")
        assert problem.text.count("<h1") == 1
        assert (await browser.get("/favicon.ico")).status_code == 204
    transport = httpx.ASGITransport(filled.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://intranet.test") as stranger:
        gate = await stranger.get("/-/sign-in", headers={"Accept": "text/html"})
        assert '<body class="gate"' in gate.text
        assert "Commandes" not in gate.text


async def test_every_page_stands_while_there_is_no_store(tmp_path: Path) -> None:
    with shop(tmp_path) as made:
        (tmp_path / "store.db").unlink()
        async with made.browser("admin") as browser:
            assert (await browser.get("/tables/orders")).status_code == 503
            page = await browser.get("/-/account")
            assert page.status_code == 200
            assert "The intranet is starting." in words(page)


async def events(filled: Shop, path: str, change: Any) -> list[dict[str, Any]]:
    """The events that a stream gives after `change`, read by an ASGI client that stays."""
    found: list[dict[str, Any]] = []
    got = asyncio.Event()
    opened = asyncio.Event()
    browser = filled.browser()
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"intranet.test"), (b"cookie", cookie.encode()), (b"accept", b"text/event-stream")],
        "client": ("10.0.0.7", 1),
        "server": ("intranet.test", 80),
    }

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        opened.set()
        for line in message.get("body", b"").decode().splitlines():
            if line.startswith("data: "):
                found.append(json.loads(line[6:]))
                got.set()

    task = asyncio.create_task(filled.app(scope, receive, send))
    await asyncio.wait_for(opened.wait(), 5)
    change()
    await asyncio.wait_for(got.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await browser.aclose()
    return found


async def test_the_stream_tells_of_the_tables_asked_for(filled: Shop) -> None:
    said = await events(filled, "/-/live?tables=orders,none", lambda: filled.write("orders", order(500)))
    assert said[0]["topics"] == ["orders"]


async def test_the_stream_tells_what_was_missed_since_the_page_was_made(filled: Shop) -> None:
    from brique.views import pulse

    seen = pulse(filled.reader()).text()
    filled.write("customers", customer(500))
    said = await events(filled, f"/-/live?tables=customers&last={seen}", lambda: None)
    assert said[0]["topics"] == ["customers"]


async def test_the_stream_of_a_view_tells_when_it_shows_something_else(filled: Shop) -> None:
    async with filled.browser() as browser:
        page = await browser.get("/by-city?city=Dakar")
    change = lambda: filled.write("orders", order(500, city="Dakar"))  # noqa: E731
    said = await events(filled, "/-/live?view=by_city&city=Dakar", change)
    assert said[0]["topics"] == ["view:by_city?city=Dakar"]
    seen = re.search(r'data-pulse="([^"]+)"', page.text)
    assert seen is not None
    late = await events(filled, f"/-/live?view=by_city&city=Dakar&last={seen[1]}", lambda: None)
    assert late[0]["marks"] == said[0]["marks"]


async def test_the_stream_tells_that_the_data_was_confirmed_anew(filled: Shop) -> None:
    said = await events(filled, "/-/live", lambda: filled.confirm(NOW + timedelta(minutes=5)))
    assert "-age" in said[0]["topics"]


async def test_the_language_is_changed_from_any_page_and_leads_back_to_it(filled: Shop) -> None:
    async with filled.browser(language="en") as browser:
        page = await browser.get("/tables/orders?q=dakar")
        secret = re.search(r'name="_csrf" value="([^"]+)"', page.text)
        assert secret
        assert 'name="next" value="/tables/orders?q=dakar"' in page.text
        form = {"_csrf": secret[1], "next": "/tables/orders?q=dakar", "language": "fr"}
        answer = await browser.post("/-/account/language", data=form, headers={"Origin": "http://intranet.test"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/tables/orders?q=dakar")
        assert '<html lang="fr"' in (await browser.get("/tables/orders")).text
        form["next"] = "//evil.example/"
        answer = await browser.post("/-/account/language", data=form, headers={"Origin": "http://intranet.test"})
        assert answer.headers["location"].startswith("/-/account")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/tables",
        "/tables/orders",
        "/tables/orders/CMD00000003",
        "/tables/customers/C000001",
        "/by-city?city=Dakar",
    ],
)
async def test_every_address_has_the_prefix_that_the_intranet_is_mounted_below(filled: Shop, path: str) -> None:
    filled.write("customers", customer(1, logo=picture()))
    filled.lay(Change("orders", "CMD00000003", {"city": "Kaolack"}, {"city": "Dakar"}))
    transport = httpx.ASGITransport(filled.app, root_path="/intranet")
    own = filled.browser()
    async with httpx.AsyncClient(
        transport=transport, base_url="http://intranet.test", cookies=own.cookies, headers=own.headers
    ) as browser:
        page = await browser.get(f"/intranet{path}")
    await own.aclose()
    assert page.status_code == 200
    found = re.findall(r'\b(?:href|src|action|hx-get|data-live|data-lookup-url)="([^"]*)"', page.text)
    outside = [address for address in found if not address.startswith(("/intranet/", "data:", "#"))]
    assert outside == []
    assert len(found) > 20


def test_a_long_menu_shows_the_largest_tables_and_the_one_that_is_open() -> None:
    from brique.pages.frame import _shown

    spec = SPECS["orders"]
    many = [spec.changed(name=f"t{number}", rows_estimate=number, is_view=number > 30) for number in range(40)]
    shown = _shown(many, "table:t3", 15)
    assert shown == {f"t{number}" for number in range(16, 31)} | {"t3"}
    assert len(_shown(many[:15], "", 15)) == 15
