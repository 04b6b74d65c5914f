"""Backends whose lane is stopped, because they know more than this brique does: told on the status page, with the
button that lets an administrator take over from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from brique.clock import unstamp
from brique.commands import Adopted, Clerk, Lead, adopted_of
from brique.errors import BadInput
from brique.http import at, user_of
from brique.pages.format import Formats
from brique.pages.frame import set_flash
from brique.pages.parts import Parts
from brique.pages.sources import source_of
from brique.views import Copy


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


@dataclass(frozen=True)
class StoppedLane:
    """A backend that has applied commands up to `mark`, while this brique's journal ended at `last`."""

    name: str
    label: str
    mark: int
    last: int
    title: str
    why: str
    what: str


def stopped_lane(name: str, label: str, facts: Mapping[str, Any], formats: Formats) -> StoppedLane | None:
    """What there is to say of a backend that is ahead of the journal; None when it is not."""
    ahead = Lead.of(facts)
    if ahead is None:
        return None
    t, number = formats.t, formats.number
    forked = t(
        _(
            "{backend} has taken another command as number {mark} than the one that this journal has there: another "
            "copy of brique's data has been writing there. Nothing is sent until a person has looked."
        ),
        backend=label,
        mark=number(ahead.mark),
    )
    why = t(
        _(
            "{backend} has taken commands up to number {mark}, and this journal ended at {last} when that was noticed: "
            "another copy of brique's data, or a newer state of this one, has been writing there. Nothing is sent "
            "until a person has looked."
        ),
        backend=label,
        mark=number(ahead.mark),
        last=number(ahead.last),
    )
    what = t(
        _(
            "Stop the other copy first, or put the newer state back. To take over means: numbers up to {mark} count as "
            "used; what was entered since is sent; what waited before counts as applied where its rows show it, and "
            "otherwise comes to the outbox as unknown, for a person to decide."
        ),
        mark=number(ahead.mark),
    )
    title = t(_("{backend} is stopped"), backend=label)
    return StoppedLane(name, label, ahead.mark, ahead.last, title, forked if ahead.forked else why, what)


@dataclass(frozen=True)
class TakenOver:
    """That `by` took over a backend's lane at that moment."""

    label: str
    by: str
    at: datetime
    mark: int


def taken_over(parts: Parts, copy: Copy) -> list[TakenOver]:
    """Who has taken over which backends, for the audit."""
    found = []
    for name, spec in parts.backends.items():
        adopted = Adopted.of(copy.meta(adopted_of(name)))
        if adopted is not None:
            found.append(TakenOver(spec.label or name, adopted.by, unstamp(adopted.at), adopted.mark))
    return found


@dataclass(frozen=True)
class Journal:
    """What was found when the journal of commands was opened, when that is not as it should be."""

    lines: tuple[str, ...]


def journal_faults(copy: Copy | None) -> Journal | None:
    """None for a journal that is sound."""
    if copy is None or copy.meta("spool_sound") in (None, 1):
        return None
    return Journal(tuple(str(copy.meta("spool_recovery") or "").splitlines()))


class Lanes:
    """The answer to the button."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    async def adopt(self, request: Request) -> Response:
        """Take over the backend `backend` at `mark`, which is what the person has seen; back to the status page."""
        form = await request.form()
        backend, mark = str(form.get("backend", "")), str(form.get("mark", ""))
        if backend not in self.parts.backends or not mark.isascii() or not mark.isdigit() or len(mark) > 18:
            raise BadInput(_("There is no such backend."))
        await Clerk(self.parts.desk, source_of(request, "form")).adopt(user_of(request), backend, int(mark))
        response = RedirectResponse(at(request.scope, "/-/status"), 303)
        return set_flash(response, request, "adopted", backend=self.parts.backends[backend].label or backend)
