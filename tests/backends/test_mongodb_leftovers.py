"""Transactions left open on a MongoDB, by a cut connection or a killed process, keep nobody waiting."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from brique.backends import Rung
from brique.backends.mongodb import MongoBackend
from brique.errors import BackendAway
from brique.schema import TableSpec
from brique.schema.infer import infer
from tests.mongodb import MongoServer


@pytest.fixture
def url(mongodb: MongoServer) -> Iterator[str]:
    url = mongodb.make_database()
    with mongodb.client(url) as client:
        client.get_default_database().counter.insert_one({"_id": 1, "n": 0})
        yield url


def opened(url: str, *, marker: bool = True) -> tuple[MongoBackend, TableSpec]:
    """A backend as a process has it that has just started."""
    backend = MongoBackend("erp", url, timeout=5.0)
    [spec] = infer(backend.catalogue(), "erp")
    assert backend.prepare(marker).rung is (Rung.WATERMARK if marker else Rung.COMPARE)
    if marker:
        backend.watermark("stream")
    return backend, spec


def count(backend: MongoBackend, spec: TableSpec, before: int, after: int) -> int:
    with backend.session() as session:
        return session.update(spec, (1,), {"n": before}, {"n": after})


@pytest.mark.parametrize("marker", [True, False], ids=["marker", "compare"])
def test_what_was_open_when_the_connection_broke_is_ended_by_the_next_one(url: str, marker: bool) -> None:
    backend, spec = opened(url, marker=marker)
    assert count(backend, spec, 0, 1) == 1
    for number in range(1, 4):
        with pytest.raises(BackendAway), backend.session() as session:
            assert session.update(spec, (1,), {"n": number}, {"n": -1}) == 1
            backend._writing.drop()
        assert count(backend, spec, number, number + 1) == 1
    backend.close()


def test_what_was_open_when_a_process_was_killed_is_ended_by_its_successor(url: str) -> None:
    killed, spec = opened(url)
    with pytest.raises(BackendAway), killed.session() as session:
        assert session.update(spec, (1,), {"n": 0}, {"n": -1}) == 1
        successor, spec = opened(url)
        assert count(successor, spec, 0, 1) == 1
        assert count(successor, spec, 1, 2) == 1
    successor.close()
    killed.close()
