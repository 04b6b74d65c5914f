# ruff: noqa: DTZ001 - spreadsheets hold moments without a zone
import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest

from brique.formats import Batch, JsonWriter, Notes, Writer, WriteReport
from brique.schema import Kind
from tests.formats.tables import NOON, column, written
from tests.formats.writer_contract import WriterContract


def strict(data: bytes) -> Any:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(data, parse_constant=refuse)


class TestJsonWriter(WriterContract):
    @pytest.fixture
    def writer(self) -> Writer:
        return JsonWriter()

    def ids(self, data: bytes) -> list[int]:
        return [row["id"] for row in strict(data)["rows"]]


def test_the_age_and_the_table_stand_before_the_rows() -> None:
    notes = Notes(table="orders", title="Orders", as_of=NOON, lines=(("Filter", "open"),))
    assert strict(written(JsonWriter(), (column("id", Kind.INTEGER),), [(1,)], notes=notes)) == {
        "table": "orders",
        "title": "Orders",
        "as_of": "2026-11-20T12:00:00Z",
        "notes": {"Filter": "open"},
        "rows": [{"id": 1}],
    }


def test_every_kind_has_its_json_form() -> None:
    values = [
        (2**53, 2**53),
        (2**53 + 1, str(2**53 + 1)),
        (-(2**60), str(-(2**60))),
        (Decimal("1.50"), "1.50"),
        (Decimal("1E+3"), "1000"),
        (0.5, 0.5),
        (True, True),
        (date(2026, 1, 2), "2026-01-02"),
        (time(3, 4), "03:04:00"),
        (datetime(2026, 1, 2, 3, 4), "2026-01-02T03:04:00"),
        (datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "2026-01-02T03:04:00Z"),
        (b"\x00\xff", "AP8="),
        ({"a": [1, None]}, {"a": [1, None]}),
        (None, None),
    ]
    for python, expected in values:
        data = written(JsonWriter(), (column("v", Kind.ANY),), [(python,)])
        assert strict(data)["rows"] == [{"v": expected}]
    mixed = written(JsonWriter(), (column("v", Kind.ANY),), [(python,) for python, _ in values])
    assert [row["v"] for row in strict(mixed)["rows"]] == [expected for _, expected in values]


def test_what_is_not_a_number_is_null_and_counted() -> None:
    report = WriteReport()
    table: Batch = [(float("nan"),), (float("inf"),), (1.5,)]
    data = written(JsonWriter(), (column("r", Kind.REAL),), table, report=report)
    assert [row["r"] for row in strict(data)["rows"]] == [None, None, 1.5]
    assert report.not_a_number == 2
