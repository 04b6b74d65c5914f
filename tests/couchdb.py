"""A server that speaks the part of CouchDB's HTTP API that brique uses, by its documented rules of revisions.

It is no CouchDB: it keeps documents in memory, and its `_find` knows `{"_id": {"$gt": …}}` alone. What it is strict in
is what matters here: a document is replaced by its current revision only, a deleted one may be made anew without, a
`_bulk_docs` is told of conflicts one by one, and every change gives a new revision. Where `BRIQUE_COUCHDB_URL` names a
real server (http://admin:secret@host:5984), the same tests run on that one as well.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

import pytest

Document = dict[str, Any]
USER, SECRET = "brique", "s3cret:of@the/tests"


class Couch:
    """The databases, and the rules. `calls_max`: after so many more calls, all that come hang up unanswered."""

    def __init__(self) -> None:
        self.databases: dict[str, dict[str, Document]] = {}
        self.lock = threading.Lock()
        self.seen: list[str] = []

    def ask(self, method: str, path: str, query: str, body: Any) -> tuple[int, Any]:
        database, _, rest = path.strip("/").partition("/")
        database, rest = unquote(database), unquote(rest)
        with self.lock:
            self.seen.append(f"{method} {rest}")
            if method == "PUT" and not rest:
                if database in self.databases:
                    return 412, {"error": "file_exists", "reason": "The database could not be created."}
                self.databases[database] = {}
                return 201, {"ok": True}
            if database not in self.databases:
                return 404, {"error": "not_found", "reason": "Database does not exist."}
            documents = self.databases[database]
            if rest == "_all_docs":
                return 200, {"rows": [_row(documents, key, "include_docs=true" in query) for key in body["keys"]]}
            if rest == "_bulk_docs":
                return 201, [self._put(documents, document) for document in body["docs"]]
            if rest == "_find":
                return 200, {"docs": _find(documents, body)}
            return self._one(method, documents, rest, body)

    def _one(self, method: str, documents: dict[str, Document], key: str, body: Any) -> tuple[int, Any]:
        found = documents.get(key)
        if method == "GET":
            if found is None or found.get("_deleted"):
                return 404, {"error": "not_found", "reason": "missing" if found is None else "deleted"}
            return 200, found
        told = self._put(documents, {**body, "_id": key})
        return (409 if "error" in told else 201), told

    def _put(self, documents: dict[str, Document], document: Document) -> Document:
        key, given = document["_id"], document.get("_rev")
        found = documents.get(key)
        now = None if found is None else found["_rev"]
        is_free = found is None or (found.get("_deleted") and given is None)
        if (not is_free and given != now) or (found is None and given is not None):
            return {"id": key, "error": "conflict", "reason": "Document update conflict."}
        number = 1 if now is None else int(now.partition("-")[0]) + 1
        plain = json.dumps({**document, "_rev": now}, sort_keys=True)
        revision = f"{number}-{md5(plain.encode()).hexdigest()}"
        documents[key] = {**document, "_rev": revision}
        return {"ok": True, "id": key, "rev": revision}


def _row(documents: dict[str, Document], key: str, whole: bool) -> Document:
    found = documents.get(key)
    if found is None:
        return {"key": key, "error": "not_found"}
    value = {"rev": found["_rev"], **({"deleted": True} if found.get("_deleted") else {})}
    row: Document = {"id": key, "key": key, "value": value}
    if whole:
        row["doc"] = None if found.get("_deleted") else found
    return row


def _find(documents: dict[str, Document], body: Any) -> list[Document]:
    after = body["selector"]["_id"]["$gt"]
    found = [key for key in sorted(documents) if (after is None or key > after) and not documents[key].get("_deleted")]
    return [{name: documents[key][name] for name in body["fields"] if name in documents[key]} for key in found][
        : body["limit"]
    ]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    couch: ClassVar[Couch]

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        wanted = "Basic " + base64.b64encode(f"{USER}:{SECRET}".encode()).decode()
        parts = urlsplit(self.path)
        if self.headers.get("Authorization") != wanted:
            status, told = 401, {"error": "unauthorized", "reason": "Name or password is incorrect."}
        else:
            status, told = self.couch.ask(self.command, parts.path, parts.query, body)
        raw = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_PUT = do_POST = _answer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class CouchServer:
    """The server on a port of 127.0.0.1."""

    def __init__(self) -> None:
        self.couch = Couch()
        handler = type("Handler", (_Handler,), {"couch": self.couch})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def url(self, database: str = "published", secret: str = "s3cret%3Aof%40the%2Ftests") -> str:
        return f"couchdb://{USER}:{secret}@127.0.0.1:{self._server.server_port}/{database}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def couchdb() -> Iterator[CouchServer]:
    server = CouchServer()
    yield server
    server.stop()
