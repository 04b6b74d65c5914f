"""uvicorn's httptools connection with the limits it lacks: size and time of a request's head, stalled readers.

Neither llhttp nor uvicorn bounds the head of a request, the time it may take to arrive, or the time a reader may
leave an answer unread; without bounds one machine with many slow connections stops a server (Slowloris).
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from brique.http.events import CONNECTION, Follower
from brique.http.limits import Limits
from brique.http.parking import Parked

VERSIONS = frozenset({"1.0", "1.1"})
REFUSALS = {
    414: b"The address is too long.",
    431: b"The headers are too large.",
    505: b"This version of HTTP is not spoken here.",
}


class _Refused(Exception):
    """Stops the parser; the answer is in `BoundedProtocol.refusal`."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection. `limits` is set on a subclass by `bounded`."""

    limits = Limits()

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.refusal = 400
        self.head_bytes = 0
        self.head_timer: asyncio.TimerHandle | None = None
        self.write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        self._stop_write_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self.head_bytes = 0
        super().on_message_begin()
        if self.head_timer is None:
            self._start_head_timer()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > self.limits.url_bytes_max:
            self.refusal = 414
            raise _Refused

    def on_header(self, name: bytes, value: bytes) -> None:
        self.head_bytes += len(name) + len(value) + 4
        if self.head_bytes > self.limits.head_bytes_max or len(self.headers) >= self.limits.headers_count_max:
            self.refusal = 431
            raise _Refused
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stop_head_timer()
        if self.parser.get_http_version() not in VERSIONS:
            self.refusal = 505
            raise _Refused
        self.scope[CONNECTION] = self  # type: ignore[literal-required]  # an extension of ours
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.more_body and self.head_timer is None and not self.transport.is_closing():
            self._start_head_timer()  # the rest of a body that nobody read must not drip in for ever

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)

    def park(self, follower: Follower) -> bool:
        """See `Parking`. Nothing of this object, its parser and its request is kept."""
        cycle, transport = self.cycle, self.transport
        if self.pipeline or transport.is_closing() or cycle.more_body or cycle.flow.write_paused:
            return False
        self._stop_head_timer()
        self._stop_write_timer()
        self._unset_keepalive_if_required()
        self.connections.discard(self)
        cycle.disconnected = True  # what still runs of the request has nothing more to say
        cycle.on_response = lambda: None
        parked = Parked(transport, follower, chunked=bool(cycle.chunked_encoding))
        self.parser = self.cycle = self.scope = None  # type: ignore[assignment]  # rings that the collector would find
        parked.begin()
        return True

    def send_400_response(self, msg: str) -> None:
        """The answer to a head that is malformed (400), too large (431, 414) or of another version (505)."""
        self._stop_head_timer()
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()  # an answer is under way: another would be taken for a part of it
            return
        text = REFUSALS.get(self.refusal, msg.encode())
        head = STATUS_LINE[self.refusal] + b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
        self.transport.write(head + b"content-length: %d\r\n\r\n" % len(text) + text)
        self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.write_timer is None:
            self.write_timer = self.loop.call_later(self.limits.write_seconds_max, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop_write_timer()
        super().resume_writing()

    def _start_head_timer(self) -> None:
        self.head_timer = self.loop.call_later(self.limits.head_seconds_max, self.transport.abort)

    def _stop_head_timer(self) -> None:
        if self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None

    def _stop_write_timer(self) -> None:
        if self.write_timer is not None:
            self.write_timer.cancel()
            self.write_timer = None


def bounded(limits: Limits) -> type[BoundedProtocol]:
    """The connection class with these limits."""
    return type("BoundedProtocol", (BoundedProtocol,), {"limits": limits})
