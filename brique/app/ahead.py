"""The next commands to send, read and claimed while the ones before them are being sent.

The engine may be busy taking reports in when it is asked for a claim: two windows are always asked for ahead, and while
one is being claimed the next one is read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from brique.commands import Waiting
from brique.errors import BriqueError
from brique.schema import State

DEPTH = 2


@dataclass
class Window:
    """Commands in spool order, and those of them that are claimed already."""

    waiting: list[Waiting]
    claimed: dict[int, State] = field(default_factory=dict)
    last: int = 0


class Ahead:
    """`read(after)` gives a window past a position, empty at the end; `claim(window)` what is claimed of it. Each runs
    in a thread of this object, and is the only one that does."""

    def __init__(self, read: Callable[[int], Window], claim: Callable[[Window], Window], *, name: str) -> None:
        self._read, self._claim = read, claim
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"ahead-{name}")
        self._claiming = ThreadPoolExecutor(1, thread_name_prefix=f"claims-{name}")
        self._asked: deque[Future[Window]] = deque()
        self._last = 0

    def windows(self) -> Iterator[Window]:
        """Every window from the start. Raises what reading or claiming met. `drop` what is left of them."""
        self._last = 0
        self._ask()
        while True:
            window = self._asked.popleft().result()
            if not window.waiting:
                return
            while len(self._asked) < DEPTH:
                self._ask()
            yield window

    def _ask(self) -> None:
        """Have the next window read and claimed."""
        read = self._thread.submit(self._next)
        self._asked.append(self._claiming.submit(lambda: self._claim(read.result())))

    def _next(self) -> Window:
        window = self._read(self._last)
        self._last = window.last or self._last
        return window

    def drop(self) -> dict[int, State]:
        """Forget the windows asked for; what had been claimed in them."""
        claimed: dict[int, State] = {}
        while self._asked:
            try:
                claimed.update(self._asked.popleft().result().claimed)
            except BriqueError:
                continue
        return claimed

    def stop(self) -> None:
        self._claiming.shutdown(wait=True, cancel_futures=True)
        self._thread.shutdown(wait=True, cancel_futures=True)
