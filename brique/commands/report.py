"""What a backend process reports to the engine after sending commands: outcomes, and the rows as they now stand."""

from __future__ import annotations

from typing import Any

import msgspec

from brique.schema import Row, State


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of the command at `position`. `theirs` and `keys` as in the journal."""

    position: int
    state: State
    reason: str = ""
    theirs: dict[str, Row | None] = {}
    keys: dict[str, str] = {}


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step of replay, to be taken in whole.

    `rows`: by table and key, the backend's rows read again after the outcomes (None: no such row there); the overlay
    of the commands at `shown` may go, because these rows contain their effect.
    """

    backend: str
    outcomes: list[Outcome] = []
    rows: dict[str, dict[str, Row | None]] = {}
    shown: list[int] = []


def to_payload(report: Report) -> dict[str, Any]:
    """`report` as plain data for the channel (bytes stay bytes)."""
    plain: dict[str, Any] = msgspec.to_builtins(report, builtin_types=(bytes,))
    return plain


def from_payload(payload: dict[str, Any]) -> Report:
    """The report in `payload`. Raises msgspec.ValidationError when it is none."""
    return msgspec.convert(payload, Report, builtin_types=(bytes,))
