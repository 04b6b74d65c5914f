"""Lists: what they show, what they ask, how they page, what they say when something is missing."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

import httpx
import pytest

from brique.exports import ListLimits
from brique.pages.asking import canonical, understand
from brique.pages.lists import link_column
from brique.schema import Change, State
from tests.pages.reading import link, words
from tests.pages.shop import NOW, SPECS, Shop, order

pytestmark = pytest.mark.anyio
ROW = re.compile(r'<tr id="row-([^"]+)"(?: class="(\w+)")?>')
ZONE = ZoneInfo("Africa/Dakar")


def keys(answer: httpx.Response) -> list[str]:
    return [found[1] for found in ROW.finditer(answer.text)]


async def test_a_list_shows_rows_count_age_and_total(filled: Shop) -> None:
    async with filled.browser() as browser:
        page = await browser.get("/tables/orders")
    assert page.status_code == 200
    assert len(keys(page)) == 25
    text = words(page)
    assert "60 rows" in text
    assert 'data-age="30"' in page.text
    assert "Total of this page" in text
    assert "rows 1 to 25 of 60 rows" in text


async def test_references_show_the_label_of_the_row_they_lead_to(filled: Shop) -> None:
    async with filled.browser() as browser:
        page = await browser.get("/tables/orders?number=CMD00000001")
    assert link(page, "C000039 Société D39") == "/tables/customers/C000039"
    assert link(page, "CMD00000001") == "/tables/orders/CMD00000001"


async def test_a_reference_that_leads_nowhere_is_shown_without_a_link(filled: Shop) -> None:
    filled.write("orders", order(1, customer="C999999"))
    async with filled.browser() as browser:
        page = await browser.get("/tables/orders?number=CMD00000001")
    assert "There is no such row in Clients." in page.text
    assert "/tables/customers/C999999" not in page.text


@pytest.mark.parametrize("sort", ["number", "-number", "customer", "-amount", "ordered", "-status", "city"])
async def test_every_row_is_on_one_page_when_paging_forth_and_back(filled: Shop, sort: str) -> None:
    async with filled.browser() as browser:
        forth, address = [], f"/tables/orders?sort={sort}&limit=13"
        while True:
            page = await browser.get(address)
            forth.append(keys(page))
            if 'rel="next"' not in page.text:
                break
            address = link(page, "Next")
        assert sorted(number for page_keys in forth for number in page_keys) == [
            f"CMD{number:08}" for number in range(1, 61)
        ]
        back = [keys(page)]
        while 'rel="prev"' in page.text:
            page = await browser.get(link(page, "Previous"))
            back.append(keys(page))
    assert back[::-1] == forth


async def test_the_last_page_is_one_click_away_and_leads_back(filled: Shop) -> None:
    async with filled.browser() as browser:
        first = await browser.get("/tables/orders?limit=25")
        last = await browser.get(link(first, "Last"))
        assert keys(last) == [f"CMD{number:08}" for number in range(36, 61)]
        assert 'rel="next"' not in last.text
        before = await browser.get(link(last, "Previous"))
        assert keys(before) == [f"CMD{number:08}" for number in range(11, 36)]
        assert keys(await browser.get(link(last, "First"))) == keys(first)


async def test_a_head_sorts_up_then_down_then_not(filled: Shop) -> None:
    async with filled.browser() as browser:
        up = await browser.get(link(await browser.get("/tables/orders"), "Ville"))
        assert 'aria-sort="ascending"' in up.text
        down = await browser.get(link(up, "Ville"))
        assert 'aria-sort="descending"' in down.text
        plain = await browser.get(link(down, "Ville"))
        assert 'aria-sort="ascending"' not in plain.text
        assert 'aria-sort="descending"' not in plain.text


async def test_search_and_filters_stay_in_every_link_of_the_page(filled: Shop) -> None:
    async with filled.browser() as browser:
        page = await browser.get("/tables/orders?q=dakar&status=livrée&limit=1")
        assert keys(page)
        for text in ("Next", "Last", "Ville", "Excel (.xlsx)", "JSON"):
            asked = dict(parse_qsl(urlsplit(link(page, text)).query))
            assert (asked["q"], asked["status"]) == ("dakar", "livrée"), text


async def test_a_condition_stands_as_a_chip_that_takes_it_away(filled: Shop) -> None:
    async with filled.browser() as browser:
        page = await browser.get("/tables/orders?amount__ge=1000000&city__contains=da")
        assert "Montant (FCFA) ≥ 1,000,000" in words(page)
        assert "Ville contains “da”" in words(page)
        without = re.search(r'href="([^"]+)" aria-label="Without the filter Ville', page.text)
        assert without
        assert html.unescape(without[1]) == "/tables/orders?amount__ge=1000000"


async def test_what_a_form_sends_becomes_an_address_that_means_it_in_any_language(filled: Shop) -> None:
    async with filled.browser(language="fr") as browser:
        answer = await browser.get(
            "/tables/orders",
            params={"q": "", "city__contains": "", "amount__ge": "1 284,00", "ordered__le": "20/11/2026", "status": ""},
        )
    assert answer.status_code == 303
    assert dict(parse_qsl(urlsplit(answer.headers["location"]).query)) == {
        "amount__ge": "1284",
        "ordered__le": "2026-11-20",
    }


def test_a_canonical_address_stays_as_it_is() -> None:
    spec = SPECS["orders"]
    given = [
        ("q", "Awa "),
        ("entered__le", "20/11/2026"),
        ("amount__in", "1 000,5"),
        ("columns", "city"),
        ("columns", "number"),
        ("urgent", "oui"),
        ("quantity__ge", "beaucoup"),
        ("nope", "1"),
    ]
    once = canonical(spec, given, "fr", ZONE)
    assert canonical(spec, once, "fr", ZONE) == once
    assert ("columns", "city,number") in once
    assert ("urgent", "true") in once
    assert ("quantity__ge", "beaucoup") in once
    assert ("entered__lt", "2026-11-21T00:00:00.000000") in once


def test_a_day_of_a_column_of_moments_is_the_whole_day() -> None:
    spec = SPECS["orders"]
    once = canonical(spec, [("entered", "20/11/2026")], "fr", ZONE)
    assert [name for name, _ in once] == ["entered__ge", "entered__lt"]
    asked = understand(spec, once, ListLimits(), "fr", ZONE)
    assert not asked.faults


async def test_what_cannot_be_used_is_named_and_the_rest_is_shown(filled: Shop) -> None:
    async with filled.browser() as browser:
        page = await browser.get("/tables/orders?amount__ge=abc&city=Dakar")
        assert page.status_code == 422
        assert "Montant (FCFA): Must be a number." in words(page)
        assert len(keys(page)) == 8
        unknown = await browser.get("/tables/orders?citi=Dakar")
        assert "There is no citi here." in words(unknown)
        assert "Did you mean city?" in words(unknown)


async def test_a_fault_in_an_address_is_shown_as_text(filled: Shop) -> None:
    async with filled.browser() as browser:
        page = await browser.get("/tables/orders", params={"<script>alert(1)</script>": "{x}", "q": "<b>'\""})
    assert "<script>alert" not in page.text
    assert "<b>'" not in page.text


async def test_a_page_that_is_not_there_any_more_gives_the_first_one_and_says_so(filled: Shop) -> None:
    async with filled.browser() as browser:
        page = await browser.get("/tables/orders?after=nonsense")
    assert page.status_code == 200
    assert keys(page)[0] == "CMD00000001"
    assert "This page of the list is not there any more." in words(page)


async def test_pending_rows_come_first_and_lead_to_their_receipt(filled: Shop) -> None:
    receipt = filled.lay(Change("orders", "CMD00000050", {"city": "Rufisque"}, {"city": "Dakar"}))
    fresh = filled.lay(Change("orders", "new-01TEST0002", None, {"customer": "C000001", "city": "Thiès"}))
    filled.lay(Change("orders", "CMD00000040", {"city": "x"}, {"city": "Dakar"}))
    filled.settle(State.CONFLICT, "The row had changed meanwhile.")
    async with filled.browser() as browser:
        page = await browser.get("/tables/orders?sort=-number")
    marked = {found[1]: found[2] for found in ROW.finditer(page.text) if found[2]}
    assert marked == {"CMD00000050": "pending", "new-01TEST0002": "pending", "CMD00000040": "conflict"}
    assert set(keys(page)[:3]) == set(marked)
    assert keys(page)[3] == "CMD00000060"
    assert f"/outbox/{receipt}" in page.text
    assert f"/outbox/{fresh}" in page.text
    assert ">conflict</a>" in page.text


async def test_columns_are_chosen_in_the_address(filled: Shop) -> None:
    async with filled.browser() as browser:
        answer = await browser.get("/tables/orders?columns=remark&columns=urgent&columns=number")
        assert answer.headers["location"] == "/tables/orders?columns=remark%2Curgent%2Cnumber"
        page = await browser.get(answer.headers["location"])
    heads = re.findall(r'<th scope="col"[^>]*>(?:<a[^>]*>)?([^<]+)', page.text)
    assert [head.strip() for head in heads] == ["Remarque", "Urgente", "N°"]


async def test_values_of_each_kind_are_written_for_people(filled: Shop) -> None:
    filled.write(
        "orders",
        order(1, quantity="beaucoup", remark="x" * 300, urgent=1, weight=0.1 + 0.2, amount=-5, extra='{"a":1}'),
    )
    names = "number,quantity,remark,urgent,weight,amount,entered,extra,ordered"
    async with filled.browser(language="fr") as browser:
        page = await browser.get(f"/tables/orders?number=CMD00000001&columns={names}")
    assert '<span class="odd"' in page.text
    assert "beaucoup" in page.text
    assert "x" * 161 + "…" not in page.text
    assert "x" * 160 + "…" in page.text
    assert '<span class="pill ok">oui</span>' in page.text
    text = words(page)
    assert " 0,3 " in text
    assert " 02/01/2022 10:41 " in text
    assert " 02/01/2022 " in text


async def test_wrong_typed_values_do_not_count_in_the_total(filled: Shop) -> None:
    filled.write("orders", order(1, quantity="beaucoup"), order(2, quantity=5), order(3, quantity=None))
    async with filled.browser() as browser:
        page = await browser.get("/tables/orders?number__in=CMD00000001,CMD00000002,CMD00000003")
    assert re.search(r'<tfoot>.*data-label="Qté">5</td>', page.text, re.DOTALL)


async def test_an_empty_list_and_an_empty_search_say_what_to_do(filled: Shop) -> None:
    async with filled.browser() as browser:
        nothing = await browser.get("/tables/orders?q=zzzzqq")
        assert "No row answers this search." in words(nothing)
        assert link(nothing, "Show all rows") == "/tables/orders"
        with filled.store.transaction() as tx:
            tx.apply_base("stock", [], ["A1"])
        assert "No rows yet" in words(await browser.get("/tables/stock"))


async def test_only_who_may_write_is_offered_a_new_row(filled: Shop) -> None:
    async with filled.browser("read") as reader, filled.browser("write") as writer:
        assert "/tables/orders/new" not in (await reader.get("/tables/orders")).text
        assert "/tables/orders/new" in (await writer.get("/tables/orders")).text
        stock = await writer.get("/tables/stock")
    assert "/tables/stock/new" not in stock.text
    assert "Files are read only." in words(stock)


async def test_a_table_that_is_being_copied_shows_how_far_it_is(bare: Shop) -> None:
    bare.backend("erp", reading={"table": "orders", "rows": 1500, "total": 6000})
    async with bare.browser() as browser:
        page = await browser.get("/tables/orders")
        assert 'max="6000" value="1500"' in page.text
        assert 'http-equiv="refresh"' in page.text
        assert "data-live" in page.text
        waits = await browser.get("/tables/customers")
        assert "First comes orders." in words(waits)
        bare.backend("erp", reading=None)
        load = bare.store.begin_load(
            "orders", bare.stage("orders", [order(n) for n in range(1, 400)]), 399, rows_step=100
        )
        load.step()
        assert "399" in words(await browser.get("/tables/orders"))
        while load.step():
            pass
        assert len(keys(await browser.get("/tables/orders"))) == 25


async def test_what_the_last_refresh_found_wrong_is_shown(filled: Shop) -> None:
    filled.backend("erp", faults={"orders": "The table has lost its column ORCUS."})
    async with filled.browser() as browser:
        assert "The table has lost its column ORCUS." in words(await browser.get("/tables/orders"))
        assert "The table has lost its column" not in words(await browser.get("/tables/customers"))


async def test_a_backend_that_is_away_is_said_on_the_pages_about_it_only(filled: Shop) -> None:
    filled.backend("erp", state="down", since=NOW - timedelta(minutes=1))
    filled.lay(Change("orders", "CMD00000050", {"city": "Rufisque"}, {"city": "Dakar"}))
    async with filled.browser(language="fr") as browser:
        text = words(await browser.get("/tables/orders"))
        assert "ERP injoignable depuis 10:42 Données du 20/11/2026 à 10:42 — lecture normale" in text
        assert "1 en attente" in text
        assert "données de 10:42" in text
        assert "injoignable" not in words(await browser.get("/tables/stock"))


async def test_exports_take_what_the_page_was_asked(filled: Shop) -> None:
    async with filled.browser(language="fr") as browser:
        page = await browser.get("/tables/orders?city=Dakar&columns=number,amount&sort=-number")
        csv = await browser.get(link(page, "CSV"))
        assert csv.headers["content-type"].startswith("text/csv")
        lines = csv.content.decode("utf-8-sig").splitlines()
        assert lines[0].startswith("N°;Montant (FCFA)")
        assert lines[1].startswith("CMD00000057;")
        xlsx = await browser.get(link(page, "Excel (.xlsx)"))
        assert xlsx.content[:2] == b"PK"
        typed = await browser.get("/tables/orders.csv?ordered__le=02/01/2022")
        assert len([line for line in typed.text.splitlines() if line.startswith("CMD")]) == 1


async def test_a_part_of_a_page_says_what_its_address_is(filled: Shop) -> None:
    async with filled.browser() as browser:
        answer = await browser.get(
            "/tables/orders?q=&status=livrée", headers={"HX-Request": "true", "HX-Target": "div#list"}
        )
    assert answer.status_code == 200
    assert answer.headers["hx-push-url"] == "/tables/orders?status=livr%C3%A9e"


async def test_a_table_that_is_not_there_is_not_found(filled: Shop) -> None:
    async with filled.browser() as browser:
        assert (await browser.get("/tables/none")).status_code == 404


async def test_all_tables_are_listed_with_rows_and_age(filled: Shop) -> None:
    async with filled.browser() as browser:
        text = words(await browser.get("/tables"))
    assert "Commandes 60 30 s ago" in text
    assert "Stock.xlsx" in text


async def test_the_look_up_answers_quickly_with_keys_or_values(filled: Shop) -> None:
    async with filled.browser() as browser:
        found = (await browser.get("/lookup/customers?q=E13")).json()
        assert found == {"items": [{"key": "C000013", "label": "C000013 Société E13"}], "more": False}
        many = (await browser.get("/lookup/customers?q=soci")).json()
        assert (len(many["items"]), many["more"]) == (20, True)
        by_name = (await browser.get("/lookup/customers?q=E13&by=name")).json()
        assert by_name["items"][0]["key"] == "Société E13"
        assert (await browser.get("/lookup/customers?q=x&by=none")).status_code == 422
        assert (await browser.get("/lookup/none?q=x")).status_code == 404


def test_the_link_to_a_row_stands_on_its_key_even_where_that_refers_to_another() -> None:
    spec = SPECS["orders"]
    assert link_column(spec, [spec.by_name["customer"], spec.by_name["city"], spec.by_name["number"]]) == "number"
    assert link_column(spec, [spec.by_name["customer"], spec.by_name["city"]]) == "city"
    assert link_column(spec, [spec.by_name["customer"]]) == "customer"
    line = spec.changed(key=("customer", "number"), label_columns=())
    assert link_column(line, [spec.by_name["customer"], spec.by_name["city"]]) == "customer"
