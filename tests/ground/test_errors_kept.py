"""Errors kept: grouped by kind, counted, bounded, without secrets, reopened when they return. Real SQLite files."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from brique.observe import CaptureHandler, Errors
from brique.observe.errors import show


class StepClock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 11, 20, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


def fail(text: str, password: str = "hunter2") -> None:
    address = "postgresql://brique:s3cr3t@db/erp"
    nested = {"token": "t-123", "rows": [1, 2], "address": address}
    raise ValueError(f"{text} {address}" if nested else text)


def fail_elsewhere() -> None:
    raise ValueError("elsewhere")


def caught(function: object, *arguments: object) -> BaseException:
    try:
        function(*arguments)  # type: ignore[operator]  # any function of these tests
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


@pytest.fixture
def clock() -> StepClock:
    return StepClock()


@pytest.fixture
def kept(tmp_path: Path, clock: StepClock) -> Errors:
    return Errors(tmp_path / "errors.db", groups_max=5, process="web-1", release="0.1.0", clock=clock)


def test_the_same_fault_is_one_group_with_its_count_first_and_last_time(kept: Errors, clock: StepClock) -> None:
    first = kept.capture(caught(fail, "one"), request="GET /orders/1")
    clock.seconds = 60
    assert kept.capture(caught(fail, "two"), request="GET /orders/2") == first
    assert kept.capture(caught(fail_elsewhere)) != first
    group = kept.group(first)
    assert group is not None
    assert (group.count, group.first_seen[11:19], group.last_seen[11:19]) == (2, "00:00:00", "00:01:00")
    assert (group.request, group.process, group.release, group.type) == (
        "GET /orders/2",
        "web-1",
        "0.1.0",
        "ValueError",
    )
    assert "test_errors_kept.py:" in group.place
    assert [one.count for one in kept.recent()] == [1, 2] or [one.count for one in kept.recent()] == [2, 1]


def test_the_last_traceback_is_kept_with_local_values_but_no_secret(kept: Errors) -> None:
    group = kept.group(kept.capture(caught(fail, "x"), request="GET /?token=t-456"))
    assert group is not None
    frame = group.frames[-1]
    assert (frame.function, frame.variables["text"], frame.variables["password"]) == ("fail", "'x'", "[hidden]")
    assert "'rows': list(1, 2)" in frame.variables["nested"]
    assert "raise ValueError" in frame.source
    everything = repr(group)
    for secret in ("s3cr3t", "t-123", "t-456"):
        assert secret not in everything
    assert not any("hunter2" in value for value in frame.variables.values())


def test_only_the_owner_may_read_the_file(kept: Errors, tmp_path: Path) -> None:
    kept.capture(caught(fail_elsewhere))
    assert (tmp_path / "errors.db").stat().st_mode & 0o077 == 0


def test_a_mended_group_is_hidden_until_it_comes_back(kept: Errors) -> None:
    mark = kept.capture(caught(fail_elsewhere))
    assert kept.resolve(mark)
    assert not kept.resolve(mark)
    assert kept.recent() == []
    assert kept.recent(resolved=True)[0].resolved_at is not None
    kept.capture(caught(fail_elsewhere))
    assert [group.count for group in kept.recent()] == [2]


def test_the_oldest_groups_go_when_there_are_too_many(kept: Errors, clock: StepClock) -> None:
    for n in range(8):
        clock.seconds = n
        kept.capture(caught(lambda kind: (_ for _ in ()).throw(kind()), type(f"Fault{n}", (Exception,), {})))
    assert [group.type.rpartition(".")[2] for group in kept.recent()] == [
        "Fault7",
        "Fault6",
        "Fault5",
        "Fault4",
        "Fault3",
    ]


def test_a_storm_is_counted_without_a_write_for_each(kept: Errors, clock: StepClock) -> None:
    error = caught(fail_elsewhere)
    for _ in range(500):
        mark = kept.capture(error)
    group = kept.group(mark)
    assert group is not None
    assert group.count == 20
    clock.seconds += 1
    kept.capture(error)
    group = kept.group(mark)
    assert group is not None
    assert group.count == 501


def test_what_was_only_counted_is_written_at_the_end(kept: Errors) -> None:
    error = caught(fail_elsewhere)
    for _ in range(30):
        mark = kept.capture(error)
    kept.close()
    group = kept.group(mark)
    assert group is not None
    assert group.count == 30
    kept.close()


def test_threads_and_processes_write_to_one_file(kept: Errors, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from brique.observe import Errors\n"
        "def f(): raise KeyError('x')\n"
        "kept = Errors(Path(sys.argv[1]), process='web-2')\n"
        "for _ in range(10):\n"
        "    try: f()\n"
        "    except KeyError as e: kept.capture(e)\n"
        "kept.close()"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "errors.db")])
    error = caught(fail_elsewhere)
    threads = [threading.Thread(target=lambda: [kept.capture(error) for _ in range(5)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert child.wait(20) == 0
    assert {group.type: group.count for group in kept.recent()} == {"ValueError": 20, "KeyError": 10}


def test_keeping_an_error_never_makes_another(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Hostile(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    with caplog.at_level(logging.WARNING, logger="brique"), caplog.at_level(logging.WARNING):
        Errors(tmp_path / "missing" / "errors.db").capture(ValueError("x"))
    assert "could not be kept" in caplog.text
    kept = Errors(tmp_path / "errors.db")
    kept.capture(Hostile())
    kept.capture(ValueError("half of a pair: \ud800"))
    kept.capture(caught(sys.intern, 5))
    assert kept.recent()
    kept.close()


def test_a_very_deep_recursion_is_kept_by_its_end(kept: Errors) -> None:
    def deeper(n: int) -> int:
        return deeper(n + 1)

    group = kept.group(kept.capture(caught(deeper, 0)))
    assert group is not None
    assert group.type == "RecursionError"
    assert len(group.frames) <= 50


def test_values_are_shown_short_and_no_code_of_theirs_is_run() -> None:
    class Trap:
        def __repr__(self) -> str:
            raise AssertionError("it was run")

    assert show([Trap(), {"password": "x", "n": Trap()}]).startswith("list(<")
    assert len(show("x" * 10_000)) < 300
    assert len(show(list(range(10_000)))) < 100
    assert show(10**5000) == "int"


def test_what_is_logged_with_an_exception_is_kept_too(kept: Errors) -> None:
    logger = logging.getLogger("test.kept")
    handler = CaptureHandler(kept)
    logger.addHandler(handler)
    try:
        fail_elsewhere()
    except ValueError:
        logger.exception("failed", extra={"request": "GET /x"})
    logger.error("no exception here")
    logger.removeHandler(handler)
    assert [(group.count, group.request) for group in kept.recent()] == [(1, "GET /x")]


def test_what_ends_a_process_or_a_thread_is_kept(tmp_path: Path, kept: Errors) -> None:
    program = (
        "import sys, threading; from pathlib import Path; from brique.observe import Errors, watch_uncaught\n"
        "watch_uncaught(Errors(Path(sys.argv[1])))\n"
        "t = threading.Thread(target=lambda: 1 // 0, name='reader'); t.start(); t.join()\n"
        "raise LookupError('the end')"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "errors.db")], capture_output=True, timeout=20)
    assert done.returncode == 1
    assert b"the end" in done.stderr
    kept_groups = {group.type: group.request for group in kept.recent()}
    assert kept_groups == {"LookupError": "(end of the process)", "ZeroDivisionError": "(end of thread reader)"}
