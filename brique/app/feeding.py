"""The listening part of a backend's process: hears of changes as they are committed, where the backend tells of them.

It saves the wait until the next refresh and nothing relies on it: refreshes go on, and one is made whenever listening
begins, for what happened before.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from brique.backends import Backend, Feed, TellsChanges, Told
from brique.errors import BackendAway, BackendRefused
from brique.schema import TableSpec

log = logging.getLogger(__name__)
_WAIT_SECONDS = 1.0
_PAUSE_SECONDS = 2.0
_REFUSED_SECONDS = 300.0


class Feeding:
    """The loop, in a thread of its own. `told` takes what has changed, `missed` is called when something may have been
    missed; `is_live` tells whether the backend may be asked."""

    def __init__(
        self,
        backend: Backend,
        tables: Sequence[TableSpec],
        *,
        told: Callable[[Told], None],
        missed: Callable[[], None],
        is_live: Callable[[], bool],
        stopped: threading.Event,
    ) -> None:
        self.backend, self.tables = backend, tables
        self._told, self._missed, self._is_live, self._stopped = told, missed, is_live, stopped
        self._thread = threading.Thread(target=self._run, name=f"feed-{backend.name}", daemon=True)

    def start(self) -> None:
        """Listen, if the backend can be listened to."""
        if isinstance(self.backend, TellsChanges):
            self._thread.start()
        else:
            log.warning(
                "%s: this kind of backend tells of no changes: it is looked at after each pause", self.backend.name
            )

    def join(self) -> None:
        """Wait for the end, after `stopped` was set."""
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        assert isinstance(self.backend, TellsChanges)
        pause = 0.0
        while not self._stopped.wait(pause):
            pause = _PAUSE_SECONDS
            if not self._is_live():
                continue
            try:
                self._listen(self.backend.feed(self.tables))
            except BackendRefused as fault:
                log.warning(
                    "%s: no change feed, it is looked at after each pause: %s", self.backend.name, fault.message
                )
                pause = _REFUSED_SECONDS
            except BackendAway as fault:
                log.info("%s: %s", self.backend.name, fault.message)

    def _listen(self, feed: Feed) -> None:
        log.info("%s: changes are told as they are committed", self.backend.name)
        self._missed()
        try:
            while not self._stopped.is_set():
                for told in feed.wait(_WAIT_SECONDS):
                    self._told(told)
        finally:
            feed.close()
