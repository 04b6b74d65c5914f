"""ODBC as a backend, over real unixODBC with the drivers of PostgreSQL and SQLite."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from brique.backends import open_backend
from brique.backends.odbc import OdbcBackend
from tests.backends.contract import TABLES, BackendContract, World
from tests.backends.test_postgresql import NUMBERED, locked, reader_of, run_on
from tests.postgres import PostgresServer

DRIVERS = Path("/usr/lib/x86_64-linux-gnu/odbc")
PSQLODBC = DRIVERS / "psqlodbcw.so"
SQLITE3ODBC = DRIVERS / "libsqlite3odbc.so"
_numbers = itertools.count(1)
Make = Callable[..., OdbcBackend]


def need(driver: Path) -> None:
    """Skip where a driver is missing, but fail in CI."""
    if driver.exists():
        return
    reason = f"no ODBC driver {driver} (try: apt install unixodbc odbc-postgresql libsqliteodbc)"
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(reason)
    pytest.skip(reason)


def odbc_url(url: str, **options: str) -> str:
    """The address by ODBC of a PostgreSQL database that `url` names."""
    parts = urlsplit(url)
    keys = {
        "DRIVER": str(PSQLODBC), "SERVER": parts.hostname or "", "PORT": str(parts.port),
        "DATABASE": parts.path.strip("/"), "UID": parts.username or "", **options,
    }  # fmt: skip
    return f"odbc:///?{urlencode(keys)}"


class TestPostgresOverOdbc(BackendContract):
    @pytest.fixture
    def world(self, postgres: PostgresServer) -> Iterator[World]:
        need(PSQLODBC)
        url = postgres.make_database(script=TABLES.format(numbered=NUMBERED, true="true"))
        backend = OdbcBackend("erp", odbc_url(url), timeout=2.0)
        yield World(
            backend=backend,
            run=lambda sql: run_on(url, sql),
            lock=lambda table: locked(url, table),
            read_only=lambda: open_backend("erp", odbc_url(reader_of(postgres, url))),
        )
        backend.close()
