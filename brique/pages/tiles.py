"""The four figures of the status page: how much is asked, how fast it is answered, what fails, what room is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from brique.observe import Series
from brique.pages.format import DASH, Formats
from brique.pages.parts import StatusFacts


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


def tiles(facts: StatusFacts, formats: Formats) -> list[dict[str, Any]]:
    """The four figures: requests a minute, the 95th percentile of their time, errors an hour, free disk."""
    t, samples = formats.t, facts.samples
    requests, seconds = samples.get("requests"), samples.get("request_seconds")
    faults, disk = samples.get("faults"), samples.get("disk_free_bytes")
    slow = _last(seconds.high) if seconds is not None else None
    counted = None if faults is None else sum(value or 0 for value in faults.values)
    return [
        _tile(t(_("Requests / min")), _number(_last_of(requests), formats), _points(requests)),
        _tile(t(_("Time, 95 of 100 below")), DASH if slow is None else formats.duration(slow),
              list(seconds.high) if seconds is not None else []),
        _tile(t(_("Errors / h")), _number(counted, formats), _points(faults)),
        _tile(t(_("Free disk")), formats.size(facts.disk_free_bytes) if facts.disk_free_bytes else DASH, _points(disk)),
    ]  # fmt: skip


def _tile(label: str, value: str, points: Sequence[float | None]) -> dict[str, Any]:
    return {"label": label, "value": value, "points": points}


def _points(series: Series | None) -> list[float | None]:
    return list(series.values) if series is not None else []


def _last(values: Sequence[float | None]) -> float | None:
    return next((value for value in reversed(values) if value is not None), None)


def _last_of(series: Series | None) -> float | None:
    return _last(series.values) if series is not None else None


def _number(value: float | None, formats: Formats) -> str:
    return DASH if value is None else formats.number(round(value))
