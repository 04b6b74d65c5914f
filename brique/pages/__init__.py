"""The pages that people see: lists, rows, forms, dashboards, outbox and status, all of them from the copy."""

from brique.http import Render, Routes
from brique.pages import outbox, status, writes
from brique.pages.assets import contents
from brique.pages.parts import DemoPanel, Parts, StatusFacts
from brique.pages.render import renderer

__all__ = ["DemoPanel", "Parts", "Render", "StatusFacts", "contents", "renderer", "routes"]


def routes(parts: Parts) -> Routes:
    """Every page of an intranet."""
    table = Routes()
    for module in (writes, outbox, status):
        table.include(module.routes(parts))
    return table
