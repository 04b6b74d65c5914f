"""One follower, and what it follows together with others. No HTTP and no clock in it.

A follower has no queue. What changes while it does not take anything gathers in one set of topics, or in the mark that
it has not seen the latest state, so that a slow one costs a few words of memory and gets one event for many changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from brique.views import Pulse, Watched

_ID_CHARS_MAX = 1_000
HEARTBEAT = b": still here\n\n"


class Sink(Protocol):
    """Where a follower's events leave. Called on the loop, and never waits."""

    def ring(self) -> None:
        """There is something to take, or the follower has ended."""
        ...

    def cut(self) -> None:
        """It has taken nothing for too long: end it without waiting for what it has not read."""
        ...


@dataclass(frozen=True, slots=True)
class Probe:
    """Something more exact than a table to follow: there is news when `look()` answers otherwise than before.

    Looks of equal `name` are made once for all followers. `look` runs in the event loop: it must be short.
    """

    name: str
    look: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Pass:
    """The right to follow, asked again before each event. `session` names whose it is (a sign-in or a token), `role`
    what it needs; followers of the same two share the answer. `holds` must be short."""

    session: str
    role: str
    holds: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Reading:
    """What an address answers now: `etag` tells two answers apart; `body` is JSON, None when it is too long to send."""

    etag: str
    status: int = 200
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Last:
    """The id of the last event that a client has seen: a pulse of the store, and marks of the views that it follows, in
    the order of their topics."""

    pulse: Pulse | None
    marks: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Last:
        """What a client gives back; what is no such id knows nothing."""
        pulse, _, marks = text[:_ID_CHARS_MAX].partition("~")
        return cls(Pulse.parse(pulse), tuple(marks.split(",")) if marks else ())

    @staticmethod
    def text(pulse: str, marks: Iterable[str | None]) -> str:
        """The id for a client to come back with."""
        known = ",".join(mark or "" for mark in marks)
        return f"{pulse}~{known}" if known else pulse


@dataclass(eq=False, slots=True)
class Channel:
    """What some followers follow: `topics` (None: all), a probe and views; or an address, which `read` reads anew in a
    thread when one of them has changed, and which has news when its ETag is another one. `marks`: by topic, what the
    views show now, as far as is known."""

    key: object
    topics: frozenset[str] | None
    probe: Probe | None = None
    read: Callable[[], Reading | None] | None = None
    address: str = ""
    views: tuple[Watched, ...] = ()
    marks: dict[str, str | None] = field(default_factory=dict)
    probed: object = None
    reading: Reading | None = None
    followers: set[Follower] = field(default_factory=set)

    def concerns(self, changed: frozenset[str] | None) -> bool:
        """Whether a change of these topics (None: of anything) may be news here."""
        return changed is None or self.topics is None or not self.topics.isdisjoint(changed)


class Follower:
    """One stream of events. `Live` tells it of changes; its sink takes from it when it can."""

    __slots__ = ("_beat", "_missed", "_reset", "channel", "ended", "live", "rung_at", "seen", "sink", "who")

    def __init__(self, live: Announcer, channel: Channel, who: Pass | None, seen: str) -> None:
        self.live, self.channel, self.who = live, channel, who
        self.sink: Sink | None = None
        self.seen = bare(seen)
        self.ended = False
        self.rung_at: float | None = None
        self._missed: frozenset[str] | None = None
        self._reset = False
        self._beat = False

    def attach(self, sink: Sink) -> bytes:
        """Begin: events leave by `sink`. What a stream begins with."""
        self.sink = sink
        return self.live.greeting(self)

    def tell(self, changed: frozenset[str] | None, now: float) -> None:
        """Note what has changed (None: anything) of what it follows."""
        if changed is None:
            self._reset = True
        elif self._missed is None:
            self._missed = changed
        else:
            self._missed |= changed
        self._ring(now)

    def tell_read(self, now: float) -> None:
        """The address that it follows has been read anew."""
        if self.has_news:
            self._ring(now)

    def beat(self, now: float) -> None:
        """Show that the stream is alive, when nothing else is on its way."""
        self._beat = True
        self._ring(now)

    @property
    def has_news(self) -> bool:
        """Whether `take` has an event to give."""
        if self._reset or self._missed is not None:
            return True
        reading = self.channel.reading
        return reading is not None and bare(reading.etag) != self.seen

    def take(self) -> bytes:
        """What is to be sent now, b"" when nothing is. A follower whose right is gone ends here."""
        self.rung_at = None
        news, beat = self.has_news, self._beat
        if self.ended or not (news or beat):
            return b""
        self._beat = False
        if not self.live.may_go_on(self):
            self.end()
            return b""
        if not news:
            return HEARTBEAT
        reading = self.channel.reading
        if reading is not None and self.channel.read is not None:
            self._missed, self._reset, self.seen = None, False, bare(reading.etag)
            return self.live.read_event(self.channel, reading)
        missed, reset = self._missed or frozenset(), self._reset
        self._missed, self._reset = None, False
        return self.live.change_event(self.channel, missed, reset)

    def end(self) -> None:
        """Leave, and tell the sink so."""
        if not self.ended:
            self.leave()
            if self.sink is not None:
                self.sink.ring()

    def leave(self) -> None:
        """The client has gone: there is nobody to tell."""
        self.ended = True
        self.live.forget(self)

    def _ring(self, now: float) -> None:
        if self.ended or self.sink is None:
            return
        if self.rung_at is None:
            self.rung_at = now
            self.sink.ring()


class Announcer(Protocol):
    """What a follower asks of those who know."""

    def greeting(self, follower: Follower) -> bytes: ...
    def may_go_on(self, follower: Follower) -> bool: ...
    def change_event(self, channel: Channel, topics: frozenset[str], reset: bool) -> bytes: ...
    def read_event(self, channel: Channel, reading: Reading) -> bytes: ...
    def forget(self, follower: Follower) -> None: ...


def bare(etag: str) -> str:
    """An ETag without its quotes and its mark of weakness."""
    return etag.removeprefix("W/").strip('"')


def event(position: str, name: str, data: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (position.encode(), name.encode(), msgspec.json.encode(data))
