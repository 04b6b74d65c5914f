"""The rim of every exchange: security headers, request id, access log, and the check of the Host header."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from brique.http.faults import WrongHost
from brique.http.identity import User
from brique.http.language import _
from brique.http.site import Site, client_address, header

access_log = logging.getLogger("brique.access")

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; font-src 'self'"
)
SENSORS = (
    "accelerometer", "autoplay", "browsing-topics", "camera", "display-capture", "encrypted-media",
    "geolocation", "gyroscope", "hid", "idle-detection", "magnetometer", "microphone", "midi", "payment",
    "publickey-credentials-get", "screen-wake-lock", "serial", "usb", "xr-spatial-tracking",
)  # fmt: skip

HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", ", ".join(f"{name}=()" for name in SENSORS).encode()),
)
_NAMES = frozenset({*(name for name, _value in HEADERS), b"x-request-id", b"strict-transport-security"})
PATH_LENGTH_MAX = 300


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer, for metrics. `route` is the declared path (`/tables/{table}`), empty when none."""

    method: str
    route: str
    status: int
    seconds: float
    bytes_sent: int
    request_id: str


class Security:
    """Outermost: gives each request its id and each answer its headers, and logs the exchange when it ends.

    A header that the application has set stays. Without a Cache-Control of its own an answer is private: kept and
    asked about again when it has an ETag, else not kept at all. The log holds the path without its query (which
    may hold a setup link or what somebody searched for), and neither cookies nor tokens.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        site: Site,
        on_exchange: Callable[[Exchange], None] | None = None,
        hsts_seconds: int = 0,
    ) -> None:
        self.app = app
        self.site = site
        self.on_exchange = on_exchange
        self.hsts = (b"strict-transport-security", f"max-age={hsts_seconds}".encode()) if hsts_seconds else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = secrets.token_hex(8)
        state = scope.setdefault("state", {})
        state["request_id"], state["began"] = request_id, started
        extra = [*HEADERS, (b"x-request-id", request_id.encode())]
        if self.hsts and self.site.is_secure(scope):
            extra.append(self.hsts)
        status, bytes_sent = 0, 0

        async def sending(message: Message) -> None:
            nonlocal status, bytes_sent
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": _completed(list(message.get("headers", ())), extra)}
            elif message["type"] == "http.response.body":
                bytes_sent += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, sending)
        finally:
            seconds = time.perf_counter() - started
            route = str(scope.get("brique.route_path", ""))
            self._log(scope, Exchange(scope["method"], route, status, seconds, bytes_sent, request_id))

    def _log(self, scope: Scope, exchange: Exchange) -> None:
        if self.on_exchange is not None:
            self.on_exchange(exchange)
        log_exchange(exchange, raw_target(scope), scope["state"].get("user"), client_address(scope))


def log_exchange(exchange: Exchange, target: bytes, user: User | None, address: str) -> None:
    """The line of one exchange in the access log, if one is kept. `target` is as it came, with or without a query."""
    if not access_log.isEnabledFor(logging.INFO):
        return
    facts = {
        "method": exchange.method,
        "path": logged_path(target),
        "status": exchange.status,
        "ms": round(exchange.seconds * 1000, 1),
        "bytes": exchange.bytes_sent,
        "request_id": exchange.request_id,
        "user": user.name if user else "-",
        "address": address or "-",
    }
    line = "{method} {path} {status} {ms} ms {bytes} B {request_id} {user} {address}"
    access_log.info(line.format(**facts), extra=facts)


def _completed(headers: list[tuple[bytes, bytes]], extra: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    present = {name.lower() for name, _value in headers}
    if present.isdisjoint(_NAMES):
        headers += extra
    else:
        headers += [(name, value) for name, value in extra if name not in present]
    if b"cache-control" not in present:
        keep = b"private, no-cache" if b"etag" in present else b"private, no-store"
        headers.append((b"cache-control", keep))
    return headers


def raw_target(scope: Scope) -> bytes:
    """The path as it came."""
    return bytes(scope.get("raw_path") or str(scope["path"]).encode())


def logged_path(target: bytes) -> str:
    """The path as it came, still percent-encoded (so a line break cannot forge a log line), and cut."""
    raw = target.partition(b"?")[0]
    shown = raw.decode("ascii", "backslashreplace")
    shown = "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in shown)
    return shown if len(shown) <= PATH_LENGTH_MAX else shown[:PATH_LENGTH_MAX] + "…"


class HostCheck:
    """Refuses (421) a request under a name that is not ours; see `Site`. The health check is asked by address: free."""

    def __init__(self, app: ASGIApp, *, site: Site, free: frozenset[str] = frozenset({"/-/health"})) -> None:
        self.app = app
        self.site = site
        self.free = free

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and scope["path"] not in self.free:
            hosts = [value for name, value in scope["headers"] if name == b"host"]
            if len(hosts) != 1 or not self.site.answers_to(header(scope, b"host")):
                raise WrongHost(
                    _("This server does not answer to that name."),
                    try_this=_("Use the address that brique printed, or set public_url to the one that people use."),
                )
        await self.app(scope, receive, send)
