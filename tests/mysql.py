"""MariaDB databases with a backend on each, for tests of it; on the session's server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from brique.backends import Backend
from brique.backends.mysql import MysqlBackend
from brique.schema import TableSpec
from brique.schema.infer import infer
from tests.mariadb import MariadbServer
from tests.servers import wait_until

Make = Callable[..., MysqlBackend]
PROCEDURES = """
CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, x INT, at DATE);
CREATE PROCEDURE ship(IN order_no INT, IN carrier VARCHAR(20), OUT label VARCHAR(40), INOUT price DECIMAL(8,2))
BEGIN
  IF order_no < 0 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'Commande inconnue'; END IF;
  INSERT INTO t (x) VALUES (order_no);
  SET label = CONCAT(carrier, '-', order_no), price = price * 2;
  SELECT order_no AS number, 'shipped' AS status, 1.50 AS cost, DATE '2026-11-20' AS day, NULL AS nothing;
  SELECT 'second' AS status;
END;
CREATE PROCEDURE `Ends it`() BEGIN INSERT INTO t (x) VALUES (-1); COMMIT; END;
CREATE PROCEDURE hides_it() BEGIN INSERT INTO t (x) VALUES (-2); CREATE TABLE made (id INT); END;
CREATE PROCEDURE outer_one() BEGIN CALL `Ends it`(); END;
CREATE FUNCTION twice(n INT) RETURNS INT DETERMINISTIC RETURN n * 2;
"""


@pytest.fixture
def mysql(mariadb: MariadbServer) -> Iterator[Make]:
    """Makes a backend on a new database made by a script: `mysql(script, sql_mode=, timeout=, ...)`."""
    opened: list[MysqlBackend] = []

    def build(script: str = "", *, sql_mode: str = "", **options: float) -> MysqlBackend:
        url = mariadb.make_database(script=script, sql_mode=sql_mode)
        opened.append(MysqlBackend("erp", url, **{"timeout": 3.0, **options}))  # type: ignore[arg-type]
        return opened[-1]

    yield build
    for backend in opened:
        backend.close()


def database_of(url: str) -> str:
    return url.rpartition("/")[2]


def place_of(backend: MysqlBackend) -> str:
    return backend._address.database


def specs_of(backend: Backend) -> dict[str, TableSpec]:
    return {spec.name: spec for spec in infer(backend.catalogue(), "erp")}


def rows_of(backend: Backend, spec: TableSpec) -> list[tuple[Any, ...]]:
    with backend.snapshot() as snapshot:
        return [row for batch in snapshot.read(spec) for row in batch]


def wait_for_quiet(backend: Backend) -> None:
    """Until InnoDB has tidied up after what was written: that moves its log too."""
    seen: list[str | None] = []

    def is_quiet() -> bool:
        seen.append(backend.fingerprint([]))
        time.sleep(0.02)
        return len(seen) > 25 and len(set(seen[-25:])) == 1

    wait_until(is_quiet, 30, "InnoDB to have nothing to do")
