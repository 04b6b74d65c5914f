"""What the data says stays text: in every page, chart, file name, header and script."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.security.nasty import MARK, MARKUP, VALUES
from tests.security.reading import Page, faults_of
from tests.security.world import World

ODD_QUERIES = (
    "q={v}",
    "sort={v}",
    "columns={v}",
    "{v}=1",
    "name={v}",
    "name__contains={v}",
    "name__in={v}",
    "after={v}",
    "before={v}",
    "limit={v}",
    "format={v}",
    "done={v}",
    "next={v}",
    "state={v}",
    "lang={v}",
    "backend={v}",
    "whose={v}",
    "row={v}",
    "view={v}",
    "clone={v}",
    "token={v}",
    "theme={v}",
)


def check(world: World, path: str, **rest: Any) -> str:
    answer = world.get(path, **rest)
    kind = answer.headers.get("content-type", "")
    if kind.startswith("text/html"):
        assert not faults_of(answer.text), (path, faults_of(answer.text)[:5])
    else:
        assert answer.status_code in (204, 303, 304) or "html" not in kind, (path, kind)
    return answer.text


def test_lists_of_hostile_rows_hold_no_markup_of_theirs(world: World) -> None:
    for name in world.specs:
        names = ",".join(world.specs[name].names)
        page = check(world, f"/tables/{name}?limit=100&columns={names}")
        check(world, f"/tables/{name}")
        check(world, f"/tables/{name}/new")
        if name in ("wide", "sale", "paper"):
            assert MARK in page


def test_rows_forms_and_deletions_of_hostile_rows_hold_no_markup_of_theirs(world: World) -> None:
    for key in world.keys("wide"):
        if len(key) > 2000:
            continue
        for page in ("", "/edit", "/delete"):
            check(world, f"/tables/wide/{key}{page}")
    for table in ("sale", "paper", "constructor", "order_by"):
        for key in world.keys(table)[:8]:
            for page in ("", "/edit", "/delete"):
                check(world, f"/tables/{table}/{key}{page}")


def test_views_dashboards_commands_and_charts_hold_no_markup_of_the_data(world: World) -> None:
    for path in ("/drawn", "/labels/x", "/commands/remark", "/commands/remark?sale=1", "/", "/tables", "/api/docs"):
        assert MARK in check(world, path), path
    for value in MARKUP:
        check(world, "/labels/" + value.replace("/", "").replace("?", "").replace("#", "").replace("%", ""))
    for name in world.specs:
        check(world, f"/api/docs/{name}")
    drawn = world.get("/drawn").text
    assert drawn.count("<svg") > 5


@pytest.mark.parametrize(
    "path",
    [
        "/tables/sale",
        "/tables/wide",
        "/tables",
        "/outbox",
        "/-/status",
        "/",
        "/-/account",
        "/-/users",
        "/commands/remark",
        "/-/sign-in",
        "/-/setup",
        "/tables/sale/new",
    ],
)
def test_what_an_address_says_is_never_markup(world: World, path: str) -> None:
    for value in (*MARKUP[:4], MARKUP[6], "\u202e", "\r\nX: 1"):
        for query in ODD_QUERIES:
            name, _, given = query.replace("{v}", value).partition("=")
            check(world, path, params={name: given})
            if path in ("/-/sign-in", "/-/setup"):
                check(world, path, params={name: given}, who="nobody")


def test_unknown_addresses_and_bad_forms_are_answered_without_markup(world: World) -> None:
    for value in MARKUP:
        for path in (
            "/{v}",
            "/tables/{v}",
            "/tables/sale/{v}",
            "/outbox/{v}",
            "/commands/{v}",
            "/lookup/{v}",
            "/-/problems/{v}",
            "/-/assets/0/{v}",
            "/tables/sale/1/{v}.bin",
        ):
            check(world, path.replace("{v}", value.replace("?", "%3F").replace("#", "%23")))
    for value in (*MARKUP, "\x00", "\ud800".encode("utf-16", "surrogatepass").decode("utf-16", "replace"), "x" * 5000):
        for name in ("label", "amount", "at", "status", "note", "extra", "id", "_token", "next", "_seen", f"<{MARK}>"):
            answer = world.post("/tables/sale/new", {"amount": "no number", name: value})
            assert not faults_of(answer.text), (name, value[:20], faults_of(answer.text)[:3])
        answer = world.post("/commands/remark", {"sale": value, "text": value})
        assert not faults_of(answer.text)
        answer = world.post("/-/sign-in", {"name": value, "password": value, "next": value}, who="nobody")
        assert not faults_of(answer.text)


def test_what_was_refused_in_hostile_words_is_shown_as_text(world: World) -> None:
    answer = world.post("/commands/remark", {"sale": "2", "text": "no"})
    assert answer.status_code == 409
    assert not faults_of(answer.text)
    made = world.request("token-admin", "POST", "/api/tables/sale", json={"label": MARKUP[0], "status": MARKUP[1]})
    assert made.status_code in (409, 422)
    assert made.headers["content-type"].startswith("application/problem+json")
    kept = world.request("token-write", "PATCH", "/api/tables/sale/4", json={"note": MARKUP[1], "label": MARKUP[3]})
    receipt = kept.json()["receipt"]
    for path in (f"/outbox/{receipt}", "/outbox?state=all", "/outbox"):
        assert MARK in check(world, path) or path == "/outbox"


def test_programs_are_answered_with_their_own_types_and_no_sniffing(world: World) -> None:
    paths = {
        "/api": "application/json",
        "/api/tables": "application/json",
        "/api/tables/wide": "application/json",
        "/api/tables/sale/2": "application/json",
        "/openapi.json": "application/json",
        "/api/nowhere": "problem+json",
        "/api/lookup/sale?q=script": "application/json",
        "/lookup/sale?q=script": "",
        "/-/status?format=json": "json",
        "/tables/sale.csv": "text/csv",
        "/tables/sale.json": "application/json",
        "/api/outbox": "application/json",
        "/tables/sale.xlsx": "spreadsheetml",
        "/-/health": "application/json",
        "/api/views/labels?label=x": "json",
        "/drawn": "",
        "/labels/x": "",
    }
    for path, kind in paths.items():
        for accept in ("text/html", "application/json", "*/*", "image/svg+xml"):
            answer = world.get(path, headers={"Accept": accept})
            assert answer.headers["x-content-type-options"] == "nosniff"
            if kind and answer.status_code < 400:
                assert kind in answer.headers["content-type"], (path, accept, answer.headers["content-type"])
            if answer.headers["content-type"].startswith("text/html"):
                assert not faults_of(answer.text), path
            else:
                assert answer.headers["content-type"].split(";")[0] not in ("image/svg+xml", "application/xhtml+xml")


def test_blobs_are_downloads_and_never_pages(world: World) -> None:
    for key in world.keys("paper"):
        for base in ("/tables", "/api/tables"):
            answer = world.get(f"{base}/paper/{key}/content.bin")
            assert answer.status_code == 200
            kind = answer.headers["content-type"].split(";")[0]
            assert kind in ("application/octet-stream", "image/png", "image/jpeg", "image/gif", "image/webp"), kind
            said = answer.headers["content-disposition"]
            assert said.startswith("attachment") or kind.startswith("image/")
            assert "x-evil" not in answer.headers
            assert not set("\r\n<>") & set(said)


def test_names_of_downloads_cannot_forge_headers(world: World) -> None:
    for name in world.specs:
        for suffix in ("csv", "json"):
            answer = world.get(f"/tables/{name}.{suffix}?limit=1")
            said = answer.headers["content-disposition"]
            assert re.fullmatch(
                r"attachment; filename=\"[A-Za-z0-9 ()'._-]+\"(; filename\*=UTF-8''[A-Za-z0-9%._-]+)?", said
            ), said


def test_data_within_scripts_and_attributes_cannot_leave_them(world: World) -> None:
    """JSON in a page (if any) is in attributes or in scripts of type application/json, where `</` is escaped."""
    for path in ("/tables/wide", "/tables/sale", "/tables/sale/2/edit", "/drawn", "/-/status"):
        text = world.get(path).text
        for attributes, body in re.findall(r"<script([^>]*)>(.*?)</script>", text, re.S):
            if body.strip():
                assert 'type="application/json"' in attributes
                json.loads(body)


def test_links_of_pages_stay_within(world: World) -> None:
    for path in ("/tables/sale", "/tables/wide", "/drawn", "/outbox", "/", "/-/account", "/-/sign-in"):
        page = Page(world.get(path).text)
        assert not page.faults
        for form in page.forms:
            assert form.get("action", "").startswith(("/", "", "?"))


def test_templates_do_not_run_what_the_data_says(world: World) -> None:
    assert VALUES[5] in MARKUP
    page = world.get("/tables/sale?limit=100&columns=label").text
    assert f"{{{{ {MARK}.__class__ }}}}" in page
    answer = world.post("/tables/sale/new", {"amount": "{{7*7}}", "label": "${7*7}#{7*7}<%= 7*7 %>{0.__class__}%(x)s"})
    assert "49" not in re.sub(r"[0-9a-f]{8,}", "", answer.text).split("<main", 1)[-1].split("</main", 1)[0]
