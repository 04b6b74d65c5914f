"""From a commit in PostgreSQL to the changed part of a page in Chromium, while a thousand others follow that page; and
what an idle follower costs, beside Starlette and Tornado."""

from __future__ import annotations

import os
import re
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from playwright.sync_api import Page, sync_playwright

from bench.crash_servers import postgresql
from bench.erp import Workshop
from bench.figures import Figures
from bench.site import TOKEN, Site, free_port

FOLLOWERS = 1_000
ROWS = 1_000
_WARM = 200
_TORNADO = "tornado==6.6.1"
_PEERS = Path(__file__).parent / "peers" / "followers"
_PAGE = "/tables/item?sort=code"
_SETTINGS = {"BRIQUE_LIVE_SESSION_CONNECTIONS_MAX": "100000", "BRIQUE_SPOOL_FREE_BYTES_MIN": "0",
             "BRIQUE_FREE_DISK_BYTES_MIN": "0"}  # fmt: skip
_SCRIPT = f"""
DROP TABLE IF EXISTS entry, counter;
CREATE TABLE item(code int PRIMARY KEY, name text NOT NULL, stock int NOT NULL);
INSERT INTO item SELECT n, 'Item ' || n, 0 FROM generate_series(1, {ROWS}) n;
"""
_OBSERVE = """
(() => {
  window.seen = {};
  const look = () => {
    const row = document.querySelector("tbody a[href$='/item/7']")?.closest("tr");
    const cell = row?.querySelector("td[data-label='Stock']");
    const text = cell?.textContent.replace(/\\D/g, "");
    if (text && !(text in seen)) seen[text] = performance.timeOrigin + performance.now();
  };
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
  look();
})()
"""
_NOTES = (
    "Seen: one row of a thousand is changed and committed in PostgreSQL, whose triggers tell brique (--feed; the pause "
    "between refreshes is ten minutes); until the cell of an open list page holds the new value in Chromium, by the "
    "clock of one machine, on which all of this runs.",
    "Told: until the last of the followers has its event. They are connections that follow the same page and read "
    "its events. Memory: what the web process holds of its own more with a thousand idle connections more, for each.",
)


def run(figures: Figures, workshop: Workshop) -> None:
    for note in _NOTES:
        figures.note(note)
    with workshop.scratch("seen") as folder:
        with postgresql(folder) as server:
            url = server.url_through(server.port)
            with psycopg.connect(url, autocommit=True) as connection:
                for statement in filter(str.strip, _SCRIPT.split(";")):
                    connection.execute(statement)  # type: ignore[call-overload]  # a plain text
            _brique(figures, folder / "data", url, samples=15 if workshop.quick else 300)
        _peer(figures, "starlette", sys.executable)
        tornado = _with_tornado(folder / "tornado")
        if tornado is None:
            figures.note(f"Tornado could not be installed ({_TORNADO}): it is missing here.")
        else:
            _peer(figures, "tornado", tornado)


def _brique(figures: Figures, data: Path, url: str, *, samples: int) -> None:
    arguments = ["up", url, "--data", str(data), "--web", "1", "--feed", "--refresh", "600"]
    with Site(arguments, data, settings=_SETTINGS) as site:
        site.wait_ready()
        site.wait_loaded()
        [pid] = site.pids("web")
        head = f"GET /-/live?tables=item HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        with Crowd(site.port, head) as crowd:
            figures.add("follower_kib", crowd.grow(pid), "KiB")
            crowd.leave(crowd.size - FOLLOWERS)
            figures.add("followers", crowd.size, "connections")
            crowd.read()
            waits = _seen(site, url, samples, crowd)
    for name, found in (("", [page for page, _all in waits]), ("told_", [told for _page, told in waits])):
        found.sort()
        figures.add(f"{name}p50_ms", found[len(found) // 2], "ms")
        figures.add(f"{name}p99_ms", found[min(len(found) - 1, int(len(found) * 0.99))], "ms")
    figures.add("events_read", crowd.events, "events")


def _seen(site: Site, url: str, samples: int, crowd: Crowd) -> list[tuple[float, float]]:
    """Milliseconds from each commit to its value in the page, and to the last follower's event."""
    waits = []
    with _chromium() as page, psycopg.connect(url) as connection:
        page.goto(f"http://127.0.0.1:{site.port}{_PAGE}")
        page.evaluate(_OBSERVE)
        page.wait_for_timeout(1500)
        for number in range(1, samples + 4):
            connection.execute("UPDATE item SET stock = %s WHERE code = 7", (number,))
            began = time.time()
            connection.commit()
            seen = _when(page, number)
            if number > 3:  # the first ones warm up
                waits.append((seen - began * 1000, (crowd.told_at - began) * 1000))
            time.sleep(0.35)
    return waits


def _when(page: Page, number: int) -> float:
    """When the page showed `number`, in milliseconds since 1970."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        seen = page.evaluate(f"window.seen['{number}'] ?? null")
        if seen is not None:
            return float(seen)
        time.sleep(0.03)
    raise SystemExit(f"the page did not show {number} within 20 s")


@contextmanager
def _chromium() -> Iterator[Page]:
    with sync_playwright() as playwright:
        path = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        context = chromium.new_context(extra_http_headers={"Authorization": f"Bearer {TOKEN}"}, locale="en-GB")
        yield context.new_page()
        chromium.close()


class Crowd:
    """Connections that follow. Their events are read by a thread, from `read` on."""

    def __init__(self, port: int, head: str) -> None:
        self.port, self.head = port, head.encode()
        self.events = 0
        self.told_at = 0.0
        self._sockets: list[socket.socket] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def size(self) -> int:
        return len(self._sockets)

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        self.leave(self.size)

    def join(self, count: int) -> None:
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
            connection.sendall(self.head)
            while b"retry: 2000" not in (said := connection.recv(65536)):
                assert said, "a follower was not admitted"
            self._sockets.append(connection)

    def leave(self, count: int) -> None:
        for _ in range(count):
            self._sockets.pop().close()

    def grow(self, pid: int) -> float:
        """KiB of its own memory that process `pid` needs for each of a thousand further followers."""
        self.join(_WARM)
        time.sleep(2)
        before = own_kib(pid)
        self.join(FOLLOWERS)
        time.sleep(2)
        return (own_kib(pid) - before) / FOLLOWERS

    def read(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        by_number = {connection.fileno(): connection for connection in self._sockets}
        poll = select.epoll()
        for number in by_number:
            poll.register(number, select.EPOLLIN)
        while not self._ended.is_set():
            for number, _ in poll.poll(0.2):
                told = by_number[number].recv(65536).count(b"event: change")
                if told:
                    self.events, self.told_at = self.events + told, time.time()
        poll.close()


def own_kib(pid: int) -> int:
    """What a process holds alone, in KiB."""
    said = Path(f"/proc/{pid}/smaps_rollup").read_text("utf-8")
    return sum(map(int, re.findall(r"^Private_(?:Clean|Dirty):\s+(\d+)", said, re.MULTILINE)))


def _peer(figures: Figures, name: str, python: str) -> None:
    port = free_port()
    process = subprocess.Popen([python, str(_PEERS / f"{name}_app.py"), str(port)])
    try:
        _until_open(port)
        with Crowd(port, "GET /follow HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") as crowd:
            figures.add(f"follower_kib_{name}", crowd.grow(process.pid), "KiB")
    finally:
        process.kill()
        process.wait()


def _until_open(port: int) -> None:
    for _ in range(500):
        with socket.socket() as trying:
            if trying.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit(f"nothing listens on port {port}")


def _with_tornado(folder: Path) -> str | None:
    """A Python that has Tornado, in an environment of its own; None when that cannot be had."""
    python = folder / "bin" / "python"
    made = subprocess.run([sys.executable, "-m", "venv", str(folder)], check=False).returncode == 0
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", _TORNADO]
    return str(python) if made and subprocess.run(pip, check=False).returncode == 0 else None
