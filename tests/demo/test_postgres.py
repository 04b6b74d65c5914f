"""The test server itself: others lean on it."""

from __future__ import annotations

import psycopg
import pytest

from tests.postgres import PostgresServer


def test_each_database_is_fresh_and_runs_its_script(postgres: PostgresServer) -> None:
    first = postgres.make_database(script="CREATE TABLE a (x int); INSERT INTO a VALUES (1)")
    second = postgres.make_database()
    assert first != second
    with psycopg.connect(first) as connection:
        assert connection.execute("SELECT x FROM a").fetchone() == (1,)
    with psycopg.connect(second) as connection:
        assert connection.execute("SELECT to_regclass('a')").fetchone() == (None,)


def test_a_role_has_only_what_it_was_granted(postgres: PostgresServer) -> None:
    postgres.make_database("rights", script="CREATE TABLE a (x int); REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    url = postgres.make_role("reader", "rights", "GRANT SELECT ON a TO reader")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT x FROM a")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE TABLE b (x int)")


def test_a_frozen_server_accepts_and_does_not_answer_until_thawed(own_postgres: PostgresServer) -> None:
    own_postgres.freeze()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(own_postgres.url(), connect_timeout=2)
    own_postgres.thaw()
    psycopg.connect(own_postgres.url(), connect_timeout=10).close()


def test_a_killed_server_comes_back_with_its_data(own_postgres: PostgresServer) -> None:
    url = own_postgres.make_database(script="CREATE TABLE a (x int)")
    own_postgres.kill()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url, connect_timeout=2)
    own_postgres.start()
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM a").fetchone() == (0,)
