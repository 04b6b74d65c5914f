"""gzip for whole answers of text; a stream passes untouched, byte by byte as it comes."""

from __future__ import annotations

import asyncio
import gzip

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from brique.http.site import header

TYPES = (
    "text/html", "text/plain", "text/css", "text/csv", "text/javascript", "application/json",
    "application/problem+json", "application/openapi+json", "image/svg+xml", "application/xml",
)  # fmt: skip
LEVEL = 5
IN_THREAD_BYTES_MIN = 128 * 1024


class Compress:
    """Compresses an answer that comes in one piece, is text, is larger than `bytes_min`, and is not compressed yet.

    The ETag stays: answers are private and always asked about again, so no shared cache can mix the two forms up.
    """

    def __init__(self, app: ASGIApp, *, bytes_min: int) -> None:
        self.app = app
        self.bytes_min = bytes_min

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not accepts_gzip(header(scope, b"accept-encoding")):
            await self.app(scope, receive, send)
            return
        start: Message | None = None

        async def sending(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_text(message):
                start = message
                return
            if start is not None:
                held, start = start, None
                if message["type"] == "http.response.body" and not message.get("more_body", False):
                    await self._send_whole(held, message, send)
                    return
                await send(held)
            await send(message)

        await self.app(scope, receive, sending)

    async def _send_whole(self, start: Message, message: Message, send: Send) -> None:
        body = message.get("body", b"")
        headers = MutableHeaders(raw=list(start.get("headers", ())))
        headers.add_vary_header("Accept-Encoding")
        if len(body) >= self.bytes_min:
            if len(body) >= IN_THREAD_BYTES_MIN:
                packed = await asyncio.to_thread(gzip.compress, body, LEVEL, mtime=0)
            else:
                packed = gzip.compress(body, LEVEL, mtime=0)
            if len(packed) < len(body):
                body = packed
                headers["Content-Encoding"] = "gzip"
                headers["Content-Length"] = str(len(body))
        await send({**start, "headers": headers.raw})
        await send({**message, "body": body})


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header takes gzip."""
    for part in accept_encoding.lower().split(","):
        name, _semicolon, weight = part.partition(";")
        if name.strip() in ("gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _is_text(start: Message) -> bool:
    if start["status"] in (204, 206, 304):
        return False
    media_type = ""
    for name, value in start.get("headers", ()):
        lowered = name.lower()
        if lowered == b"content-encoding":
            return False
        if lowered == b"content-type":
            media_type = value.decode("latin-1").partition(";")[0].strip().lower()
    return media_type in TYPES
