"""MariaDB as a backend, on a real server: also one that stops, freezes, or may not be written."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from brique.backends import Backend, Rung, open_backend
from brique.backends.mysql import MysqlBackend
from brique.errors import BackendAway, BackendRefused, BadConfiguration
from brique.schema import Change, Effect, Kind, TableSpec
from brique.schema.infer import infer
from tests.backends.contract import TABLES, BackendContract, World
from tests.mariadb import SECRET, MariadbServer
from tests.postgres import wait_until

NUMBERED = "INTEGER AUTO_INCREMENT PRIMARY KEY"
STANDARD = "ANSI_QUOTES,PIPES_AS_CONCAT"
_numbers = itertools.count(1)
Make = Callable[..., MysqlBackend]


def database_of(url: str) -> str:
    return url.rpartition("/")[2]


@contextmanager
def locked(server: MariadbServer, url: str, table: str) -> Iterator[None]:
    connection = server.connect(database_of(url))
    connection.begin()
    connection.cursor().execute(f"SELECT * FROM `{table}` FOR UPDATE")
    yield
    connection.rollback()
    connection.close()


def reader_of(server: MariadbServer, url: str) -> str:
    name, database = f"reader_{next(_numbers)}", database_of(url)
    return server.make_account(name, database, f"GRANT SELECT ON `{database}`.* TO {name}@'127.0.0.1'")


def wait_for_quiet(backend: Backend) -> None:
    """Until InnoDB has tidied up after what was written: that moves its log too."""
    seen: list[str | None] = []

    def is_quiet() -> bool:
        seen.append(backend.fingerprint([]))
        time.sleep(0.02)
        return len(seen) > 25 and len(set(seen[-25:])) == 1

    wait_until(is_quiet, 30, "InnoDB to have nothing to do")


class TestMariadb(BackendContract):
    @pytest.fixture
    def world(self, mariadb: MariadbServer) -> Iterator[World]:
        script = TABLES.format(numbered=NUMBERED, true="true").replace("seen TIMESTAMP", "seen DATETIME(6)")
        url = mariadb.make_database(script=script, sql_mode=STANDARD)
        backend = MysqlBackend("erp", url, timeout=2.0)
        yield World(
            backend=backend,
            run=lambda sql: mariadb.run(database_of(url), sql, sql_mode=STANDARD),
            lock=lambda table: locked(mariadb, url, table),
            read_only=lambda: open_backend("erp", reader_of(mariadb, url)),
        )
        backend.close()

    def test_the_fingerprint_stays_while_nothing_changes(self, world: World) -> None:
        wait_for_quiet(world.backend)
        super().test_the_fingerprint_stays_while_nothing_changes(world)
