"""Pages that follow, in Chromium: what one changes the other sees, in its place, and nobody is disturbed."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, Request, expect

from tests.end_to_end.running import Running, brique_up, browser, sign_up
from tests.servers import wait_until

SCHEMA = """
CREATE TABLE customers(code TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL, city TEXT);
CREATE TABLE orders(
  id INTEGER PRIMARY KEY, customer TEXT NOT NULL REFERENCES customers(code), quantity INTEGER NOT NULL, note TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
  INSERT INTO customers SELECT 'C' || i, 'Company ' || i, 'Dakar' FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
  INSERT INTO orders SELECT i, 'C' || (i % 40 + 1), i % 50, '' FROM n;
"""


class Erp:
    """The backend, worked on by somebody else."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run(SCHEMA)

    def run(self, sql: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.executescript(sql)


@pytest.fixture
def erp(tmp_path: Path) -> Erp:
    return Erp(tmp_path / "erp.db")


@pytest.fixture
def running(erp: Erp, tmp_path: Path) -> Iterator[Running]:
    options = ("--marker", "--refresh", "0.3", "--web", "1")
    with brique_up(str(erp.path), data=tmp_path / "data", options=options) as running:
        wait_until(lambda: running.rows("orders") == 2000, 30, "the first copy")
        yield running


@contextmanager
def second(page: Page) -> Iterator[Page]:
    """Another window of the same reader, which remembers where it was opened: a reload would make it forget."""
    other = page.context.new_page()
    yield other
    other.close()


def opened(page: Page, running: Running, path: str) -> None:
    page.goto(running.address + path)
    page.evaluate("window.since = 'opened'")


def still_there(page: Page) -> bool:
    """Whether the page has not been loaded anew."""
    return bool(page.evaluate("window.since === 'opened'"))


def cell(page: Page, number: int, column: str = "Quantity") -> object:
    row = page.locator("tbody tr", has=page.locator(f"a[href$='/orders/{number}']"))
    return row.locator(f"td[data-label='{column}']")


def web_pid(running: Running) -> int:
    found = running.client.get("/-/status", params={"format": "json"}).json()["processes"]
    return next(int(item["pid"]) for item in found if item["name"].startswith("web") and item["pid"])


def test_what_one_changes_the_other_sees_in_its_place(running: Running, erp: Erp) -> None:
    with browser() as page:
        sign_up(page, running)
        with second(page) as other:
            opened(other, running, "/tables/orders?sort=id")
            expect(cell(other, 7)).to_have_text("7")
            kept = other.evaluate_handle("document.querySelector(\"tbody a[href$='/orders/9']\").closest('tr')")
            opened(page, running, "/tables/orders/7/edit")
            page.get_by_label("Quantity").fill("4321")
            page.keyboard.press("Control+Enter")
            expect(cell(other, 7)).to_have_text("4,321", timeout=10_000)
            assert still_there(other)
            assert other.evaluate("row => row.isConnected", kept), "rows that have not changed stay as they are"
            expect(other.locator("#list")).not_to_contain_text("pending", timeout=10_000)
            where = "[window.scrollY, document.querySelector('#list .sheet').scrollTop]"
            other.evaluate("window.scrollTo(0, 120); document.querySelector('#list .sheet').scrollTo(0, 60)")
            scrolled = other.evaluate(where)
            assert sum(scrolled) > 0
            erp.run("UPDATE orders SET quantity = 7000 WHERE id = 6")
            expect(cell(other, 6)).to_have_text("7,000", timeout=10_000)
            assert other.evaluate(where) == scrolled
            opened(other, running, "/tables/orders/8")
            other.locator("#main").get_by_text("8", exact=True).first.wait_for()
            running.client.patch("/api/tables/orders/8", json={"quantity": 4444})
            expect(other.locator("#row")).to_contain_text("4,444", timeout=10_000)
            opened(other, running, "/outbox?state=all")
            known = other.locator("#list tbody tr").count()
            running.client.patch("/api/tables/orders/9", json={"quantity": 5555})
            expect(other.locator("#list tbody tr")).to_have_count(known + 1, timeout=10_000)
            assert still_there(other)


@pytest.mark.parametrize(("width", "language", "dark"), [(1400, "en-GB", False), (390, "fr-FR", True)])
def test_who_types_is_not_disturbed(running: Running, erp: Erp, width: int, language: str, dark: bool) -> None:
    with browser(width=width, language=language, dark=dark) as page:
        sign_up(page, running)
        opened(page, running, "/tables/orders/7/edit")
        note = page.locator("form [name=note]")
        note.fill("half a sent")
        note.evaluate("field => field.setSelectionRange(2, 5)")
        os.rename(erp.path, erp.path.with_suffix(".away"))
        expect(page.locator("#banners .banner")).to_contain_text("erp", timeout=20_000)
        assert still_there(page)
        assert note.input_value() == "half a sent"
        where = (
            "[document.activeElement.name, document.activeElement.selectionStart, document.activeElement.selectionEnd]"
        )
        assert page.evaluate(where) == ["note", 2, 5]
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0
        os.rename(erp.path.with_suffix(".away"), erp.path)
        expect(page.locator("#banners .banner")).to_have_count(0, timeout=20_000)
        assert note.input_value() == "half a sent"
        page.evaluate("document.querySelector('form[data-guard]')?.reset()")


def test_an_open_menu_and_ticked_rows_stay(running: Running, erp: Erp) -> None:
    with browser() as page:
        sign_up(page, running)
        opened(page, running, "/tables/orders?sort=id")
        page.locator("#tools details.drop summary").first.click()
        expect(page.locator("#tools details.drop[open]")).to_have_count(1)
        erp.run("UPDATE orders SET quantity = 7001 WHERE id = 3")
        expect(cell(page, 3)).to_have_text("7,001", timeout=10_000)
        expect(page.locator("#tools details.drop[open]")).to_have_count(1)
        search = page.locator("input[name=q]")
        search.focus()
        erp.run("UPDATE orders SET quantity = 7002 WHERE id = 3")
        expect(cell(page, 3)).to_have_text("7,002", timeout=10_000)
        assert page.evaluate("document.activeElement.name") == "q"


def test_a_page_misses_nothing_when_the_web_process_is_killed(running: Running, erp: Erp) -> None:
    with browser() as page:
        sign_up(page, running)
        asked: list[Request] = []
        page.on("request", lambda request: asked.append(request) if "/-/live" in request.url else None)
        opened(page, running, "/tables/orders?sort=id")
        erp.run("UPDATE orders SET quantity = 7003 WHERE id = 3")
        expect(cell(page, 3)).to_have_text("7,003", timeout=10_000)
        os.kill(web_pid(running), signal.SIGKILL)
        erp.run("UPDATE orders SET quantity = 7004 WHERE id = 4")
        expect(cell(page, 4)).to_have_text("7,004", timeout=30_000)
        assert still_there(page)
        assert any("last-event-id" in request.all_headers() for request in asked), "it said what it had been told last"


def test_who_was_away_too_long_reads_the_page_once(erp: Erp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIQUE_CHANGE_LOG_ROWS_MAX", "1000")
    options = ("--refresh", "0.3", "--web", "1")
    with brique_up(str(erp.path), data=tmp_path / "data", options=options) as running, browser() as page:
        wait_until(lambda: running.rows("orders") == 2000, 30, "the first copy")
        sign_up(page, running)
        opened(page, running, "/tables/orders?sort=id")
        erp.run("UPDATE orders SET quantity = 7000 WHERE id = 1")
        expect(cell(page, 1)).to_have_text("7,000", timeout=10_000)
        page.route("**/-/live*", lambda route: route.abort())
        os.kill(web_pid(running), signal.SIGKILL)
        for turn in range(4):
            erp.run(f"UPDATE orders SET quantity = {8000 + turn}")
            wait_until(lambda turn=turn: _quantity(running) == 8000 + turn, 20, "the copy has it")  # type: ignore[misc]
        fetched: list[str] = []
        page.on("request", lambda request: fetched.append(request.url) if "hx-request" in request.headers else None)
        page.unroute("**/-/live*")
        expect(cell(page, 2)).to_have_text("8,003", timeout=30_000)
        page.wait_for_timeout(1500)
        assert len(fetched) <= 2, "read once; a second time when the state of the backend was news as well"
        assert still_there(page)


def _quantity(running: Running) -> int:
    try:
        return int(running.client.get("/api/tables/orders/2").json()["quantity"])
    except httpx.HTTPError:  # the process that was killed
        return -1


def test_who_signs_out_elsewhere_is_led_to_the_door(running: Running, erp: Erp) -> None:
    with browser() as page:
        sign_up(page, running)
        opened(page, running, "/tables/orders")
        page.context.clear_cookies()
        erp.run("UPDATE orders SET quantity = 7005 WHERE id = 5")
        page.wait_for_url("**/-/sign-in**", timeout=15_000)


def test_a_page_that_nobody_sees_hangs_up_and_catches_up(running: Running, erp: Erp) -> None:
    with browser() as page:
        sign_up(page, running)
        opened(page, running, "/tables/orders?sort=id")
        erp.run("UPDATE orders SET quantity = 7001 WHERE id = 3")
        expect(cell(page, 3)).to_have_text("7,001", timeout=10_000)
        _see(page, hidden=True)
        page.wait_for_timeout(5500)
        asked: list[Request] = []
        page.on("request", lambda request: asked.append(request))
        erp.run("UPDATE orders SET quantity = 7002 WHERE id = 3")
        page.wait_for_timeout(2500)
        assert not asked, "it listens no more"
        _see(page, hidden=False)
        expect(cell(page, 3)).to_have_text("7,002", timeout=10_000)
        assert still_there(page)


def _see(page: Page, *, hidden: bool) -> None:
    page.evaluate(
        "hidden => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        hidden,
    )


def test_every_page_can_be_followed_at_its_own_address(running: Running, erp: Erp) -> None:
    paths = ("/", "/tables", "/tables/orders?sort=id", "/tables/orders/7", "/outbox", "/-/status")
    wanted = {"Accept": "text/event-stream"}
    for path in paths:
        assert running.client.get(path).headers["content-type"].startswith("text/html")
        with running.client.stream("GET", path, headers=wanted) as answer:
            assert answer.status_code == 200, path
            assert answer.headers["content-type"].startswith("text/event-stream"), path
            assert next(answer.iter_text()).startswith("retry: ")
    with running.client.stream("GET", paths[3], headers=wanted) as answer:
        chunks = answer.iter_text()
        next(chunks)
        erp.run("UPDATE orders SET quantity = 7009 WHERE id = 9")
        assert "orders" in next(text for text in chunks if "event: change" in text)
    assert running.client.get("/tables/orders/nothing", headers=wanted).status_code == 404
    assert httpx.get(running.address + paths[2], headers=wanted).status_code == 401
