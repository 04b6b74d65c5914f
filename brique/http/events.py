"""Server-sent events as an answer: from a parked connection where the server can park one, else from a coroutine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from brique.http.negotiate import best_accept
from brique.http.site import header

EVENT_STREAM = "text/event-stream"
CONNECTION = "brique.connection"
"""Where a scope holds the connection that a request came by, when that can be parked."""


class Outlet(Protocol):
    """Where events leave. Called on the loop, and never waits."""

    def ring(self) -> None: ...
    def cut(self) -> None: ...


class Follower(Protocol):
    """Where events come from: `take` gives what is to be sent now, b"" when nothing is; its outlet is rung when there
    may be more, or when it has ended."""

    @property
    def ended(self) -> bool: ...
    def attach(self, outlet: Outlet) -> bytes:
        """Begin; what the stream begins with."""
        ...

    def take(self) -> bytes: ...
    def leave(self) -> None:
        """The client has gone."""
        ...


class Parking(Protocol):
    """A connection that can do without a request and its coroutine."""

    def park(self, follower: Follower) -> bool:
        """Have `follower`'s events leave by this connection from now on; False when it cannot be parked now."""
        ...


class EventStream(Response):
    """The events of whom `join` admits, on the loop and before anything is sent: it may raise."""

    media_type = EVENT_STREAM
    charset = "utf-8"

    def __init__(self, join: Callable[[], Follower], headers: dict[str, str] | None = None) -> None:
        told = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", **(headers or {})}
        super().__init__(None, 200, told)
        del self.headers["content-length"]
        self._join = join

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        if scope["method"] == "HEAD":
            await send(start)
            await send({"type": "http.response.body", "body": b""})
            return
        follower = self._join()
        parked = False
        try:
            await send(start)
            connection: Parking | None = scope.get(CONNECTION)
            parked = connection is not None and connection.park(follower)
            if not parked:
                await _flow(follower, receive, send)
        finally:
            if not parked:
                follower.leave()


async def _flow(follower: Follower, receive: Receive, send: Send) -> None:
    """Send the events until the follower ends or its client goes."""
    bell = Bell()
    leaving = asyncio.ensure_future(_gone(receive))
    leaving.add_done_callback(lambda _: bell.ring())
    try:
        chunk = follower.attach(bell)
        while not leaving.done() and not bell.is_cut:
            if chunk:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            elif follower.ended:
                await send({"type": "http.response.body", "body": b""})
                return
            else:
                await bell.wait()
            chunk = follower.take()
    except OSError:  # the client has gone, as other servers tell it
        return
    finally:
        leaving.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class Bell:
    """The outlet of a coroutine. `is_cut`: end without a further word."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()
        self.is_cut = False

    def ring(self) -> None:
        self._rung.set()

    def cut(self) -> None:
        self.is_cut = True
        self._rung.set()

    async def wait(self) -> None:
        """Return when there is something to take, or the follower has ended."""
        await self._rung.wait()
        self._rung.clear()


def wants_events(scope: Scope) -> bool:
    """Whether the caller would rather follow an address than read it."""
    accept = header(scope, b"accept")
    if EVENT_STREAM not in accept:
        return False
    return best_accept(accept, ("application/json", "text/html", EVENT_STREAM)) == EVENT_STREAM
