# ruff: noqa: DTZ001 - spreadsheets hold moments without a zone
import io
import zipfile
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import openpyxl
import pytest
from python_calamine import CalamineWorkbook

from brique.errors import TooMuch
from brique.formats import Batch, Notes, Writer, WriteReport, XlsxWriter
from brique.formats.xlsx_cells import letters
from brique.formats.xlsx_out import sheet_name
from brique.schema import Kind
from tests.formats.tables import HEADER, NOON, batches, column, rows, written
from tests.formats.writer_contract import WriterContract


def opened(data: bytes) -> Any:
    return openpyxl.load_workbook(io.BytesIO(data))


def values(data: bytes) -> list[tuple[Any, ...]]:
    return list(opened(data).worksheets[0].iter_rows(min_row=2, values_only=True))


class TestXlsxWriter(WriterContract):
    @pytest.fixture
    def writer(self) -> Writer:
        return XlsxWriter()

    def ids(self, data: bytes) -> list[int]:
        book = CalamineWorkbook.from_filelike(io.BytesIO(data))
        seen = [int(row[0]) for row in list(book.get_sheet_by_index(0).iter_rows())[1:]]  # type: ignore[arg-type]
        assert [row[0] for row in values(data)] == seen
        return seen


def test_every_kind_is_read_back_by_openpyxl_as_it_was() -> None:
    table = rows(3)
    read = values(written(XlsxWriter(), HEADER, table))
    for got, wanted in zip(read, table, strict=True):
        assert got[:2] == wanted[:2]
        assert Decimal(str(got[2])) == wanted[2]
        assert got[3] == datetime.combine(wanted[3], time())  # type: ignore[arg-type]
        assert got[4:] == wanted[4:]


def test_the_heading_is_bold_frozen_and_filtered() -> None:
    sheet = opened(written(XlsxWriter(), HEADER, rows(5))).worksheets[0]
    assert sheet.freeze_panes == "A2"
    assert sheet.auto_filter.ref == "A1:H6"
    assert sheet["A1"].font.b
    assert not sheet["A2"].font.b
    assert sheet["B2"].number_format == "@"
    assert sheet["C2"].number_format == "#,##0.00"
    assert sheet.column_dimensions["E"].width >= 19


def test_dates_look_as_the_language_writes_them() -> None:
    formats = {}
    for language in ("en", "fr"):
        sheet = opened(written(XlsxWriter(), HEADER, rows(1), language=language)).worksheets[0]
        formats[language] = sheet["D2"].number_format
    assert formats == {"en": "yyyy-mm-dd", "fr": "dd/mm/yyyy"}


def test_text_is_never_a_formula_and_codes_keep_their_zeros() -> None:
    texts = ["=1+1", "@x", "00123", "-5", "+33", "<b>&</b>", " spaced ", "two\nlines", "é😀"]
    header = (column("t", Kind.TEXT),)
    data = written(XlsxWriter(), header, [(text,) for text in texts])
    sheet = opened(data).worksheets[0]
    assert [cell.value for (cell,) in sheet.iter_rows(min_row=2)] == texts
    assert {cell.data_type for (cell,) in sheet.iter_rows(min_row=2)} <= {"s", "inlineStr"}
    assert b"<f>" not in zipfile.ZipFile(io.BytesIO(data)).read("xl/worksheets/sheet1.xml")


def test_control_characters_are_written_as_excel_writes_them() -> None:
    texts = ["a\x01b", "cr\rx", "_x0041_", "\ud800", "\ufffe"]
    data = written(XlsxWriter(), (column("t", Kind.TEXT),), [(text,) for text in texts])
    xml = zipfile.ZipFile(io.BytesIO(data)).read("xl/worksheets/sheet1.xml").decode()
    for expected in ("a_x0001_b", "cr_x000D_x", "_x005F_x0041_", "\ufffd", "_xFFFE_"):
        assert f">{expected}</t>" in xml
    read = CalamineWorkbook.from_filelike(io.BytesIO(data)).get_sheet_by_index(0).to_python()
    assert [row[0] for row in read[1:4]] == texts[:3]


def test_numbers_that_excel_would_round_become_text_and_are_counted() -> None:
    report = WriteReport()
    table: Batch = [
        (10**15 - 1, Decimal("0.1")),
        (10**15, Decimal("12345678901234.5678")),
        (2**53 + 1, Decimal("1.10")),
    ]
    header = (column("n", Kind.INTEGER), column("d", Kind.DECIMAL))
    read = values(written(XlsxWriter(), header, table, report=report))
    assert read == [(10**15 - 1, 0.1), ("1000000000000000", "12345678901234.5678"), ("9007199254740993", 1.1)]
    assert report.numbers_as_text == 3
    assert report.sentences("en") == ["3 numbers have more than 15 digits and were written as text."]


def test_dates_before_excels_calendar_become_text() -> None:
    report = WriteReport()
    table: Batch = [(date(1900, 2, 28), datetime(1850, 1, 1)), (date(1900, 3, 1), datetime(1900, 3, 1, 6))]
    header = (column("d", Kind.DATE), column("m", Kind.DATETIME))
    read = values(written(XlsxWriter(), header, table, report=report))
    assert read == [("1900-02-28", "1850-01-01 00:00:00"), (datetime(1900, 3, 1), datetime(1900, 3, 1, 6))]
    assert report.dates_as_text == 2


def test_moments_are_local_and_the_heading_names_the_zone() -> None:
    header = (column("at", Kind.DATETIME),)
    table: list[tuple[object, ...]] = [(datetime(2026, 7, 1, 10, tzinfo=UTC),)]
    sheet = opened(written(XlsxWriter(), header, table, notes=Notes(zone=ZoneInfo("Europe/Paris")))).worksheets[0]
    assert [sheet["A1"].value, sheet["A2"].value] == ["at (Europe/Paris)", datetime(2026, 7, 1, 12)]
    assert opened(written(XlsxWriter(), header, table)).worksheets[0]["A1"].value == "at (UTC)"


def test_texts_longer_than_a_cell_are_cut_and_counted() -> None:
    report = WriteReport()
    read = values(written(XlsxWriter(), (column("t", Kind.TEXT),), [("x" * 32_767,), ("y" * 32_768,)], report=report))
    assert read[0][0] == "x" * 32_767
    assert read[1][0] == "y" * 32_766 + "…"
    assert report.cut == 1


def test_rows_beyond_a_sheet_go_on_to_the_next() -> None:
    report = WriteReport()
    notes = Notes(title="Orders", as_of=NOON)
    writer = XlsxWriter(rows_max=101)
    data = b"".join(writer.write(HEADER, batches(5, 50), notes=notes, report=report))
    book = opened(data)
    assert book.sheetnames == ["Orders", "Orders (2)", "Orders (3)", "About"]
    ids = [row[0] for sheet in book.worksheets[:3] for row in sheet.iter_rows(min_row=2, values_only=True)]
    assert ids == list(range(1, 251))
    assert all(sheet["A1"].value == "id" for sheet in book.worksheets[:3])
    assert report.sheets == 3
    about = dict(book["About"].iter_rows(values_only=True))
    assert about["Note"] == "The rows continue on 3 sheets: a sheet has at most 1,048,576."


def test_a_sheet_that_grows_too_large_is_continued_before_it_needs_zip64() -> None:
    data = b"".join(XlsxWriter(part_bytes_max=50_000).write(HEADER, batches(10, 100)))
    book = opened(data)
    assert len(book.sheetnames) > 2
    ids = [row[0] for sheet in book.worksheets[:-1] for row in sheet.iter_rows(min_row=2, values_only=True)]
    assert ids == list(range(1, 1001))


def test_the_about_sheet_says_how_old_the_data_is() -> None:
    notes = Notes(table="orders", title="Commandes", as_of=NOON, lines=(("Filtre", "=ouvert"),))
    book = opened(written(XlsxWriter(), HEADER, rows(2), notes=notes, language="fr"))
    assert book.sheetnames == ["Commandes", "À propos"]
    assert list(book["À propos"].iter_rows(values_only=True)) == [
        ("Table", "Commandes"),
        ("Données confirmées le", "20/11/2026 12:00:00 (UTC)"),
        ("Filtre", "=ouvert"),
        ("Lignes", "2"),
    ]


def test_a_table_may_be_called_about() -> None:
    assert opened(written(XlsxWriter(), HEADER, [], notes=Notes(title="about"))).sheetnames == ["about", "About_"]


def test_names_that_excel_refuses_are_mended() -> None:
    assert sheet_name("a/b:c?[d]") == "a b c d"
    assert sheet_name("'x'") == "x"
    assert sheet_name("History") == "History_"
    assert sheet_name("") == "Data"
    assert len(sheet_name("x" * 40, " (12)")) == 31
    assert len(sheet_name("😀" * 40).encode("utf-16-le")) // 2 <= 31


def test_a_quote_or_ampersand_in_the_name_keeps_the_file_whole() -> None:
    book = opened(written(XlsxWriter(), HEADER, rows(1), notes=Notes(title='L\'été & "le" <reste>')))
    assert book.sheetnames[0] == 'L\'été & "le" <reste>'


def test_columns_have_letters() -> None:
    assert [letters(at) for at in (0, 25, 26, 701, 702, 16_383)] == ["A", "Z", "AA", "ZZ", "AAA", "XFD"]


def test_more_columns_than_a_sheet_holds_are_refused_at_once() -> None:
    header = [column(f"c{at}", Kind.TEXT) for at in range(16_385)]
    with pytest.raises(TooMuch):
        XlsxWriter().write(header, [])


def test_tools_know_the_file_by_its_first_parts() -> None:
    names = zipfile.ZipFile(io.BytesIO(written(XlsxWriter(), HEADER, []))).namelist()
    assert names[:3] == ["_rels/.rels", "docProps/app.xml", "xl/styles.xml"]
