"""The engine's one place of writing: requests in batches, then jobs, then a step of a load, and so on for ever.

Whoever wants something written hands it over and waits. Commands come first, so that a load of a million rows, cut in
short steps, holds nobody up; what is queued has a bound, past which callers are told `Busy`. Reports come one a round
behind all other requests: while a backend takes in what has waited for it, its process is told at once what it may
send next, and people are acknowledged, however much is left to settle. (A short one goes right behind them, in the
same flush and transaction, which alone would take longer than what it tells.) A report may be overtaken, because what
it tells has happened whether it is known here or not: a command that is claimed again meanwhile is found by the
backend's mark, or was noted as `sending`, as after a crash.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from brique.app.checkpoints import Checkpoints
from brique.commands import Ledger, LedgerAnswer, Report, Request
from brique.errors import BriqueError, Busy, NoRoom
from brique.store import Load, Store

log = logging.getLogger(__name__)
_CHECKPOINT_SECONDS = 2.0
_SHORT = 100  # commands of a report that goes along with other requests


@dataclass(slots=True)
class _Asked:
    """A request in the queue, and who waits for its answer: a thread, or a coroutine of the loop."""

    request: Request
    future: Future[LedgerAnswer] | asyncio.Future[LedgerAnswer]
    loop: asyncio.AbstractEventLoop | None = None
    answer: LedgerAnswer = None
    fault: BaseException | None = None


@dataclass
class _Loading:
    load: Load
    future: Future[None]


class Writer:
    """Owns spool and store. `after_batch` is told, by who is writing, when something was committed.

    `chore` does a step of what can wait, and says in how many seconds it has more to do (None: nothing waits). It is
    called after each round, and when that time has passed; it has a fifth of the time at most.
    """

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        *,
        batch_max: int,
        queue_max: int,
        after_batch: Callable[[], None],
        chore: Callable[[], float | None] = lambda: None,
    ) -> None:
        self.ledger, self.store = ledger, store
        self.batch_max, self.queue_max = batch_max, queue_max
        self._after_batch, self._chore = after_batch, chore
        self._chore_from, self._chore_at = 0.0, float("inf")
        self._checkpoints = Checkpoints(store)
        self._requests: deque[_Asked] = deque()
        self._reports: deque[_Asked] = deque()
        self._jobs: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._loads: deque[_Loading] = deque()
        self._work = threading.Condition()
        self._stopping = False
        self._failure: BaseException | None = None
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="writer")

    def start(self) -> None:
        self._thread.start()

    def ask(self, request: Request) -> Future[LedgerAnswer]:
        """Put `request` into the next batch. Raises Busy."""
        future: Future[LedgerAnswer] = Future()
        self._put(self._queue_of(request), _Asked(request, future))
        return future

    def _queue_of(self, request: Request) -> deque[_Asked]:
        return self._reports if isinstance(request, Report) else self._requests

    async def ask_soon(self, request: Request) -> LedgerAnswer:
        """`ask` for a coroutine: the answers of a batch come to its loop together, with one call."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[LedgerAnswer] = loop.create_future()
        self._put(self._queue_of(request), _Asked(request, future, loop))
        return await future

    def _is_wanted(self) -> bool:
        return bool(self._requests or self._reports or self._jobs or self._loads)

    def run(self, job: Callable[[], Any]) -> Future[Any]:
        """Run `job` in the writing thread, after the requests that wait now. Raises Busy."""
        future: Future[Any] = Future()
        self._put(self._jobs, (job, future))
        return future

    def load(self, load: Load) -> Future[None]:
        """Carry out `load` step by step, whenever nothing else waits."""
        loading = _Loading(load, Future())
        self._put(self._loads, loading)
        return loading.future

    def _put(self, queue: deque[Any], item: Any) -> None:
        with self._work:
            self._check_open(queue)
            queue.append(item)
            self._work.notify()

    def _check_open(self, queue: deque[Any]) -> None:
        if self._stopping or self._failure is not None:
            raise Busy("The engine is stopping.", try_this="try again in a moment")
        if len(queue) >= self.queue_max:
            raise Busy("Too many writes are waiting for the disk.", try_this="try again in a moment")

    def stop(self) -> None:
        """Take no more, do what was taken (a load is left and starts anew next time), end."""
        with self._work:
            self._stopping = True
            self._work.notify()
        self._thread.join()

    @property
    def failure(self) -> BaseException | None:
        """What ended the thread, if something did that should not have."""
        return self._failure

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except BaseException as fault:
            log.exception("the writing thread ends")
            self._failure = fault
            self._refuse_all()
            raise
        finally:
            self._checkpoints.stop()
            self.ended.set()

    def _turn(self) -> bool:
        """One round: a batch of requests, the jobs, one step of a load. False when it is over."""
        with self._work:
            if not self._is_wanted():
                if self._stopping:
                    return False
                if self._work.wait(min(_CHECKPOINT_SECONDS, self._chore_in())):
                    return True
            batch = [self._requests.popleft() for _ in range(min(len(self._requests), self.batch_max))]
            reports = [self._reports.popleft() for _ in range(min(len(self._reports), 1))]
            jobs = [self._jobs.popleft() for _ in range(len(self._jobs))]
        if batch and reports and _is_short(reports[0].request):
            batch, reports = batch + reports, []
        self._write(batch, reports, jobs)
        return True

    def _write(
        self, batch: list[_Asked], reports: list[_Asked], jobs: list[tuple[Callable[[], Any], Future[Any]]]
    ) -> None:
        for asked in (batch, reports):
            if asked:
                self._handle(asked)
        for job, future in jobs:
            _settle(future, job)
        if self._loads:
            self._step()
        elif not (batch or reports or jobs) and self._chore_in() > 0:
            self._checkpoints.now()
        if batch or reports or jobs:
            self._after_batch()
            self._checkpoints.after_batch()
        if batch or reports or jobs or self._chore_in() == 0:
            self._do_chore()

    def _chore_in(self) -> float:
        """Seconds until the chore is to be done."""
        return max(0.0, max(self._chore_at, self._chore_from) - time.monotonic())

    def _do_chore(self) -> None:
        """A step of what can wait; then a pause four times as long."""
        began = time.monotonic()
        if began < self._chore_from:
            self._chore_at = self._chore_from
            return
        try:
            wait = self._chore()
        except NoRoom as fault:
            log.info("%s", fault.message)
            wait = _CHECKPOINT_SECONDS
        now = time.monotonic()
        self._chore_at = float("inf") if wait is None else now + wait
        self._chore_from = now + 4 * (now - began)
        self._after_batch()

    def _handle(self, batch: list[_Asked]) -> None:
        try:
            answers = self.ledger.handle([asked.request for asked in batch])
        except BaseException as fault:
            for asked in batch:
                asked.fault = fault
            _tell(batch)
            if not isinstance(fault, BriqueError):
                raise
            return
        for asked, answer in zip(batch, answers, strict=True):
            if isinstance(answer, BriqueError):
                asked.fault = answer
            else:
                asked.answer = answer
        _tell(batch)

    def _step(self) -> None:
        loading = self._loads[0]
        if self._stopping:
            self._loads.popleft()
            loading.load.abandon()
            loading.future.set_exception(Busy("The engine is stopping."))
            return
        started = time.monotonic()
        try:
            more = loading.load.step()
        except BriqueError as fault:
            self._loads.popleft()
            loading.load.abandon()
            loading.future.set_exception(fault)
            return
        if time.monotonic() - started > 1.0:
            self._checkpoints.now()
        if not more:
            self._loads.popleft()
            self._checkpoints.now()
            loading.future.set_result(None)
            self._after_batch()

    def _refuse_all(self) -> None:
        busy = Busy("The engine is restarting.", try_this="try again in a moment")
        with self._work:
            asked = [*self._requests, *self._reports]
            waiting: list[Future[Any]] = [future for _, future in self._jobs]
            waiting += [loading.future for loading in self._loads]
            for queue in (self._requests, self._reports, self._jobs, self._loads):
                queue.clear()
        for one in asked:
            one.fault = busy
        _tell(asked)
        for future in waiting:
            future.set_exception(busy)


def _is_short(request: Request) -> bool:
    return isinstance(request, Report) and request.count <= _SHORT


def _tell(batch: list[_Asked]) -> None:
    """Give everybody his answer; coroutines once for each loop, because a call to a loop is a system call."""
    loops: dict[asyncio.AbstractEventLoop, list[_Asked]] = {}
    for asked in batch:
        if asked.loop is None:
            _deliver([asked])
        else:
            loops.setdefault(asked.loop, []).append(asked)
    for loop, those in loops.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_deliver, those)


def _deliver(batch: list[_Asked]) -> None:
    for asked in batch:
        if asked.future.done():
            continue
        if asked.fault is not None:
            asked.future.set_exception(asked.fault)
        else:
            asked.future.set_result(asked.answer)


def _settle(future: Future[Any], job: Callable[[], Any]) -> None:
    """Run `job` into `future`; a fault of the asker's is his alone, any other ends the thread."""
    try:
        future.set_result(job())
    except BriqueError as fault:
        future.set_exception(fault)
    except BaseException as fault:
        future.set_exception(fault)
        raise
