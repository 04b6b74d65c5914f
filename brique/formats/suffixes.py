"""Which formats there are: by the ending of a name, what can be written and what can be read."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from brique.errors import BadInput
from brique.formats.csv_in import CsvReader
from brique.formats.csv_out import CsvWriter
from brique.formats.json_out import JsonWriter
from brique.formats.protocol import Field, Limits, Reader, ReadReport, StoreBatch, Writer
from brique.formats.reading import SheetSchema, infer_file, read_file
from brique.formats.workbook_in import WorkbookReader
from brique.formats.xlsx_out import XlsxWriter


@dataclass(frozen=True)
class Format:
    """One format: its ending with the dot, its name for people, its media type, and what reads and writes it."""

    suffix: str
    label: str
    media_type: str
    writer: Writer | None = None
    reader: Reader | None = None


_BOOK = WorkbookReader()
FORMATS: dict[str, Format] = {
    one.suffix: one
    for one in (
        Format(
            ".xlsx",
            "Excel",
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            XlsxWriter(),
            _BOOK,
        ),
        Format(".csv", "CSV", "text/csv; charset=utf-8", CsvWriter(), CsvReader()),
        Format(".json", "JSON", "application/json", JsonWriter()),
        Format(".tsv", "TSV", "text/tab-separated-values; charset=utf-8", CsvWriter(separator="\t"), CsvReader()),
        Format(".txt", "Text", "text/plain; charset=utf-8", None, CsvReader()),
        Format(".ods", "OpenDocument", "application/vnd.oasis.opendocument.spreadsheet", None, _BOOK),
        Format(".xls", "Excel 97", "application/vnd.ms-excel", None, _BOOK),
        Format(".xlsm", "Excel", "application/vnd.ms-excel.sheet.macroEnabled.12", None, _BOOK),
        Format(".xlsb", "Excel", "application/vnd.ms-excel.sheet.binary.macroEnabled.12", None, _BOOK),
    )
}
READABLE: tuple[str, ...] = tuple(suffix for suffix, one in FORMATS.items() if one.reader is not None)
WRITABLE: tuple[str, ...] = tuple(suffix for suffix, one in FORMATS.items() if one.writer is not None)


def by_suffix(name: str | Path) -> Format:
    """The format of a path, a file name, or an ending with or without its dot. Raises BadInput for any other."""
    text = str(name)
    suffix = Path(text).suffix.lower() or f".{text.lower().removeprefix('.')}"
    if suffix in FORMATS:
        return FORMATS[suffix]
    raise BadInput(
        f"{text!r}: no format ends in {suffix!r}.",
        try_this=f"Can be read: {', '.join(READABLE)}. Can be written: {', '.join(WRITABLE)}.",
        suffix=suffix,
    )


def writer_for(name: str | Path) -> Writer:
    """What writes files of that name. Raises BadInput when nothing does."""
    one = by_suffix(name)
    if one.writer is None:
        raise BadInput(
            f"{one.suffix} can be read, but not written.",
            try_this=f"Can be written: {', '.join(WRITABLE)}.",
            suffix=one.suffix,
        )
    return one.writer


def reader_for(name: str | Path) -> Reader:
    """What reads files of that name. Raises BadInput when nothing does."""
    one = by_suffix(name)
    if one.reader is None:
        raise BadInput(
            f"{one.suffix} can be written, but not read.",
            try_this=f"Can be read: {', '.join(READABLE)}.",
            suffix=one.suffix,
        )
    return one.reader


def sheets(path: str | Path, *, limits: Limits | None = None) -> list[str]:
    """The names of the tables in a file, without reading their rows. Raises BadInput, NotFound."""
    return reader_for(path).sheets(Path(path), limits or Limits())


def infer(path: str | Path, *, limits: Limits | None = None, reader: Reader | None = None) -> list[SheetSchema]:
    """The tables of a file: their fields, kinds and keys, judged by all rows. Raises BadInput, NotFound.

    `reader` replaces the one of the suffix, as in `CsvReader(encoding="cp500")`.
    """
    return infer_file(Path(path), reader or reader_for(path), limits or Limits())


def read(
    path: str | Path,
    sheet: str,
    fields: Sequence[Field],
    *,
    limits: Limits | None = None,
    report: ReadReport | None = None,
    reader: Reader | None = None,
) -> Generator[StoreBatch, None, None]:
    """The rows of one sheet (its `source` name) as store values, in the order of `fields`; see `reading.read_file`.

    `report` is complete when the iterator ends; close the iterator to stop early. Raises BadInput, NotFound.
    """
    chosen = reader or reader_for(path)
    return read_file(Path(path), chosen, sheet, fields, limits or Limits(), report or ReadReport())
