"""The copy on which lives are lived: of a data folder's store, or of rows made up from the tables alone."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import apsw

from brique.clock import Clock
from brique.errors import BadConfiguration, NoRoom
from brique.schema import Column, Kind, Row, TableSpec, Value
from brique.store import Store

ROWS_MADE_UP = 60
_WORDS = ("Aminata", "Moussa", "Awa", "Thiès", "Dakar", "open", "closed", "sent", "Cement 25 kg", "é à ü")


def copy_store(source: Path, target: Path) -> int:
    """Copy the store at `source`, which may be in use, to `target`, without its ready bytes; how many bytes it has.

    Raises NoRoom. The source is only read.
    """
    size = source.stat().st_size
    free = shutil.disk_usage(target.parent).free
    if size * 2.5 > free:
        raise NoRoom(
            f"A copy of {source.name} ({size // 2**20} MiB) and one to live on do not fit into {target.parent}.",
            try_this="set TMPDIR to a folder with more room",
        )
    reading = apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READONLY)
    writing = apsw.Connection(str(target))
    try:
        with writing.backup("main", reading, "main") as work:
            while not work.done:
                work.step(10_000)
    finally:
        reading.close()
        writing.close()
    return size


def made_up(
    path: Path, specs: Mapping[str, TableSpec], clock: Clock, random: Random, *, only_empty: bool = False
) -> list[str]:
    """Fill the tables of the store at `path` (made when it is not there) with random rows; the names of those filled.

    `only_empty`: those that have no row. Tables that others refer to come first, so that references lead somewhere.
    """
    store = Store(path, specs, clock=clock)
    store.connection.execute("PRAGMA synchronous=OFF")
    made: dict[str, list[Row]] = {}
    try:
        for spec in _in_order(specs):
            if not spec.key or (only_empty and store.reader.table_state(spec.name).rows):
                continue
            rows = {spec.key_of(row): row for row in _rows(spec, made, random)}
            made[spec.name] = list(rows.values())
            with store.transaction() as tx:
                tx.loaded(spec.name)
                tx.apply_base(spec.name, list(rows.items()))
        store.checkpoint(restart=True)
    finally:
        store.close()
    if not any(spec.key for spec in specs.values()):
        raise BadConfiguration("No table has a key: there is nothing to change.")
    return list(made)


def _in_order(specs: Mapping[str, TableSpec]) -> list[TableSpec]:
    done: dict[str, TableSpec] = {}

    def add(spec: TableSpec, above: tuple[str, ...]) -> None:
        for reference in spec.references:
            if reference.table in specs and reference.table not in (*above, spec.name):
                add(specs[reference.table], (*above, spec.name))
        done.setdefault(spec.name, spec)

    for spec in specs.values():
        add(spec, ())
    return list(done.values())


def _rows(spec: TableSpec, made: Mapping[str, list[Row]], random: Random) -> list[Row]:
    rows: list[Row] = []
    for number in range(1, ROWS_MADE_UP + 1):
        row: Row = {column.name: any_value(column, random, number) for column in spec.columns}
        for reference in spec.references:
            targets = rows if reference.table == spec.name else made.get(reference.table)
            if targets:
                target = random.choice(targets[: ROWS_MADE_UP // 3])  # few, so that several refer to the same
                row.update(
                    {mine: target[its] for mine, its in zip(reference.columns, reference.target_columns, strict=True)}
                )
        rows.append(row)
    return rows


def any_value(column: Column, random: Random, number: int = 0) -> Value:
    """A value that the column may hold; of a row's `number`, other numbers give other keys."""
    if column.choices:
        return column.store(random.choice(column.choices))
    chance = random.randint(1, 9)
    day = date(2026, 11, 20) - timedelta(days=random.randint(-3, 400))
    values: dict[Kind, Any] = {
        Kind.TEXT: f"{random.choice(_WORDS)} {number or chance}"[: column.length_max or 60],
        Kind.INTEGER: number or chance,
        Kind.DECIMAL: Decimal(chance),
        Kind.REAL: chance / 2,
        Kind.BOOLEAN: chance > 5,
        Kind.DATE: day,
        Kind.DATETIME: datetime.fromisoformat(f"{day}T10:0{chance}:00+00:00"),
        Kind.TIME: datetime.fromisoformat(f"{day}T10:0{chance}:00").time(),
        Kind.BINARY: bytes([chance]),
        Kind.JSON: {"n": chance},
        Kind.ANY: chance,
    }
    try:
        return column.store(values[column.kind])
    except (ValueError, TypeError):
        return None if column.nullable else column.store(str(number or chance)) if column.kind is Kind.TEXT else None
