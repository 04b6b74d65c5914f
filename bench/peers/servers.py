"""The servers that peers stand on, each told to flush before it acknowledges: PostgreSQL, Redis, NATS."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from bench.site import free_port
from brique.demo import cluster, processes

_CONNECTIONS = 200


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """A new PostgreSQL with its defaults (fsync and synchronous_commit on); its URL."""
    home, port, password = cluster.home_for(folder), free_port(), secrets.token_hex(8)
    cluster.make(home, password)
    with (home / "data" / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write(f"\nmax_connections = {_CONNECTIONS}\n")
    cluster.start(home / "data", port)
    pid = processes.postmaster_pid(home / "data")
    assert pid is not None
    try:
        yield f"postgresql://{cluster.SUPERUSER}:{password}@127.0.0.1:{port}/postgres"
    finally:
        os.kill(pid, signal.SIGINT)
        while processes.state_of(pid) not in (None, "Z"):
            time.sleep(0.05)
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """A Redis that flushes its log before each answer; its URL."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--dir", str(folder), "--save", "", "--appendonly", "yes"]
    with _running([*command, "--appendfsync", "always", "--daemonize", "no"], port, folder / "redis.log"):
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def nats(folder: Path) -> Iterator[str]:
    """A NATS server whose JetStream flushes each message; its URL."""
    port = free_port()
    config = folder / "nats.conf"
    config.write_text(f'port: {port}\njetstream {{ store_dir: "{folder}/jetstream", sync_interval: always }}\n')
    with _running([str(Path(sys.executable).with_name("nats-server")), "-c", str(config)], port, folder / "nats.log"):
        yield f"nats://127.0.0.1:{port}"


@contextmanager
def all_of(folder: Path) -> Iterator[dict[str, str]]:
    """All three; what to put into the environment of peers."""
    with ExitStack() as stack:
        found = {}
        for name, start in (("POSTGRESQL", postgresql), ("REDIS", redis), ("NATS", nats)):
            home = folder / name.lower()
            home.mkdir(parents=True)
            found[f"BENCH_{name}"] = stack.enter_context(start(home))
        with psycopg.connect(found["BENCH_POSTGRESQL"], autocommit=True) as connection:
            connection.execute("CREATE DATABASE dbos")
        yield found


@contextmanager
def _running(command: list[str], port: int, log: Path) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        _wait_open(port, process)
        yield
    finally:
        process.terminate()
        process.wait(20)


def _wait_open(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{process.args!r} does not start") from None
            time.sleep(0.05)
