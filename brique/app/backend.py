"""The process of one backend: replay its kept commands, refresh its tables, say how it is.

    woken by a command, or by the end of a pause
      └▶ down and pausing? wait │ ping │ replay what waits        (and beside it, in its own thread: refresh)

Everything that touches the backend goes through the guard, so that a backend that accepts and never answers counts
as down after its timeout; the breaker says when to try it again.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import random
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from brique.app.ahead import Ahead, Window
from brique.app.feeding import Feeding
from brique.app.intranet import Declared
from brique.app.refreshing import Refreshing
from brique.app.reporting import AtOnce, Reporting
from brique.backends import Backend, Rung, open_backend
from brique.channel import Channel
from brique.clock import Clock, stamp
from brique.commands import (
    Adopted,
    Claimed,
    FileNotes,
    Lead,
    MarkAhead,
    Parent,
    Replay,
    Report,
    Restart,
    Waiting,
    adopted_of,
    report_to_payload,
    report_without_rows,
)
from brique.errors import BackendAway, BackendRefused, BriqueError, Busy, EngineAway, NoRoom, TooMuch
from brique.refresh import KNOCK_SECONDS, Breaker, Guard, Health, Knock, Refresher
from brique.schema import Command, State
from brique.settings import Settings
from brique.spool import Ancestor
from brique.store import Reader

log = logging.getLogger(__name__)
_IDLE_SECONDS = 1.0
_ENGINE_PAUSE_SECONDS = 0.25
_REWIND_CHUNK = 5_000
_IN_DOUBT_MAX = 100_000
"""Commands looked at when marks are brought in line: more than ever are on their way at once."""
WINDOW = 10
"""Batches that are read and claimed at a time where a mark tells what has arrived."""


class BackendProcess:
    """The loop of backend `name`. `give_up` ends the process when a driver does not come back; `allowed` says why a
    command's author may no longer give it; `backend` stands in for the one at the declared address; `beside`: reports
    travel in a thread of their own."""

    def __init__(
        self,
        declared: Declared,
        name: str,
        settings: Settings,
        clock: Clock,
        channel: Channel,
        *,
        give_up: Callable[[], None] = lambda: os._exit(75),
        allowed: Callable[[Command], str] = lambda _: "",
        backend: Backend | None = None,
        chance: Callable[[], float] = random.random,
        beside: bool = True,
    ) -> None:
        self.name, self.settings, self.clock, self.channel = name, settings, clock, channel
        self.spec = declared.backends[name]
        self.specs = declared.of_backend(name)
        self.allowed = allowed
        self.seconds = float(self.spec.options.get("timeout_seconds", settings.backend_timeout_seconds))
        self.backend: Backend = backend or open_backend(
            name, self.spec.url, timeout=self.seconds, connect_timeout=settings.backend_connect_seconds,
            options=self.spec.options, tables=tuple(self.specs.values()), data=settings.data, must_exist=False,
        )  # fmt: skip
        self.breaker = Breaker(
            clock,
            chance,
            pause_min_seconds=settings.probe_seconds_min,
            pause_max_seconds=settings.probe_seconds_max,
        )
        self._give_up = give_up
        self.guard = self._new_guard()
        self.reader = Reader(settings.data / "store.db", declared.specs)
        self._chance = chance
        self.knock = Knock("" if backend is not None else self.spec.url)
        self.replay: Replay | None = None
        self.notes = FileNotes(settings.data / f"replay-{name}.db")
        self.reports: Reporting | AtOnce = Reporting(self._tell, name=name) if beside else AtOnce(self._tell)
        self.ahead_reader = Reader(settings.data / "store.db", declared.specs)
        self.ahead = Ahead(self._window, self._claimed, name=name)
        self._is_begun = False
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._saying = threading.Lock()
        self._told: dict[str, Any] = {}
        self._state = ""
        self.refreshing = self._new_refreshing(declared)
        self.feeding = Feeding(
            self.backend, tuple(self.specs.values()), stopped=self._stopped, told=self.refreshing.touched,
            missed=self.refreshing.now, is_live=lambda: self._is_begun and self.breaker.health is not Health.DOWN,
        )  # fmt: skip

    def _new_guard(self) -> Guard:
        return Guard(
            self.clock,
            abort=self.backend.abort,
            give_up=self._give_up,
            on_slow=lambda seconds: self._say(state=str(Health.SLOW), last_error=f"no answer for {seconds:.0f} s"),
            patience_seconds=self.seconds,
        )

    def _new_refreshing(self, declared: Declared) -> Refreshing:
        refresher = Refresher(
            self.backend,
            self.specs,
            reader=Reader(self.settings.data / "store.db", declared.specs),
            folder=_stage_folder(self.settings.data, self.name),
            send=self.channel.call,
            guard=self._new_guard(),
            clock=self.clock,
            read_seconds=self.seconds,
            stopping=self._stopped.is_set,
            has_room=self._has_room,
        )
        return Refreshing(
            refresher,
            pause_seconds=self.spec.refresh_seconds,
            clock=self.clock,
            stopped=self._stopped,
            is_live=lambda: self.breaker.health is not Health.DOWN,
            has_room=self._has_room,
            failed=self._failed,
            name=self.name,
        )

    def _has_room(self) -> bool:
        """Whether the copy may grow."""
        return shutil.disk_usage(self.settings.data).free >= self.settings.free_disk_bytes_min

    def on_event(self, topic: str, payload: Mapping[str, Any]) -> None:
        """What the engine broadcasts; wakes the loop when it is about this backend."""
        if (topic == "commands" and payload.get("backend") == self.name) or topic == "connected":
            self._wake.set()
        elif topic == "adopted" and payload.get("backend") == self.name:
            self.breaker.hurry()
            self._wake.set()
        elif topic == "refresh" and payload.get("backend") in (self.name, ""):
            self.refreshing.now()

    def stop(self) -> None:
        """End the loop after the transaction in progress."""
        self._stopped.set()
        self._wake.set()

    def run(self) -> None:
        """Loop until `stop`."""
        self.refreshing.start()
        if self.spec.options.get("feed"):
            self.feeding.start()
        try:
            while not self._stopped.is_set():
                self._wake.wait(self._pause())
                self._wake.clear()
                if not self._stopped.is_set():
                    self._turn()
        finally:
            self._stopped.set()
            self.feeding.join()
            self.refreshing.join()
            self.refreshing.refresher.close()
            self.guard.stop()
            self.ahead.stop()
            self.reports.stop()
            self.notes.close()
            self.ahead_reader.close()
            self.backend.close()
            self.reader.close()

    def _pause(self) -> float:
        if self.breaker.health is not Health.DOWN:
            return _IDLE_SECONDS
        left = min(_IDLE_SECONDS, self.breaker.seconds_left())
        low, high = KNOCK_SECONDS
        return min(left, low + self._chance() * (high - low)) if self.knock.can else left

    def _turn(self) -> None:
        """One round; whatever goes wrong with the backend ends in the breaker, with the engine in a short pause."""
        if self.breaker.health is Health.DOWN and self.knock.has_opened():
            self.breaker.hurry()
        if not self.breaker.may_try():
            return
        try:
            if self.breaker.health is Health.DOWN or not self._is_begun:
                self._is_begun = False
                self._probe()
                self._is_begun = True
            self._replay()
            self._no_longer_slow()
        except (BackendAway, BackendRefused) as fault:
            if isinstance(fault, BackendRefused):
                self.replay = None
            self._failed(fault)
        except MarkAhead as fault:
            self.replay = None
            self._failed(fault, ahead=fault.facts)
        except (EngineAway, Busy, NoRoom) as fault:
            log.info("%s: the engine is away: %s", self.name, fault.message)
            self._stopped.wait(_ENGINE_PAUSE_SECONDS)

    def _no_longer_slow(self) -> None:
        """What was told to be slow while it lasted is over, and was no fault."""
        is_slow = self.guard.is_slow or self.refreshing.refresher.guard.is_slow
        if self._state == str(Health.SLOW) and self.breaker.health is Health.LIVE and not is_slow:
            self._say(state=str(Health.LIVE), last_error="")

    def _probe(self) -> None:
        with self._timed(self.settings.backend_connect_seconds + self.seconds):
            self.backend.ping(self.settings.backend_connect_seconds)
        if self.replay is None:
            self.replay = self._new_replay()
        with self.guard.call(self.seconds):
            Restart(self.replay).rewind(self._applied_after, self._state_of, self._receipt_at)
        self._say(state=str(self.breaker.health), last_error="", next_try=None)
        self.refreshing.now()

    def _new_replay(self) -> Replay:
        """Find out which rung the backend allows, and bring its mark in line when that was another one before."""
        with self.guard.call(self.seconds):
            prepared = self.backend.prepare(self.spec.marker)
        replay = Replay(
            self.backend,
            self.specs,
            stream=str(self.reader.meta("stream")),
            rung=prepared.rung,
            report=self._report,
            later=self._report_later,
            real_key=self.reader.real_key,
            claims=self,
            allowed=self.allowed,
            parents=self._parent,
            transactions=prepared.abilities.transactions,
            notes=self.notes,
            batch_max=self.settings.replay_batch_max,
            alive=self.guard.touch,
            monotonic=self.clock.monotonic,
            chance=self._chance,
        )
        self._begin(replay)
        fields = {"rung": str(prepared.rung), "rung_reason": prepared.reason, "abilities": asdict(prepared.abilities)}
        self._insist("backend", {"name": self.name, "fields": fields})
        return replay

    def _begin(self, replay: Replay) -> None:
        self.reports.flush()
        with self.reader.snapshot():
            known = self.reader.backend_states().get(self.name)
            shown, waiting = self.reader.spool_position(), self._waiting(_IN_DOUBT_MAX)
            ancestors = json.loads(str(self.reader.meta("stream_ancestors") or "[]"))
            adopted = Adopted.of(self.reader.meta(adopted_of(self.name)))
        ahead = None if known is None else Lead.of(known.facts)
        was_marked = known is not None and known.rung == str(Rung.WATERMARK)
        with self.guard.call(self.seconds + 0.01 * len(waiting)):
            Restart(replay).begin(
                waiting,
                shown=shown,
                was_marked=was_marked,
                ancestors=[Ancestor(name, last) for name, last in ancestors],
                ahead=ahead,
                adopted=0 if adopted is None else adopted.mark,
                applied_after=self._applied_after,
                receipt_at=self._receipt_at,
            )
        if ahead is not None:
            self._insist("backend", {"name": self.name, "fields": {"ahead": None}})

    def _waiting(self, limit: int, after: int = 0) -> list[Waiting]:
        """What waits for this backend past position `after`, oldest first."""
        return list(itertools.starmap(Waiting, self.reader.to_send(self.name, limit, after)))

    def _applied_after(self, position: int) -> list[int]:
        return [item.position for item in self.reader.applied_for(self.name, _REWIND_CHUNK, position)]

    def _state_of(self, position: int) -> State | None:
        found = self.reader.command(position)
        return None if found is None else found.state

    def _receipt_at(self, position: int) -> str | None:
        """Of the command that the spool has there; "" when that is no command, None when nothing is there."""
        with self.guard.pause():
            found = self._keep_calling("receipt", {"position": position})["receipt"]
        return None if found is None else str(found)

    def _parent(self, receipt: str) -> Parent | None:
        """What became of a command, whatever backend it goes to."""
        found = self.reader.command(receipt)
        return None if found is None else Parent(found.state, found.command.label or found.command.name, found.reason)

    @contextmanager
    def _timed(self, seconds: float) -> Iterator[None]:
        """A guarded call whose duration tells the health."""
        started = self.clock.monotonic()
        with self.guard.call(seconds):
            yield
        if self.breaker.succeeded(self.clock.monotonic() - started):
            self._say(state=str(self.breaker.health), last_error="")

    def _replay(self) -> None:
        """Send all that may be sent, a window at a time; the next windows are read and claimed meanwhile."""
        assert self.replay is not None
        self.reports.flush()
        seconds = self.settings.backend_timeout_seconds + 0.01 * self.settings.replay_batch_max
        windows, first = self.ahead.windows(), True
        try:
            for window in windows:
                with self._timed(seconds):
                    self.replay.run(window.waiting, claimed=window.claimed, goes_on=not first)
                first = False
                if self._stopped.is_set():
                    break
        finally:
            left = [position for position, state in self.ahead.drop().items() if state is State.KEPT]
            self.reports.flush()
            if left:
                self.release(left, "", for_good=False)

    def _window(self, after: int) -> Window:
        """The next window, in the thread that reads ahead."""
        waiting = list(itertools.starmap(Waiting, self.ahead_reader.to_send(self.name, self._window_size(), after)))
        return Window(waiting, {}, waiting[-1].position if waiting else 0)

    def _window_size(self) -> int:
        assert self.replay is not None
        return self.settings.replay_batch_max * (WINDOW if self.replay.rung is Rung.WATERMARK else 1)

    def _claimed(self, window: Window) -> Window:
        """`window`, claimed when it is full, so that there is a backlog, and a mark tells what has arrived. In the
        thread that claims ahead."""
        assert self.replay is not None
        if self.replay.rung is not Rung.WATERMARK or len(window.waiting) < self._window_size():
            return window
        positions = [item.position for item in window.waiting]
        claimed = Claimed.from_payload(self.channel.call("claim", {"positions": positions, "for_good": False})).states
        if len(claimed) < len(positions):
            return Window([item for item in window.waiting if item.position in claimed], claimed, window.last)
        return Window(window.waiting, claimed, window.last)

    def _failed(self, fault: BriqueError, **fields: Any) -> None:
        changed = self.breaker.failed(fault.message)
        if changed:
            log.warning("%s is down: %s", self.name, fault.message)
        next_try = self.clock.now() + timedelta(seconds=self.breaker.seconds_left())
        self._say(state=str(Health.DOWN), last_error=fault.message, next_try=stamp(next_try), **fields)

    def _say(self, **fields: Any) -> None:
        """Tell the engine how the backend is; what it knows already is not said again."""
        if fields == self._told:
            return
        state = fields.get("state", self._state)
        if state != self._state:
            self._state = state
            fields["since"] = stamp(self.clock.now())
        try:
            with self._saying:
                self.channel.call("backend", {"name": self.name, "fields": fields})
                self._told = fields
        except BriqueError as fault:
            log.info("%s: could not tell the engine: %s", self.name, fault.message)

    def claim(self, waiting: Sequence[tuple[int, State]], *, for_good: bool) -> dict[int, State]:
        """Have the engine say what of `waiting` may be sent."""
        payload = {"positions": [position for position, _ in waiting], "for_good": for_good}
        with self.guard.pause():
            answer = self.channel.call("claim", payload)
        return Claimed.from_payload(answer).states

    def release(self, positions: Sequence[int], reason: str, *, for_good: bool) -> None:
        """Give back what was claimed and has not arrived."""
        self._insist("release", {"positions": list(positions), "reason": reason, "for_good": for_good})

    def tried(self, position: int, reason: str, *, seconds: float) -> None:
        """A try of this command alone has failed; the next one comes in `seconds`."""
        next_try = stamp(self.clock.now() + timedelta(seconds=seconds))
        payload = {"positions": [position], "reason": reason, "for_good": False, "tried": True, "next_try": next_try}
        self._insist("release", payload)

    def _report(self, report: Report) -> None:
        """Hand a report over and wait until it is kept: nothing else may be sent before that is known here."""
        with self.guard.pause():
            self.reports.now(report)

    def _report_later(self, report: Report) -> None:
        """Hand over a report that the backend's mark stands for until it is kept."""
        with self.guard.pause():
            self.reports.later(report)

    def _tell(self, report: Report) -> None:
        try:
            self._keep_calling("report", report_to_payload(report))
        except TooMuch as fault:  # a row of so many bytes; asked for again and again it would stop all that waits
            log.warning("%s: %s", self.name, fault.message)
            self._keep_calling("report", report_to_payload(report_without_rows(report)))
            self.refreshing.now()

    def _insist(self, method: str, payload: dict[str, Any]) -> None:
        """Call the engine until it has taken it in; the backend's call in progress does not pay for that time."""
        with self.guard.pause():
            self._keep_calling(method, payload)

    def _keep_calling(self, method: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Call the engine until it has taken it in, also while it is away or has no room; its answer."""
        while True:
            try:
                return self.channel.call(method, payload)
            except (EngineAway, Busy, NoRoom):
                if self._stopped.is_set():
                    raise
                self._stopped.wait(_ENGINE_PAUSE_SECONDS)


def _stage_folder(data: Path, name: str) -> Path:
    """Where this backend's stage files are; what a crash left there is removed."""
    folder = data / "stage" / name
    for made in (folder.parent, folder):
        made.mkdir(mode=0o700, parents=True, exist_ok=True)
        made.chmod(0o700)
    for file in folder.iterdir():
        file.unlink()
    return folder
