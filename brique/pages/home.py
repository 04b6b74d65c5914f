"""The page at `/` of an intranet that declares no dashboard there: its tables, their ages, and what changed lately."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from brique.errors import BriqueError
from brique.http import Routes, at, language_of
from brique.pages.age import oldest
from brique.pages.frame import Frame
from brique.pages.lists import table_groups
from brique.pages.parts import Parts
from brique.pages.render import page
from brique.pages.speaking import formats_of
from brique.views import ChangesForgotten, Copy, LoggedChange, StoredRow, label_of

CHANGES_MAX = 8
_LOOKED_AT = 40


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


@dataclass(frozen=True)
class Recent:
    """A row that changed. `href` is empty when it is gone."""

    table: str
    label: str
    href: str
    what: str
    at: datetime | None


def routes(parts: Parts) -> Routes:
    """`/`, unless a view stands there."""
    table = Routes()
    if any(view.path == "/" for view in parts.views.by_name.values()):
        return table

    def home(request: Request) -> Response:
        formats = formats_of(language_of(request, parts.languages), parts.timezone.key)
        with parts.borrow() as copy, copy.snapshot():
            context = Frame(parts).context(
                request,
                title=parts.title,
                current="home",
                tables=parts.specs,
                copy=copy,
                **_facts(parts, request, copy),
            )
        return page(parts, request, "home.html", {**context, "title": formats.t(_("Home"))})

    table.get("/", home, name="home")
    return table


def _facts(parts: Parts, request: Request, copy: Copy) -> dict[str, Any]:
    groups = table_groups(parts, copy)
    tables = [facts for _label, rows in groups for facts in rows]
    loaded = [facts for facts in tables if facts.state is not None and facts.state.loaded]
    return {
        "groups": groups,
        "rows_total": sum(facts.state.rows for facts in loaded if facts.state is not None),
        "tables_total": len(tables),
        "tables_loaded": len(loaded),
        "age": oldest(parts, copy.backend_states(), tuple(parts.backends)),
        "recent": _recent(parts, request, copy),
    }


def _recent(parts: Parts, request: Request, copy: Copy) -> list[Recent]:
    """The rows that changed last, each once, newest first."""
    try:
        changes = copy.changes_since(max(0, copy.seq() - _LOOKED_AT), _LOOKED_AT)
    except (ChangesForgotten, BriqueError):
        return []
    formats = formats_of(language_of(request, parts.languages), parts.timezone.key)
    found: dict[tuple[str, str], Recent] = {}
    for change in reversed(changes):
        spec = parts.specs.get(change.table)
        if spec is None or change.key is None or (change.table, change.key) in found:
            continue
        found[change.table, change.key] = _one(parts, request, change, formats.t)
        if len(found) == CHANGES_MAX:
            break
    return list(found.values())


def _one(parts: Parts, request: Request, change: LoggedChange, t: Any) -> Recent:
    spec, key = parts.specs[change.table], change.key or ""
    values = dict.fromkeys(spec.names) | (change.after or change.before or {})
    what = t(_("made")) if change.before is None else t(_("deleted")) if change.after is None else t(_("changed"))
    href = "" if change.after is None else at(request.scope, f"/tables/{spec.name}/{key}")
    return Recent(spec.label, label_of(spec, StoredRow(key, 0, 0, values)), href, what, change.at)
