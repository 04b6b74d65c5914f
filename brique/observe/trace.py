"""What one request did: for the developer's panel. Off unless somebody asks; then each asks `tracing()` first.

A trace goes with its request into the threads that work for it (a context variable), and ends with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

STATEMENTS_MAX = 1_000
LINES_MAX = 200


@dataclass
class Trace:
    """`began` on `perf_counter`. `phases`: seconds by name. `statements`: SQL and seconds, in order. `views`: the views
    asked for, in the words of who asked. `lines`: of the log. `outside`: calls that left the process."""

    began: float = field(default_factory=perf_counter)
    phases: dict[str, float] = field(default_factory=dict)
    statements: list[tuple[str, float]] = field(default_factory=list)
    views: list[Any] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """The block's time counts as `name`."""
        began = perf_counter()
        try:
            yield
        finally:
            self.add(name, perf_counter() - began)

    def add(self, name: str, seconds: float) -> None:
        self.phases[name] = self.phases.get(name, 0.0) + seconds

    def statement(self, sql: str, seconds: float) -> None:
        if len(self.statements) < STATEMENTS_MAX:
            self.statements.append((sql, seconds))


_trace: ContextVar[Trace | None] = ContextVar("trace", default=None)


def tracing() -> Trace | None:
    """The trace of the request that this code works for; None when nobody asked for one."""
    return _trace.get()


@contextmanager
def traced(trace: Trace | None) -> Iterator[None]:
    """`tracing()` gives `trace` inside the block."""
    token = _trace.set(trace)
    try:
        yield
    finally:
        _trace.reset(token)
