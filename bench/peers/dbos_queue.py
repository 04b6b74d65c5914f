"""DBOS: workflows enqueued in PostgreSQL by its client."""

from __future__ import annotations

import os

from dbos import DBOS, DBOSClient

from bench.peers.load import PAYLOAD, arguments, threads


def main() -> None:
    _, _, writers, seconds = arguments()
    url = os.environ["BENCH_POSTGRESQL"].rsplit("/", 1)[0] + "/dbos"
    DBOS(config={"name": "bench", "system_database_url": url, "run_admin_server": False, "log_level": "CRITICAL"})
    DBOS.launch()
    DBOS.destroy()
    client = DBOSClient(system_database_url=url)
    options = {"queue_name": "bench", "workflow_name": "note"}
    threads(lambda place: client.enqueue(options, place, PAYLOAD), writers, seconds).print()
    client.destroy()


if __name__ == "__main__":
    main()
