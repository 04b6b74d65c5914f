"""What a backend shows now, beside what was sent to it: for a person who must say whether it has arrived."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from brique.errors import BriqueError
from brique.pages.format import DASH
from brique.pages.story import Teller, labels_of_key, readable_key
from brique.schema import PENDING, Change, Kind, Row, TableSpec
from brique.views import Copy, Filter, ListQuery, StoredCommand

_ROWS_SHOWN_MAX = 20
_LIKE_MAX = 5
_COMPARED = (Kind.TEXT, Kind.INTEGER, Kind.DECIMAL, Kind.DATE, Kind.DATETIME, Kind.TIME, Kind.BOOLEAN)


@dataclass(frozen=True)
class Field:
    """One field: before, as it was sent, as the backend has it; `same`: what was sent is there."""

    label: str
    before: str
    sent: str
    now: str
    same: bool


@dataclass(frozen=True)
class RowThere:
    """One row: `found` whether the backend has it; `numbered` whether its key is known; else `like`: (label, address)
    of rows that it could be. `of`: when the backend was read."""

    what: str
    label: str
    href: str
    fields: tuple[Field, ...]
    found: bool
    is_new: bool
    numbered: bool
    like: tuple[tuple[str, str], ...]
    of: datetime | None


class There:
    """Looks into the copy for one reader. `copy` is inside its snapshot."""

    def __init__(self, teller: Teller, copy: Copy) -> None:
        self.teller, self.copy = teller, copy

    def rows(self, item: StoredCommand) -> list[RowThere]:
        """The rows of a command as the backend shows them; tables that are not in the copy are left out."""
        found = []
        for change in item.command.changes[:_ROWS_SHOWN_MAX]:
            spec = self.teller.parts.specs.get(change.table)
            if spec is None:
                continue
            try:
                found.append(self._row(spec, change))
            except BriqueError:  # not in the copy yet
                continue
        return found

    def _row(self, spec: TableSpec, change: Change) -> RowThere:
        key = self.copy.real_key(spec.name, change.key)
        numbered = not key.startswith(PENDING)
        now = self.copy.base(spec.name, key) if numbered else None
        told = self.teller.row(change, whole=True)
        return RowThere(
            what=told.what,
            label=f"{told.table} {told.row}",
            href=told.href,
            fields=self._fields(spec, change, now),
            found=now is not None,
            is_new=change.before is None,
            numbered=numbered,
            like=() if numbered else self._like(spec, change.after or {}),
            of=self.copy.table_state(spec.name).confirmed_at,
        )

    def _fields(self, spec: TableSpec, change: Change, now: Row | None) -> tuple[Field, ...]:
        before, after = change.before or {}, change.after or {}
        names = [name for name in spec.names if name in (before if change.after is None else after)]
        text = self.teller.teller_of(spec, names, [before, after, now or {}])
        fields = []
        for name in names:
            fields.append(
                Field(
                    label=spec.by_name[name].label,
                    before=text(name, before.get(name)) if change.before is not None else DASH,
                    sent=DASH if change.after is None else text(name, after.get(name)),
                    now=DASH if now is None else text(name, now.get(name)),
                    same=now is not None and change.after is not None and now.get(name) == after.get(name),
                )
            )
        return tuple(fields)

    def _like(self, spec: TableSpec, after: Row) -> tuple[tuple[str, str], ...]:
        """Rows of the backend that hold every value that was sent, the newest first."""
        filters = tuple(
            Filter(name, "eq", value)
            for name, value in after.items()
            if value is not None and name in spec.by_name and spec.by_name[name].kind in _COMPARED
        )
        if not filters:
            return ()
        sort = tuple((name, True) for name in spec.key[:1])
        page = self.copy.browse(spec.name, ListQuery(filters=filters, sort=sort, limit=_LIKE_MAX + 1))
        rows = [row for row in page.rows if not row.key.startswith(PENDING)][:_LIKE_MAX]
        found = []
        for row in rows:
            label = labels_of_key(self.copy, spec, row.key) or readable_key(row.key)
            found.append((label, self.teller.path(f"/tables/{spec.name}/{row.key}")))
        return tuple(found)
