"""A change of one visible row: what listeners are told and the change log keeps."""

from __future__ import annotations

import msgspec

from brique.schema import Row
from brique.store.rows import same


class RowChange(msgspec.Struct, frozen=True, gc=False):
    """One visible row before and after a transaction, in store values. `pending_…`: its mark before and after."""

    table: str
    key: str
    before: Row | None
    after: Row | None
    pending_before: int = 0
    pending_after: int = 0
    seq: int = 0

    @property
    def columns(self) -> frozenset[str]:
        """The columns whose values differ; all of them when the row came or went."""
        if self.before is None or self.after is None:
            return frozenset(self.before or self.after or ())
        before, after = self.before, self.after
        if before is after:
            return frozenset()
        return frozenset(name for name, value in after.items() if not same(before.get(name), value))
