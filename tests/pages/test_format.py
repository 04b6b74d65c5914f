"""What pages write, people can type back; and nothing that a database holds stops a page."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from brique.errors import BadConfiguration
from brique.pages.format import Formats
from brique.pages.parse import parse_bool, parse_date, parse_datetime, parse_number, parse_time

N, B = "\u202f", "\u00a0"
LANGUAGES = st.sampled_from(["fr", "en", "en-US", "fr-SN", "de"])
ZONES = st.sampled_from(["UTC", "Africa/Dakar", "Europe/Paris", "America/New_York", "Asia/Kathmandu", "Pacific/Apia"])
MOMENTS = st.datetimes(min_value=datetime(1901, 1, 1), max_value=datetime(2200, 1, 1))  # noqa: DTZ001 - naive is meant
AUTUMN = datetime(2026, 10, 25, 0, 30)  # noqa: DTZ001 - naive is meant
FR, EN = Formats("fr", "Africa/Dakar"), Formats("en", "Europe/Paris")


@given(st.decimals(allow_nan=False, allow_infinity=False), LANGUAGES)
@example(Decimal("1E+5"), "fr")
@example(Decimal("1E-40"), "en")
@example(Decimal("-0.00"), "fr")
def test_a_decimal_written_is_read_back_exactly(value: Decimal, language: str) -> None:
    assert parse_number(Formats(language).typed(value), language) == value or value.adjusted() > 9999


@given(st.floats(allow_nan=False, allow_infinity=False), LANGUAGES)
def test_a_float_written_is_read_back_exactly(value: float, language: str) -> None:
    assert float(parse_number(Formats(language).typed(value), language)) == value


@given(st.integers(min_value=-(2**63), max_value=2**63 - 1), st.integers(min_value=0, max_value=12), LANGUAGES)
def test_a_stored_decimal_is_written_with_its_scale(value: int, scale: int, language: str) -> None:
    assert parse_number(Formats(language).scaled(value, scale), language) == Decimal(value).scaleb(-scale)


@given(st.dates(), LANGUAGES)
def test_a_date_written_is_read_back(value: date, language: str) -> None:
    assert parse_date(Formats(language).typed(value), language) == value


@given(st.times(), LANGUAGES)
def test_a_time_written_is_read_back(value: time, language: str) -> None:
    assert parse_time(Formats(language).typed(value), language) == value


@given(MOMENTS, LANGUAGES, ZONES)
@example(AUTUMN, "fr", "Europe/Paris")
@example(AUTUMN + timedelta(hours=1), "fr", "Europe/Paris")
def test_a_moment_written_is_read_back_even_in_the_hour_that_autumn_repeats(
    naive: datetime, language: str, zone: str
) -> None:
    value = naive.replace(tzinfo=UTC)
    formats = Formats(language, zone)
    assert parse_datetime(formats.typed(value), language, formats.zone) == value
    assert parse_datetime(formats.typed(naive), language) == naive


@given(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.decimals(), st.text(), st.dates(), st.times())
)
@example(10**5000)
@example(Decimal("sNaN"))
@example("2026-13-45")
@example("2026-13-45T99:00:00Z")
@example(datetime.min.replace(tzinfo=UTC))
@example(datetime.max.replace(tzinfo=UTC))
def test_every_method_writes_any_value(value: object) -> None:
    for formats in (FR, EN):
        for method in ("number", "compact", "size", "percent", "date", "datetime", "time", "bool", "text", "typed"):
            assert isinstance(getattr(formats, method)(value), str)
        assert isinstance(formats.money(value, "XOF") + formats.scaled(value, 2) + formats.number(value, 3), str)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (FR.number(8467992), f"8{N}467{N}992"),
        (EN.number(8467992), "8,467,992"),
        (FR.number(Decimal("1284.50")), f"1{N}284,50"),
        (FR.number(1284.5, 2), f"1{N}284,50"),
        (FR.number(-0.001, 2), "0,00"),
        (FR.number("x12"), "x12"),
        (FR.scaled(128450, 2), f"1{N}284,50"),
        (FR.scaled(-5, 2), "-0,05"),
        (FR.money(640000, "XOF"), f"640{N}000{B}F{N}CFA"),
        (FR.money(Decimal("1284.5"), "EUR"), f"1{N}284,50{B}€"),
        (FR.money(Decimal("12.345"), "EUR"), f"12,345{B}€"),
        (EN.money(Decimal("1284.5"), "EUR"), "€1,284.50"),
        (FR.percent(0.08, signed=True), f"+8{B}%"),
        (FR.percent(-0.03, signed=True), f"−3{B}%"),
        (FR.percent(0.001, signed=True), f"0{B}%"),
        (EN.percent(Decimal("0.125"), 1), "12.5%"),
        (FR.compact(412_000_000), f"412{B}M"),
        (FR.compact(1284), f"1{N}284"),
        (FR.size(61_000_000_000), f"61{B}Go"),
        (EN.size(4_200_000), f"4.2{B}MB"),
        (FR.size(999_600), f"1,0{B}Mo"),
        (FR.size(0), f"0{B}o"),
        (FR.age(12.9), f"12{B}s"),
        (FR.age(187), f"3{B}min"),
        (FR.age(timedelta(hours=2, minutes=59)), f"2{B}h"),
        (FR.age(90_000), f"1{B}j"),
        (FR.age(-5), f"0{B}s"),
        (FR.duration(0.009), f"9{B}ms"),
        (FR.duration(12.42), f"12,4{B}s"),
        (FR.date("2026-11-20"), "20/11/2026"),
        (Formats("en-US").date(date(2026, 11, 20)), "11/20/2026"),
        (Formats("de").date(date(2026, 11, 20)), "20.11.2026"),
        (FR.datetime("2026-11-20T10:41:00.000000Z"), f"20/11/2026{B}10:41"),
        (EN.datetime("2026-11-20T10:41:00.000000Z"), f"20/11/2026{B}11:41"),
        (EN.datetime("2026-11-20T10:41:00.000000"), f"20/11/2026{B}10:41"),
        (FR.time("10:41:07.5"), "10:41"),
        (FR.bool(True), "oui"),
        (FR.bool(None), ""),
        (FR.text({"a": "é"}), '{"a": "é"}'),
        (FR.text(b"12345"), f"5{B}o"),
    ],
)
def test_values_are_written_as_people_read_them(written: str, expected: str) -> None:
    assert written == expected


def test_since_names_the_day_only_when_it_is_not_today() -> None:
    now = datetime(2026, 11, 20, 11, 2, tzinfo=UTC)
    assert FR.since(datetime(2026, 11, 20, 10, 42, tzinfo=UTC), now) == "depuis 10:42"
    assert FR.since(datetime(2026, 11, 19, 10, 42, tzinfo=UTC), now) == f"depuis le 19/11/2026{B}10:42"


@pytest.mark.parametrize(
    ("typed", "language", "value"),
    [
        ("1 284,50", "fr", "1284.50"),
        (f"1{N}284,50", "fr", "1284.50"),
        ("1 284,50", "en", "1284.50"),
        ("1,284.50", "en", "1284.50"),
        ("1,284.50", "fr", "1284.50"),
        ("1.284,50", "fr", "1284.50"),
        ("1,284", "en", "1284"),
        ("1,284", "fr", "1.284"),
        ("1.5", "fr", "1.5"),
        ("1’284.50", "en", "1284.50"),
        ("-12", "fr", "-12"),
        ("−12", "fr", "-12"),
        ("- 12", "fr", "-12"),
        ("123-", "fr", "-123"),
        ("+7", "en", "7"),
        (",5", "fr", "0.5"),
        ("5,", "fr", "5"),
        ("1e3", "en", "1000"),
        ("٣٤", "fr", "34"),
        ("0012", "fr", "12"),
    ],
)
def test_a_number_is_read_where_it_has_one_meaning(typed: str, language: str, value: str) -> None:
    assert parse_number(typed, language) == Decimal(value)


@pytest.mark.parametrize(
    ("typed", "language"),
    [
        ("", "fr"),
        ("-", "fr"),
        ("abc", "fr"),
        ("1,5", "en"),
        ("12 34", "fr"),
        ("--1", "en"),
        ("1e99999", "fr"),
        ("1e", "fr"),
        ("9" * 500, "fr"),
        ("NaN", "en"),
        ("0x10", "en"),
        ("1_000", "en"),
        ("1,2,3", "fr"),
        ("12%", "fr"),
    ],
)
def test_what_is_no_number_is_refused_in_the_readers_language(typed: str, language: str) -> None:
    with pytest.raises(ValueError, match="n’est pas un nombre" if language == "fr" else "is not a number") as fault:
        parse_number(typed, language)
    assert len(str(fault.value)) < 150


@pytest.mark.parametrize(
    ("typed", "language", "value"),
    [
        ("20/11/26", "fr", date(2026, 11, 20)),
        ("20/11/26", "en", date(2026, 11, 20)),
        ("11/20/26", "en-US", date(2026, 11, 20)),
        ("2026-11-20", "fr", date(2026, 11, 20)),
        ("2026-11-20", "en-US", date(2026, 11, 20)),
        ("20 nov 2026", "fr", date(2026, 11, 20)),
        ("20 nov. 2026", "fr", date(2026, 11, 20)),
        ("20 novembre 2026", "en", date(2026, 11, 20)),
        ("Nov 20, 2026", "fr", date(2026, 11, 20)),
        ("1er aout 99", "fr", date(1999, 8, 1)),
        ("1er août 2026", "fr", date(2026, 8, 1)),
        ("3 févr. 68", "fr", date(2068, 2, 3)),
        ("201126", "fr", date(2026, 11, 20)),
        ("20112026", "fr", date(2026, 11, 20)),
        ("20261120", "fr", date(2026, 11, 20)),
        ("20.11.2026", "fr", date(2026, 11, 20)),
        ("1-2-2026", "fr", date(2026, 2, 1)),
        ("20 11 2026", "fr", date(2026, 11, 20)),
    ],
)
def test_a_date_is_read_in_the_forms_that_people_type(typed: str, language: str, value: date) -> None:
    assert parse_date(typed, language) == value


@pytest.mark.parametrize(
    "typed", ["", "31/02/2026", "20/13/2026", "20 jui 26", "hier", "20/11", "0/0/0", "1" * 300, "20/11/202"]
)
def test_what_is_no_date_is_refused_with_an_example(typed: str) -> None:
    with pytest.raises(ValueError, match=r"n’est pas une date\. Écrivez-la comme 20/11/2026"):
        parse_date(typed, "fr")


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("10:41", time(10, 41)),
        ("10h41", time(10, 41)),
        ("10h", time(10)),
        ("10 h 41", time(10, 41)),
        ("1041", time(10, 41)),
        ("104130", time(10, 41, 30)),
        ("10:41:30.5", time(10, 41, 30, 500000)),
        ("2:30 pm", time(14, 30)),
        ("12 am", time(0)),
        ("10.41", time(10, 41)),
        ("9", time(9)),
    ],
)
def test_a_time_is_read_in_the_forms_that_people_type(typed: str, value: time) -> None:
    assert parse_time(typed, "fr") == value


@pytest.mark.parametrize("typed", ["", "24:00", "10:60", "13 pm", "10:4", "midi", "1" * 300])
def test_what_is_no_time_is_refused(typed: str) -> None:
    with pytest.raises(ValueError, match="n’est pas une heure"):
        parse_time(typed, "fr")


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("20/11/2026 10:41", datetime(2026, 11, 20, 9, 41, tzinfo=UTC)),
        ("20/11/2026 à 10h41", datetime(2026, 11, 20, 9, 41, tzinfo=UTC)),
        ("20 nov 2026 10:41", datetime(2026, 11, 20, 9, 41, tzinfo=UTC)),
        ("20/11/2026", datetime(2026, 11, 19, 23, 0, tzinfo=UTC)),
        ("2026-11-20T10:41:00.5Z", datetime(2026, 11, 20, 10, 41, 0, 500000, tzinfo=UTC)),
        ("2026-11-20 10:41+05:30", datetime(2026, 11, 20, 10, 41, tzinfo=timezone(timedelta(hours=5, minutes=30)))),
        ("20/11/2026 2:30 pm", datetime(2026, 11, 20, 13, 30, tzinfo=UTC)),
    ],
)
def test_a_moment_is_read_in_the_forms_that_people_type(typed: str, value: datetime) -> None:
    assert parse_datetime(typed, "fr", ZoneInfo("Europe/Paris")) == value


@pytest.mark.parametrize("typed", ["", "10:41", "20/11/2026 25:00", "20/11/2026Z", "20/11/2026 10:41+99:00", "x" * 300])
def test_what_is_no_moment_is_refused(typed: str) -> None:
    with pytest.raises(ValueError, match="n’est pas une date avec heure"):
        parse_datetime(typed, "fr", ZoneInfo("Europe/Paris"))


def test_a_time_that_the_clocks_skip_is_refused() -> None:
    with pytest.raises(ValueError, match="n’existe pas"):
        parse_datetime("29/03/2026 02:30", "fr", ZoneInfo("Europe/Paris"))


@pytest.mark.parametrize(
    ("typed", "value"), [("Oui", True), ("x", True), ("1", True), ("non", False), ("", False), ("OFF", False)]
)
def test_yes_and_no_are_read_in_each_language(typed: str, value: bool) -> None:
    assert parse_bool(typed, "fr") is value


def test_neither_yes_nor_no_is_refused() -> None:
    with pytest.raises(ValueError, match="ni oui ni non"):
        parse_bool("peut-être", "fr")


@given(st.text(max_size=120), LANGUAGES)
def test_any_text_is_read_or_refused_by_value_error_only(typed: str, language: str) -> None:
    for parse in (parse_number, parse_date, parse_time, parse_datetime, parse_bool):
        try:
            parse(typed, language)
        except ValueError as fault:
            assert str(fault)


def test_an_unknown_language_or_zone_stops_the_start() -> None:
    with pytest.raises(BadConfiguration, match="No language"):
        Formats("tlh-xx")
    with pytest.raises(BadConfiguration, match="No time zone"):
        Formats("fr", "Mars/Olympus")
