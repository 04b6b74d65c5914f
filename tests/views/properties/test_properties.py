"""Some lives of every push, and the faults that they have to find. `python -m tests.views.properties` lives more."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.views.properties.bugs import BUGS, Patch, found_at
from tests.views.properties.life import Life

SEEDS = int(os.environ.get("BRIQUE_TEST_SEEDS", "60"))


def test_what_is_kept_is_what_the_view_makes_from_nothing(tmp_path: Path) -> None:
    kept = 0
    for seed in range(SEEDS):
        life = Life(tmp_path, seed)
        life.run()
        kept += life.counts["kept"]
    assert kept > 8 * SEEDS, "hardly anything was kept: nothing was tested"


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_found(bug: Callable[[Patch], None]) -> None:
    assert found_at(bug) is not None
