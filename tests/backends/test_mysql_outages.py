"""MariaDB that ends connections, beside what every backend promises (`outages.py`); and how its address is read."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from brique.backends.mysql import MysqlBackend
from brique.errors import BackendAway, BackendRefused, BadConfiguration
from tests.mariadb import SECRET, MariadbServer
from tests.mysql import PROCEDURES, Make, place_of, rows_of, specs_of


def kill(server: MariadbServer, backend: MysqlBackend, which: str = "") -> None:
    """End connections of `backend` from the server's side."""
    asked = f"SELECT id FROM information_schema.PROCESSLIST WHERE db = '{place_of(backend)}' {which}"
    for (number,) in server.run("", asked):
        server.run("", f"KILL {number}")


@pytest.mark.parametrize("script", ["", PROCEDURES.replace(" t ", " u ")], ids=["plain", "guarded"])
def test_a_connection_killed_in_a_session_undoes_it_and_the_next_goes_on(
    mysql: Make, mariadb: MariadbServer, script: str
) -> None:
    backend = mysql("CREATE TABLE t (id INT PRIMARY KEY);" + script)
    backend.prepare(True)
    spec = specs_of(backend)["t"]
    with pytest.raises(BackendAway) as caught, backend.session() as session:
        session.insert(spec, {"id": 1})
        kill(mariadb, backend)
        session.insert(spec, {"id": 2})
    assert "at_commit" not in caught.value.facts
    assert backend.fetch(spec, ["1", "2"]) == {}, "a later change must not go to another connection by itself"
    with pytest.raises(BackendAway) as caught, backend.session() as session:
        session.insert(spec, {"id": 1})
        kill(mariadb, backend)
    assert caught.value.facts["at_commit"] is True
    with backend.session() as session:
        session.insert(spec, {"id": 1})


def test_a_snapshot_whose_connection_is_gone_does_not_go_on_on_another_one(mysql: Make, mariadb: MariadbServer) -> None:
    backend = mysql("CREATE TABLE t (id INT PRIMARY KEY); CREATE TABLE u (id INT PRIMARY KEY)")
    specs = specs_of(backend)
    with pytest.raises(BackendAway), backend.snapshot() as snapshot:
        assert list(snapshot.read(specs["t"])) == []
        kill(mariadb, backend)
        mariadb.run(place_of(backend), "INSERT INTO u VALUES (1)")
        list(snapshot.read(specs["u"]))


def test_a_read_that_is_given_up_half_way_leaves_the_backend_usable(mysql: Make) -> None:
    backend = mysql("CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t SELECT seq FROM seq_1_to_50000")
    spec = specs_of(backend)["t"]
    with backend.snapshot() as snapshot:
        batches = snapshot.read(spec)
        next(batches)
        batches.close()  # type: ignore[attr-defined]  # a generator
    assert len(rows_of(backend, spec)) == 50_000


def test_a_table_changed_in_the_middle_is_a_fault_of_that_table_only(mysql: Make, mariadb: MariadbServer) -> None:
    backend = mysql(
        "CREATE TABLE t (id INT PRIMARY KEY); CREATE TABLE u (id INT PRIMARY KEY); INSERT INTO t VALUES (1)"
    )
    specs = specs_of(backend)
    with backend.snapshot() as snapshot:
        mariadb.run(place_of(backend), "ALTER TABLE u ADD COLUMN x INT, ALGORITHM=COPY")
        with pytest.raises(BackendRefused):
            list(snapshot.read(specs["u"]))
        assert list(snapshot.read(specs["t"])) == [[(1,)]]


def test_a_statement_that_takes_too_long_is_away(mysql: Make) -> None:
    backend = mysql(
        "CREATE TABLE t (id INT PRIMARY KEY, x INT); INSERT INTO t VALUES (1, 1);"
        "CREATE TRIGGER slow BEFORE UPDATE ON t FOR EACH ROW DO SLEEP(30)",
        timeout=0.5,
    )
    spec = specs_of(backend)["t"]
    began = time.monotonic()
    with pytest.raises(BackendAway, match="no answer"), backend.session() as session:
        session.update(spec, (1,), {"x": 1}, {"x": 2})
    assert time.monotonic() - began < 5


# the address


def test_a_socket_and_tls_are_used_as_the_address_says(own_mariadb: MariadbServer) -> None:
    certificate, key = made_certificate(own_mariadb.folder)
    own_mariadb.stop()
    own_mariadb.options = (f"--ssl-cert={certificate}", f"--ssl-key={key}")
    own_mariadb.start()
    url = own_mariadb.make_database(script="CREATE TABLE t (id INT PRIMARY KEY)")
    cipher = "SELECT VARIABLE_VALUE FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'Ssl_cipher'"

    def is_encrypted(options: str) -> bool:
        backend = MysqlBackend("erp", f"{url}?{options}", connect_timeout=10)
        try:
            backend.ping(10.0)
            with backend._asking() as connection:
                found = bool(connection.rows(cipher)[0][0])
            assert backend._short.opened == 1, "what the protocol sends by itself is no sign of an end"
            return found
        finally:
            backend.close()

    assert is_encrypted("ssl-mode=preferred") and is_encrypted("ssl_mode=REQUIRED")
    assert not is_encrypted("ssl-mode=disabled") and not is_encrypted(f"ssl-mode=disabled&socket={own_mariadb.socket}")
    assert is_encrypted(f"ssl-ca={certificate}") and is_encrypted(f"ssl-mode=verify-identity&ssl-ca={certificate}")
    for strict in ("ssl-mode=verify-ca", "ssl-mode=verify-identity"):
        with pytest.raises(BackendAway, match=r"(?i)certificate"):
            is_encrypted(strict)
    with pytest.raises(BackendAway, match="No such file"):
        is_encrypted("ssl-ca=/nothing.pem")


def made_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate that a server signed for 127.0.0.1 itself, and its key."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    key.chmod(0o644)
    return certificate, key


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me:s3cret@host:port/db", "mysql://me:s3/cret@host/db", "mysql://me:s3#cret@host/db",
        "mysql://me:s3cret@host/db?ssl=1", "mariadb://me:s3cret@host/db?ssl-mode=sometimes",
    ],
)  # fmt: skip
def test_a_wrong_address_is_said_without_its_password(url: str) -> None:
    with pytest.raises(BadConfiguration) as caught:
        MysqlBackend("erp", url)
    assert "s3" not in str(caught.value) and "cret" not in str(caught.value) and "mysql://" in caught.value.try_this


def test_a_password_never_stands_in_a_message(mariadb: MariadbServer) -> None:
    for url in (mariadb.url(password="s3cret"), "mysql://me:s3cret@127.0.0.1:1/none"):
        backend = MysqlBackend("erp", url, connect_timeout=5)
        with pytest.raises(BackendAway) as away:
            backend.ping(5)
        assert "s3cret" not in away.value.message and SECRET not in away.value.message
        assert "s3cret" not in repr(backend._address)
        backend.close()
