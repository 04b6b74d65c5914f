"""A session of changes in MongoDB: one transaction where the server has them, single guarded documents where not.

In a transaction a document is read, compared as brique shows it, and written by its `_id`: the transaction's snapshot
answers for nobody else having changed it meanwhile. A whole batch is first sent with the old values as conditions, in
one message for each collection: when as many documents were found as there are changes, each was found. When not,
the transaction is begun anew and goes document by document, which tells which.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pymongo import DeleteOne, InsertOne, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.errors import BulkWriteError, DuplicateKeyError, PyMongoError
from pymongo.write_concern import WriteConcern

from brique.backends.faults import LOST, NOT_NOW, away, refused
from brique.backends.mongodb.documents import Document, Documents, Path
from brique.backends.mongodb.faults import UNDONE, name_columns
from brique.backends.mongodb.line import Answer, Client, Line
from brique.backends.protocol import AS_WANTED, MARKER, Applied, Tag
from brique.errors import BackendAway, BackendRefused
from brique.schema import Change, Effect, Row, TableSpec, Value

SEVERAL_ROWS = "The key {key} of {table} stands in {rows} rows: none of them was changed."
KEY_STAYS = "The key of a document cannot be changed on this server: make a new row and delete this one."
CHANGED = "the document is being changed by somebody else"
Operation = InsertOne[Document] | UpdateOne | DeleteOne


@dataclass(frozen=True)
class Place:
    """Where a session works: its lane, database, and how long a call may take. `documents` knows the collections."""

    line: Line
    database: str
    timeout: float
    documents: Callable[[TableSpec], Documents]


@dataclass
class Group:
    """The operations of a batch on one collection, and where in the batch each of them stands."""

    spec: TableSpec
    operations: list[Operation] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    updates: int = 0
    deletes: int = 0

    def add(self, operation: Operation, place: int) -> None:
        self.operations.append(operation)
        self.places.append(place)
        self.updates += isinstance(operation, UpdateOne)
        self.deletes += isinstance(operation, DeleteOne)

    def locate(self, fault: BackendRefused) -> None:
        """Say in `fault` which change of the batch it is about."""
        cause = fault.__cause__
        told = (cause.details or {}).get("writeErrors") if isinstance(cause, BulkWriteError) else None
        if told:
            fault.facts["index"] = self.places[told[0]["index"]]


class BaseSession:
    """What both kinds of session share."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._tag: Tag | None = None
        self._inserts = 0
        self._opened = place.line.opened

    def identify(self, tag: Tag) -> None:
        self._tag, self._inserts = tag, 0

    def call(self, effect: Effect) -> Row:
        raise BackendRefused(f"{effect.name}: no procedures are known here", procedure=effect.name)

    def _run(self, work: Callable[[Client], Answer]) -> Answer:
        return self._place.line.call(self._place.timeout, work)

    def _collection(self, client: Client, documents: Documents) -> Any:
        return client[self._place.database][documents.name]

    def _find(self, documents: Documents, key: Sequence[Value], session: ClientSession | None) -> Document | None:
        """The one document of `key`. Raises BackendRefused when there are several."""
        where = documents.where(key)
        found = self._run(
            lambda client: list(self._collection(client, documents).find(where, limit=2, session=session))
        )
        if len(found) > 1:
            raise refused(SEVERAL_ROWS, key=", ".join(map(str, key)), table=documents.name, rows="several")
        return found[0] if found else None

    def _new(self, documents: Documents, row: Row) -> Document:
        self._inserts += 1
        return documents.document(row, self._tag, self._inserts)


class TransactionSession(BaseSession):
    """One transaction. `begin` starts one on a client and gives its driver's session."""

    def __init__(self, place: Place, begin: Callable[[Client], ClientSession]) -> None:
        super().__init__(place)
        self._begin = begin
        self._session = self._run(begin)
        self._opened = place.line.opened
        self._is_clean = True
        self._is_failed = False
        self._is_first = False

    def insert(self, spec: TableSpec, row: Row) -> Row:
        documents = self._place.documents(spec)
        made = self._new(documents, row)
        self._write(spec, lambda client: self._collection(client, documents).insert_one(made, session=self._session))
        return documents.key_row(made)

    def update(self, spec: TableSpec, key: tuple[Value, ...], before: Row, after: Row) -> int:
        self._check()
        documents = self._place.documents(spec)
        found = self._seen(documents, key)
        if found is None or not documents.holds(found, before):
            return 0
        sets, unsets = documents.assignments(found, after)
        if any(path.split(".")[0] == "_id" for path in (*sets, *unsets)):
            return self._move(spec, documents, found, sets, unsets)
        changes = {name: paths for name, paths in (("$set", sets), ("$unset", unsets)) if paths}
        if not changes:
            return 1
        where = {"_id": found["_id"]}
        done = self._write(
            spec,
            lambda client: self._collection(client, documents).update_one(where, changes, session=self._session),
        )
        return self._certain(done.matched_count)

    def delete(self, spec: TableSpec, key: tuple[Value, ...], before: Row) -> int:
        self._check()
        documents = self._place.documents(spec)
        found = self._seen(documents, key)
        if found is None or not documents.holds(found, before):
            return 0
        return self._remove(spec, documents, found)

    def _remove(self, spec: TableSpec, documents: Documents, found: Document) -> int:
        where = {"_id": found["_id"]}
        done = self._write(
            spec, lambda client: self._collection(client, documents).delete_one(where, session=self._session)
        )
        return self._certain(done.deleted_count)

    def _move(self, spec: TableSpec, documents: Documents, found: Document, sets: Document, unsets: Document) -> int:
        """A document's key is changed by making it anew."""
        made = dict(found)
        for path, value in sets.items():
            _put(made, tuple(path.split(".")), value)
        for path in unsets:
            _put(made, tuple(path.split(".")), None)
        self._remove(spec, documents, found)
        self._write(spec, lambda client: self._collection(client, documents).insert_one(made, session=self._session))
        return 1

    def look(self, spec: TableSpec, key: tuple[Value, ...]) -> Row | None:
        self._check()
        documents = self._place.documents(spec)
        found = self._seen(documents, key)
        return None if found is None else documents.row(found)

    def apply(self, changes: Sequence[tuple[TableSpec, Change]]) -> list[Applied]:
        self._check()
        if self._is_clean and len(changes) > 1:
            done = self._together(changes)
            if done is not None:
                return done
            self._abort()
            self._session = self._run(self._begin)
            self._opened = self._place.line.opened
        self._inserts = 0
        return [self._one(spec, change) for spec, change in changes]

    def _one(self, spec: TableSpec, change: Change) -> Applied:
        if change.before is None:
            return Applied(1, self.insert(spec, change.after or {}))
        key = spec.key_values(change.key)
        if change.after is None:
            return Applied(self.delete(spec, key, change.before), {})
        return Applied(self.update(spec, key, change.before, change.after), {})

    def _together(self, changes: Sequence[tuple[TableSpec, Change]]) -> list[Applied] | None:
        """All changes at once, each on the condition that it finds the old values; None when not all did."""
        groups: dict[str, Group] = {}
        done: list[Applied] = []
        for place, (spec, change) in enumerate(changes):
            documents = self._place.documents(spec)
            made = self._operation(documents, change)
            if made is None:
                return None
            group = groups.setdefault(documents.name, Group(spec))
            group.add(made[0], place)
            done.append(made[1])
        for name, group in groups.items():
            try:
                told = self._write(group.spec, self._bulk(name, group.operations))
            except BackendRefused as fault:
                group.locate(fault)
                raise
            if (told.matched_count, told.deleted_count) != (group.updates, group.deletes):
                return None
        return done

    def _bulk(self, name: str, operations: list[Operation]) -> Callable[[Client], Any]:
        database, session = self._place.database, self._session
        return lambda client: client[database][name].bulk_write(operations, ordered=True, session=session)

    def _operation(self, documents: Documents, change: Change) -> tuple[Operation, Applied] | None:
        """A change as one operation with its condition, and what it does when that holds; None when it needs a look."""
        if change.before is None:
            made = self._new(documents, change.after or {})
            return InsertOne(made), Applied(1, documents.key_row(made), documents.row(made), known=True)
        same = documents.same(change.before)
        if same is None or not documents.key_is_id:
            return None
        key = documents.spec.key_values(change.key)
        where = {**documents.where(key), **same}
        if change.after is None:
            return DeleteOne(where), Applied(1, {}, None, known=True)
        changes = documents.plain_assignments(change.before, change.after)
        if changes is None:
            return None
        if documents.is_as_wanted(change.before, change.after):
            return UpdateOne(where, changes), AS_WANTED
        row = documents.row_after(key, change.before, changes)
        return UpdateOne(where, changes), Applied(1, {}, row, known=row is not None)

    def move_watermark(self, stream: str, previous: int, position: int) -> bool:
        self._check()

        def move(client: Client) -> bool:
            cursor = client[self._place.database][MARKER]
            now = cursor.find_one({"_id": stream}, session=self._session)
            if now is None and previous == 0:
                cursor.insert_one({"_id": stream, "position": position}, session=self._session)
                self._is_first = True
                return True
            if now is None or now["position"] != previous:
                return False
            where, to = {"_id": stream, "position": previous}, {"$set": {"position": position}}
            return bool(cursor.update_one(where, to, session=self._session).matched_count)

        self._is_clean = False
        try:
            return self._guarded(lambda: self._run(move))
        except BackendRefused as fault:
            if fault.facts.get("code") == "11000":
                raise away(NOT_NOW, backend=self._place.line.backend, reason=CHANGED) from fault
            raise

    # the transaction itself

    def commit(self) -> None:
        """Raises BackendAway with `at_commit=True`: it may have happened."""
        if self._is_failed:
            raise refused(UNDONE)
        self._check()
        try:
            self._run(lambda _: self._session.commit_transaction())
            if self._is_first:
                self._run(self._settle_first)
        except BackendAway as fault:
            # The driver asks a second time by itself: an answer does not say what the first one did.
            fault.facts["at_commit"] = True
            raise

    def _settle_first(self, client: Client) -> None:
        """Have the first mark on the server's disk, also of one that flushes no transaction: a mark that is gone
        altogether would prove nothing."""
        marker = client[self._place.database].get_collection(MARKER, write_concern=WriteConcern(w=1, j=True))
        marker.update_one({"_id": "flushed"}, {"$inc": {"position": 1}}, upsert=True)

    def end(self) -> None:
        """Leave the transaction, if there still is one."""
        if self._place.line.opened == self._opened and self._place.line.is_open:
            self._abort()

    def _abort(self) -> None:
        def leave(_: Client) -> None:
            try:
                if self._session.in_transaction:
                    self._session.abort_transaction()
            except PyMongoError:
                pass  # it ends by itself, with its session
            self._session.end_session()

        try:
            self._run(leave)
        except (BackendAway, BackendRefused):
            self._place.line.drop()

    def _check(self) -> None:
        if self._is_failed:
            raise refused(UNDONE)
        if self._place.line.opened != self._opened or not self._place.line.is_open:
            raise away(LOST, backend=self._place.line.backend, reason="the transaction is over")

    def _seen(self, documents: Documents, key: Sequence[Value]) -> Document | None:
        return self._guarded(lambda: self._find(documents, key, self._session))

    def _guarded(self, work: Callable[[], Answer]) -> Answer:
        """`work`, after a fault of which the transaction is over."""
        try:
            return work()
        except (BackendAway, BackendRefused):
            self._is_failed = True
            raise

    def _write(self, spec: TableSpec, work: Callable[[Client], Any]) -> Any:
        self._check()
        self._is_clean = False
        try:
            return self._guarded(lambda: self._run(work))
        except BackendRefused as fault:
            raise name_columns(fault, spec) from fault.__cause__

    def _certain(self, changed: int) -> int:
        if changed != 1:
            self._is_failed = True
            raise away(NOT_NOW, backend=self._place.line.backend, reason=CHANGED)
        return 1


def _put(document: Document, path: Path, value: Any) -> None:
    """Put `value` into a copy of each document on the way."""
    for name in path[:-1]:
        inner = document.get(name)
        document[name] = dict(inner) if isinstance(inner, dict) else {}
        document = document[name]
    document[path[-1]] = value


def is_duplicate(fault: BackendRefused) -> bool:
    return isinstance(fault.__cause__, DuplicateKeyError) or fault.facts.get("code") == "11000"
