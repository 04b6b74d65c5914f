"""What every spool must do; each kind runs it on the real thing."""

from __future__ import annotations

import pytest

from brique.errors import Busy, TooMuch
from brique.spool import Damage, Entry, Record, Spool


def records(spool: Spool, after: int, limit: int) -> list[Record]:
    """What a sound spool gives: records only."""
    found = list(spool.read(after, limit))
    assert all(isinstance(one, Record) for one in found), found
    return [one for one in found if isinstance(one, Record)]


class SpoolContract:
    def test_positions_count_from_one_in_the_order_given(self, spool: Spool) -> None:
        assert spool.last() == 0
        assert spool.append([Entry(b"a"), Entry(b"b")]) == [1, 2]
        assert spool.append([Entry(b"c")]) == [3]
        assert spool.last() == 3

    def test_read_gives_only_what_comes_after(self, spool: Spool) -> None:
        spool.append([Entry(str(n).encode()) for n in range(10)])
        assert [record.payload for record in records(spool, 7, 100)] == [b"7", b"8", b"9"]
        assert [record.position for record in spool.read(0, 3)] == [1, 2, 3]
        assert list(spool.read(10, 5)) == []

    def test_an_entry_with_a_known_token_is_not_kept_again(self, spool: Spool) -> None:
        [first] = spool.append([Entry(b"one", token="t")])
        assert spool.append([Entry(b"two", token="t"), Entry(b"three", token="u")])[0] == first
        found = spool.find("t")
        assert found is not None
        assert (found.position, found.payload) == (first, b"one")

    def test_two_entries_with_one_token_in_one_call_are_one(self, spool: Spool) -> None:
        first, second = spool.append([Entry(b"one", token="t"), Entry(b"two", token="t")])
        assert first == second
        assert [record.payload for record in records(spool, 0, 10)] == [b"one"]

    def test_an_unknown_token_finds_nothing(self, spool: Spool) -> None:
        assert spool.find("nobody") is None

    def test_any_bytes_come_back_as_they_were(self, spool: Spool) -> None:
        payload = bytes(range(256)) * 300
        spool.append([Entry(payload), Entry(b"")])
        assert [record.payload for record in records(spool, 0, 2)] == [payload, b""]

    def test_forgotten_positions_are_never_given_again(self, spool: Spool) -> None:
        spool.append([Entry(b"x", token="t"), Entry(b"y")])
        assert spool.forget(2) == 2
        assert spool.find("t") is None
        assert spool.append([Entry(b"z", token="t")]) == [3]

    def test_a_token_is_found_however_much_came_after_it(self, spool: Spool) -> None:
        spool.append([Entry(b"first", token="t")])
        spool.append([Entry(b"x", token=f"u{n}") for n in range(50)])
        found = spool.find("t")
        assert found is not None
        assert (found.position, found.token) == (1, "t")
        assert spool.append([Entry(b"again", token="u49"), Entry(b"new")]) == [51, 52]

    def test_a_payload_above_the_limit_is_refused_and_nothing_with_it_is_kept(self, spool: Spool) -> None:
        with pytest.raises(TooMuch):
            spool.append([Entry(b"small"), Entry(bytes(spool.payload_bytes_max + 1))])
        assert spool.last() == 0

    def test_urgent_entries_are_kept_like_others(self, spool: Spool) -> None:
        assert spool.append([Entry(b"a")], urgent=True) == [1]
        assert [record.payload for record in records(spool, 0, 10)] == [b"a"]

    def test_skipped_positions_are_never_given_and_told_as_lost(self, spool: Spool) -> None:
        spool.append([Entry(b"a")])
        spool.skip_to(10)
        spool.skip_to(5)
        assert spool.last() == 10
        assert spool.append([Entry(b"b")]) == [11]
        lost = next(iter(spool.read(1, 1)))
        assert isinstance(lost, Damage)
        assert (lost.first, lost.position) == (2, 10)

    def test_a_new_spool_has_no_ancestors(self, spool: Spool) -> None:
        assert spool.ancestors() == ()

    def test_nothing_is_appended_by_an_empty_call(self, spool: Spool) -> None:
        assert spool.append([]) == []
        assert spool.last() == 0

    def test_size_grows_with_what_is_kept(self, spool: Spool) -> None:
        before = spool.size_bytes()
        spool.append([Entry(b"x" * 100_000) for _ in range(10)])
        assert spool.size_bytes() > before

    def test_a_closed_spool_refuses_by_name(self, spool: Spool) -> None:
        spool.append([Entry(b"x")])
        spool.close()
        spool.close()
        with pytest.raises(Busy):
            spool.append([Entry(b"y")])

    def test_its_name_stays(self, spool: Spool) -> None:
        name = spool.name()
        spool.append([Entry(b"x")])
        assert name
        assert spool.name() == name
