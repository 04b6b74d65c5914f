"""What is secret stays so: passwords of backends, tokens, the setup link, and the files of a real `brique up`."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from brique.backends import redact
from brique.http import Accounts
from tests.end_to_end.running import TOKEN, Running, brique_up, browser, sign_up
from tests.postgres import PostgresServer
from tests.security.nasty import make_nasty
from tests.security.world import PASSWORD
from tests.servers import wait_until

SECRET = "s3cr3t-Pa55-of-the-ERP"
ADDRESSES = (
    f"postgresql://u:{SECRET}@h/db",
    f"postgresql://u:{SECRET}/x@h/db",
    f"postgresql://u:{SECRET}#x@h/db",
    f"postgresql://u:{SECRET}?x@h/db",
    f"postgresql://u:{SECRET}@x@h/db",
    f"postgresql://h/db?user=u&password={SECRET}",
    f"postgresql://h/db?sslpassword={SECRET}&x=1",
    f"mysql://u:{SECRET}@[::1/db",
    f"odbc:///?DSN=A&PWD={SECRET}",
    f"http://:{SECRET}@h",
    f"postgresql://u:%%{SECRET}@h/db",
    f"postgresql://u:a:{SECRET}@h/db",
)


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_is_shown_without_its_password(address: str) -> None:
    assert SECRET not in redact(address)


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_start_that_fails_does_not_print_the_password(address: str, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "brique",
        "up",
        address.replace("@h", "@127.0.0.1:1"),
        "--data",
        str(tmp_path / "data"),
    ]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode != 0
    for part in (SECRET, SECRET[:8], SECRET[-8:]):
        assert part not in told.stdout + told.stderr


def descendants(pid: int) -> list[int]:
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return children + [below for child in children for below in descendants(child)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`brique up` over the nasty database, under the umask that most systems have."""
    folder = tmp_path_factory.mktemp("real")
    source = make_nasty(folder / "nasty.db")
    before = os.umask(0o022)
    try:
        with brique_up(str(source), data=folder / "data", options=("--refresh", "1")) as made:
            wait_until(lambda: made.rows("wide") > 0, 60, "the first copy")
            yield made
    finally:
        os.umask(before)


def test_nobody_else_can_read_what_is_kept(running: Running) -> None:
    running.client.patch("/api/tables/sale/2", json={"note": "kept"})
    running.client.get("/tables/sale.csv")
    running.client.get("/-/status")
    wait_until(lambda: any((running.data / "spool").glob("*.db")), 10, "the spool is there")
    open_to_others = {}
    found = [running.data, *running.data.rglob("*")]
    for path in found:
        mode = path.lstat().st_mode
        if stat.S_IMODE(mode) & 0o077:
            open_to_others[str(path.relative_to(running.data))] = oct(mode)
    assert not open_to_others
    assert len(found) > 10
    assert stat.S_IMODE(running.data.stat().st_mode) == 0o700
    assert stat.S_IMODE((running.data / "run.json").stat().st_mode) == 0o600
    sockets = [path for path in found if path.is_socket()]
    assert len(sockets) >= 2
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in sockets)
    backend = running.data.parent / "nasty.db"
    assert stat.S_IMODE(backend.stat().st_mode) == 0o644, "the user's own file is left as it was"


def test_the_token_is_in_no_childs_arguments_and_only_in_the_web_processes(running: Running) -> None:
    children = descendants(running.process.pid)
    assert len(children) >= 4
    for child in children:
        arguments = Path(f"/proc/{child}/cmdline").read_bytes()
        assert TOKEN.encode() not in arguments
        if b"\0web\0" not in arguments:
            assert TOKEN.encode() not in Path(f"/proc/{child}/environ").read_bytes()


def test_the_token_is_written_nowhere(running: Running) -> None:
    for path in running.data.rglob("*"):
        if path.is_file():
            assert TOKEN.encode() not in path.read_bytes(), path
    assert TOKEN not in (running.data.parent / "data.log").read_text()


def test_the_setup_link_works_once_in_a_browser_over_hostile_data(running: Running) -> None:
    """Chromium says nothing of scripts that ran, tried to, or broke the policy of the pages."""
    assert httpx.get(running.setup).headers["referrer-policy"] in ("same-origin", "no-referrer")
    with browser() as page:
        sign_up(page, running)
        dialogs: list[str] = []
        page.on("dialog", lambda dialog: dialogs.append(dialog.message))
        for path in (
            "/tables/wide",
            "/tables/sale?columns=label,note&limit=100",
            "/tables/sale/2",
            "/tables/sale/2/edit",
            "/tables/script_zqx_7_script",
            "/outbox?state=all",
            "/-/status",
            "/?q=<script>zqx(1)</script>",
            "/tables/wide?q=%3Cscript%3Ezqx(1)%3C/script%3E",
            "/tables",
            "/api/docs",
            "/-/users",
        ):
            page.goto(running.address + path)
            assert page.evaluate("typeof zqx") == "undefined"
        page.goto(running.address + "/tables/sale?columns=label,note")
        page.fill("input[type=search]", "<script>zqx(1)</script>")
        page.wait_for_url(re.compile("q="))
        assert not dialogs
    assert httpx.get(running.setup, follow_redirects=False).status_code == 303
    token = running.setup.partition("token=")[2]
    for form in ({"token": token}, {"token": token.lower()}, {"token": ""}):
        answer = httpx.post(
            running.address + "/-/setup", data={**form, "name": "thief", "password": PASSWORD, "repeat": PASSWORD}
        )
        assert answer.status_code == 403
    kept = (running.data / "accounts.db").read_bytes() + (running.data / "accounts.db-wal").read_bytes()
    assert token.encode() not in kept
    log = (running.data.parent / "data.log").read_text()
    assert log.count(token) == 1, "printed once, for its reader, and never logged"


def test_tokens_and_sessions_are_kept_as_hashes_only(running: Running) -> None:
    with closing(sqlite3.connect(running.data / "accounts.db")) as db:
        for (password,) in db.execute("SELECT password FROM account"):
            assert password.startswith("$argon2id$")
        for table in ("session", "token"):
            assert all(
                isinstance(row[0], bytes) and len(row[0]) == 32 for row in db.execute(f"SELECT hash FROM {table}")
            )


def test_what_the_server_itself_refuses_names_nothing(running: Running) -> None:
    """Before the application is asked: an address, a head or headers too long, and what is no HTTP at all."""
    for path, headers in (
        ("/" + "x" * 9000, {}),
        ("/tables?" + "x=1&" * 4000, {}),
        ("/tables", {"X": "x" * 40_000}),
        ("/tables", {f"X-{number}": "1" for number in range(200)}),
    ):
        answer = httpx.get(running.address + path, headers=headers)
        assert answer.status_code in (400, 414, 431), (path[:20], answer.status_code)
        assert "Traceback" not in answer.text
        assert "uvicorn" not in str(answer.headers).lower()
    for host in ("evil.example", "127.0.0.1.evil.example"):
        assert httpx.get(running.address + "/tables", headers={"Host": host}).status_code == 421
    assert httpx.get(running.address + "//evil.example/..").status_code in (303, 401, 404)
    location = httpx.get(running.address + "//evil.example", headers={"Accept": "text/html"}).headers.get(
        "location", "/"
    )
    assert location.startswith("/-/sign-in") or location == "/"


def test_the_password_of_a_backend_is_shown_nowhere(own_postgres: PostgresServer, tmp_path: Path) -> None:
    """In no page, API answer, log, kept error or argument, whether the backend is live, away or refuses."""
    url = own_postgres.make_database(
        name="erp", script="CREATE TABLE t(id serial PRIMARY KEY, n integer CHECK (n > 0))"
    )
    url = url.replace("test@", f"test:{SECRET}@")
    with brique_up(url, data=tmp_path / "data", options=("--refresh", "1")) as running:
        wait_until(lambda: running.rows("t") == 0, 60, "the copy")
        setup = httpx.get(running.setup)
        assert setup.status_code == 200
        running.client.post("/api/tables/t", json={"n": -1})
        assert SECRET not in "".join(_everything(running))
        own_postgres.kill()
        wait_until(lambda: running.health("erp") == "down", 20, "the backend counts as down")
        running.client.post("/api/tables/t", json={"n": 1})
        told = "".join(_everything(running))
        assert SECRET not in told
        assert "127.0.0.1" in told, "an administrator is told what the driver said"
        with closing(Accounts(running.data / "accounts.db")) as accounts:
            reader = {"Authorization": f"Bearer {accounts.grant_token('reader', 'read').value}", "Accept": "text/html"}
        page = httpx.get(running.address + "/-/status", headers=reader)
        assert page.status_code == 200
        assert "127.0.0.1" not in page.text, "others are told that it is away"
        for child in descendants(running.process.pid):
            assert SECRET.encode() not in Path(f"/proc/{child}/cmdline").read_bytes()
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "run.json"]
    for path in kept:
        assert SECRET.encode() not in path.read_bytes(), path
    other = [sys.executable, "-m", "brique", "up", __file__, "--data", str(tmp_path / "data")]
    refused = subprocess.run(other, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode != 0
    assert SECRET not in refused.stdout + refused.stderr


def _everything(running: Running) -> Iterator[str]:
    for path in (
        "/-/status",
        "/",
        "/tables",
        "/tables/t",
        "/outbox?state=all",
        "/api",
        "/api/tables",
        "/api/outbox",
        "/openapi.json",
        "/api/docs",
        "/tables/t.csv",
        "/tables/t.json",
        "/tables/t/1",
        "/nothing",
    ):
        for accept in ("text/html", "application/json"):
            answer = running.client.get(path, headers={"Accept": accept})
            yield answer.text + str(answer.headers)
