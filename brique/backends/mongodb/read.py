"""Reading whole collections: raw batches as the server sends them, decoded and turned into rows a column at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import bson
from pymongo.client_session import ClientSession

from brique.backends.faults import LOST, away, refused
from brique.backends.mongodb.line import Answer, Client
from brique.backends.mongodb.session import Place
from brique.backends.mongodb.values import CODEC
from brique.backends.protocol import BATCH_ROWS
from brique.errors import BackendAway, BackendRefused
from brique.schema import TableSpec, Value

NO_TABLE = "There is no table {table}."


class MongoSnapshot:
    """One read of the whole database: `session` is a snapshot or a transaction where the server has them, and None
    where every collection is read as it is at that moment."""

    def __init__(
        self, place: Place, session: ClientSession | None, names: frozenset[str], fingerprint: str | None
    ) -> None:
        self._place = place
        self._session = session
        self._names = names
        self._opened = place.line.opened
        self.fingerprint = fingerprint

    def mark(self, spec: TableSpec) -> str | None:
        """MongoDB keeps nothing that would tell whether one collection has changed; see `fingerprint`."""
        return None

    def read(self, spec: TableSpec) -> Iterator[list[tuple[Value, ...]]]:
        if spec.source not in self._names:
            raise refused(NO_TABLE, table=spec.source)
        documents = self._place.documents(spec)
        fields = {path[0] for path in documents.paths.values()}
        is_plain = not any("." in name or name.startswith("$") for name in fields)
        wanted = {"_id": 1, **dict.fromkeys(fields, 1)} if is_plain else None
        cursor = self._call(lambda client: self._open(client, spec, wanted))
        try:
            while True:
                batch = self._call(lambda _: next(cursor, None))
                if batch is None:
                    return
                found = bson.decode_all(batch, CODEC)
                for start in range(0, len(found), BATCH_ROWS):
                    yield documents.rows(found[start : start + BATCH_ROWS])
        finally:
            if self._is_alive():
                with suppress(BackendAway, BackendRefused):
                    self._call(lambda _: cursor.close())

    def _open(self, client: Client, spec: TableSpec, wanted: dict[str, int] | None) -> Any:
        collection = client[self._place.database][spec.source]
        return collection.find_raw_batches({}, wanted, batch_size=BATCH_ROWS, session=self._session)

    def _is_alive(self) -> bool:
        return self._place.line.is_open and self._place.line.opened == self._opened

    def _call(self, work: Callable[[Client], Answer]) -> Answer:
        if not self._is_alive():
            raise away(LOST, backend=self._place.line.backend, reason="the read is over")
        return self._place.line.call(self._place.timeout, work)
