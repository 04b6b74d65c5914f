"""Dates in three columns, on real backends."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

from brique import Intranet, Table, date_parts, key
from brique.backends import Backend, open_backend
from brique.schema import Change, TableSpec
from tests.backends.test_odbc import PSQLODBC, need, odbc_url
from tests.postgres import PostgresServer

SCRIPT = """
CREATE TABLE orders (id integer PRIMARY KEY, oyy numeric(2), omm numeric(2), odd numeric(2), x integer);
INSERT INTO orders VALUES (1, 26, 11, 20, 5), (2, 0, 0, 0, 5), (3, NULL, NULL, NULL, 5), (4, 26, 13, 40, 5);
"""


@pytest.fixture(params=["sqlite", "postgresql", "odbc"])
def world(
    request: pytest.FixtureRequest, postgres: PostgresServer, tmp_path: Path
) -> Iterator[tuple[Backend, TableSpec]]:
    if request.param == "sqlite":
        with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
            connection.executescript(SCRIPT)
        url = str(tmp_path / "x.db")
    else:
        url = postgres.make_database(script=SCRIPT)
    if request.param == "odbc":
        need(PSQLODBC)
        url = odbc_url(url)
    app = Intranet("x")
    erp = app.backend("erp", url)

    class Order(Table, backend=erp, source="orders"):
        number: int = key("id")
        ordered: date | None = date_parts("oyy", "omm", "odd")
        x: int | None

    Order.__annotations__["ordered"] = date | None
    app.add_tables([Order])
    (spec,) = app.declared().specs.values()
    backend = open_backend("erp", url, tables=[spec])
    yield backend, spec
    backend.close()


def test_a_date_in_three_columns_is_read_compared_and_written(world: tuple[Backend, TableSpec]) -> None:
    backend, spec = world
    with backend.snapshot() as snapshot:
        rows = sorted(row for batch in snapshot.read(spec) for row in batch)
    assert rows == [(1, "2026-11-20", 5), (2, None, 5), (3, None, 5), (4, "26/13/40", 5)]
    with backend.session() as session:
        assert session.update(spec, (1,), {"ordered": "2026-11-21"}, {"ordered": "2027-01-02"}) == 0
        assert session.update(spec, (1,), {"ordered": "2026-11-20"}, {"ordered": "2027-01-02"}) == 1
        session.insert(spec, {"number": 9, "ordered": "1999-12-31", "x": 1})
        done = session.apply([(spec, Change("order", "9", {"ordered": "1999-12-31"}, {"ordered": None}))])
        assert [item.rows for item in done] == [1] and (session.look(spec, (9,)) or {})["ordered"] is None
    assert {k: row["ordered"] for k, row in backend.fetch(spec, ["1", "9"]).items()} == {"1": "2027-01-02", "9": None}
