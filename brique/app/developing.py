"""What a web process has more where somebody develops: views that tell how they were asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

from brique.observe import tracing
from brique.pages import note_view
from brique.views import Representation, Views

FAULT_FILE = "developer-fault.txt"


def fault_file(data: Path) -> Path:
    """Where the traceback of a declaration that cannot be loaded stands."""
    return data / FAULT_FILE


class WatchedViews(Views):
    """Views that tell the trace of a request what it asked, and whether it was ready."""

    def get(self, name: str, arguments: Mapping[str, Any] | None = None, user: Any = None) -> Representation:
        if tracing() is None:
            return super().get(name, arguments, user)
        began = perf_counter()
        ready = self.kept(name, arguments, user) is not None
        shown = super().get(name, arguments, user)
        note_view(name, dict(arguments or {}), shown, perf_counter() - began, made=not ready)
        return shown
