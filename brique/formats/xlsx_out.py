"""XLSX out, streamed: a sheet leaves as its rows arrive, straight to a socket, in memory that follows one batch.

What needs the whole (the list of sheets, the filters, how the file describes itself) stands at the end of the archive,
where readers look for it last anyway. Rows beyond what a sheet can hold go on to a further sheet; a last small sheet,
*About*, holds the age of the data and what could not be kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from itertools import chain

from brique.errors import TooMuch
from brique.formats.csv_out import note_pairs, zoned
from brique.formats.protocol import Batch, Heading, Notes, WriteReport
from brique.formats.xlsx_cells import HEAD, CellWriter, decimal_style, escape, letters, styles_xml, width
from brique.formats.zip_out import ZipStream
from brique.words import translate

ROWS_MAX = 1_048_576
COLUMNS_MAX = 16_384
_PART_MAX = 4_000_000_000
_NAME_MAX = 31
_SPREADSHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'


@dataclass(frozen=True)
class XlsxWriter:
    """XLSX out. `rows_max` counts the rows of a sheet with its heading; `level` is the compressor's (1 to 9)."""

    rows_max: int = ROWS_MAX
    part_bytes_max: int = _PART_MAX
    level: int = 1

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
        if len(header) > COLUMNS_MAX:
            raise TooMuch(f"A sheet holds at most {COLUMNS_MAX} columns.", limit=COLUMNS_MAX, columns=len(header))
        return self._pieces(header, batches, notes or Notes(), language, report or WriteReport())

    def _pieces(
        self, header: Sequence[Heading], batches: Iterable[Batch], notes: Notes, language: str, report: WriteReport
    ) -> Iterator[bytes]:
        archive = ZipStream(level=self.level)
        yield _opening(archive, language)
        rows = iter(batches)
        first = next(rows, [])
        book = _Book(self, header, first, notes, language, report)
        for batch in chain((first,), rows):
            yield from book.add(archive, batch)
        yield book.close(archive)


@dataclass
class _Sheet:
    name: str
    number: int
    last_row: int


@dataclass
class _Book:
    """The workbook while it is written: which sheets there are, and how far the open one has got."""

    writer: XlsxWriter
    header: Sequence[Heading]
    first: Batch
    notes: Notes
    language: str
    report: WriteReport
    sheets: list[_Sheet] = field(default_factory=list)
    open: bool = False

    def __post_init__(self) -> None:
        zone = self.notes.zone or UTC
        self.columns = [
            CellWriter(letters(at), decimal_style(heading), zone, self.report) for at, heading in enumerate(self.header)
        ]
        self.labels = [self._label(at, heading.label) for at, heading in enumerate(self.header)]
        self.base = sheet_name(self.notes.title or self.notes.table or translate("Data", self.language))

    def _label(self, at: int, label: str) -> str:
        return f"{label} ({self.notes.zone or 'UTC'})" if zoned(self.first, at) else label

    def add(self, archive: ZipStream, batch: Batch) -> Iterator[bytes]:
        """Write `batch`, on as many sheets as it needs."""
        if not self.open:
            yield self._begin(archive)
        at = 0
        while at < len(batch):
            sheet = self.sheets[-1]
            room = self.writer.rows_max - sheet.last_row
            if room <= 0 or archive.size > self.writer.part_bytes_max:
                yield self._end(archive) + self._begin(archive)
                continue
            part = batch[at : at + min(room, 10_000)]
            data = archive.feed(self._rows(part, sheet.last_row + 1))
            sheet.last_row += len(part)
            self.report.rows += len(part)
            at += len(part)
            if data:
                yield data

    def _rows(self, rows: Batch, start: int) -> bytes:
        numbers = range(start, start + len(rows))
        cells = [
            column.cells(numbers, values) for column, values in zip(self.columns, zip(*rows, strict=True), strict=True)
        ]
        lines = [f'<row r="{n}">{"".join(row)}</row>' for n, row in zip(numbers, zip(*cells, strict=True), strict=True)]
        return "".join(lines).encode()

    def _begin(self, archive: ZipStream) -> bytes:
        number = len(self.sheets) + 1
        name = self.base if number == 1 else sheet_name(self.base, f" ({number})")
        self.sheets.append(_Sheet(name, number, 1))
        self.report.sheets = number
        self.open = True
        sample = self.first[:200]
        widths = [width(label, [row[at] for row in sample]) for at, label in enumerate(self.labels)]
        top = "".join(column.text(1, label, HEAD) for column, label in zip(self.columns, self.labels, strict=True))
        selected = ' tabSelected="1"' if number == 1 else ""
        begun = archive.begin(f"xl/worksheets/sheet{number}.xml")
        fed = archive.feed(
            f'{_XML}<worksheet xmlns="{_SPREADSHEET}"><sheetViews><sheetView{selected} workbookViewId="0">'
            '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/>'
            '<selection pane="bottomLeft" activeCell="A2" sqref="A2"/></sheetView></sheetViews>'
            f'<sheetFormatPr defaultRowHeight="15"/>{_cols(widths)}<sheetData><row r="1">{top}</row>'.encode()
        )
        return begun + fed + archive.flush()

    def _end(self, archive: ZipStream) -> bytes:
        tail = "</sheetData>"
        if self.columns:
            area = f"A1:{self.columns[-1].column}{self.sheets[-1].last_row}"
            tail += f'<autoFilter ref="{area}"/><ignoredErrors><ignoredError sqref="{area}" numberStoredAsText="1"/>'
            tail += "</ignoredErrors>"
        self.open = False
        return archive.feed(f"{tail}</worksheet>".encode()) + archive.end()

    def close(self, archive: ZipStream) -> bytes:
        """The end of the open sheet, the sheet About and everything that describes the whole."""
        data = self._end(archive)
        about = _about(note_pairs(self.notes, self.language), self.report, self.language)
        names = {sheet.name.casefold() for sheet in self.sheets}
        name = translate("About", self.language)
        while name.casefold() in names:
            name += "_"
        number = len(self.sheets) + 1
        data += archive.part(f"xl/worksheets/sheet{number}.xml", about)
        data += archive.part("xl/workbook.xml", self._workbook(name))
        kinds = [("worksheet", f"worksheets/sheet{at}.xml") for at in range(1, number + 1)]
        data += archive.part("xl/_rels/workbook.xml.rels", _relations([*kinds, ("styles", "styles.xml")]))
        data += archive.part("[Content_Types].xml", _content_types(number))
        return data + archive.finish()

    def _workbook(self, about: str) -> bytes:
        names = [sheet.name for sheet in self.sheets] + [about]
        sheets = "".join(
            f'<sheet name="{_attribute(name)}" sheetId="{at}" r:id="rId{at}"/>' for at, name in enumerate(names, 1)
        )
        filters = ""
        if self.columns:
            last = self.columns[-1].column
            filters = "<definedNames>" + "".join(
                f'<definedName name="_xlnm._FilterDatabase" localSheetId="{at}" hidden="1">'
                f"{_attribute(_quoted(sheet.name))}!$A$1:${last}${sheet.last_row}</definedName>"
                for at, sheet in enumerate(self.sheets)
            )
            filters += "</definedNames>"
        return (
            f'{_XML}<workbook xmlns="{_SPREADSHEET}" xmlns:r="{_RELATIONS}"><workbookPr defaultThemeVersion="124226"/>'
            f'<bookViews><workbookView activeTab="0"/></bookViews><sheets>{sheets}</sheets>{filters}</workbook>'
        ).encode()


def _opening(archive: ZipStream, language: str) -> bytes:
    """The parts that depend on nothing; `_rels/.rels` and `docProps` come first so that tools know the file's type."""
    app = (
        f'{_XML}<Properties xmlns="http://schemas.openxmlformats.org/officeDocument/2006/extended-properties">'
        "<Application>brique</Application></Properties>"
    )
    root = (
        f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships">'
        f'<Relationship Id="rId1" Type="{_RELATIONS}/officeDocument" Target="xl/workbook.xml"/>'
        f'<Relationship Id="rId2" Type="{_RELATIONS}/extended-properties" Target="docProps/app.xml"/></Relationships>'
    )
    return (
        archive.part("_rels/.rels", root.encode())
        + archive.part("docProps/app.xml", app.encode())
        + archive.part("xl/styles.xml", styles_xml(language).encode())
    )


def _about(pairs: list[tuple[str, str]], report: WriteReport, language: str) -> bytes:
    quiet = WriteReport()
    what, value = CellWriter("A", 0, UTC, quiet), CellWriter("B", 0, UTC, quiet)
    lines = [*pairs, (translate("Rows", language), str(report.rows))]
    lines += [(translate("Note", language), sentence) for sentence in report.sentences(language)]
    rows = "".join(
        f'<row r="{at}">{what.text(at, left, HEAD)}{value.text(at, right)}</row>'
        for at, (left, right) in enumerate(lines, 1)
    )
    widths = [width(left, []) for left, _ in lines], [width(right, []) for _, right in lines]
    cols = _cols([max(column) for column in widths])
    return f'{_XML}<worksheet xmlns="{_SPREADSHEET}">{cols}<sheetData>{rows}</sheetData></worksheet>'.encode()


def _cols(widths: Sequence[int]) -> str:
    if not widths:
        return ""
    inner = "".join(f'<col min="{at}" max="{at}" width="{size}" customWidth="1"/>' for at, size in enumerate(widths, 1))
    return f"<cols>{inner}</cols>"


def _relations(targets: list[tuple[str, str]]) -> bytes:
    inner = "".join(
        f'<Relationship Id="rId{at}" Type="{_RELATIONS}/{kind}" Target="{target}"/>'
        for at, (kind, target) in enumerate(targets, 1)
    )
    return f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships">{inner}</Relationships>'.encode()


def _content_types(sheets: int) -> bytes:
    inner = "".join(
        f'<Override PartName="/xl/worksheets/sheet{at}.xml" ContentType="{_TYPE}.worksheet+xml"/>'
        for at in range(1, sheets + 1)
    )
    return (
        f'{_XML}<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>'
        f'<Override PartName="/xl/styles.xml" ContentType="{_TYPE}.styles+xml"/>'
        '<Override PartName="/docProps/app.xml" '
        'ContentType="application/vnd.openxmlformats-officedocument.extended-properties+xml"/>'
        f"{inner}</Types>"
    ).encode()


def sheet_name(wanted: str, ending: str = "") -> str:
    """`wanted` as Excel allows a sheet to be called: 31 characters, none of []:*?/\\, no apostrophe at its ends."""
    plain = re.sub(r"[\[\]:*?/\\\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]", " ", wanted)
    plain = " ".join(plain.split()).strip("'")
    if plain.casefold() in ("", "history", "historique"):
        plain = f"{plain}_".lstrip() if plain else "Data"
    # Excel counts UTF-16 units
    room = _NAME_MAX - len(ending)
    while len(plain.encode("utf-16-le")) // 2 > room:
        plain = plain[:-1]
    return plain.rstrip(" '") + ending


def _attribute(text: str) -> str:
    return escape(text).replace('"', "&quot;")


def _quoted(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"
