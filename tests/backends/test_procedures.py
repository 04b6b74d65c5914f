"""Functions and procedures of PostgreSQL, called in the transaction of a command."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from brique.backends.postgresql import PostgresBackend
from brique.errors import BackendRefused
from brique.schema import Effect, Row
from tests.backends.test_postgresql import run_on
from tests.postgres import PostgresServer

ROUTINES = """
CREATE TABLE log (id INT GENERATED ALWAYS AS IDENTITY, text TEXT, amount NUMERIC(10,2), day DATE, yes BOOLEAN,
  raw BYTEA);
CREATE FUNCTION note(text TEXT, amount NUMERIC DEFAULT 1.5, day DATE DEFAULT NULL, yes BOOLEAN DEFAULT NULL,
                     raw BYTEA DEFAULT NULL)
  RETURNS TABLE (id INT, "Total Amount" NUMERIC, ok BOOLEAN) LANGUAGE plpgsql AS $$
  #variable_conflict use_column
  BEGIN
    RETURN QUERY INSERT INTO log (text, amount, day, yes, raw)
      VALUES (note.text, note.amount, note.day, note.yes, note.raw)
      RETURNING log.id, log.amount, true;
  END $$;
CREATE PROCEDURE ship(number INT, INOUT carrier TEXT, OUT slip INT) LANGUAGE plpgsql AS $$
  BEGIN
    IF number < 0 THEN RAISE EXCEPTION 'No order %', number USING HINT = 'Numbers begin at 1.'; END IF;
    INSERT INTO log (text) VALUES (carrier); carrier := upper(carrier); slip := number * 10;
  END $$;
CREATE PROCEDURE by_itself() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log (text) VALUES ('x'); COMMIT; END $$;
CREATE FUNCTION nothing() RETURNS void LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION unnamed(INT, INT) RETURNS INT LANGUAGE sql AS 'SELECT $1 - $2';
CREATE FUNCTION twice(n INT) RETURNS INT LANGUAGE sql AS 'SELECT n * 2';
CREATE FUNCTION twice(n TEXT) RETURNS TEXT LANGUAGE sql AS 'SELECT n || n';
CREATE SCHEMA "Odd One";
CREATE FUNCTION "Odd One"."Do It"("A b" INT) RETURNS INT LANGUAGE sql AS 'SELECT "A b" + 1';
"""


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.make_database(script=ROUTINES)


@pytest.fixture
def backend(url: str) -> Iterator[PostgresBackend]:
    made = PostgresBackend("erp", url, timeout=5.0)
    yield made
    made.close()


def call(backend: PostgresBackend, name: str, **arguments: object) -> Row:
    with backend.session() as session:
        return session.call(Effect(name, arguments))


def test_a_function_is_called_by_names_and_its_first_row_comes_back(backend: PostgresBackend, url: str) -> None:
    given = {"text": "it's \\ ; DROP TABLE log", "amount": "12.50", "day": "2026-11-20", "yes": True, "raw": b"\x00'"}
    assert call(backend, "note", **given) == {"id": 1, "Total Amount": "12.50", "ok": 1}
    assert call(backend, "note", text="x")["Total Amount"] == "1.50"
    rows = run_on(url, "SELECT text, amount::text, day::text, yes, raw FROM log ORDER BY id")
    assert rows == [
        ("it's \\ ; DROP TABLE log", "12.50", "2026-11-20", True, b"\x00'"),
        ("x", "1.50", None, None, None),
    ]


def test_a_procedure_is_called_and_gives_its_out_arguments_back(backend: PostgresBackend) -> None:
    assert call(backend, "ship", number=7, carrier="dhl") == {"carrier": "DHL", "slip": 70}


def test_a_call_is_part_of_the_transaction(backend: PostgresBackend, url: str) -> None:
    with pytest.raises(RuntimeError), backend.session() as session:
        session.call(Effect("ship", {"number": 1, "carrier": "x"}))
        raise RuntimeError
    assert run_on(url, "SELECT count(*) FROM log") == [(0,)]


def test_what_the_procedure_says_is_told(backend: PostgresBackend, url: str) -> None:
    with pytest.raises(BackendRefused, match=r"No order -1 Numbers begin at 1\."):
        call(backend, "ship", number=-1, carrier="x")
    with pytest.raises(BackendRefused, match="invalid input syntax"):
        call(backend, "ship", number="many", carrier="x")
    with pytest.raises(BackendRefused, match="transaction termination"):
        call(backend, "by_itself")
    assert run_on(url, "SELECT count(*) FROM log") == [(0,)]


def test_a_name_that_is_not_there_is_told_with_those_near_it(backend: PostgresBackend) -> None:
    with pytest.raises(BackendRefused, match="no procedure shipp; there are ship"):
        call(backend, "shipp", number=1)
    with pytest.raises(BackendRefused, match=r"no procedure x'; DROP"):
        call(backend, "x'; DROP TABLE log; --")
    with pytest.raises(
        BackendRefused, match=r"takes other arguments than number: ship\(number integer, carrier text\)"
    ):
        call(backend, "ship", number=1)
    with pytest.raises(BackendRefused, match="Several procedures twice"):
        call(backend, "twice", n="2")


def test_unnamed_arguments_are_given_in_order_and_quoted_names_work(backend: PostgresBackend) -> None:
    assert call(backend, "unnamed", a=5, b=3) == {"unnamed": 2}
    assert call(backend, "Odd One.Do It", **{"A b": 1}) == {"Do It": 2}
    assert call(backend, "nothing") == {}
