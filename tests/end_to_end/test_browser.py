"""The main job in a browser, on real processes and a real PostgreSQL: browse, search, edit, and lose the backend."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import Page, expect

from tests.end_to_end.running import Running, brique_up, browser, sign_up
from tests.postgres import PostgresServer
from tests.servers import wait_until

SCHEMA = """
CREATE TABLE customers(code text PRIMARY KEY, name text NOT NULL, city text);
CREATE TABLE orders(
    id serial PRIMARY KEY, customer text NOT NULL REFERENCES customers, quantity integer NOT NULL
    CHECK (quantity > 0), amount numeric(12,2), ordered date NOT NULL DEFAULT '2026-11-20');
COMMENT ON TABLE orders IS 'Orders';
INSERT INTO customers SELECT 'C' || n, 'Company ' || n, (ARRAY['Dakar','Thiès','Kaolack'])[n % 3 + 1]
    FROM generate_series(1, 200) n;
INSERT INTO orders(customer, quantity, amount)
    SELECT 'C' || (n % 200 + 1), n % 50 + 1, n * 1.25 FROM generate_series(1, 3000) n;
"""


def asked(url: str, sql: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(sql)  # type: ignore[call-overload]  # a plain text
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def world(own_postgres: PostgresServer, tmp_path: Path) -> Iterator[tuple[Running, PostgresServer, str]]:
    url = own_postgres.make_database(name="erp", script=SCHEMA)
    with brique_up(url, data=tmp_path / "data", options=("--marker", "--refresh", "1")) as running:
        wait_until(lambda: running.rows("orders") == 3000, 30, "the first copy")
        yield running, own_postgres, url


def test_browse_search_edit_and_lose_the_backend(world: tuple[Running, PostgresServer, str]) -> None:
    running, server, url = world
    with browser() as page:
        sign_up(page, running)
        _browse(page, running)
        _edit_while_live(page, running, url)
        server.kill()
        wait_until(lambda: running.health("erp") == "down", 20, "the backend counts as down")
        _edit_while_down(page, running)
        server.start()
        wait_until(lambda: running.health("erp") == "live", 30, "the backend is live again")
        wait_until(lambda: asked(url, "SELECT quantity FROM orders WHERE id = 8") == [(44,)], 20, "the write arrives")
        server.freeze()
        wait_until(lambda: running.health("erp") == "down", 20, "frozen counts as down")
        _click_save_three_times(page, running)
        server.thaw()
        wait_until(lambda: _count(url) == 1, 20, "the new row arrives")
        wait_until(lambda: running.rows("orders") == 3001, 20, "the copy shows it")
        page.goto(running.address + "/tables/orders?quantity=7777")
        expect(page.locator("table tbody tr")).to_have_count(1)
        assert _count(url) == 1


def _count(url: str) -> object:
    return asked(url, "SELECT count(*) FROM orders WHERE quantity = 7777")[0][0]


def _browse(page: Page, running: Running) -> None:
    page.goto(running.address + "/tables/orders")
    expect(page.get_by_role("heading", level=1)).to_have_text("Orders")
    expect(page.get_by_text("3,000 rows").first).to_be_visible()
    page.get_by_role("link", name="Quantity", exact=True).click()
    expect(page.locator("th[aria-sort=ascending]")).to_contain_text("Quantity")
    page.goto(running.address + "/tables/orders?q=company 17")
    expect(page.locator("table tbody tr").first).to_contain_text("Company 17")
    page.goto(running.address + "/tables/customers/C17")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Company 17")
    expect(page.get_by_role("heading", level=2, name="Orders")).to_be_visible()


def _edit_while_live(page: Page, running: Running, url: str) -> None:
    page.goto(running.address + "/tables/orders/7/edit")
    page.get_by_label("Quantity").fill("43")
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**/tables/orders/7*")
    wait_until(lambda: asked(url, "SELECT quantity FROM orders WHERE id = 7") == [(43,)], 10, "the write arrives")


def _edit_while_down(page: Page, running: Running) -> None:
    page.goto(running.address + "/tables/orders/8/edit")
    expect(page.get_by_role("status").first).to_contain_text("erp")
    page.get_by_label("Quantity").fill("44")
    page.get_by_role("button", name="Save (will be sent)").click()
    page.wait_for_url("**/tables/orders/8*")
    page.goto(running.address + "/tables/orders?quantity=44&sort=id")
    expect(page.locator("table tbody tr").first).to_contain_text("pending")
    page.goto(running.address + "/outbox")
    expect(page.locator("table tbody tr").first).to_contain_text("to send")


def _click_save_three_times(page: Page, running: Running) -> None:
    """Three posts of one form, as an impatient hand sends them: without the script that would hold two back."""
    page.goto(running.address + "/tables/orders/new")
    page.evaluate(
        """async () => {
            const form = document.querySelector("main form[method=post]");
            form.querySelector("[name=quantity]").value = "7777";
            const body = new URLSearchParams(new FormData(form));
            body.set("customer", "C17");
            const answers = await Promise.all([1, 2, 3].map(() => fetch(form.action, {method: "POST", body})));
            const bad = answers.filter(answer => answer.status >= 400);
            if (bad.length) throw new Error(await bad[0].text());
        }"""
    )
    page.goto(running.address + "/tables/orders?quantity=7777")
    expect(page.locator("table tbody tr")).to_have_count(1)
    expect(page.locator("table tbody tr").first).to_contain_text("pending")


@pytest.mark.parametrize(("width", "language", "dark"), [(390, "fr-FR", False), (1400, "fr-FR", True)])
def test_pages_fit_phones_speak_french_and_have_a_dark_side(
    postgres: PostgresServer, tmp_path: Path, width: int, language: str, dark: bool
) -> None:
    url = postgres.make_database(script=SCHEMA)
    with brique_up(url, data=tmp_path / "data") as running, browser(width=width, language=language, dark=dark) as page:
        wait_until(lambda: running.rows("orders") == 3000, 30, "the first copy")
        sign_up(page, running)
        for path in ("/", "/tables/orders", "/tables/orders/7", "/tables/orders/7/edit", "/outbox", "/-/status"):
            page.goto(running.address + path)
            assert page.locator("html").get_attribute("lang") == "fr"
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{path} is {wide} px too wide"


def test_everything_works_without_script(postgres: PostgresServer, tmp_path: Path) -> None:
    url = postgres.make_database(script=SCHEMA)
    with brique_up(url, data=tmp_path / "data") as running, browser(script=False) as page:
        wait_until(lambda: running.rows("orders") == 3000, 30, "the first copy")
        sign_up(page, running)
        page.goto(running.address + "/tables/orders")
        page.locator("input[name=q]").fill("company 17")
        page.keyboard.press("Enter")
        expect(page.locator("table tbody tr").first).to_contain_text("Company 17")
        page.goto(running.address + "/tables/orders/9/edit")
        page.get_by_label("Quantity").fill("45")
        page.get_by_role("button", name="Save", exact=False).first.click()
        wait_until(lambda: asked(url, "SELECT quantity FROM orders WHERE id = 9") == [(45,)], 10, "the write arrives")
