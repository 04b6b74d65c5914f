"""The routes of the API and of its description."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from brique.api.answers import answered, no_such
from brique.api.context import Context
from brique.api.describe import Description
from brique.api.docs import Docs
from brique.api.following import Followable
from brique.api.operation import Operation
from brique.api.parts import Parts
from brique.api.table import operations
from brique.commands import may
from brique.errors import BriqueError
from brique.http import Handler, Render, Routes, User, etag_of, language_of, own_context, plain_render, respond, user_of
from brique.schema import TableSpec
from brique.views import ListQuery
from brique.words import translate

DOCUMENT = "application/json"
_KEPT_MAX = 50


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


class Api:
    """The API of an intranet. `render` makes the pages of its documentation."""

    def __init__(self, parts: Parts, render: Render = plain_render) -> None:
        self.parts, self.render = parts, render
        self.operations = operations(parts, Context(parts))
        self._documents: dict[tuple[str, ...], tuple[bytes, dict[str, object], str]] = {}
        self._lock = threading.Lock()

    def routes(self) -> Routes:
        """A row for each operation, and for the description."""
        routes = Routes()
        for operation in sorted(self.operations, key=_vagueness):
            if operation.is_followable:
                handler: Handler = Followable(operation, self.parts.specs, self.parts)
            else:
                handler = answered(operation, self.parts.specs)
            routes.route((operation.method,), operation.path, handler, role=operation.role)
        routes.get("/openapi.json", self.openapi, name="openapi")
        routes.get("/api/docs", self.docs, name="api_docs")
        routes.get("/api/docs/{table}", self.docs_of_table, name="api_docs_table")
        return routes

    def openapi(self, request: Request) -> Response:
        """The OpenAPI document for who asks."""
        body, _document, etag = self._document(request)
        return respond(request, body, DOCUMENT, etag=etag, headers={"Vary": "Accept-Language"})

    def docs(self, request: Request) -> Response:
        """The documentation: what all calls share, and where the rest is."""
        page = self._docs(request).overview(self.parts.specs)
        return self._page(request, page, title=_("API"))

    def docs_of_table(self, request: Request) -> Response:
        """The documentation of one table."""
        name = request.path_params["table"]
        spec = self.parts.specs.get(name)
        if spec is None:
            raise no_such(_("There is no table {name}."), name, list(self.parts.specs))
        page = self._docs(request).of_table(spec, self._some_key(spec))
        return self._page(request, page, title=spec.label)

    def _page(self, request: Request, page: Mapping[str, object], *, title: str) -> Response:
        shown = translate(title, language_of(request))
        html = self.render("api.html", request, own_context(request, {**page, "title": shown}))
        return HTMLResponse(html)

    def _docs(self, request: Request) -> Docs:
        _body, document, _etag = self._document(request)
        language = language_of(request)

        def t(text: str, **values: object) -> str:
            return translate(text, language, **values)

        return Docs(document, str(request.base_url), t)

    def _document(self, request: Request) -> tuple[bytes, dict[str, object], str]:
        """(bytes, document, ETag), made once for each role, language and place that it is mounted at."""
        user, language = user_of(request), language_of(request)
        prefix = str(request.scope.get("root_path", ""))
        asked = (*self._rights(user), language, prefix)
        known = self._documents.get(asked)
        if known is None:

            def t(text: str, **values: object) -> str:
                return translate(text, language, **values)

            document = Description(self.parts, self.operations, user, t).document(prefix)
            body = Context(self.parts).encode(document)
            known = (body, document, etag_of(body))
            with self._lock:
                if len(self._documents) >= _KEPT_MAX:
                    self._documents.clear()
                self._documents[asked] = known
        return known

    def _rights(self, user: User) -> tuple[str, ...]:
        """What the document depends on: the role, and which commands and views it opens."""
        commands = [spec.name for spec in self.parts.commands.values() if may(user, spec.role)]
        views = [view.name for view in self.parts.views.by_name.values() if may(user, view.role)]
        return (user.role, ",".join(commands), ",".join(views))

    def _some_key(self, spec: TableSpec) -> str:
        """The key of a row, for examples; a word in capitals while there is none."""
        try:
            with self.parts.borrow() as copy:
                rows = copy.browse(spec.name, ListQuery(limit=1)).rows
        except BriqueError:  # the page must come out while the engine is away
            rows = []
        return rows[0].key if rows else "KEY"


def _vagueness(operation: Operation) -> bool:
    """A path whose last place has an ending goes before the same without: `{table}.{format}` is no name of a table."""
    return ".{format}" not in operation.path
