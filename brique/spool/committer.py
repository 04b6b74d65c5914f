"""Group commit: many threads and coroutines keep entries at once, and share the flushes.

Nobody waits for a timer. Whoever finds nobody at work does the work himself, at once and without a change of thread:
alone it is as fast as the spool. Who comes while a flush is under way queues up; when it ends, the first in the queue
takes the whole queue along in the next one. So a batch is whatever came during the flush before it.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from brique.errors import BriqueError, Busy, TooMuch
from brique.spool.protocol import Entry, Spool

BATCH_MAX = 512
QUEUE_MAX = 10_000


@dataclass(slots=True, eq=False)
class _Waiting:
    """An entry in the queue. A thread sleeps on `gate`, which is opened when it is done or has to lead; a coroutine
    waits for `future`."""

    entry: Entry
    gate: threading.Lock | None = None
    future: asyncio.Future[int] | None = None
    position: int = 0
    fault: BaseException | None = field(default=None)
    is_done: bool = False

    def result(self) -> int:
        if self.fault is not None:
            raise self.fault
        return self.position


class Committer:
    """Owns `spool`: from now on only it may append. `batch_max`: entries that share a flush; `queue_max`: entries that
    wait, past which callers are told Busy."""

    def __init__(self, spool: Spool, *, batch_max: int = BATCH_MAX, queue_max: int = QUEUE_MAX) -> None:
        self.spool = spool
        self.batch_max, self.queue_max = batch_max, queue_max
        self._lock = threading.Lock()
        self._queue: deque[_Waiting] = deque()
        self._is_led = False
        self._is_closed = False
        self._call = threading.Semaphore(0)
        self._thread: threading.Thread | None = None

    def append(self, entry: Entry) -> int:
        """Keep `entry` for good and return its position; blocks. Raises what `Spool.append` raises."""
        mine = _Waiting(entry)
        if self._join(mine):
            assert mine.gate is not None
            mine.gate.acquire()
            if mine.is_done:
                return mine.result()
        self._lead()
        return mine.result()

    async def append_soon(self, entry: Entry) -> int:
        """`append` for a coroutine: its loop goes on meanwhile."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if not self._join(_Waiting(entry, future=future)):
            self._call_thread()
        return await future

    def _join(self, mine: _Waiting) -> bool:
        """Queue up; whether somebody is at work (else the caller has to see to it)."""
        with self._lock:
            if self._is_closed:
                raise Busy("The spool is closed.", try_this="try again in a moment")
            if len(self._queue) >= self.queue_max:
                raise Busy("Too many writes are waiting for the disk.", try_this="try again in a moment")
            self._queue.append(mine)
            if self._is_led:
                if mine.future is None:
                    mine.gate = threading.Lock()
                    mine.gate.acquire()
                return True
            self._is_led = True
            return False

    def _call_thread(self) -> None:
        """Have the thread that works for coroutines lead."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="committer", daemon=True)
            self._thread.start()
        self._call.release()

    def _work(self) -> None:
        while True:
            self._call.acquire()
            if self._is_closed and not self._queue:
                return
            self._lead()

    def _lead(self) -> None:
        """Commit the queue's head, hand the lead on, tell the others."""
        with self._lock:
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), self.batch_max))]
        try:
            self._commit(batch)
        finally:
            with self._lock:
                following = self._queue[0] if self._queue else None
                self._is_led = following is not None
            if following is not None:
                if following.gate is not None:
                    following.gate.release()
                else:
                    self._call_thread()
            _tell(batch)

    def _commit(self, batch: Sequence[_Waiting]) -> None:
        try:
            positions = self.spool.append([waiting.entry for waiting in batch])
        except TooMuch as fault:
            if len(batch) == 1:
                batch[0].fault = fault
                return
            for waiting in batch:  # one of them is too large: the others need not suffer
                self._commit([waiting])
        except BriqueError as fault:
            for waiting in batch:
                waiting.fault = fault
        except BaseException as fault:
            for waiting in batch:
                waiting.fault = fault
            raise
        else:
            for waiting, position in zip(batch, positions, strict=True):
                waiting.position = position

    def close(self) -> None:
        """Take no more; what is queued is still kept. The spool itself stays open."""
        with self._lock:
            self._is_closed = True
        if self._thread is not None:
            self._call.release()
            self._thread.join()


def _tell(batch: Sequence[_Waiting]) -> None:
    """Wake those who wait; coroutines once for each loop, because each call to a loop costs a system call."""
    loops: dict[asyncio.AbstractEventLoop, list[_Waiting]] = {}
    for waiting in batch:
        waiting.is_done = True
        if waiting.future is not None:
            loops.setdefault(waiting.future.get_loop(), []).append(waiting)
        elif waiting.gate is not None:
            waiting.gate.release()
    for loop, waitings in loops.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_deliver, waitings)


def _deliver(waitings: Sequence[_Waiting]) -> None:
    for waiting in waitings:
        assert waiting.future is not None
        if waiting.future.done():
            continue
        if waiting.fault is not None:
            waiting.future.set_exception(waiting.fault)
        else:
            waiting.future.set_result(waiting.position)
