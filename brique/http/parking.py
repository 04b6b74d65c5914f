"""Connections of followers that wait: the socket and a few words, no request, no coroutine, no parser.

A parked connection writes what its follower gives as chunks of the answer that has begun. It reads nothing: a client
that speaks while it listens is cut off. While the transport's buffer is above its mark nothing is taken from the
follower, which gathers; so what a slow client costs is bounded by the mark and one event, and events of many followers
are the same bytes.
"""

from __future__ import annotations

import asyncio

from brique.http.events import Follower

BUFFER_BYTES_MAX = 16 * 1024
"""Above so many unsent bytes a follower only gathers."""
_END = b"0\r\n\r\n"


class Parked(asyncio.Protocol):
    """One parked connection; see the module's text."""

    __slots__ = ("_is_paused", "chunked", "follower", "transport")
    _chunk: tuple[bytes, bytes] = (b"", b"")

    def __init__(self, transport: asyncio.Transport, follower: Follower, *, chunked: bool) -> None:
        self.transport, self.follower, self.chunked = transport, follower, chunked
        self._is_paused = False

    def begin(self) -> None:
        """Take the connection over from the protocol that it had."""
        self.transport.set_write_buffer_limits(high=BUFFER_BYTES_MAX)
        self.transport.set_protocol(self)
        self._write(self.follower.attach(self))
        self.ring()

    def ring(self) -> None:
        """Write what the follower has, if the client keeps up."""
        if self.transport.is_closing():
            return
        while not self._is_paused and (data := self.follower.take()):
            self._write(data)
        if self.follower.ended:
            self._finish()

    def cut(self) -> None:
        self.transport.abort()

    def _write(self, data: bytes) -> None:
        if not self.chunked:
            self.transport.write(data)
            return
        known, chunk = Parked._chunk
        if known is not data:
            chunk = b"%x\r\n%b\r\n" % (len(data), data)
            Parked._chunk = data, chunk
        self.transport.write(chunk)

    def _finish(self) -> None:
        if self.transport.is_closing():
            return
        if self._is_paused:
            self.transport.abort()
            return
        if self.chunked:
            self.transport.write(_END)
        self.transport.close()

    # what the transport says

    def data_received(self, data: bytes) -> None:
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.follower.leave()

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self.ring()
