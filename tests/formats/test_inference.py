from decimal import Decimal
from pathlib import Path

import pytest

from brique import formats
from brique.formats import Limits
from brique.formats.inference import Evidence, key_like
from brique.formats.protocol import Cell
from brique.schema import Kind, Value, decimals
from tests.formats.tables import saved

T, W, D, R = Kind.TEXT, Kind.INTEGER, Kind.DECIMAL, Kind.REAL


@pytest.mark.parametrize(
    ("cells", "kind", "scale"),
    [
        (["1", "22", "-3", "0"], W, None),
        (["1", "007"], T, None),
        (["00"], T, None),
        (["+33612345678"], T, None),
        (["999999999999999999"], W, None),
        (["1000000000000000000"], T, None),
        (["1.5", "2"], D, 1),
        (["1.50", "-2.125", ".5"], D, 3),
        (["0,5", "1284,50"], D, 2),
        (["1 284,50", "0,5"], D, 2),
        (["1\u202f284,50", "12\u00a0345,5"], D, 2),
        (["1.284,50", "3,5"], D, 2),
        (["1,284.50", "3.5"], D, 2),
        (["1,284", "3.5"], D, 1),
        (["1,284", "3,5"], D, 3),
        (["1,284,000", "7"], W, None),
        (["1 284", "12"], W, None),
        (["552 100 554", "443 061 841"], T, None),
        (["1.5", "1,5"], T, None),
        (["1.5", "x"], T, None),
        (["123456789012.12345678"], D, None),
        (["1.5e-7", "2"], R, None),
        (["1E5"], T, None),
        (["12 %"], T, None),
        (["1.2.3"], T, None),
        ([1, 2.5, 3], D, 1),
        ([0.1, 1 / 3], R, None),
        ([1, "x"], T, None),
        ([1, "2,5"], D, 1),
        ([True, False], Kind.BOOLEAN, None),
        ([True, 1], T, None),
        (["yes", "No"], Kind.BOOLEAN, None),
        (["oui", "non", None], Kind.BOOLEAN, None),
        (["VRAI", "FAUX"], Kind.BOOLEAN, None),
        (["no", "NO"], T, None),
        (["yes", "maybe"], T, None),
        (["2026-01-31"], Kind.DATE, None),
        (["2026-02-30"], T, None),
        (["31/12/2026", "1/2/2026"], Kind.DATE, None),
        (["12/31/2026", "1/2/2026"], Kind.DATE, None),
        (["12/31/2026", "31/12/2026"], T, None),
        (["31.12.2026"], Kind.DATE, None),
        (["31/12/26"], Kind.DATE, None),
        (["2026-01-31", "31/12/2026"], Kind.DATE, None),
        (["2026-01-31 10:00", "2026-01-31"], Kind.DATETIME, None),
        (["2026-01-31T10:00:00Z", "2026-01-31T10:00:00.5+02:00"], Kind.DATETIME, None),
        (["2026-01-31T10:00:00Z", "2026-01-31T10:00:00"], T, None),
        (["31/12/2026 9:05"], Kind.DATETIME, None),
        (["12/31/2026 9:05 PM"], Kind.DATETIME, None),
        (["9:05", "23:59:59"], Kind.TIME, None),
        (["25:00"], T, None),
        ([None, "", "  "], T, None),
        ([None, "5", ""], W, None),
    ],
)
def test_a_column_is_what_all_of_its_values_can_be(cells: list[Cell], kind: Kind, scale: int | None) -> None:
    evidence = Evidence()
    evidence.add(cells)
    judged = evidence.judge(".")
    assert (judged.kind, judged.scale) == (kind, scale)


def test_one_value_at_the_very_end_counts_as_much_as_the_others(tmp_path: Path) -> None:
    path = saved(tmp_path / "t.csv", "a,b\n" + "1,2\n" * 10_000 + "007,2\n")
    assert [field.kind for field in formats.infer(path)[0].fields] == [T, W]


def test_a_doubtful_comma_follows_the_other_columns_and_then_the_separator(tmp_path: Path) -> None:
    def first(text: str) -> tuple[Kind, int | None]:
        field = formats.infer(saved(tmp_path / "t.csv", text))[0].fields[0]
        return field.kind, field.scale

    assert first("w;p\n1,284;2,5\n") == (D, 3)
    assert first("w;n\n1,284;2\n") == (D, 3)
    assert first('w,n\n"1,284",2\n') == (W, None)
    assert first("w;p\n1,284;2.5\n") == (W, None)


def values(tmp_path: Path, *cells: str) -> list[Value]:
    path = saved(tmp_path / "t.tsv", "id\tv\n" + "".join(f"{at}\t{cell}\n" for at, cell in enumerate(cells)))
    (schema,) = formats.infer(path)
    return [row[1] for batch in formats.read(path, "t", schema.fields) for row in batch]


def test_values_have_the_form_that_the_store_keeps(tmp_path: Path) -> None:
    assert values(tmp_path, "1,284.50", "-0.5", "", "3") == [128450, -50, None, 300]
    assert values(tmp_path, "1 284,50", "-0,5") == [128450, -50]
    exact = values(tmp_path, "123456789012.123456789", "1.5")
    assert [decimals.decode(str(value)) for value in exact] == [
        Decimal("123456789012.123456789"),
        Decimal("1.5"),
    ]
    assert values(tmp_path, "1.5e3", "2") == [1500.0, 2.0]
    assert values(tmp_path, "yes", "no", "") == [1, 0, None]
    assert values(tmp_path, "31/12/2026", "1/2/26".zfill(8)) == ["31/12/2026", "001/2/26"]
    assert values(tmp_path, "31/12/2026", "01/02/26") == ["2026-12-31", "2026-02-01"]
    assert values(tmp_path, "12/31/2026", "1/2/2026") == ["2026-12-31", "2026-01-02"]
    assert values(tmp_path, "2026-01-31 10:00", "2026-01-31") == [
        "2026-01-31T10:00:00.000000",
        "2026-01-31T00:00:00.000000",
    ]
    assert values(tmp_path, "2026-01-31T10:00:00+02:00") == ["2026-01-31T08:00:00.000000Z"]
    assert values(tmp_path, "12/31/2026 12:05 AM") == ["2026-12-31T00:05:00.000000"]
    assert values(tmp_path, "9:05", "23:59:59") == ["09:05:00", "23:59:59"]
    assert values(tmp_path, "e\u0301te\u0301", " kept ") == ["été", " kept "]


@pytest.mark.parametrize(
    "name", ["id", "ID", "N°", "No", "Order No", "CustomerID", "customerid", "code_client", "Numéro", "SKU", "Réf."]
)
def test_names_of_keys_are_known(name: str) -> None:
    assert key_like(name)


@pytest.mark.parametrize("name", ["name", "paid", "valid", "amount", "Note", "nom", "Postcode", "notes"])
def test_other_names_are_not_keys(name: str) -> None:
    assert not key_like(name)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("name,id\nx,1\ny,2\n", ("id",)),
        ("id,name\n1,x\n1,y\n", ()),
        ("id,name\n1,x\n,y\n", ()),
        ("id,code\n1,a\n1,b\n", ("code",)),
        ("order_id,line_no,n\n1,1,5\n1,2,5\n2,1,5\n", ("order_id", "line_no")),
        ("order_id,line_no,n\n1,1,5\n1,1,5\n", ()),
        ("name,town\nx,y\nz,y\n", ()),
        ("code,n\na,1\nA,2\n", ()),
        ("id,n\n1.5,1\n2.5,2\n", ()),
    ],
)
def test_the_key_is_what_sounds_like_one_and_is_always_there_and_different(
    tmp_path: Path, text: str, key: tuple[str, ...]
) -> None:
    assert formats.infer(saved(tmp_path / "t.csv", text))[0].key == key


def test_a_repeat_far_away_is_found(tmp_path: Path) -> None:
    body = "".join(f"{at},x\n" for at in range(7000))
    assert formats.infer(saved(tmp_path / "t.csv", f"id,n\n{body}"))[0].key == ("id",)
    assert formats.infer(saved(tmp_path / "t.csv", f"id,n\n{body}3,x\n"))[0].key == ()


def test_columns_without_a_gap_are_not_nullable(tmp_path: Path) -> None:
    (schema,) = formats.infer(saved(tmp_path / "t.csv", "id,n\n1,\n2,3\n"), limits=Limits())
    assert [field.nullable for field in schema.fields] == [False, True]
