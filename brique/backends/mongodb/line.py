"""One lane to MongoDB whose every call ends in time, also when the server is frozen or a name cannot be looked up.

Each call runs in the lane's own thread, with a deadline for the driver. Whoever waits leaves at that deadline, or when
`abort` says so; the thread is left behind with its client, ends when the driver gives up, and the next call gets
another of both. What a call that was left behind still does at the server is the caller's to reckon with.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import pymongo
from bson.errors import BSONError
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from brique.backends.faults import ABORTED, CLOSED, LOST, SLOW, away
from brique.backends.mongodb.faults import explain, is_broken
from brique.errors import BackendAway, BackendRefused

Client = MongoClient[dict[str, Any]]
Answer = TypeVar("Answer")
_GRACE_SECONDS = 0.25
"""How long a caller waits for the driver to notice its deadline by itself."""
_CLOSE_SECONDS = 1.0


class Job:
    """A call on its way."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self.over = threading.Event()
        self.answer: Any = None
        self.fault: BaseException | None = None
        self.why = ""
        """Why nobody waits for it any more ("" while somebody does)."""

    def run(self) -> None:
        try:
            self.answer = self._work()
        except BaseException as fault:  # noqa: BLE001  (handed to the caller's thread)
            self.fault = fault
        self.over.set()

    def give_up(self, why: str) -> None:
        self.why = self.why or why
        self.over.set()


class Worker:
    """A thread with its own client."""

    def __init__(self, make: Callable[[], Client]) -> None:
        self._make = make
        self._client: Client | None = None
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="backend-mongodb", daemon=True)
        self._thread.start()

    def client(self) -> Client:
        """To be called in the worker's thread."""
        if self._client is None:
            self._client = self._make()
        return self._client

    def submit(self, work: Callable[[], Any]) -> Job:
        job = Job(work)
        self._jobs.put(job)
        return job

    def end(self, *, wait_seconds: float = 0.0) -> None:
        """Close the client after the call in progress; waiting for that at most so long."""
        self._jobs.put(None)
        if wait_seconds and threading.current_thread() is not self._thread:
            self._thread.join(wait_seconds)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run()
        if self._client is not None:
            with suppress(PyMongoError, OSError), pymongo.timeout(_CLOSE_SECONDS):
                self._client.close()


class Line:
    """One lane. One thread at a time, but for `abort`. `make` makes a client, in the lane's thread."""

    def __init__(self, backend: str, make: Callable[[], Client]) -> None:
        self.backend = backend
        self._make = make
        self._lock = threading.RLock()
        self._worker: Worker | None = None
        self._job: Job | None = None
        self._closed = False
        self.opened = 0
        """How often a client was made: what was begun on another one is over."""

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other threads out for several calls."""
        with self._lock:
            yield

    def call(self, seconds: float, work: Callable[[Client], Answer]) -> Answer:
        """`work(client)` in the lane's thread, within `seconds`. Raises BackendAway, BackendRefused."""
        with self._lock:
            if self._closed:
                raise away(CLOSED, backend=self.backend)
            worker = self._opened()
            self._job = job = worker.submit(lambda: self._timed(worker, seconds, work))
            try:
                job.over.wait(seconds + _GRACE_SECONDS)
            finally:
                self._job = None
            return self._outcome(job, seconds)  # type: ignore[no-any-return]

    def _timed(self, worker: Worker, seconds: float, work: Callable[[Client], Answer]) -> Answer:
        with pymongo.timeout(seconds):
            return work(worker.client())

    def _outcome(self, job: Job, seconds: float) -> Any:
        if job.why or not job.over.is_set():
            self.drop()
            raise away(job.why or SLOW, backend=self.backend, seconds=seconds)
        fault = job.fault
        if fault is None:
            return job.answer
        if isinstance(fault, (PyMongoError, BSONError, OverflowError)):
            if is_broken(fault):
                self.drop()
            raise explain(fault, backend=self.backend, seconds=seconds) from fault
        if isinstance(fault, OSError):
            self.drop()
            raise away(LOST, backend=self.backend, reason=str(fault)) from fault
        raise fault

    def _opened(self) -> Worker:
        if self._worker is None:
            self._worker = Worker(self._make)
            self.opened += 1
        return self._worker

    @property
    def is_open(self) -> bool:
        return self._worker is not None

    def end(self, work: Callable[[], None]) -> None:
        """Do what ends something, briefly; when that is not possible, the client goes, which ends it too."""
        try:
            self.call(_CLOSE_SECONDS, lambda _: work())
        except (BackendAway, BackendRefused):
            self.drop()

    def abort(self) -> None:
        """From another thread: the call in progress fails at once."""
        job = self._job
        if job is not None:
            job.give_up(ABORTED)

    def drop(self) -> None:
        """Leave thread and client behind; the next call gets new ones."""
        with self._lock:
            worker, self._worker = self._worker, None
            if worker is not None:
                worker.end()

    def close(self) -> None:
        """Close for good."""
        self._closed = True
        self.abort()
        with self._lock:
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.end(wait_seconds=2 * _CLOSE_SECONDS)


def knock(seeds: Sequence[tuple[str, int]], seconds: float) -> None:
    """Raise OSError when every one of these addresses refuses a connection at once: the driver would try a closed
    port again and again until its time is over. What is slow, or cannot be looked up, is left to the driver."""
    refusal: OSError | None = None
    for host, port in seeds:
        try:
            socket.create_connection((host, port), seconds).close()
        except ConnectionRefusedError as fault:
            refusal = fault
            continue
        except OSError:
            pass
        return
    if refusal is not None:
        raise refusal
