"""Tables to write and read in the tests of this room; made, never copied."""
# ruff: noqa: DTZ001 - spreadsheets hold moments without a zone

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

from brique.formats import Batch, Notes, Writer, WriteReport
from brique.schema import Column, Kind

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SPREADSHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"


def column(name: str, kind: Kind, scale: int | None = None) -> Column:
    return Column(name=name, source=name, kind=kind, label=name, scale=scale)


HEADER = (
    column("id", Kind.INTEGER),
    column("code", Kind.TEXT),
    column("amount", Kind.DECIMAL, 2),
    column("day", Kind.DATE),
    column("moment", Kind.DATETIME),
    column("open", Kind.BOOLEAN),
    column("rate", Kind.REAL),
    column("at", Kind.TIME),
)


def rows(count: int, start: int = 1) -> Batch:
    return [
        (
            number,
            f"{number:06d}",
            Decimal(number * 7) / 100,
            date(2020, 1, 1) + timedelta(days=number % 3000),
            datetime(2026, 1, 2, 3, 4, 5) + timedelta(minutes=number),
            number % 2 == 0,
            number / 4 + 0.125,
            time(number % 24, 30),
        )
        for number in range(start, start + count)
    ]


def batches(count: int, size: int) -> Iterator[Batch]:
    for number in range(count):
        yield rows(size, number * size + 1)


def written(
    writer: Writer,
    header: Sequence[Column],
    table: Batch,
    *,
    notes: Notes | None = None,
    language: str = "en",
    report: WriteReport | None = None,
) -> bytes:
    return b"".join(writer.write(header, [table], notes=notes or Notes(), language=language, report=report))


def saved(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def inline(place: str, text: str) -> str:
    return f'<c r="{place}" t="inlineStr"><is><t>{text}</t></is></c>'


def workbook(path: Path, sheet: str, *, date1904: bool = False) -> Path:
    """An xlsx file whose only sheet, `Sheet`, has the XML given; well formed or not."""
    kind = "application/vnd.openxmlformats-package.relationships+xml"
    start = 'date1904="1"' if date1904 else ""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{PACKAGE}/content-types"><Default Extension="rels" ContentType="{kind}"/>'
            '<Default Extension="xml" ContentType="application/xml"/></Types>',
        )
        archive.writestr("_rels/.rels", _relation("officeDocument", "xl/workbook.xml"))
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{SPREADSHEET}" xmlns:r="{RELATIONS}"><workbookPr {start}/><sheets>'
            '<sheet name="Sheet" sheetId="1" r:id="rId1"/></sheets></workbook>',
        )
        archive.writestr("xl/_rels/workbook.xml.rels", _relation("worksheet", "worksheets/sheet1.xml"))
        archive.writestr(
            "xl/styles.xml",
            f'<styleSheet xmlns="{SPREADSHEET}"><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>',
        )
        archive.writestr("xl/worksheets/sheet1.xml", sheet)
    return path


def _relation(kind: str, target: str) -> str:
    styles = f'<Relationship Id="rId2" Type="{RELATIONS}/styles" Target="styles.xml"/>' if kind == "worksheet" else ""
    return (
        f'<Relationships xmlns="{PACKAGE}/relationships">'
        f'<Relationship Id="rId1" Type="{RELATIONS}/{kind}" Target="{target}"/>{styles}</Relationships>'
    )


def sheet_xml(cells: str) -> str:
    return f'<worksheet xmlns="{SPREADSHEET}"><sheetData>{cells}</sheetData></worksheet>'


def opendocument(path: Path, table: str) -> Path:
    """An ods file whose only sheet, `Sheet`, has the rows given as XML."""
    names = "urn:oasis:names:tc:opendocument:xmlns"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet", zipfile.ZIP_STORED)
        archive.writestr("META-INF/manifest.xml", f'<m:manifest xmlns:m="{names}:manifest:1.0"/>')
        archive.writestr(
            "content.xml",
            f'<office:document-content xmlns:office="{names}:office:1.0" xmlns:table="{names}:table:1.0" '
            f'xmlns:text="{names}:text:1.0"><office:body><office:spreadsheet><table:table table:name="Sheet">{table}'
            "</table:table></office:spreadsheet></office:body></office:document-content>",
        )
    return path


def ods_cell(text: str, repeat: int = 1) -> str:
    return (
        f'<table:table-cell office:value-type="string" table:number-columns-repeated="{repeat}">'
        f"<text:p>{text}</text:p></table:table-cell>"
    )


def ods_row(cells: str, repeat: int = 1) -> str:
    return f'<table:table-row table:number-rows-repeated="{repeat}">{cells}</table:table-row>'
