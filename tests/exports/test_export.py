"""Files of tables, opened with other people's libraries."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import openpyxl
import pytest

from brique.errors import BadInput, NotFound, TooMuch
from brique.exports import Export, disposition, export, parse_export
from tests.api.world import World


def made(world: World, table: str, query: dict[str, str], suffix: str, **options: Any) -> tuple[Export, bytes]:
    spec = world.specs[table]
    listing, written = parse_export(spec, query)
    with world.readers.borrow() as copy, copy.snapshot():
        done = export(
            copy,
            spec,
            listing,
            suffix,
            options.pop("language", "en"),
            now=world.clock.now(),
            options=written,
            **options,
        )
        return done, b"".join(done.pieces)


def rows_of_csv(body: bytes, separator: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), delimiter=separator))


def test_a_csv_holds_every_row_and_its_age_at_the_end(world: World) -> None:
    done, body = made(world, "purchase", {}, "csv", user="awa")
    assert done.media_type == "text/csv; charset=utf-8"
    assert done.headers["Content-Disposition"] == 'attachment; filename="Purchase 2026-11-20.csv"'
    assert (done.headers["Brique-Age"], done.headers["Brique-Position"]) == ("0", str(world.reader.seq()))
    rows = rows_of_csv(body)
    assert rows[:4] == [
        ["Number", "Customer", "Amount", "Status"],
        ["1", "ALFKI", "10.00", "open"],
        ["2", "BOLID", "20.50", "sent"],
        ["3", "", "5.00", "paid"],
    ]
    assert rows[4:] == [
        [],
        ["# Table: Purchase"],
        ["# Data confirmed at: 2026-11-20 10:42:00 (UTC)"],
        ["# Made at: 2026-11-20 10:42:00 (UTC), awa"],
    ]


def test_a_csv_for_programs_has_names_and_no_notes(world: World) -> None:
    _, body = made(world, "purchase", {"_headings": "name", "_notes": "false", "columns": "amount,number"}, "csv")
    assert rows_of_csv(body)[:2] == [["amount", "number"], ["10.00", "1"]]
    assert len(rows_of_csv(body)) == 4


def test_a_csv_with_semicolons_has_decimal_commas(world: World) -> None:
    _, body = made(world, "purchase", {"_separator": ";", "_notes": "no"}, "csv")
    assert rows_of_csv(body, ";")[2] == ["2", "BOLID", "20,50", "sent"]


def test_texts_that_a_spreadsheet_would_run_are_guarded(world: World) -> None:
    _, body = made(world, "customer", {"code": "EVIL", "_notes": "no"}, "csv")
    assert rows_of_csv(body)[1][:3] == ["EVIL", "'=1+2", "'@SUM(A1)"]
    _, body = made(world, "customer", {"code": "EVIL"}, "xlsx")
    cells = sheet(body)[1]
    assert cells[1:3] == ["=1+2", "@SUM(A1)"]
    assert all(cell.data_type == "s" for cell in next(book(body).worksheets[0].iter_rows(2, 2, 1, 3)))


def book(body: bytes) -> openpyxl.Workbook:
    return openpyxl.load_workbook(io.BytesIO(body))


def sheet(body: bytes, name: str | int = 0) -> list[list[Any]]:
    found = book(body).worksheets[name] if isinstance(name, int) else book(body)[name]
    return [[cell.value for cell in row] for row in found.iter_rows()]


def test_an_xlsx_holds_typed_cells_and_an_about_sheet(world: World) -> None:
    world.clock.pass_time(minutes=3)
    done, body = made(world, "customer", {"city__ne": "Dakar", "sort": "-code"}, "xlsx", user="awa")
    assert done.headers["Brique-Age"] == "180"
    head, *rows = sheet(body)
    assert head[:5] == ["Code", "Name", "City", "Credit", "Since"]
    assert [row[0] for row in rows] == ["Été 1/2", "EVIL", "BOLID", "ALFKI"]
    assert (rows[3][3], rows[3][4].date(), rows[3][5]) == (1500.5, date(1996, 7, 4), True)
    about = {row[0]: row[1] for row in sheet(body, "About")}
    assert about["Data confirmed at"] == "2026-11-20 10:42:00 (UTC)"
    assert (about["Filter"], about["Sorted by"]) == ("City ≠ Dakar", "Code ↓")
    assert about["Made at"] == "2026-11-20 10:45:00 (UTC), awa"


def test_a_json_file_holds_what_the_api_would_say(world: World) -> None:
    _, body = made(world, "customer", {}, "json")
    file = json.loads(body)
    assert (file["table"], file["as_of"]) == ("customer", "2026-11-20T10:42:00Z")
    rows = {row["code"]: row for row in file["rows"]}
    assert rows["ALFKI"]["credit"] == "1500.50"
    assert rows["ALFKI"]["profile"] == {"vat": {"id": "DE1"}}
    assert rows["Été 1/2"]["rank"] == "9007199254740995"
    assert rows["BOLID"]["met"] is None


def test_a_value_of_the_wrong_type_is_written_as_it_is(world: World) -> None:
    _, body = made(world, "customer", {"code": "WRONG", "_notes": "0"}, "csv")
    assert rows_of_csv(body)[1][3:] == ["a lot", "soon", "7", "many", "x", "never", "not json"]
    for suffix in ("xlsx", "json"):
        assert b"".join([made(world, "customer", {}, suffix)[1]])


def test_blobs_are_sizes_for_people_and_base64_for_programs(world: World) -> None:
    _, body = made(world, "picture", {"_notes": "0"}, "csv")
    assert rows_of_csv(body)[0] == ["Id", "Name", "Data (bytes)"]
    assert [row[2] for row in rows_of_csv(body)[1:]] == ["4", "", "not bytes"]
    _, body = made(world, "picture", {}, "json")
    assert [row["data"] for row in json.loads(body)["rows"]] == ["iVBORw==", None, "not bytes"]


def test_references_are_shown_by_key_and_on_demand_by_label(world: World) -> None:
    _, body = made(world, "purchase", {"_labels": "true", "_notes": "0"}, "csv")
    assert rows_of_csv(body)[:2] == [
        ["Number", "Customer", "Customer (Customer)", "Amount", "Status"],
        ["1", "ALFKI", "ALFKI Alfreds", "10.00", "open"],
    ]
    assert rows_of_csv(body)[3][1:3] == ["", ""]


def test_a_search_and_conditions_leave_what_a_list_would_show(world: World) -> None:
    _, body = made(world, "customer", {"q": "cafe ete", "_notes": "0"}, "csv")
    assert [row[0] for row in rows_of_csv(body)[1:]] == ["Été 1/2"]


def test_an_empty_export_still_has_its_headings(world: World) -> None:
    for suffix in ("csv", "xlsx", "json"):
        _, body = made(world, "customer", {"code": "nobody", "_notes": "0"}, suffix)
        if suffix == "csv":
            assert len(rows_of_csv(body)) == 1
        elif suffix == "xlsx":
            assert len(sheet(body)) == 1
        else:
            assert json.loads(body)["rows"] == []


def test_people_are_told_in_their_language_and_zone(world: World) -> None:
    _, body = made(world, "customer", {"since__null": "true"}, "csv", language="fr", zone=ZoneInfo("Europe/Paris"))
    notes = [row[0] for row in rows_of_csv(body) if row and row[0].startswith("#")]
    assert "# Filtre: Since est vide" in notes
    assert "# Fait le: 20/11/2026 11:42:00 (Europe/Paris)" in notes


def test_several_conditions_are_all_in_the_notes(world: World) -> None:
    _, body = made(world, "customer", {"city__in": "Berlin,Madrid", "since__null": "no"}, "json")
    assert json.loads(body)["notes"]["Filter"] == "City is one of Berlin,Madrid; Since is not empty"


def test_two_opposite_conditions_on_emptiness_are_both_said(world: World) -> None:
    _, body = made(world, "customer", {"since__null": "no", "met__null": "yes"}, "json")
    assert json.loads(body)["notes"]["Filter"] == "Since is not empty; Met is empty"


def test_more_rows_than_allowed_are_refused_before_the_first_byte(world: World) -> None:
    with pytest.raises(TooMuch) as caught:
        made(world, "customer", {}, "csv", rows_max=4)
    assert caught.value.facts["setting"] == "export_rows_max"
    assert made(world, "customer", {"city": "Berlin"}, "csv", rows_max=1)


def test_an_unknown_format_and_option_are_refused(world: World) -> None:
    with pytest.raises(NotFound):
        made(world, "customer", {}, "pdf")
    with pytest.raises(BadInput) as caught:
        made(world, "customer", {"_separator": "|", "_headings": "loud", "_notes": "perhaps"}, "csv")
    assert set(caught.value.fields) == {"_separator", "_headings", "_notes"}


@pytest.mark.anyio
async def test_an_export_says_that_it_holds_pending_changes(own_world: World) -> None:
    async with own_world.client() as client:
        answer = await client.patch("/api/tables/customer/ALFKI", json={"city": "Bonn"})
    assert answer.status_code == 202
    _, body = made(own_world, "customer", {}, "json")
    assert "Pending" in json.loads(body)["notes"]
    assert "Bonn" in body.decode()
    _, body = made(own_world, "customer", {"code": "EVIL"}, "json")
    assert "Pending" not in json.loads(body)["notes"]


def test_a_name_for_a_file_is_safe_in_a_header() -> None:
    assert disposition("Orders.csv") == 'attachment; filename="Orders.csv"'
    assert disposition("Détails d'été.csv") == (
        "attachment; filename=\"Details d'ete.csv\"; filename*=UTF-8''D%C3%A9tails%20d%27%C3%A9t%C3%A9.csv"
    )
    hostile = disposition('a"b\r\nX: y\\ü.csv')
    assert "\r" not in hostile and "\n" not in hostile and hostile.count('"') == 2
    assert disposition("表.csv").startswith('attachment; filename="export.csv"; filename*=')


def test_a_hostile_label_makes_a_harmless_file_name(world: World) -> None:
    spec = replace(world.specs["purchase"], label='../..\\etc/"passwd"\r\n')
    listing, options = parse_export(spec, {})
    with world.readers.borrow() as copy, copy.snapshot():
        done = export(copy, spec, listing, "csv", "en", now=datetime(2026, 1, 2, tzinfo=UTC), options=options)
        done.pieces.close()
    assert done.filename == "etc passwd 2026-01-02.csv"
