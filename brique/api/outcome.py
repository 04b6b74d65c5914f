"""What became of a command, as the answer to whoever gave it.

| state after a short wait | answer |
| --- | --- |
| applied | 200, or 201 with the new row's address |
| kept, sending, unknown | 202 with the receipt's address, where its end can be asked for |
| refused, conflict | 409 with the reason; a conflict with the row as the backend has it |
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from brique.api.answers import Conflict, Refusal
from brique.api.context import Context, address
from brique.api.rows import row_etag, row_json
from brique.commands import Answer, Desk
from brique.http import User, header
from brique.schema import State
from brique.views import StoredCommand

WAIT_SECONDS_MAX = 20.0
WAITING_MAX = 100
"""Callers who wait longer than usual at once; the others are told `pending`."""
_LOOK_SECONDS = 0.05
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,4})\"?\s*(?:[,;]|$)", re.ASCII)

_ASYNC = re.compile(r"(?:^|[,\s])respond-async\s*(?:[,;]|$)", re.ASCII)


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


class Outcomes:
    """Answers to commands."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.parts = context.parts
        self._waiting = 0
        self._at_once = self.parts.desk.at_once()

    def desk(self, request: Request) -> Desk:
        """Where this caller's commands go: who prefers `respond-async` is not kept waiting for their end."""
        return self._at_once if _prefers_async(request) else self.parts.desk

    async def is_known(self, user: User, token: str) -> bool:
        """Whether this user has given a command with this token before."""
        if not token:
            return False
        return bool(await self.parts.desk.caller.acall("known", {"user": user.name, "token": token}))

    async def answer(self, request: Request, answer: Answer, *, created: bool = False) -> Response:
        """The response for `answer`. Raises Refusal, Conflict."""
        waited = await self._wait(request, answer)
        response = self._response(request, answer, created=created)
        if not waited and response.status_code == 202 and _prefers_async(request):
            waited = "respond-async"
        if waited:
            response.headers["Preference-Applied"] = waited
        if answer.duplicate:
            response.headers["Idempotency-Replayed"] = "true"
        return response

    async def _wait(self, request: Request, answer: Answer) -> str:
        """Wait for the command's end as long as the caller prefers (`Prefer: wait=5`); what was applied of that."""
        wished = _WAIT.search(_preferences(request))
        if wished is None or answer.state.settled or self._waiting >= WAITING_MAX:
            return ""
        seconds = min(float(wished[1]), WAIT_SECONDS_MAX, self.parts.settings.request_seconds_max * 0.8)
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        self._waiting += 1
        try:
            # The end is written by another process, so there is nothing to await but the next look.
            while loop.time() < end and not await to_thread.run_sync(self._is_settled, answer.id):  # noqa: ASYNC110
                await asyncio.sleep(min(_LOOK_SECONDS, max(0.0, end - loop.time())))
        finally:
            self._waiting -= 1
        return f"wait={int(seconds)}"

    def _is_settled(self, identity: str) -> bool:
        with self.parts.borrow() as copy:
            item = copy.command(identity)
        return item is not None and item.state.settled

    def _response(self, request: Request, answer: Answer, *, created: bool) -> Response:
        """Reads a few records by key: no change of thread, which would take ten times as long."""
        with self.context.snapshot() as copy:
            state = copy.command_state(answer.position) or answer.state
            if state in (State.REFUSED, State.CONFLICT) and (item := copy.command(answer.position)) is not None:
                raise _settled_badly(item)
            spec = self.parts.specs.get(answer.table)
            row = copy.row(answer.table, answer.key) if spec is not None else None
            headers = {"Brique-Position": str(copy.seq()), "Brique-Receipt": answer.id}
            if row is not None:
                headers["ETag"] = row_etag(copy, row)
        key = row.key if row is not None else answer.key
        receipt_url = address(request, f"/api/outbox/{answer.id}")
        row_url = address(request, f"/api/tables/{answer.table}/{key}") if row is not None else None
        body: dict[str, Any] = {
            "receipt": answer.id,
            "receipt_url": receipt_url,
            "state": str(state),
            "duplicate": answer.duplicate,
            "table": answer.table,
            "key": key,
            "url": row_url,
            "row": row_json(spec, row) if spec is not None and row is not None else None,
        }
        links = [f'<{receipt_url}>; rel="status"'] + ([f'<{row_url}>; rel="item"'] if row_url else [])
        headers["Link"] = ", ".join(links)
        status = 202
        if state is State.APPLIED:
            status = 201 if created else 200
        if status == 202:
            headers["Location"] = receipt_url
        elif created and row_url:
            headers["Location"] = row_url
        return self.context.json(body, status, headers)


def _preferences(request: Request) -> str:
    """What the caller prefers (RFC 7240), in lower case."""
    return ",".join(request.headers.getlist("prefer")).lower() if header(request.scope, b"prefer") else ""


def _prefers_async(request: Request) -> bool:
    """Whether the caller wants an answer as soon as the write is kept: `respond-async` without a time to wait."""
    wished = _preferences(request)
    return bool(wished) and _ASYNC.search(wished) is not None and _WAIT.search(wished) is None


def _settled_badly(item: StoredCommand) -> Refusal | Conflict:
    """The fault of a command that the backend has not taken."""
    at_backend = dict(item.theirs or {})
    place = next(iter(at_backend), next((f"{c.table}/{c.key}" for c in item.command.changes), "/"))
    table, _slash, key = place.partition("/")
    facts: dict[str, Any] = {"receipt": item.command.id, "table": table, "key": key, "theirs": at_backend.get(place)}
    if item.state is State.CONFLICT:
        return Conflict(
            _("The row had changed in the backend."),
            try_this=_("Read it again, then decide."),
            **facts,
        )
    return Refusal(item.reason or _("The backend refused this."), **facts)
