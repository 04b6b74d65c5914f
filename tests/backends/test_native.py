"""Tables that brique owns: made from their declarations, grown by additions alone, and a backend like any other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import apsw
import pytest

from brique.backends import NATIVE_FILE, Rung, make_native, open_backend
from brique.backends.native import NativeBackend
from brique.errors import BackendRefused, BadConfiguration
from brique.schema import OWN, Kind, Row, Table, TableSpec, column, key, ref, specs_of
from tests.backends.contract import TABLES, BackendContract, World
from tests.backends.test_sqlite import connect, locked, run_on

STAMP = "2026-11-20T23:59:00.000000Z"


class TestNative(BackendContract):
    @pytest.fixture
    def world(self, tmp_path: Path) -> Iterator[World]:
        path = tmp_path / NATIVE_FILE
        with closing(connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(TABLES.format(numbered="INTEGER PRIMARY KEY", true="1"))
        backend = open_backend("erp", "native:", data=tmp_path, timeout=2.0)
        yield World(
            backend=backend,
            run=lambda sql: run_on(path, sql),
            lock=lambda table: locked(path, table),
            read_only=lambda: NativeBackend("erp", path, read_only=True),
        )
        backend.close()

    def test_the_marker_table_is_only_made_when_allowed(self, world: World) -> None:
        """The file is brique's own: nobody has to allow anything."""
        assert world.backend.prepare(False).rung is Rung.WATERMARK
        assert world.backend.watermark("a") == 0


def table(name: str, fields: dict[str, tuple[Any, Any]], **options: Any) -> type[Table]:
    """A table class as a file would declare it: `fields` are annotations and right-hand sides (None: nothing)."""
    body: dict[str, Any] = {"__annotations__": {field: hint for field, (hint, _) in fields.items()}}
    body |= {field: right for field, (_, right) in fields.items() if right is not None}
    return type(name, (Table,), body, **options)


def specs(*classes: type[Table]) -> dict[str, TableSpec]:
    return {spec.name: spec for spec in specs_of(list(classes)).values()}


def note(**more: tuple[Any, Any]) -> type[Table]:
    return table("Note", {"id": (int, key()), "text": (str, None), **more})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / NATIVE_FILE


def opened(path: Path) -> NativeBackend:
    return NativeBackend("native", path, timeout=5.0)


class Everything(Table):
    id: int = key()
    words: str
    whole: int | None
    price: Decimal | None = column(scale=2, precision=18)
    exact: Decimal | None
    ratio: float | None
    yes: bool = column(default=True)
    day: date | None
    moment: datetime | None
    clock: time | None
    raw: bytes | None
    tree: dict[str, Any] | None
    thing: object | None
    state: str = column(default="it's open", choices=("it's open", "shut"))
    count: int = column(default=0)
    due: Decimal = column(scale=2, default=Decimal("12.50"))


def test_every_kind_of_value_is_kept_as_it_was_given(path: Path) -> None:
    [spec] = specs(Everything).values()
    make_native(path, [spec], stamp=STAMP)
    given: dict[str, Any] = {
        "words": "Thiès 🧱", "whole": 2**62, "price": Decimal("1234567890123456.78"),
        "exact": Decimal("0.000000000000000000001"), "ratio": 0.1, "yes": False, "day": date(2024, 2, 29),
        "moment": datetime(2024, 2, 29, 8, 30, 0, 5, tzinfo=UTC), "clock": time(8, 30), "raw": b"\x00\xff",
        "tree": {"a": [1, "é"]}, "thing": "007",
    }  # fmt: skip
    row: Row = {name: spec.by_name[name].store(value) for name, value in given.items()}
    with closing(opened(path)) as backend:
        with backend.session() as session:
            assert session.insert(spec, row) == {"id": 1}
            assert session.insert(spec, {"words": "second"}) == {"id": 2}
        kept = backend.fetch(spec, ["1"])["1"]
        assert {name: kept[name] for name in row} == row
        assert spec.by_name["price"].python(kept["price"]) == given["price"]
        second = backend.fetch(spec, ["2"])["2"]
        assert (second["state"], second["yes"], second["count"], second["due"]) == ("it's open", 1, 0, 1250)
        with backend.session() as session:
            assert session.update(spec, (1,), row, {"words": "changed"}) == 1
            assert session.delete(spec, (2,), {}) == 1
            assert session.insert(spec, {"words": "third"}) == {"id": 3}, "no number is given twice"
        with backend.snapshot() as snapshot:
            assert [len(batch) for batch in snapshot.read(spec)] == [2]


def test_what_is_declared_is_held_by_the_file(path: Path) -> None:
    city = table("City", {"code": (str, key()), "name": (str, column(unique=True))})
    person = table(
        "Person",
        {"id": (int, key()), "city": (city, ref()), "first": (str, None), "last": (str, None)},
        unique=(("first", "last"),),
    )
    known = specs(city, person)
    make_native(path, known.values(), stamp=STAMP)
    with closing(opened(path)) as backend:
        assert backend.prepare(False).rung is Rung.WATERMARK
        assert backend.prepare(False).abilities.flushed
        with backend.session() as session:
            session.insert(known["city"], {"code": "DKR", "name": "Dakar"})
            session.insert(known["person"], {"city": "DKR", "first": "Awa", "last": "Ba"})
        for wrong, why in (
            ({"city": "???", "first": "x", "last": "y"}, "refers to a row"),
            ({"city": "DKR", "first": "Awa", "last": "Ba"}, "same first, last"),
            ({"city": None, "first": "x", "last": "y"}, "must not be empty"),
        ):
            with pytest.raises(BackendRefused, match=why), backend.session() as session:
                session.insert(known["person"], wrong)
        with pytest.raises(BackendRefused, match="other rows refer"), backend.session() as session:
            session.delete(known["city"], ("DKR",), {"name": "Dakar"})


def test_a_second_start_has_nothing_to_do(path: Path) -> None:
    assert make_native(path, specs(Everything).values(), stamp=STAMP)
    assert make_native(path, specs(Everything).values(), stamp=STAMP) == []
    assert path.stat().st_mode & 0o077 == 0
    assert not (path.parent / "native-before").exists()


def test_new_tables_columns_and_unique_sets_are_added_and_a_copy_is_put_aside_before(path: Path) -> None:
    make_native(path, specs(note()).values(), stamp=STAMP)
    run_on(path, "INSERT INTO Note (text) VALUES ('kept')")
    other = table("Other", {"code": (str, key())})
    grown = note(
        place=(str | None, None), weight=(int, column(default=3)), other=(other | None, ref()),
        label=(str | None, column(unique=True)),
    )  # fmt: skip
    done = make_native(path, specs(grown, other).values(), stamp=STAMP)
    assert len(done) == 6
    assert run_on(path, "SELECT id, text, place, weight, other FROM Note") == [(1, "kept", None, 3, None)]
    [copy] = (path.parent / "native-before").iterdir()
    assert run_on(copy, "SELECT * FROM Note") == [(1, "kept")]
    assert make_native(path, specs(grown, other).values(), stamp=STAMP) == []
    known = specs(grown, other)
    with closing(opened(path)) as backend, pytest.raises(BackendRefused, match="refers"), backend.session() as session:
        session.insert(known["note"], {"text": "x", "other": "none"})


def test_a_table_that_is_not_declared_any_more_keeps_its_rows(path: Path) -> None:
    make_native(path, specs(note(), table("Other", {"code": (str, key())})).values(), stamp=STAMP)
    run_on(path, "INSERT INTO Other VALUES ('a')")
    assert make_native(path, specs(note()).values(), stamp=STAMP) == []
    assert run_on(path, "SELECT * FROM Other") == [("a",)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"text": (int, None)}, "text was kept as TEXT, and is declared as INTEGER"),
        ({"text": (str | None, None)}, "text could not be empty"),
        ({"more": (str, None)}, "more may not be empty"),
        ({"number": (str | None, None)}, "number could"),
        ({"text": (str, column(default="x"))}, "default of text"),
        ({"id": (str, key())}, "id was kept as INTEGER"),
        ({"id": (int, None), "text": (str, key())}, "its key was id"),
        ({"code": (str | None, column("text2"))}, "column code is not declared"),
    ],
)
def test_what_is_no_addition_is_refused_with_what_to_do_and_nothing_is_changed(
    path: Path, change: dict[str, Any], said: str
) -> None:
    before = {"id": (int, key()), "text": (str, None), "number": (int | None, None), "code": (str | None, None)}
    make_native(path, specs(table("Note", before)).values(), stamp=STAMP)
    run_on(path, "INSERT INTO Note (text) VALUES ('kept')")
    schema = run_on(path, "SELECT sql FROM sqlite_schema ORDER BY name")
    if said.startswith("number could"):
        change, said = {"number": (int, None)}, "number could be empty so far"
    with pytest.raises(BadConfiguration, match=said) as caught:
        make_native(path, specs(table("Note", before | change)).values(), stamp=STAMP)
    assert caught.value.try_this
    assert run_on(path, "SELECT sql FROM sqlite_schema ORDER BY name") == schema
    assert run_on(path, "SELECT text FROM Note") == [("kept",)]


def test_a_unique_set_that_the_rows_break_is_refused_whole(path: Path) -> None:
    make_native(path, specs(note()).values(), stamp=STAMP)
    run_on(path, "INSERT INTO Note (text) VALUES ('twice'), ('twice')")
    grown = table("Note", {"id": (int, key()), "text": (str, column(unique=True)), "more": (str | None, None)})
    with pytest.raises(BadConfiguration, match="UNIQUE"):
        make_native(path, specs(grown).values(), stamp=STAMP)
    assert len(run_on(path, "SELECT * FROM Note")[0]) == 2


def test_a_damaged_file_is_said_and_left_alone(path: Path) -> None:
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(BadConfiguration, match="cannot be used"):
        make_native(path, specs(note()).values(), stamp=STAMP)
    assert path.read_bytes().startswith(b"not a database")


def test_two_tables_of_one_name_and_a_table_without_key_are_said(path: Path) -> None:
    with pytest.raises(BadConfiguration, match="is taken"):
        make_native(
            path,
            specs(table("A", {"id": (int, key())}, source="x"), table("B", {"id": (int, key())}, source="X")).values(),
            stamp=STAMP,
        )
    with pytest.raises(BadConfiguration, match="no key"):
        specs(table("A", {"text": (str, None)}))


def test_an_integer_key_is_numbered_and_a_text_key_is_not() -> None:
    [numbered] = specs(note()).values()
    assert numbered.backend == OWN.name and numbered.key_given_by_backend
    [named] = specs(table("A", {"code": (str, key())})).values()
    assert not named.key_given_by_backend and named.by_name["code"].kind is Kind.TEXT


def test_a_reference_to_a_mirrored_table_is_no_foreign_key(path: Path) -> None:
    from brique.schema import BackendSpec

    erp = BackendSpec("erp", "sqlite:///erp.db")
    customer = table("Customer", {"number": (int, key())}, backend=erp)
    visit = table("Visit", {"id": (int, key()), "customer": (customer, ref())})
    known = specs(customer, visit)
    make_native(path, [known["visit"]], stamp=STAMP)
    with closing(apsw.Connection(str(path))) as connection:
        assert connection.execute("SELECT * FROM pragma_foreign_key_list('Visit')").fetchall() == []
    assert known["visit"].references[0].table == "customer"
