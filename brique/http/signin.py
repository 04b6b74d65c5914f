"""Sign-in, sign-out and the first visit, as plain forms that work without JavaScript."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from brique.errors import BadInput
from brique.http.forms import SHOWN_FAULTS, FrontDesk, go, text
from brique.http.gate import SIGN_IN_PATH, safe_next, session_id
from brique.http.language import LANGUAGE_COOKIE, _, language_of
from brique.http.routes import Routes
from brique.http.site import at, client_address

SETUP_PATH = "/-/setup"
YEAR_SECONDS = 365 * 24 * 3600


class SignIn:
    """The pages that are open to all, and sign-out."""

    def __init__(self, desk: FrontDesk) -> None:
        self.desk = desk

    def routes(self) -> Routes:
        routes = Routes()
        routes.get(SIGN_IN_PATH, self.form, role=None, name="sign-in")
        routes.post(SIGN_IN_PATH, self.sign_in, role=None, body_bytes_max=64 * 1024)
        routes.post("/-/sign-out", self.sign_out, role="read", name="sign-out")
        routes.get(SETUP_PATH, self.setup_form, role=None, name="setup")
        routes.post(SETUP_PATH, self.setup, role=None, body_bytes_max=64 * 1024)
        routes.post("/-/language", self.language, role=None, name="language", body_bytes_max=64 * 1024)
        return routes

    async def form(self, request: Request) -> Response:
        target = safe_next(request.query_params.get("next", ""), at(request.scope, "/"))
        if request.state.user is not None:
            return RedirectResponse(target, status_code=303)
        return self._page(request, target)

    async def sign_in(self, request: Request) -> Response:
        """A right name and password open a new session; the id that the browser came with ends here."""
        form = await request.form(max_files=0, max_fields=20)
        target = safe_next(text(form, "next"), at(request.scope, "/"))
        name = text(form, "name")
        address = client_address(request.scope)
        accounts = self.desk.accounts
        try:
            person = await self.desk.passwords.run(accounts.verify, name, text(form, "password"), address=address)
        except SHOWN_FAULTS as fault:
            return self._page(request, target, fault=fault, name=name)
        came_with = session_id(request.scope, accounts, self.desk.site)
        opened = await self.desk.open_session(request, person.name, came_with)
        response = RedirectResponse(target, status_code=303)
        self.desk.set_session(request, response, opened)
        return response

    async def sign_out(self, request: Request) -> Response:
        accounts = self.desk.accounts
        await asyncio.to_thread(accounts.close_session, session_id(request.scope, accounts, self.desk.site))
        response = go(request, SIGN_IN_PATH)
        self.desk.drop_session(request, response)
        return response

    async def setup_form(self, request: Request) -> Response:
        token = request.query_params.get("token", "")
        if self.desk.accounts.has_users():
            return go(request, SIGN_IN_PATH)
        return self._setup_page(request, token)

    async def setup(self, request: Request) -> Response:
        """Create the administrator and sign in, once."""
        form = await request.form(max_files=0, max_fields=20)
        token, name, password = text(form, "token"), text(form, "name"), text(form, "password")
        accounts = self.desk.accounts
        if accounts.has_users() or not accounts.setup_holds(token):
            return self._setup_page(request, token, name=name)
        try:
            if password != text(form, "repeat"):
                raise BadInput(_("This password cannot be used."), fields={"repeat": _("The two passwords differ.")})
            language = _offered(text(form, "language"), self.desk.languages)
            person = await self.desk.passwords.run(accounts.complete_setup, token, name, password, language)
        except SHOWN_FAULTS as fault:
            return self._setup_page(request, token, fault=fault, name=name)
        came_with = session_id(request.scope, accounts, self.desk.site)
        opened = await self.desk.open_session(request, person.name, came_with)
        response = go(request, "/")
        self.desk.set_session(request, response, opened)
        return response

    async def language(self, request: Request) -> Response:
        """Note the language that a reader who is not signed in chose, in a cookie."""
        form = await request.form(max_files=0, max_fields=20)
        target = safe_next(text(form, "next"), "")
        back = f"{at(request.scope, SIGN_IN_PATH)}?next={target}" if target else at(request.scope, SIGN_IN_PATH)
        response = RedirectResponse(back if request.state.user is None else target or "/", status_code=303)
        chosen = _offered(text(form, "language"), self.desk.languages)
        if chosen:
            secure = self.desk.site.is_secure(request.scope)
            response.set_cookie(
                LANGUAGE_COOKIE, chosen, max_age=YEAR_SECONDS, secure=secure, httponly=True, samesite="lax"
            )
        return response

    def _page(self, request: Request, target: str, *, fault: Exception | None = None, name: str = "") -> Response:
        first_visit = not self.desk.accounts.has_users()
        return self.desk.page("sign_in.html", request, fault=fault, target=target, name=name, first_visit=first_visit)

    def _setup_page(self, request: Request, token: str, *, fault: Exception | None = None, name: str = "") -> Response:
        holds = self.desk.accounts.setup_holds(token)
        status = 200 if holds else 403
        chosen = language_of(request)
        return self.desk.page(
            "setup.html", request, fault=fault, status=status, token=token, name=name, holds=holds, chosen=chosen
        )


def _offered(language: str, languages: tuple[str, ...]) -> str:
    return language if language in languages else ""
