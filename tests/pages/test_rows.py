"""A row's page: fields, related rows, pending commands, history, files."""

from __future__ import annotations

import re

import pytest

from brique.schema import Change, State
from tests.pages.reading import link, words
from tests.pages.shop import Shop, customer, order, picture

pytestmark = pytest.mark.anyio


async def test_a_row_shows_its_fields_with_help_and_links(filled: Shop) -> None:
    filled.write("orders", order(3, remark="Laisser au gardien", extra='{"a":[1,2]}', quantity="beaucoup"))
    async with filled.browser(language="fr") as browser:
        page = await browser.get("/tables/orders/CMD00000003")
    text = words(page)
    assert "Remarque Laisser au gardien Pour le livreur" in text
    assert "Date 04/01/2022" in text
    assert '"a": [' in text
    assert link(page, "C000037 Société B37") == "/tables/customers/C000037"
    assert '<span class="odd"' in page.text


async def test_rows_that_refer_to_it_are_listed_newest_first_with_their_number(filled: Shop) -> None:
    filled.write("orders", *(order(number, customer="C000001") for number in range(1, 9)))
    async with filled.browser() as browser:
        page = await browser.get("/tables/customers/C000001")
        assert "8 rows" in words(page) or "9 rows" in words(page)
        shown = re.findall(r'<tr id="row-(CMD\d+)"', page.text)
        assert len(shown) == 5
        assert shown == sorted(shown, reverse=True)
        address = re.search(r'href="(/tables/orders\?customer=C000001)"', page.text)
        assert address
        assert (await browser.get(address[1])).status_code == 200


async def test_a_row_that_nobody_refers_to_says_so(filled: Shop) -> None:
    filled.write("customers", customer(99))
    async with filled.browser() as browser:
        page = await browser.get("/tables/customers/C000099")
    assert "Nothing yet in: Commandes" in words(page)


async def test_actions_are_offered_to_those_who_may(filled: Shop) -> None:
    async with filled.browser("read") as reader, filled.browser("write") as writer:
        seen = await reader.get("/tables/orders/CMD00000003")
        assert "/edit" not in seen.text
        assert "/commands/ship" not in seen.text
        page = await writer.get("/tables/orders/CMD00000003")
        assert link(page, "Edit") == "/tables/orders/CMD00000003/edit"
        assert link(page, "Delete") == "/tables/orders/CMD00000003/delete"
        assert link(page, "Livrer") == "/commands/ship?row=CMD00000003"
        assert link(await writer.get("/tables/customers/C000001"), "Relevé") == "/customers/C000001/statement"
        assert "/edit" not in (await writer.get("/tables/stock/A1")).text


async def test_what_is_pending_on_a_row_and_what_became_of_it_are_told(filled: Shop) -> None:
    receipt = filled.lay(Change("orders", "CMD00000003", {"city": "Kaolack"}, {"city": "Dakar"}))
    async with filled.browser() as browser:
        page = await browser.get("/tables/orders/CMD00000003")
        assert f"/outbox/{receipt}" in page.text
        assert "Ville: Kaolack → Dakar" in words(page)
        assert "walid" in words(page)
        filled.settle(State.CONFLICT, "The row had changed meanwhile.")
        page = await browser.get("/tables/orders/CMD00000003")
        assert "needs a decision" in words(page)
        assert "Ville: Dakar → Kaolack" in words(page)


async def test_a_row_whose_deletion_waits_can_still_be_read(filled: Shop) -> None:
    before = {"number": "CMD00000003"}
    filled.lay(Change("orders", "CMD00000003", before, None), name="delete")
    async with filled.browser() as browser:
        page = await browser.get("/tables/orders/CMD00000003")
    assert page.status_code == 200
    assert "This row is deleted here" in words(page)
    assert "Kaolack" in words(page)
    assert "/edit" not in page.text


async def test_a_temporary_key_leads_to_the_real_one_once_it_is_known(filled: Shop) -> None:
    filled.lay(Change("orders", "new-01TEST0001", None, {"city": "Dakar"}), name="create")
    async with filled.browser() as browser:
        page = await browser.get("/tables/orders/new-01TEST0001")
        assert page.status_code == 200
        assert "New row" in words(page)
        filled.settle(State.APPLIED, keys={"new-01TEST0001": "CMD00000777"})
        answer = await browser.get("/tables/orders/new-01TEST0001")
    assert (answer.status_code, answer.headers.get("location")) == (303, "/tables/orders/CMD00000777")


async def test_a_row_that_is_not_there_is_not_found(filled: Shop) -> None:
    async with filled.browser() as browser:
        assert (await browser.get("/tables/orders/CMD99")).status_code == 404
        assert (await browser.get("/tables/orders/~zz")).status_code == 404
        assert (await browser.get("/tables/none/1")).status_code == 404


async def test_pictures_are_shown_and_anything_else_is_only_a_download(filled: Shop) -> None:
    scripted = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    filled.write("customers", customer(1, logo=picture()), customer(2, logo=scripted))
    async with filled.browser() as browser:
        page = await browser.get("/tables/customers/C000001")
        assert '<img src="/tables/customers/C000001/logo.bin?show=1"' in page.text
        shown = await browser.get("/tables/customers/C000001/logo.bin?show=1")
        assert shown.headers["content-type"] == "image/png"
        assert shown.headers["content-disposition"].startswith("inline")
        again = await browser.get(
            "/tables/customers/C000001/logo.bin?show=1", headers={"If-None-Match": shown.headers["etag"]}
        )
        assert again.status_code == 304
        assert "<img" not in (await browser.get("/tables/customers/C000002")).text
        kept = await browser.get("/tables/customers/C000002/logo.bin?show=1")
    assert kept.content == scripted
    assert kept.headers["content-type"] == "application/octet-stream"
    assert kept.headers["content-disposition"] == 'attachment; filename="customers-C000002-logo.bin"'
    assert kept.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in kept.headers["content-security-policy"]


async def test_a_file_that_is_not_there_is_not_found(filled: Shop) -> None:
    async with filled.browser() as browser:
        for path in ("customers/C000003/logo.bin", "customers/none/logo.bin", "customers/C000003/none.bin"):
            assert (await browser.get(f"/tables/{path}")).status_code == 404


async def test_what_a_row_holds_is_never_markup(filled: Shop) -> None:
    hostile = "<img src=x onerror=alert(1)>\"'"
    filled.write("customers", customer(1, name=hostile, site="javascript:alert(1)"))
    filled.write("orders", order(1, customer="C000001", remark=hostile, extra='{"<b>":"</pre><script>"}'))
    async with filled.browser() as browser:
        for path in (
            "/tables/customers/C000001",
            "/tables/orders/CMD00000001",
            "/tables/orders",
            "/",
            "/tables/customers",
        ):
            page = await browser.get(path)
            assert "<img src=x" not in page.text
            assert "</pre><script>" not in page.text
            assert 'href="javascript:' not in page.text
