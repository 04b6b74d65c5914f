"""The story of one command by its receipt, and what a person decides about it.

A conflict is chosen field by field, what was refused is corrected and sent again, and of what got no answer somebody
says whether it arrived, with what was sent and what the backend shows now before his eyes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from brique.commands import Clerk, may
from brique.errors import BadInput, BriqueError, Refused
from brique.http import User, at, user_of
from brique.pages.formpage import SHOWN, Notice, formats_for, notice_of, sentence_of
from brique.pages.frame import Frame, set_flash
from brique.pages.parts import Parts
from brique.pages.received import TOKEN
from brique.pages.remedies import Remedies
from brique.pages.render import page
from brique.pages.sources import source_of
from brique.pages.story import REASONS, Story, Teller
from brique.pages.there import There
from brique.schema import State
from brique.views import Copy, StoredCommand

NEEDY = (State.REFUSED, State.CONFLICT, State.UNKNOWN)
"""States of commands that a person must decide."""


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


class Receipts:
    """The pages of one intranet."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def receipt(self, request: Request) -> Response:
        """What became of one command, and what can be done about it."""
        return self._receipt(request, [], 200)

    def edit(self, request: Request) -> Response:
        """The form with what was asked, to be sent with other values: also of what was taken back or put away."""
        return self._receipt(request, [], 200, again=True)

    def _receipt(self, request: Request, notices: list[Notice], status: int, *, again: bool = False) -> Response:
        user, parts = user_of(request), self.parts
        item = parts.desk.find(user, request.path_params["receipt"])
        with parts.borrow() as copy, copy.snapshot():
            item = copy.command(item.position) or item
            teller = Teller(parts, request, user, formats_for(parts, request), copy)
            story = teller.tell(item, whole=True)
            wanted = item.state.needs_person and not item.dismissed
            if may(user, "write") and (wanted or (again and can_begin_again(item, story))):
                remedy = Remedies(parts, request, teller, copy).page(item, story, notices, status)
                if remedy is not None:
                    return remedy
            return self._story(request, copy, item, story, teller, notices, status)

    def _story(
        self,
        request: Request,
        copy: Copy,
        item: StoredCommand,
        story: Story,
        teller: Teller,
        notices: list[Notice],
        status: int,
    ) -> Response:
        deciding = self._deciding(user_of(request), item)
        context = Frame(self.parts).context(
            request,
            title=teller.t(_("Receipt {receipt}"), receipt=story.receipt),
            current="outbox",
            tables=tuple({change.table for change in item.command.changes}),
            copy=copy,
            story=story,
            notices=notices,
            token=self.parts.desk.new_token(),
            deciding=deciding,
            again=f"{story.href}/edit" if self._may_begin_again(user_of(request), item, story) else "",
            there=There(teller, copy).rows(item) if deciding == "unknown" else [],
            says=says(item, story, teller),
            why=story.reason if item.state is State.UNKNOWN and item.reason not in REASONS else "",
        )
        context |= {"back": at(request.scope, "/outbox"), "pills": [(story.state, story.kind)]}
        return page(self.parts, request, "receipt.html", context, status)

    def _deciding(self, user: User, item: StoredCommand) -> str:
        """Which buttons the page has: "withdraw", "unknown", "refused", "conflict" or ""."""
        if not may(user, "write"):
            return ""
        if item.state is State.KEPT:
            return "withdraw"
        return item.state.value if item.state.needs_person and not item.dismissed else ""

    def _may_begin_again(self, user: User, item: StoredCommand, story: Story) -> bool:
        if not may(user, "write") or not can_begin_again(item, story):
            return False
        command = item.command
        known = all(change.table in self.parts.specs for change in command.changes)
        plain = len(command.changes) == 1 and command.changes[0].after is not None
        return known and (plain or command.name in self.parts.commands)

    # what a person decides

    async def withdraw(self, request: Request) -> Response:
        """Take a command back that was not sent yet."""
        return await self._act(request, "withdrawn", self._clerk(request).withdraw, (State.KEPT,))

    async def dismiss(self, request: Request) -> Response:
        """Keep what the backend has."""
        return await self._act(request, "dismissed", self._clerk(request).dismiss, NEEDY)

    async def abandon(self, request: Request) -> Response:
        """Give up what was asked, and go back to the outbox."""
        return await self._act(request, "dismissed", self._clerk(request).dismiss, NEEDY, to_outbox=True)

    async def decide(self, request: Request) -> Response:
        """Say of a command without an answer whether it arrived; if it did not, it may be sent again at once."""
        form, clerk = await request.form(), self._clerk(request)
        said = form.get("arrived")
        if said == "again":
            return await self._send_again(request, str(form.get(TOKEN, "")), lost=True)
        if said == "yes":

            async def arrived(user: User, receipt: str) -> None:
                await clerk.decide(user, receipt, arrived=True)

            return await self._act(request, "decided", arrived, (State.UNKNOWN,))
        return await self._act(request, "decided", clerk.leave, NEEDY, to_outbox=True)

    async def resend(self, request: Request) -> Response:
        """Send the same anew: a new command for what was refused, lost or in conflict."""
        form = await request.form()
        return await self._send_again(request, str(form.get(TOKEN, "")), lost=False)

    def _clerk(self, request: Request) -> Clerk:
        return Clerk(self.parts.desk, source_of(request, "form"))

    async def _act(
        self,
        request: Request,
        code: str,
        act: Callable[[User, str], Awaitable[None]],
        states: tuple[State, ...],
        *,
        to_outbox: bool = False,
    ) -> Response:
        """Do it, then show the row or the receipt; or say on the receipt's page why it cannot be done.

        `states` are those in which it may be done: the engine itself lets a kept command become applied, for replay.
        """
        user, receipt = user_of(request), request.path_params["receipt"]
        item = await asyncio.to_thread(self.parts.desk.find, user, receipt)
        try:
            if item.state not in states:
                raise Refused(_("It was too late for that: look at what has become of it."))
            await act(user, receipt)
        except SHOWN as fault:
            return await asyncio.to_thread(self._not_done, request, fault)
        path = "/outbox" if to_outbox else await asyncio.to_thread(self._row_path, item)
        return set_flash(RedirectResponse(at(request.scope, path), 303), request, code, receipt=receipt)

    def _row_path(self, item: StoredCommand) -> str:
        """The page of the row that a command was about, else of its receipt."""
        with self.parts.borrow() as copy, copy.snapshot():
            for change in item.command.changes if len(item.command.changes) == 1 else ():
                if change.table not in self.parts.specs:
                    break
                row = copy.row(change.table, change.key)
                if row is not None:
                    return f"/tables/{change.table}/{row.key}"
        return f"/outbox/{item.command.id}"

    def _not_done(self, request: Request, fault: BriqueError) -> Response:
        formats = formats_for(self.parts, request)
        notice = notice_of(fault, request, formats.language)
        if isinstance(fault, Refused):
            sentence = _("It was too late for that: look at what has become of it.")
            notice = Notice("warn", formats.t(sentence))
        return self._receipt(request, [notice], fault.status)

    async def _send_again(self, request: Request, token: str, *, lost: bool) -> Response:
        user, receipt = user_of(request), request.path_params["receipt"]
        try:
            answer = await self._clerk(request).retry(user, receipt, token=token, lost=lost)
        except BriqueError as fault:
            return await asyncio.to_thread(self._not_sent, request, fault)
        path = f"/outbox/{answer.id}"
        code = "again" if answer.duplicate else "kept"
        return set_flash(RedirectResponse(at(request.scope, path), 303), request, code, receipt=answer.id)

    def _not_sent(self, request: Request, fault: BriqueError) -> Response:
        language = formats_for(self.parts, request).language
        notice = notice_of(fault, request, language)
        if isinstance(fault, BadInput):
            notice = Notice("bad", sentence_of(fault, language), notice.text)
        return self._receipt(request, [notice], fault.status)


def can_begin_again(item: StoredCommand, story: Story) -> bool:
    """Whether what was asked may be asked anew with other values: it is not under way, has not arrived, and was not
    sent anew before."""
    settled_here = item.state in (State.WITHDRAWN, State.REFUSED, State.CONFLICT)
    return settled_here and not story.instead


def says(item: StoredCommand, story: Story, teller: Teller) -> str:
    """Where the command is, in one sentence for its author."""
    sentences = {
        State.KEPT: _("It is kept safely and will be sent by itself as soon as {backend} answers."),
        State.SENDING: _("It is being sent to {backend} now."),
        State.APPLIED: _("{backend} has it."),
        State.REFUSED: _("{backend} has refused this."),
        State.CONFLICT: _("This is not sent: the data had changed."),
        State.UNKNOWN: _("It was sent, but {backend} broke off before it answered. Look there, then say what you see."),
        State.WITHDRAWN: _("It was taken back before it was sent; nothing has changed in {backend}."),
    }
    sentence = teller.t(sentences[item.state], backend=story.backend)
    return f"{sentence} {story.reason}" if story.reason and item.state in (State.REFUSED, State.CONFLICT) else sentence
