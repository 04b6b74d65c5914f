"""A real PostgreSQL for tests: one private server for each test session, and one of its own for tests that break it.

    def test_something(postgres):                       # shared by the session: don't stop it
        url = postgres.make_database()                  # fresh and empty: postgresql://...
    def test_the_backend_stops(own_postgres):           # this test's own: stop, start, freeze, thaw, kill it

Without PostgreSQL these tests are skipped with the reason, but fail where CI=true. `fsync` is off: this server
proves nothing about power cuts, but a kill of its processes loses no commit.
Roles: the URL is the superuser's; make lesser ones with `make_role`.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from brique.demo.processes import Account, find_programs, unprivileged_account
from brique.errors import BadConfiguration
from tests.servers import Server, as_account, lacking, new_folder
from tests.servers import wait_until as wait_until

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


class PostgresServer(Server):
    """A running PostgreSQL on its own port of 127.0.0.1 and a socket in its folder; superuser `test`, no password."""

    kind = "PostgreSQL"
    stopping = signal.SIGINT  # a fast stop: it does not wait for connections

    def __init__(self, folder: Path, programs: Path, account: Account | None) -> None:
        super().__init__(folder, account)
        self.data = folder / "data"
        self._programs = programs

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

    def command(self) -> list[str | Path]:
        return [self._programs / "postgres", "-D", self.data, "-p", str(self.port), "-k", self.folder]

    def answers(self) -> bool:
        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


@pytest.fixture(scope="session")
def postgres_template() -> Iterator[tuple[Path, Path, Account | None]]:
    """(folder with a fresh cluster in data/, folder of the programs, account): copied for each server."""
    try:
        programs, account = find_programs(), unprivileged_account()
    except BadConfiguration as fault:
        lacking(f"{fault.message} (try: {fault.try_this})")
    folder = new_folder("postgres", account)
    subprocess.run(
        [programs / "initdb", "-D", folder / "data", "-U", "test", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"],
        check=True,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        **as_account(account),
    )
    with (folder / "data" / "postgresql.conf").open("a", encoding="utf-8") as settings:
        settings.write(SETTINGS)
    yield folder, programs, account
    shutil.rmtree(folder, ignore_errors=True)


def _serve(template: tuple[Path, Path, Account | None]) -> Iterator[PostgresServer]:
    source, programs, account = template
    folder = new_folder("postgres", account)
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
