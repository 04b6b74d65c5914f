"""The places, each with the contract of all and what is its own."""

from __future__ import annotations

import os
import stat
import uuid
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from brique.errors import BackendAway, BackendRefused, BadConfiguration
from brique.publish import open_place
from tests.couchdb import CouchServer
from tests.mongodb import MongoServer
from tests.postgres import PostgresServer
from tests.publish.contract import AT, Open, PlaceContract, item, taken, version
from tests.redis import RedisServer


class TestRedis(PlaceContract):
    @pytest.fixture
    def another(self, own_redis: RedisServer) -> Open:
        return lambda: open_place("shop", own_redis.url("?prefix=shop:"))

    def test_a_key_is_a_hash_under_the_prefix(self, another: Open, own_redis: RedisServer) -> None:
        place = another()
        place.put([item("statement/7", '{"due":1}', 1)], taken(place))
        with own_redis.client() as client:
            found = client.hgetall("shop:statement/7")
            assert found[b"body"] == b'{"due":1}'
            assert found[b"content_type"] == b"application/json"
            assert found[b"version"].decode() == version(1, 1)
            assert found[b"made_at"].decode() == AT
            assert client.hget("shop:!keys", "statement/7") == found[b"etag"]
            assert client.hget("shop:!head", "writer") == b"me"
        place.close()

    def test_keys_of_others_are_left_alone(self, another: Open, own_redis: RedisServer) -> None:
        with own_redis.client() as client:
            client.set("other", "1")
            place = another()
            place.put([item("v/1", "1", 1)], taken(place))
            assert client.get("other") == b"1"
            assert [key for key, _ in place.inventory()] == ["v/1"]
            place.close()

    def test_what_somebody_else_removed_has_no_etag(self, another: Open, own_redis: RedisServer) -> None:
        place = another()
        place.put([item("v/1", "1", 1), item("v/2", "2", 1)], taken(place))
        with own_redis.client() as client:
            client.delete("shop:v/1")
        assert dict(place.inventory())["v/1"] == ""
        place.close()

    def test_a_redis_without_memory_is_not_now(self, another: Open, own_redis: RedisServer) -> None:
        place = another()
        head = taken(place)
        with own_redis.client() as client:
            client.config_set("maxmemory", "100kb")
            with pytest.raises(BackendAway, match="memory"):
                place.put([item("v/1", "1", 1)], head)
        place.close()


class TestPostgres(PlaceContract):
    @pytest.fixture
    def another(self, postgres: PostgresServer) -> Open:
        url = postgres.make_database()
        return lambda: open_place("shop", f"{url}?table=shop_views")

    def test_rows_are_read_with_sql(self, postgres: PostgresServer) -> None:
        url = postgres.make_database()
        place = open_place("shop", url)
        place.put([item("statement/7", '{"due": 12.5}', 1)], taken(place))
        with psycopg.connect(url) as connection:
            row = connection.execute(
                "SELECT body::jsonb ->> 'due', content_type, version FROM brique_published WHERE key = 'statement/7'"
            ).fetchone()
        assert row == ("12.5", "application/json", version(1, 1))
        place.close()

    def test_who_may_not_make_the_table_is_told(self, postgres: PostgresServer) -> None:
        postgres.make_database("shop_of_others")
        place = open_place("shop", postgres.make_role("only_looks", "shop_of_others"))
        with pytest.raises(BackendRefused, match="permission denied"):
            taken(place)
        place.close()


class TestMongo(PlaceContract):
    @pytest.fixture
    def another(self, mongodb: MongoServer) -> Open:
        url = mongodb.make_database()
        return lambda: open_place("shop", f"{url}&collection=shop_views")

    def test_a_document_is_found_by_its_key(self, mongodb: MongoServer) -> None:
        url = mongodb.make_database()
        place = open_place("shop", url)
        place.put([item("statement/7", '{"due":1}', 1), item("statement/8", "8", 1)], head := taken(place))
        place.put([item("statement/8", None, 2)], head)
        with mongodb.client(url) as client:
            items = client.get_default_database()["brique_published"]
            found = items.find_one({"_id": "statement/7"})
            assert found is not None
            assert (found["body"], found["version"], found["position"]) == ('{"due":1}', version(1, 1), 1)
            gone = items.find_one({"_id": "statement/8"})
            assert gone == {"_id": "statement/8", "version": version(1, 2), "gone_at": AT}
            place.tidy("2026-11-21T08:00:00.000000Z")
            assert items.find_one({"_id": "statement/8"}) is None
        place.close()


class TestCouch(PlaceContract):
    @pytest.fixture(params=["rules", "real"] if "BRIQUE_COUCHDB_URL" in os.environ else ["rules"])
    def another(self, couchdb: CouchServer, request: pytest.FixtureRequest) -> Open:
        url = couchdb.url()
        if request.param == "real":
            real = os.environ["BRIQUE_COUCHDB_URL"].replace("http", "couchdb", 1)
            url = f"{real}/test_{uuid.uuid4().hex}"
        return lambda: open_place("shop", url)

    def test_a_wrong_password_is_said_without_it(self, couchdb: CouchServer) -> None:
        place = open_place("shop", couchdb.url(secret="wr0ng"))
        with pytest.raises(BackendRefused, match="unauthorized") as told:
            place.head()
        assert "wr0ng" not in str(told.value) + repr(told.value.facts)
        place.close()

    def test_documents_in_doubt_are_asked_for_once(self, couchdb: CouchServer) -> None:
        place = open_place("shop", couchdb.url())
        head = taken(place)
        place.put([item("v/1", "1", 1)], head)
        couchdb.couch.seen.clear()
        place.put([item("v/1", "2", 2)], head)
        assert couchdb.couch.seen == ["POST _bulk_docs", "PUT !head"]
        place.close()

    def test_a_document_that_somebody_else_changed_is_put_right(self, couchdb: CouchServer) -> None:
        place = open_place("shop", couchdb.url())
        head = taken(place)
        place.put([item("v/1", "1", 1)], head)
        documents = couchdb.couch.databases["published"]
        documents["v/1"] = {**documents["v/1"], "body": "theirs", "_rev": "2-theirs"}
        place.put([item("v/1", "2", 2)], head)
        assert place.get(["v/1"]) == {"v/1": b"2"}
        place.close()


class TestFolder(PlaceContract):
    @pytest.fixture
    def another(self, tmp_path: Path) -> Open:
        folder = tmp_path / "share é"
        folder.mkdir(mode=0o755)
        folder.chmod(0o755)
        return lambda: open_place("shop", f"folder:{quote(str(folder))}")

    @pytest.fixture(autouse=True)
    def _as_brique_runs(self) -> object:
        before = os.umask(0o077)
        yield
        os.umask(before)

    def test_files_are_for_whoever_may_read_the_folder(self, another: Open, tmp_path: Path) -> None:
        place = another()
        place.put([item("statement/7", "7", 1)], taken(place))
        file = tmp_path / "share é" / "statement" / "7.json"
        assert file.read_bytes() == b"7"
        assert stat.S_IMODE(file.stat().st_mode) == 0o644
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o755
        assert (tmp_path / "share é" / "!head.json").is_file()
        place.close()

    def test_a_second_writer_waits_for_the_first_to_end(self, another: Open) -> None:
        first, second = another(), another()
        taken(first)
        with pytest.raises(BackendAway, match="another process"):
            taken(second)
        first.close()
        taken(second)
        second.close()

    def test_what_a_crash_left_is_tidied(self, another: Open, tmp_path: Path) -> None:
        place = another()
        head = taken(place)
        place.put([item("v/1", "1", 1)], head)
        left = tmp_path / "share é" / "v" / "1.json.!"
        left.write_text("half")
        place.put([item("v/1", None, 2)], head)
        place.tidy(AT)
        assert not left.parent.exists()
        place.close()

    def test_a_folder_that_is_not_mounted_is_away(self, tmp_path: Path) -> None:
        place = open_place("shop", f"folder:{tmp_path}/nowhere")
        with pytest.raises(BackendAway, match="there is no folder"):
            place.head()
        place.close()


@pytest.mark.parametrize(
    "url", ["redis://u:s3cret@h/0?ssl=1", "mysql://u:s3cret@h/d", "couchdb://u:s3cret@h", "mongodb://u:s3cret@h/"]
)
def test_an_address_that_means_no_place_is_told_without_its_password(url: str) -> None:
    with pytest.raises(BadConfiguration) as told:
        open_place("shop", url)
    assert "s3cret" not in str(told.value)
