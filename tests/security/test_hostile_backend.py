"""A backend that is out to do harm, or only odd: its rows, answers and words stop neither brique nor other people."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from brique.backends.http import Http, HttpBackend, Resource
from brique.backends.http.values import parse, told
from brique.backends.mail import MailBackend
from brique.backends.mongodb.documents import Documents
from brique.backends.mongodb.values import from_json_text, to_bson
from brique.errors import BackendAway, BackendRefused
from brique.schema import Change, Column, Effect, Kind, State, TableSpec
from brique.spool import SpoolLimits
from tests.commands.world import World

ITEM = TableSpec(
    name="item", source="items", backend="api", label="Item", key=("id",),
    columns=(Column("id", "id", Kind.TEXT, "Id", nullable=False), Column("n", "n", Kind.DECIMAL, "N"),
     Column("i", "i", Kind.INTEGER, "I"), Column("t", "t", Kind.TEXT, "T"), Column("j", "j", Kind.JSON, "J"),
     Column("a", "a", Kind.ANY, "A")),
)  # fmt: skip


@contextmanager
def answering(body: bytes, status: int = 200) -> Iterator[tuple[str, list[str]]]:
    """An API that answers everything with `body`; its address, and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path}")
            self.rfile.read(int(self.headers.get("content-length") or 0))
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_numbers_without_measure_cost_an_api_answer_no_more_than_their_letters() -> None:
    bomb = b'[{"id": "1", "n": 1.5e99999999, "i": 1.5e99999999, "t": 1e999999999, "j": [1e99999999], "a": 1.5e9999999}]'
    with answering(bomb) as (url, _), closing(HttpBackend("api", url)) as backend, backend.snapshot() as snapshot:
        started = time.monotonic()
        [[row]] = list(snapshot.read(ITEM))
    assert time.monotonic() - started < 5
    assert row == ("1", "1.5e99999999", "1.5e99999999", "1e999999999", '["1e99999999"]', "1.5e9999999")


def test_values_within_values_and_half_letters_of_an_api_are_told_or_mended() -> None:
    deep = b'[{"id": "1", "a": ' + b"[" * 800 + b"]" * 800 + b"}]"
    deeper = b"[" * 60_000
    for body in (deep, deeper):
        with (
            answering(body) as (url, _),
            closing(HttpBackend("api", url)) as backend,
            backend.snapshot() as snapshot,
            pytest.raises(BackendRefused),
        ):
            list(snapshot.read(ITEM))
    assert told(deeper, 500).startswith("500 ")
    with (
        answering(deeper, 422) as (url, _),
        closing(HttpBackend("api", url)) as backend,
        backend.session() as session,
        pytest.raises(BackendRefused, match="422"),
    ):
        session.call(Effect("charge", {"n": 1}))
    cut = parse(b'{"\\ud800": ["a\\ud83d", "\\ud83d\\ude00"]}')
    assert cut == {"\ufffd": ["a\ufffd", "\U0001f600"]}


@pytest.mark.parametrize("key", ["..", ".", ""])
def test_no_key_leads_out_of_the_list_that_it_is_of(key: str) -> None:
    """Else `DELETE /items/..` would be a deletion of another thing."""
    with answering(b"{}") as (url, asked), closing(HttpBackend("api", url, Http())) as backend:
        with backend.session() as session:
            for act in (
                lambda: session.delete(ITEM, (key,), {}),
                lambda: session.update(ITEM, (key,), {}, {"t": "x"}),
                lambda: session.look(ITEM, (key,)),
            ):
                with pytest.raises(BackendRefused, match="no address of its own"):
                    act()
        assert backend.fetch(ITEM, ["~2E~2E~2Fx"]) is not None
    assert asked == ["GET /v1/items/..%2Fx"], asked


def test_a_name_that_stands_for_another_address_a_moment_later_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, looked_up = socket.getaddrinfo, []

    def rebinding(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        if host != "files.example.test":
            return whole(host, port, *rest, **more)
        looked_up.append(host)
        return whole("192.0.32.8" if len(looked_up) == 1 else "127.0.0.1", port, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    with answering(b"[]") as (inside, asked):
        elsewhere = inside.replace("127.0.0.1", "files.example.test")
        body = msgspec.json.encode({"rows": [], "next": f"{elsewhere}/secret"})
        http = Http(tables={"items": Resource("/items", rows="rows", next="next")}, also=(elsewhere,))
        with (
            answering(body) as (url, _),
            closing(HttpBackend("api", url, http)) as backend,
            backend.snapshot() as snapshot,
            pytest.raises(BackendAway, match="an address inside"),
        ):
            list(snapshot.read(ITEM))
    assert looked_up and asked == []


def test_what_a_call_is_answered_with_is_kept_in_bounds() -> None:
    body = msgspec.json.encode(
        {"long": "x" * 5_000_000, "big": 10**50, "deep": [1], **{f"n{n}": n for n in range(500)}}
    )
    with answering(body) as (url, _), closing(HttpBackend("api", url)) as backend, backend.session() as session:
        row = session.call(Effect("charge", {}))
    assert len(msgspec.msgpack.encode(row)) < 20_000 and row["big"] == str(10**50) and "deep" not in row


@pytest.mark.parametrize("line", [b"220-hello\r\n", b"220-" + b"x" * 7000 + b"\r\n"])
def test_a_mail_server_that_never_ends_its_answer_is_left(line: bytes) -> None:
    """With 60 seconds to answer in, it could else fill the memory."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def talk() -> None:
            connection, _ = listener.accept()
            with closing(connection):
                try:
                    while True:
                        connection.sendall(line * 100)
                except OSError:
                    pass

        thread = threading.Thread(target=talk)
        thread.start()
        url = f"smtp://127.0.0.1:{listener.getsockname()[1]}?tls=no"
        with closing(MailBackend("mail", url, sender="a@example.org", timeout=30)) as backend:
            started = time.monotonic()
            with pytest.raises(BackendAway, match="too many lines"):
                backend.ping(30)
        assert time.monotonic() - started < 10
        thread.join()


@pytest.mark.parametrize(
    "text",
    [
        '{"$oid": "zz"}',
        '{"$numberDecimal": "x"}',
        '{"$date": 1e400}',
        '{"$date": {"$numberLong": "99999999999999999999"}}',
    ],
)
def test_json_that_means_nothing_to_mongodb_is_refused_and_no_mistake_of_ours(text: str) -> None:
    with pytest.raises(ValueError, match="not JSON"):
        from_json_text(text)
    with pytest.raises(BackendRefused):
        to_bson(ITEM.by_name["j"], text)


@pytest.mark.parametrize(
    "key", ['{"$ne": null}', '{"$gt": ""}', '{"$regularExpression": {"pattern": "", "options": ""}}']
)
def test_a_key_is_what_mongodb_looks_for_and_never_how_it_looks(key: str) -> None:
    for source in ("_id", "code"):
        first = Column("id", source, Kind.JSON, "Id", nullable=False)
        where = Documents(ITEM.changed(columns=(first, *ITEM.columns[1:]))).where((key,))
        assert list(where) == [source] and list(where[source]) == ["$eq"], where


def test_a_value_that_a_driver_stumbles_over_ends_its_command_and_nothing_else(tmp_path: Path) -> None:
    """Whoever may write could else stop a backend's lane for everybody: sent again and again, it would end the
    process each time."""
    world = World(tmp_path)
    try:
        before = [world.update("item", "A", stock=5), world.update("item", "B", stock=6)]
        odd = world.update("item", "C", stock=7)
        behind = world.create("item", code="E", name="e")
        with stumbling(world, odd.command.changes[0]):
            world.replay()
        assert [world.state(one) for one in (*before, behind)] == [State.APPLIED] * 3
        assert world.state(odd) is State.REFUSED
        assert "DecimalException" in world.reader.command(odd.command.id).reason  # type: ignore[union-attr]
    finally:
        world.close()


@contextmanager
def stumbling(world: World, over: Change) -> Iterator[None]:
    """The backend's driver stumbles over this change, as one did over a decimal that is none."""
    whole: Callable[[], Any] = world.backend.session

    @contextmanager
    def session() -> Iterator[Any]:
        with whole() as real:
            yield Odd(real, over)

    world.backend.session = session  # type: ignore[method-assign]
    try:
        yield
    finally:
        world.backend.session = whole  # type: ignore[method-assign]


class Odd:
    """A real session, but for one change."""

    def __init__(self, real: Any, over: Change) -> None:
        self._real, self._over = real, over

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def apply(self, changes: Any) -> Any:
        if any(change == self._over for _, change in changes):
            raise DecimalException("over a value")
        return self._real.apply(changes)

    def update(self, spec: TableSpec, key: Any, before: Any, after: Any) -> int:
        if after == self._over.after and key == spec.key_values(self._over.key):
            raise DecimalException("over a value")
        return int(self._real.update(spec, key, before, after))


class DecimalException(ArithmeticError):
    pass


def test_a_row_too_large_to_be_kept_beside_a_conflict_stops_nobody(tmp_path: Path) -> None:
    world = World(tmp_path)
    try:
        world.erp("UPDATE item SET name = 'theirs ' || hex(zeroblob(40000)) WHERE code = 'A'")
        lost = world.update("item", "A", name="mine")
        other = world.update("item", "B", stock=6)
        world.spool.limits = SpoolLimits(free_bytes_min=0, payload_bytes_max=50_000)
        world.replay()
        assert (world.state(lost), world.state(other)) == (State.CONFLICT, State.APPLIED)
    finally:
        world.close()
