"""Dashboards and views as pages: the bytes that are kept ready, drawn as figures, charts, lists, facts and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

import msgspec
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from brique.commands import may
from brique.errors import BadInput, NotAllowed
from brique.http import ROLES, Role, Routes, User, at, language_of, respond, user_of, wants_json
from brique.live import Last
from brique.pages import charts
from brique.pages.age import oldest
from brique.pages.data import Data, number_of
from brique.pages.format import DASH, Formats
from brique.pages.frame import Frame
from brique.pages.parts import Parts
from brique.pages.render import page
from brique.pages.speaking import formats_of
from brique.pages.standing import sign_of, stand
from brique.schema import Kind
from brique.views import Parameter, Representation, View

_INPUTS = {
    Kind.INTEGER: "integer",
    Kind.DECIMAL: "number",
    Kind.REAL: "number",
    Kind.DATE: "date",
    Kind.DATETIME: "datetime",
    Kind.BOOLEAN: "check",
}

_ADDRESSES = ("https://", "http://", "mailto:", "?", "#")


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


def routes(parts: Parts) -> Routes:
    """One route for each declared view, at its own address."""
    boards = Boards(parts)
    table = Routes()
    for view in parts.views.by_name.values():
        role: Role = next((role for role in ROLES if role == view.role), "read")
        table.get(view.path, boards.handler(view), role=role, name=f"view-{view.name}")
    return table


@dataclass(frozen=True)
class Panel:
    """A chart or short list. `width`: "", wide or full."""

    title: str
    html: Markup
    width: str = ""
    href: str = ""


@dataclass(frozen=True)
class Tile:
    """A figure as the page shows it."""

    label: str
    value: str
    delta: str = ""
    points: Sequence[float] = ()
    href: str = ""


class Boards:
    """The handlers of views."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def handler(self, view: View) -> Any:
        """What answers at the address of `view`."""

        def show(request: Request) -> Response:
            return self._show(view, request)

        return show

    def _show(self, view: View, request: Request) -> Response:
        user = user_of(request)
        if not may(user, view.role):
            raise NotAllowed(_("Your role does not allow this."))
        given = _given(view, request)
        faults: dict[str, str] = {}
        shown: Representation | None = None
        asked = all(parameter.name in given for parameter in view.parameters if parameter.required)
        if asked:
            try:
                shown = self.parts.views.get(view.name, given, user)
            except BadInput as fault:
                if wants_json(request.scope) or not fault.fields:
                    raise
                faults = fault.fields
        if shown is not None and wants_json(request.scope):
            return respond(request, shown.body, "application/json", etag=shown.etag)
        formats = formats_of(language_of(request, self.parts.languages), self.parts.timezone.key)
        board = _Board(self.parts, request, view, user, formats)
        context = board.context(given, shown, faults)
        template = "dashboard.html" if view.kind == "dashboard" else "view.html"
        response = page(self.parts, request, template, context, 422 if faults else 200)
        if shown is None:
            return response
        holds = partial(self.parts.views.stands, view.name, given, user, shown)
        return stand(self.parts, request, response, board.sign, context["age"], holds=holds, until=shown.until)


def _given(view: View, request: Request) -> dict[str, str]:
    """The arguments in the address; what a form left empty is not given."""
    given = {name: text for name, text in request.query_params.items() if text}
    return {**given, **request.path_params}


class _Board:
    """One view on its way to a page."""

    def __init__(self, parts: Parts, request: Request, view: View, user: User, formats: Formats) -> None:
        self.parts, self.request, self.view, self.user, self.formats = parts, request, view, user, formats
        self.data = Data(parts.specs, formats, self.at)
        self.sign = ""

    def at(self, path: str) -> str:
        """An address of ours with the prefix that we are mounted below; a web or mail address as it is; "" for any
        other, since a view may take it from the data (`javascript:`)."""
        if path.startswith("/") and not path.startswith("//"):
            return at(self.request.scope, path)
        return path if path.startswith(_ADDRESSES) else ""

    def context(
        self, given: Mapping[str, str], shown: Representation | None, faults: Mapping[str, str]
    ) -> dict[str, Any]:
        view, t = self.view, self.formats.t
        with self.parts.borrow() as copy, copy.snapshot():
            current = "home" if view.path == "/" else f"view:{view.name}"
            names = tuple(self.parts.backends)
            around = Frame(self.parts).context(
                self.request, title=view.label, current=current, tables=self.parts.specs, copy=copy
            )
            age = oldest(self.parts, copy.backend_states(), names)
            self.sign = "" if shown is None or shown.stale_error else sign_of(self.request, copy)
        question = urlencode({"view": view.name, **given})
        known: Any = msgspec.json.decode(shown.body) if shown is not None else None
        if shown is not None:  # who follows from here has seen this, however it has changed meanwhile
            around["pulse"] = Last.text(around["pulse"], [shown.mark])
        context = {
            **around,
            "view": view,
            "age": age if names else None,
            "live": self.at("/-/live") + f"?{question}" if shown is not None else around["live"],
            "stale_error": self._stale(shown),
            "fields": [self._field(parameter, given, faults) for parameter in view.parameters if not parameter.in_path],
            "is_asked": shown is not None,
            "action": self.request.url.path,
            "json_href": self._json_href(given),
        }
        if shown is None:
            return {**context, "tiles": [], "panels": [], "html": Markup()}
        if view.kind == "dashboard":
            tiles, panels = self._tiles(known.get("tiles", []))
            return {**context, "tiles": tiles, "panels": panels, "empty": t(_("Nothing here."))}
        return {**context, "html": self.data.html(known)}

    def _json_href(self, given: Mapping[str, str]) -> str:
        question = urlencode(given)
        return self.at(f"/api/views/{self.view.name}") + (f"?{question}" if question else "")

    def _stale(self, shown: Representation | None) -> str:
        """What to say when the view fails and these are its last good bytes; "" when all is well."""
        if shown is None or not shown.stale_error:
            return ""
        f = self.formats
        said = f.t(_("This view fails; what you see is of {moment}."), moment=f.datetime(shown.made_at))
        return f"{said} {shown.stale_error}" if may(self.user, "admin") else said

    def _field(self, parameter: Parameter, given: Mapping[str, str], faults: Mapping[str, str]) -> dict[str, Any]:
        t = self.formats.t
        fault = faults.get(parameter.name, "")
        kind = "reference" if parameter.table else _INPUTS.get(parameter.kind, "text")
        value = given.get(parameter.name, "")
        label = ""
        if parameter.table and value:
            with self.parts.borrow() as copy:
                label = copy.labels(parameter.table, [value]).get(value, value)
        return {
            "name": parameter.name,
            "label": parameter.label,
            "kind": kind,
            "value": value,
            "value_label": label,
            "lookup_url": self.at(f"/lookup/{parameter.table}") if parameter.table else "",
            "required": parameter.required,
            "error": t(fault) if fault else "",
        }

    # dashboards

    def _tiles(self, given: Sequence[Mapping[str, Any]]) -> tuple[list[Tile], list[Panel]]:
        tiles, panels = [], []
        for tile in given:
            if tile["tile"] == "figure":
                tiles.append(self._figure(tile))
            elif tile["tile"] == "chart":
                panels.append(self._chart(tile))
            else:
                panels.append(self._short_list(tile))
        return tiles, panels

    def _figure(self, tile: Mapping[str, Any]) -> Tile:
        f = self.formats
        number = number_of(tile["value"])
        value = f.compact(number) if number is not None else self.data.label(tile["value"])
        delta = tile.get("delta")
        shown = "" if delta is None else f.percent(delta, signed=True) if delta else t_same(f)
        points = [float(point) for item in tile.get("series", ()) if (point := number_of(item)) is not None]
        return Tile(tile["label"], value or DASH, shown, points, self.at(tile.get("href") or ""))

    def _chart(self, tile: Mapping[str, Any]) -> Panel:
        f = self.formats
        title, kind = tile["label"], tile["kind"]
        labels = [self.data.label(item) for item in tile["labels"]]
        series = {one["label"]: [number_of(value) for value in one["values"]] for one in tile["series"]}
        first = next(iter(series.values()), [])
        t, number, tick = f.t, f.number, f.compact
        if kind == "donut":
            drawn = charts.donut(labels, first, title=title, number=number, tick=tick, percent=f.percent, t=t)
            return Panel(title, drawn, "", self.at(tile.get("href") or ""))
        if kind == "hbar":
            drawn = charts.horizontal_bars(labels, first, title=title, number=number, t=t)
            return Panel(title, drawn, "", self.at(tile.get("href") or ""))
        if kind == "bar":
            drawn = charts.bars(labels, series, title=title, number=number, tick=tick, t=t)
        else:
            drawn = charts.lines(labels, series, title=title, area=kind == "area", number=number, tick=tick, t=t)
        return Panel(title, drawn, "wide", self.at(tile.get("href") or ""))

    def _short_list(self, tile: Mapping[str, Any]) -> Panel:
        rows, names = tile["rows"], tile.get("columns") or ()
        if not rows:
            html = Markup('<p class="hush">{}</p>').format(self.formats.t(_("Nothing here.")))
            return Panel(tile["label"], html, "", self.at(tile.get("href") or ""))
        html = self.data.table(rows, names, tile.get("table") or "")
        width = "wide" if len(names or rows[0]) > 3 else ""
        return Panel(tile["label"], html, width, self.at(tile.get("href") or ""))


def t_same(formats: Formats) -> str:
    """What stands for no change at all."""
    return formats.t(_("= before"))
