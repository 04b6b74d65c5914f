"""The answering end: a Unix socket that only its owner may open, and bounded work in flight.

A connection begins with the event `connected`, which the server sends once the connection is among those that get
events: the client then looks at what it may have missed, and nothing falls between that look and the first event.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import struct
import threading
from pathlib import Path
from typing import cast

from brique import errors
from brique.channel.wire import (
    ANSWER,
    CONNECTED,
    EVENT,
    FAULT,
    REQUEST,
    BrokenFrame,
    Frames,
    Handler,
    Limits,
    Message,
    Payload,
    answer,
    connect,
    fault_to_wire,
    pack,
    socket_address,
)

_log = logging.getLogger("brique.channel")
_ACCEPT_PAUSE_SECONDS = 1.0
_CREDENTIALS = struct.Struct("3i")


async def serve(path: Path | str, handler: Handler, *, limits: Limits | None = None) -> Server:
    """Answer calls on `path` (made 0600; a socket left by a dead process is replaced) until `Server.close`.

    Only the same user or root may connect. `handler` runs as one task for each call, on the current loop.
    Raises BadConfiguration when a living process already answers there.
    """
    return Server(Path(path), handler, limits or Limits())


class Server:
    """Made by `serve`."""

    def __init__(self, path: Path, handler: Handler, limits: Limits) -> None:
        self.path = path
        self.handler = handler
        self.limits = limits
        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.closing = False
        self.hello = pack(EVENT, 0, CONNECTED, {}, limits)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._greeting: set[asyncio.Task[None]] = set()
        self._listener = _listen(path, backlog=limits.connections_max)
        self._inode = path.stat().st_ino
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        """Take one new connection. (asyncio's own server loses one that it accepted just before it was closed.)"""
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError as error:  # out of file descriptors: look again in a while instead of spinning
            _log.error("cannot accept a connection to %s: %s", self.path, error)
            self._loop.remove_reader(self._listener)
            self._loop.call_later(_ACCEPT_PAUSE_SECONDS, self._accept_again)
            return
        sock.setblocking(False)
        task = self._loop.create_task(self._greet(sock))
        self._greeting.add(task)
        task.add_done_callback(self._greeting.discard)

    def _accept_again(self) -> None:
        if not self.closing:
            self._loop.add_reader(self._listener, self._accept)

    async def _greet(self, sock: socket.socket) -> None:
        await self._loop.connect_accepted_socket(lambda: Connection(self), sock)

    def broadcast(self, topic: str, payload: Payload) -> None:
        """Push an event to every connected client. Thread safe; a client too far behind is cut off instead."""
        frame = pack(EVENT, 0, topic, payload, self.limits)
        if threading.get_ident() == self._thread:
            self._spread(frame)
        else:
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody is connected any more
                self._loop.call_soon_threadsafe(self._spread, frame)

    def _spread(self, frame: bytes) -> None:
        for connection in tuple(self.connections):
            connection.push(frame)

    async def close(self, *, grace_seconds: float = 5.0) -> None:
        """Stop listening, let the calls in flight end (at most `grace_seconds`), then drop the connections."""
        self.closing = True
        self._loop.remove_reader(self._listener)
        self._listener.close()
        with contextlib.suppress(OSError):
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()
        if self.tasks:
            await asyncio.wait(set(self.tasks), timeout=grace_seconds)
        late = set(self.tasks)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        await asyncio.gather(*self._greeting, return_exceptions=True)
        for connection in tuple(self.connections):
            connection.hang_up()
        for _ in range(3):  # a transport ends over several turns of the loop
            await asyncio.sleep(0)


class Connection(asyncio.Protocol):
    """One client. Reading pauses while it has too many calls in flight or does not read its answers."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.frames = Frames(server.limits)
        self.in_flight = 0
        self.out: list[bytes] = []
        self.reading = True
        self.writable = True
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast(asyncio.Transport, transport)  # uvloop's is none by class, only by its deeds
        user = _peer_user(transport)
        if user not in (0, os.geteuid()):
            _log.warning("user %s may not use %s", user, self.server.path)
            transport.abort()
        elif len(self.server.connections) >= self.server.limits.connections_max or self.server.closing:
            _log.warning("too many connections to %s", self.server.path)
            transport.abort()
        else:
            self.server.connections.add(self)
            transport.write(self.server.hello)

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.connections.discard(self)  # calls in flight go on: their callers will ask again by their ids

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        self._pump()

    def data_received(self, data: bytes) -> None:
        if self in self.server.connections:
            self.frames.feed(data)
            self._pump()

    def _pump(self) -> None:
        """Start the calls whose frames are complete, as far as the limits allow."""
        try:
            while not (full := self._is_full()) and (message := self.frames.next()) is not None:
                self._start(message)
        except BrokenFrame as error:
            _log.warning("closed a connection to %s: %s", self.server.path, error)
            self.transport.abort()
            return
        if full == self.reading and not self.transport.is_closing():
            self.reading = not full
            (self.transport.pause_reading if full else self.transport.resume_reading)()

    def _is_full(self) -> bool:
        return not self.writable or self.in_flight >= self.server.limits.connection_requests_max

    def _start(self, message: Message) -> None:
        kind, number, method, payload = message
        if kind != REQUEST or not isinstance(method, str) or not isinstance(payload, dict):
            raise BrokenFrame("not a request")
        if self.server.closing or len(self.server.tasks) >= self.server.limits.requests_max:
            busy = errors.Busy("The engine is busy or stopping", try_this="Try again in a moment.")
            self._send(FAULT, number, fault_to_wire(busy))
            return
        self.in_flight += 1
        task = asyncio.get_running_loop().create_task(self._carry_out(number, method, payload))
        self.server.tasks.add(task)
        task.add_done_callback(self.server.tasks.discard)

    async def _carry_out(self, number: int, method: str, payload: Payload) -> None:
        try:
            kind, content = await answer(self.server.handler, method, payload)
            self._send(kind, number, content)
        finally:
            self.in_flight -= 1
            if not self.reading:
                self._pump()

    def _send(self, kind: int, number: int, content: Payload) -> None:
        """Queue an answer; those of one turn of the loop leave in one write."""
        try:
            frame = pack(kind, number, content, None, self.server.limits)
        except errors.BriqueError as error:
            if kind == ANSWER:
                _log.error("an answer cannot be sent: %s", error.message)
            frame = pack(FAULT, number, fault_to_wire(error), None, self.server.limits)
        if not self.out:
            asyncio.get_running_loop().call_soon(self._flush)
        self.out.append(frame)

    def _flush(self) -> None:
        frames, self.out = self.out, []
        if not self.transport.is_closing():
            self.transport.write(b"".join(frames))

    def push(self, frame: bytes) -> None:
        backlog = self.transport.get_write_buffer_size()
        if backlog > self.server.limits.event_backlog_bytes_max:
            _log.warning("cut off a client of %s that does not read (%s bytes behind)", self.server.path, backlog)
            self.transport.abort()
            return
        if not self.out:
            asyncio.get_running_loop().call_soon(self._flush)
        self.out.append(frame)

    def hang_up(self) -> None:
        if self.out:
            self._flush()
        self.transport.close()


def _listen(path: Path, *, backlog: int) -> socket.socket:
    """A listening socket at `path`, readable by its owner alone before anyone can connect."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        with socket_address(path) as address:
            try:
                sock.bind(address)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                _clear(path)
                sock.bind(address)
        path.chmod(0o600)  # before listen: until then nobody can connect
        sock.listen(backlog)
        return sock
    except OSError as error:
        sock.close()
        raise errors.BadConfiguration(
            f"Cannot listen on {path}: {error.strerror}", try_this="Check that the data folder is writable.", path=path
        ) from error
    except BaseException:
        sock.close()
        raise


def _clear(path: Path) -> None:
    """Remove a socket that nobody answers on. Raises BadConfiguration when somebody does."""
    try:
        connect(path, seconds=1.0).close()
    except (ConnectionRefusedError, FileNotFoundError):
        path.unlink(missing_ok=True)
        return
    raise errors.BadConfiguration(
        f"Another process already answers on {path}", try_this="Stop it first, or use another data folder.", path=path
    )


def _peer_user(transport: asyncio.BaseTransport) -> int:
    """The user id of the process at the other end."""
    sock = transport.get_extra_info("socket")
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(credentials)[1])
