"""Calls between brique's processes on one machine: request and answer over a Unix socket, and events pushed back.

A frame is a length (4 bytes, big-endian) and that many bytes of MessagePack: `[kind, number, first, second]`.
Many calls share one connection; `number` ties an answer to its request. A fault travels as data and is raised again
by the caller as the same class. `Direct` is the same door without a socket, for one-process mode.

A caller whose connection is lost in the middle of a call cannot know whether it was carried out
(`EngineAway`, fact `outcome="unknown"`); every command carries its own id, so it may simply be sent again.
"""

from brique.channel.asynchronous import AsyncChannel
from brique.channel.direct import Direct
from brique.channel.server import Server, serve
from brique.channel.synchronous import SyncChannel
from brique.channel.wire import AsyncCaller, Channel, Handler, Limits, OnEvent, Payload

__all__ = [
    "AsyncCaller",
    "AsyncChannel",
    "Channel",
    "Direct",
    "Handler",
    "Limits",
    "OnEvent",
    "Payload",
    "Server",
    "SyncChannel",
    "serve",
]
