"""How this room's pages become HTML: by the function that is handed in, or plainly when there is none.

The pages room hands in a `Render` whose environment also finds the templates of this room (`TEMPLATES`) and has a
"base.html" with the blocks `title` and `content`. `plain_render` is the same with a bare base: enough for tests, and
for the error page of a render that is itself at fault.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, DictLoader, Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request

from brique.http.language import language_of, speaker
from brique.http.site import at

Render = Callable[[str, Request, Mapping[str, Any]], str]
"""(template name, request, context) to HTML text. Called on the event loop: it must not wait for anything."""

TEMPLATES = Path(__file__).parent / "templates"

BARE_BASE = """<!doctype html>
<html lang="{{ language }}">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{% block title %}{% endblock %}</title></head>
<body><main>{% block content %}{% endblock %}</main></body>
</html>
"""


@cache
def plain_environment() -> Environment:
    loader = ChoiceLoader([FileSystemLoader(TEMPLATES), DictLoader({"base.html": BARE_BASE})])
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def plain_render(template: str, request: Request, context: Mapping[str, Any]) -> str:
    """A `Render` on a bare base page."""
    return plain_environment().get_template(template).render(own_context(request, context))


def own_context(request: Request, context: Mapping[str, Any]) -> dict[str, Any]:
    """What every template of this room may use, beside its own `context`: t, _, language, user, csrf, at."""
    language = language_of(request)
    user = request.scope.get("state", {}).get("user")
    t = speaker(language)
    common = {
        "t": t,
        "_": t,
        "language": language,
        "user": user,
        "csrf": user.csrf if user is not None else "",
        "at": lambda path: at(request.scope, path),
    }
    return {**common, **context}
