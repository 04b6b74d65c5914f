"""The promises of `outages.py`, held by each kind of backend on its real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from urllib.parse import quote

import pytest

from brique.backends import Backend
from brique.backends.mongodb import MongoBackend
from brique.backends.mysql import MysqlBackend
from brique.backends.odbc import OdbcBackend
from brique.backends.postgresql import PostgresBackend
from tests.backends.outages import ROWS, SECRET, OutageContract, Place
from tests.backends.test_odbc import PSQLODBC, need, odbc_url
from tests.backends.test_postgresql import run_on
from tests.mariadb import MariadbServer
from tests.mongodb import MongoServer
from tests.postgres import PostgresServer


def postgres_place(server: PostgresServer, kind: Callable[..., Backend], address: Callable[..., str]) -> Place:
    """`address(url, password=)`: the address for `kind` of what `url` names."""
    url = server.make_database(
        script="CREATE TABLE t (id int PRIMARY KEY, x text);"
        f"INSERT INTO t SELECT i, repeat('x', 500) FROM generate_series(1, {ROWS}) i"
    )
    others = f"FROM pg_stat_activity WHERE datname = '{url.rpartition('/')[2]}'"
    return Place(
        server,
        open=partial(kind, "erp", address(url)),
        stranger=lambda: kind("erp", address("postgresql://me@127.0.0.1:1/none", password=SECRET), connect_timeout=5),
        connections=lambda: int(str(run_on(server.url(), f"SELECT count(*) {others}")[0][0])),
        cut=lambda: run_on(server.url(), f"SELECT pg_terminate_backend(pid) {others}") and None,
    )


def plain(url: str, password: str = "") -> str:
    return url.replace("@", f":{password}@") if password else url


def by_odbc(url: str, password: str = "") -> str:
    need(PSQLODBC)
    return odbc_url(url, **({"PWD": password} if password else {}))


class TestPostgresqlOutages(OutageContract):
    @pytest.fixture
    def place(self, postgres: PostgresServer) -> Place:
        return postgres_place(postgres, PostgresBackend, plain)

    @pytest.fixture
    def own_place(self, own_postgres: PostgresServer) -> Place:
        return postgres_place(own_postgres, PostgresBackend, plain)


class TestOdbcOutages(OutageContract):
    @pytest.fixture
    def place(self, postgres: PostgresServer) -> Place:
        return postgres_place(postgres, OdbcBackend, by_odbc)

    @pytest.fixture
    def own_place(self, own_postgres: PostgresServer) -> Place:
        return postgres_place(own_postgres, OdbcBackend, by_odbc)

    def readings(self, backend: Backend) -> Iterator[str]:
        assert isinstance(backend, OdbcBackend)
        for way, tables in (("bulk", set[str]()), ("rows", {"t"})):
            backend._by_rows = tables
            yield way


class TestMysqlOutages(OutageContract):
    @pytest.fixture
    def place(self, mariadb: MariadbServer) -> Place:
        return self.on(mariadb)

    @pytest.fixture
    def own_place(self, own_mariadb: MariadbServer) -> Place:
        return self.on(own_mariadb)

    def on(self, server: MariadbServer) -> Place:
        url = server.make_database(
            script="CREATE TABLE t (id INT PRIMARY KEY, x TEXT);"
            f"INSERT INTO t SELECT seq, REPEAT('x', 500) FROM seq_1_to_{ROWS}"
        )
        others = f"SELECT id FROM information_schema.PROCESSLIST WHERE db = '{url.rpartition('/')[2]}'"

        def cut() -> None:
            for (number,) in server.run("", others):
                server.run("", f"KILL {number}")

        return Place(
            server,
            open=partial(MysqlBackend, "erp", url),
            stranger=lambda: MysqlBackend("erp", server.url(password=SECRET), connect_timeout=5),
            connections=lambda: len(server.run("", others)),
            cut=cut,
        )


class TestMongodbOutages(OutageContract):
    @pytest.fixture
    def place(self, mongodb: MongoServer) -> Place:
        return self.on(mongodb)

    @pytest.fixture
    def own_place(self, own_mongodb: MongoServer) -> Place:
        return self.on(own_mongodb)

    def on(self, server: MongoServer) -> Place:
        url = server.make_database()
        with server.client() as client:
            table = client[url.rpartition("/")[2].partition("?")[0]].t
            for start in range(1, ROWS + 1, 10_000):
                table.insert_many([{"_id": i, "x": "x" * 500} for i in range(start, start + 10_000)])
        stranger = f"mongodb://me:{quote(SECRET)}@127.0.0.1:1/none"
        return Place(
            server,
            open=partial(MongoBackend, "erp", url),
            stranger=lambda: MongoBackend("erp", stranger, connect_timeout=5),
        )
