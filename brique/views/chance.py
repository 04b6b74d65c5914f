"""Notices a view that asks for the time or for chance, and tells the line that does: what it makes would be kept.

Python has no audit events for these, so calls are looked at one by one (`sys.setprofile`), which makes a view three
times as slow: done for its first runs in a process, and for a short time, or always where somebody develops. Only calls
made by the view's own code count, through modules that are known to pass them on; what libraries do for themselves (the
time of a line in a log) is theirs. A `random.Random` of the view's own, made with a seed, is no chance.
"""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from time import perf_counter
from types import FrameType
from typing import Any

from brique.errors import BadConfiguration
from brique.views.guard import OWN

CLOSE_SECONDS = 0.05
"""So long a run is looked at closely where nobody develops."""
_TIMES = {"time", "time_ns", "localtime", "gmtime", "ctime", "clock_gettime", "clock_gettime_ns"}
_PASS_ON = ("random.py", "uuid.py", "secrets.py", "datetime.py", "_strptime.py")
_CHANCE_PASSES = ("random.py", "uuid.py", "secrets.py")
_TRY_TIME = 'ask the data\'s clock: db.today(), or db.now("5m") for the time in steps; then it ends by itself'
_TRY_CHANCE = "take it from the data or the arguments, or use random.Random(7): the same seed, the same answer"
_shared = getattr(random, "_inst", None)


@contextmanager
def closely(view: str, seconds: float | None = CLOSE_SECONDS) -> Iterator[None]:
    """Raise BadConfiguration, naming `view`, the call and its line, when the block asks for time or chance.

    Raised where the call is made, and once more at the end should the view have swallowed it. `seconds`: look no
    longer than that; None: to the end. Does nothing under another profiler.
    """
    if sys.getprofile() is not None:
        yield
        return
    look = _Look(view, None if seconds is None else perf_counter() + seconds)
    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(None)
        if look.fault is not None and sys.exc_info()[1] is not look.fault:
            raise look.fault


class _Look:
    """The profiler of one run."""

    def __init__(self, view: str, until: float | None) -> None:
        self._view, self._until = view, until
        self.fault: BadConfiguration | None = None

    def __call__(self, frame: FrameType, event: str, called: Any) -> None:
        if event != "c_call":
            return
        if self._until is not None and perf_counter() > self._until:
            sys.setprofile(None)
            return
        kind = _kind(called)
        caller = _caller(frame, kind) if kind else None
        if caller is None:
            return
        name = (
            f"{getattr(called, '__module__', None) or getattr(called.__self__, '__name__', 'random')}.{called.__name__}"
        )
        place = f"{Path(caller.f_code.co_filename).name}:{caller.f_lineno}"
        self.fault = BadConfiguration(
            f"View {self._view} asks for {kind}, which is not tracked: {name} in {place}. "
            "What it makes would be kept although it would answer otherwise.",
            try_this=_TRY_TIME if kind == "the time" else _TRY_CHANCE,
            view=self._view,
            call=name,
            place=place,
        )
        raise self.fault


def _kind(called: Callable[..., Any]) -> str:
    """ "the time" or "chance" when this built-in gives another answer each time, else ""."""
    name, module, owner = called.__name__, getattr(called, "__module__", None), getattr(called, "__self__", None)
    if module == "time":
        return "the time" if name in _TIMES else ""
    if name in ("now", "today", "utcnow") and isinstance(owner, type) and issubclass(owner, date):
        return "the time"
    if name in ("urandom", "getrandom") and module in ("posix", "nt"):
        return "chance"
    return "chance" if owner is not None and owner is _shared else ""


def _caller(frame: FrameType | None, kind: str) -> FrameType | None:
    """The line of the view's own code that led here; None when a library asked for itself."""
    passes = _CHANCE_PASSES if kind == "chance" else _PASS_ON
    while frame is not None and frame.f_code.co_filename.endswith(passes) and frame.f_code.co_filename.startswith(OWN):
        frame = frame.f_back
    if frame is None or frame.f_code.co_filename.startswith(OWN) or frame.f_code.co_filename.startswith("<frozen"):
        return None
    return frame


class FirstRuns:
    """Which views have run so seldom in this process that they are to be looked at closely."""

    def __init__(self, runs: int = 2) -> None:
        self._left, self._runs = dict[str, int](), runs
        self._lock = threading.Lock()

    def take(self, view: str) -> bool:
        """Whether this run of `view` is one of the first."""
        left = self._left.get(view, self._runs)
        if left > 0:
            with self._lock:
                self._left[view] = left - 1
        return left > 0

    def again(self, view: str) -> None:
        """A run of `view` was at fault: the next ones are first ones."""
        self._left[view] = self._runs
