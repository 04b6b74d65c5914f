"""Who makes a representation, among all processes that serve the same store: one does, the others wait.

A claim is a lock on one byte of a file, at a place that its name decides. It costs two system calls, and goes with the
process that holds it, however that ends.
"""

from __future__ import annotations

import fcntl
import os
import struct
from hashlib import blake2b
from pathlib import Path

_LOCK = struct.Struct("hhqqi4x")
_SET = getattr(fcntl, "F_OFD_SETLK", None)  # of Linux; elsewhere each process makes its own


class Claims:
    """Claims of one process. Thread safe; two threads of the process may hold the same one."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self, name: str) -> bool:
        """False when another process holds it."""
        if _SET is None:
            return True
        try:
            fcntl.fcntl(self._file, _SET, _lock(fcntl.F_WRLCK, name))
        except (BlockingIOError, PermissionError):
            return False
        except OSError:  # a file system without locks, or one that is away
            return True
        return True

    def release(self, name: str) -> None:
        if _SET is not None and self._file >= 0:
            fcntl.fcntl(self._file, _SET, _lock(fcntl.F_UNLCK, name))

    def close(self) -> None:
        file, self._file = self._file, -1
        os.close(file)


def _lock(kind: int, name: str) -> bytes:
    place = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") >> 1
    return _LOCK.pack(kind, os.SEEK_SET, min(place, 2**63 - 2), 1, 0)
