"""Streams on real sockets: parked or from a coroutine they say the same, and nobody is held up by who does not read."""

from __future__ import annotations

import select
import statistics
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from brique.http.parking import BUFFER_BYTES_MAX, Parked
from tests.live.streaming import Client, Streams, streaming
from tests.servers import wait_until
from tests.views.world import World, order, world


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path / "store.db", {}) as shop:
        yield shop


@pytest.fixture
def streams(shop: World, tmp_path: Path) -> Iterator[Streams]:
    with streaming(tmp_path, shop) as streams:
        yield streams


def parked(streams: Streams) -> list[Parked]:
    """The parked connections."""
    followers = streams.on_loop(lambda: list(streams.live._followers))
    return [follower.sink for follower in followers if isinstance(follower.sink, Parked)]


def both(streams: Streams, topics: str = "orders", **options: str) -> tuple[Client, Client]:
    """A parked client and one whose events come from a coroutine, connected one after the other."""
    clients = streams.connect(topics, **options), streams.connect(topics, plain=True, **options)  # type: ignore[arg-type]
    heads = [client.head() for client in clients]
    assert all(head.startswith("HTTP/1.1 200 OK") for head in heads)
    return clients


def test_parked_and_plain_streams_say_the_same(streams: Streams, shop: World) -> None:
    one, other = both(streams, "orders,customers")
    assert one.message() == other.message() != ""
    assert len(parked(streams)) == 1
    for number in range(5):
        shop.write("orders", order(number))
        streams.wake()
        told = one.event()
        assert told == other.event()
        assert told["topics"] == ["orders"]
    late, too_late = both(streams, "orders,customers", last="999999.aa.bb")
    assert late.event() == too_late.event()
    for client in (one, other, late):
        client.close()
    wait_until(lambda: streams.live.followers == 1, 5, "those who left are forgotten")


def test_the_heads_of_both_are_the_same(streams: Streams) -> None:
    heads = []
    for plain in (False, True):
        client = streams.connect(plain=plain)
        lines = client.head().splitlines()
        heads.append(sorted(line for line in lines if not line.startswith(("date:", "x-request-id:"))))
    assert heads[0] == heads[1]
    assert "content-type: text/event-stream; charset=utf-8" in heads[0]
    assert "cache-control: no-store" in heads[0]


@pytest.mark.parametrize("plain", [False, True])
def test_a_quiet_stream_shows_that_it_is_alive(tmp_path: Path, shop: World, plain: bool) -> None:
    with streaming(tmp_path, shop, heartbeat_seconds=0.1) as streams:
        client = streams.connect(plain=plain)
        client.head()
        assert [client.message() for _ in range(3)][1:] == [": still here"] * 2


@pytest.mark.parametrize("plain", [False, True])
def test_closing_ends_a_stream_as_an_answer_ends(streams: Streams, plain: bool) -> None:
    client = streams.connect(plain=plain)
    client.head()
    assert client.message().startswith("retry: ")
    streams.on_loop(streams.live.close)
    assert client.message() == ""
    assert client.is_over, "the last chunk was sent: a proxy knows that the answer is whole"


@pytest.mark.parametrize("plain", [False, True])
def test_whoever_may_no_longer_follow_is_told_nothing_more(streams: Streams, shop: World, plain: bool) -> None:
    grant = streams.accounts.grant_token("for-a-day", "read")
    stays, leaves = streams.connect(plain=plain), streams.connect(plain=plain, token=grant.value)
    for client in (stays, leaves):
        client.head()
        client.message()
    shop.write("orders", order(1))
    assert stays.event()["topics"] == leaves.event()["topics"] == ["orders"]
    streams.accounts.revoke_token(grant.id)
    shop.write("orders", order(2))
    assert stays.event()["topics"] == ["orders"]
    assert leaves.event() == {}
    assert leaves.is_over
    again = streams.connect(plain=plain, token=grant.value)
    assert again.head().startswith("HTTP/1.1 401")


def test_a_right_that_is_gone_ends_a_stream_without_news_too(tmp_path: Path, shop: World) -> None:
    with streaming(tmp_path, shop, heartbeat_seconds=0.1) as streams:
        grant = streams.accounts.grant_token("for-a-day", "read")
        client = streams.connect(token=grant.value)
        client.head()
        streams.accounts.revoke_token(grant.id)
        wait_until(lambda: streams.live.followers == 0, 5, "the stream ends")


def test_one_session_has_its_own_limit(tmp_path: Path, shop: World) -> None:
    with streaming(tmp_path, shop, session_followers_max=2) as streams:
        mine = [streams.connect() for _ in range(2)]
        assert all(client.head().startswith("HTTP/1.1 200") for client in mine)
        assert streams.connect().head().startswith("HTTP/1.1 503")
        other = streams.connect(token=streams.accounts.grant_token("other", "read").value)
        assert other.head().startswith("HTTP/1.1 200")
        mine[0].close()
        wait_until(lambda: streams.live.followers == 2, 5, "one has left")
        assert streams.connect().head().startswith("HTTP/1.1 200")


def test_a_parked_client_that_speaks_is_cut_off(streams: Streams) -> None:
    client = streams.connect()
    client.head()
    client.message()
    client.socket.sendall(b"GET / HTTP/1.1\r\n\r\n")
    wait_until(lambda: streams.live.followers == 0, 5, "it is cut off")


def test_parked_connections_are_not_counted_among_requests(streams: Streams) -> None:
    """The server of these tests takes 50 connections at a time."""
    clients = [streams.connect() for _ in range(60)]
    assert {client.head().splitlines()[0] for client in clients} == {"HTTP/1.1 200 OK"}
    assert len(parked(streams)) == 60


def test_parking_keeps_nothing_of_the_request(streams: Streams) -> None:
    client = streams.connect()
    client.head()
    wait_until(lambda: len(parked(streams)) == 1, 5, "it is parked")
    assert streams.on_loop(lambda: len(streams.server.server_state.connections)) == 0
    wait_until(lambda: streams.on_loop(lambda: len(streams.server.server_state.tasks)) == 0, 5, "its task is over")


def test_who_does_not_read_holds_nobody_up_and_is_cut_off(tmp_path: Path, shop: World) -> None:
    """1,000 followers of whom 50 never read: the others hear as soon as without them, and memory stays bounded."""
    limits = {"session_followers_max": 2000, "stalled_seconds_max": 1.5, "heartbeat_seconds": 0.5}
    with streaming(tmp_path, shop, send_bytes=4096, **limits) as streams:
        readers = [streams.connect("orders&long=1") for _ in range(950)]
        for client in readers:
            client.head()
            client.message()
        alone = [_round(streams, shop, readers) for _ in range(5)]
        for _ in range(50):
            streams.connect("orders&long=1", receive_bytes=2048)
        wait_until(lambda: streams.live.followers == 1000, 20, "all follow")
        together, unsent = [], 0
        for _ in range(25):
            together.append(_round(streams, shop, readers))
            unsent = max(unsent, streams.on_loop(partial(_unsent, streams)))
        assert BUFFER_BYTES_MAX < unsent < BUFFER_BYTES_MAX + 4096, "they hold no more than the mark and one event"
        assert statistics.median(together) < 2 * statistics.median(alone) + 0.1
        wait_until(lambda: streams.live.followers <= 950, 20, "those who do not read are cut off")
        assert _round(streams, shop, readers) < 20


def _unsent(streams: Streams) -> int:
    """The most bytes that wait for one client."""
    sinks = (follower.sink for follower in streams.live._followers)
    return max(sink.transport.get_write_buffer_size() for sink in sinks if isinstance(sink, Parked))


def _round(streams: Streams, shop: World, readers: list[Client]) -> float:
    """Seconds from a change until each of them has its event."""
    began = time.perf_counter()
    streams.number += 1
    shop.write("customers", {"number": streams.number, "name": "x"})
    streams.wake()
    left = {client.socket.fileno(): client.socket for client in readers}
    tails: dict[int, bytes] = {}
    poll = select.epoll()
    for descriptor in left:
        poll.register(descriptor, select.EPOLLIN)
    while left and time.perf_counter() < began + 20:
        for descriptor, _ in poll.poll(1):
            tails[descriptor] = tails.get(descriptor, b"")[-8:] + left[descriptor].recv(65536)
            if b"}\n\n\r\n" in tails[descriptor]:
                del left[descriptor]
                poll.unregister(descriptor)
    poll.close()
    assert not left, f"{len(left)} were not told"
    return time.perf_counter() - began
