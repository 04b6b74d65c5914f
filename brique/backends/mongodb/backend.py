"""MongoDB as a backend: three lanes (a long read, short questions, writing), each with a client of its own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

from pymongo import MongoClient, ReadPreference
from pymongo.client_session import ClientSession
from pymongo.errors import ConfigurationError, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.uri_parser import parse_uri
from pymongo.write_concern import WriteConcern

from brique.backends.faults import LOST, away, redact, refused
from brique.backends.mongodb.catalogue import Collection, collections, decoded, describe, fickle_views
from brique.backends.mongodb.documents import Documents, value_at
from brique.backends.mongodb.faults import NO_TRANSACTIONS
from brique.backends.mongodb.guard import SingleSession
from brique.backends.mongodb.leftovers import Leftovers
from brique.backends.mongodb.line import Client, Line, knock
from brique.backends.mongodb.read import NO_TABLE, MongoSnapshot
from brique.backends.mongodb.references import confirmed
from brique.backends.mongodb.session import Place, TransactionSession
from brique.backends.mongodb.values import MISSING, type_of
from brique.backends.mongodb.watch import Watch, server_of
from brique.backends.protocol import MARKER, SAMPLE_ROWS, Abilities, Prepared, Rung
from brique.errors import BackendRefused, BadConfiguration
from brique.schema import Catalogue, Row, TableSpec

FETCH_IDS = 25
"""Keys of one question: some servers compare each document with each of them."""
NOT_ALLOWED = "The marker table is not allowed in this database."
NO_TRANSACTION = "This server has no transactions: each document carries the number of its last change instead."
UNGUARDED = "Without it, since their rules allow no other fields: {tables}."
UNWATCHED = (13, 20, 59, 115, 303, 40324, 40573)
"""Codes by which a server says that it knows no change streams, or that the account may not watch."""
_PORT = 27017


class MongoBackend:
    """A database behind a `mongodb://` or `mongodb+srv://` URL. Seconds: `timeout` for a call, `connect_timeout`,
    `read_timeout` for a batch of a read. `references=guess` in the URL has references looked for."""

    def __init__(
        self, name: str, url: str, *, timeout: float = 5.0, connect_timeout: float = 3.0, read_timeout: float = 30.0
    ) -> None:
        self.name = name
        self.timeout = timeout
        self.read_timeout = read_timeout
        self._connect_timeout = connect_timeout
        url, self._guesses = _own_options(url)
        self._url = url
        self._database, self._seeds = _parsed(name, url)
        self._long, self._short, self._writing = (
            Line(name, partial(self._client, label)) for label in (" refresh", "", " replay")
        )
        self._lines = (self._long, self._short, self._writing)
        self._watch = Watch(self._database)
        self._server = ""
        self._collections: dict[str, Collection] = {}
        self._documents: dict[str, Documents] = {}
        self._transactions: bool | None = None
        self._guards = False
        self._is_marked = False
        self._leftovers = Leftovers(self._database)

    def _client(self, label: str) -> Client:
        knock(self._seeds, self._connect_timeout)
        milliseconds = max(int(self._connect_timeout * 1000), 1)
        return MongoClient(
            self._url,
            connect=False,
            appname=f"brique {self.name}{label}"[:120],
            serverSelectionTimeoutMS=milliseconds,
            connectTimeoutMS=milliseconds,
            retryWrites=False,  # what becomes of a lost answer is decided by replay
            retryReads=False,
            serverMonitoringMode="poll",
            tz_aware=False,
            uuidRepresentation="standard",
            datetime_conversion="DATETIME_AUTO",
        )

    def ping(self, timeout: float) -> None:
        """Also takes the server for what it is now: until the next ping, calls that meet another run of it, or another
        primary, say so."""
        self._server = self._short.call(timeout, server_of)

    def _meet(self, client: Client) -> None:
        """Raise BackendAway when this is not the server that was met before: the driver connects anew without a word,
        and what was committed may be gone."""
        now = server_of(client)
        if self._server and now and now != self._server:
            raise away(LOST, backend=self.name, reason="the server was started anew, or another one took over")
        self._server = now

    # what is there

    def catalogue(self) -> Catalogue:
        tables = describe(self._long.call, self._database, self.read_timeout)
        catalogue = Catalogue(tuple(tables))
        return confirmed(catalogue, partial(self._holds)) if self._guesses else catalogue

    def _holds(self, table: str, values: Sequence[Any]) -> bool:
        """Whether every one of these BSON values is the `_id` of a document of that collection."""
        wanted = list(values)
        where = {"_id": {"$in": wanted}}
        database = self._database
        found = self._short.call(self.timeout, lambda client: client[database][table].count_documents(where))
        return bool(found == len(wanted))

    def _look(self, client: Client) -> dict[str, Collection]:
        self._collections = {item.name: item for item in collections(client, self._database)}
        return self._collections

    def documents(self, spec: TableSpec) -> Documents:
        """`spec` with what its collection says. Raises BackendRefused when there is no such collection."""
        known = self._documents.get(spec.name)
        if known is not None and known.spec is spec:
            return known
        if spec.source not in self._collections:
            self._short.call(self.timeout, self._look)
        item = self._collections.get(spec.source)
        if item is None:
            raise refused(NO_TABLE, table=spec.source)
        made = self._documents[spec.name] = Documents(spec, collation=item.has_collation)
        if any(not column.source_type for column in spec.columns):
            # a declared column does not say how the documents write it: a few of them do
            types = self._short.call(self.timeout, lambda client: self._types(client, made))
            made.learn(types)
        return made

    def _types(self, client: Client, documents: Documents) -> dict[str, str]:
        batches = client[self._database][documents.name].find_raw_batches({}, limit=SAMPLE_ROWS)
        found = decoded(batches)
        types: dict[str, str] = {}
        for name, path in documents.paths.items():
            counted = Counter(
                type_of(value_at(document, path)) for document in found if value_at(document, path) is not MISSING
            )
            seen = sorted(counted, key=lambda kind: (kind == "null", -counted[kind]))
            types[name] = "|".join(seen)
        return types

    # reading

    def fingerprint(self, tables: Sequence[TableSpec]) -> str | None:
        names = {spec.source for spec in tables}

        def look(client: Client) -> str | None:
            self._meet(client)
            try:
                now = self._watch.fingerprint(client)
            except OperationFailure as fault:
                if fault.code not in UNWATCHED:
                    raise
                return None
            if now is not None and fickle_views(list(self._look(client).values()), names):
                return None
            return now

        return self._short.call(self.timeout, look)

    @contextmanager
    def snapshot(self) -> Iterator[MongoSnapshot]:
        place = replace(self._place(self._long), timeout=self.read_timeout)
        with self._long.held():
            fingerprint = self.fingerprint(())
            names = frozenset(self._long.call(self.timeout, self._look))
            session = self._long.call(self.timeout, self._begin_reading)
            opened = self._long.opened
            try:
                yield MongoSnapshot(place, session, names, fingerprint)
            finally:
                if session is not None and self._long.is_open and self._long.opened == opened:
                    self._long.end(partial(_leave, session))

    def _begin_reading(self, client: Client) -> ClientSession | None:
        """A session in which every read shows the same moment; None where the server has no such thing."""
        told = client.admin.command("hello")
        if _is_alone(told):
            return None
        info = client.admin.command("buildInfo")
        if told.get("maxWireVersion", 0) >= 13 and "secantusVersion" not in info:
            session = client.start_session(snapshot=True, causal_consistency=False)
        else:
            # One that takes snapshot reads and shows the newest all the same, or knows them in transactions only.
            session = client.start_session(causal_consistency=False)
            session.start_transaction(read_concern=ReadConcern("snapshot"), read_preference=ReadPreference.PRIMARY)
        client[self._database][MARKER].find_one({"_id": ""}, session=session)  # the first read is its moment
        return session

    def fetch(self, spec: TableSpec, keys: Sequence[str]) -> dict[str, Row]:
        documents = self.documents(spec)
        values = [spec.key_values(key) for key in keys]
        found: dict[str, Row] = {}

        def ask(client: Client) -> list[dict[str, Any]]:
            collection = client[self._database][spec.source].with_options(read_concern=self._read_concern(client))
            return decoded_lists(collection, documents, values)

        # the whole of a large question gets the time of a batch
        seconds = self.timeout if len(keys) <= FETCH_IDS else max(self.timeout, self.read_timeout)
        for row in documents.rows(self._short.call(seconds, ask)):
            named = dict(zip(spec.names, row, strict=True))
            found[spec.key_of(named)] = named
        return {key: found[key] for key in keys if key in found}

    @staticmethod
    def _read_concern(client: Client) -> ReadConcern:
        """What a majority has: nothing that a change of primary could take back."""
        return client.read_concern if client.read_concern.level else ReadConcern("majority")

    # writing

    def _place(self, line: Line) -> Place:
        return Place(line, self._database, self.timeout, self.documents)

    @contextmanager
    def session(self) -> Iterator[TransactionSession | SingleSession]:
        line = self._writing
        with line.held():
            if self._transactions is None:
                self._transactions = line.call(self.timeout, self._has_transactions)
            line.call(self.timeout, self._meet)
            place = self._place(line)
            made: TransactionSession | SingleSession
            if self._transactions:
                made = TransactionSession(place, self._begin)
            else:
                unguarded = frozenset(name for name, item in self._collections.items() if not item.takes_guard)
                made = SingleSession(place, unguarded if self._guards else None)
            try:
                yield made
                made.commit()
            finally:
                made.end()

    def _begin(self, client: Client) -> ClientSession:
        session = client.start_session(causal_consistency=False)
        self._leftovers.end(client, session)
        session.start_transaction(
            read_concern=ReadConcern("snapshot"),
            write_concern=_concern(client),
            read_preference=ReadPreference.PRIMARY,
        )
        return session

    def _has_transactions(self, client: Client) -> bool:
        """Tried, once: by reading, which changes nothing."""
        if _is_alone(client.admin.command("hello")):
            return False
        session = self._begin(client)
        try:
            client[self._database][MARKER].find_one({"_id": ""}, session=session)
            session.abort_transaction()
        except OperationFailure as fault:
            if fault.code in NO_TRANSACTIONS or "ransaction" in str(fault):
                return False
            raise
        finally:
            session.end_session()
        return True

    def watermark(self, stream: str) -> int | None:
        def ask(client: Client) -> int | None:
            database = client[self._database]
            if MARKER not in database.list_collection_names(filter={"name": MARKER}):
                return None
            marker = database[MARKER].with_options(read_concern=self._read_concern(client))
            found = marker.find_one({"_id": stream})
            return int(found["position"]) if found else 0

        if self._is_marked:
            self._leftovers.stream = stream.partition("#")[0]
        return self._short.call(self.timeout, ask)

    def prepare(self, marker: bool) -> Prepared:
        self._short.call(self.timeout, self._look)
        self._transactions = self._writing.call(self.timeout, self._has_transactions)
        flushed = self._short.call(self.timeout, self._flushes)
        abilities = Abilities(transactions=self._transactions, marker=marker, flushed=flushed)
        self._guards = self._is_marked = False
        reason = NOT_ALLOWED
        if marker:
            try:
                self._writing.call(self.timeout, self._make_marker)
            except BackendRefused as fault:
                reason = fault.message
            else:
                self._guards = not self._transactions
                if self._transactions:
                    self._is_marked = True
                    return Prepared(Rung.WATERMARK, "", abilities)
                return Prepared(Rung.GUARD, self._guard_reason(), abilities)
        return Prepared(Rung.COMPARE, reason, replace(abilities, marker=False))

    def _guard_reason(self) -> str:
        left = sorted(name for name, item in self._collections.items() if not item.takes_guard and not item.reason)
        return f"{NO_TRANSACTION} {UNGUARDED.format(tables=', '.join(left))}" if left else NO_TRANSACTION

    def _make_marker(self, client: Client) -> None:
        """The marker collection, and a proof that the account may write it."""
        database = client[self._database]
        if MARKER not in database.list_collection_names(filter={"name": MARKER}):
            try:
                database.create_collection(MARKER)
            except OperationFailure as fault:
                if fault.code != 48:  # somebody else was quicker
                    raise
        database[MARKER].with_options(write_concern=_concern(client)).update_one(
            {"_id": "nobody"}, {"$set": {"position": 0}}
        )

    @staticmethod
    def _flushes(client: Client) -> bool | None:
        """Whether what was committed is on the disk of the server, as far as it says so."""
        concern = _concern(client).document
        if concern.get("j") is False or concern.get("w") == 0:
            return False
        try:
            told = client.admin.command("serverStatus").get("storageEngine") or {}
            known = client.admin.command("buildInfo")
        except PyMongoError:
            return None
        if told.get("persistent") is False:
            return False
        return None if "secantusVersion" in known or not told else True

    def abort(self) -> None:
        for line in self._lines:
            line.abort()

    def close(self) -> None:
        for line in self._lines:
            line.close()


def decoded_lists(collection: Any, documents: Documents, keys: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """The documents of many keys, some keys at a time."""
    found: list[dict[str, Any]] = []
    for start in range(0, len(keys), FETCH_IDS):
        part = keys[start : start + FETCH_IDS]
        if documents.key_is_id:
            where: dict[str, Any] = {"_id": {"$in": [way for key in part for way in documents.ids(key)]}}
        else:
            where = {"$or": [documents.where(key) for key in part]}
        found += collection.find(where)
    return found


def _leave(session: ClientSession) -> None:
    if session.in_transaction:
        session.abort_transaction()
    session.end_session()


def _is_alone(told: dict[str, Any]) -> bool:
    """Whether a server that says hello so stands alone: neither in a replica set nor before a sharded cluster."""
    return not told.get("setName") and told.get("msg") != "isdbgrid"


def _concern(client: Client) -> WriteConcern:
    """As the URL says, and otherwise on the disks of a majority."""
    return client.write_concern if client.write_concern.document else WriteConcern(w="majority", j=True)


def _own_options(url: str) -> tuple[str, bool]:
    """The URL without what only brique understands, and whether references are to be looked for."""
    found = re.search(r"(?<=[?&])references=(\w*)&?", url)
    if found is None:
        return url, False
    return (url[: found.start()] + url[found.end() :]).rstrip("?&"), found[1] == "guess"


def _parsed(name: str, url: str) -> tuple[str, list[tuple[str, int]]]:
    """(database, addresses to knock at) of a URL. Raises BadConfiguration; nothing is looked up."""
    hint = "mongodb://user@host:27017/database, letters like @ : / % in a password written as %40 %3A %2F %25"
    try:
        if url.lower().startswith("mongodb+srv:"):
            database, seeds = unquote(urlsplit(url).path.lstrip("/")), []
        else:
            told = parse_uri(url, default_port=_PORT, validate=True, warn=False)
            database = told["database"] or ""
            seeds = [(host, port) for host, port in told["nodelist"] if port is not None and not host.endswith(".sock")]
    except (PyMongoError, ConfigurationError, ValueError) as fault:
        raise BadConfiguration(f"{name}: {redact(url)} is no address of MongoDB", try_this=hint) from fault
    if not database:
        raise BadConfiguration(f"{name}: {redact(url)} does not say which database", try_this=hint)
    return database, seeds
