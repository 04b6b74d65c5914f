"""PostgreSQL's types: which kind each is, and how its text output becomes store values, a column at a time. Pure.

The server writes every value as text (COPY and plain results alike, with the settings of `pg_line.PRELUDE`), so that
one parser for each category reads both. A cell is None for NULL. What a kind has no place for (`infinity`, `NaN`,
years before Christ) stays the text that PostgreSQL writes, and can be written back as such.
"""

from __future__ import annotations

import re
from binascii import unhexlify
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from brique.backends import values as raw
from brique.schema import Column, Kind, Value
from brique.schema import decimals as sortable

Cells = Sequence[str | None]
Parse = Callable[[Cells], list[Value]]
SCALED_DIGITS_MAX = 18
"""Digits of a decimal that fit a 64-bit integer whatever they are."""


@dataclass(frozen=True)
class PgType:
    """A column's type with its domains taken off. `name` is pg_type.typname, `typmod` its modifier (-1: none),
    `category` pg_type.typcategory, `written` the type as SQL writes it."""

    name: str
    typmod: int
    category: str
    written: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """The kind of a column and its measures."""

    kind: Kind
    length_max: int | None = None
    precision: int | None = None
    scale: int | None = None
    padded: bool = False


_KINDS = {
    "int2": Kind.INTEGER, "int4": Kind.INTEGER, "int8": Kind.INTEGER, "oid": Kind.INTEGER,
    "float4": Kind.REAL, "float8": Kind.REAL, "bool": Kind.BOOLEAN, "date": Kind.DATE, "time": Kind.TIME,
    "timestamp": Kind.DATETIME, "timestamptz": Kind.DATETIME, "bytea": Kind.BINARY,
    "json": Kind.JSON, "jsonb": Kind.JSON,
}  # fmt: skip


def understand(type_: PgType) -> Found:
    """The kind of a column of this type; text when brique knows no better one."""
    if type_.name == "numeric":
        return _numeric(type_.typmod)
    if type_.name == "money":
        return Found(Kind.DECIMAL, precision=SCALED_DIGITS_MAX, scale=2)
    if type_.name in ("varchar", "bpchar"):
        length = type_.typmod - 4 if type_.typmod > 4 else None
        return Found(Kind.TEXT, length_max=length, padded=type_.name == "bpchar")
    if type_.name in ("bit", "varbit"):
        return Found(Kind.TEXT, length_max=type_.typmod if type_.typmod > 0 else None)
    return Found(_KINDS.get(type_.name, Kind.TEXT))


def _numeric(typmod: int) -> Found:
    if typmod < 4:
        return Found(Kind.DECIMAL)
    precision = ((typmod - 4) >> 16) & 0xFFFF
    scale = (((typmod - 4) & 0x7FF) ^ 1024) - 1024
    if scale < 0:
        precision, scale = precision - scale, 0
    if precision > SCALED_DIGITS_MAX:
        return Found(Kind.DECIMAL, precision=precision)
    return Found(Kind.DECIMAL, precision=max(precision, scale), scale=scale)


def output(type_: PgType, cell: str) -> str:
    """The SQL expression whose text output the parser reads."""
    return f"{cell}::numeric" if type_.name == "money" else cell


def parser(type_: PgType, column: Column) -> Parse:
    """What turns the texts of this column into store values of `column`."""
    natural = understand(type_)
    same = column.kind is natural.kind and (column.kind is not Kind.DECIMAL or column.scale == natural.scale)
    if same and not column.decoder:
        if type_.name == "money":
            return partial(_each, partial(_decimal, scale=2))  # how many decimals there are depends on the locale
        return _direct(natural)
    if same and column.decoder == "trim":
        return _trimmed
    read = raw.reader(column, numbers_as_text=True) or _identity
    plain = _PLAIN.get(natural.kind, _identity)
    return partial(_each, lambda cell: read(plain(cell)))


def _direct(found: Found) -> Parse:
    if found.kind is Kind.DECIMAL:
        return partial(_decimals, scale=found.scale) if found.scale is not None else partial(_each, _sortable)
    return _PARSERS[found.kind]


def _identity(value: Value) -> Value:
    return value


def _each(read: Callable[[str], Value], cells: Cells) -> list[Value]:
    return [None if cell is None else read(cell) for cell in cells]


def _texts(cells: Cells) -> list[Value]:
    return [cell if cell is None or cell.isascii() else raw.nfc(cell) for cell in cells]


def _trimmed(cells: Cells) -> list[Value]:
    return [None if cell is None else raw.nfc(cell.rstrip(" ")) for cell in cells]


def _integers(cells: Cells) -> list[Value]:
    try:
        return list(map(int, cells))  # type: ignore[arg-type]  # None raises the TypeError that is caught
    except TypeError:
        return [None if cell is None else int(cell) for cell in cells]


def _reals(cells: Cells) -> list[Value]:
    if "NaN" not in cells and "Infinity" not in cells and "-Infinity" not in cells:
        return [None if cell is None else float(cell) for cell in cells]
    return [None if cell is None else _real(cell) for cell in cells]


def _real(cell: str) -> Value:
    return cell if cell in ("NaN", "Infinity", "-Infinity") else float(cell)


def _booleans(cells: Cells) -> list[Value]:
    return [None if cell is None else int(cell in ("t", "true")) for cell in cells]


def _decimals(cells: Cells, *, scale: int) -> list[Value]:
    """Cells of a type with a fixed scale: PostgreSQL writes exactly that many decimals."""
    try:
        return [None if cell is None else int(cell.replace(".", "")) for cell in cells]
    except ValueError:
        return [None if cell is None else _decimal(cell, scale) for cell in cells]  # NaN is among them


def _decimal(cell: str, scale: int) -> Value:
    number = raw.decimal_of(cell)
    return cell if number is None else raw.scaled(number, scale, cell)


def _sortable(cell: str) -> Value:
    number = raw.decimal_of(cell)
    try:
        return cell if number is None else sortable.encode(number)
    except ValueError:
        return cell


_ORDINARY = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?(\+00)?", re.ASCII)


def _moment(cell: str) -> Value:
    if len(cell) == 19 and cell[4] == "-":
        return f"{cell[:10]}T{cell[11:]}.000000"
    if not _ORDINARY.fullmatch(cell):
        return cell
    zone = "Z" if cell.endswith("+00") else ""
    body = cell.removesuffix("+00")
    return f"{body[:10]}T{body[11:19]}.{body[20:]:0<6}{zone}"


def _moments(cells: Cells) -> list[Value]:
    return [
        None
        if cell is None
        else f"{cell[:10]}T{cell[11:]}.000000"
        if len(cell) == 19 and cell[4] == "-"
        else _moment(cell)
        for cell in cells
    ]


def _bytes(cell: str) -> Value:
    return unhexlify(cell[2:]) if cell.startswith("\\x") else cell


_PARSERS: dict[Kind, Parse] = {
    Kind.TEXT: _texts,
    Kind.INTEGER: _integers,
    Kind.REAL: _reals,
    Kind.BOOLEAN: _booleans,
    Kind.DATE: list,
    Kind.DATETIME: _moments,
    Kind.TIME: partial(_each, raw.read_time),
    Kind.BINARY: partial(_each, _bytes),
    Kind.JSON: partial(_each, raw.read_json),
}
_PLAIN: dict[Kind, Callable[[str], Value]] = {
    Kind.INTEGER: int,
    Kind.REAL: _real,
    Kind.BOOLEAN: lambda cell: int(cell == "t"),
    Kind.DATETIME: _moment,
    Kind.BINARY: _bytes,
}
"""Texts of natural kinds as plain values, for a column that is declared as another kind."""


def literal(write: raw.Convert, value: Value) -> str | bytes | None:
    """A store value as PostgreSQL reads it (an untyped literal), by its column's writer; bytes for binary values."""
    written = write(value)
    if written is None or isinstance(written, (str, bytes)):
        return written
    return repr(written) if isinstance(written, float) else str(written)


_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def unescape(cells: Cells, *, only_nulls: bool) -> Cells:
    """The cells of one column as COPY writes them, with `\\N` as None and its escapes undone.

    `only_nulls`: no backslash is there but in `\\N`.
    """
    if only_nulls:
        return [None if cell == "\\N" else cell for cell in cells] if "\\N" in cells else cells
    return [cell if cell is None or "\\" not in cell else _unescaped(cell) for cell in cells]


def _unescaped(cell: str) -> str | None:
    return None if cell == "\\N" else _ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[1]), cell)
