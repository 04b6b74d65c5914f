"""Lines and areas over time, and the sparkline of a tile."""

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
    px,
    series_of,
    summary,
    tag,
    words,
    x_labels,
    y_axis,
)
from brique.pages.charts.scale import Number, Scale, finite, nice_ticks, span, thinned

# The line is drawn on a canvas this wide that the browser stretches; its stroke is not stretched.
_CANVAS = 1000.0
# Places that show a tooltip: more would be thinner than a finger or a pointer can hit.
_HITS_MAX = 120

Point = tuple[float, float | None]


def lines(
    labels: Sequence[str],
    series: Series | Sequence[Number],
    *,
    title: str,
    area: bool = False,
    number: Write | None = None,
    tick: Write | None = None,
    t: Translate | None = None,
    height: int = 230,
) -> Markup:
    """Lines over `labels`, evenly spaced, of one series or of several by name; `area` fills down to zero."""
    say = words(number, tick, t)
    labels = [str(label) for label in labels]
    named = {name: padded(values, len(labels)) for name, values in series_of(series).items()}
    everything = [value for values in named.values() for value in values]
    extent = span(everything)
    if extent is None:
        return nothing(title, say)
    # A line may leave zero out of sight, unless it is filled or would nearly reach it anyway.
    near_zero = extent[0] > 0 and extent[0] < extent[1] * 0.4
    low, high = (min(0.0, extent[0]), max(0.0, extent[1])) if area or near_zero else extent
    scale = Scale(nice_ticks(low, high), 8, height - 24)
    axis, gutter = y_axis(scale, say)
    places = [index / (len(labels) - 1) if len(labels) > 1 else 0.5 for index in range(len(labels))]
    drawn = [_series(values, places, scale, order, area=area) for order, values in enumerate(named.values())]
    content = axis + Markup("").join(drawn) + _hits(labels, places, named, scale, say)
    content += x_labels(labels, places, height - 6, to_edges=True)
    picture = drawing(content, height=height, label=summary(title, everything, say), class_=gutter)
    return figure(picture, title=title, legend=legend(list(named)), table=data_table(labels, named, say))


def sparkline(values: Sequence[Number], *, label: str = "", height: int = 40) -> Markup:
    """The course of `values` as a bare line; nothing at all when there are fewer than two."""
    known = [finite(value) for value in values]
    extent = span(known)
    if extent is None or sum(value is not None for value in known) < 2:
        return Markup("")
    low, high = extent
    if high - low <= abs(high) * 1e-12:
        low, high = low - (abs(low) or 1.0), high + (abs(high) or 1.0)
    scale = Scale((low, high), 3, height - 3)
    points = thinned([(index / (len(known) - 1) * _CANVAS, value) for index, value in enumerate(known)], buckets=60)
    line = tag("path", d=_path(points, scale), class_="line")
    view = f"0 0 {_CANVAS:.0f} {height}"
    spoken = {"role": "img", "aria_label": label} if label else {"aria_hidden": "true"}
    inner = tag("svg", line, viewBox=view, preserveAspectRatio="none", width="100%", height=height, overflow="visible")
    return tag("svg", inner, class_="spark", width="100%", height=height, **spoken)


def _series(values: Sequence[float | None], places: Sequence[float], scale: Scale, order: int, *, area: bool) -> Markup:
    """One series: its area, its line, and a dot for each value that has no neighbour."""
    points = thinned([(place * _CANVAS, value) for place, value in zip(places, values, strict=True)])
    drawn = Markup("")
    if area:
        drawn += tag("path", d=_area(points, scale), class_=f"area {colour(order)}")
    drawn += tag("path", d=_path(points, scale), class_=f"line {colour(order)}")
    view = f"0 0 {_CANVAS:.0f} {scale.bottom:.0f}"
    canvas = tag(
        "svg", drawn, viewBox=view, preserveAspectRatio="none", width="100%", height=scale.bottom, overflow="visible"
    )
    dots = [
        tag("circle", cx=percent(x / _CANVAS), cy=scale.y(y), r=3, class_=f"dot {colour(order)}")
        for run in _runs(points)
        if len(run) == 1
        for x, y in run
    ]
    return canvas + Markup("").join(dots)


def _path(points: Sequence[Point], scale: Scale) -> str:
    """The line as path data, with a new start after each gap."""
    runs = (["L".join(f"{px(x)} {px(scale.y(y))}" for x, y in run)] for run in _runs(points))
    return "".join(f"M{run[0]}" for run in runs)


def _area(points: Sequence[Point], scale: Scale) -> str:
    parts = []
    for run in _runs(points):
        middle = "L".join(f"{px(x)} {px(scale.y(y))}" for x, y in run)
        parts.append(f"M{px(run[0][0])} {px(scale.zero)}L{middle}L{px(run[-1][0])} {px(scale.zero)}Z")
    return "".join(parts)


def _runs(points: Sequence[Point]) -> list[list[tuple[float, float]]]:
    """The points without the gaps: one list for each unbroken run."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if y is None:
            runs.append([])
        else:
            runs[-1].append((x, y))
    return [run for run in runs if run]


def _hits(
    labels: Sequence[str],
    places: Sequence[float],
    named: dict[str, list[float | None]],
    scale: Scale,
    say: Words,
) -> Markup:
    """Unseen bands from top to bottom that tell the values under the pointer."""
    step = -(-len(labels) // _HITS_MAX)
    width = step / max(1, len(labels) - 1)
    drawn = []
    for index in range(0, len(labels), step):
        told = [f"{name} {say.value(values[index])}".strip() for name, values in named.items()]
        left = max(0.0, places[index] - width / 2) if len(labels) > 1 else 0.0
        right = min(1.0, places[index] + width / 2) if len(labels) > 1 else 1.0
        title = tag("title", "\n".join([labels[index], *told]))
        box = {"x": percent(left), "y": 0, "width": percent(right - left), "height": scale.bottom}
        drawn.append(tag("rect", title, class_="hit", **box))
    return Markup("").join(drawn)
