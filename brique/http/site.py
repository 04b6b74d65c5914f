"""By which names this intranet is reached: the Host header, our own origin, and whether the browser is on https."""

from __future__ import annotations

import ipaddress
import socket
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.types import Scope

from brique.errors import BadConfiguration
from brique.settings import Settings

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
WILDCARDS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104  (compared, not bound)


class Site:
    """The names that requests may come under.

    A page of another site can make a browser send requests here under that site's own name (DNS rebinding), so a name
    that is not ours is refused. Always ours: localhost, the address listened on, the public URL's host, `hosts`
    (`.example.org` takes every name below, `*` takes all). Listening on every address adds the machine's names and any
    address written as numbers, which no other site can claim as its own name.
    """

    def __init__(self, listen: str = "127.0.0.1", *, public_url: str = "", hosts: tuple[str, ...] = ()) -> None:
        self.public = urlsplit(public_url.rstrip("/")) if public_url else None
        if self.public and (self.public.scheme not in ("http", "https") or not self.public.hostname):
            raise BadConfiguration(
                f"public_url {public_url!r} is not an address of a site",
                try_this="write it like https://intranet.example",
            )
        self._any_number = listen in WILDCARDS
        names = {*LOCAL_NAMES, *(host.lower().strip("[]") for host in hosts)}
        if self._any_number:
            names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
        else:
            names.add(listen.lower().strip("[]"))
        if self.public and self.public.hostname:
            names.add(self.public.hostname)
        self._suffixes = tuple(name for name in names if name.startswith("."))
        self._names = frozenset(names) - set(self._suffixes)

    @classmethod
    def of(cls, settings: Settings, *hosts: str) -> Site:
        """The site that the settings describe, with further `hosts`."""
        return cls(settings.address[0], public_url=settings.public_url, hosts=hosts)

    def answers_to(self, host: str) -> bool:
        """Whether a request with this Host header is meant for us."""
        name = host_name(host)
        if name is None:
            return False
        if name in self._names or "*" in self._names or name.endswith(self._suffixes or ("\0",)):
            return True
        return self._any_number and _is_number(name)

    def is_own_origin(self, origin: str, scope: Scope) -> bool:
        """Whether `origin` (the Origin header) is where our own pages are: the host asked for, or the public URL."""
        try:
            parts = urlsplit(origin)
            origin_host, origin_port = parts.hostname, parts.port
            asked = urlsplit("//" + header(scope, b"host"))
            asked_host, asked_port = asked.hostname, asked.port
        except ValueError:
            return False
        if parts.scheme not in ("http", "https") or not origin_host:
            return False
        default = 443 if parts.scheme == "https" else 80
        theirs = (origin_host, origin_port or default)
        if self.public and theirs == (self.public.hostname, self.public.port or _default_port(self.public.scheme)):
            return parts.scheme == self.public.scheme
        return theirs == (asked_host, asked_port or default)

    def is_secure(self, scope: Scope) -> bool:
        """Whether the browser reaches us by https, directly or by the proxy of the public URL."""
        if scope.get("scheme") == "https":
            return True
        if self.public is None or self.public.scheme != "https":
            return False
        return host_name(header(scope, b"host")) == self.public.hostname


@lru_cache(maxsize=256)
def host_name(host: str) -> str | None:
    """The name in a Host header, in lower case, without port, brackets and last dot; None when it is malformed."""
    if not host or any(letter in host for letter in "/\\@?# \t"):
        return None
    try:
        parts = urlsplit("//" + host)
        if not parts.hostname or (parts.port is not None and parts.port < 1):
            return None
    except ValueError:
        return None
    return parts.hostname.removesuffix(".")


def header(scope: Scope, name: bytes) -> str:
    """The first header of that name (in lower case), or an empty text. They are asked for twenty times in a request:
    the first time they are put in order."""
    headers = scope["headers"]
    known = scope.get("brique.headers")
    if known is None or known[0] is not headers:
        known = scope["brique.headers"] = (headers, dict(reversed(headers)))
    value = known[1].get(name)
    return "" if value is None else bytes(value).decode("latin-1")


def client_address(scope: Scope) -> str:
    """The caller's address; empty for a Unix socket."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def at(scope: Scope, path: str) -> str:
    """`path` of this intranet as the browser must ask for it (with the prefix it is mounted under)."""
    return str(scope.get("root_path", "")) + path


def local_path(scope: Scope) -> str:
    """The path asked for, without the prefix that this intranet is mounted under."""
    path, prefix = str(scope["path"]), str(scope.get("root_path", ""))
    if prefix and path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/"):
        return path[len(prefix) :] or "/"
    return path


def _default_port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
