"""JSON for programs: the same tables, searches and writes as the pages, described by OpenAPI.

`routes(parts, render)` is one table of operations; routes and description are made from the same rows.
"""

from __future__ import annotations

from brique.api.operation import Operation
from brique.api.parts import Parts
from brique.api.routes import Api
from brique.http import Render, Routes, plain_render


def routes(parts: Parts, render: Render = plain_render) -> Routes:
    """The routes of the API over `parts`; `render` makes the pages of `/api/docs`."""
    return Api(parts, render).routes()


__all__ = ["Api", "Operation", "Parts", "routes"]
