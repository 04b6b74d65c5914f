"""The engine's side of what is published: which lines there are, and what their places have of them.

What changes makes lines due by itself (see `store/publications.py`); here rows that come and go make lines, and what
the places' processes tell is noted, in one transaction with the bytes that they have made.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from brique.app.intranet import Declared
from brique.clock import Clock
from brique.errors import BadInput, NotFound
from brique.publish import Outgoing, Waits, last_of
from brique.store import ChangesForgotten, Publication, RowChange, Store, Tx
from brique.views import Keeper, Published, kept_name

log = logging.getLogger(__name__)
_CHANGES_CHECKED_MAX = 5_000


class Publishing:
    """The lines of `declared` in `store`; `keeper` takes what was made. In the writing thread only."""

    def __init__(self, declared: Declared, store: Store, keeper: Keeper, clock: Clock) -> None:
        self._places, self._specs = declared.places, declared.specs
        self._store, self._keeper, self._clock = store, keeper, clock
        self._published = {one.view.name: one for one in declared.published.values()}
        self._by_table: dict[str, list[Published]] = {}
        for one in self._published.values():
            if one.table:
                self._by_table.setdefault(one.table, []).append(one)
        self._names = {
            view.name: kept_name(view, declared.specs, "")
            for one in self._published.values()
            for view in (one.view, one.listing)
            if view is not None
        }
        self._sort_out()
        if self._published:
            store.listen(self._on_changes)

    def _now(self) -> int:
        return int(self._clock.now().timestamp() * 1000)

    def _sort_out(self) -> None:
        """Bring the lines in line with what is declared now, and make due whatever may have changed unseen."""
        now = self._now()
        with self._store.transaction() as tx:
            lines = tx.publications
            for place in lines.remove_places(self._places):
                log.warning("%s is no place any more: what is there stays as it is", place)
            if not self._places:
                return
            lines.follow(self._now)
            for view, name in self._names.items():
                lines.rename(view, name, now)
            lines.keep_only([(place, view) for view, one in self._published.items() for place in one.places], now)
            for one in self._published.values():
                for place in one.places:
                    self._open(tx, one, place, now)
            lines.make_doubtful_due(now)

    def _open(self, tx: Tx, one: Published, place: str, now: int) -> None:
        """Have the line of a view without arguments, or the list of one that has them, which is gone through anew."""
        if not one.table and one.listing is None:
            self._add(tx, one, ["{}"], now, [place])
            return
        arguments = "{}" if one.listing is not None else ""
        name = self._names[one.listing.name] if one.listing is not None else f"*{one.view.name}"
        tx.publications.put_list(Publication(name, arguments, place, one.view.name, f"*{one.view.name}", due=now))
        tx.publications.make_list_due(one.view.name, now)

    # changes

    def _on_changes(self, tx: Tx, changes: Sequence[RowChange]) -> None:
        """Rows that come are to be kept, those that go are not. Called by the store, inside the transaction."""
        now = self._now()
        for change in changes:
            for one in self._by_table.get(change.table, ()):
                arguments = one.of_row(change.key, self._specs)
                if arguments is None or (change.before is not None and change.after is not None):
                    continue
                if change.after is not None:
                    self._add(tx, one, [arguments], now, one.places)
                tx.publications.make_due(self._names[one.view.name], arguments, now)
        for table in tx.reloaded:
            for one in self._by_table.get(table, ()):
                tx.publications.make_list_due(one.view.name, now)
        tables = {change.table for change in changes} | tx.reloaded
        tx.publications.make_absent_due(tables, now)

    def _add(self, tx: Tx, one: Published, wanted: Iterable[str], now: int, places: Iterable[str]) -> None:
        name, lines = self._names[one.view.name], []
        for arguments in wanted:
            try:
                key = one.key(arguments)
            except BadInput as fault:
                log.warning("%s is not published: %s", one.view.name, fault.message)
                continue
            lines += [Publication(name, arguments, place, one.view.name, key, due=now) for place in places]
        tx.publications.add(lines)

    # what places tell

    def take(self, payload: Mapping[str, Any]) -> None:
        """Note what a place's process tells."""
        told = msgspec.msgpack.decode(payload["outgoing"], type=Outgoing)
        now = self._now()
        with self._store.transaction() as tx:
            lines = tx.publications
            for offer in told.offers:
                self._keeper.accept(tx, {"offer": offer})
            for done in told.done:
                lines.sent(done.name, done.arguments, told.place, done.etag)
            for waits in told.waits:
                self._note_waiting(tx, told.place, waits, now)
            for view, arguments in told.added:
                if view in self._published:
                    self._add(tx, self._published[view], [arguments], now, [told.place])
            for name, arguments, began in told.listed:
                lines.listed(name, arguments, told.place, began)
            for name, arguments in told.doubtful:
                lines.doubt(name, arguments, told.place, now)
            if told.expired:
                lines.make_expired_due(told.place, now, tx.now)
            if told.last is not None:
                tx.set_meta(last_of(told.place), told.last)

    def _note_waiting(self, tx: Tx, place: str, waits: Waits, now: int) -> None:
        if waits.is_over and (waits.row is None or tx.row(*waits.row) is None):
            tx.publications.remove(waits.name, waits.arguments, place)
            return
        has_changed = waits.is_over or self._have_changed(waits)
        tx.publications.waits(
            waits.name,
            waits.arguments,
            place,
            due=now if has_changed else waits.due,
            absent="" if has_changed else msgspec.json.encode(waits.tables).decode() if waits.tables else "",
            error=waits.error,
            is_removed=waits.is_removed,
        )

    def _have_changed(self, waits: Waits) -> bool:
        """Whether rows that it is about have changed since it was found that there is nothing to put."""
        reader = self._store.reader
        if reader.seq() == waits.position or not waits.tables:
            return False
        try:
            changes = reader.changes_since(waits.position, _CHANGES_CHECKED_MAX + 1)
        except ChangesForgotten:
            return True
        return len(changes) > _CHANGES_CHECKED_MAX or any(change.table in waits.tables for change in changes)

    def rebuild(self, place: str, view: str = "") -> int:
        """Have all of a place, or of one view there, compared and sent again; how many keys. Raises NotFound."""
        if place not in self._places:
            raise NotFound(f"There is no place {place}.", try_this="brique publish list", place=place)
        if view and view not in self._published:
            raise NotFound(f"There is no published view {view}.", view=view)
        with self._store.transaction() as tx:
            count = tx.publications.make_all_due(self._now(), place, view)
            tx.set_meta(last_of(place), "")
        return count
