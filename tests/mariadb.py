"""A real MariaDB for tests: one private server for each test session, and one of its own for tests that break it.

    def test_something(mariadb):                        # shared by the session: don't stop it
        url = mariadb.make_database()                   # fresh and empty: mysql://...
    def test_the_backend_stops(own_mariadb):            # this test's own: stop, start, freeze, thaw, kill it

Without MariaDB these tests are skipped with the reason, but fail where CI=true. What has been committed survives a kill
of the server, but nothing is flushed to disk: this server proves nothing about power cuts.
Accounts are real: the URL's may do everything, make lesser ones with `make_account`. They have passwords, which no
message may show.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql
import pytest
from pymysql.constants import CLIENT

from brique.demo.processes import Account
from tests.servers import Server, as_account, lacking, new_folder

SECRET = "p@ss:w/ord"
SECRET_QUOTED = "p%40ss%3Aw%2Ford"
SETTINGS = (
    "--no-defaults",
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--skip-log-bin",
    "--performance-schema=off",
    "--max-connections=60",
    "--innodb-buffer-pool-size=64M",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-flush-method=nosync",
    "--character-set-server=utf8mb4",
    "--default-time-zone=+03:00",  # brique must not depend on it
)
_DEBIAN_COMMAND = "apt-get install mariadb-server"
_FIRST = f"""
CREATE USER test@'127.0.0.1' IDENTIFIED BY '{SECRET}';
GRANT ALL PRIVILEGES ON *.* TO test@'127.0.0.1' WITH GRANT OPTION;
CREATE USER test@localhost IDENTIFIED BY '{SECRET}';
GRANT ALL PRIVILEGES ON *.* TO test@localhost WITH GRANT OPTION;
"""


Template = tuple[Path, Path, Account | None]
"""(folder, program, account to run it as)."""


class MariadbServer(Server):
    """A running MariaDB on its own port of 127.0.0.1 and a socket in its folder; account `test` may do everything."""

    kind = "MariaDB"

    def __init__(self, folder: Path, program: Path, account: Account | None) -> None:
        super().__init__(folder, account)
        self.data = folder / "data"
        self.socket = folder / "socket"
        self.options: tuple[str, ...] = ()
        """More options for the next start."""
        self._program = program

    def url(self, database: str = "", user: str = "test", password: str = SECRET_QUOTED) -> str:
        return f"mysql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "", *, sql_mode: str = "", user: str = "test") -> pymysql.Connection[Any]:
        """A connection past brique, in autocommit mode; the caller closes it."""
        connection = pymysql.connect(
            host="127.0.0.1", port=self.port, user=user, password=SECRET, database=database or None, charset="utf8mb4",
            autocommit=True, client_flag=CLIENT.MULTI_STATEMENTS, connect_timeout=5,
        )  # fmt: skip
        cursor = connection.cursor()
        cursor.execute("SET SESSION sql_mode = %s, max_recursive_iterations = 10000000", (sql_mode,))
        return connection

    def run(self, database: str, script: str, *, sql_mode: str = "") -> list[tuple[Any, ...]]:
        """The rows of the first statement of `script`; the others are run too."""
        connection = self.connect(database, sql_mode=sql_mode)
        try:
            cursor = connection.cursor()
            cursor.execute(script)
            rows = list(cursor.fetchall()) if cursor.description else []
            while cursor.nextset():
                pass
            return rows
        finally:
            connection.close()

    def make_database(self, name: str = "", script: str = "", *, sql_mode: str = "") -> str:
        """The URL of a new database (`name` or one made up), filled by the SQL `script`."""
        name = name or f"test_{next(self._names)}"
        self.run("", f"CREATE DATABASE `{name}`")
        if script:
            self.run(name, script, sql_mode=sql_mode)
        return self.url(name)

    def make_account(self, name: str, database: str, grants: str = "") -> str:
        """The URL of `database` for a new account, name@'127.0.0.1', without rights but `grants` (SQL)."""
        self.run(database, f"CREATE USER `{name}`@'127.0.0.1' IDENTIFIED BY '{SECRET}'; {grants}")
        return self.url(database, user=name)

    def command(self) -> list[str | Path]:
        places = (f"--datadir={self.data}", f"--socket={self.socket}", f"--port={self.port}", f"--tmpdir={self.folder}")
        return [self._program, *SETTINGS, *places, *self.options]

    def answers(self) -> bool:
        try:
            self.connect().close()
        except pymysql.err.OperationalError:
            return False
        return True


def _account() -> Account | None:
    """Whom to run MariaDB as: ourselves, or `mysql` (else `nobody`) when we are root."""
    if os.geteuid() != 0:
        return None
    for name in ("mysql", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise AssertionError("MariaDB does not run as root, and this machine has no account mysql or nobody")


def _programs() -> tuple[Path, Path]:
    """(mariadbd, mariadb-install-db). Skips the test when they are missing, fails it where CI=true."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    found = [shutil.which(name, path=path) for name in ("mariadbd", "mariadb-install-db")]
    if None in found:
        lacking(f"MariaDB is not installed (try: {_DEBIAN_COMMAND})")
    return Path(str(found[0])), Path(str(found[1]))


@contextmanager
def new_template() -> Iterator[Template]:
    """A fresh server in data/ of a folder that is gone after the block."""
    (program, installer), account = _programs(), _account()
    folder = new_folder("mariadb", account)
    try:
        subprocess.run(
            [installer, "--no-defaults", f"--datadir={folder / 'data'}", "--skip-test-db",
             "--auth-root-authentication-method=socket"],
            check=True, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **as_account(account),
        )  # fmt: skip
        (folder / "first.sql").write_text(" ".join(_FIRST.split("\n")).replace("; ", ";\n"))
        server = MariadbServer(folder, program, account)
        server.options = (f"--init-file={folder / 'first.sql'}",)
        server.start()
        server.stop()
        yield folder, program, account
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def serving(template: Template) -> Iterator[MariadbServer]:
    """A running copy of `template`, for a block."""
    source, program, account = template
    folder = new_folder("mariadb", account)
    subprocess.run(["cp", "-a", "--sparse=always", source / "data", folder / "data"], check=True)
    server = MariadbServer(folder, program, account)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def mariadb_template() -> Iterator[Template]:
    """Copied for each server."""
    with new_template() as template:
        yield template


@pytest.fixture(scope="session")
def mariadb(mariadb_template: Template) -> Iterator[MariadbServer]:
    """The session's server: make databases in it, but leave it running."""
    with serving(mariadb_template) as server:
        yield server


@pytest.fixture
def own_mariadb(mariadb_template: Template) -> Iterator[MariadbServer]:
    """A server for one test: stop it, freeze it, kill it."""
    with serving(mariadb_template) as server:
        yield server
