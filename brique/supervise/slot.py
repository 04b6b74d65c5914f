"""A place for one process: whatever happens to the process, the place is filled again until it is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal

from brique.clock import Clock, stamp
from brique.supervise.backoff import Backoff
from brique.supervise.process import Process
from brique.supervise.watcher import Watcher

State = Literal["starting", "running", "crashing", "stopping", "stopped"]
Starter = Callable[["Slot"], Process]
Told = Callable[[str, "Slot", str], None]
_CRASHES_SHOWN = 2  # one crash is bad luck, from the second in a row on the state is `crashing`


class Slot:
    """Keeps one process running. `gate` tells once whether its first process became ready.

    A slot of a new generation (`on_trial`) gives up when its first process does not become ready.
    """

    def __init__(
        self,
        watcher: Watcher,
        number: int,
        generation: int,
        *,
        start: Starter,
        told: Told,
        backoff: Backoff,
        clock: Clock,
        hurry: asyncio.Event,
        on_trial: bool = False,
    ) -> None:
        self.watcher = watcher
        self.number = number
        self.generation = generation
        self.name = f"{watcher.name}-{number}" if watcher.scalable else watcher.name
        self.restarts = 0
        self.last_exit = ""
        self.started_at: datetime | None = None
        self.process: Process | None = None
        self.gate: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._turn = self.gate  # told when the next process is ready (True) or has failed (False)
        self._phase: State = "starting"
        self._start = start
        self._told = told
        self._backoff = backoff
        self._clock = clock
        self._hurry = hurry
        self._on_trial = on_trial
        self._leaving = False
        self._asked = False  # the process in place ends because somebody asked, not by itself
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._keep(), name=f"keep {self.name}")

    @property
    def state(self) -> State:
        """A slot is `crashing` while it waits to try again, and after two crashes until one has lived."""
        if self._phase in ("starting", "running") and self._backoff.crashes >= _CRASHES_SHOWN:
            lived = asyncio.get_running_loop().time() - self.process.started if self.process else 0.0
            if lived < self._backoff.stable_seconds:
                return "crashing"
        return self._phase

    async def stop(self) -> None:
        """End the process and leave the place empty. May be called again, also at the same time."""
        self._leaving = self._asked = True
        self._wake.set()
        if self._phase != "stopped":
            self._phase = "stopping"
        if self.process is not None:
            await self.process.end(self._hurry)
        await asyncio.shield(self._task)

    async def restart(self) -> bool:
        """Replace the process by a new one; say whether that became ready."""
        self._asked = True
        self._backoff.forget()
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._turn = turn
        if self.process is not None:
            self._phase = "stopping"
            await self.process.end(self._hurry)
        self._wake.set()
        return await turn

    def status(self) -> dict[str, Any]:
        """What `status` tells about this place."""
        process = self.process
        now = asyncio.get_running_loop().time()
        return {
            "name": self.name,
            "watcher": self.watcher.name,
            "generation": self.generation,
            "state": self.state,
            "pid": process.pid if process else 0,
            "started": stamp(self.started_at) if process and self.started_at else "",
            "uptime_seconds": round(now - process.started, 3) if process else 0.0,
            "restarts": self.restarts,
            "last_exit": self.last_exit,
            **(process.usage() if process else {"rss_bytes": 0, "cpu_seconds": 0.0}),
        }

    async def _keep(self) -> None:
        while not self._leaving:
            lived = await self._run_once()
            if self._leaving or (self._on_trial and not self.gate.result()):
                break
            self.restarts += 1
            if self._asked:
                continue
            self._phase = "crashing"
            pause = self._backoff.after(lived)
            self._told("restarting", self, f"{self.last_exit}; again in {pause:.2f} s")
            self._wake.clear()
            await _wait(self._wake, pause)
        self._phase = "stopped"
        for turn in (self.gate, self._turn):
            _tell(turn, ready=False)

    async def _run_once(self) -> float:
        """Run one process to its end and say how long it lived, in seconds; 0 when it never was of use."""
        self._asked = self._leaving
        self._phase = "starting"
        try:
            self.process = process = self._start(self)
        except OSError as error:
            self.last_exit = f"cannot start: {error.strerror or error}"
            self._told("failed", self, self.last_exit)
            _tell(self._turn, ready=False)
            return 0.0
        self.started_at = self._clock.now()
        self._told("started", self, f"pid {process.pid}")
        ready = await self._until_ready(process)
        ended = await process.ended
        self.process = None
        self.last_exit = ended if ready or self._asked else f"{ended} before it was ready"
        self._told("ended", self, self.last_exit)
        if not self._asked:
            _tell(self._turn, ready=False)
        return asyncio.get_running_loop().time() - process.started if ready else 0.0

    async def _until_ready(self, process: Process) -> bool:
        """Wait until the process is ready or has ended; kill it when it takes too long."""
        either: list[asyncio.Future[Any]] = [process.ready, process.ended]
        await asyncio.wait(either, timeout=self.watcher.ready_seconds, return_when=asyncio.FIRST_COMPLETED)
        if process.ended.done() or self._asked:
            return process.ready.done()
        if process.ready.done():
            self._phase = "running"
            self._told("ready", self, "")
            _tell(self._turn, ready=True)
            return True
        self._told("late", self, f"not ready after {self.watcher.ready_seconds:g} s")
        process.kill_group()
        return False


def _tell(turn: asyncio.Future[bool], *, ready: bool) -> None:
    if not turn.done():
        turn.set_result(ready)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
