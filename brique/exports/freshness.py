"""The age of data, as programs are told it: headers and stamps, the same in the API and beside a file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from brique.clock import stamp
from brique.errors import Busy
from brique.views import Copy, TableState


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


@dataclass(frozen=True)
class Freshness:
    """`as_of`: when the backend confirmed the rows (None: never). `position`: of the store they were read from."""

    as_of: datetime | None
    position: int
    age_seconds: int | None

    @property
    def as_of_text(self) -> str | None:
        return None if self.as_of is None else stamp(self.as_of)

    def headers(self) -> dict[str, str]:
        """`Brique-Age` in seconds (left out when nobody knows) and `Brique-Position`."""
        age = {} if self.age_seconds is None else {"Brique-Age": str(self.age_seconds)}
        return {**age, "Brique-Position": str(self.position)}


def freshness(copy: Copy, table: str, now: datetime) -> Freshness:
    """How old the rows of `table` are in `copy` (inside its snapshot).

    Raises Busy while its first copy is still under way: no rows yet does not mean that there are none.
    """
    state = check_copied(copy, table)
    return aged(state.confirmed_at, copy.seq(), now)


def check_copied(copy: Copy, table: str) -> TableState:
    """The state of `table`, whose rows are there. Raises Busy as `freshness`."""
    state = copy.table_state(table)
    if not state.loaded:
        raise Busy(
            _("This table is still being copied from its backend."),
            try_this=_("Try again in a moment."),
            rows_done=state.rows_done,
            rows_total=state.rows_total,
        )
    return state


def aged(as_of: datetime | None, position: int, now: datetime) -> Freshness:
    """The freshness of what was confirmed at `as_of`, seen at `now`."""
    age = None if as_of is None else max(0, int((now - as_of).total_seconds()))
    return Freshness(as_of, position, age)
