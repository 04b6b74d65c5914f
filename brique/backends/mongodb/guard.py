"""Changes on a server without transactions: each is one atomic write of one document, on the condition that the
document still holds what was looked at, and, where the marker is allowed, that it has not had this change before.

The guard is a field `_brique.STREAM` of the document: the number of the last change that brique made to it, written in
the same update. Numbers rise along the stream (a command's position, then the change's place among those of the
command on that document), and commands on one document are sent in order: a document with this number or a later one
has had the change.

A document that is deleted takes its guard along. So it is first marked with the number, then the number is kept in the
marker collection, and only then it goes: a second try that finds the number there knows that the document which stands
under this key now, if any, is another one. What was done twice is answered as it was done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from bson.int64 import Int64

from brique.backends.faults import NOT_NOW, away, refused
from brique.backends.mongodb.documents import Document, Documents
from brique.backends.mongodb.faults import name_columns
from brique.backends.mongodb.line import Client
from brique.backends.mongodb.session import CHANGED, KEY_STAYS, BaseSession, Place, is_duplicate
from brique.backends.protocol import MARKER, Applied, Tag
from brique.errors import BackendAway, BackendRefused
from brique.schema import Change, Row, TableSpec, Value

FIELD = "_brique"
PLACES_BITS = 20
"""A command changes one document less often than 2**20 times."""
_TRIES_MAX = 5


def guard_name(stream: str) -> str:
    """The stream as a field's name."""
    return stream.replace(".", "_").replace("$", "_")


class SingleSession(BaseSession):
    """Writes that are done when their call returns. `unguarded`: collections whose validator would refuse the guard;
    None: none has one, because the marker is not allowed."""

    def __init__(self, place: Place, unguarded: frozenset[str] | None) -> None:
        super().__init__(place)
        self._unguarded = unguarded
        self._turns: Counter[tuple[str, str]] = Counter()
        self._written = False

    def identify(self, tag: Tag) -> None:
        super().identify(tag)
        self._turns.clear()

    # changes

    def insert(self, spec: TableSpec, row: Row) -> Row:
        documents = self._place.documents(spec)
        made = self._new(documents, row)
        number = self._next(documents, spec.key_of({**row, **documents.key_row(made)}))
        if number is not None:
            assert self._tag is not None
            made[FIELD] = {guard_name(self._tag.stream): Int64(number)}
        try:
            self._write(spec, lambda client: self._collection(client, documents).insert_one(dict(made)))
        except BackendRefused as fault:
            if not (is_duplicate(fault) and self._is_ours(documents, made, number)):
                raise
        return documents.key_row(made)

    def _is_ours(self, documents: Documents, made: Document, number: int | None) -> bool:
        """Whether the document that stands there already was made by this very insert."""
        where = {"_id": made["_id"]}
        there = self._run(lambda client: self._collection(client, documents).find_one(where))
        if there is None:
            return False
        if number is not None:
            return self._number_of(there) >= number
        was_made_up = documents.spec.by_name[documents.spec.key[0]].defaulted if documents.spec.key else False
        return was_made_up and self._tag is not None

    def update(self, spec: TableSpec, key: tuple[Value, ...], before: Row, after: Row) -> int:
        documents = self._place.documents(spec)
        number = self._next(documents, spec.key_of(dict(zip(spec.key, key, strict=True))))

        def attempt(found: Document) -> int:
            sets, unsets = documents.assignments(found, after)
            if any(path.split(".")[0] == "_id" for path in (*sets, *unsets)):
                raise refused(KEY_STAYS)
            if number is not None:
                sets[self._guard] = Int64(number)
            changes = {name: paths for name, paths in (("$set", sets), ("$unset", unsets)) if paths}
            if not changes:
                return 1
            where = self._still(documents, found, list(before), number)
            done = self._write(spec, lambda client: self._update(client, documents, where, changes))
            return int(done.matched_count)

        return self._change(documents, key, before, number, attempt)

    def delete(self, spec: TableSpec, key: tuple[Value, ...], before: Row) -> int:
        documents = self._place.documents(spec)
        name = spec.key_of(dict(zip(spec.key, key, strict=True)))
        number = self._next(documents, name)
        if number is not None and self._is_deleted(documents, name, number):
            self._finish(spec, documents, key, number)
            return 1

        def attempt(found: Document) -> int:
            where = self._still(documents, found, list(before), number)
            if number is None:
                done = self._write(spec, lambda client: self._collection(client, documents).delete_one(where))
                return int(done.deleted_count)
            mark = {"$set": {self._guard: Int64(number)}}
            marked = self._write(spec, lambda client: self._update(client, documents, where, mark))
            return self._bury(spec, documents, key, name, number) if marked.matched_count else 0

        done = self._change(documents, key, before, number, attempt)
        if done and number is not None and not self._is_deleted(documents, name, number):
            return self._bury(spec, documents, key, name, number)  # marked by an earlier try that went no further
        return done

    def apply(self, changes: Sequence[tuple[TableSpec, Change]]) -> list[Applied]:
        done = []
        for spec, change in changes:
            if change.before is None:
                done.append(Applied(1, self.insert(spec, change.after or {})))
                continue
            key = spec.key_values(change.key)
            if change.after is None:
                done.append(Applied(self.delete(spec, key, change.before), {}))
            else:
                done.append(Applied(self.update(spec, key, change.before, change.after), {}))
        return done

    def look(self, spec: TableSpec, key: tuple[Value, ...]) -> Row | None:
        documents = self._place.documents(spec)
        found = self._find(documents, key, None)
        return None if found is None else documents.row(found)

    def move_watermark(self, stream: str, previous: int, position: int) -> bool:
        raise refused("This server has no transactions, so that a mark could not move with the rows.")

    def commit(self) -> None:
        """Everything is done already."""

    def end(self) -> None:
        """Nothing can be undone."""

    # one document

    def _change(
        self,
        documents: Documents,
        key: Sequence[Value],
        before: Row,
        number: int | None,
        attempt: Callable[[Document], int],
    ) -> int:
        """Look and write until the one fits the other."""
        for _ in range(_TRIES_MAX):
            found = self._find(documents, key, None)
            if found is None:
                return 0
            if number is not None and self._number_of(found) >= number:
                return 1
            if not documents.holds(found, before):
                return 0
            if attempt(found):
                return 1
        raise away(NOT_NOW, backend=self._place.line.backend, reason=CHANGED)

    def _still(self, documents: Documents, found: Document, names: list[str], number: int | None) -> Document:
        """The filter: this document, its columns as they were found, and without this change."""
        where = {"_id": found["_id"], **documents.unchanged(found, names)}
        if number is not None:
            where[self._guard] = {"$not": {"$gte": Int64(number)}}
        return where

    def _update(self, client: Client, documents: Documents, where: Document, changes: Document) -> Any:
        # the collection's own collation would take "a" for "A" when comparing
        collation = {"locale": "simple"} if documents.collation else None
        return self._collection(client, documents).update_one(where, changes, collation=collation)

    # deleting

    def _tomb(self, documents: Documents, name: str) -> Document:
        assert self._tag is not None
        return {"stream": self._tag.stream, "collection": documents.name, "key": name}

    def _is_deleted(self, documents: Documents, name: str, number: int) -> bool:
        where = {"_id": self._tomb(documents, name), "number": {"$gte": Int64(number)}}
        database = self._place.database
        return self._run(lambda client: client[database][MARKER].find_one(where)) is not None

    def _bury(self, spec: TableSpec, documents: Documents, key: Sequence[Value], name: str, number: int) -> int:
        tomb, kept = self._tomb(documents, name), {"$set": {"number": Int64(number)}}
        database = self._place.database
        self._write(spec, lambda client: client[database][MARKER].update_one({"_id": tomb}, kept, upsert=True))
        self._finish(spec, documents, key, number)
        return 1

    def _finish(self, spec: TableSpec, documents: Documents, key: Sequence[Value], number: int) -> None:
        """Take the marked document away, if it is still there."""
        where = {**documents.where(key), self._guard: Int64(number)}
        self._write(spec, lambda client: self._collection(client, documents).delete_one(where))

    # the guard

    @property
    def _guard(self) -> str:
        assert self._tag is not None
        return f"{FIELD}.{guard_name(self._tag.stream)}"

    def _next(self, documents: Documents, key: str) -> int | None:
        """The number of the next change of this document; None when it has no guard."""
        if self._unguarded is None or self._tag is None or documents.name in self._unguarded:
            return None
        turn = self._turns[documents.name, key]
        self._turns[documents.name, key] += 1
        return (self._tag.position << PLACES_BITS) | turn

    def _number_of(self, found: Document) -> int:
        """The number of the last change that this stream made to the document; -1 when there was none."""
        assert self._tag is not None
        guards = found.get(FIELD)
        number = guards.get(guard_name(self._tag.stream)) if isinstance(guards, dict) else None
        return int(number) if isinstance(number, int) else -1

    def _write(self, spec: TableSpec, work: Callable[[Client], Any]) -> Any:
        """Raises BackendAway with `at_commit=True`: the write may have been done, or may yet be."""
        try:
            done = self._run(work)
        except BackendAway as fault:
            fault.facts["at_commit"] = True
            raise
        except BackendRefused as fault:
            if self._written:
                fault.facts["partly"] = True
            raise name_columns(fault, spec) from fault.__cause__
        self._written = True
        return done
