"""Which of the commands that wait may be sent now, which have to wait, which cannot be sent any more. Decides only.

A command waits while one that it builds on waits: for its backend, for a person, for a number. Then everything on
its rows waits behind it, and commands on other rows overtake it. One that builds on a command which was refused,
in conflict or withdrawn is refused, with a reason that names that one.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from brique.backends import Rung
from brique.commands.numbers import Numbers
from brique.commands.report import Outcome
from brique.commands.transaction import LOST
from brique.commands.waiting import Parent, Row, Waiting, leans_on, maker, refusal, rows_of
from brique.schema import PENDING, Command, State, TableSpec

_APPLIED_MAX = 200_000
"""Receipts remembered as applied; many times the commands whose reports may be on their way at once."""


@dataclass
class Behind:
    """What waits: rows on which others must wait too, and receipts."""

    rows: set[Row] = field(default_factory=set)
    receipts: set[str] = field(default_factory=set)

    def add(self, item: Waiting) -> None:
        self.rows.update(rows_of(item.command))
        self.receipts.add(item.command.id)


@dataclass
class Batch:
    """Commands for one transaction, and those before its last one that wait and are overtaken by it. `refused`: the
    first command cannot be sent at all; then nothing else is in the batch."""

    items: list[Waiting] = field(default_factory=list)
    overtaken: list[Waiting] = field(default_factory=list)
    refused: tuple[Waiting, Outcome] | None = None


class Course:
    """The state of one run. `parents(receipt)`: what became of a command, None when nobody knows it; `allowed` says
    why a command's author may no longer give it; `is_resting(position)`: whether it is left in peace for a while;
    `alone(item)`: whether it must have a transaction of its own; `none_odd(position)`: no command from there on rests
    or must be alone."""

    def __init__(
        self,
        specs: Mapping[str, TableSpec],
        numbers: Numbers,
        *,
        parents: Callable[[str], Parent | None],
        allowed: Callable[[Command], str],
        is_resting: Callable[[int], bool],
        alone: Callable[[Waiting], bool],
        none_odd: Callable[[int], bool] = lambda _: False,
    ) -> None:
        self.specs, self.numbers = specs, numbers
        self._parents, self._allowed, self._is_resting, self._alone = parents, allowed, is_resting, alone
        self._none_odd = none_odd
        self.rung = Rung.WATERMARK
        self._rights: dict[str, str] = {}
        self._applied: OrderedDict[str, None] = OrderedDict()
        self._ended: dict[str, Parent] = {}
        self._behind = Behind()

    def begin(self, rung: Rung, *, keep: bool) -> None:
        """A new run. `keep`: it goes on where the last one ended, with commands past it."""
        self.rung = rung
        if not keep:
            self._ended, self._behind = {}, Behind()

    def forget(self) -> None:
        """The store knows all that is still applied."""
        self._applied.clear()

    def applied(self, items: Iterable[Waiting]) -> None:
        self._applied.update((item.command.id, None) for item in items)
        while len(self._applied) > _APPLIED_MAX:
            self._applied.popitem(last=False)

    def ended(self, item: Waiting, outcome: Outcome) -> None:
        """The command has settled otherwise than applied. What builds on one in doubt waits for a person."""
        if outcome.state is State.UNKNOWN:
            self._behind.receipts.add(item.command.id)
        else:
            self._ended[item.command.id] = Parent(
                outcome.state, item.command.label or item.command.name, outcome.reason
            )

    def passed(self, items: Iterable[Waiting]) -> None:
        """These wait, and the run goes on without them."""
        for item in items:
            self._behind.add(item)

    def take(self, left: Sequence[Waiting], count: int) -> Batch:
        """The next batch of up to `count` commands of `left`; empty when all of them wait."""
        self._rights.clear()  # looked at anew for each transaction, once for each author
        batch, waits = Batch(), Behind()
        within: set[str] = set()
        rows: set[Row] = set()
        marked = self.rung is Rung.WATERMARK
        last = self._at_once(left, count, batch, within) if marked else 0
        for item in itertools.islice(left, last, None):
            if len(batch.items) >= count:
                break
            verdict = self._judge(item, within, waits)
            if verdict is None:
                waits.add(item)
                batch.overtaken.append(item)
                continue
            if isinstance(verdict, Outcome):
                if not batch.items:
                    batch.refused = item, verdict
                break
            own = () if marked else rows_of(item.command)
            is_alone = self._alone(item)
            if batch.items and (is_alone or not rows.isdisjoint(own)):
                break
            rows.update(own)
            batch.items.append(item)
            within.add(item.command.id)
            if is_alone:
                break
        last = batch.items[-1].position if batch.items else 0
        batch.overtaken = [item for item in batch.overtaken if item.position < last]
        return batch

    def _at_once(self, left: Sequence[Waiting], count: int, batch: Batch, within: set[str]) -> int:
        """Take what nothing can stand against, from the start of `left`: nothing waits, and it builds on nothing."""
        if self._behind.rows or self._behind.receipts:
            return 0
        taken, specs, allowed = 0, self.specs, self._why_not
        none_odd = bool(left) and self._none_odd(left[0].position)
        for item in itertools.islice(left, count):
            command = item.command
            if command.after or not (none_odd or not (self._alone(item) or self._is_resting(item.position))):
                break
            if not self._builds_on_nothing(command, specs) or allowed(command):
                break
            within.add(command.id)
            taken += 1
        batch.items.extend(left[:taken])
        return taken

    def _why_not(self, command: Command) -> str:
        """Why the author of `command` may no longer give it; "" when he may."""
        if (why := self._rights.get(command.user)) is None:
            why = self._rights[command.user] = self._allowed(command)
        return why

    @staticmethod
    def _builds_on_nothing(command: Command, specs: Mapping[str, TableSpec]) -> bool:
        for change in command.changes:
            spec = specs.get(change.table)
            if spec is None or spec.reference_of or change.key.startswith(PENDING):
                return False
        return True

    def is_fragile(self, item: Waiting) -> bool:
        """Whether nothing in the backend could tell if the command has arrived: neither mark nor guard, and it makes a
        row whose key the backend gives, or does something that is no change of a row."""
        if self.rung in (Rung.WATERMARK, Rung.GUARD):
            return False
        return (
            self.rung is Rung.NONE
            or bool(item.command.effects)
            or any(change.before is None and change.key.startswith(PENDING) for change in item.command.changes)
        )

    def is_doubtful(self, item: Waiting) -> bool:
        """Whether it was sent before, and only its rows can tell whether it arrived."""
        return self.rung not in (Rung.WATERMARK, Rung.GUARD) and item.state is State.SENDING

    def _has_begun(self, item: Waiting) -> bool:
        """Whether a part of it may be done, which its backend knows: it is brought to its end."""
        return self.rung is Rung.GUARD and item.state is State.SENDING

    def _judge(self, item: Waiting, within: set[str], waits: Behind) -> Outcome | bool | None:
        """True: send it; None: it waits; an outcome: it ends so."""
        command = item.command
        for behind in (self._behind, waits):
            if behind.rows and not behind.rows.isdisjoint(rows_of(command)):
                return None
        if self._is_resting(item.position):
            return None
        if self.is_doubtful(item):
            if self.is_fragile(item):
                reason = f"{LOST} Look in the backend whether it was done."
                return Outcome(item.position, State.UNKNOWN, reason=reason)
        elif not self._has_begun(item) and (why := self._why_not(command)):
            return Outcome(item.position, State.REFUSED, reason=why)
        was_sent = self.is_doubtful(item) or self._has_begun(item)
        for receipt in self._builds_on(command):
            found = self._of_parent(receipt, within, waits, was_sent)
            if found is None:
                return None
            if found:
                return Outcome(item.position, State.REFUSED, reason=found)
        return True

    def _builds_on(self, command: Command) -> Iterable[str]:
        """Receipts of the commands that must have been applied first, as far as that is not known by their numbers."""
        yield from command.after
        for change in command.changes:
            for table, key in leans_on(change, self.specs):
                receipt = maker(key)
                if receipt != command.id and not self.numbers.knows(table, key):
                    yield receipt

    def _of_parent(self, receipt: str, within: set[str], waits: Behind, was_sent: bool) -> str | None:
        """ "": it was applied, or goes before; None: it waits; else why it never will be. `was_sent`: what builds on it
        may have arrived, so that it had been applied if it is forgotten by now."""
        if receipt in within or receipt in self._applied:
            return ""
        if receipt in waits.receipts or receipt in self._behind.receipts:
            return None
        parent = self._ended.get(receipt) or self._parents(receipt)
        if parent is not None and (not parent.state.settled or parent.state is State.UNKNOWN):
            return None
        if parent is None and was_sent:
            return ""
        return refusal(parent, receipt)
