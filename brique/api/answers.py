"""What surrounds every handler: what it is asked for and may be sent is checked, and faults become problems."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from brique.api.operation import JSON, Operation
from brique.api.rows import full
from brique.errors import BadInput, BriqueError, NotAllowed, NotFound, Stale
from brique.exports import near
from brique.http import PROBLEM_JSON, TITLES, best_accept, describe, header, language_of, problem
from brique.schema import Row, TableSpec
from brique.words import translate


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


class NotAcceptable(BriqueError):
    """The caller takes none of the forms in which this can be given."""

    status = 406
    code = "not-acceptable"


class WrongMediaType(BriqueError):
    """The body is of a form that this operation does not take; `accepted` are those it does."""

    status = 415
    code = "media-type"

    def __init__(self, message: str, *, accepted: tuple[str, ...], method: str) -> None:
        super().__init__(message, try_this=_("Send one of: {accepted}."), accepted=", ".join(accepted))
        self.headers = {"Accept-Patch" if method == "PATCH" else "Accept-Post": ", ".join(accepted)}


class Unreadable(BriqueError):
    """The body is not what its type says."""

    status = 400
    code = "bad-request"


class Refusal(BriqueError):
    """A command that the backend has refused by now; facts `receipt`, `reason`."""

    status = 409
    code = "refused"


class Conflict(BriqueError):
    """A command whose row had changed in the backend; facts `receipt`, `theirs`."""

    status = 409
    code = "conflict"


OWN_TITLES = {
    "not-acceptable": _("Not in that form"),
    "media-type": _("Not in that form"),
    "conflict": _("Changed in the backend"),
}


class Answered:
    """The handler of an operation with what surrounds it; called as a handler is, on the loop or in a thread."""

    def __init__(self, operation: Operation, specs: Mapping[str, TableSpec]) -> None:
        self.operation = operation
        self._specs = specs
        self._forms = (*operation.produces, PROBLEM_JSON)

    def _check(self, request: Request) -> None:
        """Raises NotAcceptable, and BadInput for a query parameter that nobody reads."""
        operation = self.operation
        if best_accept(header(request.scope, b"accept"), self._forms) is None:
            raise NotAcceptable(_("This can be given as {offered} only."), offered=", ".join(operation.produces))
        if operation.lists or operation.per == "view" or not request.scope.get("query_string"):
            return
        given = list(request.query_params)
        unknown = [name for name in given if name not in operation.query_names]
        if unknown:
            close = near(unknown[0], sorted(operation.query_names))
            raise BadInput(
                _("There is no {name} here."),
                fields=dict.fromkeys(unknown, _("There is no such parameter.")),
                try_this=_("Did you mean {near}?") if close else "",
                where="query",
                name=unknown[0][:80],
                near=close,
            )
        twice = [name for name in given if len(request.query_params.getlist(name)) > 1]
        if twice:
            fields = dict.fromkeys(twice, _("Is given twice."))
            raise BadInput(_("Some parameters need another value."), fields=fields, where="query")

    def _problem(self, fault: BriqueError, request: Request) -> Response:
        language = language_of(request)
        extensions = self._extensions(fault, language)
        response = problem(fault, request, **extensions)
        for name, value in getattr(fault, "headers", {}).items():
            response.headers[name] = value
        etag = fault.facts.get("etag")
        if isinstance(etag, str):
            response.headers["ETag"] = etag
        return response

    def _extensions(self, fault: BriqueError, language: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if fault.code not in TITLES and fault.code in OWN_TITLES:
            found["title"] = translate(OWN_TITLES[fault.code], language)
        where = fault.facts.get("where")
        if isinstance(fault, BadInput) and where in ("query", "header", "path"):
            described = describe(fault, language).get("errors", [])
            names = list(fault.fields)
            key = "parameter" if where == "query" else str(where)
            found["errors"] = [
                {key: name, "detail": error["detail"]} for name, error in zip(names, described, strict=True)
            ]
        if isinstance(fault.facts.get("receipt"), str):
            found["receipt"] = fault.facts["receipt"]
        reason = fault.facts.get("reason")
        if isinstance(fault, NotAllowed) and isinstance(reason, str) and reason:
            found["reason"] = translate(reason, language)
        theirs, table = fault.facts.get("theirs"), fault.facts.get("table")
        spec = self._specs.get(str(table))
        if isinstance(fault, (Stale, Conflict)) and spec is not None:
            found["current" if isinstance(fault, Stale) else "theirs"] = _values(spec, theirs)
        return found


def _values(spec: TableSpec, row: object) -> dict[str, Any] | None:
    return full(spec, row) if isinstance(row, dict) else None


class AnsweredInThread(Answered):
    """A plain handler: it runs in a thread, where it may read the copy."""

    def __call__(self, request: Request) -> Response:
        try:
            self._check(request)
            answer = self.operation.handler(request)
            assert isinstance(answer, Response)
        except BriqueError as fault:
            return self._problem(fault, request)
        return answer


class AnsweredOnLoop(Answered):
    """A coroutine handler: it awaits the desk."""

    async def __call__(self, request: Request) -> Response:
        try:
            self._check(request)
            answer = self.operation.handler(request)
            assert inspect.isawaitable(answer)
            return await answer
        except BriqueError as fault:
            return self._problem(fault, request)


def answered(operation: Operation, specs: Mapping[str, TableSpec]) -> AnsweredInThread | AnsweredOnLoop:
    """`operation`'s handler, surrounded."""
    awaits = inspect.iscoroutinefunction(operation.handler)
    return AnsweredOnLoop(operation, specs) if awaits else AnsweredInThread(operation, specs)


def no_such(what: str, name: str, names: list[str]) -> NotFound:
    """The fault of an unknown table, view or command, with the nearest right name. `what` is its whole sentence."""
    close = near(name, names)
    try_this = _("Did you mean {near}?") if close else ""
    return NotFound(what, try_this=try_this, name=name[:80], near=close)


__all__ = ["JSON", "PROBLEM_JSON", "Conflict", "Refusal", "Row", "Unreadable", "WrongMediaType", "answered", "no_such"]
