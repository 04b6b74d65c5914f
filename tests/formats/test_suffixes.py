from pathlib import Path

import pytest

from brique import formats
from brique.errors import BadInput
from brique.formats import FORMATS, READABLE, WRITABLE, by_suffix, reader_for, writer_for


@pytest.mark.parametrize("name", ["orders.XLSX", "xlsx", ".xlsx", Path("/tmp/a.b/orders.xlsx")])
def test_a_format_is_found_by_path_name_or_ending(name: str | Path) -> None:
    assert by_suffix(name).suffix == ".xlsx"


def test_each_format_reads_or_writes_and_says_its_media_type() -> None:
    for suffix, one in FORMATS.items():
        assert suffix == one.suffix
        assert one.reader or one.writer
        assert "/" in one.media_type
        assert one.label
    assert WRITABLE == (".xlsx", ".csv", ".json", ".tsv")
    assert {".csv", ".tsv", ".xlsx", ".ods", ".xls", ".xlsb"} <= set(READABLE)


def test_other_endings_are_refused_with_the_list_of_known_ones() -> None:
    with pytest.raises(BadInput, match=r"no format ends in '.pdf'") as caught:
        by_suffix("a.pdf")
    assert ".xlsx" in caught.value.try_this


def test_a_format_of_one_direction_says_so() -> None:
    with pytest.raises(BadInput, match=r".ods can be read, but not written"):
        writer_for("a.ods")
    with pytest.raises(BadInput, match=r".json can be written, but not read"):
        reader_for("a.json")


def test_what_is_public_is_listed_once() -> None:
    assert sorted(set(formats.__all__)) == sorted(formats.__all__)
    assert all(hasattr(formats, name) for name in formats.__all__)
