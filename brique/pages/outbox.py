"""Pages of what was sent and is not yet there: the outbox, and the story of each command by its receipt.

What needs a person is decided here: a conflict is chosen field by field, what was refused is corrected and sent again,
and of what got no answer somebody says whether it arrived.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from brique.commands import Answer, may
from brique.errors import BadInput, BriqueError, Refused
from brique.http import Routes, at, user_of
from brique.pages.format import Formats
from brique.pages.formpage import SHOWN, Notice, formats_for, notice_of
from brique.pages.frame import Frame, set_flash
from brique.pages.parts import Parts
from brique.pages.received import TOKEN
from brique.pages.remedies import Remedies
from brique.pages.render import page
from brique.pages.story import STATES, Story, Teller
from brique.schema import State
from brique.views import Copy, StoredCommand

ROWS_MAX = 50
NEEDY = (State.REFUSED, State.CONFLICT, State.UNKNOWN)
"""States of commands that a person must decide."""
OPEN = (State.KEPT, State.SENDING, State.REFUSED, State.CONFLICT, State.UNKNOWN)
"""States of commands that are not done with; those that a person has dealt with are left out."""
_CHOICES = ("open", "needs", "all", *State)


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


def routes(parts: Parts) -> Routes:
    """The routes of these pages."""
    outbox = Outbox(parts)
    table = Routes()
    table.get("/outbox", outbox.browse, name="outbox")
    table.get("/outbox/{receipt}", outbox.receipt, name="receipt")
    for act in (outbox.withdraw, outbox.dismiss, outbox.abandon, outbox.decide, outbox.resend):
        table.post(f"/outbox/{{receipt}}/{act.__name__}", act)
    return table


@dataclass(frozen=True)
class Question:
    """What the list shows: `state` is one of _CHOICES, `backend` "" for all, `mine` the reader's own only."""

    state: str = "open"
    backend: str = ""
    mine: bool = True
    after: int | None = None

    def href(self, **changes: Any) -> str:
        """The query string of this question with some changes, at its first page unless that is one of them."""
        values = {"state": self.state, "backend": self.backend, "whose": "mine" if self.mine else "all", **changes}
        usual = {"state": "open", "backend": "", "after": None}
        return urlencode({name: value for name, value in values.items() if value != usual.get(name, "")})

    @property
    def states(self) -> tuple[State, ...]:
        if self.state == "needs":
            return NEEDY
        return {"open": OPEN, "all": ()}.get(self.state) or (() if self.state == "all" else (State(self.state),))

    @property
    def dismissed(self) -> bool | None:
        return False if self.state in ("open", "needs") else None


class Outbox:
    """The pages of one intranet."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def browse(self, request: Request) -> Response:
        """Commands, the newest first."""
        user, parts = user_of(request), self.parts
        formats = formats_for(parts, request)
        question = self._question(request, admin=may(user, "admin"))
        whose = user.name if question.mine else None
        with parts.borrow() as copy, copy.snapshot():
            found = copy.outbox(
                question.states,
                user=whose,
                backend=question.backend or None,
                limit=ROWS_MAX + 1,
                after=question.after,
                dismissed=question.dismissed,
            )
            teller = Teller(parts, request, user, formats, copy)
            context = Frame(parts).context(
                request,
                title=formats.t(_("Outbox")),
                current="outbox",
                copy=copy,
                stories=[teller.tell(item) for item in found[:ROWS_MAX]],
                question=question,
                path=at(request.scope, "/outbox"),
                states=self._state_options(copy, question, whose, formats),
                backends=[(name, backend.label or name) for name, backend in parts.backends.items()],
                is_admin=may(user, "admin"),
                next=question.href(after=found[ROWS_MAX - 1].position) if len(found) > ROWS_MAX else "",
            )
            return page(parts, request, "outbox.html", context | {"pills": self._pills(copy, whose, formats)})

    def _question(self, request: Request, *, admin: bool) -> Question:
        given = request.query_params
        state, after = given.get("state", "open"), given.get("after", "")
        backend = given.get("backend", "")
        if state not in _CHOICES or (after and not (after.isascii() and after.isdigit() and len(after) < 19)):
            raise BadInput(_("There is no such part of the outbox."), try_this=_("Open it again from the menu."))
        mine = not admin or given.get("whose", "all") != "all"
        return Question(state, backend if backend in self.parts.backends else "", mine, int(after) if after else None)

    def _state_options(
        self, copy: Copy, question: Question, whose: str | None, formats: Formats
    ) -> list[tuple[str, str]]:
        """What the filter offers, with how many there are of each."""
        t, counts = formats.t, copy.command_counts(whose, question.backend or None)
        needing = copy.needing_person(whose, question.backend or None)
        names = [("open", t(_("Not done with"))), ("needs", t(_("For a person to decide")))]
        options = [(names[0][0], names[0][1]), (names[1][0], f"{names[1][1]} ({formats.number(needing)})")]
        for state, (word, _kind) in STATES.items():
            options.append((state.value, f"{t(word)} ({formats.number(counts.get(state, 0))})"))
        return [*options, ("all", t(_("All")))]

    def _pills(self, copy: Copy, whose: str | None, formats: Formats) -> list[tuple[str, str]]:
        counts = copy.command_counts(whose)
        waiting = counts.get(State.KEPT, 0) + counts.get(State.SENDING, 0)
        needing = copy.needing_person(whose)
        pills = []
        if waiting:
            pills.append((formats.t(_("{n} to send"), n=formats.number(waiting)), "warn"))
        if needing:
            pills.append((formats.t(_("{n} for a person to decide"), n=formats.number(needing)), "bad"))
        return pills

    # one command

    def receipt(self, request: Request) -> Response:
        """What became of one command, and what can be done about it."""
        return self._receipt(request, [], 200)

    def _receipt(self, request: Request, notices: list[Notice], status: int) -> Response:
        user, parts = user_of(request), self.parts
        item = parts.desk.find(user, request.path_params["receipt"])
        with parts.borrow() as copy, copy.snapshot():
            item = copy.command(item.position) or item
            teller = Teller(parts, request, user, formats_for(parts, request), copy)
            story = teller.tell(item, whole=True)
            if may(user, "write") and item.state.needs_person and not item.dismissed:
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
        context = Frame(self.parts).context(
            request,
            title=teller.t(_("Receipt {receipt}"), receipt=story.receipt),
            current="outbox",
            tables=tuple({change.table for change in item.command.changes}),
            copy=copy,
            story=story,
            notices=notices,
            token=self.parts.desk.new_token(),
            deciding=self._deciding(request, item),
            says=says(item, story, teller),
        )
        context |= {"back": at(request.scope, "/outbox"), "pills": [(story.state, story.kind)]}
        return page(self.parts, request, "receipt.html", context, status)

    def _deciding(self, request: Request, item: StoredCommand) -> str:
        """Which buttons the page has: "withdraw", "unknown", "refused", "conflict" or ""."""
        if not may(user_of(request), "write"):
            return ""
        if item.state is State.KEPT:
            return "withdraw"
        return item.state.value if item.state.needs_person and not item.dismissed else ""

    # what a person decides

    async def withdraw(self, request: Request) -> Response:
        """Take a command back that was not sent yet."""
        act = self.parts.desk.withdraw
        return await self._act(request, "withdrawn", lambda user, receipt: act(user, receipt), (State.KEPT,))

    async def dismiss(self, request: Request) -> Response:
        """Keep what the backend has."""
        act = self.parts.desk.dismiss
        return await self._act(request, "dismissed", lambda user, receipt: act(user, receipt), NEEDY)

    async def abandon(self, request: Request) -> Response:
        """Give up what was asked, and go back to the outbox."""
        act = self.parts.desk.dismiss
        return await self._act(request, "dismissed", lambda user, receipt: act(user, receipt), NEEDY, to_outbox=True)

    async def decide(self, request: Request) -> Response:
        """Say of a command without an answer whether it arrived; if it did not, it may be sent again at once."""
        form = await request.form()
        said, desk = form.get("arrived"), self.parts.desk
        item = await asyncio.to_thread(desk.find, user_of(request), request.path_params["receipt"])
        if said == "yes" or item.state is not State.REFUSED:  # refused: decided a click ago, and not yet sent again
            response = await self._act(
                request,
                "decided",
                lambda user, receipt: desk.decide(user, receipt, arrived=said == "yes"),
                (State.UNKNOWN,),
            )
            if response.status_code != 303 or said == "yes":
                return response
        if said == "again":
            return await self.resend(request)
        return await self._act(
            request, "decided", lambda user, receipt: desk.dismiss(user, receipt), NEEDY, to_outbox=True
        )

    async def _act(
        self, request: Request, code: str, act: Any, states: tuple[State, ...], *, to_outbox: bool = False
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

    async def resend(self, request: Request) -> Response:
        """Send the same anew: a new command for what was refused, lost or in conflict."""
        user, receipt = user_of(request), request.path_params["receipt"]
        form = await request.form()
        item = await asyncio.to_thread(self.parts.desk.find, user, receipt)
        token = str(form.get(TOKEN, ""))
        try:
            if item.state not in (State.REFUSED, State.CONFLICT):
                raise Refused(_("It was too late for that: look at what has become of it."))
            answer = await self._resend(request, item, token)
            await self.parts.desk.dismiss(user, receipt)
        except BriqueError as fault:
            return await asyncio.to_thread(self._not_sent, request, fault)
        path = f"/outbox/{answer.id}"
        code = "again" if answer.duplicate else "kept"
        return set_flash(RedirectResponse(at(request.scope, path), 303), request, code, receipt=answer.id)

    async def _resend(self, request: Request, item: StoredCommand, token: str) -> Answer:
        user, desk, command = user_of(request), self.parts.desk, item.command
        if command.name in self.parts.commands:
            arguments = Remedies.arguments(self.parts.commands[command.name], command.arguments)
            return await desk.run(user, command.name, arguments, token=token)
        if len(command.changes) != 1:
            raise Refused(_("This cannot be sent again as it was: enter it anew."))
        [change] = command.changes
        if change.before is None:
            return await desk.create(user, change.table, change.after or {}, token=token, replaces=command.id)
        if change.after is None:
            return await desk.delete(user, change.table, change.key, token=token)
        now = await asyncio.to_thread(self._values, change.table, change.key)
        answer = await desk.update(
            user, change.table, change.key, seen=now, given=change.after, token=token, replaces=command.id
        )
        if answer is None:
            raise Refused(_("The row already is as it was asked for."))
        return answer

    def _values(self, table: str, key: str) -> dict[str, Any]:
        with self.parts.borrow() as copy:
            row = copy.row(table, key)
        return row.values if row is not None else {}

    def _not_sent(self, request: Request, fault: BriqueError) -> Response:
        notice = notice_of(fault, request, formats_for(self.parts, request).language)
        return self._receipt(request, [notice], fault.status)


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
