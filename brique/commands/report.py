"""What a backend process reports to the engine after sending commands: outcomes, and the rows as they now stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from brique.commands.waiting import Waiting
from brique.schema import Row, State
from brique.store import count_in, positions_in

PART_MAX = 1_000
"""Commands in one report."""
AS_WANTED_MAX = 2_000
"""Commands in one report that tells of no rows."""


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of the command at `position`. `theirs` and `keys` as in the journal; `results`: what its effects
    were answered with, in their order."""

    position: int
    state: State
    reason: str = ""
    theirs: dict[str, Row | None] = {}
    keys: dict[str, str] = {}
    results: list[Row] = []


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step of replay, to be taken in whole.

    `rows`: by table and key, the backend's rows read again after the outcomes (None: no such row there); the overlay
    of the commands at `shown` may go, because these rows contain their effect.

    `as_wanted`: ranges (first, last) of positions of commands that were applied too, before those of `outcomes` on the
    same rows, and have done to their rows what they wanted, to the letter: their effect on the source's rows is known
    without reading these again.
    """

    backend: str
    outcomes: list[Outcome] = []
    rows: dict[str, dict[str, Row | None]] = {}
    shown: list[int] = []
    as_wanted: list[tuple[int, int]] = []

    @property
    def done(self) -> list[int]:
        """The positions in `as_wanted`."""
        return positions_in(self.as_wanted)

    @property
    def count(self) -> int:
        """How many commands it is about."""
        return len(self.outcomes) + count_in(self.as_wanted)

    @property
    def last(self) -> int:
        """The highest position that it is about; 0 when there is none."""
        highest = max((last for _, last in self.as_wanted), default=0)
        return max(highest, max((outcome.position for outcome in self.outcomes), default=0))


def in_parts(report: Report, items: Sequence[Waiting]) -> list[Report]:
    """`report`, about `items`, in parts of up to `PART_MAX` commands, each with the rows of its commands: between two
    of them the engine has time for others."""
    if len(items) <= PART_MAX:
        return [report]
    found, shown = [], set(report.shown)
    for at in range(0, len(items), PART_MAX):
        outcomes = report.outcomes[at : at + PART_MAX]
        rows: dict[str, dict[str, Row | None]] = {}
        for item, outcome in zip(items[at : at + PART_MAX], outcomes, strict=True):
            for change in item.command.changes:
                there = report.rows.get(change.table, {})
                key = outcome.keys.get(change.key, change.key)
                if key in there:
                    rows.setdefault(change.table, {})[key] = there[key]
        parted = [outcome.position for outcome in outcomes if outcome.position in shown]
        found.append(Report(report.backend, outcomes=outcomes, rows=rows, shown=parted))
    return found


def without_rows(report: Report) -> Report:
    """`report` without what the backend holds: the outcomes alone, where the rows are more than a message may be. The
    next refresh brings them."""
    outcomes = [msgspec.structs.replace(outcome, theirs={}, results=[]) for outcome in report.outcomes]
    return msgspec.structs.replace(report, outcomes=outcomes, rows={}, shown=[])


def to_payload(report: Report) -> dict[str, Any]:
    """`report` as the channel carries it: packed once, not taken apart."""
    return {"report": _ENCODER.encode(report)}


def from_payload(payload: dict[str, Any]) -> Report:
    """The report in `payload`. Raises msgspec.ValidationError when it is none."""
    packed = payload.get("report")
    if not isinstance(packed, bytes):
        raise msgspec.ValidationError("a report is expected")
    return _DECODER.decode(packed)


_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[Report] = msgspec.msgpack.Decoder(Report)
