"""Every limit of the server, by name, and the two middlewares that hold a request to its size and its time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from brique.http.faults import TooSlow, too_large
from brique.http.language import _
from brique.settings import Settings


@dataclass(frozen=True)
class Limits:
    """The named limits; bytes, seconds and counts as the last words of each name say.

    `head_*` and `headers_*` bound what is read before a request is known, `upload_bytes_per_second_min` is the pace
    under which an upload counts as stalled, `write_seconds_max` how long a reader may leave bytes unread.
    """

    body_bytes_max: int = 16 * 1024 * 1024
    form_fields_max: int = 1000
    form_files_max: int = 20
    form_field_bytes_max: int = 1024 * 1024
    url_bytes_max: int = 8 * 1024
    head_bytes_max: int = 32 * 1024
    headers_count_max: int = 100
    head_seconds_max: float = 15.0
    request_seconds_max: float = 30.0
    upload_bytes_per_second_min: int = 16 * 1024
    write_seconds_max: float = 60.0
    keep_alive_seconds_max: int = 75
    connections_count_max: int = 2000
    backlog_count_max: int = 1024
    stop_seconds_max: int = 10
    gzip_bytes_min: int = 1024

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """The limits that the settings name, and the defaults of the others."""
        return cls(
            body_bytes_max=settings.body_bytes_max,
            request_seconds_max=settings.request_seconds_max,
            stop_seconds_max=max(1, int(settings.graceful_seconds * 0.8)),  # before the supervisor kills
        )


class BodyLimit:
    """Refuses a body above its route's limit (413): by its declared length at once, else at the byte too many."""

    def __init__(self, app: ASGIApp, *, bytes_max: Callable[[Scope], int]) -> None:
        self.app = app
        self.bytes_max = bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send)
            return
        bytes_max = self.bytes_max(scope)
        if _declared_length(scope) > bytes_max:
            raise too_large(bytes_max)
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > bytes_max:
                raise too_large(bytes_max)
            return message

        await self.app(scope, counted, send)


def _declared_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


_TIMER = "brique.timer"


def take_time(scope: Scope, seconds: float) -> None:
    """Let this request take so much longer, from now on, before its answer begins: it waits because it was asked to."""
    timer: asyncio.Timeout | None = scope.get(_TIMER)
    until = timer.when() if timer is not None else None
    if timer is not None and until is not None:
        timer.reschedule(until + seconds)


class TimeLimit:
    """Ends a request whose answer has not begun in time (503); an upload earns time by the bytes that arrive, a
    second or more at a time.

    Once the answer has begun only the connection's own write limit holds, so that a long download or an event
    stream lasts as long as its reader reads.
    """

    def __init__(self, app: ASGIApp, *, limits: Limits) -> None:
        self.app = app
        self.limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.limits.request_seconds_max
        begun, earned = False, 0

        async def sending(message: Message) -> None:
            nonlocal begun
            if not begun:
                begun = True
                timer.reschedule(None)
            await send(message)
            if message.get("more_body"):
                # A send that need not wait does not let others run: a stream whose reader has left would go on for
                # ever and starve the process, its own cancellation included.
                await asyncio.sleep(0)

        async def receiving() -> Message:
            nonlocal earned, deadline
            message = await receive()
            earned += len(message.get("body", b""))
            if not begun and earned >= self.limits.upload_bytes_per_second_min:
                deadline += earned / self.limits.upload_bytes_per_second_min
                earned = 0
                timer.reschedule(deadline)
            return message

        try:
            async with asyncio.timeout_at(deadline) as timer:
                scope[_TIMER] = timer
                await self.app(scope, receiving, sending)
        except TimeoutError:
            if not timer.expired():
                raise
            raise TooSlow(_("The server took too long to answer."), try_this=_("Try again in a moment.")) from None
