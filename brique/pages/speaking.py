"""One environment for each language and time zone, and the formats that it speaks with: made once, kept."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment

from brique.http import TEMPLATES
from brique.pages.format import Formats
from brique.pages.look import environment


@cache
def environment_of(language: str, timezone: str) -> Environment:
    """The templates of this room and of the server's own pages. `asset` comes with the context of each page."""
    return environment(language, timezone, asset=lambda name: name, folders=[TEMPLATES])


@cache
def formats_of(language: str, timezone: str) -> Formats:
    """How values are written for readers of `language` in `timezone`."""
    return Formats(language, timezone)
