"""The databases that `bench.crash` kills: the same two tables in each, and how to look into them past brique."""

from __future__ import annotations

import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg

from bench.site import free_port
from bench.traffic import Task, Told, Verdict
from brique.demo import cluster, processes

COUNTERS = 8
_TABLES = (
    "CREATE TABLE entry(id {key}, mark varchar(80) NOT NULL)",
    "CREATE TABLE counter(id integer PRIMARY KEY, n integer NOT NULL)",
    *(f"INSERT INTO counter VALUES ({number}, 0)" for number in range(COUNTERS)),
)


class Server(Protocol):
    """A database that can be killed and frozen."""

    port: int

    def url_through(self, port: int) -> str:
        """Its address for brique, through the relay at `port`."""
        ...

    def start(self) -> None: ...

    def kill(self) -> None: ...

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...

    def marks(self) -> list[str]:
        """The marks of all entries."""
        ...

    def counters(self) -> dict[str, int]:
        """The number in each counter."""
        ...


def task() -> Task:
    """Entries whose key the backend gives, and counters of which each writer changes its own."""
    return Task(
        table="entry",
        row=lambda mark: {"mark": mark},
        changed_table="counter",
        own_key=str,
        values=lambda number: {"n": number},
    )


def judge(server: Server, told: Told, run: str) -> Verdict:
    """Look for every acknowledged write."""
    counts = Counter(mark for mark in server.marks() if mark.startswith(f"{run}-"))
    held = server.counters()
    return Verdict(
        missing=[mark for mark in told.made if not counts[mark]],
        doubled=[mark for mark, count in counts.items() if count > 1],
        stale=[key for key, number in told.updated.items() if held.get(key) != number],
    )


class Postgresql:
    """PostgreSQL as Debian has it."""

    def __init__(self, home: Path) -> None:
        self.home, self.port, self.password = home, free_port(), secrets.token_hex(8)
        cluster.make(home, self.password)
        self.start()
        with self._connect() as connection:
            for statement in _TABLES:
                connection.execute(statement.format(key="bigserial PRIMARY KEY"))

    def url_through(self, port: int) -> str:
        return f"postgresql://{cluster.SUPERUSER}:{self.password}@127.0.0.1:{port}/postgres"

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url_through(self.port), autocommit=True)

    @property
    def _pid(self) -> int:
        pid = processes.postmaster_pid(self.home / "data")
        assert pid is not None, "it runs"
        return pid

    def start(self) -> None:
        cluster.start(self.home / "data", self.port)

    def kill(self) -> None:
        processes.kill_tree(self._pid)

    def freeze(self) -> None:
        processes.freeze_tree(self._pid)

    def thaw(self) -> None:
        processes.thaw_tree(self._pid)

    def marks(self) -> list[str]:
        with self._connect() as connection:
            return [mark for (mark,) in connection.execute("SELECT mark FROM entry")]

    def counters(self) -> dict[str, int]:
        with self._connect() as connection:
            return {str(key): n for key, n in connection.execute("SELECT id, n FROM counter")}


@contextmanager
def postgresql(folder: Path) -> Iterator[Server]:
    home = cluster.home_for(folder)
    server = Postgresql(home)
    try:
        yield server
    finally:
        server.thaw()
        server.kill()
        shutil.rmtree(home, ignore_errors=True)


SERVERS: dict[str, Callable[[Path], AbstractContextManager[Server]]] = {"postgresql": postgresql}
