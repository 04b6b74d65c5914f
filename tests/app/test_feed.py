"""Changes that PostgreSQL tells of: in the copy long before the next refresh, whatever the statement was."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from brique import Inline
from brique.app.sources import from_data
from brique.settings import Settings
from brique.store import ListQuery, Reader, StoredRow
from tests.postgres import PostgresServer
from tests.servers import wait_until

SCHEMA = """
CREATE TABLE orders(id int PRIMARY KEY, quantity int NOT NULL);
CREATE TABLE lines(order_id int, product text, pieces int, PRIMARY KEY (order_id, product));
CREATE TABLE days(day date PRIMARY KEY, note text);
INSERT INTO orders SELECT n, n FROM generate_series(1, 500) n;
INSERT INTO lines SELECT n, 'Thé ' || n, 1 FROM generate_series(1, 50) n;
INSERT INTO days VALUES ('2026-11-20', 'a');
"""


def run(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)  # type: ignore[call-overload]  # a plain text


def site(url: str, data: Path) -> Inline:
    intranet = from_data([url], data, refresh_seconds=600, feed=True)
    return Inline(intranet, data, settings=Settings(data=data, free_disk_bytes_min=0, spool_free_bytes_min=0))


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.make_database(script=SCHEMA)


@pytest.fixture
def reader(url: str, tmp_path: Path) -> Iterator[Reader]:
    """The copy of an intranet that looks at its backend each ten minutes, once it listens."""
    with site(url, tmp_path / "data") as inline:
        found = Reader(tmp_path / "data" / "store.db", inline.declared.specs)
        wait_until(lambda: found.table_state("orders").rows == 500, 30, "the first copy")
        wait_until(lambda: _listens(url), 30, "it listens")
        time.sleep(0.5)
        yield found
        found.close()


def _listens(url: str) -> bool:
    with psycopg.connect(url) as connection:
        sql = "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'brique % feed' AND query LIKE 'LISTEN%'"
        return connection.execute(sql).fetchone() is not None


def quantity(reader: Reader, key: str) -> object:
    row = reader.row("orders", key)
    return None if row is None else row.values["quantity"]


def test_every_kind_of_statement_is_told(reader: Reader, url: str) -> None:
    run(url, "UPDATE orders SET quantity = 7000 WHERE id = 7")
    wait_until(lambda: quantity(reader, "7") == 7000, 3, "an update")
    run(url, "INSERT INTO orders VALUES (900, 9)")
    wait_until(lambda: quantity(reader, "900") == 9, 3, "an insert")
    run(url, "DELETE FROM orders WHERE id = 900")
    wait_until(lambda: quantity(reader, "900") is None, 3, "a deletion")
    run(url, "UPDATE orders SET id = 901 WHERE id = 7")
    wait_until(lambda: quantity(reader, "901") == 7000 and quantity(reader, "7") is None, 3, "another key")
    run(url, "UPDATE lines SET pieces = 5 WHERE product = 'Thé 7'")
    wait_until(lambda: any(row.values["pieces"] == 5 for row in _rows(reader, "lines")), 3, "a composite key")
    run(url, "UPDATE orders SET quantity = -1")
    wait_until(lambda: quantity(reader, "499") == -1, 10, "more rows than are named: the table is read")
    run(url, "UPDATE days SET note = 'b'")
    wait_until(lambda: _rows(reader, "days")[0].values["note"] == "b", 10, "a key of another kind: the table is read")
    run(url, "TRUNCATE orders")
    wait_until(lambda: reader.table_state("orders").rows == 0, 10, "a truncation")


def _rows(reader: Reader, table: str) -> list[StoredRow]:
    return list(reader.browse(table, ListQuery(limit=100)).rows)


def test_what_is_rolled_back_is_not_told_and_a_transaction_is_one(reader: Reader, url: str) -> None:
    before = reader.seq()
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE orders SET quantity = 1234 WHERE id = 3")
        connection.rollback()
    time.sleep(0.5)
    assert (quantity(reader, "3"), reader.seq()) == (3, before)
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE orders SET quantity = 1 WHERE id = 3")
        connection.execute("UPDATE orders SET quantity = 2 WHERE id = 3")
    wait_until(lambda: quantity(reader, "3") == 2, 3, "its end")
    assert reader.seq() == before + 1


def test_listening_goes_on_after_the_server_has_cut_it(reader: Reader, url: str) -> None:
    run(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'brique % feed'")
    run(url, "UPDATE orders SET quantity = 7001 WHERE id = 8")
    wait_until(lambda: quantity(reader, "8") == 7001, 10, "what happened in between is read when it listens again")
    run(url, "UPDATE orders SET quantity = 7002 WHERE id = 9")
    wait_until(lambda: quantity(reader, "9") == 7002, 3, "and it is told again")


def test_an_account_that_may_make_no_triggers_is_looked_at_as_before(
    postgres: PostgresServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = postgres.make_database(script=SCHEMA)
    run(url, "CREATE ROLE looker LOGIN", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO looker")
    theirs = psycopg.conninfo.make_conninfo(url, user="looker")
    parts = psycopg.conninfo.conninfo_to_dict(theirs)
    address = f"postgresql://looker@/{parts['dbname']}?host={parts['host']}&port={parts.get('port', 5432)}"
    with caplog.at_level(logging.WARNING), site(address, tmp_path / "data") as inline:
        found = Reader(tmp_path / "data" / "store.db", inline.declared.specs)
        wait_until(lambda: found.table_state("orders").rows == 500, 30, "the first copy")
        wait_until(lambda: "no change feed" in caplog.text, 10, "it says so")
        found.close()
    run(url, "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM looker", "DROP ROLE looker")
