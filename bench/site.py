"""brique as a user runs it: the installed command as a process of its own, asked over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from brique.channel import SyncChannel
from brique.errors import BriqueError

TOKEN = "sesame-of-the-bench"
_STOP_SECONDS = 40.0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@dataclass
class Answer:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection that is kept open, and opened again when it breaks. Not for several threads."""

    def __init__(self, port: int, *, headers: dict[str, str] | None = None, timeout: float = 30.0) -> None:
        self.port, self.headers, self.timeout = port, headers or {}, timeout
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> Answer:
        """Raises OSError or HTTPException when the connection breaks: the outcome is unknown then."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)
        sent = {**self.headers, **(headers or {})}
        payload = None
        if body is not None:
            payload = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        try:
            self._connection.request(method, path, payload, sent)
            response = self._connection.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, response.read(), fields)
        except (OSError, http.client.HTTPException):
            self.close()
            raise

    def get(self, path: str) -> Answer:
        """Asked again once when the other end had closed a connection that was idle."""
        was_open = self._connection is not None
        try:
            return self.ask("GET", path)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            if not was_open:
                raise
            return self.ask("GET", path)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def brique_client(port: int, *, timeout: float = 30.0) -> Client:
    return Client(port, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=timeout)


@dataclass
class Peak:
    """The most memory that brique's engine and backend processes held at one moment, in bytes.

    `resident` counts pages of mapped files too, which the system takes back when it needs them; `own` does not.
    """

    resident: int = 0
    own: int = 0


class Site:
    """`brique ARGUMENTS --listen --token`, started when the block begins and stopped when it ends.

    `data`: the data folder that the arguments lead to. Output goes to `log` beside it.
    """

    def __init__(
        self, arguments: Sequence[str], data: Path, *, settings: dict[str, str] | None = None, log: Path | None = None
    ) -> None:
        self.data = data.absolute()
        self.port = free_port()
        self.log = log or self.data.with_name(self.data.name + ".log")
        self._arguments, self._settings = list(arguments), settings or {}
        self._process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self.peak = Peak()
        self._watched = threading.Event()
        self._watcher: threading.Thread | None = None
        self._clients: list[Client] = []

    def __enter__(self) -> Site:
        self._start()
        return self

    def start_again(self) -> None:
        """kill -9 of the supervisor, which takes all of its processes with it; then the same command once more."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._start()

    def _start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-c", "from brique.cli import main; main()", *self._arguments]
        command += ["--listen", f"127.0.0.1:{self.port}", "--token", TOKEN]
        self.started = time.perf_counter()
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **self._settings},
                start_new_session=True,
            )

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watched.set()
        if self._watcher is not None:
            self._watcher.join()
        for client in self._clients:
            client.close()
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def client(self, *, timeout: float = 30.0) -> Client:
        """A connection of an administrator's, closed at the end of the block."""
        self._clients.append(brique_client(self.port, timeout=timeout))
        return self._clients[-1]

    def wait_ready(self, seconds: float = 120.0) -> float:
        """Wait until it answers; how long after the command that was."""
        client = self.client(timeout=5.0)
        while True:
            try:
                if client.get("/-/health").ok:
                    return time.perf_counter() - self.started
            except (OSError, http.client.HTTPException):
                pass
            self._check(seconds, "to answer")
            time.sleep(0.01)

    def wait_loaded(self, seconds: float = 900.0) -> float:
        """Wait until every table is in the copy; how long after the command that was."""
        client = self.client()
        while True:
            answer = client.get("/api/tables")
            if answer.ok and all(table["loaded"] for table in answer.json()["tables"]):
                return time.perf_counter() - self.started
            self._check(seconds, "to have loaded every table")
            time.sleep(0.05)

    def _check(self, seconds: float, what: str) -> None:
        assert self._process is not None
        late = time.perf_counter() - self.started > seconds
        if late or self._process.poll() is not None:
            said = self.log.read_text("utf-8", "replace")[-3000:]
            raise SystemExit(f"waited in vain for brique {what}; it said:\n{said}")

    def processes(self) -> list[dict[str, Any]]:
        """What the supervisor says of its processes; empty while it does not answer."""
        channel = SyncChannel(self.data / "control.sock", name="supervisor")
        try:
            found: list[dict[str, Any]] = channel.call("status", {}, 2.0)["processes"]
            return found
        except BriqueError:
            return []
        finally:
            channel.close()

    def pids(self, role: str) -> list[int]:
        """Process ids of a role: engine, backend, web."""
        found = [item for item in self.processes() if item["watcher"].split("-")[0] == role]
        return [item["pid"] for item in found if item["pid"]]

    def watch_memory(self) -> None:
        """Begin to note the most memory that engine and backend processes hold together."""
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def _watch(self) -> None:
        pids: list[int] = []
        looked = 0.0
        while not self._watched.wait(0.05):
            if time.monotonic() - looked > 2.0 or not pids:
                pids = [*self.pids("engine"), *self.pids("backend")] or pids
                looked = time.monotonic()
            sizes = [_memory(pid) for pid in pids]
            self.peak.resident = max(self.peak.resident, sum(resident for resident, _ in sizes))
            self.peak.own = max(self.peak.own, sum(own for _, own in sizes))


def _memory(pid: int) -> tuple[int, int]:
    """(resident, of that its own) bytes of a process; zeros when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
    except OSError:
        return 0, 0
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in status.splitlines() if line.endswith(" kB")}
    return sizes.get("VmRSS", 0), sizes.get("RssAnon", 0)
