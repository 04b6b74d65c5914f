"""The last hour, minute by minute, for the small curves on the status page. The supervisor takes the samples."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from brique.clock import Clock
from brique.observe.readings import Reading, percentile, read_all

FILE_NAME = "samples.json"
MINUTES_KEPT = 60


@dataclass(frozen=True, slots=True)
class Series:
    """One figure over the last hour, oldest first; None where there was no sample.

    `values`: of a counter or meter what was added in each minute; of a gauge its value; of a histogram or timer the
    median of that minute's updates. `high`: of a histogram or timer the 95th percentile, else empty.
    """

    kind: str
    values: list[float | None]
    high: list[float | None] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """The rate of a counter or meter over the last whole minute."""
        last = self.values[-1] if self.values else None
        return (last or 0.0) / 60


class Sampler:
    """Call `sample` once a minute; the ring is written beside the figures, and read back after a restart."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._series = read_samples(folder)
        self._last: dict[str, Reading] | None = None

    def sample(self) -> None:
        """Take one sample of every figure. Raises OSError when it cannot be written."""
        readings = read_all(self._folder)
        if self._last is not None:
            names = self._series.keys() | readings.keys()
            series = {name: self._grown(name, readings.get(name)) for name in names}
            self._series = {name: one for name, one in series.items() if any(v is not None for v in one.values)}
            self._write()
        self._last = readings

    def _grown(self, name: str, reading: Reading | None) -> Series:
        old = self._series.get(name)
        value: float | None = None
        high: float | None = None
        if reading is not None and self._last is not None:
            value, high = _since(self._last.get(name), reading)
        values = [*(old.values if old else []), value][-MINUTES_KEPT:]
        highs = [*(old.high if old else []), high][-MINUTES_KEPT:]
        kind = reading.kind if reading is not None else (old.kind if old else "counter")
        return Series(kind, values, highs if kind in ("histogram", "timer") else [])

    def _write(self) -> None:
        content = {
            "at": self._clock.now().isoformat(),
            "series": {name: [one.kind, one.values, one.high] for name, one in self._series.items()},
        }
        path = self._folder / FILE_NAME
        aside = path.with_suffix(f".{os.getpid()}.aside")
        try:
            aside.write_text(json.dumps(content), "utf-8")
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


def _since(before: Reading | None, now: Reading) -> tuple[float | None, float | None]:
    """What a minute has brought: (value, high)."""
    if now.kind == "gauge":
        return (now.value if now.by_process else None), None
    if now.kind in ("counter", "meter"):
        return max(0.0, now.value - (before.value if before else 0.0)), None
    old = before.buckets if before is not None and before.buckets else [0] * len(now.buckets)
    fresh = [max(0, b - a) for a, b in zip(old, now.buckets, strict=True)]
    return (percentile(fresh, 0.5), percentile(fresh, 0.95)) if any(fresh) else (None, None)


def read_samples(folder: Path) -> dict[str, Series]:
    """The last hour of every figure, by its full name; empty when there is none yet, or the file is broken."""
    try:
        content = json.loads((folder / FILE_NAME).read_text("utf-8"))
        return {
            str(name): Series(str(kind), list(values), list(high))
            for name, (kind, values, high) in content["series"].items()
        }
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}
