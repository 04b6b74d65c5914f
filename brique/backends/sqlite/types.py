"""What a declared SQLite type means, checked against the values that are really there. Pure.

SQLite lets any column hold anything, so that the declaration is a hint and the sample decides: a kind that more than
one value in twenty does not fit is given up for a wider one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from brique.backends import values as raw
from brique.schema import Column, Kind, Value, fits

MISFITS_MAX = 0.05
_DECLARED = re.compile(r"^\s*([^(]*?)\s*(?:\(\s*([+-]?\d+)\s*(?:,\s*([+-]?\d+)\s*)?(?:\w+\s*)?\))?\s*([^()]*)$")
_DECIMALS_MAX = 18
_MONEY = {"MONEY", "CURRENCY", "SMALLMONEY"}


@dataclass(frozen=True)
class Found:
    """The kind of a column and its measures."""

    kind: Kind
    length_max: int | None = None
    precision: int | None = None
    scale: int | None = None
    padded: bool = False


def affinity(declared: str) -> str:
    """SQLite's own rule: INTEGER, TEXT, BLOB, REAL or NUMERIC."""
    word = declared.upper()
    if "INT" in word:
        return "INTEGER"
    if any(part in word for part in ("CHAR", "CLOB", "TEXT")):
        return "TEXT"
    if not word or "BLOB" in word:
        return "BLOB"
    return "REAL" if any(part in word for part in ("REAL", "FLOA", "DOUB")) else "NUMERIC"


def understand(declared: str, sample: Sequence[Value], *, names_row: bool = False) -> Found:
    """The kind of a column declared as `declared` whose raw values include `sample`.

    `names_row`: it is part of a key or of a reference, so that a number there is an integer.
    """
    found = _hinted(declared)
    values = [value for value in sample if value is not None]
    if not declared.strip():
        return Found(_kind_of_values(values))
    if found.kind is Kind.DECIMAL:
        return _number(declared, found, values, names_row)
    if found.kind in (Kind.DATE, Kind.DATETIME, Kind.TIME):
        return Found(_moment(found.kind, values))
    if not _suits(found, values):
        return Found(_kind_of_values(values))
    if found.kind is Kind.TEXT and found.length_max and _fixed(declared):
        texts = [value for value in values if isinstance(value, str)]
        return Found(Kind.TEXT, found.length_max, padded=any(text.endswith(" ") for text in texts))
    return found


def _hinted(declared: str) -> Found:
    match = _DECLARED.match(declared)
    word = declared.upper().strip()
    first, second = (int(part) if part else None for part in (match[2], match[3])) if match else (None, None)
    kind = _hinted_kind(word)
    if kind is Kind.TEXT:
        return Found(kind, length_max=first if first and first > 0 else None)
    if kind is Kind.DECIMAL and first:
        scale = max(second or 0, 0)
        return Found(kind, precision=first, scale=scale)
    return Found(kind)


def _hinted_kind(word: str) -> Kind:
    name = re.split(r"[\s(]", word, maxsplit=1)[0]
    exact = {
        "ANY": Kind.ANY, "JSON": Kind.JSON, "JSONB": Kind.BINARY, "UUID": Kind.TEXT, "INTERVAL": Kind.TEXT,
        "DATE": Kind.DATE, "TIME": Kind.TIME, "BIT": Kind.BOOLEAN, "POINT": Kind.ANY, "STRING": Kind.TEXT,
        "IMAGE": Kind.BINARY, "BYTEA": Kind.BINARY, "XML": Kind.TEXT, "ENUM": Kind.TEXT,
    }  # fmt: skip
    if name in exact:
        return exact[name]
    if name.startswith("BOOL"):
        return Kind.BOOLEAN
    if name.startswith(("DATETIME", "TIMESTAMP", "SMALLDATETIME")):
        return Kind.DATETIME
    if "BINARY" in word:
        return Kind.BINARY
    return {
        "INTEGER": Kind.INTEGER,
        "TEXT": Kind.TEXT,
        "BLOB": Kind.BINARY,
        "REAL": Kind.REAL,
        "NUMERIC": Kind.DECIMAL,
    }[affinity(word)]


def _fixed(declared: str) -> bool:
    return re.match(r"(?i)\s*(native\s+)?(n?char|character)\s*\(", declared) is not None


def _suits(found: Found, values: Sequence[Value]) -> bool:
    """Whether nearly all values fit once read."""
    if found.kind is Kind.ANY or not values:
        return True
    column = Column("c", "c", found.kind, "c", scale=found.scale)
    read = raw.reader(column) or (lambda value: value)
    misfits = sum(not fits(found.kind, read(value), found.scale) for value in values)
    return misfits <= MISFITS_MAX * len(values)


def _number(declared: str, found: Found, values: Sequence[Value], names_row: bool) -> Found:
    """NUMERIC, DECIMAL and their like: exact when the scale is known and held to, else integer or real."""
    if not all(isinstance(value, (int, float)) for value in values):
        return found if _suits(found, values) else Found(_kind_of_values(values))
    if found.precision and found.precision <= _DECIMALS_MAX and _suits(found, values):
        return Found(Kind.INTEGER) if found.scale == 0 and names_row else found
    if declared.upper().split("(")[0].strip() in _MONEY:
        for scale in (2, 4):
            money = Found(Kind.DECIMAL, precision=_DECIMALS_MAX, scale=scale)
            if _suits(money, values):
                return money
    whole = all(isinstance(value, int) or value.is_integer() for value in values if isinstance(value, (int, float)))
    return Found(Kind.INTEGER) if whole and names_row else Found(Kind.REAL)


def _moment(kind: Kind, values: Sequence[Value]) -> Kind:
    """Dates and times are kept when one shape writes them all, so that what is read can be written back."""
    if not values:
        return kind
    if not all(isinstance(value, str) for value in values):
        return _kind_of_values(values)
    shape = raw.shape_of(values)
    if not shape:
        return Kind.TEXT
    if not shape.startswith("9999-"):
        return Kind.TIME
    if all(map(raw.is_midnight, values)):
        return Kind.DATE if kind is Kind.DATE or len(shape) == len(raw.PLAIN_DATE) or len(values) > 1 else kind
    return Kind.DATETIME


def _kind_of_values(values: Sequence[Value]) -> Kind:
    types = {type(value) for value in values}
    if types == {int}:
        return Kind.INTEGER
    if types and types <= {int, float}:
        return Kind.REAL
    if types == {str}:
        return Kind.TEXT
    return Kind.BINARY if types == {bytes} else Kind.ANY
