"""Cells as store values, once the kind of their column is known.

A cell that does not fit is kept as its text, so that nothing is lost and the page can show it raw; where it stood
goes to the report.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from decimal import Decimal

from brique.formats import shapes
from brique.formats.csv_out import unguard
from brique.formats.protocol import Cell, Field
from brique.schema import Kind, Value, from_python

_MISFIT = "Does not fit."


def text_of(cell: Cell) -> str:
    """A cell as the text that a person would read: no `.0`, true and false as spreadsheets say them."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    if isinstance(cell, float):
        return format(cell, ".15g")
    if isinstance(cell, datetime):
        return cell.isoformat(sep=" ")
    return cell.isoformat() if isinstance(cell, (date, time)) else str(cell)


def stored_text(text: str) -> str | None:
    """`text` as the store keeps it: composed (NFC), without NUL; nothing when there is only space in it."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    if "\x00" in text:
        text = text.replace("\x00", "")
    return text if text and not text.isspace() else None


def _text(cell: Cell) -> Value:
    return stored_text(text_of(cell))


def _guarded_text(cell: Cell) -> Value:
    return stored_text(unguard(text_of(cell)))


def _integer(mark: str) -> Callable[[Cell], Value]:
    def parse(cell: Cell) -> Value:
        if isinstance(cell, str):
            plain = shapes.number(shapes.plain(cell), mark)
            whole, _, part = plain.partition(".")
            if part.strip("0") or "e" in plain.lower():
                raise ValueError(_MISFIT)
            return from_python(Kind.INTEGER, int(whole))
        if isinstance(cell, int) and not isinstance(cell, bool):
            return cell
        raise ValueError(_MISFIT)

    return parse


def _digits_of(cell: Cell, mark: str) -> str:
    if isinstance(cell, str):
        return shapes.number(shapes.plain(cell), mark)
    if isinstance(cell, bool) or not isinstance(cell, (int, float)):
        raise ValueError(_MISFIT)
    return text_of(cell)


def _scaled(mark: str, scale: int) -> Callable[[Cell], Value]:
    def parse(cell: Cell) -> Value:
        text = _digits_of(cell, mark)
        if "e" in text or "E" in text:
            return from_python(Kind.DECIMAL, Decimal(text), scale)
        whole, _, part = text.partition(".")
        if len(part) > scale:
            part = part.rstrip("0")
            if len(part) > scale:
                raise ValueError(_MISFIT)
        number = int(whole + part.ljust(scale, "0"))
        if not -(2**63) <= number < 2**63:
            raise ValueError(_MISFIT)
        return number

    return parse


def _decimal(mark: str) -> Callable[[Cell], Value]:
    return lambda cell: from_python(Kind.DECIMAL, Decimal(_digits_of(cell, mark)))


def _real(mark: str) -> Callable[[Cell], Value]:
    def parse(cell: Cell) -> Value:
        return from_python(Kind.REAL, cell if isinstance(cell, float) else float(_digits_of(cell, mark)))

    return parse


def _boolean(cell: Cell) -> Value:
    if isinstance(cell, bool):
        return int(cell)
    word = cell.strip().lower() if isinstance(cell, str) else ""
    if word in shapes.TRUE:
        return 1
    if word in shapes.FALSE:
        return 0
    raise ValueError(_MISFIT)


def _date(order: str) -> Callable[[Cell], Value]:
    def parse(cell: Cell) -> Value:
        if isinstance(cell, datetime):
            if cell.time() != time():
                raise ValueError(_MISFIT)
            return cell.date().isoformat()
        if isinstance(cell, date):
            return cell.isoformat()
        text = shapes.plain(cell) if isinstance(cell, str) else ""
        if not shapes.shape_of(text) & shapes.DATES:
            raise ValueError(_MISFIT)
        return shapes.day(text, order).isoformat()

    return parse


def _moment(order: str) -> Callable[[Cell], Value]:
    def parse(cell: Cell) -> Value:
        if isinstance(cell, str):
            return from_python(Kind.DATETIME, shapes.moment(shapes.plain(cell), order))
        if isinstance(cell, datetime):
            return from_python(Kind.DATETIME, cell)
        if isinstance(cell, date):
            return f"{cell.isoformat()}T00:00:00.000000"
        raise ValueError(_MISFIT)

    return parse


def _time(cell: Cell) -> Value:
    if isinstance(cell, time):
        return cell.isoformat()
    text = shapes.plain(cell) if isinstance(cell, str) else ""
    if shapes.shape_of(text) != shapes.Shape.TIME:
        raise ValueError(_MISFIT)
    return shapes.clock(text).isoformat()


def cell_parser(field: Field, *, guarded: bool) -> Callable[[Cell], Value]:
    """How to read a cell of `field`; its `source_type` says the decimal mark (`,`) or the order of dates (`mdy`).

    The parser raises ValueError for a cell that does not fit.
    """
    mark = "," if "," in field.source_type else "."
    order = "mdy" if "mdy" in field.source_type else "dmy"
    text = _guarded_text if guarded else _text
    if field.kind is Kind.DECIMAL:
        return _decimal(mark) if field.scale is None else _scaled(mark, field.scale)
    parsers: dict[Kind, Callable[[Cell], Value]] = {
        Kind.INTEGER: _integer(mark),
        Kind.REAL: _real(mark),
        Kind.BOOLEAN: _boolean,
        Kind.DATE: _date(order),
        Kind.DATETIME: _moment(order),
        Kind.TIME: _time,
    }
    return parsers.get(field.kind, text)


def column_parser(field: Field, *, guarded: bool) -> Callable[[Sequence[Cell]], tuple[list[Value], list[int]]]:
    """How to read a column of a batch: its store values, and the places of those that do not fit."""
    parse = cell_parser(field, guarded=guarded)

    def column(cells: Sequence[Cell]) -> tuple[list[Value], list[int]]:
        try:
            return [None if cell is None or cell == "" else parse(cell) for cell in cells], []
        except (ValueError, ArithmeticError):
            pass  # one of them does not fit: look at each
        values: list[Value] = []
        misfits: list[int] = []
        for at, cell in enumerate(cells):
            if cell is None or (isinstance(cell, str) and not cell.strip()):
                values.append(None)
                continue
            try:
                values.append(parse(cell))
            except (ValueError, ArithmeticError):
                values.append(_text(cell))
                misfits.append(at)
        return values, misfits

    return column
