"""The views that the followers of this process look at, as the engine is told of them: which, and that we are alive.

The engine makes what is watched anew when it is touched, and says when it has become something else. What it was told
holds for some seconds only, so that a process that ends watches nothing any more; and it may have been started anew
itself, which its answer shows.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from brique.errors import BriqueError
from brique.live.follower import Channel
from brique.views import LEASE_SECONDS, Item, Watched

log = logging.getLogger("brique.live")
Ask = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]
_RENEW_SECONDS = LEASE_SECONDS / 4
_TOGETHER_MAX = 1_000


class Watches:
    """`ask` calls the engine, `plain_user` makes of a user what can travel. All of it in the event loop's thread."""

    def __init__(self, ask: Ask, plain_user: Callable[[Any], Any]) -> None:
        self._ask, self._plain_user = ask, plain_user
        self._holder = secrets.token_hex(8)
        self._channels: dict[Item, tuple[Watched, set[Channel]]] = {}
        self._people: dict[tuple[str, str], dict[str, Item]] = {}
        """By name and arguments, who looks."""
        self._told: set[Item] = set()
        """What the engine knows of."""
        self._begun: dict[Item, None] = {}
        self._anew = False
        self._alarm: asyncio.Event | None = None
        self._renewing: asyncio.Task[None] | None = None

    def add(self, channel: Channel) -> None:
        """It looks at its views from now on."""
        for watched in channel.views:
            item = watched.item
            self._channels.setdefault(item, (watched, set()))[1].add(channel)
            self._people.setdefault(item[:2], {})[item[2]] = item
            if item not in self._told:
                self._begun[item] = None
        if channel.views:
            self._wake()

    def remove(self, channel: Channel) -> None:
        """It looks no more; the engine is told with the next sign of life, as often it comes back at once."""
        for watched in channel.views:
            item = watched.item
            found = self._channels.get(item)
            if found is None:
                continue
            found[1].discard(channel)
            if not found[1]:
                del self._channels[item]
                self._begun.pop(item, None)
                people = self._people.get(item[:2], {})
                people.pop(item[2], None)
                if not people:
                    self._people.pop(item[:2], None)

    def concerned(self, name: str, arguments: str) -> list[tuple[Watched, Channel]]:
        """Who looks at what is kept under this name and identity."""
        key, _, whose = arguments.partition("\x1f")
        people = self._people.get((name, key), {})
        items = list(people.values()) if not whose else [people[whose]] if whose in people else []
        return [
            (watched, channel) for watched, channels in map(self._channels.__getitem__, items) for channel in channels
        ]

    def wanted(self, wanted: Iterable[tuple[str, Item]]) -> list[Watched]:
        """Those of what the engine wants to be made that it asks of us."""
        mine = [tuple(item) for holder, item in wanted if holder == self._holder]
        return [self._channels[item][0] for item in mine if item in self._channels]

    def renew(self) -> None:
        """The engine may be another one: tell it all."""
        self._anew = True
        if self._channels:
            self._wake()

    def close(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            self._renewing = None

    def _wake(self) -> None:
        if self._renewing is None or self._renewing.done():
            self._alarm = asyncio.Event()
            self._renewing = asyncio.create_task(self._renew_on())
        assert self._alarm is not None
        self._alarm.set()

    async def _renew_on(self) -> None:
        """While there is something to tell."""
        assert self._alarm is not None
        while self._channels or self._told:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._alarm.wait(), _RENEW_SECONDS)
            self._alarm.clear()
            try:
                await self._tell()
            except BriqueError as fault:  # it comes back, and then it is told all
                log.debug("the engine was not told of what is watched: %s", fault.message)
                self._anew = True

    async def _tell(self) -> None:
        anew, self._anew = self._anew, False
        ended = [] if anew else [item for item in self._told if item not in self._channels]
        begun = list(self._channels if anew else self._begun)
        self._begun.clear()
        self._told = set(self._channels)
        while True:
            now, begun = begun[:_TOGETHER_MAX], begun[_TOGETHER_MAX:]
            given = [self._look(item) for item in now if item in self._channels]
            payload = {"holder": self._holder, "begun": given, "ended": ended, "anew": anew}
            answer = await self._ask("watch", payload)
            if not answer["known"]:
                self._anew = True
                self._wake()
                return
            anew, ended = False, []
            if not begun:
                return

    def _look(self, item: Item) -> list[Any]:
        watched, channels = self._channels[item]
        marks = {channel.marks[watched.topic] for channel in channels}
        seen = marks.pop() if len(marks) == 1 else ""  # not the same for all: they are told what there is
        return [watched.view, watched.name, watched.key, self._plain_user(watched.user), seen]
