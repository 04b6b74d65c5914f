"""One running process: start it, hear that it is ready, hear that it ended, end it."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from brique.supervise import child
from brique.supervise.watcher import Watcher

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Process:
    """Made by `start`. `ready` and `ended` are futures of the running loop; `ended` gives "exit 1" or "SIGKILL"."""

    def __init__(self, popen: subprocess.Popen[bytes], pidfd: int, ready_file: int, watcher: Watcher) -> None:
        loop = asyncio.get_running_loop()
        self.pid = popen.pid
        self.started = loop.time()
        self.ready: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[str] = loop.create_future()
        self._watcher = watcher
        self._popen = popen
        self._pidfd = pidfd
        self._ready_file = ready_file
        loop.add_reader(pidfd, self._on_end)
        if ready_file >= 0:
            loop.add_reader(ready_file, self._on_ready)
        else:
            self.ready.set_result(None)

    def signal(self, number: int) -> None:
        """Send a signal to the process, if it still runs."""
        if not self.ended.done():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def kill_group(self) -> None:
        """Kill the process and all that it has started."""
        if not self.ended.done():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    async def end(self, hurry: asyncio.Event) -> None:
        """Ask the process to end; kill its group when it has not after the graceful time, or once `hurry` is set."""
        self.signal(self._watcher.stop_signal)
        self.signal(signal.SIGCONT)  # a stopped process could not hear it
        hurried = asyncio.ensure_future(hurry.wait())
        either: list[asyncio.Future[Any]] = [self.ended, hurried]
        try:
            await asyncio.wait(either, timeout=self._watcher.graceful_seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hurried.cancel()
        self.kill_group()
        await asyncio.shield(self.ended)

    def usage(self) -> dict[str, float]:
        """`rss_bytes` and `cpu_seconds`, from /proc; zeros when the process is gone."""
        return usage(self.pid)

    def _on_ready(self) -> None:
        said = os.read(self._ready_file, 64)
        if said and not self.ready.done():
            self.ready.set_result(None)
        self._close_ready_file()  # said, or closed without a word: then the time for it decides

    def _close_ready_file(self) -> None:
        if self._ready_file >= 0:
            asyncio.get_running_loop().remove_reader(self._ready_file)
            os.close(self._ready_file)
            self._ready_file = -1

    def _on_end(self) -> None:
        """The pidfd woke us. While the process is not yet waited for, its number cannot belong to another group."""
        self.kill_group()
        code = self._popen.wait()
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._close_ready_file()
        self.ended.set_result(_exit_text(code))


def start(
    watcher: Watcher, *, name: str, generation: int, listeners: Sequence[int], environment: Mapping[str, str]
) -> Process:
    """Start one process of `watcher` in its own session and process group. Raises OSError when it cannot start."""
    env = {**environment, **watcher.env, child.PROCESS: name, child.GENERATION: str(generation)}
    passed = list(listeners) if watcher.listens else []
    if passed:
        env[child.LISTEN_FDS] = ",".join(map(str, passed))
    ready_read, ready_write = os.pipe() if watcher.ready else (-1, -1)
    if watcher.ready:
        env[child.READY_FD] = str(ready_write)
        passed.append(ready_write)
    parent = os.getpid()
    try:
        popen = subprocess.Popen(  # noqa: S603 - the command is the caller's
            watcher.argv,
            env=env,
            stdin=subprocess.DEVNULL,
            pass_fds=passed,
            start_new_session=True,
            preexec_fn=lambda: _die_with(parent),
        )
    except BaseException:
        if ready_read >= 0:
            os.close(ready_read)
        raise
    finally:
        if ready_write >= 0:
            os.close(ready_write)
    try:
        pidfd = os.pidfd_open(popen.pid)
    except OSError:
        os.killpg(popen.pid, signal.SIGKILL)
        popen.wait()
        if ready_read >= 0:
            os.close(ready_read)
        raise
    return Process(popen, pidfd, ready_read, watcher)


def _die_with(parent: int) -> None:
    """In the child, before its program: the kernel kills it when the supervisor dies, however that happens."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)


def _exit_text(code: int) -> str:
    if code >= 0:
        return f"exit {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def usage(pid: int) -> dict[str, float]:
    """As `Process.usage`."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, IndexError, ValueError):
        return {"rss_bytes": 0, "cpu_seconds": 0.0}
    ticks = int(fields[11]) + int(fields[12])
    return {"rss_bytes": pages * _PAGE_BYTES, "cpu_seconds": ticks / os.sysconf("SC_CLK_TCK")}
