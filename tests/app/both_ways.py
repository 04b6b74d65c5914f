"""One intranet behind two doors: one that answers from the shelf, one that leaves all to the application."""

from __future__ import annotations

import gzip
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow
import uvicorn

from brique import Figure, Inline, Intranet
from brique.clock import SystemClock
from brique.http import Limits, Shelf, configure
from brique.http.gate import Gate
from brique.settings import Settings
from tests.app.backbone import QUICK
from tests.servers import wait_until
from tests.shop import make_shop

TOKEN = "only-for-this-test"
LIMITS = Limits(head_seconds_max=0.6, head_bytes_max=4000, headers_count_max=30, url_bytes_max=1000)
PASSWORD = "cheval agrafe pile"
_IDS = re.compile(rb'"request_id":"[0-9a-f]+"')
_MOVING = re.compile(rb"(?im)^(date|x-request-id): [^\r\n]*\r\n")


class Frozen(SystemClock):
    """Shows one moment for ever, so that no age moves between two answers."""

    def __init__(self) -> None:
        self.moment = datetime.now(UTC)

    def now(self) -> datetime:
        return self.moment


class Door(uvicorn.Server):
    """A server in a thread of this process."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for size in (socket.SO_RCVBUF, socket.SO_SNDBUF):  # so that a slow reader is soon felt
            self.listener.setsockopt(socket.SOL_SOCKET, size, 32 * 1024)
        self.port: int = self.listener.getsockname()[1]
        self._thread = threading.Thread(target=self.run, kwargs={"sockets": [self.listener]}, daemon=True)

    def __enter__(self) -> Door:
        self._thread.start()
        wait_until(lambda: self.started, 10, "the door to open")
        return self

    def __exit__(self, *_: object) -> None:
        self.should_exit = True
        self._thread.join(15)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)


@dataclass
class Both:
    """The two doors, and who may go in."""

    site: Inline
    shelf: Shelf
    fast: Door
    slow: Door
    clock: Frozen

    def sign_in(self, name: str) -> str:
        """A new session of `name`: its cookie."""
        opened = self.site.accounts.open_session(name)
        return f"brique_{self.site.accounts.instance}={opened.id}"

    def gate(self) -> Gate:
        """The gate of the application, which counts wrong tokens."""
        app = self.site.asgi.middleware_stack
        while not isinstance(app, Gate):
            app = app.app  # type: ignore[union-attr]  # one middleware around the other
        return app

    def change(self, table: str, key: str, **given: str) -> None:
        """Change a row, and wait until nothing is pending on it."""
        line = Line(self.slow)
        body = json.dumps(given)
        headers = (f"Authorization: Bearer {TOKEN}", "Content-Type: application/json", f"Content-Length: {len(body)}")
        answer = line.ask("PATCH", f"/api/tables/{table}/{key}", *headers, body=body.encode())
        assert answer.status in (200, 202), answer
        wait_until(lambda: not self._pending(table, key), 20, "the change to settle")
        line.close()

    def _pending(self, table: str, key: str) -> bool:
        row = self.site.web.readers.mine().row(table, key)
        return row is None or bool(row.pending)


def intranet(file: Path) -> Intranet:
    app = Intranet("Shop", languages=("en", "fr"))
    from brique.app.sources import look

    shop = app.backend("shop", f"sqlite:///{file}", refresh="1h")
    app.infer(shop, look("shop", f"sqlite:///{file}")[1])

    @app.view("/by-city/{city}")
    def by_city(db, city: str):  # type: ignore[no-untyped-def]  # as people write them
        return {"customers": [row.name for row in db["customer"].where(city=city)]}

    @app.view("/mine")
    def mine(db):  # type: ignore[no-untyped-def]
        return {"who": str(getattr(db.user, "name", db.user)), "orders": db["orders"].count()}

    @app.view("/secret", role="admin")
    def secret(db):  # type: ignore[no-untyped-def]
        return {"customers": db["customer"].count(), "all": ["a line of some length"] * 100}

    @app.dashboard("/")
    def home(db):  # type: ignore[no-untyped-def]
        return [Figure("Orders", db["orders"].count())]

    return app


@contextmanager
def both_ways(folder: Path, *, limits: Limits | None = None, bytes_max: int = 10**7) -> Iterator[Both]:
    """The shop behind both doors, its copy complete; rita reads, walid writes, awa administers."""
    limits = limits or Limits()
    folder.mkdir(exist_ok=True)
    file = make_shop(folder / "shop.db")
    data, clock = folder / "data", Frozen()
    settings = Settings(data=data, ready_bytes_max=bytes_max, **QUICK)  # type: ignore[arg-type]  # each fits its row
    with Inline(intranet(file), data, settings=settings, clock=clock) as site:
        site.accounts.accept_for_this_run(TOKEN)
        for name, role in (("rita", "read"), ("walid", "write"), ("awa", "admin")):
            site.accounts.create_user(name, PASSWORD, role)  # type: ignore[arg-type]  # these are roles
        shelf = site.web.shelf()
        assert shelf is not None
        slow = configure(site.asgi, limits=limits)
        slow.lifespan = "off"
        with Door(configure(site.asgi, limits=limits, shelf=shelf)) as fast_door, Door(slow) as slow_door:
            wait_until(lambda: _is_loaded(site), 30, "the copy")
            yield Both(site, shelf, fast_door, slow_door, clock)


def _is_loaded(site: Inline) -> bool:
    reader = site.web.readers.mine()
    return all(reader.table_state(name).loaded for name in site.declared.specs)


def unpacked(body: bytes, coding: str) -> bytes:
    if coding == "gzip":
        return gzip.decompress(body)
    if coding == "zstd":
        with pyarrow.CompressedInputStream(pyarrow.BufferReader(body), "zstd") as stream:
            return bytes(stream.read())
    return body


@dataclass(frozen=True)
class Answer:
    """What came back for one request: all of it but what is never twice the same."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def etag(self) -> str:
        return dict(self.headers).get("etag", "")


class Line:
    """A connection that stays, and is asked one thing after another."""

    def __init__(self, door: Door) -> None:
        self._socket = door.connect()
        self._left = b""

    def close(self) -> None:
        self._socket.close()

    def ask(self, method: str, target: str, *headers: str, body: bytes = b"") -> Answer:
        lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", *headers, "", ""]
        self._socket.sendall("\r\n".join(lines).encode("latin-1") + body)
        return self.read(method)

    def read(self, method: str = "GET") -> Answer:
        while b"\r\n\r\n" not in self._left:
            self._more()
        head, _, self._left = self._left.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]
        status, told = int(first.split(" ")[1]), dict(headers)
        assert len(told) == len(headers), f"twice the same header: {headers}"
        body = b""
        if method != "HEAD" and status not in (204, 304):
            body = self._chunked() if "transfer-encoding" in told else self._body(int(told["content-length"]))
        if status >= 400:  # a problem tells its request's id, a page of one may too
            body = unpacked(body, told.get("content-encoding", ""))
            body = body.replace(told["x-request-id"].encode(), b"(id)")
            told.pop("content-length", None)
        kept = {name: value for name, value in told.items() if name not in ("date", "x-request-id")}
        return Answer(status, tuple(sorted(kept.items())), body)

    def _more(self) -> None:
        part = self._socket.recv(65536)
        assert part, f"closed after {self._left!r}"
        self._left += part

    def _body(self, size: int) -> bytes:
        while len(self._left) < size:
            self._more()
        body, self._left = self._left[:size], self._left[size:]
        return body

    def _chunked(self) -> bytes:
        parts = []
        while True:
            while b"\r\n" not in self._left:
                self._more()
            line, _, self._left = self._left.partition(b"\r\n")
            parts.append(self._body(int(line, 16)))
            self._body(2)
            if not parts[-1]:
                return b"".join(parts)


def raw(door: Door, *pieces: bytes, pause: float = 0.0, seconds: float = 3.0) -> bytes:
    """Send `pieces` one after another, and give all that comes until the server closes, without what always differs."""
    with door.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(seconds)
        parts = []
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
        except ConnectionError:
            pass  # it has closed after what it did not like; what it said is still to be read
        try:
            while part := connection.recv(65536):
                parts.append(part)
        except ConnectionError:
            pass
        except TimeoutError:
            parts.append(b"(left open)")
    return _IDS.sub(b'"request_id":"(id)"', _MOVING.sub(b"", b"".join(parts)))
