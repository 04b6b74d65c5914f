"""Whole intranets: clicks while the backend is frozen, notices to authors, decisions on the command line."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from brique import Intranet
from brique.app.notifying import Notifying
from brique.app.outbox import Asked, Outbox
from brique.app.run_file import Run, write_run
from brique.app.sources import from_data
from brique.clock import SystemClock
from brique.errors import Busy
from brique.schema import State
from brique.settings import Settings
from tests.app.site import SECONDS, Running, running
from tests.backends.smtp_server import Server, mail_server
from tests.pages.writing import fields, hidden
from tests.postgres import PostgresServer
from tests.servers import wait_until

SCHEMA = """
CREATE TABLE counter (id int PRIMARY KEY, name text NOT NULL, n int NOT NULL CHECK (n < 100));
CREATE TABLE event (id serial PRIMARY KEY, name text NOT NULL);
INSERT INTO counter VALUES (1, 'one', 1), (2, 'two', 2);
"""
PASSWORD = "cheval agrafe pile"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with mail_server(tmp_path / "smtp") as made:
        yield made


def at_once(ask: Any, times: int = 3) -> list[httpx.Response]:
    """The same request from so many threads, let go together."""
    gate = threading.Barrier(times)

    def go(_number: int) -> httpx.Response:
        gate.wait()
        answer: httpx.Response = ask()
        return answer

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(go, range(times)))


def served(url: str, data: Path) -> Intranet:
    data.mkdir(exist_ok=True)
    return from_data([url], data, refresh_seconds=0.5, marker=True)


def test_three_clicks_at_once_on_a_frozen_backend_are_one_row(tmp_path: Path, own_postgres: PostgresServer) -> None:
    url = own_postgres.make_database("clicks", SCHEMA)
    with running(served(url, tmp_path / "data"), tmp_path / "data") as site:
        site.loaded("counter", "event")
        own_postgres.freeze()
        try:
            body = {"name": "by the API"}
            for headers in ({"Idempotency-Key": "three"}, {"Brique-Receipt": "3b241101-e2bb-4255-8caf-4136c566a962"}):
                answers = at_once(lambda h=headers: site.ask("POST", "/api/tables/event", json=body, headers=h))
                assert [answer.status_code for answer in answers] == [202] * 3
                assert len({answer.json()["receipt"] for answer in answers}) == 1
                wrong = site.ask("POST", "/api/tables/event", json={"name": "other"}, headers=headers)
                assert wrong.status_code == 422 and wrong.json()["code"] == "idempotency-key-reused"
            # a key of its own: the second click would find the first one's row
            answers = at_once(
                lambda: site.ask(
                    "POST",
                    "/api/tables/counter",
                    json={"id": 7, "name": "x", "n": 7},
                    headers={"Idempotency-Key": "k7"},
                )
            )
            assert [answer.status_code for answer in answers] == [202] * 3
            by_form(site)
            assert len(site.commands()) == 4
        finally:
            own_postgres.thaw()
        for item in site.commands():
            assert site.settled(item.command.id).state is State.APPLIED
        rows = own_postgres_rows(url, "SELECT name FROM event ORDER BY name")
        assert rows == [("by form",), ("by the API",), ("by the API",)]
        assert own_postgres_rows(url, "SELECT count(*) FROM counter") == [(3,)]


def own_postgres_rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()


def by_form(site: Running) -> None:
    """Three clicks on the button of one form, and then the same form with other values."""
    site.site.accounts.create_user("walid", PASSWORD, "write")
    opened = site.site.accounts.open_session("walid", agent="test", address="10.0.0.7", replaces="")
    cookies = {f"brique_{site.site.accounts.instance}": opened.id}
    headers = {"Accept": "text/html", "Origin": "http://127.0.0.1"}

    def ask(method: str, path: str, **more: Any) -> httpx.Response:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(site.site.asgi)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://127.0.0.1", headers=headers, cookies=cookies, timeout=60
            ) as client:
                return await client.request(method, path, **more)

        return asyncio.run(asked())

    page = ask("GET", "/tables/event/new")
    values = {**hidden(page.text, "/tables/event/new"), **fields(page.text), "name": "by form"}
    answers = at_once(lambda: ask("POST", "/tables/event/new", data=values))
    assert [answer.status_code for answer in answers] == [303] * 3
    assert len({answer.headers["location"] for answer in answers}) == 1
    wrong = ask("POST", "/tables/event/new", data=values | {"name": "another"})
    assert wrong.status_code == 422 and "sent before" in wrong.text


def refuse(site: Running, count: int) -> list[str]:
    """So many commands that the backend refuses."""
    receipts = []
    for number in range(count):
        answer = site.ask("PATCH", "/api/tables/counter/1", json={"n": 100 + number}, headers={"Prefer": "wait=0"})
        receipts.append(str(answer.json()["receipt"]))
        site.settled(receipts[-1])
    return receipts


def test_an_author_is_told_by_an_intranet_in_one_process_too(
    tmp_path: Path, postgres: PostgresServer, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brique.app.notifying.LOOK_SECONDS", 0.2)
    intranet = served(postgres.make_database("", SCHEMA), tmp_path / "data")
    (tmp_path / "mails").mkdir()
    intranet.mail(server.url, sender="Intranet <intranet@example.org>", templates=tmp_path / "mails")
    with running(intranet, tmp_path / "data", public_url="https://intranet.example.org") as site:
        site.loaded("counter")
        site.site.accounts.create_user("awa@example.org", PASSWORD, "admin")
        token = site.site.accounts.grant_token("script", "admin", owner="awa@example.org").value
        headers = {"Authorization": f"Bearer {token}", "Prefer": "wait=0"}
        site.ask("PATCH", "/api/tables/counter/1", json={"n": 100}, headers=headers)
        wait_until(lambda: len(server.mails()) == 1, SECONDS, "the mail")
        assert server.mails()[0]["to"] == ["awa@example.org"]


def test_an_author_gets_one_mail_about_all_that_needs_him(
    tmp_path: Path, postgres: PostgresServer, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brique.app.notifying.LOOK_SECONDS", 3600.0)  # this test looks itself
    data = tmp_path / "data"
    intranet = served(postgres.make_database("", SCHEMA), data)
    (tmp_path / "mails").mkdir()
    intranet.mail(server.url, sender="Intranet <intranet@example.org>", templates=tmp_path / "mails")
    with running(intranet, data, public_url="https://intranet.example.org", notice_minutes=10.0) as site:
        site.loaded("counter")
        accounts = site.site.accounts
        accounts.create_user("awa@example.org", PASSWORD, "admin")
        token = accounts.grant_token("script", "admin", owner="awa@example.org").value
        mine = {"Authorization": f"Bearer {token}"}
        receipts = []
        for number in range(3):
            body = {"n": 100 + number}
            answer = site.ask("PATCH", "/api/tables/counter/1", json=body, headers=mine | {"Prefer": "wait=0"})
            receipts.append(answer.json()["receipt"])
            assert site.settled(receipts[-1]).state is State.REFUSED
        refuse(site, 1)  # of a token without account: nobody to tell
        notifying = Notifying(site.site.declared, site.site.settings, SystemClock(), accounts)
        with closing(notifying):
            notices = notifying.look()
            assert [give.command.user for give in notices] == ["awa@example.org"]
            for give in (*notices, *notices):
                asyncio.run_coroutine_threadsafe(site.site.engine.keep(give), site.site._loop).result(SECONDS)
            assert notifying.look() == [], "all are told"
            wait_until(lambda: len(server.mails()) == 1, SECONDS, "the mail")
            answer = site.ask("PATCH", "/api/tables/counter/2", json={"n": 999}, headers=mine | {"Prefer": "wait=5"})
            assert answer.status_code == 409
            assert notifying.look() == [], "the last mail was less than ten minutes ago"
        [mail] = server.mails()
        assert mail["to"] == ["awa@example.org"] and mail["headers"]["Subject"] == "3 of your entries need you"
        assert all(receipt in mail["text"] for receipt in receipts)
        assert "https://intranet.example.org/outbox?state=needs" in mail["text"]
        audit = site.ask("GET", f"/api/outbox/{receipts[0]}/audit").json()["audit"]
        assert [deed["what"] for deed in audit] == ["told"]


def test_decisions_of_the_command_line_go_through_the_engine_or_hold_its_lock(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    url = postgres.make_database("", SCHEMA)
    intranet = served(url, data)
    with running(intranet, data) as site:
        site.loaded("counter")
        receipts = refuse(site, 3)
        write_run(data, Run((url,), Settings(data=data, free_disk_bytes_min=0, spool_free_bytes_min=0).as_json()))
        with Outbox(data) as outbox:
            assert [item.command.id for item in outbox.find(Asked(("needs",)))] == receipts[::-1]
            monkeypatch.setattr("brique.app.outbox._LOCK_SECONDS", 0.1)
            with pytest.raises(Busy, match="Something else writes"):
                outbox.many("dismiss", receipts)
    with Outbox(data) as outbox:
        answer = outbox.edit(receipts[1], {"n": "42"}, lost=False)
        done = outbox.many("retry", [receipts[0], "NONE"])
        assert done[0].instead and done[0].fault is None and done[1].fault is not None
        assert outbox.many("dismiss", [receipts[2]])[0].fault is None
        one = outbox.one(receipts[1])
        assert [(deed.what, deed.origin, deed.other) for deed in one.deeds] == [("edited", "cli", answer.id)]
        assert one.deeds[0].by.startswith("cli:")
        assert outbox.one(done[0].instead).waits_for == (answer.id,), "on the same row, in order"
        assert not list(outbox.find(Asked(("needs",))))
    with running(served(url, data), data) as site:
        assert site.settled(answer.id).state is State.APPLIED
        assert site.settled(done[0].instead).state is State.REFUSED
    assert own_postgres_rows(url, "SELECT n FROM counter WHERE id = 1") == [(42,)]
