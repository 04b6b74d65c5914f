"""Deadlines that hold even when the other side is frozen: a thread cuts the line of a call that is not over in time."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Watchdog:
    """Calls `cut` of every call that is not over at its deadline. One daemon thread, started at the first call."""

    def __init__(self) -> None:
        self._calls: dict[int, tuple[float, Callable[[], None]]] = {}
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._wake = float("inf")
        self._thread: threading.Thread | None = None
        self._stopped = False

    @contextmanager
    def call(self, seconds: float, cut: Callable[[], None]) -> Iterator[None]:
        """A call that may take `seconds`; when it takes longer, `cut()` is called once, from the watchdog's thread."""
        number = next(self._numbers)
        deadline = time.monotonic() + seconds
        with self._changed:
            self._calls[number] = (deadline, cut)
            if self._thread is None and not self._stopped:
                self._thread = threading.Thread(target=self._watch, name="backend-watchdog", daemon=True)
                self._thread.start()
            elif deadline < self._wake:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._calls.pop(number, None)

    def stop(self) -> None:
        """End the thread."""
        with self._changed:
            self._stopped = True
            thread, self._thread = self._thread, None
            self._changed.notify()
        if thread is not None:
            thread.join()

    def _watch(self) -> None:
        while True:
            with self._changed:
                if self._stopped:
                    return
                now = time.monotonic()
                late = [number for number, (deadline, _) in self._calls.items() if deadline <= now]
                cuts = [self._calls.pop(number)[1] for number in late]
                if not cuts:
                    self._wake = min((deadline for deadline, _ in self._calls.values()), default=float("inf"))
                    self._changed.wait(None if self._wake == float("inf") else self._wake - now)
                    continue
            for cut in cuts:
                cut()
