"""Promise 6: every representation equals the view run from nothing on the same store. And bugs planted to break it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from brique.store import Db
from brique.views import keeper, notes, reading, touched
from brique.views.recorder import Recording
from tests.views.simulation import Mismatch, Simulation

SEEDS = int(os.environ.get("BRIQUE_TEST_SEEDS", "8"))
BUG_SEEDS_MAX = 60
Patch = pytest.MonkeyPatch


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_representation_equals_the_view_run_from_nothing(tmp_path: Path, seed: int) -> None:
    simulation = Simulation(tmp_path, seed)
    simulation.run(150)
    assert simulation.world.accepted.count(True) > 100, "hardly anything was kept: nothing was tested"


@pytest.mark.parametrize("seed", range(500, 500 + SEEDS // 2))
def test_it_also_holds_beyond_every_limit(tmp_path: Path, seed: int, monkeypatch: Patch) -> None:
    """Where too much is read or changed to be exact, more is let go of, never less."""
    monkeypatch.setattr(keeper, "_MASKS_CHECKED_MAX", 0)
    monkeypatch.setattr(keeper, "_QUESTIONS_MAX", 8)
    monkeypatch.setattr(keeper, "_CHANGES_CHECKED_MAX", 2)
    monkeypatch.setattr(reading, "Recording", lambda: Recording(dependencies_max=2))
    Simulation(tmp_path, seed).run(100)


def test_reads_beyond_a_limit_become_the_whole_table() -> None:
    recording = Recording(dependencies_max=2)
    first = recording.reads("t", ("a",), [(1,)])
    recording.reads("t", ("a",), [(2,)])
    later = recording.reads("t", ("a",), [(3,), (4,)])
    later.add("b")
    first.add("c")
    recording.reads("t", ("z",), [(9,)]).add("d")
    found = {(d.scheme, d.values): set(d.mask) for d in recording.dependencies()}
    assert found == {(("a",), (1,)): {"c"}, (("a",), (2,)): set(), ((), ()): {"b", "d"}}
    assert recording.whole_tables == ["t"]


def old_row_ignored(patch: Patch) -> None:
    asked = touched._asked
    calls = iter(range(10**9))
    patch.setattr(touched, "_asked", lambda *given: None if next(calls) % 2 == 0 else asked(*given))


def new_row_ignored(patch: Patch) -> None:
    asked = touched._asked
    calls = iter(range(10**9))
    patch.setattr(touched, "_asked", lambda *given: None if next(calls) % 2 == 1 else asked(*given))


def membership_forgotten(patch: Patch) -> None:
    patch.setattr(notes, "MEMBER_BIT", 0)


def pending_forgotten(patch: Patch) -> None:
    patch.setattr(touched, "PENDING_BIT", 0)


def columns_forgotten(patch: Patch) -> None:
    patch.setattr(notes.Bits, "of", lambda *_: 0)


def filters_and_sorts_not_read(patch: Patch) -> None:
    reads = Recording.reads

    class Deaf(set[str]):
        def update(self, *_: Any) -> None:
            return

    def without(self: Recording, *given: Any) -> set[str]:
        masks = self._masks
        reads(self, *given)
        deaf = Deaf()
        masks[(given[0], given[1], given[2][0])] = [*masks.get((given[0], given[1], given[2][0]), []), deaf]
        return deaf

    patch.setattr(Recording, "reads", without)


def absent_keys_not_recorded(patch: Patch) -> None:
    get = reading.Db._stored_row

    def forgetting(self: Db, access: Any, key: str) -> Any:
        found = get(self, access, key)
        if found is None and isinstance(self.recorder, Recording):
            self.recorder._masks.pop((access.spec.name, ("_key",), (key,)), None)
        return found

    patch.setattr(reading.Db, "_stored_row", forgetting)


def late_offers_unchecked(patch: Patch) -> None:
    patch.setattr(keeper.Keeper, "_late", lambda *_: "")


def late_reloads_unseen(patch: Patch) -> None:
    meets = touched.Touched.meets

    def blind(self: touched.Touched, note: Any) -> bool:
        self.reloaded = frozenset()
        return meets(self, note)

    patch.setattr(touched.Touched, "meets", blind)


def reloads_unseen(patch: Patch) -> None:
    patch.setattr(
        keeper,
        "touched",
        lambda changes, schemes, bits, reloaded=frozenset(): touched.touched(changes, schemes, bits),
    )


def clock_unread(patch: Patch) -> None:
    patch.setattr(Recording, "clock", lambda *_: None)


def clock_that_only_goes_on(patch: Patch) -> None:
    patch.setattr(
        reading, "_holds", lambda kept, now: kept.dependencies is not None and (kept.until is None or now < kept.until)
    )


def user_unread(patch: Patch) -> None:
    patch.setattr(Recording, "personal", lambda *_: None)


def digests_by_type(patch: Patch) -> None:
    patch.setattr(notes, "digest", lambda values: repr(list(values)).encode())
    patch.setattr(touched, "digest", lambda values: repr(list(values)).encode())


def first_question_only(patch: Patch) -> None:
    reads = Recording.reads
    patch.setattr(Recording, "reads", lambda self, table, scheme, asked: reads(self, table, scheme, asked[:1]))


def masks_taken_too_early(patch: Patch) -> None:
    dependencies = Recording.dependencies
    run = reading.View.run

    def early(self: Any, db: Any, arguments: Any) -> Any:
        result = run(self, db, arguments)
        if isinstance(db.recorder, Recording):
            frozen = dependencies(db.recorder)
            patch.setattr(db.recorder, "dependencies", lambda: frozen)
        return result

    patch.setattr(reading.View, "run", early)


def old_dependencies_kept(patch: Patch) -> None:
    kept: dict[tuple[str, str], Any] = {}
    dependencies = reading.Views._keep

    def keeping(self: Any, view: Any, key: str, user: Any, body: bytes, position: int, recording: Recording) -> Any:
        first = kept.setdefault((view.name, key), recording.dependencies())
        recording.dependencies = lambda: first  # type: ignore[method-assign]
        return dependencies(self, view, key, user, body, position, recording)

    patch.setattr(reading.Views, "_keep", keeping)


def schemes_forgotten(patch: Patch) -> None:
    """The schemes in use are looked up once, at the first change of a table."""
    in_use = keeper.Keeper._in_use

    def frozen(self: Any, kept: Any, table: str) -> Any:
        return set(in_use(self, kept, table))

    patch.setattr(keeper.Keeper, "_in_use", frozen)


BUGS: tuple[Callable[[Patch], None], ...] = (
    old_row_ignored, new_row_ignored, membership_forgotten, pending_forgotten, columns_forgotten,
    filters_and_sorts_not_read, absent_keys_not_recorded, late_offers_unchecked, late_reloads_unseen, reloads_unseen,
    clock_unread, clock_that_only_goes_on, user_unread, digests_by_type, first_question_only, masks_taken_too_early,
    old_dependencies_kept, schemes_forgotten,
)  # fmt: skip


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_found(tmp_path: Path, monkeypatch: Patch, bug: Callable[[Patch], None]) -> None:
    bug(monkeypatch)
    for seed in range(1000, 1000 + BUG_SEEDS_MAX):
        try:
            Simulation(tmp_path, seed).run(100)
        except Mismatch:
            return
    pytest.fail(f"{bug.__name__} lived through {BUG_SEEDS_MAX} seeds")
