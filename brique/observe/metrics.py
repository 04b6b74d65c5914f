"""Figures: counter, gauge, meter, histogram, timer (the five words of Metrology), kept in a file in shared memory.

Each process has one file, named after it (`web-1.metrics`), mapped into its memory: a call adds to a number there and
costs about 100 ns. The numbers outlive the process, and anyone may read them while it works, dead or alive. The next
process of that name goes on counting in the same file, so counters never fall and files do not pile up; during a
change of generation, when two processes have one name, the second takes `web-1.2.metrics`.

The file, in 8-byte cells, little-endian: a header (`_HEAD`), then a directory of `_ENTRIES_MAX` entries of
`_ENTRY_BYTES` (kind, first cell, label text), then the cells. An entry is counted only after it was written whole, so
a reader never sees half of one. The writer holds an OFD lock on the file for as long as it lives.

No lock around an addition: `cells[at] += n` on a memoryview has no point where CPython's interpreter lock changes
hands, and a test with threads holds that. Bind a metric with its labels once, and keep it.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import struct
import threading
import time
from bisect import bisect_left
from pathlib import Path
from types import TracebackType
from typing import ClassVar, TypeVar

from brique import errors

_log = logging.getLogger("brique.metrics")

_MAGIC = b"BRQMET01"
_HEAD = struct.Struct("<8sQdQ")  # magic, process id, start (unix time), number of entries
_HEAD_BYTES = 64
_ENTRIES_AT = 24
_ENTRY = struct.Struct("<BxHI")  # kind, length of text, first cell
_ENTRY_BYTES = 256
_ENTRIES_MAX = 1000
_CELLS_MAX = 96_000
_CELLS_AT = _HEAD_BYTES + _ENTRIES_MAX * _ENTRY_BYTES
_FILE_BYTES = _CELLS_AT + _CELLS_MAX * 8
_SAME_NAME_MAX = 64

# Eight buckets for each doubling, from about a microsecond to 17 thousand million: a percentile is right within 10 %.
BOUNDS: tuple[float, ...] = tuple(float(2.0 ** (step / 8)) for step in range(-20 * 8, 34 * 8 + 1))
_BUCKETS = len(BOUNDS) + 1

M = TypeVar("M", bound="Metric")


class Metric:
    """A named place in the cells. Made by `Metrics`."""

    kind: ClassVar[int]
    cells_used: ClassVar[int] = 1
    __slots__ = ("_at", "_cells", "_floats")

    def __init__(self, whole: memoryview, at: int) -> None:
        self._at = at
        self._cells = whole.cast("Q")
        self._floats = whole.cast("d")


class Counter(Metric):
    """Something that only grows. `add` takes whole numbers from 0."""

    kind = 1
    __slots__ = ()

    def add(self, n: int = 1) -> None:
        self._cells[self._at] += n

    @property
    def value(self) -> int:
        return int(self._cells[self._at])


class Gauge(Metric):
    """Something that goes up and down; it is forgotten when its process ends."""

    kind = 2
    __slots__ = ()

    def set(self, value: float) -> None:
        self._floats[self._at] = value

    def add(self, n: float = 1.0) -> None:
        self._floats[self._at] += n

    @property
    def value(self) -> float:
        return float(self._floats[self._at])


class Meter(Metric):
    """Something that happens again and again: readers give its rate."""

    kind = 3
    __slots__ = ()

    def mark(self, n: int = 1) -> None:
        self._cells[self._at] += n

    @property
    def value(self) -> int:
        return int(self._cells[self._at])


class Histogram(Metric):
    """How a value is spread: cells hold the sum, then one count for each bucket."""

    kind = 4
    cells_used = 1 + _BUCKETS
    __slots__ = ()

    def update(self, value: float) -> None:
        self._floats[self._at] += value
        self._cells[self._at + 1 + bisect_left(BOUNDS, value)] += 1


class Timer(Histogram):
    """How long something takes, in seconds: `with timer.time(): ...` or `timer.update(seconds)`."""

    kind = 5
    __slots__ = ()

    def time(self) -> _Timing:
        return _Timing(self)


class _Timing:
    __slots__ = ("_started", "_timer")

    def __init__(self, timer: Timer) -> None:
        self._timer = timer

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.update(time.perf_counter() - self._started)


KINDS: dict[int, type[Metric]] = {kind.kind: kind for kind in (Counter, Gauge, Meter, Histogram, Timer)}


class Metrics:
    """The figures of one process. Without a folder they are kept in its own memory only."""

    def __init__(self, folder: Path | None = None, process: str = "brique") -> None:
        self.path: Path | None = None
        self._lock = threading.Lock()
        self._metrics: dict[tuple[int, str], Metric] = {}
        self._file = -1
        self._spare: dict[int, Metric] = {}
        if folder is None:
            self._map = mmap.mmap(-1, _FILE_BYTES)
        else:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file, self.path = _own_file(folder, process)
            self._map = mmap.mmap(self._file, _FILE_BYTES)
        self._whole = memoryview(self._map)
        self._entries, self._cells_used = self._adopt()

    def counter(self, name: str, **labels: str) -> Counter:
        return self._metric(Counter, name, labels)

    def gauge(self, name: str, **labels: str) -> Gauge:
        return self._metric(Gauge, name, labels)

    def meter(self, name: str, **labels: str) -> Meter:
        return self._metric(Meter, name, labels)

    def histogram(self, name: str, **labels: str) -> Histogram:
        return self._metric(Histogram, name, labels)

    def timer(self, name: str, **labels: str) -> Timer:
        return self._metric(Timer, name, labels)

    def _metric(self, kind: type[M], name: str, labels: dict[str, str]) -> M:
        text = label_text(name, labels)
        found = self._metrics.get((kind.kind, text))
        if found is None:
            with self._lock:
                found = self._metrics.get((kind.kind, text)) or self._make(kind, text)
        assert isinstance(found, kind)
        return found

    def _make(self, kind: type[Metric], text: str) -> Metric:
        encoded = text.encode()
        full = self._entries >= _ENTRIES_MAX or self._cells_used + kind.cells_used > _CELLS_MAX
        if full or len(encoded) > _ENTRY_BYTES - _ENTRY.size:
            return self._make_spare(kind, text)
        at = self._cells_used
        where = _HEAD_BYTES + self._entries * _ENTRY_BYTES
        _ENTRY.pack_into(self._map, where, kind.kind, len(encoded), at)
        self._map[where + _ENTRY.size : where + _ENTRY.size + len(encoded)] = encoded
        self._entries += 1
        self._cells_used += kind.cells_used
        struct.pack_into("<Q", self._map, _ENTRIES_AT, self._entries)
        return self._remember(kind, text, at)

    def _make_spare(self, kind: type[Metric], text: str) -> Metric:
        """Beyond the room in the file a figure still takes calls, but nobody reads it."""
        if kind.kind not in self._spare:
            _log.warning("no room to keep the figure %s; from now on some are not kept", text)
            self._spare[kind.kind] = kind(memoryview(bytearray(kind.cells_used * 8)), 0)
        return self._spare[kind.kind]

    def _remember(self, kind: type[Metric], text: str, at: int) -> Metric:
        metric = kind(self._whole[_CELLS_AT:], at)
        self._metrics[(kind.kind, text)] = metric
        return metric

    def _adopt(self) -> tuple[int, int]:
        """Go on where an earlier process of this name stopped; a file of another kind starts anew."""
        magic, _, _, entries = _HEAD.unpack_from(self._map)
        if magic != _MAGIC or entries > _ENTRIES_MAX:
            self._map[:] = bytes(_FILE_BYTES)
            entries = 0
        _HEAD.pack_into(self._map, 0, _MAGIC, os.getpid(), time.time(), entries)
        used = 0
        for number, (kind, at, text) in enumerate(directory(self._map)):
            if kind not in KINDS or at + KINDS[kind].cells_used > _CELLS_MAX:
                entries = number
                break
            metric = self._remember(KINDS[kind], text, at)
            used = max(used, at + metric.cells_used)
            if isinstance(metric, Gauge):
                metric.set(0.0)
        return int(entries), used

    def close(self) -> None:
        """Let go of the file; its numbers stay. Metrics that were handed out go on counting in memory."""
        if self._file >= 0:  # the mapping keeps a copy of the file open, so the lock must be given back by name
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, 0, 0, 0))
            os.close(self._file)
            self._file = -1


def label_text(name: str, labels: dict[str, str]) -> str:
    """`name{a="b"}`, labels in order of name, as Prometheus writes it."""
    if not labels:
        return name
    pairs = ",".join(f'{key}="{_escape(str(value))}"' for key, value in sorted(labels.items()))
    return f"{name}{{{pairs}}}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def directory(content: mmap.mmap | bytes) -> list[tuple[int, int, str]]:
    """The entries of a file: (kind, first cell, label text)."""
    entries = min(_HEAD.unpack_from(content)[3], _ENTRIES_MAX)
    found = []
    for number in range(entries):
        where = _HEAD_BYTES + number * _ENTRY_BYTES
        kind, size, at = _ENTRY.unpack_from(content, where)
        start = where + _ENTRY.size
        found.append((kind, at, bytes(content[start : start + size]).decode("utf-8", "replace")))
    return found


def content_of(path: Path) -> tuple[bytes, bool] | None:
    """The bytes of a metrics file and whether its writer lives; None when it is no such file."""
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_BYTES)
            alive = _is_locked(file.fileno())
    except FileNotFoundError:
        return None
    if len(content) < _FILE_BYTES or not content.startswith(_MAGIC):
        return None
    return content, alive


def cell(content: bytes, at: int, form: str = "<Q") -> float:
    return float(struct.unpack_from(form, content, _CELLS_AT + at * 8)[0])


def cells(content: bytes, at: int, count: int) -> tuple[int, ...]:
    return struct.unpack_from(f"<{count}Q", content, _CELLS_AT + at * 8)


_FLOCK = struct.Struct("hhqqi4x")  # struct flock on 64-bit Linux


def _own_file(folder: Path, process: str) -> tuple[int, Path]:
    """An open, locked file of the right size for `process`."""
    for number in range(1, _SAME_NAME_MAX + 1):
        path = folder / (f"{process}.metrics" if number == 1 else f"{process}.{number}.metrics")
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        except OSError:
            os.close(file)
            continue
        try:
            os.posix_fallocate(file, 0, _FILE_BYTES)  # a full disk is told here, not by a SIGBUS later
        except OSError as error:
            os.close(file)
            raise errors.NoRoom(
                f"No room for {path}: {error.strerror}", try_this="Free some room on the disk."
            ) from error
        return file, path
    raise errors.BadConfiguration(f"{_SAME_NAME_MAX} processes are already called {process}", process=process)


def _is_locked(file: int) -> bool:
    asked = _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
    answered = fcntl.fcntl(file, fcntl.F_OFD_GETLK, asked)
    return bool(_FLOCK.unpack(answered)[0] != fcntl.F_UNLCK)
