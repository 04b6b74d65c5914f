"""Running views: one at a time for the same bytes, nothing untracked, and only what JSON can hold."""

from __future__ import annotations

import json
import logging
import random
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.request import urlopen
from zoneinfo import ZoneInfo

import pytest

from brique.errors import BadConfiguration, BadInput, BriqueError, TooMuch
from brique.store import Reader
from brique.views import Chart, Db, Figure, ShortList, ViewFailed, Views, view_of
from brique.views.encode import body_of, etag_of
from tests.views.world import CLASSES, SPECS, Customer, Order, World, order

Make = Callable[..., World]


def plain(value: Any, *, dashboard: bool = False) -> Any:
    return json.loads(body_of(value, dashboard=dashboard, what="a view", bytes_max=10**6))


# one at a time


class Slow:
    """A view that waits in its middle until it is let on."""

    def __init__(self) -> None:
        self.runs = 0
        self.entered = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)

    def view(self) -> Callable[..., Any]:
        def slow(db: Db) -> Any:
            self.runs += 1
            count = db[Order].count()
            self.entered.release()
            assert self.go_on.acquire(timeout=10)
            return count

        return slow


def threads_views(shop: World, **options: Any) -> Views:
    """Views for several threads, each with its own reader."""
    local = threading.local()

    def reader() -> Reader:
        if not hasattr(local, "reader"):
            local.reader = Reader(shop.store.path, SPECS)
        return local.reader  # type: ignore[no-any-return]  # a thread's own attribute

    return Views(shop.views.by_name, SPECS, reader, clock=shop.clock, classes=CLASSES, **options)


def test_many_who_ask_at_once_run_the_view_once(make: Make) -> None:
    slow = Slow()
    views = threads_views(make(slow.view()))
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(views.get, "slow") for _ in range(8)]
        assert slow.entered.acquire(timeout=10)
        time.sleep(0.1)  # the others come to wait; a late one would only make the test easier
        slow.go_on.release(8)
        assert {future.result(10).body for future in asked} == {b"0"}
    assert slow.runs == 1
    assert views._flights == {}


def test_who_has_written_meanwhile_does_not_get_what_was_begun_before(make: Make) -> None:
    slow = Slow()
    shop = make(slow.view())
    views = threads_views(shop)
    with ThreadPoolExecutor(2) as pool:
        before = pool.submit(views.get, "slow")
        assert slow.entered.acquire(timeout=10)
        shop.write("orders", order(1))
        after = pool.submit(views.get, "slow")
        slow.go_on.release(2)
        assert (before.result(10).body, after.result(10).body) == (b"0", b"1")


def test_a_view_that_takes_too_long_does_not_hold_those_who_wait(make: Make) -> None:
    slow = Slow()
    views = threads_views(make(slow.view()), wait_seconds_max=0.05)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(views.get, "slow")
        assert slow.entered.acquire(timeout=10)
        with pytest.raises(BriqueError) as fault:
            pool.submit(views.get, "slow").result(10)
        assert fault.value.status == 503
        slow.go_on.release()
        first.result(10)


def test_a_fault_reaches_all_who_wait(make: Make) -> None:
    barrier = threading.Barrier(4)

    def failing(db: Db) -> Any:
        time.sleep(0.05)
        return db[Order].nothing  # type: ignore[attr-defined]  # the fault

    views = threads_views(make(failing))

    def ask() -> str:
        barrier.wait(10)
        with pytest.raises(ViewFailed) as fault:
            views.get("failing")
        return fault.value.message

    with ThreadPoolExecutor(4) as pool:
        messages = {future.result(10) for future in [pool.submit(ask) for _ in range(4)]}
    assert len(messages) == 1
    assert "no attribute 'nothing'" in messages.pop()


# nothing untracked


def reads_file(db: Db) -> Any:
    return Path("/etc/hostname").read_text()


def swallows(db: Db) -> Any:
    try:
        return Path("/etc/hostname").read_text()
    except Exception:
        return "nothing"


def lists_folder(db: Db) -> Any:
    return [path.name for path in Path("/tmp").iterdir()]


def asks_the_web(db: Db) -> Any:
    return urlopen("http://127.0.0.1:9/").read()


def opens_a_database(db: Db) -> Any:
    return sqlite3.connect(":memory:").execute("select 1").fetchall()


def runs_a_program(db: Db) -> Any:
    return subprocess.check_output(["date"])


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (reads_file, "/etc/hostname"), (swallows, "/etc/hostname"), (lists_folder, "a folder"),
        (asks_the_web, "the network"), (opens_a_database, "a database"), (runs_a_program, "another program"),
    ],
)  # fmt: skip
def test_a_view_that_reads_what_is_not_tracked_is_told_so(make: Make, function: Callable[..., Any], what: str) -> None:
    shop = make(function)
    with pytest.raises(BadConfiguration) as fault:
        shop.views.get(function.__name__)
    assert what in fault.value.message
    assert function.__name__ in fault.value.message
    assert shop.accepted == []


def test_the_programs_own_files_and_logs_are_no_data(make: Make, tmp_path: Path) -> None:
    log = logging.getLogger("test.view")
    handler = logging.FileHandler(tmp_path / "view.log", delay=True)
    log.addHandler(handler)

    def harmless(db: Db) -> Any:
        import colorsys  # a module that nobody has imported yet

        log.warning("seen")
        return [str(ZoneInfo("Asia/Tashkent")), colorsys.rgb_to_hsv(0, 0, 0)[2]]

    shop = make(harmless)
    assert json.loads(shop.views.get("harmless").body) == ["Asia/Tashkent", 0]
    handler.close()
    log.removeHandler(handler)


def test_other_threads_may_read_what_they_like(make: Make) -> None:
    slow = Slow()
    views = threads_views(make(slow.view()))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(views.get, "slow")
        assert slow.entered.acquire(timeout=10)
        Path("/etc/hostname").read_text()
        slow.go_on.release()
        running.result(10)


def test_hidden_sources_are_warned_about() -> None:
    def lucky(db: Db) -> Any:
        return random.random() + time.time()

    found = view_of("/lucky", lucky)
    assert len(found.warnings) == 2
    assert "random" in found.warnings[0]


# what JSON can hold


def test_values_become_json(make: Make) -> None:
    @dataclass
    class Point:
        x: int

    assert plain(
        {
            "decimal": Decimal("0E-7"), "big": 2**60, "date": date(2026, 11, 20), "set": {2, 1}, "tuple": (1, None),
            "point": Point(3), "bytes": b"ab", "infinite": Decimal("inf"), "float": float("nan"), None: 1, True: 2,
            3: 4, date(2026, 1, 1): 5, (1, "a"): 6, "": 7,
        }
    ) == {
        "decimal": "0.0000000", "big": str(2**60), "date": "2026-11-20", "set": [1, 2], "tuple": [1, None],
        "point": {"x": 3}, "bytes": "YWI=", "infinite": None, "float": None, "": 1, "true": 2, "3": 4,
        "2026-01-01": 5, "1, a": 6, "_": 7,
    }  # fmt: skip
    shop = make()
    shop.write("orders", order(1, ordered="2026-11-20"), order(2))
    db = Db(shop.reader, SPECS, classes=CLASSES)
    assert plain(db[Order][1]) == {
        "_key": "1", "_label": "1", "_pending": 0, "number": 1, "customer": 7, "product": None,
        "ordered": "2026-11-20", "amount": "1.00", "weight": None, "rate": None, "status": "open",
    }  # fmt: skip
    assert [row["number"] for row in plain({"rows": db[Order].order_by("-number")})["rows"]] == [2, 1]


@pytest.mark.parametrize("value", [object(), {"a": [object]}, "\ud800", lambda: 1])
def test_what_json_cannot_hold_is_named(value: Any) -> None:
    with pytest.raises(BadConfiguration, match="a view"):
        plain(value)


def test_endless_and_huge_results_are_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(BadConfiguration, match="nested"):
        plain(endless)
    with pytest.raises(TooMuch):
        body_of("x" * 100, dashboard=False, what="a view", bytes_max=50)
    assert etag_of(b"1") == etag_of(b"1") != etag_of(b"2")


def test_a_dashboard_is_tiles(make: Make) -> None:
    shop = make()
    shop.write("orders", order(1), order(2, status="sent"))
    orders = Db(shop.reader, SPECS, classes=CLASSES)[Order]
    made = plain(
        [
            Figure("Orders", orders.count(), delta=0.05, series=(1, 2)),
            Chart("By state", "donut", data=orders.group_by("status").count()),
            Chart("Two", "line", labels=["a", "b"], series={"x": [1, 2], "y": [3, 4]}),
            ShortList("Last", orders.order_by("-number").limit(1), columns=("number", "status"), href="/tables/orders"),
        ],
        dashboard=True,
    )["tiles"]
    assert made[0] == {
        "tile": "figure", "label": "Orders", "value": 2, "delta": 0.05, "series": [1, 2], "href": "",
    }  # fmt: skip
    assert (made[1]["labels"], made[1]["series"]) == (["open", "sent"], [{"label": "By state", "values": [1, 1]}])
    assert [series["label"] for series in made[2]["series"]] == ["x", "y"]
    assert (made[3]["table"], made[3]["rows"][0]["number"], made[3]["columns"]) == ("orders", 2, ["number", "status"])


@pytest.mark.parametrize("tile", [5, Chart("c", "pie"), Chart("c", labels=["a"], values=[1, 2])])  # type: ignore[arg-type]  # what is refused
def test_tiles_that_do_not_fit_are_named(tile: Any) -> None:
    with pytest.raises(BadConfiguration):
        plain([tile], dashboard=True)


# declaring


def test_a_view_is_declared_by_its_annotations() -> None:
    def statement(db: Db, customer: Customer, since: date | None = None, page: int = 1, old: bool = False) -> Any:
        """What a customer owes.

        More of it.
        """

    found = view_of("/customers/{customer}/statement", statement, CLASSES, title="Statement", fresh=2.5)
    assert (found.name, found.label, found.help, found.fresh_seconds) == (
        "statement", "Statement", "What a customer owes.", 2.5,
    )  # fmt: skip
    assert [(p.name, p.kind.value, p.table, p.required, p.in_path) for p in found.parameters] == [
        ("customer", "text", "customers", True, True), ("since", "date", "", False, False),
        ("page", "integer", "", False, False), ("old", "boolean", "", False, False),
    ]  # fmt: skip
    given = {"customer": "7", "since": "2026-11-20", "old": "yes"}
    assert found.arguments(given) == {"customer": "7", "since": "2026-11-20", "old": True}
    assert found.arguments({"customer": "7", "since": date(2026, 11, 20), "old": True}) == found.arguments(given)
    assert found.arguments({"customer": "7", "since": ""}) == {"customer": "7"}
    assert found.address(given) == "/customers/7/statement"
    for bad in ({}, {"customer": "7", "page": "one"}, {"customer": "7", "since": "soon"}, {"customer": "x" * 2000}):
        with pytest.raises(BadInput):
            found.arguments(bad)


def no_db() -> None: ...
def untyped(db: Db, number) -> None: ...  # type: ignore[no-untyped-def]  # what is refused
def odd(db: Db, number: complex) -> None: ...
def unknown(db: Db, number: Nothing) -> None: ...  # type: ignore[name-defined]  # noqa: F821 - what is refused
def defaulted(db: Db, number: int = 1) -> None: ...
def plain_one(db: Db) -> None: ...


@pytest.mark.parametrize(
    ("path", "function"),
    [
        ("/a", no_db), ("/a", untyped), ("/a", odd), ("/a", unknown), ("/a/{number}", defaulted),
        ("/a/{other}", plain_one), ("a", plain_one), ("/{}", plain_one), ("/{x}/{x}", plain_one),
    ],
)  # fmt: skip
def test_a_declaration_that_cannot_work_is_refused(path: str, function: Callable[..., Any]) -> None:
    with pytest.raises(BadConfiguration):
        view_of(path, function, CLASSES)
