"""`brique dev`: a changed file is loaded anew, a broken one changes nothing and is told; views are tried each time."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.program import Running, assert_told, brique, running
from tests.servers import wait_until
from tests.shop import make_shop

TOKEN = "a-token-for-this-run"
APP = """
from brique import Db, Intranet, Table, key

app = Intranet("Corner shop")
erp = app.backend("shop", "sqlite:///shop.db", refresh="1s")


class Customer(Table, backend=erp, source="customer"):
    number: int = key("id")
    name: str


@app.view("/names")
def names(db: Db) -> object:
    return {"names": db[Customer].order_by("name").values("name")}
"""
IMPURE = """

calls = []


@app.view("/counted")
def counted(db: Db) -> object:
    calls.append(1)
    return {"n": len(calls)}
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Running]:
    make_shop(tmp_path / "shop.db")
    (tmp_path / "shop.py").write_text(APP, "utf-8")
    with running("dev", "shop.py", "--token", TOKEN, folder=tmp_path) as site:
        site.rows("customer", TOKEN)
        yield site


def page(site: Running, path: str) -> str:
    headers = {"Authorization": f"Bearer {TOKEN}", "Accept": "text/html"}
    with urllib.request.urlopen(urllib.request.Request(site.address + path, headers=headers), timeout=20) as answer:
        return str(answer.read().decode())


def test_a_changed_file_is_loaded_anew_and_a_broken_one_changes_nothing(site: Running, tmp_path: Path) -> None:
    file = tmp_path / "shop.py"
    assert '<aside class="panel"' in page(site, "/names")
    assert "Awa Ndiaye" in page(site, "/names")
    pids = site.pids()

    file.write_text(APP + "\n\nthis is no Python\n", "utf-8")
    wait_until(lambda: "The last good version goes on." in site.printed, 30, site.printed)
    assert "SyntaxError" in site.printed
    shown = page(site, "/names")
    assert "Awa Ndiaye" in shown
    assert "panel-fault" in shown
    assert "line 18" in shown
    assert site.pids() == pids, "no process has been touched"

    file.write_text(APP + "\n\n1 / 0\n", "utf-8")
    wait_until(lambda: "ZeroDivisionError" in site.printed, 30, site.printed)
    assert "ZeroDivisionError" in page(site, "/names")

    file.write_text(APP.replace('{"names":', '{"people":') + IMPURE, "utf-8")
    wait_until(lambda: "shop.py: loaded anew" in site.printed, 60, site.printed)
    wait_until(lambda: "people" in site.get("/api/views/names", TOKEN)[1], 30, "the new version")
    assert "panel-fault" not in page(site, "/names")

    status, said = site.get("/api/views/counted", TOKEN)
    assert status == 500
    assert "gave two answers for the same data" in said
    assert "n: 1 | 2" in said


def test_what_is_no_declaration_is_told(tmp_path: Path) -> None:
    make_shop(tmp_path / "shop.db")
    (tmp_path / "broken.py").write_text("1 / 0\n", "utf-8")
    assert_told(brique("dev", "shop.db", folder=tmp_path), "is no Python file")
    assert "ZeroDivisionError" in brique("dev", "broken.py", folder=tmp_path).err
