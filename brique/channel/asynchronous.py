"""The calling end for coroutines."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any, cast

from brique import errors
from brique.channel.wire import (
    ANSWER,
    EVENT,
    FAULT,
    REQUEST,
    BrokenFrame,
    Frames,
    Limits,
    OnEvent,
    Payload,
    away,
    connect,
    fault_from_wire,
    pack,
    tell,
)

_log = logging.getLogger("brique.channel")
_CONNECT_PAUSE_SECONDS = (0.01, 0.02, 0.05, 0.1)
_RECONNECT_PAUSE_SECONDS_MAX = 1.0


class AsyncChannel:
    """Calls from one event loop to the engine. Connects at the first call, and again when the engine comes back.

    With `on_event` it stays connected in the background (after `start` or the first call); the callback runs on the
    loop and first gets ("connected", {}) after each connection, since events may have been missed before it.
    """

    def __init__(
        self, path: Path | str, *, on_event: OnEvent | None = None, limits: Limits | None = None, name: str = "engine"
    ) -> None:
        self.path = Path(path)
        self.limits = limits or Limits()
        self.name = name
        self.on_event = on_event
        self._wire: _Wire | None = None
        self._connecting: asyncio.Lock | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def connected(self) -> bool:
        return self._wire is not None and not self._wire.lost

    async def start(self) -> None:
        """Connect in the background and keep connected, so that events arrive before the first call."""
        if self._keeper is None and not self._closed:
            self._keeper = asyncio.create_task(self._keep_connected())

    async def acall(self, method: str, payload: Payload, timeout: float | None = None) -> Payload:  # noqa: ASYNC109
        """The engine's answer. Raises its fault, or EngineAway (fact `outcome`: not-sent or unknown)."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self.limits.call_seconds if timeout is None else timeout)
        wire = self._wire
        if wire is None or wire.lost:
            wire = await self._connect(min(deadline, loop.time() + self.limits.connect_seconds))
        number, future = wire.send(method, payload)
        handle = loop.call_at(deadline, _expire, future)
        try:
            return await future
        except _Expired:
            raise away(self.name, f"no answer to {method} in time", outcome="unknown") from None
        finally:
            handle.cancel()
            wire.waiting.pop(number, None)

    call = acall  # one name where only coroutines are about, the other beside a synchronous `call`

    async def aclose(self) -> None:
        self._closed = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._wire is not None:
            self._wire.transport.abort()
            await asyncio.sleep(0)

    async def _connect(self, deadline: float) -> _Wire:
        """The living connection, or a new one before `deadline` (time of the loop). Raises EngineAway."""
        if self._closed:
            raise away(self.name, "this channel was closed", outcome="not-sent")
        loop = asyncio.get_running_loop()
        if self._connecting is None:
            self._connecting = asyncio.Lock()
        async with self._connecting:
            attempt = 0
            while self._wire is None or self._wire.lost:
                try:
                    sock = connect(self.path, seconds=0)
                    _, self._wire = await loop.create_unix_connection(lambda: _Wire(self), sock=sock)
                except OSError as error:
                    pause = _CONNECT_PAUSE_SECONDS[min(attempt, len(_CONNECT_PAUSE_SECONDS) - 1)]
                    if loop.time() + pause > deadline:
                        why = error.strerror or type(error).__name__
                        raise away(self.name, why, outcome="not-sent") from error
                    attempt += 1
                    await asyncio.sleep(pause)
        if self.on_event is not None and self._keeper is None:
            await self.start()
        return self._wire

    async def _keep_connected(self) -> None:
        pause = 0.05
        while True:
            try:
                wire = await self._connect(asyncio.get_running_loop().time())
            except errors.EngineAway:
                await asyncio.sleep(pause)
                pause = min(pause * 2, _RECONNECT_PAUSE_SECONDS_MAX)
                continue
            pause = 0.05
            await wire.ended.wait()

    def deliver(self, topic: str, payload: Payload) -> None:
        if self.on_event is not None:
            tell(self.on_event, topic, payload)


class _Expired(Exception):
    """The time for an answer has run out."""


def _expire(future: asyncio.Future[Payload]) -> None:
    if not future.done():
        future.set_exception(_Expired())


class _Wire(asyncio.Protocol):
    """One connection and the calls that wait on it."""

    def __init__(self, channel: AsyncChannel) -> None:
        self.channel = channel
        self.frames = Frames(channel.limits)
        self.waiting: dict[int, asyncio.Future[Payload]] = {}
        self.lost = False
        self.ended = asyncio.Event()
        self.out: list[bytes] = []
        self.number = 0
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by class, only by what it does

    def send(self, method: str, payload: Payload) -> tuple[int, asyncio.Future[Payload]]:
        self.number += 1
        frame = pack(REQUEST, self.number, method, payload, self.channel.limits)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Payload] = loop.create_future()
        self.waiting[self.number] = future
        if not self.out:
            loop.call_soon(self._flush)
        self.out.append(frame)
        return self.number, future

    def _flush(self) -> None:
        frames, self.out = self.out, []
        if not self.lost:
            self.transport.write(b"".join(frames))

    def data_received(self, data: bytes) -> None:
        self.frames.feed(data)
        try:
            while (message := self.frames.next()) is not None:
                self._receive(*message)
        except BrokenFrame as error:
            _log.warning("closed the connection to %s: %s", self.channel.path, error)
            self.transport.abort()

    def _receive(self, kind: int, number: int, first: Any, second: Any) -> None:
        if kind == EVENT:
            self.channel.deliver(first, second)
            return
        future = self.waiting.get(number)
        if future is None or future.done():
            return  # its caller has given up
        if kind == ANSWER:
            future.set_result(first)
        elif kind == FAULT:
            future.set_exception(fault_from_wire(first))
        else:
            raise BrokenFrame("not an answer")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.ended.set()
        for future in self.waiting.values():
            if not future.done():
                future.set_exception(away(self.channel.name, "the connection was lost", outcome="unknown"))
        self.waiting.clear()
