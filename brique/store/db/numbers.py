"""Exact arithmetic on the values of one column, in store form; values that do not fit the column do not count."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal, localcontext
from typing import Any

from brique.schema import Column, Kind, Value, to_python

_EXACT_DIGITS = 12_000


def kept_as_int(column: Column) -> bool:
    return column.kind in (Kind.INTEGER, Kind.BOOLEAN) or (column.kind is Kind.DECIMAL and column.scale is not None)


def add(column: Column, values: Iterator[Value]) -> tuple[int, Any]:
    """Count and exact sum (store form; Decimal for decimals without a scale) of the values that fit `column`."""
    if column.kind is Kind.REAL:
        floats = [float(value) for value in values if isinstance(value, (int, float))]
        return len(floats), _float_sum(floats)
    if kept_as_int(column):
        whole = [value for value in values if isinstance(value, int)]
        return len(whole), sum(whole)
    with localcontext() as context:
        context.prec = _EXACT_DIGITS
        numbers = [to_python(column.kind, value) for value in values if value is not None and column.fits(value)]
        return len(numbers), sum(numbers, Decimal(0))


def plus(column: Column | None, left: Any, right: Any) -> Any:
    if column is None or kept_as_int(column):
        return left + right
    if column.kind is Kind.REAL:
        return _float_sum([left, right])
    with localcontext() as context:
        context.prec = _EXACT_DIGITS
        return left + right


def _float_sum(values: list[float]) -> float:
    """The correctly rounded sum, the same in whatever order the values come."""
    try:
        return math.fsum(values)
    except OverflowError:
        return math.inf if sum(value > 0 for value in values) * 2 >= len(values) else -math.inf
    except ValueError:
        return math.nan


def sum_python(column: Column, total: Any) -> Any:
    if column.kind is Kind.DECIMAL and column.scale is not None:
        return _scaled(total, column.scale)
    if column.kind is Kind.REAL:
        return float(total)
    return Decimal(total) if column.kind is Kind.DECIMAL else total


def _scaled(total: int, scale: int) -> Decimal:
    with localcontext() as context:
        context.prec = _EXACT_DIGITS
        return Decimal(total).scaleb(-scale)


def mean(column: Column, count: int, total: Any) -> Any:
    if not count:
        return None
    if column.kind is Kind.REAL:
        return float(total) / count
    return Decimal(sum_python(column, total)) / count
