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
from brique.views import OUTBOX, STATUS, View

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
    topics, probe, role = _asked(parts, user_of(request), asked)
    role = role or str(request.scope.get("brique.role", "read"))
    ticket = ticket_of(request)
    who = Pass(ticket.name, role, partial(_holds, ticket, role))
    last = request.headers.get("last-event-id") or request.query_params.get("last", "")
    return EventStream(lambda: parts.live.join(topics, last=last, probe=probe, who=who))


def _holds(ticket: Ticket, role: str) -> bool:
    user = ticket.user()
    return user is not None and may(user, role)


def _asked(parts: Parts, user: User, asked: Mapping[str, str]) -> tuple[set[str] | None, Probe, str]:
    """The topics to follow (None: all), what is looked at besides, and the role that it needs ("": no more than the
    address itself)."""
    view = parts.views.by_name.get(asked.get("view", ""))
    if view is not None and may(user, view.role):
        given = {name: text for name, text in asked.items() if name in view.by_name}
        name = f"-view {view.name} {sorted(given.items())} {user.name}"
        return {OUTBOX, STATUS}, Probe(name, lambda: (_ages(parts), _state(parts, view, given, user))), view.role
    wished = asked.get("tables", "")
    if wished == "*":
        return None, Probe("-age", lambda: _ages(parts)), ""
    topics = {name for name in wished.split(",")[:TABLES_MAX] if name in parts.specs}
    return topics | {OUTBOX, STATUS}, Probe("-age", lambda: _ages(parts)), ""


def _state(parts: Parts, view: View, given: Mapping[str, str], user: User) -> object:
    """The ETag of a view that is ready. While it is not, nobody knows what a change would do to it: each counts."""
    try:
        found = parts.views.kept_etag(view.name, given, user)
        if found is not None:
            return found
        with parts.borrow() as copy:
            return copy.seq()
    except BriqueError:
        return None


def _ages(parts: Parts) -> object:
    """When each backend confirmed its data, to the minute."""
    try:
        with parts.borrow() as copy:
            states = copy.backend_states().values()
            return tuple(s.confirmed_at and int(s.confirmed_at.timestamp()) // _AGE_SECONDS for s in states)
    except BriqueError:
        return ()
