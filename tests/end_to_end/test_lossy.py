"""A database that forgets what it has acknowledged: brique sends it again, once."""

from __future__ import annotations

from bench.lossy import one_round


def test_ten_kills_of_a_database_that_does_not_flush_lose_and_double_nothing() -> None:
    found = one_round(10, seed=1)
    assert found.acknowledged > 100
    assert (found.lost, found.doubled) == (0, 0), found
