"""What is at a place follows the views: an intranet in this process, a real database behind, real places in front."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import pytest

from brique import Intranet, Table, key
from brique.app.publishing import Publishing
from brique.errors import BadConfiguration
from brique.publish import Head, open_place
from brique.store import Publication
from tests.app.site import running
from tests.couchdb import CouchServer
from tests.mongodb import MongoServer
from tests.postgres import PostgresServer
from tests.publish.contract import item
from tests.publish.world import SECONDS, World, there, world
from tests.redis import RedisServer
from tests.servers import wait_until
from tests.shop import make_shop


def share(tmp_path: Path) -> str:
    (tmp_path / "share").mkdir(exist_ok=True)
    return f"folder:{tmp_path}/share"


def lines_of(shop: World) -> dict[str, Publication]:
    return {line.key: line for page in shop.reader.publications.pages("shop") for line in page}


def test_what_changes_goes_what_comes_and_what_leaves(tmp_path: Path, own_redis: RedisServer) -> None:
    with world(tmp_path, own_redis.url()) as shop:
        shop.settled()
        assert set(shop.place()) == {
            "statement/1", "statement/2", "statement/3", "open_orders", "people/Dakar", "people/Thi%C3%A8s",
        }  # fmt: skip
        shop.sql("UPDATE orders SET status = 'shipped' WHERE id = 1")
        shop.settled()
        fatou = "INSERT INTO customer VALUES (9, 'Fatou', 'Saint-Louis')"
        shop.sql(fatou, "INSERT INTO orders VALUES (9, 9, 1, 5, 'open')")
        shop.settled()
        assert b"Fatou" in shop.place()["statement/9"] and b"Fatou" in shop.place()["people/Saint-Louis"]
        shop.sql("DELETE FROM orders WHERE customer_id = 9", "DELETE FROM customer WHERE id = 9")
        shop.settled()
        assert not {"statement/9", "people/Saint-Louis"} & set(shop.place())


def test_every_kind_of_place_gets_the_same(
    tmp_path: Path, own_redis: RedisServer, postgres: PostgresServer, mongodb: MongoServer, couchdb: CouchServer
) -> None:
    urls = [own_redis.url(), postgres.make_database(), mongodb.make_database(), couchdb.url(), share(tmp_path)]
    names = ["shop", "shop1", "shop2", "shop3", "shop4"]
    with world(tmp_path, *urls) as shop:
        shop.settled(*names)
        shop.sql("UPDATE customer SET name = 'Awa N''diaye' WHERE id = 3", "DELETE FROM orders WHERE id = 4")
        shop.settled(*names)
        assert {frozenset(there(url).items()) for url in urls} == {frozenset(shop.wanted().items())}


def test_a_view_that_says_there_is_nothing_is_there_when_there_is_something(tmp_path: Path) -> None:
    with world(tmp_path, share(tmp_path)) as shop:
        shop.settled()
        assert "dearest" not in shop.place()
        shop.sql("PRAGMA ignore_check_constraints = 1", "UPDATE orders SET status = 'dear' WHERE id = 2")
        shop.settled()
        assert shop.place()["dearest"] == b'{"id":2}'
        shop.sql("UPDATE orders SET status = 'open' WHERE id = 2")
        shop.settled()
        assert "dearest" not in shop.place()


def test_a_frozen_redis_harms_nothing_and_has_all_when_it_goes_on(tmp_path: Path, own_redis: RedisServer) -> None:
    with world(tmp_path, own_redis.url(), share(tmp_path)) as shop:
        shop.settled("shop", "shop1")
        own_redis.freeze()
        before = len(lines_of(shop))
        for number in range(10):
            shop.sql(f"UPDATE customer SET name = 'Name {number}' WHERE id = 1")
            shop.settled("shop1")  # the other place

        def told() -> list[tuple[str, str, bool]]:
            places = shop.site.ask("GET", "/-/status?format=json").json()["places"]
            return [(one["name"], one["state"], 0 < one["due"] < 4) for one in places]

        wait_until(
            lambda: told() == [("shop", "down", True), ("shop1", "live", False)], SECONDS, "the fault to be told"
        )
        assert shop.site.ask("GET", "/api/views/statement?number=1").json()["name"] == "Name 9"
        assert len(lines_of(shop)) == before, "a backlog has one line for each key"
        own_redis.thaw()
        shop.settled("shop", "shop1")
        assert b"Name 9" in shop.place()["statement/1"]


def test_a_redis_that_comes_back_empty_is_filled_again(tmp_path: Path, own_redis: RedisServer) -> None:
    own_redis.stop()
    own_redis.keeps = False
    own_redis.start()
    with world(tmp_path, own_redis.url()) as shop:
        shop.settled()
        own_redis.kill()
        own_redis.start()
        assert there(own_redis.url()) != shop.wanted()
        shop.settled()


def test_what_was_tampered_with_is_put_right_by_rebuilding(tmp_path: Path, own_redis: RedisServer) -> None:
    with world(tmp_path, own_redis.url()) as shop:
        shop.settled()
        with own_redis.client() as client:
            client.delete("brique:statement/1")
            client.hset("brique:statement/2", "body", "nonsense")
            client.hset("brique:statement/77", mapping={"body": "1", "etag": "x"})
            client.hset("brique:!keys", "statement/77", "x")
        publishing: Publishing = shop.site.site.engine.publishing
        shop.site.site.engine.writer.run(lambda: publishing.rebuild("shop")).result()
        shop.settled()


def test_a_view_that_fails_leaves_its_last_good_bytes_until_it_works_again(tmp_path: Path) -> None:
    gate: dict[int, Exception] = {}
    with world(tmp_path, share(tmp_path), gate=gate) as shop:
        shop.settled()
        good = shop.place()["statement/1"]
        gate[1] = ZeroDivisionError("no good")
        shop.sql("UPDATE customer SET name = 'Later' WHERE id IN (1, 2)")
        wait_until(lambda: "no good" in lines_of(shop)["statement/1"].error, SECONDS, "the error")
        wait_until(lambda: b"Later" in shop.place()["statement/2"], SECONDS, "what does not fail")
        assert shop.place()["statement/1"] == good
        page = shop.site.ask("GET", "/-/status", headers={"Accept": "text/html"}).text
        assert "1 cannot be made" in page and "no good" in page
        gate.clear()
        shop.sql("UPDATE customer SET name = 'Later still' WHERE id = 1")
        shop.settled()


def test_what_other_code_makes_is_sent_again_and_what_is_published_no_more_goes(tmp_path: Path) -> None:
    url = share(tmp_path)
    with world(tmp_path, url) as shop:
        shop.settled()
    file = tmp_path / "shop.db"
    app = Intranet("Shop")
    erp, place = app.backend("erp", str(file), refresh=0.2), app.place("shop", url)

    @app.table
    class Customer(Table, backend=erp, source="customer"):
        id: int = key()
        name: str
        city: str | None

    @app.view("/customers/{number}/statement", publish=place, each=Customer)
    def statement(db: Any, number: int) -> Any:
        return {"other": db[Customer][number].name}

    with running(app, tmp_path / "data"):
        wanted = {f"statement/{number}": f'{{"other":"{name}"}}'.encode() for number, name in enumerate(
            ("Aminata Sow", "Moussa Diop", "Awa Ndiaye"), 1)}  # fmt: skip
        wait_until(lambda: there(url) == wanted, SECONDS, "the new code's bytes alone")


def test_a_new_copy_while_the_source_is_away_empties_no_place(tmp_path: Path) -> None:
    url = share(tmp_path)
    with world(tmp_path, url) as shop:
        shop.settled()
        full = shop.place()
    (tmp_path / "shop.db").rename(tmp_path / "away.db")
    for old in (tmp_path / "data").glob("store.db*"):
        old.unlink()
    with world(tmp_path, url, make=False) as shop:
        time.sleep(3)
        assert shop.place() == full
        (tmp_path / "away.db").rename(tmp_path / "shop.db")
        shop.sql("UPDATE customer SET name = 'After' WHERE id = 1")
        shop.settled()


def test_two_intranets_at_one_place_are_told(tmp_path: Path, own_redis: RedisServer) -> None:
    other = open_place("other", own_redis.url())
    with world(tmp_path, own_redis.url()) as shop:
        shop.settled()
        known = other.head()
        now = known.written_at
        other.take(known, Head(known.epoch + 1, "another", known.last, now, now))
        place = shop.site.site.places["shop"]
        wait_until(lambda: "another brique" in place.breaker.reason, SECONDS, "the fault")
        other.put([item("statement/1", "theirs", 1)], Head(known.epoch + 1, "another", known.last, now, now))
        assert shop.place()["statement/1"] == b"theirs", "it is left alone while the other one writes"
    other.close()


def test_what_is_published_is_not_evicted(tmp_path: Path) -> None:
    with world(tmp_path, share(tmp_path)) as shop:
        shop.settled()
        site = shop.site.site

        def evict() -> int:
            with site.engine.store.transaction() as tx:
                return tx.representations.evict(0)

        assert site.engine.writer.run(evict).result() == 0
        time.sleep(0.5)
        assert not any(line.due for line in lines_of(shop).values())


def test_a_value_too_large_is_said_and_the_others_go_on(tmp_path: Path) -> None:
    with world(tmp_path, share(tmp_path), settings={"publish_value_bytes_max": 1024}) as shop:
        shop.settled()
        shop.sql(
            f"UPDATE customer SET name = '{'x' * 2000}' WHERE id = 1", "UPDATE customer SET name = 'B' WHERE id = 2"
        )
        wait_until(lambda: "1024" in lines_of(shop)["statement/1"].error, SECONDS, "the error")
        wait_until(lambda: b'"B"' in shop.place()["statement/2"], SECONDS, "the others")


def test_no_password_is_logged_or_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    urls = ["redis://u:s3cr3t@127.0.0.1:9/0", "couchdb://u:s3cr3t@127.0.0.1:9/d", "mongodb://u:s3cr3t@127.0.0.1:9/d",
            "postgresql://u:s3cr3t@127.0.0.1:9/d"]  # fmt: skip
    with world(tmp_path, *urls) as shop:
        places = shop.site.site.places
        wait_until(lambda: all(place.breaker.reason for place in places.values()), SECONDS, "all to be down")
        told = shop.site.ask("GET", "/-/status?format=json").text
        page = shop.site.ask("GET", "/-/status", headers={"Accept": "text/html"}).text
    assert "s3cr3t" not in told + page + caplog.text + repr(shop.declared.places)


def declare(tmp_path: Path, function: Any, path: str, each: Any = None) -> None:
    app = Intranet("Shop")
    erp = app.backend("erp", str(make_shop(tmp_path / "shop.db")))
    place = app.place("shop", "folder:/nowhere")

    @app.table
    class Customer(Table, backend=erp, source="customer"):
        id: int = key()
        name: str

    @app.table
    class Line(Table, backend=erp, source="order line"):
        order_id: int = key()
        line: int = key()

    app.view(path, publish=place, each={"Customer": Customer, "Line": Line}.get(each, each))(function)
    app.declared()


def test_a_view_for_one_person_cannot_be_published(tmp_path: Path) -> None:
    def mine(db: Any) -> Any:
        return {"me": db.user.name}

    with pytest.raises(BadConfiguration, match=r"reads db\.user"):
        declare(tmp_path, mine, "/mine")


def test_a_view_that_asks_for_the_user_by_another_function_is_not_published_either(tmp_path: Path) -> None:
    def who(db: Any) -> Any:
        return getattr(db, "user")  # noqa: B009

    app = Intranet("Shop")
    erp = app.backend("erp", str(make_shop(tmp_path / "shop.db")), refresh=0.2)
    place = app.place("shop", share(tmp_path))

    @app.table
    class Customer(Table, backend=erp, source="customer"):
        id: int = key()
        name: str

    @app.view("/mine", publish=place)
    def mine(db: Any) -> Any:
        return {"me": str(who(db)), "rows": db[Customer].count()}

    with running(app, tmp_path / "data") as site:
        site.loaded("customer")
        reader = site.site.web.readers.mine()
        wait_until(
            lambda: "db.user" in reader.publications.state("shop", int(time.time() * 1000)).error, SECONDS, "the error"
        )
    assert not there(share(tmp_path))


@pytest.mark.parametrize(
    ("path", "each", "said"),
    [
        ("/a/{number}", None, "nothing says for which number"),
        ("/a/{number}", "Line", "is no integer named number"),
        ("/a/{number}", "nothing", "a table that is served"),
    ],
)
def test_what_is_published_says_for_what(tmp_path: Path, path: str, each: Any, said: str) -> None:
    def view(db: Any, number: int) -> Any:
        return number

    with pytest.raises(BadConfiguration, match=said):
        declare(tmp_path, view, path, each)


def test_a_place_and_a_backend_cannot_have_one_name() -> None:
    app = Intranet("Shop")
    app.place("shop", "folder:/nowhere")
    with pytest.raises(BadConfiguration, match="named 'shop'"):
        app.backend("shop", "sqlite:///x.db")
