"""The developer's panel: what it tells, who gets it, how it looks; and that it is not there when it is off."""

from __future__ import annotations

import logging
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from playwright.sync_api import Browser, expect, sync_playwright

from brique import Db, Figure, Inline, Intranet, Table, key, ref
from brique.app import fault_file
from brique.settings import Settings
from tests.servers import wait_until
from tests.shop import make_shop

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
CONTRAST = (Path(__file__).parent.parent / "pages" / "contrast.js").read_text("utf-8")
SIZES = {"desk": {"width": 1400, "height": 900}, "phone": {"width": 390, "height": 844}}
_FORBIDDEN = re.compile(r"<style|\sstyle=|\son[a-z]+=|javascript:|<script(?![^>]*\ssrc=)")


def declare(folder: Path) -> Intranet:
    app = Intranet("Shop", languages=("en", "fr"))
    erp = app.backend("shop", f"sqlite:///{make_shop(folder / 'shop.db')}", refresh="1s")

    class Customer(Table, backend=erp, source="customer"):
        number: int = key("id")
        name: str

    class Order(Table, backend=erp, source="orders"):
        number: int = key("id")
        customer: Customer = ref("customer_id")
        status: str

    app.add_tables([Customer, Order])

    @app.view("/customers/{number}/statement")
    def statement(db: Db, number: int) -> Any:
        logging.getLogger("shop").warning("a line of this very request")
        return {"name": db[Customer][number].name, "open": db[Order].where(customer=number, status="open").count()}

    @app.dashboard("/")
    def today(db: Db) -> Any:
        return [Figure("Orders", db[Order].count())]

    return app


@dataclass
class Site:
    """An intranet that is served. `get` asks for a page as a browser does."""

    inline: Inline
    url: str

    def get(self, path: str, token: str = "admin", **headers: str) -> httpx.Response:
        given = {"Authorization": f"Bearer {token}", "Accept": "text/html", **headers}
        return httpx.get(self.url + path, headers=given, timeout=20)


@contextmanager
def served(folder: Path, **settings: Any) -> Iterator[Site]:
    with Inline(declare(folder), folder / "data", settings=Settings(data=folder / "data", **settings)) as inline:
        inline.accounts.accept_for_this_run("admin")
        inline.accounts.accept_for_this_run("writer", "write", "writer")
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(inline.asgi, log_config=None, timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        site = Site(inline, f"http://127.0.0.1:{listener.getsockname()[1]}")
        try:
            wait_until(lambda: site.get("/api/tables/order?limit=1", Accept="*/*").status_code == 200, 30, "the copy")
            yield site
        finally:
            server.should_exit = True
            thread.join()
            listener.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with served(tmp_path_factory.mktemp("panel"), developer_panel=1) as site:
        yield site


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{CHROMIUM} is missing: apt-get install chromium")
        pytest.skip(f"{CHROMIUM} is missing: apt-get install chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"], headless=True)
        yield chromium
        chromium.close()


def panel_of(page: httpx.Response) -> str:
    found = re.search(r'<aside class="panel".*</aside>', page.text, re.DOTALL)
    return found[0] if found else ""


def test_it_tells_how_a_view_came_about(site: Site) -> None:
    made = panel_of(site.get("/customers/1/statement"))
    assert "made now" in made
    assert "statement(number=1)" in made
    assert "a line of this very request" in made
    wait_until(lambda: "was ready" in panel_of(site.get("/customers/1/statement")), 10, "the kept bytes")
    ready = panel_of(site.get("/customers/1/statement"))
    assert "a line of this very request" not in ready
    assert "order where customer = 1 and status = &#39;open&#39;" in ready
    assert "Made for the first who asked" in ready
    assert "0 calls outside" in ready
    assert "No backend was called." in ready
    assert "FROM representation r JOIN body b" in ready
    assert "SEARCH r USING PRIMARY KEY" in ready
    assert re.search(r"1 ready, 0 made", ready)
    assert re.search(r"shop: live, \d+\s+s old", ready)


def test_it_tells_the_change_that_ended_the_bytes_before(site: Site) -> None:
    site.get("/customers/2/statement")
    wait_until(lambda: "was ready" in panel_of(site.get("/customers/2/statement")), 10, "the kept bytes")
    url = f"{site.url}/api/tables/customer/2"
    httpx.patch(url, json={"name": "Another"}, headers={"Authorization": "Bearer admin"}, timeout=20)
    told = "Made because row 2 of customer has changed (name), by update of token:run"
    site.get("/customers/2/statement")
    wait_until(lambda: told in panel_of(site.get("/customers/2/statement")), 10, told)


@pytest.mark.parametrize("path", ["/", "/tables/order", "/tables/order/1", "/outbox", "/-/status", "/tables"])
def test_every_page_has_one_and_nothing_that_the_policy_forbids(site: Site, path: str) -> None:
    page = site.get(path)
    panel = panel_of(page)
    assert "statements" in panel
    assert "Reads of the copy" in panel
    assert not _FORBIDDEN.search(panel)
    assert int(page.headers["content-length"]) == len(page.content) or "content-encoding" in page.headers
    ids = re.findall(r'\sid="([^"]+)"', page.text)
    assert len(ids) == len(set(ids))


def test_only_administrators_get_it_and_only_on_whole_pages(site: Site) -> None:
    assert panel_of(site.get("/tables/order"))
    assert "panel" not in site.get("/tables/order", "writer").text
    assert not panel_of(site.get("/tables/order", **{"HX-Request": "true"}))
    assert "panel" not in site.get("/api/views/statement?number=1", Accept="application/json").text


def test_no_value_that_a_statement_was_given_is_shown(site: Site) -> None:
    page = site.get("/tables/customer?name__contains=Aminat")
    assert "Moussa" not in page.text, "it was asked for"
    panel = panel_of(page)
    assert "Aminat" not in panel
    assert "SELECT" in panel


def test_a_fault_of_the_file_stands_at_the_top_for_administrators(site: Site) -> None:
    file = fault_file(site.inline.settings.data)
    file.write_text("Traceback <b>here</b>", "utf-8")
    try:
        page = site.get("/tables/order").text
        assert page.index("<main") < page.index("Traceback &lt;b&gt;here&lt;/b&gt;") < page.index("<h1")
        assert "Traceback" not in site.get("/tables/order", "writer").text
    finally:
        file.unlink()


def test_it_is_not_there_when_it_is_off(tmp_path: Path) -> None:
    with served(tmp_path) as site:
        assert "panel" not in site.get("/customers/1/statement").text
        assert site.inline.web.readers.mine().on_statement is None


@pytest.mark.parametrize("language", ["en-GB", "fr-FR"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_it_is_readable_and_reached_by_keyboard(
    site: Site, browser: Browser, tmp_path_factory: pytest.TempPathFactory, size: str, scheme: Any, language: str
) -> None:
    context = browser.new_context(
        viewport=SIZES[size], color_scheme=scheme, locale=language,  # type: ignore[arg-type]
        extra_http_headers={"Authorization": "Bearer admin"},
    )  # fmt: skip
    page = context.new_page()
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text) if "Permissions-Policy" not in message.text else None)
    page.goto(f"{site.url}/customers/1/statement")
    panel = page.locator("#panel")
    summary = panel.locator("summary").first
    expect(summary).to_be_visible()
    expect(panel.locator(".panel-body")).to_be_hidden()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('#panel > details > summary')"):
            break
    page.keyboard.press("Enter")
    expect(panel.locator(".panel-body")).to_be_visible()
    expect(panel).to_contain_text("Lectures de la copie" if language == "fr-FR" else "Reads of the copy")
    pictures = tmp_path_factory.getbasetemp() / "pictures"
    pictures.mkdir(exist_ok=True)
    page.screenshot(path=pictures / f"panel-{size}-{scheme}-{language}.png")
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size]["width"]
    assert page.evaluate(CONTRAST) == []
    assert told == []
    context.close()


def test_closed_it_covers_nothing_of_the_menu(site: Site, browser: Browser) -> None:
    context = browser.new_context(viewport=SIZES["desk"], extra_http_headers={"Authorization": "Bearer admin"})  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(f"{site.url}/tables/order")
    foot, panel = page.locator(".side-foot").bounding_box(), page.locator("#panel").bounding_box()
    assert foot is not None
    assert panel is not None
    assert foot["y"] + foot["height"] <= panel["y"] + 1
    context.close()
