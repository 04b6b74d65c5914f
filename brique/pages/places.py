"""How the places are where views are kept for other programs: a part of the status page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from brique.pages.format import Formats
from brique.pages.parts import Parts
from brique.views import Copy


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


_HEALTH = {
    "live": (_("up to date"), "ok"),
    "slow": (_("slow"), "warn"),
    "down": (_("out of reach"), "bad"),
    "": (_("not asked yet"), ""),
}


@dataclass(frozen=True)
class PlaceLine:
    """One place: how many `keys` it has, how many are `due` there, and how long the oldest of them has waited."""

    name: str
    label: str
    state: str
    word: str
    kind: str
    since: datetime | None
    keys: int
    due: int
    behind_seconds: int
    faults: int
    note: str

    def as_json(self, *, is_admin: bool) -> dict[str, Any]:
        """For a program."""
        answer: dict[str, Any] = {
            "name": self.name,
            "state": self.state or "unknown",
            "since": self.since.isoformat() if self.since is not None else None,
            "keys": self.keys,
            "due": self.due,
            "behind_seconds": self.behind_seconds,
            "faults": self.faults,
        }
        return {**answer, "note": self.note} if is_admin else answer


def place_lines(parts: Parts, formats: Formats, copy: Copy | None, *, is_admin: bool) -> list[PlaceLine]:
    """A line for each place. What is wrong is for administrators: it names machines and accounts."""
    if copy is None:
        return []
    now = parts.clock.now()
    milliseconds = int(now.timestamp() * 1000)
    states, found = copy.backend_states(), []
    for name, label in parts.places.items():
        state, kept = states.get(name), copy.publications.state(name, milliseconds)
        known = state.state if state is not None else ""
        word, kind = _HEALTH.get(known, (known, ""))
        if known == "live" and kept.faults:
            word, kind = _("in part"), "warn"
        notes = []
        if state is not None and state.since is not None and known == "down":
            notes.append(formats.t(_("out of reach {since}"), since=formats.since(state.since, now)))
        if is_admin and state is not None:
            notes.append(state.last_error)
        if kept.faults:
            notes.append(formats.t(_("{n} cannot be made"), n=formats.number(kept.faults)))
            notes.append(kept.error if is_admin else "")
        found.append(
            PlaceLine(
                name=name,
                label=label,
                state=known,
                word=formats.t(word),
                kind=kind,
                since=state.since if state is not None else None,
                keys=kept.keys,
                due=kept.due,
                behind_seconds=max(0, milliseconds - kept.oldest_due) // 1000 if kept.oldest_due else 0,
                faults=kept.faults,
                note=", ".join(note.rstrip(".") for note in notes if note),
            )
        )
    return found
