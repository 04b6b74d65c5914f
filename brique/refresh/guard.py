"""Frozen is dead: a deadline on every call to a backend, held by a thread of its own.

`with guard.call(5.0): backend.ping(...)`: when the call is not over in time, the guard aborts it (the driver's call
fails at once), and when even that does not bring it back, gives the process up, so that its supervisor starts a new
one. The guard also tells when a call has begun to be slow, while it is still going on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from brique.clock import Clock

log = logging.getLogger(__name__)
_LOOK_SECONDS = 0.05


@dataclass
class _Call:
    started: float
    seconds: float
    slow_seconds: float
    told: bool = False
    aborted: float = 0.0


class Guard:
    """Deadlines for the calls of one thread. `abort` must make a call in progress fail; `give_up` is called
    `patience_seconds` after an abort that did not help; `on_slow(seconds)` once for each slow call."""

    def __init__(
        self,
        clock: Clock,
        *,
        abort: Callable[[], None],
        give_up: Callable[[], None],
        on_slow: Callable[[float], None],
        patience_seconds: float = 5.0,
    ) -> None:
        self.clock = clock
        self._abort, self._give_up, self._on_slow = abort, give_up, on_slow
        self.patience_seconds = patience_seconds
        self._call: _Call | None = None
        self._lock = threading.Lock()
        self._busy = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="guard", daemon=True)
        self._thread.start()

    @contextmanager
    def call(self, seconds: float, *, slow_seconds: float = 1.0) -> Iterator[None]:
        """A call that may take `seconds`; `touch` gives it that long again."""
        with self._lock:
            self._call = _Call(self.clock.monotonic(), seconds, slow_seconds)
        self._busy.set()
        try:
            yield
        finally:
            with self._lock:
                self._call = None
            self._busy.clear()

    def touch(self) -> None:
        """The call in progress has got an answer: its time starts anew."""
        call = self._call
        if call is not None:
            call.started = self.clock.monotonic()

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Something that is not the backend's to answer for: the call's time stands still, then starts anew."""
        with self._lock:
            call, self._call = self._call, None
        try:
            yield
        finally:
            with self._lock:
                self._call = call
                if call is not None:
                    call.started = self.clock.monotonic()

    @property
    def is_slow(self) -> bool:
        """Whether a call in progress was told to be slow."""
        call = self._call
        return call is not None and call.told

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._busy.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.is_set():
            self._busy.wait()
            if self._stopped.wait(_LOOK_SECONDS):
                return
            with self._lock:
                act = self._due(self._call)
            if act is not None:
                act()

    def _due(self, call: _Call | None) -> Callable[[], None] | None:
        """What is to be done about `call` now."""
        if call is None:
            return None
        now = self.clock.monotonic()
        taken = now - call.started
        if call.aborted:
            return self._give_up if now - call.aborted > self.patience_seconds else None
        if taken > call.seconds:
            call.aborted = now
            log.warning("no answer for %.1f s: the call is aborted", taken)
            return self._abort_beside
        if taken > call.slow_seconds and not call.told:
            call.told = True
            return lambda: self._on_slow(taken)
        return None

    def _abort_beside(self) -> None:
        """Abort in a thread of its own: a driver that is stuck may hold on to whoever tries, and the process must be
        given up all the same."""
        threading.Thread(target=self._abort, name="abort", daemon=True).start()
