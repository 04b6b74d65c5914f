"""The same promise on MariaDB: it stops, freezes and comes back, and nothing is lost, doubled or waited for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.backbone import Backbone, Change, State
from tests.mariadb import MariadbServer
from tests.mysql import database_of
from tests.servers import wait_until

SCHEMA = """
CREATE TABLE item(code VARCHAR(9) PRIMARY KEY, name VARCHAR(40) NOT NULL, stock INT CHECK (stock >= 0));
CREATE TABLE note(id INT AUTO_INCREMENT PRIMARY KEY, text VARCHAR(99) NOT NULL);
INSERT INTO item VALUES ('A', 'Apple', 10), ('B', 'Banana', 20), ('C', 'Cherry', 30);
"""


class World:
    """An intranet over a MariaDB of its own."""

    def __init__(self, server: MariadbServer, data: Path, *, marker: bool, schema: str = SCHEMA) -> None:
        self.server = server
        url = server.make_database(script=schema)
        self.database = database_of(url)
        self.backbone = Backbone(url, data, marker=marker)
        self.backbone.wait_loaded()

    def asked(self, sql: str) -> list[tuple[object, ...]]:
        return self.server.run(self.database, sql)


@pytest.fixture(params=[True, False], ids=["watermark", "compare"])
def world(own_mariadb: MariadbServer, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    made = World(own_mariadb, tmp_path / "data", marker=request.param)
    yield made
    made.backbone.stop()


def test_a_write_settles_while_its_author_waits_a_moment(world: World) -> None:
    answer = world.backbone.give(Change("item", "A", {"stock": 10}, {"stock": 7}), wait_ms=5000)
    assert answer["state"] == "applied"
    assert world.asked("SELECT stock FROM item WHERE code = 'A'") == [(7,)]
    assert world.backbone.row("item", "A") == {"code": "A", "name": "Apple", "stock": 7}


def test_what_a_colleague_changes_in_the_backend_is_seen_after_a_refresh(world: World) -> None:
    backbone = world.backbone
    world.asked(
        "UPDATE item SET name = 'Blackberry' WHERE code = 'B'; INSERT INTO item VALUES ('D', 'Date', 1);"
        "DELETE FROM item WHERE code = 'C'"
    )
    wait_until(lambda: backbone.row("item", "C") is None, 20, "the refresh")
    assert backbone.row("item", "B") == {"code": "B", "name": "Blackberry", "stock": 20}
    assert backbone.row("item", "D") == {"code": "D", "name": "Date", "stock": 1}


def test_the_backend_is_killed_and_pages_and_writes_go_on(world: World) -> None:
    backbone, server = world.backbone, world.server
    server.kill()
    backbone.wait_health("down", 20)
    answers = [backbone.give(Change("item", "A", {"stock": 10 - n}, {"stock": 9 - n})) for n in range(3)]
    answers.append(backbone.give(Change("note", "new-R4", None, {"text": "kept"})))
    assert {answer["state"] for answer in answers} == {"kept"}
    assert backbone.row("item", "A") == {"code": "A", "name": "Apple", "stock": 7}
    server.start()
    assert {backbone.settled(answer["position"], 30).state for answer in answers} == {State.APPLIED}
    assert world.asked("SELECT stock FROM item WHERE code = 'A'") == [(7,)]
    assert world.asked("SELECT text FROM note") == [("kept",)]
    backbone.wait_health("live", 20)


def test_a_frozen_backend_counts_as_down_and_three_clicks_make_one_row(world: World) -> None:
    backbone, server = world.backbone, world.server
    server.freeze()
    try:
        started = time.monotonic()
        change = Change("note", "new-R1", None, {"text": "once"})
        answers = [backbone.give(change, token="form-1") for _ in range(3)]
        assert time.monotonic() - started < 2.0, "nobody waits for a frozen backend"
        backbone.wait_health("down", 20)
    finally:
        server.thaw()
    assert len({answer["position"] for answer in answers}) == 1
    settled = backbone.settled(answers[0]["position"], 30)
    assert world.asked("SELECT COUNT(*) FROM note") == [(1,)]
    assert settled.state is State.APPLIED or settled.state is State.UNKNOWN


def test_two_hundred_writes_across_five_kills_arrive_once(own_mariadb: MariadbServer, tmp_path: Path) -> None:
    world = World(own_mariadb, tmp_path / "data", marker=True)
    backbone, positions = world.backbone, []
    for round_ in range(5):
        for n in range(40):
            stock = 10 + round_ * 40 + n
            positions.append(backbone.give(Change("item", "A", {"stock": stock}, {"stock": stock + 1}))["position"])
        own_mariadb.kill()
        own_mariadb.start()
    assert {backbone.settled(position, 60).state for position in positions} == {State.APPLIED}
    assert world.asked("SELECT stock FROM item WHERE code = 'A'") == [(210,)]
    backbone.stop()


def test_copy_and_backend_are_equal_when_all_has_settled(world: World) -> None:
    backbone = world.backbone
    given = [
        backbone.give(Change("item", "A", {"stock": 10}, {"stock": 1})),
        backbone.give(Change("item", "B", {"stock": 20}, {"stock": -1})),
        backbone.give(Change("item", "C", {"name": "Cherry", "stock": 30, "code": "C"}, None)),
        backbone.give(Change("note", "new-R4", None, {"text": "hello"})),
    ]
    states = [backbone.settled(answer["position"], 30).state for answer in given]
    assert states == [State.APPLIED, State.REFUSED, State.APPLIED, State.APPLIED]
    backend_rows = world.asked("SELECT code, name, stock FROM item ORDER BY code")
    copied = [backbone.row("item", str(row[0])) for row in backend_rows]
    assert copied == [{"code": code, "name": name, "stock": stock} for code, name, stock in backend_rows]
    assert backbone.reader.count_exactly("item") == len(backend_rows)
    assert backbone.row("note", "1") == {"id": 1, "text": "hello"}


def test_a_table_without_transactions_is_written_all_the_same(own_mariadb: MariadbServer, tmp_path: Path) -> None:
    schema = f"{SCHEMA} ALTER TABLE item ENGINE = MyISAM"
    world = World(own_mariadb, tmp_path / "data", marker=True, schema=schema)
    backbone = world.backbone
    given = [backbone.give(Change("item", key, {"stock": n}, {"stock": 1})) for key, n in (("A", 10), ("B", 19))]
    given.append(backbone.give(Change("note", "new-R3", None, {"text": "hello"})))
    states = [backbone.settled(answer["position"], 30).state for answer in given]
    assert states == [State.APPLIED, State.CONFLICT, State.APPLIED]
    found = backbone.reader.backend_states()[backbone.name]
    assert found.rung == "compare" and "item knows no transactions" in found.rung_reason
    world.asked("UPDATE item SET stock = 5 WHERE code = 'C'")
    wait_until(lambda: (backbone.row("item", "C") or {}).get("stock") == 5, 20, "the refresh")
    backbone.stop()
