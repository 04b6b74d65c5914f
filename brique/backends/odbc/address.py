"""An address of ODBC as the connection string that the driver manager wants. Pure.

odbc:///?DSN=AS400&UID=brique&PWD=...                       keys and values as they are
odbc:///?DRIVER=/usr/lib/.../psqlodbcw.so&SERVER=...        a driver by its path
odbc://user:password@host/db?driver=PostgreSQL Unicode      put together from the parts of the address
...&profile=db2i&libraries=ERPLIB,STOCK                     brique's own options, never sent
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from brique.backends.faults import redact
from brique.backends.odbc.profile import PROFILES, Profile, for_driver
from brique.errors import BadConfiguration

OWN = ("profile", "libraries", "schemas", "tables", "lob_max", "transactions")
"""Options of the address that are brique's: profile of the database, libraries or schemas to look into, tables to
serve (by name, `%` for anything), bytes of a large value that are read, and `transactions=no` for a database in which
nothing can be rolled back."""
LOB_BYTES_MAX = 16 * 2**20
_EXAMPLE = "odbc:///?DSN=AS400&UID=user&PWD=password, or odbc://user:password@host/database?driver=NAME_OR_PATH"


@dataclass(frozen=True)
class Address:
    """What an address says. `given` are the keys for the driver, in order; they hold the password."""

    given: dict[str, str] = field(repr=False)
    profile: str = ""
    schemas: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    lob_bytes_max: int = LOB_BYTES_MAX
    transactions: bool = True

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown."""
        return tuple(value for name, value in self.given.items() if name.lower() in ("pwd", "password") and value)

    def get(self, name: str) -> str:
        return next((value for key, value in self.given.items() if key.lower() == name.lower()), "")

    @property
    def port(self) -> int | None:
        """The port of the server, where it is said: `PORT=…` or `SERVER=host,port`."""
        text = self.get("PORT") or self.get("SERVER").partition(",")[2]
        return int(text) if text.strip().isdigit() else None

    def connection_string(self, driver: Profile) -> str:
        """For the driver manager: what was given, and the options of the driver's profile that were not."""
        taken = {name.lower() for name in self.given}
        extra = {name: value for name, value in driver.options.items() if name.lower() not in taken}
        return ";".join(f"{name}={_braced(value)}" for name, value in {**self.given, **extra}.items()) + ";"


def parse(name: str, url: str) -> Address:
    """The address in `url`, for the backend `name`. Raises BadConfiguration, never with the password."""
    try:
        parts = urlsplit(url)
        asked = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        port = parts.port
    except ValueError as fault:
        raise _bad(name, url) from fault
    own = {key: asked.pop(key) for key in list(asked) if key in OWN}
    given = _from_parts(asked, parts.username, parts.password, parts.hostname, port, unquote(parts.path.strip("/")))
    if not any(key.lower() in ("dsn", "driver", "filedsn") for key in given):
        raise _bad(name, url)
    profile = own.get("profile", "").lower()
    if profile and profile not in PROFILES:
        raise BadConfiguration(f"{name}: there is no profile {profile!r}", try_this=f"one of {', '.join(PROFILES)}")
    schemas = _listed(own.get("libraries", "")) + _listed(own.get("schemas", ""))
    if not (lob := own.get("lob_max", str(LOB_BYTES_MAX))).isdigit():
        raise BadConfiguration(f"{name}: lob_max={lob} is no number of bytes")
    is_transactional = own.get("transactions", "yes").lower() not in ("no", "0", "false", "none")
    return Address(given, profile, schemas, _listed(own.get("tables", "")), int(lob), is_transactional)


def _from_parts(
    asked: dict[str, str], user: str | None, password: str | None, host: str | None, port: int | None, database: str
) -> dict[str, str]:
    driver = next((asked.pop(key) for key in list(asked) if key.lower() == "driver"), "")
    if "\x00" in "".join((driver, *asked, *asked.values())):
        return {}
    profile = for_driver(driver)
    given = {"DRIVER": driver} if driver else {}
    parts = {profile.host: host or "", profile.port: str(port or ""), profile.database: database}
    given |= {key: value for key, value in parts.items() if key and value}
    given |= {key: unquote(value) for key, value in (("UID", user), ("PWD", password)) if value}
    return given | asked


def _bad(name: str, url: str) -> BadConfiguration:
    return BadConfiguration(f"{name}: {redact(url)} is not an address of ODBC", try_this=_EXAMPLE)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _braced(value: str) -> str:
    """A value as a connection string writes it: in braces where it holds what would end it."""
    return value if re.fullmatch(r"[^;{}\[\]()?*!@]*", value) else "{" + value.replace("}", "}}") + "}"


def scrubbed(text: str, secrets: tuple[str, ...]) -> str:
    """`text` without the passwords, whoever wrote them into it."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return re.sub(r"(?i)\b(pwd|password)=(\{[^}]*\}|[^;\s]*)", r"\1=***", text)
