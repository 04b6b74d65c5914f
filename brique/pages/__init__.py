"""The pages that people see: lists, rows, forms, dashboards, outbox and status, all of them from the copy."""

from starlette.requests import Request
from starlette.responses import Response

from brique.http import Render, Routes
from brique.pages import boards, follow, home, lists, lookup, outbox, rows, status, writes
from brique.pages.assets import contents as asset_files
from brique.pages.panel import Panel, note_statement, note_view, watching
from brique.pages.parts import DemoPanel, Parts, StatusFacts
from brique.pages.render import renderer

__all__ = [
    "DemoPanel",
    "Panel",
    "Parts",
    "Render",
    "StatusFacts",
    "asset_files",
    "note_statement",
    "note_view",
    "renderer",
    "routes",
    "watching",
]


def routes(parts: Parts) -> Routes:
    """Every page of an intranet."""
    table = Routes()
    table.get("/favicon.ico", _no_icon, role=None, name="favicon")
    for module in (writes, lists, rows, lookup, follow, outbox, status, home, boards):
        table.include(module.routes(parts))
    return table


async def _no_icon(_: Request) -> Response:
    """Each page carries its icon; browsers that ask for a file all the same are told that there is none."""
    return Response(status_code=204, headers={"Cache-Control": "public, max-age=86400"})
