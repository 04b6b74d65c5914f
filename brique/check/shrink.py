"""The same life again, and a shorter one that shows the same."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from brique.check.asked import Asked
from brique.check.life import Life, Mismatch, Subject
from brique.check.steps import Step
from brique.errors import BriqueError


@contextmanager
def copied(pristine: Path, folder: Path) -> Iterator[Path]:
    """A store like `pristine` to live on; gone afterwards."""
    with tempfile.TemporaryDirectory(dir=folder) as made:
        path = Path(made) / "store.db"
        shutil.copyfile(pristine, path)
        yield path


def live_again(
    subject: Subject, pristine: Path, folder: Path, now: datetime, steps: Sequence[Step], asked: Asked
) -> Mismatch | None:
    """Take `steps` on a fresh copy; how `asked` is wrong at one of them or after the last."""
    with copied(pristine, folder) as path:
        life = Life(subject, path, now)
        try:
            for step in steps:
                try:
                    found = life.live(step)
                except BriqueError:
                    continue
                if found is not None and found.asked == asked:
                    return found
            return life.look([asked]) if asked in life.asked else None
        finally:
            life.close()


def short_end(steps: Sequence[Step], first: Sequence[Step], shows: Callable[[Sequence[Step]], bool]) -> list[Step]:
    """`first` and as few of the last steps as it takes; all steps when no end of them will do."""
    size = 1
    while size < len(steps):
        end = [*first, *steps[-size:]]
        if shows(end):
            return end
        size *= 2
    return list(steps)


def shortest(steps: Sequence[Step], shows: Callable[[Sequence[Step]], bool]) -> list[Step]:
    """Steps without any of which `shows` is not true any more, as far as it has the patience to say."""
    left, size = list(steps), max(1, len(steps) // 2)
    while True:
        place, went = 0, False
        while place < len(left):
            fewer = left[:place] + left[place + size :]
            if fewer and shows(fewer):
                left, went = fewer, True
            else:
                place += size
        if size == 1 and not went:
            return left
        size = max(1, size // 2) if not went or size > 1 else 1
