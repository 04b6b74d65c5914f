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

import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import time
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import psycopg

from brique.demo import processes
from brique.demo.locks import POLL_SECONDS, locked
from brique.errors import BackendAway, BadConfiguration, Busy, NotAllowed

State = Literal["running", "frozen", "stopped"]

PORTS = range(15432, 15532)
"""Below the ports that the system hands out for outgoing connections, so that ours is not taken between two runs."""
START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 20
LOCK_SECONDS_MAX = 90
LOG_BYTES_MAX = 5_000_000
SOCKET_PATH_BYTES_MAX = 90
"""The system allows 107 bytes for a socket's path; `.s.PGSQL.15432` takes 15 of them."""

_SETTINGS = """
# --- the demo's settings ---
listen_addresses = '127.0.0.1'
max_connections = 60
shared_buffers = 128MB
maintenance_work_mem = 256MB
max_parallel_maintenance_workers = 0
max_wal_size = 1GB
wal_level = minimal
max_wal_senders = 0
fsync = on
timezone = 'Africa/Dakar'
lc_messages = 'C'
log_min_messages = warning
log_min_error_statement = panic
logging_collector = off
jit = off
"""

_ACCESS = """
# TYPE  DATABASE  USER  ADDRESS       METHOD
local   all       all                 trust
host    all       all   127.0.0.1/32  scram-sha-256
"""


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
        try:
            text = (self.data / "server.log").read_text("utf-8", "replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    # --- what can be done

    def make(self) -> None:
        """Make the server's data (about 2 s); does nothing when it is made. A half-made one is made again."""
        with self._locked():
            if self.made:
                return
            programs, account = processes.find_programs(), processes.unprivileged_account()
            home = self._home(account)
            kept = _Kept(
                port=self._wanted_port or free_port(),
                data=str(home / "data"),
                password=secrets.token_urlsafe(18),
                admin_password=secrets.token_urlsafe(18),
            )
            aside = home / "data.new"
            if lost := processes.postmaster_pid(home / "data"):
                processes.kill_tree(lost)
            for left_over in (aside, home / "data"):
                shutil.rmtree(left_over, ignore_errors=True)
            self._initdb(programs, account, home, aside, kept)
            aside.rename(home / "data")
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
            self._start()

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
        _write_private(aside, json.dumps(asdict(kept)))
        aside.rename(self.folder / "server.json")

    def _locked(self) -> AbstractContextManager[None]:
        """Hold the folder's lock, so that only one process changes the server's state at a time."""
        return locked(self.folder / "lock", LOCK_SECONDS_MAX)

    def _home(self, account: processes.Account | None) -> Path:
        """The folder, owned by the account that runs PostgreSQL, in which the data folder is made.

        An unprivileged account cannot pass through a private home such as /root: then the data go to /var/lib.
        """
        home = self.folder / "postgresql"
        if account is not None and not _can_pass(account, self.folder):
            name = hashlib.sha256(str(self.folder).encode()).hexdigest()[:12]
            home = Path("/var/lib") / f"brique-demo-{name}"
        home.mkdir(mode=0o700, exist_ok=True)
        if account is not None:
            os.chown(home, account.uid, account.gid)
        return home

    def _initdb(self, programs: Path, account: processes.Account | None, home: Path, data: Path, kept: _Kept) -> None:
        secret = home / "secret"
        _write_private(secret, kept.admin_password)
        if account is not None:
            os.chown(secret, account.uid, account.gid)
        command = [str(programs / "initdb"), "-D", str(data), "-U", "brique", f"--pwfile={secret}"]
        command += ["-A", "scram-sha-256", "-E", "UTF8", "--locale=C"]
        done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False, **_as(account))  # noqa: S603
        secret.unlink()
        if done.returncode != 0:
            raise BadConfiguration(f"PostgreSQL could not make its data: {done.stderr.strip()[-800:]}")
        with (data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(_SETTINGS)
        (data / "pg_hba.conf").write_text(_ACCESS, "utf-8")

    def _start(self) -> None:
        kept = self._kept()
        data = Path(kept.data)
        if not _is_free(kept.port):
            raise BadConfiguration(
                f"Another program listens on 127.0.0.1:{kept.port}, the port of the demo's ERP",
                try_this="end that program, or `brique demo reset` to make the demo anew on another port",
                port=kept.port,
            )
        _forget_reused_pid(data)
        log = data / "server.log"
        if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
            log.unlink()
        where = (
            str(data) if len(os.fsencode(data)) <= SOCKET_PATH_BYTES_MAX and not set(str(data)) & set(",\"'") else ""
        )
        options = f"-p {kept.port} -c unix_socket_directories={_quoted(where)}"
        command = [str(processes.find_programs() / "pg_ctl"), "start", "-s", "-w", "-t", str(START_SECONDS_MAX)]
        command += ["-D", str(data), "-l", str(log), "-o", options]
        done = subprocess.run(  # noqa: S603
            command,
            cwd=data,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            check=False,
            **_as(processes.unprivileged_account()),
        )
        if done.returncode != 0:
            raise BadConfiguration(f"The demo's PostgreSQL does not start:\n{self.log(8)}")

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


def _write_private(path: Path, text: str) -> None:
    """Write a file that only we may read, and flush it to disk."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _as(account: processes.Account | None) -> dict[str, Any]:
    return {} if account is None else {"user": account.uid, "group": account.gid, "extra_groups": []}


def _can_pass(account: processes.Account, folder: Path) -> bool:
    """Whether the account may walk through `folder` and all above it."""
    for place in (folder, *folder.parents):
        facts = place.stat()
        if facts.st_uid == account.uid:
            allowed = facts.st_mode & stat.S_IXUSR
        elif facts.st_gid == account.gid:
            allowed = facts.st_mode & stat.S_IXGRP
        else:
            allowed = facts.st_mode & stat.S_IXOTH
        if not allowed:
            return False
    return True


def _quoted(text: str) -> str:
    """`text` for the shell through which pg_ctl starts PostgreSQL."""
    return "'" + text.replace("'", "'\\''") + "'"


def _forget_reused_pid(data: Path) -> None:
    """Remove postmaster.pid when its number now belongs to a program that is not PostgreSQL.

    After a power cut such a number would keep PostgreSQL from starting; one that is free, or another PostgreSQL's,
    it judges itself.
    """
    try:
        pid = int((data / "postmaster.pid").read_text("utf-8").split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return
    arguments = processes.command_line(pid)
    if arguments and "postgres" not in arguments[0]:
        (data / "postmaster.pid").unlink()
