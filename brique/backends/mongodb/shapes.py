"""What columns a collection has, from its documents and, where it has one, from its validator. Pure.

Types that were seen are joined: int and int64 are whole numbers, with doubles real numbers, with Decimal128 decimals;
any other mixture is kept as it is. A field that always holds a document becomes a column for each of its fields
(`address.city`); one with lists, with documents of ever other fields, or with documents and something else is JSON.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from brique.backends.mongodb.documents import DOT
from brique.backends.mongodb.values import type_of
from brique.schema import Kind, SourceColumn

DEPTH_MAX = 6
CHILDREN_MAX = 60
"""A document with more different fields is a map, not a record."""
_SPARSE = 0.1
_KINDS: dict[str, Kind] = {
    "string": Kind.TEXT, "int": Kind.INTEGER, "long": Kind.INTEGER, "double": Kind.REAL, "decimal": Kind.DECIMAL,
    "bool": Kind.BOOLEAN, "date": Kind.DATETIME, "objectId": Kind.TEXT, "uuid": Kind.TEXT, "binData": Kind.BINARY,
}  # fmt: skip
_NUMBERS = {"int", "long", "double", "decimal"}
_KEY_KINDS = {"string", "int", "long", "objectId", "uuid", "date", "decimal", "double"}


@dataclass
class Shape:
    """What was seen at one path: types, the fields of documents, and what the validator says."""

    types: Counter[str] = field(default_factory=Counter)
    fields: dict[str, Shape] = field(default_factory=dict)
    orders: set[tuple[str, ...]] = field(default_factory=set)
    """Of `_id`: the orders of fields that were seen."""
    declared: tuple[str, ...] = ()
    required: bool = False
    comment: str = ""
    choices: tuple[str, ...] = ()
    length_max: int | None = None

    @property
    def seen(self) -> int:
        return sum(self.types.values())

    @property
    def wanted(self) -> list[str]:
        """The types besides null, the most frequent first; as declared where none was seen."""
        seen = [name for name, _ in self.types.most_common() if name != "null"]
        return seen or [name for name in self.declared if name != "null"]

    @property
    def source_type(self) -> str:
        has_null = "null" in self.types or (not self.seen and "null" in self.declared)
        return "|".join([*self.wanted, "null"] if has_null else self.wanted)

    def look(self, document: Mapping[str, Any]) -> None:
        """Take a document in."""
        for name, value in document.items():
            shape = self.fields.get(name)
            if shape is None:
                shape = self.fields[name] = Shape()
            kind = type_of(value)
            shape.types[kind] += 1
            if kind == "object" and len(shape.fields) <= CHILDREN_MAX:
                shape.look(value)
                if name == "_id":
                    shape.orders.add(tuple(value))


def shape_of(documents: Iterable[Mapping[str, Any]], validator: Mapping[str, Any] | None = None) -> Shape:
    """The shape of a collection's documents."""
    shape = Shape()
    if validator:
        _declare(shape, validator)
    for document in documents:
        shape.types["object"] += 1
        shape.look(document)
    return shape


def _declare(shape: Shape, schema: Mapping[str, Any]) -> None:
    """What a `$jsonSchema` says."""
    for name, said in (schema.get("properties") or {}).items():
        if not isinstance(said, Mapping):
            continue
        found = shape.fields.setdefault(name, Shape())
        kinds = said.get("bsonType", said.get("type", ()))
        found.declared = (kinds,) if isinstance(kinds, str) else tuple(map(str, kinds))
        found.comment = str(said.get("title") or said.get("description") or "")
        found.length_max = said["maxLength"] if isinstance(said.get("maxLength"), int) else None
        choices = said.get("enum", ())
        if choices and all(isinstance(choice, str) for choice in choices):
            found.choices = tuple(choices)
        found.required = name in schema.get("required", ())
        _declare(found, said)


@dataclass(frozen=True)
class Found:
    """The columns of a collection, and its key."""

    columns: tuple[SourceColumn, ...]
    key: tuple[str, ...]


def columns_of(shape: Shape) -> Found:
    """The columns of a collection whose documents have this shape; `_id` first."""
    total = shape.types["object"]
    identity = shape.fields.get("_id") or Shape(declared=("objectId",))
    columns: list[SourceColumn] = []
    key = _key_columns(identity, columns)
    for name, inner in shape.fields.items():
        if name not in ("_id", "_brique"):
            _add(inner, name.replace(".", DOT), total, 1, columns)
    return Found(tuple(columns), key)


def _key_columns(identity: Shape, columns: list[SourceColumn]) -> tuple[str, ...]:
    types = set(identity.wanted)
    if types == {"object"} and _is_compound(identity):
        [order] = identity.orders
        for name in order:
            part = identity.fields[name]
            columns.append(_column(f"_id.{name}", part, _kind(part), nullable=False))
        return tuple(f"_id.{name}" for name in order)
    is_plain = (len(types) == 1 and types <= _KEY_KINDS) or types == {"int", "long"}
    kind = _kind(identity) if is_plain else Kind.JSON
    made_here = types <= {"objectId"} or types == {"uuid"}
    columns.append(_column("_id", identity, kind, nullable=False, defaulted=made_here))
    return ("_id",)


def _is_compound(identity: Shape) -> bool:
    """Whether every `_id` is a document of the same plain fields in the same order: a key of several columns."""
    whole = identity.types["object"]
    return len(identity.orders) == 1 and all(
        part.seen == whole and len(part.wanted) == 1 and part.wanted[0] in _KEY_KINDS and "null" not in part.types
        and "." not in name
        for name, part in identity.fields.items()
    )  # fmt: skip


def _add(shape: Shape, path: str, total: int, depth: int, columns: list[SourceColumn]) -> None:
    """Add the column at `path`, or those of the document there. `total`: documents that could have had it."""
    if _is_record(shape, depth):
        for name, inner in shape.fields.items():
            _add(inner, f"{path}.{name.replace('.', DOT)}", total, depth + 1, columns)
        return
    missing = shape.seen < total or shape.types["null"] > 0
    nullable = not shape.required and (missing or not total)
    name = path.split(".")[-1]
    is_odd = DOT in path or name.startswith("$") or not name
    columns.append(_column(path, shape, _kind(shape), nullable=nullable, generated=is_odd))


def _is_record(shape: Shape, depth: int) -> bool:
    if shape.wanted != ["object"] or not shape.fields or depth >= DEPTH_MAX or len(shape.fields) > CHILDREN_MAX:
        return False
    if any(name.startswith("$") or not name for name in shape.fields):
        return False
    here = shape.types["object"]
    few = [inner for inner in shape.fields.values() if inner.seen < _SPARSE * here]
    return here < 20 or len(few) <= len(shape.fields) // 2


def _kind(shape: Shape) -> Kind:
    types = set(shape.wanted)
    if not types:
        return Kind.ANY
    if types <= _NUMBERS and len(types) > 1:
        return Kind.DECIMAL if "decimal" in types else Kind.REAL if "double" in types else Kind.INTEGER
    if len(types) == 1:
        return _KINDS.get(next(iter(types)), Kind.JSON)
    return Kind.ANY if types <= set(_KINDS) - {"binData"} else Kind.JSON


def _column(
    path: str, shape: Shape, kind: Kind, *, nullable: bool, generated: bool = False, defaulted: bool = False
) -> SourceColumn:
    return SourceColumn(
        name=path,
        type=shape.source_type,
        kind=kind,
        nullable=nullable,
        generated=generated,
        defaulted=defaulted,
        length_max=shape.length_max if kind is Kind.TEXT else None,
        choices=shape.choices if kind is Kind.TEXT else (),
        comment=shape.comment,
    )
