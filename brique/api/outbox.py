"""Receipts: what became of each command, what people did about it, and their decisions, one by one and many at once."""

from __future__ import annotations

from functools import partial
from typing import Any, get_args
from urllib.parse import urlencode

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from brique.api import bodies
from brique.api.context import Context, address, sees_all
from brique.api.operation import JSON
from brique.api.outcome import Outcomes
from brique.api.receipts import Shown
from brique.commands import Act, Answer, Clerk, Done, Source
from brique.errors import BadInput, NotFound
from brique.http import describe, language_of, respond, user_of
from brique.schema import State
from brique.views import Copy, StoredCommand

PAGE_COMMANDS_MAX = 200
_POSITION_MAX = 2**62
_RECEIPT_LETTERS_MAX = 80


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


class Outbox:
    """The handlers of receipts. Everybody sees his own commands, an administrator all."""

    def __init__(self, context: Context, outcomes: Outcomes) -> None:
        self.context, self.outcomes = context, outcomes
        self.parts = context.parts

    # what there is

    def list_receipts(self, request: Request) -> Response:
        """Commands, newest first."""
        given, user = request.query_params, user_of(request)
        limit = _number(given.get("limit"), "limit", self.parts.settings.page_rows, PAGE_COMMANDS_MAX)
        after = _number(given.get("after"), "after", 0, _POSITION_MAX) or None
        whose = (given.get("user") or None) if sees_all(user) else user.name
        backend = given.get("backend") or None
        with self.context.snapshot() as copy:
            found = copy.outbox(
                _states(given.get("state", "")),
                whose,
                backend,
                limit + 1,
                after,
                _flag(given.get("dismissed"), "dismissed"),
                given.get("table") or None,
                given.get("cause") or None,
            )
            counts = copy.command_counts(whose, backend)
            shown = Shown(self.context, request, copy)
            receipts = [shown.receipt(item) for item in found[:limit]]
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

    def list_causes(self, request: Request) -> Response:
        """What failed, by its cause."""
        given, user = request.query_params, user_of(request)
        whose = (given.get("user") or None) if sees_all(user) else user.name
        with self.context.snapshot() as copy:
            found = copy.command_groups(whose, given.get("backend") or None)
        causes = [
            {
                "cause": group.fingerprint,
                "count": group.count,
                "state": str(group.state),
                "backend": group.backend,
                "reason": group.reason,
                "url": address(request, f"/api/outbox?{urlencode({'cause': group.fingerprint, 'dismissed': 'false'})}"),
            }
            for group in found
        ]
        return respond(request, self.context.encode({"causes": causes}), JSON)

    def get_receipt(self, request: Request) -> Response:
        """One command: its state, its changes, the reason when it was not applied, what waits for it."""
        with self.context.snapshot() as copy:
            item = self._found(request, copy)
            body = self.context.encode(Shown(self.context, request, copy).whole(item))
        headers = {} if item.state.settled else {"Retry-After": "1"}
        return respond(request, body, JSON, headers=headers)

    def get_audit(self, request: Request) -> Response:
        """What people did about a command: who, when, from where."""
        with self.context.snapshot() as copy:
            item = self._found(request, copy)
            audit = Shown(self.context, request, copy).audit(item)
        return respond(request, self.context.encode({"receipt": item.command.id, "audit": audit}), JSON)

    # decisions

    async def withdraw(self, request: Request) -> Response:
        """Take a command back that has not been sent."""
        await self._check_own(request)
        await self._clerk(request).withdraw(user_of(request), request.path_params["receipt"])
        return await to_thread.run_sync(self.get_receipt, request)

    async def dismiss(self, request: Request) -> Response:
        """Say that a command which waits for a person has been dealt with."""
        await self._check_own(request)
        await self._clerk(request).dismiss(user_of(request), request.path_params["receipt"])
        return await to_thread.run_sync(self.get_receipt, request)

    async def decide(self, request: Request) -> Response:
        """Say of a command whose outcome is unknown whether it has arrived."""
        await self._check_own(request)
        given = await bodies.read_object(request, (JSON,))
        arrived = given.get("arrived")
        if not isinstance(arrived, bool) or len(given) != 1:
            raise BadInput(_("Say whether it has arrived."), fields={"arrived": _("Must be true or false.")})
        await self._clerk(request).decide(user_of(request), request.path_params["receipt"], arrived=arrived)
        return await to_thread.run_sync(self.get_receipt, request)

    async def retry(self, request: Request) -> Response:
        """Send the same wish anew, as a new command."""
        await self._check_own(request)
        given = await bodies.read_object(request, (JSON,), required=False)
        lost = _lost(given)
        answer = await self._clerk(request).retry(
            user_of(request), request.path_params["receipt"], token=bodies.token_of(request), lost=lost
        )
        return await self._answer(request, answer)

    async def edit(self, request: Request) -> Response:
        """Send it anew with other values, as a new command."""
        await self._check_own(request)
        given = await bodies.read_object(request, (JSON,))
        lost = _lost({name: value for name, value in given.items() if name == "arrived"})
        values = given.get("values")
        if not isinstance(values, dict) or set(given) - {"values", "arrived"}:
            raise BadInput(_("Give the values that change."), fields={"values": _("Must be an object.")})
        stored = await to_thread.run_sync(self._stored, request, values)
        answer = await self._clerk(request).edit(
            user_of(request), request.path_params["receipt"], stored, token=bodies.token_of(request), lost=lost
        )
        return await self._answer(request, answer)

    def _stored(self, request: Request, values: dict[str, Any]) -> dict[str, Any]:
        """The new values as the command takes them. Raises BadInput by field."""
        with self.context.snapshot() as copy:
            command = self._found(request, copy).command
        spec = self.parts.commands.get(command.name)
        if spec is not None:
            return bodies.arguments(spec, values, some=True)
        table = self.parts.specs.get(command.changes[0].table) if len(command.changes) == 1 else None
        if table is None:
            raise BadInput(_("This cannot be sent again as it was: enter it anew."))
        return bodies.store_values(
            table, values, command.changes[0].after, bytes_max=self.parts.settings.cell_bytes_max
        )

    async def _answer(self, request: Request, answer: Answer) -> Response:
        return await self.outcomes.answer(request, answer)

    async def act_on_many(self, request: Request) -> Response:
        """Decide about many: of those listed, or of all that failed for one cause; a result for each."""
        given = await bodies.read_object(request, (JSON,))
        act: Any = given.get("act")
        faults: dict[str, str] = {}
        if act not in get_args(Act):
            faults["act"] = _("Must be one of those that the description lists.")
        listed, cause = given.get("receipts"), given.get("cause")
        if (listed is None) == (cause is None):
            faults["receipts"] = _("Give either receipts or a cause.")
        if listed is not None and not _are_receipts(listed, self.parts.settings.bulk_commands_max):
            faults["receipts"] = _("Must be a list of receipts, and not longer than bulk_commands_max.")
        if cause is not None and not isinstance(cause, str):
            faults["cause"] = _("Must be text.")
        faults |= dict.fromkeys(set(given) - {"act", "receipts", "cause", "user"}, _("There is no such field."))
        if faults:
            raise BadInput(_("Some fields need another value."), fields=faults)
        receipts: list[str] = listed if listed is not None else await to_thread.run_sync(self._of_cause, request, given)
        done = await self._clerk(request).many(user_of(request), act, receipts, token=bodies.token_of(request))
        body = {"results": [self._result(request, one) for one in done]}
        body["done"] = sum(one.fault is None for one in done)  # type: ignore[assignment]  # a JSON object of both
        return self.context.json(body)

    def _of_cause(self, request: Request, given: dict[str, Any]) -> list[str]:
        user, whose = user_of(request), given.get("user")
        author = (str(whose) if whose else None) if sees_all(user) else user.name
        with self.context.snapshot() as copy:
            found = copy.outbox(
                user=author,
                fingerprint=given["cause"],
                dismissed=False,
                limit=self.parts.settings.bulk_commands_max,
            )
        return [item.command.id for item in reversed(found)]

    def _result(self, request: Request, one: Done) -> dict[str, Any]:
        shown: dict[str, Any] = {"receipt": one.receipt, "done": one.fault is None}
        shown["replaced_by"] = one.instead or None
        if one.fault is not None:
            said = describe(one.fault, language_of(request, self.parts.languages))
            shown["problem"] = {"code": one.fault.code, "status": one.fault.status, "detail": said["detail"]}
            if isinstance(one.fault, BadInput):
                shown["problem"]["fields"] = one.fault.fields
        return shown

    def _clerk(self, request: Request) -> Clerk:
        host = request.client.host if request.client is not None else ""
        return Clerk(self.parts.desk, Source("api", host))

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


def _lost(given: dict[str, Any]) -> bool:
    """Whether the caller says that a command of unknown outcome has not arrived: `{"arrived": false}`."""
    if not given:
        return False
    if given != {"arrived": False}:
        raise BadInput(_("Say whether it has arrived."), fields={"arrived": _("Must be false, or not given.")})
    return True


def _are_receipts(listed: Any, most: int) -> bool:
    return (
        isinstance(listed, list)
        and 0 < len(listed) <= most
        and all(isinstance(one, str) and 0 < len(one) <= _RECEIPT_LETTERS_MAX for one in listed)
    )


def _flag(text: str | None, name: str) -> bool | None:
    known = {None: None, "": None, "true": True, "false": False}
    if text not in known:
        raise BadInput(
            _("Some parameters need another value."), fields={name: _("Must be true or false.")}, where="query"
        )
    return known[text]


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
