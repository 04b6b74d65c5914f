"""JSON Schemas of rows, bodies and answers, made from the declared tables and commands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from brique.api.operation import Schema
from brique.api.rows import META
from brique.commands import ACTS, CommandSpec
from brique.exports import COMPARISONS
from brique.schema import Column, Kind, State, TableSpec

Say = Callable[..., str]
"""A sentence in the reader's language."""
_NUMBER = r"^-?[0-9]+(\.[0-9]+)?$"
_TYPES: dict[Kind, Schema] = {
    Kind.TEXT: {"type": "string"},
    Kind.INTEGER: {"type": ["integer", "string"], "format": "int64"},
    Kind.DECIMAL: {"type": "string", "pattern": _NUMBER},
    Kind.REAL: {"type": "number"},
    Kind.BOOLEAN: {"type": "boolean"},
    Kind.DATE: {"type": "string", "format": "date"},
    Kind.DATETIME: {"type": "string", "examples": ["2026-11-20T10:42:00Z"]},
    Kind.TIME: {"type": "string", "examples": ["10:42:00"]},
    Kind.BINARY: {"type": "string", "contentEncoding": "base64"},
    Kind.JSON: {},
    Kind.ANY: {},
}
_SAMPLES: dict[Kind, Any] = {
    Kind.TEXT: "text",
    Kind.INTEGER: 1,
    Kind.DECIMAL: "1.50",
    Kind.REAL: 1.5,
    Kind.BOOLEAN: True,
    Kind.DATE: "2026-11-20",
    Kind.DATETIME: "2026-11-20T10:42:00Z",
    Kind.TIME: "10:42:00",
    Kind.BINARY: "aGVsbG8=",
    Kind.JSON: {},
    Kind.ANY: "text",
}
_ORDERED = ("eq", "ne", "lt", "le", "gt", "ge", "in", "null")
_OPS: dict[Kind, tuple[str, ...]] = {
    Kind.TEXT: COMPARISONS,
    Kind.ANY: COMPARISONS,
    Kind.INTEGER: COMPARISONS,
    Kind.DATE: COMPARISONS,
    Kind.DATETIME: COMPARISONS,
    Kind.TIME: COMPARISONS,
    Kind.DECIMAL: _ORDERED,
    Kind.REAL: _ORDERED,
    Kind.BOOLEAN: ("eq", "ne", "null"),
    Kind.JSON: ("contains", "null"),
    Kind.BINARY: ("null",),
}


def component(name: str) -> str:
    """A name as the key of a component."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{component(name)}"}


def of_column(column: Column, *, writing: bool = False) -> Schema:
    """A value of `column` as it is given, or as it may be sent."""
    schema = dict(_TYPES[column.kind])
    if writing and column.kind is Kind.DECIMAL:
        schema["type"] = ["string", "number"]
    if column.kind is Kind.TEXT and column.length_max:
        schema["maxLength"] = column.length_max
    if column.choices:
        schema["enum"] = list(column.choices)
    if column.nullable:
        _let_be_null(schema)
    schema["title"] = column.label
    if column.help:
        schema["description"] = column.help
    return schema


def _let_be_null(schema: Schema) -> None:
    if "type" in schema:
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        schema["type"] = [*kinds, "null"]
    if "enum" in schema:
        schema["enum"] = [*schema["enum"], None]


def of_table(spec: TableSpec, t: Say) -> dict[str, Schema]:
    """The components of one table: its row, a page of it, a new row, a change."""
    rows = {column.name: of_column(column) for column in spec.columns}
    listed = {column.name: _listed(column) for column in spec.columns}
    has_blobs = any(column.kind is Kind.BINARY for column in spec.columns)
    found = {spec.name: _row(spec, rows, t)}
    if has_blobs:
        found[f"{spec.name}_listed"] = _row(spec, listed, t)
    found[f"{spec.name}_page"] = _page(ref(f"{spec.name}_listed" if has_blobs else spec.name))
    if spec.writable:
        found[f"{spec.name}_new"] = _new(spec)
        found[f"{spec.name}_change"] = _change(spec)
    return {component(name): schema for name, schema in found.items()}


def _listed(column: Column) -> Schema:
    if column.kind is not Kind.BINARY:
        return of_column(column)
    return {
        "type": ["object", "string", "number", "null"],
        "title": column.label,
        "properties": {"bytes": {"type": "integer"}, "url": {"type": "string"}},
    }


def _row(spec: TableSpec, columns: dict[str, Schema], t: Say) -> Schema:
    head: dict[str, Schema] = {
        "_key": {"type": "string", "description": t("The key of the row in addresses.")},
        "_label": {"type": "string", "description": t("How people call the row.")},
        "_pending": {
            "type": "integer",
            "enum": [0, 1, 2],
            "description": t("0: as in the backend; 1: changes wait to be sent; 2: a person must decide."),
        },
        "_version": {"type": "integer"},
    }
    schema: Schema = {"type": "object", "title": spec.label, "properties": head | columns, "required": list(META)}
    return schema | ({"description": spec.help} if spec.help else {})


def _page(row: Schema) -> Schema:
    link = {"type": ["string", "null"]}
    properties: dict[str, Schema] = {
        "rows": {"type": "array", "items": row},
        "count": {"type": "integer"},
        "count_exact": {"type": "boolean"},
        "next": link,
        "previous": link,
        "as_of": {"type": ["string", "null"], "format": "date-time"},
        "age_seconds": {"type": ["integer", "null"]},
        "position": {"type": "integer"},
    }
    return _object(properties)


def _new(spec: TableSpec) -> Schema:
    given = [column for column in spec.columns if not column.generated]
    required = [column.name for column in given if not (column.nullable or column.defaulted)]
    schema: Schema = {
        "type": "object",
        "title": spec.label,
        "properties": {column.name: of_column(column, writing=True) for column in given},
        "additionalProperties": False,
    }
    return schema | ({"required": required} if required else {})


def _change(spec: TableSpec) -> Schema:
    given = [column for column in spec.columns if not column.generated and column.name not in spec.key]
    return {
        "type": "object",
        "title": spec.label,
        "properties": {column.name: of_column(column, writing=True) for column in given},
        "additionalProperties": False,
    }


def of_command(spec: CommandSpec) -> Schema:
    """The body of a declared command."""
    properties: dict[str, Schema] = {}
    for parameter in spec.parameters:
        schema = {"type": ["string", "integer"]} if parameter.table else dict(_TYPES[parameter.kind])
        if not parameter.required:
            _let_be_null(schema)
        properties[parameter.name] = schema | {"title": parameter.label}
    required = [parameter.name for parameter in spec.parameters if parameter.required]
    schema = {"type": "object", "title": spec.label, "properties": properties, "additionalProperties": False}
    return schema | ({"required": required} if required else {})


def of_argument(kind: Kind) -> Schema:
    """A parameter of an address that holds a value of `kind`."""
    return dict(_TYPES[kind])


def comparisons(column: Column) -> Iterable[tuple[str, Schema]]:
    """(op, schema) of the conditions that a list may set on `column`."""
    for op in _OPS[column.kind]:
        if op == "null":
            yield op, {"type": "boolean"}
        elif op == "in":
            yield op, {"type": "string", "examples": [str(sample(column))]}
        elif op in ("prefix", "contains"):
            yield op, {"type": "string"}
        else:
            yield op, dict(_TYPES[column.kind])


def sample(column: Column) -> Any:
    """A value that `column` may hold, for examples."""
    if column.choices:
        return column.choices[0]
    value = _SAMPLES[column.kind]
    return value[: column.length_max] if isinstance(value, str) and column.length_max else value


def shared() -> dict[str, Schema]:
    """The components that do not depend on the tables."""
    text: Schema = {"type": "string"}
    maybe: Schema = {"type": ["string", "null"]}
    link = _object({"name": text, "label": text, "url": text})
    links: Schema = {"type": "array", "items": link}
    place: dict[str, Schema] = {"parameter": text, "header": text, "path": text, "pointer": text, "detail": text}
    values: Schema = {"type": ["object", "null"]}
    backend = _object({"name": text, "label": text, "state": text, "since": maybe, "as_of": maybe})
    outcome: dict[str, Schema] = {
        "receipt": maybe, "receipt_url": maybe, "state": {"type": "string"}, "duplicate": {"type": "boolean"},
        "table": text, "key": text, "url": maybe, "row": values,
    }  # fmt: skip
    problem: dict[str, Schema] = {
        "type": text, "title": text, "status": {"type": "integer"}, "code": text, "detail": text, "try_this": text,
        "request_id": text, "receipt": text, "reason": text, "current": values, "theirs": values,
        "errors": {"type": "array", "items": _object(place, "detail")},
    }  # fmt: skip
    column = _object({"name": text, "label": text, "kind": text, "nullable": {"type": "boolean"}})
    table: dict[str, Schema] = {
        "name": text, "label": text, "backend": text, "url": text, "key": {"type": "array", "items": text},
        "writable": {"type": "boolean"}, "read_only": text, "loaded": {"type": "boolean"},
        "rows": {"type": "integer"}, "as_of": maybe, "columns": {"type": "array", "items": column},
    }  # fmt: skip
    index: dict[str, Schema] = {
        "title": text, "user": _object({"name": text, "role": text}), "openapi": text, "docs": text, "tables": links,
        "views": links, "commands": links, "outbox": text, "backends": {"type": "array", "items": backend},
        "position": {"type": "integer"},
    }  # fmt: skip
    found = _object({"_key": text, "_label": text})
    return {
        "Index": _object(index),
        "Tables": _object({"tables": {"type": "array", "items": _object(table)}}),
        "Labels": _object({"rows": {"type": "array", "items": found}}),
        "Outcome": _object(outcome, "receipt", "state", "table", "key"),
        "Decision": _object({"arrived": {"type": "boolean"}}) | {"additionalProperties": False},
        **_of_receipts(),
        "Problem": _object(problem, "type", "title", "status", "code", "detail"),
    }


def _of_receipts() -> dict[str, Schema]:
    """The components of commands and of what is decided about them."""
    text: Schema = {"type": "string"}
    maybe: Schema = {"type": ["string", "null"]}
    values: Schema = {"type": ["object", "null"]}
    state: Schema = {"type": "string", "enum": [str(state) for state in State]}
    row_of = _object({"table": text, "key": text})
    receipt: dict[str, Schema] = {
        "receipt": text, "url": text, "position": {"type": "integer"}, "name": text, "label": text, "user": text,
        "at": text, "backend": text, "origin": text, "state": state, "settled_at": maybe,
        "dismissed": {"type": "boolean"}, "reason": text, "tries": {"type": "integer"}, "next_try": maybe,
        "replaces": maybe, "rows": {"type": "array", "items": row_of},
        "effects": {"type": "array", "items": {"type": "string"}},
        "after": {"type": "array", "items": {"type": "string"}},
    }  # fmt: skip
    change = _object({"table": text, "key": text, "before": values, "after": values, "theirs": values}, "table", "key")
    audit: Schema = {
        "type": "array",
        "items": _object({"at": text, "what": text, "by": text, "origin": text, "address": text, "replaced_by": maybe}),
    }
    names: Schema = {"type": "array", "items": text}
    whole = _object(
        receipt
        | {
            "changes": {"type": "array", "items": change}, "effects": names, "waits_for": names,
            "waited_for_by": names, "replaced_by": maybe, "audit": audit,
        },
        *receipt,
    )  # fmt: skip
    return {
        "Receipt": whole,
        "Receipts": _object(
            {
                "receipts": {"type": "array", "items": _object(receipt)},
                "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
                "next": maybe,
                "position": {"type": "integer"},
            }
        ),
        **_of_many(text, audit),
    }


def _of_many(text: Schema, audit: Schema) -> dict[str, Schema]:
    """The components of decisions about writes, and of what failed together."""
    closed: Schema = {"additionalProperties": False}
    lost: Schema = {"type": "boolean", "const": False}
    fields: Schema = {"type": "object", "additionalProperties": text}
    problem = _object(
        {"code": text, "status": {"type": "integer"}, "detail": text, "fields": fields}, "code", "status", "detail"
    )
    maybe: Schema = {"type": ["string", "null"]}
    result = _object(
        {"receipt": text, "done": {"type": "boolean"}, "replaced_by": maybe, "problem": problem},
        "receipt", "done", "replaced_by",
    )  # fmt: skip
    cause = _object({"cause": text, "count": {"type": "integer"}, "state": text, "backend": text, "reason": text,
                     "url": text})  # fmt: skip
    decisions: dict[str, Schema] = {
        "act": {"type": "string", "enum": list(ACTS)},
        "receipts": {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 80}, "minItems": 1},
        "cause": text,
        "user": text,
    }
    return {
        "Audit": _object({"receipt": text, "audit": audit}),
        "Causes": _object({"causes": {"type": "array", "items": cause}}),
        "Lost": {"type": "object", "properties": {"arrived": lost}} | closed,
        "Edit": _object({"values": {"type": "object"}, "arrived": lost}, "values") | closed,
        "Decisions": _object(decisions, "act") | closed,
        "Decided": _object({"results": {"type": "array", "items": result}, "done": {"type": "integer"}}),
    }


def _object(properties: dict[str, Schema], *required: str) -> Schema:
    """An object; all of its members are there unless some are named."""
    return {"type": "object", "properties": properties, "required": list(required or properties)}
