"""Charts as SVG made here: no script, no outside file, the same drawing in a page, in print and in the dark.

Every chart is a `<figure class="chart">`: the drawing (role img, with a summary for those who do not see it), a legend
when there are several series, and the figures themselves in a table to unfold. Colours are classes that the style
sheet fills; nothing is set by a style attribute, which the Content-Security-Policy forbids. Widths are percentages, so
that a chart is as wide as its place and its letters never shrink.

Values may be int, float, Decimal or None; None, NaN, infinities and what lies beyond 1e300 are gaps. Labels are
shortened where they are drawn and whole in tooltips and table. `number` writes a value, `tick` one on the axis.
"""

from brique.pages.charts.bars import bars, days, horizontal_bars
from brique.pages.charts.donut import donut
from brique.pages.charts.lines import lines, sparkline
from brique.pages.charts.scale import nice_ticks

__all__ = ["bars", "days", "donut", "horizontal_bars", "lines", "nice_ticks", "sparkline"]
