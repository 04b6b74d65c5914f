"""Transactions that nobody will end: the process that began them was killed, or its connection cut.

The server goes on holding their documents until they are a minute old (`transactionLifetimeLimitSeconds`), and says
"write conflict" to everybody else. So whoever begins to write ends first what was left: its own earlier session, and,
where there is the marker, that of the process before it, whose name stands there. After that a commit of theirs cannot
arrive late either.
"""

from __future__ import annotations

import logging
from typing import Any
from uuid import UUID

from bson.binary import UUID_SUBTYPE, Binary
from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pymongo.errors import ConnectionFailure, OperationFailure
from pymongo.write_concern import WriteConcern

from brique.backends.protocol import MARKER

log = logging.getLogger(__name__)


class Leftovers:
    """What the driver's sessions of one lane have left on the server. `stream`: under which the marker keeps the name
    of the newest session; "" when nothing may be kept there."""

    def __init__(self, database: str) -> None:
        self.stream = ""
        self._database = database
        self._known: tuple[Binary | None, str] = (None, "")

    def end(self, client: MongoClient[dict[str, Any]], session: ClientSession) -> None:
        """End what was left when `session` is a new one; to be called before it begins a transaction. Costs nothing
        when it is the one of the last time, as the driver's sessions are while their client lasts."""
        name, (before, _) = Binary(session.session_id["id"], UUID_SUBTYPE), self._known
        if self._known == (name, self.stream):
            return
        left = [before] if before and before != name else []
        if self.stream:
            noted = self._note(client, name)
            left += [noted] if noted and noted not in (name, before) else []
        if left:
            try:
                client.admin.command("killSessions", [{"id": one} for one in left])
            except ConnectionFailure:
                raise
            except OperationFailure as fault:  # they end by themselves, in a minute
                log.warning("what an earlier session may have left open cannot be ended: %s", fault)
        self._known = (name, self.stream)

    def _note(self, client: MongoClient[dict[str, Any]], name: Binary) -> Binary | None:
        """Keep `name` in the marker; the name that stood there."""
        marker = client[self._database].get_collection(MARKER, write_concern=WriteConcern(w=1))
        before = marker.find_one_and_update({"_id": f"session {self.stream}"}, {"$set": {"session": name}}, upsert=True)
        found = (before or {}).get("session")
        return Binary.from_uuid(found) if isinstance(found, UUID) else None
