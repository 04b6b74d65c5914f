"""The promise: the backend stops, freezes and comes back, and nothing is lost, doubled or waited for."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from brique.errors import BadConfiguration
from tests.app.backbone import Backbone, Change, State
from tests.postgres import PostgresServer
from tests.servers import wait_until

SCHEMA = """
CREATE TABLE item(code text PRIMARY KEY, name text NOT NULL, stock integer CHECK (stock >= 0));
CREATE TABLE note(id serial PRIMARY KEY, text text NOT NULL);
INSERT INTO item VALUES ('A', 'Apple', 10), ('B', 'Banana', 20), ('C', 'Cherry', 30);
"""


def asked(url: str, sql: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(sql)  # type: ignore[call-overload]  # a plain text
        return cursor.fetchall() if cursor.description else []


@pytest.fixture(params=[True, False], ids=["watermark", "compare"])
def world(
    own_postgres: PostgresServer, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[tuple[Backbone, PostgresServer, str]]:
    url = own_postgres.make_database(script=SCHEMA)
    backbone = Backbone(url, tmp_path / "data", marker=request.param)
    backbone.wait_loaded()
    yield backbone, own_postgres, url
    backbone.stop()


World = tuple[Backbone, PostgresServer, str]


def test_a_write_settles_while_its_author_waits_a_moment(world: World) -> None:
    backbone, _, url = world
    answer = backbone.give(Change("item", "A", {"stock": 10}, {"stock": 7}), wait_ms=5000)
    assert answer["state"] == "applied"
    assert asked(url, "SELECT stock FROM item WHERE code = 'A'") == [(7,)]
    assert backbone.row("item", "A") == {"code": "A", "name": "Apple", "stock": 7}


def test_what_a_colleague_changes_in_the_backend_is_seen_after_a_refresh(world: World) -> None:
    backbone, _, url = world
    asked(url, "UPDATE item SET name = 'Blackberry' WHERE code = 'B'")
    asked(url, "INSERT INTO item VALUES ('D', 'Date', 1)")
    asked(url, "DELETE FROM item WHERE code = 'C'")
    wait_until(lambda: backbone.row("item", "C") is None, 15, "the refresh")
    assert backbone.row("item", "B") == {"code": "B", "name": "Blackberry", "stock": 20}
    assert backbone.row("item", "D") == {"code": "D", "name": "Date", "stock": 1}


def test_the_backend_stops_and_pages_and_writes_go_on(world: World) -> None:
    backbone, server, url = world
    server.kill()
    backbone.wait_health("down")
    answer = backbone.give(Change("item", "A", {"stock": 10}, {"stock": 7}))
    assert answer["state"] == "kept"
    assert backbone.row("item", "A") == {"code": "A", "name": "Apple", "stock": 7}
    server.start()
    assert backbone.settled(answer["position"]).state is State.APPLIED
    assert asked(url, "SELECT stock FROM item WHERE code = 'A'") == [(7,)]
    backbone.wait_health("live")


def test_a_frozen_backend_counts_as_down_and_three_clicks_make_one_row(world: World) -> None:
    backbone, server, url = world
    server.freeze()
    try:
        started = time.monotonic()
        change = Change("note", "new-R1", None, {"text": "once"})
        answers = [backbone.give(change, token="form-1") for _ in range(3)]
        assert time.monotonic() - started < 2.0, "nobody waits for a frozen backend"
        backbone.wait_health("down")
        started = time.monotonic()
        backbone.give(Change("note", "new-R9", None, {"text": "patient"}), wait_ms=9_000)
        assert time.monotonic() - started < 5.0, "nobody waits for the end of a write whose backend is down"
    finally:
        server.thaw()
    assert len({answer["position"] for answer in answers}) == 1
    settled = backbone.settled(answers[0]["position"])
    assert asked(url, "SELECT count(*) FROM note WHERE text = 'once'") == [(1,)]
    assert settled.state is State.APPLIED or (settled.state is State.UNKNOWN and backbone.backend.replay is not None)


def test_a_restart_of_everything_during_an_outage_loses_nothing(world: World) -> None:
    backbone, server, url = world
    server.kill()
    backbone.wait_health("down")
    positions = [
        backbone.give(Change("item", "A", {"stock": 10 + n}, {"stock": 11 + n}))["position"] for n in range(20)
    ]
    backbone.stop()
    backbone.start()
    assert backbone.row("item", "A") == {"code": "A", "name": "Apple", "stock": 30}
    server.start()
    assert {backbone.settled(position).state for position in positions} == {State.APPLIED}
    assert asked(url, "SELECT stock FROM item WHERE code = 'A'") == [(30,)]


def test_a_refresh_never_hides_what_is_pending(world: World) -> None:
    backbone, _, url = world
    with psycopg.connect(url) as blocking:
        blocking.execute("SELECT * FROM item WHERE code = 'A' FOR UPDATE")
        answer = backbone.give(Change("item", "A", {"stock": 10}, {"stock": 7}))
        asked(url, "UPDATE item SET name = 'Blackberry' WHERE code = 'B'")
        ended = time.monotonic() + 3
        while time.monotonic() < ended:
            assert backbone.row("item", "A") == {"code": "A", "name": "Apple", "stock": 7}
            time.sleep(0.02)
    backbone.settled(answer["position"])
    assert asked(url, "SELECT stock FROM item WHERE code = 'A'") == [(7,)]


def test_copy_and_backend_are_equal_when_all_has_settled(world: World) -> None:
    backbone, _, url = world
    given = [
        backbone.give(Change("item", "A", {"stock": 10}, {"stock": 1})),
        backbone.give(Change("item", "B", {"stock": 20}, {"stock": -1})),
        backbone.give(Change("item", "C", {"name": "Cherry", "stock": 30, "code": "C"}, None)),
        backbone.give(Change("note", "new-R4", None, {"text": "hello"})),
    ]
    states = [backbone.settled(answer["position"]).state for answer in given]
    assert states == [State.APPLIED, State.REFUSED, State.APPLIED, State.APPLIED]
    backend_rows = asked(url, "SELECT code, name, stock FROM item ORDER BY code")
    copied = [backbone.row("item", str(row[0])) for row in backend_rows]
    assert copied == [{"code": code, "name": name, "stock": stock} for code, name, stock in backend_rows]
    assert backbone.reader.count_exactly("item") == len(backend_rows)
    assert backbone.row("note", "1") == {"id": 1, "text": "hello"}
    assert backbone.reader.count_exactly("note") == 1


def test_a_restart_does_not_read_again_what_has_not_changed(world: World) -> None:
    backbone, _, url = world
    backbone.wait_confirmed()
    backbone.stop()
    asked(url, "UPDATE item SET stock = 11 WHERE code = 'A'")
    backbone.start()
    backbone.wait_confirmed()
    assert backbone.row("item", "A") == {"code": "A", "name": "Apple", "stock": 11}
    assert dict(backbone.backend.refreshing.refresher.readings) == {"item": 1}, "the other table was not read"


def test_a_store_that_does_not_belong_to_the_spool_is_told_and_can_be_made_again(world: World) -> None:
    backbone, _, url = world
    answer = backbone.give(Change("item", "A", {"stock": 10}, {"stock": 7}))
    backbone.settled(answer["position"])
    backbone.stop()
    data = backbone.settings.data
    shutil.rmtree(data / "spool")
    with pytest.raises(BadConfiguration, match="not of the same time"):
        backbone.start()
    for file in data.glob("store.db*"):
        file.unlink()
    backbone.start()
    backbone.wait_loaded()
    assert backbone.row("item", "A") == {"code": "A", "name": "Apple", "stock": 7}
    assert asked(url, "SELECT stock FROM item WHERE code = 'A'") == [(7,)]
