"""What every chart shares: SVG elements, axes, the figure with its legend and its table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from brique.pages.charts.scale import Number, Scale, finite, span

COLOURS = 6
# Rows in the table behind a chart; the rest is told by a sentence, so that a page stays small.
TABLE_ROWS_MAX = 400
# Widths in px that labels are laid out for: a card on a desk, and a phone.
_ROOMY_PX, _NARROW_PX = 600, 270
_LETTER_PX = 6.4
_LABEL_LETTERS_MAX = 14
_GUTTERS = (22, 34, 46, 58, 74, 92)

Series = Mapping[str, Sequence[Number]]
Write = Callable[[float], str]
Translate = Callable[..., str]


@dataclass(frozen=True, slots=True)
class Words:
    """How a chart speaks: `number` writes a value, `tick` one on the axis, `t` translates."""

    number: Write
    tick: Write
    t: Translate

    def value(self, value: float | None) -> str:
        return "—" if value is None else self.number(value)


def words(number: Write | None, tick: Write | None, t: Translate | None) -> Words:
    """The words given, and plain English for those that are not."""
    number = number or _plain_number
    return Words(number, tick or number, t or _english)


def tag(name: str, *children: str | Markup, **attributes: object) -> Markup:
    """One element. Attributes: `class_` is class, other `_` become `-`; floats are shortened, None is left out."""
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is not None:
            key = key.rstrip("_") if key.endswith("_") else key.replace("_", "-")
            parts.append(f' {key}="{escape(px(value) if isinstance(value, float) else value)}"')
    inside = Markup("").join(children)
    return Markup("".join(parts)) + (Markup(">{}</{}>").format(inside, Markup(name)) if children else Markup("/>"))  # noqa: S704 - escaped above


def px(value: float) -> str:
    """A coordinate with two digits at most."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def percent(value: float) -> str:
    """A share of the width, from 0 to 1."""
    return f"{value * 100:.3f}".rstrip("0").rstrip(".") + "%"


def series_of(given: Series | Sequence[Number]) -> dict[str, list[float | None]]:
    """The series by name, as floats and gaps; one without a name when only values were given."""
    named = given if isinstance(given, Mapping) else {"": given}
    return {str(name): [finite(value) for value in values] for name, values in named.items()}


def padded(values: Sequence[float | None], length: int) -> list[float | None]:
    """`values` cut or filled with gaps to `length`."""
    return [*values[:length], *[None] * (length - len(values))]


def shortened(text: str, letters: int = _LABEL_LETTERS_MAX) -> str:
    return text if len(text) <= letters else text[: letters - 1].rstrip() + "…"


def y_axis(scale: Scale, say: Words) -> tuple[Markup, str]:
    """Grid lines with their figures, drawn to the left of the plot; and the class that makes room for them."""
    texts = [shortened(say.tick(tick)) for tick in scale.ticks]
    room = max(map(len, texts)) * _LETTER_PX + 8
    gutter = next((index for index, width in enumerate(_GUTTERS, 1) if width >= room), len(_GUTTERS))
    drawn = [
        tag("line", x1=0, x2="100%", y1=scale.y(tick), y2=scale.y(tick), class_="zero" if tick == 0 else "grid")
        + tag("text", text, x=-8, y=scale.y(tick) + 4, text_anchor="end")
        for tick, text in zip(scale.ticks, texts, strict=True)
    ]
    return Markup("").join(drawn), f"g{gutter}"


def x_labels(labels: Sequence[str], places: Sequence[float], y: float, *, to_edges: bool) -> Markup:
    """As many of `labels` as fit, at `places` (0 to 1); those for which a phone has no room carry class `roomy`.

    With `to_edges`, the first and the last place are the edges of the plot, and their labels stay inside it.
    """
    if not labels:
        return Markup("")
    letters = max(len(shortened(label)) for label in labels)
    width = letters * _LETTER_PX + 10
    step = max(1, math.ceil(len(labels) * width / _ROOMY_PX))
    narrow = math.ceil(max(1, math.ceil(len(labels) * width / _NARROW_PX)) / step) * step
    drawn = []
    for index in range(0, len(labels), step):
        anchor = "middle"
        if to_edges and len(labels) > 1:
            anchor = "start" if index == 0 else "end" if index == len(labels) - 1 else "middle"
        class_ = None if index % narrow == 0 else "roomy"
        text = shortened(labels[index])
        drawn.append(tag("text", text, x=percent(places[index]), y=y, text_anchor=anchor, class_=class_))
    return Markup("").join(drawn)


def summary(title: str, values: Sequence[float | None], say: Words) -> str:
    """The chart in a sentence, for those who do not see it."""
    found, t = span(values), say.t
    if found is None:
        return title
    known = sum(value is not None for value in values)
    told = t("{n} values, from {low} to {high}", n=known, low=say.number(found[0]), high=say.number(found[1]))
    return f"{title}. {told}" if title else told


def drawing(content: Markup, *, height: float, label: str, class_: str = "") -> Markup:
    return tag(
        "svg", content, class_=f"plot {class_}".strip(), width="100%", height=height, role="img", aria_label=label
    )


def figure(content: Markup, *, title: str, table: Markup | str = "", legend: Markup | str = "") -> Markup:
    return tag("figure", content, legend, table, class_="chart", aria_label=title or None)


def nothing(title: str, say: Words) -> Markup:
    """The figure of a chart without any value."""
    t = say.t
    return figure(tag("p", t("No figures yet."), class_="hush small"), title=title)


def legend(names: Sequence[str]) -> Markup:
    """The colours' names, when there is more than one series."""
    if len(names) < 2:
        return Markup("")
    return tag("ul", *[tag("li", swatch(index), name) for index, name in enumerate(names)], class_="legend")


def swatch(index: int) -> Markup:
    return tag("span", "", class_=f"swatch {colour(index)}", aria_hidden="true")


def colour(index: int) -> str:
    """The class of the series number `index`."""
    return f"c{index % COLOURS + 1}"


def data_table(labels: Sequence[str], series: Mapping[str, Sequence[float | None]], say: Words) -> Markup:
    """The figures behind the chart, folded away."""
    t = say.t
    names = [name or t("Value") for name in series]
    head = tag("tr", tag("td", ""), *[tag("th", name, scope="col", class_="num") for name in names])
    columns = [padded(values, len(labels)) for values in series.values()]
    rows = [
        tag(
            "tr",
            tag("th", label, scope="row"),
            *[tag("td", say.value(column[index]), class_="num") for column in columns],
        )
        for index, label in enumerate(labels[:TABLE_ROWS_MAX])
    ]
    more = len(labels) - len(rows)
    note = tag("p", t("… and {n} more.", n=more), class_="hush") if more > 0 else Markup("")
    table = tag("table", tag("thead", head), tag("tbody", *rows))
    return tag("details", tag("summary", t("Figures")), tag("div", table, note, tabindex=0))


def _figure_cell(text: str) -> Markup:
    return tag("td", text, class_="num")


def _plain_number(value: float) -> str:
    return f"{value:,.15g}"


def _english(text: str, **values: object) -> str:
    return text.format(**values) if values else text
