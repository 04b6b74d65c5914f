"""What is to be said of an API: where its lists are, how it pages, who we are, what it promises. Plain data."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from brique.errors import BadConfiguration


@dataclass(frozen=True)
class Bearer:
    """A token, from the environment variable `env`."""

    env: str

    def header(self, environment: Mapping[str, str]) -> tuple[str, str]:
        return "Authorization", f"Bearer {_secret(self.env, environment)}"


@dataclass(frozen=True)
class Basic:
    """A name, and a password from the environment variable `env`."""

    user: str
    env: str

    def header(self, environment: Mapping[str, str]) -> tuple[str, str]:
        pair = f"{self.user}:{_secret(self.env, environment)}"
        return "Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"


@dataclass(frozen=True)
class Header:
    """A header of the API's own ("X-Api-Key"), its value from the environment variable `env`."""

    name: str
    env: str

    def header(self, environment: Mapping[str, str]) -> tuple[str, str]:
        return self.name, _secret(self.env, environment)


def _secret(name: str, environment: Mapping[str, str]) -> str:
    value = environment.get(name, "").strip()
    if not value or not value.isprintable():
        raise BadConfiguration(f"the environment variable {name} holds no secret", try_this=f"export {name}=...")
    return value


@dataclass(frozen=True)
class Resource:
    """One table of an API. Paths are relative to the backend's address, places in answers dotted ("data.items").

    `list`: its rows. `item`: one row; {key} is its key, {row_key} as brique writes it, {column} one part of it.
    `rows` and `row`: where in the answer they are ("" the answer itself); `created`: where in the answer to a new row
    its key columns are.

    Paging: a `Link` header with rel="next" is always followed. `next`: the place of the next page's address;
    `cursor`: the place of a cursor, given back as parameter `cursor_parameter`; `page_parameter`: pages are counted,
    from `first_page` until one is empty. `parameters` are sent with every request of the list.

    `create`: POST to the list or PUT to the item ("" never); `change`: PATCH (the columns changed) or PUT (all of
    them); `delete`: whether rows may go. `one_tag`: the ETag of the first page speaks of the whole list.
    """

    list: str
    item: str = ""
    rows: str = ""
    row: str = ""
    created: str = ""
    next: str = ""
    cursor: str = ""
    cursor_parameter: str = "cursor"
    page_parameter: str = ""
    first_page: int = 1
    parameters: Mapping[str, str] = field(default_factory=dict)
    create: str = "POST"
    change: str = "PATCH"
    delete: bool = True
    one_tag: bool = False

    @property
    def item_path(self) -> str:
        return self.item or f"{self.list.rstrip('/')}/{{key}}"


@dataclass(frozen=True)
class Http:
    """An API. `tables` by the source name of each declared table; one that is not named is at /NAME.

    `idempotent`: it honours `Idempotency-Key`, so that whatever is sent twice is done once. `decimals`: numbers with a
    point are written as JSON "string" or "number". `also`: other origins ("https://files.example.org") to which its
    redirects and links may lead, never to private addresses unless `private`. `ca`: a file of certificates to trust.
    """

    tables: Mapping[str, Resource] = field(default_factory=dict)
    auth: Bearer | Basic | Header | None = None
    idempotent: bool = False
    decimals: str = "string"
    also: tuple[str, ...] = ()
    private: bool = False
    ca: str = ""
    rows_max: int = 1_000_000
    page_bytes_max: int = 32 * 1024 * 1024
    read_seconds_max: float = 600.0

    def resource(self, source: str) -> Resource:
        return self.tables.get(source) or Resource(f"/{source}")

    def headers(self, environment: Mapping[str, str] | None = None) -> dict[str, str]:
        """The headers that say who we are. Raises BadConfiguration when a secret is missing."""
        if self.auth is None:
            return {}
        return dict([self.auth.header(os.environ if environment is None else environment)])


def origin_of(url: str) -> str:
    """Scheme, host and port of an address, in one way of writing."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    port = parts.port or {"https": 443, "http": 80}.get(scheme, 0)
    return f"{scheme}://{(parts.hostname or '').lower()}:{port}"


def check_base(url: str, name: str) -> str:
    """`url` without a slash at its end. Raises BadConfiguration for what is no address of an API."""
    try:
        parts = urlsplit(url)
        is_good = parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or parts.query or parts.fragment:
        raise BadConfiguration(f"{name}: this is no address of an API", try_this="https://api.example.org/v1")
    if parts.username or parts.password:
        raise BadConfiguration(
            f"{name}: an API's address holds no password", try_this='http=Http(auth=Basic("name", env="API_PASSWORD"))'
        )
    return url.rstrip("/")
