"""What the pages of this room share: reading a form, rendering a page, checking a password off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from babel.core import UnknownLocaleError
from babel.dates import format_datetime
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from brique import words
from brique.errors import BadInput, Busy, Refused
from brique.http.accounts import Accounts
from brique.http.faults import SignInFailed, SlowDown
from brique.http.gate import cookie_name
from brique.http.identity import OpenedSession
from brique.http.language import _, language_of
from brique.http.problems import for_page
from brique.http.rendering import Render, own_context, plain_render
from brique.http.site import Site, at, client_address

LANGUAGE_NAMES = {"en": "English", "fr": "Français"}
SHOWN_FAULTS = (BadInput, Refused, SlowDown, SignInFailed)
PASSWORDS_AT_ONCE_MAX = 2
PASSWORDS_WAITING_MAX = 32

T = TypeVar("T")


_DAY_FIRST = {"en": "en_GB"}
"""Days come first and hours go to 24, as on all other pages."""


class PasswordWork:
    """Runs password work in threads, few at a time: each takes 64 MiB. Raises Busy when too many wait already."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(PASSWORDS_AT_ONCE_MAX)
        self._waiting = 0

    async def run(self, work: Callable[..., T], *args: Any, **values: Any) -> T:
        if self._waiting >= PASSWORDS_WAITING_MAX:
            raise Busy(_("Too many people are signing in at once."), try_this=_("Try again in a moment."))
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(work, *args, **values)
        finally:
            self._waiting -= 1


@dataclass
class FrontDesk:
    """What the pages of this room work with."""

    accounts: Accounts
    site: Site
    render: Render = plain_render
    languages: tuple[str, ...] = words.LANGUAGES
    timezone: tzinfo = UTC
    passwords: PasswordWork = field(default_factory=PasswordWork)

    def page(
        self, template: str, request: Request, *, fault: Exception | None = None, status: int = 200, **context: Any
    ) -> Response:
        """The page; with a `fault` the page says it (`problem`, and `faults` by field) and has its status."""
        language = language_of(request)
        problem: dict[str, Any] | None = None
        if isinstance(fault, SHOWN_FAULTS):
            problem, status = for_page(fault, language), fault.status
        faults = {
            error["pointer"].removeprefix("#/"): error["detail"] for error in (problem["errors"] if problem else ())
        }
        common = {
            "problem": problem,
            "faults": faults,
            "languages": [(code, LANGUAGE_NAMES.get(code, code)) for code in self.languages],
            "moment": lambda when: self.moment(when, language),
        }
        html = self.render(template, request, own_context(request, {**common, **context}))
        headers = {"Retry-After": str(fault.retry_after)} if isinstance(fault, SlowDown) else None
        return HTMLResponse(html, status, headers)

    def moment(self, when: datetime | None, language: str) -> str:
        """A moment as people read it, in the intranet's time zone."""
        if when is None:
            return ""
        try:
            return format_datetime(when.astimezone(self.timezone), "short", locale=_DAY_FIRST.get(language, language))
        except UnknownLocaleError:
            return when.astimezone(self.timezone).isoformat(" ", "minutes")

    def set_session(self, request: Request, response: Response, opened: OpenedSession) -> None:
        secure = self.site.is_secure(request.scope)
        response.set_cookie(
            cookie_name(self.accounts, secure=secure),
            opened.id,
            expires=opened.expires,
            path="/",
            secure=secure,
            httponly=True,
            samesite="lax",
        )

    def drop_session(self, request: Request, response: Response) -> None:
        secure = self.site.is_secure(request.scope)
        name = cookie_name(self.accounts, secure=secure)
        response.delete_cookie(name, path="/", secure=secure, httponly=True, samesite="lax")

    async def open_session(self, request: Request, name: str, replaces: str) -> OpenedSession:
        agent = request.headers.get("user-agent", "")
        address = client_address(request.scope)
        return await asyncio.to_thread(
            self.accounts.open_session, name, agent=agent, address=address, replaces=replaces
        )


def zone(name: str) -> tzinfo:
    """The time zone of that name, UTC for an empty one."""
    return ZoneInfo(name) if name else UTC


def text(form: FormData, name: str) -> str:
    """The text typed in a field; empty when there is none."""
    value = form.get(name, "")
    return value if isinstance(value, str) else ""


def go(request: Request, path: str) -> Response:
    """Send the browser to `path` of this intranet, by GET."""
    return RedirectResponse(at(request.scope, path), status_code=303)


def number(form: FormData, name: str, default: int, *, low: int, high: int) -> int:
    """A whole number typed in a field, held between `low` and `high`."""
    try:
        return min(max(int(text(form, name) or default), low), high)
    except ValueError:
        return default


Page = Callable[[Request], Awaitable[Response]]
