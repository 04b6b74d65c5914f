"""MongoDB as a backend, on a real server: also one that stops, freezes, stands alone, or may not be written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId

from brique.backends import MARKER, Backend, Rung, Tag, open_backend
from brique.backends.mongodb import MongoBackend
from brique.backends.mongodb.values import type_of
from brique.errors import BackendAway, BackendRefused, BadConfiguration
from brique.schema import Change, Kind, Row, TableSpec
from brique.schema.infer import infer
from tests.backends.contract import BackendContract, World
from tests.backends.mongo_world import MongoWorld, fill
from tests.mongodb import HAS_MONGOD, SECRET, MongoServer


def database_of(url: str) -> str:
    return url.rpartition("/")[2].partition("?")[0]


class TestMongodb(BackendContract):
    """The contract; what MongoDB has in another way is told here in its own."""

    @pytest.fixture
    def world(self, mongodb: MongoServer) -> Iterator[World]:
        url = mongodb.make_database()
        with mongodb.client() as client:
            fill(client, database_of(url))
            backend = MongoBackend("erp", url, timeout=2.0)
            yield MongoWorld(
                backend, client, database_of(url), lambda: open_backend("erp", mongodb.make_reader(database_of(url)))
            )
            backend.close()

    def test_catalogue_names_tables_keys_references_and_views(self, world: World) -> None:
        specs = world.specs()
        assert set(specs) == {"customers", "order_details", "tickets", "keyless", "codes", "names"}
        assert specs["order_details"].key == ("order_id", "product_id")
        assert specs["order_details"].source == "Order Details"
        assert specs["codes"].key == ("code",)
        assert specs["keyless"].key == ("id",) and specs["keyless"].writable
        assert specs["names"].is_view and specs["names"].read_only
        assert specs["customers"].unique == (("name",),)

    def test_columns_have_the_kinds_that_the_source_declares(self, world: World) -> None:
        columns = world.specs()["customers"].by_name
        assert [column.kind for column in columns.values()] == [
            Kind.INTEGER, Kind.TEXT, Kind.TEXT, Kind.DECIMAL, Kind.DATE, Kind.DATETIME, Kind.BOOLEAN, Kind.REAL,
        ]  # fmt: skip
        assert columns["name"].length_max == 40 and not columns["name"].nullable

    def test_keys_numbered_by_the_backend_and_generated_columns_are_recognised(self, world: World) -> None:
        tickets = world.specs()["tickets"]
        assert tickets.by_name["id"].defaulted and tickets.by_name["id"].kind is Kind.TEXT
        assert not world.specs()["customers"].by_name["number"].defaulted

    def test_a_column_that_is_gone_is_said(self, world: World) -> None:
        """A field that no document has any more is no fault: it is empty."""
        assert isinstance(world, MongoWorld)
        spec = world.specs()["codes"]
        world.database.codes.update_many({}, {"$unset": {"meaning": ""}})
        assert {row["meaning"] for row in world.rows(spec)} == {None}

    def test_an_insert_gives_the_key_as_the_backend_has_it(self, world: World) -> None:
        specs = world.specs()
        with world.backend.session() as session:
            given = session.insert(specs["tickets"], {"subject": "Wet floor", "customer": 1, "net": 5})
            assert len(str(given["id"])) == 24
            row = session.look(specs["tickets"], (given["id"],))
            assert session.insert(specs["codes"], {"code": "é,1"}) == {"code": "é,1"}
        assert row is not None and row["net"] == 5 and row["status"] is None

    def test_generated_columns_are_never_written(self, world: World) -> None:
        """There are none in MongoDB; what brique cannot write is read-only in the same way."""

    @pytest.mark.parametrize(
        ("table", "row", "sentence"),
        [
            ("customers", {"number": 1, "name": "x"}, "same number"),
            ("customers", {"number": 3, "name": "Élan & Cie"}, "same name"),
            ("customers", {"number": 3, "name": None}, "name must not be empty"),
            ("tickets", {"subject": None}, "subject must not be empty"),
            ("tickets", {"subject": "s", "net": -1}, "net minimum 1"),
            ("order_details", {"order_id": 10248, "product_id": 11}, "same order_id, product_id"),
            ("order_details", {"order_id": 10248}, "product_id must not be empty"),
        ],
    )
    def test_a_refusal_says_which_rule_and_no_sql(self, world: World, table: str, row: Row, sentence: str) -> None:
        spec = world.specs()[table]
        with pytest.raises(BackendRefused, match=sentence) as caught, world.backend.session() as session:
            session.insert(spec, row)
        assert "127.0.0.1" not in caught.value.message and "{" not in caught.value.message
        assert caught.value.facts["sentence"]


Make = Callable[..., MongoBackend]


@pytest.fixture
def make(mongodb: MongoServer) -> Iterator[Make]:
    """A backend on a new database of these collections: name → documents."""
    opened: list[MongoBackend] = []

    def build(options: str = "", **collections: list[dict[str, Any]]) -> MongoBackend:
        url = mongodb.make_database()
        with mongodb.client(url) as client:
            for name, documents in collections.items():
                client[database_of(url)][name].insert_many(documents)
        opened.append(MongoBackend("erp", url + options, timeout=5.0))
        return opened[-1]

    yield build
    for backend in opened:
        backend.close()


def specs_of(backend: Backend) -> dict[str, TableSpec]:
    return {spec.name: spec for spec in infer(backend.catalogue(), "erp")}


def raw(server: MongoServer, backend: MongoBackend, collection: str, key: object) -> dict[str, Any]:
    """A document as the server has it."""
    with server.client() as client:
        found = client[backend._database][collection].find_one({"_id": key})
    assert found is not None
    return found


# what is there


@pytest.mark.skipif(not HAS_MONGOD, reason="mongod is not installed: everything of MongoDB is tried on SecantusDB only")
def test_mongod_itself_is_tried_too(mongodb: MongoServer) -> None:
    assert mongodb.url()


def test_documents_become_columns_by_what_is_in_them(make: Make) -> None:
    backend = make(
        orders=[
            {"_id": 1, "customer": {"name": "Sow", "address": {"city": "Dakar"}}, "lines": [{"n": 1}], "x": 1, "y": 1},
            {"_id": 2, "customer": {"name": "Fall"}, "lines": [], "x": "one", "y": 2.5, "z": None, "note": "here"},
        ]
    )
    columns = specs_of(backend)["orders"].by_name
    assert {name: (column.source, column.kind) for name, column in columns.items()} == {
        "id": ("_id", Kind.INTEGER),
        "customer_name": ("customer.name", Kind.TEXT),
        "customer_address_city": ("customer.address.city", Kind.TEXT),
        "lines": ("lines", Kind.JSON),
        "x": ("x", Kind.ANY),
        "y": ("y", Kind.REAL),
        "z": ("z", Kind.ANY),
        "note": ("note", Kind.TEXT),
    }
    assert [name for name, column in columns.items() if column.nullable] == ["customer_address_city", "z", "note"]
    with backend.snapshot() as snapshot:
        assert [row for batch in snapshot.read(specs_of(backend)["orders"]) for row in batch] == [
            (1, "Sow", "Dakar", '[{"n":1}]', 1, 1.0, None, None), (2, "Fall", None, "[]", "one", 2.5, None, "here"),
        ]  # fmt: skip


IDS: list[tuple[list[Any], str, Kind]] = [
    ([ObjectId("6b00de62d417b1a121bc54a2")], "6b00de62d417b1a121bc54a2", Kind.TEXT),
    ([5, Int64(2**40)], "5", Kind.INTEGER),
    (["Ōsaka/1"], "~C5~8Csaka~2F1", Kind.TEXT),
    ([UUID(int=7)], "00000000-0000-0000-0000-000000000007", Kind.TEXT),
    ([Decimal128("1.50")], "6500015", Kind.DECIMAL),
    ([datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)], "2026-01-02T03~3A04~3A05.678000Z", Kind.DATETIME),
    ([5, "5", ObjectId("6b00de62d417b1a121bc54a2")], "5", Kind.JSON),
    ([{"b": 1, "a": "x"}, {"b": 1}], "~7B~22b~22~3A1~2C~22a~22~3A~22x~22~7D", Kind.JSON),
    (
        [b"\xff\x00"],
        "~7B~22~24binary~22~3A~7B~22base64~22~3A~22~2FwA~3D~22~2C~22subType~22~3A~2200~22~7D~7D",
        Kind.JSON,
    ),
]


@pytest.mark.parametrize(("ids", "key", "kind"), IDS, ids=[case[1][:12] for case in IDS])
def test_a_document_is_found_changed_and_deleted_by_an_id_of_any_type(
    make: Make, ids: list[Any], key: str, kind: Kind
) -> None:
    backend = make(t=[{"_id": identity, "n": 1} for identity in ids])
    spec = specs_of(backend)["t"]
    assert spec.by_name["id"].kind is kind
    with backend.snapshot() as snapshot:
        rows = [dict(zip(spec.names, row, strict=True)) for batch in snapshot.read(spec) for row in batch]
    assert spec.key_of(rows[0]) == key and len({spec.key_of(row) for row in rows}) == len(ids)
    assert backend.fetch(spec, [key]) == {key: rows[0]}
    changes = [(spec, Change("t", spec.key_of(row), {"n": 1}, {"n": 2})) for row in rows]
    with backend.session() as session:
        assert [done.rows for done in session.apply(changes)] == [1] * len(ids)
        assert session.update(spec, spec.key_values(key), {"n": 2}, {"n": 3}) == 1
        assert session.delete(spec, spec.key_values(key), {**rows[0], "n": 3}) == 1
    assert backend.fetch(spec, [key]) == {}
    with backend.session() as session:
        given = session.insert(spec, rows[0])
    assert spec.key_of(given) == key


def test_a_key_that_is_a_document_is_a_key_of_several_columns_in_their_order(make: Make, mongodb: MongoServer) -> None:
    backend = make(stock=[{"_id": {"shop": "A", "part": 7}, "n": 1}, {"_id": {"shop": "B", "part": 7}, "n": 2}])
    spec = specs_of(backend)["stock"]
    assert spec.key == ("id_shop", "id_part")
    with backend.session() as session:
        assert session.insert(spec, {"id_part": 8, "id_shop": "A", "n": 3}) == {"id_shop": "A", "id_part": 8}
        assert session.update(spec, ("B", 7), {"n": 2}, {"n": 4}) == 1
    assert raw(mongodb, backend, "stock", {"shop": "A", "part": 8})["n"] == 3
    assert backend.fetch(spec, ["B,7"])["B,7"]["n"] == 4


def test_what_is_done_as_wanted_need_not_be_read_again(make: Make) -> None:
    when = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    plain = {"i": 1, "double": 2.5, "text": "t", "flag": True}
    documents = [{"_id": number, **plain, "when": when} for number in range(1, 7)]
    backend = make(t=documents)
    spec = specs_of(backend)["t"]
    before = backend.fetch(spec, [str(number) for number in range(1, 7)])
    afters: list[Row] = [
        {"i": 2, "text": "u", "double": 0.1, "flag": 0},
        {"i": None},
        {"text": "u", "gone": 1},
        {"when": "2026-01-02T03:04:05.123456Z"},
        {"double": 3},
        {"i": 1, "text": "v"},
    ]
    changes = [
        (spec, Change("t", str(place), {name: before[str(place)].get(name) for name in after if name != "gone"}, after))
        for place, after in enumerate(afters, 1)
    ]
    with backend.session() as session:
        done = session.apply(changes)
    assert [one.as_wanted for one in done] == [True, True, False, False, False, True]
    now = backend.fetch(spec, list(before))
    for (key, row), after, one in zip(before.items(), afters, done, strict=True):
        if one.as_wanted:
            assert now[key] == {**row, **after}


def test_a_field_keeps_its_type_when_it_is_changed(make: Make, mongodb: MongoServer) -> None:
    before = {
        "_id": 1, "i": 1, "long": Int64(5), "double": 2.0, "money": Decimal128("12.340"), "flag": True,
        "when": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "who": ObjectId("6b00de62d417b1a121bc54a2"),
        "u": UUID(int=7), "blob": b"xx", "list": [Int64(1), 2.0, "x"], "text": "t",
    }  # fmt: skip
    backend = make(t=[before])
    spec = specs_of(backend)["t"]
    row = backend.fetch(spec, ["1"])["1"]
    assert row == {
        "id": 1, "i": 1, "long": 5, "double": 2.0, "money": "650011234", "flag": 1, "text": "t", "blob": b"xx",
        "when": "2026-01-02T03:04:05.000000Z", "who": "6b00de62d417b1a121bc54a2", "list": '[1,2.0,"x"]',
        "u": "00000000-0000-0000-0000-000000000007",
    }  # fmt: skip
    after = {
        "i": 2, "long": 6, "double": 3.0, "money": spec.by_name["money"].store(Decimal("0.10")), "flag": 0,
        "when": "2026-02-03T00:00:00.000000Z", "who": "6b00de62d417b1a121bc54a3", "text": "u", "blob": b"y",
        "u": "00000000-0000-0000-0000-000000000008", "list": '[2,2,"y"]',
    }  # fmt: skip
    with backend.session() as session:
        assert session.update(spec, (1,), row, after) == 1
    there = raw(mongodb, backend, "t", 1)
    assert there == {
        "_id": 1, "i": 2, "long": 6, "double": 3.0, "money": Decimal128("0.1"), "flag": False, "text": "u",
        "when": datetime(2026, 2, 3, tzinfo=UTC), "who": ObjectId("6b00de62d417b1a121bc54a3"), "blob": b"y",
        "u": UUID(int=8), "list": [2, 2.0, "y"],
    }  # fmt: skip
    assert [type_of(there[name]) for name in ("i", "long", "double")] == ["int", "long", "double"]
    assert [type_of(item) for item in there["list"]] == ["long", "double", "string"]
    with backend.session() as session:
        assert session.update(spec, (1,), {}, dict.fromkeys(after)) == 1
    assert list(raw(mongodb, backend, "t", 1)) == ["_id"], "a field that was always there is taken away, not null"


def test_missing_and_null_are_told_apart_when_writing(make: Make, mongodb: MongoServer) -> None:
    backend = make(t=[{"_id": 1, "a": None, "b": 1, "c": {"d": 1}}, {"_id": 2, "a": 1}, {"_id": 3, "a": 2, "c": None}])
    spec = specs_of(backend)["t"]
    with backend.session() as session:
        session.update(spec, (2,), {"a": 1, "b": None}, {"a": None, "b": None})
        session.update(spec, (1,), {"b": 1}, {"b": None})
        session.update(spec, (3,), {"c_d": None}, {"c_d": 5})
        session.insert(spec, {"id": 4, "a": None, "b": None, "c_d": 7})
    assert raw(mongodb, backend, "t", 2) == {"_id": 2, "a": None}
    assert raw(mongodb, backend, "t", 1) == {"_id": 1, "a": None, "c": {"d": 1}}
    assert raw(mongodb, backend, "t", 3) == {"_id": 3, "a": 2, "c": {"d": 5}}
    assert raw(mongodb, backend, "t", 4) == {"_id": 4, "a": None, "c": {"d": 7}}


def test_a_validator_describes_a_collection_without_documents(make: Make, mongodb: MongoServer) -> None:
    backend = make()
    schema = {
        "title": "Orders",
        "required": ["status"],
        "properties": {
            "status": {"bsonType": "string", "enum": ["open", "shipped"], "title": "Where it is"},
            "amount": {"bsonType": ["decimal", "null"]},
            "ship": {"bsonType": "object", "properties": {"city": {"bsonType": "string"}}},
        },
    }
    with mongodb.client() as client:
        client[backend._database].create_collection("orders", validator={"$jsonSchema": schema})
    spec = specs_of(backend)["orders"]
    assert spec.label == "Orders" and spec.by_name["status"].label == "Where it is"
    assert spec.by_name["status"].choices == ("open", "shipped") and not spec.by_name["status"].nullable
    assert spec.by_name["amount"].kind is Kind.DECIMAL and spec.by_name["ship_city"].nullable
    assert spec.by_name["id"].defaulted
    with pytest.raises(BackendRefused, match="status"), backend.session() as session:
        session.insert(spec, {"status": "gone"})


def test_views_capped_and_time_series_can_only_be_read(make: Make, mongodb: MongoServer) -> None:
    backend = make(t=[{"_id": 1, "n": 1}])
    with mongodb.client() as client:
        database = client[backend._database]
        database.create_collection("log", capped=True, size=10_000)
        database.log.insert_one({"_id": 1, "line": "x"})
        database.create_collection("heat", timeseries={"timeField": "at"})
        database.command("create", "seen", viewOn="t", pipeline=[])
    specs = specs_of(backend)
    assert {name: bool(spec.read_only) for name, spec in specs.items()} == {
        "t": False, "log": True, "heat": True, "seen": True,
    }  # fmt: skip
    assert backend.fingerprint([specs["t"], specs["seen"]]) is not None
    assert backend.fingerprint([specs["heat"]]) is None, "changes of a time series are not told"


def test_references_are_looked_for_only_when_asked(make: Make) -> None:
    data: dict[str, list[dict[str, Any]]] = {
        "customers": [{"_id": 1, "name": "Sow"}, {"_id": 2, "name": "Fall"}],
        "orders": [{"_id": 9, "customer_id": 2, "shop": 77}],
        "shops": [{"_id": 1, "name": "here"}],
    }
    assert not specs_of(make(**data))["orders"].references
    [reference] = specs_of(make("&references=guess", **data))["orders"].references
    assert (reference.columns, reference.table, reference.target_columns) == (("customer_id",), "customers", ("id",))


def test_a_collection_with_its_own_collation_is_compared_letter_by_letter(make: Make, mongodb: MongoServer) -> None:
    backend = make()
    with mongodb.client() as client:
        made = client[backend._database].create_collection("t", collation={"locale": "en", "strength": 2})
        made.insert_one({"_id": 1, "x": "Abc"})
    spec = specs_of(backend)["t"]
    with backend.session() as session:
        changes = [(spec, Change("t", "1", {"x": was}, {"x": "y"})) for was in ("aBC", "Abc")]
        assert [done.rows for done in session.apply(changes)] == [0, 1]


def test_a_list_that_holds_the_old_text_is_not_taken_for_it(make: Make, mongodb: MongoServer) -> None:
    backend = make(t=[{"_id": 1, "x": "a"}, {"_id": 2, "x": "a"}])
    spec = specs_of(backend)["t"]
    with mongodb.client() as client:
        client[backend._database].t.update_one({"_id": 2}, {"$set": {"x": ["a", "b"]}})
    with backend.session() as session:
        changes = [(spec, Change("t", key, {"x": "a"}, {"x": "z"})) for key in ("1", "2")]
        assert [done.rows for done in session.apply(changes)] == [1, 0]
    assert raw(mongodb, backend, "t", 2)["x"] == ["a", "b"]
    assert backend.fetch(spec, ["2"])["2"]["x"] == '["a","b"]'


def test_a_password_never_stands_in_a_message() -> None:
    with pytest.raises(BadConfiguration) as caught:
        MongoBackend("erp", "mongodb://me:s3c/ret@host/db?nonsense=1")
    assert "s3c" not in str(caught.value) and "***" in str(caught.value)
    with pytest.raises(BadConfiguration, match="which database"):
        MongoBackend("erp", "mongodb://me:s3cret@127.0.0.1:1/")
    backend = MongoBackend("erp", "mongodb://nobody:s3cret@127.0.0.1:1/none", connect_timeout=1)
    with pytest.raises(BackendAway) as away:
        backend.ping(1)
    assert "s3cret" not in away.value.message
    backend.close()


def test_a_wrong_password_is_tried_again_later(mongodb: MongoServer) -> None:
    backend = MongoBackend("erp", mongodb.url("test", "nobody"))
    with pytest.raises(BackendAway, match="uthentication") as caught:
        backend.fingerprint([])
    assert SECRET not in caught.value.message
    backend.close()


# a server that stands alone


def test_a_lone_server_guards_each_document(lone_mongodb: MongoServer) -> None:
    backend, specs = lone(lone_mongodb)
    prepared = backend.prepare(True)
    assert prepared.rung is Rung.GUARD and not prepared.abilities.transactions and "transactions" in prepared.reason
    spec = specs["t"]

    def send(position: int, *changes: Change) -> list[int]:
        with backend.session() as session:
            session.identify(Tag("main", position, f"r{position}"))
            return [done.rows for done in session.apply([(spec, change) for change in changes])]

    twice = (Change("t", "1", {"n": 1}, {"n": 2}), Change("t", "1", {"n": 2}, {"n": 3}))
    assert send(1, *twice) == [1, 1] and send(1, *twice) == [1, 1], "the second time nothing is done"
    with lone_mongodb.client() as client:
        client[backend._database].t.update_one({"_id": 1}, {"$set": {"n": 1}})
    assert send(1, *twice) == [1, 1] and raw(lone_mongodb, backend, "t", 1)["n"] == 1, "whatever others do meanwhile"
    assert send(2, Change("t", "1", {"n": 2}, {"n": 9})) == [0], "the old values decide the first time"
    assert "brique" not in " ".join(specs_of(backend)["t"].names)
    assert MARKER not in {table.source for table in specs_of(backend).values()}
    backend.close()


def test_a_lone_server_is_told_of_no_insert_or_delete_twice(lone_mongodb: MongoServer) -> None:
    backend, specs = lone(lone_mongodb)
    backend.prepare(True)
    spec, notes = specs["t"], specs["notes"]

    def within(position: int, work: Callable[[Any], Any]) -> Any:
        with backend.session() as session:
            session.identify(Tag("main", position, f"r{position}"))
            return work(session)

    first = within(1, lambda session: session.insert(notes, {"text": "a"}))
    assert within(1, lambda session: session.insert(notes, {"text": "a"})) == first
    assert within(2, lambda session: session.insert(notes, {"text": "a"})) != first
    assert within(3, lambda session: session.insert(spec, {"id": 7, "n": 7})) == {"id": 7}
    assert within(3, lambda session: session.insert(spec, {"id": 7, "n": 7})) == {"id": 7}
    with pytest.raises(BackendRefused, match="same id"):
        within(4, lambda session: session.insert(spec, {"id": 7, "n": 7}))
    row = {"id": 7, "n": 7}
    assert within(5, lambda session: session.delete(spec, (7,), row)) == 1
    with lone_mongodb.client() as client:  # a colleague makes the same document anew
        client[backend._database].t.insert_one({"_id": 7, "n": 7})
    assert within(5, lambda session: session.delete(spec, (7,), row)) == 1, "answered as it was then"
    assert raw(lone_mongodb, backend, "t", 7)["n"] == 7, "and the colleague's document stays"
    backend.close()


@pytest.mark.parametrize("lost", ["update", "delete", "insert"])
def test_answers_that_are_lost_on_a_lone_server_lead_to_one_effect(lone_mongodb: MongoServer, lost: str) -> None:
    """The server does what it is asked and cuts the connection; the second try finds it done."""
    backend, specs = lone(lone_mongodb)
    backend.prepare(True)
    spec = specs["t"]

    def send() -> list[int]:
        with backend.session() as session:
            session.identify(Tag("main", 1, "r1"))
            changes = [
                Change("t", "1", {"n": 1}, {"n": 2}),
                Change("t", "8", None, {"id": 8, "n": 8}),
                Change("t", "2", {"id": 2, "n": 1}, None),
            ]
            return [done.rows for done in session.apply([(spec, change) for change in changes])]

    for attempt in range(4):
        with freezing_answers(lone_mongodb, lost, attempt):
            try:
                send()
            except BackendAway as fault:
                assert fault.facts["at_commit"] is True
    assert send() == [1, 1, 1] or send()[:2] == [1, 1]
    assert raw(lone_mongodb, backend, "t", 1)["n"] == 2 and raw(lone_mongodb, backend, "t", 8)["n"] == 8
    assert backend.fetch(spec, ["2"]) == {}
    backend.close()


def test_without_a_marker_a_lone_server_is_compared_and_nothing_is_added(lone_mongodb: MongoServer) -> None:
    backend, specs = lone(lone_mongodb)
    prepared = backend.prepare(False)
    assert prepared.rung is Rung.COMPARE and not prepared.abilities.transactions
    with backend.session() as session:
        session.identify(Tag("main", 1, "r1"))
        assert session.update(specs["t"], (1,), {"n": 1}, {"n": 2}) == 1
        assert session.update(specs["t"], (1,), {"n": 1}, {"n": 3}) == 0
        assert session.delete(specs["t"], (2,), {"id": 2, "n": 1}) == 1
    assert raw(lone_mongodb, backend, "t", 1) == {"_id": 1, "n": 2}
    with lone_mongodb.client() as client:
        assert MARKER not in client[backend._database].list_collection_names()
    backend.close()


def test_a_collection_that_takes_no_other_field_goes_without_guard(lone_mongodb: MongoServer) -> None:
    schema = {"properties": {"_id": {}, "n": {"bsonType": "int"}}, "additionalProperties": False}
    with lone_mongodb.client() as client:
        client.strict.create_collection("t", validator={"$jsonSchema": schema})
        client.strict.t.insert_one({"_id": 1, "n": 1})
    backend = MongoBackend("erp", lone_mongodb.url("strict"))
    prepared = backend.prepare(True)
    assert prepared.rung is Rung.GUARD and "t" in prepared.reason
    with backend.session() as session:
        session.identify(Tag("main", 1, "r1"))
        assert session.update(specs_of(backend)["t"], (1,), {"n": 1}, {"n": 2}) == 1
    assert raw(lone_mongodb, backend, "t", 1) == {"_id": 1, "n": 2}
    backend.close()


def lone(server: MongoServer) -> tuple[MongoBackend, dict[str, TableSpec]]:
    with server.client() as client:
        client.shop.t.insert_many([{"_id": 1, "n": 1}, {"_id": 2, "n": 1}])
        client.shop.notes.insert_one({"text": "first"})
    backend = MongoBackend("erp", server.url("shop"), timeout=5.0)
    return backend, specs_of(backend)


@contextmanager
def freezing_answers(server: MongoServer, command: str, attempt: int) -> Iterator[None]:
    """The server cuts the connection at its `attempt`-th such command, before or after doing it."""
    with server.client() as client:
        client.admin.command(
            {
                "configureFailPoint": "failCommand",
                "mode": {"skip": attempt} if attempt else {"times": 1},
                "data": {"failCommands": [command], "closeConnection": True},
            }
        )
        try:
            yield
        finally:
            client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})


# what outages.py does not have: this server alone can do it


def test_a_connection_lost_at_commit_leaves_the_outcome_open(own_mongodb: MongoServer) -> None:
    with own_mongodb.client() as client:
        client.shop.t.insert_many([{"_id": 1, "n": 0}, {"_id": 2, "n": 0}])
        backend = MongoBackend("erp", own_mongodb.url("shop"), timeout=3.0)
        spec = specs_of(backend)["t"]
        faults = ({"closeConnection": True}, {"writeConcernError": {"code": 64, "errmsg": "waiting timed out"}})
        for key, data in enumerate(faults, 1):
            told: dict[str, Any] = {"failCommands": ["commitTransaction"], **data}
            client.admin.command({"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": told})
            with pytest.raises(BackendAway) as caught, backend.session() as session:
                session.update(spec, (key,), {}, {"n": 1})
            assert caught.value.facts["at_commit"] is True
            client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
    backend.close()


def test_a_transient_fault_is_tried_again_later_and_nothing_is_kept(own_mongodb: MongoServer) -> None:
    with own_mongodb.client() as client:
        client.shop.t.insert_one({"_id": 1, "n": 0})
        backend = MongoBackend("erp", own_mongodb.url("shop"), timeout=3.0)
        spec = specs_of(backend)["t"]
        data = {"failCommands": ["update"], "errorCode": 251, "errorLabels": ["TransientTransactionError"]}
        client.admin.command({"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": data})
        with pytest.raises(BackendAway) as caught, backend.session() as session:
            session.insert(spec, {"id": 2, "n": 0})
            session.update(spec, (1,), {}, {"n": 1})
        assert "at_commit" not in caught.value.facts
    assert list(backend.fetch(spec, ["1", "2"])) == ["1"]
    backend.close()


def test_a_session_that_goes_on_after_a_refusal_does_not_look_committed(make: Make) -> None:
    backend = make(t=[{"_id": 1}])
    spec = specs_of(backend)["t"]
    with pytest.raises(BackendRefused), backend.session() as session:
        session.insert(spec, {"id": 2})
        with pytest.raises(BackendRefused):
            session.insert(spec, {"id": 1})
    assert list(backend.fetch(spec, ["1", "2"])) == ["1"]


def test_two_replayers_cannot_both_move_the_mark(make: Make, mongodb: MongoServer) -> None:
    backend = make(t=[{"_id": 1, "n": 0}])
    spec = specs_of(backend)["t"]
    backend.prepare(True)
    other = MongoBackend("erp", mongodb.url(backend._database), timeout=5.0)
    with pytest.raises(BackendAway), backend.session() as one:
        one.update(spec, (1,), {"n": 0}, {"n": 1})
        assert one.move_watermark("main", 0, 1)
        with pytest.raises(BackendAway), other.session() as two:
            assert not two.move_watermark("main", 0, 1)
            raise BackendAway("it is another's")
        with pytest.raises(BackendAway), other.session() as two:
            two.update(spec, (1,), {"n": 0}, {"n": 1})
        raise BackendAway("over")
    assert backend.watermark("main") == 0
    other.close()


def test_a_server_that_was_started_anew_between_two_calls_is_noticed(own_mongodb: MongoServer) -> None:
    """What it had committed may be gone; the driver alone would go on as if nothing had happened."""
    with own_mongodb.client() as client:
        client.shop.t.insert_one({"_id": 1})
    backend = MongoBackend("erp", own_mongodb.url("shop"), timeout=3.0)
    spec = specs_of(backend)["t"]
    backend.ping(1.0)
    for ask in (lambda: backend.fingerprint([spec]), lambda: backend.session().__enter__()):
        ask()
        own_mongodb.kill()
        own_mongodb.start()
        time.sleep(1.1)  # from then on the driver looks whether a connection is alive before it uses it
        with pytest.raises(BackendAway):
            backend.fingerprint([spec])
        with pytest.raises(BackendAway), backend.session():
            pass
        backend.ping(5.0)
        assert backend.fingerprint([spec])
    backend.close()
