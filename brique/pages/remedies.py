"""The page of a command that needs a person, when it has a form: a conflict to choose in, or what was refused, to be
corrected and sent again."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from brique.commands import CommandSpec, arguments_with_heirs, with_heirs
from brique.errors import BriqueError
from brique.pages.asks import asks_of_command, asks_of_table
from brique.pages.conflict import Conflict
from brique.pages.formpage import Form, Notice, sheet_of, show
from brique.pages.parts import Parts
from brique.pages.runs import Runs
from brique.pages.seen import pack
from brique.pages.story import STATES, Story, Teller, row_title
from brique.schema import PENDING, Change, Row, State, TableSpec
from brique.views import Copy, StoredCommand


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


class Remedies:
    """What one reader may do about a command. `copy` is inside its snapshot."""

    def __init__(self, parts: Parts, request: Request, teller: Teller, copy: Copy) -> None:
        self.parts, self.request, self.teller, self.copy = parts, request, teller, copy
        self.t = teller.t

    def page(self, item: StoredCommand, story: Story, notices: list[Notice], status: int) -> Response | None:
        """The form's page; None when there is nothing to fill in."""
        form = self._form(item)
        if form is None:
            return None
        form.notices = [*notices, *form.notices]
        form.more["story"] = story
        return show(self.parts, self.request, form, self.copy, status)

    def _form(self, item: StoredCommand) -> Form | None:
        token = self.parts.desk.new_token()
        command = self.parts.commands.get(item.command.name)
        if item.state is State.UNKNOWN:
            return None
        if command is not None:
            return self._ends(self._run_again(item, command, token), item)
        if len(item.command.changes) != 1:
            return None
        change = with_heirs(self.copy, item.command.changes[0], self.parts.specs)
        spec = self.parts.specs.get(change.table)
        if spec is None or change.after is None or not spec.writable:
            return None
        theirs = self._theirs(spec, change)
        if item.state is State.CONFLICT and theirs is not None:
            return Conflict(self.parts, self.request, self.teller, self.copy).later(
                item, change, spec, theirs, token=token
            )
        if change.before is None or theirs is None:
            return self._ends(self._make_anew(item, change, spec, token), item)
        return self._ends(self._change_again(item, change, spec, theirs, token), item)

    def _theirs(self, spec: TableSpec, change: Change) -> Row | None:
        """The row as the copy has it now; the backend's answer has been taken into it."""
        try:
            row = self.copy.row(spec.name, change.key)
        except BriqueError:
            return None
        return row.values if row is not None else None

    def _ends(self, form: Form, item: StoredCommand) -> Form:
        """What every such form has in common: the reason above, a way out below."""
        reason = self.teller.formats.retell(item.reason) if item.reason else ""
        backend = self.teller.tell_backend(item)
        title = self.t(_("{backend} has refused this."), backend=backend)
        if item.state is State.CONFLICT:
            title = self.t(_("This is not sent: the data had changed."))
        form.notices = [Notice("bad", title, reason)]
        if item.state is State.WITHDRAWN:
            title = self.t(
                _("It was taken back before it was sent; nothing has changed in {backend}."), backend=backend
            )
            form.notices = [Notice("info", title)]
        form.replaces = item.command.id
        form.back = "/outbox"
        if item.state.needs_person and not item.dismissed:
            form.others = [(self.t(_("Abandon my entry")), f"/outbox/{item.command.id}/abandon", "")]
        form.save_label = self.t(_("Send again"))
        word, kind = STATES[item.state]
        form.pills = [(self.t(word), kind)]
        return form

    def _run_again(self, item: StoredCommand, command: CommandSpec, token: str) -> Form:
        runs = Runs(self.parts)
        sheet = sheet_of(self.parts, asks_of_command(command), self.teller.formats, self.copy)
        stored: Row = arguments_with_heirs(self.copy, command, item.command.arguments)
        return runs.form(self.request, command, sheet.texts_of(stored), token)

    def _make_anew(self, item: StoredCommand, change: Change, spec: TableSpec, token: str) -> Form:
        """A new row, of what was asked for; the rest of a row that is gone is what its author had seen."""
        asks = asks_of_table(spec, self.parts.specs, new=True)
        values: Row = {**(change.before or {}), **(change.after or {})}
        if change.before is not None and not change.key.startswith(PENDING):
            values |= dict(zip(spec.key, spec.key_values(change.key), strict=True))
        return Form(
            title=self.t(_("{table}: new row"), table=spec.label),
            action=f"/tables/{spec.name}/new",
            asks=asks,
            texts=sheet_of(self.parts, asks, self.teller.formats, self.copy).texts_of(values),
            token=token,
            tables=(spec.name,),
            current=f"table:{spec.name}",
            values=values,
        )

    def _change_again(self, item: StoredCommand, change: Change, spec: TableSpec, theirs: Row, token: str) -> Form:
        asks = asks_of_table(spec, self.parts.specs, new=False)
        sheet = sheet_of(self.parts, asks, self.teller.formats, self.copy)
        values: Row = {**theirs, **(change.after or {})}
        return Form(
            title=row_title(spec, change.key, self.teller.label(spec, change)),
            action=f"/tables/{spec.name}/{change.key}/edit",
            asks=asks,
            texts=sheet.texts_of(values),
            token=token,
            tables=(spec.name,),
            current=f"table:{spec.name}",
            values=values,
            seen=pack(theirs),
        )
