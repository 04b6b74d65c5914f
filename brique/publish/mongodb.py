"""MongoDB: a document for each key, which only a higher version replaces.

    db.brique_published.findOne({_id: "statement/7"}).body

What is removed stays for an hour without its body, so that a call that was given up cannot bring it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from brique.backends import redact
from brique.errors import BackendAway, BackendRefused, BadConfiguration, MissingExtra
from brique.publish.protocol import CONTENT_TYPE, HEAD, Fenced, Head, Item

try:
    import pymongo
    from pymongo.errors import BulkWriteError, ConfigurationError, DuplicateKeyError, OperationFailure, PyMongoError
    from pymongo.write_concern import WriteConcern
except ImportError as fault:  # pragma: no cover - tests install every extra
    raise MissingExtra("pymongo is not installed", try_this='pip install "brique[mongodb]"') from fault

_DUPLICATE = 11000
_PAGE = 1000
Answer = TypeVar("Answer")


class MongoPlace:
    """The collection `?collection=` (else `brique_published`) of a database."""

    kind = "MongoDB"
    value_bytes_max = 15 * 1024**2

    def __init__(self, name: str, url: str, *, timeout: float, connect_timeout: float) -> None:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        collection = options.pop("collection", "brique_published")
        self.name, self._timeout = name, timeout
        milliseconds = int(connect_timeout * 1000)
        try:
            self._client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
                urlunsplit(parts._replace(query=urlencode(options))), connect=False, retryWrites=False,
                connectTimeoutMS=milliseconds, serverSelectionTimeoutMS=milliseconds, appname="brique",
            )  # fmt: skip
            database = self._client.get_default_database()
        except (ConfigurationError, PyMongoError, ValueError) as fault:
            said = redact(str(fault))
            raise BadConfiguration(f"{name}: {said}", try_this="mongodb://host/database?collection=name") from fault
        self._items = database.get_collection(collection, write_concern=WriteConcern(w="majority"))

    def head(self) -> Head:
        found = self._ask(lambda: self._items.find_one({"_id": HEAD}))
        return Head() if found is None else Head.of(found)

    def take(self, known: Head, new: Head) -> None:
        self._replace_head(known.epoch, new, upsert=not known.epoch)

    def put(self, items: Sequence[Item], head: Head) -> None:
        if self.head().epoch != head.epoch:
            raise Fenced(f"{self.name}: another brique has taken it.")
        if items:
            self._ask(lambda: self._write(items, head.written_at))
        self._replace_head(head.epoch, head, upsert=False)

    def _replace_head(self, epoch: int, head: Head, *, upsert: bool) -> None:
        fields: dict[str, Any] = {**head.texts(), "epoch": head.epoch}
        try:
            done = self._ask(
                lambda: self._items.update_one({"_id": HEAD, "epoch": epoch}, {"$set": fields}, upsert=upsert)
            )
        except DuplicateKeyError:
            done = None
        if done is None or not (done.matched_count or done.upserted_id is not None):
            raise Fenced(f"{self.name}: another brique has taken it.")

    def _write(self, items: Sequence[Item], now: str) -> None:
        """Each document whose version is lower, or that is not there; that a higher one is there is said by a duplicate
        key, and is well."""
        operations = [
            pymongo.UpdateOne({"_id": item.key, "version": {"$lt": item.version}}, _change(item, now), upsert=True)
            for item in items
        ]
        try:
            self._items.bulk_write(operations, ordered=False)
        except BulkWriteError as fault:
            others = [one for one in fault.details.get("writeErrors", []) if one.get("code") != _DUPLICATE]
            if others or fault.details.get("writeConcernErrors"):
                raise

    def inventory(self) -> Iterator[tuple[str, str]]:
        after = ""
        while True:
            found = self._ask(partial(self._page, after))
            for document in found:
                if "etag" in document:
                    yield document["_id"], str(document["etag"])
            if len(found) < _PAGE:
                return
            after = found[-1]["_id"]

    def _page(self, after: str) -> list[dict[str, Any]]:
        which = {"_id": {"$gt": after, "$ne": HEAD}}
        return list(self._items.find(which, {"etag": 1}).sort("_id", 1).limit(_PAGE))

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        found = self._ask(lambda: list(self._items.find({"_id": {"$in": list(keys)}}, {"body": 1})))
        return {document["_id"]: document["body"].encode() for document in found if "body" in document}

    def tidy(self, before: str) -> None:
        self._ask(lambda: self._items.delete_many({"gone_at": {"$lt": before}}))

    def abort(self) -> None:
        """Every call has its deadline: what is on its way ends by that."""

    def close(self) -> None:
        with suppress(PyMongoError):
            self._client.close()

    def _ask(self, work: Callable[[], Answer]) -> Answer:
        try:
            with pymongo.timeout(self._timeout):
                return work()
        except DuplicateKeyError:
            raise
        except PyMongoError as fault:
            says_no = isinstance(fault, OperationFailure) and not fault.has_error_label("RetryableWriteError")
            is_away = not says_no or fault.timeout
            said = redact(str(fault)).split(", full error")[0][:300]
            raise (BackendAway if is_away else BackendRefused)(f"{self.name}: {said}") from fault


def _change(item: Item, now: str) -> dict[str, Any]:
    if item.body is None:
        gone = dict.fromkeys(("body", "etag", "content_type", "position", "made_at"), "")
        return {"$set": {"version": item.version, "gone_at": now}, "$unset": gone}
    fields = {
        "body": item.body.decode(), "etag": item.etag, "content_type": CONTENT_TYPE, "position": item.position,
        "made_at": item.made_at, "version": item.version,
    }  # fmt: skip
    return {"$set": fields, "$unset": {"gone_at": ""}}
