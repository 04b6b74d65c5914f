"""The supervisor's word on its processes, for the status page: over its control socket, or nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from brique.channel import Limits, SyncChannel
from brique.errors import BriqueError

CONTROL_SOCKET = "control.sock"
_SECONDS_MAX = 0.25
_KEPT_SECONDS = 1.0
_lock = threading.Lock()
_kept: dict[Path, tuple[float, Sequence[Mapping[str, Any]]]] = {}


def processes_of(data: Path) -> Sequence[Mapping[str, Any]]:
    """What the supervisor of `data` says of each process, at most a second old; empty when it does not answer."""
    with _lock:
        when, known = _kept.get(data, (float("-inf"), ()))
        if time.monotonic() - when < _KEPT_SECONDS:
            return known
        found = _ask(data)
        _kept[data] = (time.monotonic(), found)
        return found


def _ask(data: Path) -> Sequence[Mapping[str, Any]]:
    path = data / CONTROL_SOCKET
    if not path.exists():
        return ()
    channel = SyncChannel(path, limits=Limits(connect_seconds=_SECONDS_MAX), name="supervisor")
    try:
        processes: Sequence[Mapping[str, Any]] = channel.call("status", {}, _SECONDS_MAX)["processes"]
        return processes
    except BriqueError:
        return ()
    finally:
        channel.close()
