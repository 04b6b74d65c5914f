"""The programs of PostgreSQL on this machine, and signals to a whole tree of its processes.

Each child of a postmaster makes its own session, so a process group reaches none of them: to freeze, thaw or kill
the server the tree is walked by parent ids, the postmaster first, so that nothing new is born meanwhile.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from brique.errors import BadConfiguration

DEBIAN_COMMAND = "apt-get install postgresql"
DEBIAN_VERSIONS = Path("/usr/lib/postgresql")
FREEZE_ROUNDS_MAX = 50
"""Walks of the tree before a freeze gives up; the second usually finds nothing new."""


@dataclass(frozen=True)
class Account:
    """The unprivileged account that PostgreSQL runs as, since it refuses to run as root."""

    name: str
    uid: int
    gid: int


def find_programs(*, versions: Path = DEBIAN_VERSIONS) -> Path:
    """The folder that holds `initdb` and `postgres`: on the PATH, else the newest of `versions` (one folder each).

    Raises:
        BadConfiguration: PostgreSQL's server is not installed; names the command that installs it.
    """
    candidates: list[Path] = []
    if found := shutil.which("initdb"):
        candidates.append(Path(found).resolve().parent)
    numbered = [path for path in versions.glob("*/bin") if path.parent.name.isdigit()]
    candidates += sorted(numbered, key=lambda path: -int(path.parent.name))
    if config := shutil.which("pg_config"):
        done = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode == 0:
            candidates.append(Path(done.stdout.strip()))
    for folder in candidates:
        if all(os.access(folder / name, os.X_OK) for name in ("initdb", "postgres")):
            return folder
    raise BadConfiguration(
        f"PostgreSQL is not installed: no initdb on the PATH, in {versions} or by pg_config",
        try_this=DEBIAN_COMMAND,
    )


def unprivileged_account() -> Account | None:
    """Whom to run PostgreSQL as: None for an ordinary user (himself), else `postgres` or `nobody`.

    Raises:
        BadConfiguration: we are root and neither account exists.
    """
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise BadConfiguration("PostgreSQL does not run as root, and this machine has no account postgres or nobody")


def parents() -> dict[int, tuple[int, str]]:
    """Every process of the machine: id → (its parent's id, its state letter; T is stopped, Z is dead)."""
    if not Path("/proc/self/stat").exists():
        return _parents_by_ps()
    table: dict[int, tuple[int, str]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                text = Path(entry.path, "stat").read_text("utf-8", "replace")
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended while we looked
            state, parent = text.rpartition(")")[2].split()[:2]
            table[int(entry.name)] = (int(parent), state)
    return table


def _parents_by_ps() -> dict[int, tuple[int, str]]:
    ps = shutil.which("ps")
    if ps is None:
        raise BadConfiguration("neither /proc nor the program ps is there: processes cannot be listed")
    done = subprocess.run([ps, "-A", "-o", "pid=,ppid=,state="], capture_output=True, text=True, check=True)  # noqa: S603
    rows = (line.split() for line in done.stdout.splitlines())
    return {int(pid): (int(parent), state[0]) for pid, parent, state in rows}


def state_of(pid: int) -> str | None:
    """The state letter of one process, None when it is gone or a zombie."""
    if Path("/proc/self/stat").exists():
        try:
            letter = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return None
    else:
        letter = _parents_by_ps().get(pid, (0, "Z"))[1]
    return None if letter in "ZX" else letter


def tree(root: int) -> dict[int, str]:
    """`root` and all its descendants that live, parents first: id → state letter. Empty when `root` is gone."""
    table = parents()
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in table.items():
        children.setdefault(parent, []).append(pid)
    found: dict[int, str] = {}
    waiting = [root] if root in table else []
    while waiting:
        pid = waiting.pop(0)
        state = table[pid][1]
        if state not in "ZX":
            found[pid] = state
        waiting += children.get(pid, ())
    return found


def freeze_tree(root: int) -> None:
    """Stop every process of the tree where it stands (SIGSTOP); returns when all of them are stopped or gone."""
    send(root, signal.SIGSTOP)
    for _ in range(FREEZE_ROUNDS_MAX):
        running = [pid for pid, state in tree(root).items() if state not in "Tt"]
        if not running:
            return
        for pid in running:
            send(pid, signal.SIGSTOP)


def thaw_tree(root: int) -> None:
    """Let every process of the tree go on (SIGCONT), children before the postmaster that watches over them."""
    for pid in reversed(tree(root)):
        send(pid, signal.SIGCONT)


def kill_tree(root: int) -> None:
    """End every process of the tree at once (SIGKILL), as a power cut would."""
    kill_all(tree(root))


def kill_all(pids: Iterable[int]) -> None:
    """SIGKILL to each of `pids` that is still there."""
    for pid in pids:
        send(pid, signal.SIGKILL)


def send(pid: int, number: signal.Signals) -> bool:
    """Send a signal; False when the process is gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def command_line(pid: int) -> list[str]:
    """The arguments that a process was started with; empty when it is gone or a zombie."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self").exists():
            return []
        done = subprocess.run(["ps", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False)  # noqa: S603, S607
        return done.stdout.split()
    return [part.decode("utf-8", "replace") for part in raw.split(b"\0") if part]


def postmaster_pid(data: Path) -> int | None:
    """The id of the living postmaster of this data folder, None when none runs.

    A power cut leaves postmaster.pid behind, and its number may belong to another program by now: the process
    counts only when its own command line names the folder.
    """
    try:
        pid = int((data / "postmaster.pid").read_text("utf-8").split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None
    return pid if str(data) in command_line(pid) else None


def can_tell_folders() -> bool:
    """Whether this system tells in which folder a process works."""
    return Path("/proc/self/cwd").exists()


def working_in(data: Path) -> list[int]:
    """The living processes of PostgreSQL whose working folder is `data`; those of other users are not seen."""
    found = []
    for pid in parents():
        try:
            folder = Path(f"/proc/{pid}/cwd").readlink()
        except OSError:
            continue  # gone, a zombie, or another user's
        if folder == data and any("postgres" in part for part in command_line(pid)[:1]):
            found.append(pid)
    return found
