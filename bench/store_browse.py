"""The store at a million rows: first load, diff, and pages of any sort, filter, search and depth.

`python bench/store_browse.py [ROWS] [FOLDER]` prints one line for each figure: name, value, unit. With a folder the
store is kept there and used again.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from brique.clock import SystemClock
from brique.schema import Column, Kind, Reference, Row, TableSpec, Value
from brique.store import Filter, ListQuery, Reader, StageWriter, Store, diff

CITIES = [
    "Dakar",
    "Thiès",
    "Saint-Louis",
    "Ziguinchor",
    "Kaolack",
    "Mbour",
    "Rufisque",
    "Touba",
    "Louga",
    "Tambacounda",
]
FIRST = [
    "Awa",
    "Moussa",
    "Fatou",
    "Ibrahima",
    "Mariama",
    "Ousmane",
    "Aïssatou",
    "Cheikh",
    "Ndèye",
    "Mamadou",
    "Élodie",
    "Jean",
    "Sophie",
    "Abdou",
]
LAST = [
    "Diop",
    "Ndiaye",
    "Fall",
    "Sow",
    "Faye",
    "Gueye",
    "Ba",
    "Sarr",
    "Cissé",
    "Diallo",
    "Kane",
    "Mbaye",
    "Seck",
    "Thiam",
    "Dupont",
    "Lefèvre",
]
STATES = ["open", "shipped", "invoiced", "paid", "cancelled"]
WORDS = [
    "vis",
    "boulon",
    "écrou",
    "plaque",
    "tube",
    "câble",
    "pompe",
    "filtre",
    "joint",
    "moteur",
    "courroie",
    "roulement",
    "vanne",
    "capteur",
    "relais",
]
CUSTOMERS = 20_000


def column(name: str, kind: Kind, scale: int | None = None) -> Column:
    return Column(name, name, kind, name, scale=scale)


CUSTOMER = TableSpec(
    "customers",
    "customers",
    "erp",
    "Customers",
    (column("id", Kind.INTEGER), column("name", Kind.TEXT), column("city", Kind.TEXT)),
    key=("id",),
    label_columns=("name",),
)
ORDER = TableSpec(
    "orders",
    "orders",
    "erp",
    "Orders",
    (
        column("id", Kind.INTEGER),
        column("customer", Kind.INTEGER),
        column("city", Kind.TEXT),
        column("contact", Kind.TEXT),
        column("article", Kind.TEXT),
        column("status", Kind.TEXT),
        column("ordered", Kind.DATE),
        column("amount", Kind.DECIMAL, 2),
        column("quantity", Kind.INTEGER),
        column("note", Kind.TEXT),
    ),
    key=("id",),
    references=(Reference(("customer",), "customers", ("id",)),),
    label_columns=("id",),
)
SPECS = {spec.name: spec for spec in (CUSTOMER, ORDER)}


def orders(count: int, changed: int = 0) -> Iterator[list[tuple[Value, ...]]]:
    chance = random.Random(7)
    batch: list[tuple[Value, ...]] = []
    for number in range(1, count + 1):
        day = number * 3650 // count
        batch.append(
            (
                number,
                chance.randrange(CUSTOMERS),
                chance.choice(CITIES),
                f"{chance.choice(FIRST)} {chance.choice(LAST)}",
                f"{chance.choice(WORDS)} {chance.choice(WORDS)} {chance.randrange(10_000):05d}",
                # Old orders are paid, the newest are open: a sort and a filter that pull apart.
                "open" if day > 3600 else chance.choice(STATES[1:]),
                f"{2016 + day // 365}-{day % 365 // 31 + 1:02d}-{day % 31 % 28 + 1:02d}",
                chance.randrange(1_000_000) + (changed and number % (count // changed) == 0),
                chance.randrange(500) if chance.random() > 0.05 else None,
                f"urgent {chance.randrange(1_000_000):06x}" if chance.random() < 0.1 else None,
            )
        )
        if len(batch) == 5_000:
            yield batch
            batch = []
    if batch:
        yield batch


def customers() -> Iterator[list[tuple[Value, ...]]]:
    chance = random.Random(8)
    yield [(n, f"{chance.choice(LAST)} & Fils {n:05d}", chance.choice(CITIES)) for n in range(CUSTOMERS)]


clock = time.thread_time if os.environ.get("CPU") else time.perf_counter
"""CPU=1 counts processor time instead: for a machine that others use."""


def say(name: str, value: float, unit: str) -> None:
    print(f"{name} {value:.3g} {unit}", flush=True)


def stage(path: Path, spec: TableSpec, batches: Iterator[list[tuple[Value, ...]]], search: bool) -> float:
    taken = 0.0
    with StageWriter(path, spec, search=search) as writer:
        for batch in batches:
            began = clock()
            writer.add(batch)
            taken += clock() - began
        began = clock()
        writer.finish()
        taken += clock() - began
    return taken


def load(store: Store, folder: Path, rows: int) -> None:
    stage(folder / "customers.stage", CUSTOMER, customers(), True)
    first = store.begin_load("customers", folder / "customers.stage")
    while first.step():
        pass
    say("store.stage_s", stage(folder / "orders.stage", ORDER, orders(rows), True), "s")
    steps: list[tuple[float, str]] = []
    began = clock()
    work = store.begin_load("orders", folder / "orders.stage", rows)
    more = True
    while more:
        started = clock()
        doing = store.reader.table_state("orders").loading
        more = work.step()
        steps.append((clock() - started, doing))
    say("store.load_s", clock() - began, "s")
    say("store.load_steps", len(steps), "steps")
    for part in ("rows", "indexes", "search", ""):
        say(f"store.load_{part or 'end'}_s", sum(s for s, doing in steps if doing == part), "s")
    longest = max(steps)
    say(f"store.load_longest_step_{longest[1] or 'end'}", longest[0] * 1000, "ms")
    began = clock()
    store.checkpoint(restart=True)
    say("store.checkpoint_s", clock() - began, "s")
    say("store.size_mb", (folder / "store.db").stat().st_size / 1e6, "MB")


def compare(reader: Reader, store: Store, folder: Path, rows: int) -> None:
    path = folder / "second.stage"
    say("store.stage_again_s", stage(path, ORDER, orders(rows, changed=1000), False), "s")
    for attempt in ("first", "again"):
        began = clock()
        upserts, deletes = diff(reader, path, ORDER)
        found = [item for batch in upserts for item in batch]
        gone = [key for batch in deletes for key in batch]
        say(f"store.diff_{attempt}_s", clock() - began, "s")
    say("store.diff_found", len(found) + len(gone), "rows")
    began = clock()
    with store.transaction() as tx:
        tx.apply_base("orders", found, gone)
    say("store.apply_1000_ms", (clock() - began) * 1000, "ms")


def scenarios(rows: int) -> dict[str, Callable[[random.Random], ListQuery]]:
    def ask(**given: object) -> Callable[[random.Random], ListQuery]:
        return lambda _: ListQuery(**given)  # type: ignore[arg-type]

    def by(column: str, descending: bool = False) -> tuple[tuple[str, bool], ...]:
        return ((column, descending),)

    result: dict[str, Callable[[random.Random], ListQuery]] = {"plain": ask()}
    for spec_column in ORDER.columns:
        result[f"sort_{spec_column.name}"] = ask(sort=by(spec_column.name))
        result[f"sort_{spec_column.name}_desc"] = ask(sort=by(spec_column.name, True))
    dense, rare = (Filter("status", "eq", "paid"),), (Filter("status", "eq", "open"),)
    result |= {
        "filter_dense": ask(filters=dense, sort=by("amount")),
        "filter_dense_far": ask(filters=rare, sort=by("ordered")),
        "filter_dense_near": ask(filters=rare, sort=by("ordered", True)),
        "filter_customer": lambda c: ListQuery(
            filters=(Filter("customer", "eq", c.randrange(CUSTOMERS)),), sort=by("amount", True)
        ),
        "filter_two_dense": ask(
            filters=(Filter("city", "eq", "Dakar"), Filter("status", "eq", "paid")), sort=by("contact")
        ),
        "filter_three": ask(
            filters=(Filter("city", "eq", "Dakar"), *dense, Filter("quantity", "eq", 77)), sort=by("amount")
        ),
        "filter_range_other_sort": ask(
            filters=(Filter("amount", "ge", 100_000), Filter("amount", "lt", 103_000)), sort=by("contact")
        ),
        "filter_narrow_range": ask(filters=(Filter("amount", "lt", 2000),), sort=by("contact")),
        "filter_null": ask(filters=(Filter("quantity", "null"),), sort=by("amount")),
        "filter_prefix": ask(filters=(Filter("article", "prefix", "pompe filtre 00"),), sort=by("ordered")),
        "filter_contains": ask(filters=(Filter("contact", "contains", "dupont"),), sort=by("ordered", True)),
        "filter_ne": ask(filters=(Filter("status", "ne", "paid"),), sort=by("city")),
        "search_rare": lambda c: ListQuery(search=f"{c.randrange(1_000_000):06x}"),
        "search_number": lambda c: ListQuery(search=str(c.randrange(1, rows))),
        "search_middling": lambda c: ListQuery(search=f"{c.choice(WORDS)} {c.randrange(100):05d}", sort=by("amount")),
        "search_some_1pct": lambda c: ListQuery(search=f"{c.choice(FIRST)} {c.choice(LAST)}", sort=by("amount")),
        "search_frequent": lambda c: ListQuery(search=c.choice(LAST), sort=by("ordered", True)),
        "search_two_words": lambda c: ListQuery(search=f"{c.choice(WORDS)} {c.choice(CITIES)}", sort=by("amount")),
        "search_two_letters": lambda c: ListQuery(search=c.choice(LAST)[:2], sort=by("ordered", True)),
        "search_one_letter": lambda c: ListQuery(search=c.choice("abcdefgmpstu"), sort=by("contact")),
        "search_nothing": ask(search="zzzzqqq"),
        "search_customer": lambda c: ListQuery(search=f"fils {c.randrange(CUSTOMERS):05d}", sort=by("ordered")),
        "search_and_filter": lambda c: ListQuery(search=c.choice(LAST), filters=rare, sort=by("amount")),
        "search_filter_sparse": lambda c: ListQuery(
            search=c.choice(FIRST), filters=(Filter("quantity", "eq", c.randrange(500)), *dense), sort=by("article")
        ),
        "pending_first": ask(pending_first=True, sort=by("ordered", True)),
    }
    return result


def deep(reader: Reader, rows: int) -> dict[str, Callable[[random.Random], ListQuery]]:
    """Pages from the middle of each order: the cursor of a row taken at random."""
    from brique.store.cursors import Place, encode

    def at(column: str, descending: bool, filters: tuple[Filter, ...] = ()) -> Callable[[random.Random], ListQuery]:
        def make(chance: random.Random) -> ListQuery:
            row = reader.row("orders", str(chance.randrange(1, rows)))
            assert row is not None
            cursor = encode(Place(row.values[column], row.id), f"{column}{'-' if descending else '+'}")
            way = "before" if chance.random() < 0.5 else "after"
            return ListQuery(sort=((column, descending),), filters=filters, **{way: cursor})  # type: ignore[arg-type]

        return make

    result = {f"deep_{c.name}{'_desc' * d}": at(c.name, bool(d)) for c in ORDER.columns for d in (0, 1)}
    result["deep_filtered"] = at("amount", False, (Filter("status", "eq", "paid"),))
    result["deep_filtered_city"] = at("contact", True, (Filter("city", "eq", "Mbour"),))
    return result


def browse(reader: Reader, rows: int, times: int) -> None:
    chance = random.Random(3)
    everything: list[float] = []
    asked = scenarios(rows) | deep(reader, rows)
    order = [name for name in asked for _ in range(times)]
    chance.shuffle(order)
    taken: dict[str, list[float]] = {name: [] for name in asked}
    for name in order:
        query = asked[name](chance)
        began = clock()
        reader.browse("orders", query)
        taken[name].append((clock() - began) * 1000)
    for name, values in taken.items():
        values.sort()
        everything += values
        late = values[min(len(values) - 1, int(len(values) * 0.99))]
        print(f"store.browse_{name} median {statistics.median(values):.2f} p99 {late:.2f} ms")
    everything.sort()
    say("pages.browse_median_ms", statistics.median(everything), "ms")
    say("pages.browse_p99_ms", everything[int(len(everything) * 0.99)], "ms")
    looked = []
    for _ in range(200):
        text = f"{chance.choice(LAST)[: chance.randrange(1, 5)]} {chance.randrange(100):02d}"
        began = clock()
        reader.lookup("customers", text, 20)
        looked.append((clock() - began) * 1000)
    looked.sort()
    say("store.lookup_p99_ms", looked[-2], "ms")


def main(rows: int, folder: Path) -> None:
    kept = (folder / "store.db").exists()
    store = Store(folder / "store.db", SPECS, clock=SystemClock())
    if not kept:
        load(store, folder, rows)
    reader = Reader(folder / "store.db", SPECS)
    compare(reader, store, folder, rows)
    browse(reader, rows, 40)
    row: Row = dict.fromkeys(ORDER.names) | {"id": rows + 1, "contact": "Jean Neuf"}
    began = clock()
    for number in range(200):
        with store.transaction() as tx:
            tx.apply_base("orders", [(str(rows + 1), row | {"quantity": number, "note": f"mot {number}"})], [])
    say("store.one_change_us", (clock() - began) / 200 * 1e6, "us")
    reader.close()
    store.close()


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    if len(sys.argv) > 2:
        Path(sys.argv[2]).mkdir(parents=True, exist_ok=True)
        main(count, Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as made:
            main(count, Path(made))
