"""The engine and the backend's process as the product has them, on a simulated clock and with a door that crashes.

Nothing runs by itself: `Door.call` is the channel, and carries the engine's work out at once; a crash closes the
files where they are, as kill -9 does, and the next call finds a new engine that has caught up from them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from brique.app.backend import BackendProcess
from brique.app.engine import Engine
from brique.app.intranet import Declared, Intranet
from brique.commands import Request
from brique.errors import BriqueError, EngineAway, NoRoom
from brique.settings import Settings
from brique.spool import Entry
from tests.simulation.erp import SPECS, FakeBackend


class Crash(BaseException):
    """A process ends here, like kill -9: nothing may catch it."""


class SimClock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 11, 20, 8, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


class _Stopped:
    """The event that a process waits on: waiting takes no time."""

    def __init__(self, clock: SimClock) -> None:
        self._clock = clock

    def is_set(self) -> bool:
        return False

    def wait(self, seconds: float = 0.0) -> bool:
        self._clock.seconds += seconds
        return False


class _NoGuard:
    """Calls here end by themselves."""

    @contextmanager
    def call(self, seconds: float, *, slow_seconds: float = 1.0) -> Iterator[None]:
        yield

    @contextmanager
    def pause(self) -> Iterator[None]:
        yield

    def touch(self) -> None:
        """Nothing runs out."""


class _AtOnce:
    """An executor that does what it is given before it returns."""

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        return _done(lambda: function(*args))

    def shutdown(self) -> None:
        """Nothing is under way."""


def _done(function: Callable[[], Any]) -> Future[Any]:
    """What `function` gives, as a future; a Crash ends the process at once."""
    future: Future[Any] = Future()
    try:
        future.set_result(function())
    except BriqueError as fault:
        future.set_exception(fault)
    return future


class _Writer:
    """The engine's writer without its thread."""

    failure = None

    def __init__(self, engine: Engine, crash: Callable[[str], None]) -> None:
        self._engine, self._crash = engine, crash

    def start(self) -> None:
        """Nothing runs by itself."""

    def ask(self, request: Request) -> Future[Any]:
        def handle() -> Any:
            [answer] = self._engine.ledger.handle([request])
            self._crash("handled")
            if isinstance(answer, BriqueError):
                raise answer
            return answer

        return _done(handle)

    def run(self, job: Callable[[], Any]) -> Future[Any]:
        def run() -> Any:
            result = job()
            self._crash("done")
            return result

        return _done(run)

    def load(self, load: Any) -> Future[None]:
        def work() -> None:
            try:
                while load.step():
                    self._crash("load")
            except BriqueError:
                load.abandon()
                raise

        return _done(work)


class _Spool:
    """The real spool; crashes before and after an append, and is full now and then."""

    def __init__(self, spool: Any, crash: Callable[[str], None], is_full: Callable[[], bool]) -> None:
        self._spool, self._crash, self._is_full = spool, crash, is_full

    def append(self, entries: list[Entry]) -> list[int]:
        self._crash("append")
        if self._is_full():
            raise NoRoom("simulated: the disk is full")
        positions: list[int] = self._spool.append(entries)
        self._crash("appended")
        return positions

    def __getattr__(self, name: str) -> Any:
        return getattr(self._spool, name)


def declared(*, marker: bool, refresh_seconds: float) -> Declared:
    intranet = Intranet("Simulation")
    backend = intranet.backend("erp", "sqlite:////nowhere", refresh=refresh_seconds, marker=marker)
    intranet.infer(backend, tuple(SPECS.values()))
    return intranet.declared()


class Door:
    """The channel to an engine that may have crashed. `crash(place)` may raise Crash, `is_full(what)` says when a disk
    is full. A call to a dead engine starts it anew (its supervisor does) and fails."""

    def __init__(
        self,
        made: Declared,
        settings: Settings,
        clock: SimClock,
        *,
        crash: Callable[[str], None],
        is_full: Callable[[str], bool],
    ) -> None:
        self.declared, self.settings, self.clock = made, settings, clock
        self._crash, self._is_full = crash, is_full
        self._loop = asyncio.new_event_loop()
        self.engine: Engine | None = None
        self.restarts = 0

    def start(self) -> Engine:
        """A new engine over the files; it may crash at its start as well."""
        while True:
            engine = Engine(self.declared, self.settings, self.clock, lambda topic, payload: None)
            real = engine.spool
            engine.spool = engine.ledger.spool = _Spool(  # type: ignore[assignment]  # the same, with faults
                real, self._crash, lambda: self._is_full("spool")
            )
            engine.writer.stop = lambda: None  # type: ignore[method-assign]  # its thread was never started
            engine.writer = _Writer(engine, self._crash)  # type: ignore[assignment]  # the same, without a thread
            engine.store.listen(self._before_commit)
            self.engine = engine
            try:
                engine.start()
                return engine
            except (Crash, NoRoom):
                self.kill()

    def _before_commit(self, tx: object, changes: object) -> None:
        self._crash("commit")
        if self._is_full("store"):
            raise NoRoom("simulated: the store's disk is full")

    def kill(self) -> None:
        """End the engine where it is."""
        engine, self.engine = self.engine, None
        if engine is not None:
            self.restarts += 1
            engine.store.close()
            engine.spool.close()

    def call(self, method: str, payload: dict[str, Any], timeout: float | None = None) -> dict[str, Any]:
        if self.engine is None:
            self.start()
            raise EngineAway("simulated: the engine was away")
        assert self.engine is not None
        carried = msgspec.msgpack.decode(msgspec.msgpack.encode(payload))
        try:
            answer = self._loop.run_until_complete(self.engine.handle(method, carried))
        except Crash:
            self.kill()
            raise EngineAway("simulated: the engine crashed") from None
        decoded: dict[str, Any] = msgspec.msgpack.decode(msgspec.msgpack.encode(answer))
        return decoded

    def alive(self) -> Engine:
        """The engine, started if need be."""
        return self.engine or self.start()

    def close(self) -> None:
        self.kill()
        self._loop.close()


class Channel:
    """The backend process's end of the door; its process may crash before and after each call."""

    def __init__(self, door: Door, crash: Callable[[str], None]) -> None:
        self._door, self._crash = door, crash

    def call(self, method: str, payload: dict[str, Any], timeout: float | None = None) -> dict[str, Any]:
        self._crash(f"{method}?")
        answer = self._door.call(method, payload, timeout)
        self._crash(f"{method}!")
        return answer

    def close(self) -> None:
        """Nothing is open."""


def backend_process(
    door: Door,
    backend: FakeBackend,
    chance: Callable[[], float],
    crash: Callable[[str], None],
    allowed: Callable[[Any], str],
) -> BackendProcess:
    """The backend's process, to be driven by its `_turn`."""
    process = BackendProcess(
        door.declared,
        "erp",
        door.settings,
        door.clock,
        Channel(door, crash),  # type: ignore[arg-type]  # what is used of a channel
        allowed=allowed,
        backend=backend,
        chance=chance,
    )
    refresher = process.refreshing.refresher
    process.guard.stop()
    refresher.guard.stop()
    process.guard = refresher.guard = _NoGuard()  # type: ignore[assignment]  # as above
    refresher._loads = _AtOnce()  # type: ignore[assignment]
    process._stopped = process.refreshing._stopped = _Stopped(door.clock)  # type: ignore[assignment]
    return process


class Refresh:
    """One refresh of a process, in a thread of its own that runs only while somebody waits in `go_on`: it comes back
    at a `pause` or at its end. So two things go on at once, and yet always in the same order."""

    def __init__(self, process: BackendProcess) -> None:
        self._process = process
        self._resume, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._killed = False
        self.is_over = False
        self.crashed = False
        self.fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="refresh", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._resume.acquire()
        try:
            if not self._killed:
                self._process.refreshing._refresh()
        except Crash:
            self.crashed = True
        except BaseException as fault:
            self.fault = fault
        self.is_over = True
        self._back.release()

    def is_running_here(self) -> bool:
        return threading.current_thread() is self._thread

    def pause(self) -> None:
        """In the refresh: let the others go on."""
        self._back.release()
        self._resume.acquire()
        if self._killed:
            raise Crash("the refreshing process was killed")

    def go_on(self) -> None:
        """Let it run to its next pause. Raises what it raised, and Crash when its process ended in it."""
        self._resume.release()
        self._back.acquire()
        if self.fault is not None:
            raise self.fault
        if self.crashed and not self._killed:
            raise Crash("the refreshing process ended")

    def kill(self) -> None:
        """End it where it is."""
        if not self.is_over:
            self._killed = True
            self.go_on()
        self._thread.join()


def new_settings(folder: Path) -> Settings:
    return Settings(data=folder, spool_free_bytes_min=0, replay_batch_max=7)
