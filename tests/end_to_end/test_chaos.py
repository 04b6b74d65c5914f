"""brique as a user runs it, while its backend and its own processes are killed and frozen under readers and writers:
nobody who reads notices, and what was acknowledged is in the backend once."""

from __future__ import annotations

import http.client
import threading
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bench.kill import Killer
from bench.site import Client, Site
from bench.traffic import (
    Task,
    Told,
    Verdict,
    judge,
    start_writers,
    stop_writers,
    unknown_marks,
    wait_settled,
)
from tests.postgres import PostgresServer

SCHEMA = """
CREATE TABLE note(id serial PRIMARY KEY, mark text NOT NULL, text text);
CREATE TABLE counter(name text PRIMARY KEY, value integer NOT NULL);
INSERT INTO counter SELECT 'c' || n, 0 FROM generate_series(0, 9) AS n;
INSERT INTO note(mark, text) SELECT 'old', 'note ' || n FROM generate_series(1, 2000) AS n;
"""
FAST = {
    "BRIQUE_BACKEND_TIMEOUT_SECONDS": "1",
    "BRIQUE_BACKEND_CONNECT_SECONDS": "1",
    "BRIQUE_PROBE_SECONDS_MAX": "0.5",
    "BRIQUE_SPOOL_FREE_BYTES_MIN": "0",
}
"""So that a frozen backend is found out within seconds."""
PATHS = ("/tables/note", "/tables/note?sort=-mark&q=note", "/api/tables/counter", "/tables/note/7")


def _held(connection: psycopg.Connection[Any], key: str) -> int:
    found = connection.execute("SELECT value FROM counter WHERE name = %s", (key,)).fetchone()
    assert found is not None
    return int(found[0])


TASK = Task(
    table="note",
    row=lambda mark: {"mark": mark, "text": "made under fire"},
    found=lambda connection: [mark for (mark,) in connection.execute("SELECT mark FROM note")],
    changed_table="counter",
    own_key=lambda writer: f"c{writer}",
    values=lambda number: {"value": number},
    held=_held,
)


class Reading(threading.Thread):
    """Reads pages and JSON all the time, and notes what failed and what took longest."""

    def __init__(self, client: Client) -> None:
        super().__init__(name="reading", daemon=True)
        self.client, self.slowest, self.count = client, 0.0, 0
        self.failed: list[str] = []
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.is_set():
            path = PATHS[self.count % len(PATHS)]
            began = time.monotonic()
            try:
                answer = self.client.get(path)
                if not answer.ok:
                    self.failed.append(f"{answer.status} {path} {answer.body[:200]!r}")
            except (OSError, http.client.HTTPException) as fault:
                self.failed.append(f"{fault!r} {path}")
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.count += 1

    def end(self) -> None:
        self._stopped.set()
        self.join(10)
        assert not self.failed, self.failed[:5]
        assert self.count > 20


def _check(told: Told, verdict: Verdict, counts: dict[str, int], unknown: set[str], *, marker: bool) -> None:
    assert len(told.made) > 10
    assert not verdict.doubled
    assert not verdict.stale
    assert set(verdict.missing) <= unknown, "what is not there was handed to a person"
    if marker:
        assert not verdict.missing
        assert set(counts) == {"applied"}, "a marker table leaves nothing to decide"
    else:
        assert set(counts) <= {"applied", "unknown"}


@pytest.mark.parametrize("marker", [True, False], ids=["marker", "compare"])
def test_while_the_backend_is_dead_and_frozen_reads_go_on_and_writes_arrive_once(
    own_postgres: PostgresServer, tmp_path: Path, marker: bool
) -> None:
    url = own_postgres.make_database(script=SCHEMA)
    with Site(_up(url, tmp_path, marker), tmp_path / "data", settings=FAST) as site:
        site.wait_ready()
        site.wait_loaded()
        reading = Reading(site.client())
        reading.start()
        writers = start_writers(site.port, TASK, 2, run="outage", pause_seconds=0.02)
        time.sleep(1.0)
        own_postgres.kill()
        time.sleep(1.5)
        own_postgres.start()
        time.sleep(1.0)
        own_postgres.freeze()
        time.sleep(2.5)
        own_postgres.thaw()
        told = stop_writers(writers)
        assert not told.again, f"a write failed: {told.faults}"
        assert told.pending > 3, "some were acknowledged while the backend was away"
        _, counts = wait_settled(site.client(), 20)
        reading.end()
        unknown = unknown_marks(site.client(), "outage")
        _check(told, judge(url, TASK, told, "outage"), counts, unknown, marker=marker)


@pytest.mark.parametrize("marker", [True, False], ids=["marker", "compare"])
def test_whatever_is_killed_what_was_acknowledged_arrives_once(
    postgres: PostgresServer, tmp_path: Path, marker: bool
) -> None:
    url = postgres.make_database(script=SCHEMA)
    with Site(_up(url, tmp_path, marker), tmp_path / "data", settings=FAST) as site:
        site.wait_ready()
        site.wait_loaded()
        writers = start_writers(site.port, TASK, 4, run="kill", pause_seconds=0.005)
        killer = Killer(site, seed=int(marker))
        killer.start()
        time.sleep(5.0)
        killer.stop()
        told = stop_writers(writers)
        _, counts = wait_settled(site.client(), 30)
        assert sum(killer.killed.values()) >= 2
        unknown = unknown_marks(site.client(), "kill")
        _check(told, judge(url, TASK, told, "kill"), counts, unknown, marker=marker)


def _up(url: str, folder: Path, marker: bool) -> list[str]:
    return ["up", url, "--data", str(folder / "data"), "--refresh", "2", *(["--marker"] if marker else [])]
