import csv
import io
from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from brique.formats import CsvWriter, Notes, Writer, WriteReport
from brique.formats.csv_out import guard, unguard
from brique.schema import Kind
from tests.formats.tables import HEADER, NOON, column, rows, written
from tests.formats.writer_contract import WriterContract


def records(data: bytes, separator: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=separator, strict=True))


class TestCsvWriter(WriterContract):
    @pytest.fixture
    def writer(self) -> Writer:
        return CsvWriter()

    def ids(self, data: bytes) -> list[int]:
        return [int(row[0]) for row in records(data)[1:]]


TEXT = (column("id", Kind.INTEGER), column("text", Kind.TEXT))


def test_a_byte_order_mark_tells_excel_that_accents_are_utf8() -> None:
    data = written(CsvWriter(), TEXT, [(1, "Thiès")])
    assert data.startswith(b"\xef\xbb\xbfid,text\r\n")
    assert "Thiès".encode() in data


def test_texts_that_a_spreadsheet_would_run_get_an_apostrophe() -> None:
    risky = ["=1+1", "+33 6", "-2", "@x", "\tx", "\rx", "'=1"]
    data = written(CsvWriter(), TEXT, [(at, text) for at, text in enumerate(risky)])
    assert [row[1] for row in records(data)[1:]] == [f"'{text}" for text in risky]


def test_headings_are_guarded_too() -> None:
    assert records(written(CsvWriter(), (column("=cmd", Kind.TEXT),), []))[0] == ["'=cmd"]


def test_harmless_texts_and_negative_numbers_stay_as_they_are() -> None:
    header = (column("n", Kind.INTEGER), column("d", Kind.DECIMAL, 2), column("r", Kind.REAL), column("t", Kind.TEXT))
    data = written(CsvWriter(), header, [(-5, Decimal("-1.50"), -0.5, "a=b"), (1, Decimal("1E+3"), 1.0, "it's")])
    assert records(data)[1:] == [["-5", "-1.50", "-0.5", "a=b"], ["1", "1000", "1.0", "it's"]]


@pytest.mark.parametrize("text", ["=1", "'=1", "''@x", "'plain", "plain", "", "-", "''"])
def test_unguard_undoes_guard(text: str) -> None:
    assert unguard(guard(text)) == text


def test_quotes_separators_and_line_ends_are_quoted() -> None:
    texts = ['say "no"', "a,b", "two\nlines", "two\r\nlines"]
    assert [row[1] for row in records(written(CsvWriter(), TEXT, list(enumerate(texts))))[1:]] == texts


def test_moments_keep_their_offset_without_a_zone_and_are_local_with_one() -> None:
    header = (column("at", Kind.DATETIME),)
    moment = datetime(2026, 7, 1, 10, 0, tzinfo=UTC)
    assert records(written(CsvWriter(), header, [(moment,)])) == [["at"], ["2026-07-01 10:00:00+00:00"]]
    notes = Notes(zone=ZoneInfo("Europe/Paris"))
    assert records(written(CsvWriter(), header, [(moment,)], notes=notes)) == [
        ["at (Europe/Paris)"],
        ["2026-07-01 12:00:00"],
    ]


def test_the_french_profile_has_semicolons_and_decimal_commas() -> None:
    header = (column("d", Kind.DECIMAL, 2), column("r", Kind.REAL), column("day", Kind.DATE))
    data = written(CsvWriter(separator=";", decimal_mark=","), header, [(Decimal("1284.50"), 0.5, date(2026, 1, 2))])
    assert records(data, ";")[1] == ["1284,50", "0,5", "2026-01-02"]


def test_what_is_not_a_number_is_left_empty_and_counted() -> None:
    report = WriteReport()
    data = written(CsvWriter(), (column("r", Kind.REAL), column("t", Kind.TEXT)), [(float("nan"), "x")], report=report)
    assert records(data)[1] == ["", "x"]
    assert report.not_a_number == 1


def test_the_age_stands_at_the_end_only_when_asked_for() -> None:
    notes = Notes(table="orders", as_of=NOON)
    assert b"2026-11-20" not in written(CsvWriter(), HEADER, rows(0), notes=notes)
    data = written(CsvWriter(notes_at_end=True), HEADER, rows(1), notes=notes)
    assert data.decode().endswith("\r\n\r\n# Table: orders\r\n# Data confirmed at: 2026-11-20 12:00:00 (UTC)\r\n")


def test_programs_may_have_names_and_no_mark() -> None:
    writer = CsvWriter(byte_order_mark=False, guarded=False, headings="name")
    assert written(writer, TEXT, [(1, "=1")]) == b"id,text\r\n1,=1\r\n"
