"""PostgreSQL's data folder and its start: what `initdb` and `pg_ctl` are told.

PostgreSQL refuses to run as root, so root lets the account `postgres` (or `nobody`) run it. The socket lies in the
data folder, which only that account may enter, and trusts who got there; by TCP the passwords are asked for.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

from brique.demo import processes
from brique.demo.locks import POLL_SECONDS
from brique.demo.processes import Account
from brique.errors import BadConfiguration

SUPERUSER = "brique"
START_SECONDS_MAX = 60
ORPHANS_SECONDS_MAX = 20
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


def home_for(folder: Path) -> Path:
    """The folder, owned by the account that runs PostgreSQL, in which the data folder of the demo in `folder` lies.

    An unprivileged account cannot pass through a private home such as /root: then the data go to /var/lib.
    """
    account = processes.unprivileged_account()
    home = folder / "postgresql"
    if account is not None and not _can_pass(account, folder):
        name = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
        home = Path("/var/lib") / f"brique-demo-{name}"
    home.mkdir(mode=0o700, exist_ok=True)
    if account is not None:
        os.chown(home, account.uid, account.gid)
    return home


def make(home: Path, password: str) -> None:
    """Make the data folder `home`/data, whose superuser signs in with `password`; all or nothing (about 1 s).

    What an attempt that was cut off left there is killed and deleted.
    """
    programs, account = processes.find_programs(), processes.unprivileged_account()
    data, aside, secret = home / "data", home / "data.new", home / "secret"
    if lost := processes.postmaster_pid(data):
        processes.kill_tree(lost)
    for left_over in (aside, data):
        if left_over.exists():
            shutil.rmtree(left_over)
    write_private(secret, password)
    if account is not None:
        os.chown(secret, account.uid, account.gid)
    command = [str(programs / "initdb"), "-D", str(aside), "-U", SUPERUSER, f"--pwfile={secret}"]
    command += ["-A", "scram-sha-256", "-E", "UTF8", "--locale=C"]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False, **_as(account))  # noqa: S603
    secret.unlink()
    if done.returncode != 0:
        raise BadConfiguration(f"PostgreSQL could not make its data: {done.stderr.strip()[-800:]}")
    with (aside / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write(_SETTINGS)
    (aside / "pg_hba.conf").write_text(_ACCESS, "utf-8")
    aside.rename(data)


def start(data: Path, port: int) -> None:
    """Start PostgreSQL, detached from this process, and wait until it answers.

    Raises:
        BadConfiguration: it does not start; the message holds the end of its log.
    """
    programs, account = processes.find_programs(), processes.unprivileged_account()
    _forget_the_dead(data)
    file = data / "server.log"
    if file.exists() and file.stat().st_size > LOG_BYTES_MAX:
        file.unlink()
    options = f"-p {port} -c unix_socket_directories={_quoted(_socket_folder(data))}"
    command = [str(programs / "pg_ctl"), "start", "-s", "-w", "-t", str(START_SECONDS_MAX)]
    command += ["-D", str(data), "-l", str(file), "-o", options]
    done = subprocess.run(  # noqa: S603
        command,
        cwd=data.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        check=False,
        **_as(account),
    )
    if done.returncode != 0:
        raise BadConfiguration(f"The demo's PostgreSQL does not start:\n{log(data, 8)}")


def log(data: Path, lines: int) -> str:
    """The last lines of the server's own log, "" when it has none."""
    try:
        text = (data / "server.log").read_text("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def write_private(path: Path, text: str) -> None:
    """Write a file that only we may read, and flush it to disk."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _as(account: Account | None) -> dict[str, Any]:
    """What makes `subprocess` run a program as `account`."""
    return {} if account is None else {"user": account.uid, "group": account.gid, "extra_groups": []}


def _can_pass(account: Account, folder: Path) -> bool:
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


def _socket_folder(data: Path) -> str:
    """Where the socket goes: into the data folder, or nowhere when its path is too long or too odd for that."""
    text = str(data)
    return "" if len(os.fsencode(data)) > SOCKET_PATH_BYTES_MAX or set(text) & set(",\"'") else text


def _quoted(text: str) -> str:
    """`text` for the shell through which pg_ctl starts PostgreSQL."""
    return "'" + text.replace("'", "'\\''") + "'"


def _forget_the_dead(data: Path) -> None:
    """End the orphans of a postmaster that was killed, and remove its lock files.

    PostgreSQL would judge by the number in those files, and refuse to start while it belongs to another program, as
    after a power cut, or to a zombie that a container's first process never buries. Who holds our lock and finds
    nobody at work in the folder knows better. Where that cannot be found out, the files stay.
    """
    if not processes.can_tell_folders():
        return
    end = time.monotonic() + ORPHANS_SECONDS_MAX
    while orphans := processes.working_in(data):
        if time.monotonic() > end:
            return
        processes.kill_all(orphans)
        time.sleep(POLL_SECONDS)
    for left_over in (data / "postmaster.pid", *data.glob(".s.PGSQL.*")):
        left_over.unlink(missing_ok=True)
