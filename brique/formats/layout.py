"""Where a table stands in a sheet: the line of its headings, its columns and their names, and the rows below.

People put titles above tables, leave headings empty, repeat them, and forget cells at the ends of lines.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, time

from brique.formats.protocol import Cell, RawBatch, ReadReport
from brique.formats.shapes import Shape, plain, shape_of

SAMPLE_ROWS = 100
_TITLE_ROWS = 20
_MADE_UP = re.compile(r"col\d+")
_HEADING_CHARS = 200
_NOTE = "Left out a note: {note}"
_SHORT = "Has {n} values for {width} columns; the missing ones are empty."
_LONG = "Has {n} values for {width} columns and was left out: {shown}"


@dataclass(frozen=True)
class Layout:
    """`header_line` is the line of the headings, 0 when there are none; `above` the texts of the lines before it.

    `sources` names each column as in the file, made distinct: a second `a` is `a_2`, an empty one `col3`; `named` says
    which have a heading.
    """

    header_line: int
    sources: tuple[str, ...]
    above: tuple[str, ...] = ()
    named: tuple[bool, ...] = ()


def _typed(cell: Cell) -> int:
    """The shape of a cell, however the file holds it; nothing for an empty one."""
    if cell is None or cell == "":
        return Shape.NOTHING
    if isinstance(cell, str):
        text = plain(cell)
        return shape_of(text) if text else Shape.NOTHING
    if isinstance(cell, bool):
        return Shape.BOOLEAN
    if isinstance(cell, (int, float)):
        return Shape.INTEGER
    return Shape.TIME if isinstance(cell, time) else Shape.ISO_DATE


def _filled(row: Sequence[Cell]) -> int:
    return sum(1 for cell in row if cell is not None and cell != "")


def find(lines: Sequence[int], rows: Sequence[Sequence[Cell]]) -> Layout:
    """The layout of a table from its first rows (at least one)."""
    common = Counter(_filled(row) for row in rows).most_common(1)[0][0]
    width = Counter(map(len, rows)).most_common(1)[0][0]
    needed = max(1, math.ceil(0.6 * common))
    top = next((at for at, row in enumerate(rows[:_TITLE_ROWS]) if _filled(row) >= needed), 0)
    above = tuple(text for row in rows[:top] for text in map(heading, row) if text)
    columns = max(width, len(rows[top]))
    if not _is_header(rows[top], rows[top + 1 :]):
        if top and _is_header(rows[0], rows[1:]):  # its headings are only sparse
            top, above = 0, ()
        else:
            return Layout(0, names([], columns), (), (False,) * columns)
    named = tuple(bool(heading(cell)) for cell in rows[top]) + (False,) * (columns - len(rows[top]))
    return Layout(lines[top], names(rows[top], columns), above, named)


def _is_header(first: Sequence[Cell], body: Sequence[Sequence[Cell]]) -> bool:
    """Whether `first` names the columns: its cells differ in kind from what stands below them."""
    said_header = said_data = 0
    for at, cell in enumerate(first):
        shape = _typed(cell)
        if shape == Shape.TEXT:
            below = Counter(_typed(row[at]) for row in body if at < len(row))
            below.pop(Shape.NOTHING, None)
            said_header += bool(below) and below.most_common(1)[0][0] != Shape.TEXT
        elif shape:
            years = isinstance(cell, (int, str)) and re.fullmatch(r"(19|20)\d\d", str(cell).strip()) is not None
            said_data += not years
    typed = sum(1 for cell in first if _typed(cell) not in (Shape.NOTHING, Shape.TEXT))
    if typed == 0:
        return True
    return said_data == 0 or said_header >= said_data


def heading(cell: Cell) -> str:
    """A cell as the name of a column: one line, no spaces around it."""
    if cell is None:
        return ""
    text = cell.isoformat() if isinstance(cell, (date, time)) else str(cell)
    return " ".join(text.split())[:_HEADING_CHARS]


def names(cells: Sequence[Cell], width: int) -> tuple[str, ...]:
    """Names for `width` columns: as in `cells`, all different, none empty."""
    texts = [heading(cell) for cell in cells] + [""] * (width - len(cells))
    taken = {text for text in texts if text}
    seen: Counter[str] = Counter()
    result = []
    for at, text in enumerate(texts, 1):
        wanted = text or f"col{at}"
        seen[wanted] += 1
        name, number = wanted, seen[wanted]
        while (number > 1 or not text) and name in taken:
            number = max(number, 2)
            name = f"{wanted}_{number}"
            number += 1
        taken.add(name)
        result.append(name)
    return tuple(result)


def recall(lines: Sequence[int], rows: Sequence[Sequence[Cell]], wanted: Sequence[str]) -> Layout | None:
    """The layout whose headings hold all of `wanted`, wherever they stand now; None when there is no such line."""
    expected = set(wanted)
    width = Counter(map(len, rows)).most_common(1)[0][0]
    for line, row in zip(lines[:_TITLE_ROWS], rows[:_TITLE_ROWS], strict=False):
        sources = names(row, max(width, len(row)))
        if expected <= set(sources) and any(heading(cell) for cell in row):
            real = {heading(cell) for cell in row} & expected
            if real or not expected:
                return Layout(line, sources)
    if expected and all(_MADE_UP.fullmatch(name) for name in expected):
        return Layout(0, names([], max(width, max(int(name[3:]) for name in expected))))
    return None


def body(batches: Iterator[RawBatch], layout: Layout, report: ReadReport) -> Iterator[RawBatch]:
    """The rows below the headings, each as wide as the layout; empty rows are left out.

    A line that is too short is filled up, one with more values than there are headings is rejected: a separator in it
    has moved its values to wrong columns. Both are reported with their line numbers.
    """
    width = len(layout.sources)
    for batch in batches:
        lines: list[int] = []
        rows: list[Sequence[Cell]] = []
        for line, row in zip(batch.lines, batch.rows, strict=True):
            if line <= layout.header_line or not _filled(row):
                continue
            if len(row) != width:
                fitted = _fit(line, list(row), width, report)
                if fitted is None:
                    continue
                row = fitted
            lines.append(line)
            rows.append(row)
        report.rows += len(rows)
        if rows:
            yield RawBatch(batch.sheet, lines, rows)


def _fit(line: int, row: list[Cell], width: int, report: ReadReport) -> list[Cell] | None:
    if len(row) < width:
        if len(row) == 1 and isinstance(row[0], str) and row[0].startswith("# "):
            report.add(line, _NOTE, note=row[0][2:82])
            return None
        report.padded += 1
        report.add(line, _SHORT, n=len(row), width=width)
        return row + [None] * (width - len(row))
    if not _filled(row[width:]):
        return row[:width]
    report.rejected += 1
    shown = " | ".join(map(heading, row))[:120]
    report.add(line, _LONG, n=len(row), width=width, shown=shown)
    return None
