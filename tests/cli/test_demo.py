"""`brique demo`: a small ERP of its own, an intranet over it, and the commands that break and mend it."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from brique.demo import Demo
from tests.cli.program import Running, Said, assert_told, brique, running
from tests.servers import free_port, wait_until

TOKEN = "a-token-for-this-run"
QUICK = {"BRIQUE_BACKEND_TIMEOUT_SECONDS": "1.5", "BRIQUE_PROBE_SECONDS_MIN": "0.1", "BRIQUE_PROBE_SECONDS_MAX": "0.5"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, postgres_template: object) -> Iterator[Running]:
    """The demo with 400 order lines, served. (`postgres_template` skips where there is no PostgreSQL.)"""
    folder = tmp_path_factory.mktemp("demo")
    Demo(folder / "demo", free_port())  # another demo may run on the usual port
    with running("demo", "--folder", "demo", "--lines", 400, "--token", TOKEN, folder=folder, **QUICK) as site:
        site.rows("order", TOKEN)
        site.rows("order_line", TOKEN)
        yield site
    Demo(folder / "demo").remove()


def demo(site: Running, *words: object, said: str = "") -> Said:
    return brique("demo", "--folder", "demo", *words, folder=site.log.parent, said=said)


def call(site: Running, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    request = urllib.request.Request(site.address + path, json.dumps(body).encode(), headers, method=method)
    with urllib.request.urlopen(request, timeout=20) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


def state_of(site: Running, receipt: str) -> str:
    return str(json.loads(site.get(f"/api/outbox/{receipt}", TOKEN)[1])["state"])


def test_it_says_what_it_serves_and_how_to_break_it(site: Running) -> None:
    assert "The ERP runs: 400 order lines." in site.printed
    assert "brique demo freeze" in site.printed
    assert "Comptoir du Cap-Vert: 10 tables of erp" in site.printed
    assert site.link


@pytest.mark.parametrize(("breaks", "mends"), [("stop", "start"), ("freeze", "thaw"), ("kill", "start")])
def test_what_is_written_while_it_is_away_arrives_afterwards(site: Running, breaks: str, mends: str) -> None:
    order = json.loads(site.get("/api/tables/order?limit=1&sort=-number", TOKEN)[1])["rows"][0]["_key"]
    assert demo(site, breaks).status == 0
    try:
        assert demo(site, "state").out.strip() in ("stopped", "frozen")
        receipt = call(site, "PATCH", f"/api/tables/order/{order}", {"remark": f"while {breaks}"})["receipt"]
        assert state_of(site, receipt) in ("kept", "sending")
    finally:
        told = demo(site, mends)
    assert told.out == "The ERP is running.\n", told
    wait_until(lambda: state_of(site, receipt) == "applied", 30, "the command to arrive")


def test_a_colleague_and_a_reader_who_change_the_same_are_in_conflict(site: Running) -> None:
    """The conflict of the tutorial: brique is kept from the ERP while a colleague changes a row there."""

    def ctl(word: str) -> None:
        told = brique("ctl", "--data", "demo/brique", word, "backend-erp", folder=site.log.parent)
        assert told.status == 0, told

    places = {"ORLNPF": "order_line", "ORDRPF": "order"}
    columns = {"OLQTY": ("quantity", 9999), "ORSTS": ("status", "A"), "ORNOT": ("remark", "Mine")}
    ctl("stop")
    try:
        changed = re.fullmatch(r"(\w+) \(([\d, ]+)\): (\w+) .*-> .*", demo(site, "edit").out.strip())
        assert changed
        table, column = places[changed[1]], columns[changed[3]]
        key = ",".join(part.strip() for part in changed[2].split(",") if part.strip())
        receipt = call(site, "PATCH", f"/api/tables/{table}/{key}", {column[0]: column[1]})["receipt"]
    finally:
        ctl("start")
    wait_until(lambda: state_of(site, receipt) == "conflict", 30, "the conflict")
    told = brique("outbox", "--data", "demo/brique", folder=site.log.parent)
    assert receipt in told.out
    assert "conflict" in told.out


def test_a_demo_that_is_not_there_is_told(tmp_path: Path) -> None:
    for word in ("state", "stop", "edit", "reset"):
        assert_told(brique("demo", "--folder", "nowhere", word, folder=tmp_path), "There is no demo")
