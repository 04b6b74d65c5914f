"""Small parts for the store's tests: tables, a clock that is moved by hand, commands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from brique.schema import Change, Column, Command, Kind, Reference, Row, TableSpec, Value
from brique.store import StageWriter, Store


class HandClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def move(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def column(name: str, kind: Kind = Kind.TEXT, **more: object) -> Column:
    return Column(name, name, kind, name.capitalize(), **more)  # type: ignore[arg-type]


CUSTOMERS = TableSpec(
    "customers",
    "CUSTPF",
    "erp",
    "Customers",
    (column("number", Kind.INTEGER), column("name"), column("city")),
    key=("number",),
    label_columns=("name",),
)
ORDERS = TableSpec(
    "orders",
    "ORDRPF",
    "erp",
    "Orders",
    (
        column("id", Kind.INTEGER, defaulted=True),
        column("customer", Kind.INTEGER),
        column("status"),
        column("amount", Kind.DECIMAL, scale=2),
        column("note"),
        column("photo", Kind.BINARY),
    ),
    key=("id",),
    references=(Reference(("customer",), "customers", ("number",)),),
)
LINES = TableSpec(
    "order_lines",
    "LINEPF",
    "erp",
    "Lines",
    (column("order_id", Kind.INTEGER), column("line"), column("text", Kind.ANY)),
    key=("order_id", "line"),
)
LOOSE = TableSpec("loose", "loose", "files", "Loose", (column("a", Kind.ANY), column("b", Kind.ANY)), key=())
SPECS = {spec.name: spec for spec in (CUSTOMERS, ORDERS, LINES, LOOSE)}


def open_store(folder: Path, specs: Mapping[str, TableSpec] = SPECS, **more: object) -> Store:
    return Store(folder / "store.db", specs, clock=HandClock(), **more)  # type: ignore[arg-type]


def order(number: int, **values: Value) -> Row:
    return {**dict.fromkeys(ORDERS.names), "id": number, **values}


def command(identity: str, *changes: Change, user: str = "awa", backend: str = "erp") -> Command:
    return Command(identity, "edit", user, "stock", "2026-11-20T10:00:00.000000Z", backend, changes)


def update(key: str, before: Row, after: Row, table: str = "orders") -> Change:
    return Change(table, key, before, after)


def insert(key: str, after: Row, table: str = "orders") -> Change:
    return Change(table, key, None, after)


def delete(key: str, before: Row, table: str = "orders") -> Change:
    return Change(table, key, before, None)


def stage(path: Path, spec: TableSpec, rows: Iterable[Sequence[Value]], *, search: bool = False) -> Path:
    with StageWriter(path, spec, search=search) as writer:
        writer.add([tuple(row) for row in rows])
    return path


def load(store: Store, path: Path, spec: TableSpec, rows: Iterable[Sequence[Value]], **more: object) -> int:
    """Load rows and say how many steps it took."""
    work = store.begin_load(spec.name, stage(path, spec, rows), **more)  # type: ignore[arg-type]
    steps = 1
    while work.step():
        steps += 1
    return steps


def give(store: Store, spec: TableSpec, rows: Iterable[Row]) -> None:
    """Take rows over as source rows, and call the table loaded."""
    with store.transaction() as tx:
        tx.apply_base(spec.name, [(spec.key_of(row), row) for row in rows], [])
        tx.loaded(spec.name)


def visible(store: Store, spec: TableSpec) -> dict[str, tuple[Row, int]]:
    """All rows as people see them: values and pending mark by key."""
    found = store.connection.execute(f'SELECT * FROM "t_{spec.name}"')
    return {row[1]: (dict(zip(spec.names, row[4:], strict=True)), row[3]) for row in found}  # type: ignore[misc]
