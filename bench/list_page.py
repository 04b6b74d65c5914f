"""A list page at a million rows, from the request to the last byte of HTML: any sort, filter, search and depth.

`python bench/list_page.py [ROWS] [FOLDER]` asks the real application in process and prints, for each kind of page, the
median and p99 in milliseconds and the size of the page, plain and gzipped; then where the time goes. With a folder the
store of `bench/store_browse.py` is used again, or made.
"""

from __future__ import annotations

import asyncio
import cProfile
import gzip
import os
import pstats
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import httpx
from starlette.applications import Starlette
from store_browse import CITIES, CUSTOMERS, FIRST, LAST, SPECS, WORDS, load

from brique.clock import SystemClock
from brique.commands import Desk
from brique.http import Accounts, Assets, FrontDesk, Routes, Site, account_routes, application
from brique.live import Live
from brique.pages import Parts, StatusFacts, asset_files, renderer, routes
from brique.schema import BackendSpec
from brique.settings import Settings
from brique.store import Reader, Store
from brique.views import Views

clock = time.thread_time if os.environ.get("CPU") else time.perf_counter


def parts_of(folder: Path) -> tuple[Parts, Reader]:
    """An intranet over the bench's tables, whose handlers run in the loop's thread: one reader is enough."""
    reader = Reader(folder / "store.db", SPECS)

    @contextmanager
    def borrow() -> Iterator[Reader]:
        yield reader

    made = Parts(
        title="Bench",
        languages=("fr", "en"),
        timezone=ZoneInfo("Africa/Dakar"),
        specs=SPECS,
        backends={"erp": BackendSpec("erp", "", label="ERP")},
        views=Views({}, SPECS, lambda: reader, clock=SystemClock()),
        commands={},
        desk=cast(Desk, None),
        borrow=borrow,
        live=Live(lambda: reader),
        settings=Settings(data=folder),
        clock=SystemClock(),
        status=StatusFacts,
        assets=Assets(asset_files()),
    )
    return made, reader


def app_of(parts: Parts, accounts: Accounts) -> Starlette:
    render, site, table = renderer(parts), Site("bench.test"), Routes()
    table.include(account_routes(FrontDesk(accounts, site, render)))
    table.include(parts.assets.routes())
    table.include(routes(parts))
    return application(table, accounts=accounts, site=site, render=render)


def pages() -> dict[str, Any]:
    chance = random.Random(5)
    pick = chance.choice
    result: dict[str, Any] = {"plain": dict}
    for name in ("id", "customer", "city", "contact", "amount", "ordered", "quantity", "note"):
        result[f"sort_{name}"] = lambda name=name: {"sort": name}
        result[f"sort_{name}_desc"] = lambda name=name: {"sort": f"-{name}"}
    return result | {
        "last_page": lambda: {"_last": "1"},
        "filter_status": lambda: {"status": "paid", "sort": "-amount"},
        "filter_customer": lambda: {"customer": str(chance.randrange(CUSTOMERS)), "sort": "-amount"},
        "filter_range": lambda: {"amount__ge": "1000", "amount__le": "1030", "sort": "contact"},
        "filter_two": lambda: {"city": "Dakar", "status": "paid", "sort": "contact"},
        "search_rare": lambda: {"q": f"{chance.randrange(1_000_000):06x}"},
        "search_name": lambda: {"q": f"{pick(FIRST)} {pick(LAST)}", "sort": "amount"},
        "search_word": lambda: {"q": pick(LAST), "sort": "-ordered"},
        "search_two_letters": lambda: {"q": pick(LAST)[:2], "sort": "-ordered"},
        "search_part": lambda: {"q": f"{pick(WORDS)[1:5]} {chance.randrange(100):02d}"},
        "search_city": lambda: {"q": f"{pick(WORDS)} {pick(CITIES)}", "sort": "amount"},
    }


def deep(rows: int) -> dict[str, Any]:
    """Addresses of pages far from the start of each order."""
    from brique.store.cursors import Place, encode

    chance = random.Random(6)
    found = {}
    for name, value in (("id", lambda: chance.randrange(rows)), ("amount", lambda: chance.randrange(1_000_000))):
        found[f"deep_{name}"] = lambda name=name, value=value: {
            "sort": name,
            "after": encode(Place(value(), chance.randrange(rows)), f"{name}+"),
        }
    return found


async def measure(folder: Path, rows: int, times: int) -> None:
    parts, reader = parts_of(folder)
    accounts = Accounts(folder / "accounts.db", clock=SystemClock())
    if not accounts.has_users():
        accounts.create_user("bench", "a long password", "write")
    session = accounts.open_session("bench", agent="bench", address="::1", replaces="")
    app = app_of(parts, accounts)
    cookies = {f"brique_{accounts.instance}": session.id}
    transport = httpx.ASGITransport(app)
    headers = {"Accept": "text/html", "Accept-Language": "fr"}
    everything: list[float] = []
    async with httpx.AsyncClient(
        transport=transport, base_url="http://bench.test", cookies=cookies, headers=headers
    ) as browser:
        asked = pages() | deep(rows)
        work = [name for name in asked for _ in range(times)]
        random.Random(7).shuffle(work)
        taken: dict[str, list[float]] = {name: [] for name in asked}
        sizes: dict[str, tuple[int, int]] = {}
        for name in [*asked, *work]:
            address = f"/tables/orders?{urlencode(asked[name]())}"
            began = clock()
            answer = await browser.get(address)
            taken[name].append((clock() - began) * 1000)
            assert answer.status_code == 200, (address, answer.status_code)
            sizes[name] = (len(answer.content), len(gzip.compress(answer.content, 6)))
        for name, values in taken.items():
            values = sorted(values[1:])
            everything += values
            late = values[min(len(values) - 1, int(len(values) * 0.99))]
            size, zipped = sizes[name]
            weight = f"{size / 1000:.1f} kB ({zipped / 1000:.1f} gzipped)"
            print(f"pages.{name} median {statistics.median(values):.2f} p99 {late:.2f} ms {weight}")
        everything.sort()
        print(f"pages.list_median_ms {statistics.median(everything):.2f}")
        print(f"pages.list_p99_ms {everything[int(len(everything) * 0.99)]:.2f}")
        await profile(browser)
    reader.close()
    accounts.close()


async def profile(browser: httpx.AsyncClient) -> None:
    """Where the time of the plain page goes."""
    profiler = cProfile.Profile()
    handler_time = time.perf_counter()
    profiler.enable()
    for _ in range(100):
        await browser.get("/tables/orders?sort=-amount")
    profiler.disable()
    print(f"profiled: {(time.perf_counter() - handler_time) * 10:.2f} ms a page")
    pstats.Stats(profiler).sort_stats("cumulative").print_stats("brique", 32)


def main(rows: int, folder: Path) -> None:
    kept = (folder / "store.db").exists()
    store = Store(folder / "store.db", SPECS, clock=SystemClock())
    if not kept:
        load(store, folder, rows)
    with store.transaction() as tx:
        tx.confirmed("erp", list(SPECS), SystemClock().now() - timedelta(seconds=20))

    # Every handler runs in the loop's thread, so that what is measured is the page, not the hand-over.
    async def at_once(function: Any, *args: Any) -> Any:
        return function(*args)

    asyncio.to_thread = at_once  # type: ignore[assignment]
    asyncio.run(measure(folder, rows, 30))
    store.close()


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    if len(sys.argv) > 2:
        Path(sys.argv[2]).mkdir(parents=True, exist_ok=True)
        main(count, Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as made:
            main(count, Path(made))
