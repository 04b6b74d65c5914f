"""An operation of the API, declared once: the route that answers it and its description come from the same row."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import Response

from brique.http import Role

Handler = Callable[[Request], Response] | Callable[[Request], Awaitable[Response]]
Per = Literal["", "table", "command", "view"]
Schema = dict[str, Any]
"""A JSON Schema (2020-12), as OpenAPI 3.1 holds it."""
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"


@dataclass(frozen=True)
class Parameter:
    """One parameter. `place`: path, query or header. `summary` is a sentence of the catalogue."""

    name: str
    place: Literal["path", "query", "header"]
    schema: Schema
    summary: str
    required: bool = False


@dataclass(frozen=True)
class Answer:
    """One answer. `schema` names a component (`{table}` filled in), or is a schema; None: no body."""

    status: int
    summary: str
    schema: str | Schema | None = None
    headers: tuple[str, ...] = ()
    media_type: str = JSON


@dataclass(frozen=True)
class Operation:
    """One row of the table of operations.

    Args:
        name: the operationId; with `per` the table's, command's or view's name follows it.
        path: with places; `{table}`, `{command}` or `{view}` stands for each one there is.
        role: who may call it, at least; for commands and views their own role counts too.
        per: what there is one of this operation for each.
        writes: only for tables that can be written.
        body: component of the request's body, "" for none; `optional_body`: it may be left out; `media_types` are what
            it may be sent as.
        lists: takes the parameters of a list of the table. blobs: only for tables with binary columns.
        produces: the media types of the answer.
        faults: statuses beside those that every operation has.
    """

    name: str
    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    tag: str
    role: Role
    summary: str
    handler: Handler
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: str = ""
    optional_body: bool = False
    media_types: tuple[str, ...] = (JSON,)
    answers: tuple[Answer, ...] = ()
    faults: tuple[int, ...] = ()
    per: Per = ""
    writes: bool = False
    lists: bool = False
    blobs: bool = False
    produces: tuple[str, ...] = (JSON,)

    @property
    def is_followable(self) -> bool:
        """Whether its address can be followed: it reads, as JSON, what has an ETag."""
        asks = any(parameter.name == "If-None-Match" for parameter in self.parameters)
        return self.method == "GET" and asks and JSON in self.produces

    @property
    def query_names(self) -> frozenset[str]:
        return frozenset(parameter.name for parameter in self.parameters if parameter.place == "query")
