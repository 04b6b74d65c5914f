"""CSV in: the encoding, the separator and the quotes of what people and programs call CSV.

Lines are given as they stand, with the number of their last line in the file; `sheets` judges their widths.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from brique.errors import BadInput, NotFound
from brique.formats.encoding import Encoding, detect
from brique.formats.protocol import Limits, RawBatch, ReadReport, Rows

SEPARATORS = (";", ",", "\t", "|")
_SAMPLE_CHARS = 1 << 16
_BATCH_ROWS = 2_000
_QUOTE = "a quote is missing, or there is one too many"
_SAID = re.compile(r'^\ufeff?"?sep=(.)"?\r?\n', re.IGNORECASE)
_BINARY = {b"PK\x03\x04": "a ZIP archive or spreadsheet", b"\xd0\xcf\x11\xe0": "an old Office file", b"%PDF": "a PDF"}


@dataclass(frozen=True)
class CsvReader:
    """CSV in. `encoding` and `separator` say what to take instead of judging; EBCDIC is read by naming it (`cp500`)."""

    encoding: str = ""
    separator: str = ""

    def sheets(self, path: Path, limits: Limits) -> list[str]:
        """One table, named after the file."""
        _check(path, limits)
        return [path.stem]

    def hint(self, report: ReadReport) -> str:
        """Where the comma is the decimal mark, the semicolon separates."""
        return "," if report.separator == ";" else "."

    def raw(self, path: Path, limits: Limits, report: ReadReport, *, only: str | None = None) -> Rows:
        """See `protocol.Reader`."""
        _check(path, limits)
        if only is not None and only != path.stem:
            raise NotFound(f"{path.name} has no table {only!r}.", file=path.name, sheet=only)
        encoding = Encoding(self.encoding, "replace") if self.encoding else detect(path)
        report.encoding, report.repaired = encoding.name, encoding.odd
        with path.open(encoding=encoding.name, errors=encoding.errors, newline="") as file:
            sample = file.read(_SAMPLE_CHARS)
            said = _SAID.match(sample)
            report.separator = self.separator or (said[1] if said else sniff(sample, path.suffix))
            file.seek(0)
            if said:
                file.readline()
            _allow(limits.cell_chars_max)
            yield from _batches(file, path, limits, report.separator, skipped=1 if said else 0)


def _batches(file: Iterable[str], path: Path, limits: Limits, separator: str, *, skipped: int) -> Iterator[RawBatch]:
    record: list[str] = []  # the lines of the record that is being read
    whole: list[str] = []
    lines: list[int] = []
    kept: list[list[str]] = []
    rows = csv.reader(_remembered(file, record), delimiter=separator)
    try:
        for row in rows:
            whole = record.copy()
            record.clear()
            if not row:
                continue
            if len(row) > limits.columns_max:
                reason = f"line {rows.line_num} has {len(row)} columns; at most {limits.columns_max} are read"
                raise bad(path, reason, limit="columns_max")
            lines.append(rows.line_num + skipped)
            kept.append(row)
            if len(kept) >= _BATCH_ROWS:
                yield RawBatch(path.stem, lines, kept)
                lines, kept = [], []
    except csv.Error as fault:
        start = rows.line_num + skipped - len(record) + 1
        raise bad(path, f"the record that starts at line {start} cannot be read ({fault}); {_QUOTE}") from fault
    if len(whole) > 1 and _is_open(whole, separator):
        start = rows.line_num + skipped - len(whole) + 1
        raise bad(path, f"the record that starts at line {start} does not end; {_QUOTE}")
    if kept:
        yield RawBatch(path.stem, lines, kept)


def _remembered(file: Iterable[str], record: list[str]) -> Iterator[str]:
    for line in file:
        record.append(line)
        yield line


def _is_open(record: list[str], separator: str) -> bool:
    """Whether the last record of a file ends inside quotes: it has swallowed the lines below an odd quote."""
    try:
        list(csv.reader(record, delimiter=separator, strict=True))
    except csv.Error as fault:
        return "end of data" in str(fault)
    return False


def bad(path: Path, reason: str, limit: str = "") -> BadInput:
    """The fault of a text file, with its name."""
    return BadInput(f"{path.name}: {reason}.", file=path.name, sheet=path.stem, limit=limit)


def _check(path: Path, limits: Limits) -> None:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(4)
    except FileNotFoundError as fault:
        raise NotFound(f"There is no file {path.name}.", file=path.name) from fault
    except OSError as fault:
        raise bad(path, f"it cannot be read ({fault.strerror})") from fault
    if size > limits.file_bytes_max:
        raise bad(path, f"it has {size} bytes; at most {limits.file_bytes_max} are read", limit="file_bytes_max")
    if start in _BINARY:
        raise BadInput(
            f"{path.name}: it is {_BINARY[start]}, not text.",
            try_this="Give the file the ending of what it is, or save it as CSV.",
            file=path.name,
        )


def _allow(chars: int) -> None:
    """Let the csv module read cells of `chars` characters; its limit belongs to the whole process, so only raise it."""
    if csv.field_size_limit() < chars:
        csv.field_size_limit(chars)


def sniff(sample: str, suffix: str = ".csv") -> str:
    """The separator that cuts the sample into the most regular table; quotes are respected."""
    default = "\t" if suffix.lower() in (".tsv", ".tab") else ","
    scored = {separator: _regularity(sample, separator) for separator in SEPARATORS}
    best = max(SEPARATORS, key=lambda separator: (*scored[separator], separator == default))
    return best if scored[best][0] > 0 else default


def _regularity(sample: str, separator: str) -> tuple[float, int]:
    """How large a share of the records has the commonest width (above 1), and that width; (0, 0) if none has."""
    records: list[int] = []
    cut = sample[: sample.rfind("\n") + 1] or sample
    try:
        for row in csv.reader(cut.splitlines(keepends=True), delimiter=separator):
            if row:
                records.append(len(row))
    except csv.Error:
        return 0.0, 0
    if len(records) > 2 and len(cut) < len(sample):
        records.pop()  # the cut may have gone through it
    widths = Counter(width for width in records if width > 1)
    if not widths:
        return 0.0, 0
    width, count = widths.most_common(1)[0]
    head = 0.25 if records[0] == width else 0.0
    return round(count / len(records) + head, 2), width
