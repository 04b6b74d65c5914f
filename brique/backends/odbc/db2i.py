"""What only Db2 for i has: labels of columns, texts of files, and tables without a journal. SQL in named blocks.

A table that is not journaled has no commitment control: under any isolation but *NONE a change of it fails with
SQL7008, and under *NONE nothing can be rolled back. So where one of the tables is not journaled, a session is no
transaction, and the old values decide whether a change is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from brique.backends.odbc.types import BINARIES, CHAR, TEXTS, OdbcColumn

TABLES = """
SELECT TABLE_TEXT, LONG_COMMENT, SYSTEM_TABLE_NAME, SYSTEM_TABLE_SCHEMA
FROM QSYS2.SYSTABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?
"""
COLUMNS = """
SELECT COLUMN_NAME, COLUMN_HEADING, COLUMN_TEXT, LONG_COMMENT, CCSID, IS_IDENTITY, HAS_DEFAULT
FROM QSYS2.SYSCOLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION
"""
SYSTEM_NAMES = """
SELECT TABLE_SCHEMA, TABLE_NAME, SYSTEM_TABLE_SCHEMA, SYSTEM_TABLE_NAME
FROM QSYS2.SYSTABLES WHERE TABLE_SCHEMA = ? AND TABLE_TYPE IN ('P', 'T')
"""
JOURNALED = """
SELECT OBJECT_LIBRARY, OBJECT_NAME FROM QSYS2.JOURNALED_OBJECTS
WHERE OBJECT_LIBRARY = ? AND OBJECT_TYPE = '*FILE'
"""
JOURNALED_BEFORE_7_3 = """
SELECT OBJLIB, OBJNAME FROM TABLE(QSYS2.OBJECT_STATISTICS(?, '*FILE')) AS O WHERE JOURNALED = 'YES'
"""
NOT_JOURNALED_STATE = "55019"
"""SQLSTATE of SQL7008: not valid for the operation, most often for want of a journal."""
RAW_CCSID = 65535
_HAS_DEFAULT = {"Y", "A", "D", "E", "F", "H", "I", "J", "K", "U", "V", "S", "P"}


@dataclass(frozen=True)
class TableTexts:
    """What is said of a table."""

    text: str = ""
    rows: int = 0


@dataclass(frozen=True)
class ColumnLabel:
    """What is said of a column. `raw`: its bytes have no code page (CCSID 65535)."""

    text: str
    raw: bool = False
    identity: bool = False
    defaulted: bool = False


def table_texts(rows: Iterable[Sequence[Any]]) -> TableTexts:
    """From a row of `TABLES`."""
    for text, comment, *_ in rows:
        return TableTexts(_said(text, comment))
    return TableTexts()


def column_labels(rows: Iterable[Sequence[Any]]) -> dict[str, ColumnLabel]:
    """By column name, from rows of `COLUMNS`."""
    return {
        str(name).rstrip(): ColumnLabel(
            _said(heading, text, comment),
            raw=_number(ccsid) == RAW_CCSID,
            identity=_word(identity) == "YES",
            defaulted=_word(default)[:1] in _HAS_DEFAULT,
        )
        for name, heading, text, comment, ccsid, identity, default in rows
    }


def _said(*texts: Any) -> str:
    """The first text is the label (a heading of three lines of 20 letters is one line); others explain it."""
    said = list(dict.fromkeys(" ".join(str(text).split()) for text in texts if text is not None and str(text).strip()))
    return "\n".join(said[:2])


def _number(value: Any) -> int | None:
    return int(value) if value is not None else None


def _word(value: Any) -> str:
    return str(value or "").strip().upper()


def labelled(column: OdbcColumn, label: ColumnLabel | None) -> OdbcColumn:
    """A column with what the catalogue says of it."""
    if label is None:
        return column
    is_raw_text = label.raw and column.code in TEXTS and column.code not in BINARIES
    return replace(
        column,
        comment=label.text or column.comment,
        code=-2 if is_raw_text and column.code == CHAR else -3 if is_raw_text else column.code,
        identity=column.identity or ("BY DEFAULT" if label.identity else ""),
        default=column.default or ("?" if label.defaulted and not label.identity else ""),
    )


def not_journaled(
    wanted: Iterable[tuple[str, str]], names: Iterable[Sequence[Any]], journaled: Iterable[Sequence[Any]]
) -> list[str]:
    """Those of the `wanted` tables (schema, name) that no journal follows; by rows of `SYSTEM_NAMES` and `JOURNALED`.

    A table that the catalogue does not know is taken for one without a journal.
    """
    system = {
        (str(schema).strip(), str(name).strip()): (str(library).strip(), str(file).strip())
        for schema, name, library, file in names
    }
    kept = {(str(library).strip(), str(file).strip()) for library, file in journaled}
    return [name for schema, name in wanted if system.get((schema, name), ("", "")) not in kept]
