"""Listening sockets, opened once and passed on."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Mapping, MutableMapping

from brique import errors

_FIRST_SYSTEMD_FD = 3
_BACKLOG = 2048


def open_listener(host: str, port: int, *, wait_seconds: float = 2.0) -> socket.socket:
    """A listening TCP socket. TCP_NODELAY is set on it, which the accepted ones inherit: without it a keep-alive
    request over an inherited socket waits 40 ms.

    Args:
        wait_seconds: how long to wait for the port when the processes of a killed supervisor are just dying.
    Raises:
        BadConfiguration: the address is taken, not ours, or not allowed.
    """
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            return _open(host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise errors.BadConfiguration(
                    f"Cannot listen on {host}:{port}: {error.strerror or error}",
                    try_this=_advice(error, port),
                    host=host,
                    port=port,
                ) from error
        time.sleep(0.02)


def _advice(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Another program uses port {port}: stop it, or choose another with --listen."
    if error.errno == errno.EACCES:
        return "Ports below 1024 need a right: choose a higher one, or let systemd open it."
    return "Choose an address of this machine with --listen."


def _open(host: str, port: int) -> socket.socket:
    family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
        0
    ]
    sock = socket.socket(family, kind, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
        sock.bind(address)
        _prepare(sock)
        sock.listen(_BACKLOG)
        return sock
    except BaseException:
        sock.close()
        raise


def _prepare(sock: socket.socket) -> None:
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setblocking(False)


def listeners_from_systemd(environment: Mapping[str, str] | MutableMapping[str, str]) -> list[socket.socket]:
    """The sockets that systemd (or systemd-socket-activate) has opened for this process; empty when there are none.

    Raises BadConfiguration when LISTEN_FDS is given but they are no sockets.
    """
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return []
    sockets = []
    for number in range(_FIRST_SYSTEMD_FD, _FIRST_SYSTEMD_FD + int(environment.get("LISTEN_FDS", "0"))):
        try:
            sock = socket.socket(fileno=number)
            listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError as error:
            raise errors.BadConfiguration(f"LISTEN_FDS names {number}, which is no socket: {error}") from error
        if not listening:
            raise errors.BadConfiguration(f"LISTEN_FDS names {number}, which is not a listening socket")
        sock.set_inheritable(False)
        _prepare(sock)
        sockets.append(sock)
    return sockets
