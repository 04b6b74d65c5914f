"""Many commands decided at once: those that were ticked, or all that failed for one cause."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from brique.commands import ACTS, Clerk, Done, may
from brique.errors import BadInput
from brique.http import User, at, language_of, user_of
from brique.pages.formpage import formats_for, sentence_of
from brique.pages.frame import Frame, set_flash
from brique.pages.parts import Parts
from brique.pages.received import TOKEN
from brique.pages.render import page
from brique.pages.sources import source_of

_SHOWN_MAX = 200


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


class Many:
    """The answer to such a form."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    async def act(self, request: Request) -> Response:
        """Do it to each; back to the outbox, or a page of what could not be done, and why."""
        user, form = user_of(request), await request.form()
        act = form.get("act")
        if act not in ACTS:
            raise BadInput(_("There is no such part of the outbox."), try_this=_("Open it again from the menu."))
        cause, whose = str(form.get("cause", ""))[:200], str(form.get("whose", ""))[:200]
        receipts = [str(name)[:80] for name in form.getlist("receipt")]
        if cause:
            receipts = await asyncio.to_thread(self._of_cause, user, cause, whose)
        limit = self.parts.settings.bulk_commands_max
        if len(receipts) > limit and not cause:
            raise BadInput(_("At most {limit} at once."), limit=limit)
        if not receipts:
            return set_flash(RedirectResponse(at(request.scope, "/outbox"), 303), request, "none_chosen")
        clerk = Clerk(self.parts.desk, source_of(request, "form"))
        done = await clerk.many(user, act, receipts, token=str(form.get(TOKEN, "")))
        if any(one.fault is not None for one in done):
            return await asyncio.to_thread(self._told, request, done)
        response = RedirectResponse(at(request.scope, "/outbox"), 303)
        number = formats_for(self.parts, request).number(len(done))
        return set_flash(response, request, "many", n=number)

    def _of_cause(self, user: User, cause: str, whose: str) -> list[str]:
        """The receipts of what failed for that cause, as far as the user may decide about it; the oldest first."""
        author: str | None = user.name
        if may(user, "admin") and whose != "mine":
            author = None if whose in ("", "all") else whose.removeprefix("@")
        with self.parts.borrow() as copy:
            found = copy.outbox(
                user=author, fingerprint=cause, dismissed=False, limit=self.parts.settings.bulk_commands_max
            )
        return [item.command.id for item in reversed(found)]

    def _told(self, request: Request, done: list[Done]) -> Response:
        """What became of each, those that could not be done first."""
        language = language_of(request, self.parts.languages)
        failed = [one for one in done if one.fault is not None]
        rows: list[dict[str, Any]] = []
        for one in [*failed, *(one for one in done if one.fault is None)][:_SHOWN_MAX]:
            said = sentence_of(one.fault, language) if one.fault is not None else ""
            rows.append(
                {
                    "receipt": one.receipt,
                    "href": at(request.scope, f"/outbox/{one.receipt}"),
                    "instead": one.instead,
                    "instead_href": at(request.scope, f"/outbox/{one.instead}") if one.instead else "",
                    "fault": said,
                }
            )
        t = formats_for(self.parts, request).t
        context = Frame(self.parts).context(
            request,
            title=t(_("What became of each")),
            current="outbox",
            rows=rows,
            more=len(done) - len(rows),
            failed=len(failed),
            done=len(done) - len(failed),
        )
        return page(self.parts, request, "many.html", context | {"back": at(request.scope, "/outbox")}, 200)
