from pathlib import Path

from brique import formats
from brique.formats.layout import find, names
from tests.formats.tables import saved


def test_titles_above_the_headings_are_kept_apart(tmp_path: Path) -> None:
    text = "Stock report;;;\nPrinted;20/11/2026;;\n;;;\nid;name;n;d\n1;x;2;3\n2;y;3;4\n"
    (schema,) = formats.infer(saved(tmp_path / "t.csv", text))
    assert [field.source for field in schema.fields] == ["id", "name", "n", "d"]
    assert schema.title == ("Stock report", "Printed", "20/11/2026")
    assert schema.rows == 2


def test_a_first_line_of_values_is_data() -> None:
    assert find([1, 2], [["1", "x", "2026-01-01"], ["2", "y", "2026-01-02"]]).header_line == 0


def test_a_first_line_of_words_is_a_heading() -> None:
    assert find([1, 2], [["id", "name"], ["1", "x"]]).header_line == 1
    assert find([1, 2], [["a", "b"], ["x", "y"]]).header_line == 1


def test_years_may_be_headings() -> None:
    assert find([1, 2], [["country", "2023", "2024"], ["France", "12", "13"]]).header_line == 1


def test_repeated_and_empty_headings_get_names() -> None:
    assert names(["a", "a", "", None, "a"], 6) == ("a", "a_2", "col3", "col4", "a_3", "col6")
    assert names(["a", "a_2", "a", "col2", ""], 5) == ("a", "a_2", "a_3", "col2", "col5")
    assert names(["col2", ""], 2) == ("col2", "col2_2")
    assert names(["a\nb", "  c  "], 2) == ("a b", "c")


def test_columns_have_identifiers_and_labels(tmp_path: Path) -> None:
    (schema,) = formats.infer(saved(tmp_path / "Été 2026.csv", "N° client;Désignation;Désignation\n1;x;y\n"))
    assert schema.name == "ete_2026"
    assert [(f.name, f.source) for f in schema.fields] == [
        ("n_client", "N° client"),
        ("designation", "Désignation"),
        ("designation_2", "Désignation_2"),
    ]


def test_empty_columns_without_a_heading_are_left_out_but_named_ones_stay(tmp_path: Path) -> None:
    (schema,) = formats.infer(saved(tmp_path / "t.csv", "id,,note,\n1,,,5\n2,,,6\n"))
    assert [field.source for field in schema.fields] == ["id", "note", "col4"]
