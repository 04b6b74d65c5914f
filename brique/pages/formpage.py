"""A form as a page: its fields, what has gone wrong with it, and what it carries unseen."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from brique.commands import Again, Clerk
from brique.errors import BadInput, BriqueError, Busy, EngineAway, NoRoom, NotFound, Refused, TokenReused, TooMuch
from brique.http import at, describe, language_of, user_of
from brique.pages.asks import Ask
from brique.pages.format import Formats
from brique.pages.forms import Sheet, Typed
from brique.pages.frame import Frame
from brique.pages.parts import Parts
from brique.pages.received import LANGUAGE, REPLACES, SEEN, TOKEN, Received
from brique.pages.references import CopyReferences, NoReferences, References
from brique.pages.render import page
from brique.pages.seen import Seen
from brique.pages.sources import source_of
from brique.pages.speaking import formats_of
from brique.schema import Row
from brique.views import Copy

log = logging.getLogger(__name__)
SHOWN = (BadInput, Refused, TokenReused, EngineAway, Busy, NoRoom, TooMuch)
"""Faults that are told in the form, with everything that was typed still in it."""
NOT_KEPT = (EngineAway, Busy, NoRoom)


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


@dataclass(frozen=True)
class Notice:
    """Something said above a form. `action` and `href`: a link beside it."""

    kind: str
    title: str
    text: str = ""
    action: str = ""
    href: str = ""


@dataclass
class Form:
    """A form on its way to the page. Paths are of this intranet, without the prefix it is mounted below.

    `values`: the row as it is (for files). `seen`: packed; `next_label`: the button that saves and begins another one;
    `files_lost`: a file had been chosen, which the browser does not send again;
    `differences`: rows of a conflict, with `heads` above them; `others`: further buttons (label, path, kind).
    """

    title: str
    action: str
    asks: Sequence[Ask]
    texts: Mapping[str, str]
    token: str
    tables: tuple[str, ...] = ()
    current: str = ""
    back: str = ""
    values: Row = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)
    seen: str = ""
    replaces: str = ""
    save_label: str = ""
    next_label: str = ""
    files_lost: bool = False
    focus: str = ""
    pills: list[tuple[str, str]] = field(default_factory=list)
    differences: list[dict[str, Any]] = field(default_factory=list)
    heads: tuple[str, str] = ("", "")
    others: list[tuple[str, str, str]] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)


def formats_for(parts: Parts, request: Request, language: str = "") -> Formats:
    """The formats of the reader's language, or of the one that a form was shown in."""
    if language not in parts.languages:
        language = language_of(request, parts.languages)
    return formats_of(language, parts.timezone.key)


@contextmanager
def copy_if_any(parts: Parts) -> Iterator[Copy | None]:
    """A reader inside its snapshot, or None while there is no store: what was typed must be shown all the same."""
    with parts.borrow() as copy:
        try:
            copy.seq()
        except EngineAway:
            yield None
            return
        with copy.snapshot():
            yield copy


def sheet_of(parts: Parts, asks: Sequence[Ask], formats: Formats, copy: Copy | None) -> Sheet:
    references: References = NoReferences() if copy is None else CopyReferences(copy, parts.specs)
    return Sheet(asks, formats, references, cell_bytes_max=parts.settings.cell_bytes_max)


def show(parts: Parts, request: Request, form: Form, copy: Copy | None, status: int = 200) -> Response:
    """The page of `form`."""
    formats = formats_for(parts, request)
    sheet = sheet_of(parts, form.asks, formats, copy)
    fields = sheet.fields(
        form.texts,
        faults=form.faults,
        values=form.values,
        lookup=lambda table: at(request.scope, f"/lookup/{table}"),
        focus=next((row["name"] for row in form.differences if row["differs"]), form.focus),
    )
    hidden = {TOKEN: form.token, LANGUAGE: formats.language}
    hidden |= {name: text for name, text in ((SEEN, form.seen), (REPLACES, form.replaces)) if text}
    context = Frame(parts).context(
        request,
        title=form.title,
        current=form.current,
        tables=form.tables,
        copy=copy,
        form_action=at(request.scope, form.action),
        hidden=hidden,
        asked=fields,
        has_files=any(made.kind == "file" for made in fields),
        labels={made.name: made.label for made in fields},
        faults={made.name: made.error for made in fields if made.error},
        notices=form.notices,
        save_label=form.save_label or save_label(parts, formats, form.tables, copy),
        next_label=form.next_label,
        differences=form.differences,
        heads=form.heads,
        others=[(label, at(request.scope, path), kind) for label, path, kind in form.others],
        links=[],
        intro="",
        story=None,
    )
    back = at(request.scope, form.back) if form.back else ""
    context |= {"back": back, "pills": form.pills, **form.more}
    context["links"] = [(label, at(request.scope, path)) for label, path in context["links"]]
    return page(parts, request, "form.html", context, status)


def save_label(parts: Parts, formats: Formats, tables: Sequence[str], copy: Copy | None) -> str:
    """What the button says: that the command will be sent later, when its backend is not there now."""
    names = {parts.specs[table].backend for table in tables if table in parts.specs}
    states = copy.backend_states() if copy is not None else {}
    away = any(name in states and states[name].state != "live" for name in names)
    return formats.t(_("Save (will be sent)")) if away else formats.t(_("Save"))


def sentence_of(fault: BriqueError, language: str) -> str:
    """`fault` in a line where there is no form to show it in: with its fields."""
    told = describe(fault, language)
    fields = fault.fields if isinstance(fault, BadInput) else {}
    t = formats_of(language, "UTC").t
    named = "; ".join(f"{name}: {t(text)}" for name, text in fields.items())
    return f"{told['detail']} {named}".strip()


def notice_of(fault: BriqueError, request: Request, language: str) -> Notice:
    """`fault` as a person needs it: what is wrong, and what became of what was typed."""
    told = describe(fault, language)
    t = formats_of(language, "UTC").t
    detail, try_this = str(told["detail"]), str(told.get("try_this", ""))
    if isinstance(fault, NOT_KEPT):
        why = t(_("The disk is full.") if isinstance(fault, NoRoom) else _("What keeps entries does not answer now."))
        kept = t(_("Everything you typed is still here: try again in a moment. It cannot be sent twice."))
        return Notice("bad", t(_("Not kept.")), f"{why} {kept}")
    if isinstance(fault, TokenReused):
        href = at(request.scope, f"/outbox/{fault.facts.get('receipt', '')}")
        return Notice("warn", detail, try_this, t(_("What was kept")), href)
    return Notice("bad", detail, try_this)


def read(
    parts: Parts, request: Request, asks: tuple[Ask, ...], got: Received, seen: Seen | None
) -> tuple[Typed, BriqueError | None]:
    """What was typed, in the language that the form was shown in; the fault when something of it cannot be used."""
    formats = formats_for(parts, request, got.language)
    with copy_if_any(parts) as copy:
        typed = sheet_of(parts, asks, formats, copy).read(got.given, seen, drop=got.taken)
    if not typed.faults:
        return typed, None
    return typed, BadInput(_("Some fields need another value."), fields=typed.faults)


def told(parts: Parts, request: Request, form: Form, fault: BriqueError, copy: Copy | None) -> Response:
    """`form` again, saying what is wrong: beside the fields where it is theirs, else above."""
    language = language_of(request, parts.languages)
    names = {ask.name for ask in form.asks if not ask.fixed}
    fields = fault.fields if isinstance(fault, BadInput) else {}
    form.faults = {name: text for name, text in fields.items() if name in names}
    if form.files_lost:
        t = formats_of(language, parts.timezone.key).t
        form.notices.append(Notice("warn", t(_("Choose the file again: browsers do not keep it."))))
    if isinstance(fault, TokenReused):
        form.token = parts.desk.new_token()  # who sends it all the same means it as another command
    if not form.faults:
        form.notices = [*form.notices, notice_of(fault, request, language)]
        if fields:
            form.notices[-1] = Notice("bad", " ".join(f"{name}: {text}" for name, text in fields.items()))
    return show(parts, request, form, copy, fault.status)


async def carried(parts: Parts, request: Request, got: Received, table: str = "") -> Received:
    """`got` with the files of the command that it sends anew: a browser does not send them a second time."""
    if not got.replaces:
        return got
    try:
        item = await asyncio.to_thread(parts.desk.find, user_of(request), got.replaces)
    except NotFound:  # somebody else's, or forgotten: nothing is carried over
        return got
    files = {
        name: value
        for change in item.command.changes
        if change.table == table
        for name, value in (change.after or {}).items()
        if isinstance(value, bytes) and f"remove.{name}" not in got.given
    }
    return replace(got, given={**files, **got.given})


def again_of(request: Request, got: Received) -> Again:
    """That the command of this form is kept instead of another one, when it is."""
    return Again(got.replaces, source=source_of(request, "form"))


async def dismiss_replaced(parts: Parts, request: Request, got: Received) -> None:
    """The command that was sent anew needs nobody any more."""
    if not got.replaces:
        return
    try:
        item = await asyncio.to_thread(parts.desk.find, user_of(request), got.replaces)
        if item.state.needs_person and not item.dismissed:
            await Clerk(parts.desk, source_of(request, "form")).dismiss(user_of(request), got.replaces)
    except BriqueError as fault:  # the new one is kept; the old one can still be put away in the outbox
        log.warning("%s was sent anew, but could not be put away: %s", got.replaces, fault.message)
