"""The whole look in a real browser: every page of the gallery, light, dark, narrow, by keyboard, live, without script.

Pictures are left in pytest's temporary folder (`--basetemp` keeps them): compare them with your own eyes.
"""

from __future__ import annotations

import gzip
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from brique.pages.assets import contents, icon, slim
from tests.pages.gallery import PAGES, Gallery, render, rows, serving

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
DESK, PHONE = {"width": 1400, "height": 900}, {"width": 390, "height": 844}

# Each text against what is painted behind it; large text may have less.
CONTRAST = (Path(__file__).parent / "contrast.js").read_text("utf-8")
UNNAMED = """() => [...document.querySelectorAll("input:not([type=hidden]), select, textarea, button, a, summary")]
  .filter((node) => node.checkVisibility())
  .filter((node) => !(node.labels?.length || node.ariaLabel || node.textContent.trim() || node.title))
  .map((node) => node.outerHTML.slice(0, 120))"""


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


@pytest.fixture(scope="module")
def shared() -> Iterator[Gallery]:
    with serving() as gallery:
        yield gallery


@pytest.fixture
def gallery(shared: Gallery) -> Gallery:
    shared.posts.clear()
    shared.extra.clear()
    return shared


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(viewport=DESK, locale="fr-FR")
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page whose console must stay silent: a violated policy is told there."""
    told: list[str] = []
    opened = context.new_page()
    opened.set_default_timeout(5000)
    opened.on("console", lambda message: told.append(f"{message.type}: {message.text}"))
    opened.on("pageerror", lambda fault: told.append(f"fault: {fault}"))
    yield opened
    opened.close()
    assert told == []


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(("kind", "size"), [("light", DESK), ("dark", DESK), ("phone", PHONE), ("phone-dark", PHONE)])
def test_each_page_is_readable_in_both_themes_and_fits_a_phone(
    page: Page, gallery: Gallery, tmp_path_factory: pytest.TempPathFactory, name: str, kind: str, size: Any
) -> None:
    page.set_viewport_size(size)
    outside: list[str] = []
    page.on("request", lambda request: outside.append(request.url))
    theme = "dark" if "dark" in kind else "light"
    page.goto(f"{gallery.url}/{name}?theme={theme}")
    for details in page.locator(".chart details").all():
        details.locator("summary").click()
    pictures = tmp_path_factory.getbasetemp() / "pictures"
    pictures.mkdir(exist_ok=True)
    page.screenshot(path=pictures / f"{name}-{kind}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate(UNNAMED) == []
    fetched = [url for url in outside if not url.startswith("data:")]
    assert len(fetched) == 3 and all(url.startswith(gallery.url) for url in fetched)


def test_the_contrast_check_sees_a_poor_one(page: Page, gallery: Gallery) -> None:
    page.goto(f"{gallery.url}/table")
    page.evaluate("document.querySelector('h1').style.color = 'color-mix(in srgb, white 70%, black)'")
    assert [line[:3] for line in page.evaluate(CONTRAST)] == ["H1."]


@pytest.mark.parametrize("name", PAGES)
def test_no_page_holds_anything_that_the_policy_forbids(name: str) -> None:
    html = render(name)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|<script(?![^>]*\ssrc=)", html)
    ids = re.findall(r'\sid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("language", ["fr", "en"])
def test_a_cold_page_is_light(language: str) -> None:
    parts = {name: len(gzip.compress(body, 9)) for name, body in contents().items()}
    assert parts["brique.css"] <= 9 * 1024
    assert len(gzip.compress(render("table", language=language).encode(), 9)) <= 5 * 1024
    assert parts["brique.js"] <= 19 * 1024


def test_slimming_leaves_code_and_strings_alone() -> None:
    assert slim("/* note */\na {\n  b: c; /* kept */\n}\n", line_comments=False) == "a {\nb: c; /* kept */\n}"
    assert slim('// note\nlet a = "// kept";\n\n  b();\n', line_comments=True) == 'let a = "// kept";\nb();'


def test_an_icon_that_was_not_vendored_is_an_error() -> None:
    assert "<svg" in icon("search")
    with pytest.raises(KeyError):
        icon("rocket")


def test_keys_reach_search_rows_new_and_help(page: Page, gallery: Gallery) -> None:
    page.goto(f"{gallery.url}/table")
    page.keyboard.press("/")
    expect(page.locator("input[type=search]")).to_be_focused()
    page.keyboard.type("n/?")
    expect(page.locator("input[type=search]")).to_have_value("n/?")
    page.goto(f"{gallery.url}/table")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("link", name="CMD00999871")).to_be_focused()
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("n")
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()
    page.keyboard.press("Enter")
    page.wait_for_url("**/form?CMD00999871")
    page.goto(f"{gallery.url}/table")
    page.keyboard.press("n")
    page.wait_for_url("**/form")


def test_single_keys_can_be_switched_off(page: Page, gallery: Gallery) -> None:
    page.goto(f"{gallery.url}/table")
    page.keyboard.press("?")
    page.locator("#keys-on").uncheck()
    page.keyboard.press("Escape")
    page.reload()
    page.keyboard.press("n")
    page.keyboard.press("/")
    expect(page.locator("input[type=search]")).not_to_be_focused()
    assert page.url.endswith("/table")


def test_a_menu_closes_by_escape_and_by_a_click_elsewhere(page: Page, gallery: Gallery) -> None:
    page.goto(f"{gallery.url}/table")
    columns = page.get_by_text("Colonnes", exact=True)
    columns.click()
    expect(page.get_by_label("Client", exact=True)).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_label("Client", exact=True)).to_be_hidden()
    expect(columns).to_be_focused()
    columns.click()
    page.locator("h1").click()
    expect(page.get_by_label("Client", exact=True)).to_be_hidden()


@pytest.mark.parametrize("menu", ["Colonnes", "Exporter", "Vue : À livrer cette semaine"])
def test_an_open_menu_fits_a_phone(page: Page, gallery: Gallery, menu: str) -> None:
    page.set_viewport_size(PHONE)
    page.goto(f"{gallery.url}/table")
    page.get_by_text(menu, exact=True).click()
    opened = page.locator("details.drop[open] .sheet-menu").bounding_box()
    assert opened and opened["x"] >= 0 and opened["x"] + opened["width"] <= 390
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_three_impatient_clicks_send_a_form_once(page: Page, gallery: Gallery) -> None:
    page.goto(f"{gallery.url}/form")
    page.evaluate("() => { const b = document.querySelector('.primary'); b.click(); b.click(); b.click(); }")
    page.wait_for_url("**/form")
    expect(page.locator("body")).to_have_text("kept")
    assert len(gallery.posts) == 1


def test_control_enter_sends_the_form_with_what_was_typed(page: Page, gallery: Gallery) -> None:
    page.goto(f"{gallery.url}/form")
    page.get_by_label("Quantité").fill("15")
    page.keyboard.press("Control+Enter")
    expect(page.locator("body")).to_have_text("kept")
    assert "quantity=15" in gallery.posts[0] and "client=C002775" in gallery.posts[0]


def test_deleting_asks_first(page: Page, gallery: Gallery) -> None:
    page.goto(f"{gallery.url}/form")
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Supprimer").click()
    assert gallery.posts == []
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Supprimer").click()
    expect(page.locator("body")).to_have_text("kept")
    assert len(gallery.posts) == 1


def test_a_reference_is_looked_up_by_keyboard(page: Page, gallery: Gallery) -> None:
    page.goto(f"{gallery.url}/form")
    client = page.get_by_role("combobox", name="Client")
    expect(client).to_have_value("C002775 Société E2775")
    client.fill("société")
    expect(page.get_by_role("listbox").get_by_role("option")).to_have_count(8)
    client.press("ArrowDown")
    expect(client).to_have_attribute("aria-activedescendant", "field-client-options-1")
    client.press("Enter")
    expect(client).to_have_value("C000002 Société B")
    expect(page.locator("input[type=hidden][name=client]")).to_have_value("C000002")
    client.fill("rien de tel")
    expect(page.get_by_text("Rien trouvé").first).to_be_visible()
    client.press("Escape")
    expect(page.get_by_role("listbox")).to_be_hidden()
    client.fill("C000077")
    expect(page.locator("input[type=hidden][name=client]")).to_have_value("C000077")
    client.fill("")
    expect(page.locator("input[type=hidden][name=client]")).to_have_value("")


def test_a_reference_is_chosen_by_pointer(page: Page, gallery: Gallery) -> None:
    page.goto(f"{gallery.url}/form")
    page.get_by_role("combobox", name="Client").fill("c")
    page.get_by_role("option", name="C000003 Société C").click()
    expect(page.locator("input[type=hidden][name=client]")).to_have_value("C000003")


def test_a_picked_date_is_written_as_one_types_it(page: Page, gallery: Gallery) -> None:
    page.goto(f"{gallery.url}/form")
    page.locator("[data-picks]").fill("2026-12-05")
    expect(page.get_by_label("Date *")).to_have_value("05/12/2026")


def test_the_chosen_theme_is_kept(page: Page, gallery: Gallery) -> None:
    page.goto(f"{gallery.url}/table")
    page.get_by_text("Votre menu").locator("..").click()
    page.get_by_role("button", name="Sombre").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(15, 19, 24)"
    page.goto(f"{gallery.url}/status")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.get_by_text("Votre menu").locator("..").click()
    page.get_by_role("button", name="Couleurs du système").click()
    page.emulate_media(color_scheme="light")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(247, 248, 250)"


def test_searching_replaces_the_rows_and_the_address(page: Page, gallery: Gallery) -> None:
    page.goto(f"{gallery.url}/table")
    page.get_by_role("searchbox").press_sequentially("E2775")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.wait_for_url("**/table?q=E2775")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.go_back()
    expect(page.locator("tbody tr")).to_have_count(26)


def test_a_live_page_follows_the_data_without_losing_the_place(page: Page, gallery: Gallery) -> None:
    page.goto(f"{gallery.url}/table?live=1")
    page.keyboard.press("ArrowDown")
    page.evaluate("document.querySelector('tbody tr:nth-child(5)').marked = true")
    gallery.extra["table"] = {"title": "Autre", "banners": [], "rows": _changed_rows()}
    _until(page, gallery, "tbody tr:nth-child(5) td:nth-child(2)", "C999999 Nouvelle")
    expect(page.locator(".banner")).to_have_count(1)  # only the hidden one that tells when the intranet is away
    expect(page.get_by_role("link", name="CMD00999871")).to_be_focused()
    assert page.evaluate("document.querySelector('tbody tr:nth-child(5)').marked")


def test_a_live_page_waits_while_somebody_selects_text(page: Page, gallery: Gallery) -> None:
    page.goto(f"{gallery.url}/table?live=1")
    page.locator("tbody tr:nth-child(5) td:nth-child(2)").dblclick()
    gallery.extra["table"] = {"rows": _changed_rows(), "banners": []}
    _until(page, gallery, "#banners", "")
    expect(page.locator("tbody tr:nth-child(5) td:nth-child(2)")).not_to_have_text("C999999 Nouvelle")
    page.evaluate("getSelection().removeAllRanges()")
    _until(page, gallery, "tbody tr:nth-child(5) td:nth-child(2)", "C999999 Nouvelle")


def test_the_age_of_data_goes_on_counting(page: Page, gallery: Gallery) -> None:
    page.clock.install()
    page.goto(f"{gallery.url}/status")
    shown = page.locator("time[data-age='12']")
    expect(shown).to_have_text("12\u00a0s")
    page.clock.fast_forward(50_000)
    expect(shown).to_have_text("1\u00a0min")
    page.clock.fast_forward(7_200_000)
    expect(shown).to_have_text("2\u00a0h")


def test_everything_works_without_script(browser: Browser, gallery: Gallery) -> None:
    context = browser.new_context(java_script_enabled=False, viewport=DESK)
    page = context.new_page()
    page.goto(f"{gallery.url}/table")
    expect(page.locator("[data-js]").first).to_be_hidden()
    page.get_by_text("Colonnes", exact=True).click()
    page.get_by_label("Ville", exact=True).check()
    page.get_by_role("searchbox").fill("E2775")
    page.get_by_role("searchbox").press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("link", name="CMD00999871").click()
    page.get_by_label("Client").fill("C000009")
    page.get_by_role("button", name="Enregistrer (sera envoyé)").click()
    expect(page.locator("body")).to_have_text("kept")
    assert "client=C000009" in gallery.posts[0]
    context.close()


def test_a_printed_page_is_the_content_alone(page: Page, gallery: Gallery) -> None:
    page.goto(f"{gallery.url}/table?theme=dark")
    page.emulate_media(media="print")
    for selector in (".side", ".actions", ".toolbar", ".pages"):
        expect(page.locator(selector)).to_be_hidden()
    expect(page.locator("table")).to_be_visible()
    assert page.evaluate("getComputedStyle(document.querySelector('td')).color") == "rgb(23, 32, 42)"
    assert page.locator(".sheet").evaluate("node => node.scrollHeight <= node.clientHeight + 1")


def test_high_contrast_keeps_borders_and_bars(page: Page, gallery: Gallery) -> None:
    page.emulate_media(forced_colors="active")
    page.goto(f"{gallery.url}/dashboard")
    assert page.locator(".btn").first.evaluate("node => getComputedStyle(node).borderTopStyle") == "solid"
    assert page.locator(".bar").first.evaluate("node => getComputedStyle(node).fill") == "rgb(11, 110, 79)"


def _changed_rows() -> list[dict[str, Any]]:
    changed = rows()
    changed[4]["client"] = "C999999 Nouvelle"
    return changed


def _until(page: Page, gallery: Gallery, selector: str, text: str) -> None:
    """Tell the page of a change (again, if it was not yet listening) until `selector` shows `text`."""
    end = time.monotonic() + 8
    while time.monotonic() < end:
        gallery.change()
        try:
            expect(page.locator(selector)).to_have_text(text, timeout=1000)
        except AssertionError:
            continue
        return
    expect(page.locator(selector)).to_have_text(text)
