"""The bodies of brique's processes: each runs until SIGTERM or SIGINT, and says when it is ready."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from brique.app.backend import BackendProcess
from brique.app.engine import Engine
from brique.app.intranet import Declared
from brique.app.lock import held
from brique.app.notifying import tell_authors
from brique.app.observed import Observed
from brique.app.place import PlaceProcess
from brique.channel import Limits, SyncChannel, serve
from brique.clock import SystemClock
from brique.errors import EngineAway, NotFound
from brique.http import AccountLimits, Accounts, allows
from brique.schema import Command
from brique.settings import Settings

log = logging.getLogger(__name__)
ENGINE_SOCKET = "engine.sock"
_ENGINE_WAIT_SECONDS = 60.0
_MEASURE_SECONDS = 20.0


def engine_limits(settings: Settings) -> Limits:
    """The bounds of the channel to the engine."""
    return Limits(requests_max=settings.spool_queue_max)


def run_engine(declared: Declared, settings: Settings, on_ready: Callable[[], None], *, observed: Observed) -> None:
    """The engine: keeps, shows and settles; the only writer. Raises Busy when another one does not end."""
    with held(settings.data, wait_seconds=settings.ready_seconds / 2):
        asyncio.run(_engine(declared, settings, on_ready, observed))


async def _engine(declared: Declared, settings: Settings, on_ready: Callable[[], None], observed: Observed) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def broadcast(topic: str, payload: dict[str, Any]) -> None:
        if server is not None:
            server.broadcast(topic, payload)

    server = None
    engine = Engine(declared, settings, SystemClock(), broadcast)
    engine.start()
    server = await serve(settings.data / ENGINE_SOCKET, engine.handle, limits=engine_limits(settings))
    on_ready()
    watching = loop.create_task(_until_failure(engine, stop))
    chores = [
        loop.create_task(engine.look_after()),
        loop.create_task(_measure_disk(settings, observed)),
        loop.create_task(tell_authors(engine, declared, settings, open_accounts)),
    ]
    await stop.wait()
    for chore in chores:
        chore.cancel()
    await server.close()
    engine.stop()
    await watching
    if engine.writer.failure is not None:
        raise engine.writer.failure


async def _measure_disk(settings: Settings, observed: Observed) -> None:
    """Note the free room on disk, for ever."""
    gauge = observed.metrics.gauge("disk_free_bytes")
    while True:
        gauge.set(shutil.disk_usage(settings.data).free)
        await asyncio.sleep(_MEASURE_SECONDS)


async def _until_failure(engine: Engine, stop: asyncio.Event) -> None:
    """End the process when the writing thread has ended: the supervisor starts a new one from what is on disk."""
    await asyncio.to_thread(engine.writer.ended.wait)
    stop.set()


class _Loop(Protocol):
    """What works through the engine's events until it is told to stop."""

    def on_event(self, topic: str, payload: Mapping[str, Any]) -> None: ...
    def stop(self) -> None: ...
    def run(self) -> None: ...


def run_backend(declared: Declared, name: str, settings: Settings, on_ready: Callable[[], None]) -> None:
    """The process of backend `name`."""
    accounts = open_accounts(settings)

    def make(channel: SyncChannel) -> _Loop:
        return BackendProcess(
            declared, name, settings, SystemClock(), channel, allowed=lambda command: still_allowed(accounts, command)
        )

    try:
        _run_loop(settings, on_ready, make)
    finally:
        accounts.close()


def run_place(declared: Declared, name: str, settings: Settings, on_ready: Callable[[], None]) -> None:
    """The process of the place `name`."""
    _run_loop(settings, on_ready, lambda channel: PlaceProcess(declared, name, settings, SystemClock(), channel))


def _run_loop(settings: Settings, on_ready: Callable[[], None], make: Callable[[SyncChannel], _Loop]) -> None:
    """Run a loop on a channel to the engine, which is waited for, until a signal ends it."""
    loops: list[_Loop] = []

    def tell(topic: str, payload: dict[str, Any]) -> None:
        for loop in loops:
            loop.on_event(topic, payload)

    channel = SyncChannel(settings.data / ENGINE_SOCKET, on_event=tell, limits=engine_limits(settings))
    try:
        with contextlib.suppress(EngineAway):
            channel.call("ping", {}, _ENGINE_WAIT_SECONDS)
        loop = make(channel)
        loops.append(loop)
        _on_signal(loop.stop)
        on_ready()
        loop.run()
    finally:
        channel.close()


def _on_signal(stop: Callable[[], None]) -> None:
    """Call `stop` when the process is asked to end, in a thread: a handler in the main thread runs only when that
    thread next moves, and it may be waiting while the kernel gives the signal to another."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)

    def wait() -> None:
        os.read(reading, 1)
        stop()

    threading.Thread(target=wait, name="signals", daemon=True).start()


def open_accounts(settings: Settings) -> Accounts:
    """The accounts of the data folder."""
    return Accounts(settings.data / "accounts.db", limits=AccountLimits.of(settings))


def still_allowed(accounts: Accounts, command: Command) -> str:
    """Why the author of `command` may no longer give it; "" when he may. A token without owner has no account whose
    role could have changed."""
    if command.user.startswith("token:"):
        return ""
    try:
        person = accounts.user(command.user)
    except NotFound:
        return "Its author has no account any more."
    if person.disabled is not None or not allows(person.role, "write"):
        return "Its author may not write any more."
    return ""


def prepare_folder(data: Path) -> None:
    """Make the data folder, for its owner only: the copy is as confidential as the backends."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    data.chmod(0o700)
