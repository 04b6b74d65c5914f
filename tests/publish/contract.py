"""What every kind of place promises, tried on the real thing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from brique.publish import Fenced, Head, Item, Place
from brique.views import etag_of

Open = Callable[[], Place]
AT = "2026-11-21T07:00:00.000000Z"
LATER = "2026-11-21T09:00:00.000000Z"


def version(epoch: int, number: int) -> str:
    return f"{epoch:015d}.{number:09d}"


def item(key: str, body: str | None, number: int, epoch: int = 1) -> Item:
    raw = None if body is None else body.encode()
    return Item(key, version(epoch, number), raw, etag_of(raw) if raw is not None else "", number, AT)


def taken(place: Place, writer: str = "me") -> Head:
    """The place, taken by a new writer."""
    known = place.head()
    head = Head(known.epoch + 1, writer, known.last, AT, AT)
    place.take(known, head)
    return head


class PlaceContract:
    """Not collected by itself."""

    @pytest.fixture
    def another(self) -> Open:
        """Another client of the same place."""
        raise NotImplementedError

    @pytest.fixture
    def place(self, another: Open) -> Iterator[Place]:
        made = another()
        yield made
        made.close()

    def test_a_place_that_nobody_has_taken_has_an_empty_head(self, place: Place) -> None:
        assert place.head() == Head()

    def test_what_is_taken_says_by_whom(self, place: Place, another: Open) -> None:
        head = taken(place)
        assert head.epoch == 1
        other = another()
        assert other.head() == head
        other.close()

    def test_only_one_of_two_takes_the_same_epoch(self, place: Place, another: Open) -> None:
        other = another()
        known = place.head()
        place.take(known, Head(1, "me", "", AT, AT))
        with pytest.raises(Exception) as told:
            other.take(known, Head(1, "you", "", AT, AT))
        assert isinstance(told.value, Fenced) or "another" in str(told.value)
        assert place.head().writer == "me"
        other.close()

    def test_what_is_put_is_there_byte_for_byte(self, place: Place) -> None:
        head = taken(place)
        bodies = {
            "today": '{"a": 1.0}', "statement/7": '"é\\u0000 \U0001f9f1"', "statement/a%2Fb/on=2026-11-21": "[]",
            "statement/%": '{"$where": {"a.b": null}}', "statement/~": "12345678901234567890", "statement/x.json": "1",
            "statement/x.json/y": "2", "statement/" + "x" * 190: '"' + "l" * 300_000 + '"',
        }  # fmt: skip
        place.put([item(key, body, 1) for key, body in bodies.items()], replace(head, last=version(1, 1)))
        assert place.get([*bodies, "statement/none"]) == {key: body.encode() for key, body in bodies.items()}
        assert dict(place.inventory()) == {key: etag_of(body.encode()) for key, body in bodies.items()}
        assert place.head().last == version(1, 1)

    def test_the_last_value_stays_and_what_is_removed_is_gone(self, place: Place) -> None:
        head = taken(place)
        place.put([item("v/1", "1", 1), item("v/2", "2", 1), item("v/3", "3", 1)], head)
        place.put([item("v/1", "one", 2), item("v/2", None, 2), item("v/9", None, 2)], head)
        assert place.get(["v/1", "v/2", "v/3", "v/9"]) == {"v/1": b"one", "v/3": b"3"}
        assert sorted(key for key, _ in place.inventory()) == ["v/1", "v/3"]
        place.put([item("v/2", "two", 3)], head)
        assert place.get(["v/2"]) == {"v/2": b"two"}

    def test_the_same_batch_again_changes_nothing(self, place: Place) -> None:
        head = taken(place)
        batch = [item("v/1", "1", 1), item("v/2", None, 1)]
        place.put(batch, head)
        again = taken(place)
        place.put([replace(one, version=version(2, 1)) for one in batch], again)
        assert place.get(["v/1", "v/2"]) == {"v/1": b"1"}

    def test_an_empty_batch_moves_the_head(self, place: Place) -> None:
        head = replace(taken(place), as_of=LATER, written_at=LATER)
        place.put([], head)
        assert place.head() == head

    def test_a_writer_that_was_succeeded_changes_nothing(self, place: Place, another: Open) -> None:
        """As a call does that was given up, and arrives after its writer has come back."""
        old = taken(place)
        place.put([item("v/1", "old", 1), item("v/2", "old", 1)], old)
        place.close()
        newer = another()
        new = taken(newer)
        newer.put([item("v/1", "new", 1, 2), item("v/2", None, 1, 2), item("v/3", None, 1, 2)], new)
        late = another()
        with pytest.raises(Exception):  # noqa: B017  whatever it says, what is there counts
            late.put([item("v/1", "late", 2), item("v/2", "late", 2), item("v/3", "late", 2)], old)
        assert newer.get(["v/1", "v/2", "v/3"]) == {"v/1": b"new"}
        late.close()
        newer.close()

    def test_many_are_listed_each_once(self, place: Place) -> None:
        head = taken(place)
        for start in range(0, 1300, 100):
            place.put([item(f"v/{number}", str(number), 1) for number in range(start, start + 100)], head)
        found = list(place.inventory())
        assert len(found) == len(dict(found)) == 1300
        assert dict(found)["v/1234"] == etag_of(b"1234")

    def test_tidying_leaves_all_that_is_there(self, place: Place) -> None:
        head = taken(place)
        place.put([item("v/1", "1", 1), item("v/2", "2", 1)], head)
        place.put([item("v/2", None, 2)], head)
        place.tidy(LATER)
        assert place.get(["v/1", "v/2"]) == {"v/1": b"1"}
        place.put([item("v/2", "again", 3)], head)
        assert dict(place.inventory()).keys() == {"v/1", "v/2"}
