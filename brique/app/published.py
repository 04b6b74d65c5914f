"""What is published, for the command line and the status page: how far each place has come, and whether it is right."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from brique.app.roles import ENGINE_SOCKET, engine_limits
from brique.app.run_file import read_run
from brique.backends import redact
from brique.channel import SyncChannel
from brique.clock import SystemClock
from brique.errors import NotFound
from brique.publish import Place, open_place
from brique.store import Publication, Reader
from brique.views import ANSWERS, Ready

_PAGE = 500
_LOOKS, _LOOK_SECONDS = 6, 0.5
What = Literal["missing", "differs", "extra", "fails"]


@dataclass(frozen=True)
class PlaceLine:
    """How one place is. `behind_seconds`: how long the oldest of what is due has waited."""

    name: str
    url: str
    state: str
    since: datetime | None
    keys: int
    due: int
    behind_seconds: float
    faults: int
    error: str
    views: dict[str, int] = field(default_factory=dict)


@dataclass
class Checked:
    """What a comparison has found: `right` keys, those still `due` here, and (key, what is wrong)."""

    right: int = 0
    due: int = 0
    wrong: list[tuple[str, What]] = field(default_factory=list)


class Publisher:
    """The published views of the data folder `data`; asks places and copy, writes through the engine alone."""

    def __init__(self, data: Path) -> None:
        run = read_run(data)
        self._settings = run.loaded()
        self._declared = run.intranet(kept=True).declared()
        self._reader = Reader(self._settings.data / "store.db", self._declared.specs)
        self._clock = SystemClock()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    @property
    def names(self) -> list[str]:
        """The places."""
        return list(self._declared.places)

    def lines(self) -> list[PlaceLine]:
        """A line for each place, of one state of the store."""
        now = int(self._clock.now().timestamp() * 1000)
        found = []
        with self._reader.snapshot() as reader:
            states = reader.backend_states()
            for name, spec in self._declared.places.items():
                kept, state = reader.publications.state(name, now), states.get(name)
                found.append(
                    PlaceLine(
                        name=name,
                        url=redact(spec.url),
                        state=state.state if state is not None else "",
                        since=state.since if state is not None else None,
                        keys=kept.keys,
                        due=kept.due,
                        behind_seconds=(now - kept.oldest_due) / 1000 if kept.oldest_due else 0.0,
                        faults=kept.faults,
                        error=(state.last_error if state is not None else "") or kept.error,
                        views=reader.publications.views_of(name),
                    )
                )
        return found

    def rebuild(self, place: str, view: str = "") -> int:
        """Have all of a place, or of one view there, compared and sent again; how many keys. Raises EngineAway."""
        channel = SyncChannel(self._settings.data / ENGINE_SOCKET, limits=engine_limits(self._settings))
        try:
            count: int = channel.call("rebuild", {"place": place, "view": view})["keys"]
            return count
        finally:
            channel.close()

    def check(self, name: str) -> Checked:
        """Compare a place with what the views make from nothing. What changes meanwhile is looked at again."""
        spec = self._declared.places.get(name)
        if spec is None:
            raise NotFound(f"There is no place {name}.", try_this="brique publish list", place=name)
        seconds = self._settings.backend_timeout_seconds
        place = open_place(name, spec.url, timeout=seconds, connect_timeout=self._settings.backend_connect_seconds)
        checked = Checked()
        with closing(place):
            known: set[str] = set()
            for lines in self._reader.publications.pages(name):
                known.update(line.key for line in lines)
                self._compare(place, lines, checked)
            for key, _ in place.inventory():
                if key not in known and not self._reader.publications.by_keys(name, [key]):
                    checked.wrong.append((key, "extra"))
        return checked

    def _compare(self, place: Place, lines: Sequence[Publication], checked: Checked) -> None:
        wrong, due = self._wrong(place, lines)
        for _ in range(_LOOKS):
            checked.right += len(lines) - len(wrong) - len(due)
            if not (wrong or due):
                return
            time.sleep(_LOOK_SECONDS)
            doubtful = sorted(wrong.keys() | due)
            lines = list(self._reader.publications.by_keys(lines[0].place, doubtful).values())
            if not lines:
                return
            wrong, due = self._wrong(place, lines)
        checked.right += len(lines) - len(wrong) - len(due)
        checked.due += len(due)
        checked.wrong += wrong.items()

    def _wrong(self, place: Place, lines: Sequence[Publication]) -> tuple[dict[str, What], set[str]]:
        """What is otherwise at the place than it should be, and what is due there."""
        there = place.get([line.key for line in lines])
        now = int(self._clock.now().timestamp() * 1000)
        wrong: dict[str, What] = {}
        due: set[str] = set()
        ready = self._ready()
        for line in lines:
            made = ready.get(self._reader, line.view, line.arguments, anew=True)
            found = there.get(line.key)
            is_absent = isinstance(made.fault, ANSWERS)
            if made.fault is not None and not is_absent:
                wrong[line.key] = "fails"
            elif (None if is_absent else made.body) == found:
                continue
            elif 0 < line.due <= now:
                due.add(line.key)
            else:
                wrong[line.key] = "missing" if found is None else "differs"
        return wrong, due

    def _ready(self) -> Ready:
        return Ready(
            self._declared.kept_views.values(),
            self._declared.specs,
            clock=self._clock,
            classes=self._declared.classes,
            timezone=self._declared.timezone,
            body_bytes_max=self._settings.publish_value_bytes_max,
        )
