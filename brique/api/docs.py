"""The pages that show the description to people: an overview, and one page for each table. Nothing from outside."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from brique.api import schemas
from brique.api.operation import JSON, MERGE_PATCH
from brique.api.rows import blob_columns
from brique.api.schemas import Say
from brique.exports import parameter_of
from brique.schema import TableSpec
from brique.views import sortable

_PLACE = re.compile(r"\{([a-z]+)\}")


class Docs:
    """Pages made from an OpenAPI document, for one reader. `origin` is where curl would ask."""

    def __init__(self, document: Mapping[str, Any], origin: str, t: Say) -> None:
        self.document, self.origin, self.t = document, origin.rstrip("/"), t

    def overview(self, specs: Mapping[str, TableSpec]) -> dict[str, Any]:
        """What every caller needs: signing in, rules, the operations that are not a table's, the tables."""
        tagged = self._operations({})
        groups = []
        for tag in self.document["tags"]:
            shown = [one for one in tagged if one["tag"] == tag["name"]]
            if shown and tag["name"] not in specs:
                groups.append({"name": tag["name"], "description": tag["description"], "operations": shown})
        tables = [{"name": spec.name, "label": spec.label, "writable": spec.writable} for spec in specs.values()]
        return {"info": self.document["info"], "groups": groups, "tables": tables, "table": None, "origin": self.origin}

    def of_table(self, spec: TableSpec, key: str) -> dict[str, Any]:
        """The operations of one table; `key` is that of one of its rows, for examples."""
        places = {"key": key, "format": "csv", "column": next(iter(blob_columns(spec)), "column")}
        shown = [one for one in self._operations(places, spec) if one["tag"] == spec.name]
        group = {"name": spec.name, "description": spec.help, "operations": shown}
        columns = [
            {
                "name": column.name,
                "label": column.label,
                "kind": str(column.kind),
                "nullable": column.nullable,
                "is_key": column.name in spec.key,
                "help": column.help,
                "ops": [op for op, _schema in schemas.comparisons(column)],
                "sortable": sortable(column),
            }
            for column in spec.columns
        ]
        about = {"name": spec.name, "label": spec.label, "columns": columns, "read_only": spec.read_only}
        return {
            "info": self.document["info"],
            "groups": [group],
            "tables": [],
            "table": about,
            "origin": self.origin,
        }

    def _operations(self, places: Mapping[str, str], spec: TableSpec | None = None) -> list[dict[str, Any]]:
        found = []
        for path, methods in self.document["paths"].items():
            for method, operation in methods.items():
                if spec is None or spec.name in operation["tags"]:
                    found.append(self._operation(path, method.upper(), operation, places, spec))
        return found

    def _operation(
        self, path: str, method: str, operation: Mapping[str, Any], places: Mapping[str, str], spec: TableSpec | None
    ) -> dict[str, Any]:
        names = set(spec.names) if spec is not None else set()
        parameters = [
            {
                "name": parameter["name"],
                "place": parameter["in"],
                "required": parameter.get("required", False),
                "kind": _kind(parameter.get("schema", {})),
                "description": parameter.get("description", ""),
            }
            for parameter in map(self._resolved, operation.get("parameters", ()))
            if not _is_condition(parameter, names)
        ]
        return {
            "id": operation["operationId"],
            "tag": operation["tags"][0],
            "method": method,
            "path": path,
            "summary": operation["summary"],
            "description": operation["description"],
            "parameters": parameters,
            "body": self._body(operation),
            "answers": [(status, self._resolved(one)["description"]) for status, one in operation["responses"].items()],
            "curl": self._curl(path, method, operation, places, spec),
        }

    def _resolved(self, part: Mapping[str, Any]) -> Mapping[str, Any]:
        pointer = part.get("$ref")
        if pointer is None:
            return part
        found: Any = self.document
        for step in str(pointer).removeprefix("#/").split("/"):
            found = found[step]
        return dict(found)

    def _body(self, operation: Mapping[str, Any]) -> dict[str, Any] | None:
        content = operation.get("requestBody", {}).get("content", {})
        if not content:
            return None
        schema = self._resolved(next(iter(content.values()))["schema"])
        required = schema.get("required", [])
        fields = [
            {
                "name": name,
                "label": field.get("title", ""),
                "kind": _kind(field),
                "required": name in required,
                "description": field.get("description", ""),
            }
            for name, field in schema.get("properties", {}).items()
        ]
        return {"media_types": list(content), "fields": fields}

    def _curl(
        self,
        path: str,
        method: str,
        operation: Mapping[str, Any],
        places: Mapping[str, str],
        spec: TableSpec | None,
    ) -> str:
        asked = _PLACE.sub(lambda place: quote(places.get(place[1], place[1].upper()), safe=",~-._"), path)
        query = "?limit=5" if spec is not None and operation["operationId"].startswith("list_") else ""
        words = ["curl", "-H", '"Authorization: Bearer $TOKEN"']
        if method != "GET":
            words += ["-X", method]
        names = {self._resolved(one)["name"] for one in operation.get("parameters", ())}
        if "Idempotency-Key" in names:
            words += ["-H", '"Idempotency-Key: $(uuidgen)"']
        content = operation.get("requestBody", {}).get("content", {})
        if content:
            media_type = JSON if MERGE_PATCH not in content else MERGE_PATCH
            words += ["-H", shlex.quote(f"Content-Type: {media_type}"), "-d", shlex.quote(self._example(content, spec))]
        if operation["operationId"].startswith("export_"):
            words += ["-OJ"]
        return " ".join([*words, shlex.quote(f"{self.origin}{asked}{query}")])

    def _example(self, content: Mapping[str, Any], spec: TableSpec | None) -> str:
        schema = self._resolved(next(iter(content.values()))["schema"])
        properties = schema.get("properties", {})
        names = schema.get("required") or list(properties)[:1]
        by_name = spec.by_name if spec is not None else {}
        values = {
            name: schemas.sample(by_name[name]) if name in by_name else _sample(properties[name]) for name in names
        }
        return msgspec.json.encode(values).decode()


def _is_condition(parameter: Mapping[str, Any], names: set[str]) -> bool:
    """Whether a parameter is a condition on a column: those are shown beside the columns."""
    name = str(parameter["name"])
    return parameter["in"] == "query" and any(
        name in (parameter_of(column), parameter_of(column, op))
        for column in names
        for op in (name.rpartition("__")[2],)
    )


def _kind(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type", "")
    kinds = [str(one) for one in kind] if isinstance(kind, list) else [str(kind)]
    shown = " | ".join(one for one in kinds if one and one != "null") or "any"
    return f"{shown} ({schema['format']})" if "format" in schema else shown


def _sample(schema: Mapping[str, Any]) -> Any:
    kind = _kind(schema)
    if "boolean" in kind:
        return True
    return 1 if "integer" in kind or "number" in kind else "text"
