"""The process of one place: puts there what is due, says how the place is.

A place that is down or frozen is tried with growing pauses, like a backend; what is due waits in the store meanwhile,
one line for each key. Nothing else depends on it.
"""

from __future__ import annotations

import logging
import os
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import msgspec

from brique.app.intranet import Declared
from brique.channel import Channel
from brique.clock import Clock, stamp
from brique.errors import BackendAway, BackendRefused, BriqueError, Busy, EngineAway, NoRoom
from brique.publish import Limits, Outgoing, Place, Sender, open_place
from brique.refresh import KNOCK_SECONDS, Breaker, Guard, Health, Knock
from brique.settings import Settings
from brique.store import Reader
from brique.views import Ready

log = logging.getLogger(__name__)
_IDLE_SECONDS = 1.0
_ENGINE_PAUSE_SECONDS = 0.25


class PlaceProcess:
    """The loop of place `name`. `give_up` ends the process when a driver does not come back; `place` stands in for the
    one at the declared address."""

    def __init__(
        self,
        declared: Declared,
        name: str,
        settings: Settings,
        clock: Clock,
        channel: Channel,
        *,
        give_up: Callable[[], None] = lambda: os._exit(75),
        place: Place | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.name, self.settings, self.clock, self.channel = name, settings, clock, channel
        url = declared.places[name].url
        self.seconds = settings.backend_timeout_seconds
        self.place = place or open_place(
            name, url, timeout=self.seconds, connect_timeout=settings.backend_connect_seconds
        )
        self.breaker = Breaker(
            clock, chance, pause_min_seconds=settings.probe_seconds_min, pause_max_seconds=settings.probe_seconds_max
        )
        self._chance = chance
        self.knock = Knock("" if place is not None else url)
        self.guard = Guard(
            clock,
            abort=self.place.abort,
            give_up=give_up,
            on_slow=lambda seconds: self._say(state=str(Health.SLOW), last_error=f"no answer for {seconds:.0f} s"),
            patience_seconds=self.seconds,
        )
        self.reader = Reader(settings.data / "store.db", declared.specs)
        self.sender = self._new_sender(declared)
        self._is_taken = False
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._told: dict[str, Any] = {}
        self._state = ""

    def _new_sender(self, declared: Declared) -> Sender:
        ready = Ready(
            declared.kept_views.values(),
            declared.specs,
            clock=self.clock,
            classes=declared.classes,
            timezone=declared.timezone,
            body_bytes_max=self.settings.publish_value_bytes_max,
        )
        return Sender(
            self.name,
            self.place,
            [one for one in declared.published.values() if self.name in one.places],
            specs=declared.specs,
            reader=self.reader,
            ready=ready,
            clock=self.clock,
            tell=self._tell,
            timed=self._timed,
            limits=Limits(self.settings.publish_keys_max, self.settings.publish_value_bytes_max),
        )

    def on_event(self, topic: str, payload: Mapping[str, Any]) -> None:
        """What the engine broadcasts; wakes the loop when something may be due."""
        if topic in ("changed", "connected") or (topic == "publish" and payload.get("place") == self.name):
            self._wake.set()

    def stop(self) -> None:
        """End the loop after the batch in progress."""
        self._stopped.set()
        self._wake.set()

    def run(self) -> None:
        """Loop until `stop`."""
        try:
            more = False
            while not self._stopped.is_set():
                self._wake.wait(0 if more else self._pause())
                self._wake.clear()
                more = not self._stopped.is_set() and self._turn()
        finally:
            self._stopped.set()
            with suppress(BriqueError):
                if self._is_taken:
                    self.sender.release()
            self.guard.stop()
            self.place.close()
            self.reader.close()

    def _pause(self) -> float:
        if self.breaker.health is not Health.DOWN:
            return _IDLE_SECONDS
        left = min(_IDLE_SECONDS, self.breaker.seconds_left())
        low, high = KNOCK_SECONDS
        return min(left, low + self._chance() * (high - low)) if self.knock.can else left

    def _turn(self) -> bool:
        """One round; whether there is more to do at once. What goes wrong with the place ends in the breaker."""
        if self.breaker.health is Health.DOWN and self.knock.has_opened():
            self.breaker.hurry()
        if not self.breaker.may_try():
            return False
        try:
            if not self._is_taken:
                with self._timed(calls=2):
                    self.sender.take()
                self._is_taken = True
                self._say(state=str(self.breaker.health), last_error="", next_try=None)
            more = self.sender.turn()
            if self._state == str(Health.SLOW) and self.breaker.health is Health.LIVE:
                self._say(state=str(Health.LIVE), last_error="")
            return more
        except (EngineAway, Busy, NoRoom) as fault:
            log.info("%s: the engine is away: %s", self.name, fault.message)
            self._stopped.wait(_ENGINE_PAUSE_SECONDS)
        except (BackendAway, BackendRefused) as fault:
            self._is_taken = False
            self._failed(fault)
        return False

    @contextmanager
    def _timed(self, calls: int = 1) -> Iterator[None]:
        started = self.clock.monotonic()
        with self.guard.call(self.seconds * calls):
            yield
        if self.breaker.succeeded(self.clock.monotonic() - started):
            self._say(state=str(self.breaker.health), last_error="")

    def _tell(self, outgoing: Outgoing) -> None:
        """Call the engine until it has noted it, also while it is away: it may be told twice."""
        payload = {"outgoing": msgspec.msgpack.encode(outgoing)}
        while True:
            try:
                self.channel.call("publish", payload)
                return
            except (EngineAway, Busy, NoRoom):
                if self._stopped.is_set():
                    raise
                self._stopped.wait(_ENGINE_PAUSE_SECONDS)

    def _failed(self, fault: BriqueError) -> None:
        if self.breaker.failed(fault.message):
            log.warning("%s is down: %s", self.name, fault.message)
        next_try = self.clock.now() + timedelta(seconds=self.breaker.seconds_left())
        self._say(state=str(Health.DOWN), last_error=fault.message, next_try=stamp(next_try))

    def _say(self, **fields: Any) -> None:
        """Tell the engine how the place is; what it knows already is not said again."""
        if fields == self._told:
            return
        state = fields["state"]
        if state != self._state:
            self._state = state
            fields["since"] = stamp(self.clock.now())
        try:
            self.channel.call("backend", {"name": self.name, "fields": fields})
            self._told = fields
        except BriqueError as fault:
            log.info("%s: could not tell the engine: %s", self.name, fault.message)
