"""Who watches what, for a while: a holder that is not heard of any more watches nothing. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)
FOREVER = ""
"""The holder who never has to be heard of."""


class Leases(Generic[Item]):
    """The items of each holder, and the holders of each item. Times are seconds that never go back."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._heard: dict[str, float] = {}
        self._items: dict[str, set[Item]] = {}
        self._holders: dict[Item, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._holders)

    def __contains__(self, item: Item) -> bool:
        return item in self._holders

    def heard(self, holder: str, now: float) -> bool:
        """The holder is alive; whether it was known before."""
        known = holder in self._heard
        self._heard[holder] = now
        return known

    def add(self, holder: str, item: Item) -> None:
        self._items.setdefault(holder, set()).add(item)
        self._holders.setdefault(item, {})[holder] = None

    def remove(self, holder: str, item: Item) -> bool:
        """True when nobody holds the item any more."""
        self._items.get(holder, set()).discard(item)
        holders = self._holders.get(item, {})
        holders.pop(holder, None)
        if not holders:
            self._holders.pop(item, None)
        return not holders

    def of(self, item: Item) -> list[str]:
        """Who holds it, oldest first, but for who holds it for ever."""
        return [holder for holder in self._holders.get(item, ()) if holder != FOREVER]

    def items(self, holder: str) -> set[Item]:
        return set(self._items.get(holder, ()))

    def expire(self, now: float) -> list[Item]:
        """Forget those that were not heard of for too long; what nobody holds any more."""
        gone: list[Item] = []
        for holder in [holder for holder, heard in self._heard.items() if now - heard > self._seconds]:
            gone += [item for item in self._items.pop(holder, set()) if self.remove(holder, item)]
            del self._heard[holder]
        return gone
