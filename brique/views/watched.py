"""What somebody is looking at: made anew in the transaction that touches it, so that it can be shown at once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from brique.store import Representations, Store
from brique.views.letting_go import Dropped
from brique.views.making import ANSWERS, Maker, user_key
from brique.views.offer import Offer, identity
from brique.views.recorder import Recording
from brique.views.view import View

log = logging.getLogger("brique.views")
AT_ONCE_MAX = 200
"""So many are made anew in one transaction; the others, and what does not fit into the time, in later ones."""
SECONDS_MAX = 0.05
_WATCHED_MAX = 100_000


@dataclass(frozen=True, slots=True)
class _Watched:
    view: View
    name: str
    key: str
    user: Any


class Watch:
    """The representations that are watched, by how many."""

    def __init__(self, store: Store, maker: Maker) -> None:
        self._store, self._maker = store, maker
        self._counts: dict[tuple[str, str, str], int] = {}
        self._watched: dict[str, dict[str, dict[str, _Watched]]] = {}
        """By name, arguments and user."""
        self._late: dict[tuple[str, str, str], _Watched] = {}

    def add(self, view: View, name: str, key: str, user: Any) -> None:
        """Somebody begins to look; beyond a limit nothing more is made at once."""
        watched = (name, key, user_key(user))
        if watched not in self._counts and len(self._counts) >= _WATCHED_MAX:
            return
        self._counts[watched] = self._counts.get(watched, 0) + 1
        by_user = self._watched.setdefault(name, {}).setdefault(key, {})
        by_user.setdefault(watched[2], _Watched(view, name, key, user))

    def remove(self, name: str, key: str, user: Any) -> None:
        watched = (name, key, user_key(user))
        left = self._counts.pop(watched, 0) - 1
        if left > 0:
            self._counts[watched] = left
        else:
            by_key = self._watched.get(name, {})
            by_key.get(key, {}).pop(watched[2], None)
            if not by_key.get(key, {}):
                by_key.pop(key, None)
            self._late.pop(watched, None)

    def touched(self, dropped: Dropped) -> Iterator[_Watched]:
        """Those that were let go of; perhaps some more of a view of which many were."""
        if not self._counts:
            return
        for name, arguments in dropped.pairs:
            key, _, user = arguments.partition("\x1f")
            by_user = self._watched.get(name, {}).get(key, {})
            yield from (found for whose, found in by_user.items() if not user or whose == user)
        for name in dropped.names:
            for by_user in self._watched.get(name, {}).values():
                yield from by_user.values()

    def renew(self, kept: Representations, dropped: Dropped, put: Callable[[Offer, View], None]) -> None:
        """Make anew what is watched and was let go of."""
        for found in self.touched(dropped):
            self._late[(found.name, found.key, user_key(found.user))] = found
        self.catch_up(kept, put)

    def catch_up(self, kept: Representations, put: Callable[[Offer, View], None]) -> int:
        """Make some of what waits; how many still do."""
        clock = self._maker.clock
        began, made = clock.monotonic(), 0
        while self._late and made < AT_ONCE_MAX and clock.monotonic() - began < SECONDS_MAX:
            (name, key, user), found = self._late.popitem()
            if kept.dependencies(name, key) is None and kept.dependencies(name, identity(key, user)) is None:
                self._make(found, kept, put)
                made += 1
        return len(self._late)

    def _make(self, found: _Watched, kept: Representations, put: Callable[[Offer, View], None]) -> None:
        """A view that fails must not fail the change: it stays absent, its last good bytes marked."""
        recording = Recording()
        with self._store.reader.snapshot() as reader:
            position = reader.seq()
            try:
                body = self._maker.run(found.view, found.key, found.user, reader, recording)
            except ANSWERS:
                return
            except Exception as fault:
                log.exception("view %s failed for %s", found.view.name, found.key)
                error = f"{type(fault).__name__}: {fault}"[:500]
                for arguments in (found.key, identity(found.key, user_key(found.user))):
                    kept.failed(found.name, arguments, error, position)
                return
        put(self._maker.offer(found.name, found.key, found.user, body, position, recording), found.view)
