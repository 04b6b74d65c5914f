"""`brique check`: the views of an intranet, tried on a copy of its data. Asks no backend, only reads the data."""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from brique.app.intranet import Declared
from brique.app.run_file import read_run
from brique.app.sources import is_declaration, load_declaration
from brique.check import Report, Subject, check, check_again, copy_store, made_up, steps_from, steps_json, told
from brique.clock import SystemClock, stamp, unstamp
from brique.errors import BadConfiguration, BadInput, NotFound


@dataclass(frozen=True)
class Checked:
    """A report, and what it was tried on: `copied` bytes of a store; `made_up` tables without rows of their own; `now`
    when its clock began."""

    report: Report
    copied: int
    made_up: tuple[str, ...]
    now: datetime


def check_views(
    file: Path | None,
    data: Path,
    *,
    seed: int,
    seconds: float,
    only: Collection[str] = (),
    replay: Mapping[str, Any] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Checked:
    """Try the views of `file` (None: of what was started in `data`) on a copy of the store in `data`, where there is
    one, for about `seconds`; `only` some of them, or the life of a report (`report_json`) again.

    Raises BadConfiguration, NotFound for a view, BadInput for what is no report, NoRoom.
    """

    def _anew(file: Path) -> Subject:
        return subject_of(_loaded_anew(file))

    def subject_of(declared: Declared) -> Subject:
        anew = None if source is None else partial(_anew, source)
        return Subject(_some(declared, only), declared.specs, declared.classes, declared.timezone, anew)

    source = _source(file, data)
    subject = subject_of(_declared(file, data))
    clock, store = SystemClock(), data / "store.db"
    now = clock.now().replace(microsecond=0)
    steps = None
    if replay is not None:
        try:
            seed, now, steps = int(replay["seed"]), unstamp(replay["now"]), steps_from(replay["steps"])
        except (KeyError, ValueError, TypeError) as fault:
            hint = "give the file that `brique check` has written"
            raise BadInput(f"This is no report of `brique check`: {fault!r}", try_this=hint) from fault
    with tempfile.TemporaryDirectory(prefix="brique-check-") as made:
        pristine, copied = Path(made) / "pristine.db", 0
        if store.exists():
            tell(f"copying {store}")
            copied = copy_store(store, pristine)
        filled = tuple(made_up(pristine, subject.specs, clock, Random(seed), only_empty=True))
        tell(f"seed {seed}, about {seconds:g} s")
        logging.getLogger("brique.views").setLevel(logging.CRITICAL)  # what it would say is in the report
        if steps is not None:
            return Checked(check_again(subject, pristine, Path(made), now, steps, seed), copied, filled, now)
        return Checked(check(subject, pristine, Path(made), now, seed=seed, seconds=seconds), copied, filled, now)


def _declared(file: Path | None, data: Path) -> Declared:
    if file is not None:
        return load_declaration(file).declared()
    return read_run(data).intranet(kept=True).declared()


def _source(file: Path | None, data: Path) -> Path | None:
    """The Python file that declares the views; None when there is none."""
    whats = [str(file)] if file is not None else list(read_run(data).whats)
    return Path(whats[0]) if len(whats) == 1 and is_declaration(whats[0]) else None


def _loaded_anew(file: Path) -> Declared:
    """What `file` declares, itself and the modules beside it without anything that they remember."""
    beside = file.resolve().parent
    for name, module in list(sys.modules.items()):
        place = getattr(module, "__file__", None)
        if place and beside in Path(place).parents and not name.startswith("brique."):
            del sys.modules[name]
    return load_declaration(file).declared()


def _some(declared: Declared, only: Collection[str]) -> dict[str, Any]:
    views = {view.name: view for view in declared.views.values() if not only or view.name in only}
    unknown = set(only) - set(views)
    if unknown:
        raise NotFound(f"There is no view {sorted(unknown)[0]}.", try_this=f"one of {', '.join(declared.views)}")
    if not views:
        raise BadConfiguration("No view is declared: there is nothing to check.", try_this="@app.view(...)")
    return views


def report_lines(checked: Checked) -> list[str]:
    """The report for a person."""
    report = checked.report
    lines = []
    if checked.made_up:
        lines.append(f"made up: rows of {', '.join(checked.made_up)}, for these tables have none")
    lines += [f"{finding.kind}: {finding.view} {finding.text}" for finding in report.findings]
    wrong = report.mismatch
    if wrong is not None:
        lines += ["", f"WRONG: {wrong.asked} {wrong.how}, and is not what it is when made from nothing"]
        lines += [f"  kept | right: {wrong.where}", f"  after {len(report.steps)} steps from seed {report.seed}:"]
        lines += [f"  {place}. {told(step)}" for place, step in enumerate(report.steps, 1)]
        lines += [
            "  Either the view hides a state of its own (a global, a cache), or brique is at fault: please tell.",
            "",
        ]
    counts = report.counts
    numbers = ", ".join(f"{counts.get(name, 0)} {name}" for name in ("changes", "kept", "comparisons"))
    said = "all right" if report.is_good else "not right"
    return [*lines, f"{report.views} views, {numbers}, seed {report.seed}: {said}"]


def report_json(checked: Checked) -> dict[str, Any]:
    """The report for a program, and to be lived again."""
    report, wrong = checked.report, checked.report.mismatch
    return {
        "seed": report.seed,
        "now": stamp(checked.now),
        "good": report.is_good,
        "counts": report.counts,
        "made_up": list(checked.made_up),
        "findings": [{"kind": one.kind, "view": one.view, "text": one.text} for one in report.findings],
        "wrong": None if wrong is None else {
            "view": wrong.asked.view,
            "arguments": dict(wrong.asked.arguments),
            "user": str(wrong.asked.user or ""),
            "how": wrong.how,
            "where": wrong.where,
        },
        "steps": steps_json(report.steps),
    }  # fmt: skip
