"""brique as its users run it: the installed program, its words and its exit status, and a `brique up` that ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers import wait_until

PROGRAM = Path(sys.executable).parent / "brique"
START_SECONDS_MAX = 60.0


@dataclass(frozen=True)
class Said:
    """What a command printed, and how it ended."""

    status: int
    out: str
    err: str


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BRIQUE_")}
    return {**kept, "BRIQUE_LISTEN": "127.0.0.1:0", "BRIQUE_WEB_PROCESSES": "1", **more}


def brique(*words: object, folder: Path, said: str = "", **more: str) -> Said:
    """Run `brique WORDS` in `folder`, `said` on its standard input; it must end by itself."""
    done = subprocess.run(
        [PROGRAM, *map(str, words)], cwd=folder, env=environment(**more), input=said, capture_output=True, text=True,
        timeout=90,
    )  # fmt: skip
    return Said(done.returncode, done.stdout, done.stderr)


def assert_told(told: Said, error: str) -> None:
    """It ended with `Error: …` and `Try: …`, and showed no traceback."""
    assert told.status == 1, told
    assert "Traceback" not in told.err
    lines = told.err.splitlines()
    assert any(re.search(error, line) for line in lines if line.startswith("Error: ")), told.err
    assert any(line.startswith("Try: ") for line in lines), told.err


@dataclass
class Running:
    """A `brique up` that runs: its process, what it has printed, where it is."""

    process: subprocess.Popen[str]
    log: Path
    data: Path

    @property
    def printed(self) -> str:
        return self.log.read_text("utf-8")

    @property
    def address(self) -> str:
        found = re.search(r"^Open (http://[^/\s]+)", self.printed, re.MULTILINE)
        return found[1] if found else ""

    @property
    def link(self) -> str:
        """The one-time link, "" when none was printed."""
        found = re.search(r"^Open (\S+/-/setup\?token=\S+)$", self.printed, re.MULTILINE)
        return found[1] if found else ""

    def get(self, path: str, token: str = "") -> tuple[int, str]:
        """The status and text of a GET."""
        request = urllib.request.Request(self.address + path if path.startswith("/") else path)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as fault:
            return fault.code, fault.read().decode()
        except OSError as fault:
            return 0, str(fault)

    def rows(self, table: str, token: str) -> list[dict[str, Any]]:
        """The rows of a table, once its first copy is there."""
        path = f"/api/tables/{table}"
        wait_until(lambda: self.get(path, token)[0] == 200, START_SECONDS_MAX, f"the copy of {table}")
        rows: list[dict[str, Any]] = json.loads(self.get(path, token)[1])["rows"]
        return rows

    def pids(self) -> list[int]:
        """The supervisor and every process that it has started."""
        told = brique("ctl", "--data", self.data, "status", "--json", folder=self.log.parent)
        status = json.loads(told.out)
        return [self.process.pid, *(process["pid"] for process in status["processes"])]

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text("utf-8").rsplit(")", 1)[1].split()[0] != "Z"


@contextmanager
def running(*words: object, folder: Path, data: str = "data", **more: str) -> Iterator[Running]:
    """`brique WORDS --data DATA`, started, answering; ended at the end if it still runs."""
    log = folder / f"{data}.log"
    with log.open("w", encoding="utf-8") as out:
        process = subprocess.Popen(
            [PROGRAM, *map(str, words), *(["--data", data] if words[0] in ("up", "dev") else [])],
            cwd=folder, env=environment(**more), stdout=out, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
    site = Running(process, log, folder / data)
    try:
        wait_until(lambda: bool(site.address) or process.poll() is not None, START_SECONDS_MAX, "the address")
        assert process.poll() is None, site.printed
        wait_until(lambda: site.get("/-/health")[0] == 200, START_SECONDS_MAX, "health")
        yield site
    finally:
        if process.poll() is None:
            site.stop()
