"""The fold of pending changes over a source row."""

from __future__ import annotations

import pytest

from brique.schema import Row
from brique.store.overlay import Laid, fold

NAMES = ("id", "a", "b")
BASE: Row = {"id": 1, "a": "x", "b": None}


def laid(before: Row | None, after: Row | None, position: int = 1) -> Laid:
    return Laid(position, 0, before, after)


@pytest.mark.parametrize(
    ("base", "changes", "wanted"),
    [
        (BASE, [], BASE),
        (BASE, [laid({"a": "x"}, {"a": "y"})], {"id": 1, "a": "y", "b": None}),
        (None, [laid({"a": "x"}, {"a": "y"})], None),
        (BASE, [laid(BASE, None)], None),
        (None, [laid(None, {"a": "n"})], {"id": None, "a": "n", "b": None}),
        (BASE, [laid(None, {"a": "n"})], {"id": 1, "a": "n", "b": None}),
        (BASE, [laid(BASE, None), laid(None, {"id": 1, "b": 2}, 2)], {"id": 1, "a": None, "b": 2}),
        (BASE, [laid({"a": "x"}, {"a": "y"}), laid({"a": "y"}, {"b": 3}, 2)], {"id": 1, "a": "y", "b": 3}),
        (BASE, [laid(None, None)], BASE),
        (BASE, [laid({"gone": 1}, {"gone": 2, "a": "z"})], {"id": 1, "a": "z", "b": None}),
    ],
)
def test_changes_are_laid_over_in_order(base: Row | None, changes: list[Laid], wanted: Row | None) -> None:
    assert fold(base, changes, NAMES) == wanted


def test_the_source_row_is_not_touched() -> None:
    fold(BASE, [laid({"a": "x"}, {"a": "y"})], NAMES)
    assert BASE == {"id": 1, "a": "x", "b": None}
