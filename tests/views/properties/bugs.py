"""Deliberate faults in what tracks reads. Each has to be found by the random lives, or these prove nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from brique.store import Db, Representations, Rows
from brique.store.db.record import Values
from brique.views import cells, keeper, letting_go, notes, pattern, patterns, reading
from brique.views import entries as remembered
from brique.views.recorder import Recording
from tests.views.properties.life import Life, Violation

SEEDS_MAX = 400
"""Lives within which each fault has to be found."""


class Patch:
    """Sets attributes, and sets them back."""

    def __init__(self) -> None:
        self._old: list[tuple[Any, str, Any]] = []

    def set(self, where: Any, name: str, value: Any) -> None:
        self._old.append((where, name, where.__dict__[name]))
        setattr(where, name, value)

    def undo(self) -> None:
        for where, name, value in reversed(self._old):
            setattr(where, name, value)


@contextmanager
def planted(bug: Callable[[Patch], None]) -> Iterator[None]:
    patch = Patch()
    try:
        bug(patch)
        yield
    finally:
        patch.undo()


def found_at(bug: Callable[[Patch], None], first: int = 0) -> int | None:
    """How many lives it took to find the fault; None when it was not found."""
    with planted(bug):
        for seed in range(first, first + SEEDS_MAX):
            with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
                try:
                    Life(Path(folder), seed).run()
                except Violation:
                    return seed - first + 1
    return None


def show(first: int = 0) -> int:
    missed = 0
    for bug in BUGS:
        lives = found_at(bug, first)
        missed += lives is None
        print(f"{bug.__name__}: {'NOT FOUND' if lives is None else f'found in life {lives}'}", flush=True)
    print(f"{len(BUGS)} faults, {missed} not found within {SEEDS_MAX} lives")
    return int(missed > 0)


# changes and questions


def _blind(patch: Patch, side: str) -> None:
    init = notes.Changed.__init__

    def blind(self: Any, change: Any, bits: Any) -> None:
        init(self, change, bits)
        if self.before is not None and self.after is not None:
            setattr(self, side, None)

    patch.set(notes.Changed, "__init__", blind)


def old_row_ignored(patch: Patch) -> None:
    _blind(patch, "before")


def new_row_ignored(patch: Patch) -> None:
    _blind(patch, "after")


def _differing(patch: Patch, but: int) -> None:
    init = notes.Changed.__init__

    def without(self: Any, change: Any, bits: Any) -> None:
        init(self, change, bits)
        self.differing &= ~but

    patch.set(notes.Changed, "__init__", without)


def coming_and_going_of_a_row_referred_to_unseen(patch: Patch) -> None:
    _differing(patch, notes.MEMBER_BIT)


def pending_forgotten(patch: Patch) -> None:
    _differing(patch, notes.PENDING_BIT)


def columns_forgotten(patch: Patch) -> None:
    patch.set(notes.Bits, "of", lambda *_: 0)


def last_column_forgotten(patch: Patch) -> None:
    of = notes.Bits.of
    patch.set(notes.Bits, "of", lambda self, table, columns: of(self, table, list(columns)[:-1] or columns))


def sorts_not_read(patch: Patch) -> None:
    reads = Rows._reads

    def without(self: Any, *, ordered: bool) -> Any:
        read = reads(self, ordered=ordered)
        read.mask.clear()
        return read

    patch.set(Rows, "_reads", without)


def absent_keys_not_recorded(patch: Patch) -> None:
    get = Db._stored_row

    def forgetting(self: Any, access: Any, key: str) -> Any:
        found = get(self, access, key)
        if found is None and isinstance(self.recorder, Recording) and self.recorder._reads[-1].question.key == key:
            self.recorder._reads.pop()
        return found

    patch.set(Db, "_stored_row", forgetting)


def membership_masked(patch: Patch) -> None:
    """A row that comes or goes touches only what has looked at a column."""

    def touched(self: Any, change: Any) -> bool:
        was = change.before is not None and self.holds(change.before)
        now = change.after is not None and self.holds(change.after)
        return (was or now) and bool(change.differing & self.note.mask & ~notes.MEMBER_BIT)

    patch.set(notes.Asked, "touched_by", touched)


def digests_by_type(patch: Patch) -> None:
    patch.set(notes, "digest", lambda values: repr(list(values)).encode())


def masks_taken_too_early(patch: Patch) -> None:
    run = reading.View.run

    def early(self: Any, db: Any, arguments: Any) -> Any:
        result = run(self, db, arguments)
        if isinstance(db.recorder, Recording):
            for read in db.recorder._reads:
                if read.question.order:
                    read.mask = {sort.column for sort in read.question.order}
        return result

    patch.set(reading.View, "run", early)


def first_reads_only(patch: Patch) -> None:
    of = notes.Bits.notes
    patch.set(notes.Bits, "notes", lambda self, reads: of(self, reads)[:1])


# windows and ranges


def window_without_its_last_row(patch: Patch) -> None:
    beyond = notes.beyond

    def strict(side: Any, order: Any, bound: Any) -> bool:
        same = all(
            notes.compare(side.value(c), n) == notes.compare(edge, n)
            for (c, _, n), edge in zip(order, bound, strict=False)
        )
        return same or bool(beyond(side, order, bound))

    patch.set(notes, "beyond", strict)


def window_turned_round(patch: Patch) -> None:
    beyond = notes.beyond
    patch.set(notes, "beyond", lambda side, order, bound: beyond(side, [(c, not d, n) for c, d, n in order], bound))


def window_with_room_closed(patch: Patch) -> None:
    given = Rows._given

    def closed(self: Any, read: Any) -> Any:
        last = None
        for last in given(self, read):
            yield last
        read.last = last

    patch.set(Rows, "_given", closed)


def window_by_the_old_row_only(patch: Patch) -> None:
    touched = notes.Asked.touched_by

    def old_only(self: Any, change: Any) -> bool:
        if self.note.bound is not None and change.before is not None and not self.holds(change.before):
            return False
        return touched(self, change)

    patch.set(notes.Asked, "touched_by", old_only)


def ranges_without_their_end(patch: Patch) -> None:
    found = notes._range

    def shorter(note: Any, equal: Any) -> Any:
        made = found(note, equal)
        return made and (made[0], made[1], made[2], max(made[2], made[3] - (1 << 58)))

    patch.set(notes, "_range", shorter)


def short_lists_by_their_first_value(patch: Patch) -> None:
    entries = keeper.entries
    patch.set(keeper, "entries", lambda note: entries(note)[:1])


def witness_that_stays_a_row(patch: Patch) -> None:
    """Whether any row exists is taken to hang on the row of the answer being there, whatever its columns say."""
    touched = notes.Asked.touched_by

    def careless(self: Any, change: Any) -> bool:
        if self.note.witness is not None and change.after is not None:
            return False
        return touched(self, change)

    patch.set(notes.Asked, "touched_by", careless)


# patterns


def moves_seen_where_they_began(patch: Patch) -> None:
    lead = letting_go.LettingGo._lead

    def first_only(self: Any, name: str, identity: Any, found: Any) -> None:
        known = [leads for leads in self._leads.get(name, {}).values() if leads[0].change is found.change]
        if not known:
            lead(self, name, identity, found)

    patch.set(letting_go.LettingGo, "_lead", first_only)


def masks_replaced(patch: Patch) -> None:
    fit = patterns.Patterns._fit

    def replacing(self: Any, name: str, given: Any, note: Any, source: int, identity: str) -> Any:
        found = fit(self, name, given, note, source, identity)
        if found is not None:
            found[0].mask = note.mask
        return found

    patch.set(patterns.Patterns, "_fit", replacing)


def first_bound_for_all(patch: Patch) -> None:
    use = pattern.Compiled.use
    first: dict[Any, Any] = {}

    def frozen(self: Any, note: Any, given: Any) -> Any:
        made = use(self, note, given)
        return made and first.setdefault((id(self), self.pattern.number), made)

    patch.set(pattern.Compiled, "use", frozen)


def patterns_ahead_of_the_file(patch: Patch) -> None:
    step = keeper.Keeper._in_step
    patch.set(keeper.Keeper, "_in_step", lambda self, kept: step(self, kept) if self._undone == -1 else None)


def patterns_never_kept(patch: Patch) -> None:
    patch.set(Representations, "put_pattern", lambda *_: None)


def references_not_looked_back_on(patch: Patch) -> None:
    patch.set(letting_go.LettingGo, "_look_back", lambda *_: None)


def first_reference_only(patch: Patch) -> None:
    roots = letting_go.LettingGo._roots

    def first(self: Any, *given: Any) -> Any:
        for found in roots(self, *given):
            yield found
            return

    patch.set(letting_go.LettingGo, "_roots", first)


def referring_column_unread(patch: Patch) -> None:
    patch.set(Values, "stored", lambda self, name: self._stored[self._places[name]])


def what_belongs_to_one_user_let_go_for_none(patch: Patch) -> None:
    ready = Representations.ready
    patch.set(
        Representations, "ready", lambda self, *given: [pair for pair in ready(self, *given) if pair[0] == given[1]]
    )


# the rest


def late_offers_unchecked(patch: Patch) -> None:
    patch.set(keeper.Keeper, "_late", lambda *_: "")


def late_changes_by_their_first(patch: Patch) -> None:
    touched = keeper.NoteIndex.touched_by
    patch.set(keeper.NoteIndex, "touched_by", lambda self, changes: touched(self, list(changes)[:1]))


def reloads_unseen(patch: Patch) -> None:
    patch.set(letting_go.LettingGo, "whole", lambda *_: None)


def clock_unread(patch: Patch) -> None:
    patch.set(Recording, "clock", lambda *_: None)


def clock_that_only_goes_on(patch: Patch) -> None:
    patch.set(
        reading, "_holds", lambda kept, now: kept.dependencies is not None and (kept.until is None or now < kept.until)
    )


def user_unread(patch: Patch) -> None:
    patch.set(Recording, "personal", lambda *_: None)


def old_dependencies_kept(patch: Patch) -> None:
    first: dict[tuple[str, str], Any] = {}
    keep = reading.Views._keep

    def keeping(self: Any, view: Any, key: str, user: Any, body: bytes, position: int, recording: Recording) -> Any:
        reads = first.setdefault((view.name + str(id(self)), key), recording._reads)
        recording._reads = reads
        return keep(self, view, key, user, body, position, recording)

    patch.set(reading.Views, "_keep", keeping)


def schemes_forgotten(patch: Patch) -> None:
    patch.set(remembered.Entries, "add", lambda *_: None)


def old_rows_left_in_totals(patch: Patch) -> None:
    count = cells.Cells._count
    patch.set(cells.Cells, "_count", lambda self, s, side, sign, found: sign > 0 and count(self, s, side, sign, found))


def totals_without_changes_of_group(patch: Patch) -> None:
    key = cells.Cells._key
    first: dict[Any, Any] = {}
    patch.set(
        cells.Cells,
        "_key",
        lambda self, spec, side: first.setdefault((id(self), side.key, spec.id), key(self, spec, side)),
    )


def empty_groups_kept(patch: Patch) -> None:
    put = Representations.add_to_total

    def never_gone(self: Any, cell: bytes, part: bytes, rows: int, numbers: int, total: int) -> None:
        put(self, cell, part, rows, numbers, total)
        if not [held for held in self.totals(cell) if held[0] == part]:
            self.put_total(cell, part, 0, 0, 0)

    patch.set(Representations, "add_to_total", never_gone)


def totals_outliving_a_reload(patch: Patch) -> None:
    patch.set(cells.Cells, "forget", lambda *_: None)


def totals_ahead_of_the_file(patch: Patch) -> None:
    load = cells.Cells.load
    patch.set(cells.Cells, "load", lambda self, kept: None if self._known else load(self, kept))


def late_totals_unchecked(patch: Patch) -> None:
    accept = keeper.Keeper.accept

    def trusting(self: Any, tx: Any, payload: Any) -> bool:
        for spec, totals in keeper.offer_from(payload).cells:
            self.cells.take(tx.representations, spec, totals)
        return bool(accept(self, tx, payload))

    patch.set(keeper.Keeper, "accept", trusting)


def everything_counted_as_a_number(patch: Patch) -> None:
    add = Representations.add_to_total
    patch.set(
        Representations,
        "add_to_total",
        lambda self, cell, part, rows, numbers, total: add(self, cell, part, rows, rows, total),
    )


def undone_parts_told(patch: Patch) -> None:
    """What was rolled back inside a transaction is not told, and what was left of it neither."""
    look = letting_go.LettingGo.look
    patch.set(letting_go.LettingGo, "look", lambda self, changes: look(self, changes[1:] or changes[:0]))


BUGS: tuple[Callable[[Patch], None], ...] = (
    old_row_ignored, new_row_ignored, coming_and_going_of_a_row_referred_to_unseen, pending_forgotten,
    columns_forgotten, last_column_forgotten, sorts_not_read, absent_keys_not_recorded, membership_masked,
    digests_by_type, masks_taken_too_early, first_reads_only, window_without_its_last_row, window_turned_round,
    window_with_room_closed, window_by_the_old_row_only, ranges_without_their_end,
    short_lists_by_their_first_value, witness_that_stays_a_row, moves_seen_where_they_began,
    masks_replaced, first_bound_for_all, patterns_ahead_of_the_file,
    patterns_never_kept, references_not_looked_back_on, first_reference_only, referring_column_unread,
    what_belongs_to_one_user_let_go_for_none, late_offers_unchecked, late_changes_by_their_first, reloads_unseen,
    old_rows_left_in_totals, totals_without_changes_of_group, empty_groups_kept, totals_outliving_a_reload,
    totals_ahead_of_the_file, late_totals_unchecked, everything_counted_as_a_number, clock_unread,
    clock_that_only_goes_on, user_unread, old_dependencies_kept, schemes_forgotten, undone_parts_told,
)  # fmt: skip
