"""Keeps the log of the store short while somebody writes for ever.

Moving a log of 64 MB into the file takes some 40 ms, in which nobody would be acknowledged: another thread does it
while the writing goes on. Then only what was written meanwhile is left, and the writing thread moves that little
itself and lets the log start anew.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from brique.errors import NoRoom
from brique.store import Store

log = logging.getLogger(__name__)


class Checkpoints:
    """Used by the thread that writes. On a disk without room the log stays as it is, and moving it is tried again."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._moving: Future[int] | None = None

    def after_batch(self) -> None:
        """Begin or end moving the log, if it is long."""
        if self._moving is None:
            if self._store.log_is_long:
                self._moving = self._aside.submit(partial(self._store.checkpoint, restart=False))
        elif self._moving.done():
            self._end(self._moving)

    def now(self) -> None:
        """Move the log now, unless the other thread is about it."""
        if self._moving is None:
            self._move()
        elif self._moving.done():
            self._end(self._moving)

    def stop(self) -> None:
        """Wait for the other thread."""
        self._aside.shutdown()

    def _end(self, moving: Future[int]) -> None:
        self._moving = None
        fault = moving.exception()
        if fault is None:
            self._move()
        elif isinstance(fault, NoRoom):
            log.info("%s", fault.message)
        else:
            raise fault

    def _move(self) -> None:
        try:
            self._store.checkpoint()
        except NoRoom as fault:
            log.info("%s", fault.message)
