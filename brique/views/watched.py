"""What somebody is looking at: made anew as soon as it is touched, so that he can be told what it has become.

A view that is quick is made in the transaction that touches it, or in a later one when there are many. One that takes
longer would hold up all who write: a process that watches it is asked to make it, now and then rather than after each
change. Who looks is told only when what is made differs from what was there.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from brique.clock import stamp, unstamp
from brique.store import Representations, Sign, Store
from brique.views.leases import FOREVER, Leases
from brique.views.letting_go import Dropped
from brique.views.making import ANSWERS, Maker
from brique.views.offer import Offer, identity
from brique.views.recorder import Recording
from brique.views.topic import DOUBT, GONE, Watched, mark_of
from brique.views.view import View

log = logging.getLogger("brique.views")
AT_ONCE_MAX = 200
"""So many are made anew in one transaction; the others, and what does not fit into the time, in later ones."""
SECONDS_MAX = 0.02
QUICK_SECONDS = 0.005
"""Views that take longer are made by those who watch them, not by the engine."""
LEASE_SECONDS = 20.0
"""A process that is not heard of for so long watches nothing any more."""
_ASKED_SECONDS = 10.0
_PAUSE_TIMES, _PAUSE_SECONDS_MIN = 4, 0.2
_WATCHED_MAX = 100_000
_LOST_MAX = 1_000
Item = tuple[str, str, str]
Put = Callable[[Offer, View], None]


@dataclass(slots=True)
class _Looked:
    """A view for some arguments, and who looks at it. `for_all`: nobody knows yet whether it is another for each."""

    view: View
    people: dict[str, Any] = field(default_factory=dict)
    for_all: bool = False
    asked: int = 0
    last: float = -1e9


class Watch:
    """The representations that are watched, and by whom. To be used by who writes."""

    def __init__(self, store: Store, maker: Maker) -> None:
        self._store, self._maker = store, maker
        self._leases: Leases[Item] = Leases(LEASE_SECONDS)
        self._looked: dict[str, dict[str, _Looked]] = {}
        """By name and arguments."""
        self._late: dict[Item, None] = {}
        self._later: list[tuple[float, Item]] = []
        self._waiting: dict[Item, float] = {}
        """Until when; what `_later` says beyond that counts no more."""
        self._ends: list[tuple[str, Item]] = []
        self._lost: dict[Item, frozenset[str]] = {}
        """What a view could not be made for, with the tables that it had read."""
        self._seconds: dict[str, float] = {}
        self._in_doubt = False
        self.news: dict[tuple[str, str], str] = {}
        """By name and identity, the mark of what became different since this was last emptied."""
        self.wanted: list[tuple[str, Item]] = []
        """What a holder is to make."""

    # who looks

    def heard(self, holder: str) -> bool:
        """The holder is alive; whether it was known."""
        return self._leases.heard(holder, self._maker.clock.monotonic())

    def add(self, kept: Representations, watched: Watched, view: View, holder: str, seen: str | None) -> bool:
        """Somebody looks, and has `seen` what bears that mark. False when so many look that no more can be watched."""
        item = (watched.name, watched.key, watched.whose)
        if item not in self._leases and len(self._leases) >= _WATCHED_MAX:
            return False
        self._leases.add(holder, item)
        looked = self._looked.setdefault(watched.name, {}).setdefault(watched.key, _Looked(view))
        looked.people.setdefault(watched.whose, watched.user)
        arguments, sign = self._sign(kept, item)
        if sign is not None and seen is not None and seen != _mark(sign):
            self.news[(watched.name, arguments)] = _mark(sign)
        if not self._holds(sign):
            self._late[item] = None
        elif sign is not None and sign.until:
            heapq.heappush(self._ends, (sign.until, item))
        return True

    def remove(self, item: Item, holder: str = FOREVER) -> None:
        if item in self._leases and self._leases.remove(holder, item):
            self._forget(item)

    def remove_all(self, holder: str) -> None:
        for item in self._leases.items(holder):
            self.remove(item, holder)

    def _forget(self, item: Item) -> None:
        by_key = self._looked.get(item[0], {})
        looked = by_key.get(item[1])
        was_due = item in self._late or item in self._waiting
        for state in (self._late, self._lost, self._waiting):
            state.pop(item, None)
        if looked is not None:
            looked.people.pop(item[2], None)
            if not looked.people:
                del by_key[item[1]]
            elif was_due:  # perhaps for the others as well
                self._late[self._for(looked, item[0], item[1], "")] = None

    def _find(self, item: Item) -> _Looked | None:
        looked = self._looked.get(item[0], {}).get(item[1])
        return looked if looked is not None and item[2] in looked.people else None

    def is_watched(self, name: str, arguments: str) -> bool:
        return arguments.partition("\x1f")[0] in self._looked.get(name, ())

    # what is touched

    def touched(self, dropped: Dropped, tables: Collection[str]) -> Iterator[Item]:
        """Those that were let go of; perhaps some more of a view of which many were."""
        for name, arguments in dropped.pairs:
            key, _, whose = arguments.partition("\x1f")
            looked = self._looked.get(name, {}).get(key)
            if looked is not None:
                yield self._for(looked, name, key, whose)
        for name in dropped.names:
            for key, looked in self._looked.get(name, {}).items():
                yield self._for(looked, name, key, "")
        for item, read in self._lost.items():
            if not read.isdisjoint(tables):
                yield item

    def _for(self, looked: _Looked, name: str, key: str, whose: str) -> Item:
        """Whom to make it for: whose it was, or any of them, and then it shows whether the others need their own."""
        if whose in looked.people:
            return (name, key, whose)
        looked.for_all = True
        return (name, key, next(iter(looked.people)))

    def renew(self, kept: Representations, dropped: Dropped, tables: Collection[str], put: Put) -> None:
        """Make anew what is watched and was let go of; of what may be behind for a while, note until when."""
        if not self._looked:
            return
        for item in list(self.touched(dropped, tables)):
            self._due(item)
        for name, arguments in dropped.aged:
            self._note_end(kept, name, arguments)
        self.catch_up(kept, put)

    def _due(self, item: Item) -> None:
        """To be made as soon as may be: what takes long only after a pause since the last time."""
        looked, seconds = self._find(item), self._seconds.get(item[0], 0.0)
        if looked is None:
            return
        again = looked.last + max(_PAUSE_SECONDS_MIN, _PAUSE_TIMES * seconds)
        if seconds > QUICK_SECONDS and again > self._maker.clock.monotonic():
            if item not in self._waiting:
                self._wait(item, again)
        else:
            self._late[item] = None

    def _wait(self, item: Item, until: float) -> None:
        heapq.heappush(self._later, (until, item))
        self._waiting[item] = until

    def _note_end(self, kept: Representations, name: str, arguments: str) -> None:
        key, _, whose = arguments.partition("\x1f")
        looked = self._looked.get(name, {}).get(key)
        sign = kept.sign(name, arguments) if looked is not None else None
        if looked is not None and sign is not None and sign.until:
            heapq.heappush(self._ends, (sign.until, self._for(looked, name, key, whose)))

    # what is made

    def doubt(self) -> None:
        """Something was rolled back: what was noted since the last commit may not be so."""
        self._in_doubt = True
        self.news.clear()

    def expire(self) -> None:
        """Forget who is not heard of any more."""
        for item in self._leases.expire(self._maker.clock.monotonic()):
            self._forget(item)

    def next_in(self) -> float | None:
        """Seconds until `catch_up` has something to do; None when nothing waits."""
        if self._late or self._in_doubt:
            return 0.0
        found = []
        if self._later:
            found.append(self._later[0][0] - self._maker.clock.monotonic())
        if self._ends:
            found.append((unstamp(self._ends[0][0]) - self._maker.clock.now()).total_seconds())
        return max(0.0, min(found)) if found else None

    def catch_up(self, kept: Representations, put: Put) -> int:
        """Make some of what waits; how many still do."""
        clock = self._maker.clock
        if self._in_doubt:
            self._look_again(kept)
        began, made = clock.monotonic(), 0
        self._come_due(kept, began)
        for item in list(islice(self._late, 10 * AT_ONCE_MAX)):
            if made >= AT_ONCE_MAX or clock.monotonic() - began > SECONDS_MAX:
                break
            del self._late[item]
            looked = self._find(item)
            if looked is None or self._holds(self._sign(kept, item)[1]):
                continue
            holders = self._leases.of(item)
            if holders and self._seconds.get(item[0], 1.0) > QUICK_SECONDS:
                self._ask(item, looked, holders[looked.asked % len(holders)])
            else:
                self._make(item, looked, kept, put)
                made += 1
        return len(self._late)

    def _come_due(self, kept: Representations, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            until, item = heapq.heappop(self._later)
            if self._waiting.get(item) == until:
                del self._waiting[item]
                self._late[item] = None
        moment = stamp(self._maker.clock.now())
        while self._ends and self._ends[0][0] <= moment:
            name, key, whose = heapq.heappop(self._ends)[1]
            looked = self._looked.get(name, {}).get(key)
            if looked is not None:
                item = self._for(looked, name, key, whose)
                if not self._holds(self._sign(kept, item)[1]):
                    self._due(item)

    def _look_again(self, kept: Representations) -> None:
        """After a doubt: tell what there is of all that is watched; who knows it already is not told twice."""
        self._in_doubt = False
        for name, by_key in self._looked.items():
            for key, looked in by_key.items():
                for whose in looked.people:
                    arguments, sign = self._sign(kept, (name, key, whose))
                    if sign is not None:
                        self.news[(name, arguments)] = _mark(sign)
                    if not self._holds(sign):
                        self._late[(name, key, whose)] = None

    def _ask(self, item: Item, looked: _Looked, holder: str) -> None:
        now = self._maker.clock.monotonic()
        looked.asked, looked.last = looked.asked + 1, now
        self.wanted.append((holder, item))
        self._wait(item, now + _ASKED_SECONDS)  # should nothing come of it

    def _make(self, item: Item, looked: _Looked, kept: Representations, put: Put) -> None:
        """A view that fails must not fail the change: it stays absent, its last good bytes marked."""
        name, key, whose = item
        recording = Recording()
        with self._store.reader.snapshot() as reader:
            position = reader.seq()
            try:
                body = self._maker.run(looked.view, key, looked.people[whose], reader, recording)
            except ANSWERS:
                self.gone(name, key, whose if recording.is_personal else "", recording.tables)
                return
            except (Exception, SystemExit) as fault:
                log.exception("view %s failed for %s", looked.view.name, key)
                error = f"{type(fault).__name__}: {fault}"[:500]
                for arguments in (key, identity(key, whose)):
                    kept.failed(name, arguments, error, position)
                    self.failed(kept, name, arguments, recording.tables)
                return
        put(self._maker.offer(name, key, looked.people[whose], body, position, recording), looked.view)

    # what came of it

    def made(self, offer: Offer, until: str | None, before: Sign | None) -> None:
        """An offer was taken, in place of what `before` tells of."""
        key, _, whose = offer.arguments.partition("\x1f")
        looked = self._looked.get(offer.view, {}).get(key)
        self._took(offer)
        if looked is None:
            return
        looked.last = self._maker.clock.monotonic()
        is_news = before is None or _mark(before) != mark_of(offer.etag)
        others, looked.for_all = looked.for_all, False
        for other in looked.people:
            item = (offer.view, key, other)
            if not whose or other == whose:
                is_news |= self._lost.pop(item, None) is not None
                self._waiting.pop(item, None)
            elif others:
                self._late[item] = None
        if is_news:
            self.news[(offer.view, offer.arguments)] = mark_of(offer.etag)
        if until:
            heapq.heappush(self._ends, (until, self._for(looked, offer.view, key, whose)))
            looked.for_all = False

    def _took(self, offer: Offer) -> None:
        """Note what it costs: by its quick runs, for any may be held up by something else."""
        took, known = offer.took_us / 1e6, self._seconds.get(offer.view)
        self._seconds[offer.view] = took if known is None else min(took, 1.5 * known + 0.0002)

    def refused(self, offer: Offer) -> None:
        """An offer came too late: it is asked for again, and who looks is told that there is something else."""
        key, _, whose = offer.arguments.partition("\x1f")
        looked = self._looked.get(offer.view, {}).get(key)
        self._took(offer)
        if looked is not None:
            self.news[(offer.view, offer.arguments)] = DOUBT
            self._due(self._for(looked, offer.view, key, whose))

    def gone(self, name: str, key: str, whose: str, tables: Collection[str]) -> None:
        """The view says that there is nothing; it is asked again when a table changes that it has read."""
        self.news[(name, identity(key, whose))] = GONE
        self._lose(name, key, whose, tables)

    def failed(self, kept: Representations, name: str, arguments: str, tables: Collection[str]) -> None:
        """The view has failed; likewise."""
        sign = kept.sign(name, arguments)
        key, _, whose = arguments.partition("\x1f")
        if sign is not None:
            self.news[(name, arguments)] = _mark(sign)
        self._lose(name, key, whose, tables)

    def _lose(self, name: str, key: str, whose: str, tables: Collection[str]) -> None:
        looked = self._looked.get(name, {}).get(key)
        for other in looked.people if looked is not None else ():
            if (not whose or other == whose) and len(self._lost) < _LOST_MAX:
                self._lost[(name, key, other)] = frozenset(tables)

    def _sign(self, kept: Representations, item: Item) -> tuple[str, Sign | None]:
        """What is kept for this item, and under which identity: what counts, else what was made last."""
        name, key, whose = item
        found: tuple[str, Sign | None] = (key, None)
        for arguments in (key, identity(key, whose)):
            sign = kept.sign(name, arguments)
            if self._holds(sign):
                return arguments, sign
            if sign is not None and (found[1] is None or sign.made_at > found[1].made_at):
                found = (arguments, sign)
        return found

    def _holds(self, sign: Sign | None) -> bool:
        if sign is None or sign.absent:
            return False
        return sign.until is None or sign.until > stamp(self._maker.clock.now())


def _mark(sign: Sign) -> str:
    return mark_of(sign.etag, good=sign.last_good)
