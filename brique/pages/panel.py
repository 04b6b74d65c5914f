"""The developer's panel: below each page, how it came about. Administrators see it, and only where it is switched on.

`Panel` stands between the gate and the routes: it knows who asks. For an administrator's page it traces the request
(`brique.observe.tracing`), and adds to the answer what it has seen: a closed `details`, without script. Statements are
shown without the values that they were given. Where it is off, nothing of this exists.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from brique.commands import may
from brique.errors import BriqueError
from brique.http import Routes, User, at, language_of
from brique.observe import LINES_MAX, LineFormatter, Trace, traced, tracing
from brique.pages.parts import Parts
from brique.pages.speaking import environment_of
from brique.views import Copy, Representation, Why, why

_PLANS_MAX = 30
_OUTSIDE = ("socket.connect", "subprocess.Popen", "os.system", "os.posix_spawn", "sqlite3.connect", "urllib.Request")
_audited = False


class Panel:
    """The middleware. `fault_file`: where a traceback of the declaration stands while it cannot be loaded."""

    def __init__(self, app: ASGIApp, *, parts: Parts, fault_file: Path | None = None) -> None:
        self.app, self.parts, self.fault_file = app, parts, fault_file
        _listen()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        user = scope.get("state", {}).get("user")
        if scope["type"] != "http" or not isinstance(user, User) or not may(user, "admin") or not _is_page(scope):
            await self.app(scope, receive, send)
            return
        now = perf_counter()
        trace = Trace(scope["state"].get("began", now))
        trace.add("session", now - trace.began)
        with traced(trace):
            await self.app(scope, receive, _Answer(self, Request(scope), trace, send))

    def add_to(self, body: bytes, request: Request, trace: Trace) -> bytes:
        """The page with the panel at its end; runs in a thread."""
        with traced(None):
            found = body.rfind(b"</body>")
            if found < 0:
                return body
            fault = self._fault(request)
            page = body[:found] + self._html(body, request, trace).encode() + body[found:]
            place = page.find(b">", page.find(b"<main")) + 1
            return page[:place] + fault.encode() + page[place:] if fault and place > 0 else page

    def _html(self, body: bytes, request: Request, trace: Trace) -> str:
        parts = self.parts
        language = language_of(request, parts.languages)
        template = environment_of(language, parts.timezone.key).get_template("parts/panel.html")
        total = perf_counter() - trace.began
        with parts.borrow() as copy, copy.snapshot():
            context = _Seen(parts, copy, trace, request.scope["state"]["user"]).context()
        style = at(request.scope, parts.assets.url("panel.css"))
        sizes = {"bytes": len(body), "gzip": len(gzip.compress(body, 6))}
        return template.render(context, total=total, sizes=sizes, style=style)

    def _fault(self, request: Request) -> str:
        """What is said at the top of the page while the declaration cannot be loaded."""
        if self.fault_file is None or not self.fault_file.exists():
            return ""
        template = environment_of(language_of(request, self.parts.languages), self.parts.timezone.key)
        text = self.fault_file.read_text("utf-8", "replace")
        style = at(request.scope, self.parts.assets.url("panel.css"))
        return template.get_template("parts/panel_fault.html").render(text=text, style=style)


class _Answer:
    """The sending end: holds a page back until the panel is in it, and lets all else through."""

    def __init__(self, panel: Panel, request: Request, trace: Trace, send: Send) -> None:
        self.panel, self.request, self.trace, self.send = panel, request, trace, send
        self.start: Message | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_html(message):
            self.start = message
            return
        if message["type"] != "http.response.body" or self.start is None:
            await self.send(message)
            return
        start, self.start = self.start, None
        body = message.get("body", b"")
        if message.get("more_body") or not body:
            await self.send(start)
            await self.send(message)
            return
        body = await asyncio.to_thread(self.panel.add_to, body, self.request, self.trace)
        headers = [
            (name, value) for name, value in start["headers"] if name.lower() not in (b"content-length", b"etag")
        ]
        await self.send({**start, "headers": [*headers, (b"content-length", str(len(body)).encode())]})
        await self.send({**message, "body": body})


def _is_page(scope: Scope) -> bool:
    """Whether a browser asks for a whole page."""
    headers = dict(scope["headers"])
    return scope["method"] == "GET" and headers.get(b"hx-request") != b"true" and b"html" in headers.get(b"accept", b"")


def _is_html(message: Message) -> bool:
    headers: dict[bytes, bytes] = {name.lower(): value for name, value in message["headers"]}
    return headers.get(b"content-type", b"").startswith(b"text/html")


# what is traced


def watching(routes: Routes) -> Routes:
    """The same routes, whose handlers tell the trace when they begin and end."""
    made = Routes()
    for row in routes:
        made.add(replace(row, handler=_awaiting(row.handler) if row.awaits else _calling(row.handler)))
    return made


def _calling(handler: Callable[..., Any]) -> Callable[..., Any]:
    def call(request: Request) -> Any:
        trace = tracing()
        if trace is None:
            return handler(request)
        _begin(trace)
        with trace.phase("handler"):
            return handler(request)

    return call


def _awaiting(handler: Callable[..., Any]) -> Callable[..., Any]:
    async def call(request: Request) -> Any:
        trace = tracing()
        if trace is None:
            return await handler(request)
        _begin(trace)
        with trace.phase("handler"):
            return await handler(request)

    return call


def _begin(trace: Trace) -> None:
    """All from the gate to here was about where this leads and who may."""
    trace.add("permission", perf_counter() - trace.began - trace.phases.get("session", 0.0))


def note_statement(sql: str, seconds: float) -> None:
    """For the readers of the copy."""
    trace = tracing()
    if trace is not None:
        trace.statement(sql, seconds)


def note_view(name: str, arguments: dict[str, Any], shown: Representation, seconds: float, *, made: bool) -> None:
    """A view was asked for; `made`: it was not ready."""
    trace = tracing()
    if trace is not None:
        trace.views.append((name, arguments, shown, seconds, made))


class _Lines(logging.Handler):
    """Log lines of the request that is traced."""

    def emit(self, record: logging.LogRecord) -> None:
        trace = tracing()
        if trace is not None and len(trace.lines) < LINES_MAX:
            trace.lines.append(self.format(record))


def _listen() -> None:
    """Once in a process: to the log, and to calls that leave it."""
    global _audited
    if _audited:
        return
    _audited = True
    lines = _Lines()
    lines.setFormatter(LineFormatter(process="web"))
    logging.getLogger().addHandler(lines)

    def outside(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _OUTSIDE:
            return
        trace = tracing()
        ours = event == "socket.connect" and not isinstance(arguments[1], tuple)  # the engine's own socket
        if trace is not None and not ours and len(trace.outside) < LINES_MAX:
            trace.outside.append(event)

    sys.addaudithook(outside)


# what is shown


class _Seen:
    """A trace on its way to the page."""

    def __init__(self, parts: Parts, copy: Copy, trace: Trace, user: User) -> None:
        self.parts, self.copy, self.trace, self.user = parts, copy, trace, user

    def context(self) -> dict[str, Any]:
        statements = self._statements()
        counts = self.copy.command_counts()
        return {
            "phases": self._phases(),
            "statements": statements,
            "statement_count": len(self.trace.statements),
            "statement_seconds": sum(seconds for _, seconds in self.trace.statements),
            "views": [self._view(*given) for given in self.trace.views],
            "hits": sum(not given[4] for given in self.trace.views),
            "misses": sum(given[4] for given in self.trace.views),
            "backends": sorted(self.copy.backend_states().values(), key=lambda state: state.name),
            "now": self.parts.clock.now(),
            "waiting": {str(state): n for state, n in counts.items() if n and not state.settled},
            "lines": self.trace.lines,
            "outside": self.trace.outside,
        }

    def _phases(self) -> list[tuple[str, float]]:
        """In the order in which they come; what a phase holds of another is counted there."""
        phases = self.trace.phases
        sql = sum(seconds for _, seconds in self.trace.statements)
        views = sum(given[3] for given in self.trace.views if given[4])
        render = phases.get("render", 0.0)
        rest = max(0.0, phases.get("handler", 0.0) - sql - render - max(0.0, views - sql))
        named = [("session", phases.get("session", 0.0)), ("permission", phases.get("permission", 0.0))]
        return [*named, ("store", sql), ("views", max(0.0, views - sql)), ("page", rest), ("render", render)]

    def _statements(self) -> list[dict[str, Any]]:
        """Each statement once, the one that took longest first, with its plan."""
        merged: dict[str, list[float]] = {}
        for sql, seconds in self.trace.statements:
            merged.setdefault(sql, []).append(seconds)
        ordered = sorted(merged.items(), key=lambda item: -sum(item[1]))
        return [
            {
                "sql": sql,
                "count": len(took),
                "seconds": sum(took),
                "plan": self._plan(sql) if place < _PLANS_MAX else [],
            }
            for place, (sql, took) in enumerate(ordered)
        ]

    def _plan(self, sql: str) -> list[str]:
        if not sql.lstrip().upper().startswith(("SELECT", "WITH")):
            return []
        try:
            return self.copy.plan(sql)
        except Exception:  # noqa: BLE001 - a plan that cannot be had must not cost the page
            return []

    def _view(self, name: str, arguments: dict[str, Any], shown: Representation, seconds: float, made: bool) -> Any:
        told: Why | None = None
        view = self.parts.views.by_name[name]
        with contextlib.suppress(BriqueError):
            told = why(view, arguments, self.copy, self.parts.specs, self.parts.clock.now(), user=self.user.name)
        known = None if told is None else next((one for one in told.kept if one.etag == shown.etag), None)
        age = (self.parts.clock.now() - shown.made_at).total_seconds()
        return {
            "name": name, "arguments": arguments, "made": made, "seconds": seconds, "bytes": len(shown.body),
            "age": age, "code": "" if told is None else told.code, "known": known, "until": shown.until,
            "error": shown.stale_error,
            "at": datetime.fromisoformat(known.cause.at) if known is not None and known.cause.at else None,
        }  # fmt: skip
