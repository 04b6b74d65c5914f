"""The engine's side of commands: keep first, then show. Spool and store move together, in that order.

A batch of requests becomes one append to the spool (one flush, the acknowledgement rests on it) and one transaction
of the store (what people see). The store notes how far in the spool it has come, in that same transaction; after a
crash `catch_up` takes it from there, so that an acknowledged command is never invisible for long and never laid twice.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from brique.clock import Clock, stamp
from brique.commands import adopting, care, journal, life
from brique.commands.acts import Dismiss, Move, replacing
from brique.commands.fresh import check_fresh, rows_of
from brique.commands.report import Report
from brique.commands.requests import Claim, Claimed, Give, LedgerAnswer, Receipt, Release, Request
from brique.commands.showing import show, show_all
from brique.commands.tokens import check_same, taken, token_key
from brique.errors import BriqueError, NoRoom, NotFound, TooMuch
from brique.schema import State
from brique.spool import Entry, Record, Spool, Stretch
from brique.store import Span, Store, Tx, positions_in, spans_of

log = logging.getLogger(__name__)
_ON_THE_WAY = (State.KEPT, State.SENDING)


@dataclass
class _Plan:
    """One request on its way: its journal entries, then its answer or its fault."""

    request: Request
    entries: list[tuple[journal.Entry, str]] = field(default_factory=list)
    kept: list[Entry] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    answer: LedgerAnswer = None
    same_as: _Plan | None = None
    as_wanted: list[Span] = field(default_factory=list)

    def refuse(self, fault: BriqueError) -> None:
        """Keep nothing of it."""
        self.answer, self.entries, self.kept, self.same_as = fault, [], [], None


@dataclass
class _Batch:
    """The gives of one batch: by token, by the position of what they replace, and the rows that they change."""

    tokens: dict[str, _Plan] = field(default_factory=dict)
    replaced: dict[int, str] = field(default_factory=dict)
    laid: set[tuple[str, str]] = field(default_factory=set)


class Ledger:
    """Spool and store in step. One thread owns it."""

    def __init__(self, spool: Spool, store: Store, clock: Clock) -> None:
        self.spool = spool
        self.store = store
        self.clock = clock
        self._is_behind = False
        self._is_tight = False

    def catch_up(self) -> int:
        """Show what the spool keeps and the store has not seen; how many records that was. Raises NoRoom."""
        return care.catch_up(self.spool, self.store, show)

    def known(self, user: str, token: str) -> dict[str, Any]:
        """The command that `user` has given with `token`, as plain data; empty when there is none."""
        record = self.spool.find(token_key(user, token)) if token else None
        if record is None:
            return {}
        entry = journal.decode(record.payload)
        assert isinstance(entry, journal.Given)
        command = entry.command
        if command.user != user:
            raise taken()
        with self.store.look() as tx:
            shown = tx.commands.at(record.position)
        state = State.KEPT if shown is None else shown.state
        facts = {"id": command.id, "position": record.position, "state": str(state), "digest": command.digest}
        first = command.changes[0] if command.changes else None
        return {**facts, "table": first.table if first else "", "key": first.key if first else ""}

    def receipt_at(self, position: int) -> str | None:
        """Of the command that the spool keeps at `position`; "" when there never was one, None when nothing is left."""
        for record in self.spool.read(position - 1, 2):  # damage, or a gap, may come first
            if isinstance(record, Record):
                entry = journal.decode(record.payload)
                if record.position == position:
                    return entry.command.id if isinstance(entry, journal.Given) else ""
                if isinstance(entry, journal.Adopted) and entry.after and entry.after < position <= entry.mark:
                    return ""  # skipped, because another backend was there
        return None

    def _shown_upto(self) -> int:
        with self.store.look() as tx:
            return tx.spool_position()

    def handle(self, requests: Sequence[Request]) -> list[LedgerAnswer]:
        """Keep and show a batch; the answer to each request in order: a receipt, a claim, a fault, or None.

        On a disk without room commands are refused, and what lets the spool shrink (reports, claims, decisions) is
        taken as long as anything can be written. Raises NoRoom when nothing of the batch could be kept. What is kept
        is acknowledged, even if the store then has no room to show it: the next batch is preceded by what it has
        missed, and a report is asked for again.
        """
        try:
            answers = self._handle(requests)
        except NoRoom:
            care.make_room(self.store)
            raise
        if any(isinstance(answer, NoRoom) for answer in answers):
            care.make_room(self.store)
        return answers

    def _handle(self, requests: Sequence[Request]) -> list[LedgerAnswer]:
        if self._is_behind:
            self.catch_up()
            self._is_behind = False
        plans = self._plan_all(requests)
        last = self._keep(plans)
        self._is_behind = True
        try:
            with self.store.transaction() as tx:
                self._carry_out_all(tx, plans)
                if last:
                    tx.set_spool_position(last)
        except NoRoom as fault:
            care.make_room(self.store)
            with suppress(NoRoom):
                self.catch_up()  # in smaller steps
                self._is_behind = False
            return [_unshown(plan, fault, told=not self._is_behind) for plan in plans]
        self._is_behind = False
        if self._is_tight:
            care.make_room(self.store)  # before the log takes the room that it needs to be moved
        return [plan.answer for plan in plans]

    def _keep(self, plans: Sequence[_Plan]) -> int:
        """Append what the plans ask for, and give them their positions; the last one, 0 when there was nothing."""
        for plan in plans:
            self._encode(plan)
            if plan.same_as is not None and isinstance(plan.same_as.answer, BriqueError):
                plan.refuse(plan.same_as.answer)
        self._is_tight = False
        try:
            return self._append(plans, urgent=False)
        except NoRoom as fault:
            self._is_tight = True
            for plan in plans:
                if isinstance(plan.request, Give) and (plan.entries or plan.same_as):
                    plan.refuse(fault)
            return self._append(plans, urgent=True)

    def _encode(self, plan: _Plan) -> None:
        plan.kept = [Entry(journal.encode(entry), token) for entry, token in plan.entries]
        size, most = max((len(entry.payload) for entry in plan.kept), default=0), self.spool.payload_bytes_max
        if size > most and not isinstance(plan.request, Give):
            plan.entries = [(journal.bounded(entry, most), token) for entry, token in plan.entries]
            plan.kept = [Entry(journal.encode(entry), token) for entry, token in plan.entries]
        if size > most and isinstance(plan.request, Give):
            plan.refuse(
                TooMuch(
                    f"A command of {size // 1024} KiB is more than command_bytes_max ({most // 1024} KiB) allows.",
                    try_this="send it in parts",
                )
            )

    def _append(self, plans: Sequence[_Plan], *, urgent: bool) -> int:
        entries = [entry for plan in plans for entry in plan.kept]
        positions = iter(self.spool.append(entries, urgent=urgent) if entries else ())
        last = 0
        for plan in plans:
            plan.positions = [next(positions) for _ in plan.entries]
            last = max([last, *plan.positions])
        return last

    def _plan_all(self, requests: Sequence[Request]) -> list[_Plan]:
        """A plan for each request; the store is looked into only when one of them asks for it."""
        if not any(map(_asks_store, requests)):
            return self._plan(None, requests)
        with self.store.look() as tx:
            return self._plan(tx, requests)

    def _plan(self, tx: Tx | None, requests: Sequence[Request]) -> list[_Plan]:
        states: dict[int, State] = {}
        batch = _Batch()
        plans = []
        for request in requests:
            plan = _Plan(request)
            try:
                if isinstance(request, Give):
                    self._plan_give(tx, plan, request, batch)
                else:
                    assert tx is not None
                    self._plan_other(tx, plan, request, states)
            except BriqueError as fault:
                plan.answer = fault
            plans.append(plan)
        return plans

    def _plan_other(self, tx: Tx, plan: _Plan, request: Request, states: dict[int, State]) -> None:
        match request:
            case Move():
                self._plan_move(tx, plan, request, states)
            case Dismiss():
                plan.entries.append((request.entry(self._now()), ""))
            case Report():
                self._plan_report(tx, plan, request, states)
            case Claim():
                self._plan_claim(tx, plan, request, states)
            case Release():
                self._plan_release(tx, plan, request, states)

    def _now(self) -> str:
        return stamp(self.clock.now())

    def _plan_give(self, tx: Tx | None, plan: _Plan, give: Give, batch: _Batch) -> None:
        token = token_key(give.command.user, give.token)
        earlier = batch.tokens.get(token) if token else None
        if earlier is not None:
            assert isinstance(earlier.request, Give)
            check_same(earlier.request.command, give.command)
            plan.same_as = earlier
            return
        known = self.spool.find(token) if token else None
        if known is not None:
            entry = journal.decode(known.payload)
            assert isinstance(entry, journal.Given)
            check_same(entry.command, give.command)
            plan.answer = Receipt(entry.command.id, known.position, duplicate=True)
            return
        if give.fresh and tx is not None:
            check_fresh(tx, give.command, batch.laid)
        batch.laid.update(rows_of(tx, give.command))
        more: list[journal.Entry] = [journal.Given(follower) for follower in give.followers]
        if give.again is not None:
            assert tx is not None
            more += replacing(tx, give.command, give.again, self._now(), batch.replaced)
        if token:
            batch.tokens[token] = plan
        plan.entries.append((journal.Given(give.command), token))
        plan.entries += [(entry, "") for entry in more]

    def _plan_move(self, tx: Tx, plan: _Plan, move: Move, states: dict[int, State]) -> None:
        now = self._state(tx, move.position, states)
        life.check_move(now, move.state)
        states[move.position] = move.state
        plan.entries.append((move.entry(self._now()), ""))

    def _plan_report(self, tx: Tx, plan: _Plan, report: Report, states: dict[int, State]) -> None:
        now = self._now()
        if report.as_wanted:
            self._plan_as_wanted(tx, plan, report, states)
        states.update(tx.states_of([item.position for item in report.outcomes if item.position not in states]))
        for outcome in report.outcomes:
            known = states.get(outcome.position)  # None: withdrawn, and forgotten before its process looked again
            if known is None or not life.may_move(known, outcome.state):
                log.warning("command %d is %s and was reported %s", outcome.position, known, outcome.state)
                continue
            states[outcome.position] = outcome.state
            entry = journal.Moved(
                outcome.position,
                outcome.state,
                now,
                reason=outcome.reason,
                theirs=outcome.theirs,
                keys=outcome.keys,
                results=outcome.results,
            )
            plan.entries.append((entry, ""))

    def _plan_as_wanted(self, tx: Tx, plan: _Plan, report: Report, states: dict[int, State]) -> None:
        """One entry for all that were applied as wanted and had not settled: mostly all of them, which is counted."""
        told = report.done
        plan.as_wanted = report.as_wanted
        if states or tx.count_waiting(report.backend, report.as_wanted) < len(told):
            states.update(tx.states_of([position for position in told if position not in states]))
            left = [position for position in told if states.get(position) in _ON_THE_WAY]
            if len(left) < len(told):
                log.warning("%d commands were reported applied and are not under way", len(told) - len(left))
            plan.as_wanted = spans_of(sorted(left))
        states.update(dict.fromkeys(positions_in(plan.as_wanted), State.APPLIED))
        if plan.as_wanted:
            plan.entries.append((journal.Applied(plan.as_wanted, self._now()), ""))

    def _plan_claim(self, tx: Tx, plan: _Plan, claim: Claim, states: dict[int, State]) -> None:
        found = tx.waiting(claim.positions)
        if states:
            now = {position: states.get(position, state) for position, state in found.items()}
            found = {position: state for position, state in now.items() if not state.settled}
        plan.answer = Claimed(found)
        states.update(dict.fromkeys(found, State.SENDING))
        for position, state in found.items() if claim.for_good else ():
            if state is State.KEPT:
                plan.entries.append((journal.Moved(position, State.SENDING, self._now()), ""))

    def _plan_release(self, tx: Tx, plan: _Plan, release: Release, states: dict[int, State]) -> None:
        for position, state in tx.waiting(release.positions).items():
            if states.get(position, state) is State.SENDING:
                states[position] = State.KEPT
                if release.for_good:
                    entry = journal.Moved(position, State.KEPT, self._now(), reason=release.reason)
                    plan.entries.append((entry, ""))

    def _state(self, tx: Tx, position: int, states: dict[int, State]) -> State:
        if position in states:
            return states[position]
        known = tx.state_of(position)
        if known is None:
            raise NotFound(f"There is no command at position {position}.")
        return known

    def _carry_out_all(self, tx: Tx, plans: Sequence[_Plan]) -> None:
        """Show what the plans have kept, in order; commands that follow each other together."""
        shown: list[tuple[int, journal.Entry]] = []
        for plan in plans:
            if isinstance(plan.request, Report):
                show_all(tx, shown)
                shown = []
                self._end(tx, plan, set(plan.request.shown))
            else:
                shown += zip(plan.positions, (entry for entry, _ in plan.entries), strict=False)
            if not isinstance(plan.request, Give):
                show_all(tx, shown)
                shown = []
            self._carry_out(tx, plan)
        show_all(tx, shown)

    def _carry_out(self, tx: Tx, plan: _Plan) -> None:
        """What a plan does beside its entries, and its answer."""
        if isinstance(plan.request, Report):
            for table, rows in plan.request.rows.items():
                upserts = [(key, row) for key, row in rows.items() if row is not None]
                tx.apply_base(table, upserts, [key for key, row in rows.items() if row is None])
                tx.read_back(table, rows)
            tx.let_go_of(plan.request.shown)
        elif isinstance(plan.answer, Claimed):
            tx.sending(list(plan.answer.states))
        elif isinstance(plan.request, Release) and plan.request.tried:
            tx.tried(plan.request.positions, plan.request.reason, plan.request.next_try)
        elif isinstance(plan.request, Release) and not plan.request.for_good:
            for position in tx.waiting(plan.request.positions):
                tx.reopen(position)
        elif plan.same_as is not None and isinstance(plan.same_as.request, Give):
            plan.answer = Receipt(plan.same_as.request.command.id, plan.same_as.positions[0], duplicate=True)
        elif isinstance(plan.request, Give) and plan.answer is None:
            plan.answer = Receipt(plan.request.command.id, plan.positions[0])

    def _end(self, tx: Tx, plan: _Plan, shown: set[int]) -> None:
        """Bring the outcomes of a report into the store: those that were simply applied together."""
        if plan.as_wanted:
            tx.applied_as_wanted(plan.as_wanted)
        applied: dict[int, dict[str, str]] = {}
        for entry, _ in plan.entries:
            if isinstance(entry, journal.Moved) and entry.state is State.APPLIED and not entry.reason:
                applied[entry.position] = entry.keys
        ended = set(tx.applied(applied, shown)) if applied else set()
        for position, (entry, _) in zip(plan.positions, plan.entries, strict=True):
            is_done = isinstance(entry, journal.Applied) or (
                isinstance(entry, journal.Moved) and entry.position in ended
            )
            if not is_done:
                show(tx, position, entry)

    def adopt(self, wish: adopting.Adopt) -> None:
        """Keep and show that a person has taken a backend's mark for good. Raises Refused, NoRoom."""
        state = self.store.reader.backend_states().get(wish.backend)
        ahead = adopting.Lead.of(state.facts) if state is not None else None
        adopting.keep(self.spool, wish, ahead, self._now())
        self.catch_up()

    def climbed(self, backend: str, rung: str) -> None:
        """What is sent to `backend` from now on is applied on `rung`. Raises NoRoom."""
        if care.keep_rung(self.spool, self.store, journal.Climbed(backend, rung, self._now())):
            self.catch_up()

    def forget(self, before: datetime) -> int:
        """Let go of commands that settled before that moment; how many, see `care.forget`."""
        return care.forget(self.spool, self.store, before)

    def worn(self, stretches: Sequence[Stretch]) -> care.Worn | None:
        """Which of these segments of the spool is worth writing anew."""
        return care.worn(self.store, stretches)


def _asks_store(request: Request) -> bool:
    """Whether the store has to be looked into before `request` is kept; not for a new row, say."""
    if not isinstance(request, Give) or request.again is not None:
        return True
    return request.fresh and any(change.before is not None for change in request.command.changes)


def _unshown(plan: _Plan, fault: NoRoom, *, told: bool) -> LedgerAnswer:
    """The answer to a request that is kept, and that the store had no room to take in whole. `told`: it knows what the
    spool knows; then a report is taken without its rows, which the next refresh will bring."""
    match plan.request:
        case Give() if plan.answer is None and plan.positions:
            return Receipt(plan.request.command.id, plan.positions[0])
        case Give() if plan.answer is None and plan.same_as is not None and isinstance(plan.same_as.request, Give):
            return Receipt(plan.same_as.request.command.id, plan.same_as.positions[0], duplicate=True)
        case Report() if told:
            return plan.answer
        case Report() | Claim() | Release() if not isinstance(plan.answer, BriqueError):
            return fault
    return plan.answer
