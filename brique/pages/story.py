"""What became of a command, in words: its state, what it asks for row by row, and what happened to it when."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from starlette.requests import Request

from brique.clock import unstamp
from brique.commands import EDITED, RETRIED, may
from brique.errors import BriqueError
from brique.http import User, at
from brique.pages.cells import Cells
from brique.pages.format import DASH, Formats
from brique.pages.parts import Parts
from brique.schema import PENDING, Change, Effect, Row, State, TableSpec, Value, label, split_key
from brique.views import Copy, Deed, StoredCommand, StoredRow, label_of

_FIELDS_SHOWN_MAX = 4
_ROWS_LISTED_MAX = 3
_ROWS_SHOWN_MAX = 50
_BESIDE_MAX = 100
_EFFECT_LETTERS_MAX = 160
_TEXT_SHOWN_MAX = 200


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


STATES: dict[State, tuple[str, str]] = {
    State.KEPT: (_("to send"), "warn"),
    State.SENDING: (_("sending"), "warn"),
    State.APPLIED: (_("sent"), "ok"),
    State.REFUSED: (_("refused"), "bad"),
    State.CONFLICT: (_("conflict"), "bad"),
    State.UNKNOWN: (_("outcome unknown"), "bad"),
    State.WITHDRAWN: (_("taken back"), ""),
}
"""The words for people, and their colour."""
REASONS = (
    _("The row had changed meanwhile."),
    _("The row is not there any more."),
    _("There is already a row with this key."),
    _("The row that it changes was never made."),
    _("It was sent, and the answer was lost: look in the backend whether it is there."),
)
"""What replay gives as reasons; whatever a backend says itself is shown as it said it."""
_ORIGINS = {
    "form": _("by form"),
    "api": _("by the API"),
    "import": _("by import"),
    "cli": _("on the command line"),
    "engine": _("by itself"),
}
_ENDING = ("dismissed",)
_DEEDS = {
    "withdrawn": _("Taken back"),
    "arrived": _("Found in the backend"),
    "not-arrived": _("Not found in the backend"),
    "dismissed": _("Dealt with"),
    "retried": _("Sent again as it was"),
    "edited": _("Sent again with other values"),
    "told": _("Its author was told by mail"),
}
"""The words for what people do about commands."""
_NAMES = {"create": _("New row"), "update": _("Change"), "delete": _("Deletion"), "mail": _("Mail")}


@dataclass(frozen=True)
class FieldStory:
    """One field of a row: as it was and as it is asked for, as text."""

    label: str
    before: str
    after: str


@dataclass(frozen=True)
class RowStory:
    """What a command asks of one row. `href`: the row's page, "" when there is none. `more`: fields left out."""

    what: str
    table: str
    row: str
    href: str
    fields: tuple[FieldStory, ...]
    more: int = 0


@dataclass(frozen=True)
class Event:
    """One step of a command's life. `moment` is None when it is still to come, or was not noted."""

    title: str
    moment: datetime | None
    text: str = ""
    kind: str = ""
    link: tuple[str, str] = ("", "")
    """(receipt, address) of another command that it is about."""


@dataclass(frozen=True)
class Story:
    """A command as pages tell it."""

    receipt: str
    href: str
    title: str
    user: str
    at: datetime
    state: str
    kind: str
    backend: str
    rows: tuple[RowStory, ...]
    more_rows: int = 0
    reason: str = ""
    tries: int = 0
    next_try: datetime | None = None
    dismissed: bool = False
    waits_for: tuple[tuple[str, str], ...] = ()
    """(receipt, address) of what goes first; `waits_for_count` of them."""
    waits_for_count: str = ""
    waiting: tuple[tuple[str, str], ...] = ()
    """Likewise, what waits for this one."""
    waiting_count: str = ""
    instead: str = ""
    """The receipt of what was sent instead of it, at `instead_href`."""
    instead_href: str = ""
    effects: tuple[str, ...] = ()
    """What it asks of its backend beside changes of rows."""
    tickable: bool = False
    events: tuple[Event, ...] = ()
    acts: tuple[tuple[str, str, str, str], ...] = ()
    """Buttons: (label, address, kind, question)."""
    attributes: Mapping[str, str] = field(default_factory=dict)


class Teller:
    """Tells stories to one reader. `copy` is inside its snapshot."""

    def __init__(self, parts: Parts, request: Request, user: User, formats: Formats, copy: Copy) -> None:
        self.parts, self.request, self.user, self.formats, self.copy = parts, request, user, formats, copy
        self.t: Callable[..., str] = formats.t

    def tell(self, item: StoredCommand, *, whole: bool = False) -> Story:
        """The story of `item`; `whole` with every field and every event."""
        command = item.command
        state, kind = STATES[item.state]
        shown = command.changes[: _ROWS_SHOWN_MAX if whole else _ROWS_LISTED_MAX]
        backend = self.parts.backends.get(command.backend)
        name = command.label or _NAMES.get(command.name, command.name)
        beside = self.copy.beside(item)
        deeds = self.copy.deeds([item.position]).get(item.position, []) if whole or item.dismissed else []
        instead = next((deed.other for deed in deeds if deed.what in (RETRIED, EDITED)), "")
        return Story(
            receipt=command.id,
            href=at(self.request.scope, f"/outbox/{command.id}"),
            title=self.t(name),
            user=command.user,
            at=unstamp(command.at),
            state=self.t(state),
            kind="" if item.dismissed else kind,
            backend=(backend.label or backend.name) if backend else command.backend,
            rows=(*(self.row(change, whole=whole) for change in shown), *map(self.effect, command.effects)),
            more_rows=len(command.changes) - len(shown),
            reason=self.formats.retell(item.reason) if item.reason else "",
            tries=item.tries,
            next_try=unstamp(item.next_try) if item.next_try else None,
            dismissed=item.dismissed,
            waits_for=tuple((receipt, self._receipt_href(receipt)) for receipt, _position in beside.before),
            waits_for_count=self._many(beside.before_count),
            waiting=tuple((receipt, self._receipt_href(receipt)) for receipt, _position in beside.after),
            waiting_count=self._many(beside.after_count),
            instead=instead,
            instead_href=self._receipt_href(instead) if instead else "",
            effects=tuple(self._effect(effect) for effect in command.effects[:_ROWS_LISTED_MAX]),
            tickable=self._is_tickable(item),
            events=self._events(item, deeds) if whole else (),
            acts=self._acts(item),
        )

    def path(self, path: str) -> str:
        """`path` of this intranet as the reader's browser must ask for it."""
        return at(self.request.scope, path)

    def _receipt_href(self, receipt: str) -> str:
        return self.path(f"/outbox/{receipt}")

    def _many(self, count: int) -> str:
        """A number of commands, "" for none; those beside a command are not counted out."""
        if not count:
            return ""
        return self.formats.number(count) if count < _BESIDE_MAX else f"≥ {self.formats.number(_BESIDE_MAX)}"

    def _effect(self, effect: Effect) -> str:
        """An effect in a line: what is called, or to whom a mail goes."""
        arguments = effect.arguments
        if "subject" in arguments:
            return f"{effect.name}: {arguments.get('to', '')} · {arguments['subject']}"[:_EFFECT_LETTERS_MAX]
        given = ", ".join(f"{name}={value}" for name, value in arguments.items() if not isinstance(value, bytes))
        return f"{effect.name}({given})"[:_EFFECT_LETTERS_MAX]

    def _is_tickable(self, item: StoredCommand) -> bool:
        """Whether something can be done to it together with others."""
        open_ = item.state is State.KEPT or (item.state.needs_person and not item.dismissed)
        return open_ and may(self.user, "write")

    def row(self, change: Change, *, whole: bool = False) -> RowStory:
        """What `change` asks of its row."""
        t = self.t
        spec = self.parts.specs.get(change.table)
        what = t(_("New row") if change.before is None else _("Deletion") if change.after is None else _("Change"))
        if spec is None:
            return RowStory(what, change.table, change.key, "", ())
        told = self._fields(spec, change)
        shown = told if whole else told[:_FIELDS_SHOWN_MAX]
        return RowStory(
            what=what,
            table=spec.label,
            row=self.label(spec, change),
            href=self._href(spec, change.key),
            fields=tuple(shown),
            more=len(told) - len(shown),
        )

    def effect(self, effect: Effect) -> RowStory:
        """What the command asks for beside rows: a mail, the call of a procedure."""
        given = [
            (name, value)
            for name, value in effect.arguments.items()
            if value not in ("", None, []) and _is_plain(value)
        ]
        is_mail = effect.name == "send" and "subject" in effect.arguments
        what = self.t(_("Mail") if is_mail else _("Call"))
        fields = tuple(FieldStory(label(name), "", _short(value)) for name, value in given if name != "html")
        return RowStory(what, "" if is_mail else effect.name, "", "", fields)

    def label(self, spec: TableSpec, change: Change) -> str:
        """The row's label: as the copy has it, else as the change says."""
        label = labels_of_key(self.copy, spec, change.key)
        if label:
            return label
        values = dict.fromkeys(spec.names) | (change.before or {}) | (change.after or {})
        made = label_of(spec, StoredRow(change.key, 0, 0, values))
        return made if made != change.key else readable_key(change.key) or self.t(_("new row"))

    def _href(self, spec: TableSpec, key: str) -> str:
        try:
            present = self.copy.row(spec.name, key) is not None
        except BriqueError:
            present = False
        return at(self.request.scope, f"/tables/{spec.name}/{key}") if present else ""

    def _fields(self, spec: TableSpec, change: Change) -> list[FieldStory]:
        before, after = change.before or {}, change.after or {}
        deleted = change.after is None
        named = [name for name in spec.names if name in (before if deleted else after)]
        text = self.teller_of(spec, named, [before, after])
        told = []
        for name in named:
            if deleted and before[name] is None:
                continue
            was = text(name, before.get(name)) if change.before is not None else ""
            told.append(FieldStory(spec.by_name[name].label, was, "" if deleted else text(name, after.get(name))))
        return told

    def teller_of(self, spec: TableSpec, names: list[str], rows: list[Row]) -> Callable[[str, Value], str]:
        """What writes a value of a column as text, with the label of the row that it refers to."""
        cells = Cells(spec, self.formats, lambda path: at(self.request.scope, path))
        labels: dict[str, Mapping[Value, str]] = {}
        for name in names:
            reference = spec.reference_of.get(name)
            if reference is not None and reference.table in self.parts.specs:
                try:
                    labels[name] = self.copy.labels_of(reference, [row.get(name) for row in rows])
                except BriqueError:  # not in the copy yet: the key is shown
                    continue

        def text(name: str, value: Value) -> str:
            if value is None or value == "":
                return DASH
            plain = cells.text(spec.by_name[name], value)
            label = labels.get(name, {}).get(value, "")
            if not label:
                return plain
            return label if plain in label else f"{plain} {label}"

        return text

    def _acts(self, item: StoredCommand) -> tuple[tuple[str, str, str, str], ...]:
        """What the reader may do about it, beside the forms of its own page."""
        t, acts = self.t, []
        base = at(self.request.scope, f"/outbox/{item.command.id}")
        if not may(self.user, "write"):
            return ()
        if item.state is State.KEPT:
            acts.append((t(_("Take back")), f"{base}/withdraw", "", t(_("Take this back? It will not be sent."))))
        elif item.state.needs_person and not item.dismissed:
            acts.append((t(_("Look at it")), base, "primary", ""))
        return tuple(acts)

    def _events(self, item: StoredCommand, deeds: Sequence[Deed]) -> tuple[Event, ...]:
        t, command = self.t, item.command
        origin = t(_ORIGINS.get(command.origin, command.origin))
        events = [
            Event(t(_("Kept")), unstamp(command.at), t(_("by {user}, {origin}"), user=command.user, origin=origin))
        ]
        if command.replaces:
            link = (command.replaces, self._receipt_href(command.replaces))
            events.append(Event(t(_("Sends anew what another receipt asked")), unstamp(command.at), link=link))
        if item.tries:
            why = self.formats.retell(item.reason) if item.state in (State.KEPT, State.SENDING) and item.reason else ""
            events.append(
                Event(t(_("Tried {n} times without an answer"), n=self.formats.number(item.tries)), None, why)
            )
        if item.state in (State.KEPT, State.SENDING):
            events.append(self._awaited(item))
        else:
            state, kind = STATES[item.state]
            moment = unstamp(item.settled_at) if item.settled_at else None
            events.append(
                Event(_capital(t(state)), moment, self.formats.retell(item.reason) if item.reason else "", kind)
            )
        events += [self._deed(deed) for deed in deeds]
        if item.dismissed and not any(deed.what in (*_ENDING, RETRIED, EDITED) for deed in deeds):
            events.append(Event(t(_("Dealt with")), None))
        return tuple(events)

    def _deed(self, deed: Deed) -> Event:
        """What somebody did about it: who, from where, and what came of it."""
        t = self.t
        origin = t(_ORIGINS.get(deed.origin, deed.origin))
        where = ", ".join(part for part in (origin, deed.address) if part)
        who = t(_("by {user}, {origin}"), user=deed.by, origin=where) if where else t(_("by {user}"), user=deed.by)
        link = (deed.other, self._receipt_href(deed.other)) if deed.other else ("", "")
        return Event(t(_DEEDS.get(deed.what, deed.what)), unstamp(deed.at), who, link=link)

    def _awaited(self, item: StoredCommand) -> Event:
        t = self.t
        title = t(_("Being sent") if item.state is State.SENDING else _("Will be sent as soon as {backend} answers"),
                  backend=self.tell_backend(item))  # fmt: skip
        moment = unstamp(item.next_try) if item.next_try else None
        return Event(title, moment, t(_("next try")) if moment else "", "warn")

    def tell_backend(self, item: StoredCommand) -> str:
        """The backend's name for people."""
        backend = self.parts.backends.get(item.command.backend)
        return (backend.label or backend.name) if backend else item.command.backend


def labels_of_key(copy: Copy, spec: TableSpec, key: str) -> str:
    """The label of the row with this key, "" when it is not there or is called by nothing but its key."""
    try:
        row = copy.row(spec.name, key)
    except BriqueError:
        return ""
    label = label_of(spec, row) if row is not None else ""
    return label if row is not None and label != row.key else ""


def readable_key(key: str) -> str:
    """A key as people read it, "" for one that the backend has not given yet."""
    if key.startswith(PENDING):
        return ""
    try:
        return ", ".join(part or DASH for part in split_key(key))
    except ValueError:
        return key


def row_title(spec: TableSpec, key: str, label: str) -> str:
    """A row as the title of a page: its table and what it is called."""
    return " ".join(part for part in (spec.label, label or readable_key(key)) if part)


def _is_plain(value: Any) -> bool:
    return not isinstance(value, bytes) and not (isinstance(value, list) and any(isinstance(v, list) for v in value))


def _short(value: Any) -> str:
    """A value that an effect carries, as text of one line."""
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    line = " ".join(text.split())
    return line if len(line) <= _TEXT_SHOWN_MAX else f"{line[: _TEXT_SHOWN_MAX - 1]}…"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
