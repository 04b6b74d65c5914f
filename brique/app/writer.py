"""The engine's one writing thread: requests in batches, then jobs, then a step of a load, and so on for ever.

Whoever wants something written hands it over and waits for a future. Commands come first, so that a load of a
million rows, cut in short steps, holds nobody up; what is queued has a bound, past which callers are told `Busy`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from brique.commands import Ledger, LedgerAnswer, Request
from brique.errors import BriqueError, Busy
from brique.store import Load, Store

log = logging.getLogger(__name__)
_CHECKPOINT_SECONDS = 2.0


@dataclass
class _Asked:
    request: Request
    future: Future[LedgerAnswer]


@dataclass
class _Loading:
    load: Load
    future: Future[None]


class Writer:
    """Owns spool and store. `after_batch` is told, in the writing thread, when something was committed."""

    def __init__(
        self, ledger: Ledger, store: Store, *, batch_max: int, queue_max: int, after_batch: Callable[[], None]
    ) -> None:
        self.ledger, self.store = ledger, store
        self.batch_max, self.queue_max = batch_max, queue_max
        self._after_batch = after_batch
        self._requests: deque[_Asked] = deque()
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
        asked = _Asked(request, Future())
        self._put(self._requests, asked)
        return asked.future

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
            if self._stopping or self._failure is not None:
                raise Busy("The engine is stopping.", try_this="try again in a moment")
            if len(queue) >= self.queue_max:
                raise Busy("Too many writes are waiting for the disk.", try_this="try again in a moment")
            queue.append(item)
            self._work.notify()

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
            self.ended.set()

    def _turn(self) -> bool:
        """One round: a batch of requests, the jobs, one step of a load. False when it is over."""
        with self._work:
            if not (self._requests or self._jobs or self._loads):
                if self._stopping:
                    return False
                if not self._work.wait(_CHECKPOINT_SECONDS):
                    checkpoint = True
                else:
                    return True
            else:
                checkpoint = False
            count = min(len(self._requests), self.batch_max)
            batch = [self._requests.popleft() for _ in range(count)]
            jobs = [self._jobs.popleft() for _ in range(len(self._jobs))]
        if checkpoint:
            self.store.checkpoint()
            return True
        if batch:
            self._handle(batch)
        for job, future in jobs:
            _settle(future, job)
        if self._loads:
            self._step()
        if batch or jobs:
            self._after_batch()
        return True

    def _handle(self, batch: list[_Asked]) -> None:
        try:
            answers = self.ledger.handle([asked.request for asked in batch])
        except BriqueError as fault:
            for asked in batch:
                asked.future.set_exception(fault)
            return
        except BaseException as fault:
            for asked in batch:
                asked.future.set_exception(fault)
            raise
        for asked, answer in zip(batch, answers, strict=True):
            if isinstance(answer, BriqueError):
                asked.future.set_exception(answer)
            else:
                asked.future.set_result(answer)

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
            self.store.checkpoint()
        if not more:
            self._loads.popleft()
            self.store.checkpoint()
            loading.future.set_result(None)
            self._after_batch()

    def _refuse_all(self) -> None:
        with self._work:
            waiting: list[Future[Any]] = [asked.future for asked in self._requests]
            waiting += [future for _, future in self._jobs]
            waiting += [loading.future for loading in self._loads]
            for queue in (self._requests, self._jobs, self._loads):
                queue.clear()
        for future in waiting:
            future.set_exception(Busy("The engine is restarting.", try_this="try again in a moment"))


def _settle(future: Future[Any], job: Callable[[], Any]) -> None:
    """Run `job` into `future`; a fault of the asker's is his alone, any other ends the thread."""
    try:
        future.set_result(job())
    except BriqueError as fault:
        future.set_exception(fault)
    except BaseException as fault:
        future.set_exception(fault)
        raise
