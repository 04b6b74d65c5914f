"""A real PostgreSQL for tests: one private server for each test session, and one of its own for tests that break it.

    def test_something(postgres):                       # shared by the session: don't stop it
        url = postgres.make_database()                  # fresh and empty: postgresql://...
    def test_the_backend_stops(own_postgres):           # this test's own: stop, start, freeze, thaw, kill it

Without PostgreSQL these tests are skipped with the reason, but fail where CI=true. `fsync` is off: this server
proves nothing about power cuts, but a kill of its processes loses no commit.
Roles: the URL is the superuser's; make lesser ones with `make_role`.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from brique.demo.processes import (
    Account,
    find_programs,
    freeze_tree,
    kill_tree,
    thaw_tree,
    unprivileged_account,
)
from brique.errors import BadConfiguration

START_SECONDS_MAX = 60.0
SETTINGS = """
listen_addresses = '127.0.0.1'
fsync = off
max_connections = 60
shared_buffers = 64MB
max_wal_size = 2GB
logging_collector = off
log_min_messages = warning
timezone = 'UTC'
"""


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


def _die_with_parent() -> None:
    """In the child: SIGINT (a fast stop) when the test process dies, so that a killed test run leaves no server."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, int(signal.SIGINT), 0, 0, 0)


class PostgresServer:
    """A running PostgreSQL on its own port of 127.0.0.1 and a socket in its folder; superuser `test`, no password."""

    def __init__(self, folder: Path, programs: Path, account: Account | None) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = free_port()
        self._programs = programs
        self._account = account
        self._process: subprocess.Popen[bytes] | None = None
        self._names = itertools.count(1)

    def url(self, database: str = "postgres", user: str = "test", password: str = "") -> str:
        secret = f":{password}" if password else ""
        return f"postgresql://{user}{secret}@127.0.0.1:{self.port}/{database}"

    def make_database(self, name: str = "", script: str = "") -> str:
        """The URL of a new database (`name` or one made up), filled by the SQL `script`."""
        name = name or f"test_{next(self._names)}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        if script:
            with psycopg.connect(self.url(name), autocommit=True) as connection:
                connection.execute(script.encode())
        return self.url(name)

    def make_role(self, name: str, database: str, grants: str = "") -> str:
        """The URL of `database` for a new role without rights but `grants` (SQL run in that database)."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(f'CREATE ROLE "{name}" LOGIN')
            if grants:
                connection.execute(grants.encode())
        return self.url(database, user=name)

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server was never started"
        return self._process.pid

    def start(self) -> None:
        """Start and wait until it answers."""
        log = self.folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self.data, "-p", str(self.port), "-k", self.folder],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                start_new_session=True,
                preexec_fn=_die_with_parent,
                **_as(self._account),
            )
        wait_until(self._answers_or_ended, START_SECONDS_MAX, "PostgreSQL to answer")
        if self._process.poll() is not None:
            raise AssertionError(f"PostgreSQL ended at its start:\n{log.read_text('utf-8', 'replace')[-2000:]}")

    def _answers_or_ended(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            return True
        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """A fast stop: connections are cut, the data are whole. Also ends a frozen server."""
        if self._process is not None and self._process.poll() is None:
            thaw_tree(self.pid)
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """kill -9 of every process: the server is gone in the middle of what it did."""
        if self._process is not None and self._process.poll() is None:
            kill_tree(self.pid)
            self._process.wait(20)

    def freeze(self) -> None:
        """SIGSTOP of every process: connections are accepted by the kernel and never answered."""
        freeze_tree(self.pid)

    def thaw(self) -> None:
        thaw_tree(self.pid)


def _as(account: Account | None) -> dict[str, Any]:
    return {} if account is None else {"user": account.uid, "group": account.gid, "extra_groups": []}


def _new_folder(account: Account | None) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="brique-postgres-"))
    if account is not None:
        os.chown(folder, account.uid, account.gid)
    return folder


@pytest.fixture(scope="session")
def postgres_template() -> Iterator[tuple[Path, Path, Account | None]]:
    """(folder with a fresh cluster in data/, folder of the programs, account): copied for each server."""
    try:
        programs, account = find_programs(), unprivileged_account()
    except BadConfiguration as fault:
        reason = f"{fault.message} (try: {fault.try_this})"
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder = _new_folder(account)
    subprocess.run(
        [programs / "initdb", "-D", folder / "data", "-U", "test", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"],
        check=True,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        **_as(account),
    )
    with (folder / "data" / "postgresql.conf").open("a", encoding="utf-8") as settings:
        settings.write(SETTINGS)
    yield folder, programs, account
    shutil.rmtree(folder, ignore_errors=True)


def _serve(template: tuple[Path, Path, Account | None]) -> Iterator[PostgresServer]:
    source, programs, account = template
    folder = _new_folder(account)
    subprocess.run(["cp", "-a", source / "data", folder / "data"], check=True)
    server = PostgresServer(folder, programs, account)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(postgres_template: tuple[Path, Path, Account | None]) -> Iterator[PostgresServer]:
    """The session's server: make databases in it, but leave it running."""
    yield from _serve(postgres_template)


@pytest.fixture
def own_postgres(postgres_template: tuple[Path, Path, Account | None]) -> Iterator[PostgresServer]:
    """A server for one test (about 0.5 s): stop it, freeze it, kill it."""
    yield from _serve(postgres_template)
