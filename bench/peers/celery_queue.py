"""Celery on a Redis that flushes before each answer."""

from __future__ import annotations

import os
import threading
import time

import psycopg
from celery import Celery
from celery.signals import worker_ready

from bench.peers.load import PAYLOAD, arguments, threads

app = Celery("bench", broker=os.environ["BENCH_REDIS"])
app.conf.update(broker_pool_limit=64, task_ignore_result=True, task_acks_late=True, worker_prefetch_multiplier=1)
app.conf.worker_redirect_stdouts = False
_lines: list[psycopg.Connection[tuple[object, ...]]] = []
_done = threading.Event()
_left = [0]


@app.task(name="note")
def note(number: int, payload: str) -> None:
    if not _lines:
        _lines.append(psycopg.connect(os.environ["BENCH_POSTGRESQL"], autocommit=True))
    _lines[0].execute("UPDATE drained SET n = n + 1 WHERE id = %s", (number % 1000,))
    _left[0] -= 1
    if not _left[0]:
        _done.set()


def main() -> None:
    what, _, number, seconds = arguments()
    if what == "ack":
        app.conf.task_default_queue = "ack"
        threads(lambda place: note.apply_async((place, PAYLOAD), retry=False), number, seconds).print()
        return
    app.conf.task_default_queue = f"drain{os.getpid()}"
    for place in range(number):
        note.apply_async((place, PAYLOAD))
    _left[0] = number
    began: list[float] = []
    worker_ready.connect(lambda **_: began.append(time.perf_counter()), weak=False)
    worker = app.Worker(pool="solo", loglevel="ERROR", without_gossip=True, without_mingle=True, without_heartbeat=True)

    def end() -> None:
        _done.wait()
        print("\n", number / (time.perf_counter() - began[0]), flush=True)
        os._exit(0)

    threading.Thread(target=end, daemon=True).start()
    worker.start()


if __name__ == "__main__":
    main()
