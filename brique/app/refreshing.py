"""The refreshing half of a backend's process: a thread of its own, so that a long reading holds no command up.

It works while the backend is live; it says so to the breaker, which the other half shares, when it is not.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from brique.backends import Told
from brique.clock import Clock
from brique.errors import BackendAway, BackendRefused, BriqueError
from brique.refresh import Interrupted, Refresher

log = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0
_TOUCHED_MAX = 2_000
"""Above so many rows at once the tables are read instead."""
_ENGINE_PAUSE_SECONDS = 1.0


class Refreshing:
    """The loop. `is_live` tells whether the backend may be asked, `has_room` whether the copy may grow; `failed` takes
    the fault when it went away.

    A fault of the backend's own (a table that cannot be read at all) is logged and tried again at the next time.
    """

    def __init__(
        self,
        refresher: Refresher,
        *,
        pause_seconds: float,
        clock: Clock,
        stopped: threading.Event,
        is_live: Callable[[], bool],
        has_room: Callable[[], bool],
        failed: Callable[[BriqueError], None],
        name: str,
    ) -> None:
        self.refresher, self.pause_seconds, self.clock = refresher, pause_seconds, clock
        self._stopped, self._is_live, self._failed, self.name = stopped, is_live, failed, name
        self._has_room = has_room
        self._next = 0.0
        self._wake = threading.Event()
        self._touched: dict[str, set[str]] = {}
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"refresh-{name}")

    def start(self) -> None:
        self._thread.start()

    def now(self) -> None:
        """Refresh as soon as the backend is live."""
        self._next = 0.0
        self._wake.set()

    def touched(self, told: Told) -> None:
        """Bring these rows as soon as the backend is live."""
        with self._lock:
            if told.keys is None:
                self._next = 0.0
            else:
                self._touched.setdefault(told.table, set()).update(told.keys)
        self._wake.set()

    def join(self) -> None:
        """Wait for the end, after `stopped` was set."""
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            left = self._next - self.clock.monotonic()
            self._wake.wait(max(0.0, min(_LOOK_SECONDS, left)) if left > 0 else (0 if self._is_live() else None))
            self._wake.clear()
            if self._stopped.is_set() or not self._is_live():
                continue
            if self._touched:
                self._bring()
            if self.clock.monotonic() >= self._next:
                self._refresh()

    def _bring(self) -> None:
        """The rows that were told of; when that fails, all are read."""
        with self._lock:
            touched, self._touched = self._touched, {}
        try:
            if self._has_room() and sum(map(len, touched.values())) <= _TOUCHED_MAX:
                self.refresher.bring(touched)
                return
        except BackendAway as fault:
            self._failed(fault)
        except BriqueError as fault:
            log.warning("%s: rows that have changed were not brought: %s", self.name, fault.message)
        self._next = 0.0

    def _refresh(self) -> None:
        self._next = self.clock.monotonic() + self.pause_seconds
        if not self._has_room():
            log.warning("%s: no refresh: the disk has less room than free_disk_bytes_min", self.name)
            return
        try:
            result = self.refresher.refresh()
        except Interrupted:
            return
        except BackendAway as fault:
            self._failed(fault)
            return
        except BackendRefused as fault:
            log.warning("%s: no refresh: %s", self.name, fault.message)
            return
        except BriqueError as fault:
            log.warning("%s: the engine did not take the refresh: %s", self.name, fault.message)
            self._next = self.clock.monotonic() + _ENGINE_PAUSE_SECONDS
            return
        self._next = self.clock.monotonic() + self.pause_seconds
        for table, text in result.faults.items():
            log.warning("%s.%s: %s", self.name, table, text)
