"""A refresh of a table of a million rows of which a thousand have changed: reading, comparing, taking in.

From a SQLite file, through the product's own backend, stage, comparison and engine, in one process. Beside it the bare
reading of the same rows, and a load of everything anew.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw

from bench.erp import Workshop
from bench.figures import Figures
from brique.backends import open_backend
from brique.clock import SystemClock
from brique.schema import TableSpec, infer
from brique.store import Reader, StageWriter, Store, diff

CHANGED = 1_000
_WORDS = ("pâte", "farine", "riz", "sucre", "café", "thé", "savon", "huile", "lait", "sel")
_NOTE = (
    "One table of twelve columns (whole and decimal numbers, dates, moments, texts, some empty) with an index for each "
    "and search. read: the rows of the source, and nothing done with them. stage: the same, set down aside. diff: "
    "stage and copy compared. apply: the changes taken into the copy in one transaction. reload: all of it loaded anew."
)


def run(figures: Figures, workshop: Workshop) -> None:
    rows = 100_000 if workshop.quick else 1_000_000
    changed = CHANGED * rows // 1_000_000
    with workshop.scratch("refresh") as folder:
        source = _make_source(folder / "source.db", rows)
        with closing(open_backend("shop", str(source))) as backend:
            [spec] = infer(backend.catalogue(), "shop")
            specs = {spec.name: spec}
            with closing(Store(folder / "store.db", specs, clock=SystemClock())) as store:
                reload = _load(store, folder, backend, spec)
                reader = Reader(folder / "store.db", specs)
                found = [_one(store, reader, folder, backend, spec, source, changed, n) for n in range(3)]
                reader.close()
    figures.note(_NOTE)
    figures.add("rows", rows, "rows")
    figures.add("changed", changed, "rows")
    for name in ("read_s", "stage_s", "diff_s", "apply_s", "whole_s"):
        figures.add(name, statistics.median(one[name] for one in found), "s")
    figures.add("reload_s", reload, "s")
    whole, read = (statistics.median(one[name] for one in found) for name in ("whole_s", "read_s"))
    figures.add("vs_read", whole / read, "ratio")
    figures.add("vs_reload", whole / reload, "ratio")


def _make_source(path: Path, rows: int) -> Path:
    chance = random.Random(11)
    with closing(apsw.Connection(str(path))) as db:
        db.execute("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF")
        db.execute(
            "CREATE TABLE line(id INTEGER PRIMARY KEY, orders INTEGER NOT NULL, article TEXT NOT NULL, label TEXT, "
            "quantity INTEGER NOT NULL, price DECIMAL(12,2) NOT NULL, discount DECIMAL(5,2), day DATE NOT NULL, "
            "changed TIMESTAMP NOT NULL, status TEXT NOT NULL, place TEXT, note TEXT); BEGIN"
        )
        db.executemany("INSERT INTO line VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", (_row(chance, n) for n in range(rows)))
        db.execute("COMMIT")
    return path


def _row(chance: random.Random, number: int) -> tuple[Any, ...]:
    day = f"20{chance.randrange(20, 27)}-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02}"
    return (
        number, number // 4, f"A{chance.randrange(100_000):06}",
        f"{chance.choice(_WORDS)} {chance.choice(_WORDS)} {number % 977}", chance.randrange(1, 500),
        f"{chance.randrange(100_000) / 100:.2f}", None if number % 3 else f"{chance.randrange(2000) / 100:.2f}", day,
        f"{day} {chance.randrange(24):02}:15:00", chance.choice(("open", "sent", "paid")),
        chance.choice(("Dakar", None)),
        f"note {number}" if number % 5 == 0 else None,
    )  # fmt: skip


def _batches(backend: Any, spec: TableSpec) -> Iterator[Any]:
    with backend.snapshot() as snapshot:
        yield from snapshot.read(spec)


def _load(store: Store, folder: Path, backend: Any, spec: TableSpec) -> float:
    """All rows into the empty copy, as a first load does it."""
    started = time.perf_counter()
    with StageWriter(folder / "first.db", spec, search=True) as stage:
        for batch in _batches(backend, spec):
            stage.add(batch)
        staged = stage.finish()
    load = store.begin_load(spec.name, staged.path, staged.rows, began=0)
    while load.step():
        pass
    store.checkpoint(restart=True)
    return time.perf_counter() - started


def _one(
    store: Store, reader: Reader, folder: Path, backend: Any, spec: TableSpec, source: Path, changed: int, turn: int
) -> dict[str, float]:
    _change(source, changed, turn)
    found: dict[str, float] = {}
    started = time.perf_counter()
    count = sum(len(batch) for batch in _batches(backend, spec))
    found["read_s"] = time.perf_counter() - started
    assert count
    began = mark = time.perf_counter()
    with StageWriter(folder / "stage.db", spec) as stage:
        for batch in _batches(backend, spec):
            stage.add(batch)
        stage.finish()
    found["stage_s"], mark = time.perf_counter() - mark, time.perf_counter()
    upserts, deletes = diff(reader, folder / "stage.db", spec)
    rows = [item for part in upserts for item in part]
    gone = [key for part in deletes for key in part]
    found["diff_s"], mark = time.perf_counter() - mark, time.perf_counter()
    with store.transaction() as tx:
        tx.apply_base(spec.name, rows, gone, began=0)
    found["apply_s"] = time.perf_counter() - mark
    found["whole_s"] = time.perf_counter() - began
    if len(rows) != changed or gone:
        raise SystemExit(f"{len(rows)} rows were found changed and {len(gone)} gone; {changed} and 0 are right.")
    return found


def _change(source: Path, changed: int, turn: int) -> None:
    with closing(apsw.Connection(str(source))) as db:
        step = int(str(db.execute("SELECT count(*) FROM line").fetchone()[0])) // changed
        db.execute("UPDATE line SET quantity = quantity + 1 WHERE id % ? = ?", (step, turn))


__all__ = ["run"]
