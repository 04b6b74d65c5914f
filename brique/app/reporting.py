"""The way of reports from a backend's process to the engine: in order, insisting, and beside the next batch.

A report that must be known before anything else is sent is waited for (`now`); one that the backend's own mark stands
for may still be on its way while the next batch is sent (`later`), up to so many commands that memory has a bound.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from brique.commands import Report
from brique.errors import BriqueError

ON_THE_WAY_MAX = 100_000
"""Commands whose reports may be on their way at once: some sixty megabytes of small rows."""


class Reporting:
    """`send(report)` returns when the engine has it for good, and raises only when this process is to end."""

    def __init__(self, send: Callable[[Report], None], *, name: str) -> None:
        self._send = send
        self._waiting: deque[Report] = deque()
        self._commands = 0
        self._fault: BriqueError | None = None
        self._stopped = False
        self._moved = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"reports-{name}", daemon=True)
        self._thread.start()

    def later(self, report: Report) -> None:
        """Hand a report over; waits only while too many are on their way. Raises what an earlier one met."""
        with self._moved:
            self._raise()
            self._waiting.append(report)
            self._commands += report.count
            self._moved.notify_all()
            self._moved.wait_for(lambda: self._commands <= ON_THE_WAY_MAX or self._fault is not None)

    def now(self, report: Report) -> None:
        """Hand a report over, and wait until it and all before it are with the engine."""
        self.later(report)
        self.flush()

    def flush(self) -> None:
        """Wait until every report is with the engine. Raises what one of them met; what came after it is dropped, and
        will be found by the backend's mark."""
        with self._moved:
            self._moved.wait_for(lambda: not self._waiting or self._fault is not None)
            self._raise()

    def _raise(self) -> None:
        fault, self._fault = self._fault, None
        if fault is not None:
            self._waiting.clear()
            self._commands = 0
            raise fault

    def stop(self) -> None:
        """End the thread; what is still waiting is dropped."""
        with self._moved:
            self._stopped = True
            self._moved.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._moved:
                self._moved.wait_for(lambda: self._stopped or (bool(self._waiting) and self._fault is None))
                if self._stopped:
                    return
                report = self._waiting[0]
            fault: BriqueError | None = None
            try:
                self._send(report)
            except BriqueError as met:
                fault = met
            with self._moved:
                self._fault = fault
                if fault is None and self._waiting and self._waiting[0] is report:
                    self._waiting.popleft()
                    self._commands -= report.count
                self._moved.notify_all()


class AtOnce:
    """Reports that are with the engine before anything else happens: where threads would spoil what is tested."""

    def __init__(self, send: Callable[[Report], None]) -> None:
        self.later = self.now = send

    def flush(self) -> None:
        """Nothing is on its way."""

    def stop(self) -> None:
        """Nothing runs."""
