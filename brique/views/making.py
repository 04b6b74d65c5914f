"""Runs a view on one state of the store and packs what it made: the same for a web process and for the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime, tzinfo
from time import perf_counter_ns
from typing import Any

import msgspec

from brique.clock import Clock, stamp
from brique.errors import BadConfiguration, BadInput, NotAllowed, NotFound, Refused, Stale
from brique.schema import TableSpec
from brique.store import DEFAULTS, Classes, Db, Known, Reader
from brique.views.chance import CLOSE_SECONDS, FirstRuns, closely
from brique.views.differ import difference
from brique.views.encode import body_of, etag_of
from brique.views.guard import watched
from brique.views.notes import Bits, Note
from brique.views.offer import Offer, identity
from brique.views.recorder import Recording
from brique.views.view import View

BODY_BYTES_MAX = 16 * 1024**2
NO_STATE = "let it depend on nothing but db and its arguments: no cache or count in the module, no order of a set"
ANSWERS = (NotFound, NotAllowed, BadInput, Refused, Stale)
"""Faults that a view may raise on purpose: they are what it has to say."""


class Maker:
    """What views are run with. Thread safe."""

    def __init__(
        self,
        specs: Mapping[str, TableSpec],
        *,
        clock: Clock,
        classes: Classes | None = None,
        timezone: tzinfo = UTC,
        body_bytes_max: int = BODY_BYTES_MAX,
        twice: bool = False,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """`settings`: what views find as `db.settings`. `twice`: run each view two times and compare, and look at every
        run closely: for who develops."""
        self._specs = specs
        self.settings = DEFAULTS if settings is None else settings
        self.clock = clock
        self._classes = classes or {}
        self._timezone = timezone
        self._known: Known = {}
        self._bits = Bits(specs)
        self._body_bytes_max = body_bytes_max
        self._twice, self._first_runs = twice, FirstRuns()

    def run(self, view: View, key: str, user: Any, reader: Reader, recording: Recording) -> bytes:
        """The bytes of `view` for the arguments in `key`, as `reader` sees the data; what it read is in `recording`.

        Raises BadConfiguration when it reads what is not tracked; with `twice`, also when it answers in two ways.
        """
        moment = self.clock.now() if self._twice else None
        now = self.clock.now if moment is None else lambda: moment
        close = self._twice or self._first_runs.take(view.name)
        began = perf_counter_ns()
        try:
            with closely(view.name, None if self._twice else CLOSE_SECONDS) if close else nullcontext():
                body = self._run(view, key, user, reader, recording, now)
        except BadConfiguration:
            self._first_runs.again(view.name)
            raise
        finally:
            recording.took_us = (perf_counter_ns() - began) // 1000
        if self._twice:
            again = Recording()
            self._compare(view, body, self._run(view, key, user, reader, again, now), recording, again)
        return body

    def _compare(self, view: View, body: bytes, second: bytes, recording: Recording, again: Recording) -> None:
        differing, unread = difference(body, second), again.less_than(recording)
        if not differing and not unread:
            return
        said = f"gave two answers for the same data, arguments and time: {differing}"
        if not differing:
            said = f"asked less of {', '.join(unread)} the second time: it keeps an answer of its own"
        raise BadConfiguration(f"View {view.name} {said}.", try_this=NO_STATE, view=view.name)

    def _run(
        self, view: View, key: str, user: Any, reader: Reader, recording: Recording, now: Callable[[], datetime]
    ) -> bytes:
        db = Db(
            reader,
            self._specs,
            classes=self._classes,
            known=self._known,
            recorder=recording,
            now=now,
            timezone=self._timezone,
            user=user,
            keep_totals=True,
            settings=self.settings,
        )
        try:
            with watched(view.name):
                result = view.run(db, msgspec.json.decode(key))
                return body_of(
                    result,
                    dashboard=view.kind == "dashboard",
                    what=f"View {view.name}",
                    bytes_max=self._body_bytes_max,
                )
        finally:
            db.close()

    def notes(self, recording: Recording) -> tuple[Note, ...]:
        """What was read, as it is kept and compared."""
        return self._bits.notes(recording.asked)

    def offer(
        self,
        name: str,
        key: str,
        user: Any,
        body: bytes,
        position: int,
        recording: Recording,
        used: tuple[tuple[str, str], ...] = (),
    ) -> Offer:
        """What was made, with what it depends on; `name` is the one under which it is kept."""
        owner = user_key(user) if recording.is_personal else ""
        return Offer(
            view=name,
            arguments=identity(key, owner),
            body=body,
            etag=etag_of(body),
            position=position,
            made_at=stamp(self.clock.now()),
            notes=self.notes(recording),
            user=owner,
            since=stamp(recording.since) if recording.since else "",
            until=stamp(recording.until) if recording.until else "",
            used=used,
            cells=tuple((cell.spec, cell.totals) for cell in recording.cells),
            took_us=recording.took_us,
            settings=tuple(recording.settings.items()),
        )


def user_key(user: Any) -> str:
    """Whose representation it is: name, role and language, so that none of them shows what was made for another."""
    if user is None:
        return "-"
    if isinstance(user, str):
        return f"+{user}"
    parts = [str(getattr(user, name, "")) for name in ("name", "role", "language")]
    return "+" + "\x1f".join(parts)
