"""The rows of the demo ERP, before any database sees them."""

from __future__ import annotations

import hashlib
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal

import pytest

from brique.demo.data import COLUMNS, NULL, Calendar, Plan, blocks

TODAY = date(2026, 11, 20)


def rows_of(plan: Plan) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {table: [] for table in COLUMNS}
    for block in blocks(plan):
        lines = block.text.splitlines()
        assert len(lines) == block.rows
        found[block.table] += [dict(zip(COLUMNS[block.table], line.split("\t"), strict=True)) for line in lines]
    return found


def checksum(plan: Plan) -> str:
    digest = hashlib.sha256()
    for block in blocks(plan):
        digest.update(f"{block.table}\n{block.text}".encode())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def rows() -> dict[str, list[dict[str, str]]]:
    return rows_of(Plan(TODAY, lines=20_000))


def test_the_same_plan_makes_the_same_rows_twice() -> None:
    assert checksum(Plan(TODAY, 3, 2_000)) == checksum(Plan(TODAY, 3, 2_000))


def test_another_seed_size_or_day_makes_other_rows() -> None:
    plans = [Plan(TODAY, 3, 2_000), Plan(TODAY, 4, 2_000), Plan(TODAY, 3, 2_001), Plan(TODAY - timedelta(1), 3, 2_000)]
    assert len({checksum(plan) for plan in plans}) == 4


@pytest.mark.parametrize("lines", [1, 2, 3, 7, 100, 4_003, 28_000])
def test_there_are_exactly_as_many_lines_as_asked_for(lines: int) -> None:
    made = rows_of(Plan(TODAY, lines=lines))
    assert len(made["ORLNPF"]) == lines
    numbers = [int(order["ORNUM"]) for order in made["ORDRPF"]]
    assert numbers == list(range(1, max(1, lines // 4) + 1))
    assert {int(line["OLORD"]) for line in made["ORLNPF"]} == set(numbers)


def test_the_million_has_its_proportions() -> None:
    plan = Plan(TODAY)
    assert (plan.lines, plan.orders, plan.customers, plan.articles) == (1_000_000, 250_000, 20_000, 3_000)


def test_every_reference_finds_its_row(rows: dict[str, list[dict[str, str]]]) -> None:
    customers = {row["CUNUM"] for row in rows["CUSTPF"]}
    articles = {row["ARREF"] for row in rows["ARTIPF"]}
    depots = {row["DECOD"] for row in rows["DEPOPF"]}
    orders = {row["ORNUM"] for row in rows["ORDRPF"]}
    assert {row["ORCUS"] for row in rows["ORDRPF"]} | {row["INCUS"] for row in rows["INVCPF"]} <= customers
    assert {row["OLART"] for row in rows["ORLNPF"]} | {row["START"] for row in rows["STOKPF"]} <= articles
    assert {row["ORDEP"] for row in rows["ORDRPF"]} | {row["STDEP"] for row in rows["STOKPF"]} <= depots
    assert {row["INORD"] for row in rows["INVCPF"]} | {row["order"] for row in rows["Détail Règlement"]} <= orders


def test_the_amount_of_an_order_is_the_sum_of_its_rounded_lines(rows: dict[str, list[dict[str, str]]]) -> None:
    sums: dict[str, Decimal] = {}
    for line in rows["ORLNPF"]:
        full = Decimal(line["OLPRX"]) * int(line["OLQTY"]) * (100 - Decimal(line["OLREM"])) / 100
        amount = full.quantize(Decimal("0.01"), ROUND_HALF_UP)
        sums[line["OLORD"]] = sums.get(line["OLORD"], Decimal(0)) + amount
    assert {row["ORNUM"]: Decimal(row["ORAMT"]) for row in rows["ORDRPF"]} == sums


def test_dates_are_cyymmdd_and_orders_end_today(rows: dict[str, list[dict[str, str]]]) -> None:
    days = [int(row["ORDAT"]) for row in rows["ORDRPF"]]
    assert days == sorted(days)
    assert days[-1] == 1261120
    assert days[0] // 10000 == 121
    for day in set(days):
        date(1900 + day // 10000, day // 100 % 100, day % 100)


def test_only_invoiced_orders_have_an_invoice_and_it_is_never_overpaid(rows: dict[str, list[dict[str, str]]]) -> None:
    invoiced = {row["ORNUM"] for row in rows["ORDRPF"] if row["ORSTS"] == "F"}
    assert {row["INORD"] for row in rows["INVCPF"]} == invoiced
    assert all(0 <= Decimal(row["INPAI"]) <= Decimal(row["INAMT"]) for row in rows["INVCPF"])
    assert all((Decimal(row["INPAI"]) == 0) == (row["INPDT"] == "0") for row in rows["INVCPF"])
    assert len({row["INNUM"] for row in rows["INVCPF"]}) == len(rows["INVCPF"])


def test_old_orders_are_done_and_young_ones_open(rows: dict[str, list[dict[str, str]]]) -> None:
    old = [row["ORSTS"] for row in rows["ORDRPF"] if int(row["ORDAT"]) < 1260101]
    young = [row["ORSTS"] for row in rows["ORDRPF"] if int(row["ORDAT"]) >= 1261118]
    assert old.count("F") > 0.9 * len(old)
    assert young
    assert sum(status in "SV" for status in young) > 0.7 * len(young)
    assert {row["ORSTS"] for row in rows["ORDRPF"]} == set("SVLFA")


def test_sales_have_seasons_and_rest_on_sundays() -> None:
    calendar = Calendar(TODAY)
    shares = calendar.shares(250_000)
    assert sum(shares) == 250_000
    by_month: dict[int, int] = {}
    sundays = 0
    for day, share in zip(calendar.days, shares, strict=False):
        by_month[day.month] = by_month.get(day.month, 0) + share
        sundays += share if day.weekday() == 6 else 0
    assert by_month[12] > 1.5 * by_month[8]
    assert sundays < 0.01 * 250_000


def test_texts_fit_their_columns_and_are_french(rows: dict[str, list[dict[str, str]]]) -> None:
    assert max(len(row["CUNAM"]) for row in rows["CUSTPF"]) <= 40
    assert max(len(row["CUADR"]) for row in rows["CUSTPF"]) <= 40
    assert max(len(row["CUTEL"]) for row in rows["CUSTPF"]) <= 17
    assert max(len(row["ARDES"]) for row in rows["ARTIPF"]) <= 50
    assert max(len(row["ARUNI"]) for row in rows["ARTIPF"]) <= 6
    assert any("\\n" in row["ORNOT"] for row in rows["ORDRPF"] if row["ORNOT"] != NULL)
    assert {"Thiès", "Kaolack", "Saint-Louis"} <= {row["CUCTY"] for row in rows["CUSTPF"]}
