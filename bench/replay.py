"""100,000 pending commands after the backend's return: brique beside the bare driver's best idempotent batches, in the
same run, in turns; and how long after the port opens the first one is applied."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import apsw
import psycopg

from bench.erp import Workshop
from bench.figures import Figures
from brique.backends import MARKER

BATCH = 1000
ITEM = "CREATE TABLE item(code INTEGER PRIMARY KEY, name TEXT NOT NULL, stock INTEGER NOT NULL)"


def run(figures: Figures, workshop: Workshop) -> None:
    count = 10_000 if workshop.quick else 100_000
    rounds = 1 if workshop.quick else 5
    figures.note(
        f"{count:,} updates of a row each, with the value that their author saw, in batches with a mark. The driver "
        "has its parameters ready in memory; brique reads commands from its store, claims, sends, and reports them. "
        "`applied`: until the backend has the last one; `settled`: until brique's own copy and journal say so too."
    )
    figures.note(
        "The bare driver sends transactions of 1,000, each with a mark that is compared and set: `each`: a call for "
        "each command, in order, as different commands need (PostgreSQL: in a pipeline); `executemany`: one statement "
        "for all, in order; `unnest`, `copy`: as a set, in no order, which only commands that are all alike and about "
        "different rows allow. `ratio_applied` is to the quickest of all, `ratio_applied_to_each` to the first."
    )
    with workshop.scratch("replay") as folder:
        for kind in (Sqlite(folder), Postgres(folder)):
            try:
                kind.start()
                _rounds(figures, kind, folder, count, rounds)
            finally:
                kind.stop()
        _first(figures, folder, 3 if workshop.quick else 7)


def _die_with_parent() -> None:
    """In the child: a fast stop when the bench ends in any way, so that it leaves no server behind."""
    ctypes.CDLL(None).prctl(1, int(signal.SIGINT), 0, 0, 0)


class Sqlite:
    """A SQLite file as the backend, and as the bare driver uses it."""

    name = "sqlite"

    def __init__(self, folder: Path) -> None:
        self.file = folder / "erp.db"
        self.url = str(self.file)

    def start(self) -> None:
        """Nothing runs."""

    def stop(self) -> None:
        """Nothing runs."""

    def fill(self, count: int) -> None:
        for file in self.file.parent.glob("erp.db*"):
            file.unlink()
        with closing(apsw.Connection(str(self.file))) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(ITEM)
            db.execute(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
                "INSERT INTO item SELECT i, 'item ' || i, 0 FROM n",
                (count,),
            )

    def driver(self, count: int) -> dict[str, float]:
        """Seconds that the driver alone takes, by technique."""
        found = {}
        for name, send in (("each", _each_in_sqlite), ("executemany", _executemany_in_sqlite)):
            self.fill(count)
            changes = [(number, number, 0) for number in range(1, count + 1)]
            with closing(apsw.Connection(str(self.file))) as db:
                db.execute("PRAGMA synchronous = FULL")
                db.execute(f"CREATE TABLE IF NOT EXISTS {MARKER}(stream TEXT PRIMARY KEY, position INTEGER)")
                db.execute(f"INSERT OR REPLACE INTO {MARKER} VALUES ('bare', 0)")
                began = time.perf_counter()
                for at in range(0, count, BATCH):
                    db.execute("BEGIN IMMEDIATE")
                    send(db, changes[at : at + BATCH])
                    move = f"UPDATE {MARKER} SET position = ? WHERE stream = 'bare' AND position = ?"
                    db.execute(move, (at + BATCH, at))
                    assert db.changes() == 1
                    db.execute("COMMIT")
                found[name] = time.perf_counter() - began
        return found

    def done(self, count: int) -> bool:
        with closing(apsw.Connection(str(self.file))) as db:
            db.set_busy_timeout(1000)
            return bool(db.execute("SELECT stock FROM item WHERE code = ?", (count,)).fetchall()[0][0])


_IN_SQLITE = "UPDATE item SET stock = ? WHERE code = ? AND stock IS ?"


def _each_in_sqlite(db: apsw.Connection, changes: list[tuple[int, int, int]]) -> None:
    for change in changes:
        db.execute(_IN_SQLITE, change)
        assert db.changes() == 1  # whether the row was as its author saw it


def _executemany_in_sqlite(db: apsw.Connection, changes: list[tuple[int, int, int]]) -> None:
    db.executemany(_IN_SQLITE, changes)


class Postgres:
    """A private PostgreSQL with its usual durability."""

    name = "postgresql"

    def __init__(self, folder: Path) -> None:
        from brique.demo.processes import find_programs, unprivileged_account

        self.folder, self.programs, self.account = folder / "pg", find_programs(), unprivileged_account()
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        self.url = f"postgresql://test@127.0.0.1:{self.port}/postgres"
        self.process: subprocess.Popen[bytes] | None = None
        self.opened = 0.0

    def _as(self) -> dict[str, Any]:
        if self.account is None:
            return {}
        return {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}

    def start(self) -> None:
        if not self.folder.exists():
            self.folder.mkdir()
            if self.account is not None:
                for folder in (self.folder, *self.folder.parents):
                    if folder.stat().st_uid == os.getuid() and folder != Path("/tmp"):
                        folder.chmod(folder.stat().st_mode | 0o011)
                    if folder == Path("/tmp"):
                        break
                os.chown(self.folder, self.account.uid, self.account.gid)
            init = [
                self.programs / "initdb",
                "-D",
                self.folder / "data",
                "-U",
                "test",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "-N",
            ]
            subprocess.run(init, check=True, cwd=self.folder, stdout=subprocess.DEVNULL, **self._as())
        arguments = ["-D", self.folder / "data", "-p", str(self.port), "-k", self.folder, "-h", "127.0.0.1"]
        self.process = subprocess.Popen(
            [self.programs / "postgres", *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
            preexec_fn=_die_with_parent,
            **self._as(),
        )
        until(self._listens, 60, "PostgreSQL's port to open", pause=0.001)
        self.opened = time.perf_counter()
        until(self._answers, 60, "PostgreSQL to answer")

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)

    def fill(self, count: int) -> None:
        with psycopg.connect(self.url, autocommit=True) as db:
            db.execute(f"DROP TABLE IF EXISTS {MARKER}")
            db.execute("DROP TABLE IF EXISTS item")
            db.execute(ITEM)  # type: ignore[call-overload]  # a plain text
            db.execute("INSERT INTO item SELECT i, 'item ' || i, 0 FROM generate_series(1, %s) i", (count,))
            db.execute("VACUUM ANALYZE item")

    def driver(self, count: int) -> dict[str, float]:
        found = {}
        for name, send in (("each", _each), ("executemany", _executemany), ("unnest", _unnest), ("copy", _copy)):
            self.fill(count)
            changes = [(number, number, 0) for number in range(1, count + 1)]
            with psycopg.connect(self.url, autocommit=True) as db:
                db.execute(f"CREATE TABLE {MARKER}(stream text PRIMARY KEY, position bigint)")
                db.execute(f"INSERT INTO {MARKER} VALUES ('bare', 0)")
                began = time.perf_counter()
                for at in range(0, count, BATCH):
                    with db.transaction(), db.cursor() as cursor:
                        send(cursor, changes[at : at + BATCH])
                        move = f"UPDATE {MARKER} SET position = %s WHERE stream = 'bare' AND position = %s"
                        cursor.execute(move, (at + BATCH, at))
                found[name] = time.perf_counter() - began
        return found

    def done(self, count: int) -> bool:
        with psycopg.connect(self.url, autocommit=True) as db:
            row = db.execute("SELECT stock FROM item WHERE code = %s", (count,)).fetchone()
            return bool(row and row[0])


_IN_POSTGRESQL = "UPDATE item SET stock = %s WHERE code = %s AND stock IS NOT DISTINCT FROM %s"


def _each(cursor: psycopg.Cursor[Any], changes: list[tuple[int, int, int]]) -> None:
    with cursor.connection.pipeline():
        for change in changes:
            cursor.execute(_IN_POSTGRESQL, change, prepare=True)


def _executemany(cursor: psycopg.Cursor[Any], changes: list[tuple[int, int, int]]) -> None:
    cursor.executemany(_IN_POSTGRESQL, changes)


def _unnest(cursor: psycopg.Cursor[Any], changes: list[tuple[int, int, int]]) -> None:
    cursor.execute(
        "UPDATE item AS t SET stock = v.a FROM unnest(%s::int[], %s::int[], %s::int[]) AS v(a, k, b) "
        "WHERE t.code = v.k AND t.stock IS NOT DISTINCT FROM v.b",
        [list(column) for column in zip(*changes, strict=True)],
    )


def _copy(cursor: psycopg.Cursor[Any], changes: list[tuple[int, int, int]]) -> None:
    cursor.execute("CREATE TEMP TABLE IF NOT EXISTS wanted(a int, k int, b int) ON COMMIT DELETE ROWS")
    with cursor.copy("COPY wanted FROM STDIN") as copy:
        for change in changes:
            copy.write_row(change)
    cursor.execute(
        "UPDATE item AS t SET stock = w.a FROM wanted w WHERE t.code = w.k AND t.stock IS NOT DISTINCT FROM w.b"
    )


def until(condition: Callable[[], bool], seconds: float, what: str, pause: float = 0.01) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"waited {seconds:g} s in vain for {what}")
        time.sleep(pause)


def _rounds(figures: Figures, kind: Sqlite | Postgres, folder: Path, count: int, rounds: int) -> None:
    bare: dict[str, list[float]] = {}
    ours: dict[str, list[float]] = {}
    for number in range(rounds):
        turns: list[Callable[[], None]] = [
            lambda: _note(bare, _bare(kind, count)),
            lambda: _note(ours, _brique(kind, folder, count)),
        ]
        for turn in turns if number % 2 == 0 else reversed(turns):
            turn()
    for name, seconds in bare.items():
        figures.add(f"{kind.name}.driver_{name}_s", statistics.median(seconds), "s")
    for name, seconds in ours.items():
        figures.add(f"{kind.name}.brique_{name}_s", statistics.median(seconds), "s")
    best = [min(times) for times in zip(*bare.values(), strict=True)]
    for name in ("applied", "settled"):
        ratios = [mine / theirs for mine, theirs in zip(ours[name], best, strict=True)]
        figures.add(f"{kind.name}.ratio_{name}", statistics.median(ratios), "x")
    for way in ("each", "executemany") if len(bare) > 1 else ():
        ratios = [mine / theirs for mine, theirs in zip(ours["applied"], bare[way], strict=True)]
        figures.add(f"{kind.name}.ratio_applied_to_{way}", statistics.median(ratios), "x")
    figures.add(f"{kind.name}.rounds", rounds, "rounds")


def _note(found: dict[str, list[float]], seconds: dict[str, float]) -> None:
    for name, value in seconds.items():
        found.setdefault(name, []).append(value)


def _bare(kind: Sqlite | Postgres, count: int) -> dict[str, float]:
    kind.fill(count)
    return kind.driver(count)


def _brique(kind: Sqlite | Postgres, folder: Path, count: int) -> dict[str, float]:
    """A real engine and a real backend process, started as the supervisor starts them."""
    kind.fill(count)
    data = folder / "data"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir()
    with _site(kind.url, data) as site:
        site.keep(count)
        return site.replay(lambda: kind.done(count), count)


class _Site:
    """The engine in this process's child, the backend's process in another one, both held by the bench."""

    def __init__(self, url: str, data: Path) -> None:
        self.url, self.data = url, data
        self.children: list[subprocess.Popen[bytes]] = []

    def spawn(self, role: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "bench.replay_roles", role, self.url, str(self.data)]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.children.append(child)
        return child

    @staticmethod
    def say(child: subprocess.Popen[bytes], word: str) -> None:
        assert child.stdin is not None
        child.stdin.write(f"{word}\n".encode())
        child.stdin.flush()

    @staticmethod
    def hear(child: subprocess.Popen[bytes]) -> dict[str, Any]:
        assert child.stdout is not None
        line = child.stdout.readline()
        if not line:
            raise SystemExit("a process of the bench has ended")
        found: dict[str, Any] = json.loads(line)
        return found

    def keep(self, count: int) -> None:
        """Start, copy the table, and keep `count` commands while the backend is not asked."""
        self.engine = self.spawn("engine")
        self.hear(self.engine)
        self.backend = self.spawn("backend")
        self.hear(self.backend)
        self.say(self.engine, f"keep {count}")
        self.hear(self.engine)

    def replay(self, is_done: Callable[[], bool], count: int) -> dict[str, float]:
        """Seconds until the backend has the last one, and until it is settled here."""
        self.say(self.backend, f"go {count}")
        applied = self.hear(self.backend)["seconds"]
        settled = self.hear(self.backend)["seconds"]
        assert is_done()
        return {"applied": applied, "settled": settled}

    def close(self) -> None:
        for child in reversed(self.children):
            if child.stdin is not None:
                child.stdin.close()
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()


@contextmanager
def _site(url: str, data: Path) -> Iterator[_Site]:
    site = _Site(url, data)
    try:
        yield site
    finally:
        site.close()


def _first(figures: Figures, folder: Path, rounds: int) -> None:
    """From the port that opens to the first command applied; the server is away for some seconds each time."""
    kind = Postgres(folder)
    kind.folder = folder / "pg"
    kind.start()
    found = []
    try:
        kind.fill(10)
        data = folder / "data-first"
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir()
        with _site(kind.url, data) as site:
            site.keep(0)
            site.say(site.backend, "run")
            for number in itertools.islice(itertools.count(1), rounds):
                kind.stop()
                time.sleep(1.0 + number % 3)
                site.say(site.engine, f"one {number}")
                site.hear(site.engine)
                found.append(_opened_to_applied(kind, number))
    finally:
        kind.stop()
    figures.add("first_applied_after_port_opens_s", statistics.median(found), "s")
    figures.add("first_applied_after_port_opens_max_s", max(found), "s")


def _opened_to_applied(kind: Postgres, number: int) -> float:
    """Start the server; seconds from the opening of its port until the row of command `number` is there."""
    kind.start()
    opened = kind.opened
    with psycopg.connect(kind.url, autocommit=True) as db:
        while True:
            row = db.execute("SELECT stock FROM item WHERE code = %s", (number,)).fetchone()
            if row and row[0]:
                return time.perf_counter() - opened
            if time.perf_counter() - opened > 30:
                raise SystemExit("the first command was not applied within 30 s")
            time.sleep(0.002)
