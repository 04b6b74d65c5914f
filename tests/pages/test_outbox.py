"""The outbox: what waits, what became of it, and what a person can do about it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from brique.commands import Outcome, Report
from brique.pages.conflict import differences, resend_label
from brique.pages.format import DASH, Formats
from brique.schema import Column, Kind, State, TableSpec
from tests.pages.writing import Browser, World, fields, hidden, seen_of, signed_in

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


async def change(browser: Browser, path: str = "/tables/orders/7/edit", **typed: str) -> str:
    """Change a row (or make one) by its form; the receipt."""
    _, values = await browser.form(path)
    answer = await browser.submit(path, values | typed)
    assert answer.status_code == 303, answer.text
    return str((await browser.get("/outbox")).text.split('data-row href="/outbox/')[1].split('"')[0])


def state(world: World, receipt: str) -> State:
    found = world.reader.command(receipt)
    assert found is not None
    return found.state


def settle(world: World, receipt: str, state: State, reason: str = "", **facts: Any) -> None:
    """What became of a command, as replay reports it."""
    found = world.reader.command(receipt)
    assert found is not None
    world.ask(Report("erp", outcomes=[Outcome(found.position, state, reason=reason, **facts)]))


# ---- which fields are in conflict

SPEC = TableSpec("t", "t", "erp", "T", tuple(Column(name, name, Kind.INTEGER, name.upper()) for name in "abcd"), ("a",))


def rows_of(before: dict[str, Any], yours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, tuple[str, str, bool]]:
    def text(_name: str, value: Any) -> str:
        return DASH if value is None else str(value)

    found = differences(SPEC, before, yours, theirs, text)
    return {row["name"]: (row["yours"], row["theirs"], row["differs"]) for row in found}


def test_only_what_both_changed_is_to_be_chosen() -> None:
    before = {"a": 1, "b": 2, "c": 3, "d": 4}
    rows = rows_of(before, {"b": 12, "c": 13}, {"a": 1, "b": 15, "c": 3, "d": 14})
    assert rows == {"b": ("12", "15", True), "c": ("13", "3", False), "d": (DASH, "14", False)}


def test_two_people_of_one_mind_have_nothing_to_choose() -> None:
    assert rows_of({"b": 2}, {"b": 12}, {"a": 1, "b": 12, "c": 3, "d": 4}) == {}


def test_a_field_whose_former_value_nobody_knows_is_chosen() -> None:
    assert rows_of({}, {"b": 12}, {"b": 15}) == {"b": ("12", "15", True)}


def test_the_button_names_the_value_that_is_sent() -> None:
    f = Formats("fr")
    one = {"differs": True, "choice": "yours", "yours": "12"}
    assert resend_label([one], f) == "Renvoyer avec 12"
    assert resend_label([one, one], f) == resend_label([one | {"yours": "x" * 99}], f) == "Renvoyer"
    assert resend_label([one | {"choice": "theirs"}], f) == "Renvoyer"


# ---- the list


async def test_what_is_kept_waits_in_the_outbox_with_who_what_and_when(world: World) -> None:
    async with signed_in(world, language="fr") as browser:
        receipt = await change(browser, quantity="12", client="C000001")
        page = await browser.get("/outbox")
        text = page.text
        assert "à envoyer" in text and "walid" in text and receipt in text and "1 à envoyer" in text
        assert "C002775 Société E2775" in text and "C000001 Société A" in text and "<b>12</b>" in text
        assert f"/outbox/{receipt}/withdraw" in text and 'data-live="/-/live' in text


async def test_an_empty_outbox_says_what_will_be_there(world: World) -> None:
    async with signed_in(world) as browser:
        assert "waits here until it is sent" in (await browser.get("/outbox")).text


async def test_everybody_sees_his_own_and_an_administrator_all(world: World) -> None:
    async with signed_in(world, "walid") as walid, signed_in(world, "awa") as awa, signed_in(world, "rita") as rita:
        receipt = await change(walid, quantity="12")
        assert receipt in (await awa.get("/outbox")).text
        assert receipt not in (await awa.get("/outbox?whose=mine")).text
        assert receipt not in (await rita.get("/outbox?whose=all")).text
        assert (await rita.get(f"/outbox/{receipt}")).status_code == 404
        assert (await awa.get(f"/outbox/{receipt}")).status_code == 200


async def test_the_list_is_filtered_and_paged(world: World) -> None:
    async with signed_in(world) as browser:
        receipts = [await change(browser, quantity=str(20 + index)) for index in range(3)]
        settle(world, receipts[0], State.REFUSED, "no")
        needs = (await browser.get("/outbox?state=needs")).text
        assert receipts[0] in needs and receipts[1] not in needs
        kept = (await browser.get("/outbox?state=kept&backend=erp")).text
        assert receipts[0] not in kept and receipts[2] in kept and "refused (1)" in kept
        position = world.reader.command(receipts[1]).position  # type: ignore[union-attr]
        older = (await browser.get(f"/outbox?after={position}")).text
        assert receipts[0] in older and receipts[1] not in older
        for wrong in ("state=nothing", "after=x", f"after={'9' * 30}"):
            assert (await browser.get(f"/outbox?{wrong}")).status_code == 422, wrong
        assert (await browser.get("/outbox?backend=nothing")).status_code == 200


async def test_many_commands_come_in_pages(world: World) -> None:
    for index in range(60):
        world.update("orders", "7", quantity=100 + index)
    async with signed_in(world, "awa") as browser:
        first = (await browser.get("/outbox")).text
        assert first.count('class="pending"') == 50 and 'rel="next"' in first
        href = first.split('rel="next"')[0].rpartition('href="')[2].partition('"')[0].replace("&amp;", "&")
        second = (await browser.get(href)).text
        assert second.count('class="pending"') == 10 and 'rel="next"' not in second


# ---- one receipt


async def test_a_receipt_tells_the_whole_story(world: World) -> None:
    async with signed_in(world) as browser:
        receipt = await change(browser, quantity="12")
        page = (await browser.get(f"/outbox/{receipt}")).text
        assert "kept safely" in page and "by walid, by form" in page and "Will be sent as soon as ERP answers" in page
        world.replay()
        page = (await browser.get(f"/outbox/{receipt}")).text
        assert "ERP has it." in page and "Sent" in page and "withdraw" not in page
        assert (await browser.get("/outbox/NOTHING")).status_code == 404


async def test_tries_and_the_next_one_are_told(world: World) -> None:
    async with signed_in(world) as browser:
        receipt = await change(browser, quantity="12")
        found = world.reader.command(receipt)
        assert found is not None
        with world.store.transaction() as tx:
            tx.tried([found.position], "connection refused", "2026-11-20T10:42:28.000000Z")
        for path in ("/outbox", f"/outbox/{receipt}"):
            page = (await browser.get(path)).text
            assert "connection refused" in page and "10:42" in page


async def test_what_is_not_sent_yet_can_be_taken_back(world: World) -> None:
    async with signed_in(world) as browser:
        receipt = await change(browser, quantity="12")
        page = await browser.get(f"/outbox/{receipt}")
        answer = await browser.press(page, f"/outbox/{receipt}/withdraw")
        assert answer.headers["location"] == "/tables/orders/7"
        assert state(world, receipt) is State.WITHDRAWN
        assert "nothing has changed in ERP" in (await browser.get(f"/outbox/{receipt}")).text
        late = await browser.press(page, f"/outbox/{receipt}/withdraw")
        assert late.status_code == 409 and "too late" in late.text
    world.replay()
    assert world.erp("SELECT quantity FROM orders WHERE id = 7") == [(10,)]


async def test_taking_back_while_the_engine_is_away_says_so(world: World) -> None:
    async with signed_in(world) as browser:
        receipt = await change(browser, quantity="12")
        page = await browser.get(f"/outbox/{receipt}")
        world.engine_away = True
        answer = await browser.press(page, f"/outbox/{receipt}/withdraw")
        assert answer.status_code == 503 and "does not answer now" in answer.text
    assert state(world, receipt) is State.KEPT


async def test_who_may_only_read_decides_nothing(world: World) -> None:
    found = world.given_by("rita", quantity=12)
    async with signed_in(world, "rita") as browser:
        page = (await browser.get(f"/outbox/{found}")).text
        assert "withdraw" not in page
        csrf = {"_csrf": page.split('name="_csrf" value="')[1].split('"')[0]}
        for act in ("withdraw", "dismiss", "abandon", "decide", "resend"):
            assert (await browser.submit(f"/outbox/{found}/{act}", csrf)).status_code == 403, act


# ---- conflicts


async def in_conflict(world: World, browser: Browser) -> str:
    receipt = await change(browser, quantity="12", note="mine")
    world.erp("UPDATE orders SET quantity = 15, status = 'closed' WHERE id = 7")
    world.replay()
    assert state(world, receipt) is State.CONFLICT
    return receipt


async def test_a_conflict_is_shown_before_yours_theirs_and_sent_again(world: World) -> None:
    async with signed_in(world) as browser:
        receipt = await in_conflict(world, browser)
        page = await browser.get(f"/outbox/{receipt}")
        assert "Send again with 12" in page.text and 'name="pick.quantity"' in page.text
        assert "Your entry (" in page.text and "In ERP (" in page.text and "closed" in page.text
        values = {**hidden(page.text, "/edit"), **fields(page.text)}
        assert values["_replaces"] == receipt and seen_of(values)["quantity"] == 15 and values["note"] == "mine"
        answers = [await browser.submit("/tables/orders/7/edit", values) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [303, 303]
        found = world.reader.command(receipt)
        assert found is not None and found.dismissed
    new = world.reader.outbox()[0]
    assert new.command.replaces == receipt and len(world.reader.outbox()) == 2
    world.replay()
    assert world.erp("SELECT quantity, note, status FROM orders WHERE id = 7") == [(12, "mine", "closed")]


async def test_keeping_that_of_the_backend_puts_the_conflict_away(world: World) -> None:
    async with signed_in(world) as browser:
        receipt = await in_conflict(world, browser)
        page = await browser.get(f"/outbox/{receipt}")
        values = hidden(page.text, "/edit")
        answer = await browser.submit(f"/outbox/{receipt}/dismiss", values)
        assert answer.headers["location"] == "/tables/orders/7"
        assert "Dealt with" in (await browser.get(f"/outbox/{receipt}")).text
        assert receipt not in (await browser.get("/outbox")).text
        assert (await browser.submit(f"/outbox/{receipt}/abandon", values)).headers["location"] == "/outbox"
    assert world.erp("SELECT quantity FROM orders WHERE id = 7") == [(15,)]
    assert world.reader.row("orders", "7").pending == 0  # type: ignore[union-attr]


async def test_a_row_gone_at_the_backend_is_offered_as_a_new_one(world: World) -> None:
    async with signed_in(world) as browser:
        receipt = await change(browser, "/tables/client/C000002/edit", city="Mbour")
        world.erp("DELETE FROM client WHERE number = 'C000002'")
        world.replay()
        page = await browser.get(f"/outbox/{receipt}")
        assert "The row is not there any more." in page.text
        values = {**hidden(page.text, "/new"), **fields(page.text)}
        assert values["number"] == "C000002" and values["city"] == "Mbour"
        answer = await browser.submit("/tables/client/new", values | {"name": "Société B"})
        assert answer.status_code == 303
    world.replay()
    assert world.erp("SELECT city FROM client WHERE number = 'C000002'") == [("Mbour",)]


async def test_a_key_taken_meanwhile_is_a_conflict_with_that_row(world: World) -> None:
    async with signed_in(world) as browser:
        _, values = await browser.form("/tables/client/new")
        made = {"number": "C9", "name": "Mine", "city": "Dakar"}
        await browser.submit("/tables/client/new", values | made)
        world.erp("INSERT INTO client VALUES ('C9', 'Theirs', 'Dakar')")
        world.replay()
        [item] = world.reader.outbox()
        page = await browser.get(f"/outbox/{item.command.id}")
        assert "already a row with this key" in page.text and "Theirs" in page.text
        values = {**hidden(page.text, "/edit"), **fields(page.text)}
        assert (await browser.submit("/tables/client/C9/edit", values)).status_code == 303
    world.replay()
    assert world.erp("SELECT name FROM client WHERE number = 'C9'") == [("Mine",)]


async def test_a_deletion_in_conflict_can_be_sent_again(world: World) -> None:
    async with signed_in(world) as browser:
        _, values = await browser.form("/tables/orders/8/delete")
        await browser.submit("/tables/orders/8/delete", values)
        world.erp("UPDATE orders SET quantity = 4 WHERE id = 8")
        world.replay()
        [item] = world.reader.outbox()
        page = await browser.get(f"/outbox/{item.command.id}")
        assert item.state is State.CONFLICT and "had changed" in page.text
        values = hidden(page.text, "/resend")
        answers = [await browser.submit(f"/outbox/{item.command.id}/resend", values) for _ in range(2)]
        assert len({answer.headers["location"] for answer in answers}) == 1
    assert len(world.reader.outbox()) == 2
    world.replay()
    assert world.erp("SELECT count(*) FROM orders WHERE id = 8") == [(0,)]


# ---- refused, unknown


async def test_what_was_refused_comes_back_as_typed_to_be_corrected(world: World) -> None:
    async with signed_in(world) as browser:
        _, values = await browser.form("/tables/orders/new")
        sent = {"client": "C000001", "quantity": "5000", "note": "two\r\nlines", "ordered": "20/11/26"}
        await browser.submit("/tables/orders/new", values | sent)
        world.replay()
        [item] = world.reader.outbox()
        assert item.state is State.REFUSED
        page = await browser.get(f"/outbox/{item.command.id}")
        assert "ERP has refused this." in page.text and item.reason.split("'")[0] in page.text
        values = {**hidden(page.text, "/new"), **fields(page.text)}
        assert values["quantity"] == "5000" and values["note"] == "two\r\nlines" and values["ordered"] == "20/11/2026"
        wrong = await browser.submit("/tables/orders/new", values | {"quantity": "x"})
        assert hidden(wrong.text, "/new")["_replaces"] == item.command.id
        assert (await browser.submit("/tables/orders/new", values | {"quantity": "5"})).status_code == 303
        assert world.reader.needing_person() == 0
    world.replay()
    assert world.erp("SELECT note FROM orders WHERE quantity = 5") == [("two\nlines",)]


async def test_a_refused_change_and_a_refused_command_come_back_in_their_forms(world: World) -> None:
    async with signed_in(world) as browser:
        receipt = await change(browser, quantity="2000")
        world.replay()
        page = await browser.get(f"/outbox/{receipt}")
        values = {**hidden(page.text, "/edit"), **fields(page.text)}
        assert values["quantity"] == "2000" and seen_of(values)["quantity"] == 10
        _, values = await browser.form("/commands/ship?row=8")
        answer = await browser.submit("/commands/ship", values | {"carrier": "DHL"})
        assert answer.status_code == 303
        ship = world.reader.outbox()[0].command.id
        settle(world, ship, State.REFUSED, "not today")
        page = await browser.get(f"/outbox/{ship}")
        values = {**hidden(page.text, "/ship"), **fields(page.text)}
        assert values["carrier"] == "DHL" and values["order"] == "8" and "not today" in page.text
        assert (await browser.submit("/commands/ship", values)).status_code == 303
    found = world.reader.command(ship)
    assert found is not None and found.dismissed and world.reader.needing_person() == 1


async def unknown(world: World, browser: Browser) -> str:
    receipt = await change(browser, "/tables/orders/new", client="C000001", quantity="5")
    settle(world, receipt, State.SENDING)
    settle(
        world, receipt, State.UNKNOWN, "It was sent, and the answer was lost: look in the backend whether it is there."
    )
    return receipt


async def test_of_what_got_no_answer_a_person_says_that_it_arrived(world: World) -> None:
    async with signed_in(world, language="fr") as browser:
        receipt = await unknown(world, browser)
        page = await browser.get(f"/outbox/{receipt}")
        assert "Regardez là-bas" in page.text and "C’est arrivé" in page.text
        answer = await browser.press(page, f"/outbox/{receipt}/decide", arrived="yes")
        assert answer.status_code == 303 and state(world, receipt) is State.APPLIED
    assert len(world.reader.outbox()) == 1


async def test_of_what_got_no_answer_a_person_says_that_it_did_not_arrive(world: World) -> None:
    async with signed_in(world) as browser:
        receipt = await unknown(world, browser)
        page = await browser.get(f"/outbox/{receipt}")
        answer = await browser.press(page, f"/outbox/{receipt}/decide", arrived="again")
        new = world.reader.outbox()[0]
        assert answer.headers["location"] == f"/outbox/{new.command.id}" and new.command.replaces == receipt
        found = world.reader.command(receipt)
        assert found is not None and found.state is State.REFUSED and found.dismissed
        other = await unknown(world, browser)
        page = await browser.get(f"/outbox/{other}")
        answer = await browser.press(page, f"/outbox/{other}/decide", arrived="no")
        assert answer.headers["location"] == "/outbox" and world.reader.needing_person() == 0
    assert len(world.reader.outbox()) == 3


async def test_nobody_can_call_a_command_settled_that_was_not_sent(world: World) -> None:
    async with signed_in(world) as browser:
        receipt = await change(browser, quantity="12")
        values = hidden((await browser.get(f"/outbox/{receipt}")).text, "/withdraw")
        for act in ("decide", "dismiss", "abandon", "resend"):
            answer = await browser.submit(f"/outbox/{receipt}/{act}", values | {"arrived": "yes"})
            assert answer.status_code == 409 and "too late" in answer.text, act
        _, sent = await browser.form("/tables/orders/8/edit")
        await browser.submit("/tables/orders/8/edit", sent | {"quantity": "4", "_replaces": receipt})
    found = world.reader.command(receipt)
    assert found is not None and found.state is State.KEPT and not found.dismissed


async def test_two_clicks_on_send_again_are_one_command(world: World) -> None:
    async with signed_in(world) as browser:
        receipt = await unknown(world, browser)
        values = hidden((await browser.get(f"/outbox/{receipt}")).text, "/decide") | {"arrived": "again"}
        answers = [await browser.submit(f"/outbox/{receipt}/decide", values) for _ in range(2)]
        assert len({answer.headers["location"] for answer in answers}) == 1
    assert len(world.reader.outbox()) == 2


async def test_the_file_of_a_refused_row_is_not_asked_for_again(world: World) -> None:
    async with signed_in(world) as browser:
        _, values = await browser.form("/tables/orders/new")
        sent = values | {"client": "C000001", "quantity": "5000"}
        await browser.submit("/tables/orders/new", sent, files={"paper": ("a.png", b"\x89PNG3")})
        world.replay()
        [item] = world.reader.outbox()
        page = await browser.get(f"/outbox/{item.command.id}")
        assert "There is a file of 5" in page.text
        values = {**hidden(page.text, "/new"), **fields(page.text)}
        assert (await browser.submit("/tables/orders/new", values | {"quantity": "5"})).status_code == 303
    world.replay()
    assert world.erp("SELECT paper FROM orders WHERE quantity = 5") == [(b"\x89PNG3",)]
