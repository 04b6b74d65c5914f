"""The peers of the web bench, each on the servers that its users run it with, one worker each."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.figures import Figures
from bench.site import Client, free_port

APPS = Path(__file__).parent / "peers" / "web"
ENVIRONMENT = Path(__file__).parent / "results" / "work" / "web-peers"
_START_SECONDS = 60.0


@dataclass(frozen=True)
class Shop:
    """Where the rows are, as a SQLite file and as JSON, and how many."""

    folder: Path
    file: Path
    rows_json: Path
    rows: int


@dataclass(frozen=True)
class Peer:
    """A server to start: `{port}` in its command is the one to listen on. `ways`: (name, prefix of its addresses,
    cookie)."""

    command: Sequence[str]
    ways: Sequence[tuple[str, str, str]]
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)


class Running:
    """A peer while the block runs, on one core."""

    def __init__(self, peer: Peer, core: int) -> None:
        self.peer, self.port, self._core = peer, free_port(), core
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Running:
        command = [part.format(port=self.port) for part in self.peer.command]
        log = self.peer.folder / f"{self.peer.ways[0][0]}.log"
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                ["taskset", "-c", str(self._core), *command],
                stdout=out,
                stderr=out,
                cwd=self.peer.folder,
                env={**os.environ, **self.peer.environment},
            )
        ends = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > ends:
                raise SystemExit(f"{command[0]} did not start:\n{log.read_text('utf-8', 'replace')[-2000:]}")
            time.sleep(0.05)
        return self

    def _answers(self) -> bool:
        try:
            return Client(self.port, timeout=5.0).get(f"{self.peer.ways[0][1]}/json/20").status in (200, 403)
        except OSError:
            return False

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def peers(figures: Figures, shop: Shop, *, quick: bool) -> Iterator[Peer]:
    """Those that can be had; what is missing is told."""
    binaries = _environment(figures)
    shared = {"BENCH_DB": str(shop.file), "BENCH_ROWS": str(shop.rows_json), "PYTHONPATH": str(APPS)}
    if binaries is not None:
        yield from _django(binaries, shop, shared, quick=quick)
        for name, command in _others(binaries).items():
            if not quick:
                yield Peer(command, [(name, "", "")], shop.folder, shared)
    if quick:
        return
    if shutil.which("node") is None:
        figures.note("Node is not installed: it is left out")
        return
    node = ["node", str(APPS / "node_app.js"), "{port}"]
    yield Peer([*node, "http"], [("node_http", "", "")], shop.folder, shared)
    if _fastify(figures, shop.folder):
        yield Peer([*node, "fastify", str(shop.folder)], [("node_fastify", "", "")], shop.folder, shared)


def _environment(figures: Figures) -> Path | None:
    """The folder of programs of the peers' own environment, made at the first time; None when that cannot be done."""
    wanted = (APPS / "requirements.txt").read_bytes()
    stamp = ENVIRONMENT / "made-from"
    if not stamp.exists() or stamp.read_bytes() != wanted:
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        python = str(ENVIRONMENT / "bin" / "python")
        install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", "requirements.txt"]
        for command in ([sys.executable, "-m", "venv", str(ENVIRONMENT)], install):
            if subprocess.run(command, cwd=APPS).returncode:
                figures.note("the peers' environment could not be made: Django and the others are left out")
                return None
        stamp.write_bytes(wanted)
    return ENVIRONMENT / "bin"


def _django(binaries: Path, shop: Shop, shared: dict[str, str], *, quick: bool) -> Iterator[Peer]:
    """Django on each of its servers: with a session and a permission, with its cache besides, and without any."""
    folder = shop.folder / "django"
    folder.mkdir()
    environment = {**shared, "BENCH_FOLDER": str(folder)}
    made = subprocess.run(
        [str(binaries / "python"), str(APPS / "django_app.py")],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    cookie = made.stdout.strip()
    servers = {
        "uwsgi": ["uwsgi", "--http", "127.0.0.1:{port}", "--http-keepalive=75", "--module",
                  "django_app:application", "--master", "--processes", "1", "--disable-logging", "--die-on-term",
                  "--need-app"],
        "granian": ["granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", "{port}", "--workers", "1",
                    "--no-access-log", "--log-level", "error", "django_app:application"],
        "gunicorn": ["gunicorn", "-b", "127.0.0.1:{port}", "-w", "1", "-k", "gthread", "--threads", "4",
                     "--keep-alive", "75", "--log-level", "error", "django_app:application"],
    }  # fmt: skip
    for name in ["granian"] if quick else list(servers):
        ways = [("django_checked_" + name, "/a", cookie), ("django_bare_" + name, "", "")]
        ways.append(("django_cached_" + name, "/c", cookie))
        command = [str(binaries / servers[name][0]), *servers[name][1:]]
        yield Peer(command, ways, folder, environment)


def _others(binaries: Path) -> dict[str, list[str]]:
    granian = [str(binaries / "granian"), "--host", "127.0.0.1", "--port", "{port}", "--workers", "1"]
    granian += ["--no-access-log", "--log-level", "error", "--interface"]
    uvicorn = [str(binaries / "uvicorn"), "--port", "{port}", "--no-access-log", "--log-level", "error"]
    return {
        "flask": [*granian, "wsgi", "flask_app:app"],
        "fastapi": [*uvicorn, "fastapi_app:app"],
        "litestar": [*granian, "asgi", "litestar_app:app"],
        "blacksheep": [*granian, "asgi", "blacksheep_app:app"],
        "tornado": [str(binaries / "python"), str(APPS / "tornado_app.py"), "{port}"],
    }


def _fastify(figures: Figures, folder: Path) -> bool:
    npm = shutil.which("npm")
    if npm is None or subprocess.run([npm, "install", "--silent", "--no-audit", "fastify@5"], cwd=folder).returncode:
        figures.note("fastify could not be installed: it is left out")
        return False
    return True


_NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.error.log error;
events {{ worker_connections 512; }}
http {{
    access_log off;
    default_type text/html;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 100000000;
    open_file_cache max=200000 inactive=1h;
    open_file_cache_valid 1h;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{ listen 127.0.0.1:{{port}}; root {root}; location /json {{ default_type application/json; }} }}
}}
"""


def static(shop: Shop, root: Path) -> Peer:
    """nginx over the files in `root`, which it may keep open."""
    folder = shop.folder / "nginx"
    folder.mkdir()
    config = _NGINX.format(folder=folder, root=root)
    (folder / "nginx.conf.in").write_text(config.replace("{port}", "PORT"))
    start = f"sed s/PORT/{{port}}/ {folder}/nginx.conf.in > {folder}/nginx.conf && exec nginx -c {folder}/nginx.conf"
    return Peer(["sh", "-c", start], [("nginx", "", "")], folder)
