"""Runs the application under uvicorn on a listening socket that somebody else holds open."""

from __future__ import annotations

import ipaddress
import logging
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from brique.errors import BadConfiguration
from brique.http.fast import fast
from brique.http.limits import Limits
from brique.http.protocol import BoundedProtocol, bounded
from brique.http.ready import Learning
from brique.http.shelf import Shelf
from brique.http.site import client_address, header

log = logging.getLogger("brique.http")
_FILES = 65_536


def serve(
    app: ASGIApp,
    sock: socket.socket,
    *,
    on_ready: Callable[[], None] | None = None,
    on_stopping: Callable[[], None] | None = None,
    limits: Limits | None = None,
    trusted_proxies: tuple[str, ...] = (),
    shelf: Shelf | None = None,
) -> None:
    """Serve `app` on the listening socket `sock` until SIGTERM or SIGINT; then end within `stop_seconds_max`.

    On a signal no new connection is taken, `on_stopping` is called (long answers should end now), answers under way
    are finished, what is left at the limit is cancelled, and the application's lifespan ends. Returns normally.

    Args:
        sock: bound; closed on return (other processes that hold it go on listening).
        on_ready: called once connections are accepted.
        trusted_proxies: addresses or networks whose X-Forwarded-* headers are believed.
        shelf: where answers stand ready that the connection gives by itself; None: the application gives all.
    """
    limits = limits or Limits()
    _take_files()
    _prepare(sock, limits)
    config = configure(app, limits=limits, trusted_proxies=trusted_proxies, shelf=shelf)
    with _quiet_signals():
        _Server(config, on_ready, on_stopping).run(sockets=[sock])


def configure(
    app: ASGIApp, *, limits: Limits, trusted_proxies: tuple[str, ...] = (), shelf: Shelf | None = None
) -> uvicorn.Config:
    """How uvicorn is to serve `app`; see `serve`."""
    if trusted_proxies:
        app = behind_proxies(app, trusted_proxies)
    protocol: type[BoundedProtocol] = bounded(limits)
    if shelf is not None:
        app = Learning(app, shelf.take)
        protocol = fast(limits, shelf, behind_proxy=bool(trusted_proxies))
    return uvicorn.Config(
        cast(Any, app),
        loop="uvloop",
        http=protocol,
        ws="none",
        lifespan="auto",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,  # see behind_proxies
        interface="asgi3",
        workers=1,
        limit_concurrency=limits.connections_count_max,
        backlog=limits.backlog_count_max,
        timeout_keep_alive=limits.keep_alive_seconds_max,
        timeout_graceful_shutdown=limits.stop_seconds_max,
    )


class _Server(uvicorn.Server):
    def __init__(
        self, config: uvicorn.Config, on_ready: Callable[[], None] | None, on_stopping: Callable[[], None] | None
    ) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._on_stopping = on_stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._on_ready is not None:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._on_stopping is not None:
            self._on_stopping()
        await super().shutdown(sockets)


def _take_files() -> None:
    """Allow this process as many open files as it may have: each page that is followed is one, and 1,024 are usual."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _prepare(sock: socket.socket, limits: Limits) -> None:
    """Options that accepted connections inherit: without TCP_NODELAY a keep-alive answer waits 40 ms for an ACK."""
    sock.setblocking(False)
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(limits.write_seconds_max * 1000))


@contextmanager
def _quiet_signals() -> Iterator[None]:
    """uvicorn raises the signal again when it has stopped; where nobody handles it that would kill the process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    untouched = (signal.SIG_DFL, signal.default_int_handler)
    replaced = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(number)
        if before in untouched:
            replaced[number] = before
            signal.signal(number, lambda _number, _frame: None)
    try:
        yield
    finally:
        for number, before in replaced.items():
            signal.signal(number, before)


def behind_proxies(app: ASGIApp, trusted: tuple[str, ...]) -> ASGIApp:
    """`app` that believes X-Forwarded-Proto, -For and -Host of connections from `trusted` addresses or networks."""
    inner = ProxyHeadersMiddleware(cast(Any, app), trusted_hosts=list(trusted))
    return ForwardedHost(cast(ASGIApp, inner), trusted)


class ForwardedHost:
    """Takes X-Forwarded-Host as the Host when the connection comes from a trusted proxy; else ignores it.

    Stands outside uvicorn's middleware for the scheme and the client, which overwrites the connection's address.
    """

    def __init__(self, app: ASGIApp, trusted: tuple[str, ...]) -> None:
        self.app = app
        self.all = "*" in trusted
        try:
            self.networks = [ipaddress.ip_network(entry, strict=False) for entry in trusted if entry != "*"]
        except ValueError as fault:
            raise BadConfiguration(f"A trusted proxy is not an address or network: {fault}") from fault

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (forwarded := header(scope, b"x-forwarded-host")) and self._trusts(scope):
            host = forwarded.partition(",")[0].strip().encode("latin-1")
            headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
            scope = {**scope, "headers": [(b"host", host), *headers]}
        await self.app(scope, receive, send)

    def _trusts(self, scope: Scope) -> bool:
        if self.all:
            return True
        try:
            address = ipaddress.ip_address(client_address(scope))
        except ValueError:
            return False
        return any(address in network for network in self.networks)
