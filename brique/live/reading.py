"""Addresses that are followed are read anew here, in threads: a few at a time, each once for all who follow it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from brique.live.follower import Channel, Reading

log = logging.getLogger("brique.live")
AT_ONCE_MAX = 4


class Readings:
    """What is to be read and what is being read. A channel that is wanted while it is read is read again after it."""

    def __init__(self, done: Callable[[Channel, Reading], None]) -> None:
        self._done = done
        self._wanted: dict[Channel, None] = {}
        self._under_way: set[Channel] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def want(self, channel: Channel) -> None:
        """Have it read, soon."""
        self._wanted[channel] = None
        if len(self._tasks) < AT_ONCE_MAX:
            task = asyncio.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """Nothing more is wanted; what is being read ends by itself."""
        self._wanted.clear()

    async def _work(self) -> None:
        while channel := self._next():
            self._under_way.add(channel)
            try:
                assert channel.read is not None
                reading = await asyncio.to_thread(channel.read)
            except Exception:  # one address must not stop the others'
                log.exception("reading %s anew failed", channel.address)
                reading = None
            finally:
                self._under_way.discard(channel)
            if reading is not None and channel.followers:
                self._done(channel, reading)

    def _next(self) -> Channel | None:
        for channel in self._wanted:
            if channel not in self._under_way:
                del self._wanted[channel]
                return channel
        return None
