"""The same door without a socket, for one process: what goes through it is packed and unpacked all the same, so that
a program that works here works between processes too."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from brique.channel.wire import (
    ANSWER,
    EVENT,
    REQUEST,
    Frames,
    Handler,
    Limits,
    OnEvent,
    Payload,
    answer,
    away,
    fault_from_wire,
    pack,
    tell,
)


class Direct:
    """Calls to `handler` in this process, from threads (`call`) and coroutines (`acall`) alike.

    The handler always runs on one loop: `loop` when given (it must be running in another thread for `call`), else on
    a loop of its own in a thread that starts with the first call and ends with `close`.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        on_event: OnEvent | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.handler = handler
        self.limits = limits or Limits()
        self._loop = loop
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._listeners: list[OnEvent] = [on_event] if on_event is not None else []

    def subscribe(self, on_event: OnEvent) -> None:
        """Also tell `on_event` of what is broadcast; it runs in the broadcasting thread."""
        self._listeners.append(on_event)

    def broadcast(self, topic: str, payload: Payload) -> None:
        """As `Server.broadcast`."""
        content = self._carry(EVENT, topic, payload)
        for listener in tuple(self._listeners):
            tell(listener, topic, content)

    def call(self, method: str, payload: Payload, timeout: float | None = None) -> Payload:
        """As `SyncChannel.call`. Must not be called on the handler's own loop, which would wait for itself."""
        loop = self._running_loop()
        future = asyncio.run_coroutine_threadsafe(self._perform(method, payload), loop)
        try:
            return future.result(self.limits.call_seconds if timeout is None else timeout)
        except FutureTimeout:
            raise away("engine", f"no answer to {method} in time", outcome="unknown") from None

    async def acall(self, method: str, payload: Payload, timeout: float | None = None) -> Payload:  # noqa: ASYNC109
        """As `AsyncChannel.acall`."""
        seconds = self.limits.call_seconds if timeout is None else timeout
        loop = self._running_loop()
        if loop is asyncio.get_running_loop():
            task: asyncio.Future[Payload] = asyncio.ensure_future(self._perform(method, payload))
        else:
            task = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._perform(method, payload), loop))
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if not done:
            task.add_done_callback(_forget)
            raise away("engine", f"no answer to {method} in time", outcome="unknown")
        return task.result()

    def close(self) -> None:
        """End the thread of the own loop, if there is one. Later calls raise EngineAway."""
        with self._lock:
            self._closed = True
            thread, loop = self._thread, self._loop
        if thread is not None and loop is not None and thread.is_alive():
            loop.call_soon_threadsafe(loop.stop)
            thread.join(5.0)

    async def aclose(self) -> None:
        self.close()

    async def _perform(self, method: str, payload: Payload) -> Payload:
        kind, content = await answer(self.handler, method, self._carry(REQUEST, method, payload))
        if kind != ANSWER:
            raise fault_from_wire(content)
        return self._carry(ANSWER, content, None)

    def _carry(self, kind: int, first: Any, second: Any) -> Payload:
        frames = Frames(self.limits)
        frames.feed(pack(kind, 0, first, second, self.limits))
        message = frames.next()
        assert message is not None
        content = message[2] if kind == ANSWER else message[3]
        assert isinstance(content, dict)
        return content

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._closed:
                raise away("engine", "this channel was closed", outcome="not-sent")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_run, args=(self._loop,), name="channel-direct", daemon=True)
                self._thread.start()
            return self._loop


def _forget(future: asyncio.Future[Payload]) -> None:
    """Nobody waits any more: look at the fault so that the loop does not complain that nobody did."""
    if not future.cancelled():
        future.exception()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.close()
