"""Sending kept commands to their backend: in order, in batches, each exactly once.

With a watermark (one row in the backend, moved in the transaction that applies the batch) a batch of commands is one
transaction. After a crash the watermark says what arrived: every unsettled command at or below it was applied, because
a command that is refused or in conflict settles here *before* a later batch moves the watermark past it.

Without one, the old values decide: an update or delete that finds them gone looks at the row and knows whether it
was its own work. Only an insert whose key the backend gives cannot be told apart; it is marked `sending` before its
one try, and is `unknown` when that try ends without an answer.

A refused or conflicting command rolls its batch back; what came before it is sent again without it, then it settles,
then the rest goes on. Commands on other rows are never held up.

Before a batch is sent it is claimed: the engine says which of its commands still wait, and lets nobody withdraw them
any more. A claimed command that is claimed again was sent before, by a process that has ended or over a commit whose
answer was lost. Without a watermark such a command is `unknown` when the row is neither as it was nor as it should
be; and two commands on one row are never in one batch, because only the last one's work could be seen then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from brique.backends import Backend, Rung, Session
from brique.commands.claims import Alone, Claims
from brique.commands.report import Outcome, Report
from brique.errors import BackendAway, BackendRefused
from brique.schema import PENDING, Change, Command, Row, State, TableSpec

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Waiting:
    """A command not yet settled, and where it stands in the spool; `sending` when it was sent before and nobody knows
    whether it arrived."""

    position: int
    state: State
    command: Command


@dataclass
class _Sent:
    """What a batch did so far: the keys given for temporary ones, and the rows to read again."""

    keys: dict[int, dict[str, str]] = field(default_factory=dict)
    touched: dict[str, set[str]] = field(default_factory=dict)


class _Culprit(Exception):
    """The command at `index` cannot be applied; what becomes of it."""

    def __init__(self, index: int, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.index = index
        self.outcome = outcome


class _NotTogether(Exception):
    """A change of the batch found no row: which one, and why, is found one by one."""


class _RefusedAtCommit(Exception):
    """The backend looked at the whole only at the end, and said no."""


class Replay:
    """Replay to one backend. `stream` names this brique in the watermark; `report` must have been taken in for good
    when it returns; `real_key(table, key)` finds the key that the backend gave for a temporary one; `claims` is asked
    before anything is sent; `allowed` says why a command's author may no longer give it ("" when he may)."""

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
    ) -> None:
        self.backend = backend
        self.specs = specs
        self.stream = stream
        self.rung = rung
        self.report = report
        self.real_key = real_key
        self.claims: Claims = claims or Alone()
        self.allowed = allowed
        self._held: dict[int, State] = {}
        self._unheard: set[int] = set()

    def run(self, waiting: Sequence[Waiting]) -> int:
        """Send `waiting` (in spool order) and report what became of each; how many settled.

        Raises BackendAway when the backend goes away on the way: what was reported stands, the rest waits.
        """
        left = list(waiting)
        settled = 0
        if self.rung is Rung.WATERMARK:
            arrived = self._already_there(left)
            settled += len(arrived)
            left = left[len(arrived) :]
        self._held = {}
        try:
            while left:
                wanted = self._next_batch(left)
                batch = self._claimed(wanted)
                upto = self._send(batch) if batch else wanted[-1].position
                settled += sum(item.position <= upto for item in batch)
                left = [item for item in left if item.position > upto]
        except BackendAway as fault:
            self._release(fault.message)
            raise
        return settled

    def _claimed(self, wanted: Sequence[Waiting]) -> list[Waiting]:
        """Those of `wanted` that still wait, claimed; with the state that they were in."""
        new = [item for item in wanted if item.position not in self._held]
        if new:
            # An engine that dies over the claim may have noted it all the same: these were not sent, as is known here.
            self._unheard |= {item.position for item in new if item.state is State.KEPT}
            states = self.claims.claim(
                [(item.position, item.state) for item in new], for_good=self.rung is not Rung.WATERMARK
            )
            for position, state in states.items():
                self._held[position] = State.KEPT if position in self._unheard else state
            self._unheard -= {item.position for item in new}
        return [replace(item, state=self._held[item.position]) for item in wanted if item.position in self._held]

    def _release(self, reason: str) -> None:
        """Give back what was claimed and certainly did not arrive."""
        unsent = [position for position, state in self._held.items() if state is State.KEPT]
        if unsent:
            self.claims.release(unsent, reason, for_good=self.rung is not Rung.WATERMARK)

    def begin(self, waiting: Sequence[Waiting], *, shown: int, was_marked: bool) -> None:
        """To be called once, before the first `run`: brings the watermark in line with a time in which there was none.

        `waiting`: what waits, all that may have been sent included; `shown`: the last spool position of that moment;
        `was_marked`: whether what was applied last, was applied with a watermark. Raises BackendAway.
        """
        arrived = len(self._already_there(waiting))
        if self.rung is not Rung.WATERMARK or was_marked:
            return
        doubtful = [item for item in waiting[arrived:] if item.state is State.SENDING]
        self.rung = Rung.COMPARE
        try:
            self.run(doubtful)
        finally:
            self.rung = Rung.WATERMARK
        upto = waiting[-1].position if waiting else shown
        settled = next((item.position - 1 for item in waiting[arrived:] if item not in doubtful), upto)
        mark = self.backend.watermark(self.stream) or 0
        if mark < settled:
            with self.backend.session() as session:
                session.move_watermark(self.stream, mark, settled)

    def rewind(self, applied_after: Callable[[int], Sequence[int]]) -> int:
        """Put commands back to kept that were applied and that the backend does not know of any more: it was restored,
        or crashed before it had flushed. How many. `applied_after(position)` lists the positions of applied ones.

        A mark that is gone altogether proves nothing (its table may have been dropped): then nothing is sent again.
        """
        mark = (self.backend.watermark(self.stream) or 0) if self.rung is Rung.WATERMARK else 0
        forgotten = applied_after(mark) if mark else ()
        if forgotten:
            log.warning("%s has forgotten %d commands: they are sent again", self.backend.name, len(forgotten))
            outcomes = [Outcome(position, State.KEPT) for position in forgotten]
            self.report(Report(self.backend.name, outcomes=outcomes))
        return len(forgotten)

    def _already_there(self, left: Sequence[Waiting]) -> list[Waiting]:
        """The unsettled commands that the watermark says were applied before a crash; reported so."""
        mark = self.backend.watermark(self.stream) or 0 if left else 0
        arrived = [item for item in left if item.position <= mark]
        if arrived:
            sent = _Sent()
            for item in arrived:
                for change in item.command.changes:
                    sent.touched.setdefault(change.table, set()).add(change.key)
            self._report_applied(arrived, sent)
        return arrived

    def _next_batch(self, left: list[Waiting]) -> list[Waiting]:
        """The commands that may share a transaction: all with a watermark; else as many as touch rows of their own,
        and an insert that only its claim protects goes alone."""
        if self.rung is Rung.WATERMARK or self._is_fragile(left[0]):
            return left if self.rung is Rung.WATERMARK else left[:1]
        touched: set[tuple[str, str]] = set()
        for index, item in enumerate(left):
            rows = {(change.table, change.key) for change in item.command.changes}
            if touched & rows or self._is_fragile(item):
                return left[:index]
            touched |= rows
        return left

    def _is_fragile(self, item: Waiting) -> bool:
        """Whether nothing in the backend could tell if the command has arrived: it makes a row, without watermark,
        whose key the backend gives."""
        return self.rung is not Rung.WATERMARK and any(
            change.before is None and change.key.startswith(PENDING) for change in item.command.changes
        )

    def _is_doubtful(self, item: Waiting) -> bool:
        """Whether it was sent before, and only its rows can tell whether it arrived."""
        return self.rung is not Rung.WATERMARK and item.state is State.SENDING

    def _send(self, batch: Sequence[Waiting]) -> int:
        """Send a claimed batch; the position up to which its commands have settled (at least the first)."""
        first = batch[0]
        if self._is_fragile(first) and first.state is State.SENDING:
            reason = "It was sent, and the answer was lost: look in the backend whether it is there."
            self._settle(first, Outcome(first.position, State.UNKNOWN, reason=reason))
            return first.position
        try:
            sent = self._transaction(batch)
        except _Culprit as culprit:
            return self._around(batch, culprit)
        except _RefusedAtCommit as fault:
            if len(batch) > 1:
                return self._send(batch[: len(batch) // 2])
            self._settle(first, self._refusal(first, str(fault)))
            return first.position
        self._report_applied(batch, sent)
        return batch[-1].position

    def _around(self, batch: Sequence[Waiting], culprit: _Culprit) -> int:
        """What stands before the culprit goes first, which may change what is to be said of it."""
        if not culprit.index:
            self._settle(batch[0], culprit.outcome)
            return batch[0].position
        before = batch[: culprit.index]
        upto = self._send(before)
        return upto if upto < before[-1].position else self._send(batch[culprit.index : culprit.index + 1])

    def _transaction(self, batch: Sequence[Waiting]) -> _Sent:
        """Apply `batch` in one transaction: all at once where nothing stands against it, else one by one, which
        finds the command that cannot be applied. Raises _Culprit for that one; then nothing of the batch happened."""
        if len(batch) > 1 and all(self._is_plain(item) for item in batch):
            try:
                return self._in_session(batch, self._apply_together)
            except (BackendRefused, _NotTogether):
                log.debug("%s: a batch of %d goes one by one", self.backend.name, len(batch))
        return self._in_session(batch, self._apply_singly)

    def _in_session(
        self, batch: Sequence[Waiting], apply: Callable[[Session, Sequence[Waiting], _Sent], None]
    ) -> _Sent:
        sent = _Sent()
        marked = self.rung is Rung.WATERMARK
        previous = (self.backend.watermark(self.stream) or 0) if marked else 0
        is_complete = False
        try:
            with self.backend.session() as session:
                apply(session, batch, sent)
                if marked and not session.move_watermark(self.stream, previous, batch[-1].position):
                    raise BackendAway(f"{self.backend.name}: somebody else is replaying the same commands")
                is_complete = True
        except BackendAway as fault:
            if fault.facts.get("at_commit"):
                self._held.update(dict.fromkeys((item.position for item in batch), State.SENDING))
            raise
        except BackendRefused as fault:
            if is_complete:
                raise _RefusedAtCommit(fault.message) from fault
            raise
        return sent

    def _is_plain(self, item: Waiting) -> bool:
        """Whether the command needs nothing that only one by one can give: a key made on the way, a refusal here."""
        return not self._forbidden(item) and all(
            change.table in self.specs and (change.before is None or not change.key.startswith(PENDING))
            for change in item.command.changes
        )

    def _apply_together(self, session: Session, batch: Sequence[Waiting], sent: _Sent) -> None:
        flat = [(item, self.specs[change.table], change) for item in batch for change in item.command.changes]
        results = session.apply([(spec, change) for _, spec, change in flat])
        for (item, spec, change), result in zip(flat, results, strict=True):
            if not result.rows:
                raise _NotTogether
            key = change.key if change.before is not None else spec.key_of({**(change.after or {}), **result.key})
            sent.touched.setdefault(change.table, set()).add(key)
            if key != change.key:
                sent.keys.setdefault(item.position, {})[change.key] = key

    def _apply_singly(self, session: Session, batch: Sequence[Waiting], sent: _Sent) -> None:
        for index, item in enumerate(batch):
            self._apply(session, index, item, sent)

    def _apply(self, session: Session, index: int, item: Waiting, sent: _Sent) -> None:
        reason = self._forbidden(item)
        if reason:
            raise _Culprit(index, Outcome(item.position, State.REFUSED, reason=reason))
        try:
            changes = self._with_real_keys(item.command, sent)
            for place, change in enumerate(changes):
                conflict = self._apply_change(session, change, _in_the_end(changes, place), item, sent)
                if conflict is not None:
                    raise _Culprit(index, conflict)
        except BackendRefused as fault:
            raise _Culprit(index, self._refusal(item, fault.message)) from fault
        except (ValueError, TypeError, LookupError) as fault:
            log.exception("command %d cannot be sent", item.position)
            reason = f"brique could not send it: {fault}"
            raise _Culprit(index, Outcome(item.position, State.REFUSED, reason=reason)) from fault

    def _forbidden(self, item: Waiting) -> str:
        """Why its author may not do this any more; what was sent already is not judged again."""
        return "" if self._is_doubtful(item) else self.allowed(item.command)

    def _with_real_keys(self, command: Command, sent: _Sent) -> list[Change]:
        """The command's changes with the keys that the backend gave meanwhile for temporary ones."""
        given = {old: new for keys in sent.keys.values() for old, new in keys.items()}
        changes = []
        for change in command.changes:
            key = change.key
            if key.startswith(PENDING) and change.before is not None:
                key = given.get(key) or self.real_key(change.table, key)
            changes.append(Change(change.table, key, change.before, change.after))
        return changes

    def _apply_change(
        self, session: Session, change: Change, wanted: Row | None, item: Waiting, sent: _Sent
    ) -> Outcome | None:
        """Carry one change out; the outcome when it is a conflict. `wanted`: what the command makes of the row."""
        spec = self.specs.get(change.table)
        if spec is None:
            raise BackendRefused(f"The table {change.table} is not served any more.")
        if change.before is None:
            return self._insert(session, spec, change, wanted, item, sent)
        if change.key.startswith(PENDING):
            return self._conflict(
                item,
                change,
                None,
                "The row that it changes is not known: it was never made, or its number was lost in a crash.",
            )
        key = spec.key_values(change.key)
        if change.after is None:
            rows = session.delete(spec, key, change.before)
        else:
            rows = session.update(spec, key, change.before, change.after)
        sent.touched.setdefault(change.table, set()).add(change.key)
        if rows:
            return None
        theirs = session.look(spec, key)
        if _is_done(wanted, theirs):
            return None
        reason = "The row is not there any more." if theirs is None else "The row had changed meanwhile."
        return self._conflict(item, change, theirs, reason)

    def _insert(
        self, session: Session, spec: TableSpec, change: Change, wanted: Row | None, item: Waiting, sent: _Sent
    ) -> Outcome | None:
        assert change.after is not None
        if not change.key.startswith(PENDING):
            theirs = session.look(spec, spec.key_values(change.key))
            if theirs is not None:
                if self.rung is not Rung.WATERMARK and _is_done(wanted, theirs):
                    sent.touched.setdefault(change.table, set()).add(change.key)
                    return None
                return self._conflict(item, change, theirs, "There is already a row with this key.")
        given = session.insert(spec, change.after)
        key = spec.key_of({**change.after, **given})
        sent.touched.setdefault(change.table, set()).add(key)
        if key != change.key:
            sent.keys.setdefault(item.position, {})[change.key] = key
        return None

    def _refusal(self, item: Waiting, reason: str) -> Outcome:
        """The backend says no; of what was sent before, that does not say whether it had arrived."""
        if self._is_doubtful(item):
            return Outcome(item.position, State.UNKNOWN, reason=f"It was sent, and the answer was lost. {reason}")
        return Outcome(item.position, State.REFUSED, reason=reason)

    def _conflict(self, item: Waiting, change: Change, theirs: Row | None, reason: str) -> Outcome:
        where = f"{change.table}/{change.key}"
        if self._is_doubtful(item):
            reason = f"It was sent, and the answer was lost. {reason} Look in the backend whether it was done."
        state = State.UNKNOWN if self._is_doubtful(item) else State.CONFLICT
        return Outcome(item.position, state, reason=reason, theirs={where: theirs})

    def _report_applied(self, batch: Sequence[Waiting], sent: _Sent) -> None:
        """Report `batch` as applied, with its rows as they now stand; without them if the backend just left."""
        outcomes = [Outcome(item.position, State.APPLIED, keys=sent.keys.get(item.position, {})) for item in batch]
        try:
            rows = self._read_back(sent)
        except (BackendAway, BackendRefused) as fault:
            log.info("%s: the rows could not be read again after a commit: %s", self.backend.name, fault.message)
            self.report(Report(self.backend.name, outcomes=outcomes))
            if isinstance(fault, BackendAway):
                raise
            return
        shown = [item.position for item in batch if not _is_unnumbered(item, sent)]
        self._tell(Report(self.backend.name, outcomes=outcomes, rows=rows, shown=shown))

    def _settle(self, item: Waiting, outcome: Outcome) -> None:
        """Report a command that was not applied; its rows are read again, so that the copy shows the truth."""
        sent = _Sent()
        for change in item.command.changes:
            if not change.key.startswith(PENDING) and change.table in self.specs:
                sent.touched.setdefault(change.table, set()).add(change.key)
        self._tell(Report(self.backend.name, outcomes=[outcome], rows=self._read_back(sent)))

    def _tell(self, report: Report) -> None:
        """Report outcomes; what has settled is not held any more."""
        self.report(report)
        for outcome in report.outcomes:
            self._held.pop(outcome.position, None)

    def _read_back(self, sent: _Sent) -> dict[str, dict[str, Row | None]]:
        rows: dict[str, dict[str, Row | None]] = {}
        for table, keys in sent.touched.items():
            wanted = sorted(key for key in keys if not key.startswith(PENDING))
            found = self.backend.fetch(self.specs[table], wanted) if wanted else {}
            rows[table] = {key: found.get(key) for key in wanted}
        return rows


def _is_unnumbered(item: Waiting, sent: _Sent) -> bool:
    """Whether the command made a row whose key is not known here (a crash lost it): only a refresh will show it."""
    known = sent.keys.get(item.position, {})
    return any(
        change.before is None and change.key.startswith(PENDING) and change.key not in known
        for change in item.command.changes
    )


def _in_the_end(changes: Sequence[Change], place: int) -> Row | None:
    """What the command wants of the row of the change at `place`: its values, and those of later changes of it."""
    change = changes[place]
    wanted = change.after
    for later in changes[place + 1 :]:
        if (later.table, later.key) == (change.table, change.key):
            wanted = None if later.after is None else {**(wanted or {}), **later.after}
    return wanted


def _is_done(wanted: Row | None, theirs: Row | None) -> bool:
    """Whether the row already is as it should be: our own earlier try, or somebody of the same mind."""
    if wanted is None or theirs is None:
        return wanted is theirs
    return all(theirs.get(name) == value for name, value in wanted.items())
