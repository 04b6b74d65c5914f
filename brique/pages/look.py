"""The templates' surroundings: one Jinja environment for each language, with words, formats, icons and charts.

Everything that depends on the language is a global of its environment, so that macros are compiled once and need no
context. Templates are strict: a name that a page forgot to give is an error, not an empty place.

What `base.html` reads from the page's context, all of it optional:
`title` (the heading; or the blocks `title` and `content`), `brand`, `theme` ("light", "dark" or ""), `csrf`,
`at` (path to address, when mounted below a prefix), `user` (name, role); without user and menu the page is a bare
card in the middle, as for sign-in,
`menu`: groups {label, links: [{label, href, current, badge, badge_kind}]},
`banners`: [(title, text, action_label, action_href, kind)], kind one of warn, bad, info, ok,
`flashes`: [(kind, text)], `account_links`: [(label, href)], `language_links`: [(label, href, current)],
`live`: address of the page's event stream, `pills`: [(text, kind)] beside the title, `back`: where the arrow leads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PackageLoader, StrictUndefined

from brique.pages import charts
from brique.pages.assets import icon
from brique.pages.format import Formats, date_shape


def environment(
    language: str,
    timezone: str = "UTC",
    *,
    asset: Callable[[str], str],
    folders: Sequence[Path] = (),
) -> Environment:
    """The environment that renders pages in `language`, with times of `timezone`. Make it once and keep it.

    `asset` gives the address of `brique.css` and `brique.js`. Templates in `folders` win over ours of the same name.
    Raises BadConfiguration for an unknown language or zone.
    """
    formats = Formats(language, timezone)
    env = Environment(
        loader=ChoiceLoader([*map(FileSystemLoader, folders), PackageLoader("brique.pages")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.globals.update(
        lang=language,
        t=formats.t,
        f=formats,
        icon=icon,
        asset=asset,
        chart=_charts(formats),
        date_shape=" ".join(date_shape(language)),
    )
    return env


def _charts(formats: Formats) -> SimpleNamespace:
    """The charts, speaking as `formats` does."""
    number, tick, t = formats.number, formats.compact, formats.t
    return SimpleNamespace(
        bars=partial(charts.bars, number=number, tick=tick, t=t),
        lines=partial(charts.lines, number=number, tick=tick, t=t),
        horizontal_bars=partial(charts.horizontal_bars, number=number, t=t),
        donut=partial(charts.donut, number=number, tick=tick, percent=formats.percent, t=t),
        sparkline=charts.sparkline,
        days=charts.days,
    )
