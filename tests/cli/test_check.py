"""`brique check`: exit status, report and replay; the data folder is only read, and no backend is asked."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.cli.program import assert_told, brique, running
from tests.shop import make_shop

APP = """
from brique import Db, Intranet, Table, key, ref

app = Intranet("Corner shop")
erp = app.backend("shop", "sqlite:///shop.db", refresh="1s")


class Customer(Table, backend=erp, source="customer"):
    number: int = key("id")
    name: str


class Order(Table, backend=erp, source="orders"):
    number: int = key("id")
    customer: Customer = ref("customer_id")
    status: str


@app.view("/customers/{customer}/open")
def open_orders(db: Db, customer: Customer) -> object:
    return {"name": customer.name, "open": db[Order].where(customer=customer, status="open").count()}
"""
BY_CHANCE = """
import random


@app.view("/luck")
def luck(db: Db) -> object:
    return {"n": random.randint(1, 6)}
"""
# It asks the same each time and says the same each time: only a new process knows better.
STALE = """
state = {}


@app.view("/names/{number}")
def named(db: Db, number: int) -> object:
    return {"name": state.setdefault(number, db[Customer][number].name)}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(APP, "utf-8")
    return tmp_path


def test_good_views_end_with_0_without_any_data_or_backend(folder: Path) -> None:
    told = brique("check", "shop.py", "--seconds", 2, "--seed", 3, folder=folder)
    assert told.status == 0, told
    assert told.out.splitlines()[0] == "made up: rows of customer, order, for these tables have none"
    assert told.out.splitlines()[-1].endswith("seed 3: all right")
    assert sorted(path.name for path in folder.iterdir()) == ["shop.py"], "it leaves nothing behind"


def test_a_view_that_is_no_function_ends_with_1(folder: Path) -> None:
    (folder / "shop.py").write_text(APP + BY_CHANCE, "utf-8")
    told = brique("check", "shop.py", "--seconds", 2, "--json", folder=folder)
    assert told.status == 1
    (finding,) = json.loads(told.out)["findings"]
    assert (finding["kind"], finding["view"]) == ("impure", "luck")
    assert "random.getrandbits in shop.py:28" in finding["text"]
    assert brique("check", "shop.py", "--seconds", 2, "--view", "open_orders", folder=folder).status == 0


def test_a_view_that_remembers_is_told(folder: Path) -> None:
    (folder / "shop.py").write_text(APP + STALE, "utf-8")
    told = brique("check", "shop.py", "--seconds", 4, "--seed", 5, "--view", "named", folder=folder)
    assert told.status == 1, told
    assert "impure: named remembers: for named(number=" in told.out
    assert "a new process answers otherwise: name: " in told.out


def test_the_data_folder_is_only_read(folder: Path) -> None:
    make_shop(folder / "shop.db")
    with running("up", "shop.py", "--token", "t", folder=folder) as site:
        site.rows("customer", "t")
        told = brique("check", "--data", "data", "--seconds", 2, folder=folder)
        assert told.status == 0, told
        assert "made up" not in told.out
    before = {path: _digest(path) for path in (folder / "data").rglob("*") if path.is_file()}
    (folder / "shop.db").unlink()
    told = brique("check", "--data", "data", "--seconds", 2, folder=folder)
    assert told.status == 0, told
    after = {path: _digest(path) for path in (folder / "data").rglob("*") if path.is_file()}
    assert {path: after.get(path) for path in before} == before


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_faults_are_told(folder: Path) -> None:
    assert_told(brique("check", "shop.py", "--view", "nothing", folder=folder), "There is no view nothing")
    assert_told(brique("check", folder=folder), "Nothing has been started")
    (folder / "report.json").write_text('{"seed": 1}', "utf-8")
    assert_told(brique("check", "shop.py", "--replay", "report.json", folder=folder), "no report")
