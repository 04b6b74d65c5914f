"""What every database backend promises, run on each real one. Not collected by itself: a backend adds its `world`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pytest

from brique.backends import BATCH_ROWS, MARKER, Backend, Rung
from brique.commands.marks import Marks, witness_of
from brique.errors import BackendAway, BackendRefused
from brique.schema import Change, Kind, Row, TableSpec
from brique.schema.infer import infer
from tests.servers import wait_until

NUMBERED = "{numbered}"
TABLES = """
CREATE TABLE customers (
  number INTEGER PRIMARY KEY, name VARCHAR(40) NOT NULL UNIQUE, city TEXT, credit NUMERIC(10,2), since DATE,
  seen TIMESTAMP, active BOOLEAN, rate DOUBLE PRECISION);
CREATE TABLE "Order Details" (
  "OrderID" INTEGER NOT NULL, "ProductID" INTEGER NOT NULL, "Unit Price" NUMERIC(10,2), "Qté" INTEGER,
  "select" TEXT, PRIMARY KEY ("OrderID", "ProductID"));
CREATE TABLE tickets (id {numbered}, customer INTEGER REFERENCES customers (number), subject TEXT NOT NULL,
  net INTEGER, gross INTEGER GENERATED ALWAYS AS (net * 2) STORED, status TEXT DEFAULT 'open',
  CONSTRAINT net_is_positive CHECK (net > 0));
CREATE TABLE keyless (a INTEGER, b TEXT);
CREATE TABLE codes (code TEXT NOT NULL UNIQUE, meaning TEXT);
CREATE VIEW names AS SELECT number, name FROM customers;
INSERT INTO customers VALUES (1, 'Élan & Cie', 'Dakar', 1234.50, '2024-02-29', '2024-02-29 08:30:00', {true}, 0.1);
INSERT INTO customers VALUES (2, 'O''Brien "x"', NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO "Order Details" VALUES (10248, 11, 14.00, 12, 'x'), (10248, 42, 9.80, 10, NULL);
INSERT INTO keyless VALUES (1, 'x'), (1, 'x');
INSERT INTO codes VALUES ('007', 'seven'), ('a,b~c', 'odd'), ('', 'empty');
"""


_FAR = 2**43 - 9


@dataclass
class World:
    """A backend on a real database, and a way to that database past the backend."""

    backend: Backend
    run: Callable[[str], list[tuple[object, ...]]]
    lock: Callable[[str], AbstractContextManager[None]]
    """Holds a write lock on a table while its block runs."""
    read_only: Callable[[], Backend]
    """The same database by an account that may only read."""
    zone: str = ""
    """What a moment ends in here: Z where the source says which."""
    thousand_seconds: float = 2.0
    """How long a thousand changes may take."""

    def specs(self) -> dict[str, TableSpec]:
        return {spec.name: spec for spec in infer(self.backend.catalogue(), "erp")}

    # what is done past the backend; a database without SQL does it in its own way

    def add_codes(self, count: int, meaning: str) -> None:
        """Rows c1 … in the table codes."""
        self.run(
            f"INSERT INTO codes WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) "
            f"SELECT 'c' || i, '{meaning}' FROM n"
        )

    def set_city(self, city: str) -> None:
        """The city of customer 1."""
        self.run(f"UPDATE customers SET city = '{city}' WHERE number = 1")

    def city(self) -> object:
        return self.run("SELECT city FROM customers WHERE number = 1")[0][0]

    def add_customer(self, number: int, name: str) -> None:
        self.run(f"INSERT INTO customers (number, name) VALUES ({number}, '{name}')")

    def delete_customer(self, number: int) -> None:
        self.run(f"DELETE FROM customers WHERE number = {number}")

    def add_keyless(self) -> None:
        self.run("INSERT INTO keyless VALUES (3, 'new')")

    def drop(self, table: str) -> None:
        self.run(f"DROP TABLE {table}")

    def make_clock_view(self) -> None:
        self.run("CREATE VIEW today AS SELECT CURRENT_TIMESTAMP AS moment")

    def rows(self, spec: TableSpec) -> list[Row]:
        with self.backend.snapshot() as snapshot:
            return [dict(zip(spec.names, row, strict=True)) for batch in snapshot.read(spec) for row in batch]


class BackendContract:
    @pytest.fixture
    def world(self) -> Iterator[World]:
        raise NotImplementedError

    # what is there

    def test_catalogue_names_tables_keys_references_and_views(self, world: World) -> None:
        specs = world.specs()
        assert set(specs) == {"customers", "order_details", "tickets", "keyless", "codes", "names"}
        assert specs["order_details"].key == ("order_id", "product_id")
        assert specs["order_details"].source == "Order Details"
        assert specs["tickets"].references[0].table == "customers"
        assert specs["codes"].key == ("code",)
        assert specs["keyless"].key == () and "no key" in specs["keyless"].read_only
        assert specs["names"].is_view and specs["names"].read_only

    def test_columns_have_the_kinds_that_the_source_declares(self, world: World) -> None:
        columns = world.specs()["customers"].by_name
        assert [column.kind for column in columns.values()] == [
            Kind.INTEGER, Kind.TEXT, Kind.TEXT, Kind.DECIMAL, Kind.DATE, Kind.DATETIME, Kind.BOOLEAN, Kind.REAL,
        ]  # fmt: skip
        assert (columns["credit"].precision, columns["credit"].scale) == (10, 2)
        assert columns["name"].length_max == 40 and not columns["name"].nullable

    def test_keys_numbered_by_the_backend_and_generated_columns_are_recognised(self, world: World) -> None:
        tickets = world.specs()["tickets"]
        assert tickets.key_given_by_backend
        assert tickets.by_name["gross"].generated and tickets.by_name["status"].defaulted

    def test_the_marker_table_is_never_served(self, world: World) -> None:
        world.backend.prepare(True)
        assert MARKER not in world.specs()

    # reading

    def test_rows_come_as_store_values(self, world: World) -> None:
        first, second = world.rows(world.specs()["customers"])
        assert first == {
            "number": 1, "name": "Élan & Cie", "city": "Dakar", "credit": 123450, "since": "2024-02-29",
            "seen": f"2024-02-29T08:30:00.000000{world.zone}", "active": 1, "rate": 0.1,
        }  # fmt: skip
        assert second["name"] == 'O\'Brien "x"' and second["credit"] is None

    def test_backslashes_tabs_newlines_and_emoji_survive(self, world: World) -> None:
        spec = world.specs()["customers"]
        nasty = "a\\N\tb\nc\r\\t 'quoted' \"x\" %s $1 🧱 \\"
        with world.backend.session() as session:
            session.update(spec, (1,), {"city": "Dakar"}, {"city": nasty})
            session.update(spec, (2,), {"city": None}, {"city": "\\N"})
        assert [row["city"] for row in sorted(world.rows(spec), key=lambda row: str(row["number"]))] == [nasty, "\\N"]
        assert world.backend.fetch(spec, ["1"])["1"]["city"] == nasty

    def test_a_hundred_thousand_rows_come_in_batches(self, world: World) -> None:
        world.add_codes(100_000, "meaning")
        spec = world.specs()["codes"]
        with world.backend.snapshot() as snapshot:
            sizes = [len(batch) for batch in snapshot.read(spec)]
        assert sum(sizes) == 100_003 and max(sizes) <= BATCH_ROWS

    def test_a_snapshot_does_not_see_what_is_written_meanwhile(self, world: World) -> None:
        specs = world.specs()
        with world.backend.snapshot() as snapshot:
            before = sum(map(len, snapshot.read(specs["customers"])))
            world.add_keyless()
            assert sum(map(len, snapshot.read(specs["keyless"]))) == 2
            assert sum(map(len, snapshot.read(specs["customers"]))) == before

    def test_a_table_that_cannot_be_read_does_not_spoil_the_others(self, world: World) -> None:
        specs = world.specs()
        world.drop("keyless")
        with world.backend.snapshot() as snapshot:
            with pytest.raises(BackendRefused):
                list(snapshot.read(specs["keyless"]))
            assert sum(map(len, snapshot.read(specs["customers"]))) == 2

    def test_a_column_that_is_gone_is_said(self, world: World) -> None:
        spec = world.specs()["codes"]
        world.run("ALTER TABLE codes DROP COLUMN meaning")
        with world.backend.snapshot() as snapshot, pytest.raises(BackendRefused, match="meaning"):
            list(snapshot.read(spec))

    def test_rows_are_fetched_by_any_key(self, world: World) -> None:
        specs = world.specs()
        details = world.backend.fetch(specs["order_details"], ["10248,42", "1,1", "10248,11"])
        assert list(details) == ["10248,42", "10248,11"]
        assert details["10248,42"]["unit_price"] == 980
        codes = world.backend.fetch(specs["codes"], ["007", "a~2Cb~7Ec", "~e", "nothing"])
        assert {row["meaning"] for row in codes.values()} == {"seven", "odd", "empty"}

    def test_a_thousand_rows_are_fetched_at_once(self, world: World) -> None:
        world.add_codes(1500, "m")
        found = world.backend.fetch(world.specs()["codes"], [f"c{i}" for i in range(1, 1501)])
        assert len(found) == 1500

    # the fingerprint

    def test_the_fingerprint_stays_while_nothing_changes(self, world: World) -> None:
        specs = list(world.specs().values())
        first = world.backend.fingerprint(specs)
        with world.backend.snapshot() as snapshot:
            list(snapshot.read(specs[0]))
            assert snapshot.fingerprint == first
        assert first is not None and world.backend.fingerprint(specs) == first

    def test_the_fingerprint_changes_with_every_write_of_others_and_of_our_own(self, world: World) -> None:
        specs = world.specs()
        seen = {world.backend.fingerprint(list(specs.values()))}
        world.set_city("Thiès")
        seen.add(world.backend.fingerprint(list(specs.values())))
        with world.backend.session() as session:
            session.update(specs["customers"], (1,), {"city": "Thiès"}, {"city": "Mbour"})
        seen.add(world.backend.fingerprint(list(specs.values())))
        assert len(seen) == 3 and None not in seen

    def test_a_table_whose_mark_is_as_before_holds_the_same_rows(self, world: World) -> None:
        specs = world.specs()

        def marks() -> tuple[str | None, str | None]:
            with world.backend.snapshot() as snapshot:
                return snapshot.mark(specs["customers"]), snapshot.mark(specs["codes"])

        first = marks()
        assert marks() == first
        seen = [first[0]]
        for change in (
            lambda: world.set_city("Thiès"),
            lambda: world.set_city("Dakar"),
            lambda: world.add_customer(3, "Trois"),
            lambda: world.delete_customer(3),
        ):
            change()
            customers, codes = marks()
            assert codes == first[1]
            seen.append(customers)
        # a mark made of row versions is new after the second change, one made of their contents is the first again
        assert seen == [None] * 5 or (len({*seen[1:]}) == 3 and seen[1] != seen[0]), seen
        assert seen[4] == seen[2], "the last is as before the insert"

    def test_a_view_that_follows_the_clock_has_no_fingerprint(self, world: World) -> None:
        world.make_clock_view()
        assert world.backend.fingerprint(list(world.specs().values())) is None

    # writing

    def test_an_insert_gives_the_key_as_the_backend_has_it(self, world: World) -> None:
        specs = world.specs()
        with world.backend.session() as session:
            given = session.insert(specs["tickets"], {"subject": "Wet floor", "customer": 1, "net": 5})
            assert isinstance(given["id"], int)
            row = session.look(specs["tickets"], (given["id"],))
            assert session.insert(specs["codes"], {"code": "é,1"}) == {"code": "é,1"}
        assert row is not None and row["gross"] == 10 and row["status"] == "open"

    def test_every_kind_of_value_goes_out_and_comes_back(self, world: World) -> None:
        spec = world.specs()["customers"]
        row: Row = {
            "number": 9, "name": "Ōsaka", "city": "", "credit": -5, "since": "1999-12-31",
            "seen": f"2026-11-20T23:59:59.123000{world.zone}", "active": 0, "rate": 1e-300,
        }  # fmt: skip
        with world.backend.session() as session:
            session.insert(spec, row)
        assert world.backend.fetch(spec, ["9"])["9"] == row
        with world.backend.session() as session:
            assert session.update(spec, (9,), row, {name: None for name in row if name not in ("number", "name")}) == 1
        assert set(world.backend.fetch(spec, ["9"])["9"].values()) == {9, "Ōsaka", None}

    def test_an_update_changes_nothing_when_the_row_has_changed(self, world: World) -> None:
        spec = world.specs()["customers"]
        with world.backend.session() as session:
            assert session.update(spec, (1,), {"city": "Elsewhere"}, {"city": "X"}) == 0
            assert session.update(spec, (1,), {"city": None}, {"city": "X"}) == 0
            assert session.update(spec, (2,), {"city": None, "credit": None}, {"city": "X", "credit": 1}) == 1
            assert session.update(spec, (404,), {"city": None}, {"city": "X"}) == 0
        assert world.backend.fetch(spec, ["1", "2"])["2"]["credit"] == 1

    def test_an_update_compares_letters_exactly(self, world: World) -> None:
        spec = world.specs()["customers"]
        with world.backend.session() as session:
            assert session.update(spec, (1,), {"city": "DAKAR"}, {"city": "X"}) == 0
            assert session.update(spec, (1,), {"city": "Dakar "}, {"city": "X"}) == 0

    def test_text_that_the_source_does_not_compose_can_still_be_updated(self, world: World) -> None:
        spec = world.specs()["customers"]
        world.set_city("Thie\u0300s")
        assert world.backend.fetch(spec, ["1"])["1"]["city"] == "Thi\u00e8s"
        with world.backend.session() as session:
            assert session.update(spec, (1,), {"city": "Thi\u00e8s"}, {"city": "Dakar"}) == 1

    def test_a_delete_takes_the_row_only_as_the_author_saw_it(self, world: World) -> None:
        spec = world.specs()["order_details"]
        row = world.backend.fetch(spec, ["10248,11"])["10248,11"]
        with world.backend.session() as session:
            assert session.delete(spec, (10248, 11), {**row, "qte": 13}) == 0
            assert session.delete(spec, (10248, 11), row) == 1
            assert session.delete(spec, (10248, 11), row) == 0
        assert world.backend.fetch(spec, ["10248,11"]) == {}

    def test_a_key_may_be_changed(self, world: World) -> None:
        spec = world.specs()["order_details"]
        with world.backend.session() as session:
            assert session.update(spec, (10248, 11), {"product_id": 11}, {"product_id": 12}) == 1
        assert list(world.backend.fetch(spec, ["10248,11", "10248,12"])) == ["10248,12"]

    def test_generated_columns_are_never_written(self, world: World) -> None:
        spec = world.specs()["tickets"]
        with world.backend.session() as session:
            given = session.insert(spec, {"subject": "s", "net": 3, "gross": 99})
            key = (given["id"],)
            assert session.update(spec, key, {"gross": 6, "net": 3}, {"gross": 1, "net": 4}) == 1
            assert session.update(spec, key, {"gross": 8}, {"gross": 1}) == 1
            row = session.look(spec, key)
        assert row is not None and row["gross"] == 8

    def test_nothing_is_kept_of_a_session_that_fails(self, world: World) -> None:
        spec = world.specs()["customers"]
        with pytest.raises(RuntimeError), world.backend.session() as session:
            session.update(spec, (1,), {}, {"city": "lost"})
            raise RuntimeError("stop")
        assert world.backend.fetch(spec, ["1"])["1"]["city"] == "Dakar"
        with world.backend.session() as session:
            assert session.update(spec, (1,), {"city": "Dakar"}, {"city": "kept"}) == 1
        assert world.backend.fetch(spec, ["1"])["1"]["city"] == "kept"

    def test_what_a_session_commits_is_seen_by_others(self, world: World) -> None:
        spec = world.specs()["customers"]
        world.backend.fetch(spec, ["1"])
        with world.backend.session() as session:
            assert session.look(spec, (1,)) is not None
            session.update(spec, (1,), {}, {"city": "Ziguinchor"})
        assert world.city() == "Ziguinchor"

    @pytest.mark.parametrize(
        ("table", "row", "sentence"),
        [
            ("customers", {"number": 1, "name": "x"}, "same number"),
            ("customers", {"number": 3, "name": "Élan & Cie"}, "same name"),
            ("customers", {"number": 3, "name": None}, "name must not be empty"),
            ("tickets", {"subject": "s", "customer": 404}, "row that is not there"),
            ("tickets", {"subject": "s", "net": -1}, "net_is_positive|net > 0"),
        ],
    )
    def test_a_refusal_says_which_rule_and_no_sql(self, world: World, table: str, row: Row, sentence: str) -> None:
        spec = world.specs()[table]
        with pytest.raises(BackendRefused, match=sentence) as caught, world.backend.session() as session:
            session.insert(spec, row)
        assert "INSERT" not in caught.value.message and "VALUES" not in caught.value.message
        assert caught.value.facts["sentence"]

    def test_many_changes_are_applied_in_order_as_if_one_by_one(self, world: World) -> None:
        specs = world.specs()
        customers, tickets, codes = specs["customers"], specs["tickets"], specs["codes"]
        with world.backend.session() as session:
            done = session.apply(
                [
                    (customers, Change("customers", "1", {"city": "Dakar"}, {"city": "A"})),
                    (customers, Change("customers", "2", {"city": None}, {"city": "B"})),
                    (customers, Change("customers", "1", {"city": "A"}, {"city": "C"})),
                    (customers, Change("customers", "2", {"city": None}, {"city": "D"})),
                    (tickets, Change("tickets", "new-1", None, {"subject": "one"})),
                    (tickets, Change("tickets", "new-2", None, {"subject": "two"})),
                    (codes, Change("codes", "007", {"code": "007", "meaning": "seven"}, None)),
                    (codes, Change("codes", "008", {"code": "008", "meaning": None}, None)),
                ]
            )
            subjects = [
                (session.look(tickets, (item.key["id"],)) or {})["subject"] for item in done if item.key.get("id")
            ]
        assert [item.rows for item in done] == [1, 1, 1, 0, 1, 1, 1, 0]
        assert subjects == ["one", "two"]
        assert world.backend.fetch(customers, ["1"])["1"]["city"] == "C"

    def test_a_change_that_is_said_to_be_done_as_wanted_is_read_as_it_was_asked_for(self, world: World) -> None:
        texts = [
            "n",
            "",
            " n ",
            "été",
            "e\u0301te\u0301",
            "1",
            "01",
            "1.0",
            "NULL",
            "a\tb",
            "\\N",
            "{x}",
            '"q"',
            "'",
            "%s",
            "x" * 20,
        ]
        world.add_codes(len(texts), "m")
        spec = world.specs()["codes"]
        before = world.backend.fetch(spec, [f"c{place}" for place in range(1, len(texts) + 1)])
        keys = list(before)
        wanted = dict(zip(keys, texts, strict=True))
        changes = [(spec, Change("codes", key, {"meaning": "m"}, {"meaning": text})) for key, text in wanted.items()]
        with world.backend.session() as session:
            done = session.apply(changes)
        now = world.backend.fetch(spec, keys)
        for (key, text), one in zip(wanted.items(), done, strict=True):
            if one.as_wanted:
                assert now[key] == {**before[key], "meaning": text}

    def test_a_thousand_changes_are_no_matter_of_minutes(self, world: World) -> None:
        world.add_codes(1000, "m")
        spec = world.specs()["codes"]
        changes = [
            (spec, Change("codes", f"c{i}", {"code": f"c{i}", "meaning": "m"}, {"meaning": "n"}))
            for i in range(1, 1001)
        ]
        took = []
        for _ in range(3):  # the machine is shared: the best of three counts
            began = time.monotonic()
            with pytest.raises(KeyError), world.backend.session() as session:
                assert all(item.rows == 1 for item in session.apply(changes))
                took.append(time.monotonic() - began)
                raise KeyError
        assert min(took) < world.thousand_seconds

    # the watermark

    def test_the_watermark_moves_with_the_transaction_and_only_from_where_it_is(self, world: World) -> None:
        assert world.backend.watermark("a") is None
        assert world.backend.prepare(True).rung is Rung.WATERMARK
        assert world.backend.watermark("a") == 0
        with world.backend.session() as session:
            assert session.move_watermark("a", 0, 7)
        with pytest.raises(RuntimeError), world.backend.session() as session:
            assert session.move_watermark("a", 7, 9)
            raise RuntimeError
        with world.backend.session() as session:
            assert not session.move_watermark("a", 0, 8)
            assert not session.move_watermark("a", 6, 8)
            assert session.move_watermark("b", 0, 3)
        assert (world.backend.watermark("a"), world.backend.watermark("b")) == (7, 3)
        assert world.backend.prepare(True).rung is Rung.WATERMARK

    def test_a_mark_and_its_witness_move_together_or_not_at_all(self, world: World) -> None:
        """`Marks` keeps them so: whose command has moved the mark, as a number of up to 63 bits."""
        world.backend.prepare(True)
        marks = Marks(world.backend, "a")
        with world.backend.session() as session:
            marks.move(session, _FAR, (), "R1")
        marks.moved(_FAR, ())
        with pytest.raises(RuntimeError), world.backend.session() as session:
            marks.move(session, _FAR + 1, (), "R2")
            raise RuntimeError
        again = Marks(world.backend, "a")
        assert again.position() == _FAR
        assert world.backend.watermark("a@") == witness_of(_FAR, "R1") > 2**62
        assert again.is_of({_FAR: "R1"}.get)
        assert again.is_of(lambda _: None)  # nothing is kept there any more
        assert not again.is_of({_FAR: "R2"}.get)
        assert not again.is_of({_FAR: ""}.get)
        with world.backend.session() as session:
            assert session.move_watermark("a", _FAR, _FAR + 1)  # by a brique that knows no witness
        marks.doubt()
        assert marks.is_of({_FAR + 1: "R2"}.get)
        with world.backend.session() as session:
            marks.move(session, _FAR + 2, (), "R3")
        assert not Marks(world.backend, "a").is_of({_FAR + 2: "R2"}.get)

    def test_the_marker_table_is_only_made_when_allowed(self, world: World) -> None:
        prepared = world.backend.prepare(False)
        assert prepared.rung is Rung.COMPARE and "not allowed" in prepared.reason
        assert world.backend.watermark("a") is None

    def test_an_account_that_may_not_make_tables_gets_the_next_rung_and_a_reason(self, world: World) -> None:
        backend = world.read_only()
        try:
            prepared = backend.prepare(True)
            assert prepared.rung is Rung.COMPARE and prepared.reason
            assert backend.watermark("a") is None
        finally:
            backend.close()

    def test_an_account_that_may_not_write_is_refused(self, world: World) -> None:
        spec = world.specs()["customers"]
        backend = world.read_only()
        try:
            assert backend.fetch(spec, ["1"])
            with pytest.raises(BackendRefused), backend.session() as session:
                session.update(spec, (1,), {}, {"city": "X"})
        finally:
            backend.close()

    # time

    def test_a_lock_that_others_hold_ends_in_time(self, world: World) -> None:
        spec = world.specs()["customers"]
        with world.lock("customers"):
            began = time.monotonic()
            with pytest.raises(BackendAway), world.backend.session() as session:
                session.update(spec, (1,), {"city": "Dakar"}, {"city": "X"})
            assert time.monotonic() - began < 5
        with world.backend.session() as session:
            assert session.update(spec, (1,), {"city": "Dakar"}, {"city": "X"}) == 1

    def test_abort_ends_a_call_in_another_thread_at_once(self, world: World) -> None:
        spec = world.specs()["customers"]
        faults: list[BaseException] = []

        def write() -> None:
            try:
                with world.backend.session() as session:
                    session.update(spec, (1,), {"city": "Dakar"}, {"city": "X"})
            except BackendAway as fault:
                faults.append(fault)

        with world.lock("customers"):
            began = time.monotonic()
            thread = threading.Thread(target=write)
            thread.start()
            thread.join(0.3)  # it waits for the lock by now
            while thread.is_alive() and time.monotonic() - began < 10:
                world.backend.abort()
                thread.join(0.05)
            assert not thread.is_alive()
        assert len(faults) == 1 and time.monotonic() - began < 1.5
        assert world.backend.fetch(spec, ["1"])["1"]["city"] == "Dakar"

    def test_abort_without_a_call_in_progress_harms_nothing(self, world: World) -> None:
        world.backend.abort()
        world.backend.ping(1.0)
        assert world.specs()

    def test_reading_and_writing_do_not_wait_for_each_other(self, world: World) -> None:
        spec = world.specs()["customers"]
        done = threading.Event()

        def write() -> None:
            with world.backend.session() as session:
                session.update(spec, (1,), {}, {"city": "meanwhile"})
            done.set()

        with world.backend.snapshot() as snapshot:
            thread = threading.Thread(target=write)
            thread.start()
            wait_until(done.is_set, 5, "the write")
            assert next(row for batch in snapshot.read(spec) for row in batch)[2] == "Dakar"
        thread.join()

    def test_a_closed_backend_says_so(self, world: World) -> None:
        world.backend.ping(1.0)
        world.backend.close()
        world.backend.close()
        with pytest.raises(BackendAway):
            world.backend.ping(1.0)

    def test_the_backend_satisfies_the_protocol(self, world: World) -> None:
        backend: Backend = world.backend
        assert backend.name == "erp"
