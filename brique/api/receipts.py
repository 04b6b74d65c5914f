"""Commands as JSON."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from brique.api.context import Context, address
from brique.api.rows import full
from brique.schema import Change
from brique.views import Copy, StoredCommand

_ROWS_MAX = 100


class Shown:
    """Commands for one caller. `copy` is inside its snapshot."""

    def __init__(self, context: Context, request: Request, copy: Copy) -> None:
        self.parts, self.request, self.copy = context.parts, request, copy

    def receipt(self, item: StoredCommand) -> dict[str, Any]:
        """A command in a list."""
        command = item.command
        return {
            "receipt": command.id,
            "url": address(self.request, f"/api/outbox/{command.id}"),
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
            "rows": [{"table": change.table, "key": self._key(change)} for change in command.changes[:_ROWS_MAX]],
        }

    def whole(self, item: StoredCommand) -> dict[str, Any]:
        """All that is known of one command."""
        beside, audit = self.copy.beside(item), self.audit(item)
        replaced = (deed["replaced_by"] for deed in audit if deed["what"] in ("retried", "edited"))
        return {
            **self.receipt(item),
            "changes": [self._change(item, change) for change in item.command.changes],
            "effects": [effect.name for effect in item.command.effects],
            "waits_for": [receipt for receipt, _position in beside.before],
            "waited_for_by": [receipt for receipt, _position in beside.after],
            "replaced_by": next(replaced, None),
            "audit": audit,
        }

    def audit(self, item: StoredCommand) -> list[dict[str, Any]]:
        """What people did about a command, oldest first."""
        return [
            {
                "at": deed.at,
                "what": deed.what,
                "by": deed.by,
                "origin": deed.origin,
                "address": deed.address,
                "replaced_by": deed.other or None,
            }
            for deed in self.copy.deeds([item.position]).get(item.position, [])
        ]

    def _key(self, change: Change) -> str:
        return self.copy.real_key(change.table, change.key)

    def _change(self, item: StoredCommand, change: Change) -> dict[str, Any]:
        """A change in JSON values; of a table that is no longer served, its store values are not shown."""
        spec = self.parts.specs.get(change.table)
        key = self._key(change)
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
