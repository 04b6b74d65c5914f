"""The types of MariaDB and MySQL: which kind each is, how its text becomes store values a column at a time, and back.

Pure. A cell is the bytes that the server wrote, None for NULL. What a kind has no place for (`0000-00-00`, a duration
of 120 hours, a number beyond 64 bits) stays the text that the server writes, and can be written back as such.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial

from brique.backends import values as raw
from brique.schema import Column, Kind, Value
from brique.schema import decimals as sortable

Cells = Sequence[bytes | None]
Parse = Callable[[Cells], list[Value]]
SCALED_DIGITS_MAX = 18
"""Digits of a decimal that fit a 64-bit integer whatever they are."""


@dataclass(frozen=True)
class MyType:
    """A column's type. `name` is its DATA_TYPE, `written` its COLUMN_TYPE, `length` counts characters (bytes of a
    binary column), `fraction` the digits of seconds. `is_json`: MariaDB keeps JSON as text that it checks."""

    name: str
    written: str
    length: int | None = None
    precision: int | None = None
    scale: int | None = None
    fraction: int = 0
    is_json: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether two of its values are the same when SQL says that they are equal."""
        return self.name in _EXACT

    @property
    def choices(self) -> tuple[str, ...]:
        """The values of an ENUM, in their order."""
        if self.name != "enum":
            return ()
        return tuple(text.replace("''", "'") for text in re.findall(r"'((?:[^']|'')*)'", self.written))


@dataclass(frozen=True)
class Found:
    """The kind of a column and its measures."""

    kind: Kind
    length_max: int | None = None
    precision: int | None = None
    scale: int | None = None
    padded: bool = False


_KINDS = {
    "tinyint": Kind.INTEGER, "smallint": Kind.INTEGER, "mediumint": Kind.INTEGER, "int": Kind.INTEGER,
    "bigint": Kind.INTEGER, "year": Kind.INTEGER, "bit": Kind.INTEGER, "float": Kind.REAL, "double": Kind.REAL,
    "date": Kind.DATE, "time": Kind.TIME, "datetime": Kind.DATETIME, "timestamp": Kind.DATETIME, "json": Kind.JSON,
    "tinyblob": Kind.BINARY, "blob": Kind.BINARY, "mediumblob": Kind.BINARY, "longblob": Kind.BINARY,
    "binary": Kind.BINARY, "varbinary": Kind.BINARY, "vector": Kind.BINARY,
}  # fmt: skip
_SHAPES = (
    "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection",
    "geomcollection",
)  # fmt: skip
_TEXTS = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set")


_EXACT = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "year", "date"})


def understand(type_: MyType) -> Found:
    """The kind of a column of this type; text when brique knows no better one."""
    if type_.is_json:
        return Found(Kind.JSON)
    if type_.name == "decimal":
        precision = type_.precision or SCALED_DIGITS_MAX
        return Found(Kind.DECIMAL, precision=precision, scale=type_.scale if precision <= SCALED_DIGITS_MAX else None)
    if type_.written.startswith(("tinyint(1)", "bit(1)")) and "zerofill" not in type_.written:
        return Found(Kind.BOOLEAN)
    if type_.name in ("char", "varchar"):
        return Found(Kind.TEXT, length_max=type_.length, padded=type_.name == "char")
    return Found(_KINDS.get(type_.name, Kind.TEXT))


def better(kind: Kind, values: Sequence[Value]) -> Kind:
    """What a column is when `values` are in it: TINYINT(1) that counts is no yes or no, TIME beyond a day no clock."""
    if kind is Kind.BOOLEAN and any(value not in (0, 1, None) for value in values):
        return Kind.INTEGER
    if kind is Kind.TIME and any(value is not None and not _CLOCK.fullmatch(str(value)) for value in values):
        return Kind.TEXT
    return kind


_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?", re.ASCII)


def output(type_: MyType, cell: str) -> str:
    """The SQL expression whose text the parser reads. A FLOAT is written on six digits, unless it is made a DOUBLE."""
    if type_.name == "bit":
        return f"{cell} + 0"
    if type_.name == "float":
        return f"{cell} + 0e0"
    return f"ST_AsText({cell})" if type_.name in _SHAPES else cell


def parser(type_: MyType, column: Column) -> Parse:
    """What turns the cells of this column into store values of `column`."""
    natural = understand(type_)
    same = column.kind is natural.kind and (column.kind is not Kind.DECIMAL or column.scale == natural.scale)
    if same and column.decoder in ("", "trim"):
        plain = _direct(type_, natural)
        return partial(_trimmed, plain) if column.decoder else plain
    if column.kind is Kind.INTEGER and natural.kind is Kind.BOOLEAN and not column.decoder:
        return _integers
    read = raw.reader(column, numbers_as_text=True) or _same
    return partial(_again, read, _plain(type_, natural))


def _plain(type_: MyType, natural: Found) -> Parse:
    """Cells as plain values, for a column that is declared as another kind: numbers whose text matters as text."""
    return _texts if natural.kind in (Kind.DECIMAL, Kind.DATE, Kind.TIME, Kind.JSON) else _direct(type_, natural)


def _direct(type_: MyType, found: Found) -> Parse:
    if found.kind is Kind.DECIMAL:
        return partial(_decimals, scale=found.scale) if found.scale is not None else partial(_each, _sortable)
    if type_.name == "float":
        return partial(_each, _single)
    if type_.name == "timestamp":
        return partial(_moments, zone="Z")
    return _PARSERS[found.kind]


def _same(value: Value) -> Value:
    return value


def _again(read: raw.Convert, plain: Parse, cells: Cells) -> list[Value]:
    return [None if value is None else read(value) for value in plain(cells)]


def _each(read: Callable[[bytes], Value], cells: Cells) -> list[Value]:
    return [None if cell is None else read(cell) for cell in cells]


def decode(cell: bytes) -> Value:
    """Text; bytes that are not what the column's character set says stay bytes."""
    try:
        text = cell.decode()
    except UnicodeDecodeError:
        return cell
    return text if text.isascii() else raw.nfc(text)


def _texts(cells: Cells) -> list[Value]:
    try:
        joined = b"\n".join(cells)  # type: ignore[arg-type]  # None raises the TypeError that is caught
        if joined.count(b"\n") == len(cells) - 1 and joined.isascii():
            return list(joined.decode().split("\n"))  # several times quicker than cell by cell
    except TypeError:
        pass
    return [None if cell is None else decode(cell) for cell in cells]


def _trimmed(plain: Parse, cells: Cells) -> list[Value]:
    return [value.rstrip(" ") if isinstance(value, str) else value for value in plain(cells)]


def _integers(cells: Cells) -> list[Value]:
    try:
        found = list(map(int, cells))  # type: ignore[arg-type]  # None raises the TypeError that is caught
        if not found or max(found) <= raw.INTEGER_MAX:
            return list(found)
    except TypeError:
        pass
    return [None if cell is None else _integer(cell) for cell in cells]


def _integer(cell: bytes) -> Value:
    number = int(cell)
    return number if number <= raw.INTEGER_MAX else str(number)


def _single(cell: bytes) -> Value:
    """The shortest number that is the same in single precision."""
    number = float(cell)
    for digits in range(6, 10):
        short = float(f"{number:.{digits}g}")
        if as_single(short) == number:
            return short
    return number


def as_single(number: float) -> float:
    """`number` as single precision holds it."""
    try:
        found: float = struct.unpack("f", struct.pack("f", number))[0]
    except OverflowError:
        return number
    return found


def _decimals(cells: Cells, *, scale: int) -> list[Value]:
    """Cells of a type with a fixed scale: the server writes exactly that many decimals."""
    return [None if cell is None else int(cell.replace(b".", b"")) for cell in cells]


def _sortable(cell: bytes) -> Value:
    text = cell.decode()
    number = raw.decimal_of(text)
    try:
        return text if number is None else sortable.encode(number)
    except ValueError:
        return text


def _moments(cells: Cells, *, zone: str = "") -> list[Value]:
    return [None if cell is None else _moment(cell.decode(), zone) for cell in cells]


def _moment(cell: str, zone: str) -> str:
    if "-00" in cell or cell.startswith("0000"):
        return cell  # no moment at all
    return f"{cell[:10]}T{cell[11:19]}.{cell[20:]:0<6}{zone}"


_PARSERS: dict[Kind, Parse] = {
    Kind.TEXT: _texts,
    Kind.INTEGER: _integers,
    Kind.BOOLEAN: _integers,
    Kind.REAL: partial(_each, float),
    Kind.DATE: _texts,
    Kind.DATETIME: _moments,
    Kind.TIME: partial(_each, lambda cell: raw.read_time(cell.decode())),
    Kind.BINARY: list,
    Kind.JSON: partial(_each, lambda cell: raw.read_json(decode(cell))),
}

# in

_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][-+]?\d+)?", re.ASCII)
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?Z?", re.ASCII)
_TIME = re.compile(r"(-?\d+:\d\d:\d\d)(?:\.(\d{1,6}))?", re.ASCII)
_NUMERIC = ("tinyint", "smallint", "mediumint", "int", "bigint", "year", "bit", "decimal", "float", "double")


def quote(text: str) -> str:
    """`text` as an SQL literal of a connection that knows no backslash escapes."""
    return "'" + text.replace("'", "''") + "'"


def literal(type_: MyType, value: Value) -> str:
    """The SQL of a value, as its column's writer gives it."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if type_.name in _NUMERIC:
        return _number(value)
    if isinstance(value, float):
        return quote(repr(value))
    if type_.name in ("datetime", "timestamp", "time"):
        return quote(timed(type_, str(value)))
    text = quote(str(value))
    return f"ST_GeomFromText({text})" if type_.name in _SHAPES else text


def _number(value: int | float | str) -> str:
    if isinstance(value, float):
        text = repr(value)
        return text if "e" in text or not _NUMBER.fullmatch(text) else f"{text}e0"
    text = str(value)
    return text if _NUMBER.fullmatch(text) else quote(text)


def timed(type_: MyType, text: str) -> str:
    """A moment or time as the server writes it: with as many digits of seconds as the column has, or more where the
    value has more."""
    found = _MOMENT.fullmatch(text) or _TIME.fullmatch(text)
    if found is None:
        return text
    *parts, fraction = found.groups()
    digits = (fraction or "").rstrip("0").ljust(type_.fraction, "0")
    return " ".join(parts) + (f".{digits}" if digits else "")


def equal(type_: MyType, cell: str, value: Value) -> str:
    """The SQL that a cell is exactly `value` (NULL is itself), whatever collation and case say. It may miss an unusual
    way of writing."""
    if value is None:
        return f"{cell} IS NULL"
    written = literal(type_, value)
    if type_.name == "float" and isinstance(value, (int, float)):
        return f"{cell} + 0e0 <=> {_number(as_single(float(value)))}"
    if type_.name in _NUMERIC:
        return f"{output(type_, cell)} <=> {written}" if not written.startswith("'") else "FALSE"
    if understand(type_).kind is Kind.BINARY:
        return f"{cell} <=> {written}" if isinstance(value, bytes) else "FALSE"
    if isinstance(value, bytes):
        return f"CAST({cell} AS BINARY) <=> {written}"
    if type_.name in _TEXTS:
        return f"CAST(CONVERT({cell} USING utf8mb4) AS BINARY) <=> _binary{written}"
    if type_.name in _SHAPES:
        return f"ST_AsText({cell}) <=> {quote(str(value))}"
    return f"CAST({cell} AS CHAR) <=> {written}"


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def alike(type_: MyType, cell: str, value: Value) -> str:
    """The SQL by which an index finds the cells that may be `value`; "" when only `equal` can tell."""
    if value is None or understand(type_).kind is Kind.REAL or type_.name in (*_SHAPES, "bit", "json"):
        return ""
    if type_.name in _TEXTS:
        return "" if isinstance(value, bytes) else f"{cell} = {literal(type_, value)}"
    if type_.name in ("date", "datetime", "timestamp") and not _is_day(str(value)[:10]):
        return ""
    written = literal(type_, value)
    return f"{cell} = {written}" if not (type_.name in _NUMERIC and written.startswith("'")) else ""
