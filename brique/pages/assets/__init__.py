"""What the browser fetches beside the page: one style sheet and one script.

`brique.js` is htmx and our own script in one file, so that a cold page is three requests. `contents()` is meant for
`brique.http`, which serves files under an address that carries their hash, compressed once, kept for ever.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from markupsafe import Markup

# Each asset by the name that templates use, and the files of this folder that make it up, in order.
_PARTS = {
    "brique.css": ("brique.css",),
    "brique.js": ("vendor/htmx-4.0.1.min.js", "brique.js"),
    "panel.css": ("panel.css",),
    "hx-sse.js": ("vendor/hx-sse-4.0.1.min.js",),
}


@cache
def contents() -> dict[str, bytes]:
    """The bytes of every asset by its name."""
    return {name: "\n".join(map(_part, parts)).encode() for name, parts in _PARTS.items()}


def icon(name: str) -> Markup:
    """The Lucide icon `name` as inline SVG that takes the colour of its text. KeyError when it was not vendored."""
    return Markup('<svg class="icon" viewBox="0 0 24 24" aria-hidden="true">{}</svg>').format(_icons()[name])


def slim(text: str, *, line_comments: bool) -> str:
    """`text` (CSS, or JavaScript with `line_comments`) without whole-line comments, indentation and empty lines.

    Comments that share a line with code stay, so that no string is ever taken for a comment.
    """
    if not line_comments:
        text = re.sub(r"^[ \t]*/\*.*?\*/[ \t]*$", "", text, flags=re.DOTALL | re.MULTILINE)
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not (line_comments and line.startswith("//")))


def _part(name: str) -> str:
    text = files(__name__).joinpath(name).read_text("utf-8")
    return text if name.startswith("vendor/") else slim(text, line_comments=name.endswith(".js"))


@cache
def _icons() -> dict[str, Markup]:
    text = files(__name__).joinpath("icons.svg").read_text("utf-8")
    return {name: Markup(body) for name, body in re.findall(r'<symbol id="([^"]+)"[^>]*>(.*?)</symbol>', text)}  # noqa: S704 - our own file
