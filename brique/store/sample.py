"""Which trigrams of a question to ask the search index for: the fewest that leave few rows.

Reading the index costs time for each row that has a trigram, so frequent ones are not asked for when a rare one is
there. How frequent they are, alone and together, is told by a sample of rows taken when a table was loaded: for each
trigram one bit for each row of the sample. It only guides; a stale or missing sample costs time, not rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

ROWS = 1_000
"""Rows in a sample."""
_ASKED_MAX = 6
_FEW = 1
"""Rows of the sample: with so few left it cannot tell what another trigram would sort out."""
_UNSEEN = 0.4  # rows of the sample that may be left then, and what another trigram leaves of them
_MANY = 30  # rows of the sample: with more left nobody checks them all
_CHECKS_PER_READ = 250
"""So many entries of the index are read in the time that it takes to check one row."""


def pack(documents: Sequence[str]) -> bytes:
    """A sample of these documents, to be kept."""
    bits: dict[str, int] = {}
    for number, text in enumerate(documents):
        for gram in {text[i : i + 3] for i in range(len(text) - 2)}:
            bits[gram] = bits.get(gram, 0) | 1 << number
    size = (len(documents) + 7) // 8
    return msgspec.msgpack.encode({gram: mask.to_bytes(size, "little") for gram, mask in bits.items()})


class Sample:
    """Answers how many rows of a sample have some trigrams."""

    def __init__(self, packed: bytes) -> None:
        self._bits: Mapping[str, bytes] = msgspec.msgpack.decode(packed, type=dict[str, bytes])

    def rows(self, gram: str) -> int:
        """The rows that have it, one bit for each."""
        return int.from_bytes(self._bits.get(gram, b""), "little")


def chosen(grams: Iterable[str], sample: Sample | None) -> list[str]:
    """The trigrams to ask for; any choice is right, this one is fast."""
    unique = list(dict.fromkeys(grams))
    if sample is None or len(unique) < 2:
        return unique[:_ASKED_MAX]
    rows = {gram: sample.rows(gram) for gram in unique}
    order = sorted(unique, key=lambda gram: rows[gram].bit_count())
    asked, left, unseen = [order[0]], rows[order[0]], _UNSEEN
    while len(asked) < _ASKED_MAX:
        others = [gram for gram in order if gram not in asked]
        if not others:
            break
        best = min(others, key=lambda gram: ((left & rows[gram]).bit_count(), rows[gram].bit_count()))
        now, after, price = left.bit_count(), (left & rows[best]).bit_count(), rows[best].bit_count()
        worth = price < _CHECKS_PER_READ * (now - after + unseen * (1 - _UNSEEN))
        if now > _MANY:
            worth = after * 3 < now * 2
        elif now <= _FEW:
            unseen *= _UNSEEN
        if not worth:
            break
        asked.append(best)
        left &= rows[best]
    return asked
