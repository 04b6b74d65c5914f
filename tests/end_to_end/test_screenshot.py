"""The picture in the README: the demo's orders in a browser, two of them waiting for an ERP that does not answer.

`UPDATE_IMAGES=1 pytest tests/end_to_end/test_screenshot.py` writes the pictures into docs/images; without it they are
taken all the same, and must be as large as those and show what those show.
"""

from __future__ import annotations

import json
import os
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from brique.demo import Demo
from tests.cli.program import Running, brique, running
from tests.end_to_end.running import PASSWORD, browser
from tests.servers import free_port, wait_until

IMAGES = Path(__file__).parent.parent.parent / "docs" / "images"
BYTES_MAX = 200_000
TOKEN = "for-the-picture"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, postgres_template: object) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("demo")
    words = ("demo", "--folder", "demo", "--lines", 20_000, "--token", TOKEN)
    Demo(folder / "demo", free_port())  # another demo may run on the usual port
    with running(*words, folder=folder, BRIQUE_BACKEND_TIMEOUT_SECONDS="1", BRIQUE_BACKEND_CONNECT_SECONDS="1") as site:
        site.rows("order", TOKEN)
        site.rows("order_line", TOKEN)
        yield site
    Demo(folder / "demo").remove()
    shutil.rmtree(folder)


def change(site: Running, key: str, values: dict[str, object]) -> None:
    request = urllib.request.Request(
        f"{site.address}/api/tables/order/{key}",
        json.dumps(values).encode(),
        {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
        method="PATCH",
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status == 202


def sign_in(page: Page, site: Running, name: str) -> None:
    """As somebody whose language is that of his browser."""
    words = ("users", "add", name, "--role", "admin", "--password", PASSWORD, "--data", "demo/brique")
    assert brique(*words, folder=site.log.parent).status == 0
    page.goto(site.address)
    page.fill("input[name=name]", name)
    page.fill("input[type=password]", PASSWORD)
    page.locator("main button.primary").click()
    expect(page.locator("h1")).to_have_text("Tableau de bord")


def take(page: Page, site: Running, name: str, folder: Path) -> Path:
    page.goto(f"{site.address}/tables/order?sort=-number")
    expect(page.locator("main table tbody tr").first).to_be_visible()
    picture = folder / name
    page.screenshot(path=picture)
    return picture


@pytest.mark.parametrize(("language", "name"), [("en-GB", "list.png"), ("fr-FR", "list.fr.png")])
def test_the_picture_of_the_readme_shows_pending_orders(
    site: Running, tmp_path: Path, language: str, name: str
) -> None:
    folder = site.log.parent
    with browser(width=1360, language=language) as page:
        page.set_viewport_size({"width": 1360, "height": 700})
        sign_in(page, site, {"en-GB": "awa", "fr-FR": "moussa"}[language])
        listed = json.loads(site.get("/api/tables/order?sort=-number&limit=4", TOKEN)[1])
        newest = [row["_key"] for row in listed["rows"]]
        assert brique("demo", "--folder", "demo", "freeze", folder=folder).status == 0
        try:
            change(site, newest[1], {"remark": f"Livrer avant midi ({language})"})
            change(site, newest[2], {"remark": f"À livrer vendredi ({language})"})
            wait_until(lambda: '"down"' in site.get("/-/status?format=json", TOKEN)[1], 30, "the ERP to count as down")
            picture = take(page, site, name, tmp_path)
            assert page.locator("main table tbody tr.pending, main table tbody tr[class*=pending]").count() >= 2
        finally:
            assert brique("demo", "--folder", "demo", "start", folder=folder).status == 0
        assert 10_000 < picture.stat().st_size <= BYTES_MAX
        if os.environ.get("UPDATE_IMAGES"):
            shutil.copy(picture, IMAGES / name)
        wait_until(lambda: '"live"' in site.get("/-/status?format=json", TOKEN)[1], 60, "the ERP to be live again")
        wait_until(
            lambda: not brique("outbox", "--data", "demo/brique", folder=folder).out, 60, "the two orders to arrive"
        )
