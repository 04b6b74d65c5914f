"""`/-/live?tables=a,b`: the event stream that pages listen to; an event says that something they show has changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from brique.commands import may
from brique.errors import BriqueError
from brique.http import Routes, User, user_of
from brique.live import Probe
from brique.pages.parts import Parts
from brique.views import OUTBOX, STATUS, View

TABLES_MAX = 100
_AGE_SECONDS = 60


def routes(parts: Parts) -> Routes:
    """The stream follows the tables asked for (`*` for all), or with `view=NAME` and its arguments one view; always
    the outbox and the state of the backends, and the age of the data, looked at each minute, so that what is
    confirmed anew does not seem to grow old on an open page."""

    async def follow(request: Request) -> Response:
        topics, probe = _asked(parts, request)
        last = request.headers.get("last-event-id") or request.query_params.get("last", "")
        events = parts.live.follow(topics, last=last, probe=probe)
        first = await anext(events)  # raises Busy before anything is sent
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(_all(first, events), media_type="text/event-stream", headers=headers)

    table = Routes()
    table.get("/-/live", follow, name="live")
    return table


def _asked(parts: Parts, request: Request) -> tuple[set[str] | None, Probe]:
    """The topics to follow (None: all), and what is looked at besides."""
    asked = dict(request.query_params.items())
    wished = asked.pop("tables", "")
    view = parts.views.by_name.get(asked.pop("view", ""))
    asked.pop("last", None)
    user = user_of(request)
    if view is not None and may(user, view.role):
        given = {name: text for name, text in asked.items() if name in view.by_name}
        name = f"-view {view.name} {sorted(given.items())} {user.name}"
        return {OUTBOX, STATUS}, Probe(name, lambda: (_ages(parts), _etag(parts, view, given, user)))
    if wished == "*":
        return None, Probe("-age", lambda: _ages(parts))
    topics = {name for name in wished.split(",")[:TABLES_MAX] if name in parts.specs}
    return topics | {OUTBOX, STATUS}, Probe("-age", lambda: _ages(parts))


def _etag(parts: Parts, view: View, given: Mapping[str, str], user: User) -> object:
    """The ETag of a view that is ready; None when it must be made anew."""
    try:
        return parts.views.kept_etag(view.name, given, user)
    except BriqueError:
        return None


async def _all(first: bytes, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        yield first
        async for event in events:
            yield event
    finally:
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()


def _ages(parts: Parts) -> object:
    """When each backend confirmed its data, to the minute."""
    try:
        with parts.borrow() as copy:
            states = copy.backend_states().values()
            return tuple(s.confirmed_at and int(s.confirmed_at.timestamp()) // _AGE_SECONDS for s in states)
    except BriqueError:
        return ()
