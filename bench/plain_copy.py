"""The peer of the first copy: what anybody would write. `python -m bench.plain_copy URL FILE TABLES [--search]`

Reads each table with psycopg, five thousand rows at a time, and inserts them into SQLite in one transaction; then
makes the same indexes that brique makes: the key, and every column. With --search also brique's kind of full text
index, trigrams over the text columns. TABLES is a file that says what to copy. Prints seconds and peak memory as JSON.
"""

from __future__ import annotations

import datetime
import json
import resource
import sqlite3
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

ROWS = 5_000


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def copy_rows(source: psycopg.Connection[Any], target: sqlite3.Connection, table: dict[str, Any]) -> int:
    columns = ", ".join(map(quoted, table["columns"]))
    target.execute(f"CREATE TABLE {quoted(table['source'])}({columns})")
    insert = f"INSERT INTO {quoted(table['source'])} VALUES ({', '.join('?' * len(table['columns']))})"
    query = sql.SQL("SELECT {} FROM {}").format(
        sql.SQL(", ").join(map(sql.Identifier, table["columns"])), sql.Identifier(table["source"])
    )
    count = 0
    with source.cursor(name="copy") as cursor:
        cursor.itersize = ROWS
        cursor.execute(query)
        while rows := cursor.fetchmany(ROWS):
            target.executemany(insert, rows)
            count += len(rows)
    return count


def make_indexes(target: sqlite3.Connection, table: dict[str, Any]) -> None:
    name = table["source"]
    if table["key"]:
        key = ", ".join(map(quoted, table["key"]))
        target.execute(f"CREATE UNIQUE INDEX {quoted(name + ':key')} ON {quoted(name)}({key})")
    for column in table["indexed"]:
        target.execute(f"CREATE INDEX {quoted(name + ':' + column)} ON {quoted(name)}({quoted(column)})")


def make_search(target: sqlite3.Connection, table: dict[str, Any]) -> None:
    if not table["texts"]:
        return
    search = quoted(table["source"] + ":search")
    target.execute(f"CREATE VIRTUAL TABLE {search} USING fts5(text, tokenize='trigram', content='', detail=none)")
    text = " || ' ' || ".join(f"coalesce({quoted(column)}, '')" for column in table["texts"])
    target.execute(f"INSERT INTO {search}(rowid, text) SELECT rowid, {text} FROM {quoted(table['source'])}")


def main(url: str, file: str, tables: list[dict[str, Any]], *, search: bool) -> None:
    sqlite3.register_adapter(Decimal, str)
    sqlite3.register_adapter(datetime.date, datetime.date.isoformat)
    sqlite3.register_adapter(datetime.datetime, datetime.datetime.isoformat)
    began, cpu = time.perf_counter(), time.process_time()
    target = sqlite3.connect(file)
    target.execute("PRAGMA journal_mode=WAL")
    target.execute("PRAGMA synchronous=NORMAL")
    rows = 0
    with psycopg.connect(url) as source:
        for table in tables:
            rows += copy_rows(source, target, table)
            make_indexes(target, table)
            if search:
                make_search(target, table)
            target.commit()
    target.close()
    said = {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu,
        "rows": rows,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(Path(sys.argv[3]).read_text("utf-8")), search="--search" in sys.argv)
