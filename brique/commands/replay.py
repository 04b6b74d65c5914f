"""Sending kept commands to their backend: in order, in batches, each exactly once.

With a watermark (one row in the backend, moved in the transaction that applies the batch) a batch of commands is one
transaction. After a crash the watermark says what arrived: every unsettled command at or below it was applied, because
a command that is refused or in conflict settles here *before* a later batch moves the watermark past it, and one that
is overtaken gets a mark of its own in the transaction that overtakes it (`marks`). For the same reason the reports of
applied commands need not have been taken in when the next batch is sent: whatever is lost with them is found by the
mark. They may be `later`; all others are waited for.

Without one, the old values decide: an update or delete that finds them gone looks at the row and knows whether it
was its own work. Only an insert whose key the backend gives, or an effect, cannot be told apart; it is marked `sending`
before its one try, and is `unknown` when that try ends without an answer. A backend that itself knows what it has
applied (`guard`) is simply sent everything again.

A batch that cannot be applied as a whole is rolled back. Where the backend says which command it was, what stands
before that goes first, then that one alone, which tells what becomes of it, then the rest: three transactions; where
it does not say, the batch is halved until it is known. Commands on other rows are never held up.

Before a batch is sent it is claimed: the engine says which of its commands still wait, and lets nobody withdraw them
any more. A claimed command that is claimed again was sent before, by a process that has ended or over a commit whose
answer was lost. Without a watermark such a command is `unknown` when the row is neither as it was nor as it should
be; and two commands on one row are never in one batch, because only the last one's work could be seen then.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence

from brique.backends import Backend, Rung, Session
from brique.commands.claims import Alone, Claims
from brique.commands.course import Batch, Course
from brique.commands.marks import Marks
from brique.commands.notes import MemoryNotes, Notes
from brique.commands.numbers import Numbers
from brique.commands.pace import Pace
from brique.commands.report import AS_WANTED_MAX, Outcome, Report, in_parts
from brique.commands.transaction import Culprit, Sent, Suspect, Work
from brique.commands.waiting import Parent, Waiting
from brique.errors import BackendAway, BackendRefused, BriqueError, Busy, EngineAway, NoRoom
from brique.schema import PENDING, Command, Row, State, TableSpec
from brique.spool import Ancestor
from brique.store import spans_of

log = logging.getLogger(__name__)
NOT_WRITABLE = "brique could not write this for the backend ({kind}): its log says more."


class Replay:
    """Replay to one backend. `stream` names this brique in the watermark; `report` must have been taken in for good
    when it returns; `real_key(table, key)` finds the key that the backend gave for a temporary one; `claims` is asked
    before anything is sent; `allowed` says why a command's author may no longer give it ("" when he may).

    `later` takes reports that need not have been taken in when it returns (they arrive in order, and before what
    `report` is given afterwards). `parents` tells what became of a command by its receipt. `transactions`: as in the
    backend's abilities. `alive` is told after each transaction.
    """

    def __init__(
        self,
        backend: Backend,
        specs: Mapping[str, TableSpec],
        *,
        stream: str,
        rung: Rung,
        report: Callable[[Report], None],
        real_key: Callable[[str, str], str],
        claims: Claims | None = None,
        allowed: Callable[[Command], str] = lambda _: "",
        later: Callable[[Report], None] | None = None,
        parents: Callable[[str], Parent | None] = lambda _: Parent(State.APPLIED, ""),
        transactions: bool = True,
        notes: Notes | None = None,
        batch_max: int = 1000,
        alive: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.backend, self.specs, self.stream, self.rung = backend, specs, stream, rung
        self.report, self.later = report, later or report
        self.claims: Claims = claims or Alone()
        self.transactions, self.alive, self._monotonic = transactions, alive, monotonic
        self.notes: Notes = notes or MemoryNotes()
        self.numbers = Numbers(specs, real_key)
        self.marks = Marks(backend, stream)
        self.adopted = 0
        """The mark that a person has taken for good."""
        self.pace = Pace(batch_max, monotonic=monotonic, chance=chance)
        self.course = Course(
            specs,
            self.numbers,
            parents=parents,
            allowed=allowed,
            is_resting=self.pace.is_resting,
            alone=self._goes_alone,
            none_odd=self._none_odd,
        )
        self.sessions = 0
        """Transactions begun, for whoever wants to know what a refusal costs."""
        self.doubted_upto = 0
        """Commands up to here were, perhaps, sent by a brique that was restored since; without a mark nobody knows."""
        self.ancestors: Sequence[Ancestor] = ()
        """The streams that this one was before brique was restored, oldest first."""
        self.settled: set[int] = set()
        """What was found to have settled while the marks were brought in line."""
        self._held: dict[int, State] = {}
        self._unheard: set[int] = set()
        self.passed: set[int] = set()
        """Positions that this run has gone on without: they wait."""
        self._resting: set[int] = set()
        """What was claimed in the last run and had to wait in the end: it is claimed again when it is sent."""

    @property
    def _is_marked(self) -> bool:
        return self.rung is Rung.WATERMARK

    def run(
        self, waiting: Sequence[Waiting], *, claimed: Mapping[int, State] | None = None, goes_on: bool = False
    ) -> int:
        """Send `waiting` (in spool order) and report what became of each; how many settled. Those that have to wait
        for something are left alone. `claimed`: those that are claimed already; `goes_on`: these come behind those of
        the run before.

        Raises BackendAway when the backend goes away on the way: what was reported stands, the rest waits.
        """
        left, settled = [self._as_known(item) for item in waiting], 0
        self._held = dict(claimed or {})
        self.passed = self.passed if goes_on else set()
        self.course.begin(self.rung, keep=goes_on)
        try:
            if self._is_marked:
                arrived, left = self._arrived(left)
                settled = len(arrived)
            settled += self._work(left)
            self._resting = set(self._held)
            self._release("")
            return settled
        except BackendAway as fault:
            self.marks.doubt()
            self._release(fault.message)
            raise
        except (EngineAway, Busy, NoRoom):
            # Nothing can be given back now; that these were not sent, is known here all the same.
            self._unheard |= {position for position, state in self._held.items() if state is State.KEPT}
            raise

    def _work(self, left: list[Waiting]) -> int:
        """Send all that may be sent. `sizes`: how many to try next, the nearest last, while a culprit is looked for."""
        settled = 0
        sizes: list[int] = []
        while left:
            batch = self._claimed(self.course.take(left, sizes[-1] if sizes else self.pace.size), left)
            if batch.refused is not None:
                self._settle(*batch.refused)
                settled += 1
                place = left.index(batch.refused[0])
                self._pass(left[:place])
                left = left[place + 1 :]
                continue
            if not batch.items:
                self._pass(left)
                break
            try:
                sent = self._transaction(batch)
            except Suspect as suspect:
                sizes += _narrower(len(batch.items), suspect.index)
                continue
            except Culprit as culprit:
                self._settle(batch.items[0], culprit.outcome)
            else:
                self._applied(batch.items, sent)
            if sizes:
                sizes.pop()
            settled += len(batch.items)
            last = batch.items[-1].position
            self._pass(batch.overtaken)
            left = [item for item in left if item.position > last]
        return settled

    def _pass(self, items: Sequence[Waiting]) -> None:
        """These wait, and the run goes on without them: the next time that the mark moves, they are marked as well."""
        self.course.passed(items)
        self.passed.update(item.position for item in items)

    def _as_known(self, item: Waiting) -> Waiting:
        """A claim whose answer was lost may have been noted; that the command was not sent, is known here."""
        is_unheard = item.state is State.SENDING and item.position in self._unheard
        return item._replace(state=State.KEPT) if is_unheard else item

    # -- claims ------------------------------------------------------------------------------------------------------

    def _claimed(self, batch: Batch, left: list[Waiting]) -> Batch:
        """`batch` without what does not wait any more, which also leaves `left`. With a mark all that may be sent is
        claimed at once; without, a claim says that it may have arrived, and only what is sent next is claimed."""
        if all(item.position in self._held for item in batch.items):
            return batch
        wanted = left if self._is_marked and not batch.overtaken and not self._resting else batch.items
        new = [item for item in wanted if item.position not in self._held]
        # An engine that dies over the claim may have noted it all the same: these were not sent, as is known here.
        self._unheard |= {item.position for item in new if item.state is State.KEPT}
        asked = [(item.position, item.state) for item in new]
        states = self.claims.claim(asked, for_good=not self._is_marked)
        for position, state in states.items():
            self._held[position] = State.KEPT if position in self._unheard else state
            if position <= self.doubted_upto:
                self._held[position] = State.SENDING
        self._unheard.difference_update(position for position, _ in asked)
        gone = {item.position for item in new} - states.keys()
        changed = gone or any(self._held[item.position] is not item.state for item in new if item.position not in gone)
        if changed:
            left[:] = [
                item._replace(state=self._held.get(item.position, item.state))
                for item in left
                if item.position not in gone
            ]
            # Others may have come in for those that are gone, which are not claimed yet.
            return self._claimed(self.course.take(left, len(batch.items)), left) if left else Batch()
        return batch

    def _release(self, reason: str) -> None:
        """Give back what was claimed and certainly did not arrive."""
        unsent = [position for position, state in self._held.items() if state is State.KEPT]
        if unsent:
            self.claims.release(unsent, reason, for_good=not self._is_marked)

    # -- one transaction ---------------------------------------------------------------------------------------------

    def _goes_alone(self, item: Waiting) -> bool:
        """Whether it must have a transaction of its own."""
        if not self.transactions or self.pace.is_odd(item.position):
            return True
        if self._is_marked:
            return item.position <= self.marks.position()
        return self.course.is_fragile(item)

    def _none_odd(self, first: int) -> bool:
        """Whether no command from position `first` on rests or must go alone."""
        return self.transactions and self._is_marked and not self.pace.has_rests and first > self.marks.position()

    def _transaction(self, batch: Batch) -> Sent:
        """Apply the batch. Raises Suspect when it cannot be done as a whole, Culprit for a single command that
        cannot be applied at all; then nothing of it has happened, unless the backend has no transactions."""
        sent, started = Sent(), self._monotonic()
        self.sessions += 1
        try:
            self._in_session(batch, sent)
        except BaseException as fault:
            for table, old in sent.given:
                self.numbers.forget(table, old)
            if isinstance(fault, BackendAway):
                self._went_away(batch, sent, fault)
            if isinstance(fault, Culprit) and sent.done and not self.transactions:
                reason = f"A part of it was done, then the backend said: {fault.outcome.reason}"
                position = batch.items[0].position
                self._held[position] = State.SENDING  # whatever else goes wrong until that is told
                raise Culprit(Outcome(position, State.UNKNOWN, reason=reason, theirs=fault.outcome.theirs)) from fault
            raise
        self.pace.took(len(batch.items), self._monotonic() - started)
        self.alive()
        return sent

    def stream_of(self, position: int) -> str:
        """The stream that the command at `position` was given in: a backend that knows what it has had, knows it by
        that name, also when brique was restored since."""
        return next((one.name for one in self.ancestors if position <= one.last), self.stream)

    def _in_session(self, batch: Batch, sent: Sent) -> None:
        items = batch.items
        work = Work(self.specs, self.numbers, self.stream_of, self.rung)
        overtaken = sorted(self.passed.union(item.position for item in batch.overtaken))
        is_late = self._is_marked and items[0].position <= self.marks.position()
        is_complete = False
        try:
            with self.backend.session() as session:
                self._do(work, session, items, sent)
                if is_late:
                    self.marks.late(session, items[0].position)
                elif self._is_marked:
                    self.marks.move(session, items[-1].position, overtaken, items[-1].command.id)
                    self.notes.overtaken(overtaken)
                if self._is_marked and sent.keys:
                    self.notes.given(sent.keys)
                is_complete = True
        except BackendRefused as fault:
            if len(items) > 1:
                raise Suspect(None) from fault
            if not is_complete:
                raise
            doubtful = self.course.is_doubtful(items[0])
            raise Culprit(work.refusal(items[0], fault.message, doubtful=doubtful)) from fault
        if is_late:
            self.marks.was_late(items[0].position)
        elif self._is_marked:
            self.marks.moved(items[-1].position, overtaken)

    def _do(self, work: Work, session: Session, items: Sequence[Waiting], sent: Sent) -> None:
        """Carry `items` out. What a driver or brique itself stumbles over (a value that nobody had thought of) is the
        end of that command, not of the process: sent again and again it would hold up all that come after it."""
        try:
            if len(items) == 1:
                work.alone(session, items[0], sent, doubtful=self.course.is_doubtful(items[0]))
            else:
                work.together(session, items, sent)
        except (BriqueError, Suspect, Culprit, OSError, MemoryError):
            raise
        except Exception as fault:
            if len(items) > 1:
                raise Suspect(None) from fault
            log.exception("%s: command %d cannot be written", self.backend.name, items[0].position)
            state = State.REFUSED if self.transactions else State.UNKNOWN
            reason = NOT_WRITABLE.format(kind=type(fault).__name__)
            raise Culprit(Outcome(items[0].position, state, reason=reason)) from fault

    def _went_away(self, batch: Batch, sent: Sent, fault: BackendAway) -> None:
        """What may have arrived stays claimed. One that the backend does not come back from, again and again, rests."""
        positions = [item.position for item in batch.items]
        if fault.facts.get("at_commit") or (sent.done and not self.transactions):
            self._held.update(dict.fromkeys(positions, State.SENDING))
        rest = self.pace.stuck(positions)
        if rest is not None and self._held.get(positions[0]) is State.KEPT:  # one in doubt stays claimed
            self.claims.tried(positions[0], fault.message, seconds=rest)

    # -- reports -----------------------------------------------------------------------------------------------------

    def _applied(self, items: Sequence[Waiting], sent: Sent) -> None:
        """Report `items` as applied, with their rows as they now stand; without them if the backend just left."""
        self.course.applied(items)
        for item in items:
            self._held.pop(item.position, None)
        self.pace.all_over(items)
        tell = self.later if self._is_marked else self.report
        if sent.differing is not None:
            differing = sent.differing.union(sent.keys, sent.results)
            done = [item.position for item in items if item.position not in differing]
            for at in range(0, len(done), AS_WANTED_MAX):
                tell(Report(self.backend.name, as_wanted=spans_of(done[at : at + AS_WANTED_MAX])))
            items = [item for item in items if item.position in differing] if differing else ()
            if not items:
                return
        outcomes = [
            Outcome(place, State.APPLIED, keys=sent.keys.get(place, {}), results=sent.results.get(place, []))
            for place in (item.position for item in items)
        ]
        try:
            rows = self._read_back(sent)
        except (BackendAway, BackendRefused) as fault:
            log.info("%s: the rows could not be read again after a commit: %s", self.backend.name, fault.message)
            tell(Report(self.backend.name, outcomes=outcomes))
            if isinstance(fault, BackendAway):
                raise
            return
        shown = [item.position for item in items if not _is_unnumbered(item, sent)]
        for part in in_parts(Report(self.backend.name, outcomes=outcomes, rows=rows, shown=shown), items):
            tell(part)

    def _settle(self, item: Waiting, outcome: Outcome) -> None:
        """Report a command that was not applied; its rows are read again, so that the copy shows the truth."""
        if self._is_marked:
            self.marks.hold(item.position)
        sent = Sent()
        for change in item.command.changes:
            key = self.numbers.key(change.table, change.key)
            if not key.startswith(PENDING) and change.table in self.specs:
                sent.touch(change.table, key)
        rows = self._read_back(sent)
        self.course.ended(item, outcome)
        self.report(Report(self.backend.name, outcomes=[outcome], rows=rows))
        self._held.pop(item.position, None)
        self.pace.over(item.position)

    def _read_back(self, sent: Sent) -> dict[str, dict[str, Row | None]]:
        rows = {table: dict(found) for table, found in sent.rows.items()}
        for table, keys in sent.touched.items():
            wanted = sorted(key for key in keys if not key.startswith(PENDING))
            if wanted:
                found = self.backend.fetch(self.specs[table], wanted)
                rows.setdefault(table, {}).update({key: found.get(key) for key in wanted})
        return rows

    def arrived_before(self, left: Sequence[Waiting]) -> tuple[list[Waiting], list[Waiting]]:
        """What the mark says was applied before a crash, by whatever rung is climbed now; reported; and the others."""
        return self._arrived(left)

    def _arrived(self, left: Sequence[Waiting]) -> tuple[list[Waiting], list[Waiting]]:
        """The unsettled commands that the watermark says were applied before a crash, reported so; and the others."""
        mark = self.marks.position() if left else 0
        if not left or left[0].position > mark:
            return [], list(left)
        arrived = [item for item in left if item.position <= mark and not self.marks.is_overtaken(item.position)]
        if arrived:
            sent = Sent(keys=self.notes.keys(item.position for item in arrived))
            for item in arrived:
                given = sent.keys.get(item.position, {})
                for change in item.command.changes:
                    key = given.get(change.key)
                    if key:
                        self.numbers.give(change.table, change.key, key)
                    if change.table in self.specs:
                        sent.touch(change.table, key or self.numbers.key(change.table, change.key))
            self._applied(arrived, sent)
        there = {item.position for item in arrived}
        return arrived, [item for item in left if item.position not in there]


def _narrower(count: int, index: int | None) -> list[int]:
    """Sizes to try when a batch of `count` was not possible as a whole, the first of them last: what stands before the
    command at `index`, then that one; halves when nobody knows which it is."""
    if index is None:
        return [count - count // 2, count // 2]
    return [1, index] if index else [1]


def _is_unnumbered(item: Waiting, sent: Sent) -> bool:
    """Whether the command made a row whose key is not known here (a crash lost it): only a refresh will show it."""
    known = sent.keys.get(item.position, {})
    return any(
        change.before is None and change.key.startswith(PENDING) and change.key not in known
        for change in item.command.changes
    )
