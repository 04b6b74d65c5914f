"""The web side: gives ready bytes, and makes them when there are none.

Several threads may ask at once. Of those that miss the same representation one runs the view, the others take what it
made, provided that it was made on a store at least as new as the one that they saw when they asked: whoever has just
written sees his own write.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any

from brique.clock import Clock, stamp, unstamp
from brique.errors import (
    BadConfiguration,
    BriqueError,
    Busy,
    NotFound,
    TooMuch,
)
from brique.schema import TableSpec
from brique.store import Classes, Reader, Sign
from brique.store import Representation as Kept
from brique.views.claims import Claims
from brique.views.keeper import kept_name, watched_of
from brique.views.making import ANSWERS, BODY_BYTES_MAX, Maker, user_key
from brique.views.offer import Offer, identity
from brique.views.recorder import Recording
from brique.views.topic import Watched, mark_of
from brique.views.view import View, key_of

log = logging.getLogger("brique.views")
WAIT_SECONDS_MAX = 30.0
_LOOK_SECONDS, _LOOK_SECONDS_MAX = 0.002, 0.02
_FAILURE_SECONDS = 2.0
_FAILURES_MAX = 1000
_USED_MAX = 1000


class ViewFailed(BriqueError):
    """The function of a view raised, and there are no bytes of it to show instead."""

    code = "view-failed"


@dataclass(frozen=True, slots=True)
class Representation:
    """Ready bytes (JSON). `position`: of the store they were made on; they still hold now.

    `until`: they hold no longer than that, for they read the clock or may be behind for some seconds. `stale_error`:
    the view fails since; these are its last good bytes. `personal`: made for this user alone.
    """

    body: bytes
    etag: str
    position: int
    made_at: datetime
    until: datetime | None = None
    stale_error: str = ""
    personal: bool = False

    @property
    def mark(self) -> str:
        """A short sign of what is shown: other bytes, another one."""
        return mark_of(self.etag, good=not self.stale_error)


_Flight = Future[tuple[Representation, str]]
"""What is being made, and for whom."""


@dataclass(frozen=True, slots=True)
class _Failure:
    position: int
    monotonic: float
    fault: Exception


class Views:
    """The views of an intranet, as a web process serves them. Thread safe.

    `reader` gives the calling thread's own Reader; `offer` hands what was made to the engine and returns at once, with
    a future when it is not done by then. `claims` see to it that of all processes one makes it.
    """

    def __init__(
        self,
        views: Mapping[str, View],
        specs: Mapping[str, TableSpec],
        reader: Callable[[], Reader],
        *,
        clock: Clock,
        classes: Classes | None = None,
        offer: Callable[[Offer], Future[Any] | None] | None = None,
        claims: Claims | None = None,
        timezone: tzinfo = UTC,
        release: str = "",
        settings: Mapping[str, Any] | None = None,
        body_bytes_max: int = BODY_BYTES_MAX,
        wait_seconds_max: float = WAIT_SECONDS_MAX,
        twice: bool = False,
    ) -> None:
        self.by_name: dict[str, View] = dict(views)
        self._names = {view.name: kept_name(view, specs, release) for view in self.by_name.values()}
        self._maker = Maker(
            specs,
            clock=clock,
            classes=classes,
            timezone=timezone,
            body_bytes_max=body_bytes_max,
            twice=twice,
            settings=settings,
        )
        self._reader = reader
        self._clock = clock
        self._offer, self._claims = offer, claims
        self._here = threading.local()
        self._wait_seconds = wait_seconds_max
        self._lock = threading.Lock()
        self._flights: dict[tuple[str, str], _Flight] = {}
        self._personal: set[str] = set()
        """Views that were seen to ask who asks."""
        self._failures: OrderedDict[tuple[str, str], _Failure] = OrderedDict()
        self._used: dict[tuple[str, str], None] = {}
        self._warned: set[str] = set()

    def get(self, name: str, arguments: Mapping[str, Any] | None = None, user: Any = None) -> Representation:
        """The bytes of a view for some arguments (texts or values), as of now.

        `user` is what the view finds as `db.user`; whoever calls has checked that he may see the view.
        Raises NotFound (no such view, or the view says so), BadInput, ViewFailed, Busy when it takes too long.
        """
        view = self._view(name)
        key = key_of(view.arguments(arguments or {}))
        mine = identity(key, user_key(user))
        with self._reader().snapshot() as reader:
            found = self._find(reader, view, (key, mine))
            if found is not None:
                return found
            seen = reader.seq()
        return self._made(view, key, mine, user, seen)

    def kept(self, name: str, arguments: Mapping[str, Any] | None = None, user: Any = None) -> Representation | None:
        """The bytes that are ready, None when `get` would make them."""
        view = self._view(name)
        key = key_of(view.arguments(arguments or {}))
        with self._reader().snapshot() as reader:
            return self._find(reader, view, (key, identity(key, user_key(user))))

    def stands(self, name: str, arguments: Mapping[str, Any], user: Any, made: Representation) -> bool:
        """Whether `get` would give what it has `made` before. Short, as `kept`."""
        kept = self.kept(name, arguments, user)
        return kept is not None and (kept.etag, kept.position) == (made.etag, made.position) and not kept.stale_error

    def watched(self, name: str, arguments: Mapping[str, Any] | None = None, user: Any = None) -> Watched:
        """What a follower of this view for these arguments looks at. Raises NotFound, BadInput."""
        return watched_of(self._view(name), self._names[name], arguments or {}, user)

    def last_mark(self, watched: Watched) -> str | None:
        """The mark of what was made last, even if it holds no longer; None when nothing is there. Short."""
        found: Sign | None = None
        kept = self._reader().representations
        for key in (watched.key, identity(watched.key, watched.whose)):
            sign = kept.sign(watched.name, key)
            if sign is not None and (
                found is None or (not sign.absent, sign.made_at) > (not found.absent, found.made_at)
            ):
                found = sign
        return None if found is None else mark_of(found.etag, good=found.last_good)

    def make_ready(self, watched: Watched) -> None:
        """Make it if it is not ready, and tell the engine also when there is nothing to make."""
        view = self._view(watched.view)
        mine = identity(watched.key, watched.whose)
        with self._reader().snapshot() as reader:
            if self._find(reader, view, (watched.key, mine)) is not None:
                return
            seen = reader.seq()
        self._made(view, watched.key, mine, watched.user, seen)

    def _view(self, name: str) -> View:
        view = self.by_name.get(name)
        if view is None:
            raise NotFound(f"There is no view {name}.", view=name)
        return view

    # finding

    def _find(self, reader: Reader, view: View, keys: Iterable[str]) -> Representation | None:
        now = stamp(self._clock.now())
        for key in dict.fromkeys(keys):
            kept = reader.representations.get(self._names[view.name], key)
            if kept is not None and _holds(kept, now):
                self._note_use(kept)
                return _shown(kept)
        return None

    def _note_use(self, kept: Kept) -> None:
        if len(self._used) < _USED_MAX:
            self._used[(kept.name, kept.arguments)] = None

    def _take_used(self) -> tuple[tuple[str, str], ...]:
        used, self._used = self._used, {}
        return tuple(used)

    # making

    def _made(self, view: View, key: str, mine: str, user: Any, seen: int) -> Representation:
        """Make it, or take what another thread is making. What is not known to differ between users is made once."""
        refused: _Flight | None = None
        while True:
            flight = (view.name, mine if view.name in self._personal else key)
            with self._lock:
                running = self._flights.get(flight)
                if running is None or running is refused:
                    future: _Flight = Future()
                    self._flights[flight] = future
                    break
            found = self._taken(running, view, flight, mine, seen)
            if found is not None:
                return found
            refused = running
        self._here.handed = None
        try:
            result = self._claimed(view, key, mine, user, seen, flight)
        except BaseException as fault:
            self._land(flight, future)
            future.set_exception(fault)
            raise
        future.set_result((result, mine))
        handed: Future[Any] | None = self._here.handed
        if handed is None:
            self._land(flight, future)
        else:  # until the engine has it, who comes late finds it here
            handed.add_done_callback(lambda _: self._land(flight, future))
        return result

    def _taken(
        self,
        running: _Flight,
        view: View,
        flight: tuple[str, str],
        mine: str,
        seen: int,
    ) -> Representation | None:
        """What another thread makes; None when it was made before what was seen, or for somebody else."""
        try:
            made, whose = running.result(self._wait_seconds)
        except FutureTimeout:
            raise Busy(f"{view.label} takes too long; try again later.", view=view.name) from None
        except Exception:
            if self._is_ours(view, flight, mine) and self._failed_at(flight, seen):
                raise
            return None
        is_ours = not made.personal or whose == mine
        return made if is_ours and made.position >= seen else None

    def _is_ours(self, view: View, flight: tuple[str, str], mine: str) -> bool:
        """Whether what came of a flight concerns this user: it is his own, or nobody's in particular."""
        return flight[1] == mine or view.name not in self._personal

    def _claimed(
        self, view: View, key: str, mine: str, user: Any, seen: int, flight: tuple[str, str]
    ) -> Representation:
        """Make it, unless another process does: then wait for that."""
        if self._claims is None:
            return self._make(view, key, mine, user, seen, flight)
        claims, name = self._claims, f"{self._names[view.name]}\n{flight[1]}"
        until, pause = time.monotonic() + self._wait_seconds, _LOOK_SECONDS
        while not claims.take(name):
            if time.monotonic() > until:
                raise Busy(f"{view.label} takes too long; try again later.", view=view.name)
            time.sleep(pause)
            pause = min(2 * pause, _LOOK_SECONDS_MAX)
            with self._reader().snapshot() as reader:
                found = self._find(reader, view, (key, mine))
            if found is not None:
                return found
        try:
            return self._make(view, key, mine, user, seen, flight)
        finally:
            handed: Future[Any] | None = self._here.handed
            if handed is None:
                claims.release(name)
            else:  # once the engine has it, the others find it
                handed.add_done_callback(lambda _: claims.release(name))

    def _hand_over(self, offer: Offer) -> None:
        if self._offer is not None:
            self._here.handed = self._offer(offer)

    def _land(self, flight: tuple[str, str], future: _Flight) -> None:
        with self._lock:
            if self._flights.get(flight) is future:
                del self._flights[flight]

    def _failed_at(self, flight: tuple[str, str], seen: int) -> bool:
        failure = self._failures.get(flight)
        return failure is not None and failure.position >= seen

    def _make(self, view: View, key: str, mine: str, user: Any, seen: int, flight: tuple[str, str]) -> Representation:
        """Run the view on a snapshot, hand what it made to the engine, and give it."""
        failure = self._failures.get(flight)
        recent = failure is not None and self._clock.monotonic() - failure.monotonic < _FAILURE_SECONDS
        if failure is not None and failure.position >= seen and recent:
            return self._last_good(view, key, mine, failure.fault)
        recording = Recording()
        position = seen
        try:
            with self._reader().snapshot() as reader:
                position = reader.seq()
                body = self._maker.run(view, key, user, reader, recording)
        except ANSWERS:
            self._note_personal(view, recording)
            self._say_gone(view, mine if recording.is_personal else key, position, recording)
            raise
        except Exception as fault:
            self._note_personal(view, recording)
            self._note_failure((view.name, mine) if recording.is_personal else flight, position, fault)
            log.exception("view %s failed for %s", view.name, key, extra={"request": f"view {view.name} {key}"})
            return self._last_good(view, key, mine, fault, (position, recording))
        self._failures.pop(flight, None)
        self._note_personal(view, recording)
        return self._keep(view, key, user, body, position, recording)

    def _note_personal(self, view: View, recording: Recording) -> None:
        """Remember that what it makes, or says, is another for each user."""
        if recording.is_personal:
            self._personal.add(view.name)

    def _say_gone(self, view: View, arguments: str, position: int, recording: Recording) -> None:
        """Tell the engine that there is nothing, when that is where there was something."""
        name = self._names[view.name]
        if self._offer is not None and self._reader().representations.sign(name, arguments) is not None:
            notes = self._maker.notes(recording)
            now = stamp(self._clock.now())
            self._hand_over(Offer(name, arguments, b"", "", position, now, notes, gone=True))

    def _keep(
        self, view: View, key: str, user: Any, body: bytes, position: int, recording: Recording
    ) -> Representation:
        whole = recording.whole_tables
        if whole and view.fresh_seconds is None and view.name not in self._warned:
            self._warned.add(view.name)
            log.warning(
                "view %s reads all of %s: every change there makes it anew; fresh=... would bound that",
                view.name,
                ", ".join(whole),
            )
        used = self._take_used() if self._offer is not None else ()
        made = self._maker.offer(self._names[view.name], key, user, body, position, recording, used)
        self._hand_over(made)
        return Representation(
            body, made.etag, position, unstamp(made.made_at), recording.until, personal=recording.is_personal
        )

    # failing

    def _note_failure(self, flight: tuple[str, str], position: int, fault: Exception) -> None:
        with self._lock:
            self._failures[flight] = _Failure(position, self._clock.monotonic(), fault)
            self._failures.move_to_end(flight)
            while len(self._failures) > _FAILURES_MAX:
                self._failures.popitem(last=False)

    def _last_good(
        self, view: View, key: str, mine: str, fault: Exception, run: tuple[int, Recording] | None = None
    ) -> Representation:
        """The last good bytes, marked with `fault`; the engine is told of a `run` that failed just now. Raises
        ViewFailed when there are none."""
        error = f"{type(fault).__name__}: {fault}"[:500]
        found: Kept | None = None
        with self._reader().snapshot() as reader:
            for identified in dict.fromkeys((key, mine)):
                kept = reader.representations.get(self._names[view.name], identified)
                if kept is not None and (found is None or kept.made_at > found.made_at):
                    found = kept
        if found is None and isinstance(fault, (BadConfiguration, TooMuch)):
            raise type(fault)(fault.message, try_this=fault.try_this, **fault.facts) from fault
        if found is None:
            raise ViewFailed(f"View {view.name} failed: {error}", view=view.name) from fault
        if self._offer is not None and run is not None:
            notes, now = self._maker.notes(run[1]), stamp(self._clock.now())
            self._hand_over(Offer(found.name, found.arguments, b"", "", run[0], now, notes, error=error))
        return _shown(found, error)


def _holds(kept: Kept, now: str) -> bool:
    """Whether kept bytes still count: touched by no change, and within the time for which they were made."""
    if kept.dependencies is None or (kept.until is not None and kept.until <= now):
        return False
    return kept.since <= now


def _shown(kept: Kept, error: str = "") -> Representation:
    return Representation(
        kept.body,
        kept.etag,
        kept.position,
        datetime.fromisoformat(kept.made_at),
        datetime.fromisoformat(kept.until) if kept.until else None,
        error,
        bool(kept.user),
    )
