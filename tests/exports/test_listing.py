"""What an address asks of a list, understood or refused by name."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from brique.errors import BadInput
from brique.exports import COMPARISONS, Listing, ListLimits, joined, parameter_of, parse_listing, separated
from brique.schema import Column, Kind, TableSpec, Value
from brique.views import Filter

LIMITS = ListLimits(rows_default=25, rows_max=200)


def column(name: str, kind: Kind, **options: object) -> Column:
    return Column(name, name.upper(), kind, name.title(), **options)  # type: ignore[arg-type]  # test values fit


SPEC = TableSpec(
    "orders",
    "ORDRPF",
    "erp",
    "Orders",
    (
        column("number", Kind.INTEGER),
        column("city", Kind.TEXT, length_max=5),
        column("amount", Kind.DECIMAL, scale=2),
        column("weight", Kind.REAL),
        column("paid", Kind.BOOLEAN),
        column("placed", Kind.DATE),
        column("met", Kind.DATETIME),
        column("at", Kind.TIME),
        column("scan", Kind.BINARY),
        column("profile", Kind.JSON),
        column("loose", Kind.ANY),
        column("limit", Kind.INTEGER),
        column("notes", Kind.TEXT),
    ),
    key=("number",),
)


def parse(query: str, **options: object) -> Listing:
    return parse_listing(SPEC, QueryParams(query), LIMITS, **options)  # type: ignore[arg-type]  # test values fit


def refused(query: str, **options: object) -> BadInput:
    with pytest.raises(BadInput) as caught:
        parse(query, **options)
    return caught.value


def test_an_empty_address_is_the_whole_table() -> None:
    listing = parse("")
    assert listing.query.limit == 25
    assert (listing.query.filters, listing.query.search, listing.sort, listing.columns) == ((), "", None, ())
    assert listing.as_query_string() == ""


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("city=Thi%C3%A8s", Filter("city", "eq", "Thiès")),
        ("city=The%CC%81", Filter("city", "eq", "Thé")),
        ("city=much+longer+than+the+column", Filter("city", "eq", "much longer than the column")),
        ("city=", Filter("city", "eq", "")),
        ("number=5", Filter("number", "eq", 5)),
        ("number__gt=-5", Filter("number", "gt", -5)),
        ("number=%2B5", Filter("number", "eq", 5)),
        ("limit__eq=5", Filter("limit", "eq", 5)),
        ("limit__ge=5", Filter("limit", "ge", 5)),
        ("amount__le=12.5", Filter("amount", "le", 1250)),
        ("weight__lt=1e3", Filter("weight", "lt", 1000.0)),
        ("paid=true", Filter("paid", "eq", 1)),
        ("paid__ne=no", Filter("paid", "ne", 0)),
        ("placed__ge=2026-11-20", Filter("placed", "ge", "2026-11-20")),
        ("placed__prefix=2026-11", Filter("placed", "prefix", "2026-11")),
        ("met=2026-11-20T10:42:00Z", Filter("met", "eq", "2026-11-20T10:42:00.000000Z")),
        ("met=2026-11-20T10:42:00+01:00", Filter("met", "eq", "2026-11-20T09:42:00.000000Z")),
        ("met=2026-11-20T10:42", Filter("met", "eq", "2026-11-20T10:42:00.000000")),
        ("at=10:42", Filter("at", "eq", "10:42:00")),
        ("profile=%7B%22a%22%3A+1%7D", Filter("profile", "eq", '{"a":1}')),
        ("loose=5", Filter("loose", "in", (5, "5"))),
        ("loose=five", Filter("loose", "eq", "five")),
        ("loose__in=5,x", Filter("loose", "in", (5, "5", "x"))),
        ("loose__gt=5", Filter("loose", "gt", 5)),
        ("city__in=a%5C,b,c", Filter("city", "in", ("a,b", "c"))),
        ("city__null=true", Filter("city", "null")),
        ("city__null=0", Filter("city", "notnull")),
        ("scan=aGk%3D", Filter("scan", "eq", b"hi")),
        ("city__contains=%25_", Filter("city", "contains", "%_")),
    ],
)
def test_a_condition_is_typed_by_its_column(query: str, wanted: Filter) -> None:
    listing = parse(query)
    assert listing.query.filters == (wanted,)
    assert type(listing.query.filters[0].value) is type(wanted.value)


@pytest.mark.parametrize(
    ("query", "parameter", "said"),
    [
        ("number=five", "number", "Must be a whole number."),
        ("number=" + "9" * 30, "number", "Must be a whole number."),
        ("number=9223372036854775808", "number", "Is too large."),
        ("amount=1e99999999", "amount", "Is too large."),
        ("amount=1.234", "amount", "Has too many decimals."),
        ("amount=NaN", "amount", "Must be a number."),
        ("weight=inf", "weight", "Must be a number."),
        ("weight=1e999", "weight", "Must be a number."),
        ("paid=maybe", "paid", "Must be yes or no."),
        ("placed=20.11.2026", "placed", "Must be a date."),
        ("met=yesterday", "met", "Must be a date and time."),
        ("profile=%7B", "profile", "Must be JSON."),
        ("scan=%21", "scan", "Must be base64."),
        ("city=a%00b", "city", "Must not contain a NUL character."),
        ("city__contains=a%00b", "city__contains", "Must not contain a NUL character."),
        ("amount__prefix=1", "amount__prefix", "Has no text to look into: compare with lt, le, gt or ge."),
        ("city__null=perhaps", "city__null", "Must be yes or no."),
        ("city=a&city=b", "city", "Is given twice: write several values with __in, between commas."),
        ("city__in=" + "," * 501, "city__in", "Has too many values."),
        ("limit=0", "limit", "Must be a number from 1 to the most rows of one page."),
        ("limit=201", "limit", "Must be a number from 1 to the most rows of one page."),
        ("limit=%C2%B2", "limit", "Must be a number from 1 to the most rows of one page."),
        ("limit=5&limit=6", "limit", "Is given twice."),
        ("sort=profile", "sort", "Lists cannot be sorted by this column."),
        ("sort=--city", "sort", "There is no such column."),
        ("q=" + "x" * 201, "q", "Is too long."),
        ("q=a%00b", "q", "Must not contain a NUL character."),
        ("columns=city,nowhere", "columns", "There is no such column."),
        ("after=a&before=b", "before", "A page is after a row or before one, not both."),
    ],
)
def test_what_does_not_fit_is_named(query: str, parameter: str, said: str) -> None:
    fault = refused(query)
    assert fault.fields == {parameter: said}
    assert fault.facts["where"] == "query"


@pytest.mark.parametrize(
    ("query", "near"),
    [
        ("citty=x", "city"),
        ("City=x", "city"),
        ("amout__ge=1", "amount__ge"),
        ("amount__gte=1", "amount__ge"),
        ("lmit=3", "limit"),
        ("sort=-ammount", "amount"),
        ("columns=citi", "city"),
        ("zzzzzz=1", ""),
    ],
)
def test_the_nearest_right_name_is_given(query: str, near: str) -> None:
    fault = refused(query)
    assert fault.facts["near"] == near
    assert fault.try_this == ("Did you mean {near}?" if near else "")


def test_every_fault_is_told_at_once() -> None:
    assert set(refused("number=x&citty=3&limit=0&sort=nope").fields) == {"number", "citty", "limit", "sort"}


def test_conditions_may_be_repeated_unless_they_say_equal() -> None:
    assert len(parse("city__ne=a&city__ne=b&amount__ge=1&amount__lt=2").query.filters) == 4


def test_conditions_have_a_bound() -> None:
    assert "too many" in refused("&".join(f"city__ne={n}" for n in range(51))).message


def test_a_form_sends_empty_conditions_that_are_none() -> None:
    listing = parse("city=&number=&q=&sort=&limit=&amount__ge=", skip_empty=True)
    assert (listing.query.filters, listing.given) == ((), ())
    assert refused("number=").fields == {"number": "Must be a whole number."}


def test_an_export_passes_over_what_a_page_is() -> None:
    listing = parse("after=x&before=y&limit=100000&city=a", paged=False)
    assert (listing.query.after, listing.query.before, listing.given) == (None, None, (("city", "a"),))


def test_parameters_of_others_stay_in_the_address() -> None:
    assert parse("_notes=0&city=a", also=("_notes",)).as_query_string() == "_notes=0&city=a"


def test_a_reader_may_type_values_his_own_way() -> None:
    def french(column: Column, text: str) -> Value:
        return int(text.replace(",", "")) if column.kind is Kind.DECIMAL else text

    assert parse("amount=12,50", value_parser=french).query.filters == (Filter("amount", "eq", 1250),)


def test_another_question_starts_at_its_first_page() -> None:
    listing = parse("city=a&after=x&limit=5")
    assert listing.as_query_string() == "city=a&after=x&limit=5"
    assert listing.as_query_string(sort="-city") == "city=a&limit=5&sort=-city"
    assert listing.as_query_string(city=None) == "limit=5"
    assert listing.as_query_string(before="y") == "city=a&limit=5&before=y"
    assert listing.as_query_string(limit=10) == "city=a&after=x&limit=10"


def test_one_of_two_like_conditions_is_taken_away() -> None:
    listing = parse("city__ne=a&city__ne=b&after=x")
    assert listing.without(listing.terms[0]) == "city__ne=b"


def test_columns_are_chosen_in_order_and_once() -> None:
    assert parse("columns=city,number,+city,").columns == ("city", "number")


@given(st.lists(st.text(max_size=20), min_size=1, max_size=8))
def test_values_between_commas_come_back(texts: list[str]) -> None:
    assert separated(joined(texts)) == texts


@given(st.text(max_size=30))
def test_any_text_splits_into_values(text: str) -> None:
    assert separated(joined(separated(text))) == separated(text)


NAMES = st.sampled_from([*SPEC.names, "q", "sort", "columns", "after", "before", "limit", "_key", "citty", ""])
OPS = st.sampled_from((*COMPARISONS, "gte", ""))
PARAMETERS = st.lists(
    st.tuples(
        st.one_of(
            NAMES, st.tuples(NAMES, st.sampled_from((*COMPARISONS, "gte", ""))).map("__".join), st.text(max_size=9)
        ),
        st.one_of(
            st.text(max_size=20),
            st.sampled_from(["true", "5", "-1.50", "2026-11-20", "2026-11-20T10:00:00Z", "1e999", "1e99999999", "{}"]),
            st.integers().map(str),
            st.decimals().map(str),
            st.datetimes().map(str),
            NAMES,
        ),
    ),
    max_size=6,
)


@given(PARAMETERS)
def test_any_address_is_understood_or_refused_by_name(pairs: list[tuple[str, str]]) -> None:
    try:
        listing = parse_listing(SPEC, pairs, LIMITS)
    except BadInput as fault:
        assert fault.fields.keys() <= {name for name, _ in pairs}
        return
    again = parse_listing(SPEC, parse_qsl(listing.as_query_string(), keep_blank_values=True), LIMITS)
    assert again == listing


def test_a_column_named_like_a_control_has_a_parameter_of_its_own() -> None:
    assert [parameter_of("limit"), parameter_of("city"), parameter_of("city", "in")] == [
        "limit__eq",
        "city",
        "city__in",
    ]
