"""The address of a MariaDB or MySQL database: what its parts and options mean. Pure."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from brique.backends.faults import redact
from brique.errors import BadConfiguration

FORM = (
    "mysql://user:password@host:3306/database (or mariadb://), with %40 for @, %2F for /, %23 for # and %25 for % in a "
    "password; after a ? one or more of ssl-mode=disabled|preferred|required|verify-ca|verify-identity, ssl-ca=FILE, "
    "ssl-cert=FILE, ssl-key=FILE, socket=FILE, joined by &"
)
MODES = ("disabled", "preferred", "required", "verify-ca", "verify-identity")
_OPTIONS = ("ssl-mode", "ssl-ca", "ssl-cert", "ssl-key", "socket")
_SYNONYMS = {"unix-socket": "socket"}


@dataclass(frozen=True)
class Address:
    """Where a database is and who asks. `database` is empty when the address names none: then all that the account may
    see is served. `mode` is one of `MODES`."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    mode: str
    ca: str = ""
    certificate: str = ""
    key: str = ""
    socket: str = ""

    def arguments(self) -> dict[str, Any]:
        """What the driver wants. Raises OSError (also ssl.SSLError) when a file of certificates cannot be read."""
        found: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password.encode(),
        }
        found |= {"unix_socket": self.socket or None, "database": self.database or None}
        if self.mode == "disabled":
            found["ssl_disabled"] = True
        elif self.mode != "preferred":
            found["ssl"] = self._tls()
        return found

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # certificates that servers make for themselves do not pass it
        context.check_hostname = self.mode == "verify-identity"
        context.verify_mode = ssl.CERT_REQUIRED if self.mode.startswith("verify") else ssl.CERT_NONE
        if self.certificate:
            context.load_cert_chain(self.certificate, self.key or None)
        return context


def parse(name: str, url: str) -> Address:
    """The address in `url`, of the backend `name`. Raises BadConfiguration, which shows no password."""
    try:
        parts = urlsplit(url)
        port = parts.port or 3306
    except ValueError:
        raise _bad(name, url) from None
    if parts.fragment or "@" in parts.path or (parts.hostname or "").count("@"):
        raise _bad(name, url)  # a part of the password would be taken for the host or the database
    database = unquote(parts.path.removeprefix("/").rstrip("/"))
    options = _options(name, parts.query)
    mode = options.get("ssl-mode", "verify-ca" if options.get("ssl-ca") else "preferred")
    return Address(
        host=unquote(parts.hostname or "localhost"),
        port=port,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=database,
        mode=mode,
        ca=options.get("ssl-ca", ""),
        certificate=options.get("ssl-cert", ""),
        key=options.get("ssl-key", ""),
        socket=options.get("socket", ""),
    )


def _options(name: str, query: str) -> dict[str, str]:
    found = {}
    for written, value in parse_qsl(query, keep_blank_values=True):
        option = written.lower().replace("_", "-")
        option = _SYNONYMS.get(option, option)
        if option not in _OPTIONS:
            raise BadConfiguration(f"{name}: an address of MySQL has no option {written!r}", try_this=FORM)
        found[option] = value
    if "ssl-mode" in found:
        found["ssl-mode"] = found["ssl-mode"].lower().replace("_", "-")
        if found["ssl-mode"] not in MODES:
            said = f"{name}: ssl-mode is one of {', '.join(MODES)}, not {found['ssl-mode']!r}"
            raise BadConfiguration(said, try_this=FORM)
    return found


def _bad(name: str, url: str) -> BadConfiguration:
    return BadConfiguration(f"{name}: {redact(url)} is not an address of MariaDB or MySQL", try_this=FORM)
