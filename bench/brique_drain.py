"""brique's own side of `bench.drain`: `python -m bench.brique_drain drain FOLDER COUNT`.

Commands are put into the spool while brique stands still, as many as there are when a backend has been away for long;
then brique starts, and the mark in the backend tells how far it has come.
"""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path

import psycopg

from bench.drain import ROWS
from bench.peers.load import arguments
from bench.site import Site
from brique.app.roles import open_accounts
from brique.app.sources import from_data
from brique.clock import SystemClock, stamp
from brique.commands import Give, Ledger
from brique.schema import Change, Command
from brique.settings import Settings
from brique.spool import SqliteSpool
from brique.store import Store

_BATCH = 500
_AUTHOR = "bench"
_SECONDS_MAX = 120.0


def _keep(data: Path, url: str, count: int) -> None:
    """Put `count` commands into the spool and over the copy, each counting one row up; their author has an account, as
    the right to write is looked at again when they are sent."""
    clock = SystemClock()
    with closing(open_accounts(Settings(data=data))) as accounts:
        accounts.create_user(_AUTHOR, "a long password of the bench", "write")
    declared = from_data([url], data, kept=True).declared()
    table = declared.specs["drained"]
    with (
        closing(SqliteSpool(data / "spool")) as spool,
        closing(Store(data / "store.db", declared.specs, clock=clock)) as store,
    ):
        ledger = Ledger(spool, store, clock)
        ledger.catch_up()
        for start in range(0, count, _BATCH):
            ledger.handle(
                [Give(_command(place, table.backend, clock)) for place in range(start, min(start + _BATCH, count))]
            )


def _command(place: int, backend: str, clock: SystemClock) -> Command:
    key, n = str(place % ROWS), place // ROWS
    change = Change("drained", key, {"n": n}, {"n": n + 1})
    return Command(
        f"R{place:09d}", "update", _AUTHOR, "write", stamp(clock.now()), backend, (change,), digest=str(place)
    )


def _mark(connection: psycopg.Connection[tuple[int]]) -> int:
    found = connection.execute(
        "SELECT coalesce(max(position), 0) FROM brique_cursor WHERE stream NOT SIMILAR TO '%(@|#|!)%'"
    ).fetchone()
    return int(found[0]) if found else 0


def _until(connection: psycopg.Connection[tuple[int]], least: int, pause: float) -> int:
    """The mark, once it has come to `least`."""
    end = time.monotonic() + _SECONDS_MAX
    while (mark := _mark(connection)) < least:
        if time.monotonic() > end:
            raise SystemExit(f"brique has come to {mark}, and not to {least}, in {_SECONDS_MAX:g} s")
        time.sleep(pause)
    return mark


def main() -> None:
    _, folder, count, _ = arguments()
    url, data = os.environ["BENCH_POSTGRESQL"], Path(folder) / "data"
    command = ["up", url, "--data", str(data), "--marker"]
    with Site(command, data) as site:
        site.wait_ready()
        site.wait_loaded()
    _keep(data, url, count)
    with psycopg.connect(url, autocommit=True) as connection:
        before = _mark(connection)
        with Site(command, data):
            first = _until(connection, before + 1, 0.001)
            began = time.perf_counter()
            last = _until(connection, before + count, 0.002)
            print((last - first) / (time.perf_counter() - began))


if __name__ == "__main__":
    main()
