"""Sums below a list, where a sum means anything."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

from brique.schema import Column, Kind, TableSpec, Value
from brique.views import StoredRow

_NO_SUM = re.compile(
    r"%|\b(price|prix|unit|unitaire|rate|taux|percent|pourcent\w*|discount|remise|ratio|year|annee|année|age|âge|"
    r"month|mois|code|number|numero|numéro|latitude|longitude|lat|lon|rank|rang|level|niveau|version|line|ligne|"
    r"position|zip|phone|limit|minimum|maximum|min|max|seuil|alert|alerte|plafond)\b",
    re.IGNORECASE,
)


def is_summable(spec: TableSpec, column: Column) -> bool:
    """Whether adding up values of `column` tells anything: not keys, references, prices, rates and years."""
    if not column.kind.numeric or column.name in spec.key or column.name in spec.reference_of:
        return False
    if any(column.name in reference.columns for reference in spec.references):
        return False
    return not _NO_SUM.search(f"{column.name.replace('_', ' ')} {column.label}")


def total_of(spec: TableSpec, column: Column, rows: Iterable[StoredRow]) -> Value:
    """The sum of `column` over `rows` as a store value; None when it has none. Wrong-typed values do not count."""
    if not is_summable(spec, column):
        return None
    values = [row.values[column.name] for row in rows]
    if column.kind is Kind.DECIMAL and column.scale is None:
        numbers = [python for value in values if isinstance(python := column.python(value), Decimal)]
        return column.store(sum(numbers, Decimal(0))) if numbers else None
    plain = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    return sum(plain) if plain else None
