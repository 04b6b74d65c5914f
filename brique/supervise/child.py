"""The other side: what a process does that the supervisor has started. It works without a supervisor too."""

from __future__ import annotations

import os
import socket

READY_FD = "BRIQUE_READY_FD"
LISTEN_FDS = "BRIQUE_LISTEN_FDS"
PROCESS = "BRIQUE_PROCESS"
GENERATION = "BRIQUE_GENERATION"


def announce_ready() -> None:
    """Tell the supervisor that this process does its work from now on. Only the first call does something."""
    number = os.environ.pop(READY_FD, "")
    if number:
        file = int(number)
        try:
            os.write(file, b"ready\n")
        except BrokenPipeError:  # the supervisor is gone or has given up; it will say so itself
            return
        finally:
            os.close(file)


def inherited_sockets() -> list[socket.socket]:
    """The listening sockets that the supervisor holds, in its order; empty without one. Call it once."""
    numbers = os.environ.pop(LISTEN_FDS, "")
    sockets = [socket.socket(fileno=int(number)) for number in numbers.split(",") if number]
    for sock in sockets:
        sock.set_inheritable(False)  # not for the children of this process
    return sockets
