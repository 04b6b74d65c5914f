"""The gate: who is calling, and the rule that nobody unknown gets further than sign-in.

It stands before the routes, so that a page somebody forgets to protect is closed, not open. It also refuses unsafe
requests that another site makes a signed-in browser send; the token in each form (`csrf`) is the second lock.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import functools
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from brique import words
from brique.errors import BriqueError
from brique.http.accounts import TOKEN_PREFIX, Accounts
from brique.http.faults import CrossSite, SignInNeeded, SlowDown
from brique.http.identity import Session, User
from brique.http.language import LANGUAGE_COOKIE, _, choose_language
from brique.http.negotiate import wants_html
from brique.http.ready import Caller, Keep
from brique.http.site import Site, at, client_address, header

log = logging.getLogger("brique.http")

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "QUERY"})
SIGN_IN_PATH = "/-/sign-in"
NEXT_LENGTH_MAX = 2000
TOUCH_SECONDS = 60.0
BAD_TOKENS_MAX = 30
BAD_TOKENS_SECONDS = 60.0
BAD_TOKENS_ADDRESSES_MAX = 4096


@dataclass(frozen=True, slots=True)
class Ticket:
    """A caller who stays, as followers do: `user` asks again who he is now, None once his session or token is over.
    `name` is the session's or token's own."""

    name: str
    user: Callable[[], User | None]


class Gate:
    """Sets `request.state.user` (a User or None) and `request.state.language`; see the module's text for the rule.

    `is_public` says whether the path of a scope is open to all (sign-in, setup, assets, health).
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        accounts: Accounts,
        site: Site,
        is_public: Callable[[Scope], bool],
        languages: tuple[str, ...] = words.LANGUAGES,
    ) -> None:
        self.app = app
        self.accounts = accounts
        self.site = site
        self.is_public = is_public
        self.languages = languages
        self.bad_tokens = BadTokens()
        self._touching: set[asyncio.Task[None]] = set()
        self._recently: dict[str, float] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        public = self.is_public(scope)
        user = self._identify(scope, public=public)
        state = scope.setdefault("state", {})
        state["user"] = user
        state["gate"] = self
        state["language"] = self._language(scope, user)
        keep: Keep | None = scope.get("brique.keep")
        if keep is not None:
            keep.address = client_address(scope)
            keep.still = functools.partial(self.still, slim(scope))
            keep.user, keep.waits = user, self.bad_tokens.wait
        if scope["method"] not in SAFE_METHODS and (user is None or user.via == "session"):
            check_origin(scope, self.site)
        if user is None and not public:
            await self._turn_away(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _identify(self, scope: Scope, *, public: bool) -> User | None:
        """The caller. A token that is sent and wrong is told so, rather than taken for nobody.

        Only a signed-in browser may carry a Basic header that is not for us: that of a proxy in front.
        """
        secret = session_id(scope, self.accounts, self.site)
        session = self.accounts.session(secret) if secret else None
        credential = api_credential(scope)
        if credential is not None and not (session and is_basic(scope)):
            return None if public else self._by_token(scope, credential)
        if session is None:
            return None
        if session.stale:
            self._touch(secret, session)
        return session.user

    def _by_token(self, scope: Scope, credential: str) -> User:
        address = client_address(scope)
        self.bad_tokens.check(address)
        user = self.accounts.token(credential)
        if user is None:
            self.bad_tokens.count(address)
            raise SignInNeeded(_("This API token is not valid."), try_this=_("Make a new one on your account page."))
        if user.handle.isdigit():
            self._in_background(self.accounts.touch_token, int(user.handle), key=f"token {user.handle}")
        return user

    def ticket(self, scope: Scope, user: User) -> Ticket:
        """Whom to ask for again what `user`, who made this request, may do later."""
        credential = api_credential(scope)
        if user.via == "token" and credential is not None:
            return Ticket(f"token {user.handle}", partial(self.accounts.token, credential))
        secret = session_id(scope, self.accounts, self.site)
        return Ticket(f"session {user.handle}", partial(self.accounts.session_user, secret))

    def still(self, scope: Scope) -> Caller | None:
        """Who is calling with the head of `scope`, and until when (seconds of the clock) that holds while nothing
        changes in the accounts; None when the gate itself must look: to refuse, to make wait, or to note a use."""
        secret = session_id(scope, self.accounts, self.site)
        session = self.accounts.session(secret) if secret else None
        credential = api_credential(scope)
        if credential is not None and not (session and is_basic(scope)):
            return self._still_by_token(credential)
        if session is None:
            return None, float("inf")
        return None if session.stale else (session.user, self.accounts.unwatched_until(session))

    def _still_by_token(self, credential: str) -> Caller | None:
        user = self.accounts.token(credential)
        if user is None:
            return None
        if not user.handle.isdigit():
            return user, float("inf")
        left = self._recently.get(f"token {user.handle}", 0.0) + TOUCH_SECONDS - time.monotonic()
        return None if left <= 0 else (user, self.accounts.token_until(user, left))

    def _touch(self, secret: str, session: Session) -> None:
        self._in_background(self.accounts.touch, secret, key=f"session {session.user.handle}")

    def _in_background(self, note: Callable[..., None], value: object, *, key: str) -> None:
        """Note a last use without making the reader wait for the disk; a use that is not noted harms nobody."""
        if self._recently.get(key, 0.0) > time.monotonic() - TOUCH_SECONDS:
            return
        if len(self._recently) > 10_000:
            self._recently.clear()
        self._recently[key] = time.monotonic()
        task = asyncio.get_running_loop().create_task(_note(note, value))
        self._touching.add(task)
        task.add_done_callback(self._touching.discard)

    def _language(self, scope: Scope, user: User | None) -> str:
        own = user.language if user is not None else ""
        cookie = cookies_of(scope).get(LANGUAGE_COOKIE, "")
        return choose_language(own, cookie, header(scope, b"accept-language"), self.languages)

    async def _turn_away(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A reader is sent to sign-in and back here afterwards; a program gets 401; htmx is told to change page."""
        here = here_as_next(scope)
        sign_in = at(scope, SIGN_IN_PATH) + (f"?next={quote(here, safe='')}" if here != "/" else "")
        if header(scope, b"hx-request") == "true" or not wants_html(scope):
            raise SignInNeeded(
                _("Sign in, or send an API token."),
                try_this=_("Send the header: Authorization: Bearer YOUR_TOKEN"),
                sign_in=sign_in,
            )
        await RedirectResponse(sign_in, status_code=303)(scope, receive, send)


async def _note(note: Callable[..., None], value: object) -> None:
    try:
        await asyncio.to_thread(note, value)
    except BriqueError as fault:
        log.warning("a last use was not noted: %s", fault)


class BadTokens:
    """Counts wrong API tokens from each address, in memory: guessing a short `--token` must not be quick."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def wait(self, address: str) -> float:
        """How many seconds no token is taken from `address`; 0 when they are."""
        since, count = self._seen.get(address, (0.0, 0))
        left = since + BAD_TOKENS_SECONDS - time.monotonic()
        return left if count >= BAD_TOKENS_MAX and left > 0 else 0.0

    def forget(self) -> None:
        """Begin to count anew."""
        self._seen.clear()

    def check(self, address: str) -> None:
        """Raises SlowDown while no token is taken."""
        if left := self.wait(address):
            raise SlowDown(_("Too many wrong API tokens."), retry_after=max(1, round(left)))

    def count(self, address: str) -> None:
        now = time.monotonic()
        since, count = self._seen.pop(address, (now, 0))
        if since + BAD_TOKENS_SECONDS <= now:
            since, count = now, 0
        self._seen[address] = (since, count + 1)
        while len(self._seen) > BAD_TOKENS_ADDRESSES_MAX:
            self._seen.popitem(last=False)


def slim(scope: Scope) -> Scope:
    """What of a request tells who is calling."""
    return {name: scope[name] for name in ("type", "scheme", "client", "headers")}


def api_credential(scope: Scope) -> str | None:
    """The API token that was sent: `Bearer TOKEN`, or Basic with the token as its password (any name); else None."""
    scheme, _space, rest = header(scope, b"authorization").partition(" ")
    rest = rest.strip()
    if scheme.lower() == "bearer":
        return rest
    if scheme.lower() == "basic":
        try:
            name, _colon, password = base64.b64decode(rest, validate=True).decode("utf-8").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return ""
        return password or (name if name.startswith(TOKEN_PREFIX) else "")
    return None


def is_basic(scope: Scope) -> bool:
    return header(scope, b"authorization")[:6].lower() == "basic "


def cookies_of(scope: Scope) -> dict[str, str]:
    """The caller's cookies; parsed once for each request."""
    cookies: dict[str, str] | None = scope.get("brique.cookies")
    if cookies is None:
        cookies = scope["brique.cookies"] = Request(scope).cookies if header(scope, b"cookie") else {}
    return cookies


def cookie_name(accounts: Accounts, *, secure: bool) -> str:
    """The session cookie's name; on https the browser itself refuses to let another host set it (`__Host-`)."""
    return f"{'__Host-' if secure else ''}brique_{accounts.instance}"


def session_id(scope: Scope, accounts: Accounts, site: Site) -> str:
    """The session id in the caller's cookie, or an empty text."""
    cookies = cookies_of(scope)
    return cookies.get(cookie_name(accounts, secure=site.is_secure(scope)), "") if cookies else ""


def check_origin(scope: Scope, site: Site) -> None:
    """Raises CrossSite for an unsafe request that another site's page sent.

    A browser says where a request comes from by Sec-Fetch-Site (on https and localhost) or Origin (always, for
    unsafe methods); a caller that says neither is no browser, and a session's token is asked of it all the same.
    """
    fetch_site = header(scope, b"sec-fetch-site")
    origin = header(scope, b"origin")
    if fetch_site in ("same-origin", "none"):
        return
    if (fetch_site or origin) and not (origin and site.is_own_origin(origin, scope)):
        raise CrossSite(
            _("This request came from another site."),
            try_this=_("Open the page in this intranet and send it from there."),
        )


def here_as_next(scope: Scope) -> str:
    """The address asked for, to come back to after sign-in; the home page for anything but a plain page."""
    if header(scope, b"hx-request") == "true":
        _scheme, _slashes, rest = header(scope, b"hx-current-url").partition("://")
        here = "/" + rest.partition("/")[2].partition("#")[0]
    elif scope["method"] in ("GET", "HEAD"):
        query = bytes(scope.get("query_string", b"")).decode("latin-1")
        here = quote(str(scope["path"])) + (f"?{query}" if query else "")
    else:
        return "/"
    return safe_next(here)


def safe_next(wished: str, default: str = "/") -> str:
    """`wished` when it is a plain address within this intranet, else `default`: never another site.

    Browsers read `//host`, `/\\host` and addresses with control characters as other sites.
    """
    if not wished.startswith("/") or wished.startswith("//") or len(wished) > NEXT_LENGTH_MAX:
        return default
    if "\\" in wished or any(ord(letter) < 33 or ord(letter) == 127 for letter in wished):
        return default
    try:
        parts = urlsplit(wished)
    except ValueError:
        return default
    if parts.scheme or parts.netloc or parts.path.startswith((SIGN_IN_PATH, "/-/sign-out", "/-/setup")):
        return default
    return wished
