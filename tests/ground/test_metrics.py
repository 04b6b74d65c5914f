"""Figures in shared memory: right sums, alive after kill -9, readable by others, bounded. Real files and processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from brique.observe import Metrics, Sampler, prometheus, read_all, read_samples
from brique.observe.metrics import BOUNDS


class FixedClock:
    def now(self) -> datetime:
        return datetime(2026, 11, 20, 10, 41, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0


def test_each_of_the_five_words_is_read_back_by_its_name_and_labels(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path, "web-1")
    metrics.counter("requests", route="/tables/{table}", status="200").add(3)
    metrics.gauge("queue").set(7.5)
    metrics.gauge("queue").add(-2)
    metrics.meter("rows").mark(100)
    metrics.histogram("bytes").update(2048)
    with metrics.timer("page").time():
        pass
    readings = read_all(tmp_path)
    assert readings['requests{route="/tables/{table}",status="200"}'].value == 3
    assert readings["queue"].value == 5.5
    assert (readings["rows"].kind, readings["rows"].value) == ("meter", 100)
    assert (readings["bytes"].value, readings["bytes"].total, readings["bytes"].mean) == (1, 2048, 2048)
    assert readings["page"].value == 1
    assert 0 < readings["page"].total < 1


def test_numbers_of_several_processes_are_added_and_shown_apart(tmp_path: Path) -> None:
    for process, count in (("web-1", 2), ("web-2", 5)):
        metrics = Metrics(tmp_path, process)
        metrics.counter("requests").add(count)
        metrics.timer("page").update(0.1)
        metrics.gauge("open").set(count)
        keep.append(metrics)
    reading = read_all(tmp_path)["requests"]
    assert (reading.value, reading.by_process) == (7, {"web-1": 2, "web-2": 5})
    assert read_all(tmp_path)["page"].value == 2
    keep.clear()


keep: list[Metrics] = []

CHILD = """
import sys, time
from pathlib import Path
from brique.observe import Metrics
metrics = Metrics(Path(sys.argv[1]), "web-1")
metrics.gauge("open").set(4)
counter = metrics.counter("requests")
counter.add(1000)
metrics.timer("page").update(0.25)
print("ready", flush=True)
time.sleep(60)
"""


def test_counts_outlive_a_killed_process_its_gauges_do_not_and_its_successor_goes_on_counting(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    assert read_all(tmp_path)["open"].by_process == {"web-1": 4}
    child.send_signal(signal.SIGKILL)
    child.wait(10)
    child.stdout.close()
    readings = read_all(tmp_path)
    assert readings["requests"].value == 1000
    assert readings["page"].percentile(0.5) == pytest.approx(0.25, rel=0.1)
    assert readings["open"].by_process == {}
    successor = Metrics(tmp_path, "web-1")
    assert successor.path == tmp_path / "web-1.metrics"
    successor.counter("requests").add(1)
    assert read_all(tmp_path)["requests"].value == 1001
    assert read_all(tmp_path)["open"].value == 0


def test_two_living_processes_of_one_name_do_not_share_a_file(tmp_path: Path) -> None:
    first, second = Metrics(tmp_path, "web-1"), Metrics(tmp_path, "web-1")
    first.counter("requests").add(1)
    second.counter("requests").add(2)
    assert second.path == tmp_path / "web-1.2.metrics"
    assert read_all(tmp_path)["requests"].value == 3
    first.close()
    third = Metrics(tmp_path, "web-1")
    assert third.path == tmp_path / "web-1.metrics"
    assert third.counter("requests").value == 1


def test_threads_lose_no_count() -> None:
    counter, timer = Metrics().counter("requests"), Metrics().timer("page")
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def work() -> None:
        for _ in range(50_000):
            counter.add()
            timer.update(0.001)

    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switch)
    assert counter.value == 200_000
    assert sum(timer._cells[timer._at + 1 : timer._at + timer.cells_used].tolist()) == 200_000


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("scale", [0.00002, 0.02, 3.0, 40_000.0])
def test_percentiles_are_right_within_a_tenth(tmp_path: Path, share: float, scale: float) -> None:
    metrics = Metrics(tmp_path, "web-1")
    values = [scale * (1 + n / 100) for n in range(1000)]
    for value in values:
        metrics.histogram("h").update(value)
    assert read_all(tmp_path)["h"].percentile(share) == pytest.approx(values[int(share * 1000) - 1], rel=0.1)


def test_values_outside_the_buckets_are_counted_at_the_ends(tmp_path: Path) -> None:
    histogram = Metrics(tmp_path, "web-1").histogram("h")
    for value in (-1.0, 0.0, 1e300):
        histogram.update(value)
    reading = read_all(tmp_path)["h"]
    assert (reading.buckets[0], reading.buckets[-1], reading.value) == (2, 1, 3)
    assert reading.percentile(1.0) == BOUNDS[-1]


def test_more_figures_than_there_is_room_for_are_dropped_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics(tmp_path, "web-1")
    for n in range(1100):
        metrics.counter("requests", route=str(n)).add()
    metrics.counter("x" * 300).add()
    assert len(read_all(tmp_path)) == 1000
    assert "no room" in caplog.text


def test_a_foreign_or_torn_file_is_passed_over_and_started_anew(tmp_path: Path) -> None:
    (tmp_path / "web-1.metrics").write_bytes(b"something else" * 10)
    assert read_all(tmp_path) == {}
    Metrics(tmp_path, "web-1").counter("requests").add(2)
    assert read_all(tmp_path)["requests"].value == 2
    assert read_all(tmp_path / "nowhere") == {}


def test_prometheus_gets_types_labels_cumulative_buckets_and_escapes(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path, "web-1")
    metrics.counter("requests", route='/a"b\\c').add(2)
    metrics.meter("rows").mark(5)
    metrics.gauge("open").set(1.5)
    for seconds in (0.001, 0.5, 0.5, 100.0):
        metrics.timer("page").update(seconds)
    lines = prometheus(read_all(tmp_path).values()).splitlines()
    assert "# TYPE brique_requests_total counter" in lines
    assert 'brique_requests_total{route="/a\\"b\\\\c"} 2' in lines
    assert "brique_rows_total 5" in lines
    assert 'brique_open{process="web-1"} 1.5' in lines
    assert "# TYPE brique_page_seconds histogram" in lines
    assert 'brique_page_seconds_bucket{le="1"} 3' in lines
    assert 'brique_page_seconds_bucket{le="+Inf"} 4' in lines
    assert "brique_page_seconds_count 4" in lines
    assert "brique_page_seconds_sum 101.001" in lines
    counts = [int(line.rpartition(" ")[2]) for line in lines if line.startswith("brique_page_seconds_bucket")]
    assert counts == sorted(counts)


def test_the_last_hour_is_kept_minute_by_minute_and_survives_a_restart(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path, "engine")
    counter, timer, gauge = metrics.counter("commands"), metrics.timer("flush"), metrics.gauge("waiting")
    counter.add(1000)
    sampler = Sampler(tmp_path, FixedClock())
    sampler.sample()
    for minute in range(70):
        counter.add(60 * minute)
        gauge.set(minute)
        if minute % 2:
            timer.update(0.01)
        sampler.sample()
    series = read_samples(tmp_path)
    assert series["commands"].values == [60 * minute for minute in range(10, 70)]
    assert series["commands"].per_second == 69
    assert series["waiting"].values[-1] == 69
    assert series["flush"].values[-1] == pytest.approx(0.01, rel=0.1)
    assert series["flush"].values[-2] is None
    assert len(series["flush"].high) == 60
    again = Sampler(tmp_path, FixedClock())
    again.sample()
    counter.add(5)
    again.sample()
    assert read_samples(tmp_path)["commands"].values[-2:] == [60 * 69, 5]
    (tmp_path / "samples.json").write_text("{broken")
    assert read_samples(tmp_path) == {}


def test_a_call_costs_about_a_hundred_nanoseconds() -> None:
    """About 100 ns on a quiet machine; the bound here leaves room for a busy one."""
    metrics = Metrics()
    counter, timer = metrics.counter("requests"), metrics.timer("page")
    best = {}
    for name, call in (("counter", lambda: counter.add()), ("timer", lambda: timer.update(0.01))):
        rounds = []
        for _ in range(5):
            started = time.perf_counter()
            for _ in range(20_000):
                call()
            rounds.append((time.perf_counter() - started) / 20_000 * 1e9)
        best[name] = min(rounds)
    print({name: f"{ns:.0f} ns" for name, ns in best.items()})
    assert best["counter"] < 1500
    assert best["timer"] < 3000
