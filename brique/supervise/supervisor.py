"""The supervisor itself: groups of watchers, generations, the order of starting and stopping, signals, status."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import random
import signal
import socket
from collections import deque
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from brique import channel, errors
from brique.clock import Clock, SystemClock, stamp
from brique.observe import Sampler
from brique.supervise import control
from brique.supervise.backoff import Backoff
from brique.supervise.process import Process, start, usage
from brique.supervise.slot import Slot
from brique.supervise.watcher import COUNT_MAX, Watcher

_log = logging.getLogger("brique.supervise")
_EVENTS_KEPT = 200
_SAMPLE_SECONDS = 60.0
_SYSTEMD_NAMES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


class Supervisor:
    """Runs `groups` of watchers: started in this order, stopped in the opposite one.

    `await run()` returns when everything has stopped: after `quit`, or SIGTERM or SIGINT (a second one kills at once).
    SIGHUP reloads.

    Args:
        data: the data folder: control.sock, supervisor.lock and metrics/ are in it.
        listeners: the listening sockets, held open for all generations and handed to the watchers that listen.
        environment: of the children; the supervisor's own unless told.
    Raises (from `run`):
        BadConfiguration: another supervisor runs on this data folder, or two watchers have one name.
    """

    def __init__(
        self,
        data: Path,
        groups: Sequence[Sequence[Watcher]],
        *,
        listeners: Sequence[socket.socket] = (),
        environment: Mapping[str, str] | None = None,
        clock: Clock | None = None,
        chance: random.Random | None = None,
    ) -> None:
        self.data = data
        self.groups = [list(group) for group in groups]
        self.watchers = {watcher.name: watcher for group in groups for watcher in group}
        if len(self.watchers) != sum(map(len, self.groups)):
            raise errors.BadConfiguration("Two processes have the same name", try_this="Rename a backend.")
        self.slots: dict[str, list[Slot]] = {name: [] for name in self.watchers}
        self.counts = {watcher.name: watcher.count for watcher in self.watchers.values()}
        self.events: deque[dict[str, str]] = deque(maxlen=_EVENTS_KEPT)
        self._listeners = list(listeners)
        own = os.environ if environment is None else environment
        self._environment = {name: value for name, value in own.items() if name not in _SYSTEMD_NAMES}
        self._clock = clock or SystemClock()
        self._random = chance or random.Random()
        self._started_at = self._clock.now()
        self._every: set[Slot] = set()  # also those on trial and those being retired
        self._generation: dict[str, int] = dict.fromkeys(self.watchers, 0)
        self._changing: set[str] = set()
        self._background: set[asyncio.Task[Any]] = set()
        self._server: channel.Server | None = None

    async def run(self) -> None:
        """Start everything, keep it running, stop everything."""
        lock = _lock(self.data)
        self._quit, self._hurry = asyncio.Event(), asyncio.Event()
        try:
            self._listen_to_signals()
            self._server = await channel.serve(self.data / control.SOCKET_NAME, control.handler(self))
            starting = self._spawn(self._start_groups())
            sampling = self._spawn(self._take_samples())
            await self._quit.wait()
            starting.cancel()
            sampling.cancel()
            await self._stop_groups()
        finally:
            await self._wind_up()
            os.close(lock)

    # -- commands: each is one word of the control shell ----------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Everything that `brique ctl status` shows."""
        own = usage(os.getpid())
        slots = sorted(self._every, key=lambda slot: (slot.watcher.name, slot.generation, slot.number))
        return {
            "supervisor": {
                "pid": os.getpid(),
                "started": stamp(self._started_at),
                "stopping": self._quit.is_set(),
                "listening": [_address(sock) for sock in self._listeners],
                **own,
            },
            "watchers": [
                {
                    "name": watcher.name,
                    "count": self.counts[watcher.name],
                    "running": sum(slot.state == "running" for slot in self.slots[watcher.name]),
                    "scalable": watcher.scalable,
                    "generation": self._generation[watcher.name],
                }
                for watcher in self.watchers.values()
            ],
            "processes": [slot.status() for slot in slots],
        }

    async def restart(self, name: str) -> None:
        """Replace the processes of a watcher, or one process, one after the other, each waited for."""
        watcher, slots = self._find(name)
        with self._change(watcher.name):
            for slot in slots:
                if not await slot.restart():
                    raise errors.Refused(
                        f"{slot.name} did not become ready: {slot.last_exit}",
                        try_this="It is tried again and again; look at its log.",
                    )

    async def stop(self, name: str) -> None:
        """End a watcher's processes and keep it stopped until `start`."""
        watcher = self._watcher(name)
        with self._change(name):
            await self._retire(self.slots[name])
            self.slots[name] = []
            self._tell("stopped", name, "")
            self.counts[watcher.name] = 0

    async def start(self, name: str) -> None:
        """Start a watcher that was stopped."""
        watcher = self._watcher(name)
        with self._change(name):
            if not self.slots[name]:
                self.counts[name] = max(1, watcher.count)
                self._fill(watcher)

    async def scale(self, name: str, by: int) -> int:
        """Run `by` more (or fewer) processes and return how many run then. Raises Refused."""
        watcher = self._watcher(name)
        wanted = self.counts[name] + by
        if not watcher.scalable:
            raise errors.Refused(
                f"{name} runs exactly once", try_this="Only processes that serve requests can be several."
            )
        if not 1 <= wanted <= COUNT_MAX:
            raise errors.Refused(f"{name} cannot run {wanted} times", try_this=f"Choose 1 to {COUNT_MAX}.")
        with self._change(name):
            self.counts[name] = wanted
            surplus = self.slots[name][wanted:]
            self.slots[name] = self.slots[name][:wanted]
            self._fill(watcher)
            await self._retire(surplus)
        return wanted

    def signal(self, name: str, number: int) -> int:
        """Send a signal to a watcher's processes, or to one; return to how many."""
        _, slots = self._find(name)
        processes = [slot.process for slot in slots if slot.process is not None]
        for process in processes:
            process.signal(number)
        return len(processes)

    async def reload(self, name: str = "") -> list[str]:
        """Start a new generation of a watcher (of every scalable one), wait until it is ready, retire the old one.

        Returns the names reloaded. Raises Refused, the old generation untouched, when the new one is broken.
        """
        names = [name] if name else [watcher.name for watcher in self.watchers.values() if watcher.scalable]
        for one in names:
            if not self._watcher(one).scalable:
                raise errors.Refused(f"{one} cannot run twice at once", try_this=f"Use: restart {one}")
            with self._change(one):
                await self._new_generation(self.watchers[one])
        return names

    def quit(self) -> None:
        """Stop everything; the second time, at once."""
        if self._quit.is_set():
            self._hurry.set()
        self._quit.set()

    # -- how -------------------------------------------------------------------------------------------------------

    async def _start_groups(self) -> None:
        """Each group once the one before is ready, or has had its time: readers work without the engine too."""
        for group in self.groups:
            for watcher in group:
                self._fill(watcher)
            gates = [slot.gate for watcher in group for slot in self.slots[watcher.name]]
            if gates:
                await asyncio.wait(gates, timeout=max(watcher.ready_seconds for watcher in group))
        self._tell("up", "supervisor", f"{len(self._every)} processes")

    async def _stop_groups(self) -> None:
        self._tell("stopping", "supervisor", "")
        for group in reversed(self.groups):
            await asyncio.gather(*(self._retire(self._live(watcher.name)) for watcher in group))

    async def _wind_up(self) -> None:
        """What must not stay behind, whatever happened."""
        self._hurry.set()
        await asyncio.gather(*(slot.stop() for slot in self._every), return_exceptions=True)
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        for sock in self._listeners:
            sock.close()
        if self._server is not None:
            await self._server.close(grace_seconds=1.0)

    async def _new_generation(self, watcher: Watcher) -> None:
        generation = self._generation[watcher.name] + 1
        fresh = [self._slot(watcher, n, generation, on_trial=True) for n in range(1, self.counts[watcher.name] + 1)]
        self._tell("reloading", watcher.name, f"generation {generation}")
        passed = False
        try:
            passed = all(await asyncio.gather(*(slot.gate for slot in fresh))) and not self._quit.is_set()
        finally:
            if not passed:
                await self._retire(fresh)
        if not passed:
            reasons = ", ".join(sorted({f"{slot.name}: {slot.last_exit}" for slot in fresh if slot.last_exit}))
            self._tell("kept", watcher.name, f"generation {generation} was broken: {reasons}")
            raise errors.Refused(
                f"The new generation of {watcher.name} did not become ready ({reasons}); the old one goes on",
                try_this="Look at the log, mend it, and reload again.",
            )
        old, self.slots[watcher.name] = self.slots[watcher.name], fresh
        self._generation[watcher.name] = generation
        self._tell("reloaded", watcher.name, f"generation {generation}")
        self._spawn(self._retire(old))

    def _fill(self, watcher: Watcher) -> None:
        slots = self.slots[watcher.name]
        for number in range(len(slots) + 1, self.counts[watcher.name] + 1):
            slots.append(self._slot(watcher, number, self._generation[watcher.name]))

    def _slot(self, watcher: Watcher, number: int, generation: int, *, on_trial: bool = False) -> Slot:
        slot = Slot(
            watcher,
            number,
            generation,
            start=self._start_process,
            told=lambda what, slot, detail: self._tell(what, slot.name, detail),
            backoff=Backoff(self._random),
            clock=self._clock,
            hurry=self._hurry,
            on_trial=on_trial,
        )
        self._every.add(slot)
        return slot

    def _start_process(self, slot: Slot) -> Process:
        files = [sock.fileno() for sock in self._listeners]
        return start(
            slot.watcher, name=slot.name, generation=slot.generation, listeners=files, environment=self._environment
        )

    async def _retire(self, slots: Sequence[Slot]) -> None:
        await asyncio.gather(*(slot.stop() for slot in slots))
        self._every.difference_update(slots)

    def _live(self, name: str) -> list[Slot]:
        return [slot for slot in self._every if slot.watcher.name == name]

    def _watcher(self, name: str) -> Watcher:
        if name not in self.watchers:
            raise errors.NotFound(f"There is no {name!r} here", try_this=f"Choose from: {', '.join(self.watchers)}.")
        return self.watchers[name]

    def _find(self, name: str) -> tuple[Watcher, list[Slot]]:
        """A watcher and its slots, or the one slot of that name."""
        if name in self.watchers:
            return self.watchers[name], list(self.slots[name])
        for slots in self.slots.values():
            for slot in slots:
                if slot.name == name:
                    return slot.watcher, [slot]
        names = [*self.watchers, *(slot.name for slots in self.slots.values() for slot in slots)]
        raise errors.NotFound(f"There is no {name!r} here", try_this=f"Choose from: {', '.join(dict.fromkeys(names))}.")

    @contextlib.contextmanager
    def _change(self, name: str) -> Iterator[None]:
        """One change to a watcher at a time. Raises Busy."""
        if name in self._changing or self._quit.is_set():
            raise errors.Busy(f"{name} is being changed or stopped", try_this="Try again when that is done.")
        self._changing.add(name)
        try:
            yield
        finally:
            self._changing.discard(name)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._on_done)
        return task

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("the supervisor made a mistake", exc_info=error)

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.quit)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._spawn(self._reload_on_signal()))

    async def _reload_on_signal(self) -> None:
        try:
            await self.reload()
        except errors.BriqueError as error:
            _log.warning("%s", error.message)

    async def _take_samples(self) -> None:
        folder = self.data / "metrics"
        folder.mkdir(mode=0o700, exist_ok=True)
        sampler = Sampler(folder, self._clock)
        while True:
            try:
                sampler.sample()
            except OSError as error:
                _log.warning("figures could not be sampled: %s", error)
            await asyncio.sleep(_SAMPLE_SECONDS)

    def _tell(self, what: str, name: str, detail: str) -> None:
        """One line in the log, one event for those who listen."""
        event = {"at": stamp(self._clock.now()), "event": what, "name": name, "detail": detail}
        self.events.append(event)
        _log.info("%s %s", name, what, extra={"detail": detail} if detail else None)
        if self._server is not None:
            self._server.broadcast("event", event)


def _address(sock: socket.socket) -> str:
    address = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return str(address)
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _lock(data: Path) -> int:
    """The open lock file of this data folder: one supervisor only. Given back when the process ends, however."""
    path = data / "supervisor.lock"
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise errors.BadConfiguration(
            f"The data folder {data} cannot be used: {error.strerror}", try_this="Choose another with --data."
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        pid = os.pread(file, 20, 0).decode("ascii", "replace").strip()
        os.close(file)
        raise errors.BadConfiguration(
            f"brique already runs on {data} (process {pid})",
            try_this="Stop it with `brique ctl quit`, or use another data folder.",
            pid=pid,
        ) from error
    os.ftruncate(file, 0)
    os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
    return file
