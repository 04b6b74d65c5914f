"""The sockets that a driver opens, so that a call into it can be cut: whatever it waits for, it gets the end.

`SQLCancel` asks the other side, and a frozen one does not answer. No part of ODBC gives the socket away, but it appears
among this process's files while the driver connects. Sockets that appeared at that time and lead to one host are taken
for the driver's; when they lead to several and none to the port that the address names, none is (then only `SQLCancel`
and, after that, the end of this process remain). A copy of each is kept, so that a number used again harms nobody.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from pathlib import Path

CONNECTING = threading.Lock()
"""Held while a driver connects: two at once could not be told apart."""
_FILES = Path("/proc/self/fd")


def open_sockets() -> dict[int, str]:
    """The sockets of this process: what each number means. Empty where the system does not tell."""
    found: dict[int, str] = {}
    try:
        files = list(_FILES.iterdir())
    except OSError:
        return found
    for file in files:
        with suppress(OSError):
            target = str(file.readlink())
            if target.startswith("socket:"):
                found[int(file.name)] = target
    return found


def copies(before: dict[int, str], port: int | None) -> list[socket.socket]:
    """Copies of the sockets that were not there `before` and must be the driver's."""
    fresh = [number for number, what in open_sockets().items() if before.get(number) != what]
    candidates: list[tuple[object, int | None, socket.socket]] = []
    for number in fresh:
        with suppress(OSError):
            copy = socket.socket(fileno=os.dup(number))
            peer = _peer(copy)
            if peer is None:
                copy.close()
            else:
                candidates.append((*peer, copy))
    by_port = [item for item in candidates if port is not None and item[1] == port]
    chosen = by_port or (candidates if len({item[0] for item in candidates}) == 1 else [])
    for item in candidates:
        if item not in chosen:
            item[2].close()
    return [item[2] for item in chosen]


def _peer(one: socket.socket) -> tuple[object, int | None] | None:
    """Host and port that a connected stream leads to; a local socket has no port; None: it is no such socket."""
    if one.type != socket.SOCK_STREAM:
        return None
    try:
        peer = one.getpeername()
    except OSError:
        return None
    return (peer[0], peer[1]) if isinstance(peer, tuple) else (peer, None)


def cut(sockets: list[socket.socket]) -> None:
    """Shut both ways of each: reads end, writes fail, in whatever thread."""
    for one in sockets:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
