"""The engine and the backends' processes as the product has them, on a simulated clock and with a door that crashes.

Nothing runs by itself: `Door.ask` is the channel, and carries the engine's work out at once, several requests in one
batch when they come together; a crash closes the files where they are, as kill -9 does, and the next call finds a new
engine that has caught up from them. A backend's process runs in tasks that stop in the middle of a call.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import apsw
import greenlet
import msgspec

from brique.app import engine as engine_module
from brique.app.backend import BackendProcess
from brique.app.engine import Engine
from brique.app.intranet import Declared
from brique.commands import Report
from brique.errors import BriqueError, EngineAway, NoRoom
from brique.settings import Settings
from brique.spool import Entry, SqliteSpool
from brique.store import Store
from tests.simulation.backends import FakeBackend
from tests.simulation.disk import PowerCut, SimDisk
from tests.simulation.faults import Crash, Ended, Faults

_encode, _decode = msgspec.msgpack.encode, msgspec.msgpack.decode


class SimClock:
    """`seconds` only rise; the wall clock is set forward and back by `wall`."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.wall = 0.0

    def now(self) -> datetime:
        return datetime(2026, 11, 20, 8, tzinfo=UTC) + timedelta(seconds=self.seconds + self.wall)

    def monotonic(self) -> float:
        return self.seconds


class _Stopped:
    """The event that a process waits on: waiting takes no time."""

    def __init__(self, clock: SimClock) -> None:
        self._clock = clock

    def is_set(self) -> bool:
        return False

    def wait(self, seconds: float | None = 0.0) -> bool:
        self._clock.seconds += seconds or 0.0
        return False

    def set(self) -> None:
        """Nobody waits."""

    def clear(self) -> None:
        """Nobody waits."""


class _NoGuard:
    """Calls here end by themselves: the simulated backend says when the time of a frozen one is over."""

    is_slow = False

    @contextmanager
    def call(self, seconds: float, *, slow_seconds: float = 1.0) -> Iterator[None]:
        yield

    @contextmanager
    def pause(self) -> Iterator[None]:
        yield

    def touch(self) -> None:
        """Nothing runs out."""

    def stop(self) -> None:
        """Nothing runs."""


class _AtOnce:
    """An executor that does what it is given before it returns."""

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args))
        except BriqueError as fault:
            future.set_exception(fault)
        return future

    def shutdown(self, **_: Any) -> None:
        """Nothing is under way."""


class _Loop(asyncio.AbstractEventLoop):
    """As much of an event loop as the engine's methods need while somebody drives them by hand."""

    def __init__(self) -> None:
        self._ready: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        self._ready.append((callback, args))

    call_soon_threadsafe = call_soon

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def get_debug(self) -> bool:
        return False

    def is_closed(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """A crash leaves futures that nobody asks."""

    def run_ready(self) -> None:
        while self._ready:
            callback, args = self._ready.popleft()
            callback(*args)


class _Call:
    """One method of the engine on its way to its answer."""

    def __init__(self, coroutine: Coroutine[Any, Any, dict[str, Any]]) -> None:
        self._coroutine = coroutine
        self._waits: asyncio.Future[Any] | None = None
        self.answer: dict[str, Any] | BriqueError | None = None

    def go_on(self) -> None:
        """Run to the next wait, or to the end."""
        while self.answer is None and (self._waits is None or self._waits.done()):
            try:
                self._waits = self._coroutine.send(None)
            except StopIteration as end:
                self.answer = end.value
            except BriqueError as fault:
                self.answer = fault

    def close(self) -> None:
        self._coroutine.close()


class _Spool:
    """The real spool; crashes before and after an append, and is full or broken now and then."""

    def __init__(self, spool: Any, faults: Faults) -> None:
        self._spool, self._faults = spool, faults

    def append(self, entries: Sequence[Entry], *, urgent: bool = False) -> list[int]:
        self._faults.crash("engine killed before a flush")
        if self._faults.happens(self._faults.weather.full, "spool's disk full"):
            raise NoRoom("simulated: the disk is full")
        positions: list[int] = self._spool.append(entries, urgent=urgent)
        self._faults.crash("engine killed after a flush")
        return positions

    def forget(self, upto: int) -> int:
        self._faults.crash("engine killed before it forgets")
        count: int = self._spool.forget(upto)
        self._faults.crash("engine killed after it has forgotten")
        return count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._spool, name)


class Door:
    """The channel to an engine that may have crashed. A call to a dead engine starts it anew (its supervisor does)
    and fails."""

    def __init__(
        self,
        made: Declared,
        settings: Settings,
        clock: SimClock,
        faults: Faults,
        disk: SimDisk | None = None,
        *,
        search: bool = True,
    ) -> None:
        self.declared, self.settings, self.clock, self.faults = made, settings, clock, faults
        self.disk = disk
        """What the spool is on, when its power may fail; None: the real one."""
        self.search = search
        self.has_no_power = False
        self.flushed: Callable[[], None] = lambda: None
        """Told when the store has been flushed: no power cut throws it back behind this moment."""
        self._loop = _Loop()
        self.engine: Engine | None = None
        self.restarts = 0

    def start(self) -> Engine:
        """A new engine over the files; it may crash at its start as well."""
        while True:
            try:
                engine = self._made()
            except NoRoom:
                continue
            except PowerCut:
                self.has_no_power = True
                raise EngineAway("simulated: the power has failed") from None
            real = engine.spool
            engine.spool = engine.ledger.spool = _Spool(real, self.faults)  # type: ignore[assignment]  # with faults
            engine.writer.start = engine.writer.stop = lambda: None  # type: ignore[method-assign]  # no thread of its own
            engine.store.listen(self._before_commit)
            engine.store.flush = self._flushing(engine.store.flush)  # type: ignore[method-assign]  # and tell
            self.engine = engine
            try:
                engine.start()
                return engine
            except (Crash, NoRoom):
                Crash.over()
                self.kill()
            except PowerCut:
                self.kill()
                raise EngineAway("simulated: the power has failed") from None

    def _made(self) -> Engine:
        """A new engine, its spool on the simulated disk if there is one."""
        spool = SqliteSpool if self.disk is None else partial(SqliteSpool, disk=self.disk)
        store = partial(Store, search=self.search)
        with patch.object(engine_module, "SqliteSpool", spool), patch.object(engine_module, "Store", store):
            return Engine(self.declared, self.settings, self.clock, lambda topic, payload: None)

    def _flushing(self, flush: Callable[[], None]) -> Callable[[], None]:
        def flushing() -> None:
            flush()
            self.flushed()

        return flushing

    def _before_commit(self, tx: object, changes: object) -> None:
        self.faults.crash("engine killed before a commit")
        if self.faults.happens(self.faults.weather.full, "store's disk full"):
            raise NoRoom("simulated: the store's disk is full")
        if self.faults.happens(self.faults.weather.broken, "store's disk broken"):
            raise apsw.IOError("simulated: disk I/O error")

    def kill(self) -> None:
        """End the engine where it is."""
        engine, self.engine = self.engine, None
        if engine is not None:
            self.restarts += 1
            engine.store.close()
            with suppress(PowerCut):
                engine.spool.close()
            self.has_no_power = self.disk is not None and self.disk.is_dead

    def call(self, method: str, payload: dict[str, Any]) -> dict[str, Any]:
        """One call. Raises what the engine raises, and EngineAway when it is not there or dies over it."""
        [answer] = self.ask([(method, payload)])
        if isinstance(answer, BriqueError):
            raise answer
        return answer

    def ask(self, calls: Sequence[tuple[str, dict[str, Any]]]) -> list[dict[str, Any] | BriqueError]:
        """Calls that come together, which the engine takes in one batch. Raises EngineAway."""
        if self.engine is None:
            if not self.has_no_power:
                self.start()
            raise EngineAway("simulated: the engine was away")
        engine = self.engine
        under_way = [_Call(engine.handle(method, _decode(_encode(payload)))) for method, payload in calls]
        asyncio._set_running_loop(self._loop)
        try:
            while True:
                for call in under_way:
                    call.go_on()
                if all(call.answer is not None for call in under_way):
                    break
                engine.writer._turn()
                self._loop.run_ready()
            self.faults.crash("engine killed before it answers")
        except Crash:
            Crash.over()
            self.kill()
            raise EngineAway("simulated: the engine crashed") from None
        except PowerCut:
            self.kill()
            self.has_no_power = True
            raise EngineAway("simulated: the power has failed") from None
        finally:
            asyncio._set_running_loop(None)
            for call in under_way:
                call.close()
            self._loop._ready.clear()
        return [
            call.answer if isinstance(call.answer, BriqueError) else _decode(_encode(call.answer)) for call in under_way
        ]

    def run(self, job: Callable[[Engine], Any]) -> Any:
        """Something that the engine does by itself, in its writing thread. Raises EngineAway."""
        engine = self.alive()
        future = engine.writer.run(lambda: job(engine))
        try:
            engine.writer._turn()
        except Crash:
            Crash.over()
            self.kill()
            raise EngineAway("simulated: the engine crashed") from None
        except PowerCut:
            self.kill()
            self.has_no_power = True
            raise EngineAway("simulated: the power has failed") from None
        return future.result()

    def alive(self) -> Engine:
        """The engine, started if need be."""
        return self.engine or self.start()


class Channel:
    """A backend process's end of the door; others may act, and the process end, before and after each call.

    `is_cut`: the process is dead already, and only what it had begun with its backend goes on. No other process of a
    backend is started before the kernel has seen the end of the last one, and nobody writes in a folder whose lock
    another one holds; so nobody gives back, claims or tells what is another's, and claims need no owner.
    """

    is_cut = False

    def __init__(self, door: Door, between: Callable[[str], None]) -> None:
        self._door, self._between = door, between

    def call(self, method: str, payload: dict[str, Any], timeout: float | None = None) -> dict[str, Any]:
        Crash.check()
        self._between(f"{method}?")
        if self.is_cut:
            raise Crash("dead already")
        try:
            answer = self._door.call(method, payload)
        except EngineAway:
            if self._door.has_no_power:
                raise Crash("no power here either") from None
            raise
        self._between(f"{method}!")
        return answer

    def close(self) -> None:
        """Nothing is open."""


class _Turnstile:
    """A lock between tasks: who finds it taken lets the others go on."""

    def __init__(self, give_way: Callable[[], None]) -> None:
        self._give_way = give_way
        self._is_taken = False

    def __enter__(self) -> None:
        while self._is_taken:
            self._give_way()
        self._is_taken = True

    def __exit__(self, *_: object) -> None:
        self._is_taken = False


class _Reports:
    """Reports on their way to the engine: those that need not have arrived are `later` (each time, the first goes with
    the chance `prompt`), and lost when their process dies."""

    def __init__(self, send: Callable[[Report], None], faults: Faults, prompt: float) -> None:
        self._send, self._faults, self._prompt = send, faults, prompt
        self._waiting: deque[Report] = deque()

    def later(self, report: Report) -> None:
        self._waiting.append(report)
        while self._waiting and self._faults.chance() < self._prompt:
            self._send_first()

    def now(self, report: Report) -> None:
        self._waiting.append(report)
        self.flush()

    def flush(self) -> None:
        while self._waiting:
            self._send_first()

    def _send_first(self) -> None:
        report = self._waiting[0]
        self._send(report)
        if self._waiting and self._waiting[0] is report:
            self._waiting.popleft()

    def stop(self) -> None:
        """Nothing runs."""


class SimProcess(BackendProcess):
    """The process of a backend, to be driven by its `_turn` and its refreshing's `_refresh`. `give_way` lets another
    task go on."""

    def __init__(
        self,
        door: Door,
        backend: FakeBackend,
        between: Callable[[str], None],
        allowed: Callable[[Any], str],
        give_way: Callable[[], None],
        prompt: float = 0.5,
    ) -> None:
        super().__init__(
            door.declared,
            backend.name,
            door.settings,
            door.clock,
            Channel(door, between),  # type: ignore[arg-type]  # what is used of a channel
            allowed=allowed,
            backend=backend,
            chance=door.faults.chance,
            beside=False,
        )
        self.reports = _Reports(self._tell, door.faults, prompt)  # type: ignore[assignment]
        self.refreshing.refresher._loads = _AtOnce()  # type: ignore[assignment]
        self.ahead._thread = self.ahead._claiming = _AtOnce()  # type: ignore[assignment]
        self._saying = _Turnstile(give_way)  # type: ignore[assignment]
        self._stopped = self.refreshing._stopped = _Stopped(door.clock)  # type: ignore[assignment]

    def _new_guard(self) -> Any:
        return _NoGuard()

    def end(self) -> None:
        """Let go of its files, as its death does; reports on their way are lost."""
        self.notes.close()
        self.reader.close()
        self.refreshing.refresher.reader.close()


class Task:
    """Something that a process does, in a thread of its own that runs only while somebody waits in `go_on`: it comes
    back at a `pause` or at its end. So several things go on at once, and yet always in the same order."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._killed = False
        self.is_over = False
        self.crashed = False
        self.fault: BaseException | None = None
        self._thread = greenlet.greenlet(self._run)

    def _run(self) -> None:
        try:
            self._work()
        except Crash:
            Crash.over()
            self.crashed = True
        except BaseException as fault:
            self.fault = fault
        self.is_over = True

    def is_running_here(self) -> bool:
        return greenlet.getcurrent() is self._thread

    def pause(self) -> None:
        """In the task: let the others go on."""
        parent = self._thread.parent
        assert parent is not None
        parent.switch()
        if self._killed:
            raise Crash("the process was killed")

    def go_on(self) -> None:
        """Let it run to its next pause. Raises what it raised, and Ended when its process died in it."""
        self._thread.parent = greenlet.getcurrent()
        self._thread.switch()
        if self.fault is not None:
            raise self.fault
        if self.crashed and not self._killed:
            raise Ended

    def kill(self) -> None:
        """End it where it is."""
        if self.is_over:
            return
        self._killed = True
        if self._thread.gr_frame is None and not self._thread.dead:
            self.is_over = True  # it had not begun
            return
        self.go_on()


def new_settings(folder: Path, batch: int = 20) -> Settings:
    return Settings(data=folder, spool_free_bytes_min=0, replay_batch_max=batch)
