"""The demo's server and what people do to it, from this process and from others."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import psycopg
import pytest

from brique.demo import ACTIONS, Demo, DemoServer, Made
from brique.demo import processes as system
from brique.demo.server import answers
from brique.errors import BackendAway, BackendRefused, BadConfiguration, BadInput, Busy, NotFound
from tests.postgres import PostgresServer
from tests.servers import free_port, wait_until

TODAY = date(2026, 11, 20)
LINES = 2_000


@pytest.fixture(scope="module")
def shared(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A small demo; `postgres` says whether PostgreSQL is there at all."""
    demo = Demo(tmp_path_factory.mktemp("demo"), free_port())
    try:
        demo.prepare(today=TODAY, lines=LINES)
        yield demo
    finally:
        demo.remove()


@pytest.fixture
def demo(shared: Demo) -> Demo:
    """The small demo, running."""
    shared.start()
    return shared


def in_another_process(demo: Demo, code: str) -> str:
    """What a Python process of its own prints that runs `code` on `demo`, as another terminal would."""
    program = f"from pathlib import Path; from brique.demo import Demo; demo = Demo(Path({str(demo.folder)!r})); {code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def count_orders(demo: Demo) -> int:
    with psycopg.connect(demo.url, connect_timeout=5) as connection:
        row = connection.execute('SELECT count(*) FROM "ORDRPF"').fetchone()
    assert row is not None
    return int(row[0])


def test_it_stops_and_starts_with_its_data(demo: Demo) -> None:
    demo.stop()
    assert demo.state() == "stopped"
    assert not answers(demo.url)
    demo.stop()
    demo.start()
    assert demo.state() == "running"
    demo.start()
    assert count_orders(demo) == LINES // 4


def test_frozen_it_accepts_and_never_answers_until_thawed(demo: Demo) -> None:
    with psycopg.connect(demo.url) as open_before:
        demo.freeze()
        assert demo.state() == "frozen"
        assert demo.server.pid is not None
        assert set(system.tree(demo.server.pid).values()) == {"T"}
        with socket.create_connection(("127.0.0.1", demo.server.port), timeout=2):
            assert not answers(demo.url)
        demo.freeze()
        demo.thaw()
        assert demo.state() == "running"
        assert open_before.execute("SELECT 1").fetchone() == (1,)
    assert answers(demo.url, 10)


def test_a_statement_under_way_waits_out_the_frost(demo: Demo) -> None:
    with psycopg.connect(demo.url, autocommit=True) as connection:
        demo.freeze()
        connection.pgconn.send_query(b"SELECT 42")
        connection.pgconn.flush()
        ready = os.get_blocking(connection.pgconn.socket)
        connection.pgconn.consume_input()
        assert connection.pgconn.is_busy(), ready
        demo.thaw()
        result = connection.pgconn.get_result()
        assert result is not None
        assert result.get_value(0, 0) == b"42"
        assert connection.pgconn.get_result() is None


def test_a_frozen_server_can_be_stopped_and_started_thaws_it(demo: Demo) -> None:
    demo.freeze()
    demo.start()
    assert demo.state() == "running"
    demo.freeze()
    demo.stop()
    assert demo.state() == "stopped"


def test_killed_it_loses_no_commit(demo: Demo) -> None:
    order = demo.colleague().change_remark(remark="écrit avant la coupure").key[0]
    pid = demo.server.pid
    assert pid is not None
    demo.kill()
    assert demo.state() == "stopped"
    assert system.tree(pid) == {}
    demo.kill()
    demo.start()
    with psycopg.connect(demo.url) as connection:
        row = connection.execute('SELECT "ORNOT" FROM "ORDRPF" WHERE "ORNUM" = %s', (order,)).fetchone()
    assert row == ("écrit avant la coupure",)


def test_killed_while_frozen_it_starts_again(demo: Demo) -> None:
    demo.freeze()
    demo.kill()
    assert demo.state() == "stopped"
    demo.start()
    assert count_orders(demo) == LINES // 4


def test_a_stopped_server_cannot_be_frozen(demo: Demo) -> None:
    demo.stop()
    with pytest.raises(Busy):
        demo.freeze()
    demo.thaw()
    assert demo.state() == "stopped"


def test_another_process_sees_and_changes_its_state(demo: Demo) -> None:
    assert in_another_process(demo, "print(demo.state())") == "running"
    in_another_process(demo, "demo.freeze()")
    assert demo.state() == "frozen"
    in_another_process(demo, "demo.thaw(); demo.stop()")
    assert demo.state() == "stopped"


def test_the_server_outlives_the_process_that_started_it(demo: Demo) -> None:
    demo.stop()
    starter = int(in_another_process(demo, "demo.start(); import os; print(os.getpid())"))
    assert demo.state() == "running"
    assert demo.server.pid is not None
    parent, _ = system.parents()[demo.server.pid]
    assert parent not in (starter, os.getpid())
    assert os.getsid(demo.server.pid) != os.getsid(0)


def test_many_processes_at_once_leave_it_whole(demo: Demo) -> None:
    actions = ["freeze", "thaw", "kill", "start", "stop", "start", "freeze", "thaw"]
    code = "from pathlib import Path; from brique.demo import Demo; from brique.errors import Busy\n"
    code += "import sys, contextlib\n"
    code += f"with contextlib.suppress(Busy): Demo(Path({str(demo.folder)!r})).perform(sys.argv[1])"
    running = [subprocess.Popen([sys.executable, "-c", code, action], stderr=subprocess.PIPE) for action in actions]
    for process in running:
        _, told = process.communicate(timeout=120)
        assert process.returncode == 0, told.decode()
    demo.start()
    assert demo.state() == "running"
    assert count_orders(demo) == LINES // 4


def test_the_panel_offers_what_the_state_allows_and_asks_no_database(demo: Demo) -> None:
    for action, state in (("freeze", "frozen"), ("thaw", "running"), ("stop", "stopped"), ("start", "running")):
        assert demo.perform(action) == state
        begun = time.monotonic()
        panel = demo.panel()
        assert time.monotonic() - begun < 0.5
        assert (panel.state, panel.actions) == (state, ACTIONS[state])
        assert (panel.pid is None) == (state == "stopped")
    with pytest.raises(BadInput):
        demo.perform("reboot")


def test_whole_data_are_kept_and_other_data_made_anew(demo: Demo) -> None:
    remark = demo.colleague().change_remark(remark="ne pas perdre")
    assert demo.prepare(today=date(2027, 1, 1)) == Made(1990, LINES, TODAY)
    with psycopg.connect(demo.url) as connection:
        row = connection.execute('SELECT "ORNOT" FROM "ORDRPF" WHERE "ORNUM" = %s', remark.key).fetchone()
    assert row == ("ne pas perdre",)
    assert demo.prepare(today=TODAY, lines=400, seed=2) == Made(2, 400, TODAY)
    assert count_orders(demo) == 100
    assert demo.prepare(today=TODAY, lines=LINES, seed=1990).lines == LINES
    with pytest.raises(BadInput):
        demo.prepare(today=TODAY, lines=0)


def test_a_prepare_that_dies_half_way_is_made_whole_by_the_next(demo: Demo) -> None:
    code = (
        "import os, datetime\n"
        "def cut(step, done, total):\n"
        "    if step == 'rules': os.kill(os.getpid(), 9)\n"
        "demo.prepare(today=datetime.date(2026, 11, 20), lines=3000, progress=cut)"
    )
    program = f"from pathlib import Path\nfrom brique.demo import Demo\ndemo = Demo(Path({str(demo.folder)!r}))\n{code}"
    done = subprocess.run([sys.executable, "-c", program], timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert demo.prepare(today=TODAY, lines=LINES).lines == LINES
    assert count_orders(demo) == LINES // 4


def test_passwords_are_asked_for_and_kept_private(demo: Demo) -> None:
    file = demo.folder / "server.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(demo.server.data.stat().st_mode) == 0o700
    wrong = demo.url.replace(demo.server.password, "guessed")
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(wrong, connect_timeout=5)
    assert demo.server.password not in repr(demo.panel())


def test_commits_are_flushed_to_disk(demo: Demo) -> None:
    with psycopg.connect(demo.url) as connection:
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            row = connection.execute("SELECT setting FROM pg_settings WHERE name = %s", (name,)).fetchone()
            assert row == ("on",), name


def test_the_colleague_changes_rows_past_the_intranet(demo: Demo) -> None:
    colleague = demo.colleague()
    edit = colleague.change_quantity()
    order, line = edit.key
    with psycopg.connect(demo.url) as connection:
        row = connection.execute(
            'SELECT "OLQTY" FROM "ORLNPF" WHERE "OLORD" = %s AND "OLLIN" = %s', (order, line)
        ).fetchone()
    assert row == (int(edit.after),)
    assert edit.before != edit.after
    assert str(edit) == f"ORLNPF {order}, {line}: OLQTY {edit.before} -> {edit.after}"
    assert colleague.change_quantity(int(order), int(line), 77).after == "77"
    assert colleague.change_stock("DK01", "A00001", 5).after == "5"
    assert colleague.delete_line(int(order), int(line)).key == (order, line)
    assert len(colleague.busy(5)) == 5


def test_the_colleague_is_refused_like_everybody(demo: Demo) -> None:
    colleague = demo.colleague()
    with psycopg.connect(demo.url) as connection:
        row = connection.execute('SELECT min("ORNUM") FROM "ORDRPF" WHERE "ORSTS" = \'F\'').fetchone()
    assert row is not None
    with pytest.raises(BackendRefused, match=f"ORL010 : la commande {row[0]} est facturée"):
        colleague.change_quantity(row[0])
    with pytest.raises(BackendRefused, match="no status follows"):
        colleague.change_status(row[0])
    with pytest.raises(NotFound):
        colleague.change_status(999_999_999, "V")
    with pytest.raises(NotFound):
        colleague.change_stock("XX99", "A00001", 5)
    with pytest.raises(BadInput):
        colleague.change_status(row[0], "?")
    demo.stop()
    with pytest.raises(BackendAway):
        colleague.change_quantity()


def test_a_taken_port_is_told_and_prepare_moves_to_another(demo: Demo) -> None:
    demo.stop()
    port = demo.server.port
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", port))
        stranger.listen()
        with pytest.raises(BadConfiguration, match=str(port)):
            demo.start()
        demo.prepare(today=TODAY)
        assert demo.server.port != port
    assert count_orders(demo) == LINES // 4


def test_a_stale_pid_of_another_program_does_not_keep_it_from_starting(demo: Demo) -> None:
    demo.kill()
    pid_file = demo.server.data / "postmaster.pid"
    lines = pid_file.read_text("utf-8").split("\n")
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]), "utf-8")
    assert demo.state() == "stopped"
    demo.start()
    assert count_orders(demo) == LINES // 4


def test_orphans_of_a_killed_postmaster_do_not_keep_it_from_starting(demo: Demo) -> None:
    demo.freeze()
    pid = demo.server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: demo.state() == "stopped", 10, "the postmaster to end")
    assert system.working_in(demo.server.data), "its frozen children live on"
    demo.start()
    assert count_orders(demo) == LINES // 4


def test_a_folder_without_a_demo_is_told_so(tmp_path: Path) -> None:
    demo = Demo(tmp_path / "nothing")
    assert demo.state() == "stopped"
    assert not demo.made
    with pytest.raises(BadConfiguration, match="There is no demo"):
        demo.start()
    with pytest.raises(BadConfiguration, match="There is no demo"):
        _ = demo.url
    demo.stop()
    demo.kill()
    demo.remove()


def test_a_half_made_server_is_made_again_and_removed_whole(postgres: PostgresServer, tmp_path: Path) -> None:
    server = DemoServer(tmp_path, free_port())
    server.make()
    data, kept = server.data, (tmp_path / "server.json").read_bytes()
    (tmp_path / "server.json").unlink()
    server.make()
    assert (tmp_path / "server.json").read_bytes() != kept
    server.start()
    wait_until(lambda: server.state() == "running", 10, "the server to run")
    server.remove()
    assert not data.parent.exists()
    assert server.state() == "stopped"


def test_missing_postgresql_names_the_command_that_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadConfiguration) as caught:
        system.find_programs(versions=tmp_path)
    assert "apt-get install postgresql" in caught.value.try_this
