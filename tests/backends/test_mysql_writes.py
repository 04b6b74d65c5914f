"""Writing to MariaDB and calling its procedures, on a real server."""

from __future__ import annotations

import itertools
import threading

import pytest

from brique.backends import Rung
from brique.backends.mysql import MysqlBackend
from brique.errors import BackendAway, BackendRefused
from brique.schema import Change, Effect
from tests.mariadb import MariadbServer
from tests.mysql import PROCEDURES, Make, database_of, place_of, rows_of, specs_of
from tests.servers import wait_until

_numbers = itertools.count(1)


def test_the_database_says_no_in_its_own_words(mysql: Make) -> None:
    backend = mysql(
        "CREATE TABLE t (id INT PRIMARY KEY, x INT); INSERT INTO t VALUES (1, 1);"
        "CREATE TRIGGER no BEFORE UPDATE ON t FOR EACH ROW"
        " SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'Le mois est clos'"
    )
    spec = specs_of(backend)["t"]
    with pytest.raises(BackendRefused, match=r"^Le mois est clos$"), backend.session() as session:
        session.update(spec, (1,), {"x": 1}, {"x": 2})


def test_a_session_that_goes_on_after_a_refusal_is_not_committed(mysql: Make) -> None:
    backend = mysql("CREATE TABLE t (id INT PRIMARY KEY)")
    spec = specs_of(backend)["t"]
    with pytest.raises(BackendRefused), backend.session() as session:
        session.insert(spec, {"id": 1})
        with pytest.raises(BackendRefused, match="same id"):
            session.insert(spec, {"id": 1})
    assert backend.fetch(spec, ["1"]) == {}


def test_the_key_of_a_new_row_is_known_where_insert_returns_nothing(mysql: Make) -> None:
    """As MySQL is, which knows no RETURNING."""
    backend = mysql(
        "CREATE TABLE n (id INT AUTO_INCREMENT PRIMARY KEY, x INT);"
        "CREATE TABLE c (code CHAR(5), n DECIMAL(5,2), PRIMARY KEY (code, n));"
        "CREATE TABLE g (u VARCHAR(40) DEFAULT (UUID()) PRIMARY KEY, x INT);"
        "CREATE TRIGGER up BEFORE INSERT ON c FOR EACH ROW SET NEW.n = NEW.n + 1"
    )
    specs = specs_of(backend)
    with backend.session() as session:
        session._returns = False
        assert session.insert(specs["n"], {"x": 5}) == {"id": 1}
        changes = [(specs["n"], Change("n", f"new-{i}", None, {"x": i})) for i in range(3)]
        assert [item.key for item in session.apply(changes)] == [{"id": 2}, {"id": 3}, {"id": 4}]
        assert session.insert(specs["n"], {}) == {"id": 5}
        assert session.insert(specs["c"], {"code": "a", "n": 100}) == {"code": "a", "n": 100}
    with pytest.raises(BackendRefused, match="does not say which u"), backend.session() as session:
        session._returns = False
        session.insert(specs["g"], {"x": 1})
    with backend.session() as session:
        assert session.insert(specs["c"], {"code": "b", "n": 100}) == {"code": "b", "n": 200}
        assert len(str(session.insert(specs["g"], {"x": 1})["u"])) == 36


def test_what_is_larger_than_the_server_takes_is_refused_and_the_rest_goes_on(own_mariadb: MariadbServer) -> None:
    own_mariadb.options = ("--max-allowed-packet=1M",)
    own_mariadb.stop()
    own_mariadb.start()
    backend = MysqlBackend("erp", own_mariadb.make_database(script="CREATE TABLE t (id INT PRIMARY KEY, b LONGBLOB)"))
    spec = specs_of(backend)["t"]
    with pytest.raises(BackendRefused, match="max_allowed_packet"), backend.session() as session:
        session.insert(spec, {"id": 1, "b": b"x" * 1_000_000})
    rows = [(spec, Change("t", str(i), None, {"id": i, "b": b"x" * 100_000})) for i in range(30)]
    with backend.session() as session:
        assert sum(item.rows for item in session.apply(rows)) == 30
        changes = [(spec, Change("t", str(i), {"b": b"x" * 100_000}, {"b": b"y" * 100_000})) for i in range(30)]
        assert sum(item.rows for item in session.apply(changes)) == 30
    backend.close()


@pytest.mark.parametrize("script", ["", PROCEDURES.replace(" t ", " u ")], ids=["plain", "guarded"])
def test_a_deadlock_is_tried_again_later_and_undone(mysql: Make, mariadb: MariadbServer, script: str) -> None:
    rows = "CREATE TABLE t (id INT PRIMARY KEY, x INT); INSERT INTO t VALUES (1, 0), (2, 0), (3, 0);"
    backend = mysql(rows + script, timeout=9.0)
    backend.prepare(True)
    spec = specs_of(backend)["t"]
    other = mariadb.connect(place_of(backend))
    other.begin()
    cursor = other.cursor()
    cursor.execute("UPDATE t SET x = 1 WHERE id IN (2, 3)")  # more work done: the other one gives way
    cursor.execute("INSERT INTO t VALUES (4, 0), (5, 0)")
    waits = threading.Thread(target=lambda: cursor.execute("UPDATE t SET x = 1 WHERE id = 1"))
    with pytest.raises(BackendAway, match="Deadlock"), backend.session() as session:
        session.update(spec, (1,), {"x": 0}, {"x": 9})
        waits.start()
        asked = "SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'"
        wait_until(lambda: mariadb.run("", asked) == [(1,)], 10, "the other one to wait")
        session.update(spec, (2,), {"x": 0}, {"x": 9})
    waits.join()
    other.rollback()
    other.close()
    assert backend.fetch(spec, ["1"])["1"]["x"] == 0
    with backend.session() as session:
        assert session.update(spec, (2,), {"x": 0}, {"x": 9}) == 1


def test_a_server_that_is_set_to_read_only_is_away_and_says_why(own_mariadb: MariadbServer) -> None:
    url = own_mariadb.make_database(script="CREATE TABLE t (id INT PRIMARY KEY)")
    place = database_of(url)
    clerk = own_mariadb.make_account("clerk", place, f"GRANT ALL ON {place}.* TO clerk@'127.0.0.1'")
    backend = MysqlBackend("erp", clerk)
    spec = specs_of(backend)["t"]
    own_mariadb.run("", "SET GLOBAL read_only = 1")
    with pytest.raises(BackendAway, match="read-only") as caught, backend.session() as session:
        session.insert(spec, {"id": 1})
    assert "at_commit" not in caught.value.facts
    prepared = backend.prepare(True)
    assert prepared.rung is Rung.COMPARE and "read-only" in prepared.reason
    assert "only be read" in specs_of(backend)["t"].read_only
    own_mariadb.run("", "SET GLOBAL read_only = 0")
    with backend.session() as session:
        session.insert(spec, {"id": 1})
    assert backend.prepare(True).rung is Rung.WATERMARK
    backend.close()


# procedures


ALL = {"order_no": 7, "carrier": "Poste", "price": "10.25"}


def test_a_procedure_is_called_with_names_and_answers_its_first_row_and_out_parameters(mysql: Make) -> None:
    backend = mysql(PROCEDURES)
    backend.prepare(True)
    spec = specs_of(backend)["t"]
    with backend.session() as session:
        assert session.call(Effect("ship", ALL)) == {
            "number": 7, "status": "shipped", "cost": "1.50", "day": "2026-11-20", "nothing": None,
            "label": "Poste-7", "price": "20.50",
        }  # fmt: skip
        assert session.call(Effect("twice", {"N": 4})) == {"result": 8}
        assert session.call(Effect(f"{place_of(backend)}.twice", {"n": None})) == {"result": None}
    assert backend.fetch(spec, ["1"])["1"]["x"] == 7
    with pytest.raises(RuntimeError), backend.session() as session:
        session.call(Effect("ship", ALL))
        raise RuntimeError("stop")
    assert len(rows_of(backend, spec)) == 1, "a call is undone with its session"


def test_a_procedure_that_says_no_or_is_called_wrongly_is_a_refusal(mysql: Make) -> None:
    backend = mysql(PROCEDURES)
    for prepared in (False, True):
        for effect, sentence in (
            (Effect("ship", {**ALL, "order_no": -1}), "^Commande inconnue$"),
            (Effect("ship", {"order_no": 1}), r"takes other arguments than order_no: ship\(order_no int"),
            (Effect("ship", {**ALL, "x": 1}), "takes other arguments"),
            (Effect("ship", {**ALL, "order_no": "many"}), "[Ii]ncorrect integer"),
            (Effect("nothing", {}), "There is no procedure nothing"),
        ):
            with pytest.raises(BackendRefused, match=sentence), backend.session() as session:
                session.call(effect)
        if not prepared:
            backend.prepare(True)
    assert rows_of(backend, specs_of(backend)["t"]) == []


@pytest.mark.parametrize("name", ["Ends it", "hides_it", "outer_one"])
@pytest.mark.parametrize("is_prepared", [True, False])
def test_a_procedure_that_would_end_the_transaction_is_refused_and_nothing_is_kept(
    mysql: Make, name: str, is_prepared: bool
) -> None:
    backend = mysql(PROCEDURES)
    spec = specs_of(backend)["t"]
    if is_prepared:
        backend.prepare(True)
    with pytest.raises(BackendRefused), backend.session() as session:
        session.insert(spec, {"x": 1})
        session.call(Effect(name))
    assert rows_of(backend, spec) == []
    with backend.session() as session:
        session.insert(spec, {"x": 2})
    assert len(rows_of(backend, spec)) == 1


def test_a_procedure_whose_text_is_hidden_is_called_only_where_it_cannot_end_the_transaction(
    mysql: Make, mariadb: MariadbServer
) -> None:
    backend = mysql(PROCEDURES)
    place, name = place_of(backend), f"caller_{next(_numbers)}"
    grants = f"GRANT SELECT, INSERT, UPDATE, EXECUTE ON {place}.* TO {name}@'127.0.0.1'"
    clerk = MysqlBackend("erp", mariadb.make_account(name, place, grants))
    with pytest.raises(BackendRefused, match="may not read the text"), clerk.session() as session:
        session.call(Effect("ship", ALL))
    clerk.prepare(True)
    with clerk.session() as session:
        assert session.call(Effect("ship", ALL))["label"] == "Poste-7"
    with pytest.raises(BackendRefused), clerk.session() as session:
        session.call(Effect("Ends it"))
    assert len(rows_of(backend, specs_of(backend)["t"])) == 1
    clerk.close()


def test_guarded_transactions_do_all_that_others_do(mysql: Make) -> None:
    backend = mysql(PROCEDURES + "INSERT INTO t (x) VALUES (1);")
    spec = specs_of(backend)["t"]
    assert backend.prepare(True).rung is Rung.WATERMARK and backend._is_guarded
    for position in range(3):
        with backend.session() as session:
            assert session.update(spec, (1,), {"x": 1 + position}, {"x": 2 + position}) == 1
            assert session.move_watermark("a", position, position + 1)
    with pytest.raises(BackendRefused), backend.session() as session:
        session.insert(spec, {"id": 1})
    with backend.session():
        pass
    assert backend.watermark("a") == 3 and backend.fetch(spec, ["1"])["1"]["x"] == 4
