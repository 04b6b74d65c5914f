"""One look at the store for all followers of a process; each of them gets a stream of server-sent events.

Followers of the same thing share a channel, so that what is told is made once. A follower of topics is told which of
them changed; its events carry the pulse of the store as their id, and a client that comes back with it (the
`Last-Event-ID` header) is told at once what has changed in between, or that everything may have (`reset`).

    id: 4711.9f2c….77ab…
    event: change
    data: {"seq": 4711, "topics": ["orders", "-outbox"]}

Of views, its events carry marks of what they show now, which are a part of the id: who comes back is told when he has
something else, however long ago that was.

    id: 4711.9f2c….77ab…~5e0c81f2
    event: change
    data: {"seq": 4711, "topics": ["view:today"], "marks": {"view:today": "5e0c81f2"}}

A follower of an address gets its new ETag, and the answer when that is short; the ETag is a part of the id.

    id: 4711.9f2c….77ab…~5d41402abc4b
    event: change
    data: {"seq": 4711, "etag": "\\"5d41402abc4b\\"", "status": 200, "body": {"number": 7}}
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Collection, Sequence

import msgspec

from brique.errors import Busy, EngineAway
from brique.live.follower import Channel, Follower, Last, Pass, Probe, Reading, bare, event
from brique.live.heart import BEATS_A_ROUND, Heart
from brique.live.limits import LiveLimits
from brique.live.reading import Readings
from brique.live.watches import Watches
from brique.views import DOUBT, Copy, Item, Pulse, Watched, pulse, topics_since

log = logging.getLogger("brique.live")
_GAP_SECONDS_MIN = 0.05
_LOOK_ANYWAY_SECONDS = 1.0
_RETRY_MS = 2000
VIEWS_MAX = 20
"""So many views can be followed in one stream."""


class Live:
    """The followers of one process. `reader` gives a Reader of the event loop's thread.

    The store is looked at while there are followers only: each `poll_seconds`, and at once after `wake`. Of views the
    engine says when they have become something else, because to know that they have to be made: it is told by `watches`
    which ones are followed, and `last_mark` says what a view has shown last.
    """

    def __init__(
        self,
        reader: Callable[[], Copy],
        limits: LiveLimits | None = None,
        *,
        watches: Watches | None = None,
        last_mark: Callable[[Watched], str | None] = lambda _: None,
    ) -> None:
        self._reader = reader
        self.limits = limits or LiveLimits()
        self._watches, self._last_mark = watches, last_mark
        self._followers: set[Follower] = set()
        self._channels: dict[object, Channel] = {}
        self._passes: dict[tuple[str, str], tuple[Pass, int]] = {}
        self._sessions: Counter[str] = Counter()
        self._rights: dict[tuple[str, str], bool] = {}
        self._known = Pulse()
        self._version = -1
        self._news: list[tuple[str, str, str]] = []
        self._looker: asyncio.Task[None] | None = None
        self._alarm: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._readings = Readings(self._was_read)
        self._heart = Heart(self._followers, self.limits)
        self._last_event: tuple[object, bytes] = (None, b"")
        self._closed = False

    @property
    def followers(self) -> int:
        """How many there are."""
        return len(self._followers)

    # what the engine says, from any thread

    def wake(self) -> None:
        """Look now: something has changed."""
        self._soon(self._ring_alarm)

    def news(self, news: Sequence[tuple[str, str, str]]) -> None:
        """These views have become something else: (name, identity, mark) of each."""
        self._soon(lambda: self._note_news(news))

    def renew(self) -> None:
        """The engine may be another one."""
        if self._watches is not None:
            self._soon(self._watches.renew)

    def wanted(self, wanted: Sequence[tuple[str, Item]], make: Callable[[Watched], object]) -> None:
        """The engine wants these to be made, each by one process: `make` those that it asks of us."""
        watches = self._watches

        def take() -> None:
            for watched in watches.wanted(wanted) if watches is not None else ():
                make(watched)

        self._soon(take)

    def _soon(self, act: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(act)

    def _note_news(self, news: Sequence[tuple[str, str, str]]) -> None:
        """To be told with the next look, which is now: so that the tables' news make one event with it."""
        self._news += news
        self._ring_alarm()

    def _ring_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.set()

    # following

    def join(
        self,
        topics: Collection[str] | None = None,
        *,
        views: Sequence[Watched] = (),
        probe: Probe | None = None,
        read: Callable[[], Reading | None] | None = None,
        address: str = "",
        last: str = "",
        seen: str = "",
        who: Pass | None = None,
    ) -> Follower:
        """A follower of `topics` (table names, OUTBOX, STATUS; None: all), of views, and of what `probe` answers. It
        gets events once it has a sink, until it ends or leaves. Raises Busy when there are too many.

        Args:
            read: follow what this answers instead, read anew in a thread whenever topics or probe have changed;
                followers with the same `address`, which names who reads it too where the answer depends on that,
                share what it answers.
            last: the id of the last event that the client has seen, or the pulse that its page was made at, with the
                marks of the views that it shows.
            seen: the ETag of the answer that the client has, when it follows an address.
            who: the right to follow.
        """
        self._admit(who, len(views))
        names = None if topics is None else frozenset(topics)
        items = frozenset(watched.item for watched in views)
        key: object = ("read", address) if read is not None else (names, probe.name if probe else "", items)
        self._begin()
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = Channel(key, names, probe, read, address)
            channel.probed = None if probe is None else _answer(probe)
            self._watch(channel, views)
        follower = Follower(self, channel, self._shared(who), seen or _etag_in(last))
        channel.followers.add(follower)
        self._followers.add(follower)
        if read is not None:
            self._readings.want(channel)
        elif last:
            self._catch_up(follower, last)
        return follower

    def greeting(self, follower: Follower) -> bytes:
        """What a stream begins with: when to come back, and where it stands."""
        if follower.channel.read is not None:
            return f"retry: {_RETRY_MS}\n\n".encode()
        position = Last.text(self._known.text(), follower.channel.marks.values())
        return f"retry: {_RETRY_MS}\nid: {position}\n\n".encode()

    def close(self) -> None:
        """End all streams and the looking; followers that come later are refused."""
        self._closed = True
        for follower in list(self._followers):
            follower.end()
        self._rest()
        if self._watches is not None:
            self._watches.close()

    # what followers ask

    def may_go_on(self, follower: Follower) -> bool:
        """Whether its right still holds; asked once for all followers of a session that are told at the same time."""
        who = follower.who
        if who is None:
            return True
        key = (who.session, who.role)
        known = self._rights.get(key)
        if known is None:
            if not self._rights:
                asyncio.get_running_loop().call_soon(self._rights.clear)
            known = self._rights[key] = _holds(who)
        return known

    def change_event(self, channel: Channel, topics: frozenset[str], reset: bool) -> bytes:
        """The event of these topics; made once for those who are told the same."""
        shown = tuple(channel.marks.items())
        key = (topics, reset, self._known, shown)
        if self._last_event[0] != key:
            facts: dict[str, object] = {"seq": self._known.seq, "topics": sorted(topics)}
            if marks := {topic: mark or "" for topic, mark in shown if topic in topics}:
                facts["marks"] = marks
            if reset:
                facts["reset"] = True
            position = Last.text(self._known.text(), channel.marks.values())
            self._last_event = key, event(position, "change", facts)
        return self._last_event[1]

    def read_event(self, channel: Channel, reading: Reading) -> bytes:
        """The event of an address that answers otherwise now."""
        key = (id(channel), reading.etag, self._known)
        if self._last_event[0] != key:
            facts: dict[str, object] = {"seq": self._known.seq, "etag": reading.etag, "status": reading.status}
            if reading.body is not None:
                facts["body"] = msgspec.Raw(reading.body)
            self._last_event = key, event(f"{self._known.text()}~{bare(reading.etag)}", "change", facts)
        return self._last_event[1]

    def forget(self, follower: Follower) -> None:
        """It has left."""
        if follower not in self._followers:
            return
        self._followers.discard(follower)
        channel = follower.channel
        channel.followers.discard(follower)
        if not channel.followers:
            del self._channels[channel.key]
            if self._watches is not None:
                self._watches.remove(channel)
        if follower.who is not None:
            self._release(follower.who)
        if not self._followers:
            self._rest()

    # joining

    def _watch(self, channel: Channel, views: Sequence[Watched]) -> None:
        """Have the engine watch these for the channel."""
        if not views or self._watches is None:
            return
        channel.views = tuple(sorted(views, key=lambda watched: watched.topic))
        channel.marks = dict.fromkeys(watched.topic for watched in channel.views)
        with contextlib.suppress(EngineAway):
            channel.marks.update((watched.topic, self._last_mark(watched)) for watched in channel.views)
        self._watches.add(channel)

    def _admit(self, who: Pass | None, views: int) -> None:
        here = len(self._followers)
        if views > (0 if self._watches is None else VIEWS_MAX):
            raise Busy("So many views cannot be followed at once.", views=views)
        if self._closed or here >= self.limits.followers_max:
            raise Busy("Too many pages follow changes here; this one does not.", followers=here)
        yours = self._sessions[who.session] if who is not None else 0
        if yours >= self.limits.session_followers_max:
            raise Busy("Too many pages of yours follow changes; this one does not.", followers=yours)

    def _shared(self, who: Pass | None) -> Pass | None:
        """The pass of the same session and role that is here already, or this one."""
        if who is None:
            return None
        key = (who.session, who.role)
        shared, count = self._passes.get(key, (who, 0))
        self._passes[key] = shared, count + 1
        self._sessions[who.session] += 1
        return shared

    def _release(self, who: Pass) -> None:
        key = (who.session, who.role)
        shared, count = self._passes[key]
        if count > 1:
            self._passes[key] = shared, count - 1
        else:
            del self._passes[key]
        self._sessions[who.session] -= 1
        if not self._sessions[who.session]:
            del self._sessions[who.session]

    def _begin(self) -> None:
        """Start looking."""
        self._loop = asyncio.get_running_loop()
        if self._looker is None or self._looker.done():
            self._alarm = asyncio.Event()
            self._known = self._pulse() or self._known
            self._looker = asyncio.create_task(self._look_on())

    def _catch_up(self, follower: Follower, last: str) -> None:
        """Tell a follower what has changed since `last`."""
        seen, now = Last.parse(last), asyncio.get_running_loop().time()
        marks = follower.channel.marks
        has = dict(zip(marks, seen.marks, strict=True)) if len(seen.marks) == len(marks) else dict.fromkeys(marks)
        differ = frozenset(topic for topic, mark in marks.items() if mark is not None and mark != has[topic])
        if differ:
            follower.tell(differ, now)
        with contextlib.suppress(EngineAway):
            changed = None if seen.pulse is None else topics_since(self._reader(), seen.pulse, self._known)
            _tell(follower, changed, now)

    def _rest(self) -> None:
        if self._looker is not None:
            self._looker.cancel()
            self._looker = None
        self._heart.rest()
        self._readings.stop()

    # looking

    async def _look_on(self) -> None:
        loop = asyncio.get_running_loop()
        assert self._alarm is not None
        anyway = loop.time() + _LOOK_ANYWAY_SECONDS
        self._heart.begin(loop.time())
        pause = min(self.limits.poll_seconds, self.limits.heartbeat_seconds / BEATS_A_ROUND)
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._alarm.wait(), pause)
            self._alarm.clear()
            overdue = loop.time() >= anyway
            if overdue:
                anyway = loop.time() + _LOOK_ANYWAY_SECONDS
            try:
                self._look(loop.time(), overdue=overdue)
                self._tell_views(loop.time())
                self._heart.beat(loop.time())
            except Exception:  # the followers' streams must outlive a look that fails
                log.exception("looking for changes failed; trying again")
                await asyncio.sleep(_LOOK_ANYWAY_SECONDS)
            await asyncio.sleep(_GAP_SECONDS_MIN)

    def _look(self, now: float, *, overdue: bool) -> None:
        """Compare the store with the last look; tell the followers."""
        try:
            version = self._reader().data_version()
            if version == self._version and not overdue:
                return
            self._version = version
            found = pulse(self._reader())
            changed = topics_since(self._reader(), self._known, found)
        except EngineAway:
            return
        self._known = found
        probed: dict[str, object] = {}
        for channel in list(self._channels.values()):
            if changed is None or changed:
                self._tell_channel(channel, changed, now)
            if channel.probe is not None:
                self._probe(channel, channel.probe, probed, now)

    def _tell_channel(self, channel: Channel, changed: frozenset[str] | None, now: float) -> None:
        if not channel.concerns(changed):
            return
        if channel.read is not None:
            self._readings.want(channel)
            return
        for follower in list(channel.followers):
            _tell(follower, changed, now)

    def _probe(self, channel: Channel, probe: Probe, probed: dict[str, object], now: float) -> None:
        if probe.name not in probed:
            probed[probe.name] = _answer(probe)
        if probed[probe.name] == channel.probed:
            return
        channel.probed = probed[probe.name]
        if channel.read is not None:
            self._readings.want(channel)
            return
        for follower in list(channel.followers):
            follower.tell(frozenset((probe.name,)), now)

    def _tell_views(self, now: float) -> None:
        """Followers of these views hear of it, unless they know."""
        news, self._news = self._news, []
        watches = self._watches
        if watches is None:
            return
        for name, arguments, mark in news:
            for watched, channel in watches.concerned(name, arguments):
                topic = watched.topic
                if channel.marks[topic] == mark != DOUBT:
                    continue
                channel.marks[topic] = mark
                if channel.read is not None:
                    self._readings.want(channel)
                    continue
                for follower in list(channel.followers):
                    follower.tell(frozenset((topic,)), now)

    def _was_read(self, channel: Channel, reading: Reading) -> None:
        """Followers of an address hear of what it answers now."""
        channel.reading = reading
        now = asyncio.get_running_loop().time()
        for follower in list(channel.followers):
            follower.tell_read(now)

    def _pulse(self) -> Pulse | None:
        try:
            return pulse(self._reader())
        except EngineAway:
            return None


def _tell(follower: Follower, changed: frozenset[str] | None, now: float) -> None:
    topics = follower.channel.topics
    if changed is None or topics is None:
        if changed is None or changed:
            follower.tell(changed, now)
        return
    mine = changed & topics
    if mine:
        follower.tell(mine, now)


def _etag_in(last: str) -> str:
    """The ETag in the id of an event of an address."""
    _pulse, tilde, etag = last.partition("~")
    return etag if tilde else ""


def _holds(who: Pass) -> bool:
    try:
        return who.holds()
    except Exception:  # who cannot be asked about may not go on; he is admitted again when he can be
        log.exception("could not ask whether %s may go on", who.session)
        return False


def _answer(probe: Probe) -> object:
    try:
        return probe.look()
    except Exception:  # one page's probe must not stop the others'
        log.exception("probe %s failed", probe.name)
        return None
