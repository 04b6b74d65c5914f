"""A user's own account (password, language, sessions, API tokens) and, for administrators, the list of users."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from brique.errors import BadInput, BriqueError, NotAllowed
from brique.http.forms import SHOWN_FAULTS, FrontDesk, go, number, text
from brique.http.gate import SIGN_IN_PATH, safe_next, session_id
from brique.http.identity import ROLES, Grant, Role, User, allows
from brique.http.language import _
from brique.http.routes import Routes, user_of
from brique.http.site import client_address

ACCOUNT_PATH = "/-/account"
USERS_PATH = "/-/users"
TOKEN_DAYS_MAX = 3650

DONE = {
    "password": _("The password is changed; every other session has ended."),
    "language": _("The language is changed."),
    "session": _("The session has ended."),
    "revoked": _("The API token is revoked."),
    "created": _("The user is created."),
    "role": _("The role is changed."),
    "reset": _("The password is set; the user's sessions have ended."),
    "disabled": _("The account is closed and its sessions have ended."),
    "enabled": _("The account is open again."),
}
ROLE_WORDS = {"read": _("reads"), "write": _("reads and writes"), "admin": _("administers")}


class AccountPages:
    """Pages of the signed-in user. API tokens have no business here: a leaked one must not make others."""

    def __init__(self, desk: FrontDesk) -> None:
        self.desk = desk

    def routes(self) -> Routes:
        routes = Routes()
        routes.get(ACCOUNT_PATH, self.account, role="read", name="account")
        routes.post(ACCOUNT_PATH + "/password", self.change_password, role="read")
        routes.post(ACCOUNT_PATH + "/language", self.change_language, role="read")
        routes.post(ACCOUNT_PATH + "/sessions", self.end_session, role="read")
        routes.post(ACCOUNT_PATH + "/everywhere", self.sign_out_everywhere, role="read")
        routes.post(ACCOUNT_PATH + "/tokens", self.grant, role="read")
        routes.post(ACCOUNT_PATH + "/tokens/revoke", self.revoke, role="read")
        routes.get(USERS_PATH, self.users, role="admin", name="users")
        routes.post(USERS_PATH, self.create, role="admin")
        routes.post(USERS_PATH + "/role", self.set_role, role="admin")
        routes.post(USERS_PATH + "/password", self.set_password, role="admin")
        routes.post(USERS_PATH + "/disable", self.disable, role="admin")
        routes.post(USERS_PATH + "/enable", self.enable, role="admin")
        return routes

    # the user's own

    async def account(self, request: Request) -> Response:
        return await self._account_page(request)

    async def change_password(self, request: Request) -> Response:
        user, form = _by_session(request), await request.form()
        new, accounts = text(form, "new"), self.desk.accounts
        own = session_id(request.scope, accounts, self.desk.site)
        address = client_address(request.scope)
        try:
            if new != text(form, "repeat"):
                raise BadInput(_("This password cannot be used."), fields={"repeat": _("The two passwords differ.")})
            await self.desk.passwords.run(accounts.verify, user.name, text(form, "current"), address=address)
            await self.desk.passwords.run(accounts.set_password, user.name, new, keep=own)
        except SHOWN_FAULTS as fault:
            return await self._account_page(request, fault=fault)
        opened = await self.desk.open_session(request, user.name, own)
        response = _done(request, ACCOUNT_PATH, "password")
        self.desk.set_session(request, response, opened)
        return response

    async def change_language(self, request: Request) -> Response:
        user, form = _by_session(request), await request.form()
        chosen = text(form, "language")
        if chosen not in self.desk.languages:
            chosen = ""
        await asyncio.to_thread(self.desk.accounts.set_language, user.name, chosen)
        target = safe_next(text(form, "next"), "")
        return go(request, target) if target else _done(request, ACCOUNT_PATH, "language")

    async def end_session(self, request: Request) -> Response:
        user, form = _by_session(request), await request.form()
        await asyncio.to_thread(self.desk.accounts.close_session_by_handle, user.name, text(form, "handle"))
        return _done(request, ACCOUNT_PATH, "session")

    async def sign_out_everywhere(self, request: Request) -> Response:
        user = _by_session(request)
        await asyncio.to_thread(self.desk.accounts.close_all, user.name)
        response = go(request, SIGN_IN_PATH)
        self.desk.drop_session(request, response)
        return response

    async def grant(self, request: Request) -> Response:
        """Make an API token of at most the user's own role; its value is on this answer and nowhere else."""
        user, form = _by_session(request), await request.form()
        days = number(form, "days", 90, low=0, high=TOKEN_DAYS_MAX)
        wished = _role(text(form, "role"))
        role = wished if allows(user.role, wished) else user.role
        try:
            grant = await asyncio.to_thread(
                self.desk.accounts.grant_token,
                text(form, "name"),
                role,
                owner=user.name,
                ttl=timedelta(days=days) if days else None,
            )
        except SHOWN_FAULTS as fault:
            return await self._account_page(request, fault=fault)
        return await self._account_page(request, grant=grant)

    async def revoke(self, request: Request) -> Response:
        user, form = _by_session(request), await request.form()
        id = number(form, "id", 0, low=0, high=2**62)  # noqa: A001
        await asyncio.to_thread(self.desk.accounts.revoke_token, id, owner=user.name)
        return _done(request, ACCOUNT_PATH, "revoked")

    # the administrator's

    async def users(self, request: Request) -> Response:
        return await self._users_page(request)

    async def create(self, request: Request) -> Response:
        form = await request.form()
        name, role = text(form, "name"), _role(text(form, "role"))
        password = text(form, "password")

        async def work() -> None:
            await self.desk.passwords.run(self.desk.accounts.create_user, name, password, role)

        return await self._change(request, work, "created", typed={"name": name, "role": role})

    async def set_role(self, request: Request) -> Response:
        form = await request.form()
        name, role = text(form, "name"), _role(text(form, "role"))
        return await self._change(request, _in_thread(self.desk.accounts.set_role, name, role), "role")

    async def set_password(self, request: Request) -> Response:
        form = await request.form()
        name, password = text(form, "name"), text(form, "password")

        async def work() -> None:
            await self.desk.passwords.run(self.desk.accounts.set_password, name, password)

        return await self._change(request, work, "reset", about=name)

    async def disable(self, request: Request) -> Response:
        name = text(await request.form(), "name")
        return await self._change(request, _in_thread(self.desk.accounts.disable, name), "disabled")

    async def enable(self, request: Request) -> Response:
        name = text(await request.form(), "name")
        return await self._change(request, _in_thread(self.desk.accounts.disable, name, False), "enabled")

    # inside

    async def _change(
        self,
        request: Request,
        work: Callable[[], Any],
        done: str,
        *,
        typed: dict[str, str] | None = None,
        about: str = "",
    ) -> Response:
        _by_session(request)
        try:
            await work()
        except SHOWN_FAULTS as fault:
            return await self._users_page(request, fault=fault, typed=typed, about=about)
        return _done(request, USERS_PATH, done)

    async def _account_page(
        self, request: Request, *, fault: BriqueError | None = None, grant: Grant | None = None
    ) -> Response:
        user = _by_session(request)
        accounts = self.desk.accounts
        return self.desk.page(
            "account.html",
            request,
            fault=fault,
            grant=grant,
            done=DONE.get(request.query_params.get("done", ""), ""),
            person=accounts.user(user.name),
            sessions=accounts.sessions(user.name),
            tokens=accounts.tokens(user.name),
            roles=[role for role in ROLES if allows(user.role, role)],
            role_words=ROLE_WORDS,
        )

    async def _users_page(
        self,
        request: Request,
        *,
        fault: BriqueError | None = None,
        typed: dict[str, str] | None = None,
        about: str = "",
    ) -> Response:
        _by_session(request)
        return self.desk.page(
            "users.html",
            request,
            fault=fault,
            typed=typed or {"name": "", "role": "read"},
            about=about,
            done=DONE.get(request.query_params.get("done", ""), ""),
            people=self.desk.accounts.list_users(),
            roles=ROLES,
            role_words=ROLE_WORDS,
        )


def _by_session(request: Request) -> User:
    """The signed-in user. Raises NotAllowed for an API token."""
    user = user_of(request)
    if user.via != "session":
        raise NotAllowed(
            _("Accounts are managed by people, not with API tokens."), try_this=_("Sign in with a browser.")
        )
    return user


def _role(text: str) -> Role:
    """The role of that name; the least one for any other text."""
    return next((role for role in ROLES if role == text), "read")


def _in_thread(work: Callable[..., None], *args: Any) -> Callable[[], Any]:
    return lambda: asyncio.to_thread(work, *args)


def _done(request: Request, path: str, done: str) -> Response:
    return go(request, f"{path}?done={done}")
