"""What a dashboard is made of: figures, charts and short lists, as plain data that can be kept and drawn later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from brique.errors import BadConfiguration
from brique.schema import Table

ChartKind = Literal["bar", "line", "area", "donut", "hbar"]
_KINDS = ("bar", "line", "area", "donut", "hbar")


@dataclass(frozen=True)
class Figure:
    """One number. `delta` is its change (a fraction: 0.05 is +5 %), `series` its recent past for a small line."""

    label: str
    value: Any
    delta: float | None = None
    series: Sequence[float] = ()
    href: str = ""


@dataclass(frozen=True)
class Chart:
    """A chart of `values` (one for each of `labels`), or of several named `series` of them.

    `data` may be given instead of labels and values: a dict such as `group_by(...).count()` gives.
    """

    label: str
    kind: ChartKind = "bar"
    labels: Sequence[Any] = ()
    values: Sequence[Any] = ()
    series: Mapping[str, Sequence[Any]] | None = None
    data: Mapping[Any, Any] | None = None
    href: str = ""


@dataclass(frozen=True)
class ShortList:
    """A few rows. `columns` names the columns to show, all listed ones when empty."""

    label: str
    rows: Iterable[Table | Mapping[str, Any]]
    columns: Sequence[str] = ()
    href: str = ""


Tile = Figure | Chart | ShortList


def plain(tile: object) -> dict[str, Any]:
    """A tile as JSON-ready data, its `tile` field saying which. Raises BadConfiguration when its parts do not fit."""
    if isinstance(tile, Figure):
        return {
            "tile": "figure",
            "label": tile.label,
            "value": tile.value,
            "delta": tile.delta,
            "series": list(tile.series),
            "href": tile.href,
        }
    if isinstance(tile, Chart):
        return _chart(tile)
    if isinstance(tile, ShortList):
        rows = list(tile.rows)
        table = next((row.__dict__["_spec"].name for row in rows if isinstance(row, Table)), "")
        return {
            "tile": "list",
            "label": tile.label,
            "table": table,
            "columns": list(tile.columns),
            "rows": rows,
            "href": tile.href,
        }
    raise BadConfiguration(
        f"a dashboard is a list of Figure, Chart and ShortList, not {type(tile).__name__}",
        try_this='return [Figure("Orders", db[Order].count())]',
    )


def _chart(tile: Chart) -> dict[str, Any]:
    if tile.kind not in _KINDS:
        raise BadConfiguration(f"chart {tile.label!r}: no kind {tile.kind!r}", try_this=f"one of {', '.join(_KINDS)}")
    labels, values = list(tile.labels), list(tile.values)
    if tile.data is not None:
        labels, values = list(tile.data), list(tile.data.values())
    series = {name: list(items) for name, items in tile.series.items()} if tile.series else {tile.label: values}
    for name, items in series.items():
        if len(items) != len(labels):
            raise BadConfiguration(f"chart {tile.label!r}: {len(labels)} labels but {len(items)} values in {name!r}")
    return {
        "tile": "chart",
        "label": tile.label,
        "kind": tile.kind,
        "labels": labels,
        "series": [{"label": name, "values": items} for name, items in series.items()],
        "href": tile.href,
    }
