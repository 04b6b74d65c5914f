"""A command of a simulated life, as its giver knows it, and what one ERP says that it has done."""

from __future__ import annotations

from dataclasses import dataclass, field

from brique.schema import Command, State
from tests.simulation.erp import Entry, Erp


class Broken(AssertionError):
    """A promise was broken."""


@dataclass(eq=False)
class Asked:
    """A command that a client gave, with `token`. `position`: where it is kept, None when nobody has told."""

    command: Command
    token: str
    marks: tuple[str, ...]
    position: int | None = None
    is_fresh: bool = False
    """Only wanted when its rows are as its author saw them."""
    is_turned_away: bool = False
    is_acknowledged: bool = False
    is_forgotten: bool = False
    state: State | None = None
    doubts: int = 0
    """How often somebody could not know what had arrived, by the time when it was given."""
    followed: set[str] = field(default_factory=set)
    """What it waits for and was done before it; that may be forgotten, and refused when it is sent again."""
    epoch: int = 0
    """How often its backend had forgotten something by the time when it was seen applied."""

    @property
    def id(self) -> str:
        return self.command.id

    @property
    def backend(self) -> str:
        return self.command.backend

    @property
    def is_over(self) -> bool:
        """Whether nobody gives it again: it was forgotten after its time, or turned away."""
        return self.is_forgotten or self.is_turned_away

    def wanted(self) -> list[tuple[str, str]]:
        """(kind, mark) of what it must have done when applied, deletions left out."""
        found = [
            ("insert" if change.before is None else "update", str(change.after["mark"]))
            for change in self.command.changes
            if change.after is not None
        ]
        return found + [("call", str(effect.arguments["mark"])) for effect in self.command.effects]

    def deleted(self) -> list[tuple[str, str, str]]:
        """(table, key, mark before) of the rows that it deletes."""
        return [
            (change.table, change.key, str(change.before["mark"]))
            for change in self.command.changes
            if change.before is not None and change.after is None
        ]


@dataclass
class Ledger:
    """What one ERP has committed, as far as it was looked at; begun anew when it has forgotten something."""

    erp: Erp
    epoch: int = -1
    seen: int = 0
    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    history: dict[tuple[str, str], list[str | None]] = field(default_factory=dict)
    """The marks that each row has had, in order; None when it was deleted."""
    last: dict[tuple[str, str], tuple[int, Entry]] = field(default_factory=dict)
    place_of: dict[str, tuple[str, str]] = field(default_factory=dict)
    """The row that a mark was put into."""
    floor: dict[tuple[str, str], int] = field(default_factory=dict)
    """How far in its history a row must be seen: the last change of it by a command that is shown as applied."""
    forgetful: bool = False
    """It has lost commits, and its process has not looked yet."""

    def news(self) -> list[Entry]:
        """What was committed since the last look."""
        if self.epoch != self.erp.epoch:
            self.epoch, self.seen = self.erp.epoch, 0
            self.counts, self.history, self.last, self.floor, self.place_of = {}, {}, {}, {}, {}
        found = self.erp.log[self.seen :]
        self.seen = len(self.erp.log)
        return found
