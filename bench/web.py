"""Reads over HTTP: a row as JSON by its key, a page of twenty rows, hello; brique beside the frameworks people use, and
nginx with the same bytes as files.

One worker is pinned to a core and wrk to another; 64 connections that stay. Each is asked in turn, round after round,
and the median counts. brique always checks session and role; Django is measured with a session and a permission
(`checked`), the same with its cache in front of the view (`cached`), and without any (`bare`), the others bare. What
brique and Django's cache keep is asked for once before.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from bench.erp import Workshop
from bench.figures import Figures
from bench.site import Client, Site
from bench.web_peers import Peer, Running, Shop, peers, static

SERVER_CORE, LOAD_CORE = 0, 1
PAGES = 100
INTRANET = """
from brique import Intranet

app = Intranet("Shop", languages=("en", "fr"))
shop = app.backend("shop", "sqlite:///{file}", refresh="1h")
from brique.app.sources import look
app.infer(shop, look("shop", "sqlite:///{file}")[1])


@app.view("/shelf/{{start}}")
def shelf(db, start: int):
    rows = db["article"].where(id__ge=start).order_by("id").limit(20)
    names = ("id", "name", "price", "stock", "note")
    return {{"start": start, "rows": [{{name: getattr(row, name) for name in names}} for row in rows]}}


@app.view("/hello")
def hello(db):
    return {{"message": "Hello, World!"}}
"""


@dataclass(frozen=True)
class Asked:
    """One row of the bench: a server, the kind of request, and how it is asked: `path` and a number up to `count`, or
    the path alone when that is 0."""

    server: str
    kind: str
    port: int
    path: str
    count: int
    headers: dict[str, str]
    step: int = 1

    @property
    def all(self) -> list[str]:
        """Every address that may be asked for."""
        return [f"{self.path}{number * self.step}" for number in range(1, self.count + 1)] or [self.path]


def run(figures: Figures, workshop: Workshop) -> None:
    if shutil.which("wrk") is None:
        figures.note("wrk is not installed: nothing was measured")
        return
    rows = 2_000 if workshop.quick else 100_000
    with workshop.scratch("web") as folder, ExitStack() as open_until:
        shop = make_shop(folder, rows)
        site = open_until.enter_context(_site(shop))
        site.wait_ready()
        site.wait_loaded()
        _pin(site)
        asked = _brique(site, shop)
        _warm(asked, seconds_max=600)
        for peer in [*_nginx(figures, shop, asked), *peers(figures, shop, quick=workshop.quick)]:
            asked += _of(open_until.enter_context(Running(peer, SERVER_CORE)), shop)
        _warm([one for one in asked if one.server.startswith("django_cached")], seconds_max=300)
        _say(figures, _measure(figures, asked, seconds=1 if workshop.quick else 5, rounds=1 if workshop.quick else 3))


def make_shop(folder: Path, rows: int) -> Shop:
    """The rows as a SQLite file and as JSON."""
    chance = random.Random(1)
    words = ["lorem", "ipsum", "dolor", "sit", "amet", "consectetur", "adipiscing", "elit", "sed", "do"]
    made = [
        (key, f"Article {key}", round(chance.random() * 100, 2), chance.randrange(500),
         " ".join(chance.sample(words, 6)), " ".join(chance.choice(words) for _ in range(125)))
        for key in range(1, rows + 1)
    ]  # fmt: skip
    file = folder / "shop.db"
    with closing(sqlite3.connect(file)) as target:
        target.execute(
            "CREATE TABLE article(id INTEGER PRIMARY KEY, name TEXT, price REAL, stock INTEGER, note TEXT, body TEXT)"
        )
        target.executemany("INSERT INTO article VALUES (?, ?, ?, ?, ?, ?)", made)
        target.commit()
    names = ("id", "name", "price", "stock", "note", "body")
    (folder / "rows.json").write_text(json.dumps([dict(zip(names, row, strict=True)) for row in made]))
    return Shop(folder, file, folder / "rows.json", rows)


def _site(shop: Shop) -> Site:
    declared = shop.folder / "intranet.py"
    declared.write_text(INTRANET.format(file=shop.file))
    settings = {"BRIQUE_READY_BYTES_MAX": str(1024**3)}
    data = shop.folder / "data"
    return Site(["up", str(declared), "--data", str(data), "--web", "1"], data, settings=settings)


def _pin(site: Site) -> None:
    """The web process alone on its core; the others, which have nothing to do, beside wrk."""
    for pid in site.pids("web"):
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {SERVER_CORE})


def _brique(site: Site, shop: Shop) -> list[Asked]:
    """brique, signed in as a reader in a browser."""
    from brique.http import Accounts  # the bench makes a user as the command line does

    accounts = Accounts(shop.folder / "data" / "accounts.db")
    accounts.create_user("rita", "cheval agrafe pile", "read")
    cookie = f"brique_{accounts.instance}={accounts.open_session('rita').id}"
    accounts.close()
    headers = {"Host": f"127.0.0.1:{site.port}", "Cookie": cookie, "Accept": "*/*"}
    page = {**headers, "Accept": "text/html"}
    return [
        Asked("brique", "json", site.port, "/api/tables/article/", shop.rows, headers),
        Asked("brique", "page", site.port, "/shelf/", PAGES, page, 20),
        Asked("brique", "hello", site.port, "/api/views/hello", 0, headers),
    ]


def _of(peer: Running, shop: Shop) -> list[Asked]:
    found = []
    for name, prefix, cookie in peer.peer.ways:
        headers = {"Host": f"127.0.0.1:{peer.port}", "Accept": "*/*"} | ({"Cookie": cookie} if cookie else {})
        found += [
            Asked(name, "json", peer.port, f"{prefix}/json/", shop.rows, headers),
            Asked(name, "page", peer.port, f"{prefix}/page/", PAGES, headers, 20),
        ]
        if "cached" not in name:
            found.append(Asked(name, "hello", peer.port, f"{prefix}/hello", 0, headers))
    return found


def _nginx(figures: Figures, shop: Shop, asked: list[Asked]) -> list[Peer]:
    """nginx over files that hold what brique answers, byte for byte."""
    if shutil.which("nginx") is None:
        figures.note("nginx is not installed: nothing is compared with it")
        return []
    root = shop.folder / "files"
    for one in asked:
        client = Client(one.port, headers=one.headers)
        for path in one.all:
            file = root / (f"{one.kind}/{path.removeprefix(one.path)}" if one.count else one.kind)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(client.get(path).body)
        client.close()
    return [static(shop, root)]


def _warm(asked: list[Asked], *, seconds_max: float) -> None:
    """Ask once for everything that may be kept."""
    ends = time.monotonic() + seconds_max
    for one in asked:
        client = Client(one.port, headers=one.headers)
        for path in one.all:
            answer = client.get(path)
            if not answer.ok:
                raise SystemExit(f"{one.server} answers {path} with {answer.status}")
            if time.monotonic() > ends:
                break
        client.close()


_SCRIPT = """
math.randomseed({seed})
local head = " HTTP/1.1\\r\\n{headers}\\r\\n"
request = function() return "GET {path}" .. {number} .. head end
"""


def _measure(figures: Figures, asked: list[Asked], seconds: int, rounds: int) -> dict[tuple[str, str], float]:
    """The median rate of each; a peer that fails is told and left out, brique must not."""
    taken: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    left = list(asked)
    for turn in range(rounds):
        for one in list(left):
            try:
                taken[one.server, one.kind].append(_load(one, seconds, turn))
            except Unfit as fault:
                if one.server == "brique":
                    raise SystemExit(str(fault)) from fault
                figures.note(f"left out: {fault}")
                left.remove(one)
    return {key: statistics.median(rates) for key, rates in taken.items() if rates}


class Unfit(Exception):
    """Something else was answered than what was asked for."""


def _load(one: Asked, seconds: int, seed: int) -> float:
    """Requests per second. Raises Unfit when any was answered by something else."""
    headers = "".join(f"{name}: {value}\\r\\n" for name, value in one.headers.items())
    number = f"math.random(1, {one.count}) * {one.step}" if one.count else '""'
    script = _SCRIPT.format(seed=seed + 1, headers=headers, path=one.path, number=number)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        command = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", "-c64", f"-d{seconds}s", "-s", file.name]
        said = subprocess.run([*command, f"http://127.0.0.1:{one.port}"], capture_output=True, text=True, check=True)
    if "Non-2xx" in said.stdout or "Socket errors" in said.stdout:
        raise Unfit(f"{one.server} {one.kind}: " + " ".join(said.stdout.split())[-300:])
    found = re.search(r"Requests/sec:\s+([\d.]+)", said.stdout)
    assert found is not None, said.stdout
    return float(found[1])


def _say(figures: Figures, taken: dict[tuple[str, str], float]) -> None:
    for (server, kind), rate in taken.items():
        figures.add(f"{kind}_{server}", rate, "requests/s")
    for kind in ("json", "page", "hello"):
        ours = taken["brique", kind]
        for what, names in {
            "django": "django_checked",
            "django_cache": "django_cached",
            "django_bare": "django_bare",
            "nginx": "nginx",
        }.items():
            rates = [rate for (server, asked), rate in taken.items() if asked == kind and server.startswith(names)]
            if rates:
                figures.add(f"{kind}_vs_{what}", ours / max(rates), "times")
