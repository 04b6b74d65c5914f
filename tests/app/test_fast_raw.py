"""Bytes on the socket, the same either way: split, several at once, malformed, too large, smuggled; slow readers."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.app.both_ways import LIMITS, TOKEN, Both, Door, Line, both_ways, raw
from tests.servers import wait_until

ROW = "/api/tables/customer/1"
HEADERS = ("Accept: application/json", "User-Agent: raw/1", f"Authorization: Bearer {TOKEN}")
SEEDS = 150


def request(target: str = ROW, *more: str, line: str = "") -> bytes:
    return "\r\n".join([line or f"GET {target} HTTP/1.1", "Host: 127.0.0.1", *HEADERS, *more, "", ""]).encode("latin-1")


LAST = request("/api/tables/customer/2", "Connection: close")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with both_ways(tmp_path_factory.mktemp("raw"), limits=LIMITS) as both:
        warm(both)
        yield both


def warm(both: Both, path: str = ROW) -> None:
    line, hits = Line(both.fast), both.shelf.hits
    for _ in range(3):
        assert line.ask("GET", path, *HEADERS).status == 200
    line.close()
    assert both.shelf.hits > hits


def same(both: Both, *pieces: bytes, pause: float = 0.0) -> bytes:
    """What both doors say to `pieces`, which must be the same.

    Tried again a few times: a server that closes while bytes to it are on their way resets the connection, and then
    what it has said last may be lost on either side; and on a busy machine pieces are read together.
    """
    for _ in range(4):
        with ThreadPoolExecutor(2) as pool:
            ways = [pool.submit(raw, door, *pieces, pause=pause) for door in (both.fast, both.slow)]
            fast, slow = (way.result() for way in ways)
        if fast == slow:
            return fast
    raise AssertionError(f"{pieces}\nfast: {fast!r}\nslow: {slow!r}")


def test_a_request_may_be_split_at_any_byte(both: Both) -> None:
    whole = request()
    for cut in range(1, len(whole)):
        assert same(both, whole[:cut], whole[cut:], LAST, pause=0.002).count(b"HTTP/1.1 200 OK") == 2


def test_several_requests_at_once_are_answered_in_order(both: Both) -> None:
    hits = both.shelf.hits
    one, other = request(), request("/api/tables/customer/3")
    for pieces in (
        (one + LAST,), (one, one, one + other, LAST), (one + one + other + one + LAST,),
        (one, other[:20], other[20:] + LAST),
        (one + b"\r\n", LAST), (b"\r\n" + one, LAST), (one + other[:50], other[50:], one, LAST),
    ):  # fmt: skip
        said = same(both, *pieces, pause=0.01)
        assert said.count(b"HTTP/1.1 200 OK") == sum(piece.count(b"HTTP/1.1\r\n") for piece in [b"".join(pieces)])
    assert both.shelf.hits > hits


def test_a_body_that_looks_like_a_request_is_a_body_although_it_comes_by_itself(both: Both) -> None:
    for target in (ROW, "/api/tables/customer"):
        head = request(target, f"Content-Length: {len(request())}")
        assert same(both, request(), head, request(), LAST, pause=0.05).count(b"HTTP/1.1 200 OK") == 3


def test_an_answer_that_is_ready_does_not_overtake_one_that_is_not(both: Both) -> None:
    hits = both.shelf.hits
    for _ in range(5):
        said = same(both, request(), request("/openapi.json"), request(), LAST, pause=0.01)
        assert said.count(b"HTTP/1.1 200 OK") == 4
        assert said.rindex(b'"openapi"') < said.rindex(b'"_key":"1"') < said.rindex(b'"_key":"2"')
    assert both.shelf.hits > hits


HOSTILE = {
    "length and chunks": request(ROW, "Content-Length: 4", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "chunks": request(ROW, "Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n",
    "chunks, obscured": request(ROW, "Transfer-Encoding: xchunked") + b"0\r\n\r\n",
    "a body": request(ROW, "Content-Length: 5") + b"hello",
    "a body that is a request": request(ROW, f"Content-Length: {len(request())}") + request(),
    "two lengths": request(ROW, "Content-Length: 5", "Content-Length: 6") + b"hello",
    "a length below zero": request(ROW, "Content-Length: -1"),
    "no body said": request(ROW, "Content-Length: 0"),
    "a folded header": request(ROW, "X-Long: one\r\n two"),
    "a folded condition": request(ROW, 'If-None-Match: "one"\r\n , "two"'),
    "two conditions": request(ROW, 'If-None-Match: "one"', 'If-None-Match: "two"'),
    "bare line feeds": request().replace(b"\r\n", b"\n"),
    "one bare line feed": request().replace(b"\r\nUser", b"\nUser"),
    "bare returns": request().replace(b"\r\nUser", b"\rUser"),
    "two hosts": request(ROW, "Host: evil.example"),
    "the same host twice": request(ROW, "Host: 127.0.0.1"),
    "another host": request().replace(b"Host: 127.0.0.1", b"Host: evil.example"),
    "no host": request().replace(b"Host: 127.0.0.1\r\n", b""),
    "absolute form": request(line=f"GET http://127.0.0.1{ROW} HTTP/1.1"),
    "absolute form of another": request(line=f"GET http://evil.example{ROW} HTTP/1.1"),
    "version 1.0": request(line=f"GET {ROW} HTTP/1.0"),
    "version 1.0 that stays": request(ROW, "Connection: keep-alive", line=f"GET {ROW} HTTP/1.0"),
    "version 0.9": f"GET {ROW}\r\n\r\n".encode(),
    "version 1.2": request(line=f"GET {ROW} HTTP/1.2"),
    "version 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "close": request(ROW, "Connection: close"),
    "keep alive": request(ROW, "Connection: keep-alive"),
    "close and keep alive": request(ROW, "Connection: close, keep-alive"),
    "expect": request(ROW, "Expect: 100-continue"),
    "expect something else": request(ROW, "Expect: 200-ok"),
    "an upgrade": request(ROW, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x"),
    "an upgrade to 2": request(ROW, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAA"),
    "a range": request(ROW, "Range: bytes=0-3"),
    "if match": request(ROW, 'If-Match: "other"'),
    "two spaces": request(line=f"GET  {ROW} HTTP/1.1"),
    "a tab": request(line=f"GET\t{ROW} HTTP/1.1"),
    "lower case": request(line=f"get {ROW} HTTP/1.1"),
    "a fragment": request(ROW + "#part"),
    "a null": request(ROW + "\0"),
    "a null in a header": request(ROW, "X-Null: a\0b"),
    "no ASCII": request("/api/tables/customer/\xe9"),
    "a space before the colon": request(ROW, "Accept : text/html"),
    "no colon": request(ROW, "nothing"),
    "an empty name": request(ROW, ": nothing"),
    "a long address": request("/api/" + "a" * 2000),
    "a large head": request(ROW, "X-Large: " + "a" * 5000),
    "many headers": request(ROW, *(f"X-{number}: 1" for number in range(40))),
    "an asterisk": request(line="GET * HTTP/1.1"),
    "connect": request(line="CONNECT 127.0.0.1:80 HTTP/1.1"),
    "a version in the address": request(ROW + " HTTP/1.1", line=""),
    "the line twice": request(line=f"GET {ROW} HTTP/1.1\r\nGET {ROW} HTTP/1.1"),
    "half a request": request()[:-2],
    "noise": bytes(range(256)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_malformed_or_smuggled_is_read_by_the_real_parser(both: Both, name: str) -> None:
    hostile = HOSTILE[name]
    for pieces in ((hostile, LAST), (request(), hostile, LAST), (request() + hostile + LAST,)):
        said = same(both, *pieces, pause=0.01)
        assert said.count(b"HTTP/1.") <= len(pieces) + 2


@pytest.mark.parametrize("seed", range(SEEDS))
def test_bytes_at_random_get_the_same_answer(both: Both, seed: int) -> None:
    chance = random.Random(seed)
    whole = bytearray(request(ROW, *chance.sample(_MORE, chance.randint(0, 2))))
    for _ in range(chance.choice((0, 1, 1, 1, 2, 4))):
        _change(whole, chance)
    sent = bytes(whole)
    if chance.random() < 0.3:
        sent = request() + sent
    cuts = sorted(chance.sample(range(1, len(sent)), chance.choice((0, 0, 1, 3))))
    pieces = [sent[start:end] for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    same(both, request(), *pieces, LAST, pause=0.01)


_MORE = (
    "Connection: keep-alive", 'If-None-Match: "0"', "If-None-Match: *", "Accept-Encoding: gzip", "Content-Length: 0",
    "Cookie: a=b", "X: y", "Transfer-Encoding: identity", "Host: 127.0.0.1",
)  # fmt: skip


def _change(whole: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(whole))
    deed = chance.randrange(5)
    if deed == 0:
        whole[at] = chance.choice(b'\r\n \t\0:/"%aZ\xff')
    elif deed == 1:
        whole.insert(at, chance.choice(b'\r\n \t\0:/"%aZ\xff'))
    elif deed == 2:
        del whole[at]
    elif deed == 3:
        line = chance.choice(bytes(whole).split(b"\r\n"))
        whole[at:at] = b"\r\n" + line + b"\r\n"
    else:
        whole[at:at] = whole[at : at + chance.randint(1, 30)]


def test_who_does_not_read_his_answers_costs_a_buffer_and_gets_them_all_later(both: Both) -> None:
    one, sent, hits = request(), 0, both.shelf.hits
    with both.fast.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            while sent < 100_000:
                connection.sendall(one)
                sent += 1
                if sent < 1_000:
                    time.sleep(0.001)  # each by itself, as the connection answers them; later many at once
        assert both.shelf.hits > hits + 20
        assert 1_000 < sent < 100_000, "nothing ever made the sender wait"
        assert max(each.transport.get_write_buffer_size() for each in _connections(both.fast)) < 150_000
        connection.settimeout(10)
        first, tail = b"HTTP/1.1 200 OK", b""
        while sent:
            tail += connection.recv(1 << 16)
            sent -= tail.count(first)
            tail = tail[tail.rfind(first) + len(first) :] if first in tail else tail[-len(first) :]


def _connections(door: Door) -> list:  # type: ignore[type-arg]  # uvicorn's own
    return list(door.server_state.connections)


def test_an_idle_connection_is_closed_in_time_and_one_in_use_is_not(tmp_path: Path) -> None:
    with both_ways(tmp_path / "idle", limits=replace(LIMITS, keep_alive_seconds_max=1)) as both:
        warm(both)
        line, hits = Line(both.fast), both.shelf.hits
        for _ in range(6):
            assert line.ask("GET", ROW, *HEADERS).status == 200
            time.sleep(0.4)
        assert both.shelf.hits == hits + 6
        wait_until(lambda: not _connections(both.fast), 3, "the idle connection to be closed")
        line.close()


def test_a_first_request_in_drips_is_cut_off_and_a_quick_one_is_not(both: Both) -> None:
    line = Line(both.fast)
    assert line.ask("GET", ROW, *HEADERS).status == 200
    time.sleep(1.0)  # longer than a head may take to arrive
    assert line.ask("GET", ROW, *HEADERS).status == 200
    line.close()
    assert same(both, request()[:30]) == b""
    assert same(both, request(), request()[:30], pause=0.05).count(b"HTTP/1.1 200 OK") == 1
