"""Templates into pages: ours, and those of the server itself (sign-in, account, errors), which look alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from brique.http import Render, language_of, wants_events
from brique.observe import tracing
from brique.pages.follow import following
from brique.pages.frame import Frame, take_flash
from brique.pages.parts import Parts
from brique.pages.speaking import environment_of


def page(
    parts: Parts,
    request: Request,
    template: str,
    context: Mapping[str, Any],
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """`template` filled with `context` (of `Frame.context`, and the page's own) as an answer; for a caller who wants
    events, those of the page."""
    if wants_events(request.scope) and context.get("live") and status == 200:
        return following(parts, request, context["live"])
    return take_flash(request, HTMLResponse(html(parts, request, template, context), status, headers))


def html(parts: Parts, request: Request, template: str, context: Mapping[str, Any]) -> str:
    """`template` filled with `context`, in the reader's language."""
    env = environment_of(language_of(request, parts.languages), parts.timezone.key)
    trace = tracing()
    if trace is not None:
        with trace.phase("render"):
            return env.get_template(template).render(context)
    return env.get_template(template).render(context)


def renderer(parts: Parts) -> Render:
    """The `Render` for the server's own pages: the same frame around them."""

    def render(template: str, request: Request, context: Mapping[str, Any]) -> str:
        around = Frame(parts).context(request)
        return html(parts, request, template, {**around, **context})

    return render
