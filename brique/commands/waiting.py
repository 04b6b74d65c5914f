"""A command on its way, and what is known of those that it builds on. Pure.

A command builds on another one in three ways: it changes a row that the other one makes or changes, a value or key of
it holds the temporary key (`new-<receipt>`) of a row that the other one makes, or it names the other one in `after`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from brique.schema import PENDING, Change, Command, State, TableSpec

Row = tuple[str, str]
"""Table and key."""


class Waiting(NamedTuple):
    """A command not yet settled, and where it stands in the spool; `sending` when it was sent before and nobody knows
    whether it arrived."""

    position: int
    state: State
    command: Command


class Parent(NamedTuple):
    """What became of a command that another one builds on."""

    state: State
    name: str
    reason: str = ""


def rows_of(command: Command) -> list[Row]:
    """The rows that the command changes."""
    return [(change.table, change.key) for change in command.changes]


def maker(key: str) -> str:
    """The receipt in a temporary key (or in a part of a composite one): that of the command that makes the row."""
    return key.partition(PENDING)[2].partition(",")[0].partition(".")[0]


def leans_on(change: Change, specs: Mapping[str, TableSpec]) -> Iterator[Row]:
    """Table and temporary key of every row that must have its number before the change can be sent."""
    spec = specs.get(change.table)
    if spec is None:
        return
    for name, reference in spec.reference_of.items():
        for values in (change.after, change.before):
            value = values.get(name) if values else None
            if isinstance(value, str) and value.startswith(PENDING):
                yield reference.table, value
    if change.before is not None and change.key.startswith(PENDING):
        yield change.table, change.key


def refusal(parent: Parent | None, receipt: str) -> str:
    """Why a command must be refused that builds on one that ended so; "" while it need not."""
    if parent is None:
        return f"It builds on the command {receipt}, which is not known any more."
    if parent.state in (State.REFUSED, State.CONFLICT, State.WITHDRAWN):
        why = f": {parent.reason}" if parent.reason else "."
        return f"It builds on {parent.name or 'the command'} ({receipt}), which ended as {parent.state}{why}"
    return ""
