"""SQLite files as a backend.

Other connections to the same file go through apsw too: locks on files belong to a process, so that a second copy of
SQLite in it (the standard library's) would not see them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import pytest

from brique.backends import Backend, Rung, open_backend
from brique.backends.sqlite import SqliteBackend
from brique.errors import BackendAway, BackendRefused
from brique.schema import Catalogue, Kind, SourceColumn, SourceTable
from brique.schema.infer import infer
from tests.backends.contract import TABLES, BackendContract, World

Make = Callable[..., SqliteBackend]


def connect(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(5000)
    return connection


def fill(path: Path, values: list[tuple[object, ...]]) -> None:
    """Put rows into table `t`."""
    with closing(connect(path)) as connection, connection:
        connection.executemany(f"INSERT INTO t VALUES ({', '.join('?' * len(values[0]))})", values)


def run_on(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(connect(path)) as connection:
        return connection.execute(sql).fetchall()


@contextmanager
def locked(path: Path, _table: str = "") -> Iterator[None]:
    with closing(connect(path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


class TestSqlite(BackendContract):
    @pytest.fixture
    def world(self, tmp_path: Path) -> Iterator[World]:
        path = tmp_path / "erp.db"
        with closing(connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(TABLES.format(numbered="INTEGER PRIMARY KEY", true="1"))
        backend = SqliteBackend("erp", path, timeout=2.0)
        yield World(
            backend=backend,
            run=lambda sql: run_on(path, sql),
            lock=lambda table: locked(path, table),
            read_only=lambda: open_backend("erp", f"sqlite:///{path}?mode=ro"),
        )
        backend.close()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Builds a database from a script and opens it: `make("CREATE TABLE ...")`."""
    opened: list[SqliteBackend] = []

    def build(script: str, *, name: str = "source.db", timeout: float = 2.0) -> SqliteBackend:
        path = tmp_path / name
        with closing(connect(path)) as connection:
            connection.execute(script).fetchall()
        opened.append(SqliteBackend("source", path, timeout=timeout))
        return opened[-1]

    yield build
    for backend in opened:
        backend.close()


def table_of(catalogue: Catalogue, name: str) -> SourceTable:
    return next(table for table in catalogue.tables if table.name == name)


def column_of(backend: Backend, name: str, table: str = "t") -> SourceColumn:
    found = table_of(backend.catalogue(), table)
    return next(column for column in found.columns if column.name == name)


def test_an_old_journal_mode_is_read_and_written_like_any(make: Make) -> None:
    backend = make(
        "PRAGMA journal_mode = DELETE; CREATE TABLE t (a INTEGER PRIMARY KEY, b); INSERT INTO t VALUES (1, 2)"
    )
    (spec,) = infer(backend.catalogue(), "source")
    first = backend.fingerprint([spec])
    with backend.session() as session:
        assert session.update(spec, (1,), {"b": 2}, {"b": 3}) == 1
    assert backend.fetch(spec, ["1"]) == {"1": {"a": 1, "b": 3}}
    assert backend.fingerprint([spec]) != first


@pytest.mark.parametrize(
    ("declared", "values", "kind"),
    [
        ("INTEGER", [1, 2], Kind.INTEGER),
        ("INTEGER", ["a", "b", 1], Kind.ANY),
        ("BIGINT", [], Kind.INTEGER),
        ("NUMERIC", [14, 9.8], Kind.REAL),
        ("NUMERIC(10,2)", [14, 9.8, 12.35], Kind.DECIMAL),
        ("NUMERIC(10,2)", [0.1234567, 1 / 3], Kind.REAL),
        ("DECIMAL(9,0)", [5], Kind.DECIMAL),
        ("MONEY", [14, 9.85], Kind.DECIMAL),
        ("DOUBLE PRECISION", [1.5], Kind.REAL),
        ("VARCHAR(20)", ["x"], Kind.TEXT),
        ("NVARCHAR(20)", [], Kind.TEXT),
        ("DATE", ["2024-01-31"], Kind.DATE),
        ("DATE", ["31/01/2024"], Kind.TEXT),
        ("DATETIME", ["1996-07-04 00:00:00.000", "1996-07-05 00:00:00.000"], Kind.DATE),
        ("DATETIME", ["1996-07-04 10:00:00"], Kind.DATETIME),
        ("TIMESTAMP", ["1996-07-04T10:00:00Z"], Kind.DATETIME),
        ("TIMESTAMP", ["1996-07-04 10:00:00", "1996-07-05"], Kind.TEXT),
        ("TIMESTAMP", [836470800], Kind.INTEGER),
        ("TIMESTAMP", ["2024-01-01 10:00:00+02:00"], Kind.TEXT),
        ("TIME", ["08:30"], Kind.TIME),
        ("BOOLEAN", [0, 1], Kind.BOOLEAN),
        ("BIT", ["Y", "N"], Kind.TEXT),
        ("BLOB", [b"\xff"], Kind.BINARY),
        ("BLOB", ["text"], Kind.TEXT),
        ("JSON", ['{"a": 1}'], Kind.JSON),
        ("JSON", ["not json"], Kind.TEXT),
        ("", [1, "a"], Kind.ANY),
        ("", ["a", "b"], Kind.TEXT),
        ("ANY", ["a", "b"], Kind.ANY),
        ("POINT", [], Kind.ANY),
        ("UUID", ["x"], Kind.TEXT),
    ],
)
def test_the_kind_follows_the_declaration_unless_the_values_deny_it(
    make: Make, declared: str, values: list[object], kind: Kind
) -> None:
    backend = make(f"CREATE TABLE t (x {declared})")
    if values:
        fill(backend.path, [(value,) for value in values])
    assert column_of(backend, "x").kind is kind


def test_one_odd_value_among_many_does_not_change_the_kind_and_is_kept(make: Make) -> None:
    backend = make(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, d DATE);"
        "WITH RECURSIVE x(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM x WHERE i < 100) "
        "INSERT INTO t SELECT i, i, NULL FROM x;"
        "UPDATE t SET n = 'douze', d = '2024-01-01' WHERE id = 12"
    )
    (spec,) = infer(backend.catalogue(), "source")
    assert spec.by_name["n"].kind is Kind.INTEGER
    assert backend.fetch(spec, ["12"])["12"]["n"] == "douze"
    with backend.session() as session:
        assert session.update(spec, (12,), {"n": "douze"}, {"n": 12}) == 1


@pytest.mark.parametrize(
    ("declared", "written", "store", "changed", "rewritten"),
    [
        ("DATETIME", "1996-07-04 00:00:00.000", "1996-07-04", "1996-08-01", "1996-08-01 00:00:00.000"),
        ("DATETIME", "1996-07-04 10:20:30", "1996-07-04T10:20:30.000000", "2024-01-02T03:04:05.000000",
         "2024-01-02 03:04:05"),
        ("DATETIME", "1996-07-04T10:20:30.5Z", "1996-07-04T10:20:30.500000Z", "2024-01-02T03:04:05.000000Z",
         "2024-01-02T03:04:05.0Z"),
        ("DATETIME", "1996-07-04 10:20", "1996-07-04T10:20:00.000000", "2024-01-02T03:04:00.000000",
         "2024-01-02 03:04"),
        ("DATE", "1996-07-04", "1996-07-04", "0999-08-01", "0999-08-01"),
        ("TIME", "10:20", "10:20:00", "11:30:00", "11:30"),
        ("NUMERIC(10,2)", 9.8, 980, 1235, 12.35),
        ("NUMERIC(10,2)", 14, 1400, 100, 1),
        ("CHAR(6)", "ab    ", "ab", "cd", "cd    "),
    ],
)  # fmt: skip
def test_values_are_written_the_way_the_column_writes_them(
    make: Make, declared: str, written: object, store: object, changed: str, rewritten: object
) -> None:
    backend = make(f"CREATE TABLE t (id INTEGER PRIMARY KEY, x {declared}, y {declared})")
    fill(backend.path, [(n, written, written) for n in (1, 2, 3)])
    (spec,) = infer(backend.catalogue(), "source")
    row = backend.fetch(spec, ["1"])["1"]
    assert row["x"] == store
    with backend.session() as session:
        assert session.update(spec, (1,), row, {"x": changed}) == 1
    assert run_on(backend.path, "SELECT x, typeof(x) = typeof(y), y FROM t WHERE id = 1")[0][0] == rewritten
    assert backend.fetch(spec, ["1"])["1"]["x"] == changed


def test_a_decimal_stays_the_number_that_sqlite_keeps(make: Make) -> None:
    backend = make("CREATE TABLE t (id INTEGER PRIMARY KEY, x NUMERIC(10,2)); INSERT INTO t VALUES (1, 9.8)")
    (spec,) = infer(backend.catalogue(), "source")
    with backend.session() as session:
        assert session.update(spec, (1,), {"x": 980}, {"x": 1010}) == 1
        session.insert(spec, {"id": 2, "x": 300})
    assert run_on(backend.path, "SELECT x, typeof(x) FROM t") == [(10.1, "real"), (3, "integer")]


def test_text_that_is_not_utf8_comes_as_bytes_and_the_other_rows_as_they_are(make: Make) -> None:
    backend = make("CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT)")
    fill(backend.path, [(n, f"row {n}") for n in range(1, 201)])
    run_on(backend.path, "UPDATE t SET x = CAST(x'c9ff' AS TEXT) WHERE id % 3 = 0")
    (spec,) = infer(backend.catalogue(), "source")
    with backend.snapshot() as snapshot:
        rows = [row for batch in snapshot.read(spec) for row in batch]
    assert rows == [(n, b"\xc9\xff" if n % 3 == 0 else f"row {n}") for n in range(1, 201)]
    assert backend.fetch(spec, ["3"])["3"]["x"] == b"\xc9\xff"


def test_a_file_copied_over_the_old_one_is_noticed(make: Make, tmp_path: Path) -> None:
    backend = make("CREATE TABLE t (id INTEGER PRIMARY KEY, x); INSERT INTO t VALUES (1, 'old')")
    make("CREATE TABLE t (id INTEGER PRIMARY KEY, x); INSERT INTO t VALUES (1, 'new')", name="other.db")
    (spec,) = infer(backend.catalogue(), "source")
    with backend.session() as session:
        session.look(spec, (1,))
    first = backend.fingerprint([spec])
    (tmp_path / "other.db").rename(backend.path)
    assert backend.fingerprint([spec]) != first
    assert backend.fetch(spec, ["1"])["1"]["x"] == "new"
    with backend.session() as session:
        assert session.update(spec, (1,), {"x": "new"}, {"x": "newer"}) == 1


def test_a_file_that_is_gone_is_away_and_never_made_anew(make: Make) -> None:
    backend = make("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    backend.ping(1)
    backend.path.unlink()
    for _ in range(2):
        with pytest.raises(BackendAway, match="not there"):
            backend.ping(1)
    assert not backend.path.exists()


def test_a_file_that_is_no_database_is_away_with_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(b"SQLite format 3\x00" + b"rubbish" * 1000)
    with pytest.raises(BackendAway, match="cannot be read"):
        SqliteBackend("x", path).ping(1)


def test_a_locked_file_is_away_for_readers_too(make: Make) -> None:
    backend = make("CREATE TABLE t (id INTEGER PRIMARY KEY)", timeout=0.3)
    (spec,) = infer(backend.catalogue(), "source")
    with closing(connect(backend.path)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(BackendAway, match="locked"):
            backend.fetch(spec, ["1"])
        connection.execute("ROLLBACK")


def test_an_endless_view_ends_in_time_and_is_left_out(make: Make) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS c FROM n"
    backend = make(f"CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE VIEW v AS {endless}", timeout=0.3)
    assert [table.name for table in backend.catalogue().tables] == ["t"]


def test_a_view_that_no_longer_works_is_left_out(make: Make) -> None:
    backend = make("CREATE TABLE t (a); CREATE VIEW v AS SELECT a FROM gone")
    assert [table.name for table in backend.catalogue().tables] == ["t"]


def test_abort_interrupts_a_long_query(make: Make) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n WHERE i < 0"
    backend = make(f"CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE VIEW v AS {endless}")
    (spec,) = infer(backend.catalogue(), "source")[:1]
    view = spec.changed(source="v", columns=(spec.columns[0].__class__("i", "i", Kind.INTEGER, "i"),), key=())
    caught: list[str] = []

    def read() -> None:
        try:
            with backend.snapshot() as snapshot:
                list(snapshot.read(view))
        except BackendAway as fault:
            caught.append(fault.message)

    thread = threading.Thread(target=read)
    thread.start()
    while thread.is_alive():
        backend.abort()
        thread.join(0.02)
    assert caught == ["source: the call was given up."]


def test_every_sort_of_key_is_found(make: Make) -> None:
    catalogue = make(
        "CREATE TABLE numbered (id INTEGER PRIMARY KEY, x);"
        "CREATE TABLE counted (id INT PRIMARY KEY, x);"
        "CREATE TABLE descending (id INTEGER PRIMARY KEY DESC, x);"
        "CREATE TABLE flat (a TEXT, b TEXT, PRIMARY KEY (b, a)) WITHOUT ROWID;"
        "CREATE TABLE strict (id INTEGER PRIMARY KEY, x ANY) STRICT;"
        "CREATE TABLE uniquely (a TEXT NOT NULL, b TEXT, UNIQUE (a));"
        "CREATE TABLE perhaps (a TEXT UNIQUE, b TEXT);"
        "CREATE TABLE partly (a TEXT NOT NULL, b TEXT); CREATE UNIQUE INDEX p ON partly (a) WHERE b IS NULL;"
        "CREATE TABLE computed (a TEXT NOT NULL); CREATE UNIQUE INDEX c ON computed (lower(a));"
    ).catalogue()
    keys = {table.name: table.key for table in catalogue.tables}
    assert keys == {
        "numbered": ("id",), "counted": ("id",), "descending": ("id",), "flat": ("b", "a"), "strict": ("id",),
        "uniquely": ("a",), "perhaps": (), "partly": (), "computed": (),
    }  # fmt: skip
    numbered = {t.name: t.columns[0].defaulted for t in catalogue.tables if t.columns[0].name == "id"}
    assert numbered == {"numbered": True, "counted": False, "descending": False, "strict": True}


def test_odd_names_are_read_and_written(make: Make) -> None:
    backend = make(
        """CREATE TABLE "a ""quoted"" 'näme'" ("id;--" INTEGER PRIMARY KEY, "select" TEXT, [été%] TEXT, "" TEXT);
        INSERT INTO "a ""quoted"" 'näme'" VALUES (1, 'a', 'b', 'c')"""
    )
    (spec,) = infer(backend.catalogue(), "source")
    assert spec.name == "a_quoted_name" and spec.names == ("id", "select", "ete", "unnamed")
    with backend.session() as session:
        assert session.update(spec, (1,), {"ete": "b", "unnamed": "c"}, {"ete": "B", "select": "A"}) == 1
        session.insert(spec, {"ete": "x"})
    assert backend.fetch(spec, ["1", "2"])["2"]["ete"] == "x"


def test_foreign_keys_to_a_bare_table_and_in_another_case_are_followed(make: Make) -> None:
    catalogue = make(
        "CREATE TABLE Parent (A INTEGER, B INTEGER, PRIMARY KEY (A, B));"
        "CREATE TABLE child (id INTEGER PRIMARY KEY, x INTEGER, y INTEGER, FOREIGN KEY (X, Y) REFERENCES parent);"
        "CREATE TABLE lost (id INTEGER PRIMARY KEY REFERENCES nowhere (id));"
    ).catalogue()
    (reference,) = table_of(catalogue, "child").references
    assert (reference.columns, reference.table, reference.target_columns) == (("x", "y"), ("", "Parent"), ("A", "B"))
    assert table_of(catalogue, "lost").references == ()


def test_an_undeclared_reference_is_believed_when_its_values_are_there(make: Make) -> None:
    script = (
        "CREATE TABLE customers (customer_no INTEGER PRIMARY KEY, name TEXT);"
        "CREATE TABLE orders (order_no INTEGER PRIMARY KEY, customer_no INTEGER);"
        "INSERT INTO customers VALUES (1, 'a'), (2, 'b');"
        "INSERT INTO orders VALUES (10, 1), (11, 2), (12, NULL), (13, 0);"
    )
    references = table_of(make(script).catalogue(), "orders").references
    assert [reference.table for reference in references] == [("", "customers")]
    refuted = make(script + "INSERT INTO orders VALUES (14, 99)", name="refuted.db").catalogue()
    assert table_of(refuted, "orders").references == ()


def test_a_trigger_that_says_no_is_quoted(make: Make) -> None:
    backend = make(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, x); INSERT INTO t VALUES (1, 1);"
        "CREATE TRIGGER g BEFORE UPDATE ON t BEGIN SELECT RAISE(ABORT, 'Le mois est clos'); END;"
    )
    (spec,) = infer(backend.catalogue(), "source")
    with pytest.raises(BackendRefused, match=r"^Le mois est clos$"), backend.session() as session:
        session.update(spec, (1,), {"x": 1}, {"x": 2})


def test_a_strict_table_refuses_with_the_name_of_the_column(make: Make) -> None:
    backend = make("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER) STRICT")
    (spec,) = infer(backend.catalogue(), "source")
    with pytest.raises(BackendRefused, match="n takes INTEGER, not TEXT"), backend.session() as session:
        session.insert(spec, {"id": 1, "n": "x"})


def test_a_key_that_stands_twice_changes_no_row(make: Make) -> None:
    backend = make("CREATE TABLE t (a INTEGER, b TEXT); INSERT INTO t VALUES (1, 'x'), (1, 'x')")
    (spec,) = infer(backend.catalogue(), "source")
    declared = spec.changed(key=("a",), read_only="")
    with pytest.raises(BackendRefused, match="2 rows"), backend.session() as session:
        session.update(declared, (1,), {"b": "x"}, {"b": "y"})
    assert run_on(backend.path, "SELECT DISTINCT b FROM t") == [("x",)]


def test_old_dates_and_padded_codes_are_decoded_and_written_back(make: Make) -> None:
    backend = make(
        "CREATE TABLE ORDRPF (ORNUM INTEGER PRIMARY KEY, ORCUS CHAR(6), ORDAT NUMERIC(7,0));"
        "INSERT INTO ORDRPF VALUES (1, 'AB    ', 1261120), (2, 'CD    ', 991231), (3, 'EF    ', 0),"
        "(4, 'GH    ', 1000101)"
    )
    (spec,) = infer(backend.catalogue(), "source")
    assert (spec.by_name["orcus"].decoder, spec.by_name["ordat"].decoder) == ("trim", "cyymmdd")
    rows = backend.fetch(spec, ["1", "3"])
    assert rows["1"] == {"ornum": 1, "orcus": "AB", "ordat": "2026-11-20"} and rows["3"]["ordat"] is None
    with backend.session() as session:
        assert session.update(spec, (1,), rows["1"], {"orcus": "XY", "ordat": "2027-01-02"}) == 1
        assert session.update(spec, (3,), rows["3"], {"ordat": "2027-01-03"}) == 1
        assert session.update(spec, (2,), {"ordat": "1999-12-31"}, {"ordat": None}) == 1
    assert run_on(backend.path, "SELECT ORCUS, ORDAT FROM ORDRPF WHERE ORNUM < 4") == [
        ("XY    ", 1270102), ("CD    ", 0), ("EF    ", 1270103),
    ]  # fmt: skip


def test_a_read_only_address_prepares_for_comparing_and_says_why(tmp_path: Path, make: Make) -> None:
    path = make("CREATE TABLE t (id INTEGER PRIMARY KEY)").path
    backend = open_backend("erp", f"sqlite:///{path}?mode=ro")
    prepared = backend.prepare(True)
    assert prepared.rung is Rung.COMPARE and "only be read" in prepared.reason
    backend.close()
    assert run_on(path, "SELECT name FROM sqlite_schema") == [("t",)]
