"""A real server process for tests: started, stopped, killed, frozen and thawed; whatever kind of server it is."""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from brique.demo.processes import Account, freeze_tree, kill_tree, thaw_tree

START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 20.0


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Look every 10 ms until `condition()` holds; fail the test after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:g} s in vain for: {what}")
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def lacking(reason: str) -> None:
    """Skip the test, since something is not installed; fail it where CI=true."""
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(reason)
    pytest.skip(reason)


def as_account(account: Account | None) -> dict[str, Any]:
    """The arguments of `subprocess` that run a program as that account (None: as ourselves)."""
    return {} if account is None else {"user": account.uid, "group": account.gid, "extra_groups": []}


def new_folder(kind: str, account: Account | None = None) -> Path:
    """A fresh folder outside the tests' own, which that account may write: socket paths must be short."""
    folder = Path(tempfile.mkdtemp(prefix=f"brique-{kind}-"))
    if account is not None:
        os.chown(folder, account.uid, account.gid)
    return folder


class Server(ABC):
    """A server on its own port of 127.0.0.1, with its data in `folder`; run as `account` (None: as ourselves)."""

    kind: ClassVar[str]
    """Its name, as people say it."""
    stopping: ClassVar[signal.Signals] = signal.SIGTERM
    """What has it stop in order, soon."""

    def __init__(self, folder: Path, account: Account | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self._account = account
        self._process: subprocess.Popen[bytes] | None = None
        self._names = itertools.count(1)

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """The program and its arguments."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it takes connections and can be asked something."""

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server was never started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start and wait until it answers."""
        with (self.folder / "log").open("ab") as output:
            self._process = subprocess.Popen(
                list(self.command()),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                start_new_session=True,
                preexec_fn=self._die_with_parent,
                **as_account(self._account),
            )
        wait_until(lambda: not self.is_running or self.answers(), START_SECONDS_MAX, f"{self.kind} to answer")
        if not self.is_running:
            said = (self.folder / "log").read_text("utf-8", "replace")[-2000:]
            raise AssertionError(f"{self.kind} ended at its start:\n{said}")

    def _die_with_parent(self) -> None:
        """In the child: a stop when the test process dies, so that a killed test run leaves no server."""
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(1, int(self.stopping), 0, 0, 0)

    def stop(self) -> None:
        """A clean stop: connections are cut, the data are whole. Also ends a frozen server."""
        if self._process is not None and self.is_running:
            self.thaw()
            self._process.send_signal(self.stopping)
            try:
                self._process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """kill -9 of every process: the server is gone in the middle of what it did."""
        if self._process is not None and self.is_running:
            kill_tree(self.pid)
            self._process.wait(STOP_SECONDS_MAX)

    def freeze(self) -> None:
        """SIGSTOP of every process: connections are accepted by the kernel and never answered."""
        freeze_tree(self.pid)

    def thaw(self) -> None:
        thaw_tree(self.pid)
