"""The run of `brique check`: each view by itself, then a life, then the shortest one that shows what went wrong."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from random import Random
from statistics import median

from brique.check.asked import FAILED, Asked
from brique.check.choose import Chooser
from brique.check.life import Life, Mismatch, Subject, asked_of
from brique.check.shrink import copied, live_again, short_end, shortest
from brique.check.steps import Ask, Step
from brique.errors import BadConfiguration, BriqueError
from brique.views import Db, Recording, View, closely, difference, guarded

SLOW_SECONDS = 0.1
_FIRST_ASKS = 8
"""Of each view, before anything changes."""
_ASKED_MAX = 60
_LOOKED_AT = 8


@dataclass(frozen=True)
class Finding:
    """`kind`: "impure", "fails", "slow", "whole" or "unasked"; `text` says it of `view`. `is_fault`: it breaks what
    brique promises of the page."""

    kind: str
    view: str
    text: str

    @property
    def is_fault(self) -> bool:
        return self.kind == "impure"


@dataclass
class Report:
    """What a check has seen. `steps`: the shortest life found that shows `mismatch`."""

    seed: int
    counts: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    mismatch: Mismatch | None = None
    steps: tuple[Step, ...] = ()
    views: int = 0

    @property
    def is_good(self) -> bool:
        return self.mismatch is None and not any(finding.is_fault for finding in self.findings)


def check(
    subject: Subject,
    pristine: Path,
    folder: Path,
    now: datetime,
    *,
    seed: int,
    seconds: float,
    monotonic: Callable[[], float] = time.monotonic,
) -> Report:
    """Try the views of `subject` on copies of the store `pristine`, made in `folder`, for about `seconds`."""
    return _Run(subject, pristine, folder, now, seed, seconds, monotonic).run()


def check_again(
    subject: Subject, pristine: Path, folder: Path, now: datetime, steps: Sequence[Step], seed: int
) -> Report:
    """Live the life of an earlier report again."""
    report = Report(seed, views=len(subject.views), steps=tuple(steps))
    with copied(pristine, folder) as path:
        life = Life(subject, path, now)
        try:
            for step in steps:
                report.mismatch = report.mismatch or life.live(step)
            report.mismatch = report.mismatch or life.look(list(life.asked))
            report.counts = dict(life.counts)
        finally:
            life.close()
    return report


class _Run:
    def __init__(
        self,
        subject: Subject,
        pristine: Path,
        folder: Path,
        now: datetime,
        seed: int,
        seconds: float,
        monotonic: Callable[[], float],
    ) -> None:
        self.subject, self.pristine, self.folder, self.now = subject, pristine, folder, now
        self.random, self.monotonic = Random(seed), monotonic
        self.began, self.seconds = monotonic(), seconds
        self.report = Report(seed, views=len(subject.views))
        self.steps: list[Step] = []
        self.pure: list[View] = []
        self.weights: list[float] = []

    def run(self) -> Report:
        with copied(self.pristine, self.folder) as path:
            life = Life(self.subject, path, self.now)
            try:
                self.chooser = Chooser(life, self.random)
                for view in self.subject.views.values():
                    self._first(life, view)
                mismatch = self._live(life) if self.pure else None
                if mismatch is None and self.subject.anew is not None:
                    self._look_anew(life, self.subject.anew())
            finally:
                life.close()
        self.report.counts = dict(life.counts)
        if mismatch is not None:
            self._shorten(mismatch)
        return self.report

    def _find(self, kind: str, view: View, text: str) -> None:
        if not any(known.kind == kind and known.view == view.name for known in self.report.findings):
            self.report.findings.append(Finding(kind, view.name, text))

    # each view by itself

    def _first(self, life: Life, view: View) -> None:
        """Ask for it with some arguments: is it a function, does it fail, is it slow, does it read whole tables?"""
        until = self.began + self.seconds / 2
        took, is_pure, asked = list[float](), True, 0
        for _ in range(_FIRST_ASKS):
            step = self.chooser.ask(view)
            if step is None or self.monotonic() > until:
                break
            asked += 1
            is_pure = self._is_pure(life, view, asked_of(step), took)
            if not is_pure:
                break
        if not asked:
            self._find(
                "unasked", view, "was not tried: nothing in the data fits its arguments, or the time was too short"
            )
        if took and median(took) > SLOW_SECONDS:
            self._find(
                "slow",
                view,
                f"takes {median(took) * 1000:.0f} ms: readers wait so long each time that it was let go of",
            )
        if is_pure and asked:
            self.pure.append(view)
            self.weights.append(min(1.0, SLOW_SECONDS / 10 / max(median(took), 1e-6)))

    def _is_pure(self, life: Life, view: View, asked: Asked, took: list[float]) -> bool:
        began = self.monotonic()
        recording = Recording()
        first = life.right(asked, recording)
        took.append(self.monotonic() - began)
        self.chooser.note(recording.asked)
        whole = recording.whole_tables
        if whole and view.fresh_seconds is None:
            self._find(
                "whole",
                view,
                f"reads all of {', '.join(whole)}: every change there ends its bytes; fresh=... would bound that",
            )
        fault = self._watched(life, view, asked)
        if isinstance(fault, BadConfiguration) and fault.facts.get("call"):
            self._find("impure", view, f"{fault.message} Try: {fault.try_this}")
            return False
        if fault is not None and first is FAILED:
            self._find("fails", view, f"fails for {asked}: {_told(fault)}")
        again = Recording()
        second = life.right(asked, again)
        if first != second:
            where = (
                difference(first, second)
                if isinstance(first, bytes) and isinstance(second, bytes)
                else "once it failed"
            )
            self._find("impure", view, f"gave two answers for {asked} on the same data at the same time: {where}")
            return False
        unread = again.less_than(recording)
        if unread:
            tables = ", ".join(unread)
            self._find("impure", view, f"asked less of {tables} the second time: it keeps answers of its own")
        return not unread

    def _watched(self, life: Life, view: View, asked: Asked) -> Exception | None:
        """What it raises when each of its calls is looked at."""
        subject = self.subject
        with life.reader.snapshot() as reader:
            db = Db(
                reader, subject.specs, classes=subject.classes, now=life.clock.now, timezone=subject.timezone,
                user=asked.user,
            )  # fmt: skip
            try:
                with guarded(view.name), closely(view.name, None):
                    view.run(db, view.arguments(dict(asked.arguments)))
            except Exception as fault:  # noqa: BLE001 - whatever it raises is told
                return fault
            finally:
                db.close()
        return None

    # a life

    def _live(self, life: Life) -> Mismatch | None:
        while self.monotonic() - self.began < self.seconds:
            asks = self.random.randint(1, 4) if len(life.asked) < _ASKED_MAX else self.random.randint(0, 2)
            for _ in range(asks):
                wrong = self._take(life, self.chooser.ask(self.random.choices(self.pure, self.weights)[0]))
                if wrong is not None:
                    return wrong
            wrong = self._take(life, self.chooser.step()) or life.look(self._some(life))
            if wrong is not None:
                return wrong
        return life.look(list(life.asked))

    def _look_anew(self, life: Life, subject: Subject) -> None:
        """What the views say now must be what they say in a process that has only just loaded them."""
        for asked in life.asked:
            view = subject.views.get(asked.view)
            if view is None or view.fresh_seconds is not None:
                continue
            here, there = life.right(asked), life.right(asked, subject=subject)
            if here != there:
                where = f"{here!r} | {there!r}"
                if isinstance(here, bytes) and isinstance(there, bytes):
                    where = difference(here, there)
                self._find("impure", view, f"remembers: for {asked} a new process answers otherwise: {where}")

    def _some(self, life: Life) -> Sequence[Asked]:
        """Those of slow views seldom."""
        weight = {view.name: weight for view, weight in zip(self.pure, self.weights, strict=True)}
        some = self.random.sample(list(life.asked), min(_LOOKED_AT, len(life.asked)))
        return [asked for asked in some if self.random.random() < weight[asked.view]]

    def _take(self, life: Life, step: Step | None) -> Mismatch | None:
        if step is None:
            return None
        try:
            wrong = life.live(step)
        except BriqueError:  # a row that the table cannot hold: nothing has happened
            return None
        self.steps.append(step)
        if isinstance(step, Ask):
            recording = Recording()
            life.right(asked_of(step), recording)
            self.chooser.note(recording.asked)
        return wrong

    def _shorten(self, mismatch: Mismatch) -> None:
        """Find the shortest life that shows it, in about as long as the check itself took."""
        until = self.monotonic() + max(10.0, self.seconds)

        def shows(steps: Sequence[Step]) -> Mismatch | None:
            if self.monotonic() > until:
                return None
            return live_again(self.subject, self.pristine, self.folder, self.now, steps, mismatch.asked)

        asks = [step for step in self.steps if isinstance(step, Ask) and asked_of(step) == mismatch.asked]
        steps = short_end(self.steps, asks[:1], lambda steps: shows(steps) is not None)
        again = shows(steps)
        self.report.mismatch, self.report.steps = again or mismatch, tuple(self.steps)
        if again:
            self.report.steps = tuple(shortest(steps, lambda steps: shows(steps) is not None))
            self.report.mismatch = shows(self.report.steps) or again


def _told(fault: Exception) -> str:
    """`ZeroDivisionError: division by zero, in sales.py:40`."""
    last = traceback.extract_tb(fault.__traceback__)[-1:]
    place = f", in {Path(last[0].filename).name}:{last[0].lineno}" if last else ""
    return f"{type(fault).__name__}: {fault}{place}"
