"""Old ways of writing values: what is read is written back the same, and nothing is lost."""

from __future__ import annotations

from datetime import date, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brique.schema import DECODERS, Kind
from brique.schema.decoders import DATES

ALL = (
    *DECODERS, "flag:Y:N", "flag:X:", "flag:1:0", "ebcdic:cp297:30", "ebcdic:cp037", "packed:7,2", "zoned:7,2",
    "code:5", "ddmmyy:text", "cyymmdd:none=9999999",
)  # fmt: skip
ANYTHING = st.none() | st.integers() | st.floats() | st.text() | st.binary()
DAYS = {
    "yymmdd": (date(1940, 1, 1), date(2039, 12, 31)), "ddmmyy": (date(1940, 1, 1), date(2039, 12, 31)),
    "mmddyy": (date(1940, 1, 1), date(2039, 12, 31)), "yyddd": (date(1940, 1, 1), date(2039, 12, 31)),
    "cyymmdd": (date(1900, 1, 1), date(2899, 12, 31)), "cyyddd": (date(1900, 1, 1), date(2899, 12, 31)),
}  # fmt: skip


@given(st.sampled_from(ALL), ANYTHING)
def test_every_decoder_takes_anything(name: str, value: object) -> None:
    decoder = DECODERS[name]
    decoder.encode(decoder.decode(value))  # type: ignore[arg-type]
    decoder.encode(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "raw", "store"),
    [
        ("cyymmdd", 1261120, "2026-11-20"), ("cyymmdd", 991231, "1999-12-31"), ("cyymmdd", 101, "1900-01-01"),
        ("yyyymmdd", 20261120, "2026-11-20"), ("yymmdd", 261120, "2026-11-20"), ("yymmdd", 400101, "1940-01-01"),
        ("ddmmyy", 10299, "1999-02-01"), ("ddmmyy:text", "010299", "1999-02-01"), ("ddmmyyyy", 1022026, "2026-02-01"),
        ("mmddyy", 20199, "1999-02-01"), ("mmddyyyy", 2012026, "2026-02-01"), ("yyyyddd", 2024366, "2024-12-31"),
        ("yyddd", 26001, "2026-01-01"), ("cyyddd", 126324, "2026-11-20"), ("nodate", "2026-11-20", "2026-11-20"),
        ("hhmmss", 93005, "09:30:05"), ("hhmmss", 0, "00:00:00"), ("hhmm", 2359, "23:59:00"),
        ("hhmmss:text", "093005", "09:30:05"), ("flag:O:N", "O", 1), ("flag:O:N", "N", 0), ("flag:X:", "X", 1),
        ("flag:X:", " ", 0), ("flag:1:0", "1", 1), ("implied", 12345, 12345), ("code:5", 1000, "01000"),
        ("packed:5,2", b"\x12\x34\x5c", 12345), ("packed:5,2", b"\x12\x34\x5d", -12345),
        ("packed:4,0", b"\x01\x23\x4c", 1234),
        ("zoned:3,0", b"\xf1\xf2\xf3", 123), ("zoned:3,0", b"\xf1\xf2\xd3", -123),
        ("parts:yy:mm:dd", "26/11/20", "2026-11-20"),
        ("parts:c:yy:mm:dd", "1/26/11/2", "2026-11-02"),
        ("parts:dd:mm:yyyy", "3/1/2026", "2026-01-03"),
        ("parts:yy:mm:dd", "0/0/0", None),
        ("ebcdic:cp297:9", b"\xe2\x96\x83\x89\xc0\xa3\xc0\x40\x40", "Société"),
    ],
)  # fmt: skip
def test_values_are_read_and_written_back_alike(name: str, raw: object, store: object) -> None:
    decoder = DECODERS[name]
    assert decoder.decode(raw) == store  # type: ignore[arg-type]
    assert decoder.encode(store) == raw  # type: ignore[arg-type]


@given(st.sampled_from(DATES), st.data(), st.booleans())
def test_every_day_comes_back(name: str, data: st.DataObject, as_text: bool) -> None:
    first, last = DAYS.get(name, (date(1, 1, 1), date(9999, 12, 30)))
    day = data.draw(st.dates(first, last)).isoformat()
    decoder = DECODERS[f"{name}:text" if as_text else name]
    assert decoder.decode(decoder.encode(day)) == day


@given(st.sampled_from(DATES), st.integers(0, 99_999_999))
def test_every_number_that_reads_as_a_day_is_written_back_the_same(name: str, number: int) -> None:
    decoder = DECODERS[name]
    day = decoder.decode(number)
    if isinstance(day, str):
        assert decoder.encode(day) == number
    else:
        assert day == number or (day is None and str(number).strip("09") == "")


@pytest.mark.parametrize("name", ["yymmdd", "ddmmyy", "cyymmdd", "cyyddd"])
def test_a_day_that_has_no_place_is_not_turned_into_another(name: str) -> None:
    assert DECODERS[name].encode("1812-06-24") == "1812-06-24"


@given(st.times())
def test_every_second_comes_back_and_a_fraction_is_not_cut_off(moment: time) -> None:
    text = moment.isoformat()
    for name in ("hhmmss", "hhmmss:text"):
        written = DECODERS[name].encode(text)
        assert written == text if moment.microsecond else DECODERS[name].decode(written) == text


@given(st.integers(-(10**9) + 1, 10**9 - 1))
def test_packed_and_zoned_numbers_come_back(number: int) -> None:
    for name, length in (("packed:9,2", 5), ("zoned:9,2", 9)):
        written = DECODERS[name].encode(number)
        assert isinstance(written, bytes) and len(written) == length and DECODERS[name].decode(written) == number


@given(st.text(st.sampled_from("ABCxyz àéèçùâêîôûëïüÉ0123456789.,-/&'()"), max_size=30))
def test_texts_of_every_french_letter_come_back_from_ebcdic(text: str) -> None:
    for page in ("cp297", "cp037", "cp500", "cp1147"):
        decoder = DECODERS[f"ebcdic:{page}:30"]
        written = decoder.encode(text)
        assert isinstance(written, bytes) and len(written) == 30 and decoder.decode(written) == text.rstrip(" ")


def test_what_means_nothing_is_read_as_none_and_written_as_the_source_says() -> None:
    assert [DECODERS["cyymmdd"].decode(value) for value in (0, 9999999, "       ", None)] == [None] * 4
    assert DECODERS["cyymmdd"].encode(None) == 0 and DECODERS["cyymmdd:none=9999999"].encode(None) == 9999999
    assert DECODERS["ddmmyy:text"].encode(None) == "000000"
    assert DECODERS["nodate"].decode("0001-01-01") is None and DECODERS["nodate"].encode(None) == "0001-01-01"
    assert DECODERS["blank"].decode("     ") is None and DECODERS["blank"].encode(None) == " "
    assert DECODERS["flag:Y:N"].decode(" ") is None and DECODERS["flag:Y:N"].encode(None) == " "


@pytest.mark.parametrize(
    "name", ["", "flag", "flag:Y", "flag:Y:Y", "ebcdic", "ebcdic:utf_8", "ebcdic:cp99999", "packed:0,0", "packed:19,2",
             "zoned:2,3", "code:0", "code:x", "cyymmdd:loud", "trim:5", "ymd", "implied:2"]
)  # fmt: skip
def test_a_decoder_that_makes_no_sense_is_not_found(name: str) -> None:
    assert DECODERS.get(name) is None


def test_a_decoder_says_what_people_see() -> None:
    assert {name: DECODERS[name].kind for name in ("flag:Y:N", "hhmm", "ebcdic:cp500", "packed:5,2", "yyddd")} == {
        "flag:Y:N": Kind.BOOLEAN, "hhmm": Kind.TIME, "ebcdic:cp500": Kind.TEXT, "packed:5,2": Kind.DECIMAL,
        "yyddd": Kind.DATE,
    }  # fmt: skip
