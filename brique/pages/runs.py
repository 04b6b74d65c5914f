"""Pages of commands that the author of the intranet has written: a form of their parameters, then a command."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from brique.commands import CommandSpec, may
from brique.errors import BriqueError, NotAllowed, NotFound
from brique.http import Routes, at, no_such_page, user_of
from brique.pages.asks import arguments_of, asks_of_command, defaults_of
from brique.pages.formpage import (
    SHOWN,
    Form,
    Notice,
    again_of,
    copy_if_any,
    dismiss_replaced,
    formats_for,
    read,
    sheet_of,
    show,
    told,
)
from brique.pages.forms import Typed
from brique.pages.frame import set_flash
from brique.pages.parts import Parts
from brique.pages.received import Received, received
from brique.schema import State
from brique.views import Copy


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


def routes(parts: Parts) -> Routes:
    """The routes of these pages. Each command asks for its own role, so the rows of the table ask for the least."""
    runs = Runs(parts)
    table = Routes()
    table.get("/commands/{name}", runs.ask, name="command")
    table.post("/commands/{name}", runs.run, role="read")
    return table


class Runs:
    """The pages of one intranet."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def ask(self, request: Request) -> Response:
        """The form; `?row=KEY` fills the row that it is about, `?parameter=…` any other."""
        command = self._command(request)
        given = request.query_params
        with self.parts.borrow() as copy, copy.snapshot():
            texts = self.texts_of(request, command, copy)
            texts |= {name: given[name] for name in texts if name in given}
            about = about_of(command)
            if about and "row" in given:
                texts[about] = given["row"]
            form = self.form(request, command, texts, self.parts.desk.new_token())
            return show(self.parts, request, form, copy)

    def texts_of(self, request: Request, command: CommandSpec, copy: Copy | None) -> dict[str, str]:
        """What the fields hold at first."""
        sheet = sheet_of(self.parts, asks_of_command(command), formats_for(self.parts, request), copy)
        return sheet.texts_of(defaults_of(command))

    def form(self, request: Request, command: CommandSpec, texts: Mapping[str, str], token: str) -> Form:
        """The form of `command` with these texts."""
        t = formats_for(self.parts, request).t
        row = texts.get(about_of(command), "")
        tables = tuple({parameter.table for parameter in command.parameters if parameter.table})
        form = Form(
            title=t(command.label),
            action=f"/commands/{command.name}",
            asks=asks_of_command(command),
            texts=texts,
            token=token,
            tables=tables,
            current=f"table:{command.on}" if command.on else "",
            back=f"/tables/{command.on}/{row}" if row else f"/tables/{command.on}" if command.on else "/",
        )
        if command.help:
            form.more["intro"] = t(command.help)
        form.save_label = t(command.label)
        form.focus = next((ask.name for ask in form.asks if not texts.get(ask.name)), "")
        return form

    async def run(self, request: Request) -> Response:
        """Run it."""
        command, parts = self._command(request), self.parts
        got = await received(request, file_bytes_max=parts.settings.cell_bytes_max)
        asks = asks_of_command(command)
        typed, fault = await asyncio.to_thread(read, parts, request, asks, got, None)
        answer = None
        if fault is None:
            try:
                arguments = arguments_of(asks, typed.values)
                answer = await parts.desk.run(
                    user_of(request), command.name, arguments, token=got.token, replaces=again_of(request, got)
                )
            except (*SHOWN, NotFound) as raised:
                fault = raised
        if answer is None or fault is not None:
            return await asyncio.to_thread(self._again, request, command, got, typed, fault)
        await dismiss_replaced(parts, request, got)
        if answer.state.needs_person:
            return RedirectResponse(at(request.scope, f"/outbox/{answer.id}"), 303)
        row = typed.values.get(about_of(command))
        path = f"/tables/{command.on}/{row}" if row else f"/outbox/{answer.id}"
        code = "again" if answer.duplicate else "done" if answer.state is State.APPLIED else "kept"
        return set_flash(RedirectResponse(at(request.scope, path), 303), request, code, receipt=answer.id)

    def _again(
        self, request: Request, command: CommandSpec, got: Received, typed: Typed, fault: BriqueError | None
    ) -> Response:
        assert fault is not None
        with copy_if_any(self.parts) as copy:
            form = self.form(request, command, typed.texts, got.token)
            form.replaces = got.replaces
            if isinstance(fault, NotFound):
                form.notices = [Notice("bad", formats_for(self.parts, request).t(_("The row is not there any more.")))]
                return show(self.parts, request, form, copy, fault.status)
            return told(self.parts, request, form, fault, copy)

    def _command(self, request: Request) -> CommandSpec:
        """The command of the address. Raises NotFound, NotAllowed."""
        command = self.parts.commands.get(request.path_params["name"])
        if command is None:
            raise no_such_page()
        if not may(user_of(request), command.role):
            raise NotAllowed(_("Your role does not allow this."), command=command.name)
        return command


def about_of(command: CommandSpec) -> str:
    """The parameter for the row that the command is about, "" when it is about none."""
    return next((parameter.name for parameter in command.parameters if parameter.table), "")
