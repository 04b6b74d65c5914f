"""MariaDB as a backend, on a real server: the contract, types, catalogue, and what it can do."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from brique.backends import Rung, open_backend
from brique.backends.mysql import MysqlBackend
from brique.backends.mysql.rows import load
from brique.errors import BackendRefused
from brique.schema import Change, Kind
from tests.backends.contract import TABLES, BackendContract, World
from tests.mariadb import MariadbServer
from tests.mysql import Make, database_of, place_of, rows_of, specs_of, wait_for_quiet

NUMBERED = "INTEGER AUTO_INCREMENT PRIMARY KEY"
STANDARD = "ANSI_QUOTES,PIPES_AS_CONCAT"
_numbers = itertools.count(1)


@contextmanager
def locked(server: MariadbServer, url: str, table: str) -> Iterator[None]:
    connection = server.connect(database_of(url))
    connection.begin()
    connection.cursor().execute(f"SELECT * FROM `{table}` FOR UPDATE")
    yield
    connection.rollback()
    connection.close()


def reader_of(server: MariadbServer, url: str) -> str:
    name, database = f"reader_{next(_numbers)}", database_of(url)
    return server.make_account(name, database, f"GRANT SELECT ON `{database}`.* TO {name}@'127.0.0.1'")


class TestMariadb(BackendContract):
    @pytest.fixture
    def world(self, mariadb: MariadbServer) -> Iterator[World]:
        script = TABLES.format(numbered=NUMBERED, true="true").replace("seen TIMESTAMP", "seen DATETIME(6)")
        script = script.replace("code TEXT", "code VARCHAR(99)")  # no index finds a TEXT
        url = mariadb.make_database(script=script, sql_mode=STANDARD)
        backend = MysqlBackend("erp", url, timeout=2.0)
        yield World(
            backend=backend,
            run=lambda sql: mariadb.run(database_of(url), sql, sql_mode=STANDARD),
            lock=lambda table: locked(mariadb, url, table),
            read_only=lambda: open_backend("erp", reader_of(mariadb, url)),
        )
        backend.close()

    def test_the_fingerprint_stays_while_nothing_changes(self, world: World) -> None:
        wait_for_quiet(world.backend)
        super().test_the_fingerprint_stays_while_nothing_changes(world)


# types

TYPES = """
CREATE TABLE t (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, small TINYINT(1), counts TINYINT(1), tiny TINYINT UNSIGNED,
  code CHAR(5) CHARACTER SET latin1 COLLATE latin1_swedish_ci, old VARCHAR(20) CHARACTER SET utf8mb3, note MEDIUMTEXT,
  price DECIMAL(10,2), huge DECIMAL(30,4), zeros INT(6) ZEROFILL, f FLOAT, r DOUBLE, y YEAR, flag BIT(1), bits BIT(10),
  d DATE, ts TIMESTAMP(3) NULL, dt DATETIME, h TIME, long_h TIME(2), mood ENUM('gai', 'l''autre'),
  tags SET('a', 'b', 'c'),  j JSON, raw BLOB, fixed BINARY(4), place POINT, u UUID, ip INET6,
  total DECIMAL(12,2) AS (price * 2) STORED, shout VARCHAR(30) AS (UPPER(old)) VIRTUAL);
INSERT INTO t (id, small, counts, tiny, code, old, note, price, huge, zeros, f, r, y, flag, bits, d, ts, dt, h, long_h,
  mood, tags, j, raw, fixed, place, u, ip) VALUES
 (1, 1, 7, 255, 'é1', 'été', 'a\\nb', 12.30, 12345678901234567890.1234, 7, 0.1, 0.1, 2026, b'1', b'1000000001',
  '2024-02-29', '2024-02-29 08:30:00.125', '2024-02-29 08:30:00', '08:30:00', '838:59:58.5', 'l''autre', 'a,c',
  '{"a":  [1, 2.50]}', x'005cff27', 'ab', ST_GeomFromText('POINT(1 2)'), 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '::1'),
 (18446744073709551615, 0, -1, 0, '', '', '', -0.01, -1.5, 0, 16777216, 1e300, 0, b'0', 0,
  '0000-00-00', '0000-00-00 00:00:00', '2026-02-00 00:00:00', '00:00:00', '-12:00:00', 'gai', '', '[]', '', '', NULL,
  NULL, NULL);
"""


def test_every_type_is_read_written_and_compared(mysql: Make) -> None:
    backend = mysql(TYPES.replace("h TIME,", "h TIME(0),"))
    spec = specs_of(backend)["t"]
    row, odd = backend.fetch(spec, ["1", "18446744073709551615"]).values()
    assert row == {
        "id": 1, "small": 1, "counts": 7, "tiny": 255, "code": "é1", "old": "été", "note": "a\nb", "price": 1230,
        "huge": "65019123456789012345678901234", "zeros": 7, "f": 0.1, "r": 0.1, "y": 2026, "flag": 1, "bits": 513,
        "d": "2024-02-29", "ts": "2024-02-29T05:30:00.125000Z", "dt": "2024-02-29T08:30:00.000000", "h": "08:30:00",
        "long_h": "838:59:58.50", "mood": "l'autre", "tags": "a,c", "j": '{"a":[1,2.50]}', "raw": b"\x00\\\xff'",
        "fixed": b"ab\x00\x00", "place": "POINT(1 2)", "u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "ip": "::1",
        "total": 2460, "shout": "ÉTÉ",
    }  # fmt: skip
    assert (odd["id"], odd["d"], odd["ts"], odd["dt"]) == (
        "18446744073709551615", "0000-00-00", "0000-00-00 00:00:00.000", "2026-02-00 00:00:00",
    )  # fmt: skip
    assert (odd["f"], odd["counts"], odd["long_h"], odd["price"], odd["y"]) == (16777216.0, -1, "-12:00:00.00", -1, 0)
    assert sorted(rows_of(backend, spec), key=lambda r: str(r[0])) == [tuple(row.values()), tuple(odd.values())]
    keys = ((1,), (2**64 - 1,))
    with backend.session() as session:
        assert session.update(spec, keys[1], odd, {name: value for name, value in row.items() if name != "id"}) == 1
        assert session.update(spec, keys[0], row, {name: value for name, value in odd.items() if name != "id"}) == 1
        assert session.update(spec, keys[0], row, {"note": "x"}) == 0
    again = backend.fetch(spec, ["1", "18446744073709551615"])
    assert again["1"] == {**odd, "id": 1} and again["18446744073709551615"] == {**row, "id": "18446744073709551615"}


def test_every_old_value_is_compared_in_sql_and_needs_no_second_look(mysql: Make) -> None:
    backend = mysql(TYPES.replace('{"a":  [1, 2.50]}', '{"a":[1,2.50]}'))
    spec = specs_of(backend)["t"]
    for key, row in backend.fetch(spec, ["1", "18446744073709551615"]).items():
        with backend._asking() as connection:
            rows = load(connection, spec)
            for name, value in row.items():
                sql = f"SELECT COUNT(*) FROM t WHERE {rows.where(spec.key_values(key))}{rows.same({name: value})}"
                assert connection.rows(sql) == [["1"]], (name, value)


def test_types_have_their_kinds_and_measures(mysql: Make) -> None:
    columns = specs_of(mysql(TYPES))["t"].by_name
    kinds = {name: column.kind for name, column in columns.items()}
    assert (kinds["small"], kinds["counts"], kinds["flag"], kinds["bits"]) == (
        Kind.BOOLEAN, Kind.INTEGER, Kind.BOOLEAN, Kind.INTEGER,
    )  # fmt: skip
    assert (kinds["h"], kinds["long_h"], kinds["j"], kinds["raw"]) == (Kind.TIME, Kind.TEXT, Kind.JSON, Kind.BINARY)
    assert (columns["price"].scale, columns["huge"].scale) == (2, None)
    assert columns["mood"].choices == ("gai", "l'autre") and columns["tags"].choices == ()
    assert (columns["code"].decoder, columns["code"].length_max) == ("trim", 5)
    assert columns["total"].generated and columns["shout"].generated and columns["id"].defaulted
    assert not columns["id"].generated


def test_text_too_long_numbers_too_large_and_foreign_letters_are_refused_and_never_cut(mysql: Make) -> None:
    backend = mysql(
        "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(3), c CHAR(3), n DECIMAL(4,1), s TINYINT, "
        "l VARCHAR(9) CHARACTER SET latin1, u VARCHAR(9) CHARACTER SET utf8mb3, e ENUM('a'), d DATE)",
    )
    spec = specs_of(backend)["t"]
    wrong = {"v": "abcd", "c": "abcd", "n": 99999, "s": 300, "l": "日本", "u": "🧱", "e": "b", "d": "gestern"}
    for column, value in wrong.items():
        with pytest.raises(BackendRefused), backend.session() as session:
            session.insert(spec, {"id": 1, column: value})
    assert rows_of(backend, spec) == []


def test_comparison_is_exact_where_the_collation_is_not(mysql: Make) -> None:
    backend = mysql(
        "CREATE TABLE t (code VARCHAR(9) PRIMARY KEY, x VARCHAR(9) COLLATE utf8mb4_general_ci, c CHAR(9),"
        " b VARBINARY(9));"
        "INSERT INTO t VALUES ('Abc', 'Été', 'Été', 'Abc')"
    )
    spec = specs_of(backend)["t"]
    assert backend.fetch(spec, ["abc", "ABC"]) == {} and backend.fetch(spec, ["Abc"])
    with backend.session() as session:
        for column in ("x", "c"):
            for other in ("été", "ETE", "Été "):
                assert session.update(spec, ("Abc",), {column: other}, {"b": b"no"}) == 0, (column, other)
        assert session.update(spec, ("Abc",), {"b": b"abc"}, {"b": b"no"}) == 0
        assert session.update(spec, ("abc",), {"x": "Été"}, {"b": b"no"}) == 0, "that key is another row's"
        assert session.look(spec, ("ABC ",)) is None
        assert session.update(spec, ("Abc",), {"x": "Été", "c": "Été", "b": b"Abc"}, {"x": "été"}) == 1


def test_an_update_that_changes_nothing_counts(mysql: Make) -> None:
    backend = mysql("CREATE TABLE t (id INT PRIMARY KEY, x INT); INSERT INTO t VALUES (1, 5)")
    spec = specs_of(backend)["t"]
    with backend.session() as session:
        assert session.update(spec, (1,), {"x": 5}, {"x": 5}) == 1
        assert session.apply([(spec, Change("t", "1", {"x": 5}, {"x": 5}))])[0].rows == 1


@pytest.mark.parametrize("mode", ["NO_BACKSLASH_ESCAPES,ANSI_QUOTES", "ORACLE", ""])
def test_the_servers_sql_mode_does_not_matter(own_mariadb: MariadbServer, mode: str) -> None:
    own_mariadb.run("", f"SET GLOBAL sql_mode = '{mode}', time_zone = '-05:00', completion_type = 'CHAIN'")
    url = own_mariadb.make_database(script="CREATE TABLE t (id INT PRIMARY KEY, x VARCHAR(40), at TIMESTAMP NULL)")
    backend = MysqlBackend("erp", url)
    spec = specs_of(backend)["t"]
    text = "a\\' OR '1'='1 \"x\" \\"
    with backend.session() as session:
        session.insert(spec, {"id": 1, "x": text, "at": "2026-11-20T12:00:00.000000Z"})
        assert session.update(spec, (1,), {"x": text}, {"x": text + "'"}) == 1
    assert backend.fetch(spec, ["1"])["1"] == {"id": 1, "x": text + "'", "at": "2026-11-20T12:00:00.000000Z"}
    assert backend.fetch(spec, ["2"]) == {}
    backend.close()


def test_rows_and_cells_of_every_size_are_read(mysql: Make) -> None:
    backend = mysql(
        "CREATE TABLE t (id INT PRIMARY KEY, a LONGBLOB, b LONGTEXT);"
        "INSERT INTO t VALUES (1, REPEAT('x', 250), REPEAT('y', 251)), (2, REPEAT('x', 65535), REPEAT('y', 65536)),"
        "(3, REPEAT('x', 16777215), REPEAT('é', 1000)), (4, NULL, ''), (5, REPEAT('z', 8000000), REPEAT('é', 4388600))"
    )
    spec = specs_of(backend)["t"]
    sizes = [(row[0], row[1] and len(row[1]), row[2] and len(row[2])) for row in rows_of(backend, spec)]
    assert sizes == [(1, 250, 251), (2, 65535, 65536), (3, 16777215, 1000), (4, None, ""), (5, 8000000, 4388600)]


# the catalogue


def test_views_comments_references_and_odd_names_are_described(mysql: Make) -> None:
    backend = mysql(
        "CREATE TABLE `Client %s` (id INT AUTO_INCREMENT PRIMARY KEY COMMENT 'Numéro', `raison ``x``` VARCHAR(40) "
        "COMMENT 'Raison sociale: comme au registre', UNIQUE KEY u (`raison ``x```)) COMMENT 'Clients';"
        "CREATE TABLE facture (an INT, no INT, client INT NOT NULL, total INT DEFAULT 0, PRIMARY KEY (an, no),"
        " FOREIGN KEY (client) REFERENCES `Client %s` (id));"
        "CREATE TABLE ligne (id INT PRIMARY KEY, an INT, no INT, FOREIGN KEY (an, no) REFERENCES facture (an, no));"
        "CREATE VIEW v AS SELECT id FROM `Client %s`; CREATE TABLE libre (k INT NOT NULL, x INT, UNIQUE KEY (k));"
    )
    specs = specs_of(backend)
    client = next(spec for spec in specs.values() if spec.source == "Client %s")
    assert client.label == "Clients" and client.unique == ((client.names[1],),)
    column = client.by_name[client.names[1]]
    assert (column.label, column.help, column.source) == ("Raison sociale", "comme au registre", "raison `x`")
    assert specs["facture"].key == ("an", "no") and specs["facture"].references[0].table == client.name
    assert specs["ligne"].references[0].columns == ("an", "no")
    assert specs["v"].is_view and specs["v"].read_only and specs["libre"].key == ("k",)
    with backend.session() as session:
        given = session.insert(client, {client.names[1]: "%s d'Or"})
        assert session.update(client, (given["id"],), {client.names[1]: "%s d'Or"}, {client.names[1]: "x"}) == 1


def test_an_account_that_may_only_read_sees_keys_and_references_and_no_hidden_column(
    mysql: Make, mariadb: MariadbServer
) -> None:
    backend = mysql(
        "CREATE TABLE p (id INT PRIMARY KEY, open INT, secret INT);"
        "CREATE TABLE c (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id)); CREATE TABLE hidden (id INT)"
    )
    place, name = place_of(backend), f"half_reader_{next(_numbers)}"
    grants = (
        f"GRANT SELECT (id, open) ON {place}.p TO {name}@'127.0.0.1'; GRANT SELECT ON {place}.c TO {name}@'127.0.0.1'"
    )
    clerk = MysqlBackend("erp", mariadb.make_account(name, place, grants))
    specs = specs_of(clerk)
    assert set(specs) == {"c", "p"} and specs["p"].names == ("id", "open") and specs["p"].key == ("id",)
    assert specs["c"].references and specs["c"].references[0].table == "p"
    assert "may not write" in specs["p"].read_only
    assert rows_of(clerk, specs["p"]) == []
    clerk.close()


def test_an_address_without_a_database_serves_all_of_them(own_mariadb: MariadbServer) -> None:
    own_mariadb.make_database(
        "ventes", "CREATE TABLE client (id INT PRIMARY KEY, x INT); INSERT INTO client VALUES (1, 2)"
    )
    own_mariadb.make_database(
        "compta", "CREATE TABLE client (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES ventes.client (id))"
    )
    backend = MysqlBackend("erp", own_mariadb.url())
    specs = specs_of(backend)
    assert set(specs) == {"client", "ventes_client"}
    assert specs["client"].references[0].table == "ventes_client"
    assert backend.prepare(True).rung is Rung.COMPARE and backend.watermark("a") is None
    with backend.session() as session:
        assert session.update(specs["ventes_client"], (1,), {"x": 2}, {"x": 3}) == 1
    with backend.snapshot() as snapshot:
        assert snapshot.mark(specs["ventes_client"]) is not None
        assert list(snapshot.read(specs["ventes_client"])) == [[(1, 3)]]
    marked = MysqlBackend("erp", own_mariadb.url(), marker_schema="compta")
    assert marked.prepare(True).rung is Rung.WATERMARK and marked.watermark("a") == 0
    backend.close()
    marked.close()


# what the backend can do


@pytest.mark.parametrize("engine", ["MyISAM", "Aria"])
def test_a_table_without_transactions_makes_the_whole_backend_compare(mysql: Make, engine: str) -> None:
    backend = mysql(f"CREATE TABLE good (id INT PRIMARY KEY); CREATE TABLE old (id INT PRIMARY KEY) ENGINE={engine}")
    specs = specs_of(backend)
    prepared = backend.prepare(True)
    assert prepared.rung is Rung.COMPARE and not prepared.abilities.transactions
    assert "old" in prepared.reason and engine in prepared.reason
    assert backend.fingerprint([specs["good"]]) is not None
    assert backend.fingerprint([specs["good"], specs["old"]]) is None, "InnoDB's log does not tell of its changes"
    with backend.snapshot() as snapshot:
        assert snapshot.mark(specs["old"]) is None and snapshot.mark(specs["good"]) is not None


def test_a_table_without_transactions_that_may_not_be_written_does_not_count(
    mysql: Make, mariadb: MariadbServer
) -> None:
    backend = mysql("CREATE TABLE good (id INT PRIMARY KEY); CREATE TABLE log (id INT) ENGINE=MyISAM")
    place, name = place_of(backend), f"clerk_{next(_numbers)}"
    account = f"{name}@'127.0.0.1'"
    grants = f"GRANT SELECT ON {place}.* TO {account}; GRANT INSERT, UPDATE ON {place}.good TO {account};"
    own = f"CREATE TABLE brique_cursor (stream VARCHAR(99) PRIMARY KEY, position BIGINT); GRANT SELECT, INSERT, UPDATE ON {place}.brique_cursor TO {account}"  # noqa: E501
    clerk = MysqlBackend("erp", mariadb.make_account(name, place, grants + own))
    prepared = clerk.prepare(True)
    assert (prepared.rung, prepared.reason) == (Rung.WATERMARK, "")
    assert prepared.abilities.flushed is False, "this server flushes once a second"
    clerk.close()


def test_a_marker_table_that_cannot_be_undone_is_no_marker(mysql: Make) -> None:
    backend = mysql(
        "CREATE TABLE t (id INT PRIMARY KEY);"
        "CREATE TABLE brique_cursor (stream VARCHAR(99) PRIMARY KEY, position BIGINT) ENGINE=MyISAM"
    )
    prepared = backend.prepare(True)
    assert prepared.rung is Rung.COMPARE and "brique_cursor" in prepared.reason and not prepared.abilities.marker


def test_views_that_follow_other_things_than_innodb_have_no_fingerprint(mysql: Make) -> None:
    backend = mysql(
        "CREATE TABLE t (id INT PRIMARY KEY); CREATE TABLE old (id INT) ENGINE=MyISAM;"
        "CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1;"
        "CREATE VIEW good AS SELECT a.id FROM t a LEFT JOIN t b ON a.id = b.id WHERE a.id IN (SELECT id FROM t);"
        "CREATE VIEW nested AS SELECT * FROM good; CREATE VIEW lame AS SELECT t.id FROM t JOIN old ON t.id = old.id;"
        "CREATE VIEW sub AS SELECT id FROM t WHERE EXISTS (SELECT 1 FROM old);"
        "CREATE VIEW clock AS SELECT id FROM t WHERE NOW() > '2020-01-01'; CREATE VIEW calls AS SELECT f() AS x FROM t;"
        "CREATE VIEW me AS SELECT CURRENT_USER() AS x; CREATE VIEW two AS SELECT * FROM clock"
    )
    specs = specs_of(backend)
    steady = {name for name, spec in specs.items() if backend.fingerprint([spec]) is not None}
    assert steady == {"t", "good", "nested"}


def test_the_mark_tells_null_from_empty_and_which_cell_holds_what(mysql: Make, mariadb: MariadbServer) -> None:
    backend = mysql("CREATE TABLE t (a VARCHAR(9), b VARCHAR(9), c BLOB, f FLOAT); CREATE TABLE empty (id INT)")
    specs = specs_of(backend)
    marks = []
    rows = ("'x', NULL, '', 0.1", "NULL, 'x', '', 0.1", "'', 'x', '', 0.1", "'x', '', '', 0.1", "'x', '', NULL, 0.1",
            "'x', '', NULL, 0.1000001")  # fmt: skip
    for row in rows:
        mariadb.run(place_of(backend), f"DELETE FROM t; INSERT INTO t VALUES ({row}), ({row})")
        with backend.snapshot() as snapshot:
            marks.append(snapshot.mark(specs["t"]))
            assert snapshot.mark(specs["empty"]) == "0:0"
    assert len(set(marks)) == len(rows) and None not in marks
