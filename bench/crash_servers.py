"""The databases that `bench.crash` kills: the same two tables in each, and how to look into them past brique."""

from __future__ import annotations

import secrets
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import psycopg

from bench.site import free_port
from bench.traffic import Task, Verdict
from brique.demo import cluster, processes
from tests.mariadb import MariadbServer, new_template, serving
from tests.mongodb import MongoServer, new_folder

COUNTERS = 8
_TABLES = (
    "CREATE TABLE entry(id {key}, mark varchar(80) NOT NULL)",
    "CREATE TABLE counter(id integer PRIMARY KEY, n integer NOT NULL)",
    *(f"INSERT INTO counter VALUES ({number}, 0)" for number in range(COUNTERS)),
)
_PROCEDURE = "CREATE PROCEDURE tidy() UPDATE counter SET n = n"
"""With a procedure in the database brique works in XA transactions, which end in another way."""
_LOCK_SECONDS = 60.0


class Server(Protocol):
    """A database that can be killed and frozen."""

    port: int
    """0 where there is no wire to be cut."""

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


@dataclass(frozen=True)
class Case:
    """A kind of database, and whether brique may keep its marker table there. `pause_seconds`: of each writer, between
    its writes; without the marker new rows are sent one by one, and more would only pile up."""

    open: Callable[[Path], AbstractContextManager[Server]]
    marker: bool = True
    pause_seconds: float = 0.03


def task() -> Task:
    """Entries whose key the backend gives, and counters of which each writer changes its own."""
    return Task(
        table="entry",
        row=lambda mark: {"mark": mark},
        changed_table="counter",
        own_key=str,
        values=lambda number: {"n": number},
    )


def judge(server: Server, made: list[str], updated: dict[str, int], run: str) -> Verdict:
    """Look for every acknowledged write; counters may have gone on since."""
    counts = Counter(mark for mark in server.marks() if mark.startswith(f"{run}-"))
    held = server.counters()
    return Verdict(
        missing=[mark for mark in made if not counts[mark]],
        doubled=[mark for mark, count in counts.items() if count > 1],
        stale=[key for key, number in updated.items() if held.get(key, -1) < number],
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

    def start(self) -> None:
        cluster.start(self.home / "data", self.port)

    def _each(self, act: Callable[[int], None]) -> None:
        pid = processes.postmaster_pid(self.home / "data")
        if pid is not None:
            act(pid)

    def kill(self) -> None:
        self._each(processes.kill_tree)

    def freeze(self) -> None:
        self._each(processes.freeze_tree)

    def thaw(self) -> None:
        self._each(processes.thaw_tree)

    def add(self, marks: list[str]) -> None:
        """Entries of somebody else's."""
        with self._connect() as connection, connection.cursor() as cursor:
            cursor.executemany("INSERT INTO entry(mark) VALUES (%s)", [(mark,) for mark in marks])

    def marks(self) -> list[str]:
        with self._connect() as connection:
            return [mark for (mark,) in connection.execute("SELECT mark FROM entry")]

    def counters(self) -> dict[str, int]:
        with self._connect() as connection:
            return {str(key): n for key, n in connection.execute("SELECT id, n FROM counter")}


@contextmanager
def postgresql(folder: Path) -> Iterator[Postgresql]:
    home = cluster.home_for(folder)
    server = Postgresql(home)
    try:
        yield server
    finally:
        server.thaw()
        server.kill()
        shutil.rmtree(home, ignore_errors=True)


class Mariadb:
    """MariaDB; with procedures when `guarded`."""

    def __init__(self, server: MariadbServer, *, guarded: bool) -> None:
        self.server, self.port = server, server.port
        self.start, self.kill, self.freeze, self.thaw = server.start, server.kill, server.freeze, server.thaw
        script = ";".join(_TABLES).format(key="bigint AUTO_INCREMENT PRIMARY KEY")
        server.make_database("shop", script + (f";{_PROCEDURE}" if guarded else ""))

    def url_through(self, port: int) -> str:
        return self.server.url("shop").replace(f":{self.port}/", f":{port}/")

    def marks(self) -> list[str]:
        return [mark for (mark,) in self.server.run("shop", "SELECT mark FROM entry")]

    def counters(self) -> dict[str, int]:
        return {str(key): n for key, n in self.server.run("shop", "SELECT id, n FROM counter")}


@contextmanager
def mariadb(folder: Path, *, guarded: bool) -> Iterator[Server]:
    with new_template() as template, serving(template) as server:
        yield Mariadb(server, guarded=guarded)


class Mongodb:
    """SecantusDB, flushing each commit."""

    def __init__(self, server: MongoServer) -> None:
        self.server, self.port = server, server.port
        self.start, self.kill, self.freeze, self.thaw = server.start, server.kill, server.freeze, server.thaw
        with server.client() as client:
            client.shop.entry.insert_one({"mark": "the first one"})
            client.shop.counter.insert_many([{"_id": number, "n": 0} for number in range(COUNTERS)])

    def url_through(self, port: int) -> str:
        return f"mongodb://127.0.0.1:{port}/shop?directConnection=true"

    def marks(self) -> list[str]:
        with self.server.client() as client:
            return [found["mark"] for found in client.shop.entry.find({}, {"mark": 1})]

    def counters(self) -> dict[str, int]:
        with self.server.client() as client:
            return {str(found["_id"]): found["n"] for found in client.shop.counter.find()}


@contextmanager
def mongodb(folder: Path) -> Iterator[Server]:
    server = MongoServer(new_folder())
    try:
        server.start()
        yield Mongodb(server)
    finally:
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)


class Sqlite:
    """A SQLite file with a neighbour, another program that works on it: `freeze` is a lock that it holds, `kill` its
    end in the middle of a transaction, of which a half is in the file already."""

    port = 0

    def __init__(self, folder: Path) -> None:
        self.file = folder / "shop.db"
        self._neighbour: subprocess.Popen[bytes] | None = None
        with closing(sqlite3.connect(self.file, isolation_level=None)) as connection:
            for statement in (*_TABLES, "CREATE TABLE page(id integer PRIMARY KEY, text varchar(80))"):
                connection.execute(statement.format(key="integer PRIMARY KEY AUTOINCREMENT"))
            connection.executemany("INSERT INTO page(text) VALUES (?)", [("x" * 80,)] * 2000)

    def url_through(self, port: int) -> str:
        return str(self.file)

    def start(self) -> None:
        """The file is always there."""

    def kill(self) -> None:
        self._hire("half")
        self._dismiss()

    def freeze(self) -> None:
        self._hire("lock")

    def thaw(self) -> None:
        self._dismiss()

    def _hire(self, what: str) -> None:
        """Returns when the neighbour has got what it wants."""
        command = [sys.executable, "-m", "bench.crash_neighbour", str(self.file), what]
        self._neighbour = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._neighbour.stdout is not None
        assert self._neighbour.stdout.readline(), "the neighbour does not get its lock"

    def _dismiss(self) -> None:
        if self._neighbour is not None:
            self._neighbour.kill()
            self._neighbour.communicate()
            self._neighbour = None

    def _rows(self, asked: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.file, timeout=_LOCK_SECONDS)) as connection:
            return connection.execute(asked).fetchall()

    def marks(self) -> list[str]:
        return [mark for (mark,) in self._rows("SELECT mark FROM entry")]

    def counters(self) -> dict[str, int]:
        return {str(key): n for key, n in self._rows("SELECT id, n FROM counter")}


@contextmanager
def sqlite(folder: Path) -> Iterator[Server]:
    server = Sqlite(folder)
    try:
        yield server
    finally:
        server.thaw()


CASES: dict[str, Case] = {
    "postgresql": Case(postgresql),
    "postgresql_compare": Case(postgresql, marker=False, pause_seconds=0.25),
    "mariadb": Case(partial(mariadb, guarded=False)),
    "mariadb_xa": Case(partial(mariadb, guarded=True)),
    "mongodb": Case(mongodb),
    "sqlite": Case(sqlite),
}
