"""What a format promises: rows in batches, bytes in pieces, and a report of what could not be kept.

A batch is a list of rows, a row a tuple with one *Python value* for each field (`None`, `str`, `int`, `Decimal`,
`float`, `bool`, `date`, `datetime`, `time`, `bytes`, or anything JSON can hold). Writers stream: the first bytes leave
before the second batch is asked for, and memory follows one batch, never the table. A value that does not fit the
kind of its field is written as what it is, never dropped. Readers stream too, and give *store values* (`schema.kinds`).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, tzinfo
from pathlib import Path
from typing import Protocol

from brique.schema import Column, Kind, Value
from brique.words import translate

Field = Column
"""A field of a file is a column of the schema: `source` its verbatim heading, `source_type` how the file writes it."""
Batch = list[tuple[object, ...]]
"""Rows of Python values, in the order of the header."""
StoreBatch = list[tuple[Value, ...]]
"""Rows of store values, in the order of the fields asked for."""
Cell = None | str | int | float | bool | date | datetime | time
"""What a reader finds in one cell before it knows the kind of the column."""


class Heading(Protocol):
    """What a writer asks of a field; `schema.Column` fits."""

    @property
    def name(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def scale(self) -> int | None: ...


@dataclass(frozen=True)
class Notes:
    """What a file says of itself. `as_of` (aware): when the backend confirmed the data. `lines`: (what, value) pairs.

    `zone`: times with a zone are shown as local times there, and the heading names it. Without one, spreadsheets
    show UTC, and CSV and JSON write the offset.
    """

    table: str = ""
    title: str = ""
    as_of: datetime | None = None
    zone: tzinfo | None = None
    lines: tuple[tuple[str, str], ...] = ()


@dataclass
class WriteReport:
    """What a writer did, complete when its last piece has left. Counts are of cells, but `rows` and `sheets`."""

    rows: int = 0
    sheets: int = 0
    cut: int = 0
    numbers_as_text: int = 0
    dates_as_text: int = 0
    not_a_number: int = 0

    def sentences(self, language: str) -> list[str]:
        """What could not be kept exactly as it was, for people; empty when everything was."""

        def t(text: str, count: int) -> str:
            return translate(text, language, n=count)

        said = []
        if self.cut:
            said.append(t("{n} texts were cut: a cell holds at most 32,767 characters.", self.cut))
        if self.numbers_as_text:
            said.append(t("{n} numbers have more than 15 digits and were written as text.", self.numbers_as_text))
        if self.dates_as_text:
            said.append(t("{n} dates before March 1900 were written as text.", self.dates_as_text))
        if self.not_a_number:
            said.append(t("{n} values were not a number and were left empty.", self.not_a_number))
        if self.sheets > 1:
            said.append(t("The rows continue on {n} sheets: a sheet has at most 1,048,576.", self.sheets))
        return said


class Writer(Protocol):
    """One format to write. It keeps no state between calls: one writer may serve many threads."""

    def write(
        self,
        header: Sequence[Heading],
        batches: Iterable[Batch],
        *,
        notes: Notes = ...,
        language: str = ...,
        report: WriteReport | None = ...,
    ) -> Iterator[bytes]:
        """The file, piece by piece; at least one piece before the second batch is taken, none of them empty.

        A fault of `batches` passes through unchanged: what has left by then is not a whole file.
        Raises TooMuch when the format cannot hold so many columns.
        """
        ...


PROBLEMS_MAX = 100
"""How many problems of one file are kept in words; all are counted."""


@dataclass(frozen=True)
class Problem:
    """One thing that was not as it should be, at a line (spreadsheets: row) of the file, counted from 1."""

    line: int
    text: str
    values: dict[str, object] = field(default_factory=dict)

    def sentence(self, language: str) -> str:
        """What it is, for people, without the line."""
        return translate(self.text, language, **self.values)

    @property
    def what(self) -> str:
        """The sentence in English."""
        return self.sentence("en")


@dataclass
class ReadReport:
    """What a reader met. `rejected` lines are not among the rows; `padded` and `misfits` are."""

    encoding: str = ""
    separator: str = ""
    rows: int = 0
    rejected: int = 0
    padded: int = 0
    misfits: int = 0
    repaired: int = 0
    problems: list[Problem] = field(default_factory=list)

    def add(self, line: int, text: str, **values: object) -> None:
        """Keep one problem, unless there are too many already; `text` is a sentence with `{name}` places."""
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Problem(line, text, values))

    def sentences(self, language: str) -> list[str]:
        """What was not as it should be, in numbers, for people; empty when all was well."""

        def t(text: str, count: int) -> str:
            return translate(text, language, n=count)

        said = []
        if self.rejected:
            said.append(t("{n} lines have too many values and were left out.", self.rejected))
        if self.padded:
            said.append(t("{n} lines have too few values; the missing ones are empty.", self.padded))
        if self.misfits:
            said.append(t("{n} values do not fit their column and were kept as text.", self.misfits))
        if self.repaired:
            said.append(t("{n} bytes are not of the file’s encoding and were guessed.", self.repaired))
        return said


@dataclass(frozen=True)
class Limits:
    """How much one file may ask for; beyond, BadInput says which limit and by how much it may be raised.

    `memory_bytes_max` and `cpu_seconds_max` bound the child process that opens a workbook; `wait_seconds_max` how long
    it may say nothing. `ratio_max`: inflated over compressed bytes of a workbook (honest ones stay below 60).
    """

    file_bytes_max: int = 1 << 30
    inflated_bytes_max: int = 4 << 30
    ratio_max: int = 200
    memory_bytes_max: int = 2 << 30
    cpu_seconds_max: int = 180
    wait_seconds_max: float = 180.0
    sheets_max: int = 255
    rows_max: int = 5_000_000
    columns_max: int = 2_000
    cells_max: int = 100_000_000
    cell_chars_max: int = 1 << 20


@dataclass(frozen=True)
class RawBatch:
    """Rows as they stand in the file. `lines[i]` is where `rows[i]` stands, counted from 1 (CSV: its last line)."""

    sheet: str
    lines: Sequence[int]
    rows: Sequence[Sequence[Cell]]


Rows = Generator[RawBatch, None, None]
"""Raw batches; close it to end what it opened."""


class Reader(Protocol):
    """One family of formats to read."""

    def sheets(self, path: Path, limits: Limits) -> list[str]:
        """The names of the tables in the file, in its order; hidden sheets are not among them."""
        ...

    def raw(self, path: Path, limits: Limits, report: ReadReport, *, only: str | None = None) -> Rows:
        """The rows of the sheet `only`, or of all sheets one after the other, in batches that are not empty.

        Closing the iterator ends every process and file that it opened.
        Raises BadInput, with `file` and `sheet` among its facts, when the file cannot be read or passes a limit;
        NotFound when there is no such file or sheet.
        """
        ...

    def hint(self, report: ReadReport) -> str:
        """`,` or `.`: the decimal mark to assume where the values leave a doubt."""
        ...
