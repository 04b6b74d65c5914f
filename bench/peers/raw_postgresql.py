"""PostgreSQL itself: an INSERT and a COMMIT for each, on a connection for each writer."""

from __future__ import annotations

import os
import threading

import psycopg

from bench.peers.load import PAYLOAD, arguments, threads


def main() -> None:
    _, _, writers, seconds = arguments()
    url = os.environ["BENCH_POSTGRESQL"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS raw(id bigserial PRIMARY KEY, key text, payload text)")
    mine = threading.local()
    opened = []

    def give(number: int) -> None:
        if not hasattr(mine, "connection"):
            mine.connection = psycopg.connect(url, autocommit=True)
            opened.append(mine.connection)
        mine.connection.execute("INSERT INTO raw(key, payload) VALUES (%s, %s)", (str(number), PAYLOAD))

    threads(give, writers, min(0.3, seconds))
    threads(give, writers, seconds).print()


if __name__ == "__main__":
    main()
