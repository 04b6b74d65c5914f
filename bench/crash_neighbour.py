"""Another program that works on a SQLite file: `python -m bench.crash_neighbour FILE lock|half`.

It locks everybody out, or is in the middle of a transaction of which a half is written into the file; it prints a line
when it is there, and stays there until it is killed.
"""

from __future__ import annotations

import sqlite3
import sys

_LOCK_SECONDS = 60.0


def main(file: str, what: str) -> None:
    connection = sqlite3.connect(file, timeout=_LOCK_SECONDS, isolation_level=None)
    connection.execute("PRAGMA cache_size = 5")
    connection.execute("BEGIN EXCLUSIVE")
    if what == "half":
        connection.execute("UPDATE page SET text = text || 'y' WHERE id > 1")
    print(what, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
