"""Views are tried on a copy: right ones pass, planted faults are found and told in few steps, impure ones are named."""

from __future__ import annotations

import itertools
import json
import random
import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from brique.app.checking import Checked, report_json, report_lines
from brique.check import Report, Subject, check, check_again, copy_store, made_up, steps_from
from brique.clock import SystemClock
from brique.store import Store
from brique.views import Db, View, view_of
from tests.views.properties import bugs
from tests.views.properties.bugs import Patch, planted
from tests.views.world import CLASSES, SPECS, Customer, Order

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)


def statement(db: Db, number: int) -> Any:
    mine = db[Order].where(customer=number)
    last = [[one.number, one.product.name if one.product else ""] for one in mine.order_by("-ordered").limit(2)]
    return {"name": db[Customer][number].name, "open": mine.where(status="open").sum("amount"), "last": last}


def late(db: Db) -> Any:
    return [db[Order].where(ordered__lt=db.today()).count(), db[Order].where(status="sent 3").exists()]


def page(db: Db, number: int, status: str = "open") -> Any:
    customer = db[Customer].get(number)
    orders = db[Order].where(customer=number, status=status)
    return [customer and customer.city, orders.count(), str(db.user)]


def subject(*functions: Callable[..., Any]) -> Subject:
    views: dict[str, View] = {}
    for function in functions:
        views[function.__name__] = view_of(f"/{function.__name__}", function, CLASSES)
    return Subject(views, SPECS, CLASSES, UTC)


@pytest.fixture
def pristine(tmp_path: Path) -> Path:
    made_up(tmp_path / "pristine.db", SPECS, SystemClock(), random.Random(1))
    return tmp_path / "pristine.db"


def tried(pristine: Path, *functions: Callable[..., Any], seed: int = 1, seconds: float = 2.0) -> Report:
    """For so many seconds of this process: others on the machine take nothing away."""
    return check(
        subject(*functions), pristine, pristine.parent, NOW, seed=seed, seconds=seconds, monotonic=time.process_time
    )


def test_good_views_pass(pristine: Path) -> None:
    before = pristine.read_bytes()
    report = tried(pristine, statement, late, page)
    assert report.is_good, report
    assert report.findings == []
    assert report.counts["changes"] > 20
    assert report.counts["kept"] > 20
    assert report.counts["comparisons"] > 200
    assert pristine.read_bytes() == before, "lives are lived on copies of the copy"


@pytest.mark.parametrize("bug", [
    bugs.old_row_ignored, bugs.columns_forgotten, bugs.late_offers_unchecked, bugs.clock_unread, bugs.user_unread,
    bugs.references_not_looked_back_on,
], ids=lambda bug: bug.__name__)  # fmt: skip
def test_a_planted_fault_is_found_and_told_in_few_steps(pristine: Path, bug: Callable[[Patch], None]) -> None:
    with planted(bug):
        for seed in range(6):
            report = tried(pristine, statement, late, page, seed=seed, seconds=3.0)
            if report.mismatch is not None:
                break
        assert report.mismatch is not None, "not found"
        assert not report.is_good
        assert len(report.steps) <= 25, report_lines(Checked(report, 0, (), NOW))
        plain = json.loads(json.dumps(report_json(Checked(report, 0, (), NOW))))
        steps = steps_from(plain["steps"])
        again = check_again(subject(statement, late, page), pristine, pristine.parent, NOW, steps, report.seed)
        assert again.mismatch is not None
        assert again.mismatch.asked == report.mismatch.asked
        assert plain["wrong"]["where"] == report.mismatch.where
    mended = check_again(subject(statement, late, page), pristine, pristine.parent, NOW, steps, report.seed)
    assert mended.mismatch is None, "the report is about the fault, not about the check"


def test_the_same_seed_takes_the_same_steps(pristine: Path) -> None:
    class Ticking:
        """Time that goes on with each look at it."""

        def __init__(self) -> None:
            self.looks = itertools.count()

        def __call__(self) -> float:
            return next(self.looks) / 1000

    with planted(bugs.columns_forgotten):
        found = [
            check(subject(statement, page), pristine, pristine.parent, NOW, seed=5, seconds=2.0, monotonic=Ticking())
            for _ in range(2)
        ]
    assert found[0].mismatch is not None
    assert report_json(Checked(found[0], 0, (), NOW)) == report_json(Checked(found[1], 0, (), NOW))


def test_views_that_are_no_functions_are_named_with_their_line(pristine: Path) -> None:
    counter, known = itertools.count(), dict[int, Any]()

    def counting(db: Db) -> Any:
        return {"n": next(counter)}

    def by_chance(db: Db) -> Any:
        return random.random()

    def cached(db: Db) -> Any:
        return known.setdefault(0, known.get(0) or db[Customer].count())

    def reading(db: Db) -> Any:
        return pristine.read_bytes()[:2].hex()

    report = tried(pristine, counting, by_chance, cached, reading, late)
    told = {finding.view: finding for finding in report.findings}
    assert {finding.kind for finding in told.values()} == {"impure"}
    assert "n: 0 | 2" in told["counting"].text
    assert f"random.random in {Path(__file__).name}:{by_chance.__code__.co_firstlineno + 1}" in told["by_chance"].text
    assert "second time" in told["cached"].text
    assert "reads a file" in told["reading"].text
    assert "late" not in told
    assert not report.is_good


def test_slow_failing_and_greedy_views_are_told_and_are_no_fault(pristine: Path) -> None:
    def slow(db: Db) -> Any:
        time.sleep(0.12)
        return 1

    def failing(db: Db, number: int) -> Any:
        return 1 / (number - number)

    def greedy(db: Db) -> Any:
        return [order.amount for order in db[Order]]

    report = check(subject(slow, failing, greedy), pristine, pristine.parent, NOW, seed=1, seconds=12.0)
    told = {(finding.kind, finding.view): finding.text for finding in report.findings}
    assert set(told) == {("slow", "slow"), ("fails", "failing"), ("whole", "greedy")}
    assert f"ZeroDivisionError: division by zero, in {Path(__file__).name}:" in told["fails", "failing"]
    assert report.is_good


def test_a_store_in_use_is_copied_without_being_touched(tmp_path: Path, pristine: Path) -> None:
    store = Store(pristine, SPECS, clock=SystemClock())
    with store.transaction() as tx:
        tx.apply_base("customers", [("999", {"number": 999, "name": "Last", "city": None})])
    before = pristine.read_bytes()
    assert copy_store(pristine, tmp_path / "copy.db") > 0
    assert pristine.read_bytes() == before
    store.close()
    names = sqlite3.connect(tmp_path / "copy.db").execute('SELECT name FROM "t_customers" WHERE _key = 999').fetchall()
    assert names == [("Last",)], "also what was in the log only"
