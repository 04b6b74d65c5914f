"""Two people have changed one row: before, yours, theirs, field by field, and what to do about it.

The same page at once, when the copy already shows the other change, and later, when the backend said so at replay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request

from brique.clock import unstamp
from brique.pages.asks import asks_of_table
from brique.pages.format import DASH, Formats
from brique.pages.formpage import Form, Notice, sheet_of
from brique.pages.forms import Sheet
from brique.pages.parts import Parts
from brique.pages.seen import pack
from brique.pages.story import Teller, labels_of_key, row_title
from brique.schema import Change, Row, TableSpec, Value
from brique.views import Copy, StoredCommand

_SHORT_CHARS = 24
_HISTORY_MAX = 200


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


def differences(
    spec: TableSpec,
    before: Row,
    yours: Row,
    theirs: Row,
    text: Callable[[str, Value], str],
    *,
    taken: frozenset[str] = frozenset(),
) -> list[dict[str, Any]]:
    """The fields that somebody has changed, as the macro `conflict` draws them.

    `before` may know some columns only. A field that both changed, each to something else, `differs`: it is chosen,
    yours unless it is among `taken`.
    """
    rows = []
    for column in spec.columns:
        name = column.name
        mine, now, old = name in yours, theirs.get(name), before.get(name)
        by_them = name in before and old != now
        if (not mine and not by_them) or (mine and yours[name] == now):
            continue
        differs = mine and (by_them or name not in before)
        rows.append(
            {
                "name": name,
                "label": column.label,
                "before": text(name, old) if name in before else DASH,
                "yours": text(name, yours[name]) if mine else DASH,
                "theirs": text(name, now),
                "differs": differs,
                "choice": "theirs" if name in taken else "yours",
            }
        )
    return rows


def resend_label(rows: list[dict[str, Any]], formats: Formats) -> str:
    """What the button says: the value, when there is one to choose, is short and is yours."""
    chosen = [row for row in rows if row["differs"]]
    if len(chosen) == 1 and chosen[0]["choice"] == "yours" and len(chosen[0]["yours"]) <= _SHORT_CHARS:
        return formats.t(_("Send again with {value}"), value=chosen[0]["yours"])
    return formats.t(_("Send again"))


class Conflict:
    """Makes the form of a conflict for one reader. `copy` is inside its snapshot."""

    def __init__(self, parts: Parts, request: Request, teller: Teller, copy: Copy) -> None:
        self.parts, self.request, self.teller, self.copy = parts, request, teller, copy
        self.formats = teller.formats
        self.t: Callable[..., str] = teller.t

    def at_once(
        self,
        spec: TableSpec,
        key: str,
        *,
        before: Row,
        yours: Row,
        theirs: Row,
        texts: Mapping[str, str],
        token: str,
        replaces: str = "",
        taken: frozenset[str] = frozenset(),
    ) -> Form:
        """The form when the copy shows another value than the author saw; nothing of it has been kept."""
        heads = (self.t(_("Your entry")), self._theirs_head(spec, None))
        form = self._form(spec, key, before, yours, theirs, texts, token, heads, taken=taken)
        form.replaces = replaces
        sentence = _("Somebody has changed this row while you had it open. Nothing is sent yet: choose.")
        form.notices = [Notice("warn", self.t(sentence))]
        keep = self.t(_("Keep that of {backend}"), backend=self._backend(spec))
        if replaces:
            form.others = self._ends(spec, replaces)
        else:
            form.more["links"] = [(keep, f"/tables/{spec.name}/{key}")]
        return form

    def later(self, item: StoredCommand, change: Change, spec: TableSpec, theirs: Row, *, token: str) -> Form:
        """The form for a command that its backend met with another value."""
        before = self._as_seen(item, change) if change.before is not None else {}
        yours = change.after or {}
        sheet = self._sheet(spec)
        texts = {ask.name: sheet.shown(ask, yours[ask.name]) for ask in sheet.asks if ask.name in yours}
        entered = self.t(_("Your entry ({time})"), time=self._moment(item.command.at))
        heads = (entered, self._theirs_head(spec, item.settled_at))
        form = self._form(spec, change.key, before, yours, theirs, texts, token, heads)
        form.replaces = item.command.id
        form.others = self._ends(spec, item.command.id)
        if change.before is None:
            form.notices = [Notice("warn", self.t(_("There is already a row with this key.")))]
        return form

    def _ends(self, spec: TableSpec, receipt: str) -> list[tuple[str, str, str]]:
        keep = self.t(_("Keep that of {backend}"), backend=self._backend(spec))
        return [
            (self.t(_("Abandon my entry")), f"/outbox/{receipt}/abandon", ""),
            (keep, f"/outbox/{receipt}/dismiss", ""),
        ]

    def _form(
        self,
        spec: TableSpec,
        key: str,
        before: Row,
        yours: Row,
        theirs: Row,
        texts: Mapping[str, str],
        token: str,
        heads: tuple[str, str],
        *,
        taken: frozenset[str] = frozenset(),
    ) -> Form:
        sheet = self._sheet(spec)
        text = self.teller.teller_of(spec, list(spec.names), [before, yours, theirs])
        rows = differences(spec, before, yours, theirs, text, taken=taken)
        shown = sheet.texts_of(theirs) | {name: texts[name] for name in yours if name in texts}
        return Form(
            title=row_title(spec, key, labels_of_key(self.copy, spec, key)),
            action=f"/tables/{spec.name}/{key}/edit",
            asks=sheet.asks,
            texts=shown,
            token=token,
            tables=(spec.name,),
            current=f"table:{spec.name}",
            back=f"/tables/{spec.name}/{key}",
            values=theirs,
            seen=pack(theirs),
            save_label=resend_label(rows, self.formats),
            pills=[(self.t(_("conflict")), "bad")],
            differences=rows,
            heads=heads,
        )

    def _sheet(self, spec: TableSpec) -> Sheet:
        return sheet_of(self.parts, asks_of_table(spec, self.parts.specs, new=False), self.formats, self.copy)

    def _backend(self, spec: TableSpec) -> str:
        backend = self.parts.backends.get(spec.backend)
        return (backend.label or backend.name) if backend else spec.backend

    def _theirs_head(self, spec: TableSpec, settled_at: str | None) -> str:
        if settled_at is None:
            return self.t(_("In {backend}"), backend=self._backend(spec))
        return self.t(_("In {backend} ({time})"), backend=self._backend(spec), time=self._moment(settled_at))

    def _moment(self, stamp: str) -> str:
        """The time of day, with its date when that is not today."""
        moment, f = unstamp(stamp), self.formats
        today = f.date(self.parts.clock.now())
        return f.time(moment) if f.date(moment) == today else f.datetime(moment)

    def _as_seen(self, item: StoredCommand, change: Change) -> Row:
        """The row as its author saw it: the columns that he touched for certain, the others as the log knows them."""
        for logged in self.copy.history(change.table, change.key, _HISTORY_MAX):
            if logged.origin == item.position and logged.before is not None and logged.after is not None:
                return {**logged.before, **(change.before or {})}
        return dict(change.before or {})
