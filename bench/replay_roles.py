"""The engine, or a backend's process, of bench/replay.py; told what to do on its standard input."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

from brique.app.backend import BackendProcess
from brique.app.engine import Engine
from brique.app.intranet import Declared
from brique.app.sources import from_data
from brique.channel import SyncChannel, serve
from brique.clock import SystemClock, stamp
from brique.commands import Give
from brique.schema import Change, Command
from brique.settings import Settings

KEPT_AT_ONCE = 500


def settings(data: Path) -> Settings:
    return Settings(data=data, free_disk_bytes_min=0, spool_free_bytes_min=0)


def say(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


def declared_of(url: str, data: Path) -> Declared:
    """Each role infers for itself: no reading of the other one's notes is timed."""
    folder = data / f"inferred-{sys.argv[1]}"
    folder.mkdir(exist_ok=True)
    return from_data([url], folder, refresh_seconds=3600, marker=True).declared()


def command(number: int, backend: str) -> Command:
    change = Change("item", str(number), {"stock": 0}, {"stock": number})
    at = stamp(SystemClock().now())
    return Command(f"R{number}", "update", "bench", "write", at, backend, (change,))


async def engine(url: str, data: Path) -> None:
    declared = declared_of(url, data)
    [name] = declared.backends
    server: Any = None

    def broadcast(topic: str, payload: dict[str, Any]) -> None:
        if server is not None:
            loop.call_soon_threadsafe(server.broadcast, topic, payload)

    loop = asyncio.get_running_loop()
    made = Engine(declared, settings(data), SystemClock(), broadcast)
    made.start()
    server = await serve(data / "engine.sock", made.handle)
    say(ready=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        word, number = line.split()
        wanted = range(1, int(number) + 1) if word == "keep" else [int(number)]
        gives = [Give(command(one, name)) for one in wanted]
        for at in range(0, len(gives), KEPT_AT_ONCE):
            futures = [made.writer.ask(give) for give in gives[at : at + KEPT_AT_ONCE]]
            await asyncio.gather(*map(asyncio.wrap_future, futures))
        broadcast("commands", {"backend": name})
        say(kept=len(gives))
    await server.close()
    made.stop()


def backend(url: str, data: Path) -> None:
    declared = declared_of(url, data)
    [name] = declared.backends
    process: Any = None
    channel = SyncChannel(
        data / "engine.sock", on_event=lambda topic, payload: process and process.on_event(topic, payload)
    )
    process = BackendProcess(declared, name, settings(data), SystemClock(), channel)
    process.refreshing.start()
    process._probe()
    end = time.monotonic() + 60
    while not process.reader.table_state("item").loaded and time.monotonic() < end:
        time.sleep(0.05)
    say(ready=True)
    running: threading.Thread | None = None
    while line := sys.stdin.readline():
        word, *rest = line.split()
        if word == "run":
            process.refreshing.start = lambda: None
            running = threading.Thread(target=process.run)
            running.start()
        else:
            go(process, int(rest[0]))
    process.stop()
    if running is not None:
        running.join(20)
    channel.close()


def go(process: BackendProcess, count: int) -> None:
    """Replay, with the moment noted at which the backend had the last one."""
    applied: list[float] = []
    began = time.perf_counter()
    later = process.reports.later

    def noted(report: Any) -> None:
        if report.last >= count:
            applied.append(time.perf_counter() - began)
        later(report)

    process.reports.later = noted  # type: ignore[method-assign]  # the moment after the last commit
    process._turn()
    settled = time.perf_counter() - began
    say(seconds=applied[0])
    say(seconds=settled)


if __name__ == "__main__":
    role, url, folder = sys.argv[1:]
    if role == "engine":
        asyncio.run(engine(url, Path(folder)))
    else:
        backend(url, Path(folder))
