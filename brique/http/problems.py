"""Faults as answers: RFC 9457 problem+json for programs, a page for people, in the reader's language.

A fault that somebody named (BriqueError) is shown as it is. Any other exception is ours: it is logged with its
traceback, handed to `on_error`, and the caller is told only the request's id.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from brique.errors import BadInput, BriqueError
from brique.http.faults import SignInNeeded, SlowDown, WrongMethod
from brique.http.language import _, language_of, say
from brique.http.negotiate import wants_html
from brique.http.rendering import Render, own_context, plain_render
from brique.http.security import logged_path, raw_target
from brique.http.site import at, header

log = logging.getLogger("brique.http")

PROBLEM_JSON = "application/problem+json"
_RETRY_SECONDS: dict[int, int] = {HTTPStatus.SERVICE_UNAVAILABLE: 2, HTTPStatus.INSUFFICIENT_STORAGE: 5}
"""When to try again what fails for a while: somebody else is busy, or has filled the disk."""
OnError = Callable[[BaseException, Request], None]

TITLES = {
    "error": _("Something went wrong"),
    "invalid": _("Something does not fit"),
    "configuration": _("The configuration is wrong"),
    "not-found": _("Not found"),
    "forbidden": _("Not allowed"),
    "stale": _("Changed in the meantime"),
    "refused": _("Refused"),
    "idempotency-key-reused": _("Idempotency key used twice"),
    "limit": _("Too large"),
    "busy": _("Busy"),
    "disk-full": _("The disk is full"),
    "engine-away": _("Writes are paused"),
    "backend-away": _("The backend is away"),
    "backend-refused": _("The backend refused"),
    "missing-extra": _("A part is not installed"),
    "sign-in-needed": _("Sign in first"),
    "sign-in-failed": _("Sign-in failed"),
    "slow-down": _("Too many tries"),
    "cross-site": _("Sent from another site"),
    "wrong-host": _("Wrong host name"),
    "too-slow": _("Too slow"),
    "method-not-allowed": _("Method not allowed"),
    "bad-request": _("The request cannot be read"),
}


class UnnamedFault(BriqueError):
    """A status that the framework raised, or our own mistake (500), without words of its own."""

    def __init__(self, status: int, message: str, *, try_this: str = "", **facts: object) -> None:
        super().__init__(message, try_this=try_this, **facts)
        self.status = status
        self.code = "error" if status >= 500 else "bad-request"


def as_fault(exception: BaseException, request_id: str) -> BriqueError:
    """`exception` as a fault that may be shown."""
    if isinstance(exception, BriqueError):
        return exception
    if isinstance(exception, HTTPException):
        return UnnamedFault(exception.status_code, exception.detail)
    return UnnamedFault(
        500,
        _("The server made a mistake. It was noted under the number {request_id}."),
        try_this=_("Try again; if it stays, give that number to who looks after this intranet."),
        request_id=request_id,
    )


def problem(fault: BriqueError, request: Request, **extensions: Any) -> Response:
    """`fault` as problem+json. `errors` points at each wrong field; `extensions` are added as they are."""
    language = language_of(request)
    content = describe(fault, language)
    if fault.code in TITLES:
        content["type"] = at(request.scope, f"/-/problems/{fault.code}")
    content["request_id"] = request.scope.get("state", {}).get("request_id", "")
    content.update(extensions)
    headers = {**_headers(fault, request), "Content-Language": language}
    return Response(msgspec.json.encode(content), fault.status, headers, media_type=PROBLEM_JSON)


def describe(fault: BriqueError, language: str) -> dict[str, Any]:
    """The members of the problem, in `language`."""
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": say(TITLES.get(fault.code) or _phrase(fault.status), language, {}),
        "status": fault.status,
        "code": fault.code,
        "detail": say(fault.message, language, fault.facts),
    }
    if fault.try_this:
        content["try_this"] = say(fault.try_this, language, fault.facts)
    if isinstance(fault, BadInput) and fault.fields:
        content["errors"] = [
            {"pointer": _pointer(name), "detail": say(text, language, fault.facts)}
            for name, text in fault.fields.items()
        ]
    return content


def for_page(fault: BriqueError, language: str) -> dict[str, Any]:
    """`describe` with every member that a template asks for."""
    return {"errors": [], "try_this": "", **describe(fault, language)}


def error_page(fault: BriqueError, request: Request, render: Render) -> Response:
    """`fault` as a page; a plain one when `render` is itself at fault."""
    context: Mapping[str, Any] = {
        "problem": for_page(fault, language_of(request)),
        "request_id": request.scope.get("state", {}).get("request_id", ""),
    }
    try:
        html = render("error.html", request, own_context(request, context))
    except Exception:  # the error page must come out whatever happens
        log.exception("the error page could not be rendered")
        html = plain_render("error.html", request, context)
    return HTMLResponse(html, fault.status, _headers(fault, request))


class Problems:
    """Turns whatever is raised inside into an answer; nothing passes it but a cancelled task."""

    def __init__(self, app: ASGIApp, *, render: Render = plain_render, on_error: OnError | None = None) -> None:
        self.app = app
        self.render = render
        self.on_error = on_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except ClientDisconnect:
            log.debug("the caller left: %s", logged_path(raw_target(scope)))
        except Exception as exception:  # noqa: BLE001  (every fault ends here, as an answer)
            request = Request(scope, receive)
            self._report(exception, request, begun=begun)
            if not begun:
                await self.answer(exception, request)(scope, receive, send)

    def answer(self, exception: BaseException, request: Request) -> Response:
        """The answer for `exception`: a page for a browser, problem+json for all others."""
        fault = as_fault(exception, request.scope.get("state", {}).get("request_id", ""))
        if wants_html(request.scope) and header(request.scope, b"hx-request") != "true":
            return error_page(fault, request, self.render)
        return problem(fault, request)

    def _report(self, exception: Exception, request: Request, *, begun: bool) -> None:
        known = isinstance(exception, (BriqueError, HTTPException))
        if known and not begun:
            return
        request_id = request.scope.get("state", {}).get("request_id", "")
        path = logged_path(raw_target(request.scope))
        log.error("%s %s failed (%s)", request.method, path, request_id, exc_info=exception)
        if self.on_error is None:
            return
        try:
            self.on_error(exception, request)
        except Exception:  # who keeps errors may be at fault too; the caller still gets an answer
            log.exception("the error could not be recorded")


def _headers(fault: BriqueError, request: Request) -> dict[str, str]:
    headers: dict[str, str] = {}
    if isinstance(fault, SignInNeeded):
        headers["WWW-Authenticate"] = 'Bearer realm="brique"'
        sign_in = fault.facts.get("sign_in")
        if isinstance(sign_in, str) and request.headers.get("hx-request") == "true":
            headers["HX-Redirect"] = sign_in
    if isinstance(fault, SlowDown):
        headers["Retry-After"] = str(fault.retry_after)
    elif fault.status in _RETRY_SECONDS:
        headers["Retry-After"] = str(_RETRY_SECONDS[fault.status])
    if isinstance(fault, WrongMethod):
        headers["Allow"] = ", ".join(fault.allowed)
    if fault.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        headers["Connection"] = "close"  # the rest of the body is not read
    return headers


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _pointer(name: str) -> str:
    """A JSON pointer (RFC 6901) to the field, as a URI fragment, like the example of RFC 9457."""
    return "#/" + name.replace("~", "~0").replace("/", "~1")
