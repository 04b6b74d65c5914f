"""Huey on SQLite, flushed: SqliteHuey(fsync=True)."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psycopg
from huey import SqliteHuey

from bench.peers.load import PAYLOAD, arguments, threads

what, folder, number, seconds = arguments()
Path(folder).mkdir(parents=True, exist_ok=True)
queue = SqliteHuey("bench", filename=f"{folder}/huey.db", fsync=True)
_URL = os.environ.get("BENCH_POSTGRESQL", "")
_lines: list[psycopg.Connection[tuple[object, ...]]] = []


@queue.task()
def note(number: int, payload: str) -> None:
    if not _lines:
        _lines.append(psycopg.connect(_URL, autocommit=True))
    _lines[0].execute("UPDATE drained SET n = n + 1 WHERE id = %s", (number % 1000,))


def main() -> None:
    if what == "ack":
        threads(lambda place: note(place, PAYLOAD), number, seconds).print()
        return
    for place in range(number):
        note(place, PAYLOAD)
    began = time.perf_counter()
    while (task := queue.dequeue()) is not None:
        queue.execute(task)
    print(number / (time.perf_counter() - began))


if __name__ == "__main__":
    main()
