"""Forms: from a table to fields, from what was typed to a command, with nothing lost on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brique.errors import BadInput
from brique.pages.asks import Ask, asks_of_table, kind_of
from brique.pages.format import Formats
from brique.pages.forms import Sheet
from brique.pages.references import NoReferences
from brique.pages.seen import Seen, digest, pack, plain, unpack
from brique.schema import Column, Kind, State, TableSpec
from tests.pages.writing import World, fields, hidden, seen_of, signed_in

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def column(kind: Kind, **options: Any) -> Column:
    return Column("x", "x", kind, "X", **options)


def sheet(*asks: Ask, language: str = "fr") -> Sheet:
    return Sheet(asks, Formats(language, "Africa/Dakar"), NoReferences(), cell_bytes_max=1000)


# ---- values, both ways

SAMPLES: list[tuple[Column, Any]] = [
    (column(Kind.TEXT), "  kept as it was \r\n"),
    (column(Kind.TEXT), "two\nlines"),
    (column(Kind.INTEGER), 640_000),
    (column(Kind.INTEGER), "a text in a number column"),
    (column(Kind.DECIMAL, scale=2), -128450),
    (column(Kind.REAL), 0.1),
    (column(Kind.BOOLEAN), 1),
    (column(Kind.BOOLEAN), 7),
    (column(Kind.DATE), "2026-11-20"),
    (column(Kind.DATE), "0000-00-00"),
    (column(Kind.DATETIME), "2026-11-20T10:41:00.123456"),
    (column(Kind.DATETIME), "2026-10-25T00:30:00.000000Z"),
    (column(Kind.TIME), "10:41:30"),
    (column(Kind.JSON), '{"é":[1,2.50]}'),
    (column(Kind.ANY), 12),
    (column(Kind.TEXT), None),
]


@pytest.mark.parametrize("language", ["fr", "en"])
@pytest.mark.parametrize(("of", "value"), SAMPLES)
def test_a_field_that_comes_back_untouched_changes_nothing(of: Column, value: Any, language: str) -> None:
    ask = Ask(of)
    seen = Seen({"x": value}, {"x": value})
    shown = sheet(ask, language=language).shown(ask, value)
    shown = plain(shown).replace("\n", "\r\n")
    given_ = {"x": shown} if kind_of(ask, shown, value) != "check" or shown == "1" else {}
    typed = sheet(ask, language=language).read(given_, seen)
    assert (typed.values, typed.faults) == ({}, {})


@pytest.mark.parametrize(
    ("of", "text", "value"),
    [
        (column(Kind.TEXT), "  Thiès ", "Thiès"),
        (column(Kind.TEXT), "e\u0301", "é"),
        (column(Kind.TEXT), "a\r\nb\r\n", "a\nb"),
        (column(Kind.INTEGER), "1 284", 1284),
        (column(Kind.DECIMAL, scale=2), "1 284,5", 128450),
        (column(Kind.REAL), "-0,5", -0.5),
        (column(Kind.DATE), "20/11/26", "2026-11-20"),
        (column(Kind.DATETIME), "20/11/26 10h41", "2026-11-20T10:41:00.000000"),
        (
            column(Kind.DATETIME, source_type="timestamp with time zone"),
            "20/11/26 10h41",
            "2026-11-20T10:41:00.000000Z",
        ),
        (column(Kind.TIME), "1041", "10:41:00"),
        (column(Kind.BOOLEAN), "0", 0),
        (column(Kind.JSON), ' {"a": [1, 2]} ', '{"a":[1,2]}'),
        (column(Kind.ANY), "12", 12),
        (column(Kind.ANY), "douze", "douze"),
        (column(Kind.TEXT, choices=("a", "b")), "b", "b"),
    ],
)
def test_what_is_typed_in_french_becomes_a_store_value(of: Column, text: str, value: Any) -> None:
    typed = sheet(Ask(of, new=True)).read({"x": text})
    assert (typed.values, typed.faults) == ({"x": value}, {})


@pytest.mark.parametrize(
    ("of", "text", "fault"),
    [
        (column(Kind.INTEGER), "douze", "n’est pas un nombre"),
        (column(Kind.INTEGER), "1,5", "whole number"),
        (column(Kind.INTEGER), "99999999999999999999", "too large"),
        (column(Kind.DECIMAL, scale=2), "1,005", "too many decimals"),
        (column(Kind.DATE), "hier", "n’est pas une date"),
        (column(Kind.TEXT, length_max=3), "quatre", "Au plus 3 caractères"),
        (column(Kind.TEXT, choices=("a", "b")), "c", "Au choix"),
        (column(Kind.JSON), "{", "Ce n’est pas du JSON"),
        (column(Kind.JSON), "[NaN]", "NaN"),
        (column(Kind.TEXT, nullable=False), " ", "required"),
        (column(Kind.TEXT), "x" * 1001, "Trop grand"),
        (column(Kind.TEXT), "a\x00b", "NUL"),
    ],
)
def test_what_cannot_be_a_value_is_told_beside_its_field(of: Column, text: str, fault: str) -> None:
    typed = sheet(Ask(of, new=True)).read({"x": text})
    assert typed.values == {} and fault in typed.faults["x"] and typed.texts["x"] == text


def test_an_empty_field_is_nothing_or_the_default_or_an_empty_text() -> None:
    seen = Seen({"x": "before"}, None)
    assert sheet(Ask(column(Kind.TEXT), new=True)).read({"x": ""}).values == {}
    assert sheet(Ask(column(Kind.TEXT))).read({"x": ""}, seen).values == {"x": None}
    blank = column(Kind.TEXT, nullable=False, defaulted=True)
    assert sheet(Ask(blank, new=True)).read({"x": ""}).values == {}
    assert sheet(Ask(blank)).read({"x": ""}, seen).values == {"x": ""}
    assert (
        "required" in sheet(Ask(column(Kind.INTEGER, nullable=False))).read({"x": ""}, Seen({"x": 1}, None)).faults["x"]
    )


def test_lines_keep_ending_as_they_did() -> None:
    seen = Seen({"x": "a\r\nb"}, None)
    assert sheet(Ask(column(Kind.TEXT))).read({"x": "a\r\nb\r\nc"}, seen).values == {"x": "a\r\nb\r\nc"}


def test_a_file_is_kept_replaced_or_removed() -> None:
    ask, seen = Ask(column(Kind.BINARY)), Seen({"x": {"digest": digest(b"old")}}, {"x": b"old"})
    assert seen["x"] == b"old"
    assert sheet(ask).read({}, seen).values == {}
    assert sheet(ask).read({"x": b"new"}, seen).values == {"x": b"new"}
    assert sheet(ask).read({"remove.x": "1"}, seen).values == {"x": None}
    assert "Trop grand" in sheet(ask).read({"x": b"x" * 1001}, seen).faults["x"]


@given(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.binary(), st.text(max_size=3000)))
def test_what_was_seen_comes_back_equal_or_stands_for_nothing(value: Any) -> None:
    seen = unpack(pack({"x": value}), {"x": value})
    assert seen is not None
    assert seen["x"] == value or value != value
    if isinstance(value, bytes) or (isinstance(value, str) and len(value) > 2000):
        other = unpack(pack({"x": value}), {"x": "something else"})
        assert other is not None and other["x"] not in (value, "something else")


@pytest.mark.parametrize("text", ["x", "[]", '{"a": {"digest": 1}}', '{"a": [1]}', '{"a": true}', "[" * 100_000])
def test_a_mangled_form_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        unpack(text, None)


@given(st.text())
def test_line_ends_are_one_thing(text: str) -> None:
    assert plain(plain(text)) == plain(text) and "\r" not in plain(text)


def test_keys_are_fixed_and_numbers_given_by_the_backend_are_not_asked() -> None:
    spec = TableSpec(
        "t", "t", "erp", "T", (Column("id", "id", Kind.INTEGER, "Id", nullable=False, defaulted=True),), ("id",)
    )
    assert asks_of_table(spec, {}, new=True)[0].fixed == "system"
    assert asks_of_table(spec, {}, new=False)[0].fixed == "fixed"


# ---- over HTTP


async def test_every_kind_of_field_is_there_and_an_untouched_form_changes_nothing(world: World) -> None:
    async with signed_in(world) as browser:
        page, values = await browser.form("/tables/orders/7/edit")
        assert 'data-lookup-url="/lookup/client"' in page.text and 'data-label="C002775 Société E2775"' in page.text
        assert "<noscript>" in page.text and 'type="file"' in page.text and 'data-picks="field-ordered"' in page.text
        assert 'enctype="multipart/form-data"' in page.text and '<option value="7"' not in page.text
        assert seen_of(values)["quantity"] == 10 and "digest" in seen_of(values)["paper"]
        answer = await browser.submit("/tables/orders/7/edit", values)
        assert (answer.status_code, answer.headers["location"]) == (303, "/tables/orders/7")
        assert "Nothing has changed." in (await browser.get("/tables/orders/7")).text
    assert world.reader.outbox() == []


async def test_a_change_is_kept_and_shown_at_once_and_only_its_own_columns_travel(world: World) -> None:
    async with signed_in(world, language="fr") as browser:
        _, values = await browser.form("/tables/orders/7/edit")
        answer = await browser.submit("/tables/orders/7/edit", values | {"quantity": "12", "amount": "1 284,50"})
        assert answer.status_code == 303
        row = await browser.get(answer.headers["location"])
        assert "Enregistré" in row.text
    [item] = world.reader.outbox()
    [change] = item.command.changes
    assert (change.before, change.after) == (
        {"quantity": 10, "amount": 64000050},
        {"quantity": 12, "amount": 128450},
    )
    world.replay()
    assert world.erp("SELECT quantity, amount, note FROM orders WHERE id = 7") == [(12, 1284.5, "Livrer avant midi.")]


async def test_three_clicks_are_one_command(world: World) -> None:
    async with signed_in(world) as browser:
        _, values = await browser.form("/tables/orders/new")
        sent = values | {"client": "C000001", "quantity": "5"}
        answers = [await browser.submit("/tables/orders/new", sent) for _ in range(3)]
        assert len({answer.headers["location"] for answer in answers}) == 1
        assert "/tables/orders/new-" in answers[0].headers["location"]
        row = await browser.get(answers[2].headers["location"])
        assert row.status_code == 200 and "sent before" in row.text
        _, values = await browser.form("/tables/orders/7/edit")
        for _ in range(3):
            await browser.submit("/tables/orders/7/edit", values | {"quantity": "12"})
    assert len(world.reader.outbox()) == 2
    world.replay()
    assert world.erp("SELECT count(*) FROM orders WHERE quantity = 5") == [(1,)]


async def test_the_same_token_with_other_values_is_told_and_nothing_is_lost(world: World) -> None:
    async with signed_in(world) as browser:
        _, values = await browser.form("/tables/orders/new")
        sent = values | {"client": "C000001", "quantity": "5"}
        await browser.submit("/tables/orders/new", sent)
        answer = await browser.submit("/tables/orders/new", sent | {"quantity": "6"})
        assert answer.status_code == 422 and "sent before, with other values" in answer.text
        assert f"/outbox/{world.reader.outbox()[0].command.id}" in answer.text and 'value="6"' in answer.text
        assert hidden(answer.text, "/new")["_token"] != values["_token"]
    assert len(world.reader.outbox()) == 1


async def test_faults_stand_beside_their_fields_with_everything_that_was_typed(world: World) -> None:
    async with signed_in(world, language="fr") as browser:
        _, values = await browser.form("/tables/orders/new")
        sent = values | {"client": "C999999", "quantity": "beaucoup", "ordered": "hier", "note": "à\r\ngarder"}
        answer = await browser.submit("/tables/orders/new", sent)
        assert answer.status_code == 422
        assert 'aria-describedby="field-quantity-error"' in answer.text and "beaucoup\u00a0»" in answer.text
        assert 'value="beaucoup"' in answer.text and 'value="hier"' in answer.text and "à\ngarder" in answer.text
        assert hidden(answer.text, "/new")["_token"] == values["_token"]
        again = await browser.submit("/tables/orders/new", sent | {"quantity": "5", "ordered": ""})
        assert again.status_code == 422 and "Cette ligne n’existe pas." in again.text
    assert world.reader.outbox() == []


async def test_required_fields_are_all_told_at_once(world: World) -> None:
    async with signed_in(world) as browser:
        _, values = await browser.form("/tables/orders/new")
        answer = await browser.submit("/tables/orders/new", values)
        assert answer.text.count('id="field-client-error"') == 1 == answer.text.count('id="field-quantity-error"')


async def test_a_reference_is_meant_by_key_or_by_words(world: World) -> None:
    async with signed_in(world) as browser:
        for typed in ("C000002", "Société B"):
            _, values = await browser.form("/tables/orders/new")
            answer = await browser.submit("/tables/orders/new", values | {"client": typed, "quantity": "5"})
            assert answer.status_code == 303, answer.text
        _, values = await browser.form("/tables/orders/new")
        answer = await browser.submit("/tables/orders/new", values | {"client": "Thiès", "quantity": "5"})
        assert answer.status_code == 422
    assert {item.command.changes[0].after["client"] for item in world.reader.outbox()} == {"C000002"}  # type: ignore[index]


async def test_the_engine_away_keeps_what_was_typed_and_trying_again_is_safe(world: World) -> None:
    async with signed_in(world) as browser:
        _, values = await browser.form("/tables/orders/7/edit")
        world.engine_away = True
        sent = values | {"quantity": "12"}
        answer = await browser.submit("/tables/orders/7/edit", sent)
        assert answer.status_code == 503 and "Not kept." in answer.text and 'value="12"' in answer.text
        assert hidden(answer.text, "/edit") == hidden((await browser.get("/tables/orders/7/edit")).text, "/edit") | {
            "_token": values["_token"]
        }
        world.engine_away = False
        assert (await browser.submit("/tables/orders/7/edit", sent)).status_code == 303
    assert len(world.reader.outbox()) == 1


async def test_without_a_store_the_form_comes_back_all_the_same(world: World) -> None:
    async with signed_in(world) as browser:
        _, values = await browser.form("/tables/orders/new")
        (world.folder / "store.db").rename(world.folder / "gone.db")
        world.engine_away = True
        answer = await browser.submit("/tables/orders/new", values | {"client": "C000001", "quantity": "12"})
        (world.folder / "gone.db").rename(world.folder / "store.db")
        assert answer.status_code == 503 and 'value="C000001"' in answer.text and "Not kept." in answer.text


async def test_the_button_says_that_it_will_be_sent_later(world: World) -> None:
    async with signed_in(world, language="fr") as browser:
        assert "Enregistrer <kbd" in (await browser.get("/tables/orders/7/edit")).text
        world.state_of_backend(state="down", since=world.clock.now(), last_error="gone")
        assert "Enregistrer (sera envoyé) <kbd" in (await browser.get("/tables/orders/7/edit")).text


async def test_a_row_changed_meanwhile_is_shown_before_yours_and_theirs(world: World) -> None:
    async with signed_in(world) as browser:
        _, values = await browser.form("/tables/orders/7/edit")
        world.erp("UPDATE orders SET quantity = 15, status = 'closed' WHERE id = 7")
        world.load()
        answer = await browser.submit("/tables/orders/7/edit", values | {"quantity": "12", "note": "mine"})
        assert answer.status_code == 412 and "Send again with 12" in answer.text and "pick.quantity" in answer.text
        assert "pick.status" not in answer.text and "pick.note" not in answer.text
        again = {**hidden(answer.text, "/edit"), **fields(answer.text)}
        assert seen_of(again)["quantity"] == 15 and again["quantity"] == "12" and again["note"] == "mine"
        theirs = await browser.submit("/tables/orders/7/edit", again | {"pick.quantity": "theirs"})
        assert theirs.status_code == 303
    [item] = world.reader.outbox()
    assert item.command.changes[0].after == {"note": "mine"}


async def test_resending_after_a_conflict_compares_with_what_was_shown_then(world: World) -> None:
    async with signed_in(world) as browser:
        _, values = await browser.form("/tables/orders/7/edit")
        world.erp("UPDATE orders SET quantity = 15 WHERE id = 7")
        world.load()
        answer = await browser.submit("/tables/orders/7/edit", values | {"quantity": "12"})
        again = {**hidden(answer.text, "/edit"), **fields(answer.text)}
        assert (await browser.submit("/tables/orders/7/edit", again)).status_code == 303
    assert world.reader.outbox()[0].command.changes[0].before == {"quantity": 15}
    world.replay()
    assert world.erp("SELECT quantity FROM orders WHERE id = 7") == [(12,)]


async def test_a_row_deleted_meanwhile_can_be_made_anew(world: World) -> None:
    async with signed_in(world) as browser:
        _, values = await browser.form("/tables/client/C000002/edit")
        world.erp("DELETE FROM client WHERE number = 'C000002'")
        world.load()
        answer = await browser.submit("/tables/client/C000002/edit", values | {"name": "Société B2"})
        assert answer.status_code == 404 and 'formaction="/tables/client/new"' in answer.text
        again = {**hidden(answer.text, "/edit"), **fields(answer.text)}
        assert (await browser.submit("/tables/client/new", again)).status_code == 303
    world.replay()
    assert world.erp("SELECT name, city FROM client WHERE number = 'C000002'") == [("Société B2", "Thiès")]


async def test_files_are_uploaded_and_kept_when_not_touched(world: World) -> None:
    async with signed_in(world) as browser:
        _, values = await browser.form("/tables/orders/7/edit")
        path = "/tables/orders/7/edit"
        empty = {"paper": ("", b"", "application/octet-stream")}
        answer = await browser.submit(path, values | {"quantity": "12"}, files=empty)
        assert answer.status_code == 303
        assert world.reader.outbox()[0].command.changes[0].after == {"quantity": 12}
        _, values = await browser.form(path)
        answer = await browser.submit(path, values, files={"paper": ("b.png", b"\x89PNG2")})
        assert answer.status_code == 303
        _, values = await browser.form(path)
        answer = await browser.submit(path, values, files={"paper": ("b.png", b"x" * 100_001)})
        assert answer.status_code == 422 and "Is too large: 100" in answer.text
        assert "Choose the file again" in answer.text
    world.replay()
    assert world.erp("SELECT quantity, paper FROM orders WHERE id = 7") == [(12, b"\x89PNG2")]


async def test_save_and_new_leads_to_an_empty_form_with_another_token(world: World) -> None:
    async with signed_in(world) as browser:
        page, values = await browser.form("/tables/orders/new")
        assert 'name="_then" value="new"' in page.text and "given by the system" in page.text
        sent = values | {"client": "C000001", "quantity": "5", "_then": "new"}
        answer = await browser.submit("/tables/orders/new", sent)
        assert answer.headers["location"] == "/tables/orders/new"
        page, fresh = await browser.form("/tables/orders/new")
        assert "Saved: receipt" in page.text and fresh["_token"] != values["_token"] and fresh["quantity"] == ""


async def test_a_form_shown_in_french_is_read_in_french_whatever_the_language_now(world: World) -> None:
    async with signed_in(world, language="fr") as browser:
        _, values = await browser.form("/tables/orders/7/edit")
    async with signed_in(world, language="en") as browser:
        values |= {"_csrf": (await browser.form("/tables/orders/7/edit"))[1]["_csrf"]}
        assert (await browser.submit("/tables/orders/7/edit", values | {"amount": "1 284,50"})).status_code == 303
    assert world.reader.outbox()[0].command.changes[0].after == {"amount": 128450}


async def test_deleting_asks_first_and_says_what_refers_to_the_row(world: World) -> None:
    async with signed_in(world) as browser:
        page, values = await browser.form("/tables/orders/7/delete")
        assert "2 Line" in page.text and "/tables/line?orders=7" in page.text and "Société E2775" in page.text
        world.erp("UPDATE orders SET quantity = 15 WHERE id = 7")
        world.load()
        answer = await browser.submit("/tables/orders/7/delete", values)
        assert answer.status_code == 412 and "look again" in answer.text
        _, values = await browser.form("/tables/orders/8/delete")
        answers = [await browser.submit("/tables/orders/8/delete", values) for _ in range(2)]
        assert {answer.headers["location"] for answer in answers} == {"/tables/orders"}
    assert len(world.reader.outbox()) == 1
    world.replay()
    assert world.erp("SELECT count(*) FROM orders") == [(1,)]


async def test_who_may_only_read_gets_no_form(world: World) -> None:
    async with signed_in(world, "rita") as browser:
        for path in ("/tables/orders/new", "/tables/orders/7/edit", "/tables/orders/7/delete", "/commands/ship?row=7"):
            assert (await browser.get(path)).status_code == 403, path


async def test_what_is_not_there_is_not_found(world: World) -> None:
    async with signed_in(world) as browser:
        for path in ("/tables/nothing/new", "/tables/orders/99/edit", "/tables/orders/99/delete", "/commands/nothing"):
            assert (await browser.get(path)).status_code == 404, path


async def test_a_post_without_the_session_secret_is_refused(world: World) -> None:
    async with signed_in(world) as browser:
        _, values = await browser.form("/tables/orders/7/edit")
        answer = await browser.submit("/tables/orders/7/edit", values | {"_csrf": "guess", "quantity": "12"})
        assert answer.status_code == 403
    assert world.reader.outbox() == []


async def test_a_command_is_a_form_prefilled_with_its_row(world: World) -> None:
    async with signed_in(world) as browser:
        page, values = await browser.form("/commands/ship?row=7")
        assert values["order"] == "7" and values["parcels"] == "1" and "Marks an order as shipped." in page.text
        answer = await browser.submit("/commands/ship", values)
        assert answer.status_code == 422 and 'id="field-carrier-error"' in answer.text
        answer = await browser.submit("/commands/ship", values | {"carrier": "DHL"})
        assert answer.headers["location"] == "/tables/orders/7"
        again = await browser.submit("/commands/ship", values | {"carrier": "DHL"})
        assert again.status_code == 303 and len(world.reader.outbox()) == 1
        _, values = await browser.form("/commands/ship?row=7")
        refused = await browser.submit("/commands/ship", values | {"carrier": "DHL"})
        assert refused.status_code == 409 and "not open any more" in refused.text and 'value="DHL"' in refused.text
    world.replay()
    assert world.erp("SELECT status FROM orders WHERE id = 7") == [("DHL",)]


async def test_a_row_with_a_key_of_odd_letters_is_changed_by_its_address(world: World) -> None:
    world.erp("INSERT INTO client VALUES ('a/b é,~', 'Odd', NULL)")
    world.load()
    key = "a~2Fb~20~C3~A9~2C~7E"
    async with signed_in(world) as browser:
        _, values = await browser.form(f"/tables/client/{key}/edit")
        assert (await browser.submit(f"/tables/client/{key}/edit", values | {"city": "Dakar"})).status_code == 303
        _, values = await browser.form("/tables/orders/new")
        for typed in (key, "a/b é,~"):
            _, values = await browser.form("/tables/orders/new")
            answer = await browser.submit("/tables/orders/new", values | {"client": typed, "quantity": "5"})
            assert answer.status_code == 303, answer.text
    world.replay()
    assert world.erp("SELECT city FROM client WHERE name = 'Odd'") == [("Dakar",)]
    assert world.erp("SELECT count(*) FROM orders WHERE client = 'a/b é,~'") == [(2,)]


async def test_a_row_that_is_not_numbered_yet_can_be_changed_again(world: World) -> None:
    async with signed_in(world) as browser:
        _, values = await browser.form("/tables/orders/new")
        made = await browser.submit("/tables/orders/new", values | {"client": "C000001", "quantity": "5"})
        path = made.headers["location"] + "/edit"
        _, values = await browser.form(path)
        assert (await browser.submit(path, values | {"quantity": "6"})).status_code == 303
        _, values = await browser.form("/tables/line/new")
        told = await browser.submit("/tables/line/new", values | {
            "orders": made.headers["location"].rpartition("/")[2], "position": "1", "text": "x"})  # fmt: skip
        assert told.status_code == 303, told.text
        page = await browser.get(made.headers["location"])
        assert page.status_code == 200 and ">x<" in page.text
    world.replay()
    assert [item.state for item in world.reader.outbox()] == [State.APPLIED] * 3
    [(number, quantity)] = world.erp("SELECT id, quantity FROM orders ORDER BY id DESC LIMIT 1")
    assert quantity == 6
    assert world.erp("SELECT text FROM line WHERE orders = (SELECT max(id) FROM orders)") == [("x",)]
    assert world.reader.rows_by("line", "orders", number)


def test_a_decimal_without_scale_is_exact() -> None:
    ask = Ask(column(Kind.DECIMAL), new=True)
    typed = sheet(ask).read({"x": "0,1000000000000000000001"})
    assert column(Kind.DECIMAL).python(typed.values["x"]) == Decimal("0.1000000000000000000001")
    assert sheet(ask).shown(ask, typed.values["x"]) == "0,1000000000000000000001"


def test_json_is_shown_readably() -> None:
    ask = Ask(column(Kind.JSON))
    assert json.loads(sheet(ask).shown(ask, '{"é":[1]}')) == {"é": [1]} and "\n" in sheet(ask).shown(ask, '{"é":[1]}')
