"""`brique up`: it starts over real files and databases, answers, and ends with nothing left behind."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.cli.program import Running, assert_told, brique, is_alive, running
from tests.postgres import PostgresServer
from tests.servers import wait_until
from tests.shop import make_shop

TOKEN = "a-token-for-this-run"


def first_visit(site: Running) -> str:
    return site.get(site.link)[1]


def test_a_sqlite_file_is_served_and_sigterm_leaves_nothing_behind(tmp_path: Path) -> None:
    make_shop(tmp_path / "shop.db")
    with running("up", "shop.db", "--token", TOKEN, folder=tmp_path) as site:
        assert site.printed.startswith("Shop: 3 tables of shop\nOpen http://127.0.0.1:")
        assert site.get("/-/health") == (200, '{"status":"ok"}')
        assert 'name="repeat"' in first_visit(site), "the link opens the first visit"
        assert [row["name"] for row in site.rows("customer", TOKEN)] == ["Aminata Sow", "Moussa Diop", "Awa Ndiaye"]
        assert site.get("/api/tables/customer")[0] == 401
        pids = site.pids()
        assert len(pids) == 4, "supervisor, engine, backend, web"
        assert site.stop() == 0
        assert [pid for pid in pids if is_alive(pid)] == []
        assert not list((tmp_path / "data").glob("*.sock"))


def test_it_starts_again_on_what_it_kept(tmp_path: Path) -> None:
    make_shop(tmp_path / "shop.db")
    with running("up", "shop.db", folder=tmp_path) as site:
        first = site.link
    told = brique(
        "users", "add", "awa", "--role", "admin", "--password", "three small boats", "--data", "data", folder=tmp_path
    )
    assert told.status == 0, told
    with running("up", "shop.db", "--token", TOKEN, folder=tmp_path) as site:
        assert first
        assert site.link == "", "there is an administrator: nobody else becomes one by a link"
        assert len(site.rows("orders", TOKEN)) == 4


def test_a_folder_of_csv_files_is_served(tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    (share / "prices.csv").write_text("article;price\nA-001;12,50\nA-002;3,20\n", "utf-8")
    (share / "stock.csv").write_text("article,quantity\nA-001,40\nA-002,7\n", "utf-8")
    with running("up", "share", "--token", TOKEN, folder=tmp_path) as site:
        assert "Share: 2 tables of share" in site.printed
        assert {row["quantity"] for row in site.rows("stock", TOKEN)} == {40, 7}
        assert {str(row["price"]) for row in site.rows("prices", TOKEN)} in ({"12.50", "3.20"}, {"12.5", "3.2"})
        pids = site.pids()
        assert site.stop() == 0
        assert [pid for pid in pids if is_alive(pid)] == []


def test_several_backends_are_served_at_once(tmp_path: Path, postgres: PostgresServer) -> None:
    make_shop(tmp_path / "shop.db")
    (tmp_path / "prices.csv").write_text("article;price\nA-001;12,50\nA-002;3,20\n", "utf-8")
    url = postgres.make_database(script="CREATE TABLE customer (id int PRIMARY KEY, name text)")
    with running("up", "shop.db", "prices.csv", url, "--token", TOKEN, folder=tmp_path) as site:
        assert "5 tables" in site.printed
        assert len(site.rows("customer", TOKEN)) == 3
        assert len(site.rows("prices", TOKEN)) == 2
        other = next(name for name in site.get("/api/tables", TOKEN)[1].split('"') if name.endswith("_customer"))
        assert site.rows(other, TOKEN) == []


def test_a_python_file_is_served_from_another_folder_than_it_lies_in(tmp_path: Path) -> None:
    make_shop(tmp_path / "shop.db")
    (tmp_path / "code").mkdir()
    told = brique("new", "--from", "shop.db", "code/intranet.py", folder=tmp_path)
    assert told.status == 0, told
    with running("up", "code/intranet.py", "--token", TOKEN, folder=tmp_path) as site:
        assert len(site.rows("order_line", TOKEN)) == 4


def test_a_postgresql_that_went_away_is_served_from_the_copy(tmp_path: Path, own_postgres: PostgresServer) -> None:
    script = "CREATE TABLE customer (id int PRIMARY KEY, name text); INSERT INTO customer VALUES (1, 'Awa')"
    url = own_postgres.make_database("erp", script)
    with running("up", url, "--token", TOKEN, folder=tmp_path) as site:
        assert [row["name"] for row in site.rows("customer", TOKEN)] == ["Awa"]
    own_postgres.stop()
    with running("up", url, "--token", TOKEN, folder=tmp_path) as site:
        assert [row["name"] for row in site.rows("customer", TOKEN)] == ["Awa"]


def test_every_process_is_shown_and_can_be_restarted(tmp_path: Path) -> None:
    make_shop(tmp_path / "shop.db")
    with running("up", "shop.db", "--token", TOKEN, folder=tmp_path) as site:
        site.rows("customer", TOKEN)
        before = site.pids()
        told = brique("ctl", "--data", "data", "status", folder=tmp_path)
        names = [line.split()[0] for line in told.out.splitlines()]
        assert names == ["backend-shop", "engine", "web-1"]
        assert "running" in told.out
        for words, printed in (
            (("restart", "engine"), "restart: engine"),
            (("incr", "web"), "incr: web"),
            (("decr", "web"), "decr: web"),
            (("reload",), "reloaded: web"),
        ):
            told = brique("ctl", "--data", "data", *words, folder=tmp_path)
            assert told.out == printed + "\n", told
        assert site.rows("customer", TOKEN)
        assert set(site.pids()) - set(before)
        assert brique("ctl", "--data", "data", "quit", folder=tmp_path).status == 0
        wait_until(lambda: site.process.poll() is not None, 30, "its end")
        assert site.process.returncode == 0


# what goes wrong at the start


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("nothing.db", "There is nothing at nothing.db"),
        ("oracle://db.example/x", "no backend is known for oracle"),
        ("rubbish.db", "no SQLite database"),
        ("cut.db", "not a database"),
        ("empty", "has no table"),
        ("none.py", "declares 0 intranets"),
        ("bare.py", "declares no table"),
    ],
)
def test_something_that_cannot_be_served_is_told(tmp_path: Path, what: str, error: str) -> None:
    (tmp_path / "rubbish.db").write_bytes(bytes(range(256)) * 16)
    (tmp_path / "cut.db").write_bytes(b"SQLite format 3\0 and then nothing that SQLite knows")
    (tmp_path / "empty").mkdir()
    (tmp_path / "none.py").write_text("x = 1\n", "utf-8")
    (tmp_path / "bare.py").write_text('from brique import Intranet\napp = Intranet("Bare")\n', "utf-8")
    assert_told(brique("up", what, folder=tmp_path), error)
    assert not (tmp_path / "brique-data").exists(), "a start that fails claims no folder"


@pytest.mark.parametrize(
    ("text", "error"),
    [("x = (\n", "line 1: SyntaxError"), ("\nraise RuntimeError('no')\n", "line 2: RuntimeError: no")],
)
def test_a_python_file_that_fails_is_told_with_its_line(tmp_path: Path, text: str, error: str) -> None:
    (tmp_path / "intranet.py").write_text(text, "utf-8")
    told = brique("up", "intranet.py", folder=tmp_path)
    assert told.status == 1
    assert error in told.err
    assert "Traceback" not in told.err


def test_a_postgresql_that_was_never_reached_is_told_without_its_password(tmp_path: Path) -> None:
    told = brique("up", "postgresql://intranet:s3cret@127.0.0.1:1/erp", folder=tmp_path)
    assert_told(told, "Connection refused")
    assert "s3cret" not in told.out + told.err


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    make_shop(tmp_path / "shop.db")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = brique("up", "shop.db", "--listen", f"127.0.0.1:{taken.getsockname()[1]}", folder=tmp_path)
    assert_told(told, "Address already in use")


def test_the_data_folder_of_another_intranet_is_left_alone(tmp_path: Path) -> None:
    make_shop(tmp_path / "shop.db")
    (tmp_path / "other").mkdir()
    make_shop(tmp_path / "other" / "shop.db")
    with running("up", "shop.db", folder=tmp_path):
        pass
    kept = (tmp_path / "data" / "inferred-shop.msgpack").read_bytes()
    assert_told(brique("up", "other/shop.db", "--data", "data", folder=tmp_path), "holds the copy of")
    assert (tmp_path / "data" / "inferred-shop.msgpack").read_bytes() == kept


def test_a_second_start_on_the_same_folder_leaves_the_first_link_valid(tmp_path: Path) -> None:
    make_shop(tmp_path / "shop.db")
    with running("up", "shop.db", folder=tmp_path) as site:
        assert_told(brique("up", "shop.db", "--data", "data", folder=tmp_path), "already runs")
        assert 'name="repeat"' in first_visit(site)


def test_a_data_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    make_shop(tmp_path / "shop.db")
    (tmp_path / "taken").touch()
    assert_told(brique("up", "shop.db", "--data", "taken", folder=tmp_path), "a folder is needed")


def test_an_unknown_setting_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    make_shop(tmp_path / "shop.db")
    told = brique("up", "shop.db", folder=tmp_path, BRIQUE_PAGE_ROW="3")
    assert_told(told, "There is no setting BRIQUE_PAGE_ROW ")
    assert "BRIQUE_PAGE_ROWS" in told.err
