"""ODBC as a backend, over real unixODBC with the drivers of PostgreSQL and SQLite."""

from __future__ import annotations

import itertools
import os
import resource
import sqlite3
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import unquote, urlencode, urlsplit

import pytest

from brique.backends import Backend, Rung, open_backend
from brique.backends.odbc import OdbcBackend
from brique.backends.odbc.address import parse
from brique.backends.odbc.profile import PROFILES
from brique.errors import BackendAway, BackendRefused, BadConfiguration
from brique.schema import Effect, Kind, TableSpec
from brique.schema.infer import infer
from tests.backends.contract import TABLES, BackendContract, World
from tests.backends.test_postgresql import NUMBERED, locked, reader_of, run_on
from tests.mariadb import MariadbServer
from tests.postgres import PostgresServer

DRIVERS = Path("/usr/lib/x86_64-linux-gnu/odbc")
PSQLODBC = DRIVERS / "psqlodbcw.so"
SQLITE3ODBC = DRIVERS / "libsqlite3odbc.so"
MAODBC = DRIVERS / "libmaodbc.so"
_numbers = itertools.count(1)
Make = Callable[..., OdbcBackend]


def need(driver: Path) -> None:
    """Skip where a driver is missing, but fail in CI."""
    if driver.exists():
        return
    reason = f"no ODBC driver {driver} (try: apt install unixodbc odbc-postgresql libsqliteodbc)"
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(reason)
    pytest.skip(reason)


def odbc_url(url: str, **options: str) -> str:
    """The address by ODBC of a PostgreSQL database that `url` names."""
    parts = urlsplit(url)
    keys = {
        "DRIVER": str(PSQLODBC), "SERVER": parts.hostname or "", "PORT": str(parts.port),
        "DATABASE": parts.path.strip("/"), "UID": parts.username or "", **options,
    }  # fmt: skip
    return f"odbc:///?{urlencode(keys)}"


class TestPostgresOverOdbc(BackendContract):
    @pytest.fixture
    def world(self, postgres: PostgresServer) -> Iterator[World]:
        need(PSQLODBC)
        url = postgres.make_database(script=TABLES.format(numbered=NUMBERED, true="true"))
        backend = OdbcBackend("erp", odbc_url(url), timeout=2.0)
        yield World(
            backend=backend,
            run=lambda sql: run_on(url, sql),
            lock=lambda table: locked(url, table),
            read_only=lambda: open_backend("erp", odbc_url(reader_of(postgres, url))),
            thousand_seconds=6.0,  # a round trip for each: no driver counts rows for several sent at once
        )
        backend.close()


@pytest.fixture
def make(postgres: PostgresServer) -> Iterator[Make]:
    """A backend on a new PostgreSQL database made by a script, by ODBC."""
    need(PSQLODBC)
    opened: list[OdbcBackend] = []

    def build(script: str = "", *, address: dict[str, str] | None = None, **options: float) -> OdbcBackend:
        url = postgres.make_database(script=script)
        made = OdbcBackend("erp", odbc_url(url, **(address or {})), **{"timeout": 2.0, **options})  # type: ignore[arg-type]
        made.past = lambda sql: run_on(url, sql)  # type: ignore[attr-defined]
        opened.append(made)
        return made

    yield build
    for backend in opened:
        backend.close()


def run_past(backend: OdbcBackend, sql: str) -> list[tuple[object, ...]]:
    """SQL in the backend's database, past the backend."""
    found: list[tuple[object, ...]] = backend.past(sql)  # type: ignore[attr-defined]
    return found


def specs_of(backend: Backend) -> dict[str, TableSpec]:
    return {spec.name: spec for spec in infer(backend.catalogue(), "erp")}


def rows_of(backend: Backend, spec: TableSpec) -> list[tuple[object, ...]]:
    with backend.snapshot() as snapshot:
        return [row for batch in snapshot.read(spec) for row in batch]


# SQLite by ODBC: in no way in earnest (use sqlite:///), but another driver to be right with


def cannot(reason: str, test: Callable[..., None]) -> Callable[..., None]:
    """A promise of the contract that this driver cannot keep, and why."""
    marked: Callable[..., None] = pytest.mark.xfail(reason=reason, strict=True)(test)
    return marked


def copied(test: Callable[..., None]) -> Callable[..., None]:
    """The same test as a function of its own, since a mark on it would hold for every other backend too."""
    made = types.FunctionType(test.__code__, test.__globals__, test.__name__, test.__defaults__, test.__closure__)
    made.__kwdefaults__ = test.__kwdefaults__
    return made


_NO_GENERATED = "SQLColumns of libsqliteodbc leaves generated columns out"
_NO_READ_ONLY = "libsqliteodbc has no way to open a file for reading only"
_NO_CANCEL = "libsqliteodbc hears no SQLCancel while it waits for a lock; it gives up by itself after about a second"


class TestSqliteOverOdbc(BackendContract):
    test_keys_numbered_by_the_backend_and_generated_columns_are_recognised = cannot(
        _NO_GENERATED, copied(BackendContract.test_keys_numbered_by_the_backend_and_generated_columns_are_recognised)
    )
    test_an_insert_gives_the_key_as_the_backend_has_it = cannot(
        _NO_GENERATED, copied(BackendContract.test_an_insert_gives_the_key_as_the_backend_has_it)
    )
    test_generated_columns_are_never_written = cannot(
        _NO_GENERATED, copied(BackendContract.test_generated_columns_are_never_written)
    )
    test_an_account_that_may_not_make_tables_gets_the_next_rung_and_a_reason = cannot(
        _NO_READ_ONLY, copied(BackendContract.test_an_account_that_may_not_make_tables_gets_the_next_rung_and_a_reason)
    )
    test_an_account_that_may_not_write_is_refused = cannot(
        _NO_READ_ONLY, copied(BackendContract.test_an_account_that_may_not_write_is_refused)
    )
    test_abort_ends_a_call_in_another_thread_at_once = cannot(
        _NO_CANCEL, copied(BackendContract.test_abort_ends_a_call_in_another_thread_at_once)
    )

    @pytest.fixture
    def world(self, tmp_path: Path) -> Iterator[World]:
        need(SQLITE3ODBC)
        path = tmp_path / "erp.db"
        # the standard library's SQLite is the one that the driver is linked to: two copies of SQLite in one process
        # would not see each other's locks
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(TABLES.format(numbered="INTEGER PRIMARY KEY AUTOINCREMENT", true="1"))
        url = f"odbc:///?{urlencode({'DRIVER': str(SQLITE3ODBC), 'DATABASE': str(path)})}"
        backend = OdbcBackend("erp", url, timeout=2.0)

        def run(sql: str) -> list[tuple[object, ...]]:
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                return list(connection.execute(sql))

        @contextmanager
        def lock(table: str) -> Iterator[None]:
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                yield
                connection.execute("ROLLBACK")

        yield World(
            backend=backend,
            run=run,
            lock=lock,
            read_only=lambda: open_backend("erp", f"{url}&{urlencode({'ReadOnly': '1', 'NoCreat': '1'})}"),
        )
        backend.close()


# types


TYPES = """
CREATE TABLE t (
  id int PRIMARY KEY, code char(5), a numeric(10,2) NOT NULL DEFAULT 0, tags text[], jb jsonb, u uuid, ip inet,
  tz timestamptz, ts timestamp(3), d date, h time, ok boolean, raw bytea, big numeric, huge numeric(30,4),
  f float8, r real, i2 smallint, i8 bigint, long text, odd varchar(9));
INSERT INTO t VALUES (1, 'ab', 12.30, '{a,"b c"}', '{"a": [1, 2.50]}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
  '10.0.0.1', '2024-02-03 04:05:06.7+02', '2024-02-03 04:05:06.75', '2024-01-02', '10:11:12.5', true, '\\x005cff',
  123456789.9876543210, 12345678901234567890.1234, 0.1, 0.1, -5, 9223372036854775807, repeat('é', 30000), 'é𝄞\u0301');
INSERT INTO t (id, a) VALUES (2, -0.01);
"""


def test_every_type_is_read_written_and_compared(make: Make) -> None:
    backend = make(TYPES)
    spec = specs_of(backend)["t"]
    row, empty = backend.fetch(spec, ["1", "2"]).values()
    assert row == {
        "id": 1, "code": "ab", "a": 1230, "tags": '{a,"b c"}', "jb": '{"a":[1,2.50]}',
        "u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "ip": "10.0.0.1", "tz": "2024-02-03T02:05:06.700000Z",
        "ts": "2024-02-03T04:05:06.750000", "d": "2024-01-02", "h": "10:11:12.500000", "ok": 1, "raw": b"\x00\\\xff",
        "big": "65008123456789987654321", "huge": "65019123456789012345678901234", "f": 0.1, "r": 0.1, "i2": -5,
        "i8": 9223372036854775807, "long": "é" * 30000, "odd": "é𝄞\u0301",
    }  # fmt: skip
    assert empty["a"] == -1 and {value for name, value in empty.items() if name not in ("id", "a")} == {None}
    assert sorted(rows_of(backend, spec), key=lambda r: str(r[0])) == [tuple(row.values()), tuple(empty.values())]
    with backend.session() as session:
        assert session.update(spec, (2,), empty, {name: value for name, value in row.items() if name != "id"}) == 1
        assert session.update(spec, (1,), row, {name: value for name, value in empty.items() if name != "id"}) == 1
    again = backend.fetch(spec, ["1", "2"])
    assert again["2"] == {**row, "id": 2} and again["1"] == {**empty, "id": 1}


def test_reading_in_bulk_and_row_by_row_gives_the_same(make: Make) -> None:
    backend = make(TYPES + "ALTER TABLE t DROP COLUMN raw; UPDATE t SET long = repeat('é', 3000)")
    spec = specs_of(backend)["t"]
    in_bulk = rows_of(backend, spec)
    assert not backend._by_rows, "the bulk reader took it"
    backend._by_rows.add("t")
    assert rows_of(backend, spec) == in_bulk and len(in_bulk) == 2


def test_a_value_too_long_for_the_bulk_reader_is_read_row_by_row(make: Make) -> None:
    backend = make("CREATE TABLE t (id int PRIMARY KEY, x text); INSERT INTO t VALUES (1, repeat('x', 900000))")
    (row,) = rows_of(backend, specs_of(backend)["t"])
    assert row == (1, "x" * 900_000)


def test_a_large_object_beyond_the_limit_of_the_address_is_refused_before_it_is_read(make: Make) -> None:
    script = "CREATE TABLE t (id int PRIMARY KEY, b bytea); INSERT INTO t VALUES (1, decode(repeat('00', 3000), 'hex'))"
    backend = make(script, address={"lob_max": "2000"})
    with pytest.raises(BackendRefused, match="3000 bytes in b; at most 2000"):
        rows_of(backend, specs_of(backend)["t"])


def test_memory_follows_one_batch_and_not_the_table(make: Make) -> None:
    backend = make("CREATE TABLE t (id int PRIMARY KEY, x varchar(2000));"
                   "INSERT INTO t SELECT i, repeat('x', 1900) FROM generate_series(1, 60000) i")  # fmt: skip
    spec = specs_of(backend)["t"]
    with backend.snapshot() as snapshot:
        batches = snapshot.read(spec)
        next(batches)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        rest = sum(map(len, batches))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert rest > 50_000 and grown < 60_000, f"{grown} KB for 114 MB of rows"


def test_a_unique_index_is_the_key_where_the_driver_tells_of_no_primary_key(make: Make) -> None:
    specs = specs_of(make(
        "CREATE TABLE sure (code char(3) NOT NULL, x int); CREATE UNIQUE INDEX ON sure (code);"
        "CREATE TABLE unsure (code char(3), x int); CREATE UNIQUE INDEX ON unsure (code);"
        "CREATE TABLE half (code char(3) NOT NULL, x int); CREATE UNIQUE INDEX ON half (code) WHERE x > 0;"
    ))  # fmt: skip
    assert specs["sure"].key == ("code",) and specs["unsure"].key == () and specs["half"].key == ()


# addresses


def test_addresses_become_connection_strings_and_show_no_password() -> None:
    plain = parse("erp", "odbc:///?DSN=AS400&UID=me&PWD=s%3Bcr%7Det&libraries=ERPLIB,STOCK&profile=db2i")
    assert plain.schemas == ("ERPLIB", "STOCK") and plain.profile == "db2i"
    text = plain.connection_string(PROFILES["db2i"])
    assert text.startswith("DSN=AS400;UID=me;PWD={s;cr}}et};") and "CCSID=1208" in text and "libraries" not in text
    parts = parse("erp", "odbc://me:s%40cret@db.example:5433/erp?driver=PostgreSQL Unicode")
    assert list(parts.given.items()) == [
        ("DRIVER", "PostgreSQL Unicode"), ("SERVER", "db.example"), ("PORT", "5433"), ("DATABASE", "erp"),
        ("UID", "me"), ("PWD", "s@cret"),
    ]  # fmt: skip
    as400 = parse("erp", "odbc://me:s3cret@as400/ERPLIB?driver=IBM i Access ODBC Driver")
    assert as400.get("SYSTEM") == "as400" and as400.get("DBQ") == "ERPLIB"
    assert "s3cret" not in repr(as400) and "s@cret" not in repr(parts)
    for bad in ("odbc:///", "odbc://me:s3cret@host/db", "odbc:///?DSN=x&profile=oracle", "odbc:///?DSN=x&lob_max=much"):
        with pytest.raises(BadConfiguration) as caught:
            parse("erp", bad)
        assert "s3cret" not in str(caught.value)


def test_a_password_never_stands_in_a_fault(postgres: PostgresServer) -> None:
    need(PSQLODBC)
    url = odbc_url("postgresql://nobody@127.0.0.1:1/none", PWD="s3cret")
    backend = OdbcBackend("erp", url, connect_timeout=2)
    with pytest.raises(BackendAway) as away:
        backend.ping(1)
    assert "s3cret" not in str(away.value) and "s3cret" not in repr(away.value.facts)
    assert away.value.__cause__ is None
    backend.close()
    missing = OdbcBackend("erp", "odbc:///?DRIVER=/nowhere/libno.so&PWD=s3cret")
    with pytest.raises(BackendAway, match=r"libno\.so") as away:
        missing.ping(1)
    assert "s3cret" not in str(away.value)
    missing.close()


def test_a_data_source_of_an_own_odbc_ini_is_found(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need(PSQLODBC)
    parts = urlsplit(postgres.make_database(script="CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (7)"))
    (tmp_path / "odbc.ini").write_text(
        f"[ERP]\nDriver = {PSQLODBC}\nServername = 127.0.0.1\nPort = {parts.port}\nDatabase = {parts.path[1:]}\n"
        f"Username = {parts.username}\n"
    )
    program = (
        "from brique.backends import open_backend; from brique.schema import infer\n"
        "b = open_backend('erp', 'odbc:///?DSN=ERP'); (spec,) = infer(b.catalogue(), 'erp')\n"
        "print(b.fetch(spec, ['7']), b._driver.name, b.prepare(True).rung)"
    )
    environment = {**os.environ, "ODBCINI": str(tmp_path / "odbc.ini"), "ODBCSYSINI": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "{'7': {'id': 7}} postgresql watermark\n", done.stderr


# procedures


PROCEDURES = """
CREATE TABLE stock (code char(5) PRIMARY KEY, quantity int NOT NULL);
INSERT INTO stock VALUES ('A1', 10);
CREATE PROCEDURE book(item text, much int, INOUT remaining int DEFAULT NULL, INOUT said text DEFAULT NULL)
LANGUAGE plpgsql AS $$BEGIN
  UPDATE stock SET quantity = quantity - much WHERE code = item RETURNING quantity INTO remaining;
  IF remaining < 0 THEN RAISE EXCEPTION 'Only % left', remaining + much; END IF;
  said := 'été ' || item;
END$$;
"""


def test_a_procedure_is_called_in_the_transaction_and_its_parameters_come_back(make: Make) -> None:
    backend = make(PROCEDURES)
    spec = specs_of(backend)["stock"]
    with pytest.raises(RuntimeError), backend.session() as session:
        assert session.call(Effect("book", {"item": "A1", "much": 3})) == {"remaining": 7, "said": "été A1"}
        assert (session.look(spec, ("A1",)) or {})["quantity"] == 7
        raise RuntimeError
    assert backend.fetch(spec, ["A1"])["A1"]["quantity"] == 10
    with backend.session() as session:
        session.call(Effect("public.book", {"ITEM": "A1", "MUCH": 4}))
    assert backend.fetch(spec, ["A1"])["A1"]["quantity"] == 6
    for effect, said in (
        (Effect("book", {"item": "A1", "much": 40}), "Only 6 left"),
        (Effect("nothing", {}), "no procedure nothing"),
        (Effect("book", {"item": "A1", "colour": "red"}), "no parameter colour"),
        (Effect("book", {"item": "A1"}), "needs much"),
    ):
        with pytest.raises(BackendRefused, match=said), backend.session() as session:
            session.call(effect)
    assert backend.fetch(spec, ["A1"])["A1"]["quantity"] == 6


# servers that stop and freeze


def test_connections_cut_by_the_server_are_opened_again(make: Make) -> None:
    backend = make("CREATE TABLE t (id int PRIMARY KEY)")
    spec = specs_of(backend)["t"]
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with pytest.raises(BackendAway) as caught, backend.session() as session:
        session.insert(spec, {"id": 1})
        run_past(backend, cut)
        session.insert(spec, {"id": 2})
    assert "at_commit" not in caught.value.facts
    backend.ping(2)
    assert backend.fetch(spec, ["1", "2"]) == {}
    with pytest.raises(BackendAway) as caught, backend.session() as session:
        session.insert(spec, {"id": 3})
        run_past(backend, cut)
    assert caught.value.facts["at_commit"] is True
    with backend.session() as session:
        session.insert(spec, {"id": 4})


def test_kinds_and_measures_are_those_of_the_source(make: Make) -> None:
    columns = specs_of(make(TYPES))["t"].by_name
    assert (columns["a"].kind, columns["a"].precision, columns["a"].scale) == (Kind.DECIMAL, 10, 2)
    assert (columns["huge"].kind, columns["huge"].scale) == (Kind.DECIMAL, None)
    assert (columns["code"].decoder, columns["code"].length_max, columns["odd"].length_max) == ("trim", 5, 9)
    assert columns["a"].defaulted and columns["long"].length_max is None


# MariaDB by ODBC: a driver that gives parameters of procedures back as ODBC has it


@pytest.fixture
def maria(mariadb: MariadbServer) -> Iterator[Callable[[str], OdbcBackend]]:
    need(MAODBC)
    opened: list[OdbcBackend] = []

    def build(script: str) -> OdbcBackend:
        url = mariadb.make_database(script=script)
        parts = urlsplit(url)
        keys = {
            "DRIVER": str(MAODBC), "SERVER": parts.hostname or "", "PORT": str(parts.port), "UID": parts.username or "",
            "DATABASE": parts.path.strip("/"), "PWD": unquote(parts.password or ""),
        }  # fmt: skip
        made = OdbcBackend("erp", f"odbc:///?{urlencode(keys)}", timeout=3.0)
        made.past = lambda sql: mariadb.run(parts.path.strip("/"), sql)  # type: ignore[attr-defined]
        opened.append(made)
        return made

    yield build
    for backend in opened:
        backend.close()


def test_parameters_that_a_driver_gives_back_come_as_values(maria: Callable[[str], OdbcBackend]) -> None:
    backend = maria(
        "CREATE TABLE stock (code CHAR(5) PRIMARY KEY, quantity INT NOT NULL);"
        "INSERT INTO stock VALUES ('A1', 10);"
        "CREATE PROCEDURE book(IN item CHAR(5), INOUT much INT, OUT remaining INT, OUT said VARCHAR(40), "
        "OUT price DECIMAL(9,2)) "
        "BEGIN UPDATE stock SET quantity = quantity - much WHERE code = item; "
        "SELECT quantity INTO remaining FROM stock WHERE code = item; "
        "IF remaining < 0 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'Not enough left'; END IF; "
        "SET said = CONCAT('été ', item), much = much * 2, price = 12.30; END"
    )
    spec = specs_of(backend)["stock"]
    with pytest.raises(RuntimeError), backend.session() as session:
        assert session.call(Effect("book", {"item": "A1", "much": 3})) == {
            "much": 6, "remaining": 7, "said": "été A1", "price": 1230,
        }  # fmt: skip
        raise RuntimeError
    assert backend.fetch(spec, ["A1"])["A1"]["quantity"] == 10
    with pytest.raises(BackendRefused, match="Not enough left"), backend.session() as session:
        session.call(Effect("book", {"item": "A1", "much": 30}))
    assert backend.fetch(spec, ["A1"])["A1"]["quantity"] == 10


def test_tables_of_the_other_databases_of_a_server_are_not_ours(maria: Callable[[str], OdbcBackend]) -> None:
    """MariaDB's driver tells of every database, and the same name may stand in several: the marker's does."""
    other = maria("CREATE TABLE t (code CHAR(2) PRIMARY KEY); CREATE TABLE theirs (id INT PRIMARY KEY)")
    assert other.prepare(True).rung is Rung.WATERMARK
    ours = maria("CREATE TABLE t (id INT PRIMARY KEY, code CHAR(4) UNIQUE)")
    (table,) = ours.catalogue().tables
    assert table.key == ("id",) and [column.name for column in table.columns] == ["id", "code"]
    assert ours.prepare(False).rung is not Rung.WATERMARK
    assert ours.prepare(True).rung is Rung.WATERMARK


def test_rows_of_mariadb_are_read_and_changed_by_odbc(maria: Callable[[str], OdbcBackend]) -> None:
    backend = maria(
        "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(20), n DECIMAL(9,2), d DATE, m DATETIME(6));"
        "INSERT INTO t VALUES (1, 'Été', 12.30, '2026-11-20', '2026-11-20 08:30:00.5'), (2, NULL, -0.01, NULL, NULL)"
    )
    spec = specs_of(backend)["t"]
    assert rows_of(backend, spec) == [
        (1, "Été", 1230, "2026-11-20", "2026-11-20T08:30:00.500000"), (2, None, -1, None, None),
    ]  # fmt: skip
    assert backend.prepare(True).rung is Rung.WATERMARK
    with backend.session() as session:
        assert session.insert(spec, {"name": "trois"}) == {"id": 3}
        assert session.update(spec, (1,), {"name": "été"}, {"name": "x"}) == 0, "letters are compared exactly"
        assert session.update(spec, (1,), {"name": "Été", "n": 1230}, {"name": "Hiver", "n": 5}) == 1
        assert session.delete(spec, (2,), {"name": None, "n": -1}) == 1
        assert session.move_watermark("a", 0, 5)
    assert {key: row["name"] for key, row in backend.fetch(spec, ["1", "2", "3"]).items()} == {
        "1": "Hiver",
        "3": "trois",
    }
    assert backend.watermark("a") == 5
    with pytest.raises(BackendRefused, match="same id"), backend.session() as session:
        session.insert(spec, {"id": 1})
