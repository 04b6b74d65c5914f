"""brique's own side of `bench.ack`: `python -m bench.brique_ack LEVEL FOLDER WRITERS SECONDS`."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import apsw

from bench.peers.load import PAYLOAD, Load, arguments, tasks, threads
from bench.site import TOKEN, Site
from brique.app.roles import open_accounts
from brique.app.writer import Writer
from brique.backends import open_backend
from brique.channel import AsyncChannel
from brique.clock import SystemClock, stamp
from brique.commands import Give, Ledger
from brique.schema import Change, Command, encode_command, infer
from brique.settings import Settings
from brique.spool import Committer, Entry, SqliteSpool
from brique.store import Store

_clock = SystemClock()
_numbers = itertools.count(1)
_AUTHOR = "awa"


def journal(folder: Path, writers: int, seconds: float) -> Load:
    """The spool alone, with its group commit, for writers who are coroutines of one loop, as the engine's callers."""
    body = PAYLOAD.encode()
    with closing(SqliteSpool(folder / "spool")) as spool, closing(Committer(spool)) as committer:
        return _on_loop(lambda: committer.append_soon(Entry(body)), writers, seconds)


def in_threads(folder: Path, writers: int, seconds: float) -> Load:
    """The same for writers who are threads: with many of them it is Python that changes from one to the other."""
    body = PAYLOAD.encode()
    with closing(SqliteSpool(folder / "spool")) as spool, closing(Committer(spool)) as committer:
        return threads(lambda _: committer.append(Entry(body)), writers, seconds)


def _on_loop(give: Callable[[], Awaitable[object]], writers: int, seconds: float) -> Load:
    return asyncio.run(tasks(lambda _: give(), writers, seconds))


def _source(folder: Path) -> Path:
    source = folder / "shop.db"
    with closing(apsw.Connection(str(source))) as connection:
        connection.execute("CREATE TABLE note(id INTEGER PRIMARY KEY, text TEXT NOT NULL)")
    return source


def _command() -> Command:
    name = f"R{next(_numbers):09d}"
    change = Change("note", f"new-{name}", None, {"text": PAYLOAD})
    return Command(name, "create", _AUTHOR, "write", stamp(_clock.now()), "shop", (change,), digest=name)


def engine(folder: Path, writers: int, seconds: float) -> Load:
    """The engine's writing thread, asked from a loop as the engine asks it: kept, and shown over the copy."""
    with closing(open_backend("shop", str(_source(folder)))) as backend:
        specs = {spec.name: spec for spec in infer(backend.catalogue(), "shop")}
    with (
        closing(SqliteSpool(folder / "spool")) as spool,
        closing(Store(folder / "store.db", specs, clock=_clock)) as store,
    ):
        writer = Writer(Ledger(spool, store, _clock), store, batch_max=512, queue_max=10_000, after_batch=lambda: None)
        writer.start()
        try:
            return _on_loop(lambda: writer.ask_soon(Give(_command())), writers, seconds)
        finally:
            writer.stop()


def _on_site(folder: Path, work: Callable[[Site], Load], *, applied: bool) -> Load:
    """`work` on a whole brique. `applied`: its backend takes in what is kept meanwhile; else somebody holds it, as the
    workers of the peers do not run either."""
    data, source = folder / "data", _source(folder)
    settings = {"BRIQUE_SETTLE_WAIT_MS": "0"}
    with (
        Site(["up", str(source), "--data", str(data), "--marker"], data, settings=settings) as site,
        closing(open_accounts(Settings(data=data))) as accounts,
    ):
        site.wait_ready()
        site.wait_loaded()
        accounts.create_user(_AUTHOR, "a long password of the bench", "write")  # it is looked at before sending
        with closing(apsw.Connection(str(source))) as holder:
            if not applied:
                holder.set_busy_timeout(10_000)
                holder.execute("BEGIN EXCLUSIVE")
            return work(site)


async def _give(channel: AsyncChannel) -> None:
    await channel.acall("give", {"command": encode_command(_command()), "token": "", "wait_ms": 0})


def over_socket(folder: Path, writers: int, seconds: float, *, applied: bool = False) -> Load:
    """The engine as a process of its own."""

    async def run(site: Site) -> Load:
        channel = AsyncChannel(site.data / "engine.sock")
        try:
            return await tasks(lambda _: _give(channel), writers, seconds)
        finally:
            await channel.aclose()

    return _on_site(folder, lambda site: asyncio.run(run(site)), applied=applied)


def over_http(folder: Path, writers: int, seconds: float, *, applied: bool = False) -> Load:
    """A whole brique, asked by wrk."""

    def run(site: Site) -> Load:
        script = folder / "write.lua"
        script.write_text(_LUA.format(token=TOKEN, body=json.dumps({"text": PAYLOAD})), "utf-8")
        command = ["wrk", "-t", "1", "-c", str(writers), "-d", f"{max(1, round(seconds))}s", "--latency"]
        command += ["-s", str(script), f"http://127.0.0.1:{site.port}/api/tables/note"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found = re.search(r"BENCH (\d+) (\d+) ([\d.]+) ([\d.]+) ([\d.]+)", said)
        if found is None or int(found[2]):
            raise SystemExit(f"wrk said:\n{said}")
        return Load(int(found[1]), float(found[5]), float(found[3]), float(found[4]))

    return _on_site(folder, run, applied=applied)


_LUA = """
wrk.method = "POST"
wrk.body = '{body}'
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer {token}"
done = function(summary, latency, requests)
  local e = summary.errors
  local failed = e.connect + e.read + e.write + e.status + e.timeout
  io.write(string.format("BENCH %d %d %.3f %.3f %.3f\\n", summary.requests, failed, latency:percentile(50) / 1000,
    latency:percentile(99) / 1000, summary.duration / 1000000))
end
"""
LEVELS: dict[str, Any] = {
    "journal": journal,
    "threads": in_threads,
    "engine": engine,
    "socket": over_socket,
    "http": over_http,
    "socket_applied": partial(over_socket, applied=True),
    "http_applied": partial(over_http, applied=True),
}


def main() -> None:
    level, folder, writers, seconds = arguments()
    home = Path(folder)
    home.mkdir(parents=True)
    LEVELS[level](home, writers, seconds).print()


if __name__ == "__main__":
    main()
