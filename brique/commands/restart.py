"""What replay does before it sends anything: it brings the backend's marks and ours in line.

| the backend's mark is | because | so |
| --- | --- | --- |
| where ours is | nothing has happened | go on |
| behind | the backend was restored, or crashed before it had flushed | what it forgot is kept again, and sent again |
| gone | its table was dropped, or never was | nothing is sent again: that would prove nothing |
| ahead | somebody copied a data folder, or an old one was put back by hand | stop, and ask a person (`MarkAhead`) |
| that of another command than ours there | the same, and the spool has grown past it since | stop, likewise |
| of the stream that this spool was | brique was restored from its backup | what that stream did is taken over |
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from brique.backends import Rung
from brique.commands.adopting import Lead
from brique.commands.marks import Marks
from brique.commands.replay import Replay
from brique.commands.report import Outcome, Report
from brique.commands.transaction import LOST, is_shown
from brique.commands.waiting import Waiting
from brique.errors import BriqueError
from brique.schema import PENDING, Row, State
from brique.spool import Ancestor

log = logging.getLogger(__name__)
_RESTORED = f"{LOST} brique was restored from a backup; this had been sent after it was made."
_ADOPTED = "The backend had got further than this outbox knew of; it may have been applied there."


class MarkAhead(BriqueError):
    """The backend has applied commands of this stream that this spool does not know. Facts `mark`, `last`; `forked`
    when this spool has others in their place."""

    status = 409
    code = "mark-ahead"


class Restart:
    """Before the first run of `replay`, and after each time that its backend was away."""

    def __init__(self, replay: Replay) -> None:
        self.replay = replay

    def begin(
        self,
        waiting: Sequence[Waiting],
        *,
        shown: int,
        was_marked: bool,
        ancestors: Sequence[Ancestor] = (),
        ahead: Lead | None = None,
        adopted: int = 0,
        applied_after: Callable[[int], Sequence[int]] = lambda _: (),
        receipt_at: Callable[[int], str | None] = lambda _: None,
    ) -> None:
        """To be called once. `waiting`: what waits, all that may have been sent included; `shown`: the last spool
        position of that moment; `was_marked`: whether what was applied last, was applied with a watermark;
        `applied_after(position)` lists some positions of applied commands, oldest first, until there are none;
        `ancestors`: the streams that the spool was before it was restored; `ahead`: that the mark was ahead when it
        was last looked at (the spool has grown since, which makes nothing right); `adopted`: the mark that a person
        has taken for good; `receipt_at`: see `Marks.is_of`. Raises BackendAway, MarkAhead.
        """
        replay = self.replay
        replay.adopted = adopted
        replay.ancestors = sorted(ancestors, key=lambda one: one.last)
        if replay.rung is Rung.WATERMARK:
            replay.marks.claim()
            self._check(shown if ahead is None else min(shown, ahead.last), adopted)
            self._compare(receipt_at)
            mark = replay.marks.position()
            if ahead is not None and (mark > ahead.last or (ahead.forked and mark <= adopted)):
                waiting = self._adopt(waiting, ahead.last)
        last = max((ancestor.last for ancestor in ancestors), default=0)
        if replay.rung is Rung.WATERMARK and last and not replay.marks.position():
            self._take_over(waiting, ancestors)
        if replay.rung not in (Rung.WATERMARK, Rung.GUARD):
            replay.doubted_upto = last
        waiting = [item for item in waiting if item.position not in replay.settled]
        _, rest = replay.arrived_before(waiting)
        if replay.rung is not Rung.WATERMARK or was_marked or last:
            return
        self._bring_in_line(rest, waiting[-1].position if waiting else shown, applied_after)

    def _check(self, shown: int, adopted: int) -> None:
        mark = self.replay.marks.position()
        if mark > max(shown, adopted):
            raise MarkAhead(
                f"{self.replay.backend.name} has applied commands up to {mark}, and this outbox ended at {shown}: "
                "another copy of brique's data has been writing there.",
                try_this="stop the other copy; then let this one go on from there: brique spool adopt "
                f"{self.replay.backend.name}",
                mark=mark,
                last=shown,
            )

    def _compare(self, receipt_at: Callable[[int], str | None]) -> None:
        """Raises MarkAhead when another command has moved the mark than the one that is here, and nobody took it."""
        marks = self.replay.marks
        mark = marks.position()
        if mark > self.replay.adopted and not marks.is_of(receipt_at):
            raise MarkAhead(
                f"{self.replay.backend.name} has applied another command as number {mark} than the one that this "
                "outbox has there: another copy of brique's data has been writing there.",
                try_this="stop the other copy; then let this one go on from there: brique spool adopt "
                f"{self.replay.backend.name}",
                mark=mark,
                last=mark,
                forked=True,
            )

    def _bring_in_line(self, rest: Sequence[Waiting], upto: int, applied_after: Callable[[int], Sequence[int]]) -> None:
        """There was a time without a mark: what may have arrived in it is looked at, and the mark put behind all that
        was applied; what waits before it counts as overtaken."""
        replay = self.replay
        doubtful = [item for item in rest if item.state is State.SENDING]
        replay.rung = Rung.COMPARE
        try:
            replay.run(doubtful)
        finally:
            replay.rung = Rung.WATERMARK
        kept = [item.position for item in rest if item not in doubtful]
        left = sorted({*kept, *replay.passed})
        last = kept[0] - 1 if kept else upto
        while found := applied_after(last):
            last = found[-1]
        if replay.marks.position() < last:
            overtaken = [position for position in left if position < last]
            with replay.backend.session() as session:
                replay.marks.move(session, last, overtaken)
            replay.marks.moved(last, overtaken)

    def _take_over(self, waiting: Sequence[Waiting], ancestors: Sequence[Ancestor]) -> None:
        """What the streams before this one have done to commands that this spool has in an older state: they were
        applied, or refused. Where the rows show it they are applied, else unknown, and never sent again."""
        replay, first, reached = self.replay, 0, 0
        overtaken: list[int] = []
        for ancestor in ancestors:
            old = Marks(replay.backend, ancestor.name)
            upto = min(old.position(), ancestor.last)
            for item in waiting:
                if first < item.position <= upto:
                    if old.is_overtaken(item.position):
                        overtaken.append(item.position)
                    else:
                        self._judge(item)
            first, reached = ancestor.last, max(reached, upto)
        if reached:
            with replay.backend.session() as session:
                replay.marks.move(session, reached, overtaken)
            replay.marks.moved(reached, overtaken)

    def _adopt(self, waiting: Sequence[Waiting], last: int) -> list[Waiting]:
        """A person has taken the mark for good. What the other copy has not applied is sent, behind the mark: what it
        says so of, and what was given here since the lane was stopped (past `last`). Of the rest its rows tell. What
        waits then."""
        replay = self.replay
        mark = replay.marks.position()
        mine = [item.position for item in waiting if last < item.position <= mark]
        replay.notes.overtaken(mine)
        replay.marks.put_behind(mine)
        left = []
        for item in waiting:
            if item.position > last or replay.marks.is_overtaken(item.position):
                left.append(item)
            else:
                self._judge(item, _ADOPTED)
        return left

    def _judge(self, item: Waiting, why: str = _RESTORED) -> None:
        """Applied where its rows show it, else unknown."""
        replay = self.replay
        theirs: dict[str, Row | None] = {}
        shown = not item.command.effects
        for place, change in enumerate(item.command.changes):
            key = replay.numbers.key(change.table, change.key)
            if key.startswith(PENDING) or change.table not in replay.specs:
                shown = False
                continue
            row = replay.backend.fetch(replay.specs[change.table], [key]).get(key)
            theirs[f"{change.table}/{key}"] = row
            shown = shown and is_shown(item.command.changes, place, row)
        outcome = Outcome(item.position, State.APPLIED)
        if not shown:
            outcome = Outcome(item.position, State.UNKNOWN, reason=why, theirs=theirs)
        replay.settled.add(item.position)
        replay.report(Report(replay.backend.name, outcomes=[outcome]))

    def rewind(
        self,
        applied_after: Callable[[int], Sequence[int]],
        state_of: Callable[[int], State | None] = lambda _: None,
        receipt_at: Callable[[int], str | None] = lambda _: None,
    ) -> int:
        """Put commands back to kept that were applied and that the backend does not know of any more: it was restored,
        or crashed before it had flushed. How many. `applied_after(position)` lists some positions of applied ones,
        oldest first, until there are none; `state_of` tells the state of one. What this process remembers of applied
        commands may be over as well: from now on it asks the store. Raises BackendAway, MarkAhead.
        """
        replay = self.replay
        if replay.rung is not Rung.WATERMARK:
            return 0
        replay.marks.doubt()
        replay.course.forget()
        replay.numbers.forget_all()
        self._compare(receipt_at)
        mark = replay.marks.position()
        count = 0
        while mark and (forgotten := applied_after(mark)):
            self._forgotten(forgotten)
            count += len(forgotten)
        late = [position for position in replay.notes.all_overtaken() if mark and position <= mark]
        late = [p for p in late if state_of(p) is State.APPLIED and replay.marks.is_overtaken(p)]
        if late:
            self._forgotten(late)
        if count or late:
            log.warning("%s has forgotten %d commands: they are sent again", replay.backend.name, count + len(late))
        return count + len(late)

    def _forgotten(self, positions: Sequence[int]) -> None:
        outcomes = [Outcome(position, State.KEPT) for position in positions]
        self.replay.report(Report(self.replay.backend.name, outcomes=outcomes))
