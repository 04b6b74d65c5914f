"""Receipts: what became of each command, and a person's decisions on those that wait for one."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import urlencode

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from brique.api import bodies
from brique.api.context import Context, address, sees_all
from brique.api.operation import JSON
from brique.api.rows import full
from brique.errors import BadInput, NotFound
from brique.http import respond, user_of
from brique.schema import Change, State
from brique.views import Copy, StoredCommand

PAGE_COMMANDS_MAX = 200
_POSITION_MAX = 2**62


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


class Outbox:
    """The handlers of receipts. Everybody sees his own commands, an administrator all."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.parts = context.parts

    def list_receipts(self, request: Request) -> Response:
        """Commands, newest first."""
        given, user = request.query_params, user_of(request)
        wanted = _states(given.get("state", ""))
        limit = _number(given.get("limit"), "limit", self.parts.settings.page_rows, PAGE_COMMANDS_MAX)
        after = _number(given.get("after"), "after", 0, _POSITION_MAX) or None
        whose = (given.get("user") or None) if sees_all(user) else user.name
        backend = given.get("backend") or None
        with self.context.snapshot() as copy:
            found = copy.outbox(wanted, whose, backend, limit + 1, after)
            counts = copy.command_counts(whose, backend)
            receipts = [self._receipt(request, copy, item) for item in found[:limit]]
            position = copy.seq()
        following = None
        if len(found) > limit:
            kept = [(name, text) for name, text in given.multi_items() if name != "after"]
            query = urlencode([*kept, ("after", found[limit - 1].position)])
            following = address(request, f"/api/outbox?{query}")
        body = {
            "receipts": receipts,
            "counts": {str(state): count for state, count in counts.items()},
            "next": following,
            "position": position,
        }
        headers = {"Link": f'<{following}>; rel="next"'} if following else {}
        return respond(request, self.context.encode(body), JSON, headers=headers)

    def get_receipt(self, request: Request) -> Response:
        """One command: its state, its changes, the reason when it was not applied."""
        with self.context.snapshot() as copy:
            item = self._found(request, copy)
            body = self.context.encode(self._receipt(request, copy, item, whole=True))
        headers = {} if item.state.settled else {"Retry-After": "1"}
        return respond(request, body, JSON, headers=headers)

    async def withdraw(self, request: Request) -> Response:
        """Take a command back that has not been sent."""
        await self._check_own(request)
        await self.parts.desk.withdraw(user_of(request), request.path_params["receipt"])
        return await to_thread.run_sync(self.get_receipt, request)

    async def dismiss(self, request: Request) -> Response:
        """Say that a command which waits for a person has been dealt with."""
        await self._check_own(request)
        await self.parts.desk.dismiss(user_of(request), request.path_params["receipt"])
        return await to_thread.run_sync(self.get_receipt, request)

    async def decide(self, request: Request) -> Response:
        """Say of a command whose outcome is unknown whether it has arrived."""
        await self._check_own(request)
        given = await bodies.read_object(request, (JSON,))
        arrived = given.get("arrived")
        if not isinstance(arrived, bool) or len(given) != 1:
            raise BadInput(_("Say whether it has arrived."), fields={"arrived": _("Must be true or false.")})
        await self.parts.desk.decide(user_of(request), request.path_params["receipt"], arrived=arrived)
        return await to_thread.run_sync(self.get_receipt, request)

    async def _check_own(self, request: Request) -> None:
        bodies.check_media_type(request, (JSON,))
        await to_thread.run_sync(partial(self._look, request))

    def _look(self, request: Request) -> None:
        with self.context.snapshot() as copy:
            self._found(request, copy)

    def _found(self, request: Request, copy: Copy) -> StoredCommand:
        name, user = request.path_params["receipt"], user_of(request)
        item = copy.command(name)
        if item is None or not (item.command.user == user.name or sees_all(user)):
            raise NotFound(_("There is no command with the receipt {name}."), name=name[:80])
        return item

    def _receipt(self, request: Request, copy: Copy, item: StoredCommand, *, whole: bool = False) -> dict[str, Any]:
        command = item.command
        shown: dict[str, Any] = {
            "receipt": command.id,
            "url": address(request, f"/api/outbox/{command.id}"),
            "position": item.position,
            "name": command.name,
            "label": command.label or command.name,
            "user": command.user,
            "at": command.at,
            "backend": command.backend,
            "origin": command.origin,
            "state": str(item.state),
            "settled_at": item.settled_at,
            "dismissed": item.dismissed,
            "reason": item.reason,
            "tries": item.tries,
            "next_try": item.next_try,
            "replaces": command.replaces or None,
            "rows": [{"table": change.table, "key": self._key(copy, change)} for change in command.changes[:100]],
            "effects": [effect.name for effect in command.effects],
            "after": list(command.after),
        }
        if whole:
            shown["changes"] = [self._change(copy, item, change) for change in command.changes]
        return shown

    def _key(self, copy: Copy, change: Change) -> str:
        return copy.real_key(change.table, change.key)

    def _change(self, copy: Copy, item: StoredCommand, change: Change) -> dict[str, Any]:
        """A change in JSON values; of a table that is no longer served, its store values are not shown."""
        spec = self.parts.specs.get(change.table)
        key = self._key(copy, change)
        shown: dict[str, Any] = {"table": change.table, "key": key}
        if spec is None:
            return shown
        theirs = item.theirs or {}
        at_backend = theirs.get(f"{change.table}/{change.key}", theirs.get(f"{change.table}/{key}"))
        shown["before"] = None if change.before is None else full(spec, change.before)
        shown["after"] = None if change.after is None else full(spec, change.after)
        if item.theirs is not None:
            shown["theirs"] = None if at_backend is None else full(spec, at_backend)
        return shown


def _states(text: str) -> tuple[State, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = {str(state): state for state in State}
    if any(name not in known for name in names):
        raise BadInput(
            _("There is no such state: choose of {states}."),
            fields={"state": _("There is no such state.")},
            where="query",
            states=", ".join(known),
        )
    return tuple(dict.fromkeys(known[name] for name in names))


def _number(text: str | None, name: str, default: int, most: int) -> int:
    if not text:
        return default
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 19 else 0
    if not 1 <= number <= most:
        raise BadInput(
            _("Some parameters need another value."),
            fields={name: _("Must be a number from 1 to {most}.")},
            where="query",
            most=most,
        )
    return number
