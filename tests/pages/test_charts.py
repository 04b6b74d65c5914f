"""Charts are well-formed, hold for any data, and obey the Content-Security-Policy."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brique.pages.charts import bars, days, donut, horizontal_bars, lines, nice_ticks, sparkline
from brique.pages.format import Formats
from brique.words import translate

NAN, INF = float("nan"), float("inf")
ODD = [None, 0, -5, 12.5, NAN, Decimal("3.2"), INF, -INF, 1e308, Decimal("NaN"), 7]
VALUES = st.lists(
    st.one_of(st.none(), st.integers(-(10**20), 10**20), st.floats(), st.decimals(allow_nan=True)), max_size=30
)


def parsed(markup: str) -> ElementTree.Element:
    return ElementTree.fromstring(f"<all>{markup}</all>")


def sound(markup: str) -> ElementTree.Element:
    """The tree of a chart that is well-formed, styled by classes only, and free of numbers that are none."""
    tree = parsed(markup)
    for node in tree.iter():
        assert "style" not in node.attrib and not any(name.startswith("on") for name in node.attrib)
        for name in ("x", "y", "width", "height", "cx", "cy", "x1", "x2", "y1", "y2", "d"):
            assert not re.search("nan|inf", node.get(name, "")), (node.tag, name, node.get(name))
        for name in ("width", "height"):
            assert not node.get(name, "").startswith("-"), ElementTree.tostring(node)
    return tree


def charts_of(labels: list[str], values: list[object]) -> list[str]:
    several = {"a": values, "b": values[::-1]}
    return [
        bars(labels, values, title="T"),
        bars(labels, several, title="T"),
        bars(labels, several, title="T", stacked=True),
        lines(labels, values, title="T"),
        lines(labels, several, title="T", area=True),
        donut(labels, values, title="T"),
        horizontal_bars(labels, values, title="T"),
        sparkline(values),
    ]


@settings(max_examples=60, deadline=None)
@given(VALUES, st.text(max_size=40))
def test_any_values_and_labels_give_a_sound_chart(values: list[object], text: str) -> None:
    text = "".join(sign for sign in text if sign.isprintable())
    for chart in charts_of([f"{text}{index}" for index in range(len(values))], values):
        sound(chart)


@pytest.mark.parametrize("values", [[], [None, NAN], ODD, [5], [0], [0, 0], [3, 3, 3], [1e-300, 2e-300], [-4, -2]])
def test_odd_data_is_drawn_or_said_to_be_missing(values: list[object]) -> None:
    for chart in charts_of([str(index) for index in range(len(values))], values):
        sound(chart)


def test_a_chart_without_figures_says_so() -> None:
    def t(text: str, **values: object) -> str:
        return translate(text, "fr", **values)

    for chart in (
        bars([], [], title="CA", t=t),
        lines(["a"], [None], title="CA", t=t),
        donut(["a"], [0], title="CA", t=t),
    ):
        assert "Pas encore de chiffres." in chart


def test_labels_are_escaped_and_whole_in_the_table() -> None:
    hostile = '<script>alert("1")</script>&' + "long " * 30
    for chart in charts_of([hostile, "b"], [1, 2])[:-1]:
        assert "<script" not in chart
        assert hostile.strip() in "".join(sound(chart).itertext())


def test_a_chart_tells_those_who_do_not_see_it() -> None:
    formats = Formats("fr")
    chart = sound(bars(["01", "02"], [1284.5, -3], title="CA", number=formats.number, t=formats.t))
    drawing = next(node for node in chart.iter("svg") if node.get("role") == "img")
    assert drawing.get("aria-label") == "CA. 2 valeurs, de -3 à 1\u202f284,5"
    assert [node.text for node in chart.iter("td") if node.text] == ["1\u202f284,5", "-3"]
    assert [node.text for node in chart.iter("title")] == ["01 · 1\u202f284,5", "02 · -3"]


def test_bars_stand_on_zero_whatever_their_sign() -> None:
    chart = sound(bars(["a", "b"], [10, -10], title="T"))
    up, down = (node for node in chart.iter("rect"))
    assert float(up.get("y", "")) + float(up.get("height", "")) == pytest.approx(float(down.get("y", "")))


def test_stacked_bars_pile_up_and_down_from_zero() -> None:
    chart = sound(bars(["a"], {"x": [3], "y": [2], "z": [-4]}, title="T", stacked=True))
    x, y, z = ((float(node.get("y", "")), float(node.get("height", ""))) for node in chart.iter("rect"))
    assert y[0] + y[1] == pytest.approx(x[0], abs=0.02)
    assert z[0] == pytest.approx(x[0] + x[1], abs=0.02)


def test_a_gap_breaks_the_line_and_a_lonely_point_is_a_dot() -> None:
    chart = sound(lines(list("abcde"), [1, 2, None, None, 5], title="T"))
    path = next(node for node in chart.iter("path"))
    assert path.get("d", "").count("M") == 2
    assert len(list(chart.iter("circle"))) == 1


def test_a_thousand_points_stay_light_and_keep_their_peak() -> None:
    values = [math.sin(index / 50) for index in range(1000)]
    values[503] = 40.0
    labels = [str(index) for index in range(1000)]
    chart = lines(labels, values, title="T")
    top = min(float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", chart))
    assert top == pytest.approx(8, abs=1)
    assert len(chart) < 60_000
    assert "more" in chart
    assert len(list(sound(chart).iter("tr"))) == 401


def test_labels_are_thinned_until_they_fit() -> None:
    chart = sound(bars([f"2026-01-{index:02}" for index in range(1, 32)], list(range(31)), title="T"))
    shown = [node for node in chart.iter("text") if (node.text or "").startswith("2026")]
    roomy = [node for node in shown if node.get("class") == "roomy"]
    assert len(shown) * 75 <= 620
    assert (len(shown) - len(roomy)) * 75 <= 300


def test_small_shares_are_put_together() -> None:
    chart = sound(donut([f"v{index}" for index in range(10)], list(range(10)), title="T"))
    names = [node.findtext("span[@class='swatch c6']") is not None for node in chart.iter("li")]
    assert len(names) == 6
    assert "Others" in "".join(chart.itertext())


def test_days_show_one_bar_each_with_what_happened() -> None:
    chart = sound(days([("Monday: fine", "ok"), ("Tuesday: down 3 min", "bad"), ("Wednesday", "")], title="90 days"))
    assert [node.get("class") for node in chart.iter("rect")] == ["bar ok", "bar bad", "track"]


@given(st.floats(-1e290, 1e290), st.floats(-1e290, 1e290))
def test_ticks_hold_the_data_and_are_few(one: float, other: float) -> None:
    ticks = nice_ticks(one, other)
    assert 2 <= len(ticks) <= 13
    assert ticks == sorted(set(ticks))
    room = (ticks[1] - ticks[0]) * 1e-6
    assert ticks[0] <= min(one, other) + room and ticks[-1] >= max(one, other) - room


def test_ticks_are_round() -> None:
    assert nice_ticks(0, 412) == [0, 100, 200, 300, 400, 500]
    assert nice_ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert nice_ticks(-40, 40) == [-40, -20, 0, 20, 40]
