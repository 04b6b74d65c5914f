"""Kept work carried out: one row of PostgreSQL counted up for each, in order; brique beside queues of today."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

import psycopg

from bench.erp import Workshop
from bench.figures import Figures
from bench.peers import servers

PEERS = {
    "uwsgi": ("uwsgi_spooler", 5_000),
    "huey": ("huey_queue", 2_000),
    "jetstream": ("jetstream", 2_000),
    "procrastinate": ("procrastinate_queue", 1_000),
    "celery": ("celery_queue", 1_000),
}
ROWS = 1_000
_NOTES = (
    "Each piece of work adds 1 to one of 1,000 rows of the same PostgreSQL, flushed at each commit; one worker; rounds "
    "interleaved, medians of the ratios of each round.",
    "brique: what was kept while the backend was away, sent by a whole brique with the marker table, in order, exactly "
    "once; from the first transaction seen there to the last. uWSGI, Celery (acks_late), JetStream (ack_sync) and "
    "Procrastinate repeat work after a crash, Huey loses it.",
)


def run(figures: Figures, workshop: Workshop) -> None:
    rounds, count = (1, 5_000) if workshop.quick else (5, 50_000)
    for note in _NOTES:
        figures.note(note)
    found: dict[str, list[float]] = defaultdict(list)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="brique-drain-", dir="/var/tmp")))
        folder.chmod(0o755)
        env = {**os.environ, **stack.enter_context(servers.all_of(folder))}
        programs = {"brique": ("bench.brique_drain", count)}
        programs |= {name: (f"bench.peers.{module}", few) for name, (module, few) in PEERS.items()}
        for turn in range(rounds):
            names = list(programs) if turn % 2 == 0 else list(reversed(programs))
            for name in names:
                module, number = programs[name]
                number = number // 5 if workshop.quick and name in PEERS else number
                found[name].append(_one(module, folder / f"{name}-{turn}", number, env))
    for name, rates in found.items():
        figures.add(f"{name}.rate", statistics.median(rates), "commands/s")
    for name in PEERS:
        ratios = [mine / other for mine, other in zip(found["brique"], found[name], strict=True)]
        figures.add(f"vs_{name}", statistics.median(ratios), "x")


def _one(module: str, home: Path, count: int, env: dict[str, str]) -> float:
    home.mkdir()
    with psycopg.connect(env["BENCH_POSTGRESQL"], autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS drained, brique_cursor")
        connection.execute("CREATE TABLE drained(id integer PRIMARY KEY, n bigint NOT NULL)")
        connection.execute(f"INSERT INTO drained SELECT i, 0 FROM generate_series(0, {ROWS - 1}) i")
        command = [sys.executable, "-m", module, "drain", str(home), str(count)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
        try:
            rate = float(done.stdout.split()[-1])
        except (IndexError, ValueError):
            raise SystemExit(f"{module} said: {done.stdout[-1000:]}{done.stderr[-3000:]}") from None
        [(total,)] = connection.execute("SELECT sum(n) FROM drained").fetchall()
        if int(total) != count:
            raise SystemExit(f"{module}: {count} pieces of work came to {total}")
    return rate


if __name__ == "__main__":
    run(Figures("drain", quick=True), Workshop(quick=True))
