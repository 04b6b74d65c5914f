"""Pages that follow: `/-/live?tables=a,b`, or any page asked for as `text/event-stream`; an event says that something
that the page shows has changed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from brique.commands import may
from brique.errors import BriqueError
from brique.http import EventStream, Routes, Ticket, User, ticket_of, user_of
from brique.live import Pass, Probe
from brique.pages.parts import Parts
from brique.views import OUTBOX, STATUS, Watched

TABLES_MAX = 100
_AGE_SECONDS = 60


def routes(parts: Parts) -> Routes:
    """The stream follows the tables asked for (`*` for all), or with `view=NAME` and its arguments one view; always
    the outbox and the state of the backends, and the age of the data, looked at each minute, so that what is
    confirmed anew does not seem to grow old on an open page."""

    async def follow(request: Request) -> Response:
        return events(parts, request, dict(request.query_params.items()))

    table = Routes()
    table.get("/-/live", follow, name="live")
    return table


def following(parts: Parts, request: Request, live: str) -> Response:
    """The events of a page that listens to the address `live`."""
    return events(parts, request, dict(parse_qsl(urlsplit(live).query, keep_blank_values=True)))


def events(parts: Parts, request: Request, asked: Mapping[str, str]) -> Response:
    """The events of what is `asked`: tables, or a view and its arguments."""
    topics, views, role = _asked(parts, user_of(request), asked)
    role = role or str(request.scope.get("brique.role", "read"))
    ticket = ticket_of(request)
    who = Pass(ticket.name, role, partial(_holds, ticket, role))
    last = request.headers.get("last-event-id") or request.query_params.get("last", "")
    age = Probe("-age", lambda: _ages(parts))
    return EventStream(lambda: parts.live.join(topics, views=views, last=last, probe=age, who=who))


def _holds(ticket: Ticket, role: str) -> bool:
    user = ticket.user()
    return user is not None and may(user, role)


def _asked(parts: Parts, user: User, asked: Mapping[str, str]) -> tuple[set[str] | None, list[Watched], str]:
    """The topics to follow (None: all), the views, and the role that it needs ("": no more than the address itself).
    Raises BadInput for arguments that a view does not take."""
    view = parts.views.by_name.get(asked.get("view", ""))
    if view is not None and may(user, view.role):
        given = {name: text for name, text in asked.items() if name in view.by_name}
        return {OUTBOX, STATUS}, [parts.views.watched(view.name, given, user)], view.role
    wished = asked.get("tables", "")
    if wished == "*":
        return None, [], ""
    topics = {name for name in wished.split(",")[:TABLES_MAX] if name in parts.specs}
    return topics | {OUTBOX, STATUS}, [], ""


def _ages(parts: Parts) -> object:
    """When each backend confirmed its data, to the minute."""
    try:
        with parts.borrow() as copy:
            states = copy.backend_states().values()
            return tuple(s.confirmed_at and int(s.confirmed_at.timestamp()) // _AGE_SECONDS for s in states)
    except BriqueError:
        return ()
