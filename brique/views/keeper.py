"""The engine's side: keeps what was made, and lets go of what a change touches, in the change's own transaction.

So a reader never finds bytes that are older than the rows beside them. What is touched is not deleted but marked
absent (no notes of dependencies), so that its last good bytes are there if the view fails from now on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from brique.clock import stamp, unstamp
from brique.schema import TableSpec
from brique.store import ChangesForgotten, Representations, RowChange, Store, Tx
from brique.store import Dependency as KeptDependency
from brique.store import Representation as Kept
from brique.views.notes import Bits, Note, Notes, pack, unpack
from brique.views.offer import Offer, offer_from
from brique.views.touched import Touched, touched
from brique.views.view import View, fingerprint

BYTES_MAX = 512 * 1024**2
_CHANGES_CHECKED_MAX = 5_000
_MASKS_CHECKED_MAX = 2_000
_QUESTIONS_MAX = 20_000
_LOOKS = 64  # the room taken is added up each time that a 64th of it has been written
_POSITION = "views_position"


class Keeper:
    """Keeps representations of `views` in `store`, and listens to its changes from the start. One thread only."""

    def __init__(
        self, views: Mapping[str, View], store: Store, *, release: str = "", bytes_max: int = BYTES_MAX
    ) -> None:
        self._store = store
        self._bits = Bits(store.specs)
        self._views = {kept_name(view, store.specs, release): view for view in views.values()}
        self._schemes: dict[str, set[str]] = {}
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

    # changes

    def on_changes(self, tx: Tx, changes: Sequence[RowChange]) -> None:
        """Let go of all that these changes touch. Called by the store, inside the transaction."""
        tx.set_meta(_POSITION, self._store.reader.seq())
        kept = tx.representations
        found = touched(changes, lambda table: self._in_use(kept, table), self._bits, frozenset(tx.reloaded))
        for table in found.reloaded:
            self._let_go(kept, kept.depending_on_table(table))
        crowded = _crowded(found)
        for table in crowded:
            self._let_go(kept, kept.depending_on_table(table))
        for (table, scheme), questions in found.questions.items():
            if table not in crowded:
                self._touch(kept, table, scheme, questions)

    def _in_use(self, kept: Representations, table: str) -> set[str]:
        """Schemes in use on `table`; may name some that are not any more, never lacks one."""
        if table not in self._schemes:
            self._schemes[table] = set(kept.schemes(table))
        return self._schemes[table]

    def _touch(self, kept: Representations, table: str, scheme: str, questions: Mapping[bytes, int]) -> None:
        for value, bits in questions.items():
            if not bits:
                continue
            pairs = kept.depending(table, scheme, [value])
            if len(pairs) <= _MASKS_CHECKED_MAX:
                pairs = [pair for pair in pairs if self._meets(kept, pair, Note(table, scheme, value, bits))]
            if scheme:
                self._let_go(kept, pairs)
                continue
            patient = [pair for pair in pairs if self._fresh(pair) is not None]
            self._let_go(kept, [pair for pair in pairs if self._fresh(pair) is None])
            for pair in patient:
                self._age(kept, pair)

    def _meets(self, kept: Representations, pair: tuple[str, str], change: Note) -> bool:
        """Whether the mask of that dependency meets the change's bits."""
        held = kept.get(*pair)
        if held is None or held.dependencies is None:
            return False
        return any(
            note.table == change.table
            and note.scheme == change.scheme
            and note.value == change.value
            and note.mask & change.mask
            for note in unpack(held.dependencies).notes
        )

    def _fresh(self, pair: tuple[str, str]) -> float | None:
        view = self._views.get(pair[0])
        return None if view is None else view.fresh_seconds

    def _let_go(self, kept: Representations, pairs: Sequence[tuple[str, str]]) -> None:
        if pairs:
            kept.let_go(pairs)

    def _age(self, kept: Representations, pair: tuple[str, str]) -> None:
        """A whole table has changed under a view that may be some seconds behind: it holds until then, not longer."""
        held = kept.get(*pair)
        fresh = self._fresh(pair)
        if held is None or held.dependencies is None or fresh is None:
            return
        until = stamp(unstamp(held.made_at) + timedelta(seconds=fresh))
        if held.until is None or until < held.until:
            kept.hold_until(*pair, until)

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
        kept.touch(offer.used, offer.made_at)
        if offer.error:
            held = kept.get(offer.view, offer.arguments)
            if held is not None and held.dependencies is None:
                kept.failed(offer.view, offer.arguments, offer.error, offer.position)
            return held is not None
        late = self._late(tx, offer, view)
        if late is None:
            return False
        made = Kept(
            name=offer.view,
            arguments=offer.arguments,
            etag=offer.etag,
            body=offer.body,
            position=offer.position,
            made_at=offer.made_at,
            content_type="application/json",
            dependencies=pack(Notes(offer.notes, offer.since)),
            user=offer.user,
            until=min((end for end in (offer.until, late) if end), default=None),
        )
        kept.put(made, [KeptDependency(n.table, n.scheme, n.value, offer.view, offer.arguments) for n in offer.notes])
        for note in offer.notes:
            self._in_use(kept, note.table).add(note.scheme)
        self._make_room(kept, len(offer.body))
        return True

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
        schemes: dict[str, set[str]] = {}
        for note in offer.notes:
            schemes.setdefault(note.table, set()).add(note.scheme)
        rows = [
            RowChange(c.table, c.key, c.before, c.after, c.pending_before, c.pending_after, c.seq)
            for c in changes
            if c.key is not None
        ]
        replaced = frozenset(change.table for change in changes if change.key is None)
        found = touched(rows, lambda table: schemes.get(table, ()), self._bits, replaced)
        met = [note for note in offer.notes if found.meets(note)]
        if not met:
            return ""
        if view.fresh_seconds is None or any(note.scheme or note.table in found.reloaded for note in met):
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


def _crowded(found: Touched) -> set[str]:
    """Tables with so many touched questions that letting go of all that read them is cheaper than asking."""
    sizes: dict[str, int] = {}
    for (table, _), questions in found.questions.items():
        sizes[table] = sizes.get(table, 0) + len(questions)
    return {table for table, size in sizes.items() if size > _QUESTIONS_MAX}
