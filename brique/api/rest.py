"""What is neither a row nor a receipt: the index, declared commands, views."""

from __future__ import annotations

import functools
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from brique.api import bodies
from brique.api.answers import no_such
from brique.api.context import Context, address
from brique.api.operation import JSON
from brique.api.outcome import Outcomes
from brique.commands import may
from brique.errors import BadInput, NotAllowed
from brique.http import FOREVER, ROLES, Standing, respond, stand_ready, user_of


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


class Rest:
    """The handlers of the index, of commands and of views."""

    def __init__(self, context: Context, outcomes: Outcomes) -> None:
        self.context = context
        self.parts = context.parts
        self.outcomes = outcomes

    def index(self, request: Request) -> Response:
        """Where everything is, for who asks, and how the backends are."""
        user = user_of(request)
        with self.context.snapshot() as copy:
            known, position = copy.backend_states(), copy.seq()
        backends = []
        for name, spec in self.parts.backends.items():
            state = known.get(name)
            backends.append(
                {
                    "name": name,
                    "label": spec.label or name,
                    "state": state.state if state else "unknown",
                    "since": state.since if state else None,
                    "as_of": state.confirmed_at if state else None,
                }
            )
        views = [view for view in self.parts.views.by_name.values() if may(user, view.role)]
        commands = [command for command in self.parts.commands.values() if may(user, command.role)]
        body = {
            "title": self.parts.title,
            "user": {"name": user.name, "role": user.role},
            "openapi": address(request, "/openapi.json"),
            "docs": address(request, "/api/docs"),
            "tables": [self._link(request, "tables", spec.name, spec.label) for spec in self.parts.specs.values()],
            "views": [self._link(request, "views", view.name, view.label) for view in views],
            "commands": [self._link(request, "commands", one.name, one.label) for one in commands],
            "outbox": address(request, "/api/outbox"),
            "backends": backends,
            "position": position,
        }
        return respond(request, self.context.encode(body), JSON)

    def _link(self, request: Request, what: str, name: str, label: str) -> dict[str, Any]:
        return {"name": name, "label": label, "url": address(request, f"/api/{what}/{name}")}

    async def run_command(self, request: Request) -> Response:
        """Give a declared command."""
        user, name = user_of(request), request.path_params["command"]
        spec = self.parts.commands.get(name)
        if spec is None:
            raise no_such(_("There is no command {name}."), name, list(self.parts.commands))
        if not may(user, spec.role):
            raise NotAllowed(_("Your role does not allow this."))
        given = await bodies.read_object(request, (JSON,), required=any(p.required for p in spec.parameters))
        token = bodies.token_of(request, given)
        arguments = bodies.arguments(spec, given)
        desk = self.outcomes.desk(request)
        answer = await desk.run(user, name, arguments, token=token, origin="api")
        return await self.outcomes.answer(request, answer)

    def get_view(self, request: Request) -> Response:
        """The ready bytes of a view; the query string holds its arguments."""
        user, name = user_of(request), request.path_params["view"]
        view = self.parts.views.by_name.get(name)
        if view is None or not may(user, view.role):
            known = [one.name for one in self.parts.views.by_name.values() if may(user, one.role)]
            raise no_such(_("There is no view {name}."), name, known)
        given = request.query_params
        twice = [key for key in given if len(given.getlist(key)) > 1]
        if twice:
            fields = dict.fromkeys(twice, _("Is given twice."))
            raise BadInput(_("Some parameters need another value."), fields=fields, where="query")
        try:
            made = self.parts.views.get(name, dict(given.items()), user)
        except BadInput as fault:
            raise BadInput(fault.message, fields=fault.fields, try_this=fault.try_this, where="query") from fault
        with self.context.snapshot() as copy:
            headers = self.context.oldest(copy).headers()
        headers["Brique-Position"] = str(made.position)
        if made.stale_error:
            plain = made.stale_error.encode("ascii", "replace").decode()
            headers["Brique-Stale"] = "".join(letter if letter.isprintable() else " " for letter in plain)[:300]
        elif view.role in ROLES:
            holds = functools.partial(self.parts.views.stands, name, dict(given.items()), user, made)
            until = made.until.timestamp() if made.until is not None else FOREVER
            role = next(role for role in ROLES if role == view.role)
            shared = not made.personal
            stand_ready(request.scope, Standing(holds, role, shared=shared, until=until, stamp=self.context.stamp()))
        return respond(request, made.body, JSON, etag=made.etag, headers=headers)
