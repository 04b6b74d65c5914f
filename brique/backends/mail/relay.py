"""Where mails are handed over: what an `smtp://` or `smtps://` address says. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from brique.errors import BadConfiguration

EXAMPLE = "smtp://user:password@mail.example.org:587"
_PORTS = {"smtps": 465, "submission": 587, "smtp": 25}
_TLS = ("required", "offered", "no")


@dataclass(frozen=True)
class Relay:
    """An SMTP server. `tls`: `implicit` from the first byte, `required` by STARTTLS, `offered` (STARTTLS when the
    server has it) or `no`. A certificate is always verified, against `ca` (a file) when there is one."""

    host: str
    port: int
    tls: str
    user: str = ""
    password: str = field(default="", repr=False)
    ca: str = ""


def relay_of(url: str, name: str) -> Relay:
    """The server at `url`. A login is never sent in the clear, unless the address says `?tls=no`.

    Raises BadConfiguration, which never repeats a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as fault:
        raise BadConfiguration(f"{name}: the address of the mail server cannot be read", try_this=EXAMPLE) from fault
    scheme, host = parts.scheme.lower(), parts.hostname or ""
    options = dict(parse_qsl(parts.query))
    if scheme not in _PORTS or not re.fullmatch(r"[A-Za-z0-9.:_-]+", host) or parts.path not in ("", "/"):
        raise BadConfiguration(f"{name}: this is no address of a mail server", try_this=EXAMPLE)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    wanted = options.pop("tls", "required" if user or scheme == "submission" else "offered")
    ca = options.pop("ca", "")
    if options or wanted not in _TLS:
        raise BadConfiguration(
            f"{name}: a mail server's address takes ?tls={'|'.join(_TLS)} and ?ca=FILE", try_this=EXAMPLE
        )
    tls = "implicit" if scheme == "smtps" else wanted
    default = _PORTS["submission"] if user and scheme == "smtp" else _PORTS[scheme]
    return Relay(host, port or default, tls, user, password, ca)
