"""Rows that a person may mean by what he types in a field: JSON for the combobox, quick at any size."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from brique.errors import BadInput
from brique.http import Routes, no_such_page
from brique.pages.parts import Parts
from brique.schema import TableSpec
from brique.views import Copy

SHOWN_MAX = 20
_QUERY_CHARS_MAX = 200


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


def routes(parts: Parts) -> Routes:
    """`/lookup/{table}?q=`: {"items": [{"key", "label"}, …], "more": bool}. With `by=column`, `key` is the value of
    that column as the API writes it, else the key of the row."""

    def look_up(request: Request) -> Response:
        spec = parts.specs.get(request.path_params["table"])
        if spec is None:
            raise no_such_page()
        by = request.query_params.get("by", "")
        if by and by not in spec.by_name:
            raise BadInput(_("There is no such column."), fields={"by": "There is no such column."}, where="query")
        text = request.query_params.get("q", "")[:_QUERY_CHARS_MAX]
        with parts.borrow() as copy, copy.snapshot():
            found = copy.lookup(spec.name, text, SHOWN_MAX + 1)
            items = [{"key": _value(copy, spec, key, by), "label": label} for key, label in found[:SHOWN_MAX]]
        body = msgspec.json.encode({"items": items, "more": len(found) > SHOWN_MAX})
        return Response(body, media_type="application/json")

    table = Routes()
    table.get("/lookup/{table}", look_up, name="lookup")
    return table


def _value(copy: Copy, spec: TableSpec, key: str, by: str) -> str:
    """What a form or filter sends for the row with this key."""
    if not by:
        return key
    row = copy.row(spec.name, key)
    value = None if row is None else row.values[by]
    return "" if value is None else str(spec.by_name[by].json(value))
