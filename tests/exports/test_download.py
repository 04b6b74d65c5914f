"""Files on their way: early, in bounded memory, from one thread, and given up when nobody reads any more."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Generator
from typing import Any

import httpx
import openpyxl
import pytest
import uvicorn

from brique.errors import Busy, TooMuch
from brique.exports import Download, Downloads, Export
from brique.views import Copy
from tests.api.world import World

pytestmark = pytest.mark.anyio
SCOPE = {"type": "http", "method": "GET"}


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for what a thread does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        await asyncio.sleep(0.01)


class Caller:
    """One connection: what was sent to it, and whether it has left."""

    def __init__(self, slow: bool = False) -> None:
        self.sent: list[dict[str, Any]] = []
        self.left = asyncio.Event()
        self.read = asyncio.Event()
        self.slow = slow

    async def receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        if self.slow and message["type"] == "http.response.body":
            await self.read.wait()

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def is_whole(self) -> bool:
        return self.sent[-1]["type"] == "http.response.body" and not self.sent[-1].get("more_body", False)

    async def take(self, download: Download, **scope: str) -> None:
        await download({**SCOPE, **scope}, self.receive, self.send)  # type: ignore[arg-type]  # plain messages


class Making:
    """A file of numbered pieces, which notes in which thread it is made and how it ends."""

    def __init__(self, pieces: int, fault_at: int = -1, hold: threading.Event | None = None) -> None:
        self.pieces, self.fault_at, self.hold = pieces, fault_at, hold
        self.threads: set[int] = set()
        self.made = 0
        self.is_closed = False

    def __call__(self, copy: Copy) -> Export:
        self.threads.add(threading.get_ident())
        return Export("n.txt", "text/plain", {"Brique-Age": "1"}, self._pieces(copy))

    def _pieces(self, copy: Copy) -> Generator[bytes, None, None]:
        try:
            for number in range(self.pieces):
                self.threads.add(threading.get_ident())
                if number == self.fault_at:
                    raise RuntimeError("the disk is gone")
                self.made += 1
                copy.seq()
                yield b"%06d\n" % number
                if self.hold is not None:
                    self.hold.wait(10)
        finally:
            self.is_closed = True


def downloads(world: World, **options: Any) -> Downloads:
    return Downloads(world.readers.borrow, world.clock, world.settings, **options)


async def test_a_file_is_made_in_one_thread_that_is_not_the_loop(world: World) -> None:
    making, caller = Making(50), Caller()
    await caller.take(downloads(world).of(making))
    assert caller.body == b"".join(b"%06d\n" % number for number in range(50))
    assert caller.is_whole
    assert len(making.threads) == 1 and threading.get_ident() not in making.threads
    assert caller.sent[0]["headers"] == [(b"content-type", b"text/plain"), (b"brique-age", b"1")]
    assert world.readers.out == 0


async def test_the_first_byte_leaves_before_the_second_piece_is_made(world: World) -> None:
    hold = threading.Event()
    making, caller = Making(3, hold=hold), Caller()
    task = asyncio.create_task(caller.take(downloads(world).of(making)))
    await until(lambda: caller.body == b"000000\n")
    assert making.made == 1
    hold.set()
    await task
    assert caller.is_whole


async def test_a_slow_reader_is_waited_for(world: World) -> None:
    making, caller = Making(1000), Caller(slow=True)
    task = asyncio.create_task(caller.take(downloads(world).of(making)))
    await until(lambda: making.made >= 5)
    await asyncio.sleep(0.05)
    assert making.made <= 8
    caller.read.set()
    await task
    assert making.made == 1000


async def test_a_reader_who_leaves_ends_the_snapshot(world: World) -> None:
    making, caller = Making(100_000), Caller(slow=True)
    task = asyncio.create_task(caller.take(downloads(world).of(making)))
    await until(lambda: making.made >= 5)
    assert world.readers.out == 1
    caller.left.set()
    caller.read.set()
    await task
    await until(lambda: world.readers.out == 0)
    assert making.is_closed and making.made < 1000
    assert not caller.is_whole


async def test_a_cancelled_request_ends_the_snapshot(world: World) -> None:
    making, caller = Making(100_000), Caller(slow=True)
    task = asyncio.create_task(caller.take(downloads(world).of(making)))
    await until(lambda: making.made >= 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: world.readers.out == 0)
    assert making.is_closed


async def test_a_fault_before_the_first_byte_is_an_answer(world: World) -> None:
    making, caller = Making(3, fault_at=0), Caller()
    with pytest.raises(RuntimeError):
        await caller.take(downloads(world).of(making))
    assert caller.sent == [] and world.readers.out == 0


async def test_a_fault_in_the_middle_leaves_no_whole_file(world: World) -> None:
    making, caller = Making(30, fault_at=20), Caller()
    with pytest.raises(RuntimeError):
        await caller.take(downloads(world).of(making))
    assert not caller.is_whole
    await until(lambda: world.readers.out == 0)


async def test_a_head_makes_nothing(world: World) -> None:
    making, caller = Making(30), Caller()
    await caller.take(downloads(world).of(making), method="HEAD")
    assert making.made == 0
    assert caller.sent[0]["status"] == 200 and caller.body == b""


async def test_files_in_the_making_have_a_bound(world: World) -> None:
    hold, few = threading.Event(), downloads(world, at_once_max=1)
    first, second = Caller(), Caller()
    task = asyncio.create_task(first.take(few.of(Making(2, hold=hold))))
    await until(lambda: bool(first.sent))
    with pytest.raises(Busy):
        await second.take(few.of(Making(1)))
    hold.set()
    await task
    await second.take(few.of(Making(1)))
    assert second.is_whole


async def test_a_file_may_not_last_for_ever(world: World) -> None:
    with pytest.raises(TooMuch):
        await Caller().take(downloads(world, seconds_max=-1.0).of(Making(5)))


async def test_a_hundred_thousand_rows_leave_whole_and_early(big: World) -> None:
    async with big.client() as client:
        answer = await client.get("/api/tables/line.csv?_notes=0&_headings=name")
        rows = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))
        assert len(rows) == 100_001
        assert rows[1][:3] == ["1", "Thiès", "0.01"] and rows[-1][0] == "100000"
        answer = await client.get("/api/tables/line.json?town=Dakar&sort=-number")
        numbers = [row["number"] for row in json.loads(answer.content)["rows"]]
        assert numbers == list(range(99_999, 0, -3))
        answer = await client.get("/api/tables/line.xlsx?number__le=5000")
        book = openpyxl.load_workbook(io.BytesIO(answer.content), read_only=True)
        assert sum(1 for _ in book.worksheets[0].iter_rows(values_only=True)) == 5001
        book.close()


async def test_memory_does_not_grow_with_the_rows(big: World) -> None:
    """Few rows and many have the same peak: that of a batch."""

    async def peak(query: str, suffix: str) -> int:
        caller, most = Caller(), 0

        async def send(message: dict[str, Any]) -> None:
            nonlocal most
            most += len(message.get("body", b""))

        download = downloads(big).of_table(big.specs["line"], httpx.QueryParams(query), suffix, language="en")
        tracemalloc.start()
        try:
            await download(SCOPE, caller.receive, send)  # type: ignore[arg-type]  # plain messages
            assert most > 0
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    for suffix in ("csv", "xlsx", "json"):
        few, many = await peak("number__le=2000", suffix), await peak("number__le=12000", suffix)
        assert many < few * 1.5 + 1_000_000, suffix


async def test_a_file_is_of_one_moment(big: World) -> None:
    """What is written meanwhile is not in it."""
    caller = Caller(slow=True)
    download = downloads(big).of_table(big.specs["line"], {"_headings": "name"}, "csv", language="en")
    task = asyncio.create_task(caller.take(download))
    await until(lambda: bool(caller.body))
    async with big.client() as client:
        answer = await client.patch("/api/tables/line/99999", json={"remark": "changed meanwhile"})
        assert answer.status_code == 202
    caller.read.set()
    await task
    assert b"changed meanwhile" not in caller.body
    assert caller.is_whole


async def test_a_reader_who_hangs_up_on_a_real_server_ends_the_snapshot(big: World) -> None:
    async with big.client() as client:
        token = client.headers["authorization"]
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(big.app, log_level="error", http="httptools", lifespan="off"))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server.serve(sockets=[listener]))
    await until(lambda: server.started)
    try:
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        head = f"GET /api/tables/line.csv HTTP/1.1\r\nHost: intranet.test\r\nAuthorization: {token}\r\n\r\n"
        writer.write(head.encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        await reader.readexactly(2000)
        assert big.readers.out == 1
        writer.transport.abort()
        await until(lambda: big.readers.out == 0)
    finally:
        server.should_exit = True
        await task
