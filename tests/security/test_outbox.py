"""Decisions about commands: nobody reaches another one's, nobody takes another one's receipt, and what a database says
in its reasons is text on every page and in every terminal."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from brique.cli.tell import filled, shown, tell
from brique.errors import BackendRefused
from brique.schema import State
from tests.security.nasty import MARK, MARKUP
from tests.security.reading import faults_of
from tests.security.world import Caller, World, running
from tests.servers import wait_until

REASON = f"<script>{MARK}(9)</script>\x1b[2J{{receipt:>999999999}}{{theirs}}\r\nSet-Cookie: a=b"


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Its database refuses new sales, in hostile words."""
    folder = tmp_path_factory.mktemp("refusing")
    with running(folder, declared=False) as made:
        with closing(sqlite3.connect(folder / "nasty.db")) as db, db:
            words = REASON.replace("'", "''")
            db.execute(
                "CREATE TRIGGER hostile BEFORE INSERT ON sale WHEN new.label = 'no' "
                f"BEGIN SELECT RAISE(ABORT, '{words}'); END"
            )
        yield made


def give(world: World, label: str = "no") -> str:
    """The receipt of a command of the user `writeer`; of a refused one with the label `no`."""
    answer = world.request("token-write", "POST", "/api/tables/sale", json={"label": label, "note": MARKUP[0]})
    receipt = str(answer.json().get("receipt") or answer.headers.get("brique-receipt"))
    wait_until(lambda: state_of(world, receipt).settled, 30, "it has settled")
    return receipt


def state_of(world: World, receipt: str) -> State:
    return State(world.api(f"/api/outbox/{receipt}").json()["state"])


def test_a_form_cannot_take_the_receipt_of_somebody_elses_command(refusing: World) -> None:
    """With it went the key under which a backend knows that command, and its rows that have no number yet."""
    world = refusing
    receipt = give(world, "yes")
    other = world.session("adminer", "admin")
    before = world.api("/api/outbox").json()["counts"]
    for token in (f"receipt {receipt}", "receipt ", "receipt ../../etc", f"receipt {'x' * 65}", "x" * 500, "a\nb"):
        answer = world.post("/tables/sale/new", {"label": "mine", "_token": token}, who=other)
        assert answer.status_code == 422, (token, answer.status_code)
        answer = world.post("/tables/sale/1/delete", {"_token": token}, who=other)
        assert answer.status_code == 422, (token, answer.status_code)
    assert world.api("/api/outbox").json()["counts"] == before


def test_nobody_decides_about_the_commands_of_others_by_any_way(refusing: World) -> None:
    world = refusing
    receipt = give(world)
    item = world.api(f"/api/outbox/{receipt}").json()
    [cause] = [one["cause"] for one in world.api("/api/outbox/causes").json()["causes"]]
    world.site.accounts.create_user("stranger", "cheval agrafe pile", "write")
    stranger, reader = world.session("stranger", "write"), world.callers["session-read"]
    for who in (stranger, reader):
        refuse_all(world, who, receipt, cause)
    told = world.request(stranger, "GET", "/api/outbox/causes", headers={"Accept": "application/json"}).json()
    assert told["causes"] == [], "not even how many there are"
    assert world.api(f"/api/outbox/{receipt}").json() == item, "nothing has become of it"
    assert world.post("/-/status/adopt", {"backend": "nasty", "mark": "1"}, who=stranger).status_code == 403
    world.site.accounts.set_role("writeer", "read")
    try:
        demoted = world.session("writeer", "read")
        for act in ("dismiss", "retry"):
            answer = world.post("/outbox", {"act": act, "receipt": receipt, "_token": "d"}, who=demoted)
            assert answer.status_code in (200, 403)
        assert world.api(f"/api/outbox/{receipt}").json() == item, (
            "who may only read decides nothing, of his own either"
        )
    finally:
        world.site.accounts.set_role("writeer", "write")


def refuse_all(world: World, who: Caller, receipt: str, cause: str) -> None:
    """Every way to see or decide about a command that is not one's own leads nowhere."""
    for path in (
        f"/outbox/{receipt}",
        f"/outbox/{receipt}/edit",
        f"/api/outbox/{receipt}",
        f"/api/outbox/{receipt}/audit",
    ):
        assert world.get(path, who=who).status_code in (403, 404), path
    for act, body in (("retry", {}), ("edit", {"values": {"label": "x"}}), ("withdraw", {}), ("dismiss", {})):
        answer = world.request(
            who, "POST", f"/api/outbox/{receipt}/{act}", headers={"X-CSRF-Token": who.csrf}, json=body
        )
        assert answer.status_code in (403, 404), (act, answer.status_code)
    for body in (
        {"act": "retry", "receipts": [receipt]},
        {"act": "dismiss", "cause": cause, "user": "writeer"},
        {"act": "dismiss", "cause": cause},
    ):
        answer = world.request(who, "POST", "/api/outbox", headers={"X-CSRF-Token": who.csrf}, json=body)
        assert answer.status_code in (403, 404, 405) or answer.json()["done"] == 0, (body, answer.text[:300])
    for form in ({"receipt": receipt}, {"cause": cause, "whose": "@writeer"}, {"cause": cause, "whose": "all"}):
        answer = world.post("/outbox", {"act": "dismiss", "_token": "t", **form}, who=who)
        assert answer.status_code in (200, 303, 403), form
        assert REASON[:10] not in answer.text


def test_reasons_in_hostile_words_are_text_on_every_page_of_decisions(refusing: World) -> None:
    world = refusing
    receipts = [give(world) for _ in range(2)]
    [cause] = [one["cause"] for one in world.api("/api/outbox/causes").json()["causes"]]
    paths = ["/outbox", "/outbox?state=all", "/outbox?state=needs", f"/outbox?cause={cause}", "/-/status"]
    paths += [f"/outbox/{receipts[0]}", f"/outbox/{receipts[0]}/edit"]
    for path in paths:
        answer = world.get(path)
        assert answer.status_code == 200 and len(answer.content) < 2_000_000, (path, answer.status_code)
        assert not faults_of(answer.text), (path, faults_of(answer.text)[:3])
    assert MARK in world.get(f"/outbox/{receipts[0]}").text
    done = world.post("/outbox", {"act": "retry", "receipt": MARKUP[0], "_token": "many"})
    assert done.status_code == 200 and not faults_of(done.text)
    again = world.request("token-admin", "POST", f"/api/outbox/{receipts[1]}/retry", json={})
    assert "set-cookie" not in again.headers and len(again.content) < 100_000


def test_no_terminal_acts_on_the_words_of_a_backend(capsys: pytest.CaptureFixture[str]) -> None:
    fault = BackendRefused(f"It says: {REASON}{{a.__class__}}\x9b31m", receipt="R", a="b", theirs="their row")
    assert "{receipt:>999999999}" in filled(fault, fault.message) and "{a.__class__}" in filled(fault, fault.message)
    tell(fault)
    told = capsys.readouterr().err
    assert "\x1b" not in told and "\x9b" not in told and "\r" not in told
    assert shown("déjà — ici\nlà") == "déjà — ici\nlà"
