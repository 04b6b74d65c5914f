"""A real `brique up` for tests: its own processes, port and data folder; and a browser to look at it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from playwright.sync_api import Page, sync_playwright

from tests.servers import free_port, wait_until

TOKEN = "a-token-for-the-tests-of-this-run"
PASSWORD = "correct horse battery staple"
_QUICK = {
    "BRIQUE_BACKEND_TIMEOUT_SECONDS": "1.5",
    "BRIQUE_BACKEND_CONNECT_SECONDS": "1",
    "BRIQUE_PROBE_SECONDS_MIN": "0.1",
    "BRIQUE_PROBE_SECONDS_MAX": "0.5",
    "BRIQUE_SPOOL_FREE_BYTES_MIN": "0",
    "BRIQUE_FREE_DISK_BYTES_MIN": "0",
}


class Running:
    """One running intranet. `setup` is the one-time link that it printed."""

    def __init__(self, process: subprocess.Popen[str], address: str, setup: str, data: Path) -> None:
        self.process, self.address, self.setup, self.data = process, address, setup, data
        self.client = httpx.Client(base_url=address, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=20)

    def rows(self, table: str) -> int:
        """How many rows the copy of `table` has; -1 while it is not there."""
        answer = self.client.get(f"/api/tables/{table}", params={"limit": 1})
        return int(answer.json()["count"]) if answer.status_code == 200 else -1

    def health(self, backend: str) -> str:
        found = self.client.get("/-/status", params={"format": "json"}).json()
        return next(item["state"] for item in found["backends"] if item["name"] == backend)


@contextmanager
def brique_up(*what: str, data: Path, options: tuple[str, ...] = ()) -> Iterator[Running]:
    """`brique up WHAT...` until the block ends; SIGTERM must then end all of its processes."""
    port = free_port()
    log = data.parent / f"{data.name}.log"
    command = [sys.executable, "-m", "brique", "up", *what, "--listen", f"127.0.0.1:{port}", "--data", str(data)]
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, "--token", TOKEN, *options],
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **_QUICK},
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: process.poll() is not None or _answers(address), 60, "brique answers")
        assert process.poll() is None, log.read_text()
        link = re.search(r"^Open (\S+)$", log.read_text(), re.MULTILINE)
        assert link is not None
        running = Running(process, address, link[1], data)
        with running.client:
            yield running
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, log.read_text()[-3000:]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _answers(address: str) -> bool:
    try:
        return httpx.get(address + "/-/health", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


@contextmanager
def browser(*, width: int = 1400, language: str = "en-GB", dark: bool = False, script: bool = True) -> Iterator[Page]:
    """A page in headless Chromium; fails at its end when the page logged an error or broke its own security policy."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        context = chromium.new_context(
            viewport={"width": width, "height": 900},
            locale=language,
            color_scheme="dark" if dark else "light",
            java_script_enabled=script,
        )
        page = context.new_page()
        faults: list[str] = []
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda fault: faults.append(str(fault)))
        page.on("requestfailed", lambda request: None)
        yield page
        chromium.close()
        unexpected = [fault for fault in faults if "Failed to load resource" not in fault and "ERR_" not in fault]
        assert not unexpected, unexpected


def sign_up(page: Page, running: Running, name: str = "awa") -> None:
    """Become the administrator by the one-time link."""
    page.goto(running.setup)
    page.fill("input[name=name]", name)
    for field in page.locator("input[type=password]").all():
        field.fill(PASSWORD)
    page.locator("main button[type=submit]").click()
    page.wait_for_url(running.address + "/")
