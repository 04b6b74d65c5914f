"""One life of a copy: its steps, and the comparison of what is kept with what the views make from nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

from brique.check.asked import FAILED, Asked, SetClock, Truth, answer_from_nothing
from brique.check.steps import Ask, Lay, Pass, Restart, Settle, Step, Write
from brique.clock import stamp
from brique.errors import BriqueError
from brique.schema import Change, Command, State, TableSpec
from brique.store import Classes, Reader, Recorder, Store
from brique.views import Keeper, Offer, View, ViewFailed, Views, difference


@dataclass(frozen=True)
class Person:
    """Who asks, as views see `db.user`."""

    name: str
    role: str = "admin"
    language: str = "en"
    via: str = "session"

    def __str__(self) -> str:
        return self.name

    def may(self, needed: str) -> bool:
        return True


@dataclass(frozen=True)
class Mismatch:
    """`found` (which "is kept" or "was given") is not what the view makes from nothing. `where`: the first place where
    they differ, found before right."""

    asked: Asked
    how: str
    found: object
    right: object

    @property
    def where(self) -> str:
        if isinstance(self.found, bytes) and isinstance(self.right, bytes):
            return difference(self.found, self.right)
        return f"{self.found!r} | {self.right!r}"


@dataclass(frozen=True)
class Subject:
    """What is tried: the views of an intranet. `anew` loads them once more, as a new process would."""

    views: Mapping[str, View]
    specs: Mapping[str, TableSpec]
    classes: Classes
    timezone: tzinfo
    anew: Callable[[], Subject] | None = None


class Life:
    """`subject` on the store at `path`, which is changed. Close it."""

    def __init__(self, subject: Subject, path: Path, now: datetime) -> None:
        self.subject = subject
        self.clock = SetClock(now)
        self.counts: Counter[str] = Counter()
        self.asked: dict[Asked, Truth] = {}
        self.store = Store(path, subject.specs, clock=self.clock)
        self.store.connection.execute("PRAGMA synchronous=OFF")
        with self.store.transaction() as tx:
            tx.representations.drop_all()
        self.keeper = Keeper(subject.views, self.store)
        self.reader = Reader(path, subject.specs)
        self.views = Views(
            subject.views, subject.specs, lambda: self.reader, clock=self.clock, classes=subject.classes,
            offer=self._take, timezone=subject.timezone,
        )  # fmt: skip
        self._held: list[Offer] | None = None
        self._waiting: list[int] = []
        row = self.store.connection.execute("SELECT max(position) FROM command").fetchone()
        self._position = max(int(row[0] or 0) if row else 0, self.reader.spool_position())

    def close(self) -> None:
        self.reader.close()
        self.store.close()

    def live(self, step: Step) -> Mismatch | None:
        """Take one step; what it shows to be wrong. Raises BriqueError for a step that cannot be taken."""
        if isinstance(step, Ask):
            return self._ask(step)
        self._do(step)
        offers, self._held = self._held or [], None
        for offer in offers:
            self._take(offer)
        for asked, truth in self.asked.items():
            if self._fresh(asked) is not None:
                truth.note(self.clock.now(), self.right(asked))
        return None

    def look(self, some: Collection[Asked]) -> Mismatch | None:
        """Compare what is ready for these, whether anybody asks or not."""
        for asked in some:
            kept = self.views.kept(asked.view, dict(asked.arguments), asked.user)
            if kept is not None:
                found = self._compare(asked, kept.body, "is kept")
                if found is not None:
                    return found
        return None

    def right(self, asked: Asked, recorder: Recorder | None = None, subject: Subject | None = None) -> object:
        """What the view makes from nothing; of `subject`, when it is another."""
        subject = subject or self.subject
        return answer_from_nothing(
            subject.views[asked.view], asked, self.reader, subject.specs, self.clock.now(), subject.timezone,
            classes=subject.classes, recorder=recorder,
        )  # fmt: skip

    def _ask(self, step: Ask) -> Mismatch | None:
        asked = asked_of(step)
        if asked not in self.asked:
            self.asked[asked] = Truth()
            self.asked[asked].note(self.clock.now(), self.right(asked))
        if step.late and self._held is None:
            self._held = []
        self.clock.seconds += 10  # failures are not remembered from one read to the next
        return self._compare(asked, self._given(asked), "was given")

    def _given(self, asked: Asked) -> object:
        try:
            found = self.views.get(asked.view, dict(asked.arguments), asked.user)
        except ViewFailed:
            return FAILED
        except BriqueError as fault:
            return str(fault)
        return FAILED if found.stale_error else found.body

    def _compare(self, asked: Asked, found: object, how: str) -> Mismatch | None:
        self.counts["comparisons"] += 1
        fresh, right = self._fresh(asked), self.right(asked)
        if found == right:
            return None
        if fresh is not None and self.asked[asked].allows(found, self.clock.now() - timedelta(seconds=fresh)):
            return None
        return Mismatch(asked, how, found, right)

    def _fresh(self, asked: Asked) -> float | None:
        return self.subject.views[asked.view].fresh_seconds

    def _take(self, offer: Offer) -> None:
        if self._held is not None:
            self._held.append(offer)
            return
        with self.store.transaction() as tx:
            self.counts["kept"] += self.keeper.accept(tx, offer.payload())

    # changes

    def _do(self, step: Step) -> None:
        doing: dict[type, Callable[[Any], None]] = {
            Write: self._write, Lay: self._lay, Settle: self._settle, Pass: self._pass, Restart: self._restart,
        }  # fmt: skip
        doing[type(step)](step)

    def _write(self, step: Write) -> None:
        spec = self.subject.specs[step.table]
        self.counts["changes"] += len(step.rows) + len(step.gone)
        with self.store.transaction() as tx:
            tx.apply_base(step.table, [(spec.key_of(row), row) for row in step.rows], list(step.gone))

    def _lay(self, step: Lay) -> None:
        self.counts["changes"] += 1
        self._position += 1
        command = Command(
            id=f"check-{self._position}", name="check", user="ana", role="write", at=stamp(self.clock.now()),
            backend=self.subject.specs[step.table].backend,
            changes=(Change(step.table, step.key, step.before, step.after),),
        )  # fmt: skip
        with self.store.transaction() as tx:
            tx.lay(self._position, command)
        self._waiting.append(self._position)

    def _settle(self, step: Settle) -> None:
        if self._waiting:
            self.counts["changes"] += 1
            with self.store.transaction() as tx:
                tx.settle(self._waiting.pop(0), State.APPLIED if step.applied else State.REFUSED)

    def _pass(self, step: Pass) -> None:
        self.clock.moment += timedelta(seconds=step.seconds)

    def _restart(self, _: Restart) -> None:
        with suppress(ValueError):
            self.store._listeners.remove(self.keeper.on_changes)
        self.keeper = Keeper(self.subject.views, self.store)


def asked_of(step: Ask) -> Asked:
    return Asked(step.view, tuple(sorted(step.arguments.items())), Person(step.user) if step.user else None)
