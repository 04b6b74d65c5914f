"""What runs inside uWSGI: writers in the first worker, `drain` in the spooler process."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import asdict
from pathlib import Path

import psycopg
import uwsgi
from uwsgidecorators import postfork

from bench.peers.load import PAYLOAD, threads

_RESULT = Path(os.environ["BENCH_RESULT"])
_NUMBER, _SECONDS = int(os.environ["BENCH_NUMBER"]), float(os.environ["BENCH_SECONDS"])
_state: dict[str, float] = {"done": 0}
_lines: list[psycopg.Connection[tuple[object, ...]]] = []


def _publish(text: str) -> None:
    aside = _RESULT.with_suffix(".new")
    aside.write_text(text)
    aside.rename(_RESULT)


def _note(task: dict[bytes, bytes]) -> int:
    """Called by the spooler for each task; OK deletes its file. While acknowledgements are counted it only waits."""
    if os.environ["BENCH_WHAT"] == "ack":
        time.sleep(3600)
    if not _lines:
        _lines.append(psycopg.connect(os.environ["BENCH_POSTGRESQL"], autocommit=True))
        _state["began"] = time.perf_counter()
    _lines[0].execute("UPDATE drained SET n = n + 1 WHERE id = %s", (int(task[b"number"]) % 1000,))
    _state["done"] += 1
    if _state["done"] == _NUMBER:
        _publish(str(_NUMBER / (time.perf_counter() - _state["began"])))
    return uwsgi.SPOOL_OK


uwsgi.spooler = _note
if os.environ["BENCH_WHAT"] == "drain":
    for _place in range(_NUMBER):
        uwsgi.spool({b"number": str(_place).encode(), b"payload": PAYLOAD.encode()})


def _write() -> None:
    def give(place: int) -> None:
        uwsgi.spool({b"number": str(place).encode(), b"payload": PAYLOAD.encode()})

    _publish(json.dumps(asdict(threads(give, _NUMBER, _SECONDS))))


@postfork
def start() -> None:
    if os.environ["BENCH_WHAT"] == "ack" and uwsgi.worker_id() == 1:
        threading.Thread(target=_write, daemon=True).start()
