"""Raw values into store values and back."""

from __future__ import annotations

from datetime import datetime, time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brique.backends import values
from brique.backends.faults import redact
from brique.backends.postgresql.types import unescape
from brique.backends.sqlite.types import affinity
from brique.schema import Column, Kind, fits

ANYTHING = st.none() | st.integers() | st.floats() | st.text() | st.binary()
KINDS = st.sampled_from([(kind, None) for kind in Kind] + [(Kind.DECIMAL, 2), (Kind.DECIMAL, 0)])


def column(kind: Kind, scale: int | None = None, decoder: str = "") -> Column:
    return Column("c", "c", kind, "c", scale=scale, decoder=decoder)


@given(KINDS, st.sampled_from(["", "trim", "cyymmdd", "yyyymmdd"]), ANYTHING)
def test_reading_and_writing_never_fail(kind: tuple[Kind, int | None], decoder: str, value: object) -> None:
    made = column(*kind, decoder)
    for numbers_as_text in (False, True):
        read = values.reader(made, numbers_as_text=numbers_as_text) or (lambda raw: raw)
        values.writer(made, values.PLAIN_MOMENT)(read(value))  # type: ignore[arg-type]


@given(st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**15), max_value=10**15))
def test_decimals_of_a_scale_come_back_exactly(number: Decimal) -> None:
    made = column(Kind.DECIMAL, 2)
    read = values.reader(made)
    assert read is not None
    stored = read(str(number))
    assert isinstance(stored, int) and Decimal(str(values.writer(made)(stored))) == number


@pytest.mark.parametrize("raw", [12.345, "abc", 10**18, 2**70, b"x", float("inf"), float("nan"), "NaN", ""])
def test_a_number_that_does_not_fit_its_scale_is_kept_and_seen_as_a_misfit(raw: object) -> None:
    read = values.reader(column(Kind.DECIMAL, 2))
    assert read is not None
    assert not fits(Kind.DECIMAL, read(raw), 2)  # type: ignore[arg-type]


SHAPES = ["9999-99-99 99:99:99", "9999-99-99T99:99:99.999999", "9999-99-99 99:99:99.999999?", "9999-99-99T99:99:99Z"]


@given(st.datetimes(), st.sampled_from(SHAPES))
def test_moments_come_back_in_any_shape(moment: datetime, shape: str) -> None:
    zone = "Z" if shape.endswith("Z") else ""
    store = moment.isoformat(timespec="microseconds") + zone
    assert values.read_moment(values.compose(store, shape)) == store


@given(st.times(), st.sampled_from(["99:99", "99:99:99", "99:99:99.999", "99:99:99.999?"]))
def test_times_come_back_in_any_shape(moment: time, shape: str) -> None:
    assert values.read_time(values.compose(moment.isoformat(), shape)) == moment.isoformat()


@pytest.mark.parametrize(
    ("written", "shape"),
    [
        (["2024-01-01 10:00:00", None], "9999-99-99 99:99:99"),
        (["2024-01-01 10:00:00", "2024-01-01 10:00:00.5"], "9999-99-99 99:99:99.9?"),
        (["2024-01-01 10:00:00", "2024-01-01"], ""),
        (["2024-01-01 10:00:00", 5], ""),
        (["2024-01-01T10:00:00Z"], "9999-99-99T99:99:99Z"),
        (["01/02/2024"], ""),
        ([], ""),
    ],
)
def test_the_shape_is_what_all_values_share(written: list[object], shape: str) -> None:
    assert values.shape_of(written) == shape  # type: ignore[arg-type]


@given(st.lists(st.text() | st.none(), min_size=1))
def test_what_copy_escapes_is_unescaped(cells: list[str | None]) -> None:
    names = {"\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
    written = ["\\N" if cell is None else "".join(names.get(c, c) for c in cell) for cell in cells]
    text = "\t".join(written)
    only_nulls = text.count("\\") == text.count("\\N")
    assert list(unescape(written, only_nulls=only_nulls)) == cells


@pytest.mark.parametrize(
    ("declared", "expected"),
    [("INT", "INTEGER"), ("CHARINT", "INTEGER"), ("VARCHAR(9)", "TEXT"), ("", "BLOB"), ("FLOAT", "REAL"),
     ("DECIMAL(9,2)", "NUMERIC"), ("DATE", "NUMERIC")],
)  # fmt: skip
def test_affinity_is_the_one_of_sqlite(declared: str, expected: str) -> None:
    assert affinity(declared) == expected


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:secret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:se:c@ret@host/db?x=1", "postgresql://me:***@host/db?x=1"),
        ("postgresql://host/db?user=me&password=secret", "postgresql://host/db?user=me&password=***"),
        ("odbc:///?DSN=x;PWD=secret;UID=me", "odbc:///?DSN=x;PWD=***;UID=me"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("postgresql://me:secret@[bad/db", "postgresql://me:***@[bad/db"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    assert redact(url) == shown
