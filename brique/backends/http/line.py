"""Requests to one API: only to where they may go, with limits on bytes and seconds, and ended from any thread.

A fault says whether the request may have arrived: one that never had a connection has not.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

from brique.backends.faults import ABORTED, CLOSED, LOST, NOT_NOW, SLOW, away, refused
from brique.backends.http.declare import Http, origin_of
from brique.backends.http.values import told
from brique.backends.watchdog import Watchdog
from brique.errors import BackendAway, MissingExtra

try:
    import httpcore
    import httpx
except ImportError as fault:  # pragma: no cover - tests install every extra
    raise MissingExtra("httpx is not installed", try_this='pip install "brique[http]"') from fault

ASKED_TO_WAIT = "{backend}: it asked to be left alone for {seconds:.0f} s."
TOO_LONG = "{backend}: the answer has more than {limit} bytes."
ELSEWHERE = "{backend}: it leads to another place, {origin}, which is not allowed (also=...)."
PRIVATE = "{backend}: it leads to an address inside, {origin}, which is not allowed (private=True)."
_LINK = re.compile(r"""<([^<>]*)>((?:\s*;\s*[\w*!-]+\s*(?:=\s*(?:"[^"]*"|[^",;\s]+))?)*)""")
_REDIRECTS_MAX = 3
_SOCKETS_MAX = 4
_RETRY_SECONDS_MAX = 3600.0
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


@dataclass(frozen=True)
class Answer:
    """An answer, read whole. Header names in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    url: str

    def link(self, rel: str) -> str:
        """Where the `Link` header leads with that relation; "" nowhere."""
        for found in _LINK.finditer(self.headers.get("link", "")):
            relations = re.search(r"""(?i);\s*rel\s*=\s*(?:"([^"]*)"|([^",;\s]+))""", found[2])
            if relations and rel in (relations[1] or relations[2]).lower().split():
                return str(urljoin(self.url, found[1]))
        return ""


class _Sockets(httpcore.NetworkBackend):
    """Opens connections and remembers their sockets, so that another thread can cut them. `outside(host)`: whether
    that host may only be one of the public network, whatever its name stood for when it was looked up before."""

    def __init__(self, outside: Callable[[str], bool]) -> None:
        self._inner, self._outside = httpcore.SyncBackend(), outside
        self._lock = threading.Lock()
        self._open: list[Any] = []

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        stream = self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        plain: socket.socket = stream.get_extra_info("socket")
        if self._outside(host) and not ipaddress.ip_address(str(plain.getpeername()[0]).partition("%")[0]).is_global:
            stream.close()
            raise httpcore.ConnectError(f"{host} leads to an address inside")
        with self._lock:
            for over in self._open[:-_SOCKETS_MAX]:
                over.close()
            self._open = [*self._open[-_SOCKETS_MAX:], plain.dup()]  # encryption takes the original away
        return stream

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)

    def cut(self) -> None:
        """End every conversation, encrypted or not."""
        with self._lock:
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
            self._open = []


class Line:
    """A client for the API at `base`. One request at a time per thread; `abort` from any."""

    def __init__(
        self,
        backend: str,
        base: str,
        http: Http,
        *,
        timeout: float,
        connect_timeout: float,
        watchdog: Watchdog,
        headers: Mapping[str, str],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.backend, self.base, self.http, self.timeout = backend, base, http, timeout
        self._origins = {origin_of(base), *map(origin_of, http.also)}
        self._watchdog, self._headers, self._monotonic = watchdog, dict(headers), monotonic
        own = httpx.URL(base).raw_host.decode()
        self._sockets = _Sockets(lambda host: host != own and not http.private)
        context = ssl.create_default_context(cafile=http.ca or None)
        transport = httpx.HTTPTransport(verify=context, retries=0)
        transport._pool._network_backend = self._sockets
        limits = httpx.Timeout(timeout, connect=connect_timeout)
        self._client = httpx.Client(transport=transport, timeout=limits, follow_redirects=False, trust_env=False)
        self._not_before = 0.0
        self._cut = ""
        self._busy = 0
        self._closed = False

    def ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        seconds: float = 0.0,
        parameters: Mapping[str, str] | None = None,
    ) -> Answer:
        """The answer to one request; redirects of GET are followed where they may lead. Raises BackendAway (with the
        fact `sent`: whether it may have arrived) and BackendRefused."""
        seconds = seconds or self.timeout
        self._check_pause()
        wanted = url if "://" in url else f"{self.base}/{url.lstrip('/')}"
        for _ in range(_REDIRECTS_MAX + 1):
            self._check_place(wanted)
            answer = self._guarded(method, wanted, headers or {}, content, seconds, parameters)
            parameters = None
            target = answer.headers.get("location", "")
            if method not in ("GET", "HEAD") or answer.status not in (301, 302, 303, 307, 308) or not target:
                self._note_pause(answer)
                return answer
            wanted = urljoin(wanted, target)
        raise refused("{backend}: it leads from one address to the next.", backend=self.backend)

    def abort(self) -> None:
        """From another thread: the requests in progress fail at once."""
        if self._busy:
            self._shut(ABORTED)

    def close(self) -> None:
        self._closed = True
        self._shut(CLOSED)
        self._client.close()

    # inside

    def _check_pause(self) -> None:
        if self._closed:
            raise away(CLOSED, backend=self.backend)
        left = self._not_before - self._monotonic()
        if left > 0:
            raise away(ASKED_TO_WAIT, backend=self.backend, seconds=left)

    def _note_pause(self, answer: Answer) -> None:
        """429 and 503 may say when to come again: until then nothing is asked."""
        if answer.status in (429, 503):
            seconds = retry_seconds(answer.headers.get("retry-after", ""), answer.headers.get("date", ""))
            self._not_before = self._monotonic() + min(seconds, _RETRY_SECONDS_MAX)

    def _check_place(self, url: str) -> None:
        origin = origin_of(url)
        if origin not in self._origins:
            raise refused(ELSEWHERE, backend=self.backend, origin=origin)
        if origin != origin_of(self.base) and not self.http.private and _is_inside(url):
            raise refused(PRIVATE, backend=self.backend, origin=origin)

    def _shut(self, why: str) -> None:
        self._cut = self._cut or why
        self._sockets.cut()

    def _guarded(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | None,
        seconds: float,
        parameters: Mapping[str, str] | None,
    ) -> Answer:
        if not self._busy:
            self._cut = ""
        self._busy += 1
        own = self._headers if origin_of(url) == origin_of(self.base) else {}
        sent = {"Accept": "application/json", "User-Agent": "brique", **own, **headers}
        try:
            with (
                self._watchdog.call(seconds, lambda: self._shut(SLOW)),
                self._client.stream(method, url, headers=sent, content=content, params=parameters or None) as response,
            ):
                body = self._read(response.iter_bytes())
                kept = {name.lower(): value for name, value in response.headers.items()}
                return Answer(response.status_code, kept, body, str(response.url))
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError) as fault:
            if self._cut or isinstance(fault, httpx.TimeoutException):
                gone = away(self._cut or SLOW, backend=self.backend, seconds=seconds)
            else:
                gone = away(LOST, backend=self.backend, reason=str(fault) or type(fault).__name__)
            gone.facts["sent"] = not isinstance(fault, _NEVER_SENT)
            raise gone from fault
        finally:
            self._busy -= 1

    def _read(self, chunks: Iterable[bytes]) -> bytes:
        found, size = [], 0
        for chunk in chunks:
            size += len(chunk)
            if size > self.http.page_bytes_max:
                raise refused(TOO_LONG, backend=self.backend, limit=self.http.page_bytes_max)
            found.append(chunk)
        return b"".join(found)

    def not_now(self, answer: Answer) -> BackendAway:
        """The fault for an answer that says: not now."""
        return away(NOT_NOW, backend=self.backend, reason=told(answer.body, answer.status))


def retry_seconds(value: str, date: str) -> float:
    """How long `Retry-After` asks to wait: seconds, or a moment (measured from the answer's own date)."""
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - parsedate_to_datetime(date)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def _is_inside(url: str) -> bool:
    """Whether a host stands for an address that is not of the public network."""
    host = urlsplit(url).hostname or ""
    try:
        found = {str(entry[4][0]).partition("%")[0] for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False  # it cannot be reached either
    return any(not ipaddress.ip_address(address).is_global for address in found)
