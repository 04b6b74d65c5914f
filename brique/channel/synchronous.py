"""The calling end for threads: any number of them share one connection; a thread of its own reads it."""

from __future__ import annotations

import logging
import random
import socket
import struct
import threading
import time
from concurrent.futures import Future
from pathlib import Path

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
_CONNECT_PAUSE_SECONDS = 0.02
_RECONNECT_PAUSE_SECONDS_MAX = 1.0


class SyncChannel:
    """Calls from threads to the engine. Connects at the first call, and again when the engine comes back.

    With `on_event` it connects at once and stays connected; the callback runs in the reading thread, must not call
    this channel, and first gets ("connected", {}) after each connection, since events may have been missed before it.
    """

    def __init__(
        self, path: Path | str, *, on_event: OnEvent | None = None, limits: Limits | None = None, name: str = "engine"
    ) -> None:
        self.path = Path(path)
        self.limits = limits or Limits()
        self.name = name
        self.on_event = on_event
        self._lock = threading.Lock()
        self._wire: _Wire | None = None
        self._closed = threading.Event()
        self._keeper: threading.Thread | None = None
        if on_event is not None:
            self._keeper = threading.Thread(target=self._keep_connected, name=f"channel-{name}", daemon=True)
            self._keeper.start()

    @property
    def connected(self) -> bool:
        return self._wire is not None and not self._wire.lost

    def call(self, method: str, payload: Payload, timeout: float | None = None) -> Payload:
        """The engine's answer. Raises its fault, or EngineAway (fact `outcome`: not-sent or unknown)."""
        deadline = time.monotonic() + (self.limits.call_seconds if timeout is None else timeout)
        wire = self._connected_wire(deadline)
        number, future = wire.send(method, payload, deadline)
        try:
            return future.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            raise away(self.name, f"no answer to {method} in time", outcome="unknown") from None
        finally:
            wire.waiting.pop(number, None)

    def close(self) -> None:
        """Drop the connection; calls in flight raise EngineAway."""
        self._closed.set()
        with self._lock:
            wire, self._wire = self._wire, None
        if wire is not None:
            wire.hang_up()
        if self._keeper is not None and self._keeper is not threading.current_thread():
            self._keeper.join(5.0)

    def _connected_wire(self, deadline: float) -> _Wire:
        wire = self._wire
        if wire is not None and not wire.lost:
            return wire
        give_up = min(deadline, time.monotonic() + self.limits.connect_seconds)
        while True:
            try:
                return self._connect()
            except OSError as error:
                if self._closed.is_set() or time.monotonic() + _CONNECT_PAUSE_SECONDS > give_up:
                    raise away(self.name, error.strerror or "cannot connect", outcome="not-sent") from error
            self._closed.wait(_CONNECT_PAUSE_SECONDS)

    def _connect(self) -> _Wire:
        """The living connection, or a new one. Raises OSError."""
        with self._lock:
            if self._closed.is_set():
                raise OSError(0, "this channel was closed")
            if self._wire is None or self._wire.lost:
                self._wire = _Wire(self, connect(self.path, seconds=self.limits.send_seconds))
            return self._wire

    def _keep_connected(self) -> None:
        pause = 0.05
        while not self._closed.is_set():
            try:
                wire = self._connect()
            except OSError:
                self._closed.wait(pause * random.uniform(0.8, 1.2))
                pause = min(pause * 2, _RECONNECT_PAUSE_SECONDS_MAX)
                continue
            pause = 0.05
            wire.reader.join()

    def deliver(self, topic: str, payload: Payload) -> None:
        if self.on_event is not None:
            tell(self.on_event, topic, payload)


class _Wire:
    """One connection, the thread that reads it, and the calls that wait on it."""

    def __init__(self, channel: SyncChannel, sock: socket.socket) -> None:
        self.channel = channel
        self.waiting: dict[int, Future[Payload]] = {}
        self.lost = False
        self._number = 0
        self._sending = threading.Lock()
        self._sock = sock
        sock.setblocking(True)
        seconds = channel.limits.send_seconds
        patience = struct.pack("@ll", int(seconds), int(seconds % 1 * 1_000_000))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)  # a peer that does not read: OSError
        self.reader = threading.Thread(target=self._read, name=f"channel-{channel.name}-reader", daemon=True)
        self.reader.start()

    def send(self, method: str, payload: Payload, deadline: float) -> tuple[int, Future[Payload]]:
        name = self.channel.name
        future: Future[Payload] = Future()
        if not self._sending.acquire(timeout=max(0.001, deadline - time.monotonic())):
            raise away(name, "it reads too slowly", outcome="not-sent")
        try:
            self._number = number = self._number + 1
            frame = pack(REQUEST, number, method, payload, self.channel.limits)
            self.waiting[number] = future
            if self.lost:
                self.waiting.pop(number, None)
                raise away(name, "the connection was lost", outcome="not-sent")
            self._sock.sendall(frame)
        except OSError as error:
            self.waiting.pop(number, None)
            self.hang_up()
            raise away(name, "the connection was lost", outcome="unknown") from error
        finally:
            self._sending.release()
        return number, future

    def hang_up(self) -> None:
        """Wake the reader, which then ends the connection."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:  # it is already down: the reader has seen it or will
            return
        finally:
            if threading.current_thread() is not self.reader:
                self.reader.join(5.0)

    def _read(self) -> None:
        frames = Frames(self.channel.limits)
        try:
            while data := self._sock.recv(256 * 1024):
                frames.feed(data)
                while (message := frames.next()) is not None:
                    self._receive(*message)
        except BrokenFrame as error:
            _log.warning("closed the connection to %s: %s", self.channel.path, error)
        except OSError as error:
            _log.debug("lost the connection to %s: %s", self.channel.path, error)
        finally:
            self._end()

    def _receive(self, kind: int, number: int, first: object, second: object) -> None:
        if kind == EVENT and isinstance(first, str) and isinstance(second, dict):
            self.channel.deliver(first, second)
            return
        if kind not in (ANSWER, FAULT) or not isinstance(first, dict):
            raise BrokenFrame("not an answer")
        future = self.waiting.pop(number, None)  # None: its caller has given up
        if future is not None and kind == ANSWER:
            future.set_result(first)
        elif future is not None:
            future.set_exception(fault_from_wire(first))

    def _end(self) -> None:
        self.lost = True
        self._sock.close()
        while self.waiting:
            try:
                _, future = self.waiting.popitem()
            except KeyError:
                break
            fault: errors.BriqueError = away(self.channel.name, "the connection was lost", outcome="unknown")
            future.set_exception(fault)
