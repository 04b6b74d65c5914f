"""What is written is read back as it was: texts, codes, numbers, dates, gaps."""
# ruff: noqa: DTZ001 - spreadsheets hold moments without a zone

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brique import formats
from brique.formats import Batch, CsvWriter, Notes, XlsxWriter
from brique.formats.parsing import stored_text
from brique.schema import Kind, from_python
from tests.formats.tables import HEADER, column, rows, written

FIELDS = (
    column("id", Kind.INTEGER),
    column("text", Kind.TEXT),
    column("whole", Kind.INTEGER),
    column("exact", Kind.DECIMAL, 4),
    column("free", Kind.DECIMAL),
    column("real", Kind.REAL),
    column("yes", Kind.BOOLEAN),
    column("day", Kind.DATE),
    column("moment", Kind.DATETIME),
    column("at", Kind.TIME),
)

texts = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=30),
    st.sampled_from(["=1", "'=1", "00123", "1e5", "_x0041_", "a\r\nb", '"', "''", "\ufeffx", "a\tb", "x\x01y", "TRUE"]),
)
wholes = st.integers(-(2**63), 2**63 - 1)
exacts = st.decimals("-99999999", "99999999", places=4)
frees = st.decimals("-1e20", "1e20", allow_nan=False, places=7)
reals = st.floats(allow_nan=False, allow_infinity=False)
days = st.dates(date(1900, 3, 1), date(9999, 12, 31))
moments = st.datetimes(datetime(1900, 3, 1), datetime(9999, 12, 30)).map(lambda at: at.replace(microsecond=0))
times = st.times().map(lambda at: at.replace(microsecond=0, fold=0))


def tables(*columns: st.SearchStrategy[Any]) -> st.SearchStrategy[Batch]:
    row = st.tuples(*(st.none() | one for one in columns))
    return st.lists(row, max_size=8).map(lambda rows: [(at, *row) for at, row in enumerate(rows)])


def expected(table: Batch) -> list[tuple[object, ...]]:
    def stored(at: int, value: Any) -> object:
        field = FIELDS[at]
        if field.kind is Kind.TEXT:
            return None if value is None else stored_text(value)
        return from_python(field.kind, value, field.scale)

    return [tuple(stored(at, value) for at, value in enumerate(row)) for row in table]


def read(path: Path, sheet: str) -> list[tuple[object, ...]]:
    return [row for batch in formats.read(path, sheet, FIELDS) for row in batch]


@given(table=tables(texts, wholes, exacts, frees, reals, st.booleans(), days, moments, times))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_csv_is_read_back_as_it_was(tmp_path: Path, table: Batch) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(written(CsvWriter(), FIELDS, table))
    assert read(path, "t") == expected(table)


@given(table=tables(texts, wholes, exacts, frees, reals, st.booleans(), days, moments, times))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_xlsx_is_read_back_as_it_was(tmp_path: Path, table: Batch) -> None:
    path = tmp_path / "t.xlsx"
    path.write_bytes(written(XlsxWriter(), FIELDS, table, notes=Notes(title="t")))
    assert read(path, "t") == expected(table)


@given(table=st.lists(st.tuples(texts, texts), min_size=1, max_size=10))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_csv_of_texts_is_inferred_and_read_without_losing_a_row(tmp_path: Path, table: list[Any]) -> None:
    header = (column("first", Kind.TEXT), column("second", Kind.TEXT))
    path = tmp_path / "t.csv"
    path.write_bytes(written(CsvWriter(), header, table))
    (schema,) = formats.infer(path)
    filled = sum(1 for row in table if any(cell for cell in row))
    got = [row for batch in formats.read(path, "t", schema.fields) for row in batch]
    assert len(got) == filled == schema.rows


@pytest.mark.parametrize("suffix", ["csv", "xlsx"])
def test_inference_finds_the_kinds_that_were_written(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t.{suffix}"
    aware = [(*row[:4], datetime(2026, 1, 2, row[0] % 24, tzinfo=UTC), *row[5:]) for row in rows(40)]  # type: ignore[operator]
    path.write_bytes(written(formats.writer_for(path), HEADER, aware, notes=Notes(title="t")))
    schema = formats.infer(path)[0]
    kinds = [field.kind for field in schema.fields]
    wanted = [field.kind for field in HEADER]
    wanted[6] = Kind.DECIMAL  # numbers with few places were typed: they are kept exactly
    assert kinds == wanted
    assert schema.key == ("id",)
    assert schema.fields[2].scale == 2


def test_a_million_is_not_needed_to_see_the_decimal_comma(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    header = (column("id", Kind.INTEGER), column("amount", Kind.DECIMAL, 2), column("at", Kind.TIME))
    table: Batch = [(1, Decimal("1284.50"), time(3)), (2, Decimal("-0.05"), time(4))]
    path.write_bytes(written(CsvWriter(separator=";", decimal_mark=","), header, table))
    (schema,) = formats.infer(path)
    assert [row[1] for batch in formats.read(path, "t", schema.fields) for row in batch] == [128450, -5]
