"""The collections and views of a database, their columns inferred from their documents."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import bson

from brique.backends.faults import READ_ONLY_DATABASE, READ_ONLY_RIGHTS, READ_ONLY_VIEW
from brique.backends.mongodb.documents import Document, Documents
from brique.backends.mongodb.line import Client
from brique.backends.mongodb.shapes import columns_of, shape_of
from brique.backends.mongodb.values import CODEC
from brique.backends.protocol import MARKER, SAMPLE_ROWS
from brique.errors import BackendAway, BackendRefused
from brique.schema import Column, SourceTable, TableSpec, Value

log = logging.getLogger(__name__)
READ_ONLY_SERIES = "It is a time series: what was measured is not changed here."
READ_ONLY_CAPPED = "It is a capped collection: its documents keep their size and go when it is full."
DOCUMENTS_MAX = 20_000
"""A collection with more documents is described by its first and last 10,000."""
SAMPLE_SECONDS_MAX = 10.0
_BATCH = 1_000
_WRITES = {"insert", "update", "remove"}
_READERS = {"read", "readAnyDatabase"}
Call = Callable[[float, Callable[[Client], Any]], Any]


@dataclass(frozen=True)
class Collection:
    """What the server says of one collection or view."""

    name: str
    kind: str
    options: Mapping[str, Any]
    read_only: bool = False

    @property
    def is_view(self) -> bool:
        return self.kind == "view"

    @property
    def is_series(self) -> bool:
        return self.kind == "timeseries" or "timeseries" in self.options

    @cached_property
    def schema(self) -> Mapping[str, Any]:
        """Its `$jsonSchema`; empty when it has none."""
        found = (self.options.get("validator") or {}).get("$jsonSchema")
        return found if isinstance(found, Mapping) else {}

    @property
    def takes_guard(self) -> bool:
        """Whether its validator lets a field be added that it does not know."""
        return self.schema.get("additionalProperties", True) is not False or "_brique" in self.schema.get(
            "properties", {}
        )

    @property
    def has_collation(self) -> bool:
        return bool((self.options.get("collation") or {}).get("locale", "simple") != "simple")

    @property
    def reason(self) -> str:
        """Why it can only be read ("" when it can be written)."""
        if self.is_view:
            return READ_ONLY_VIEW
        if self.is_series:
            return READ_ONLY_SERIES
        if self.options.get("capped"):
            return READ_ONLY_CAPPED
        return READ_ONLY_DATABASE if self.read_only else ""


def collections(client: Client, database: str) -> list[Collection]:
    """The database's collections and views by name, without the server's own and without brique's marker."""
    found = [
        Collection(
            item["name"],
            item.get("type", "collection"),
            item.get("options") or {},
            bool((item.get("info") or {}).get("readOnly")) and item.get("type") == "collection",
        )
        for item in client[database].list_collections()
        if not item["name"].startswith("system.") and item["name"] != MARKER
    ]
    return sorted(found, key=lambda item: (item.is_view, item.name))


def describe(call: Call, database: str, seconds: float) -> list[SourceTable]:
    """Every collection and view that the account may read. `call(seconds, work)` runs `work(client)`."""
    found: list[Collection] = call(seconds, lambda client: collections(client, database))
    may_write: Callable[[str], bool] = call(seconds, lambda client: rights(client, database))
    tables = []
    for item in found:
        try:
            tables.append(call(SAMPLE_SECONDS_MAX, partial(_table, database=database, item=item, may_write=may_write)))
        except BackendRefused as fault:
            log.warning("%s is left out: %s", item.name, fault.message)
        except BackendAway:
            if not item.is_view:
                raise
            log.warning("the view %s is left out: it does not say in time what is in it", item.name)
    return tables


def _table(client: Client, *, database: str, item: Collection, may_write: Callable[[str], bool]) -> SourceTable:
    collection = client[database][item.name]
    count = 0 if item.is_view else collection.estimated_document_count()
    documents = _sample(collection, item, count)
    found = columns_of(shape_of(documents, item.schema))
    names = {column.name for column in found.columns}
    reason = item.reason or ("" if may_write(item.name) else READ_ONLY_RIGHTS)
    return SourceTable(
        name=item.name,
        columns=found.columns,
        key=found.key,
        unique=() if item.is_view else tuple(keys for keys in _unique(collection) if set(keys) <= names),
        comment=str(item.schema.get("title") or item.schema.get("description") or ""),
        is_view=item.is_view,
        read_only=reason,
        rows_estimate=count or len(documents),
        sample=_as_rows(found.columns, found.key, documents[:SAMPLE_ROWS]),
    )


def _sample(collection: Any, item: Collection, count: int) -> list[Document]:
    if count <= DOCUMENTS_MAX or item.is_view:
        return decoded(collection.find_raw_batches({}, limit=DOCUMENTS_MAX, batch_size=_BATCH))
    half = DOCUMENTS_MAX // 2
    first = decoded(collection.find_raw_batches({}, limit=half, batch_size=_BATCH))
    last = decoded(collection.find_raw_batches({}, sort=[("$natural", -1)], limit=half, batch_size=_BATCH))
    return first + last


def decoded(batches: Iterable[Any]) -> list[Document]:
    return [document for batch in batches for document in bson.decode_all(batch, CODEC)]


def _unique(collection: Any) -> list[tuple[str, ...]]:
    """The fields of unique indexes that hold for every document, but the one of `_id`."""
    return [
        tuple(name for name, _ in index["key"])
        for name, index in collection.index_information().items()
        if index.get("unique") and not index.get("partialFilterExpression") and name != "_id_"
        and all(direction in (1, -1) for _, direction in index["key"])
    ]  # fmt: skip


def _as_rows(columns: Sequence[Any], key: tuple[str, ...], documents: list[Document]) -> tuple[tuple[Value, ...], ...]:
    spec = TableSpec("t", "t", "b", "t", tuple(Column(c.name, c.name, c.kind, c.name) for c in columns), key=key)
    return tuple(Documents(spec).rows(documents))


def rights(client: Client, database: str) -> Callable[[str], bool]:
    """Whether the account may write a collection; where the server does not say, it may."""
    told = client.admin.command("connectionStatus", showPrivileges=True)["authInfo"]
    privileges = told.get("authenticatedUserPrivileges") or []
    roles = {role["role"] for role in told.get("authenticatedUserRoles") or []}
    if not privileges:
        return lambda _: not roles or not roles <= _READERS

    def may(name: str) -> bool:
        for item in privileges:
            resource = item.get("resource") or {}
            is_here = resource.get("anyResource") or (
                resource.get("db") in ("", database) and resource.get("collection") in ("", name)
            )
            if is_here and _WRITES & set(item.get("actions") or ()):
                return True
        return False

    return may


def fickle_views(found: Sequence[Collection], names: set[str]) -> bool:
    """Whether one of these views may change by itself, with the clock or by chance; or is made from a time series,
    or from another database, whose changes are not told."""
    series = {item.name for item in found if item.is_series}
    if series & names:
        return True
    by_name = {item.name: item for item in found if item.is_view}
    seen: set[str] = set()
    wanted = [name for name in names if name in by_name]
    while wanted:
        view = by_name[wanted.pop()]
        text = str(view.options.get("pipeline"))
        if any(word in text for word in _FICKLE) or any(f"'{name}'" in text for name in series):
            return True
        seen.add(view.name)
        sources = {str(view.options.get("viewOn")), *(name for name in by_name if f"'{name}'" in text)}
        if sources & series:
            return True
        wanted += [name for name in sources if name in by_name and name not in seen]
    return False


_FICKLE = ("$$NOW", "$$CLUSTER_TIME", "$rand", "$sample", "$function", "$accumulator", "$currentOp", "$indexStats",
           "$collStats", "$planCacheStats", "'db':")  # fmt: skip
