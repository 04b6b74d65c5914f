"""Worlds whose tables are exported."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.world import MOMENT, World

BIG = """
CREATE TABLE town(name TEXT PRIMARY KEY NOT NULL);
INSERT INTO town VALUES ('Dakar'), ('Thiès'), ('Ziguinchor');
CREATE TABLE line(
  number INTEGER PRIMARY KEY, town TEXT NOT NULL REFERENCES town(name), amount DECIMAL(10,2), day DATE, remark TEXT
);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
INSERT INTO line SELECT i, CASE i % 3 WHEN 0 THEN 'Dakar' WHEN 1 THEN 'Thiès' ELSE 'Ziguinchor' END, i / 100.0,
  date('2020-01-01', '+' || (i % 2000) || ' days'), 'remark number ' || i || ' of a certain length' FROM n;
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("shared"))
    yield world
    world.close()


@pytest.fixture
def world(shared: World) -> World:
    """A world that tests only read, at its first moment."""
    shared.clock.moment = MOMENT
    return shared


@pytest.fixture
def own_world(tmp_path: Path) -> Iterator[World]:
    """A world of the test's own, to write in."""
    world = World(tmp_path)
    yield world
    world.close()


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A table of 100,000 rows."""
    world = World(tmp_path_factory.mktemp("big"), schema=BIG, reshape=lambda spec: spec)
    yield world
    world.close()
