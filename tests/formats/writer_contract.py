"""What every writer promises; each one's tests add only how its files are read back."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from decimal import Decimal

import pytest

from brique.formats import Batch, Notes, Writer
from tests.formats.tables import HEADER, NOON, batches, rows


class WriterContract:
    """A subclass gives the fixture `writer` and reads the ids (first column) of a file back."""

    def ids(self, data: bytes) -> list[int]:
        raise NotImplementedError

    def test_first_bytes_leave_before_the_second_batch_is_asked_for(self, writer: Writer) -> None:
        asked: list[int] = []

        def watched() -> Iterator[Batch]:
            for number, batch in enumerate(batches(3, 500)):
                asked.append(number)
                yield batch

        first = next(iter(writer.write(HEADER, watched())))
        assert first
        assert len(asked) <= 1

    def test_every_row_arrives_once_and_in_order_and_no_piece_is_empty(self, writer: Writer) -> None:
        pieces = list(writer.write(HEADER, batches(7, 300)))
        assert all(pieces)
        assert self.ids(b"".join(pieces)) == list(range(1, 2101))

    def test_no_rows_make_a_whole_file(self, writer: Writer) -> None:
        assert self.ids(b"".join(writer.write(HEADER, []))) == []
        assert self.ids(b"".join(writer.write(HEADER, [[], []]))) == []

    def test_empty_batches_between_others_change_nothing(self, writer: Writer) -> None:
        assert self.ids(b"".join(writer.write(HEADER, [[], rows(2), [], rows(1, 3), []]))) == [1, 2, 3]

    def test_nulls_may_stand_anywhere(self, writer: Writer) -> None:
        holes = [
            (row[0], *(None if (number + at) % 3 == 0 else row[at] for at in range(1, 8)))
            for number, row in enumerate(rows(20))
        ]
        assert self.ids(b"".join(writer.write(HEADER, [holes]))) == list(range(1, 21))

    def test_values_of_another_kind_than_their_column_are_written_as_what_they_are(self, writer: Writer) -> None:
        odd: Batch = [
            (1, 5, "n/a", "soon", b"\xff", "maybe", Decimal("1.5"), 3),
            (2, {"a": [1]}, None, 7, True, 1.5, "x", [1]),
        ]
        data = b"".join(writer.write(HEADER, [odd]))
        assert self.ids(data) == [1, 2]

    def test_a_fault_of_the_rows_passes_through_unchanged(self, writer: Writer) -> None:
        def broken() -> Iterator[Batch]:
            yield rows(3)
            raise LookupError("the source is gone")

        with pytest.raises(LookupError, match="the source is gone"):
            list(writer.write(HEADER, broken()))

    def test_the_same_rows_make_the_same_bytes(self, writer: Writer) -> None:
        notes = Notes(table="orders", as_of=NOON)
        one, two = (b"".join(writer.write(HEADER, batches(2, 50), notes=notes, language="fr")) for _ in range(2))
        assert one == two

    def test_memory_follows_the_batch_and_not_the_table(self, writer: Writer) -> None:
        def peak(count: int) -> int:
            tracemalloc.start()
            for _ in writer.write(HEADER, batches(count, 200)):
                pass
            top = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return top

        peak(2)
        assert peak(60) < 1.5 * peak(4) + 200_000
