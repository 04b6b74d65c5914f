"""Documents of a collection as rows of the table that a spec declares, and rows as changes of documents.

A column's source is a path (`address.city`). A field name that holds a dot stands in it with a full-width one, and
cannot be written. `_id.part` columns together are a key that is a document; their order is that of its fields.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any
from uuid import UUID, uuid4

from bson.objectid import ObjectId
from bson.regex import Regex

from brique.backends.faults import refused
from brique.backends.mongodb.faults import EMPTY
from brique.backends.mongodb.values import MISSING, reader, to_bson, type_of, ways
from brique.backends.protocol import Tag
from brique.schema import Column, Kind, Row, TableSpec, Value

DOT = "\uff0e"
"""Stands for a dot inside a field's name."""
Document = dict[str, Any]
Path = tuple[str, ...]
_WAYS_MAX = 64


def path_of(source: str) -> Path:
    """The names of the fields that lead to a column."""
    return tuple(part.replace(DOT, ".") for part in source.split("."))


def value_at(document: Mapping[str, Any], path: Path) -> Any:
    """What stands at `path`; MISSING when there is no such field."""
    found: Any = document
    for name in path:
        if not isinstance(found, dict) or name not in found:
            return MISSING
        found = found[name]
    return found


class Documents:
    """One table as `spec` declares it. `collation`: its collection compares texts by rules of a language."""

    def __init__(self, spec: TableSpec, *, collation: bool = False) -> None:
        self.spec = spec
        self._typed = spec
        self.name = spec.source
        self.collation = collation
        self.paths = {column.name: path_of(column.source) for column in spec.columns}
        self._readers = {column.name: reader(column) for column in spec.columns}
        self._by_source = {column.source: column.name for column in spec.columns}
        self.written = {
            column.name: column for column in spec.columns if not (column.generated or DOT in column.source)
        }
        tops = Counter(path[0] for path in self.paths.values())
        self._shared = {name for name, path in self.paths.items() if tops[path[0]] > 1}
        self.key_is_document = (
            bool(spec.key)
            and all(self.paths[name][:1] == ("_id",) for name in spec.key)
            and any(len(self.paths[name]) > 1 for name in spec.key)
        )
        self.key_is_id = self.key_is_document or (len(spec.key) == 1 and self.paths[spec.key[0]] == ("_id",))

    def learn(self, types: Mapping[str, str]) -> None:
        """Take in which types the documents hold in columns that do not say."""
        columns = tuple(
            column if column.source_type else replace(column, source_type=types.get(column.name, ""))
            for column in self.spec.columns
        )
        self._typed = self.spec.changed(columns=columns)
        self.written = {name: self._typed.by_name[name] for name in self.written}

    # out

    def rows(self, documents: Sequence[Document]) -> list[tuple[Value, ...]]:
        """Documents as rows of store values, a column at a time."""
        columns = []
        for name, path in self.paths.items():
            read = self._readers[name]
            if len(path) == 1:
                first = path[0]
                columns.append([read(document.get(first)) for document in documents])
            else:
                found = (value_at(document, path) for document in documents)
                columns.append([None if value is MISSING else read(value) for value in found])
        return list(zip(*columns, strict=True)) if documents else []

    def row(self, document: Document) -> Row:
        return dict(zip(self.spec.names, self.rows([document])[0], strict=True))

    def key_row(self, document: Document) -> Row:
        """The key columns of a document."""
        return {name: self._read(name, document) for name in self.spec.key}

    def _read(self, name: str, document: Document) -> Value:
        value = value_at(document, self.paths[name])
        return None if value is MISSING else self._readers[name](value)

    def holds(self, document: Document, before: Row) -> bool:
        """Whether the document shows what `before` says, as brique shows it."""
        return all(self._read(name, document) == value for name, value in before.items() if name in self.written)

    # keys

    def ids(self, key: Sequence[Value]) -> list[Any]:
        """What may stand in `_id` for this key. Only where `key_is_id`."""
        parts = [ways(column, value) for column, value in zip(self._typed.key_columns, key, strict=True)]
        if not self.key_is_document:
            return parts[0]
        names = [self.paths[name][1:] for name in self.spec.key]
        found = []
        for values in product(*parts):
            made: Document = {}
            for path, value in zip(names, values, strict=True):
                _put(made, path, value)
            found.append(made)
            if len(found) == _WAYS_MAX:
                break
        return found

    def where(self, key: Sequence[Value]) -> Document:
        """The filter for a key."""
        if self.key_is_id:
            return _among("_id", self.ids(key))
        filters = [
            _among(".".join(self.paths[column.name]), ways(column, value))
            for column, value in zip(self._typed.key_columns, key, strict=True)
        ]
        return filters[0] if len(filters) == 1 else {"$and": filters}

    # in

    def assignments(self, document: Document, after: Row) -> tuple[Document, Document]:
        """($set, $unset) that put `after` into the document; without what it shows already."""
        sets: Document = {}
        unsets: Document = {}
        for name, value in after.items():
            column = self.written.get(name)
            if column is None or self._read(name, document) == value:
                continue
            path = self.paths[name]
            old = value_at(document, path)
            made = to_bson(column, value, old)
            if made is None and not _keeps_null(column):
                unsets[".".join(path)] = ""
                continue
            self._assign(document, sets, path, made)
        return sets, unsets

    @staticmethod
    def _assign(document: Document, sets: Document, path: Path, value: Any) -> None:
        """Add to `sets` what brings `value` to `path`: where something other than a document stands on the way, it is
        replaced by a document."""
        for length in range(1, len(path)):
            on_the_way = value_at(document, path[:length])
            if on_the_way is MISSING or isinstance(on_the_way, dict):
                continue
            _put(sets.setdefault(".".join(path[:length]), {}), path[length:], value)
            return
        sets[".".join(path)] = value

    def document(self, row: Row, tag: Tag | None, ordinal: int) -> Document:
        """A new document of the columns given; its `_id` made from the command where the server would make one."""
        made: Document = {}
        for name in sorted(row, key=self._place):
            column = self.written.get(name)
            if column is None:
                continue
            value = to_bson(column, row[name])
            if value is not None or (_keeps_null(column) and self.paths[name][0] != "_id"):
                _put(made, self.paths[name], value)
        for name in self.spec.key:
            column, path = self._typed.by_name[name], self.paths[name]
            if value_at(made, path) in (MISSING, None):
                if path != ("_id",) or not column.defaulted:
                    raise refused(EMPTY, columns=column.name)
                made["_id"] = new_id(column, tag, ordinal)
        if "_id" not in made:
            made["_id"] = new_id(None, tag, ordinal)
        return {"_id": made.pop("_id"), **made}

    def _place(self, name: str) -> int:
        key = self.spec.key
        return key.index(name) - len(key) if name in key else list(self.paths).index(name) if name in self.paths else 0

    # comparing at the server

    def same(self, before: Row) -> Document | None:
        """A quick condition that a document still holds `before`; strict: it may miss an unusual way of writing. None
        when there is no such condition, and only looking at the document can tell."""
        found: Document = {}
        if self.collation:
            return None
        for name, value in before.items():
            column = self.written.get(name)
            if column is None or (self.key_is_id and name in self.spec.key):
                continue
            if column.kind in (Kind.JSON, Kind.ANY, Kind.BINARY) or DOT in column.source:
                return None
            path = ".".join(self.paths[name])
            found[path] = {"$eq": to_bson(column, value), "$not": {"$type": "array"}}
        return found

    def plain_assignments(self, before: Row, after: Row) -> Document | None:
        """What an update does to a document that holds `before`, without having looked at it; None when one has to:
        for what stands inside another document, or takes its type from what was there."""
        sets: Document = {}
        unsets: Document = {}
        for name, value in after.items():
            column = self.written.get(name)
            if column is None or (name in before and before[name] == value):
                continue
            path = self.paths[name]
            if len(path) > 1 or path == ("_id",) or "|" in column.source_type.replace("|null", ""):
                return None
            made = to_bson(column, value)
            if made is None and not _keeps_null(column):
                unsets[path[0]] = ""
            else:
                sets[path[0]] = made
        return {name: paths for name, paths in (("$set", sets), ("$unset", unsets)) if paths} or None

    def is_as_wanted(self, before: Row, after: Row) -> bool:
        """Whether a document that held `before`, and has had `plain_assignments`, is read again with the very values
        of `after`, and with no other one changed."""
        for name, value in after.items():
            column = self.written.get(name)
            if column is None or name in self._shared or column.kind not in _KEPT_AS_GIVEN:
                return False
            if name in before and before[name] == value:
                shown: Value = before[name]
            else:
                made = to_bson(column, value)
                shown = None if made is None else self._readers[name](made)
            if type(shown) is not type(value) or shown != value:
                return False
        return True

    def row_after(self, key: Sequence[Value], before: Row, changes: Document) -> Row | None:
        """The row of `key` after `changes` (of `plain_assignments`), which holds where it was as `before`; None when
        that does not say all of it."""
        row = {**dict(zip(self.spec.key, key, strict=True)), **before}
        if any(name not in row for name in self.spec.names if name not in self._top(changes)):
            return None
        for operator, names in changes.items():
            for path, value in names.items():
                name = self._by_source[path]
                row[name] = self._readers[name](value) if operator == "$set" else None
        return {name: row[name] for name in self.spec.names}

    def _top(self, changes: Document) -> set[str]:
        return {self._by_source[path] for names in changes.values() for path in names}

    def unchanged(self, document: Document, names: Sequence[str]) -> Document:
        """A condition that these columns hold in the collection what they hold in `document`, type and all."""
        parts: list[Any] = []
        for name in names:
            path = self.paths[name]
            if name not in self.written:
                continue
            value, field = value_at(document, path), "$" + ".".join(path)
            kind = "missing" if value is MISSING else type_of(value)
            if kind in _COMPARED:
                parts.append({"$eq": [field, {"$literal": value}]})
            elif kind in ("missing", "null"):
                parts.append({"$eq": [{"$type": field}, kind]})
        return {"$expr": {"$and": parts}} if parts else {}


_KEPT_AS_GIVEN = frozenset({Kind.INTEGER, Kind.REAL, Kind.TEXT, Kind.BOOLEAN})
"""Kinds whose values no server rounds, cuts or reorders."""
_COMPARED = frozenset(
    {"bool", "int", "long", "double", "string", "binData", "uuid", "objectId", "date", "decimal", "object", "array"}
)


def _put(document: Document, path: Path, value: Any) -> None:
    for name in path[:-1]:
        document = document.setdefault(name, {})
    document[path[-1]] = value


def _among(path: str, values: list[Any]) -> Document:
    """A filter for these very values: a document or a pattern in a key is what to look for, not how to look."""
    if len(values) == 1:
        return {path: {"$eq": values[0]} if isinstance(values[0], dict | Regex) else values[0]}
    return {path: {"$in": values}}


def _keeps_null(column: Column) -> bool:
    """Whether documents say null in this column where there is nothing, rather than leave the field out."""
    return "null" in column.source_type.split("|")


def new_id(column: Column | None, tag: Tag | None, ordinal: int) -> Any:
    """A new `_id`: the same one each time for the same insert of the same command, so that a second try is found out.

    An ObjectId begins with the time at which the command was given, as MongoDB's own do.
    """
    wants_uuid = column is not None and column.source_type.split("|")[0] == "uuid"
    if tag is None:
        return uuid4() if wants_uuid else ObjectId()
    told = hashlib.blake2b(f"{tag.stream}\n{tag.id}\n{tag.position}\n{ordinal}".encode(), digest_size=16).digest()
    if wants_uuid:
        return UUID(bytes=told, version=4)
    return ObjectId(_seconds_of(tag.id).to_bytes(4, "big") + told[:8])


def _seconds_of(receipt: str) -> int:
    """When a command with this receipt was given, in seconds of Unix time; 0 when it does not say."""
    letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    if len(receipt) != 18 or any(letter not in letters for letter in receipt):
        return 0
    number = 0
    for letter in receipt[:10]:
        number = number * 32 + letters.index(letter)
    return (number // 1000) % 2**32
