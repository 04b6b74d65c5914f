"""Procrastinate: tasks in PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import time

import procrastinate
import psycopg

from bench.peers.load import PAYLOAD, arguments, threads

_URL = os.environ["BENCH_POSTGRESQL"]
what, _, number, seconds = arguments()
deferring = procrastinate.App(connector=procrastinate.SyncPsycopgConnector(conninfo=_URL, max_size=64))
working = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=_URL))


@working.task(name="note", pass_context=False)
async def note(number: int, payload: str) -> None:
    async with _pool().connection() as connection:
        await connection.execute("UPDATE drained SET n = n + 1 WHERE id = %s", (number % 1000,))


def _pool() -> object:
    return working.connector.pool


def main() -> None:
    with psycopg.connect(_URL, autocommit=True) as connection:
        found = connection.execute("SELECT to_regclass('procrastinate_jobs')").fetchone()
    with deferring.open():
        if found == (None,):
            deferring.schema_manager.apply_schema()
        task = deferring.configure_task("note", queue=what, allow_unknown=True)
        if what == "ack":
            threads(lambda place: task.defer(number=place, payload=PAYLOAD), number, seconds).print()
            return
        for start in range(0, number, 500):
            batch = [{"number": place, "payload": PAYLOAD} for place in range(start, min(start + 500, number))]
            task.batch_defer(*batch)
    print(asyncio.run(_drain(number)))


async def _drain(count: int) -> float:
    async with working.open_async():
        began = time.perf_counter()
        await working.run_worker_async(
            queues=["drain"], wait=False, concurrency=1, listen_notify=False, install_signal_handlers=False
        )
        return count / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
