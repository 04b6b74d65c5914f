"""One look at the store for all followers of a process, and for each of them a stream of server-sent events.

A follower has no queue: what changes while it is not reading gathers in one set of topics and becomes one event, so a
slow one costs nothing. Each event has as its id the pulse of the store; a client that comes back with it (the
`Last-Event-ID` header) is told at once what has changed in between, or that everything may have (`reset`).

    id: 4711.9f2c….77ab…
    event: change
    data: {"seq": 4711, "topics": ["orders", "-outbox"]}
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Collection
from dataclasses import dataclass, field

import msgspec

from brique.errors import Busy, EngineAway
from brique.views import Copy, Pulse, pulse, topics_since

log = logging.getLogger("brique.live")
POLL_SECONDS = 0.2
HEARTBEAT_SECONDS = 15.0
FOLLOWERS_MAX = 10_000
_GAP_SECONDS_MIN = 0.05
_LOOK_ANYWAY_SECONDS = 1.0
_RETRY_MS = 2000


@dataclass(frozen=True)
class Probe:
    """Something more exact than a table to follow: an event comes when `look()` answers otherwise than before.

    Looks of equal `name` are made once for all followers. `look` runs in the event loop: it must be short.
    """

    name: str
    look: Callable[[], object]


@dataclass(eq=False)
class _Follower:
    topics: frozenset[str] | None
    probe: Probe | None
    probed: object = None
    waiting: set[str] = field(default_factory=set)
    reset: bool = False
    ended: bool = False
    bell: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, changed: frozenset[str] | None) -> None:
        """Note what has changed (None: anything) if this follower asked for it."""
        if changed is None:
            self.reset = True
        elif self.topics is None:
            self.waiting |= changed
        else:
            self.waiting |= changed & self.topics
        if self.reset or self.waiting:
            self.bell.set()


class Live:
    """The followers of one process. `reader` gives a Reader of the event loop's thread.

    The store is looked at while there are followers only: each `poll_seconds`, and at once after `wake`.
    """

    def __init__(
        self,
        reader: Callable[[], Copy],
        *,
        followers_max: int = FOLLOWERS_MAX,
        poll_seconds: float = POLL_SECONDS,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._reader = reader
        self._followers_max = followers_max
        self._poll_seconds = poll_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._followers: set[_Follower] = set()
        self._known = Pulse()
        self._version = -1
        self._looker: asyncio.Task[None] | None = None
        self._alarm: asyncio.Event | None = None
        self._closed = False

    @property
    def followers(self) -> int:
        """How many there are."""
        return len(self._followers)

    def wake(self) -> None:
        """Look now (the engine says that something has changed). To be called in the event loop's thread."""
        if self._alarm is not None:
            self._alarm.set()

    async def follow(
        self, topics: Collection[str] | None = None, *, last: str = "", probe: Probe | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Server-sent events about `topics` (table names, OUTBOX, STATUS; None: all), without end until `close`.

        `last`: the id of the last event that the client has seen, or the pulse its page was made at. With a `probe`,
        also when that answers otherwise. Raises Busy, before anything is given, when there are too many followers.
        """
        if self._closed or len(self._followers) >= self._followers_max:
            raise Busy("Too many pages follow changes here; this one does not.", followers=len(self._followers))
        follower = _Follower(None if topics is None else frozenset(topics), probe)
        self._followers.add(follower)
        try:
            self._begin(follower, last)
            yield f"retry: {_RETRY_MS}\nid: {self._known.text()}\n\n".encode()
            while not follower.ended:
                try:
                    await asyncio.wait_for(follower.bell.wait(), self._heartbeat_seconds)
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                if not follower.ended:
                    yield self._event(follower)
        finally:
            self._followers.discard(follower)
            self._rest()

    def close(self) -> None:
        """End all streams and the looking; followers that come later are refused."""
        self._closed = True
        for follower in self._followers:
            follower.ended = True
            follower.bell.set()
        if self._looker is not None:
            self._looker.cancel()

    # inside

    def _begin(self, follower: _Follower, last: str) -> None:
        """Start looking, and tell the follower what has changed since `last`."""
        if self._looker is None or self._looker.done():
            self._alarm = asyncio.Event()
            self._known = self._pulse() or self._known
            self._looker = asyncio.create_task(self._look_on())
        if follower.probe is not None:
            follower.probed = _answer(follower.probe)
        if last:
            seen = Pulse.parse(last)
            with contextlib.suppress(EngineAway):
                changed = None if seen is None else topics_since(self._reader(), seen, self._known)
                follower.tell(changed)

    def _rest(self) -> None:
        if not self._followers and self._looker is not None:
            self._looker.cancel()
            self._looker = None

    def _event(self, follower: _Follower) -> bytes:
        topics, reset = sorted(follower.waiting), follower.reset
        follower.waiting.clear()
        follower.reset = False
        follower.bell.clear()
        facts: dict[str, object] = {"seq": self._known.seq, "topics": topics}
        if reset:
            facts["reset"] = True
        data = msgspec.json.encode(facts).decode()
        return f"id: {self._known.text()}\nevent: change\ndata: {data}\n\n".encode()

    async def _look_on(self) -> None:
        loop = asyncio.get_running_loop()
        assert self._alarm is not None
        anyway = loop.time() + _LOOK_ANYWAY_SECONDS
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._alarm.wait(), self._poll_seconds)
            self._alarm.clear()
            overdue = loop.time() >= anyway
            if overdue:
                anyway = loop.time() + _LOOK_ANYWAY_SECONDS
            try:
                self._look(overdue=overdue)
            except Exception:  # the followers' streams must outlive a look that fails
                log.exception("looking for changes failed; trying again")
                await asyncio.sleep(_LOOK_ANYWAY_SECONDS)
            await asyncio.sleep(_GAP_SECONDS_MIN)

    def _look(self, *, overdue: bool) -> None:
        """Compare the store with the last look; tell the followers."""
        try:
            version = self._reader().data_version()
            if version == self._version and not overdue:
                return
            self._version = version
            now = pulse(self._reader())
            changed = topics_since(self._reader(), self._known, now)
        except EngineAway:
            return
        self._known = now
        if changed is None or changed:
            for follower in self._followers:
                follower.tell(changed)
        self._probe()

    def _probe(self) -> None:
        answers: dict[str, object] = {}
        for follower in self._followers:
            probe = follower.probe
            if probe is None:
                continue
            if probe.name not in answers:
                answers[probe.name] = _answer(probe)
            if answers[probe.name] != follower.probed:
                follower.probed = answers[probe.name]
                follower.waiting.add(probe.name)
                follower.bell.set()

    def _pulse(self) -> Pulse | None:
        try:
            return pulse(self._reader())
        except EngineAway:
            return None


def _answer(probe: Probe) -> object:
    try:
        return probe.look()
    except Exception:  # one page's probe must not stop the others'
        log.exception("probe %s failed", probe.name)
        return None
