"""Why a view says what it says: what its kept bytes depend on, how they came about, and what let go of those before.

Read from the store alone, so it can be asked while the intranet runs and while it does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from brique.clock import stamp, unstamp
from brique.schema import TableSpec
from brique.store import BY_CLOCK, CellSpec, LoggedChange, Making, Reader
from brique.store import Representation as Kept
from brique.views.keeper import kept_name
from brique.views.notes import Notes, unpack
from brique.views.pattern import Pattern
from brique.views.view import View, key_of
from brique.views.wording import Dependency, Wording, total_of

State = Literal["ready", "let go", "ended", "failing"]
_USERS_MAX = 20


class Cause(msgspec.Struct, frozen=True):
    """What ended the bytes before these (or these themselves, when they are not ready any more).

    `what`: "change" (of row `key` of `table`, in `columns`), "reload" (all rows of `table` anew), "clock", "first"
    (made for the first time, or after room was made) or "forgotten" (a change that the log does not reach back to).
    `by`: the command's name, "" for a refresh; `user` and `receipt` are the command's.
    """

    what: str
    at: str = ""
    table: str = ""
    key: str = ""
    columns: tuple[str, ...] = ()
    by: str = ""
    user: str = ""
    receipt: str = ""


class Known(msgspec.Struct, frozen=True):
    """Bytes that are kept for some arguments. `user`: whose they are, "" for everybody's. `since` and `until`: the
    clock between which they hold. `took_ms`: how long the view ran. `makes`: how often it was made since it is kept."""

    state: State
    user: str
    made_at: str
    age_seconds: float
    position: int
    took_ms: float
    makes: int
    used_at: str
    bytes: int
    etag: str
    since: str
    until: str
    error: str
    cause: Cause
    depends: tuple[Dependency, ...] = ()


class Why(msgspec.Struct, frozen=True):
    """One view for some arguments. `other_code`: bytes are kept that another version of the code has made."""

    view: str
    label: str
    kind: str
    path: str
    code: str
    role: str
    arguments: dict[str, Any]
    fresh_seconds: float | None
    kept: tuple[Known, ...]
    other_code: bool
    tables: dict[str, str | None]
    warnings: tuple[str, ...]


def why(
    view: View,
    arguments: Mapping[str, Any],
    reader: Reader,
    specs: Mapping[str, TableSpec],
    now: datetime,
    *,
    user: str | None = None,
    release: str = "",
) -> Why:
    """What is known of `view` for `arguments` (texts or values). `user`: only what is for everybody or for him.

    Raises BadInput for arguments that the view does not take, EngineAway while there is no store.
    """
    key = key_of(view.arguments(arguments))
    name = kept_name(view, specs, release)
    with reader.snapshot():
        asked = _Asked(reader, specs, name, now)
        found = [known for known in asked.all_of(key) if user is None or known.user in ("", user)]
        names = reader.representations.names()
        tables = {one.table for known in found for one in known.depends}
        confirmed = {table: reader.table_state(table).confirmed_at for table in sorted(tables)}
    return Why(
        view=view.name,
        label=view.label,
        kind=view.kind,
        path=view.path,
        code=place_of(view),
        role=view.role,
        arguments=view.arguments(arguments),
        fresh_seconds=view.fresh_seconds,
        kept=tuple(found),
        other_code=any(one != name and one.rpartition("@")[0] == view.name for one in names),
        tables={table: stamp(at) if at else None for table, at in confirmed.items()},
        warnings=view.warnings,
    )


def place_of(view: View) -> str:
    """FILE:LINE of the function."""
    code = getattr(view.function, "__code__", None)
    return "" if code is None else f"{Path(code.co_filename).name}:{code.co_firstlineno}"


class _Asked:
    """The representations of one kept name, on one state of the store."""

    def __init__(self, reader: Reader, specs: Mapping[str, TableSpec], name: str, now: datetime) -> None:
        self._reader, self._kept, self._name, self._now = reader, reader.representations, name, now
        decoded = (msgspec.msgpack.decode(raw, type=Pattern) for _, raw in self._kept.patterns())
        self._patterns = {pattern.number: pattern for pattern in decoded}
        cells = [msgspec.msgpack.decode(raw, type=CellSpec) for raw in self._kept.cells()]
        self._wording = Wording(specs, frozenset(total_of(cell.table, cell.conditions) for cell in cells))

    def all_of(self, key: str) -> list[Known]:
        """What is kept for these arguments, for everybody first."""
        found = []
        for arguments in self._kept.identities(self._name, key, _USERS_MAX):
            kept, making = self._kept.get(self._name, arguments), self._kept.making(self._name, arguments)
            if kept is not None and making is not None:
                found.append(self._known(kept, making))
        return sorted(found, key=lambda known: known.user)

    def _known(self, kept: Kept, making: Making) -> Known:
        notes = Notes() if kept.dependencies is None else unpack(kept.dependencies)
        return Known(
            state=_state(kept, stamp(self._now)),
            user=kept.user.lstrip("+").partition("\x1f")[0],
            made_at=kept.made_at,
            age_seconds=round((self._now - unstamp(kept.made_at)).total_seconds(), 3),
            position=kept.position,
            took_ms=making.took_us / 1000,
            makes=making.makes,
            used_at=making.used_at,
            bytes=making.size,
            etag=kept.etag,
            since=kept.since,
            until=kept.until or "",
            error=kept.error,
            cause=self._cause(making.cause),
            depends=tuple(self._wording.all_of(notes, self._patterns)),
        )

    def _cause(self, number: int) -> Cause:
        if number == BY_CLOCK:
            return Cause("clock")
        if number <= 0:
            return Cause("first")
        change = self._reader.change(number)
        if change is None:
            return Cause("forgotten")
        return cause_of(change, self._reader)


def cause_of(change: LoggedChange, reader: Reader) -> Cause:
    """A change of the log as a cause: which row and columns, and by whom."""
    at = stamp(change.at) if change.at else ""
    if change.key is None:
        return Cause("reload", at, change.table)
    command = None if change.origin is None else reader.command(change.origin)
    columns = tuple(sorted(change.columns)) if change.before and change.after else ()
    if change.before and change.after and not columns:
        columns = ("_pending",)
    if command is None:
        return Cause("change", at, change.table, change.key, columns)
    given = command.command
    return Cause("change", at, change.table, change.key, columns, given.name, given.user, given.id)


def _state(kept: Kept, now: str) -> State:
    if not kept.last_good:
        return "failing"
    if kept.dependencies is None:
        return "let go"
    return "ended" if (kept.until is not None and kept.until <= now) or kept.since > now else "ready"


__all__ = ["Cause", "Known", "Why", "cause_of", "place_of", "why"]
