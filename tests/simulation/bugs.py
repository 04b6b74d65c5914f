"""Deliberate faults, put into the product while a simulation runs, to show that it would find them. Each stands for a
mistake that somebody could make; each is found within its number of seeds (`BUGS`).

Nothing of this is known to the product: its classes are patched from here, and put back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec

from brique.app import backend as backend_module
from brique.commands import Ledger, Replay, Report, life
from brique.commands import ledger as ledger_module
from brique.commands.course import Course
from brique.commands.marks import Marks
from brique.commands.requests import Give, Receipt
from brique.commands.restart import Restart
from brique.commands.transaction import Culprit, Work
from brique.errors import BackendAway, BackendRefused, NoRoom
from brique.schema import State
from brique.spool import SqliteSpool
from brique.store import Tx
from brique.store import ledger as store_ledger
from tests.simulation.backends import FakeBackend, FakeSession
from tests.simulation.disk import SimDisk
from tests.simulation.habits import PLAIN, Habits
from tests.simulation.model import Broken
from tests.simulation.simulation import Simulation, simulate

Patch = Callable[[ExitStack], None]


def _put(stack: ExitStack, where: Any, name: str, new: Any) -> None:
    stack.enter_context(patch.object(where, name, new))


def acknowledge_early(stack: ExitStack) -> None:
    """A command is acknowledged although the spool had no room for it."""
    keep = Ledger._append

    def append(self: Ledger, plans: Sequence[Any], *, urgent: bool) -> int:
        try:
            return keep(self, plans, urgent=urgent)
        except NoRoom:
            for index, plan in enumerate(plans):
                if isinstance(plan.request, Give) and plan.entries:
                    plan.answer = Receipt(plan.request.command.id, self.spool.last() + 1 + index)
                plan.entries, plan.kept = [], []
            return 0

    _put(stack, Ledger, "_append", append)


def drop_the_flush(stack: ExitStack) -> None:
    """The spool acknowledges what it has not flushed."""
    _put(stack, SimDisk, "flushed", lambda self, path, file: True)


def forget_the_mark(stack: ExitStack) -> None:
    """The watermark is not moved in the transaction of the batch."""
    _put(stack, FakeSession, "move_watermark", lambda self, stream, previous, position: True)


def move_the_mark_first(stack: ExitStack) -> None:
    """The watermark is moved in a transaction of its own, before that of the batch has committed."""
    move = FakeSession.move_watermark

    def first(self: FakeSession, stream: str, previous: int, position: int) -> bool:
        moved = move(self, stream, previous, position)
        if moved:
            self._erp.state = replace(self._erp.state, cursor={**self._erp.state.cursor, stream: position})
        return moved

    _put(stack, FakeSession, "move_watermark", first)


def swap_two_commands(stack: ExitStack) -> None:
    """What waits is sent in the wrong order."""
    window = backend_module.BackendProcess._window

    def swapped(self: Any, after: int) -> Any:
        found = window(self, after)
        return replace(found, waiting=[*found.waiting[1::-1], *found.waiting[2:]])

    _put(stack, backend_module.BackendProcess, "_window", swapped)


def drop_the_overlay(stack: ExitStack) -> None:
    """What an applied command has laid goes at once, before the copy shows the backend's row."""
    _put(stack, store_ledger.Ledger, "settled", lambda self, position, seq: self.lift(position))
    if hasattr(store_ledger.Ledger, "settled_many"):
        _put(stack, store_ledger.Ledger, "settled_many", lambda self, seqs: [self.lift(position) for position in seqs])


def refresh_over_pending(stack: ExitStack) -> None:
    """A refresh puts its rows over pending values."""
    _put(stack, store_ledger.Ledger, "keys_in", lambda self, table: set())


def believe_an_old_reading(stack: ExitStack) -> None:
    """A refresh that began before a row was read back puts its older row over it."""
    _put(stack, store_ledger.Ledger, "fresh_since", lambda self, table, began: set())


def ignore_the_token(stack: ExitStack) -> None:
    """A form sent twice is two commands."""
    _put(stack, ledger_module, "token_key", lambda user, token: "")


def settle_twice(stack: ExitStack) -> None:
    """A report that a command was refused counts although it was applied."""
    tell = backend_module.BackendProcess._tell

    def twice(self: Any, report: Report) -> None:
        tell(self, report)
        applied = [item for item in report.outcomes if item.state is State.APPLIED]
        if len(applied) > 2:
            outcome = msgspec.structs.replace(applied[0], state=State.REFUSED, keys={})
            tell(self, Report(report.backend, outcomes=[outcome]))

    _put(stack, backend_module.BackendProcess, "_tell", twice)
    _put(stack, life, "may_move", lambda now, to: True)


def withdraw_what_is_sent(stack: ExitStack) -> None:
    """Somebody may withdraw a command that is on its way."""
    moves = {**life.MOVES, State.SENDING: life.MOVES[State.SENDING] | {State.WITHDRAWN}}
    _put(stack, life, "MOVES", moves)


def take_a_lost_answer_for_a_refusal(stack: ExitStack) -> None:
    """A commit whose answer was lost counts as refused."""
    commit = FakeBackend._commit

    def refused(self: FakeBackend, session: FakeSession) -> None:
        try:
            commit(self, session)
        except BackendAway as fault:
            raise BackendRefused(fault.message) from fault

    _put(stack, FakeBackend, "_commit", refused)


def retry_blindly(stack: ExitStack) -> None:
    """What may have arrived is sent again as if it had not."""
    _put(stack, Course, "is_doubtful", lambda self, item: False)
    _put(stack, Course, "is_fragile", lambda self, item: False)


def skip_the_permission(stack: ExitStack) -> None:
    """Rights are not looked at again when a command is sent."""
    made = Replay.__init__

    def without(self: Replay, *args: Any, **given: Any) -> None:
        made(self, *args, **{**given, "allowed": lambda command: ""})

    _put(stack, Replay, "__init__", without)


def no_rewind(stack: ExitStack) -> None:
    """What the backend has forgotten is not sent again."""
    _put(stack, Restart, "rewind", lambda self, *given: 0)


def forget_too_much(stack: ExitStack) -> None:
    """The spool lets go of records that are still needed."""
    forget = SqliteSpool.forget
    _put(stack, SqliteSpool, "forget", lambda self, upto: forget(self, self.last()))
    _put(stack, Ledger, "catch_up", _without_the_first(Ledger.catch_up))


def _without_the_first(catch_up: Callable[[Ledger], int]) -> Callable[[Ledger], int]:
    """Segments are let go of only when they are full, which takes longer than a life: the first records go here."""

    def late(self: Ledger) -> int:
        with self.store.transaction() as tx:
            if not tx.spool_position() and self.spool.last() > 40:
                tx.set_spool_position(20)
        return catch_up(self)

    return late


def skip_the_culprit(stack: ExitStack) -> None:
    """A change that found no row counts as done with the rest of its batch."""
    apply = FakeSession.apply

    def done(self: FakeSession, changes: Sequence[Any]) -> list[Any]:
        return [found._replace(rows=1) for found in apply(self, changes)]

    _put(stack, FakeSession, "apply", done)


def lose_real_keys(stack: ExitStack) -> None:
    """The number that the backend has given to a row is not reported."""
    tell = backend_module.BackendProcess._tell

    def without(self: Any, report: Report) -> None:
        outcomes = [msgspec.structs.replace(item, keys={}) for item in report.outcomes]
        tell(self, msgspec.structs.replace(report, outcomes=outcomes))

    _put(stack, backend_module.BackendProcess, "_tell", without)


def tear_commands(stack: ExitStack) -> None:
    """Only the first change of a command is made."""
    wanted = Replay._in_session

    def torn(self: Any, batch: Any, sent: Any) -> None:
        items = [
            item._replace(command=msgspec.structs.replace(item.command, changes=item.command.changes[:1]))
            for item in batch.items
        ]
        wanted(self, replace(batch, items=items), sent)

    _put(stack, Replay, "_in_session", torn)


def skip_while_catching_up(stack: ExitStack) -> None:
    """An engine that starts leaves out what it had kept and not shown."""

    def nothing(self: Ledger) -> int:
        with self.store.transaction() as tx:
            tx.set_spool_position(self.spool.last())
        return 0

    _put(stack, Ledger, "catch_up", nothing)


def send_without_a_claim(stack: ExitStack) -> None:
    """The engine is not asked what still waits."""
    _put(stack, backend_module.BackendProcess, "claim", lambda self, waiting, *, for_good: dict(waiting))


def leave_out_the_first(stack: ExitStack) -> None:
    """The first of a batch is left out, and reported as applied with the others."""
    run = Replay._in_session

    def passing(self: Any, batch: Any, sent: Any) -> None:
        run(self, replace(batch, items=batch.items[1:] if len(batch.items) > 3 else batch.items), sent)

    _put(stack, Replay, "_in_session", passing)


def keep_what_is_stale(stack: ExitStack) -> None:
    """Two people at one row at the same moment: the second one's command is kept unseen."""
    _put(stack, ledger_module, "check_fresh", lambda tx, command, laid: None)


def refuse_what_others_have_applied(stack: ExitStack) -> None:
    """A replayer tells what it finds as its outcome, without waiting for a commit that may be under way still."""
    _put(stack, Marks, "hold", lambda self, position: None)


def forget_calls(stack: ExitStack) -> None:
    """What a command asks for beside its changes is left out when it is sent with others."""
    _put(stack, Work, "_with_effects", lambda self, session, batch, flat, steps, sent: self._apply(session, flat, sent))


def pass_the_parent(stack: ExitStack) -> None:
    """A command is sent although the one that it waits for is not applied."""
    _put(stack, Course, "_builds_on", lambda self, command: ())
    _put(stack, Course, "_builds_on_nothing", staticmethod(lambda command, specs: True))


def forget_what_was_passed(stack: ExitStack) -> None:
    """What a run has gone on without is not marked as overtaken, and counts as applied."""

    class Nothing:
        def __get__(self, replay: object, owner: object) -> set[int]:
            return set()

        def __set__(self, replay: object, value: set[int]) -> None:
            """Not kept."""

    stack.enter_context(patch.object(Replay, "passed", Nothing(), create=True))


def give_a_half_back(stack: ExitStack) -> None:
    """Without transactions, a command of which a part was done is given back when nobody could be told."""
    run = Replay._transaction

    def without(self: Any, batch: Any) -> Any:
        try:
            return run(self, batch)
        except Culprit:
            self._held.update({item.position: item.state for item in batch.items})
            raise

    _put(stack, Replay, "_transaction", without)


def leave_the_row_behind(stack: ExitStack) -> None:
    """What waits on a row that the backend has forgotten stays laid over its old number."""
    _put(stack, Tx, "_lay_again", lambda self, position: None)


def trust_the_mark(stack: ExitStack) -> None:
    """A mark is taken for ours whoever's command has moved it."""
    _put(stack, Marks, "is_of", lambda self, receipt_at: True)


@dataclass(frozen=True)
class Bug:
    """`put` puts it in; of the seeds from 0 on, one of the first `seeds` notices it. `hint`: one that did when this was
    written, which is tried first where time is short."""

    put: Patch
    seeds: int
    hint: int
    habits: Habits | None = None
    """Of the lives in which it is looked for, when it shows only where much of something comes together."""

    @property
    def name(self) -> str:
        return self.put.__name__.replace("_", "-")

    def life(self, folder: Path, seed: int) -> Simulation:
        """One of the lives in which it is looked for."""
        return Simulation(folder, seed, self.habits)

    @property
    def says(self) -> str:
        return (self.put.__doc__ or "").strip()


_LATE = Habits({**PLAIN, "sack": 15, "turn": 25}, moods=("late", "late", "quiet"), batch=1)


_HALVES = Habits(pairs=0.7, moods=("flaky", "frozen", "wild"))
_FORGETTING = Habits(
    {**PLAIN, "forget": 8, "click_again": 0}, moods=("quiet", "flaky", "dead"), taste="newest", late_forms=0.6, batch=3
)

BUGS = (
    Bug(drop_the_flush, 60, 16),
    Bug(acknowledge_early, 20, 4),
    Bug(forget_the_mark, 100, 7),
    Bug(move_the_mark_first, 20, 1),
    Bug(swap_two_commands, 20, 1),
    Bug(drop_the_overlay, 50, 0),
    Bug(refresh_over_pending, 120, 32),
    Bug(believe_an_old_reading, 150, 1),
    Bug(ignore_the_token, 20, 0),
    Bug(settle_twice, 20, 1),
    Bug(withdraw_what_is_sent, 50, 3),
    Bug(take_a_lost_answer_for_a_refusal, 100, 34),
    Bug(retry_blindly, 100, 28),
    Bug(skip_the_permission, 20, 1),
    Bug(no_rewind, 60, 17),
    Bug(forget_too_much, 20, 0),
    Bug(skip_the_culprit, 100, 1),
    Bug(lose_real_keys, 200, 28),
    Bug(tear_commands, 20, 0),
    Bug(skip_while_catching_up, 20, 0),
    Bug(send_without_a_claim, 20, 0),
    Bug(leave_out_the_first, 20, 1),
    Bug(keep_what_is_stale, 20, 0),
    Bug(refuse_what_others_have_applied, 200, 105, _LATE),
    Bug(forget_calls, 20, 1),
    Bug(pass_the_parent, 20, 1),
    Bug(forget_what_was_passed, 120, 55),
    Bug(give_a_half_back, 100, 202, _HALVES),
    Bug(leave_the_row_behind, 100, 47, _FORGETTING),
    Bug(trust_the_mark, 100, 0),
)


@contextmanager
def bug(put: Patch) -> Iterator[None]:
    """With this fault in the product."""
    with ExitStack() as stack:
        put(stack)
        yield


def noticed(found: Bug, seed: int) -> str:
    """What the simulation of `seed` says with this fault in; empty when it does not notice."""
    with bug(found.put):
        try:
            simulate(seed, make=found.life)
        except Broken as fault:
            return str(fault).splitlines()[0]
    return ""


def seeds_needed(found: Bug) -> tuple[int, str]:
    """How many seeds, from 0 on, it takes until the fault is noticed, and what was said then; 0 when none notices."""
    for seed in range(found.seeds):
        said = noticed(found, seed)
        if said:
            return seed + 1, said
    return 0, ""
