"""Shares of a whole as a ring, with their names and figures beside it."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from brique.pages.charts.frame import (
    COLOURS,
    Translate,
    Words,
    Write,
    colour,
    data_table,
    figure,
    nothing,
    padded,
    px,
    summary,
    swatch,
    tag,
    words,
)
from brique.pages.charts.scale import Number, finite


def donut(
    labels: Sequence[str],
    values: Sequence[Number],
    *,
    title: str,
    number: Write | None = None,
    tick: Write | None = None,
    percent: Write | None = None,
    t: Translate | None = None,
) -> Markup:
    """A ring of the shares of `values`, largest first; the smallest are put together when colours run out.

    Gaps, zeros and negative values have no share: they stand in the table only. `percent` writes a ratio,
    `tick` the total.
    """
    say = words(number, tick, t)
    known = padded([finite(value) for value in values], len(labels))
    shares = _shares([str(label) for label in labels], known, say)
    total = sum(value for _, value in shares)
    if not shares or total <= 0 or total == float("inf"):
        return nothing(title, say)
    write_percent = percent or _plain_percent
    ring, start = [], 0.0
    for index, (name, value) in enumerate(shares):
        share = value / total * 100
        told = tag("title", f"{name} · {say.number(value)} · {write_percent(share / 100)}")
        ring.append(_slice(told, start, share, index, alone=len(shares) == 1))
        start += share
    middle = tag("text", say.tick(total), x=50, y=55, text_anchor="middle", class_="say")
    spoken = summary(title, [value for _, value in shares], say)
    picture = tag("svg", *ring, middle, viewBox="0 0 100 100", role="img", aria_label=spoken)
    named = [
        tag("li", swatch(index), name, tag("span", write_percent(value / total), class_="num"))
        for index, (name, value) in enumerate(shares)
    ]
    content = tag("div", picture, tag("ul", *named, class_="legend"), class_="donut")
    return figure(content, title=title, table=data_table([str(label) for label in labels], {"": known}, say))


def _slice(told: Markup, start: float, share: float, index: int, *, alone: bool) -> Markup:
    """An arc as a dash of a circle whose length counts as 100; a hair of space after it, unless it is all there is."""
    length = share if alone else max(share - 0.7, 0.15)
    return tag(
        "circle",
        told,
        cx=50,
        cy=50,
        r=40,
        pathLength=100,
        stroke_dasharray=f"{px(length)} 100",
        stroke_dashoffset=px(-start) if start else None,
        transform="rotate(-90 50 50)",
        class_=f"slice {colour(index)}",
    )


def _shares(labels: Sequence[str], values: Sequence[float | None], say: Words) -> list[tuple[str, float]]:
    t = say.t
    found = [(label, value) for label, value in zip(labels, values, strict=True) if value is not None and value > 0]
    found.sort(key=lambda share: -share[1])
    if len(found) <= COLOURS:
        return found
    return [*found[: COLOURS - 1], (t("Others"), sum(value for _, value in found[COLOURS - 1 :]))]


def _plain_percent(ratio: float) -> str:
    return f"{ratio:.0%}"
