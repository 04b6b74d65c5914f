"""Columns of Arrow batches as store values, a column at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from brique.backends import values as raw
from brique.backends.odbc.types import (
    BINARIES,
    BOUND_CHARACTERS_MAX,
    GUID,
    LONG_BINARIES,
    LONG_TEXTS,
    TEXTS,
    OdbcColumn,
    reader,
    understand,
)
from brique.schema import Column, Kind, Value

Parse = Callable[[Any], list[Value]]
_TYPES: dict[Kind, pa.DataType] = {
    Kind.INTEGER: pa.int64(),
    Kind.REAL: pa.float64(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.DATE: pa.date32(),
    Kind.DATETIME: pa.timestamp("us"),
}


def arrow_type(actual: OdbcColumn, offered: pa.DataType) -> pa.DataType | None:
    """The Arrow type to fetch a column as; None when it is to be fetched row by row.

    A driver may offer a narrower type than the values need (psqlODBC: 32 bits for `double precision`), so that the
    type follows from the column and not from the offer.
    """
    found = understand(actual)
    if actual.code == GUID or actual.code in TEXTS or found.kind in (Kind.TEXT, Kind.JSON):
        return pa.string()
    if actual.code in LONG_BINARIES:
        return None
    if actual.code in BINARIES:
        return offered if pa.types.is_binary(offered) or pa.types.is_fixed_size_binary(offered) else pa.binary()
    if found.kind is Kind.DECIMAL:
        return pa.decimal128(found.precision or 18, found.scale) if found.scale is not None else pa.string()
    if found.kind is Kind.TIME:
        return offered if pa.types.is_time(offered) else pa.string()
    return _TYPES.get(found.kind)


def is_unbounded(actual: OdbcColumn) -> bool:
    """Whether the longest value of a text has to be known before it is fetched in bulk."""
    if understand(actual).kind not in (Kind.TEXT, Kind.JSON):
        return False
    is_long = actual.code in LONG_TEXTS or actual.type == "text" or actual.type.startswith("_")
    return is_long or not actual.size or actual.size > BOUND_CHARACTERS_MAX


def parser(actual: OdbcColumn, column: Column) -> Parse:
    """What turns an Arrow array of this column into store values of `column`."""
    natural = understand(actual)
    is_same = column.kind is natural.kind and (column.kind is not Kind.DECIMAL or column.scale == natural.scale)
    if is_same and column.kind is Kind.TEXT and actual.code != GUID and column.decoder in ("", "trim"):
        return _trimmed if column.decoder else _texts
    if is_same and not column.decoder:
        if column.kind is Kind.DECIMAL and column.scale is not None:
            return _scaled
        if column.kind is Kind.DATETIME:
            return _moments_utc if actual.utc else _moments
        if column.kind in _PARSERS:
            return _PARSERS[column.kind]
    read = reader(actual, column)
    return lambda array: list(map(read, array.to_pylist()))


def _texts(array: Any) -> list[Value]:
    return [cell if cell is None or cell.isascii() else raw.nfc(cell) for cell in array.to_pylist()]


def _trimmed(array: Any) -> list[Value]:
    return [None if cell is None else raw.nfc(cell.rstrip(" ")) for cell in array.to_pylist()]


def _plain(array: Any) -> list[Value]:
    found: list[Value] = array.to_pylist()
    return found


def _booleans(array: Any) -> list[Value]:
    found: list[Value] = array.cast(pa.int8()).to_pylist()
    return found


def _reals(array: Any) -> list[Value]:
    cells = array.to_pylist()
    if pc.all(pc.is_finite(array), skip_nulls=True).as_py() is not False:
        return cells  # type: ignore[no-any-return]
    words = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
    return [words.get(str(cell), cell) for cell in cells]


def _scaled(array: Any) -> list[Value]:
    """Decimals of at most 18 digits as whole numbers: the low 64 bits of each of Arrow's 128-bit numbers."""
    numbers = memoryview(array.buffers()[1]).cast("B").cast("q")
    at = array.offset * 2
    low = numbers[at : at + 2 * len(array)].tolist()[::2]
    if array.null_count == 0:
        return low  # type: ignore[return-value]
    return [number if there else None for number, there in zip(low, array.is_valid().to_pylist(), strict=True)]


def _dates(array: Any) -> list[Value]:
    found: list[Value] = array.cast(pa.string()).to_pylist()
    return found


def _moments(array: Any) -> list[Value]:
    return [None if cell is None else f"{cell[:10]}T{cell[11:]}" for cell in array.cast(pa.string()).to_pylist()]


def _moments_utc(array: Any) -> list[Value]:
    return [None if cell is None else f"{cell[:10]}T{cell[11:]}Z" for cell in array.cast(pa.string()).to_pylist()]


def _times(array: Any) -> list[Value]:
    return [None if cell is None else raw.read_time(cell) for cell in array.cast(pa.string()).to_pylist()]


_PARSERS: dict[Kind, Parse] = {
    Kind.INTEGER: _plain,
    Kind.REAL: _reals,
    Kind.BOOLEAN: _booleans,
    Kind.DATE: _dates,
    Kind.TIME: _times,
    Kind.BINARY: _plain,
}
