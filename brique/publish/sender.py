"""Brings a place in line with the views: makes what is due, puts it there, and tells the engine what has arrived.

    due in the store ──make──▶ bytes ──put──▶ place ──told──▶ no more due, if they are still those that hold

Theory of operation. Nothing is noted before it has happened: what is due stays so until the engine has heard that the
place has it, and agrees that it still holds. Whatever dies in between is done again. The store remembers the version of
the last batch that it has heard of; when the place, or the store after a crash, tells of another one, something was
forgotten on either side, and everything at the place is compared.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec

from brique.clock import Clock, stamp, unstamp
from brique.errors import BackendRefused, BadInput
from brique.publish.protocol import GONE_SECONDS, Head, Item, Place
from brique.schema import TableSpec
from brique.store import Publication, Reader
from brique.views import ANSWERS, Made, Published, Ready

log = logging.getLogger(__name__)
BATCH_KEYS, BATCH_BYTES = 200, 4 * 1024**2
_PAGE = 500
_RETRY_MS, _COPY_MS = 60_000, 1_000
_BEAT_SECONDS, _BEAT_SECONDS_MIN = 20.0, 2.0
_OTHER_SECONDS = 60.0
"""A place whose writer has said nothing for so long may be taken by another brique."""
_TIDY_SECONDS = 600.0
One = TypeVar("One")


class Done(msgspec.Struct, frozen=True, array_like=True):
    """The place has these bytes."""

    name: str
    arguments: str
    etag: str


class Waits(msgspec.Struct, frozen=True, array_like=True):
    """There is nothing to put, as the store was at `position`; it is looked at again at `due` (milliseconds), or, with
    0, when rows of `tables` change. `is_removed`: nothing is at the place. `is_over`: nor will be, unless there is this
    `row` (table, key)."""

    name: str
    arguments: str
    position: int
    due: int = 0
    tables: tuple[str, ...] = ()
    error: str = ""
    is_removed: bool = False
    is_over: bool = False
    row: tuple[str, str] | None = None


class Outgoing(msgspec.Struct, frozen=True, array_like=True):
    """What is told to the engine at once. `offers`: bytes that were made. `added`: (view, arguments) to be kept there.
    `listed`: (name, arguments, since when it was due) of lists that were gone through. `doubtful`: (name, arguments) to
    be sent again. `last`: the version of the batch that the place has."""

    place: str
    done: tuple[Done, ...] = ()
    waits: tuple[Waits, ...] = ()
    offers: tuple[bytes, ...] = ()
    added: tuple[tuple[str, str], ...] = ()
    listed: tuple[tuple[str, str, int], ...] = ()
    doubtful: tuple[tuple[str, str], ...] = ()
    expired: bool = False
    last: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """What one line has come to: what to put, what to tell."""

    item: Item | None = None
    done: Done | None = None
    waits: Waits | None = None
    offer: bytes = b""


@dataclass(frozen=True)
class Limits:
    """`keys_max` at one place, `value_bytes_max` of one value."""

    keys_max: int
    value_bytes_max: int


class Sender:
    """The writer of `place`, known as `name`. `tell` hands over to the engine and returns when that has it in its
    store; `timed` bounds a call to the place."""

    def __init__(
        self,
        name: str,
        place: Place,
        published: Iterable[Published],
        *,
        specs: Mapping[str, TableSpec],
        reader: Reader,
        ready: Ready,
        clock: Clock,
        tell: Callable[[Outgoing], None],
        timed: Callable[[], AbstractContextManager[None]],
        limits: Limits,
    ) -> None:
        self.name, self.place = name, place
        self._specs, self._reader, self._ready, self._clock = specs, reader, ready, clock
        self._tell, self._timed = tell, timed
        self._limits = replace(limits, value_bytes_max=min(limits.value_bytes_max, place.value_bytes_max))
        self._published = {ready.names[one.view.name]: one for one in published}
        self._by_view = {one.view.name: one for one in self._published.values()}
        self._head = Head()
        self._number = 0
        self._is_doubtful = False
        self._beat = self._tidied = 0.0

    # taking

    def take(self) -> None:
        """Become the place's writer: two calls, whose time is the caller's to bound. Raises BackendRefused while
        another brique writes there."""
        known = self.place.head()
        me, now = str(self._reader.meta("stream_id")), self._clock.now()
        if known.writer not in ("", me) and known.written_at:
            silent = (now - unstamp(known.written_at)).total_seconds()
            if 0 <= silent < _OTHER_SECONDS:
                raise BackendRefused(f"{self.name}: another brique writes there, last {silent:.0f} s ago.")
        # Never an epoch of before, also at a place that has forgotten some: what was put in it may still arrive.
        epoch = max(known.epoch + 1, self._head.epoch + 1, _ms(now))
        head = Head(epoch, me, known.last, self._as_of(now) or known.as_of, stamp(now))
        self.place.take(known, head)
        self._head, self._number = head, 0
        self._beat = self._clock.monotonic()

    def release(self) -> None:
        """Say that nobody writes there any more: any other brique may take it at once."""
        with self._timed():
            self.place.put([], replace(self._head, written_at=""))

    # working

    def turn(self) -> bool:
        """Do some of what is due; whether there is more to do at once."""
        if str(self._reader.meta(last_of(self.name)) or "") != self._head.last:
            self._is_doubtful = True
        if self._reader.publications.expired(self.name, stamp(self._clock.now())):
            self._tell(Outgoing(self.name, expired=True))
        are_listed = self._lists()
        if self._is_doubtful and are_listed:
            self._compare()
        more = self._send()
        if not more:
            self._look_after()
        return more

    def _now_ms(self) -> int:
        return int(self._clock.now().timestamp() * 1000)

    def _send(self) -> bool:
        lines = self._reader.publications.due(self.name, self._now_ms(), BATCH_KEYS)
        answers: list[Answer] = []
        size = 0
        for line in lines:
            answers.append(answer := self._answer(line))
            size += len(answer.item.body or b"") if answer.item is not None else 0
            if size > BATCH_BYTES:
                break
        if answers:
            self._put(answers)
        return len(answers) < len(lines) or len(lines) == BATCH_KEYS

    def _put(self, answers: Sequence[Answer]) -> None:
        """Put what there is to put, then tell the engine."""
        self._number += 1
        version = f"{self._head.epoch:015d}.{self._number:09d}"
        items = [replace(answer.item, version=version) for answer in answers if answer.item is not None]
        if items:
            now = self._clock.now()
            head = replace(self._head, last=version, written_at=stamp(now))
            with self._timed():
                self.place.put(items, head)
            self._head, self._beat = head, self._clock.monotonic()
        self._tell(
            Outgoing(
                self.name,
                done=tuple(answer.done for answer in answers if answer.done is not None),
                waits=tuple(answer.waits for answer in answers if answer.waits is not None),
                offers=tuple(answer.offer for answer in answers if answer.offer),
                last=None if self._is_doubtful else self._head.last,
            )
        )

    # one line

    def _answer(self, line: Publication) -> Answer:
        published = self._published.get(line.name)
        if published is None:
            return _over(line, self._reader.seq())
        with self._reader.snapshot() as reader:
            unread = self._unread(reader)
            if published.table and published.table not in unread:
                row = (published.table, published.row_of(line.arguments))
                if reader.row(*row) is None:
                    return _over(line, reader.seq(), row)
            made = self._ready.get(reader, published.view.name, line.arguments, anew=bool(unread))
        missing = sorted(unread & {*made.tables, published.table})
        if missing:
            error = f"waits for the first copy of {', '.join(missing)}"
            return Answer(waits=Waits(*_at(line, made.position), due=self._now_ms() + _COPY_MS, error=error))
        if made.fault is not None or made.personal or len(made.body) > self._limits.value_bytes_max:
            return self._nothing(line, made)
        offer = msgspec.msgpack.encode(made.offer) if made.offer is not None else b""
        item = Item(line.key, "", made.body, made.etag, made.position, made.made_at)
        done = Done(line.name, line.arguments, made.etag)
        return Answer(item if made.etag != line.etag or self._is_doubtful else None, done, None, offer)

    def _nothing(self, line: Publication, made: Made) -> Answer:
        """There is nothing to put: the view says so, or it fails; then its last good bytes stay."""
        until = _ms(unstamp(made.until)) if made.until else 0
        if isinstance(made.fault, ANSWERS):
            waits = Waits(*_at(line, made.position), due=until, tables=made.tables, is_removed=True)
            return Answer(Item(line.key, ""), waits=waits)
        if made.fault is not None:
            error = f"{type(made.fault).__name__}: {made.fault}"[:500]
            log.warning("view %s failed for %s: %s", line.view, line.arguments, error)
        elif made.personal:
            error = f"view {line.view} reads db.user: what it makes belongs to one person, and cannot be published"
        else:
            error = f"{len(made.body)} bytes; at most {self._limits.value_bytes_max} are published as one value"
        due = self._now_ms() + _RETRY_MS
        return Answer(
            waits=Waits(*_at(line, made.position), due=min(due, until or due), tables=made.tables, error=error)
        )

    def _unread(self, reader: Reader) -> set[str]:
        """Tables of which there is no copy yet: what is made of them says nothing."""
        return {name for name in self._specs if not reader.table_state(name).loaded}

    # which arguments there are

    def _lists(self) -> bool:
        """Go through the lists that are due; whether none is any more."""
        now = self._now_ms()
        lists = self._reader.publications.lists(self.name)
        for line in lists:
            published = self._by_view.get(line.view)
            if published is not None and 0 < line.due <= now:
                self._list_rows(line, published) if published.table else self._list_items(line, published)
        return all(line.due == 0 for line in self._reader.publications.lists(self.name))

    def _list_rows(self, line: Publication, published: Published) -> None:
        if not self._reader.table_state(published.table).loaded:
            return
        after, name = "", self._ready.names[published.view.name]
        while keys := self._reader.row_keys(published.table, after, _PAGE):
            after = keys[-1]
            wanted = [found for key in keys if (found := published.of_row(key, self._specs)) is not None]
            self._add(published, name, wanted)
        for lines in self._reader.publications.pages(self.name, published.view.name):
            gone = [one for one in lines if self._reader.row(published.table, published.row_of(one.arguments)) is None]
            if gone:
                self._tell(Outgoing(self.name, doubtful=tuple((one.name, one.arguments) for one in gone)))
        self._tell(Outgoing(self.name, listed=((line.name, line.arguments, line.due),)))

    def _list_items(self, line: Publication, published: Published) -> None:
        """Have the lines that the listing lists, and no others; then it is no more due, unless it was touched."""
        assert published.listing is not None
        with self._reader.snapshot() as reader:
            unread = self._unread(reader)
            made = self._ready.get(reader, published.listing.name, line.arguments, anew=bool(unread))
        error = self._fault_of_list(made)
        wanted: dict[str, None] = {}
        try:
            items = [] if error else msgspec.json.decode(made.body)
            if not isinstance(items, list):
                raise BadInput(f"{published.listing.name} returned no list.")
            wanted = dict.fromkeys(map(published.of_item, items))
        except BadInput as fault:
            error = " ".join([fault.message, *fault.fields.values()])
        missing = sorted(unread & set(made.tables))
        if error or missing:
            error = error or f"waits for the first copy of {', '.join(missing)}"
            due = self._now_ms() + (_COPY_MS if missing else _RETRY_MS)
            waits = Waits(*_at(line, made.position), due=due, tables=made.tables, error=error)
            self._tell(Outgoing(self.name, waits=(waits,)))
            return
        name = self._ready.names[published.view.name]
        for page in _pages(wanted):
            self._add(published, name, page)
        for lines in self._reader.publications.pages(self.name, published.view.name):
            gone = [_over(one, made.position) for one in lines if one.arguments not in wanted]
            if gone:
                self._put(gone)
        offers = (msgspec.msgpack.encode(made.offer),) if made.offer is not None else ()
        self._tell(Outgoing(self.name, done=(Done(line.name, line.arguments, made.etag),), offers=offers))

    def _fault_of_list(self, made: Made) -> str:
        if made.personal:
            return "it reads db.user: what is published is the same for everybody"
        return "" if made.fault is None else f"{type(made.fault).__name__}: {made.fault}"[:500]

    def _add(self, published: Published, name: str, wanted: Sequence[str]) -> None:
        known = self._reader.publications.known(name, wanted, self.name)
        added = [(published.view.name, arguments) for arguments in wanted if arguments not in known]
        if not added:
            return
        if self._reader.publications.count(self.name) + len(added) > self._limits.keys_max:
            raise BackendRefused(f"{self.name}: more than {self._limits.keys_max} keys (publish_keys_max).")
        self._tell(Outgoing(self.name, added=tuple(added)))

    # what was forgotten

    def _compare(self) -> None:
        """Send again what the place has otherwise than it was sent, and remove what should not be there."""
        seen: set[str] = set()
        doubtful = extra = 0
        for page in _pages(self._all_there()):
            lines = self._reader.publications.by_keys(self.name, [key for key, _ in page])
            seen.update(lines)
            wrong = [lines[key] for key, etag in page if key in lines and lines[key].etag != etag]
            gone = [Answer(Item(key, "")) for key, _ in page if key not in lines]
            if gone:
                self._put(gone)
            doubtful, extra = doubtful + self._doubt(wrong), extra + len(gone)
        for lines_there in self._reader.publications.pages(self.name):
            doubtful += self._doubt([line for line in lines_there if line.etag and line.key not in seen])
        if doubtful or extra:
            log.warning("%s: %d keys are sent again, %d did not belong there", self.name, doubtful, extra)
        self._is_doubtful = False
        self._tell(Outgoing(self.name, last=self._head.last))

    def _all_there(self) -> Iterator[tuple[str, str]]:
        keys = self.place.inventory()
        while True:
            with self._timed():
                found = next(keys, None)
            if found is None:
                return
            yield found

    def _doubt(self, lines: Sequence[Publication]) -> int:
        if lines:
            self._tell(Outgoing(self.name, doubtful=tuple((line.name, line.arguments) for line in lines)))
        return len(lines)

    # at leisure

    def _look_after(self) -> None:
        """Say how old what is there is; forget what was removed long ago."""
        now, monotonic = self._clock.now(), self._clock.monotonic()
        as_of, rest = self._as_of(now), monotonic - self._beat
        if rest >= _BEAT_SECONDS or (rest >= _BEAT_SECONDS_MIN and as_of > self._head.as_of):
            head = replace(self._head, as_of=max(as_of, self._head.as_of), written_at=stamp(now))
            with self._timed():
                self.place.put([], head)
            self._head, self._beat = head, monotonic
        if monotonic - self._tidied >= _TIDY_SECONDS:
            self._tidied = monotonic
            with self._timed():
                self.place.tidy(stamp(now - timedelta(seconds=GONE_SECONDS)))

    def _as_of(self, now: datetime) -> str:
        """The moment that all at the place is as new as; "" when that is not known."""
        states = self._reader.backend_states().values()
        known = [state.confirmed_at for state in states if state.confirmed_at is not None]
        due = self._reader.publications.next_due(self.name)
        if not known:
            return ""
        oldest = min(known)
        return stamp(oldest if not due else min(oldest, datetime.fromtimestamp(due / 1000, oldest.tzinfo), now))


def last_of(place: str) -> str:
    """The name under which the store keeps the version of the last batch of a place."""
    return f"published:{place}"


def _at(line: Publication, position: int) -> tuple[str, str, int]:
    return line.name, line.arguments, position


def _over(line: Publication, position: int, row: tuple[str, str] | None = None) -> Answer:
    """It is to be there no more."""
    waits = Waits(*_at(line, position), is_removed=True, is_over=True, row=row)
    return Answer(Item(line.key, ""), waits=waits)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _pages(items: Iterable[One]) -> Iterator[list[One]]:
    page: list[One] = []
    for item in items:
        page.append(item)
        if len(page) == _PAGE:
            yield page
            page = []
    if page:
        yield page
