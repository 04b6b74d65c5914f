"""A lock between processes: a file that one of them holds; the system lets go of it when its holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from brique.errors import Busy, NotAllowed

POLL_SECONDS = 0.02


@contextmanager
def locked(path: Path, seconds: float) -> Iterator[None]:
    """Hold the lock file `path` (made with its folder), after waiting at most `seconds` for it.

    Not re-entrant: a process that takes it twice waits for itself.

    Raises:
        Busy: another process held it all the while.
        NotAllowed: the folder belongs to another user.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except PermissionError:
        raise NotAllowed(f"The demo in {path.parent} belongs to another user") from None
    try:
        end = time.monotonic() + seconds
        while not _taken(handle):
            if time.monotonic() > end:
                raise Busy(f"Another process has held {path} for more than {seconds:g} s", try_this="try again later")
            time.sleep(POLL_SECONDS)
        yield
    finally:
        os.close(handle)


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
