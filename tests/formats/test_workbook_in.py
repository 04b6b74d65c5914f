# ruff: noqa: DTZ001 - spreadsheets hold moments without a zone
import struct
import zipfile
from copy import copy
from datetime import date, datetime, time, timedelta
from pathlib import Path

import openpyxl
import pytest

from brique import formats
from brique.errors import BadInput, NotFound
from brique.formats import Limits, ReadReport
from brique.schema import Kind, Value
from tests.formats.tables import inline, ods_cell, ods_row, opendocument, saved, sheet_xml, workbook

MEGABYTE = 1 << 20


def rows(path: Path, sheet: str | None = None) -> list[tuple[Value, ...]]:
    found = {schema.source: schema for schema in formats.infer(path)}
    schema = found[sheet or next(iter(found))]
    return [row for batch in formats.read(path, schema.source, schema.fields) for row in batch]


@pytest.fixture
def book(tmp_path: Path) -> Path:
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet.title = "Données"
    sheet["B2"] = "Stock report"
    for row in [
        ("Code", "Name", "Amount", "Day", "Moment", "At", "Ok", "Third", "Gap"),
        ("007", "x", 12.5, date(2026, 1, 2), datetime(2026, 1, 2, 3, 4, 5), time(6, 30), True, 1 / 3, None),
        (12, "=1/0", 3, date(2026, 1, 3), datetime(2026, 1, 3), time(7), False, 2.0, timedelta(hours=37)),
    ]:
        sheet.append([None, *row])
    second = book.create_sheet("Second")
    for value in ("id", 1, 2):
        second.append([value])
    hidden = book.create_sheet("Hidden")
    hidden.sheet_state = "hidden"
    hidden.append(["secret"])
    book.create_sheet("Empty")
    path = tmp_path / "book.xlsx"
    book.save(path)
    return path


def test_each_visible_sheet_with_cells_is_a_table(book: Path) -> None:
    assert formats.sheets(book) == ["Données", "Second", "Empty"]
    first, second = formats.infer(book)
    assert (first.name, first.source, first.title) == ("donnees", "Données", ("Stock report",))
    assert (second.name, second.key, second.rows) == ("second", ("id",), 2)


def test_cells_become_store_values(book: Path) -> None:
    first = formats.infer(book)[0]
    kinds = [(field.kind, field.scale) for field in first.fields]
    assert kinds == [
        (Kind.TEXT, None),
        (Kind.TEXT, None),
        (Kind.DECIMAL, 1),
        (Kind.DATE, None),
        (Kind.DATETIME, None),
        (Kind.TIME, None),
        (Kind.BOOLEAN, None),
        (Kind.REAL, None),
        (Kind.TEXT, None),
    ]
    assert rows(book) == [
        ("007", "x", 125, "2026-01-02", "2026-01-02T03:04:05.000000", "06:30:00", 1, 1 / 3, None),
        ("12", None, 30, "2026-01-03", "2026-01-03T00:00:00.000000", "07:00:00", 0, 2.0, "37:00:00"),
    ]


def test_a_sheet_that_is_not_there_is_not_found(book: Path) -> None:
    fields = formats.infer(book)[1].fields
    for name in ("Third", "Hidden"):
        with pytest.raises(NotFound, match=f"book.xlsx has no sheet '{name}'"):
            list(formats.read(book, name, fields))


def test_misfits_are_reported_with_their_row(book: Path) -> None:
    fields = formats.infer(book)[1].fields
    changed = openpyxl.load_workbook(book)
    changed["Second"]["A3"] = "two"
    changed.save(book)
    report = ReadReport()
    assert list(formats.read(book, "Second", fields, report=report)) == [[(1,), ("two",)]]
    assert [problem.line for problem in report.problems] == [3]


def test_stopping_early_ends_the_child(book: Path) -> None:
    path = workbook(
        book.with_name("long.xlsx"),
        sheet_xml(
            "".join(f'<row r="{n}">{inline(f"A{n}", "id" if n == 1 else f"x{n}")}</row>' for n in range(1, 50_000))
        ),
    )
    fields = formats.infer(path)[0].fields
    others = set(children())
    batches = formats.read(path, "Sheet", fields)
    next(batches)
    started = set(children()) - others
    batches.close()
    assert started
    assert not started & set(children())


def children() -> list[str]:
    return Path("/proc/thread-self/children").read_text().split()


def test_the_1904_calendar_is_honoured(tmp_path: Path) -> None:
    xml = sheet_xml(f'<row r="1">{inline("A1", "day")}</row><row r="2"><c r="A2" s="1"><v>1</v></c></row>')
    assert rows(workbook(tmp_path / "a.xlsx", xml, date1904=True)) == [("1904-01-02",)]


def test_a_lying_dimension_is_not_believed(tmp_path: Path) -> None:
    xml = sheet_xml(f'<row r="1">{inline("A1", "id")}</row><row r="2">{inline("A2", "5")}</row>')
    path = workbook(tmp_path / "a.xlsx", xml.replace("<sheetData>", '<dimension ref="A1:XFD1048576"/><sheetData>'))
    assert rows(path) == [(5,)]


def test_opendocument_is_read_without_its_million_empty_rows(tmp_path: Path) -> None:
    table = ods_row(ods_cell("id") + ods_cell("town")) + ods_row(ods_cell("1") + ods_cell("Thiès"))
    table += ods_row('<table:table-cell table:number-columns-repeated="16382"/>', 1_048_574)
    assert rows(opendocument(tmp_path / "a.ods", table)) == [(1, "Thiès")]


def far_cell(path: Path) -> Path:
    """A few hundred bytes that make the library ask for 550 GB and end its process."""
    last = f'<row r="1048576">{inline("XFD1048576", "z")}</row>'
    return workbook(path, sheet_xml(f'<row r="1">{inline("A1", "a")}</row>{last}'))


def test_one_cell_in_the_last_corner_is_a_clear_error(tmp_path: Path) -> None:
    path = far_cell(tmp_path / "far.xlsx")
    assert path.stat().st_size < 5000
    with pytest.raises(BadInput, match=r"far.xlsx, sheet 'Sheet': it needs more memory than \d+ MB") as caught:
        formats.infer(path)
    assert caught.value.facts["sheet"] == "Sheet"
    assert caught.value.facts["file"] == "far.xlsx"


def test_an_archive_that_says_it_is_huge_is_not_opened(tmp_path: Path) -> None:
    path = workbook(tmp_path / "bomb.xlsx", sheet_xml(f'<row r="1">{inline("A1", "A" * (20 * MEGABYTE))}</row>'))
    with pytest.raises(BadInput, match=r"unpacks to [0-9]+ times its size"):
        formats.infer(path)
    with pytest.raises(BadInput, match="unpacks to 20 MB; at most 10 are read"):
        formats.infer(path, limits=Limits(inflated_bytes_max=10 * MEGABYTE))


def test_an_archive_that_lies_about_its_size_is_not_opened(tmp_path: Path) -> None:
    xml = sheet_xml(f'<row r="1">{inline("A1", "A" * (20 * MEGABYTE))}</row>')
    path = workbook(tmp_path / "lie.xlsx", xml)
    data = path.read_bytes()
    size = struct.pack("<L", len(xml))
    assert data.count(size) == 2
    saved(path, data.replace(size, struct.pack("<L", 1000)))
    with pytest.raises(BadInput, match=r"lie.xlsx: it is damaged"):
        formats.infer(path)


def test_entities_are_refused(tmp_path: Path) -> None:
    laughs = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'
    path = workbook(tmp_path / "a.xlsx", laughs + sheet_xml(f'<row r="1">{inline("A1", "&b;")}</row>'))
    with pytest.raises(BadInput, match="declares XML entities"):
        formats.infer(path)


@pytest.mark.parametrize(
    "table",
    [
        ods_row(ods_cell("x", 16_000), 1_000_000),
        ods_row(ods_cell("x", 2_000_000_000)),
        ods_row(ods_cell("x", 5_000), 3),
    ],
)
def test_repeated_cells_are_held_to_the_limits(tmp_path: Path, table: str) -> None:
    with pytest.raises(BadInput, match=r"a.ods.*(columns; at most 2000|Cell limit|memory)"):
        formats.infer(opendocument(tmp_path / "a.ods", table))


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(rows_max=2), "3 rows; at most 2"),
        (Limits(columns_max=1), "2 columns; at most 1"),
        (Limits(cells_max=5), "more than 5 cells"),
        (Limits(cell_chars_max=3), "a cell holds 4 characters; at most 3"),
        (Limits(file_bytes_max=10), "bytes; at most 10"),
        (Limits(sheets_max=0), "1 sheets; at most 0"),
        (Limits(wait_seconds_max=0.0), "took too long"),
    ],
)
def test_limits_have_names_and_hold(tmp_path: Path, limits: Limits, reason: str) -> None:
    cells = "".join(f'<row r="{n}">{inline(f"A{n}", "a")}{inline(f"B{n}", "long")}</row>' for n in (1, 2, 3))
    path = workbook(tmp_path / "a.xlsx", sheet_xml(cells))
    with pytest.raises(BadInput, match=reason):
        formats.infer(path, limits=limits)


def test_processor_time_is_limited(tmp_path: Path) -> None:
    path = tmp_path / "slow.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("part.xml", b" " * (64 * MEGABYTE))
        assert archive.fp is not None
        archive.fp.flush()
        part, first = path.read_bytes(), archive.infolist()[0]
        for _ in range(45):  # 2.9 GB to inflate, in 13 MB
            again = copy(first)
            again.header_offset = archive.fp.tell()
            archive.fp.write(part)
            archive.filelist.append(again)
        archive.start_dir = archive.fp.tell()
    with pytest.raises(BadInput, match="more than 1 seconds of processor time"):
        formats.infer(path, limits=Limits(cpu_seconds_max=1, ratio_max=2000))


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.xlsx", b"", "it is empty"),
        ("a.xls", b"<html><table>", "it is not a spreadsheet, whatever its name says"),
        ("a.xlsx", b"PK\x03\x04" + b"\x00" * 100, "it is damaged"),
        ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\xff" * 3000, "it is damaged"),
    ],
)
def test_files_that_are_not_what_they_say_are_refused(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    with pytest.raises(BadInput, match=f"{name}: {reason}"):
        formats.infer(saved(tmp_path / name, data))


def test_every_cut_of_a_good_file_is_refused_and_none_hangs(book: Path) -> None:
    data = book.read_bytes()
    for share in (0.1, 0.5, 0.9, 0.99):
        path = saved(book.with_name("cut.xlsx"), data[: int(len(data) * share)])
        with pytest.raises(BadInput):
            formats.infer(path)


def test_flipped_bytes_never_end_in_anything_but_a_table_or_bad_input(book: Path) -> None:
    data = bytearray(book.read_bytes())
    for at in range(40, len(data), len(data) // 12):
        broken = bytes(data[:at]) + bytes([data[at] ^ 0xFF]) + bytes(data[at + 1 :])
        try:
            formats.infer(saved(book.with_name("flip.xlsx"), broken))
        except BadInput as fault:
            assert fault.facts["file"] == "flip.xlsx"


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        formats.infer(tmp_path / "none.ods")


def test_a_password_is_named_as_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/workbook.xml", "x")
    data = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + place] |= 1
    with pytest.raises(BadInput, match="protected by a password"):
        formats.infer(saved(path, bytes(data)))
