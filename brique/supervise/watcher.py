"""What is to run: a command, how many of it, and how it starts and ends."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field

from brique import errors

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@+-]{0,99}")
COUNT_MAX = 64


@dataclass(frozen=True, slots=True)
class Watcher:
    """One command that is kept running.

    Args:
        name: as shown and used in commands; its processes are called so, or `web-1`, `web-2`, ... when `scalable`.
        argv: program and arguments.
        env: added to the supervisor's environment.
        count: processes; only 1 unless `scalable`.
        scalable: several may run side by side, so it can be reloaded by generations and `incr` and `decr` apply.
        listens: the processes inherit the listening sockets (`child.inherited_sockets`).
        ready: a process is ready when it says so (`child.announce_ready`); else as soon as it was started.
        ready_seconds: a process that is not ready by then is killed and counted as crashed.
        stop_signal: asks a process to end; after `graceful_seconds` it and its process group are killed.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    count: int = 1
    scalable: bool = False
    listens: bool = False
    ready: bool = False
    ready_seconds: float = 30.0
    stop_signal: int = signal.SIGTERM
    graceful_seconds: float = 10.0

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise errors.BadConfiguration(
                f"{self.name!r} cannot name a process", try_this="Use letters, digits, - and _."
            )
        if not self.argv:
            raise errors.BadConfiguration(f"{self.name} has no command to run")
        if not 0 <= self.count <= COUNT_MAX or (self.count != 1 and not self.scalable):
            raise errors.BadConfiguration(
                f"{self.name} cannot run {self.count} times",
                try_this=f"Choose 1 to {COUNT_MAX}." if self.scalable else "It must run exactly once.",
            )
