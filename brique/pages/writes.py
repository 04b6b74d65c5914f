"""Pages that make, change and delete rows: a form, then a command; nothing is written here.

A form carries a one-time token, so that three clicks are one command, and what its author saw, so that nobody is
overwritten. Whatever goes wrong, it comes back with everything that was typed.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from brique.commands import Answer
from brique.errors import BriqueError, NotAllowed, NotFound, Stale
from brique.exports import parameter_of
from brique.http import Routes, at, language_of, no_such_page, user_of
from brique.pages import runs
from brique.pages.asks import Ask, asks_of_table
from brique.pages.conflict import Conflict
from brique.pages.formpage import (
    SHOWN,
    Form,
    Notice,
    again_of,
    carried,
    copy_if_any,
    dismiss_replaced,
    formats_for,
    notice_of,
    read,
    sheet_of,
    show,
    told,
)
from brique.pages.forms import Typed
from brique.pages.frame import Frame, set_flash
from brique.pages.parts import Parts
from brique.pages.received import Received, received
from brique.pages.render import page
from brique.pages.seen import Seen, pack, unpack
from brique.pages.story import Teller, labels_of_key, row_title
from brique.schema import Row, State, TableSpec
from brique.views import Copy, Filter, StoredRow

_REFERRING_SHOWN_MAX = 20


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


def routes(parts: Parts) -> Routes:
    """The routes of these pages. To be included before the row's own page: `/tables/{table}/new` is no row."""
    writes = Writes(parts)
    table = Routes()
    table.get("/tables/{table}/new", writes.new, role="write", name="new")
    table.post("/tables/{table}/new", writes.create)
    table.get("/tables/{table}/{key}/edit", writes.edit, role="write", name="edit")
    table.post("/tables/{table}/{key}/edit", writes.update)
    table.get("/tables/{table}/{key}/delete", writes.confirm, role="write", name="delete")
    table.post("/tables/{table}/{key}/delete", writes.delete)
    table.include(runs.routes(parts))
    return table


class Writes:
    """The pages of one intranet."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    # making a row

    def new(self, request: Request) -> Response:
        """The empty form; a column named in the address is filled."""
        spec = self._spec(request)
        asks = asks_of_table(spec, self.parts.specs, new=True)
        texts = {ask.name: request.query_params[ask.name] for ask in asks if ask.name in request.query_params}
        with self.parts.borrow() as copy, copy.snapshot():
            form = self._new_form(request, spec, asks, texts, self.parts.desk.new_token())
            return show(self.parts, request, form, copy)

    def _new_form(
        self, request: Request, spec: TableSpec, asks: tuple[Ask, ...], texts: dict[str, str], token: str
    ) -> Form:
        t = formats_for(self.parts, request).t
        return Form(
            title=t(_("{table}: new row"), table=spec.label),
            action=f"/tables/{spec.name}/new",
            asks=asks,
            texts=texts,
            token=token,
            tables=(spec.name,),
            current=f"table:{spec.name}",
            back=f"/tables/{spec.name}",
            next_label=t(_("Save and new")),
        )

    async def create(self, request: Request) -> Response:
        """Keep a new row."""
        spec, parts = self._spec(request), self.parts
        got = await received(request, file_bytes_max=parts.settings.cell_bytes_max)
        got = await carried(parts, request, got, spec.name)
        asks = asks_of_table(spec, parts.specs, new=True)
        typed, fault = await asyncio.to_thread(self._read, request, asks, got, None)
        answer = None
        if fault is None:
            try:
                answer = await parts.desk.create(
                    user_of(request), spec.name, typed.values, token=got.token, replaces=again_of(request, got)
                )
            except SHOWN as raised:
                fault = raised
        if answer is None or fault is not None:
            return await asyncio.to_thread(self._create_again, request, spec, asks, got, typed, fault)
        return await self._kept(request, answer, got, spec)

    def _create_again(
        self,
        request: Request,
        spec: TableSpec,
        asks: tuple[Ask, ...],
        got: Received,
        typed: Typed,
        fault: BriqueError | None,
    ) -> Response:
        assert fault is not None
        with copy_if_any(self.parts) as copy:
            form = self._new_form(request, spec, asks, typed.texts, got.token)
            form.replaces, form.files_lost = got.replaces, got.has_files and not got.replaces
            return self._told(request, form, fault, copy)

    # changing a row

    def edit(self, request: Request) -> Response:
        """The row in a form."""
        spec = self._spec(request)
        with self.parts.borrow() as copy, copy.snapshot():
            row = self._row(copy, spec, request)
            form = self._edit_form(request, copy, spec, row, self.parts.desk.new_token())
            return show(self.parts, request, form, copy)

    def _edit_form(self, request: Request, copy: Copy | None, spec: TableSpec, row: StoredRow, token: str) -> Form:
        formats = formats_for(self.parts, request)
        asks = asks_of_table(spec, self.parts.specs, new=False)
        pills = {1: (formats.t(_("pending")), "warn"), 2: (formats.t(_("conflict")), "bad")}
        return Form(
            title=row_title(spec, row.key, labels_of_key(copy, spec, row.key) if copy is not None else ""),
            action=f"/tables/{spec.name}/{row.key}/edit",
            asks=asks,
            texts=sheet_of(self.parts, asks, formats, copy).texts_of(row.values),
            token=token,
            tables=(spec.name,),
            current=f"table:{spec.name}",
            back=f"/tables/{spec.name}/{row.key}",
            values=row.values,
            seen=pack(row.values),
            pills=[pills[row.pending]] if row.pending in pills else [],
        )

    async def update(self, request: Request) -> Response:
        """Keep a change of a row."""
        spec, parts = self._spec(request), self.parts
        got = await received(request, file_bytes_max=parts.settings.cell_bytes_max)
        got = await carried(parts, request, got, spec.name)
        asks = asks_of_table(spec, parts.specs, new=False)
        row, seen = await asyncio.to_thread(self._seen, request, spec, got)
        typed, fault = await asyncio.to_thread(self._read, request, asks, got, seen)
        answer = None
        if fault is None:
            try:
                answer = await parts.desk.update(
                    user_of(request),
                    spec.name,
                    row.key if row is not None else request.path_params["key"],
                    seen=seen.row() if seen is not None else {},
                    given=typed.values,
                    token=got.token,
                    replaces=again_of(request, got),
                )
            except (*SHOWN, Stale, NotFound) as raised:
                fault = raised
        if fault is not None:
            return await asyncio.to_thread(self._update_again, request, spec, got, typed, fault, row, seen)
        if answer is None:
            return await self._unchanged(request, got, spec)
        return await self._kept(request, answer, got, spec)

    def _seen(self, request: Request, spec: TableSpec, got: Received) -> tuple[StoredRow | None, Seen | None]:
        """The row as it is, and as the author of the form saw it."""
        with copy_if_any(self.parts) as copy:
            row = copy.row(spec.name, request.path_params["key"]) if copy is not None else None
        return row, unpack(got.seen, row.values if row is not None else None)

    def _update_again(
        self,
        request: Request,
        spec: TableSpec,
        got: Received,
        typed: Typed,
        fault: BriqueError,
        row: StoredRow | None,
        seen: Seen | None,
    ) -> Response:
        key = request.path_params["key"]
        before = seen.row() if seen is not None else {}
        with copy_if_any(self.parts) as copy:
            if isinstance(fault, Stale) and copy is not None:
                form = self._conflict(request, copy, spec, key, got, typed, fault, before)
                if got.has_files and not got.replaces:
                    t = formats_for(self.parts, request).t
                    form.notices.append(Notice("warn", t(_("Choose the file again: browsers do not keep it."))))
                return show(self.parts, request, form, copy, fault.status)
            values = row.values if row is not None else before
            form = self._edit_form(request, copy, spec, StoredRow(row.key if row else key, 0, 0, values), got.token)
            form.texts = {**form.texts, **{name: text for name, text in typed.texts.items() if name in got.given}}
            form.seen, form.replaces, form.files_lost = got.seen, got.replaces, got.has_files and not got.replaces
            if isinstance(fault, NotFound):
                t = formats_for(self.parts, request).t
                form.others = [(t(_("Make it anew")), f"/tables/{spec.name}/new", "")]
                form.back = f"/tables/{spec.name}"
                form.notices = [Notice("bad", t(_("The row is not there any more.")), t(_("Somebody has deleted it.")))]
                return show(self.parts, request, form, copy, fault.status)
            return self._told(request, form, fault, copy)

    def _conflict(
        self,
        request: Request,
        copy: Copy,
        spec: TableSpec,
        key: str,
        got: Received,
        typed: Typed,
        fault: Stale,
        before: Row,
    ) -> Form:
        theirs: Any = fault.facts["theirs"]
        teller = Teller(self.parts, request, user_of(request), formats_for(self.parts, request), copy)
        return Conflict(self.parts, request, teller, copy).at_once(
            spec,
            key,
            before=before,
            yours=typed.values,
            theirs=theirs,
            texts=typed.texts,
            token=got.token,
            replaces=got.replaces,
            taken=got.taken,
        )

    # deleting a row

    def confirm(self, request: Request) -> Response:
        """The row, what refers to it, and a button."""
        spec = self._spec(request)
        with self.parts.borrow() as copy, copy.snapshot():
            row = self._row(copy, spec, request)
            return self._confirm(request, copy, spec, row, self.parts.desk.new_token(), [], 200)

    def _confirm(
        self,
        request: Request,
        copy: Copy,
        spec: TableSpec,
        row: StoredRow,
        token: str,
        notices: list[Notice],
        status: int,
    ) -> Response:
        parts, formats = self.parts, formats_for(self.parts, request)
        teller = Teller(parts, request, user_of(request), formats, copy)
        text = teller.teller_of(spec, list(spec.names), [row.values])
        context = Frame(parts).context(
            request,
            title=formats.t(_("Delete {row}?"), row=row_title(spec, row.key, labels_of_key(copy, spec, row.key))),
            current=f"table:{spec.name}",
            tables=(spec.name,),
            copy=copy,
            facts=[(column.label, text(column.name, row.values[column.name])) for column in spec.columns],
            referring=referring(parts, request, copy, spec, row),
            notices=notices,
            hidden={"_token": token, "_seen": pack(row.values)},
            form_action=at(request.scope, f"/tables/{spec.name}/{row.key}/delete"),
            row_href=at(request.scope, f"/tables/{spec.name}/{row.key}"),
        )
        return page(parts, request, "delete.html", context | {"back": context["row_href"]}, status)

    async def delete(self, request: Request) -> Response:
        """Keep the deletion of a row."""
        spec, parts = self._spec(request), self.parts
        got = await received(request, file_bytes_max=parts.settings.cell_bytes_max)
        row, seen = await asyncio.to_thread(self._seen, request, spec, got)
        key = row.key if row is not None else request.path_params["key"]
        try:
            answer = await parts.desk.delete(
                user_of(request), spec.name, key, seen=seen.row() if seen is not None else None, token=got.token
            )
        except (*SHOWN, Stale) as fault:
            return await asyncio.to_thread(self._delete_again, request, spec, got, fault)
        if not answer.state.settled or answer.state in (State.APPLIED, State.WITHDRAWN):
            await self._replace(request, got)
            response = RedirectResponse(at(request.scope, f"/tables/{spec.name}"), 303)
            return set_flash(response, request, "again" if answer.duplicate else "deleted", receipt=answer.id)
        return RedirectResponse(at(request.scope, f"/outbox/{answer.id}"), 303)

    def _delete_again(self, request: Request, spec: TableSpec, got: Received, fault: BriqueError) -> Response:
        language = language_of(request, self.parts.languages)
        notice = notice_of(fault, request, language)
        if isinstance(fault, Stale):
            t = formats_for(self.parts, request).t
            notice = Notice("warn", t(_("It has changed while you had it open: look again.")))
        with self.parts.borrow() as copy, copy.snapshot():
            row = self._row(copy, spec, request)
            return self._confirm(request, copy, spec, row, got.token, [notice], fault.status)

    # what they share

    def _spec(self, request: Request) -> TableSpec:
        """The table of the address. Raises NotFound, NotAllowed when its rows cannot be written."""
        spec = self.parts.specs.get(request.path_params["table"])
        if spec is None:
            raise no_such_page()
        if not spec.writable:
            reason = spec.read_only or _("its rows have no key")
            raise NotAllowed(_("{table} cannot be changed here: {why}"), table=spec.label, why=reason)
        return spec

    def _row(self, copy: Copy, spec: TableSpec, request: Request) -> StoredRow:
        row = copy.row(spec.name, request.path_params["key"])
        if row is None:
            raise NotFound(
                _("There is no such row; it may have been deleted."), try_this=_("Look for it in its table.")
            )
        return row

    def _read(
        self, request: Request, asks: tuple[Ask, ...], got: Received, seen: Seen | None
    ) -> tuple[Typed, BriqueError | None]:
        """What was typed; the fault when something of it cannot be used."""
        return read(self.parts, request, asks, got, seen)

    def _told(self, request: Request, form: Form, fault: BriqueError, copy: Copy | None) -> Response:
        """The form again, saying what is wrong."""
        return told(self.parts, request, form, fault, copy)

    async def _kept(self, request: Request, answer: Answer, got: Received, spec: TableSpec) -> Response:
        """Send the reader on to the row, or to what needs his decision."""
        await self._replace(request, got)
        if answer.state.needs_person:
            return RedirectResponse(at(request.scope, f"/outbox/{answer.id}"), 303)
        path = f"/tables/{spec.name}/new" if got.then == "new" else f"/tables/{spec.name}/{answer.key}"
        code = "again" if answer.duplicate else "applied" if answer.state is State.APPLIED else "kept"
        return set_flash(RedirectResponse(at(request.scope, path), 303), request, code, receipt=answer.id)

    async def _unchanged(self, request: Request, got: Received, spec: TableSpec) -> Response:
        await self._replace(request, got)
        path = f"/tables/{spec.name}/{request.path_params['key']}"
        return set_flash(RedirectResponse(at(request.scope, path), 303), request, "nothing")

    async def _replace(self, request: Request, got: Received) -> None:
        await dismiss_replaced(self.parts, request, got)


def referring(
    parts: Parts, request: Request, copy: Copy, spec: TableSpec, row: StoredRow
) -> list[tuple[str, str, str]]:
    """What refers to this row: (how many rows of which table, by which column, the address of their list)."""
    formats = formats_for(parts, request)
    found = []
    for other in parts.specs.values():
        for reference in other.references:
            values = [row.values.get(name) for name in reference.target_columns]
            if reference.table != spec.name or any(value is None for value in values):
                continue
            filters = tuple(Filter(name, "eq", value) for name, value in zip(reference.columns, values, strict=True))
            try:
                count, exact = copy.count(other.name, filters)
            except BriqueError:  # not in the copy yet
                continue
            if count:
                number = formats.number(count) if exact else f"≥ {formats.number(count)}"
                columns = [other.by_name[name] for name in reference.columns]
                question = {
                    parameter_of(column.name): str(column.json(value))
                    for column, value in zip(columns, values, strict=True)
                }
                href = at(request.scope, f"/tables/{other.name}?{urlencode(question)}")
                found.append((f"{number} {other.label}", ", ".join(column.label for column in columns), href))
    return found[:_REFERRING_SHOWN_MAX]
