"""The OpenAPI 3.1 document, made from the table of operations for one reader: his role, his language."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from brique.api import schemas
from brique.api.operation import Answer, Operation, Parameter, Schema
from brique.api.parts import Parts
from brique.api.rows import blob_columns
from brique.api.schemas import Say, component, ref
from brique.api.table import TAGS
from brique.commands import CommandSpec, may
from brique.exports import ListLimits, parameter_of
from brique.http import PROBLEM_JSON, User
from brique.schema import Column, TableSpec
from brique.views import View, sortable


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


VERSION = "1"
FAULTS = {
    400: _("The request cannot be read."),
    401: _("Sign in first, or send an API token."),
    403: _("Not allowed."),
    404: _("Not found."),
    406: _("It cannot be given in the form asked for."),
    409: _("Refused, or the row had changed in the backend."),
    412: _("The row has changed since you read it; `current` holds it as it is now."),
    413: _("Too large."),
    415: _("The body is of a type that is not taken."),
    422: _("Something does not fit; `errors` points at it."),
    503: _("Busy, or the engine is away: try again after Retry-After seconds."),
    507: _("The disk is full, and nothing was kept: try again after Retry-After seconds."),
}
ALWAYS = (401, 403, 406, 503)
HEADERS = {
    "Brique-Age": _("Seconds since the backend confirmed the data."),
    "Brique-Position": _("Position of the store that was read, or that shows the write."),
    "Brique-Receipt": _("The receipt of the write."),
    "Content-Disposition": _("The name of the file."),
    "Content-Location": _("The address of the row under its own key."),
    "ETag": _("Changes when the answer does."),
    "Idempotency-Replayed": _("`true` when the write had been given before with the same key."),
    "Link": _("The pages beside this one, and other forms of it."),
    "Location": _("The new row, or the receipt of what is still pending."),
    "Preference-Applied": _("What was honoured of Prefer."),
    "Retry-After": _("Seconds to wait before asking again."),
}


class Description:
    """The document for one `user` in the language of `t`."""

    def __init__(self, parts: Parts, operations: Sequence[Operation], user: User, t: Say) -> None:
        self.parts, self.operations, self.user, self.t = parts, operations, user, t
        self.limits = ListLimits.of(parts.settings)

    def document(self, server: str) -> dict[str, Any]:
        """The whole of it; `server` is the address that all paths follow."""
        paths: dict[str, dict[str, Any]] = {}
        for operation in self.operations:
            for path, described in self._each(operation):
                paths.setdefault(path, {})[operation.method.lower()] = described
        return {
            "openapi": "3.1.0",
            "info": self._info(),
            "servers": [{"url": server or "/"}],
            "security": [{"token": []}, {"basic": []}],
            "tags": self._tags(),
            "paths": paths,
            "components": self._components(),
        }

    def _info(self) -> dict[str, Any]:
        t = self.t
        text = t(
            "Reads come from the local copy, each answer says how old it is. Writes are kept on disk before they are "
            "acknowledged, shown at once, and sent to their backend when it is there."
        )
        return {
            "title": self.parts.title,
            "version": VERSION,
            "summary": t("The data of this intranet, for programs."),
            "description": text,
            "contact": {"name": self.parts.title},
            "license": {"name": t("For the use of this organisation."), "identifier": "LicenseRef-internal"},
        }

    def _tags(self) -> list[dict[str, str]]:
        tags = [{"name": name, "description": self.t(text)} for name, text in TAGS.items()]
        return tags + [{"name": spec.name, "description": spec.help or spec.label} for spec in self._specs()]

    def _specs(self) -> list[TableSpec]:
        return list(self.parts.specs.values())

    def _commands(self) -> list[CommandSpec]:
        return [spec for spec in self.parts.commands.values() if may(self.user, spec.role)]

    def _views(self) -> list[View]:
        return [view for view in self.parts.views.by_name.values() if may(self.user, view.role)]

    # -- operations ---------------------------------------------------------------------------------------------------

    def _each(self, operation: Operation) -> Iterator[tuple[str, dict[str, Any]]]:
        """(path, operation) of what this reader may call."""
        if not self.user.may(operation.role):
            return
        if operation.per == "":
            yield operation.path, self._operation(operation, operation.name, "", operation.tag)
        elif operation.per == "table":
            for spec in self._specs():
                if (spec.writable or not operation.writes) and (blob_columns(spec) or not operation.blobs):
                    path = operation.path.replace("{table}", spec.name)
                    yield path, self._operation(operation, f"{operation.name}_{spec.name}", spec.label, spec.name, spec)
        elif operation.per == "command":
            for command in self._commands():
                name = f"{operation.name}_{command.name}"
                described = self._operation(operation, name, command.label, operation.tag, command)
                yield operation.path.replace("{command}", command.name), described
        else:
            for view in self._views():
                name = f"{operation.name}_{view.name}"
                described = self._operation(operation, name, view.label, operation.tag, view)
                yield operation.path.replace("{view}", view.name), described

    def _operation(
        self, operation: Operation, name: str, label: str, tag: str, of: TableSpec | CommandSpec | View | None = None
    ) -> dict[str, Any]:
        t = self.t
        summary = label if operation.summary == "{label}" else t(operation.summary, label=label)
        said = [getattr(of, "help", "") if operation.per in ("command", "view") else "", operation.description]
        described: dict[str, Any] = {
            "operationId": component(name),
            "tags": [tag],
            "summary": summary,
            "description": " ".join(t(text) for text in said if text) or summary,
        }
        if parameters := self._parameters(operation, of):
            described["parameters"] = parameters
        if operation.body:
            schema = ref(operation.body.format(table=getattr(of, "name", ""), command=getattr(of, "name", "")))
            content = {media_type: {"schema": schema} for media_type in operation.media_types}
            described["requestBody"] = {"required": not operation.optional_body, "content": content}
        described["responses"] = self._responses(operation, of)
        return described

    def _parameters(self, operation: Operation, of: TableSpec | CommandSpec | View | None) -> list[Schema]:
        parameters = [self._parameter(parameter) for parameter in operation.parameters]
        if operation.lists and isinstance(of, TableSpec):
            parameters += self._list_parameters(of, paged=operation.name == "list")
        if isinstance(of, View):
            for argument in of.parameters:
                shown = {"title": argument.label}
                parameters.append(
                    {
                        "name": argument.name,
                        "in": "query",
                        "required": argument.required,
                        "schema": schemas.of_argument(argument.kind) | shown,
                    }
                )
        return parameters

    def _parameter(self, parameter: Parameter) -> Schema:
        described: Schema = {"name": parameter.name, "in": parameter.place, "description": self.t(parameter.summary)}
        if parameter.required:
            described["required"] = True
        return described | {"schema": parameter.schema}

    def _list_parameters(self, spec: TableSpec, *, paged: bool) -> list[Schema]:
        names = [{"$ref": f"#/components/parameters/{name}"} for name in (PAGED if paged else EXPORTED)]
        sorts = [sign + column.name for column in spec.columns if sortable(column) for sign in ("", "-")]
        description = self.t("One column; `-` before its name for descending.")
        sort = {"name": "sort", "in": "query", "description": description, "schema": {"type": "string", "enum": sorts}}
        return [*names, *([sort] if sorts else []), *(one for column in spec.columns for one in _conditions(column))]

    def _responses(self, operation: Operation, of: object) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for answer in operation.answers:
            known = found.get(str(answer.status))
            content = self._content(answer, getattr(of, "name", ""))
            if known is not None:
                known["content"].update(content)
                continue
            described: dict[str, Any] = {"description": self.t(answer.summary)}
            if answer.headers:
                described["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in answer.headers}
            if content:
                described["content"] = content
            found[str(answer.status)] = described
        kept = () if operation.method == "GET" else (507,)
        for status in sorted({*ALWAYS, *operation.faults, *kept}):
            found[str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
        return found

    def _content(self, answer: Answer, name: str) -> dict[str, Any]:
        if answer.schema is None:
            return {}
        is_name = isinstance(answer.schema, str)
        schema = ref(str(answer.schema).replace("{table}", name)) if is_name else answer.schema
        return {answer.media_type: {"schema": schema}}

    # -- components ---------------------------------------------------------------------------------------------------

    def _components(self) -> dict[str, Any]:
        t = self.t
        found = schemas.shared()
        for spec in self._specs():
            found.update(schemas.of_table(spec, t))
        for command in self._commands():
            found[component(f"command_{command.name}")] = schemas.of_command(command)
        problem = {PROBLEM_JSON: {"schema": ref("Problem")}}
        return {
            "schemas": found,
            "responses": {f"Problem{n}": {"description": t(text), "content": problem} for n, text in FAULTS.items()},
            "headers": {name: {"description": t(text), "schema": {"type": "string"}} for name, text in HEADERS.items()},
            "parameters": {parameter.name: self._parameter(parameter) for parameter in list_parameters(self.limits)},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": t("An API token.")},
                "basic": {"type": "http", "scheme": "basic", "description": t("Any name, an API token as password.")},
            },
        }


PAGED = ("q", "columns", "limit", "after", "before")
EXPORTED = ("q", "columns", "_separator", "_headings", "_notes", "_labels")


def list_parameters(limits: ListLimits) -> list[Parameter]:
    """The parameters that every list and export takes, whatever its columns."""
    text: Schema = {"type": "string"}
    number = {"type": "integer", "minimum": 1, "maximum": limits.rows_max, "default": limits.rows_default}
    search = {"type": "string", "maxLength": limits.search_chars_max}
    flag = {"type": "boolean"}
    return [
        Parameter("q", "query", search, _("Words that all stand somewhere in the row, or in a row that it refers to.")),
        Parameter("columns", "query", text, _("Names of columns between commas: only these, in this order.")),
        Parameter("limit", "query", number, _("Rows on a page.")),
        Parameter("after", "query", text, _("The page after the row of this cursor; see `next`.")),
        Parameter("before", "query", text, _("The page before the row of this cursor; see `previous`.")),
        Parameter(
            "_separator",
            "query",
            {"type": "string", "enum": [",", ";", "tab"], "default": ","},
            _("CSV: what stands between values; with `;` the decimal mark is a comma."),
        ),
        Parameter(
            "_headings",
            "query",
            {"type": "string", "enum": ["label", "name"], "default": "label"},
            _("CSV: headings for people, or the names of the columns."),
        ),
        Parameter("_notes", "query", flag | {"default": True}, _("CSV: age and conditions below the rows.")),
        Parameter("_labels", "query", flag | {"default": False}, _("Beside each reference, what its row is called.")),
    ]


def _conditions(column: Column) -> Iterator[Schema]:
    for op, schema in schemas.comparisons(column):
        yield {"name": parameter_of(column.name, op), "in": "query", "schema": schema}
