"""People at work: writers that give each write an idempotency key and repeat it until it is acknowledged, and readers.

Each writer makes rows whose key the backend gives, and changes a row of its own again and again. What was acknowledged
is then looked for in the backend itself, under the mark that every write carries.
"""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psycopg

from bench.site import TOKEN, Answer, Client, brique_client

_RETRY_SECONDS = 0.05


class Door(Protocol):
    """How a writer reaches brique. Raises OSError or HTTPException when nobody knows what became of a call."""

    def create(self, table: str, row: dict[str, Any], key: str) -> Answer: ...

    def update(self, table: str, row_key: str, values: dict[str, Any], key: str) -> Answer: ...

    def close(self) -> None: ...


class HttpDoor:
    """The API."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, table: str, row: dict[str, Any], key: str) -> Answer:
        return self._client.ask("POST", f"/api/tables/{table}", row, {"Idempotency-Key": key})

    def update(self, table: str, row_key: str, values: dict[str, Any], key: str) -> Answer:
        path = f"/api/tables/{table}/{urllib.parse.quote(row_key, safe=',~')}"
        return self._client.ask("PATCH", path, values, {"Idempotency-Key": key})

    def close(self) -> None:
        self._client.close()


@dataclass
class Task:
    """What writers write, and how to find it again in the backend.

    `row(mark)`: a new row of `table` that carries the mark. `found(connection)`: every mark in the backend, as often
    as it is there. `own_key(writer)`: the key of the row of `changed_table` that this writer alone changes, by
    `values(number)`; `held(connection, key)`: the number that it holds in the backend.
    """

    table: str
    row: Callable[[str], dict[str, Any]]
    changed_table: str
    own_key: Callable[[int], str]
    values: Callable[[int], dict[str, Any]]
    found: Callable[[psycopg.Connection[Any]], list[str]] = lambda _: []
    held: Callable[[psycopg.Connection[Any], str], int] = lambda _, key: 0


@dataclass
class Told:
    """What writers were told. `pending`: acknowledged and not settled at once; `again`: calls repeated."""

    made: list[str] = field(default_factory=list)
    updated: dict[str, int] = field(default_factory=dict)
    pending: int = 0
    again: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    calls: int = 0

    @property
    def acknowledged(self) -> int:
        return len(self.made) + sum(self.updated.values())


class Writer(threading.Thread):
    """Writes until `stop`; a write under way is repeated until it is acknowledged, then it ends."""

    def __init__(self, number: int, door: Door, task: Task, *, run: str, pause_seconds: float = 0.0) -> None:
        super().__init__(name=f"writer-{number}", daemon=True)
        self.number, self.door, self.task, self.run_name = number, door, task, run
        self.pause_seconds = pause_seconds
        self.told = Told()
        self.fault: BaseException | None = None
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()

    def run(self) -> None:
        try:
            count = 0
            while not self._stopped.is_set():
                count += 1
                self._make(f"{self.run_name}-{self.number}-{count}")
                if count % 3 == 0:
                    self._change(count // 3)
                if self.pause_seconds:
                    self._stopped.wait(self.pause_seconds)
        except BaseException as fault:
            self.fault = fault
            raise
        finally:
            self.door.close()

    def _make(self, mark: str) -> None:
        row = self.task.row(mark)
        self._until_acknowledged(lambda: self.door.create(self.task.table, row, mark))
        self.told.made.append(mark)

    def _change(self, number: int) -> None:
        own, values = self.task.own_key(self.number), self.task.values(number)
        key = f"{self.run_name}-u-{self.number}-{number}"
        self._until_acknowledged(lambda: self.door.update(self.task.changed_table, own, values, key))
        self.told.updated[own] = number

    def _until_acknowledged(self, call: Callable[[], Answer]) -> None:
        began = time.monotonic()
        while True:
            try:
                answer = call()
            except (OSError, http.client.HTTPException) as fault:
                self._again(type(fault).__name__)
                continue
            self.told.calls += 1
            if answer.ok:
                self.told.pending += answer.status == 202
                self.told.slowest_s = max(self.told.slowest_s, time.monotonic() - began)
                return
            if answer.status < 500:
                raise RuntimeError(f"a write was refused: {answer.status} {answer.body[:500]!r}")
            self._again(str(answer.status))

    def _again(self, why: str) -> None:
        self.told.again += 1
        self.told.faults[why] += 1
        time.sleep(_RETRY_SECONDS)


def start_writers(port: int, task: Task, count: int, *, run: str, pause_seconds: float) -> list[Writer]:
    """`count` writers at work over the API."""
    writers = [
        Writer(number, HttpDoor(brique_client(port)), task, run=run, pause_seconds=pause_seconds)
        for number in range(count)
    ]
    for writer in writers:
        writer.start()
    return writers


def stop_writers(writers: Sequence[Writer], seconds: float = 60.0) -> Told:
    """Let each finish its write; what they were told, together. Raises what ended one of them."""
    for writer in writers:
        writer.stop()
    total = Told()
    for writer in writers:
        writer.join(seconds)
        if writer.fault is not None:
            raise writer.fault
        assert not writer.is_alive(), "a write was not acknowledged in time"
        total.made += writer.told.made
        total.updated |= writer.told.updated
        total.pending += writer.told.pending
        total.again += writer.told.again
        total.faults += writer.told.faults
        total.calls += writer.told.calls
        total.slowest_s = max(total.slowest_s, writer.told.slowest_s)
    return total


def wait_settled(client: Client, seconds: float) -> tuple[float, dict[str, int]]:
    """Wait until no command waits; how long that took, and how many are in each state."""
    began = time.monotonic()
    while True:
        try:
            counts: dict[str, int] = client.get("/api/outbox?limit=1").json()["counts"]
        except (OSError, http.client.HTTPException, KeyError):
            counts = {"kept": -1}
        if not counts.get("kept", 0) and not counts.get("sending", 0):
            return time.monotonic() - began, counts
        if time.monotonic() - began > seconds:
            raise AssertionError(f"after {seconds:.0f} s commands still wait: {counts}")
        time.sleep(0.02)


@dataclass(frozen=True)
class Verdict:
    """What the backend holds of what was acknowledged: all of these should be 0."""

    missing: list[str]
    doubled: list[str]
    stale: list[str]

    @property
    def brief(self) -> str:
        return f"{len(self.missing)} missing {self.missing[:5]}, {len(self.doubled)} doubled, {len(self.stale)} stale"


def judge(url: str, task: Task, told: Told, run: str) -> Verdict:
    """Look for every acknowledged write in the backend."""
    with psycopg.connect(url) as connection:
        counts = Counter(mark for mark in task.found(connection) if mark.startswith(f"{run}-"))
        missing = [mark for mark in told.made if not counts[mark]]
        doubled = [mark for mark, count in counts.items() if count > 1]
        stale = [key for key, number in told.updated.items() if task.held(connection, key) != number]
    return Verdict(missing, doubled, stale)


def unknown_marks(client: Client, run: str) -> set[str]:
    """Marks of new rows whose outcome brique hands to a person: neither lost nor doubled, but told."""
    marks: set[str] = set()
    address: str | None = "/api/outbox?state=unknown&limit=100"
    while address:
        page = client.get(address).json()
        for item in page["receipts"]:
            for change in client.get(item["url"]).json()["changes"]:
                values = [str(value) for value in (change["after"] or {}).values()]
                marks |= {value for value in values if value.startswith(f"{run}-")}
        address = page["next"]
    return marks


@dataclass
class Read:
    """What wrk saw."""

    requests: int
    failed: int
    median_ms: float
    p99_ms: float
    per_second: float


class Readers:
    """wrk, reading `paths` for `seconds` over `connections` connections."""

    def __init__(self, port: int, paths: Sequence[str], folder: Path, *, seconds: int, connections: int = 8) -> None:
        script = folder / "read.lua"
        script.write_text(_LUA.format(token=TOKEN, paths=json.dumps(list(paths))[1:-1]), "utf-8")
        command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "10s", "--latency"]
        command += ["-s", str(script), f"http://127.0.0.1:{port}"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def end(self) -> Read:
        """Wait for its end; what it said."""
        said, _ = self._process.communicate()
        found = re.search(r"BENCH (\d+) (\d+) ([\d.]+) ([\d.]+) ([\d.]+)", said)
        if found is None:
            raise SystemExit(f"wrk said:\n{said}")
        return Read(int(found[1]), int(found[2]), float(found[3]), float(found[4]), float(found[5]))


_LUA = """
local paths = {{ {paths} }}
local at = 0
request = function()
  at = at + 1
  return wrk.format("GET", paths[at % #paths + 1], {{ ["Authorization"] = "Bearer {token}" }})
end
done = function(summary, latency, requests)
  local e = summary.errors
  local failed = e.connect + e.read + e.write + e.status + e.timeout
  io.write(string.format("BENCH %d %d %.3f %.3f %.1f\\n", summary.requests, failed, latency:percentile(50) / 1000,
    latency:percentile(99) / 1000, summary.requests / (summary.duration / 1000000)))
end
"""


def demo_task(url: str) -> Task:
    """Orders of the demo's ERP, and its stock: new orders numbered by the ERP, counts of stock changed."""
    with psycopg.connect(url) as connection:
        [customer] = connection.execute(
            """SELECT trim("CUNUM") FROM "CUSTPF" WHERE "CUSTS" = 'A' ORDER BY 1 LIMIT 1"""
        ).fetchall()
        stock = connection.execute(
            'SELECT trim("STDEP"), trim("START") FROM "STOKPF" ORDER BY 1, 2 LIMIT 64'
        ).fetchall()

    def row(mark: str) -> dict[str, Any]:
        return {"orcus": customer[0], "ordat": "2026-11-20", "ornot": mark}

    def held(connection: psycopg.Connection[Any], key: str) -> int:
        depot, article = key.split(",")
        found = connection.execute(
            'SELECT "STQTY" FROM "STOKPF" WHERE trim("STDEP") = %s AND trim("START") = %s', (depot, article)
        ).fetchone()
        assert found is not None
        return int(found[0])

    def found(connection: psycopg.Connection[Any]) -> list[str]:
        return [mark for (mark,) in connection.execute('SELECT "ORNOT" FROM "ORDRPF" WHERE "ORNOT" IS NOT NULL')]

    return Task(
        table="ordrpf",
        row=row,
        found=found,
        changed_table="stokpf",
        own_key=lambda writer: ",".join(stock[writer]),
        values=lambda number: {"stqty": number},
        held=held,
    )
