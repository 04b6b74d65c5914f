"""Looking after a brique from the command line: users, outbox, settings, backup, verify, restore."""

from __future__ import annotations

import json
import sqlite3
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.program import Running, assert_told, brique, running
from tests.postgres import PostgresServer
from tests.servers import wait_until
from tests.shop import make_shop

TOKEN = "a-token-for-this-run"


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with `data`, in which a brique has run and stopped."""
    folder = tmp_path_factory.mktemp("used")
    make_shop(folder / "shop.db")
    with running("up", "shop.db", "--token", TOKEN, folder=folder) as site:
        site.rows("customer", TOKEN)
        send(site, "/api/tables/customer", {"name": "Binta Cissé"})
        wait_until(lambda: len(site.rows("customer", TOKEN)) == 4, 20, "the new row")
    yield folder


def send(site: Running, path: str, body: dict[str, object]) -> dict[str, object]:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    request = urllib.request.Request(site.address + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: dict[str, object] = json.loads(answer.read())
    return found


def test_users_are_added_listed_and_changed(used: Path) -> None:
    def users(*words: str, said: str = "") -> str:
        told = brique("users", *words, folder=used, said=said, BRIQUE_DATA="data")
        assert told.status == 0, told
        return told.out

    assert users("add", "awa", "--role", "admin", "--password", "three small green boats") == "awa may admin.\n"
    assert "moussa may read." in users("add", "moussa", said="seven slow trains\nseven slow trains\n")
    assert users("role", "moussa", "write") == "moussa may write.\n"
    assert "new password" in users("password", "moussa", "--password", "eight slow trains")
    assert [line.split() for line in users("list").splitlines()] == [["awa", "admin"], ["moussa", "write"]]


@pytest.mark.parametrize(("words", "error"), [
    (("users", "list", "--data", "nowhere"), "Nothing has been started in nowhere"),
    (("outbox", "--data", "nowhere"), "Nothing has been started in nowhere"),
    (("why", "/", "--data", "nowhere"), "Nothing has been started in nowhere"),
    (("why", "/nowhere", "--data", "data"), "Nothing answers at /nowhere"),
    (("backup", "--data", "nowhere", "b.tar.gz"), "There is no data folder"),
    (("backup", "--data", "data", "b.zip"), "no name for a backup"),
    (("verify", "shop.db"), "cannot be read"),
    (("restore", "shop.db", "data"), "not an empty folder"),
    (("ctl", "--data", "data", "status"), "does not run"),
    (("demo", "--folder", "nowhere", "stop"), "There is no demo"),
])  # fmt: skip
def test_faults_are_told(used: Path, words: tuple[str, ...], error: str) -> None:
    assert_told(brique(*words, folder=used), error)


def test_a_weak_password_is_told_with_its_field(used: Path) -> None:
    told = brique("users", "add", "x", "--password", "abc", "--data", "data", folder=used)
    assert told.status == 1
    assert "Error: This password cannot be used.\n  password: " in told.err


def test_why_tells_of_a_row_when_brique_has_stopped(used: Path) -> None:
    told = brique("why", "/tables/customer/4", "--json", "--data", "data", folder=used)
    table = json.loads(told.out)["table"]
    assert (table["is_there"], table["key"]) == (True, "4")
    assert any(cause["by"] == "create" for cause in table["last"]), table
    shown = brique("why", "/tables/customer/4", "--data", "data", folder=used).out.splitlines()
    assert shown[0] == "row 4 of customer: made of the copy, no bytes of it are kept in the store"


def test_settings_say_where_they_come_from(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "brique.toml").write_text("page_rows = 7\n", "utf-8")
    told = brique("settings", "--data", "data", folder=tmp_path, BRIQUE_LOG_LEVEL="error")
    lines = {line.split()[0]: line.split() for line in told.out.splitlines()}
    assert lines["page_rows"] == ["page_rows", "7", "rows", "file"]
    assert lines["log_level"][-1] == "environment"
    assert lines["page_rows_max"][-1] == "default"
    told = brique("settings", "--data", "data", "--json", folder=tmp_path)
    assert json.loads(told.out)["page_rows"] == {"value": 7, "from": "file"}


def test_a_backup_is_made_checked_and_restored_with_what_it_held(used: Path) -> None:
    target = used / "backup.tar.gz"
    for words in (
        ("backup", "--data", "data", target.name),
        ("verify", target.name),
        ("restore", target.name, "again"),
    ):
        told = brique(*words, folder=used)
        assert told.status == 0, told
        assert "files, all whole" in told.out
    assert target.stat().st_mode & 0o077 == 0, "a backup is its owner's alone"
    told = brique("outbox", "--data", "again", "--all", "--json", folder=used)
    assert [json.loads(line)["what"].split()[0] for line in told.out.splitlines()] == ["create"]
    with running("up", "shop.db", "--token", TOKEN, folder=used, data="again") as site:
        assert len(site.rows("customer", TOKEN)) == 4
    with closing(sqlite3.connect(used / "shop.db")) as source:
        assert source.execute("SELECT count(*) FROM customer").fetchone() == (4,), "nothing was sent twice"


def test_a_backup_cut_short_is_known_as_broken(used: Path) -> None:
    assert brique("backup", "--data", "data", "whole.tar.gz", folder=used).status == 0
    (used / "cut.tar.gz").write_bytes((used / "whole.tar.gz").read_bytes()[:-2000])
    told = brique("verify", "cut.tar.gz", folder=used)
    assert told.status == 1
    assert "Error: " in told.err
    assert "Traceback" not in told.err


def test_the_outbox_shows_what_waits_for_a_backend_that_is_away(tmp_path: Path, own_postgres: PostgresServer) -> None:
    url = own_postgres.make_database("erp", "CREATE TABLE customer (id int PRIMARY KEY, name text)")
    with running("up", url, "--token", TOKEN, folder=tmp_path) as site:
        site.rows("customer", TOKEN)
        own_postgres.stop()
        receipt = send(site, "/api/tables/customer", {"id": 7, "name": "Awa"})["receipt"]
        told = brique("outbox", "--data", "data", folder=tmp_path)
        assert str(receipt) in told.out
        assert "customer/7" in told.out
        own_postgres.start()
        wait_until(lambda: not brique("outbox", "--data", "data", folder=tmp_path).out, 30, "the outbox to be empty")
        told = brique("outbox", "--data", "data", "--all", "--json", folder=tmp_path)
        assert [json.loads(line)["state"] for line in told.out.splitlines()] == ["applied"]
