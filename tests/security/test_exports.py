"""Files made of hostile data: nothing in them runs, they are as long as the table and no memory longer, and who leaves
frees what he held."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import sqlite3
import sys
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import closing
from types import FrameType
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.security.nasty import VALUES
from tests.security.world import World
from tests.servers import wait_until

DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
TABLES = ("wide", "sale", "constructor", "script_zqx_7_script")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("base", ["/tables", "/api/tables"])
def test_no_cell_of_a_csv_file_is_a_formula(world: World, base: str) -> None:
    for table in TABLES:
        for query in ("", "?sort=name" if table != "sale" else "?sort=note", "?columns=id"):
            text = world.get(f"{base}/{table}.csv{query}").content.decode("utf-8-sig")
            rows = list(csv.reader(io.StringIO(text, newline="")))
            assert len(rows) > 20
            for row in rows:
                for cell in row:
                    assert not cell.startswith(DANGEROUS) or _is_number(cell), cell


def test_no_cell_of_an_xlsx_file_is_a_formula_or_a_link(world: World) -> None:
    for table in TABLES:
        content = world.get(f"/tables/{table}.xlsx").content
        with zipfile.ZipFile(io.BytesIO(content)) as book:
            names = book.namelist()
            assert not any("externalLink" in name or "vba" in name or "connections" in name for name in names)
            assert all(not name.startswith(("/", "..")) and "\\" not in name for name in names)
            for name in names:
                part = ElementTree.fromstring(book.read(name))  # whole and well formed, whatever the data held
                tags = {element.tag.rpartition("}")[2] for element in part.iter()}
                assert not tags & {"f", "hyperlink", "oleObject", "script", "ddeLink"}, (table, name, tags)
                assert b"TargetMode" not in book.read(name)


def test_a_json_file_holds_every_value_as_it_is(world: World) -> None:
    content = world.get("/tables/constructor.json").content
    rows = json.loads(content)
    rows = rows["rows"] if isinstance(rows, dict) else rows
    assert len(rows) == len(VALUES)


def test_what_an_export_is_asked_for_is_checked_like_a_list(world: World) -> None:
    for query in (
        "nothing=1",
        "sort=nothing",
        "columns=nothing",
        "delimiter=xx",
        "encoding=rot13",
        "quote=%00",
        "bom=<b>",
        "id__in=" + ",".join(map(str, range(501))),
        "dialect=../../x",
        "language=../x",
    ):
        for suffix in ("csv", "xlsx", "json"):
            answer = world.api(f"/tables/sale.{suffix}?{query}")
            assert answer.status_code == 422, (suffix, query, answer.status_code)
    for name in ("sale.exe", "sale.csv.html", "sale.CSV", "nothing.csv", "sale.pdf"):
        assert world.api(f"/api/tables/{name}").status_code in (404, 422), name


# -- size -------------------------------------------------------------------------------------------------------------

ROWS = 150_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from brique.app import Inline, Intranet, url_of
    from brique.app.sources import from_data
    from brique.settings import Settings

    folder = tmp_path_factory.mktemp("large")
    with closing(sqlite3.connect(folder / "large.db")) as db, db:
        db.execute("CREATE TABLE big (id INTEGER PRIMARY KEY, name TEXT, note TEXT, amount REAL)")
        db.executemany(
            "INSERT INTO big VALUES (?, ?, ?, ?)",
            ((n, f"name {n}", f"a longer text {n * 7919}", n / 7) for n in range(ROWS)),
        )
    intranet: Intranet = from_data([url_of(str(folder / "large.db"))], folder / "data")
    settings = Settings(data=folder / "data", spool_free_bytes_min=0, free_disk_bytes_min=0)
    with Inline(intranet, folder / "data", settings=settings) as site:
        world = World(site)
        wait_until(world.is_loaded, 120, "the table is copied")
        yield world


class Reader:
    """One download by hand: `taken` bytes are read, then nothing more until `leave`."""

    def __init__(self, world: World, path: str, bytes_max: float) -> None:
        self.world, self.path, self.bytes_max = world, path, bytes_max
        self.bytes, self.status, self.ended = 0, 0, False
        self.full, self.left = asyncio.Event(), asyncio.Event()

    async def run(self) -> None:
        headers = {"host": "127.0.0.1:8000", **self.world.callers["token-read"].headers}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "server": ("127.0.0.1", 8000),
            "client": ("127.0.0.1", 1),
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        }
        started = False

        async def receive() -> dict[str, Any]:
            nonlocal started
            if not started:
                started = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await self.left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
            self.bytes += len(message.get("body", b""))
            if self.bytes >= self.bytes_max:
                self.full.set()
                await self.left.wait()
                raise OSError("the reader has left")

        try:
            await self.world.site.asgi(scope, receive, send)
        except OSError:
            pass
        finally:
            self.full.set()
            self.ended = True


def _exporting() -> int:
    """How many threads are making a file now."""
    return sum(frame.f_code.co_name == "run" and "download.py" in frame.f_code.co_filename for frame in _frames())


def _frames() -> Iterator[FrameType]:
    for innermost in sys._current_frames().values():
        frame: FrameType | None = innermost
        while frame is not None:
            yield frame
            frame = frame.f_back


@pytest.mark.parametrize("suffix", ["csv", "xlsx", "json"])
def test_a_whole_table_is_sent_in_bounded_memory(large: World, suffix: str) -> None:
    async def whole() -> Reader:
        reader = Reader(large, f"/tables/big.{suffix}", float("inf"))
        await reader.run()
        return reader

    asyncio.run(whole())  # imports and caches
    tracemalloc.start()
    try:
        reader = asyncio.run(whole())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert reader.status == 200
    assert reader.bytes > 1_000_000
    assert peak < 40_000_000, f"{peak / 1e6:.0f} MB"


@pytest.mark.parametrize("suffix", ["csv", "xlsx", "json"])
def test_a_reader_that_stops_reading_holds_little_and_one_that_leaves_frees_all(large: World, suffix: str) -> None:
    async def stalled() -> Reader:
        reader = Reader(large, f"/tables/big.{suffix}", 1)
        task = asyncio.create_task(reader.run())
        await asyncio.wait_for(reader.full.wait(), 30)
        assert _exporting() == 1
        reader.left.set()
        await asyncio.wait_for(task, 30)
        return reader

    reader = asyncio.run(stalled())
    assert reader.status == 200
    wait_until(lambda: _exporting() == 0, 10, "the thread of the export ends")
    wait_until(lambda: _wal_is_free(large), 30, "nothing holds an old snapshot of the store")


def _wal_is_free(world: World) -> bool:
    """Whether the store's log can be written back whole, which a reader of an old snapshot forbids."""
    with closing(sqlite3.connect(world.site.settings.data / "store.db", timeout=5)) as db:
        busy, log, done = db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
    return bool(busy == 0 and log == done)


def test_files_made_at_once_are_bounded(large: World) -> None:
    async def several() -> list[int]:
        readers = [Reader(large, "/tables/big.csv", 1) for _ in range(12)]
        tasks = [asyncio.create_task(reader.run()) for reader in readers]
        for reader in readers:
            await asyncio.wait_for(reader.full.wait(), 60)
        for reader in readers:
            reader.left.set()
        await asyncio.gather(*tasks)
        return [reader.status for reader in readers]

    statuses = sorted(asyncio.run(several()))
    assert statuses[0] == 200
    assert statuses[-1] == 503
    assert statuses.count(200) <= 16, "eight for pages, eight for programs"
    wait_until(lambda: _exporting() == 0, 10, "the threads end")


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("path", ["/tables/constructor.csv", "/tables/constructor", "/-/status", "/api/tables/sale/13"])
def test_a_hundred_requests_leave_no_file_open(world: World, path: str) -> None:
    def some(count: int) -> None:
        async def run() -> None:
            for _ in range(count):
                await Reader(world, path, float("inf")).run()

        asyncio.run(run())

    some(5)
    before = _open_files()
    some(100)
    wait_until(lambda: _exporting() == 0, 10, "the threads end")
    assert _open_files() < before + 50, "readers may have been added to those that are kept, not one for each request"
