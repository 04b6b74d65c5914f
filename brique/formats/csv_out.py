"""CSV out: RFC 4180, UTF-8 with a byte order mark (without it Excel spoils accents), CRLF, headings first.

A text that a spreadsheet would run as a formula (it starts with = + - @, also in their full-width forms, a tab or a
line break) gets an apostrophe in front; numbers stay numbers. The reader takes that apostrophe away again. The age of
the data is not in the file: one table and nothing else is what spreadsheets, scripts and people expect. `notes_at_end`
asks for it: an empty line, then `# what: value` lines, which the reader reports and leaves out.
"""

from __future__ import annotations

import base64
import csv
import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, tzinfo
from decimal import Decimal
from itertools import chain
from typing import Any

import msgspec

from brique.formats.protocol import Batch, Heading, Notes, WriteReport
from brique.words import translate

_STARTS = "[=+\\-@\\t\\r\\n\uff1d\uff0b\uff0d\uff20]"
_RISKY = re.compile(f"'*{_STARTS}")
_GUARDED = re.compile(f"'+{_STARTS}")


def guard(text: str) -> str:
    """`text` so that no spreadsheet runs it. `unguard` is its inverse."""
    return f"'{text}" if _RISKY.match(text) else text


def unguard(text: str) -> str:
    """`text` without the apostrophe that `guard` put there."""
    return text[1:] if _GUARDED.match(text) else text


@dataclass(frozen=True)
class CsvWriter:
    """CSV out. `separator=";", decimal_mark=","` is what Excel expects where the comma is the decimal mark.

    `headings`: `label` for people, `name` for programs. Empty text and NULL are both written as nothing.
    """

    separator: str = ","
    decimal_mark: str = "."
    byte_order_mark: bool = True
    guarded: bool = True
    headings: str = "label"
    notes_at_end: bool = False

    def write(
        self,
        header: Sequence[Heading],
        batches: Iterable[Batch],
        *,
        notes: Notes | None = None,
        language: str = "en",
        report: WriteReport | None = None,
    ) -> Iterator[bytes]:
        """See `protocol.Writer`."""
        notes, report = notes or Notes(), report if report is not None else WriteReport()
        buffer = io.StringIO()
        out = csv.writer(buffer, delimiter=self.separator, lineterminator="\r\n")
        if self.byte_order_mark:
            buffer.write("\ufeff")
        rows = iter(batches)
        first = next(rows, [])
        out.writerow([self._heading(field, at, first, notes.zone) for at, field in enumerate(header)])
        report.sheets = 1
        for batch in chain((first,), rows):
            columns = [self._column(list(values), notes.zone, report) for values in zip(*batch, strict=True)]
            out.writerows(zip(*columns, strict=True))
            report.rows += len(batch)
            if buffer.tell():
                yield _drain(buffer)
        if self.notes_at_end:
            out.writerows([[], *([f"# {line}"] for line in note_lines(notes, language))])
            yield _drain(buffer)

    def _heading(self, field: Heading, at: int, first: Batch, zone: tzinfo | None) -> str:
        text = field.label if self.headings == "label" else field.name
        if zone is not None and zoned(first, at):
            text = f"{text} ({zone})"
        return guard(text) if self.guarded else text

    def _column(self, values: list[Any], zone: tzinfo | None, report: WriteReport) -> list[Any]:
        """The values of one column as texts; most columns hold one type and take one pass in C or close to it."""
        kinds = set(map(type, values)) - {type(None)}
        if kinds <= {str}:
            if not self.guarded:
                return values
            return [v if v is None or not _RISKY.match(v) else f"'{v}" for v in values]
        if kinds == {int}:
            return values
        text = self._texts(zone, report)
        return [None if v is None else text.get(type(v), _other)(v) for v in values]

    def _texts(self, zone: tzinfo | None, report: WriteReport) -> dict[type, Callable[[Any], object]]:
        mark = self.decimal_mark

        def real(value: float) -> str:
            if not math.isfinite(value):
                report.not_a_number += 1
                return ""
            return repr(value).replace(".", mark)

        def moment(value: datetime) -> str:
            if zone is not None and value.tzinfo is not None:
                value = value.astimezone(zone).replace(tzinfo=None)
            return value.isoformat(sep=" ")

        return {
            str: guard if self.guarded else str,
            int: int,
            bool: lambda v: "true" if v else "false",
            float: real,
            Decimal: lambda v: format(v, "f").replace(".", mark),
            datetime: moment,
            date: date.isoformat,
            time: time.isoformat,
            bytes: lambda v: base64.b64encode(v).decode(),
        }


def zoned(rows: Batch, at: int) -> bool:
    """Whether the column holds moments with a zone."""
    return any(isinstance(value := row[at], datetime) and value.tzinfo is not None for row in rows)


def _other(value: object) -> str:
    """Anything else (documents of a JSON column) as compact JSON: it starts with a bracket, never as a formula."""
    return msgspec.json.encode(value, enc_hook=str).decode()


def _drain(buffer: io.StringIO) -> bytes:
    data = buffer.getvalue().encode("utf-8", "replace")
    buffer.seek(0)
    buffer.truncate()
    return data


def note_lines(notes: Notes, language: str) -> list[str]:
    """The notes as lines for people: `Table: Orders`."""
    return [f"{what}: {value}" for what, value in note_pairs(notes, language)]


def note_pairs(notes: Notes, language: str) -> list[tuple[str, str]]:
    """The notes as (what, value), in the order in which people ask: what it is, how old it is, the rest."""

    def t(text: str) -> str:
        return translate(text, language)

    pairs = []
    if notes.title or notes.table:
        pairs.append((t("Table"), notes.title or notes.table))
    if notes.as_of is not None:
        moment = notes.as_of.astimezone(notes.zone or UTC)
        day = "%d/%m/%Y %H:%M:%S" if language == "fr" else "%Y-%m-%d %H:%M:%S"
        pairs.append((t("Data confirmed at"), f"{moment.strftime(day)} ({notes.zone or 'UTC'})"))
    return [*pairs, *notes.lines]
