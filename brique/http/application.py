"""Puts the parts of this room around a table of routes, from the outside in: one list, one order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Lifespan, Scope

from brique import words
from brique.http.account_pages import AccountPages
from brique.http.accounts import Accounts
from brique.http.compress import Compress
from brique.http.faults import no_such_page
from brique.http.forms import FrontDesk
from brique.http.gate import Gate
from brique.http.language import language_of, speaker
from brique.http.limits import BodyLimit, Limits, TimeLimit
from brique.http.problems import TITLES, OnError, Problems
from brique.http.rendering import Render, own_context, plain_render
from brique.http.routes import Routes, Table
from brique.http.security import Exchange, HostCheck, Security
from brique.http.signin import SignIn
from brique.http.site import Site


def account_routes(desk: FrontDesk) -> Routes:
    """The routes of this room: sign-in, setup, account, users, and the page of each kind of problem."""
    routes = Routes()
    routes.include(SignIn(desk).routes())
    routes.include(AccountPages(desk).routes())

    async def problem_page(request: Request) -> Response:
        code = request.path_params["code"]
        if code not in TITLES:
            raise no_such_page()
        title = speaker(language_of(request))(TITLES[code])
        context = own_context(request, {"code": code, "heading": title})
        return HTMLResponse(desk.render("problem.html", request, context))

    routes.get("/-/problems/{code}", problem_page, role="read", name="problem")
    return routes


def application(
    routes: Routes,
    *,
    accounts: Accounts,
    site: Site,
    limits: Limits | None = None,
    render: Render = plain_render,
    languages: tuple[str, ...] = words.LANGUAGES,
    on_error: OnError | None = None,
    on_exchange: Callable[[Exchange], None] | None = None,
    hsts_seconds: int = 0,
    lifespan: Lifespan[Any] | None = None,
    within: Sequence[Middleware] = (),
) -> Starlette:
    """The ASGI application for `routes`.

    Outside in: headers, id and log; compression; faults into answers; host; time; size; who is calling; the table.
    `within` stands between the last two. What raises in any of the inner parts is answered by `Problems` and still
    gets its headers.
    """
    limits = limits or Limits()

    def bytes_max(scope: Scope) -> int:
        return routes.body_bytes_max(scope, limits.body_bytes_max)

    middleware = [
        Middleware(Security, site=site, on_exchange=on_exchange, hsts_seconds=hsts_seconds),
        Middleware(Compress, bytes_min=limits.gzip_bytes_min),
        Middleware(Problems, render=render, on_error=on_error),
        Middleware(HostCheck, site=site),
        Middleware(TimeLimit, limits=limits),
        Middleware(BodyLimit, bytes_max=bytes_max),
        Middleware(Gate, accounts=accounts, site=site, is_public=routes.is_public, languages=languages),
        *within,
    ]
    return _Application(routes=[Table(routes, limits)], middleware=middleware, lifespan=lifespan)


class _Application(Starlette):
    """Starlette without its two layers for faults, which would answer in plain text: our `Problems` answers them all,
    in the caller's form and language."""

    def build_middleware_stack(self) -> ASGIApp:
        app: ASGIApp = self.router
        for kind, arguments, options in reversed(self.user_middleware):
            app = kind(app, *arguments, **options)
        return app
