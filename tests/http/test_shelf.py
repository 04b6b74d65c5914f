"""The shelf by itself: what is kept of an exchange, and for whom."""

from __future__ import annotations

import asyncio

import pytest

from brique.clock import SystemClock
from brique.errors import EngineAway
from brique.http import Shelf, Standing, User
from brique.http.ready import Keep
from brique.http.shelf import Head

RITA = User("rita", "read", "en", "session", "secret", "handle")
HEADERS = [(b"host", b"intranet.test"), (b"accept", b"*/*")]


def make_shelf(bytes_max: int = 100_000) -> Shelf:
    return Shelf(data_version=lambda: 1, people_version=lambda: 1, clock=SystemClock(), bytes_max=bytes_max)


def exchange(
    shelf: Shelf,
    target: bytes = b"/",
    *,
    user: User | None = RITA,
    now: User | None = RITA,
    shared: bool = False,
    body: bytes = b"hello",
    more: tuple[tuple[bytes, bytes], ...] = (),
) -> Head | None:
    """One exchange on the ordinary path by `user`, who is `now` another; the head that is known of it."""
    keep = Keep(shelf.heads(), b"the rest\r\n\r\n", target)
    keep.user, keep.still = user, lambda: (now, float("inf"))
    keep.standing = Standing(lambda: True, shared=shared)
    keep.status, keep.body = 200, body
    keep.headers = [(b"content-length", b"%d" % len(body)), (b"x-request-id", b"1"), *more]
    shelf.take(keep, HEADERS)
    return shelf.heads().get(b"the rest\r\n\r\n")


def test_an_answer_is_kept_for_whom_it_was_made() -> None:
    shelf = make_shelf()
    head = exchange(shelf)
    assert head is not None
    assert head.user == RITA and b"/" in head.own and not head.shared


def test_an_answer_for_one_who_has_changed_meanwhile_is_not_kept() -> None:
    shelf = make_shelf()
    french = User("rita", "read", "fr", "session", "secret", "handle")
    head = exchange(shelf, now=french)
    assert head is not None
    assert not head.own and not head.shared and not shelf.bytes


@pytest.mark.parametrize("header", [(b"set-cookie", b"a=b"), (b"connection", b"close"), (b"transfer-encoding", b"x")])
def test_an_answer_that_is_for_once_is_not_kept(header: tuple[bytes, bytes]) -> None:
    shelf = make_shelf()
    exchange(shelf, more=(header,), shared=True)
    assert not shelf.bytes


def test_the_longest_unused_go_when_there_is_no_more_room() -> None:
    shelf = make_shelf(bytes_max=20_000)
    for number in range(100):
        head = exchange(shelf, b"/%d" % number, body=b"x" * 1000, shared=True)
        assert head is not None
        if b"/0" in head.shared:
            head.shared[b"/0"].used = True
        assert shelf.bytes <= 20_000
    assert head is not None
    assert b"/0" in head.shared and b"/99" in head.shared and b"/1" not in head.shared
    assert 5 < len(head.shared) < 20


def test_nothing_is_given_while_nobody_can_tell_whether_the_data_has_changed() -> None:
    def away() -> int:
        raise EngineAway("The store is not there yet.")

    shelf = Shelf(data_version=away, people_version=lambda: 1, clock=SystemClock(), bytes_max=1)

    async def turn() -> bool:
        shelf.begin_turn(asyncio.get_running_loop())
        return shelf.is_open

    assert not asyncio.run(turn())
