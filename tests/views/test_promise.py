"""Promise 6: every representation equals the view run from nothing on the same store. See also `properties`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from brique.store import Question
from brique.views import keeper, letting_go, reading
from brique.views.recorder import Recording
from tests.views.simulation import Simulation

SEEDS = int(os.environ.get("BRIQUE_TEST_SEEDS", "8"))
Patch = pytest.MonkeyPatch


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_representation_equals_the_view_run_from_nothing(tmp_path: Path, seed: int) -> None:
    simulation = Simulation(tmp_path, seed)
    simulation.run(150)
    assert simulation.world.accepted.count(True) > 100, "hardly anything was kept: nothing was tested"


@pytest.mark.parametrize("seed", range(500, 500 + SEEDS // 2))
def test_it_also_holds_beyond_every_limit(tmp_path: Path, seed: int, monkeypatch: Patch) -> None:
    """Where too much is read or changed to be exact, more is let go of, never less."""
    monkeypatch.setattr(letting_go, "CHECKED_MAX", 0)
    monkeypatch.setattr(letting_go, "DEPENDENTS_MAX", 0)
    monkeypatch.setattr(letting_go, "SOURCES_MAX", 1)
    monkeypatch.setattr(keeper, "_CHANGES_MAX", 2)
    monkeypatch.setattr(keeper, "_CHANGES_CHECKED_MAX", 2)
    monkeypatch.setattr(reading, "Recording", lambda: Recording(dependencies_max=2))
    Simulation(tmp_path, seed).run(100)


def test_reads_beyond_a_limit_become_the_whole_table() -> None:
    recording = Recording(dependencies_max=2)
    first = recording.reads(Question("t", key="1"))
    recording.reads(Question("t", key="2"))
    later = recording.reads(Question("t", key="3"))
    later.mask.add("b")
    first.mask.add("c")
    recording.reads(Question("t", key="9")).mask.add("d")
    found = [(read.question.key, set(read.mask)) for read in recording.asked]
    assert found == [("1", {"c"}), ("2", set()), (None, {"b", "d"})]
    assert recording.whole_tables == ["t"]
