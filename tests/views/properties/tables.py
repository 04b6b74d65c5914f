"""Random tables: one that nothing refers from, one that refers to it, one that refers to both; and rows for them."""

from __future__ import annotations

from random import Random

from brique.schema import Column, Kind, Reference, Row, TableSpec, Value

_POOLS: dict[Kind, tuple[Value, ...]] = {
    Kind.TEXT: ("a", "A", "ab", "b", "Éa", "", None, 5),
    Kind.INTEGER: (0, 1, 1.0, 2, 3, -1, None, 2**62, "x"),
    Kind.DECIMAL: (0, 100, 100, 250, -30, None, 2**61, 1.5),
    Kind.REAL: (0.0, 1, 1.0, 2.5, -0.5, 1e16, None, "heavy"),
    Kind.DATE: ("2026-11-18", "2026-11-19", "2026-11-20", "2026-11-21", None, "20261119"),
    Kind.BOOLEAN: (0, 1, None),
}
_NAMES = {Kind.TEXT: "s", Kind.INTEGER: "i", Kind.DECIMAL: "d", Kind.REAL: "f", Kind.DATE: "y", Kind.BOOLEAN: "b"}
KEYS = 5
"""Rows of a table have a key from 1 to this: few, so that they meet."""


def random_specs(random: Random) -> dict[str, TableSpec]:
    """Three tables: `customer`, `order` (refers to it), `line` (refers to both, now and then with a key of two)."""
    specs: dict[str, TableSpec] = {}
    for name, targets in (("customer", ()), ("order", ("customer",)), ("line", ("order", "customer"))):
        text_key = name == "customer" and random.random() < 0.3
        keys = ("k", "n") if name == "line" and random.random() < 0.3 else ("k",)
        columns = [_column("k", Kind.TEXT if text_key else Kind.INTEGER)]
        columns += [_column("n", Kind.INTEGER)] if len(keys) == 2 else []
        references = []
        for target in targets:
            columns.append(_column(target, specs[target].key_columns[0].kind))
            references.append(Reference((target,), target, specs[target].key))
        for kind in random.sample(list(_NAMES), random.randint(2, 4)):
            columns.append(_column(_NAMES[kind], kind))
        labels = tuple(column.name for column in columns if column.kind is Kind.TEXT)[:1]
        specs[name] = TableSpec(
            name, name, "erp", name.title(), tuple(columns), keys, tuple(references), label_columns=labels
        )
    return specs


def _column(name: str, kind: Kind) -> Column:
    return Column(name, name, kind, name, scale=2 if kind is Kind.DECIMAL else None)


def key_value(spec: TableSpec, number: int) -> Value:
    return "abcdefghij"[number] if spec.key_columns[0].kind is Kind.TEXT else number


def random_value(random: Random, spec: TableSpec, column: Column, specs: dict[str, TableSpec]) -> Value:
    """A value for a column that is no key: rather one that others have too, sometimes one that does not fit."""
    reference = spec.reference_of.get(column.name)
    if reference is not None:
        return (
            None
            if random.random() < 0.15
            else key_value(specs[reference.table], random.choice((1, 1, 1, 2, 2, 3, 4, 5)))
        )
    return random.choice(_POOLS[column.kind][: None if random.random() < 0.3 else 5])


def random_row(random: Random, spec: TableSpec, specs: dict[str, TableSpec]) -> Row:
    row: Row = {column.name: random_value(random, spec, column, specs) for column in spec.columns}
    row["k"] = key_value(spec, random.randint(1, KEYS))
    if len(spec.key) == 2:
        row["n"] = random.randint(1, 2)
    return row
