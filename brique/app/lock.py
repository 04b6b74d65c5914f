"""One writer for each data folder: whoever writes spool and store holds the lock of the folder, whatever he is: the
engine's process, an intranet inside another program, the command line while nothing runs."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from brique.errors import Busy

LOCK = "engine.lock"
_LOOK_SECONDS = 0.05


def take(data: Path, *, wait_seconds: float = 0.0) -> int:
    """The open lock file of `data`, held until it is closed or its process ends, however. Raises Busy when somebody
    else holds it all that time."""
    file = os.open(data / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    end = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError as fault:
            if time.monotonic() >= end:
                os.close(file)
                raise Busy(
                    f"Something else writes in {data}, and does not answer.",
                    try_this="try again in a moment; `brique ctl status` shows what runs",
                ) from fault
        except BaseException:
            os.close(file)
            raise
        time.sleep(_LOOK_SECONDS)


@contextmanager
def held(data: Path, *, wait_seconds: float = 0.0) -> Iterator[None]:
    """The lock for a block."""
    file = take(data, wait_seconds=wait_seconds)
    try:
        yield
    finally:
        os.close(file)
