"""zstd or gzip for whole answers of text; a stream passes untouched, byte by byte as it comes."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable

import pyarrow  # type: ignore[import-untyped]  # it has none
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from brique.http.site import header

TYPES = (
    "text/html", "text/plain", "text/css", "text/csv", "text/javascript", "application/json",
    "application/problem+json", "application/openapi+json", "image/svg+xml", "application/xml",
)  # fmt: skip
GZIP_LEVEL = 5
ZSTD_LEVEL = 3
IN_THREAD_BYTES_MIN = 128 * 1024


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, GZIP_LEVEL, mtime=0)


def zstd(body: bytes, level: int = ZSTD_LEVEL) -> bytes:
    """`body` as one zstd frame."""
    return bytes(pyarrow.Codec("zstd", compression_level=level).compress(body, asbytes=True))


CODINGS: dict[str, Callable[[bytes], bytes]] = {"zstd": zstd, "gzip": _gzip}
"""Content codings, the one we like best first."""


class Compress:
    """Compresses an answer that comes in one piece, is text, is larger than `bytes_min`, and is not compressed yet.

    The ETag stays: answers are private and always asked about again, so no shared cache can mix the forms up. Vary is
    said whether or not this caller takes any of them, and with a 304.
    """

    def __init__(self, app: ASGIApp, *, bytes_min: int) -> None:
        self.app = app
        self.bytes_min = bytes_min

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        coding = coding_of(header(scope, b"accept-encoding"))
        start: Message | None = None

        async def sending(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _may_vary(message):
                start = message
                return
            if start is not None:
                held, start = start, None
                if message["type"] == "http.response.body" and not message.get("more_body", False):
                    await self._send_whole(held, message, coding, send)
                    return
                await send(held)
            await send(message)

        await self.app(scope, receive, sending)

    async def _send_whole(self, start: Message, message: Message, coding: str, send: Send) -> None:
        body = message.get("body", b"")
        headers = MutableHeaders(raw=list(start.get("headers", ())))
        if "accept-encoding" not in headers.get("vary", "").lower():
            headers.add_vary_header("Accept-Encoding")
        if coding and len(body) >= self.bytes_min:
            compress = CODINGS[coding]
            packed = await asyncio.to_thread(compress, body) if len(body) >= IN_THREAD_BYTES_MIN else compress(body)
            if len(packed) < len(body):
                body = packed
                headers["Content-Encoding"] = coding
                headers["Content-Length"] = str(len(body))
        await send({**start, "headers": headers.raw})
        await send({**message, "body": body})


def coding_of(accept_encoding: str) -> str:
    """The coding of ours that an Accept-Encoding header likes best; "" when it takes none."""
    weights = {name: weight for name, weight in map(_wish, accept_encoding.lower().split(",")) if name}
    best, best_weight = "", 0.0
    for coding in CODINGS:
        weight = weights.get(coding, weights.get("*", 0.0))
        if weight > best_weight:
            best, best_weight = coding, weight
    return best


def _wish(part: str) -> tuple[str, float]:
    name, _semicolon, parameter = part.replace(" ", "").partition(";")
    if not parameter.startswith("q="):
        return name, 1.0
    try:
        return name, float(parameter[2:])
    except ValueError:
        return name, 0.0


def _may_vary(start: Message) -> bool:
    """Whether the bytes of this answer depend on the codings that its caller takes: it is text, or says of such that
    it has not changed."""
    return start["status"] == 304 or _is_text(start)


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
