"""Many commands decided at once on the page, and a lost one with what the backend shows before one's eyes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from brique.commands import Outcome, Report
from brique.schema import State
from tests.pages.test_writing_look import chromium, page_of, serving, url  # noqa: F401 - fixtures
from tests.pages.writing import World, fields, hidden, signed_in

LOST = "It was sent, and the answer was lost: look in the backend whether it is there."


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def settle(world: World, receipt: str, state: State, reason: str) -> str:
    found = world.reader.command(receipt)
    assert found is not None
    world.ask(Report("erp", outcomes=[Outcome(found.position, state, reason=reason)]))
    return receipt


def refused(world: World, count: int, user: str = "walid") -> list[str]:
    return [
        settle(world, world.given_by(user, quantity=20 + number), State.REFUSED, f"order {number} is closed")
        for number in range(count)
    ]


def state(world: World, receipt: str) -> tuple[State, bool]:
    found = world.reader.command(receipt)
    assert found is not None
    return found.state, found.dismissed


@pytest.mark.anyio
async def test_what_failed_for_one_cause_is_one_line_and_sent_again_at_once(world: World) -> None:
    mine, other = refused(world, 4), refused(world, 2, "awa")
    async with signed_in(world) as browser, signed_in(world, "awa") as admin:
        assert "6 like this" in (await admin.get("/outbox")).text
        page = (await browser.get("/outbox")).text
        assert "4 like this" in page and "is closed" in page
        form = secrets_of(page)
        sent = await browser.submit("/outbox", form | {"act": "retry", "cause": cause_of(page), "whose": "all"})
        assert sent.status_code in (200, 303)
        assert {state(world, receipt)[1] for receipt in mine} == {True}, "the whole cause, as far as it is his"
        assert {state(world, receipt)[1] for receipt in other} == {False}, "of others, whatever is asked"
    replaced = [item.command.replaces for item in world.reader.pending_for("erp", 10)]
    assert replaced == mine


def secrets_of(page: str) -> dict[str, str]:
    """What the forms of the outbox carry unseen."""
    main = page.partition("<main")[2]
    return {name: main.split(f'name="{name}" value="')[1].split('"')[0] for name in ("_csrf", "_token")}


def cause_of(page: str) -> str:
    return page.split('name="cause" value="')[1].split('"')[0]


@pytest.mark.anyio
async def test_what_cannot_be_done_to_one_does_not_stop_the_others(world: World) -> None:
    [first, second] = refused(world, 2)
    kept = world.given_by("walid", quantity=77)
    async with signed_in(world) as browser:
        form = secrets_of((await browser.get("/outbox")).text)
        page = await browser.post(
            "/outbox",
            data={**form, "act": "dismiss", "receipt": [first, kept, "NONE", second]},
            headers={"Origin": "http://intranet.test"},
        )
        assert page.status_code == 200 and "2 dealt with." in page.text and "With 2 it was not possible." in page.text
        assert "too late" in page.text and "no command with the receipt NONE" in page.text
        assert state(world, kept) == (State.KEPT, False)
        nothing = await browser.submit("/outbox", {**form, "act": "dismiss"})
        assert nothing.status_code == 303
        assert "Nothing was chosen" in (await browser.get("/outbox")).text
        assert (await browser.submit("/outbox", {**form, "act": "explode", "receipt": first})).status_code == 422


@pytest.mark.anyio
async def test_only_its_author_and_administrators_decide_and_readers_about_nothing(world: World) -> None:
    [receipt] = refused(world, 1)
    async with signed_in(world, "rita") as reader, signed_in(world, "awa") as admin:
        form = {"_csrf": (await reader.get("/outbox")).text.split('name="_csrf" value="')[1].split('"')[0]}
        assert (await reader.submit("/outbox", form | {"act": "dismiss", "receipt": receipt})).status_code == 403
        page = (await reader.get("/outbox")).text
        assert "data-tick" not in page and "Send again" not in page
        assert (await reader.get(f"/outbox/{receipt}/edit")).status_code == 404
        form = secrets_of((await admin.get("/outbox")).text)
        assert (await admin.submit("/outbox", form | {"act": "retry", "receipt": receipt})).status_code == 303
    [item] = world.reader.pending_for("erp", 10)
    assert item.command.user == "walid", "his wish, whoever sends it again"
    [deed] = world.reader.deeds([1])[1]
    assert (deed.by, deed.origin, deed.address, deed.other) == ("awa", "form", "10.0.0.7", item.command.id)


@pytest.mark.anyio
async def test_what_was_taken_back_can_be_entered_again(world: World) -> None:
    receipt = world.given_by("walid", quantity=77)
    async with signed_in(world) as browser:
        await browser.press(await browser.get(f"/outbox/{receipt}"), f"/outbox/{receipt}/withdraw")
        assert f"/outbox/{receipt}/edit" in (await browser.get(f"/outbox/{receipt}")).text
        page = await browser.get(f"/outbox/{receipt}/edit")
        assert page.status_code == 200 and 'value="77"' in page.text and "taken back" in page.text
        values = {**hidden(page.text, "/edit"), **fields(page.text), "quantity": "78"}
        assert (await browser.submit("/tables/orders/7/edit", values)).status_code == 303
        told = (await browser.get(f"/outbox/{receipt}")).text
        assert "Sent again with other values" in told and f"/outbox/{receipt}/edit" not in told
        _, values = await browser.form("/tables/orders/7/edit")
        twice = await browser.submit("/tables/orders/7/edit", values | {"_replaces": receipt, "quantity": "79"})
        assert twice.status_code == 409 and "sent anew already" in twice.text


def test_a_person_ticks_by_keyboard_and_decides_about_a_lost_write(
    world: World,
    url: str,  # noqa: F811 - the fixture
    chromium: Browser,  # noqa: F811 - the fixture
) -> None:
    first, second = refused(world, 2)
    lost = settle(world, world.given_by("walid", quantity=33), State.UNKNOWN, LOST)
    with page_of(chromium, url) as page:
        page.goto(f"{url}/outbox?state=refused")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("x")
        assert page.locator("[data-tick]:checked").count() == 1
        page.keyboard.press("r")
        page.get_by_text("1 traités.").wait_for()
        assert [state(world, receipt)[1] for receipt in (first, second)] == [False, True], "the newest is the first row"
        page.goto(f"{url}/outbox/{lost}")
        assert "33" in page.locator("table").first.inner_text() and "10" in page.locator("table").first.inner_text()
        page.get_by_role("button", name="Non : renvoyer").click()
        page.wait_for_url(lambda at: lost not in at)
        assert state(world, lost) == (State.REFUSED, True)
        page.goto(f"{url}/outbox/{lost}")
        told = page.locator("#story").inner_text()
        assert "Non trouvé dans la source" in told and "Renvoyé tel quel" in told and "127.0.0.1" in told
