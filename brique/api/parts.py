"""What the API needs of the intranet around it: a shape, filled by the wiring."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol
from zoneinfo import ZoneInfo

from brique.clock import Clock
from brique.commands import CommandSpec, Desk
from brique.live import Live
from brique.schema import BackendSpec, TableSpec
from brique.settings import Settings
from brique.views import Copy, Views


class Parts(Protocol):
    """The intranet. `borrow` gives a copy for a block, to any thread, one thread at a time."""

    @property
    def title(self) -> str: ...
    @property
    def languages(self) -> tuple[str, ...]: ...
    @property
    def timezone(self) -> ZoneInfo: ...
    @property
    def specs(self) -> Mapping[str, TableSpec]: ...
    @property
    def backends(self) -> Mapping[str, BackendSpec]: ...
    @property
    def views(self) -> Views: ...
    @property
    def commands(self) -> Mapping[str, CommandSpec]: ...
    @property
    def desk(self) -> Desk: ...
    @property
    def borrow(self) -> Callable[[], AbstractContextManager[Copy]]: ...
    @property
    def live(self) -> Live: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def clock(self) -> Clock: ...
