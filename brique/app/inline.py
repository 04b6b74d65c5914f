"""The whole intranet in one process: the same engine, backends and web, as threads, with no socket between them.

For tests, notebooks and programs that mount it:

    with Inline(app, Path("data")) as site:
        run(site.asgi)
"""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from brique.app.backend import BackendProcess
from brique.app.engine import Engine
from brique.app.intranet import Declared, Intranet
from brique.app.lock import take
from brique.app.notifying import tell_authors
from brique.app.own import prepare_own
from brique.app.place import PlaceProcess
from brique.app.roles import open_accounts, prepare_folder, still_allowed
from brique.app.web import Web
from brique.channel import Direct
from brique.clock import Clock, SystemClock
from brique.settings import Settings


class Inline:
    """An intranet that runs while its block runs. `asgi` is the application, `accounts` its accounts.

    A backend that hangs for good cannot be killed here, as a process can: its thread is left behind.
    """

    def __init__(
        self,
        intranet: Intranet,
        data: Path,
        *,
        settings: Settings | None = None,
        clock: Clock | None = None,
        listen: str = "127.0.0.1",
    ) -> None:
        self.declared: Declared = intranet.declared()
        self.settings = settings or Settings(data=data)
        self.clock = clock or SystemClock()
        prepare_folder(self.settings.data)
        self._lock = take(self.settings.data, wait_seconds=self.settings.ready_seconds / 2)
        try:
            prepare_own(self.declared, self.settings.data, clock=self.clock)
        except BaseException:
            os.close(self._lock)
            raise
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="engine", daemon=True)
        self.engine = Engine(self.declared, self.settings, self.clock, self._broadcast)
        self.channel = Direct(self.engine.handle, loop=self._loop)
        self.accounts = open_accounts(self.settings)
        self.web = Web(self.declared, self.settings, self.channel, self.accounts, listen=listen, clock=self.clock)
        self.channel.subscribe(self.web.wake)
        self.asgi = self.web.asgi
        self.backends: dict[str, BackendProcess] = {}
        self.places: dict[str, PlaceProcess] = {}
        self._threads: list[threading.Thread] = []
        self._chores: list[asyncio.Task[None]] = []

    def _broadcast(self, topic: str, payload: dict[str, Any]) -> None:
        self.channel.broadcast(topic, payload)

    def __enter__(self) -> Inline:
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._start_engine(), self._loop).result()
            for name in self.declared.backends:
                self.start_backend(name)
            for name in self.declared.places:
                self.start_place(name)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def start_backend(self, name: str) -> None:
        """Start the loop of one backend in a thread."""
        process = BackendProcess(
            self.declared,
            name,
            self.settings,
            self.clock,
            self.channel,
            give_up=lambda: None,
            allowed=lambda command: still_allowed(self.accounts, command),
        )
        self.channel.subscribe(process.on_event)
        thread = threading.Thread(target=process.run, name=f"backend-{name}", daemon=True)
        self.backends[name] = process
        self._threads.append(thread)
        thread.start()

    def start_place(self, name: str) -> None:
        """Start the loop of one place in a thread."""
        process = PlaceProcess(self.declared, name, self.settings, self.clock, self.channel, give_up=lambda: None)
        self.channel.subscribe(process.on_event)
        thread = threading.Thread(target=process.run, name=f"place-{name}", daemon=True)
        self.places[name] = process
        self._threads.append(thread)
        thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        for backend in self.backends.values():
            backend.stop()
        for place in self.places.values():
            place.stop()
        for thread in self._threads:
            thread.join(self.settings.graceful_seconds)
        asyncio.run_coroutine_threadsafe(self._end_chores(), self._loop).result()
        self.web.readers.close()
        self.engine.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.accounts.close()
        os.close(self._lock)

    async def _start_engine(self) -> None:
        self.engine.start()
        chores = (self.engine.look_after(), tell_authors(self.engine, self.declared, self.settings, open_accounts))
        self._chores = [self._loop.create_task(chore) for chore in chores]

    async def _end_chores(self) -> None:
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)
        await self._loop.shutdown_default_executor()
