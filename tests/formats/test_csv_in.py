"""CSV as people and programs write it; the cases that trip parsers are the well-known ones, made anew."""

from pathlib import Path
from typing import Any

import pytest

from brique import formats
from brique.errors import BadInput, NotFound
from brique.formats import CsvReader, Limits, ReadReport
from brique.formats.csv_in import sniff
from tests.formats.tables import saved


def table(path: Path, **options: Any) -> tuple[list[str], list[tuple[object, ...]], ReadReport]:
    """The headings, the rows and the report of a file that holds one table."""
    (schema,) = formats.infer(path, **options)
    report = ReadReport()
    batches = formats.read(path, schema.source, schema.fields, report=report, **options)
    return [field.source for field in schema.fields], [row for batch in batches for row in batch], report


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n1,2\n", [(1, 2)]),
        ("a,b\r\n1,2\r\n", [(1, 2)]),
        ("a,b\r1,2\r", [(1, 2)]),
        ("a,b\n1,2", [(1, 2)]),
        ('a,b\n1,"x, y"\n', [(1, "x, y")]),
        ('a,b\n1,""\n2,x\n', [(1, None), (2, "x")]),
        ('a,b\n1,"say ""no"""\n', [(1, 'say "no"')]),
        ('a,b\n1,"{""k"": [1, 2]}"\n', [(1, '{"k": [1, 2]}')]),
        ('a,b\n1,"one\ntwo"\n2,x\n', [(1, "one\ntwo"), (2, "x")]),
        ('a,b\r\n1,"one\r\ntwo"\r\n2,x\r\n', [(1, "one\r\ntwo"), (2, "x")]),
        ('a,b\n1,"x \n""y"" \nz"\n', [(1, 'x \n"y" \nz')]),
        ("a,b\n1,ʤ\n2,😀\n", [(1, "ʤ"), (2, "😀")]),
        ("a,b\n\n1,2\n\n3,4\n\n", [(1, 2), (3, 4)]),
        ("\ufeffa,b\n1,2\n", [(1, 2)]),
        ("sep=;\na;b\n1;2,5\n", [(1, 25)]),
        ("a,b,\n1,2,\n", [(1, 2)]),
        ("a,b\n1,x\x00y\n", [(1, "xy")]),
    ],
)
def test_what_trips_parsers_is_read_right(tmp_path: Path, text: str, expected: list[tuple[object, ...]]) -> None:
    names, rows, report = table(saved(tmp_path / "t.csv", text))
    assert names == ["a", "b"]
    assert rows == expected
    assert report.problems == []


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        ("a;b;c\n1,5;2,5;3\n", ";"),
        ("a,b\n1,2\n", ","),
        ("a\tb\n1,5\t2\n", "\t"),
        ("a|b\n1|2\n", "|"),
        ('name,note\nx,"a;b;c"\ny,"d;e;f"\n', ","),
        ('name;note\nx;"a,b"\ny;"c\n,d"\n', ";"),
        ("word\nother\n", ","),
    ],
)
def test_the_separator_is_the_one_that_makes_a_table(text: str, separator: str) -> None:
    assert sniff(text) == separator


def test_a_lone_column_in_a_tsv_has_no_commas_cut(tmp_path: Path) -> None:
    assert table(saved(tmp_path / "t.tsv", "word\na\nb\n"))[1] == [("a",), ("b",)]


def test_short_lines_are_filled_up_and_long_ones_rejected_each_with_its_line(tmp_path: Path) -> None:
    text = 'a,b,c\n1,2,3\n4,5\n6,7,8,9\n"10",11,"x\ny"\n12,13,14,\n'
    _, rows, report = table(saved(tmp_path / "t.csv", text))
    assert rows == [(1, 2, "3"), (4, 5, None), (10, 11, "x\ny"), (12, 13, "14")]
    assert (report.rows, report.padded, report.rejected) == (4, 1, 1)
    assert [problem.line for problem in report.problems] == [3, 4]
    assert "6 | 7 | 8 | 9" in report.problems[1].what


def test_problems_are_told_in_the_language_of_the_reader(tmp_path: Path) -> None:
    report = table(saved(tmp_path / "t.csv", "a,b\n1,2\n3\n4,{x}\n5,6,7\n"))[2]
    assert [problem.sentence("fr") for problem in report.problems] == [
        "Contient 1 valeurs pour 2 colonnes\u202f; celles qui manquent sont vides.",
        "Contient 3 valeurs pour 2 colonnes, a été laissée de côté\u202f: 5 | 6 | 7",
    ]
    assert report.sentences("en") == [
        "1 lines have too many values and were left out.",
        "1 lines have too few values; the missing ones are empty.",
    ]


def test_problems_are_all_counted_but_not_all_kept(tmp_path: Path) -> None:
    path = saved(tmp_path / "t.csv", "a,b\n" + "1,2\n" * 300 + "1\n" * 250)
    report = table(path)[2]
    assert report.padded == 250
    assert len(report.problems) == 100


def test_an_open_quote_is_a_fault_and_never_swallows_the_rest(tmp_path: Path) -> None:
    path = saved(tmp_path / "t.csv", 'a,b\n1,2\n3,"x\n4,5\n6,7\n')
    with pytest.raises(BadInput, match="record that starts at line 3 does not end"):
        formats.infer(path)


def test_an_open_quote_in_a_huge_file_stops_at_the_limit_of_a_cell(tmp_path: Path) -> None:
    path = saved(tmp_path / "t.csv", 'a,b\n1,"x\n' + "2,3\n" * 400_000)
    with pytest.raises(BadInput, match="record that starts at line 2 cannot be read"):
        formats.infer(path)


def test_a_french_export_keeps_codes_amounts_and_days(tmp_path: Path) -> None:
    text = "Code;Montant;Date\n00123;1\u202f284,50;31/12/2026\n00007;0,5;01/02/2026\n"
    path = saved(tmp_path / "t.csv", text.encode("utf-8"))
    assert table(path)[1] == [("00123", 128450, "2026-12-31"), ("00007", 50, "2026-02-01")]


def test_old_encodings_are_judged_and_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "t.csv", "ville;n\nThiès;1\nÉvry;2\n".encode("cp1252"))
    _, rows, report = table(path)
    assert rows == [("Thiès", 1), ("Évry", 2)]
    assert (report.encoding, report.separator) == ("cp1252", ";")


def test_ebcdic_is_read_when_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "t.csv", "a;b\n1;été\n".encode("cp500"))
    assert table(path, reader=CsvReader(encoding="cp500", separator=";"))[1] == [(1, "été")]


def test_columns_are_found_by_heading_when_they_have_moved(tmp_path: Path) -> None:
    path = saved(tmp_path / "t.csv", "id,name,n\n1,x,5\n")
    (schema,) = formats.infer(path)
    path.write_text("n,new,name,id\n6,?,y,2\n")
    assert list(formats.read(path, "t", schema.fields)) == [[(2, "y", 6)]]


def test_a_column_that_is_gone_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "t.csv", "id,name\n1,x\n")
    (schema,) = formats.infer(path)
    path.write_text("id,label\n1,x\n")
    with pytest.raises(BadInput, match=r"t.csv, sheet 't': there is no column 'name'") as caught:
        list(formats.read(path, "t", schema.fields))
    assert caught.value.facts["missing"] == ["name"]
    assert "id, label" in caught.value.try_this


def test_a_value_that_no_longer_fits_is_kept_as_text_and_reported(tmp_path: Path) -> None:
    path = saved(tmp_path / "t.csv", "id,n,d,amount\n1,5,2026-01-02,1.50\n")
    (schema,) = formats.infer(path)
    path.write_text("id,n,d,amount\n1,five,2026-02-31,1.505\n2,007,02/01/2026,2\n")
    report = ReadReport()
    batches = list(formats.read(path, "t", schema.fields, report=report))
    assert batches == [[(1, "five", "2026-02-31", "1.505"), (2, "007", "2026-01-02", 200)]]
    assert report.misfits == 4
    assert {problem.line for problem in report.problems} == {2, 3}


def test_a_file_without_headings_gets_names_and_is_read_by_place(tmp_path: Path) -> None:
    path = saved(tmp_path / "t.csv", "1,x,2026-01-02\n2,y,2026-01-03\n")
    names, rows, _ = table(path)
    assert names == ["col1", "col2", "col3"]
    assert rows == [(1, "x", "2026-01-02"), (2, "y", "2026-01-03")]


def test_a_file_that_changes_under_the_reader_is_not_trusted(tmp_path: Path) -> None:
    path = saved(tmp_path / "t.csv", "id,n\n" + "".join(f"{n},5\n" for n in range(9000)))
    (schema,) = formats.infer(path)
    batches = formats.read(path, "t", schema.fields)
    next(batches)
    with path.open("a") as file:
        file.write("1,2\n")
    with pytest.raises(BadInput, match="changed while it was read"):
        list(batches)


def test_other_files_under_a_csv_name_are_named_for_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is a ZIP archive or spreadsheet, not text"):
        formats.infer(saved(tmp_path / "t.csv", b"PK\x03\x04...."))


def test_files_and_tables_that_are_not_there_are_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        formats.infer(tmp_path / "none.csv")
    path = saved(tmp_path / "t.csv", "a\nx\n")
    (schema,) = formats.infer(path)
    with pytest.raises(NotFound):
        list(formats.read(path, "other", schema.fields))
    assert formats.sheets(path) == ["t"]


def test_an_empty_file_holds_no_table(tmp_path: Path) -> None:
    assert formats.infer(saved(tmp_path / "t.csv", "")) == []
    assert formats.infer(saved(tmp_path / "u.csv", "\n\n,,\n")) == []


def test_headings_alone_make_a_table_without_rows(tmp_path: Path) -> None:
    (schema,) = formats.infer(saved(tmp_path / "t.csv", "id,name\n"))
    assert [field.source for field in schema.fields] == ["id", "name"]
    assert (schema.rows, schema.key) == (0, ())


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(file_bytes_max=100), "bytes; at most 100"),
        (Limits(rows_max=50), "more than 50 rows"),
        (Limits(cells_max=60), "more than 60 cells"),
        (Limits(columns_max=1), "2 columns; at most 1"),
    ],
)
def test_limits_have_names_and_hold(tmp_path: Path, limits: Limits, reason: str) -> None:
    path = saved(tmp_path / "t.csv", "id,n\n" + "1,2\n" * 100)
    with pytest.raises(BadInput, match=reason):
        formats.infer(path, limits=limits)


def test_guards_against_formulas_are_taken_away_again(tmp_path: Path) -> None:
    path = saved(tmp_path / "t.csv", "id,t\n1,'=x\n2,''=y\n3,'plain\n")
    assert [row[1] for row in table(path)[1]] == ["=x", "'=y", "'plain"]
