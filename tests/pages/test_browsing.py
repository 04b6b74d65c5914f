"""The list in a real browser: typing, sorting, filtering and choosing columns, by hand, by keyboard, live."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from brique.schema import Change, State
from tests.pages.shop import Shop, order, shop

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
DESK, PHONE = {"width": 1400, "height": 900}, {"width": 390, "height": 844}
CONTRAST = (Path(__file__).parent / "contrast.js").read_text("utf-8")
# The browser's own remark on a header, not about a page.
HARMLESS = "Permissions-Policy"


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


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Shop, str]]:
    with shop(tmp_path) as made:
        made.fill()
        with made.serving() as url:
            yield made, url


def open_page(
    browser: Browser, served: tuple[Shop, str], path: str, *, scheme: str = "light", phone: bool = False
) -> Page:
    made, url = served
    context = browser.new_context(
        viewport=PHONE if phone else DESK,  # type: ignore[arg-type]
        locale="en-GB",
        color_scheme=scheme,  # type: ignore[arg-type]
        base_url=url,
    )
    cookies = made.browser("write").cookies
    context.add_cookies([{"name": name, "value": str(value), "url": url} for name, value in cookies.items()])
    page = context.new_page()
    page.set_default_timeout(5000)
    page.goto(path)
    return page


@pytest.fixture
def told(browser: Browser, served: tuple[Shop, str]) -> Iterator[tuple[Page, Shop]]:
    """The list of orders; its console must stay silent."""
    faults: list[str] = []
    page = open_page(browser, served, "/tables")
    page.on("console", lambda message: faults.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda fault: faults.append(f"fault: {fault}"))
    page.goto("/tables/orders")
    yield page, served[0]
    page.context.close()
    assert [
        fault for fault in faults if HARMLESS not in fault and "Autofocus processing was blocked" not in fault
    ] == []


def test_typing_searches_and_keeps_address_count_and_exports_in_step(told: tuple[Page, Shop]) -> None:
    page, _ = told
    page.keyboard.press("/")
    page.keyboard.type("CMD00000042")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"/tables/orders\?q=CMD00000042$"))
    expect(page.locator("#count")).to_contain_text("1 row")
    expect(page.locator("#tools a", has_text="JSON")).to_have_attribute("href", "/tables/orders.json?q=CMD00000042")
    expect(page.get_by_role("searchbox")).to_be_focused()
    expect(page.get_by_role("searchbox")).to_have_value("CMD00000042")


def test_sort_filter_and_search_add_up_without_loading_the_page_anew(told: tuple[Page, Shop]) -> None:
    page, _ = told
    page.evaluate("() => { window.same = true }")
    page.get_by_role("link", name="N°").click()
    expect(page).to_have_url(re.compile("sort=number"))
    page.locator("#ask select[name=status]").select_option("livrée")
    expect(page).to_have_url(re.compile("status=livr"))
    page.get_by_role("searchbox").fill("dakar")
    expect(page).to_have_url(re.compile("q=dakar"))
    address = page.url
    assert "sort=number" in address
    assert "status=livr" in address
    expect(page.locator("tbody tr")).to_have_count(2)
    assert page.evaluate("() => window.same") is True
    page.go_back()
    expect(page).to_have_url(re.compile(r"status=livr(?!.*q=dakar)"))


def test_the_filter_menu_takes_ranges_days_and_rows(told: tuple[Page, Shop]) -> None:
    page, _ = told
    page.get_by_text("Filters", exact=True).click()
    page.get_by_label("Date from").fill("10/01/2022")
    page.get_by_role("combobox", name="Client").fill("Société E4")
    page.locator("[role=listbox] [role=option]").first.click()
    page.get_by_role("button", name="Show").last.click()
    expect(page).to_have_url(re.compile("ordered__ge=2022-01-10"))
    expect(page).to_have_url(re.compile("customer=C0000"))
    chips = page.locator(".chips a.pill")
    expect(chips).to_have_count(2)
    chips.first.click()
    expect(page.locator(".chips a.pill")).to_have_count(1)


def test_columns_are_chosen_by_ticking(told: tuple[Page, Shop]) -> None:
    page, _ = told
    page.get_by_text("Columns", exact=True).click()
    page.locator("#tools").get_by_label("Remarque").check()
    page.locator("#tools").get_by_label("Ville").uncheck()
    page.locator("#tools").get_by_role("button", name="Show").click()
    expect(page).to_have_url(re.compile("columns="))
    expect(page.locator("thead")).to_contain_text("Remarque")
    expect(page.locator("thead")).not_to_contain_text("Ville")


def test_rows_are_reached_and_opened_by_keyboard(told: tuple[Page, Shop]) -> None:
    page, _ = told
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/tables/orders/CMD00000002$"))


def test_what_changes_is_shown_without_asking(told: tuple[Page, Shop]) -> None:
    page, made = told
    expect(page.locator("tbody tr").first).to_contain_text("CMD00000001")
    page.evaluate("() => { window.same = true }")
    made.lay(Change("orders", "CMD00000050", {"city": "Rufisque"}, {"city": "Tambacounda"}))
    expect(page.locator("tbody tr").first).to_contain_text("pending")
    expect(page.locator("tbody tr").first).to_contain_text("Tambacounda")
    expect(page.locator("#menu")).to_contain_text("Outbox 1")
    made.backend("erp", state="down", since=made.clock.now())
    expect(page.locator("#banners")).to_contain_text("ERP cannot be reached")
    made.settle(State.CONFLICT, "The row had changed meanwhile.")
    expect(page.locator("tr.conflict")).to_have_count(1)
    assert page.evaluate("() => window.same") is True


def test_a_first_copy_turns_into_the_list_by_itself(browser: Browser, tmp_path: Path) -> None:
    with shop(tmp_path) as made, made.serving() as url:
        page = open_page(browser, (made, url), "/tables/orders")
        expect(page.locator("progress")).to_be_visible()
        load = made.store.begin_load("orders", made.stage("orders", [order(n) for n in range(1, 400)]), 399)
        while load.step():
            pass
        expect(page.locator("tbody tr")).to_have_count(25)
        page.context.close()


def test_everything_works_without_script(browser: Browser, served: tuple[Shop, str]) -> None:
    made, url = served
    context = browser.new_context(java_script_enabled=False, base_url=url, locale="en-GB")
    cookies = made.browser("write").cookies
    context.add_cookies([{"name": name, "value": str(value), "url": url} for name, value in cookies.items()])
    page = context.new_page()
    page.goto("/tables/orders")
    page.get_by_role("searchbox").fill("dakar")
    page.get_by_role("button", name="Show").last.click()
    expect(page).to_have_url(re.compile(r"/tables/orders\?q=dakar$"))
    page.get_by_role("link", name="Ville", exact=True).click()
    expect(page).to_have_url(re.compile("sort=city"))
    page.get_by_text("Columns", exact=True).click()
    page.locator("#tools").get_by_label("Urgente").check()
    page.locator("#tools").get_by_role("button", name="Show").click()
    expect(page.locator("thead")).to_contain_text("Urgente")
    assert "q=dakar" in page.url
    context.close()


PAGES = ("/tables/orders", "/tables/orders/CMD00000003", "/tables/customers/C000001", "/", "/by-city", "/tables")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("phone", [False, True])
@pytest.mark.parametrize("path", PAGES)
def test_each_page_is_readable_and_fits(
    browser: Browser, served: tuple[Shop, str], path: str, scheme: str, phone: bool, tmp_path: Path
) -> None:
    served[0].backend("erp", state="down", since=served[0].clock.now())
    served[0].lay(Change("orders", "CMD00000003", {"city": "Kaolack"}, {"city": "Dakar"}))
    page = open_page(browser, served, path, scheme=scheme, phone=phone)
    page.screenshot(path=tmp_path / "page.png")
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    faint = page.evaluate(CONTRAST)
    assert not faint, faint
    page.context.close()
