"""Reading the figures of all processes, the dead ones too, and writing them for Prometheus."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from brique.observe.metrics import BOUNDS, KINDS, Gauge, Histogram, cell, cells, content_of, directory

_SAFE_NAME = re.compile(r"[^a-zA-Z0-9_:]")
_EXPORTED_BOUNDS_STEP = 16  # Prometheus gets every sixteenth of our bounds: a factor of four


@dataclass(slots=True)
class Reading:
    """One figure of all processes together.

    `kind` is counter, gauge, meter, histogram or timer. `value` is the sum over the processes (of a gauge: over the
    living ones; of a histogram or timer: the number of updates); `by_process` has each part. `total` is the sum of
    what a histogram was given, `buckets` its counts, one for each of `metrics.BOUNDS` and one above them.
    """

    name: str
    kind: str
    value: float = 0.0
    total: float = 0.0
    buckets: list[int] = field(default_factory=list)
    by_process: dict[str, float] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """The name without its labels."""
        return self.name.partition("{")[0]

    @property
    def labels(self) -> str:
        """`a="b",c="d"`, or nothing."""
        return self.name.partition("{")[2].removesuffix("}")

    @property
    def mean(self) -> float:
        return self.total / self.value if self.value else 0.0

    def percentile(self, share: float) -> float:
        """The value that `share` (0 to 1) of the updates do not pass, right within 10 %; 0 when there were none."""
        return percentile(self.buckets, share)


def percentile(buckets: list[int], share: float) -> float:
    """As `Reading.percentile`, for counts by bucket."""
    wanted = share * sum(buckets)
    if wanted <= 0:
        return 0.0
    passed = 0
    for index, count in enumerate(buckets):
        if count and passed + count >= wanted:
            low = BOUNDS[index - 1] if index else 0.0
            high = BOUNDS[min(index, len(BOUNDS) - 1)]
            return low + (high - low) * (wanted - passed) / count if low <= high else high
        passed += count
    return BOUNDS[-1]


def read_all(folder: Path) -> dict[str, Reading]:
    """Every figure in `folder` by its full name (`name{label="value"}`), added up over processes."""
    found: dict[str, Reading] = {}
    for path in sorted(folder.glob("*.metrics")):
        read = content_of(path)
        if read is None:
            continue
        content, alive = read
        for kind, at, name in directory(content):
            if kind in KINDS:
                _add(
                    found, content, alive=alive, process=path.name.removesuffix(".metrics"), kind=kind, at=at, name=name
                )
    return found


def _add(
    found: dict[str, Reading], content: bytes, *, alive: bool, process: str, kind: int, at: int, name: str
) -> None:
    shape = KINDS[kind]
    word = shape.__name__.lower()
    reading = found.get(name)
    if reading is None:
        reading = found[name] = Reading(name, word)
    elif reading.kind != word:
        return  # two processes use one name for two things; the first one read keeps it
    if issubclass(shape, Histogram):
        counts = cells(content, at + 1, shape.cells_used - 1)
        reading.total += cell(content, at, "<d")
        reading.buckets = [a + b for a, b in zip(reading.buckets or [0] * len(counts), counts, strict=True)]
        part = float(sum(counts))
    elif shape is Gauge:
        if not alive:
            return
        part = cell(content, at, "<d")
    else:
        part = cell(content, at)
    reading.value += part
    reading.by_process[process] = part


def prometheus(readings: Iterable[Reading], *, prefix: str = "brique_") -> str:
    """The figures in Prometheus's text format (0.0.4). Gauges carry the label `process`; times are in seconds."""
    families: dict[str, list[Reading]] = {}
    for reading in readings:
        families.setdefault(reading.family, []).append(reading)
    lines: list[str] = []
    for family, members in sorted(families.items()):
        name = prefix + _SAFE_NAME.sub("_", family)
        kind = members[0].kind
        if kind in ("counter", "meter") and not name.endswith("_total"):
            name += "_total"
        if kind == "timer" and not name.endswith("_seconds"):
            name += "_seconds"
        shown = {"meter": "counter", "timer": "histogram"}.get(kind, kind)
        lines.append(f"# TYPE {name} {shown}")
        for member in sorted((member for member in members if member.kind == kind), key=lambda member: member.name):
            lines.extend(_lines(name, member))
    return "\n".join(lines) + "\n" if lines else ""


def _lines(name: str, reading: Reading) -> Iterable[str]:
    labels = reading.labels
    if reading.kind == "gauge":
        for process, value in sorted(reading.by_process.items()):
            yield f"{name}{_labels(labels, _label('process', process))} {_number(value)}"
        return
    if reading.kind in ("counter", "meter"):
        yield f"{name}{_labels(labels)} {_number(reading.value)}"
        return
    passed = 0
    for index, count in enumerate(reading.buckets[:-1]):
        passed += count
        if index % _EXPORTED_BOUNDS_STEP == 0:
            yield f"{name}_bucket{_labels(labels, _label('le', f'{BOUNDS[index]:g}'))} {passed}"
    yield f"{name}_bucket{_labels(labels, _label('le', '+Inf'))} {_number(reading.value)}"
    yield f"{name}_sum{_labels(labels)} {_number(reading.total)}"
    yield f"{name}_count{_labels(labels)} {_number(reading.value)}"


def _label(name: str, value: str) -> str:
    return f'{name}="{value}"'


def _labels(*parts: str) -> str:
    text = ",".join(part for part in parts if part)
    return f"{{{text}}}" if text else ""


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("+Inf" if value > 0 else "-Inf")
    return str(int(value)) if value == int(value) else repr(value)
