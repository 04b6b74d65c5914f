"""The first copy: from the command to the first page and to a million rows browsable, beside a plain copy loop."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg

from bench.erp import Workshop
from bench.figures import Figures
from bench.site import Site
from brique.app import Run, declared_of
from brique.schema import Kind
from brique.settings import load


def run(figures: Figures, workshop: Workshop) -> None:
    _from_demo(figures, workshop)
    url = workshop.demo.url
    repeats = 1 if workshop.quick else 2
    plain: list[dict[str, Any]] = []
    searching: list[dict[str, Any]] = []
    brique: list[dict[str, float]] = []
    for _ in range(repeats):
        with workshop.scratch("copy") as folder:
            tables = folder / "tables.json"
            tables.write_text(json.dumps(_tables(url, folder)), "utf-8")
            plain.append(_plain(url, folder / "plain.db", tables))
            searching.append(_plain(url, folder / "search.db", tables, "--search"))
            brique.append(_brique(url, folder / "data"))
    _say(figures, plain, searching, brique)
    rows, whole = _sizes(url)
    store = statistics.median(item["size"] for item in brique)
    figures.add("backend_rows_mb", rows / 1e6, "MB")
    figures.add("backend_mb", whole / 1e6, "MB")
    figures.add("store_mb", store / 1e6, "MB")
    figures.add("store_vs_backend_rows", store / rows, "ratio")
    figures.note("backend_rows_mb: the tables without their indexes, backend_mb with them; store_mb: the whole copy.")


def _say(
    figures: Figures, plain: list[dict[str, Any]], searching: list[dict[str, Any]], brique: list[dict[str, float]]
) -> None:
    def middle(found: list[dict[str, Any]], name: str) -> float:
        return statistics.median(item[name] for item in found)

    figures.note(
        "brique: from the command `brique up postgresql://…` (inference, processes, first copy with all indexes and "
        "search) until every table is there. Peer: a Python loop, psycopg to sqlite3, same rows, same indexes."
    )
    figures.add("rows", middle(plain, "rows"), "rows")
    figures.add("first_page_s", middle(brique, "ready"), "s")
    figures.add("loaded_s", middle(brique, "loaded"), "s")
    figures.add("plain_s", middle(plain, "seconds"), "s")
    figures.add("plain_with_search_s", middle(searching, "seconds"), "s")
    figures.add("vs_plain", middle(brique, "loaded") / middle(plain, "seconds"), "ratio")
    figures.add("vs_plain_with_search", middle(brique, "loaded") / middle(searching, "seconds"), "ratio")
    figures.add("peak_mb", middle(brique, "own") / 1e6, "MB")
    figures.add("peak_resident_mb", middle(brique, "resident") / 1e6, "MB")
    figures.add("plain_peak_mb", middle(searching, "peak_bytes") / 1e6, "MB")
    figures.add("peak_vs_plain", middle(brique, "own") / middle(searching, "peak_bytes"), "ratio")
    figures.note(
        "peak_mb: engine and backend process together, at the worst moment, without pages of mapped files, which "
        "peak_resident_mb counts and the system takes back when it needs them."
    )


def _from_demo(figures: Figures, workshop: Workshop) -> None:
    """`brique demo` on an empty folder: the ERP is made, then served."""
    lines = workshop.lines
    demo = workshop.folder / f"erp-{lines}"
    if demo.exists():
        figures.note("The demo's ERP was there already: the time of `brique demo` from nothing is left out.")
        return
    site = Site(["demo", "--folder", str(demo), "--lines", str(lines)], demo / "brique")
    site.log = workshop.folder / "demo.log"
    with site:
        ready = site.wait_ready(900)
        loaded = site.wait_loaded(1800)
    figures.add("demo_first_page_s", ready, "s")
    figures.add("demo_loaded_s", loaded, "s")


def _tables(url: str, folder: Path) -> list[dict[str, Any]]:
    """What brique infers, for the peer to copy the same."""
    settings = load({"data": str(folder / "look")})
    declared = declared_of(Run((url,), settings.as_json()))
    return [
        {
            "source": spec.source,
            "columns": [column.source for column in spec.columns],
            "key": [column.source for column in spec.key_columns],
            "indexed": [column.source for column in spec.columns if column.kind not in (Kind.BINARY, Kind.JSON)],
            "texts": [column.source for column in spec.columns if column.kind is Kind.TEXT],
        }
        for spec in declared.specs.values()
    ]


def _plain(url: str, file: Path, tables: Path, *more: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.plain_copy", url, str(file), str(tables), *more]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def _brique(url: str, data: Path) -> dict[str, float]:
    with Site(["up", url, "--data", str(data)], data) as site:
        site.watch_memory()
        ready = site.wait_ready()
        loaded = site.wait_loaded()
        time.sleep(0.2)
        size = (data / "store.db").stat().st_size
        return {"ready": ready, "loaded": loaded, "resident": site.peak.resident, "own": site.peak.own, "size": size}


def _sizes(url: str) -> tuple[int, int]:
    """Bytes of the tables in the backend: their rows, and with their indexes."""
    with psycopg.connect(url) as database:
        row = database.execute(
            "SELECT sum(pg_table_size(oid)), sum(pg_total_relation_size(oid)) FROM pg_class "
            "WHERE relkind = 'r' AND relnamespace NOT IN "
            "(SELECT oid FROM pg_namespace WHERE nspname LIKE 'pg_%' OR nspname = 'information_schema')"
        ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


__all__ = ["run"]
