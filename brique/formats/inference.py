"""What the columns of a file are, judged by all of their values, in one pass and bounded memory.

A column is what *every* value of it can be, else it is text: one code with a leading zero makes the column codes.
Numbers keep the decimal places that they have; a comma is a decimal mark only if the whole column says so. Dates are
day first, unless that is impossible somewhere in the column and month first is not.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from itertools import pairwise

from brique.formats import shapes
from brique.formats.parsing import text_of
from brique.formats.protocol import Cell
from brique.formats.shapes import DATES, MOMENTS, NUMBERS, Shape
from brique.schema import Kind, slug

_INT_DIGITS_MAX = 18
_FLOAT_SCALE_MAX = 6
"""A number computed by a spreadsheet has more places than this; below, it was typed, and is kept exactly."""
_CELL_SHAPES: dict[type, int] = {
    bool: Shape.BOOLEAN,
    datetime: Shape.ISO_MOMENT,
    date: Shape.ISO_DATE,
    time: Shape.TIME,
}


@dataclass(frozen=True)
class Judgement:
    """What a column is. `style` is what `parsing.cell_parser` needs to know of how it is written."""

    kind: Kind
    style: str = ""
    scale: int | None = None


@dataclass
class Evidence:
    """What was seen of one column so far."""

    shapes: int = Shape.NOTHING
    filled: int = 0
    whole_digits: int = 0
    point_scale: int = 0
    comma_scale: int = 0
    float_scale: int = 0
    day_first: bool = True
    month_first: bool = True
    true_seen: bool = False
    surely_boolean: bool = False
    grouped_lengths: set[int] = field(default_factory=set)

    def add(self, cells: Sequence[Cell]) -> None:
        """Look at some more cells of the column."""
        self.filled += sum(1 for cell in cells if cell is not None and cell != "")
        if self.shapes & Shape.TEXT:
            return
        kinds = set(map(type, cells)) - {type(None)}
        for kind in kinds & _CELL_SHAPES.keys():
            self.shapes |= _CELL_SHAPES[kind]
        if bool in kinds:
            self.true_seen = self.surely_boolean = True
        if float in kinds:
            self._floats({cell for cell in cells if type(cell) is float})
        if int in kinds:
            self._integers([cell for cell in cells if type(cell) is int])
        if str in kinds:
            for text in {cell for cell in cells if type(cell) is str}:
                self._text(shapes.plain(text))
                if self.shapes & Shape.TEXT:
                    return

    def _integers(self, numbers: list[int]) -> None:
        self.shapes |= Shape.INTEGER
        self.whole_digits = max(self.whole_digits, len(str(max(map(abs, numbers)))))

    def _floats(self, numbers: set[float]) -> None:
        self.shapes |= Shape.POINT
        for number in numbers:
            text = text_of(number)
            if "e" in text or not text[-1].isdigit():
                self.shapes |= Shape.REAL
                continue
            whole, scale = shapes.digits(text, ".")
            self.whole_digits = max(self.whole_digits, whole)
            self.point_scale = max(self.point_scale, scale)
            self.float_scale = max(self.float_scale, scale)

    def _text(self, text: str) -> None:
        if not text:
            return
        shape = shapes.shape_of(text)
        self.shapes |= shape
        if shape & NUMBERS:
            self._number(text, shape)
        elif shape & MOMENTS:
            self._day(text, shape)
        elif shape == Shape.TIME and not _reads(shapes.clock, text):
            self.shapes |= Shape.TEXT
        elif shape == Shape.BOOLEAN:
            word = text.lower()
            self.true_seen |= word in shapes.TRUE
            self.surely_boolean |= word in shapes.SURELY_BOOLEAN

    def _number(self, text: str, shape: int) -> None:
        if shape == Shape.REAL:
            return
        if shape == Shape.COMMA:
            whole, scale = shapes.digits(text, ",")
            self.comma_scale = max(self.comma_scale, scale)
        elif shape == Shape.POINT:
            whole, scale = shapes.digits(text, ".")
            self.point_scale = max(self.point_scale, scale)
        else:
            whole = sum(map(str.isdigit, text))
        if shape == Shape.GROUPED:
            self.grouped_lengths.add(len(text))
        self.whole_digits = max(self.whole_digits, whole)

    def _day(self, text: str, shape: int) -> None:
        if shape in _CALENDAR:  # the order of the others does not matter
            if not _reads(_CALENDAR[shape], text):
                self.shapes |= Shape.TEXT
            return
        read = (lambda order: shapes.day(text, order)) if shape & DATES else (lambda order: shapes.moment(text, order))
        self.day_first = self.day_first and _reads(read, "dmy")
        self.month_first = self.month_first and _reads(read, "mdy")
        if not self.day_first and not self.month_first:
            self.shapes |= Shape.TEXT

    @property
    def mark(self) -> str:
        """The decimal mark that this column leaves no doubt about; empty otherwise."""
        if self.shapes & ~NUMBERS:
            return ""
        comma, point = bool(self.shapes & Shape.COMMA), bool(self.shapes & Shape.POINT)
        return "" if comma == point else "," if comma else "."

    def judge(self, hint: str) -> Judgement:
        """What the column is; `hint` is the decimal mark to assume for `1,284` when nothing else says."""
        seen = self.shapes
        if not seen or seen & Shape.TEXT:
            return Judgement(Kind.TEXT)
        if not seen & ~NUMBERS:
            return self._judge_number(hint)
        order = "dmy" if self.day_first else "mdy"
        if not seen & ~DATES:
            return Judgement(Kind.DATE, order)
        if not seen & ~MOMENTS:
            zoned = bool(seen & Shape.ZONED_MOMENT)
            return Judgement(Kind.TEXT) if zoned and seen != Shape.ZONED_MOMENT else Judgement(Kind.DATETIME, order)
        if seen == Shape.TIME:
            return Judgement(Kind.TIME)
        if seen == Shape.BOOLEAN and (self.true_seen or self.surely_boolean):
            return Judgement(Kind.BOOLEAN)
        return Judgement(Kind.TEXT)

    def _judge_number(self, hint: str) -> Judgement:
        seen = self.shapes
        if seen & Shape.COMMA and seen & Shape.POINT:
            return Judgement(Kind.TEXT)
        if seen == Shape.GROUPED and len(self.grouped_lengths) == 1 and min(self.grouped_lengths) >= len("552 100 554"):
            return Judgement(Kind.TEXT)  # company numbers are written in groups, and all of one length
        mark = "," if seen & Shape.COMMA else "." if seen & Shape.POINT else hint
        if seen & Shape.REAL or self.float_scale > _FLOAT_SCALE_MAX:
            return Judgement(Kind.REAL, mark)
        scale = self.comma_scale if mark == "," else self.point_scale
        whole = self.whole_digits
        if seen & Shape.DOUBT and mark == ",":
            scale = max(scale, 3)
        if scale == 0:
            return Judgement(Kind.INTEGER, mark) if whole <= _INT_DIGITS_MAX else Judgement(Kind.TEXT)
        return Judgement(Kind.DECIMAL, mark, scale if whole + scale <= _INT_DIGITS_MAX else None)


_CALENDAR: dict[int, Callable[[str], object]] = {
    Shape.ISO_DATE: lambda text: shapes.day(text, "dmy"),
    Shape.ISO_MOMENT: lambda text: shapes.moment(text, "dmy"),
    Shape.ZONED_MOMENT: lambda text: shapes.moment(text, "dmy"),
}


def _reads(read: Callable[[str], object], argument: str) -> bool:
    try:
        read(argument)
    except ValueError:
        return False
    return True


_KEY_WORDS = frozenset(
    re.findall(
        r"\w+",
        "id ids no nr num number numero code codes key cle ref reference matricule sku uuid guid siren siret ean isbn",
    )
)
_KEY_ENDS = ("id", "num", "code", "number")
_NOT_KEYS = frozenset({"paid", "valid", "invalid", "void", "unpaid", "grid", "bid", "aid", "postcode", "postalcode"})
_PREFIX_MAX = 3


def key_like(name: str) -> bool:
    """Whether a heading sounds like an identifier: `id`, `Order No`, `N°`, `CustomerID`, `code_client`."""
    if re.search(r"\bn\s*[°º]", name, re.IGNORECASE):
        return True
    words = slug(name).strip("_").split("_")
    if not _KEY_WORDS.isdisjoint(words):
        return True
    last = words[-1]
    return last.endswith(_KEY_ENDS) and last not in _NOT_KEYS and len(words) == 1


class _Once:
    """Whether values are all there and all different: 8 bytes of memory for each."""

    def __init__(self) -> None:
        self._seen = array("q")
        self.holds = True

    def add(self, values: Iterable[object]) -> None:
        """Look at more values; those of None, or of a tuple that holds None, are missing."""
        if not self.holds:
            return
        more = list(values)
        if any(value is None or (type(value) is tuple and None in value) for value in more):
            self.holds = False
            return
        marks = list(map(hash, more))
        if len(set(marks)) < len(marks):
            self.holds = False
            return
        self._seen.extend(marks)

    def settle(self) -> bool:
        """Whether all were different, to one chance in ten million of a false no at a million values."""
        if self.holds and len(self._seen):
            marks = sorted(self._seen)
            self.holds = all(left != right for left, right in pairwise(marks))
        return self.holds and len(self._seen) > 0


def _mark(cell: Cell) -> object:
    """A cell for comparison with others: what two spellings of one value have in common."""
    if isinstance(cell, str):
        return cell.strip().casefold() or None
    return text_of(cell) if cell is not None else None


class KeySearch:
    """Looks for the column, or the two or three first columns together, that name each row."""

    def __init__(self, sources: Sequence[str]) -> None:
        self._single = {at: _Once() for at, source in enumerate(sources) if key_like(source)}
        run = next((at for at in range(len(sources)) if at not in self._single), len(sources))
        self._prefix = {size: _Once() for size in range(2, min(run, _PREFIX_MAX) + 1)}

    def add(self, columns: Sequence[Sequence[Cell]]) -> None:
        """Look at a batch, given as columns."""
        marks: dict[int, list[object]] = {}

        def marked(at: int) -> list[object]:
            if at not in marks:
                marks[at] = [_mark(cell) for cell in columns[at]]
            return marks[at]

        for at, once in self._single.items():
            if once.holds:
                once.add(marked(at))
        for size, once in self._prefix.items():
            if once.holds:
                once.add(zip(*(marked(at) for at in range(size)), strict=True))

    def found(self, kinds: Sequence[Kind]) -> tuple[int, ...]:
        """The places of the key's columns; empty when there is none."""
        able = (Kind.INTEGER, Kind.TEXT)
        for at, once in self._single.items():
            if kinds[at] in able and once.settle():
                return (at,)
        for size, once in self._prefix.items():
            if all(kinds[at] in able for at in range(size)) and once.settle():
                return tuple(range(size))
        return ()
