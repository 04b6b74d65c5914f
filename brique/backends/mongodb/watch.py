"""Whether anything in a database has changed, told by a change stream: replica sets only.

The stream is opened where it was left, behind everything that the server had done when it was asked (its operation
time), and asked whether anything came since. A server that was started anew is another one: what it lost in a crash
it may count a second time.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from pymongo.errors import OperationFailure

from brique.backends.mongodb.line import Client
from brique.backends.protocol import MARKER

_AWAIT_MS = 20
_PIPELINE: list[dict[str, Any]] = [{"$match": {"ns.coll": {"$ne": MARKER}}}, {"$project": {"_id": 1}}]
_LOST = (260, 280, 286, 40585, 40615)
"""The place where the stream was left is not there any more."""


class Watch:
    """The changes of one database, counted. Its fingerprints are good within this process."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._server = ""
        self._token: Mapping[str, Any] | None = None
        self._name = ""
        self._count = 0

    def fingerprint(self, client: Client) -> str | None:
        """A text that is the same as long as nothing has changed; None when the server does not tell."""
        server = server_of(client)
        if not server:
            return None
        if server != self._server or self._token is None:
            self._server, self._name, self._count = server, secrets.token_hex(8), 0
            self._token, _ = self._look(client, None)
        else:
            try:
                self._token, changed = self._look(client, self._token)
            except OperationFailure as fault:
                if fault.code not in _LOST:
                    raise
                changed = True
            if changed:
                self._count += 1
                self._token, _ = self._look(client, None)
        return f"{self._server}:{self._name}:{self._count}" if self._token is not None else None

    def _look(self, client: Client, after: Mapping[str, Any] | None) -> tuple[Mapping[str, Any] | None, bool]:
        """(where the stream is now, whether something came since `after`)."""
        with client.start_session(causal_consistency=True) as session:
            client.admin.command("ping", session=session)
            database = client[self._database]
            with database.watch(_PIPELINE, resume_after=after, max_await_time_ms=_AWAIT_MS, session=session) as stream:
                changed = stream.try_next() is not None
                return stream.resume_token, changed


def server_of(client: Client) -> str:
    """Which run of which server this is; "" where that says nothing: there are several before a sharded cluster."""
    told = client.admin.command("hello")
    process = (told.get("topologyVersion") or {}).get("processId")
    return f"{told.get('me', '')}/{process}" if process and told.get("msg") != "isdbgrid" else ""
