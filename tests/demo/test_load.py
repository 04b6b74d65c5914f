"""The demo ERP in PostgreSQL and in SQLite: what it holds, and what it refuses."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import apsw
import psycopg
import pytest

from brique.demo import Made, Plan, load_postgres, make_sqlite
from brique.demo.data import COLUMNS
from brique.demo.load import made
from tests.postgres import PostgresServer

TODAY = date(2026, 11, 20)
PLAN = Plan(TODAY, seed=5, lines=2_000)


@pytest.fixture(scope="module")
def erp(postgres: PostgresServer) -> str:
    url = postgres.make_database("erp_rules")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE clerk LOGIN")
    load_postgres(url, PLAN, role="clerk")
    return postgres.url("erp_rules", user="clerk")


@pytest.fixture
def clerk(erp: str) -> Iterator[psycopg.Connection]:
    """A connection of the role that the intranet uses; what the test does is rolled back."""
    with psycopg.connect(erp) as connection:
        yield connection
        connection.rollback()


def checksums(url: str) -> dict[str, str]:
    found = {}
    with psycopg.connect(url) as connection:
        for table in COLUMNS:
            digest = hashlib.sha256()
            with (
                connection.cursor() as cursor,
                cursor.copy(f'COPY (SELECT * FROM "{table}" t ORDER BY t) TO STDOUT') as copy,
            ):
                for part in copy:
                    digest.update(part)
            found[table] = digest.hexdigest()
    return found


def order_with(connection: psycopg.Connection, status: str) -> int:
    row = connection.execute('SELECT max("ORNUM") FROM "ORDRPF" WHERE "ORSTS" = %s', (status,)).fetchone()
    assert row is not None
    return int(row[0])


def test_two_databases_of_one_plan_are_equal(postgres: PostgresServer, erp: str) -> None:
    url = postgres.make_database("erp_again")
    load_postgres(url, PLAN)
    assert checksums(url) == checksums(postgres.url("erp_rules"))


def test_the_database_tells_what_it_was_made_by(erp: str) -> None:
    assert made(erp) == Made(5, 2_000, TODAY)


def test_a_load_that_is_cut_off_leaves_nothing_and_no_note(postgres: PostgresServer) -> None:
    url = postgres.make_database("erp_cut")

    def cut(step: str, done: int, total: int) -> None:
        if step == "rules" and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_postgres(url, PLAN, progress=cut)
    assert made(url) is None
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM pg_class WHERE relname = 'ORDRPF'").fetchone() == (0,)
    load_postgres(url, PLAN)
    assert made(url) == Made(5, 2_000, TODAY)


def test_progress_rises_to_its_total(postgres: PostgresServer) -> None:
    told: list[tuple[str, int, int]] = []
    url = postgres.make_database("erp_progress")
    load_postgres(url, Plan(TODAY, lines=50_000), progress=lambda *step: told.append(step))
    rows = [done for step, done, _ in told if step == "rows"]
    assert rows == sorted(rows)
    assert len(rows) > 2
    assert told[-1] == ("statistics", 1, 1)
    assert all(0 <= done <= total for _, done, total in told)


def test_the_schema_is_old_and_labelled_in_french(clerk: psycopg.Connection) -> None:
    row = clerk.execute(
        """SELECT obj_description('"CUSTPF"'::regclass), col_description('"CUSTPF"'::regclass, 2)"""
    ).fetchone()
    assert row == ("Clients", "Nom du client")
    row = clerk.execute('SELECT "CUNUM", length("CUNAM"::text) FROM "CUSTPF" ORDER BY 1 LIMIT 1').fetchone()
    assert row is not None
    assert row[0] == "C000001   "
    missing = clerk.execute(
        """SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v')
        AND col_description(c.oid, a.attnum) IS NULL AND c.relname <> 'Détail Règlement'"""
    ).fetchall()
    assert missing == []


def test_one_reference_is_known_to_people_only(clerk: psycopg.Connection) -> None:
    declared = clerk.execute(
        """SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint WHERE contype = 'f'"""
    ).fetchall()
    assert ('"ORDRPF"', '"CUSTPF"') in declared
    assert ('"INVCPF"', '"CUSTPF"') not in declared
    assert len(declared) == 8


def test_the_journal_has_no_key_and_the_same_line_twice(clerk: psycopg.Connection) -> None:
    row = clerk.execute("""SELECT count(*) FROM pg_index WHERE indrelid = '"JRNLPF"'::regclass""").fetchone()
    assert row == (0,)
    row = clerk.execute('SELECT max(n) FROM (SELECT count(*) n FROM "JRNLPF" j GROUP BY j) x').fetchone()
    assert row is not None
    assert row[0] > 1


def test_the_interns_table_can_be_written_with_all_its_quotes(clerk: psycopg.Connection) -> None:
    order = order_with(clerk, "S")
    clerk.execute(
        'INSERT INTO "Détail Règlement" ("order", "group", "Mode d\'encaissement", "Montant ""net"" (FCFA)",'
        """ "Pièce jointe") VALUES (%s, 1, 'Wave', 12.5, '\\x00ff')""",
        (order,),
    )
    row = clerk.execute(
        'SELECT "Montant ""net"" (FCFA)" FROM "Détail Règlement" WHERE "order" = %s', (order,)
    ).fetchone()
    assert row == (Decimal("12.50"),)


@pytest.mark.parametrize("status", ["L", "F", "A"])
def test_lines_of_an_order_that_is_done_are_refused(clerk: psycopg.Connection, status: str) -> None:
    order = order_with(clerk, status)
    for statement in (
        'UPDATE "ORLNPF" SET "OLQTY" = "OLQTY" + 1 WHERE "OLORD" = %s',
        'DELETE FROM "ORLNPF" WHERE "OLORD" = %s',
        "INSERT INTO \"ORLNPF\" VALUES (%s, 99, 'A00001', 1, 10)",
    ):
        with pytest.raises(psycopg.errors.CheckViolation, match=f"ORL010 : la commande {order}"), clerk.transaction():
            clerk.execute(statement, (order,))


def test_lines_of_an_open_order_change_its_amount(clerk: psycopg.Connection) -> None:
    order = order_with(clerk, "V")
    clerk.execute("INSERT INTO \"ORLNPF\" VALUES (%s, 99, 'A00001', 3, 1000.50, 10)", (order,))
    line = clerk.execute('SELECT "OLAMT" FROM "ORLNPF" WHERE "OLORD" = %s AND "OLLIN" = 99', (order,)).fetchone()
    assert line == (Decimal("2701.35"),)
    row = clerk.execute(
        'SELECT "ORAMT" = (SELECT sum("OLAMT") FROM "ORLNPF" WHERE "OLORD" = "ORNUM") FROM "ORDRPF" WHERE "ORNUM" = %s',
        (order,),
    ).fetchone()
    assert row == (True,)


def test_a_generated_column_cannot_be_written(clerk: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.GeneratedAlways):
        clerk.execute('UPDATE "ORLNPF" SET "OLAMT" = 1')


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ('UPDATE "ORLNPF" SET "OLREM" = 140 WHERE "OLORD" = {open}', psycopg.errors.CheckViolation),
        ('UPDATE "ORLNPF" SET "OLQTY" = 0 WHERE "OLORD" = {open}', psycopg.errors.CheckViolation),
        ('UPDATE "ORLNPF" SET "OLART" = \'A99999\' WHERE "OLORD" = {open}', psycopg.errors.ForeignKeyViolation),
        ('UPDATE "STOKPF" SET "STQTY" = -1', psycopg.errors.CheckViolation),
        ('UPDATE "INVCPF" SET "INPAI" = "INAMT" + 1', psycopg.errors.CheckViolation),
        ('UPDATE "ORDRPF" SET "ORSTS" = \'X\' WHERE "ORNUM" = {open}', psycopg.errors.CheckViolation),
        ('UPDATE "ORDRPF" SET "ORSTS" = \'S\' WHERE "ORSTS" = \'F\'', psycopg.errors.CheckViolation),
        ('DELETE FROM "CUSTPF"', psycopg.errors.ForeignKeyViolation),
    ],
)
def test_the_erp_refuses_what_breaks_its_rules(
    clerk: psycopg.Connection, statement: str, fault: type[psycopg.Error]
) -> None:
    with pytest.raises(fault):
        clerk.execute(statement.format(open=order_with(clerk, "V")).encode())


def test_a_blocked_client_gets_no_new_order(clerk: psycopg.Connection) -> None:
    row = clerk.execute('SELECT min("CUNUM") FROM "CUSTPF" WHERE "CUSTS" = \'B\'').fetchone()
    assert row is not None
    with pytest.raises(psycopg.errors.CheckViolation, match=r"ORD010 : le client C.* est bloqué"):
        clerk.execute('INSERT INTO "ORDRPF" ("ORCUS", "ORDAT") VALUES (%s, 1261120)', (row[0],))


def test_a_new_order_is_numbered_by_the_erp_after_the_last(clerk: psycopg.Connection) -> None:
    row = clerk.execute('SELECT min("CUNUM") FROM "CUSTPF" WHERE "CUSTS" = \'A\'').fetchone()
    assert row is not None
    made_row = clerk.execute(
        'INSERT INTO "ORDRPF" ("ORCUS", "ORDAT") VALUES (%s, 1261120) RETURNING "ORNUM", "ORSTS", "ORUSR"', (row[0],)
    ).fetchone()
    assert made_row is not None
    assert made_row[0] > PLAN.orders
    assert made_row[1:] == ("S", "INTRANET  ")


def test_an_order_without_lines_cannot_be_shipped(clerk: psycopg.Connection) -> None:
    order = order_with(clerk, "V")
    clerk.execute('DELETE FROM "ORLNPF" WHERE "OLORD" = %s', (order,))
    with pytest.raises(psycopg.errors.CheckViolation, match="ORD030"):
        clerk.execute('UPDATE "ORDRPF" SET "ORSTS" = \'L\' WHERE "ORNUM" = %s', (order,))


def test_a_new_status_is_told_to_the_journal(clerk: psycopg.Connection) -> None:
    order = order_with(clerk, "V")
    clerk.execute('UPDATE "ORDRPF" SET "ORSTS" = \'L\' WHERE "ORNUM" = %s', (order,))
    row = clerk.execute(
        'SELECT trim("JOUSR") FROM "JRNLPF" WHERE "JOTXT" = %s', (f"Commande {order} : statut V -> L",)
    ).fetchone()
    assert row == ("CLERK",)


def test_the_intranets_role_may_add_a_table_and_drop_none(clerk: psycopg.Connection) -> None:
    clerk.execute("CREATE TABLE brique_cursor (x int)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        clerk.execute('DROP TABLE "CUSTPF" CASCADE')


@pytest.fixture
def small(tmp_path: Path) -> Iterator[apsw.Connection]:
    make_sqlite(tmp_path / "erp.db", seed=5, lines=2_000, today=TODAY)
    connection = apsw.Connection(str(tmp_path / "erp.db"))
    connection.execute("PRAGMA foreign_keys = on")
    yield connection
    connection.close()


def test_sqlite_holds_the_same_rows_padded(small: apsw.Connection, erp: str) -> None:
    with psycopg.connect(erp) as connection:
        for table, columns in COLUMNS.items():
            name = '"' + table + '"'
            picked = ", ".join('"' + column.replace('"', '""') + '"' for column in columns if column != "Reçu à")
            ours = [_plain(row) for row in small.execute(f"SELECT {picked} FROM {name}")]
            theirs = [_plain(row) for row in connection.execute(f"SELECT {picked} FROM {name}".encode())]
            assert sorted(ours, key=repr) == sorted(theirs, key=repr), table


def _plain(row: tuple[object, ...]) -> tuple[object, ...]:
    """Numbers of both databases made comparable."""
    return tuple(float(value) if isinstance(value, int | float | Decimal) else value for value in row)


def test_sqlite_is_whole_and_keeps_the_rules(small: apsw.Connection) -> None:
    assert list(small.execute("PRAGMA integrity_check")) == [("ok",)]
    assert list(small.execute("PRAGMA foreign_key_check")) == []
    assert small.execute('SELECT count(*) FROM "CDEOUV"').get > 0
    wrong = 'SELECT count(*) FROM "ORLNPF" WHERE "OLAMT" IS NULL OR "OLAMT" > "OLQTY" * "OLPRX"'
    assert small.execute(wrong).get == 0
    shipped = small.execute('SELECT max("ORNUM") FROM "ORDRPF" WHERE "ORSTS" = \'L\'').get
    with pytest.raises(apsw.ConstraintError, match="ORL010"):
        small.execute('UPDATE "ORLNPF" SET "OLQTY" = 1 WHERE "OLORD" = ?', (shipped,))
    with pytest.raises(apsw.ConstraintError):
        small.execute('UPDATE "ORLNPF" SET "OLREM" = 140 WHERE "OLORD" = (SELECT max("ORNUM") FROM "CDEOUV")')


def test_sqlite_replaces_an_older_file(tmp_path: Path) -> None:
    for lines in (100, 200):
        make_sqlite(tmp_path / "erp.db", lines=lines, today=TODAY)
    connection = apsw.Connection(str(tmp_path / "erp.db"))
    assert connection.execute('SELECT count(*) FROM "ORLNPF"').get == 200
    connection.close()
