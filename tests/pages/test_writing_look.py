"""Forms, outbox and status in a real browser: readable in both themes and on a phone, quick to fill by keyboard."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect, sync_playwright

from brique.schema import State
from tests.pages.writing import PASSWORD, World

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
CONTRAST = (Path(__file__).parent / "contrast.js").read_text("utf-8")
DESK, PHONE = {"width": 1400, "height": 900}, {"width": 390, "height": 844}
UNNAMED = """() => [...document.querySelectorAll("input:not([type=hidden]), select, textarea, button, a, summary")]
  .filter((node) => node.checkVisibility())
  .filter((node) => !(node.labels?.length || node.ariaLabel || node.textContent.trim() || node.title))
  .map((node) => node.outerHTML.slice(0, 120))"""


@contextmanager
def serving(world: World) -> Iterator[str]:
    """The world's application on a port of this machine."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(world.app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


@pytest.fixture
def url(world: World) -> Iterator[str]:
    with serving(world) as url:
        yield url


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{CHROMIUM} is missing: apt-get install chromium")
        pytest.skip(f"{CHROMIUM} is missing: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def page_of(chromium: Browser, url: str, **options: Any) -> Iterator[Page]:
    """A page of a signed-in administrator."""
    context = chromium.new_context(locale="fr-FR", **options)
    page = context.new_page()
    page.set_default_timeout(5000)
    page.goto(url)
    page.fill("input[name=name]", "awa")
    page.fill("input[name=password]", PASSWORD)
    page.click("main button[type=submit]")
    page.wait_for_url(lambda at: "sign-in" not in at)
    yield page
    context.close()


def trouble(world: World) -> list[str]:
    """Commands in every state that has a page of its own; the addresses of their receipts."""
    conflict = world.update("orders", "7", quantity=12, note="mine")
    refused = world.create("orders", client="C000001", quantity=5000, urgent=0)
    world.erp("UPDATE orders SET quantity = 15, status = 'closed' WHERE id = 7")
    world.replay()
    kept = world.update("orders", "8", quantity=4)
    assert [world.state(item) for item in (conflict, refused)] == [State.CONFLICT, State.REFUSED]
    now = world.clock.now()
    world.state_of_backend(
        state="down", since=now, last_error="connection refused", next_try=now + timedelta(seconds=28), rung="compare"
    )
    return [f"/outbox/{item.command.id}" for item in (conflict, refused, kept)]


@pytest.mark.parametrize(("scheme", "size"), [("light", DESK), ("dark", DESK), ("light", PHONE)])
def test_every_page_is_readable_named_and_fits(
    world: World, url: str, chromium: Browser, scheme: str, size: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    receipts = trouble(world)
    paths = [
        "/tables/orders/new", "/tables/orders/7/edit", "/tables/orders/7/delete", "/commands/ship?row=8",
        "/outbox?state=all", "/-/status", *receipts,
    ]  # fmt: skip
    pictures = tmp_path_factory.getbasetemp() / "pictures"
    pictures.mkdir(exist_ok=True)
    with page_of(chromium, url, viewport=size, color_scheme=scheme) as page:
        for index, path in enumerate(paths):
            page.goto(url + path)
            page.screenshot(path=pictures / f"writing-{index}-{scheme}-{size['width']}.png", full_page=True)
            assert page.evaluate(CONTRAST) == [], path
            assert page.evaluate(UNNAMED) == [], path
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], path


def test_a_row_is_made_by_keyboard_alone(world: World, url: str, chromium: Browser) -> None:
    with page_of(chromium, url) as page:
        page.goto(f"{url}/tables/orders/new")
        expect(page.locator("#field-client")).to_be_focused()
        page.keyboard.type("Société B")
        expect(page.get_by_role("option", name="C000002 Société B")).to_be_visible()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.type("20/11/26")
        page.locator("#field-quantity").focus()
        page.keyboard.type("12")
        page.keyboard.press("Control+Enter")
        page.wait_for_url("**/tables/orders/new-*")
        expect(page.get_by_text("Enregistré").first).to_be_visible()
    [item] = world.reader.outbox()
    after = item.command.changes[0].after
    assert after is not None and (after["client"], after["ordered"]) == ("C000002", "2026-11-20")


def test_impatient_clicks_are_one_command(world: World, url: str, chromium: Browser) -> None:
    with page_of(chromium, url) as page:
        page.goto(f"{url}/tables/orders/8/edit")
        page.fill("#field-quantity", "12")
        page.locator("button.primary").click(click_count=3)
        page.wait_for_url("**/tables/orders/8")
    assert len(world.reader.outbox()) == 1


def test_enter_in_a_conflict_sends_and_does_not_abandon(world: World, url: str, chromium: Browser) -> None:
    conflict = trouble(world)[0]
    with page_of(chromium, url) as page:
        page.goto(url + conflict)
        expect(page.get_by_role("button", name="Renvoyer avec 12")).to_be_visible()
        page.locator("#field-quantity").press("Enter")
        page.wait_for_url("**/tables/orders/7")
    newest = world.reader.outbox()[0]
    assert newest.command.replaces == conflict.rpartition("/")[2]


def test_the_outbox_follows_what_happens_by_itself(world: World, url: str, chromium: Browser) -> None:
    item = world.update("orders", "8", quantity=4)
    with page_of(chromium, url) as page:
        page.goto(f"{url}/outbox?state=all")
        expect(page.locator("#list").get_by_text("à envoyer", exact=True)).to_be_visible()
        world.replay()
        assert world.state(item) is State.APPLIED
        expect(page.locator("#list").get_by_text("envoyé", exact=True)).to_be_visible(timeout=10_000)
