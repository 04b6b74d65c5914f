"""The table of routes: what exists, for whom. One row for each path, with a handler for each method.

The table is data before it is an application, so that a test can walk it and check the role of every row. A fixed
path goes before one with places; among those with places the first declared goes first.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from starlette.datastructures import URLPath
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, NoMatchFound, compile_path
from starlette.types import Message, Receive, Scope, Send

from brique.errors import BadConfiguration, NotAllowed
from brique.http.csrf import check_csrf
from brique.http.faults import SignInNeeded, WrongMethod, no_such_page
from brique.http.gate import SAFE_METHODS, Gate, Ticket
from brique.http.identity import Role, User
from brique.http.language import _
from brique.http.limits import Limits
from brique.http.ready import Keep
from brique.http.shelf import RANKS
from brique.http.site import local_path

Handler = Callable[[Request], Response | Awaitable[Response]]
"""A coroutine function runs on the event loop; a plain function in a thread, where it may read the store."""

_KNOWN_MAX = 1_000
_KNOWN_LENGTH_MAX = 200

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


@dataclass(frozen=True)
class Route:
    """One row: `methods` of `path` are answered by `handler` for callers of at least `role`; None: for everybody."""

    path: str
    methods: tuple[str, ...]
    handler: Handler
    role: Role | None
    name: str
    body_bytes_max: int | None = None

    @functools.cached_property
    def awaits(self) -> bool:
        """Whether the handler runs on the loop."""
        call = getattr(self.handler, "__call__", None)  # noqa: B004 - an object whose call is a coroutine function
        return inspect.iscoroutinefunction(self.handler) or inspect.iscoroutinefunction(call)


@dataclass
class _Place:
    """Every route of one path."""

    path: str
    index: int
    pattern: re.Pattern[str]
    path_format: str
    convertors: dict[str, Any]
    routes: dict[str, Route] = field(default_factory=dict)

    @property
    def allowed(self) -> tuple[str, ...]:
        methods = {*self.routes, "OPTIONS"} | ({"HEAD"} if "GET" in self.routes else set())
        return tuple(sorted(methods))


class Routes:
    """Declare rows with `get`, `post`, …; join tables with `include`; hand the whole to `application`."""

    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}
        self._names: dict[str, _Place] = {}
        self._with_places: list[_Place] = []
        self._known: dict[str, tuple[_Place, dict[str, Any]] | None] = {}

    def __iter__(self) -> Iterator[Route]:
        """Each row once, in the order of declaration."""
        for place in self._places.values():
            seen: list[Route] = []
            for route in place.routes.values():
                if route not in seen:
                    seen.append(route)
                    yield route

    def add(self, route: Route) -> None:
        """Raises BadConfiguration when a method of the path, or the name, is taken."""
        place = self._places.get(route.path) or self._new_place(route.path)
        for method in route.methods:
            if method in place.routes:
                raise BadConfiguration(f"Two routes answer {method} {route.path}")
            place.routes[method] = route
        if route.name:
            if self._names.get(route.name, place) is not place:
                raise BadConfiguration(f"Two routes are called {route.name!r}")
            self._names[route.name] = place

    def route(
        self,
        methods: tuple[str, ...],
        path: str,
        handler: Handler,
        *,
        role: Role | None,
        name: str = "",
        body_bytes_max: int | None = None,
    ) -> None:
        self.add(Route(path, tuple(method.upper() for method in methods), handler, role, name, body_bytes_max))

    def get(self, path: str, handler: Handler, *, role: Role | None = "read", name: str = "") -> None:
        self.route(("GET",), path, handler, role=role, name=name)

    def post(
        self,
        path: str,
        handler: Handler,
        *,
        role: Role | None = "write",
        name: str = "",
        body_bytes_max: int | None = None,
    ) -> None:
        self.route(("POST",), path, handler, role=role, name=name, body_bytes_max=body_bytes_max)

    def put(self, path: str, handler: Handler, *, role: Role | None = "write", name: str = "") -> None:
        self.route(("PUT",), path, handler, role=role, name=name)

    def patch(self, path: str, handler: Handler, *, role: Role | None = "write", name: str = "") -> None:
        self.route(("PATCH",), path, handler, role=role, name=name)

    def delete(self, path: str, handler: Handler, *, role: Role | None = "write", name: str = "") -> None:
        self.route(("DELETE",), path, handler, role=role, name=name)

    def include(self, other: Routes, prefix: str = "") -> None:
        """Take over every row of `other`, below `prefix`."""
        for row in other:
            self.add(replace(row, path=prefix + row.path))

    def url(self, name: str, /, **values: object) -> str:
        """The path of the route called `name`, with its places filled. Raises NoMatchFound."""
        place = self._names.get(name)
        if place is None or values.keys() != place.convertors.keys():
            raise NoMatchFound(name, dict(values))
        path = place.path_format
        for key, value in values.items():
            path = path.replace("{" + key + "}", place.convertors[key].to_string(value))
        return path

    def find(self, path: str) -> tuple[_Place, dict[str, Any]] | None:
        """The place of `path` and the values in it; remembered, as the same few are asked for again and again."""
        if len(path) > _KNOWN_LENGTH_MAX:
            return self._match(path)
        if path not in self._known:
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            self._known[path] = self._match(path)
        known = self._known[path]
        return None if known is None else (known[0], dict(known[1]))

    def _match(self, path: str) -> tuple[_Place, dict[str, Any]] | None:
        fixed = self._places.get(path)
        if fixed is not None and not fixed.convertors:
            return fixed, {}
        for place in self._with_places:
            match = place.pattern.match(path)
            if match:
                return place, {key: place.convertors[key].convert(text) for key, text in match.groupdict().items()}
        return None

    def found(self, scope: Scope) -> tuple[_Place, dict[str, Any]] | None:
        """As `find`, for the scope of a request; looked up once for each request."""
        if "brique.place" not in scope:
            scope["brique.place"] = self.find(local_path(scope))
        found: tuple[_Place, dict[str, Any]] | None = scope["brique.place"]
        return found

    def is_public(self, scope: Scope) -> bool:
        """Whether the route of this request is open to callers who are not signed in."""
        found = self.found(scope)
        route = found[0].routes.get(_asked_method(scope, found[0])) if found else None
        return route is not None and route.role is None

    def body_bytes_max(self, scope: Scope, default: int) -> int:
        """The body limit of this request's route."""
        found = self.found(scope)
        route = found[0].routes.get(scope["method"]) if found else None
        return default if route is None or route.body_bytes_max is None else route.body_bytes_max

    def _new_place(self, path: str) -> _Place:
        if not path.startswith("/"):
            raise BadConfiguration(f"The path {path!r} of a route does not begin with /")
        pattern, path_format, convertors = compile_path(path)
        place = _Place(path, len(self._places), pattern, path_format, convertors)
        self._places[path] = place
        self._known.clear()
        if convertors:
            self._with_places.append(place)
        return place


def _asked_method(scope: Scope, place: _Place) -> str:
    """The method whose route answers; HEAD is answered by GET, OPTIONS counts as the first of the place."""
    method = str(scope["method"])
    if method == "HEAD" and "HEAD" not in place.routes:
        return "GET"
    if method == "OPTIONS" and "OPTIONS" not in place.routes:
        return next(iter(place.routes))
    return method


class Table(BaseRoute):
    """The one Starlette route of the application: it hands every request to its row."""

    def __init__(self, routes: Routes, limits: Limits) -> None:
        self.routes = routes
        self.limits = limits

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return (Match.FULL, {}) if scope["type"] == "http" else (Match.NONE, {})

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        return URLPath(self.routes.url(name, **path_params), protocol="http")

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self.routes.found(scope)
        if found is None:
            raise no_such_page()
        place, values = found
        scope["path_params"] = values
        scope["brique.route_path"] = place.path
        method = scope["method"]
        if method == "OPTIONS" and method not in place.routes:
            await Response(status_code=204, headers={"Allow": ", ".join(place.allowed)})(scope, receive, send)
            return
        route = place.routes.get(_asked_method(scope, place))
        if route is None:
            raise WrongMethod(place.allowed)
        keep: Keep | None = scope.get("brique.keep")
        if keep is not None:
            keep.route, keep.rank = place.path, RANKS[route.role]
        request = Request(scope, receive, send)
        try:
            await self._admit(request, route)
            response = await _call(route, request)
            try:
                if method == "HEAD":
                    await _without_body(response, scope, receive, send)
                else:
                    await response(scope, receive, send)
            finally:
                await _close_stream(response)
        finally:
            await request.close()

    async def _admit(self, request: Request, route: Route) -> None:
        if route.role is None:
            return
        request.scope["brique.role"] = route.role
        user = check_role(request, route.role)
        if request.method not in SAFE_METHODS:
            await check_csrf(request, user, self.limits)


async def _call(route: Route, request: Request) -> Response:
    answer = route.handler(request) if route.awaits else await asyncio.to_thread(route.handler, request)
    return answer if isinstance(answer, Response) else await answer


async def _without_body(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """The head of `response` alone: a stream does not make its first byte."""
    if hasattr(response, "body_iterator"):
        await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
        await send({"type": "http.response.body", "body": b""})
        return

    async def head_only(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    await response(scope, receive, head_only)


async def _close_stream(response: Response) -> None:
    """End the stream of an answer now: if its reader left, it would keep its snapshot of the store until collected."""
    close = getattr(getattr(response, "body_iterator", None), "aclose", None)
    if close is not None:
        await close()


def user_of(request: Request) -> User:
    """The caller. Raises SignInNeeded when there is none (only on a public route)."""
    user = request.scope.get("state", {}).get("user")
    if not isinstance(user, User):
        raise SignInNeeded(_("Sign in, or send an API token."))
    return user


def ticket_of(request: Request) -> Ticket:
    """The caller, to be asked about again. Raises SignInNeeded when there is none."""
    user = user_of(request)
    gate: Gate = request.scope["state"]["gate"]
    return gate.ticket(request.scope, user)


def check_role(request: Request, role: Role) -> User:
    """The caller, when it may do what `role` may. Raises SignInNeeded or NotAllowed."""
    user = user_of(request)
    if not user.may(role):
        raise NotAllowed(
            _("Your role does not allow this."),
            try_this=_("Ask an administrator of this intranet for the role {role}."),
            role=role,
        )
    return user


def requires(role: Role) -> Callable[[Decorated], Decorated]:
    """A decorator that asks for `role` again at the handler itself, whatever its row in the table says."""

    def decorate(handler: Decorated) -> Decorated:
        if inspect.iscoroutinefunction(handler):

            @functools.wraps(handler)
            async def awaited(request: Request, *args: Any, **values: Any) -> Any:
                check_role(request, role)
                return await handler(request, *args, **values)

            return awaited  # type: ignore[return-value]  # the same signature as the handler

        @functools.wraps(handler)
        def called(request: Request, *args: Any, **values: Any) -> Any:
            check_role(request, role)
            return handler(request, *args, **values)

        return called  # type: ignore[return-value]  # the same signature as the handler

    return decorate
