"""The engine's side: keeps what was made, and lets go of what a change touches, in the change's own transaction.

So a reader never finds bytes that are older than the rows beside them. What is touched is not deleted but marked
absent (no notes of dependencies), so that its last good bytes are there if the view fails from now on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from brique.clock import stamp, unstamp
from brique.schema import TableSpec
from brique.store import DEFAULTS, ChangesForgotten, Representations, RowChange, Store, Tx, chosen
from brique.store import Dependency as KeptDependency
from brique.store import Representation as Kept
from brique.views.cells import Cells
from brique.views.entries import Entries
from brique.views.leases import FOREVER
from brique.views.letting_go import Dropped, LettingGo
from brique.views.making import Maker, user_key
from brique.views.notes import Bits, Changed, entries, pack
from brique.views.offer import Offer, offer_from
from brique.views.pattern import Given
from brique.views.patterns import Patterns
from brique.views.topic import Watched
from brique.views.touched import NoteIndex, crowded
from brique.views.view import View, fingerprint, key_of
from brique.views.watched import Item, Watch

log = logging.getLogger("brique.views")
BYTES_MAX = 512 * 1024**2
_CHANGES_CHECKED_MAX = 5_000
_CHANGES_MAX = 5_000  # of one table in one transaction; beyond, all that read it is let go of
_LOOKS = 64  # the room taken is added up each time that a 64th of it has been written
_POSITION = "views_position"
_SETTINGS = "-settings"
"""In place of a table, for what was read of the settings."""


class Keeper:
    """Keeps representations of `views` in `store`, and listens to its changes from the start. One thread only."""

    def __init__(
        self,
        views: Mapping[str, View],
        store: Store,
        *,
        release: str = "",
        bytes_max: int = BYTES_MAX,
        maker: Maker | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """`maker` runs the views that are watched; without one all are made when they are asked for."""
        self._store = store
        self._settings = DEFAULTS if settings is None else settings
        self._bits = Bits(store.specs)
        self._by_name = {view.name: view for view in views.values()}
        self._kept_names = {view.name: kept_name(view, store.specs, release) for view in views.values()}
        self._views = {self._kept_names[view.name]: view for view in views.values()}
        self._watch = None if maker is None else Watch(store, maker)
        self._entries = Entries(self._bits)
        self._undone = -1
        self.patterns = Patterns(self._views, store.specs, self._bits)
        self.cells = Cells(store.specs)
        self.dropped = Dropped()
        """What the last transaction with changes has let go of."""
        self._bytes_more = 0
        self._bytes_max = bytes_max
        self._sort_out()
        store.listen(self.on_changes)

    def _sort_out(self) -> None:
        """Forget what cannot be trusted: made by other code, or before changes that nobody watched."""
        with self._store.transaction() as tx:
            if tx.meta(_POSITION) != self._store.reader.seq():
                tx.representations.drop_all()
                tx.set_meta(_POSITION, self._store.reader.seq())
            else:
                unknown = set(tx.representations.names()) - set(self._views)
                tx.representations.drop_all(sorted(unknown))
            self._let_go_of_settings(tx.representations)
            self._in_step(tx.representations)

    def _let_go_of_settings(self, kept: Representations) -> None:
        """What was made with settings that are others now."""
        for name in kept.schemes(_SETTINGS):
            now = chosen(self._settings, name)
            others = [value for value in kept.entries(_SETTINGS, name, -1) if value != now]
            kept.let_go(kept.depending(_SETTINGS, name, others))

    def _in_step(self, kept: Representations) -> None:
        """Read anew what was learned, when something was rolled back since: memory may be ahead of the file."""
        if self._undone == self._store.undone:
            return
        self._undone = self._store.undone
        if self._watch is not None:
            self._watch.doubt()
        self._entries.clear()
        self.patterns = Patterns(self._views, self._store.specs, self._bits)
        self.cells.load(kept)
        gone = self.patterns.load(kept.patterns())
        if gone:
            kept.drop_all(gone)

    # changes

    def on_changes(self, tx: Tx, changes: Sequence[RowChange]) -> None:
        """Let go of all that these changes touch. Called by the store, inside the transaction."""
        tx.set_meta(_POSITION, self._store.reader.seq())
        kept = tx.representations
        self._in_step(kept)
        work = LettingGo(
            kept,
            self._store.connection.execute,
            self.patterns,
            self._store.specs,
            self._views,
            lambda table: self._entries.of(kept, table),
        )
        read = {table for table in {change.table for change in changes} if self._is_read(kept, table)} - tx.reloaded
        made_ready = [Changed(change, self._bits) for change in changes if change.table in read]
        many = crowded(made_ready, _CHANGES_MAX)
        for table in {*tx.reloaded, *many}:
            work.whole(table, self._store.reader.seq())
        self.cells.forget(kept, tx.reloaded)
        self.cells.follow(kept, made_ready)
        work.look([change for change in made_ready if change.table not in many])
        self.dropped = work.finish()
        for pair, seq in self.dropped.aged.items():
            self._age(kept, pair, seq)
        if self._watch is not None:
            tables = tx.reloaded | {change.table for change in changes}
            self._watch.renew(kept, self.dropped, tables, lambda offer, view: self._put(kept, offer, view, ""))

    # what is watched

    def watch(self, name: str, arguments: Mapping[str, Any], user: Any = None) -> None:
        """Somebody looks at this view: from now on what it makes is made anew in the transaction that touches it."""
        if self._watch is not None:
            view = self._by_name[name]
            watched = watched_of(view, self._kept_names[name], arguments, user)
            self._watch.add(self._store.reader.representations, watched, view, FOREVER, None)

    def unwatch(self, name: str, arguments: Mapping[str, Any], user: Any = None) -> None:
        """He looks no more."""
        if self._watch is not None:
            watched = watched_of(self._by_name[name], self._kept_names[name], arguments, user)
            self._watch.remove((watched.name, watched.key, watched.whose))

    def look(
        self, holder: str, begun: Iterable[tuple[Watched, str | None]], ended: Iterable[Item], *, anew: bool
    ) -> bool:
        """A process says what its followers begin and cease to look at, each with the mark of what he has seen, and
        that it is alive: without being heard of for LEASE_SECONDS it watches nothing. `anew`: and nothing else.
        Whether it was known; who was not, tells all of it anew."""
        if self._watch is None:
            return True
        known = self._watch.heard(holder)
        if anew:
            self._watch.remove_all(holder)
        kept = self._store.reader.representations
        for watched, seen in begun:
            view = self._views.get(watched.name)
            if view is not None and not self._watch.add(kept, watched, view, holder, seen):
                log.error("too many views are watched: who looks at %s is not told of changes", watched.topic)
        for item in ended:
            self._watch.remove(item, holder)
        return known or anew

    def catch_up(self, tx: Tx) -> int:
        """Make some of what is watched and had to wait; how many still do. To be called when nothing else is to do."""
        if self._watch is None:
            return 0
        kept = tx.representations
        self._in_step(kept)
        return self._watch.catch_up(kept, lambda offer, view: self._put(kept, offer, view, ""))

    def next_in(self) -> float | None:
        """Seconds until `catch_up` has something to do; None: nothing waits."""
        if self._watch is None:
            return None
        self._watch.expire()
        return 0.0 if self._undone != self._store.undone else self._watch.next_in()

    def take_news(self) -> tuple[list[tuple[str, str, str]], list[tuple[str, Item]]]:
        """What of that which is watched has become different, as (name, identity, mark), and what holders are to make.
        To be called after a commit."""
        if self._watch is None or self._undone != self._store.undone:
            return [], []
        news, self._watch.news = self._watch.news, {}
        wanted, self._watch.wanted = self._watch.wanted, []
        return [(name, arguments, mark) for (name, arguments), mark in news.items()], wanted

    def _is_read(self, kept: Representations, table: str) -> bool:
        """Whether a change of the table may touch anything that is kept."""
        if not self._bits.knows(table):
            return False
        return bool(self._entries.of(kept, table) or self.patterns.on(table)) or self.cells.has(table)

    def _fresh(self, pair: tuple[str, str]) -> float | None:
        view = self._views.get(pair[0])
        return None if view is None else view.fresh_seconds

    def _age(self, kept: Representations, pair: tuple[str, str], seq: int) -> None:
        """A whole table has changed under a view that may be some seconds behind: it holds until then, not longer."""
        held = kept.get(*pair)
        fresh = self._fresh(pair)
        if held is None or held.dependencies is None or fresh is None:
            return
        until = stamp(unstamp(held.made_at) + timedelta(seconds=fresh))
        if held.until is None or until < held.until:
            kept.hold_until(*pair, until, seq)

    # offers

    def accept(self, tx: Tx, payload: Mapping[str, Any]) -> bool:
        """Keep what a web process has made (`Offer.payload`); False when it may be out of date, or is not wanted.

        Refused: made by other code, on a position that the change log no longer reaches, or touched by a change since.
        """
        offer = offer_from(payload)
        view = self._views.get(offer.view)
        if view is None:
            return False
        kept = tx.representations
        self._in_step(kept)
        kept.touch(offer.used, offer.made_at)
        if offer.error or offer.gone:
            return self._take_failure(kept, offer)
        if any(value != chosen(self._settings, name) for name, value in offer.settings):
            return False
        late = self._late(tx, offer, view)
        if late is None:
            if self._watch is not None:
                self._watch.refused(offer)
            return False
        self._put(kept, offer, view, late)
        for spec, totals in offer.cells if not late else ():  # exact now as then
            self.cells.take(kept, spec, totals)
        self._make_room(kept, len(offer.body))
        return True

    def _take_failure(self, kept: Representations, offer: Offer) -> bool:
        """The view has failed, or says that there is nothing."""
        watch = self._watch
        tables = {note.table for note in offer.notes}
        if offer.gone:
            if watch is not None and watch.is_watched(offer.view, offer.arguments):
                key, _, whose = offer.arguments.partition("\x1f")
                watch.gone(offer.view, key, whose, tables)
            return False
        sign = kept.sign(offer.view, offer.arguments)
        if sign is not None and sign.absent:
            kept.failed(offer.view, offer.arguments, offer.error, offer.position)
        if watch is not None and watch.is_watched(offer.view, offer.arguments):
            watch.failed(kept, offer.view, offer.arguments, tables)
        return sign is not None

    def _put(self, kept: Representations, offer: Offer, view: View, end: str) -> None:
        """Keep it with what it depends on, and learn from that."""
        identity, _, _ = offer.arguments.partition("\x1f")
        given = Given(view, msgspec.json.decode(identity), self._store.specs)
        self.patterns.note_seen(offer.view, given, identity)
        notes, learned = self.patterns.learn(offer.view, given, offer.notes, identity)
        for pattern in learned:
            kept.put_pattern(pattern.number, pattern.name, msgspec.msgpack.encode(pattern))
        made = Kept(
            name=offer.view,
            arguments=offer.arguments,
            etag=offer.etag,
            body=offer.body,
            position=offer.position,
            made_at=offer.made_at,
            content_type="application/json",
            dependencies=pack(notes),
            user=offer.user,
            since=offer.since,
            until=min((until for until in (offer.until, end) if until), default=None),
            took_us=offer.took_us,
        )
        found = [KeptDependency(_SETTINGS, name, value, offer.view, offer.arguments) for name, value in offer.settings]
        for note in notes.notes:
            for scheme, value in entries(note):
                found.append(KeptDependency(note.table, scheme, value, offer.view, offer.arguments))
                self._entries.add(kept, note.table, scheme, value)
        watch = self._watch
        before = None
        if watch is not None and watch.is_watched(offer.view, offer.arguments):
            before = kept.sign(offer.view, offer.arguments)
        kept.put(made, found)
        if watch is not None:
            watch.made(offer, made.until, before)

    def _late(self, tx: Tx, offer: Offer, view: View) -> str | None:
        """None when a change since `offer.position` touches it; else a stamp until which it holds, "" without end."""
        reader = self._store.reader
        position = reader.seq()
        if offer.position == position:
            return ""
        if offer.position > position:
            return None
        try:
            changes = reader.changes_since(offer.position, _CHANGES_CHECKED_MAX + 1)
        except ChangesForgotten:
            return None
        if len(changes) > _CHANGES_CHECKED_MAX:
            return None
        replaced = {change.table for change in changes if change.key is None}
        if any(note.table in replaced for note in offer.notes):
            return None
        index = NoteIndex(offer.notes)
        met = index.touched_by(
            Changed(change, self._bits) for change in changes if change.key is not None and change.table in index.tables
        )
        if not met:
            return ""
        if view.fresh_seconds is None or any(note.is_narrow for note in met):
            return None
        return stamp(unstamp(offer.made_at) + timedelta(seconds=view.fresh_seconds))

    def _make_room(self, kept: Representations, more: int) -> None:
        self._bytes_more += more
        if self._bytes_more > self._bytes_max // _LOOKS:
            self._bytes_more = 0
            kept.evict(self._bytes_max)

    def tidy(self, tx: Tx, now: datetime) -> int:
        """Forget what the clock has ended; how many went. To be called now and then."""
        ended = tx.representations.drop_expired(stamp(now - timedelta(days=1)))
        return len(ended)


def kept_name(view: View, specs: Mapping[str, TableSpec], release: str) -> str:
    """The name under which the bytes of `view` are kept: with a fingerprint of all that decides them but the data."""
    return f"{view.name}@{fingerprint(view, specs, release)}"


def watched_of(view: View, name: str, arguments: Mapping[str, Any], user: Any) -> Watched:
    """The view for some arguments (texts or values) as `user` looks at it, kept under `name`."""
    return Watched(view.name, name, key_of(view.arguments(arguments)), user_key(user), user)
