"""A PostgreSQL of the demo's own: made in a folder, run detached, stopped, frozen and killed from any process.

It plays the machine on which the ERP runs, so nobody's supervisor owns it: `pg_ctl` detaches it, and whoever calls
later finds it by the process id in its data folder. What does not change (port, passwords, where the data are) is
kept in `server.json` (0600). The superuser `brique` and the role `intranet` sign in with those passwords; the
socket lies in the data folder, which only the account that runs PostgreSQL may enter, and trusts who got there.

    stopped --start--> running --freeze--> frozen --thaw--> running --stop, kill--> stopped

A file lock lets one process at a time change the state. `state` takes no lock and reads no connection, so it
answers at once, whatever the server does.
"""

from __future__ import annotations

import json
import secrets
import shutil
import signal
import socket
import time
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import psycopg

from brique.demo import cluster, processes
from brique.demo.cluster import write_private
from brique.demo.locks import POLL_SECONDS, locked
from brique.errors import BackendAway, BadConfiguration, Busy, NotAllowed

State = Literal["running", "frozen", "stopped"]

PORTS = range(15432, 15532)
"""Below the ports that the system hands out for outgoing connections, so that ours is not taken between two runs."""
STOP_SECONDS_MAX = 20
LOCK_SECONDS_MAX = 90


@dataclass(frozen=True)
class _Kept:
    """What `server.json` holds."""

    port: int
    data: str
    password: str
    admin_password: str


class DemoServer:
    """The demo's database server in `folder` (made when it is missing). Several objects, in several processes, may
    speak of the same folder at once.

    Args:
        port: of 127.0.0.1; the first free one of PORTS when None. Counts only when the server is first made.
    Raises:
        BadConfiguration: PostgreSQL is not installed; `try_this` is the command that installs it.
        NotAllowed: the server belongs to another user.
    """

    database = "erp"

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder.absolute()
        self._wanted_port = port

    # --- what it is

    @property
    def made(self) -> bool:
        """Whether `make` has come to its end in this folder."""
        return (self.folder / "server.json").exists()

    @property
    def port(self) -> int:
        return self._kept().port

    @property
    def url(self) -> str:
        """The ERP's database for the intranet: a role that may read and write rows and add a table, no more."""
        kept = self._kept()
        return f"postgresql://intranet:{kept.password}@127.0.0.1:{kept.port}/{self.database}"

    def admin_url(self, database: str = "") -> str:
        """`database` (the ERP's when empty) for the superuser."""
        kept = self._kept()
        return f"postgresql://brique:{kept.admin_password}@127.0.0.1:{kept.port}/{database or self.database}"

    @property
    def password(self) -> str:
        """What the role `intranet` signs in with."""
        return self._kept().password

    @property
    def data(self) -> Path:
        """PostgreSQL's data folder."""
        return Path(self._kept().data)

    @property
    def pid(self) -> int | None:
        """The server's first process, None when it is stopped."""
        return processes.postmaster_pid(self.data) if self.made else None

    def state(self) -> State:
        """running, frozen or stopped, as the system's list of processes tells it."""
        pid = self.pid
        if pid is None:
            return "stopped"
        letter = processes.state_of(pid)
        if letter is None:
            return "stopped"
        return "frozen" if letter in "Tt" else "running"

    def log(self, lines: int = 20) -> str:
        """The last lines of the server's own log."""
        return cluster.log(self.data, lines)

    # --- what can be done

    def make(self) -> None:
        """Make the server's data (about 2 s); does nothing when it is made. A half-made one is made again."""
        with self._locked():
            if self.made:
                return
            home = cluster.home_for(self.folder)
            kept = _Kept(
                port=self._wanted_port or free_port(),
                data=str(home / "data"),
                password=secrets.token_urlsafe(18),
                admin_password=secrets.token_urlsafe(18),
            )
            cluster.make(home, kept.admin_password)
            self._keep(kept)

    def start(self) -> None:
        """Make it when needed, start it and wait until it answers; a frozen server is thawed. Idempotent.

        Raises:
            BadConfiguration: another program listens on its port, or PostgreSQL does not start (tells its log).
        """
        self.make()
        with self._locked():
            state = self.state()
            if state == "frozen":
                self._signal(processes.thaw_tree)
            if state != "stopped":
                return
            kept = self._kept()
            if not _is_free(kept.port):
                raise BadConfiguration(
                    f"Another program listens on 127.0.0.1:{kept.port}, the port of the demo's ERP",
                    try_this="brique demo",
                    port=kept.port,
                )
            cluster.start(self.data, kept.port)

    def stop(self) -> None:
        """Stop it in order: connections are cut, what was committed is on disk. Idempotent; also when frozen."""
        with self._locked():
            pid = self.pid
            if pid is None:
                return
            self._signal(processes.thaw_tree)
            self._signal(lambda root: processes.send(root, signal.SIGINT))
            if not self._ended(pid, STOP_SECONDS_MAX):
                self._signal(processes.kill_tree)
                self._ended(pid, STOP_SECONDS_MAX)

    def kill(self) -> None:
        """kill -9 of all its processes, as a power cut would; it recovers at its next start. Idempotent."""
        with self._locked():
            pid = self.pid
            if pid is not None:
                self._signal(processes.kill_tree)
                self._ended(pid, STOP_SECONDS_MAX)

    def freeze(self) -> None:
        """Stop all its processes where they stand: it takes connections and answers nothing. Idempotent.

        Raises:
            Busy: the server is stopped, so there is nothing to freeze.
        """
        with self._locked():
            if self.pid is None:
                raise Busy("The demo's ERP is stopped, so it cannot be frozen", try_this="brique demo start")
            self._signal(processes.freeze_tree)

    def thaw(self) -> None:
        """Let a frozen server go on; nothing happens to one that is not frozen."""
        with self._locked():
            if self.pid is not None:
                self._signal(processes.thaw_tree)

    def move_when_port_is_taken(self) -> bool:
        """Give a stopped server another port when a stranger listens on its own; its `url` changes. True if moved."""
        with self._locked():
            kept = self._kept()
            if self.state() != "stopped" or _is_free(kept.port):
                return False
            self._keep(_Kept(**{**asdict(kept), "port": free_port()}))
            return True

    def remove(self) -> None:
        """Kill the server and delete all that it had. Idempotent."""
        self.kill()
        with self._locked():
            if self.made:
                shutil.rmtree(self.data.parent)
                (self.folder / "server.json").unlink()

    # --- inside

    def _kept(self) -> _Kept:
        try:
            return _Kept(**json.loads((self.folder / "server.json").read_text("utf-8")))
        except FileNotFoundError:
            raise BadConfiguration(
                f"There is no demo in {self.folder}", try_this="brique demo", folder=str(self.folder)
            ) from None
        except PermissionError:
            raise NotAllowed(f"The demo in {self.folder} belongs to another user") from None
        except (ValueError, TypeError) as fault:
            raise BadConfiguration(
                f"{self.folder / 'server.json'} cannot be read: {fault}", try_this="brique demo reset"
            ) from fault

    def _keep(self, kept: _Kept) -> None:
        """Publish `server.json`: aside, flushed, renamed."""
        aside = self.folder / "server.json.new"
        write_private(aside, json.dumps(asdict(kept)))
        aside.rename(self.folder / "server.json")

    def _locked(self) -> AbstractContextManager[None]:
        """Hold the folder's lock, so that only one process changes the server's state at a time."""
        return locked(self.folder / "lock", LOCK_SECONDS_MAX)

    def _signal(self, send: Any) -> None:
        """Call `send(pid)` on the server's first process, unless it has just ended."""
        pid = self.pid
        if pid is None:
            return
        try:
            send(pid)
        except PermissionError:
            raise NotAllowed(f"The demo in {self.folder} is run by another user", pid=pid) from None

    def _ended(self, pid: int, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while processes.tree(pid):
            if time.monotonic() > end:
                return False
            time.sleep(POLL_SECONDS)
        return True


def answers(url: str, seconds: int = 2) -> bool:
    """Whether a server at `url` lets us in within `seconds` (at least 2, says libpq)."""
    try:
        psycopg.connect(url, connect_timeout=max(2, seconds)).close()
    except psycopg.OperationalError:
        return False
    return True


def free_port() -> int:
    """The first port of PORTS that nobody listens on. Raises BackendAway when all are taken."""
    for port in PORTS:
        if _is_free(port):
            return port
    raise BackendAway(f"All ports from {PORTS.start} to {PORTS.stop - 1} of 127.0.0.1 are taken")


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
