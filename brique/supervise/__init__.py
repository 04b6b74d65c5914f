"""Starts brique's processes, watches them, and starts them again; holds the sockets that they serve on.

The supervisor opens the listening sockets and hands them to its children, so no connection is refused while a process
is replaced. A process that ends is started again at once, and after that with growing pauses. `reload` starts a new
generation, waits until it is ready, and only then retires the old one; when the new one is broken the old one stays.
Groups start in order and stop in the opposite order. When the supervisor itself is killed its children die with it.
Commands come over DATA/control.sock, which only the same user (or root) can open. Linux only (pidfd, PDEATHSIG).
"""

from brique.supervise.backoff import Backoff
from brique.supervise.child import announce_ready, inherited_sockets
from brique.supervise.control import Control, SupervisorAway
from brique.supervise.sockets import listeners_from_systemd, open_listener
from brique.supervise.supervisor import Supervisor
from brique.supervise.watcher import Watcher

__all__ = [
    "Backoff",
    "Control",
    "Supervisor",
    "SupervisorAway",
    "Watcher",
    "announce_ready",
    "inherited_sockets",
    "listeners_from_systemd",
    "open_listener",
]
