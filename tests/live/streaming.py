"""A real server on a real socket whose pages are streams of events, over a small store; and clients that read them."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from argon2 import PasswordHasher
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from brique.http import Accounts, EventStream, Limits, Routes, Site, application, ticket_of
from brique.http.events import CONNECTION
from brique.http.protocol import bounded
from brique.live import Live, LiveLimits, Pass, Probe
from brique.store import Reader
from tests.servers import wait_until
from tests.views.world import SPECS, World

LONG = "x" * 2000
"""The topic that makes events long."""


class Streams:
    """The server. `/follow?topics=a,b` follows, `&long=1` what changes with `number` too; with the header `X-Plain`
    from a coroutine, as other servers would."""

    def __init__(self, folder: Path, shop: World, limits: LiveLimits, send_bytes: int = 0) -> None:
        self.shop, self.path = shop, folder / "store.db"
        self.accounts = Accounts(
            folder / "accounts.db", hasher=PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        )
        self.token = self.accounts.grant_token("reader", "read").value
        self.live = Live(self._reader, limits)
        self.number = 0
        self.clients: list[Client] = []
        self._readers: list[Reader] = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=2000)
        if send_bytes:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_bytes)
        self.port = int(self.listener.getsockname()[1])
        config = uvicorn.Config(
            _or_plain(self._application()), loop="uvloop", http=bounded(Limits()), ws="none", log_config=None,
            limit_concurrency=50, timeout_graceful_shutdown=2,
        )  # fmt: skip
        self.server = uvicorn.Server(config)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listener]}, daemon=True)

    def _reader(self) -> Reader:
        if not self._readers:
            self._readers.append(Reader(self.path, SPECS))
        return self._readers[0]

    def _application(self) -> ASGIApp:
        async def follow(request: Request) -> Response:
            self.loop = asyncio.get_running_loop()
            topics = set(request.query_params["topics"].split(","))
            ticket = ticket_of(request)
            who = Pass(ticket.name, "read", lambda: ticket.user() is not None)
            probe = Probe(LONG, lambda: self.number) if "long" in request.query_params else None
            last = request.headers.get("last-event-id", "")
            return EventStream(lambda: self.live.join(topics, probe=probe, last=last, who=who))

        routes = Routes()
        routes.get("/follow", follow)
        return application(routes, accounts=self.accounts, site=Site("127.0.0.1"))

    def on_loop(self, call: Callable[[], Any]) -> Any:
        """What `call` gives on the server's loop."""
        assert self.loop is not None

        async def called() -> Any:
            return call()

        return asyncio.run_coroutine_threadsafe(called(), self.loop).result(10)

    def connect(self, topics: str = "orders", *, plain: bool = False, last: str = "", **options: Any) -> Client:
        client = Client(self, topics, plain=plain, last=last, **options)
        self.clients.append(client)
        return client

    def wake(self) -> None:
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self.live.wake)

    def close(self) -> None:
        if self.loop is not None:
            self.on_loop(self.live.close)
        self.server.should_exit = True
        self.thread.join(10)
        for client in self.clients:
            client.close()
        for reader in self._readers:
            reader.close()
        self.accounts.close()


class Client:
    """One connection that follows, read by hand."""

    def __init__(
        self, streams: Streams, topics: str, *, plain: bool, last: str, token: str = "", receive_bytes: int = 0
    ) -> None:
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(10)
        self.socket.connect(("127.0.0.1", streams.port))
        lines = [f"GET /follow?topics={topics} HTTP/1.1", "Host: 127.0.0.1"]
        lines += [f"Authorization: Bearer {token or streams.token}", *(["X-Plain: 1"] if plain else [])]
        lines += [f"Last-Event-ID: {last}"] if last else []
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self._raw = b""
        self._body = b""
        self.is_over = False

    def head(self) -> str:
        """The head of the answer."""
        while b"\r\n\r\n" not in self._raw:
            self._receive()
        head, _, self._raw = self._raw.partition(b"\r\n\r\n")
        return head.decode()

    def message(self) -> str:
        """The next message of the stream; "" when it is over."""
        while b"\n\n" not in self._body:
            if self.is_over:
                return ""
            if not self._unpack():
                self._receive()
        message, _, self._body = self._body.partition(b"\n\n")
        return message.decode()

    def event(self) -> dict[str, Any]:
        """The next event, with its id; {} when the stream is over."""
        while message := self.message():
            fields = dict(line.split(": ", 1) for line in message.splitlines() if not line.startswith(":"))
            if "data" in fields:
                return {"id": fields["id"], **json.loads(fields["data"])}
        return {}

    def _receive(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("closed in the middle of a chunk")
        self._raw += data

    def _unpack(self) -> bool:
        """Take one chunk out of its frame, when it is there whole."""
        found = re.match(rb"([0-9a-f]+)\r\n", self._raw)
        if found is None:
            return False
        start, length = found.end(), int(found[1], 16)
        if len(self._raw) < start + length + 2:
            return False
        assert self._raw[start + length : start + length + 2] == b"\r\n"
        self._body += self._raw[start : start + length]
        self._raw = self._raw[start + length + 2 :]
        self.is_over = length == 0
        return True

    def close(self) -> None:
        self.socket.close()


def _or_plain(app: ASGIApp) -> ASGIApp:
    async def called(scope: Scope, receive: Receive, send: Send) -> None:
        if any(name == b"x-plain" for name, _ in scope.get("headers", ())):
            del scope[CONNECTION]
        await app(scope, receive, send)

    return called


@contextmanager
def streaming(folder: Path, shop: World, send_bytes: int = 0, **limits: Any) -> Iterator[Streams]:
    """A running server over `shop`, whose store is in `folder`."""
    streams = Streams(folder, shop, LiveLimits(**{"poll_seconds": 0.02, **limits}), send_bytes)
    streams.thread.start()
    wait_until(lambda: streams.server.started, 10, "the server")
    try:
        yield streams
    finally:
        streams.close()
