"""The outbox: what was sent and is not yet there, and what needs a person, also in groups of one cause.

The story of one command is in `receipts`; what many share, in `many`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from brique.commands import may
from brique.errors import BadInput
from brique.http import Routes, User, at, user_of
from brique.pages.format import Formats
from brique.pages.formpage import formats_for
from brique.pages.frame import Frame
from brique.pages.many import Many
from brique.pages.parts import Parts
from brique.pages.receipts import Receipts
from brique.pages.render import page
from brique.pages.story import STATES, Teller
from brique.schema import State
from brique.views import Copy, Group, StoredCommand

ROWS_MAX = 50
GROUPS_SHOWN_MAX = 10
USERS_MAX = 200
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
    outbox, receipts, many = Outbox(parts), Receipts(parts), Many(parts)
    table = Routes()
    table.get("/outbox", outbox.browse, name="outbox")
    table.post("/outbox", many.act)
    table.get("/outbox/{receipt}", receipts.receipt, name="receipt")
    table.get("/outbox/{receipt}/edit", receipts.edit)
    for act in (receipts.withdraw, receipts.dismiss, receipts.abandon, receipts.decide, receipts.resend):
        table.post(f"/outbox/{{receipt}}/{act.__name__}", act)
    return table


@dataclass(frozen=True)
class Question:
    """What the list shows: `state` is one of _CHOICES; of one backend, table, author and cause, "" for all of them;
    `mine`: the reader's own only."""

    state: str = "open"
    backend: str = ""
    table: str = ""
    whose: str = "mine"
    cause: str = ""
    after: int | None = None

    def values(self, **changes: Any) -> dict[str, Any]:
        """This question with some changes as parameters, at its first page unless that is one of them."""
        values = {
            "state": self.state,
            "backend": self.backend,
            "table": self.table,
            "whose": self.whose,
            "cause": self.cause,
            **changes,
        }
        usual = {"state": "open", "after": None}
        return {name: value for name, value in values.items() if value != usual.get(name, "")}

    def href(self, **changes: Any) -> str:
        """The query string of `values`."""
        return urlencode(self.values(**changes))

    @property
    def states(self) -> tuple[State, ...]:
        if self.state == "needs":
            return NEEDY
        return {"open": OPEN, "all": ()}.get(self.state) or (() if self.state == "all" else (State(self.state),))

    @property
    def dismissed(self) -> bool | None:
        return False if self.state in ("open", "needs") else None

    def author(self, user: User) -> str | None:
        """Whose commands: a name, None for everybody's."""
        return {"mine": user.name, "all": None}.get(self.whose, self.whose.removeprefix("@"))


class Outbox:
    """The list of one intranet."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def browse(self, request: Request) -> Response:
        """Commands, the newest first; above them what failed for the same cause."""
        user, parts = user_of(request), self.parts
        formats = formats_for(parts, request)
        question = self._question(request, admin=may(user, "admin"))
        whose = question.author(user)
        with parts.borrow() as copy, copy.snapshot():
            found = copy.outbox(
                question.states,
                user=whose,
                backend=question.backend or None,
                limit=ROWS_MAX + 1,
                after=question.after,
                dismissed=question.dismissed,
                table=question.table or None,
                fingerprint=question.cause or None,
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
                filters=self._filters(copy, question, whose, formats, admin=may(user, "admin")),
                groups=self._groups(copy, question, whose, teller),
                acts=self._acts(found, user),
                token=parts.desk.new_token(),
                next=question.href(after=found[ROWS_MAX - 1].position) if len(found) > ROWS_MAX else "",
            )
            return page(parts, request, "outbox.html", context | {"pills": self._pills(copy, whose, formats)})

    def _question(self, request: Request, *, admin: bool) -> Question:
        given = request.query_params
        state, after = given.get("state", "open"), given.get("after", "")
        backend, table = given.get("backend", ""), given.get("table", "")
        if state not in _CHOICES or (after and not (after.isascii() and after.isdigit() and len(after) < 19)):
            raise BadInput(_("There is no such part of the outbox."), try_this=_("Open it again from the menu."))
        return Question(
            state,
            backend if backend in self.parts.backends else "",
            table if table in self.parts.specs else "",
            given.get("whose", "all")[:200] or "all" if admin else "mine",
            given.get("cause", "")[:200],
            int(after) if after else None,
        )

    def _filters(
        self, copy: Copy, question: Question, whose: str | None, formats: Formats, *, admin: bool
    ) -> list[tuple[str, str, list[tuple[str, str]], str]]:
        """The drop-down filters: (name, label, options, value); those without a choice are left out."""
        t, parts = formats.t, self.parts
        filters = [("state", t(_("State")), self._states(copy, question, whose, formats), question.state)]
        if len(parts.backends) > 1:
            backends = [(name, backend.label or name) for name, backend in parts.backends.items()]
            filters.append(("backend", t(_("Backend")), [("", t(_("All backends"))), *backends], question.backend))
        if len(parts.specs) > 1:
            tables = sorted(((spec.name, spec.label) for spec in parts.specs.values()), key=lambda pair: pair[1])
            filters.append(("table", t(_("Table")), [("", t(_("All tables"))), *tables], question.table))
        if admin:
            names = [(f"@{name}", name) for name in copy.command_users(USERS_MAX)]
            options = [("all", t(_("Of everybody"))), ("mine", t(_("Mine"))), *names]
            filters.append(("whose", t(_("Whose")), options, question.whose))
        return filters

    def _states(self, copy: Copy, question: Question, whose: str | None, formats: Formats) -> list[tuple[str, str]]:
        """What the filter offers, with how many there are of each."""
        t, counts = formats.t, copy.command_counts(whose, question.backend or None)
        needing = copy.needing_person(whose, question.backend or None)
        options = [
            ("open", t(_("Not done with"))),
            ("needs", f"{t(_('For a person to decide'))} ({formats.number(needing)})"),
        ]
        for state, (word, _kind) in STATES.items():
            options.append((state.value, f"{t(word)} ({formats.number(counts.get(state, 0))})"))
        return [*options, ("all", t(_("All")))]

    def _groups(self, copy: Copy, question: Question, whose: str | None, teller: Teller) -> list[dict[str, Any]]:
        """What failed for one cause, where there is more than one of it; the one that is shown, however many."""
        if question.after is not None or (question.dismissed is None and question.state not in set(map(str, NEEDY))):
            return []
        states = set(question.states)
        found = copy.command_groups(whose, question.backend or None)
        if question.cause:
            found = [group for group in found if group.fingerprint == question.cause]
        elif question.table:
            found = []
        shown = [group for group in found if group.state in states and (group.count > 1 or question.cause)]
        return [self._group(group, question, teller) for group in shown[:GROUPS_SHOWN_MAX]]

    def _group(self, group: Group, question: Question, teller: Teller) -> dict[str, Any]:
        word, kind = STATES[group.state]
        backend = self.parts.backends.get(group.backend)
        return {
            "cause": group.fingerprint,
            "count": group.count,
            "state": teller.t(word),
            "kind": kind,
            "backend": (backend.label or backend.name) if backend else group.backend,
            "reason": teller.formats.retell(group.reason),
            "href": question.href(cause=group.fingerprint),
            "shown": question.cause == group.fingerprint,
            "unknown": group.state is State.UNKNOWN,
        }

    def _acts(self, found: list[StoredCommand], user: User) -> frozenset[str]:
        """What may be done to some of those on the page."""
        if not may(user, "write"):
            return frozenset()
        states = {item.state for item in found[:ROWS_MAX] if not item.dismissed}
        acts = {"withdraw"} if State.KEPT in states else set()
        if states & {State.REFUSED, State.CONFLICT}:
            acts |= {"retry", "dismiss"}
        if State.UNKNOWN in states:
            acts |= {"arrived", "resend", "lost"}
        return frozenset(acts)

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
