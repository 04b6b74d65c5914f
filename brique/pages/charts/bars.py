"""Bars: upright (one series, grouped, stacked), lying, and the row of days of a status page."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from brique.pages.charts.frame import (
    Series,
    Translate,
    Words,
    Write,
    colour,
    data_table,
    drawing,
    figure,
    legend,
    nothing,
    padded,
    percent,
    series_of,
    summary,
    tag,
    words,
    x_labels,
    y_axis,
)
from brique.pages.charts.lines import lines
from brique.pages.charts.scale import Number, Scale, finite, nice_ticks, span

# More bars than this are thinner than a pixel on a phone: they are drawn as an area.
_BARS_MAX = 240
_FILLED = 0.88
_RADIUS = 3


def bars(
    labels: Sequence[str],
    series: Series | Sequence[Number],
    *,
    title: str,
    stacked: bool = False,
    number: Write | None = None,
    tick: Write | None = None,
    t: Translate | None = None,
    height: int = 230,
) -> Markup:
    """Upright bars over `labels`, of one series or of several by name, side by side or `stacked`."""
    say = words(number, tick, t)
    labels = [str(label) for label in labels]
    named = {name: padded(values, len(labels)) for name, values in series_of(series).items()}
    everything = [value for values in named.values() for value in values]
    if span(everything) is None:
        return nothing(title, say)
    if len(labels) * (1 if stacked else len(named)) > _BARS_MAX and not stacked:
        return lines(labels, series, title=title, area=True, number=number, tick=tick, t=t, height=height)
    scale = Scale(nice_ticks(*_extent(list(named.values()), stacked=stacked)), 8, height - 24)
    axis, gutter = y_axis(scale, say)
    places = [(index + 0.5) / len(labels) for index in range(len(labels))]
    drawn = _stacks(labels, named, scale, say) if stacked else _groups(labels, named, scale, say)
    content = axis + drawn + x_labels(labels, places, height - 6, to_edges=False)
    picture = drawing(content, height=height, label=summary(title, everything, say), class_=gutter)
    return figure(picture, title=title, legend=legend(list(named)), table=data_table(labels, named, say))


def horizontal_bars(
    labels: Sequence[str],
    values: Sequence[Number],
    *,
    title: str,
    number: Write | None = None,
    t: Translate | None = None,
) -> Markup:
    """Lying bars, one below the other, each under its label and figure: for long labels and rankings."""
    say = words(number, None, t)
    known = padded([finite(value) for value in values], len(labels))
    extent = span(known)
    if extent is None:
        return nothing(title, say)
    low, high = min(0.0, extent[0]), max(0.0, extent[1])
    width = (high - low) or 1.0
    rows = []
    for label, value in zip(labels, known, strict=True):
        start, end = sorted(((0.0 - low) / width, ((value or 0.0) - low) / width))
        bar = tag("rect", x=percent(start), width=percent(end - start), height=8, rx=4, class_="bar")
        track = tag("rect", width="100%", height=8, rx=4, class_="track")
        text = tag("span", tag("span", str(label), class_="label"), tag("span", say.value(value), class_="num"))
        rows.append(tag("li", text, tag("svg", track, bar if value else Markup(""), height=8, aria_hidden="true")))
    return figure(tag("ol", *rows, class_="lying"), title=title)


def days(states: Sequence[tuple[str, str]], *, title: str) -> Markup:
    """One small bar a day, oldest first: (what to say of it, its kind `ok`, `warn`, `bad` or "" for unknown)."""
    if not states:
        return Markup("")
    slot = 1 / len(states)
    drawn = [
        tag(
            "rect",
            tag("title", text),
            x=percent(index * slot),
            width=percent(slot * 0.72),
            height=24,
            rx=2,
            class_=f"bar {kind}" if kind in ("ok", "warn", "bad") else "track",
        )
        for index, (text, kind) in enumerate(states)
    ]
    return tag("svg", *drawn, class_="spark", width="100%", height=24, role="img", aria_label=title)


def _extent(columns: Sequence[Sequence[float | None]], *, stacked: bool) -> tuple[float, float]:
    """The lowest and the highest point that the bars reach, zero included."""
    if not stacked:
        found = span(value for column in columns for value in column) or (0.0, 0.0)
        return min(0.0, found[0]), max(0.0, found[1])
    rows = [[value for value in row if value is not None] for row in zip(*columns, strict=True)]
    low = min(sum(value for value in row if value < 0) for row in rows)
    high = max(sum(value for value in row if value > 0) for row in rows)
    return float(low), float(high)


def _groups(labels: Sequence[str], named: dict[str, list[float | None]], scale: Scale, say: Words) -> Markup:
    slot = 1 / len(labels)
    pitch = slot * _FILLED / len(named)
    width = pitch * (0.94 if len(named) > 1 else 1)
    drawn = []
    for order, (name, values) in enumerate(named.items()):
        for index, value in enumerate(values):
            if value is not None:
                left = slot * (index + (1 - _FILLED) / 2) + pitch * order
                told = _told(labels[index], name, value, say)
                drawn.append(_bar(left, width, scale.zero, scale.y(value), order, told))
    return Markup("").join(drawn)


def _stacks(labels: Sequence[str], named: dict[str, list[float | None]], scale: Scale, say: Words) -> Markup:
    slot = 1 / len(labels)
    drawn = []
    for index, label in enumerate(labels):
        above = below = 0.0
        for order, (name, values) in enumerate(named.items()):
            value = values[index]
            if not value:
                continue
            start = above if value > 0 else below
            above, below = (above + value, below) if value > 0 else (above, below + value)
            left, told = slot * (index + (1 - _FILLED) / 2), _told(label, name, value, say)
            drawn.append(_bar(left, slot * _FILLED, scale.y(start), scale.y(start + value), order, told, radius=1))
    return Markup("").join(drawn)


def _bar(left: float, width: float, start: float, end: float, order: int, told: str, radius: int = _RADIUS) -> Markup:
    """One bar between two heights, with its tooltip. A value of zero keeps half a pixel, to be seen."""
    return tag(
        "rect",
        tag("title", told),
        x=percent(left),
        y=min(start, end),
        width=percent(width),
        height=max(abs(end - start), 0.5),
        rx=radius,
        class_=f"bar {colour(order)}",
    )


def _told(label: str, name: str, value: float, say: Words) -> str:
    return " · ".join(part for part in (label, name, say.number(value)) if part)
