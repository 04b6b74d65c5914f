"""What goes over the wire: frames, faults as data, limits, and how a socket path is opened. Decides, never waits."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

from brique import errors

Payload = dict[str, Any]
Handler = Callable[[str, Payload], Awaitable[Payload]]
OnEvent = Callable[[str, Payload], None]

REQUEST, ANSWER, FAULT, EVENT = range(4)
CONNECTED = "connected"
Message = tuple[int, int, Any, Any]

_LENGTH = struct.Struct(">I")
_PATH_BYTES_MAX = 100  # sockaddr_un holds 108 on Linux, 104 elsewhere
_log = logging.getLogger("brique.channel")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a channel; both ends should be given the same `frame_bytes_max`."""

    frame_bytes_max: int = 32 * 1024 * 1024
    requests_max: int = 4096  # in flight in the whole server; above, a caller is told Busy
    connection_requests_max: int = 1024  # in flight on one connection; above, the server stops reading it
    connections_max: int = 256
    event_backlog_bytes_max: int = 4 * 1024 * 1024  # a client further behind is cut off and connects anew
    call_seconds: float = 30.0
    connect_seconds: float = 1.0  # how long a call waits for an engine that is restarting
    send_seconds: float = 10.0


class Channel(Protocol):
    """The way to the engine for threads."""

    def call(self, method: str, payload: Payload, timeout: float | None = None) -> Payload:
        """The engine's answer. Raises the engine's own fault, or EngineAway (fact `outcome`: not-sent, unknown)."""
        ...

    def close(self) -> None: ...


class AsyncCaller(Protocol):
    """The way to the engine for coroutines."""

    async def acall(self, method: str, payload: Payload, timeout: float | None = None) -> Payload:  # noqa: ASYNC109
        """As `Channel.call`."""
        ...


def _plain(value: object) -> object:
    """Facts may hold anything; on the wire what MessagePack does not know becomes text."""
    return str(value)


_encode = msgspec.msgpack.Encoder().encode
_encode_loosely = msgspec.msgpack.Encoder(enc_hook=_plain).encode
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def pack(kind: int, number: int, first: object, second: object, limits: Limits) -> bytes:
    """One frame, its length included. Raises BadInput for values that cannot travel, TooMuch above the limit."""
    try:
        body = (_encode_loosely if kind == FAULT else _encode)((kind, number, first, second))
    except (TypeError, ValueError, OverflowError) as error:
        raise errors.BadInput(f"This cannot be sent to another process: {error}") from error
    if len(body) > limits.frame_bytes_max:
        raise errors.TooMuch(
            f"A message of {len(body)} bytes is above the limit of {limits.frame_bytes_max}",
            try_this="Send it in smaller parts.",
            limit="frame_bytes_max",
        )
    return _LENGTH.pack(len(body)) + body


class BrokenFrame(Exception):
    """The other end does not speak this protocol: the connection is closed."""


class Frames:
    """Bytes in, messages out."""

    def __init__(self, limits: Limits) -> None:
        self._buffer = bytearray()
        self._bytes_max = limits.frame_bytes_max

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> Message | None:
        """The next whole message, or None until more bytes come. Raises BrokenFrame."""
        buffer = self._buffer
        if len(buffer) < 4:
            return None
        size = _LENGTH.unpack_from(buffer)[0]
        if size > self._bytes_max:
            raise BrokenFrame(f"a frame of {size} bytes is above the limit of {self._bytes_max}")
        if len(buffer) < 4 + size:
            return None
        body = bytes(memoryview(buffer)[4 : 4 + size])
        del buffer[: 4 + size]
        try:
            return _decoder.decode(body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise BrokenFrame(str(error)) from error


def fault_to_wire(error: errors.BriqueError) -> Payload:
    """A fault as data; `classes` names the class first and then its parents, for a reader that knows only those."""
    classes = [kind.__name__ for kind in type(error).__mro__ if issubclass(kind, errors.BriqueError)]
    wire: Payload = {"classes": classes, "message": error.message, "try_this": error.try_this, "facts": error.facts}
    if isinstance(error, errors.BadInput):
        wire["fields"] = error.fields
    return wire


def fault_from_wire(wire: Payload) -> errors.BriqueError:
    """The fault that `fault_to_wire` described, of the nearest class that this process knows."""
    known = {kind.__name__: kind for kind in _family(errors.BriqueError)}
    kind = next((known[name] for name in wire.get("classes", ()) if name in known), errors.BriqueError)
    error = kind.__new__(kind)  # a subclass may ask for other arguments: fill in what every fault has
    facts = {str(name): value for name, value in wire.get("facts", {}).items()}
    facts.pop("try_this", None)
    errors.BriqueError.__init__(error, str(wire.get("message", "")), try_this=str(wire.get("try_this", "")), **facts)
    if isinstance(error, errors.BadInput):
        error.fields = dict(wire.get("fields", {}))
    return error


def _family(kind: type[errors.BriqueError]) -> Iterator[type[errors.BriqueError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _family(child)


async def answer(handler: Handler, method: str, payload: Payload) -> tuple[int, Payload]:
    """What the handler says, as (ANSWER, payload) or (FAULT, fault as data). Never raises but for cancellation."""
    try:
        return ANSWER, await handler(method, payload)
    except errors.BriqueError as error:
        return FAULT, fault_to_wire(error)
    except Exception as error:  # noqa: BLE001 - one broken call must not end the engine; it is logged and answered
        _log.exception("%s failed", method)
        return FAULT, fault_to_wire(
            errors.BriqueError(
                f"{method} failed inside the engine ({type(error).__name__})",
                try_this="See the engine's log, or the errors page.",
                method=method,
            )
        )


def tell(on_event: OnEvent, topic: str, payload: Payload) -> None:
    """Hand an event to its receiver, whose faults are logged and go no further."""
    try:
        on_event(topic, payload)
    except Exception:  # noqa: BLE001 - the connection serves others too
        _log.exception("the receiver of event %s failed", topic)


def away(name: str, why: str, *, outcome: str) -> errors.EngineAway:
    """The fault of a call that got no answer; `outcome` is not-sent or unknown."""
    return errors.EngineAway(
        f"The {name} does not answer: {why}",
        try_this="Try again in a moment; `brique ctl status` tells which processes run.",
        outcome=outcome,
    )


@contextlib.contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """An address for `path` that fits a socket address, however deep the folder is."""
    text = os.fspath(path)
    if len(os.fsencode(text)) <= _PATH_BYTES_MAX:
        yield text
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def connect(path: Path, *, seconds: float | None = None) -> socket.socket:
    """A socket connected to `path`. Raises OSError (BlockingIOError: its queue is full, and `seconds` is 0)."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.settimeout(seconds)
        with socket_address(path) as address:
            sock.connect(address)
        return sock
    except BaseException:
        sock.close()
        raise
