"""JSON APIs as backends, on a real server that dies after it has done what was asked, freezes, repeats and misleads."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from brique.backends import Basic, Bearer, Header, Http, Resource, Rung, Tag, open_backend
from brique.backends.http import HttpBackend
from brique.backends.http.line import Answer, retry_seconds
from brique.errors import BackendAway, BackendRefused, BadConfiguration
from brique.schema import Effect, Kind, Table, TableSpec, column, key, specs_of
from brique.schema.declare import BackendSpec
from tests.backends.api_server import ROWS, TOKEN, Server, api_server
from tests.servers import wait_until

CRM = BackendSpec("crm", "https://crm.example/v1")


class Item(Table, backend=CRM, source="items"):
    id: int = key(defaulted=True)
    name: str
    price: Decimal | None = column(scale=2)
    open: bool | None
    city: str | None = column("at.city")


SPEC: TableSpec = specs_of([Item])[Item]
TAG = Tag("stream", 1, "01RECEIPT")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with api_server(tmp_path / "api") as made:
        yield made


@pytest.fixture
def keyed(tmp_path: Path) -> Iterator[Server]:
    with api_server(tmp_path / "api", keys=True) as made:
        yield made


def opened(server: Server, http: Http | None = None, *, timeout: float = 3.0) -> HttpBackend:
    return HttpBackend("crm", server.url, http or Http(), timeout=timeout, connect_timeout=2.0)


def rows(backend: HttpBackend, spec: TableSpec = SPEC) -> list[tuple[Any, ...]]:
    with backend.snapshot() as snapshot:
        return [row for batch in snapshot.read(spec) for row in batch]


def fault(kind: type[BaseException], call: Callable[[], Any]) -> Any:
    with pytest.raises(kind) as caught:
        call()
    return caught.value


# reading


@pytest.mark.parametrize(
    ("source", "resource"),
    [
        ("items", None),
        ("cursor", Resource("/cursor", rows="data.items", cursor="cursor")),
        ("numbered", Resource("/numbered", page_parameter="page")),
        ("next", Resource("/next", rows="data", next="next")),
        ("whole", Resource("/whole")),
    ],
)
def test_a_list_is_read_whatever_way_it_pages(server: Server, source: str, resource: Resource | None) -> None:
    http = Http(tables={source: resource} if resource else {})
    with closing(opened(server, http)) as backend:
        found = rows(backend, SPEC.changed(source=source))
    assert found == [(n, f"Row {n}", n * 100 + 50, int(n % 2 == 0), "Dakar") for n in range(1, 8)]


def test_rows_are_fetched_by_key_and_those_that_are_gone_are_missing(server: Server) -> None:
    with closing(opened(server)) as backend:
        assert list(backend.fetch(SPEC, ["3", "999"])) == ["3"]


def test_a_list_that_has_not_changed_is_not_sent_again(server: Server) -> None:
    spec = SPEC.changed(source="whole")
    with closing(opened(server)) as backend:

        def mark() -> str | None:
            with backend.snapshot() as snapshot:
                return snapshot.mark(spec)

        first = mark()
        assert first is not None and mark() == first
        server.change(3, name="changed")
        assert mark() not in (None, first)
        with backend.snapshot() as snapshot:
            assert snapshot.mark(SPEC) is None, "it has several pages"
            assert sum(map(len, snapshot.read(SPEC))) == 7
    assert [entry["headers"].get("if-none-match") for entry in server.requests() if "whole" in entry["url"]][1]


def test_numbers_keep_their_digits_and_odd_values_come_as_they_are(server: Server) -> None:
    server.change(1, price=1234567890123.45, name=7, at={"city": ["a"]}, open="maybe")
    with closing(opened(server)) as backend:
        row = backend.fetch(SPEC, ["1"])["1"]
    assert row == {"id": 1, "name": "7", "price": 123456789012345, "open": "maybe", "city": '["a"]'}
    assert SPEC.by_name["price"].kind is Kind.DECIMAL


@pytest.mark.parametrize(
    ("mode", "said"),
    [("loop", "circle"), ("huge", "more than"), ("text", "no JSON"), ("away", "leads to another place")],
)
def test_what_misleads_is_refused(server: Server, mode: str, said: str) -> None:
    server.mode(mode)
    http = Http(tables={"next": Resource("/next", rows="data", next="next")}, page_bytes_max=1_000_000)
    with closing(opened(server, http)) as backend:
        assert said in fault(BackendRefused, lambda: rows(backend, SPEC.changed(source="next"))).message


def test_a_list_has_a_limit_and_an_answer_without_one_is_said(server: Server) -> None:
    with closing(opened(server, Http(rows_max=5))) as backend:
        assert "more than 5 rows" in fault(BackendRefused, lambda: rows(backend)).message
    with closing(opened(server, Http(tables={"items": Resource("/items", rows="data")}))) as backend:
        assert "no list of rows at data" in fault(BackendRefused, lambda: rows(backend)).message


def test_other_places_are_led_to_only_when_allowed_and_never_inside(server: Server) -> None:
    server.mode("away")
    for also, private, said in (
        ((), False, "another place"),
        (("http://127.0.0.1:9",), False, "inside"),
    ):
        with closing(opened(server, Http(also=also, private=private))) as backend:
            assert said in fault(BackendRefused, lambda b=backend: rows(b)).message
    with closing(opened(server, Http(also=("http://127.0.0.1:9",), private=True))) as backend:
        assert fault(BackendAway, lambda: rows(backend)).facts["sent"] is False


# who we are


def test_we_say_who_we_are_and_never_show_it(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("CRM_TOKEN", TOKEN)
    http = Http(auth=Bearer("CRM_TOKEN"))
    with closing(opened(server, http)) as backend:
        assert len(rows(backend)) == 7
        server.mode("busy")
        shown = f"{fault(BackendAway, lambda: rows(backend)).facts} {http!r} {vars(backend)!r}"
    assert TOKEN not in shown
    assert TOKEN not in "".join(record.getMessage() for record in caplog.records if record.name.startswith("brique"))
    monkeypatch.setenv("CRM_TOKEN", "wrong")
    server.mode("")
    with closing(opened(server, http)) as backend:
        assert "Who are you?" in fault(BackendAway, lambda: rows(backend)).message
    monkeypatch.delenv("CRM_TOKEN")
    assert "CRM_TOKEN" in fault(BadConfiguration, lambda: opened(server, http)).message


def test_the_ways_of_saying_who_we_are() -> None:
    environment = {"A": "x"}
    assert Http(auth=Basic("u", "A")).headers(environment) == {"Authorization": "Basic dTp4"}
    assert Http(auth=Header("X-Api-Key", "A")).headers(environment) == {"X-Api-Key": "x"}
    for url in ("https://u:p@host/", "ftp://host", "https://", "https://host/?a=1"):
        caught = fault(BadConfiguration, lambda u=url: HttpBackend("crm", u))
        assert "u:p" not in str(caught)


# writing


def test_rows_are_made_changed_and_deleted(server: Server) -> None:
    with closing(opened(server)) as backend, backend.session() as session:
        session.identify(TAG)
        made = session.insert(SPEC, {"name": "New", "price": 1250, "open": 1, "city": "Thiès"})
        assert made == {"id": 100}
        assert session.look(SPEC, (100,)) == {"id": 100, "name": "New", "price": 1250, "open": 1, "city": "Thiès"}
        assert session.update(SPEC, (100,), {"name": "New"}, {"name": "Newer"}) == 1
        assert session.update(SPEC, (100,), {"name": "New"}, {"name": "x"}) == 0
        assert session.update(SPEC, (999,), {"name": "New"}, {"name": "x"}) == 0
        assert session.delete(SPEC, (100,), {"name": "New"}) == 0
        assert session.delete(SPEC, (100,), {"name": "Newer"}) == 1
        assert session.delete(SPEC, (100,), {"name": "Newer"}) == 0
    assert server.rows() == ROWS
    writes = [entry for entry in server.requests() if entry["method"] not in ("GET", "HEAD")]
    assert [entry["headers"]["idempotency-key"] for entry in writes] == [TAG.id, f"{TAG.id}.2", f"{TAG.id}.3"]
    assert all("if-match" in entry["headers"] for entry in writes[1:])
    assert writes[0]["body"] == '{"name":"New","price":"12.50","open":true,"at":{"city":"Thiès"}}'


def test_an_api_that_puts_and_wants_numbers(server: Server) -> None:
    resource = Resource("/items", create="PUT", change="PUT", delete=False)
    http = Http(tables={"items": resource}, decimals="number")
    with closing(opened(server, http)) as backend, backend.session() as session:
        assert session.insert(SPEC, {"id": 50, "name": "Put", "price": 1205}) == {"id": 50}
        assert session.update(SPEC, (50,), {"name": "Put"}, {"name": "Again"}) == 1
        assert "deletions" in fault(BackendRefused, lambda: session.delete(SPEC, (50,), {})).message
    assert server.rows()[-1]["price"] == 12.05 and server.rows()[-1]["name"] == "Again"


def test_what_the_api_says_is_told(server: Server) -> None:
    with closing(opened(server)) as backend, backend.session() as session:
        caught = fault(BackendRefused, lambda: session.insert(SPEC, {"name": "bad"}))
        assert "422 Not that name (name: is bad)" in caught.message


def test_a_path_is_called(server: Server) -> None:
    with closing(opened(server)) as backend, backend.session() as session:
        session.identify(TAG)
        assert session.call(Effect("/jobs", {"kind": "close"})) == {"job": 1, "kind": "close"}
        for path in ("http://evil.example/x", "//evil.example/x", "/../admin"):
            fault(BackendRefused, lambda p=path: session.call(Effect(p, {})))


def test_the_rung_is_what_the_api_promises(server: Server) -> None:
    with closing(opened(server, Http(idempotent=True))) as backend:
        assert backend.prepare(True).rung is Rung.GUARD
    with closing(opened(server)) as backend:
        prepared = backend.prepare(True)
        assert prepared.rung is Rung.NATURAL_KEY and prepared.reason and not prepared.abilities.transactions


# what is lost


@pytest.mark.parametrize("mode", ["die-after", "freeze-after"])
def test_what_is_sent_again_under_its_key_is_done_once(keyed: Server, mode: str) -> None:
    keyed.mode(mode)
    with closing(opened(keyed, Http(idempotent=True))) as backend:

        def insert() -> Any:
            with backend.session() as session:
                session.identify(TAG)
                return session.insert(SPEC, {"name": "Once"})

        assert fault(BackendAway, insert).facts["at_commit"] is True
        keyed.mode("")
        keyed.stop()
        keyed.start()
        assert insert() == insert() == {"id": 100}
    assert [row["name"] for row in keyed.rows()].count("Once") == 1


def test_a_server_that_is_not_there_has_taken_nothing(server: Server) -> None:
    with closing(opened(server)) as backend:
        server.stop()
        with backend.session() as session:
            caught = fault(BackendAway, lambda: session.insert(SPEC, {"name": "x"}))
        assert "at_commit" not in caught.facts
        with pytest.raises(BackendAway):
            backend.ping(1.0)
        server.start()
        backend.ping(5.0)


def test_an_error_of_the_server_leaves_it_open_whether_it_was_done(server: Server) -> None:
    server.mode("broken")
    with closing(opened(server)) as backend, backend.session() as session:
        session.identify(TAG)
        caught = fault(BackendAway, lambda: session.call(Effect("/jobs", {})))
        assert caught.facts["at_commit"] is True and "500 Oops" in caught.message


def test_a_server_that_asks_for_a_pause_gets_it(server: Server) -> None:
    server.mode("busy")
    with closing(opened(server)) as backend:
        assert "503 Too busy" in fault(BackendAway, lambda: rows(backend)).message
        asked = len(server.requests())
        assert "left alone" in fault(BackendAway, lambda: rows(backend)).message
        assert len(server.requests()) == asked
        server.mode("")
        wait_until(lambda: _works(backend), 20, "the end of the pause")


def _works(backend: HttpBackend) -> bool:
    try:
        return len(rows(backend)) == 7
    except BackendAway:
        return False


def test_a_frozen_server_ends_a_call_in_time_and_abort_at_once(server: Server) -> None:
    with closing(opened(server, timeout=3.0)) as backend:
        backend.ping(5.0)
        server.signal(signal.SIGSTOP)
        began = time.monotonic()
        fault(BackendAway, lambda: rows(backend))
        assert time.monotonic() - began < 10
        faults: list[Any] = []
        thread = threading.Thread(target=lambda: faults.append(fault(BackendAway, lambda: rows(backend))))
        began = time.monotonic()
        thread.start()
        while thread.is_alive() and time.monotonic() - began < 10:
            backend.abort()
            thread.join(0.05)
        assert faults and time.monotonic() - began < 2.5
        server.signal(signal.SIGCONT)
        assert len(rows(backend)) == 7
    with pytest.raises(BackendAway):
        backend.ping(1.0)


def test_links_and_pauses_are_understood() -> None:
    link = '<https://a/x,y?p=1>; title="a, b"; rel="prev next", <https://a/2>; rel=last'
    assert Answer(200, {"link": link}, b"", "https://a/").link("next") == "https://a/x,y?p=1"
    assert Answer(200, {"link": '<?p=2>; rel="next"'}, b"", "https://a/list?p=1").link("next") == "https://a/list?p=2"
    assert Answer(200, {"link": "<x>; rel=nextish"}, b"", "https://a/").link("next") == ""
    assert retry_seconds("7", "") == 7
    assert retry_seconds("Fri, 20 Nov 2026 10:00:05 GMT", "Fri, 20 Nov 2026 10:00:00 GMT") == 5
    assert retry_seconds("soon", "") == 0


def test_it_is_opened_by_its_address(server: Server) -> None:
    with closing(open_backend("crm", server.url, options={"http": Http(rows_max=9)})) as backend:
        assert isinstance(backend, HttpBackend) and backend.http.rows_max == 9
