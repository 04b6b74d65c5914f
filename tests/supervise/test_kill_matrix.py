"""What happens when any process ends in any way: real supervisors, real processes, real signals."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from brique import errors
from brique.supervise import Control, SupervisorAway

PROGRAM = Path(__file__).with_name("program.py")


def wait_until(true: Callable[[], Any], what: str, seconds: float = 10.0) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(SupervisorAway, OSError):
            if result := true():
                return result
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        threading.Event().wait(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Running:
    """A supervisor in a process of its own."""

    def __init__(self, data: Path, *, mood: str = "good", port: int = 0) -> None:
        self.data, self.port = data, port
        argv = [sys.executable, str(PROGRAM), "supervise", str(data), str(port), mood]
        self.log = (data / "log").open("ab")
        self.popen = subprocess.Popen(argv, stderr=self.log)
        self.control = Control(data)

    def processes(self) -> dict[str, dict[str, Any]]:
        return {one["name"]: one for one in self.control.status()["processes"]}

    def pids(self) -> list[int]:
        return [one["pid"] for one in self.control.status()["processes"] if one["pid"]]

    def until(self, name: str, state: str, *, seconds: float = 10.0, other_than: int = 0) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            one = self.processes().get(name)
            return one if one and one["state"] == state and (not other_than or one["pid"] != other_than) else None

        result: dict[str, Any] = wait_until(found, f"{name} {state}", seconds)
        return result

    def until_up(self) -> Running:
        wait_until(lambda: any(event["event"] == "up" for event in self.control.events()), "all up")
        return self

    def notes(self) -> list[str]:
        return (self.data / "notes").read_text().splitlines()

    def get(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5) as answer:
            return str(answer.read().decode())

    def stop(self) -> None:
        self.control.close()
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(15)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait(5)
        self.log.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def run(**options: Any) -> Running:
        started.append(Running(tmp_path, **options))
        return started[-1]

    yield run
    for one in started:
        one.stop()


def test_a_killed_worker_is_replaced_within_a_fifth_of_a_second_and_the_others_go_on(
    start: Callable[..., Running],
) -> None:
    running = start().until_up()
    before = running.processes()
    pid = before["web-1"]["pid"]
    os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    wait_until(lambda: running.processes()["web-1"]["pid"] not in (0, pid), "a new process")
    took = time.monotonic() - began
    after = running.until("web-1", "running", other_than=pid)
    assert took < 0.5, f"{took:.3f} s"  # under 0.2 s on a quiet machine
    assert (after["restarts"], after["last_exit"]) == (1, "SIGKILL")
    assert {name: one["pid"] for name, one in running.processes().items() if name != "web-1"} == {
        name: one["pid"] for name, one in before.items() if name != "web-1"
    }


def test_a_crash_looping_worker_is_shown_as_crashing_and_does_not_spin(start: Callable[..., Running]) -> None:
    running = start(mood="broken")
    one = running.until("erp", "crashing")
    assert "exit 3" in one["last_exit"]
    wait_until(lambda: running.processes()["erp"]["restarts"] >= 3, "more restarts")
    began, restarts = time.monotonic(), running.processes()["erp"]["restarts"]
    threading.Event().wait(1.0)
    assert running.processes()["erp"]["restarts"] - restarts <= 3, time.monotonic() - began
    assert running.until("web-1", "running")["restarts"] == 0
    assert running.until("engine", "running")["restarts"] == 0


def test_a_worker_that_becomes_ready_and_then_dies_is_crashing_too(start: Callable[..., Running]) -> None:
    assert start(mood="short").until("erp", "crashing")["last_exit"] == "exit 4"


def test_a_worker_that_never_gets_ready_is_killed_and_tried_again(start: Callable[..., Running]) -> None:
    running = start(mood="silent")
    running.until("erp", "starting")
    wait_until(lambda: running.processes()["erp"]["restarts"] >= 1, "another try", 6.0)
    assert running.processes()["erp"]["last_exit"] == "SIGKILL before it was ready"


def test_a_killed_supervisor_leaves_no_process_and_a_new_one_starts_at_once(start: Callable[..., Running]) -> None:
    port = free_port()
    first = start(port=port).until_up()
    pids = first.pids()
    assert len(pids) == 4
    first.popen.kill()
    first.popen.wait(5)
    second = start(port=port)
    wait_until(lambda: not any(map(alive, pids)), "no orphans", 2.0)
    second.until_up()
    assert second.get().startswith("web-")
    assert len(second.pids()) == 4


def test_a_supervisor_killed_in_the_middle_of_a_reload_leaves_no_process(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    running = start().until_up()
    (tmp_path / "mood").write_text("silent")

    def ask() -> None:
        with pytest.raises(SupervisorAway):
            running.control.reload()

    reload = threading.Thread(target=ask)
    reload.start()
    wait_until(lambda: len(running.pids()) == 6, "two generations")
    pids = running.pids()
    running.popen.kill()
    running.popen.wait(5)
    wait_until(lambda: not any(map(alive, pids)), "no orphans", 2.0)
    reload.join(5)


def test_groups_start_in_order_and_stop_in_the_opposite_order(start: Callable[..., Running]) -> None:
    running = start().until_up()
    running.popen.terminate()
    assert running.popen.wait(10) == 0
    notes = [note.split()[:2] for note in running.notes()]
    starts = [name for verb, *name in notes if verb == "start" for name in name]
    stops = [name for verb, *name in notes if verb == "stop" for name in name]
    assert (starts[:2], sorted(starts[2:])) == (["engine", "erp"], ["web-1", "web-2"])
    assert (sorted(stops[:2]), stops[2:]) == (["web-1", "web-2"], ["erp", "engine"])
    assert running.notes()[-1] == "end"
    assert not (running.data / "control.sock").exists()


def test_a_broken_engine_does_not_keep_the_web_from_starting(tmp_path: Path, start: Callable[..., Running]) -> None:
    running = start(mood="broken")
    running.until("web-2", "running")


def test_a_stubborn_worker_is_killed_after_its_graceful_time(start: Callable[..., Running]) -> None:
    running = start(mood="stubborn").until_up()
    pid = running.processes()["erp"]["pid"]
    began = time.monotonic()
    running.control.stop("erp")
    assert 0.4 < time.monotonic() - began < 3
    assert not alive(pid)
    assert "erp" not in running.processes()
    running.control.start("erp")
    running.until("erp", "running", other_than=pid)


def test_a_second_signal_stops_everything_at_once(start: Callable[..., Running], tmp_path: Path) -> None:
    (tmp_path / "mood").write_text("stubborn")
    running = start().until_up()
    pids = running.pids()
    began = time.monotonic()
    running.popen.send_signal(signal.SIGINT)
    wait_until(lambda: running.control.status()["supervisor"]["stopping"], "stopping")
    running.popen.send_signal(signal.SIGINT)
    assert running.popen.wait(5) == 0
    assert time.monotonic() - began < 2.5  # its graceful time is 3 s
    assert not any(map(alive, pids))


def test_what_a_worker_has_started_ends_with_it(start: Callable[..., Running]) -> None:
    running = start(mood="family").until_up()
    grandchild = next(int(note.split()[1]) for note in running.notes() if note.startswith("grandchild"))
    assert alive(grandchild)
    os.kill(running.processes()["erp"]["pid"], signal.SIGKILL)
    wait_until(lambda: not alive(grandchild), "the grandchild's end", 2.0)


def test_a_reload_brings_a_new_generation_without_a_failed_request(start: Callable[..., Running]) -> None:
    running = start(port=free_port()).until_up()
    before = running.pids()
    failed: list[str] = []
    answers: list[str] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                answers.append(running.get())
            except (OSError, http.client.HTTPException) as error:
                failed.append(repr(error))

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    wait_until(lambda: len(answers) > 20, "answers")
    assert running.control.reload() == ["web"]
    wait_until(lambda: answers[-1].endswith(" 1"), "answers of the new generation")
    wait_until(lambda: len(running.pids()) == 4, "the end of the old generation")
    done.set()
    for asker in askers:
        asker.join()
    assert {answer.split()[1] for answer in answers} == {"0", "1"}
    after = running.processes()
    assert after["engine"]["pid"] in before
    assert not {after["web-1"]["pid"], after["web-2"]["pid"]} & set(before)
    assert failed == []


@pytest.mark.parametrize("mood", ["broken", "silent"])
def test_a_broken_new_generation_leaves_the_old_one_serving(
    start: Callable[..., Running], tmp_path: Path, mood: str
) -> None:
    running = start(port=free_port()).until_up()
    before = {name: one["pid"] for name, one in running.processes().items()}
    (tmp_path / "mood").write_text(mood)
    with pytest.raises(errors.Refused, match="the old one goes on"):
        running.control.reload()
    assert {name: one["pid"] for name, one in running.processes().items()} == before
    assert running.get().endswith(" 0")
    (tmp_path / "mood").write_text("good")
    running.control.reload("web")
    wait_until(lambda: running.get().endswith(" 1"), "the mended generation")


def test_sighup_reloads(start: Callable[..., Running]) -> None:
    running = start(port=free_port()).until_up()
    running.popen.send_signal(signal.SIGHUP)
    wait_until(lambda: running.get().endswith(" 1"), "a new generation")


def test_a_second_supervisor_on_the_same_folder_is_refused(start: Callable[..., Running], tmp_path: Path) -> None:
    first = start().until_up()
    argv = [sys.executable, str(PROGRAM), "supervise", str(tmp_path), "0"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
    assert done.returncode != 0
    assert f"already runs on {tmp_path} (process {first.popen.pid})" in done.stderr
    assert len(first.pids()) == 4


def test_workers_are_added_taken_away_restarted_and_signalled_by_command(start: Callable[..., Running]) -> None:
    running = start().until_up()
    control = running.control
    assert control.incr("web") == 3
    running.until("web-3", "running")
    assert control.decr("web", 2) == 1
    assert "web-2" not in running.processes()
    pid = running.processes()["web-1"]["pid"]
    control.restart("web-1")
    fresh = running.until("web-1", "running", other_than=pid)
    assert fresh["last_exit"] == "exit 0"
    engine = running.processes()["engine"]["pid"]
    control.restart("engine")
    running.until("engine", "running", other_than=engine)
    assert control.signal("web", "KILL") == 1
    running.until("web-1", "running", other_than=fresh["pid"])
    status = control.status()
    assert status["supervisor"]["rss_bytes"] > 1_000_000
    assert all(one["rss_bytes"] > 1_000_000 for one in status["processes"])
    assert [(one["name"], one["count"]) for one in status["watchers"]] == [("engine", 1), ("erp", 1), ("web", 1)]
    assert {"started", "ready", "ended", "restarting", "up"} <= {event["event"] for event in control.events()}


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        (lambda control: control.incr("engine"), errors.Refused),
        (lambda control: control.decr("web", 2), errors.Refused),
        (lambda control: control.incr("web", 1000), errors.Refused),
        (lambda control: control.reload("engine"), errors.Refused),
        (lambda control: control.restart("nobody"), errors.NotFound),
        (lambda control: control.signal("web", "LOUD"), errors.BadInput),
        (lambda control: control.incr("web", -1), errors.BadInput),
        (lambda control: control._call("rm"), errors.NotFound),
    ],
)
def test_commands_that_make_no_sense_are_refused_and_change_nothing(
    start: Callable[..., Running], command: Callable[[Control], object], fault: type[errors.BriqueError]
) -> None:
    running = start().until_up()
    before = running.pids()
    with pytest.raises(fault) as caught:
        command(running.control)
    assert caught.value.try_this or fault is errors.BadInput
    assert running.pids() == before


def test_quit_by_command_stops_everything(start: Callable[..., Running]) -> None:
    running = start().until_up()
    pids = running.pids()
    running.control.quit()
    assert running.popen.wait(10) == 0
    assert not any(map(alive, pids))
    with pytest.raises(SupervisorAway, match="does not run"):
        running.control.status()


def test_events_are_told_as_they_happen(start: Callable[..., Running], tmp_path: Path) -> None:
    running = start().until_up()
    heard: list[dict[str, Any]] = []
    with Control(tmp_path, on_event=heard.append) as listener:
        listener.status()
        running.control.restart("erp")
        wait_until(lambda: [event["event"] for event in heard if event["name"] == "erp"][-1:] == ["ready"], "events")


def test_a_stopped_process_ends_when_asked(start: Callable[..., Running]) -> None:
    running = start().until_up()
    pid = running.processes()["engine"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    running.control.restart("engine")
    assert time.monotonic() - began < 5
    assert not alive(pid)
