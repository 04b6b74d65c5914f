"""Reads that can be followed: the address as a stream of events, or an answer that waits for news.

`Accept: text/event-stream` follows the address: an event for each new answer, with its ETag and, when it is short, its
body. `Prefer: wait=30` beside `If-None-Match` is for those who cannot read a stream: 200 as soon as the answer is
another one, 304 when the time is over.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from brique.api.answers import AnsweredInThread
from brique.api.operation import Operation
from brique.api.parts import Parts
from brique.errors import BriqueError
from brique.http import (
    EVENT_STREAM,
    Bell,
    EventStream,
    Ticket,
    User,
    header,
    stand_down,
    take_time,
    ticket_of,
    user_of,
    wants_events,
)
from brique.live import Follower, Pass, Reading
from brique.schema import TableSpec
from brique.views import OUTBOX, Watched

_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,4})\"?\s*(?:[,;]|$)", re.ASCII | re.IGNORECASE)
_GONE = (403, 404, 410)


class Followable(AnsweredInThread):
    """The handler of a read, which can be followed too. Called on the loop; the read itself runs in a thread."""

    def __init__(self, operation: Operation, specs: Mapping[str, TableSpec], parts: Parts) -> None:
        super().__init__(operation, specs)
        self._forms = (*self._forms, EVENT_STREAM)
        self._parts = parts

    async def __call__(self, request: Request) -> Response:  # type: ignore[override]  # a route awaits what is awaitable
        answer = await asyncio.to_thread(super().__call__, request)
        wished = _WAIT.search(header(request.scope, b"prefer"))
        is_followed = wants_events(request.scope)
        if wished is not None or is_followed:
            stand_down(request.scope)
        if answer.status_code not in (200, 304):
            return answer
        etag = answer.headers.get("etag", "")
        try:
            if is_followed:
                seen = etag if answer.status_code == 304 else ""
                return EventStream(self._joining(request, seen, request.headers.get("last-event-id", "")))
            if answer.status_code == 304 and wished is not None:
                return await self._wait(request, answer, etag, float(wished[1]))
        except BriqueError as fault:
            return self._problem(fault, request)
        return answer

    async def _wait(self, request: Request, answer: Response, etag: str, wished: float) -> Response:
        """`answer`, or a newer one as soon as there is any."""
        seconds = min(wished, self._parts.live.limits.wait_seconds_max)
        take_time(request.scope, seconds)
        end = asyncio.get_running_loop().time() + seconds
        bell = Bell()
        follower = self._joining(request, etag, "")()
        follower.attach(bell)
        try:
            while answer.status_code == 304 and await _news(follower, bell, end):
                answer = await asyncio.to_thread(super().__call__, request)
        finally:
            follower.leave()
        answer.headers["Preference-Applied"] = f"wait={seconds:g}"
        return answer

    def _joining(self, request: Request, seen: str, last: str) -> Callable[[], Follower]:
        """What makes a follower of the address that `request` reads."""
        user, ticket = user_of(request), ticket_of(request)
        topics, views = self._subject(request, user)
        address = str(request.scope["path"]) + "?" + request.scope["query_string"].decode("latin-1")
        whose = () if self.operation.per == "table" else (user.name, user.role)
        language = request.scope["state"].get("language", "")
        return partial(
            self._parts.live.join,
            topics,
            views=views,
            read=partial(self._read, _again(request)),
            address=repr((address, request.scope.get("root_path", ""), language, *whose)),
            last=last,
            seen=seen,
            who=Pass(ticket.name, f"{self.operation.role} {user.role}", partial(_holds, ticket, user)),
        )

    def _subject(self, request: Request, user: User) -> tuple[set[str] | None, list[Watched]]:
        """What a change must touch for the address to be read again: topics (None: anything), and views."""
        operation, places = self.operation, request.path_params
        if operation.tag == "outbox":
            return {OUTBOX}, []
        if operation.per == "table":
            return _with_references(self._specs, places["table"]), []
        if operation.per == "view":
            return set(), [self._parts.views.watched(places["view"], dict(request.query_params.items()), user)]
        return None, []

    def _read(self, request: Request) -> Reading | None:
        """What the address answers now; None when that cannot be told at the moment."""
        answer = super().__call__(request)
        if answer.status_code in _GONE:
            return Reading(str(answer.status_code), answer.status_code)
        if answer.status_code != 200:
            return None
        body = bytes(answer.body)
        fits = len(body) <= self._parts.live.limits.body_bytes_max
        return Reading(answer.headers["etag"], 200, body if fits else None)


async def _news(follower: Follower, bell: Bell, end: float) -> bool:
    """Wait until the address may answer otherwise; False when the time is over, or nobody may wait any more."""
    while not follower.ended:
        try:
            async with asyncio.timeout_at(end):
                await bell.wait()
        except TimeoutError:
            return False
        if follower.has_news:
            return bool(follower.take())
        follower.take()
    return False


def _again(request: Request) -> Request:
    """The same question, without what the caller has already and without his connection."""
    kept = (
        "type",
        "path",
        "root_path",
        "query_string",
        "path_params",
        "method",
        "scheme",
        "server",
        "brique.route_path",
    )
    scope = {name: request.scope[name] for name in kept if name in request.scope}
    state = {name: request.scope["state"].get(name) for name in ("user", "language")}
    host = [item for item in request.scope["headers"] if item[0] == b"host"]
    return Request({**scope, "headers": host, "state": state})


def _with_references(specs: Mapping[str, TableSpec], table: str) -> set[str]:
    """A table and those that its rows lead to, from which searches and labels are read too."""
    found, left = {table}, [table]
    while left:
        spec = specs.get(left.pop())
        for reference in spec.references if spec is not None else ():
            if reference.table not in found:
                found.add(reference.table)
                left.append(reference.table)
    return found


def _holds(ticket: Ticket, user: User) -> bool:
    """Whether the caller may go on as who he was: with another role he would be shown other things."""
    now = ticket.user()
    return now is not None and (now.name, now.role) == (user.name, user.role)
