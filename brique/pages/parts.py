"""What the pages are made from; the wiring hands it in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from brique.clock import Clock
from brique.commands import CommandSpec, Desk
from brique.http import Assets
from brique.live import Live
from brique.observe import ErrorGroup, Series
from brique.pages.standing import Signs
from brique.schema import BackendSpec, TableSpec
from brique.settings import Settings
from brique.views import Copy, Views


class DemoPanel(Protocol):
    """The demo's ERP, where there is one."""

    def state(self) -> str:
        """running, frozen or stopped; asks nothing of the database."""
        ...

    def actions(self) -> tuple[str, ...]:
        """What can be done in this state: words that `perform` takes."""
        ...

    def perform(self, action: str) -> str:
        """Do it and give the new state; takes up to a minute."""
        ...


@dataclass(frozen=True)
class StatusFacts:
    """How brique itself is. `processes`: name, state, pid, rss_bytes, restarts, started of each; empty when the
    supervisor does not answer or there is none."""

    processes: Sequence[Mapping[str, Any]] = ()
    samples: Mapping[str, Series] = field(default_factory=dict)
    disk_free_bytes: int = 0
    spool_bytes: int = 0
    store_bytes: int = 0
    errors: Sequence[ErrorGroup] = ()
    version: str = ""
    node: str = ""


@dataclass(frozen=True)
class Parts:
    """One intranet, as its pages see it. `borrow` lends a reader of the copy for a block; `status` answers within
    0.3 s; `places` are the labels of those where views are published, by name."""

    title: str
    languages: tuple[str, ...]
    timezone: ZoneInfo
    specs: Mapping[str, TableSpec]
    backends: Mapping[str, BackendSpec]
    views: Views
    commands: Mapping[str, CommandSpec]
    desk: Desk
    borrow: Callable[[], AbstractContextManager[Copy]]
    live: Live
    settings: Settings
    clock: Clock
    status: Callable[[], StatusFacts]
    assets: Assets
    demo: DemoPanel | None = None
    places: Mapping[str, str] = field(default_factory=dict)
    signs: Signs = field(default_factory=Signs)
