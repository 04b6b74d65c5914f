"""CouchDB, over HTTP: a document for each key, replaced by its revision and only by a higher version.

    GET /published/statement%2F7   →   {"_id": "statement/7", "body": "{…}", "etag": …}

What is removed stays for an hour without its body, so that a call that was given up cannot bring it back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import msgspec

from brique.backends import redact
from brique.errors import BackendAway, BackendRefused, BadConfiguration, MissingExtra
from brique.publish.protocol import CONTENT_TYPE, HEAD, Fenced, Head, Item

try:
    import httpx
except ImportError as fault:  # pragma: no cover - tests install every extra
    raise MissingExtra("httpx is not installed", try_this='pip install "brique[http]"') from fault

_PAGE = 500
_ROUNDS_MAX = 5
_REVISIONS_MAX = 100_000
_ANSWER_BYTES_MAX = 256 * 1024**2
_NOT_NOW = (408, 429, 500, 502, 503, 504)
Document = dict[str, Any]


class CouchPlace:
    """One database: `couchdb://user:password@host:5984/database`, `couchdbs://` with TLS. It is made when it is not
    there and the account may. No redirect is followed."""

    kind = "CouchDB"
    value_bytes_max = 6 * 1024**2
    """A document of CouchDB 3 may have 8 MB by default, escapes included."""

    def __init__(self, name: str, url: str, *, timeout: float, connect_timeout: float) -> None:
        parts = urlsplit(url)
        database = unquote(parts.path.strip("/"))
        if not parts.hostname or not database or "/" in database or parts.query:
            raise BadConfiguration(f"{name}: {redact(url)} names no database", try_this="couchdb://host:5984/published")
        self.name = name
        scheme, port = ("https", 6984) if parts.scheme == "couchdbs" else ("http", 5984)
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self._database = f"/{quote(database, safe='')}"
        who = (unquote(parts.username or ""), unquote(parts.password or "")) if parts.username else None
        self._client = httpx.Client(
            base_url=f"{scheme}://{host}:{parts.port or port}", auth=who, follow_redirects=False, trust_env=False,
            timeout=httpx.Timeout(timeout, connect=connect_timeout), headers={"Accept": "application/json"},
        )  # fmt: skip
        self._revisions: OrderedDict[str, str] = OrderedDict()
        """Of what was put since the place was taken: its versions are lower than any to come."""

    def head(self) -> Head:
        return Head.of(self._head())

    def _head(self) -> Document:
        found = self._ask("GET", f"/{quote(HEAD, safe='')}", may_be=(404,))
        return {} if found.get("error") == "not_found" else found

    def take(self, known: Head, new: Head) -> None:
        self._ask("PUT", "", may_be=(412,))
        now = self._head()
        if Head.of(now).epoch != known.epoch:
            raise Fenced(f"{self.name}: another brique has taken it.")
        self._revisions.clear()
        if "_rev" in now:
            self._revisions[HEAD] = now["_rev"]
        self._put_head(new)

    def put(self, items: Sequence[Item], head: Head) -> None:
        wanted = {item.key: _document(item, head.written_at) for item in items}
        for _ in range(_ROUNDS_MAX):
            if not wanted:
                break
            self._find_revisions(wanted)
            wanted = self._put_documents(wanted)
        if wanted:
            raise BackendAway(f"{self.name}: somebody else writes the same documents.")
        self._put_head(head)

    def _find_revisions(self, wanted: dict[str, Document]) -> None:
        """Learn the revisions that are not known; what has a higher version there is wanted no more."""
        unknown = [key for key in wanted if key not in self._revisions]
        for row in self._rows(unknown):
            found = row.get("doc") or {}
            if "_rev" not in found:
                continue
            if str(found.get("version", "")) >= wanted[row["id"]]["version"]:
                del wanted[row["id"]]
            else:
                self._revisions[row["id"]] = found["_rev"]

    def _rows(self, keys: Sequence[str]) -> list[Document]:
        if not keys:
            return []
        rows: list[Document] = self._ask("POST", "/_all_docs?include_docs=true", {"keys": list(keys)})["rows"]
        return rows

    def _put_documents(self, wanted: dict[str, Document]) -> dict[str, Document]:
        """Put them; those that have met another revision."""
        documents = []
        for key, document in wanted.items():
            revision = self._revisions.pop(key, None)
            documents.append(document if revision is None else {**document, "_rev": revision})
        again = {}
        for told in self._ask("POST", "/_bulk_docs", {"docs": documents}) if documents else ():
            if "rev" in told:
                self._remember(told["id"], told["rev"])
            elif told.get("error") == "conflict":
                again[told["id"]] = wanted[told["id"]]
            else:
                raise BackendRefused(f"{self.name}: CouchDB says: {told.get('error')}: {told.get('reason')}")
        return again

    def _remember(self, key: str, revision: str) -> None:
        self._revisions[key] = revision
        while len(self._revisions) > _REVISIONS_MAX:
            oldest = next(iter(self._revisions))
            if oldest == HEAD:
                self._revisions.move_to_end(HEAD)
            else:
                del self._revisions[oldest]

    def _put_head(self, head: Head) -> None:
        document: Document = {**head.texts(), "_id": HEAD, "epoch": head.epoch}
        if HEAD in self._revisions:
            document["_rev"] = self._revisions[HEAD]
        told = self._ask("PUT", f"/{quote(HEAD, safe='')}", document, may_be=(409,))
        if "rev" not in told:
            raise Fenced(f"{self.name}: another brique has taken it.")
        self._remember(HEAD, told["rev"])

    def inventory(self) -> Iterator[tuple[str, str]]:
        for found in self._found(["_id", "etag"]):
            if "etag" in found and found["_id"] != HEAD:
                yield found["_id"], found["etag"]

    def _found(self, fields: list[str]) -> Iterator[Document]:
        after: str | None = None
        while True:
            query = {"selector": {"_id": {"$gt": after}}, "fields": fields, "sort": ["_id"], "limit": _PAGE}
            page = self._ask("POST", "/_find", query)["docs"]
            if not page:  # a short one need not be the last
                return
            yield from page
            after = page[-1]["_id"]

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        found = ((row["id"], row.get("doc") or {}) for row in self._rows(keys) if "id" in row)
        return {key: document["body"].encode() for key, document in found if "body" in document}

    def tidy(self, before: str) -> None:
        gone = [
            {"_id": found["_id"], "_rev": found["_rev"], "_deleted": True}
            for found in self._found(["_id", "_rev", "gone_at"])
            if found.get("gone_at", before) < before
        ]
        for start in range(0, len(gone), _PAGE):
            self._ask("POST", "/_bulk_docs", {"docs": gone[start : start + _PAGE]})
        for document in gone:
            self._revisions.pop(document["_id"], None)

    def abort(self) -> None:
        with suppress(Exception):
            self._client.close()

    def close(self) -> None:
        self._client.close()

    def _ask(self, method: str, path: str, body: object = None, *, may_be: tuple[int, ...] = ()) -> Any:
        """The answer, parsed. Raises BackendAway, BackendRefused for a status that is neither good nor `may_be`."""
        content = None if body is None else msgspec.json.encode(body)
        headers = {"Content-Type": CONTENT_TYPE} if content is not None else {}
        try:
            answer = self._client.request(method, f"{self._database}{path}", content=content, headers=headers)
        except (httpx.HTTPError, RuntimeError) as fault:  # RuntimeError: it was closed meanwhile
            raise BackendAway(f"{self.name}: {type(fault).__name__}: {redact(str(fault))}") from fault
        if answer.status_code in _NOT_NOW:
            raise BackendAway(f"{self.name}: not now: CouchDB says {answer.status_code}")
        try:
            told = msgspec.json.decode(answer.content)
        except msgspec.DecodeError as fault:
            raise BackendAway(f"{self.name}: what answers with {answer.status_code} is no CouchDB") from fault
        if answer.is_success or answer.status_code in may_be:
            return told
        said = f"{told.get('error')}: {told.get('reason')}" if isinstance(told, dict) else ""
        raise BackendRefused(f"{self.name}: CouchDB says {answer.status_code}: {said}")


def _document(item: Item, now: str) -> Document:
    if item.body is None:
        return {"_id": item.key, "version": item.version, "gone_at": now}
    return {
        "_id": item.key, "body": item.body.decode(), "etag": item.etag, "content_type": CONTENT_TYPE,
        "position": item.position, "made_at": item.made_at, "version": item.version,
    }  # fmt: skip
